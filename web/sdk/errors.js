import { ADVICE, REASON_OF_CODE } from "./protocol.js";

/** Anything that went wrong between this client and the server. */
export class SignalboxError extends Error {
	/**
	 * @param {string} reason a stable word, as `forbidden` or `room_locked`
	 * @param {string} message what happened and what to do, as a sentence
	 * @param {{code?: number, data?: any, cause?: unknown}} [more]
	 */
	constructor(reason, message, { code = 0, data = {}, cause } = {}) {
		super(message, cause === undefined ? undefined : { cause });
		this.name = "SignalboxError";
		/** A stable word to compare with. */
		this.reason = reason;
		/** The general word that `reason` is a finer one of: `no_such_peer` is `not_found`. */
		this.kind = REASON_OF_CODE[code] ?? reason;
		/** The JSON-RPC code, or the close code, or 0 when it arose here. */
		this.code = code;
		/** What the server added: `field`, `retry_after` (seconds), `limit`. @type {any} */
		this.data = data;
	}

	/** Seconds to wait before trying again, if the server named some. @returns {number} */
	get retryAfter() {
		return Number(this.data?.retry_after) || 0;
	}

	/**
	 * From the error object of a reply.
	 * @param {{code: number, message?: string, data?: any}} error
	 * @param {string} method
	 */
	static fromReply(error, method) {
		const data = error.data ?? {};
		const general = REASON_OF_CODE[error.code] ?? "error";
		const reason = typeof data.reason === "string" ? data.reason : general;
		const field = data.field ? ` (field ${data.field})` : "";
		const said = String(error.message || general).replace(/[.\s]+$/, "");
		const advice = ADVICE[reason] ?? ADVICE[general] ?? "";
		const message = `${method}: ${said}${field}. ${advice}`.trim();
		return new SignalboxError(reason, message, { code: error.code, data });
	}

	/** What a token callback throws when only the person can help. @param {string} [message] */
	static signInNeeded(message = "Nobody is signed in. Sign in first.") {
		return new SignalboxError("unauthenticated", message, { code: -32001 });
	}
}
