import { canChooseSpeaker, listDevices } from "./devices.js";
import { SignalboxError } from "./errors.js";
import { Emitter } from "./events.js";
import { describeMediaError, openMedia, problem } from "./media.js";
import { Peer } from "./peer.js";

/**
 * @typedef {import("./room.js").Room} Room
 * @typedef {import("./protocol.js").Member} Member
 * @typedef {import("./protocol.js").Signal} Signal
 * @typedef {import("./media.js").MediaProblem} MediaProblem
 * @typedef {import("./peer.js").LocalTrack} LocalTrack
 *
 * @typedef {{
 *   audio?: import("./media.js").Wanted, video?: import("./media.js").Wanted,
 *   stream?: MediaStream, iceTransportPolicy?: RTCIceTransportPolicy,
 *   dataChannels?: string[], statsInterval?: number,
 *   RTCPeerConnection?: typeof globalThis.RTCPeerConnection,
 * }} CallOptions
 *   `stream`: send this instead of opening devices. `dataChannels`: names of further channels;
 *   all members must give the same list. `statsInterval`: ms between `quality` events, 0 for none.
 *
 * @typedef {{
 *   local: {stream: MediaStream, audio: boolean, video: boolean, screen: MediaStream | null},
 *   peer: Peer,
 *   "peer-left": {peer: string, reason: string},
 *   state: {peer: string, state: string},
 *   stream: {peer: string, stream: MediaStream, purpose: string},
 *   track: {peer: string, track: MediaStreamTrack, stream: MediaStream, purpose: string},
 *   "stream-ended": {peer: string, stream: MediaStream, purpose: string},
 *   data: {peer: string, channel: string, data: string | ArrayBuffer},
 *   channel: {peer: string, channel: RTCDataChannel},
 *   quality: {peer: string} & import("./quality.js").Quality,
 *   devices: {devices: import("./devices.js").Device[]},
 *   problem: MediaProblem,
 *   "permission-denied": MediaProblem,
 *   "no-device": MediaProblem,
 *   "device-busy": MediaProblem,
 *   "device-ended": MediaProblem,
 *   "insecure-page": MediaProblem,
 *   "media-failed": MediaProblem,
 *   "autoplay-blocked": {element: HTMLMediaElement, message: string},
 *   ended: {reason: string},
 *   error: SignalboxError,
 * }} CallEvents
 */

const SIGNALS = new Set(["offer", "answer", "candidate", "candidates-end", "restart", "bye"]);

/**
 * A call among those members of a room whose presence state says `call: true`: each is connected
 * with each. `room.call()` makes it. An offer that comes from anybody else is answered, too.
 * @extends {Emitter<CallEvents>}
 */
export class Call extends Emitter {
	/** The others in the call, by peer id. @type {Map<string, Peer>} */
	peers = new Map();
	/** My camera and microphone. @type {MediaStream} */
	stream;
	/** My screen, while it is shared. @type {MediaStream | null} */
	screen = null;
	ended = false;
	/** Resolves when the devices are open, as far as they can be, and the others know of us. */
	ready;

	/** @type {LocalTrack[]} */
	#local = [];
	#announced = false;
	#audio = false;
	#video = false;
	/** What was switched off while its device was being opened. @type {Set<"audio"|"video">} */
	#early = new Set();
	/** Tracks that this call opened, and so may stop. @type {Set<MediaStreamTrack>} */
	#own = new Set();
	/** @type {Set<HTMLMediaElement>} */
	#blocked = new Set();
	/** What plays, for who chooses a speaker. @type {Set<HTMLMediaElement>} */
	#playing = new Set();
	#speaker = "";
	#deviceChange = () => void listDevices().then((devices) => this.ended || this.emit("devices", { devices }));
	/** @type {any} */
	#statsTimer = 0;

