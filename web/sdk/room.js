import { Call } from "./call.js";
import { SignalboxError } from "./errors.js";
import { Emitter } from "./events.js";
import { Moderation } from "./moderation.js";

/**
 * @typedef {import("./connection.js").Connection<any>} Connection
 * @typedef {import("./protocol.js").Member} Member
 * @typedef {import("./protocol.js").Message} Message
 * @typedef {import("./protocol.js").Signal} Signal
 * @typedef {import("./protocol.js").IceServer} IceServer
 * @typedef {import("./protocol.js").JoinResult} JoinResult
 *
 * @typedef {{
 *   joined: Member,
 *   left: {member: Member, reason: string},
 *   updated: {member: Member | null, changes: any},
 *   me: {changes: any},
 *   message: Message,
 *   edited: {offset: number, data: any, message: Message},
 *   redacted: {offset: number, message: Message},
 *   knocked: import("./moderation.js").Knock,
 *   "knock-ended": {knock: string, reason: string},
 *   signal: Signal & {handled: boolean},
 *   rejoined: {recovered: boolean},
 *   gap: {from: number, to: number},
 *   closed: {reason: string, message: string},
 *   error: SignalboxError,
 * }} RoomEvents
 */

/** Signals that may wait for the roster. */
const MAX_EARLY = 1024;

/**
 * This client's membership of one room. `box.join()` makes it.
 * @extends {Emitter<RoomEvents>}
 */
export class Room extends Emitter {
	/** The others, by their peer id. @type {Map<string, Member>} */
	members = new Map();
	/** @type {IceServer[]} */
	iceServers = [];
	/** My presence state, as the others see it. @type {any} */
	state = {};
	/** This client's own id in the room. */
	peer = "";
	/** @type {import("./protocol.js").Role} */
	role = "member";
	/** A moderator has muted me. */
	muted = false;
	/** Where the room's messages are. */
	epoch = "";
	offset = 0;
	/** Still a member, as far as this client knows. */
	open = true;
	/** The running call, if any. @type {Call | null} */
	activeCall = null;

	#connection;
	/** @type {(room: Room) => void} */
	#forget;
	/**
	 * Events wait here until whoever called join() has had time to listen.
	 * @type {{method: string, params: any}[] | null}
	 */
	#held = [];
	/** How often the roster is being read, page by page. */
	#paging = 0;
	/** Signals of peers that a later page may name. @type {Signal[]} */
	#early = [];

	/**
	 * @param {Connection} connection
	 * @param {string} name
	 * @param {JoinResult} joined
	 * @param {any} state
	 * @param {(room: Room) => void} forget
	 */
	constructor(connection, name, joined, state, forget) {
		super();
		this.name = name;
		this.state = state;
		this.#connection = connection;
		this.#forget = forget;
		/** What moderators do here. */
		this.moderation = new Moderation(connection, name);
		this.#adopt(joined);
		for (const message of joined.messages ?? []) {
			this.#held?.push({ method: "room.message", params: { room: name, ...message } });
		}
		setTimeout(() => {
			const held = this.#held ?? [];
			this.#held = null;
			for (const { method, params } of held) this.receive(method, params);
		}, 0);
	}

	/**
	 * Sends data to everybody in the room, also to oneself; it is kept in the room's history.
	 * @param {any} data
	 * @param {{idempotencyKey?: string}} [options]
	 * @returns {Promise<{epoch: string, offset: number}>}
	 */
	publish(data, { idempotencyKey } = {}) {
		const key = idempotencyKey && { idempotency_key: idempotencyKey };
		return this.#connection.request("room.publish", { room: this.name, data, ...key });
	}

	/** Shows the others another presence state, as in a raised hand. @param {any} state */
	async setState(state) {
		this.state = state;
		await this.#connection.request("room.state", { room: this.name, state });
	}

	/**
	 * Sends a signal to one peer (its id), to all devices of a user, or to the whole room.
	 * @param {string | {peer: string} | {user: string}} to
	 * @param {string} type
	 * @param {any} data
	 * @param {{timeout?: number}} [options]
	 * @returns {Promise<{queued: number}>}
	 */
	signal(to, type, data = {}, options) {
		const target = typeof to === "string" && to !== "room" ? { peer: to } : to;
		const params = { room: this.name, to: target, type, data };
		return this.#connection.request("signal.send", params, options);
	}

	/**
	 * Past messages of the room, one page: those after `since` (a message, say), or from the oldest.
	 * `reverse`: those before it, or from the newest, backwards. Edited and redacted ones are as they are now.
	 * @param {{since?: import("./protocol.js").Position, limit?: number, reverse?: boolean}} [which]
	 * @returns {Promise<{messages: Message[], epoch: string, offset: number, more: boolean}>}
	 */
	history({ since, ...which } = {}) {
		const position = since && { since: { epoch: since.epoch, offset: since.offset } };
		return this.#connection.request("room.history", { room: this.name, ...which, ...position });
	}

