/** What one event may have at most, in characters: four times the largest message of the server. */
const MAX_EVENT = 1024 * 1024;

/**
 * Reads a stream of server-sent events (the HTML standard, "Interpreting an event stream") piece
 * by piece, wherever the pieces are cut: also within a character or between CR and LF.
 */
export class EventParser {
	#decoder = new TextDecoder();
	/** What has come of a line that is not complete. */
	#rest = "";
	#afterCr = false;
	#name = "";
	/** @type {string[]} */
	#data = [];
	#size = 0;
	#id = "";
	/** @type {(event: {name: string, data: string, id: string}) => void} */
	#event;

	/** @param {(event: {name: string, data: string, id: string}) => void} event gets each one; its own id or "" */
	constructor(event) {
		this.#event = event;
	}

	/** @param {Uint8Array} bytes @throws {RangeError} when an event grows beyond all measure */
	feed(bytes) {
		let text = this.#decoder.decode(bytes, { stream: true });
		if (text === "") return;
		if (this.#afterCr && text.startsWith("\n")) text = text.slice(1);
		this.#afterCr = text.endsWith("\r");
		const lines = text.split(/\r\n|\r|\n/);
		lines[0] = this.#rest + lines[0];
		this.#rest = /** @type {string} */ (lines.pop());
		for (const line of lines) this.#line(line);
		if (this.#rest.length + this.#size > MAX_EVENT) throw new RangeError("an event is too large");
	}

	/** @param {string} line */
	#line(line) {
		if (line === "") {
			this.#dispatch();
			return;
		}
		const colon = line.indexOf(":");
		const field = colon < 0 ? line : line.slice(0, colon);
		const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
		if (field === "event") this.#name = value;
		else if (field === "id") this.#id = value;
		else if (field === "data") {
			this.#data.push(value);
			this.#size += value.length;
		}
	}

	#dispatch() {
		const event = { name: this.#name || "message", data: this.#data.join("\n"), id: this.#id };
		const empty = this.#data.length === 0;
		this.#name = this.#id = "";
		this.#data = [];
		this.#size = 0;
		if (!empty) this.#event(event);
	}
}