	/**
	 * @param {Room} room
	 * @param {CallOptions} options
	 */
	constructor(room, options) {
		super();
		this.room = room;
		this.options = options;
		this.stream = options.stream ?? new MediaStream();
		const interval = options.statsInterval ?? 2000;
		if (interval > 0) this.#statsTimer = setInterval(() => void this.stats(), interval);
		globalThis.navigator?.mediaDevices?.addEventListener?.("devicechange", this.#deviceChange);
		this.ready = this.#start();
		this.ready.catch((error) => this.#failed(error));
	}

	/** The microphone is on. */
	get audio() {
		return this.#audio;
	}

	/** The camera is on. */
	get video() {
		return this.#video;
	}

	/* ---- my side ---- */

	/** Switches the microphone. @param {boolean} on */
	async setAudio(on) {
		await this.#switch("audio", on);
	}

	/** Switches the camera; off means that its light goes off. @param {boolean} on */
	async setVideo(on) {
		await this.#switch("video", on);
	}

	mute() {
		return this.setAudio(false);
	}

	unmute() {
		return this.setAudio(true);
	}

	/**
	 * Uses another microphone, camera or speaker from now on; `listDevices()` says which there are.
	 * @param {"audio"|"video"|"speaker"} kind
	 * @param {string} deviceId
	 */
	async useDevice(kind, deviceId) {
		if (kind === "speaker") {
			await this.#useSpeaker(deviceId);
			return;
		}
		const wanted = this.options[kind];
		const rest = typeof wanted === "object" ? wanted : {};
		this.options[kind] = { ...rest, deviceId: { exact: deviceId } };
		if (!this[kind] && kind === "video") return;
		// Phones cannot open two cameras at once.
		const before = this.#trackOf(kind);
		if (before && kind === "video" && this.#own.has(before)) before.stop();
		await this.#openDevice(kind);
	}

	/** Shows a screen or window beside the camera. */
	async shareScreen() {
		if (this.screen) return this.screen;
		try {
			this.screen = await navigator.mediaDevices.getDisplayMedia({ video: true, audio: true });
		} catch (error) {
			this.#problem(describeMediaError(error, "screen"));
			return null;
		}
		if (this.ended) {
			this.screen.getTracks().forEach((track) => track.stop());
			return null;
		}
		for (const track of this.screen.getTracks()) {
			this.#own.add(track);
			track.addEventListener("ended", () => this.stopScreen());
			this.addTrack(track, this.screen, "screen");
		}
		this.#localChanged();
		return this.screen;
	}

	stopScreen() {
		const screen = this.screen;
		if (!screen) return;
		this.screen = null;
		for (const track of screen.getTracks()) {
			track.stop();
			this.removeTrack(track);
		}
		this.#localChanged();
	}

	/**
	 * Sends one more track to everybody, now and later.
	 * @param {MediaStreamTrack} track
	 * @param {MediaStream} [stream]
	 * @param {string} [purpose] what the others' `stream` event says
	 */
	addTrack(track, stream = new MediaStream([track]), purpose = "extra") {
		if (this.ended || this.#local.some((local) => local.track === track)) return;
		const local = { track, stream, purpose };
		this.#local.push(local);
		for (const peer of this.peers.values()) peer.addTrack(local);
	}

	/** @param {MediaStreamTrack} track */
	removeTrack(track) {
		this.#local = this.#local.filter((local) => local.track !== track);
		for (const peer of this.peers.values()) peer.removeTrack(track);
	}

	/**
	 * Sends over a data channel: to everybody, or to one peer. Returns to how many.
	 * @param {string | ArrayBuffer | ArrayBufferView<ArrayBuffer> | Blob} data
	 * @param {{to?: string, channel?: string}} [options]
	 */
	send(data, { to, channel = "signalbox" } = {}) {
		let count = 0;
		for (const peer of this.peers.values()) {
			const found = peer.channels.get(channel);
			if ((to && peer.peer !== to) || found?.readyState !== "open") continue;
			found.send(/** @type {string} */ (data));
			count++;
		}
		return count;
	}

	/** Ends the call for me and tells the others. */
	hangUp() {
		if (this.ended) return;
		for (const peer of this.peers.values()) peer.close("hangup");
		this.end("hangup");
		if (this.#announced && this.room.open) this.#announce(false).catch(() => {});
	}

	/* ---- playing ---- */

	/**
	 * Plays a stream in an element. When the browser wants a click first, `autoplay-blocked` says
	 * so; call `resumePlayback()` in the click.
	 * @param {HTMLMediaElement} element
	 * @param {MediaStream | null} stream
	 */
	async play(element, stream) {
		if (element.srcObject !== stream) element.srcObject = stream;
		this.#playing.delete(element);
		if (!stream) return;
		this.#playing.add(element);
		if (this.#speaker) await element.setSinkId(this.#speaker).catch(() => {});
		try {
			await element.play();
			this.#blocked.delete(element);
		} catch (error) {
			if (/** @type {Error} */ (error).name !== "NotAllowedError") return;
			this.#blocked.add(element);
			const message = "The browser waits for a click before it plays sound. Press “Turn on sound”.";
			this.emit("autoplay-blocked", { element, message });
		}
	}

	/** Call this in a click after `autoplay-blocked`. */
	async resumePlayback() {
		const again = [...this.#blocked].map((element) => {
			return this.play(element, /** @type {MediaStream | null} */ (element.srcObject));
		});
		await Promise.all(again);
	}

	/** @param {string} deviceId */
	async #useSpeaker(deviceId) {
		if (!canChooseSpeaker()) {
			throw new SignalboxError("no_speaker_choice",
				"This browser plays where the device says. Choose the speaker in the device's own settings.");
		}
		for (const element of this.#playing) {
			if (element.isConnected) await element.setSinkId(deviceId);
			else this.#playing.delete(element);
		}
		this.#speaker = deviceId;
	}

	/** The speaker that was chosen, or "" for the device's own. */
	get speaker() {
		return this.#speaker;
	}

	/* ---- measuring ---- */

	/**
	 * Loss, round trip and bitrate for each peer, since the last measurement.
	 * @returns {Promise<Map<string, import("./quality.js").Quality>>}
	 */
	async stats() {
		const result = new Map();
		for (const peer of [...this.peers.values()]) {
			if (peer.pc.connectionState !== "connected") continue;
			const measured = await peer.measure().catch(() => null);
			if (!measured || this.peers.get(peer.peer) !== peer) continue;
			result.set(peer.peer, measured);
			this.emit("quality", { peer: peer.peer, ...measured });
		}
		return result;
	}

	/* ---- called by room and peers ---- */

	localTracks() {
		return this.#local;
	}

	/** @returns {RTCConfiguration} */
	rtcConfiguration() {
		return {
			iceServers: this.room.iceServers,
			iceTransportPolicy: this.options.iceTransportPolicy ?? "all",
			bundlePolicy: "max-bundle",
		};
	}

	iceServersChanged() {
		for (const peer of this.peers.values()) peer.reconfigure(this.rtcConfiguration());
	}

	/** The server has given others, because those of before run out. */
	iceServersRenewed() {
		for (const peer of this.peers.values()) peer.iceServersRenewed();
	}

	/** This device is in another network: the paths of before are gone, or soon will be. */
	networkChanged() {
		for (const peer of this.peers.values()) peer.networkChanged();
	}

	/** @param {Member} member */
	memberChanged(member) {
		const inCall = member.state?.call === true;
		const peer = this.peers.get(member.peer);
		if (inCall && peer) peer.announced = true;
		else if (inCall && this.#announced && !this.ended) this.#connect(member, member.polite);
		else if (!inCall && peer?.announced) this.peerGone(member.peer, "hangup");
	}

	/** @param {string} peer @param {string} reason */
	memberLeft(peer, reason) {
		this.peerGone(peer, reason);
	}

	/** @param {string} id @param {string} reason */
	peerGone(id, reason) {
		const peer = this.peers.get(id);
		if (!peer) return;
		peer.close(null);
		this.peers.delete(id);
		this.emit("peer-left", { peer: id, reason });
	}

	/** A signal came. True: it was one of a call. @param {Signal} signal */
	signalled({ from, type, data }) {
		if (this.ended || !SIGNALS.has(type) || data === null || typeof data !== "object") return false;
		let peer = this.peers.get(from.peer);
		if (type === "bye") {
			if (peer && (!data.to || peer.isFor(data))) this.peerGone(from.peer, data.reason ?? "bye");
			return true;
		}
		if (!peer && type === "offer") {
			// Somebody unknown to the roster came after us, and so is the polite one.
			const member = this.room.members.get(from.peer) ?? { ...from, polite: false };
			peer = this.#connect(member, false);
		}
		peer?.signalled({ type, data });
		return true;
	}

	/** This client is another peer now: all connections begin anew. */
	rejoined() {
		for (const id of [...this.peers.keys()]) this.peerGone(id, "rejoined");
		if (this.#announced) this.#connectAll();
	}

	/** @param {string} reason */
	end(reason) {
		if (this.ended) return;
		this.ended = true;
		clearInterval(this.#statsTimer);
		globalThis.navigator?.mediaDevices?.removeEventListener?.("devicechange", this.#deviceChange);
		for (const id of [...this.peers.keys()]) this.peerGone(id, reason);
		for (const track of this.#own) track.stop();
		this.#local = [];
		this.room.activeCall = null;
		this.emit("ended", { reason });
	}

	/* ---- inside ---- */

	async #start() {
		// Whoever made the call gets to listen first.
		await Promise.resolve();
		const { audio = true, video = true, stream } = this.options;
		if (stream) {
			for (const track of stream.getTracks()) this.#use(track);
		} else {
			const opened = await openMedia({ audio, video });
			if (this.ended) {
				opened.tracks.forEach((track) => track.stop());
				return;
			}
			for (const track of opened.tracks) {
				this.#own.add(track);
				this.#use(track);
			}
			for (const kind of this.#early) void this.#switch(kind, false);
			opened.problems.forEach((found) => this.#problem(found));
		}
		if (this.ended) return;
		this.#emitLocal();
		const announced = this.#announce(true);
		this.#announced = true;
		this.#connectAll();
		await announced;
	}

	/** @param {unknown} error */
	#failed(error) {
		if (this.ended) return;
		this.emit("error", /** @type {SignalboxError} */ (error));
		this.end("failed");
	}

	#connectAll() {
		for (const member of this.room.members.values()) this.memberChanged(member);
	}

	/**
	 * @param {{peer: string, user: string, name: string, polite: boolean, state?: any}} member
	 * @param {boolean} offer
	 */
	#connect(member, offer) {
		const peer = new Peer(this, member, { offer });
		peer.announced = member.state?.call === true;
		this.peers.set(member.peer, peer);
		this.emit("peer", peer);
		return peer;
	}

	/** Tells the others by the presence state. @param {boolean} inCall */
	#announce(inCall) {
		const { call, audio, video, screen, ...rest } = this.room.state ?? {};
		const mine = { call: true, audio: this.audio, video: this.video, screen: this.screen !== null };
		return this.room.setState(inCall ? { ...rest, ...mine } : rest);
	}

	#localChanged() {
		if (this.ended) return;
		this.#emitLocal();
		if (this.#announced) this.#announce(true).catch((error) => this.emit("error", error));
	}

	#emitLocal() {
		const { stream, audio, video, screen } = this;
		this.emit("local", { stream, audio, video, screen });
	}

	/* ---- devices ---- */

	/** @param {"audio"|"video"} kind */
	#trackOf(kind) {
		return this.stream.getTracks().find((track) => track.kind === kind) ?? null;
	}

	/** @param {"audio"|"video"} kind @param {boolean} on */
	async #switch(kind, on) {
		if (this.ended) return;
		const track = this.#trackOf(kind);
		const live = track?.readyState === "live";
		if (on || this.#announced) this.#early.delete(kind);
		else this.#early.add(kind);
		if (on && !live) {
			await this.#openDevice(kind);
			return;
		}
		if (track) track.enabled = on;
		if (!on && track && kind === "video" && this.#own.has(track)) track.stop();
		this.#setOn(kind, on && live);
		this.#localChanged();
	}

	/** @param {"audio"|"video"} kind */
	async #openDevice(kind) {
		const wanted = this.options[kind] || true;
		const { tracks, problems } = await openMedia({ [kind]: wanted });
		if (this.ended) tracks.forEach((track) => track.stop());
		problems.forEach((found) => this.#problem(found));
		if (this.ended) return;
		for (const track of tracks) {
			this.#own.add(track);
			this.#use(track);
		}
		if (tracks.length === 0) this.#setOn(kind, this.#trackOf(kind)?.readyState === "live");
		this.#localChanged();
	}

	/**
	 * Sends a track as my microphone or camera, in place of the one before.
	 * @param {MediaStreamTrack} track
	 */
	#use(track) {
		const kind = track.kind === "audio" ? "audio" : "video";
		const before = this.stream.getTracks().find((other) => other.kind === kind && other !== track);
		if (before) {
			this.stream.removeTrack(before);
			if (this.#own.delete(before)) before.stop();
		}
		if (!this.stream.getTracks().includes(track)) this.stream.addTrack(track);
		track.addEventListener("ended", () => this.#deviceEnded(kind, track));
		this.#setOn(kind, track.enabled);
		const old = this.#local.find((local) => before && local.track === before);
		if (!old || !before) {
			this.addTrack(track, this.stream, "camera");
			return;
		}
		old.track = track;
		for (const peer of this.peers.values()) {
			if (!peer.replaceTrack(before, track)) peer.addTrack(old);
		}
	}

	/**
	 * The browser says "ended" only when it was not this page that stopped the track.
	 * @param {"audio"|"video"} kind
	 * @param {MediaStreamTrack} track
	 */
	#deviceEnded(kind, track) {
		if (this.ended || this.#trackOf(kind) !== track) return;
		this.#setOn(kind, false);
		this.#problem(problem("device-ended", kind));
		this.#localChanged();
	}

	/** @param {"audio"|"video"} kind @param {boolean} on */
	#setOn(kind, on) {
		if (kind === "audio") this.#audio = on;
		else this.#video = on;
	}

	/** @param {MediaProblem} found */
	#problem(found) {
		this.emit(found.reason, found);
		this.emit("problem", found);
	}
}
