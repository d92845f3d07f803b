/**
 * @typedef {import("./connection.js").Connection<any>} Connection
 * @typedef {{user: string, name: string, scopes: string[]}} Caller
 * @typedef {(params: any, call: {method: string, caller: Caller}) => any} Served what it returns, or
 *   resolves with, is the caller's result. What it throws is the caller's error: its `code`, `message`
 *   and `data`
 */

/** An error without a code of its own. */
const FAILED = -32000;
/** The server's answer may take as long as the call; then so long for the way. */
const WAY_S = 5;

/** Methods that this client serves for others, and calls of those that others serve. */
export class Serving {
	#connection;
	/** @type {Map<string, Served>} */
	#methods = new Map();

	/** @param {Connection} connection */
	constructor(connection) {
		this.#connection = connection;
	}

	/** @param {Record<string, Served>} methods */
	async serve(methods) {
		const before = this.#methods;
		this.#methods = new Map(Object.entries(methods));
		try {
			await this.#offer();
		} catch (error) {
			this.#methods = before;
			throw error;
		}
	}

	/** On a new session nobody knows of it. */
	async again() {
		if (this.#methods.size > 0) await this.#offer();
	}

	/** @param {string} method @param {any} params @param {number} timeout */
	call(method, params, timeout) {
		return this.#connection.request("rpc.call", { method, params, timeout }, { timeout: (timeout + WAY_S) * 1000 });
	}

	/**
	 * What to answer to `rpc.invoke`.
	 * @param {{method: string, params: any, caller: Caller}} asked
	 * @returns {Promise<{result: any} | {error: {code: number, message: string, data?: any}}>}
	 */
	async answer({ method, params, caller }) {
		const served = this.#find(method);
		if (!served) return { error: { code: -32601, message: `${method} is not served here` } };
		try {
			return { result: (await served(params, { method, caller })) ?? null };
		} catch (error) {
			const { code, message, data } = /** @type {any} */ (error ?? {});
			return {
				error: {
					code: Number.isInteger(code) ? code : FAILED,
					message: String(message ?? error),
					...(data !== undefined && { data }),
				},
			};
		}
	}

	#offer() {
		return this.#connection.request("rpc.serve", { methods: [...this.#methods.keys()] });
	}

	/** @param {string} method */
	#find(method) {
		let found = this.#methods.get(method);
		for (let at = method.length; !found && (at = method.lastIndexOf(".", at - 1)) > 0; ) {
			found = this.#methods.get(`${method.slice(0, at)}.*`);
		}
		return found;
	}
}
