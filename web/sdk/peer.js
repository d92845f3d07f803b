import { quality, sample } from "./quality.js";
import { SignalboxError } from "./errors.js";

/**
 * @typedef {import("./call.js").Call} Call
 * @typedef {{track: MediaStreamTrack, stream: MediaStream, purpose: string}} LocalTrack
 * @typedef {{type: string, data: any}} CallSignal
 */

/** The impolite side waits this long for the first offer of the polite one. */
const FIRST_OFFER_MS = 4_000;
/** Not connected after this long, although nothing says "failed": no way was found. */
const CONNECT_MS = 20_000;
/** "disconnected" often heals by itself. */
const DISCONNECTED_MS = 3_000;
/** So many rebuilt connections without success, and it is left alone. */
const MAX_REBUILDS = 3;
/** Candidates held for a description that has not come. */
const MAX_HELD = 256;
/** Longer than a resume window: a signal is delivered, or its session is gone. */
const SIGNAL_MS = 90_000;

/**
 * The connection to one other peer of a call: perfect negotiation, ICE restarts, its streams.
 *
 * Each RTCPeerConnection has a `leg`, a random word that goes with each signal, beside the leg
 * it is meant for (`to`). What comes from an older leg, or for one, is thrown away; an offer of
 * a new leg replaces the connection. So hanging up and calling again cannot mix two calls up.
 */
export class Peer {
	/** @type {RTCPeerConnection} */
	pc;
	/** "new", "connecting", "connected", "disconnected", "failed", "closed" @type {string} */
	state = "new";
	/** The default data channel. @type {RTCDataChannel} */
	channel;
	/** All data channels, by label. @type {Map<string, RTCDataChannel>} */
	channels = new Map();
	/** What the other side sends, by stream id. @type {Map<string, {stream: MediaStream, purpose: string}>} */
	streams = new Map();
	/** @type {import("./quality.js").Quality | null} */
	quality = null;
	/** The peer's presence said that it is in the call. */
	announced = false;

	#call;
	#leg = "";
	#remoteLeg = "";
	/** @type {Record<string, string>} */
	#remotePurposes = {};
	#mayOffer = false;
	#makingOffer = false;
	#ignoreOffer = false;
	/** @type {{leg: string, candidate: RTCIceCandidateInit | null}[]} */
	#held = [];
	/** Signals are handled one after the other. @type {Promise<void>} */
	#handling = Promise.resolve();
	/** @type {Map<MediaStreamTrack, RTCRtpSender>} */
	#senders = new Map();
	#restarts = 0;
	#rebuilds = 0;
	/** @type {Record<"offer"|"connect"|"heal"|"restart", any>} */
	#timers = { offer: 0, connect: 0, heal: 0, restart: 0 };
	/** @type {import("./quality.js").Sample | null} */
	#lastSample = null;

	/**
	 * @param {Call} call
	 * @param {{peer: string, user: string, name: string, polite: boolean}} member
	 * @param {{offer: boolean}} how whether this side makes the first offer
	 */
	constructor(call, member, { offer }) {
		this.#call = call;
		this.peer = member.peer;
		this.user = member.user;
		this.name = member.name;
		/** True: this side yields when both offer at once. */
		this.polite = member.polite;
		this.pc = this.#build(offer);
		this.channel = /** @type {RTCDataChannel} */ (this.channels.get("signalbox"));
	}

	/** The other's camera and microphone. @returns {MediaStream | null} */
	get stream() {
		return this.#streamFor("camera");
	}

	/** The other's screen. @returns {MediaStream | null} */
	get screen() {
		return this.#streamFor("screen");
	}

	/* ---- called by the call ---- */

	/** @param {LocalTrack} local */
	addTrack({ track, stream }) {
		if (!this.#senders.has(track)) this.#senders.set(track, this.pc.addTrack(track, stream));
	}

	/** @param {MediaStreamTrack} track */
	removeTrack(track) {
		const sender = this.#senders.get(track);
		this.#senders.delete(track);
		if (sender && this.pc.signalingState !== "closed") this.pc.removeTrack(sender);
	}

	/**
	 * Sends another track in place of one, without negotiating. False: that one is not sent.
	 * @param {MediaStreamTrack} before
	 * @param {MediaStreamTrack} after
	 */
	replaceTrack(before, after) {
		const sender = this.#senders.get(before);
		if (!sender) return false;
		this.#senders.delete(before);
		this.#senders.set(after, sender);
		sender.replaceTrack(after).catch((error) => this.#report("replacing a track", error));
		return true;
	}

	/** @param {string} label @param {RTCDataChannelInit} [options] */
	openChannel(label, options) {
		return this.#watchChannel(this.pc.createDataChannel(label, options));
	}

	/** A signal with this data is meant for the connection as it is now. @param {any} data */
	isFor(data) {
		return data.to === this.#leg;
	}

	/** @param {CallSignal} signal */
	signalled({ type, data }) {
		this.#handling = this.#handling.then(() => this.#handle(type, data)).catch((error) => {
			this.#report(`handling "${type}"`, error);
			if (type === "offer" || type === "answer") this.#rebuild();
		});
	}

