import { ACK, KEPT, UNCOUNTED } from "./protocol.js";

/**
 * Counts the messages of one session both ways and keeps the sent ones until the server
 * has acknowledged them. This is what makes a resume exact: nothing lost, nothing twice.
 */
export class Counting {
	/** Messages received from the server. */
	received = 0;
	/** Messages sent to the server. */
	sent = 0;
	/** @type {{text: string, bytes: number}[]} */
	#kept = [];
	#keptBytes = 0;
	#ackDueMessages = 0;
	#ackDueBytes = 0;

	/** How many of the sent ones the server has confirmed. */
	get confirmed() {
		return this.sent - this.#kept.length;
	}

	/** @param {number} bytes */
	hasRoom(bytes) {
		return this.#kept.length < KEPT.messages && this.#keptBytes + bytes <= KEPT.bytes;
	}

	/**
	 * Notes one message as sent.
	 * @param {string} text
	 * @param {number} bytes
	 */
	keep(text, bytes) {
		this.sent++;
		this.#kept.push({ text, bytes });
		this.#keptBytes += bytes;
	}

	/**
	 * The server has received `n` messages in all. False: it cannot have.
	 * @param {unknown} n
	 */
	confirm(n) {
		if (!Number.isInteger(n)) return false;
		const count = /** @type {number} */ (n) - this.confirmed;
		if (count < 0 || count > this.#kept.length) return false;
		for (const message of this.#kept.splice(0, count)) this.#keptBytes -= message.bytes;
		return true;
	}

	/** The sent messages that the server has not confirmed, in order. */
	rest() {
		return this.#kept.map((message) => message.text);
	}

	/**
	 * Notes received messages. True: an acknowledgement should go out now.
	 * @param {number} messages
	 * @param {number} bytes
	 */
	arrived(messages, bytes) {
		this.received += messages;
		this.#ackDueMessages += messages;
		this.#ackDueBytes += bytes;
		return this.#ackDueMessages >= ACK.messages || this.#ackDueBytes >= ACK.bytes;
	}

	/** True when something came that was not acknowledged yet. */
	get ackDue() {
		return this.#ackDueMessages > 0;
	}

	/** The acknowledgement is going out. @returns {number} what it says */
	acknowledge() {
		this.#ackDueMessages = 0;
		this.#ackDueBytes = 0;
		return this.received;
	}
}

/**
 * How many messages one text frame counts for.
 * @param {unknown} value the frame's JSON, or undefined when it was none
 * @param {(id: any) => boolean} isUncountedReply
 */
export function countMessages(value, isUncountedReply) {
	if (!Array.isArray(value) || value.length === 0) return counts(value, isUncountedReply) ? 1 : 0;
	return value.filter((item) => counts(item, isUncountedReply)).length;
}

/**
 * @param {any} item
 * @param {(id: any) => boolean} isUncountedReply
 */
function counts(item, isUncountedReply) {
	if (item === null || typeof item !== "object") return true;
	if (typeof item.method === "string") return !UNCOUNTED.has(item.method);
	return !isUncountedReply(item.id);
}

const encoder = new TextEncoder();

/** @param {string} text */
export function utf8Bytes(text) {
	return encoder.encode(text).length;
}