	/**
	 * Replaces what I said.
	 * @param {import("./protocol.js").Position} message
	 * @param {any} data
	 */
	async edit({ epoch, offset }, data) {
		await this.#connection.request("room.edit", { room: this.name, epoch, offset, data });
	}

	/** Takes back what I said, or as a moderator what anybody said. @param {import("./protocol.js").Position} message */
	async redact({ epoch, offset }) {
		await this.#connection.request("room.redact", { room: this.name, epoch, offset });
	}

	/** Leaves the room, and its call. */
	async leave() {
		if (!this.open) return;
		this.activeCall?.hangUp();
		this.#end("left", "You left the room.");
		try {
			await this.#connection.request("room.leave", { room: this.name });
		} catch (error) {
			const { kind } = /** @type {SignalboxError} */ (error);
			if (!["not_found", "lost", "closed"].includes(kind)) throw error;
		}
	}

	/**
	 * Calls everybody in the room who is in its call too.
	 * @param {import("./call.js").CallOptions} [options]
	 */
	call(options = {}) {
		if (this.activeCall) {
			throw new SignalboxError("conflict",
				`There is a call in ${this.name} already. Hang up first.`, { code: -32009 });
		}
		this.activeCall = new Call(this, options);
		return this.activeCall;
	}

	/* ---- what the box tells ---- */

	/**
	 * An event of this room arrived.
	 * @param {string} method
	 * @param {any} params
	 */
	receive(method, params) {
		if (this.#held) this.#held.push({ method, params });
		else if (method === "room.joined") for (const member of params.members) this.#joined(member);
		else if (method === "room.left") for (const one of each(params)) this.#left(one.peer, one.reason);
		else if (method === "room.updated") for (const one of each(params)) this.#updated(one);
		else if (method === "room.message") this.#message(params);
		else if (method === "signal.received") this.#signal(params);
		else if (method === "room.knocked") this.emit("knocked", params);
		else if (method === "room.knock_ended") this.emit("knock-ended", params);
	}

	/** Fetches ICE servers whose credentials are fresh. */
	async renewIceServers() {
		const { ice_servers } = await this.#connection.request("ice.servers", this.#connection.near);
		this.setIceServers(ice_servers);
	}

	/** There is reason to doubt the network: look whether the server can still be reached. */
	checkConnection() {
		if (this.#connection.state === "open") this.#connection.check();
	}

	/** @param {IceServer[]} servers */
	setIceServers(servers) {
		this.iceServers = servers;
		this.activeCall?.iceServersChanged();
	}

	/** The session was replaced by a new one: become a member again. */
	async rejoin() {
		const since = this.epoch ? { since: { epoch: this.epoch, offset: this.offset } } : {};
		try {
			await this.#connection.request("room.join", { room: this.name, state: this.state, ...since, ...this.#connection.near }, {
				apply: (joined) => this.#rejoined(joined),
			});
		} catch (error) {
			this.#rejoinFailed(/** @type {SignalboxError} */ (error));
		}
	}

	/** The connection ended for good. @param {{reason: string, message: string}} closed */
	end({ reason, message }) {
		this.activeCall?.end(reason);
		this.#end(reason, message);
	}

	/* ---- inside ---- */

