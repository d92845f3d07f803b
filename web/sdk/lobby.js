import { SignalboxError } from "./errors.js";

/**
 * @typedef {import("./connection.js").Connection<any>} Connection
 * @typedef {{
 *   message?: string, promise: Promise<void>,
 *   resolve: () => void, reject: (error: SignalboxError) => void,
 * }} Waiting
 */

/** Knocking at the doors of rooms with a lobby. */
export class Lobby {
	#connection;
	/** By room. @type {Map<string, Waiting>} */
	#waiting = new Map();

	/** @param {Connection} connection */
	constructor(connection) {
		this.#connection = connection;
	}

	/**
	 * Resolves when a moderator has let this user in.
	 * @param {string} room
	 * @param {string} [message]
	 */
	async knock(room, message) {
		const known = this.#waiting.get(room);
		if (known) return known.promise;
		const waiting = waitFor(message);
		this.#waiting.set(room, waiting);
		waiting.promise.catch(() => {});
		void this.#ask(room, waiting);
		return waiting.promise;
	}

	/** @param {string} method @param {{room: string, reason?: string}} params */
	notified(method, { room, reason }) {
		if (method === "room.admitted") this.#take(room)?.resolve();
		if (method === "room.denied") this.#take(room)?.reject(denied(room, reason));
	}

	/** A new session stands at no door. */
	again() {
		for (const [room, waiting] of this.#waiting) void this.#ask(room, waiting);
	}

	/** The connection is closed. @param {{reason: string, message: string}} closed */
	end({ reason, message }) {
		for (const room of [...this.#waiting.keys()]) {
			this.#take(room)?.reject(new SignalboxError(reason, message));
		}
	}

	/** @param {string} room @param {Waiting} waiting */
	async #ask(room, { message }) {
		try {
			await this.#connection.request("room.knock", { room, ...(message && { message }) });
		} catch (cause) {
			const error = /** @type {SignalboxError} */ (cause);
			// Somebody has opened meanwhile, and this session, or the one before, was not there to hear it.
			if (error.reason === "no_need_to_knock") this.#take(room)?.resolve();
			// With a new session it is asked again.
			else if (error.kind !== "lost") this.#take(room)?.reject(error);
		}
	}

	/** @param {string} room */
	#take(room) {
		const waiting = this.#waiting.get(room);
		this.#waiting.delete(room);
		return waiting;
	}
}

/** @param {string} [message] @returns {Waiting} */
function waitFor(message) {
	let resolve = () => {};
	/** @type {(error: SignalboxError) => void} */
	let reject = () => {};
	/** @type {Promise<void>} */
	const promise = new Promise((res, rej) => {
		resolve = res;
		reject = rej;
	});
	return { message, promise, resolve, reject };
}

/** @param {string} room @param {string} [reason] */
function denied(room, reason = "denied") {
	const message = reason === "closed"
		? `${room} was closed. Choose another room.`
		: `Nobody let you into ${room}. You can knock again in a minute.`;
	return new SignalboxError(reason, message, { code: -32003 });
}
