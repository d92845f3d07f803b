import { SignalboxError } from "./errors.js";
import { Emitter } from "./events.js";

/**
 * @typedef {import("./signalbox.js").Signalbox} Signalbox
 * @typedef {import("./room.js").Room} Room
 * @typedef {{user: string, name: string}} Someone
 * @typedef {{
 *   call: string, room: string, direction: "in"|"out", user: string, name: string | null,
 *   outcome: string | null, data?: any, started_at: number, answered_at: number | null,
 *   ended_at: number | null, seen: boolean,
 * }} CallRecord times in seconds since 1970; what has not happened yet is null
 *
 * @typedef {{
 *   accepted: {room: Room},
 *   ended: {reason: string, duration?: number, message: string},
 * }} RingEvents
 */

/**
 * A call to a user, from the first ring to the end: `box.calls.ring()` makes one, the event `incoming`
 * of the box brings one. Once it is accepted, both are in `room`, and `room.call()` connects them.
 * @extends {Emitter<RingEvents>}
 */
export class Ring extends Emitter {
	/** @type {"ringing"|"accepted"|"ended"} */
	state = "ringing";
	/** Where both are, once it is accepted. @type {Room | null} */
	room = null;
	/** On how many devices it rings. */
	devices = 0;
	/** When it stops to ring by itself, in seconds since 1970, where the server said so. */
	expiresAt = 0;

	#box;
	/**
	 * Events wait here until whoever made the call has had time to listen.
	 * @type {(() => void)[] | null}
	 */
	#held = [];

	/**
	 * @param {Signalbox} box
	 * @param {{call: string, room: string, direction: "in"|"out", other: Someone, data?: any}} what
	 */
	constructor(box, { call, room, direction, other, data }) {
		super();
		this.#box = box;
		this.call = call;
		/** The name of the room that it is in, or will be. */
		this.roomName = room;
		this.direction = direction;
		/** Who calls, or is called. */
		this.other = other;
		this.data = data;
		setTimeout(() => {
			const held = this.#held ?? [];
			this.#held = null;
			for (const tell of held) tell();
		}, 0);
	}

	/** Takes the call here; it stops ringing on all other devices. @returns {Promise<Room>} */
	async accept() {
		await this.#box.request("call.accept", { call: this.call }, {
			// At once, because the room's events may stand in the same frame as the answer.
			apply: (result) => this.accepted(result),
		});
		return /** @type {Room} */ (this.room);
	}

	/** Ends the ringing on all devices. */
	async decline() {
		await this.#end("call.decline", "declined");
	}

	/** Whoever called gives it up. */
	async cancel() {
		await this.#end("call.cancel", "cancelled");
	}

	/** Ends the call for both. */
	async hangUp() {
		if (this.state === "accepted") await this.#end("call.hangup", "hangup");
		else if (this.direction === "in") await this.decline();
		else await this.cancel();
	}

	/* ---- called by Ringing ---- */

	/** @param {{joined: any}} result */
	accepted({ joined }) {
		if (this.state !== "ringing") return;
		this.state = "accepted";
		const room = (this.room = this.#box.adopt(joined));
		this.#tell("accepted", { room });
	}

	/** @param {{reason: string, duration?: number}} end */
	ended({ reason, duration }) {
		if (this.state === "ended") return;
		this.state = "ended";
		this.#box.calls.running.delete(this.call);
		// The call's own room is nobody's afterwards; from another one only the call is gone.
		if (this.room?.name === `call:${this.call}`) this.room.leave().catch(() => {});
		else this.room?.activeCall?.hangUp();
		const message = SENTENCE[reason] ?? "The call has ended.";
		this.#tell("ended", { reason, message, ...(duration !== undefined && { duration }) });
	}

	/**
	 * @template {keyof RingEvents} K
	 * @param {K} name
	 * @param {RingEvents[K]} detail
	 */
	#tell(name, detail) {
		if (this.#held) this.#held.push(() => this.emit(name, detail));
		else this.emit(name, detail);
	}

	/** @param {string} method @param {string} reason */
	async #end(method, reason) {
		if (this.state === "ended") return;
		try {
			await this.#box.request(method, { call: this.call });
		} catch (error) {
			if (/** @type {SignalboxError} */ (error).reason !== "no_such_call") throw error;
		}
		this.ended({ reason });
	}
}

/** Calling users, wherever they are. */
export class Ringing {
	/** Calls that ring or are talked in, by their id. @type {Map<string, Ring>} */
	running = new Map();

	#box;

	/** @param {Signalbox} box */
	constructor(box) {
		this.#box = box;
	}

	/**
	 * Rings a user on all devices. Nobody there, or busy: then it is `ended` at once.
	 * @param {string} user
	 * @param {{name?: string, room?: string, data?: any, timeout?: number}} [options] `room`: not a room of
	 *   the call's own, but this one. `timeout`: seconds that it rings. `name`: for your own use
	 * @returns {Promise<Ring>}
	 */
	async ring(user, { name = user, room, data, timeout } = {}) {
		/** @type {Ring | undefined} */
		let ring;
		const params = {
			to: { user },
			...(room && { room }),
			...(data !== undefined && { data }),
			...(timeout && { timeout }),
		};
		await this.#box.request("call.invite", params, {
			apply: (result) => {
				// Where both ring each other at once it is the call that rings here already.
				ring = this.running.get(result.call) ??
					this.#begin({ ...result, direction: "out", other: { user, name }, data });
				ring.devices = result.ringing;
			},
		});
		return /** @type {Ring} */ (ring);
	}

	/**
	 * Past calls, the newest first.
	 * @param {{cursor?: string, limit?: number}} [page]
	 * @returns {Promise<{calls: CallRecord[], cursor?: string}>}
	 */
	history(page = {}) {
		return this.#box.request("call.history", page);
	}

	/** Missed calls that need not be told of again. @param {string[]} [calls] all without */
	async seen(calls) {
		await this.#box.request("call.seen", calls ? { calls } : { all: true });
	}

	/** @param {string} method @param {any} params */
	notified(method, params) {
		const known = this.running.get(params.call);
		if (method === "call.missed") this.#box.emit("missed", params);
		else if (method === "call.accepted") known?.accepted(params);
		else if (method === "call.ended") known?.ended(params);
		else if (method === "call.incoming" && !known) {
			const { from, expires_at, ...what } = params;
			const ring = this.#begin({ ...what, direction: "in", other: from });
			ring.expiresAt = expires_at;
			this.#box.emit("incoming", ring);
		}
	}

	/** The session is over, and its calls with it. */
	lost() {
		for (const ring of [...this.running.values()]) ring.ended({ reason: "lost" });
	}

	/** @param {{call: string, room: string, direction: "in"|"out", other: Someone, data?: any}} what */
	#begin(what) {
		const ring = new Ring(this.#box, what);
		this.running.set(ring.call, ring);
		return ring;
	}
}

/** @type {Record<string, string>} */
const SENTENCE = {
	declined: "They cannot take the call now.",
	cancelled: "The caller has given up.",
	timeout: "Nobody answered.",
	answered_elsewhere: "You took this call on another device.",
	unreachable: "They cannot be reached now.",
	busy: "They are in another call.",
	hangup: "The call has ended.",
	lost: "The connection was away for too long, and the call has ended.",
};