	/** @param {JoinResult} joined */
	#adopt(joined) {
		this.peer = joined.peer;
		this.role = joined.role;
		this.muted = joined.muted ?? false;
		this.epoch = joined.epoch;
		this.offset = joined.messages?.length ? joined.messages[0].offset - 1 : joined.offset;
		this.iceServers = joined.ice_servers ?? [];
		this.members = new Map(joined.members.map((member) => [member.peer, member]));
		if (joined.members_cursor) void this.#moreMembers(joined.members_cursor);
	}

	/**
	 * The roster did not fit into the answer. Who is in it came before us, so we are polite.
	 * @param {string} cursor
	 */
	async #moreMembers(cursor) {
		/** @type {Set<string>} */
		const gone = new Set();
		this.#paging++;
		const off = this.on("left", ({ member }) => gone.add(member.peer));
		try {
			for (let next = cursor; next; ) {
				const params = { room: this.name, cursor: next };
				const page = await this.#connection.request("room.presence", params);
				for (const member of /** @type {Member[]} */ (page.members)) {
					if (member.peer === this.peer || this.members.has(member.peer)) continue;
					if (!gone.has(member.peer)) this.#joined({ ...member, polite: member.polite ?? true });
				}
				next = page.members_cursor;
			}
		} catch (error) {
			this.emit("error", /** @type {SignalboxError} */ (error));
		} finally {
			off();
			if (--this.#paging === 0) this.#releaseSignals();
		}
	}

	/** @param {Member} member */
	#joined(member) {
		if (member.peer === this.peer) return;
		const known = this.members.get(member.peer);
		if (known) {
			// An answer told of it before, and had the same or the newer say in who is polite.
			const { state, connected, role, muted } = member;
			this.#updated({ peer: member.peer, changes: { state, connected, role, muted } });
			return;
		}
		this.members.set(member.peer, member);
		this.emit("joined", member);
		this.activeCall?.memberChanged(member);
	}

	/** @param {string} peer @param {string} reason */
	#left(peer, reason) {
		if (peer === this.peer) {
			this.activeCall?.end(reason);
			this.#end(reason, LEFT[reason] ?? "You are no longer in the room. Join again.");
			return;
		}
		const member = this.members.get(peer);
		if (!member) return;
		this.members.delete(peer);
		this.activeCall?.memberLeft(peer, reason);
		this.emit("left", { member, reason });
	}

	/** @param {{peer?: string, changes: any}} update */
	#updated({ peer, changes }) {
		if (peer === undefined) {
			this.emit("updated", { member: null, changes });
			return;
		}
		if (peer === this.peer) {
			if (changes.role) this.role = changes.role;
			if (changes.muted !== undefined) this.muted = changes.muted;
			this.emit("me", { changes });
		}
		const member = this.members.get(peer);
		if (!member) return;
		Object.assign(member, changes);
		this.emit("updated", { member, changes });
		this.activeCall?.memberChanged(member);
	}

	/** @param {Message} message */
	#message(message) {
		if (message.epoch === this.epoch && message.offset <= this.offset) return;
		if (message.epoch === this.epoch && message.offset > this.offset + 1) {
			this.emit("gap", { from: this.offset, to: message.offset });
		}
		this.epoch = message.epoch;
		this.offset = message.offset;
		if (message.edits) this.emit("edited", { offset: message.edits, data: message.data, message });
		else if (message.redacts) this.emit("redacted", { offset: message.redacts, message });
		else this.emit("message", message);
	}

	/**
	 * While the roster is still being read, nobody knows of an unknown peer which side is polite: its
	 * signals wait. Afterwards an unknown one is one that came later, and `from` says all of it.
	 * @param {Signal} signal
	 */
	#signal(signal) {
		const from = signal.from.peer;
		const early = !this.members.has(from) || this.#early.some((other) => other.from.peer === from);
		if (this.#paging > 0 && early && this.#early.length < MAX_EARLY) this.#early.push(signal);
		else this.#deliver(signal);
	}

	#releaseSignals() {
		for (const signal of this.#early.splice(0)) this.#deliver(signal);
	}

	/** @param {Signal} signal */
	#deliver(signal) {
		const handled = this.activeCall ? this.activeCall.signalled(signal) : false;
		// Whoever calls us with the SDK while we are in no call must not wait for an answer.
		if (!this.activeCall && signal.type === "offer" && signal.data?.leg) {
			const bye = { leg: "", to: signal.data.leg, reason: "not_in_call" };
			this.signal(signal.from.peer, "bye", bye).catch(() => {});
		}
		this.emit("signal", { ...signal, handled });
	}

	/** @param {JoinResult} joined */
	#rejoined(joined) {
		const before = this.members;
		const { epoch, offset } = this;
		this.#adopt(joined);
		for (const member of before.values()) {
			if (this.members.has(member.peer)) continue;
			this.emit("left", { member, reason: "lost" });
		}
		for (const member of this.members.values()) {
			const known = before.has(member.peer);
			if (known) this.emit("updated", { member, changes: { state: member.state } });
			else this.emit("joined", member);
		}
		this.emit("rejoined", { recovered: joined.recovered });
		if (joined.recovered) {
			this.epoch = epoch;
			this.offset = offset;
			for (const message of joined.messages) this.#message(message);
		} else if (epoch !== joined.epoch || offset !== joined.offset) {
			this.offset = joined.offset;
			this.emit("gap", { from: offset, to: joined.offset });
		}
		this.activeCall?.rejoined();
	}

	/** @param {SignalboxError} error */
	#rejoinFailed(error) {
		if (!this.open || error.kind === "lost" || error.kind === "closed") return;
		if (["rate_limited", "overloaded", "timeout"].includes(error.kind)) {
			setTimeout(() => this.open && void this.rejoin(), (error.retryAfter || 2) * 1000);
			return;
		}
		this.emit("error", error);
		this.end({ reason: error.reason, message: error.message });
	}

	/** @param {string} reason @param {string} message */
	#end(reason, message) {
		if (!this.open) return;
		this.open = false;
		this.#forget(this);
		this.emit("closed", { reason, message });
	}
}

/**
 * What an event says of one peer, or of several.
 * @param {any} params
 * @returns {any[]}
 */
function each(params) {
	return params.members ?? [params];
}

/** @type {Record<string, string>} */
const LEFT = {
	kicked: "You were taken out of the room. You can join again in a minute.",
	banned: "You were banned from this room. Ask its owner.",
	closed: "The room was closed, or your sign-in does not allow it any more. Choose another one.",
	replaced: "You joined this room elsewhere. Close the other window, or join again here.",
	lost: "The connection was away for too long. Join again.",
};
