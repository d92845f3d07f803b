import { utf8Bytes } from "./counting.js";
import { SignalboxError } from "./errors.js";
import { UNCOUNTED } from "./protocol.js";

/**
 * @typedef {import("./outbox.js").Outgoing & {
 *   id: string, method: string, timer: any, deadline: number,
 *   resolve: (result: any) => void, reject: (error: Error) => void,
 *   apply?: (result: any) => void,
 * }} Call
 */

/** The requests that wait for their reply. */
export class Calls {
	#next = 1;
	/** @type {Map<string, Call>} */
	#open = new Map();
	#again;

	/**
	 * @param {(call: Call, error: SignalboxError) => boolean} again takes a call that was refused
	 *   to send it once more, or says false
	 */
	constructor(again) {
		this.#again = again;
	}

	/**
	 * @param {string} method
	 * @param {{room?: string, [name: string]: any}} params
	 * @param {(result: any) => void} [apply]
	 */
	make(method, params, apply) {
		// The prefix tells a reply that is not counted from one that is, also long after.
		const id = (UNCOUNTED.has(method) ? "u" : "c") + this.#next++;
		const text = JSON.stringify({ jsonrpc: "2.0", id, method, params });
		/** @type {(result: any) => void} */
		let resolve = () => {};
		/** @type {(error: Error) => void} */
		let reject = () => {};
		const promise = new Promise((res, rej) => {
			resolve = res;
			reject = rej;
		});
		/** @type {Call} */
		const call = {
			id, method, room: params.room, text, bytes: utf8Bytes(text), sent: false,
			timer: 0, deadline: 0, resolve, reject, apply,
		};
		this.#open.set(id, call);
		return { call, promise };
	}

	/** @param {any} id */
	isUncounted(id) {
		return typeof id === "string" && id.startsWith("u");
	}

	/**
	 * @param {Call} call
	 * @param {number} ms
	 * @param {() => void} expired
	 */
	limit(call, ms, expired) {
		call.deadline = performance.now() + ms;
		call.timer = setTimeout(() => {
			expired();
			this.fail(call, new SignalboxError("timeout",
				`${call.method}: no answer within ${ms / 1000} s. Check the connection and try again.`,
				{ code: -32008 }));
		}, ms);
	}

	/** @param {{id?: any, result?: any, error?: any}} reply */
	settle(reply) {
		const call = this.#open.get(reply.id);
		if (!call) return;
		if (reply.error) {
			const error = SignalboxError.fromReply(reply.error, call.method);
			if (!this.#again(call, error)) this.fail(call, error);
			return;
		}
		this.#remove(call);
		try {
			call.apply?.(reply.result);
			call.resolve(reply.result);
		} catch (error) {
			call.reject(/** @type {Error} */ (error));
		}
	}

	/** @param {Call} call @param {Error} error */
	fail(call, error) {
		this.#remove(call);
		call.reject(error);
	}

	/** Fails those that were handed to a socket. @param {(method: string) => Error} make */
	failSent(make) {
		for (const call of [...this.#open.values()]) if (call.sent) this.fail(call, make(call.method));
	}

	/** @param {(method: string) => Error} make */
	failAll(make) {
		for (const call of [...this.#open.values()]) this.fail(call, make(call.method));
	}

	/**
	 * Drops the calls of these methods: their socket is gone, and they belong to it alone.
	 * @param {string[]} methods
	 */
	forget(...methods) {
		for (const call of [...this.#open.values()]) {
			if (!methods.includes(call.method)) continue;
			this.fail(call, new SignalboxError("lost", `${call.method}: the connection was lost.`));
		}
	}

	/** @param {Call} call */
	#remove(call) {
		clearTimeout(call.timer);
		this.#open.delete(call.id);
	}
}