	/** Asks for new paths to the peer, as after a change of network. */
	async restartIce() {
		const pc = this.pc;
		// The relay's credentials may have run out since.
		await this.#call.room.renewIceServers().catch(() => {});
		if (this.pc === pc && pc.signalingState !== "closed") pc.restartIce();
	}

	/** Does not wait until ICE has noticed. */
	networkChanged() {
		if (this.pc.iceConnectionState !== "new" && this.state !== "closed") this.#recover();
	}

	/** @param {RTCConfiguration} configuration */
	reconfigure(configuration) {
		if (this.pc.signalingState !== "closed") this.pc.setConfiguration(configuration);
	}

	/** One restart for both sides, and it is the impolite one's: its offer makes the other gather, too. */
	iceServersRenewed() {
		if (!this.polite && this.pc.currentRemoteDescription) this.pc.restartIce();
	}

	/** Measures since the last time. */
	async measure() {
		const pc = this.pc;
		const now = sample((await pc.getStats()).values());
		if (this.pc === pc && this.#lastSample) this.quality = quality(this.#lastSample, now);
		this.#lastSample = now;
		return this.quality;
	}

	/** @param {string | null} bye the reason to tell the peer, or null to say nothing */
	close(bye) {
		if (this.state === "closed") return;
		if (bye !== null) this.#send("bye", { reason: bye });
		this.#takeDown();
		this.state = "closed";
	}

	/* ---- the RTCPeerConnection ---- */

	/** @param {boolean} offer */
	#build(offer) {
		const RTC = this.#call.options.RTCPeerConnection ?? globalThis.RTCPeerConnection;
		const pc = new RTC(this.#call.rtcConfiguration());
		this.#leg = randomWord();
		this.#remoteLeg = "";
		this.#mayOffer = offer;
		this.#makingOffer = this.#ignoreOffer = false;
		const current = () => this.pc === pc;
		pc.onnegotiationneeded = () => current() && void this.#negotiate();
		pc.onicecandidate = ({ candidate }) => current() && this.#sendCandidate(candidate);
		pc.ontrack = (event) => current() && this.#trackArrived(event);
		pc.ondatachannel = ({ channel }) => current() && this.#channelArrived(channel);
		pc.onconnectionstatechange = () => current() && this.#stateChanged();
		pc.oniceconnectionstatechange = () => current() && this.#iceStateChanged();
		this.pc = pc;
		this.channels.clear();
		["signalbox", ...this.#call.options.dataChannels ?? []].forEach((label, id) => {
			this.#watchChannel(pc.createDataChannel(label, { negotiated: true, id }));
		});
		this.channel = /** @type {RTCDataChannel} */ (this.channels.get("signalbox"));
		for (const local of this.#call.localTracks()) this.addTrack(local);
		this.#timers.connect = setTimeout(() => this.#noWay(), CONNECT_MS);
		if (offer) this.#offerToReceive();
		else this.#timers.offer = setTimeout(() => this.#offerNow(), FIRST_OFFER_MS);
		return pc;
	}

	/** One round of negotiation is enough if the first offer has a place for what the peer sends. */
	#offerToReceive() {
		for (const kind of ["audio", "video"]) {
			const sends = [...this.#senders.keys()].some((track) => track.kind === kind);
			if (!sends) this.pc.addTransceiver(kind, { direction: "recvonly" });
		}
	}

	/** The polite side should have offered and did not. */
	#offerNow() {
		if (this.#mayOffer) return;
		this.#mayOffer = true;
		this.#offerToReceive();
		void this.#negotiate();
	}

	#takeDown() {
		for (const timer of Object.values(this.#timers)) clearTimeout(timer);
		this.#timers.restart = 0;
		this.pc.close();
		this.#senders.clear();
		this.#held = this.#held.filter(({ leg }) => leg !== this.#remoteLeg);
		this.#lastSample = null;
		for (const { stream, purpose } of this.streams.values()) this.#streamEnded(stream, purpose);
		this.streams.clear();
	}

	/** Begins again with a new RTCPeerConnection: this one cannot be mended. */
	#rebuild() {
		if (this.state === "closed") return;
		if (++this.#rebuilds > MAX_REBUILDS) {
			this.#setState("failed");
			return;
		}
		this.#takeDown();
		this.#build(true);
	}

	/* ---- negotiation ---- */

	async #negotiate() {
		if (!this.#mayOffer) return;
		const pc = this.pc;
		try {
			this.#makingOffer = true;
			await pc.setLocalDescription();
			if (this.pc === pc) this.#sendDescription();
		} catch (error) {
			if (this.pc === pc && pc.signalingState !== "closed") this.#report("making an offer", error);
		} finally {
			if (this.pc === pc) this.#makingOffer = false;
		}
	}

	/** @param {string} type @param {any} data */
	async #handle(type, data) {
		if (this.state === "closed" || (data.to && data.to !== this.#leg)) return;
		const leg = typeof data.leg === "string" ? data.leg : "";
		if (type === "offer") await this.#offered(leg, data);
		else if (type === "candidate") await this.#candidate(leg, data.candidate ?? data);
		else if (type === "candidates-end") await this.#candidate(leg, null);
		else if (type === "answer") await this.#answered(leg, data);
		else if (type === "restart" && leg === this.#remoteLeg) void this.restartIce();
	}

	/** @param {string} leg @param {any} data */
	async #offered(leg, data) {
		if (this.#remoteLeg && leg !== this.#remoteLeg) {
			this.#takeDown();
			this.#build(false);
		}
		this.#remoteLeg = leg;
		clearTimeout(this.#timers.offer);
		const pc = this.pc;
		const collision = this.#makingOffer || pc.signalingState !== "stable";
		this.#ignoreOffer = collision && !this.polite;
		if (this.#ignoreOffer) return;
		this.#remotePurposes = data.streams ?? {};
		await pc.setRemoteDescription({ type: "offer", sdp: data.sdp });
		await this.#releaseCandidates();
		await pc.setLocalDescription();
		if (this.pc !== pc) return;
		this.#mayOffer = true;
		this.#sendDescription();
	}

	/** @param {string} leg @param {any} data */
	async #answered(leg, data) {
		if (this.pc.signalingState !== "have-local-offer") return;
		if (this.#remoteLeg && leg !== this.#remoteLeg) return;
		this.#remoteLeg = leg;
		this.#remotePurposes = data.streams ?? {};
		await this.pc.setRemoteDescription({ type: "answer", sdp: data.sdp });
		await this.#releaseCandidates();
	}

	/** @param {string} leg @param {RTCIceCandidateInit | null} candidate null: there are no more */
	async #candidate(leg, candidate) {
		if (leg !== this.#remoteLeg || !this.pc.remoteDescription) {
			if (this.#held.length < MAX_HELD) this.#held.push({ leg, candidate });
			return;
		}
		try {
			await this.pc.addIceCandidate(candidate ?? undefined);
		} catch (error) {
			// Those of an offer that was ignored fit no description here.
			if (!this.#ignoreOffer && candidate) this.#report("adding a candidate", error);
		}
	}

	async #releaseCandidates() {
		const held = this.#held;
		this.#held = [];
		for (const { leg, candidate } of held) {
			if (leg === this.#remoteLeg) await this.#candidate(leg, candidate);
		}
	}

	/* ---- signals out ---- */

	#sendDescription() {
		const description = this.pc.localDescription;
		if (!description) return;
		/** @type {Record<string, string>} */
		const streams = {};
		for (const local of this.#call.localTracks()) streams[local.stream.id] = local.purpose;
		this.#send(description.type, { sdp: description.sdp, streams });
	}

	/** @param {RTCIceCandidate | null} candidate */
	#sendCandidate(candidate) {
		if (candidate === null) this.#send("candidates-end", {});
		else if (candidate.candidate) this.#send("candidate", { candidate: candidate.toJSON() });
	}

	/** @param {string} type @param {object} data */
	#send(type, data) {
		const leg = this.#leg;
		const signal = { leg, to: this.#remoteLeg, ...data };
		const send = () => this.#call.room.signal(this.peer, type, signal, { timeout: SIGNAL_MS })
			.catch((/** @type {SignalboxError} */ error) => {
				if (this.state === "closed" || this.#leg !== leg) return;
				if (error.kind === "rate_limited" || error.kind === "overloaded") {
					setTimeout(send, (error.retryAfter || 1) * 1000 * (1 + Math.random()));
				} else if (error.kind === "not_found") {
					this.#call.peerGone(this.peer, "gone");
				} else if (error.kind !== "lost" && error.kind !== "closed") {
					this.#report(`sending "${type}"`, error);
				}
			});
		void send();
	}

	/* ---- staying connected ---- */

	#stateChanged() {
		const state = this.pc.connectionState;
		this.#setState(state);
		if (state === "connected") {
			this.#restarts = this.#rebuilds = 0;
			clearTimeout(this.#timers.restart);
			this.#timers.restart = 0;
		} else if (state === "failed" && this.pc.iceConnectionState !== "failed") {
			this.#rebuild();
		}
	}

	/** A browser without any candidate stays "new" for ever. */
	#noWay() {
		if (this.pc.connectionState === "connected") return;
		this.#setState("failed");
		this.#recover();
	}

	#iceStateChanged() {
		clearTimeout(this.#timers.heal);
		const state = this.pc.iceConnectionState;
		if (state === "failed") this.#recover();
		if (state === "disconnected") {
			// Media tells of a lost network long before a connection that says nothing does.
			this.#call.room.checkConnection();
			this.#timers.heal = setTimeout(() => this.#recover(), DISCONNECTED_MS);
		}
	}

	/** The polite side asks first and restarts by itself only if that did not help. */
	#recover() {
		if (this.#timers.restart) return;
		const attempt = this.#restarts++;
		if (this.polite && attempt === 0) this.#send("restart", {});
		else void this.restartIce();
		const wait = Math.min(30_000, 3_000 * 2 ** attempt);
		this.#timers.restart = setTimeout(() => {
			this.#timers.restart = 0;
			if (this.pc.connectionState === "connected") this.#restarts = 0;
			else this.#recover();
		}, wait);
	}

	/** @param {string} state */
	#setState(state) {
		if (this.state === state) return;
		this.state = state;
		this.#call.emit("state", { peer: this.peer, state });
	}

	/* ---- streams and channels ---- */

	/** @param {RTCTrackEvent} event */
	#trackArrived({ track, streams }) {
		const stream = streams[0] ?? new MediaStream([track]);
		const known = this.streams.get(stream.id);
		const purpose = known?.purpose ?? this.#remotePurposes[stream.id] ?? "camera";
		if (!known) {
			this.streams.set(stream.id, { stream, purpose });
			stream.addEventListener("removetrack", () => {
				if (stream.getTracks().length > 0 || !this.streams.delete(stream.id)) return;
				this.#streamEnded(stream, purpose);
			});
			this.#call.emit("stream", { peer: this.peer, stream, purpose });
		}
		this.#call.emit("track", { peer: this.peer, track, stream, purpose });
	}

	/** @param {MediaStream} stream @param {string} purpose */
	#streamEnded(stream, purpose) {
		this.#call.emit("stream-ended", { peer: this.peer, stream, purpose });
	}

	/** @param {string} purpose */
	#streamFor(purpose) {
		const found = [...this.streams.values()].filter((entry) => entry.purpose === purpose);
		return found.at(-1)?.stream ?? null;
	}

	/** @param {RTCDataChannel} channel */
	#channelArrived(channel) {
		this.#watchChannel(channel);
		this.#call.emit("channel", { peer: this.peer, channel });
	}

	/** @param {RTCDataChannel} channel */
	#watchChannel(channel) {
		channel.binaryType = "arraybuffer";
		this.channels.set(channel.label, channel);
		channel.addEventListener("message", ({ data }) => {
			this.#call.emit("data", { peer: this.peer, channel: channel.label, data });
		});
		return channel;
	}

	/** @param {string} doing @param {unknown} cause */
	#report(doing, cause) {
		const said = cause instanceof Error ? cause.message : String(cause);
		const message = `The connection to ${this.name || this.user} had a problem while ${doing}: ` +
			`${said}. Hang up and call again if it does not recover.`;
		this.#call.emit("error", new SignalboxError("peer", message, { cause }));
	}
}

function randomWord() {
	const bytes = crypto.getRandomValues(new Uint8Array(9));
	return btoa(String.fromCharCode(...bytes)).replace(/[+/]/g, "_");
}
