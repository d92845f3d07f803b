import { Backoff } from "./backoff.js";
import { countMessages, utf8Bytes } from "./counting.js";
import { MAX_MESSAGE } from "./protocol.js";
import { EventParser } from "./sse.js";

/**
 * One message of many goes as it is, several as a JSON array: both within what the server takes.
 * @typedef {{texts: string[], count: number, body: string}} Body `count`: those that are counted
 * @typedef {{fetch?: typeof globalThis.fetch, random?: () => number}} HttpOptions
 */

const MAX_BATCH = 100;
/** A POST without an answer for so long is sent again: the server skips what it has. */
const POST_MS = 10_000;
/** So many failures in a row, and the connection counts as lost. */
const MAX_FAILURES = 6;
/** What a browser sends for a page that is being closed. */
const MAX_LAST = 60 * 1024;
/** Answers that are not the server's own but of what stands in front of it. */
const FROM_A_PROXY = new Set([502, 504]);

/**
 * A connection without WebSocket that is used like one: the first text that is sent must be
 * `session.open`; it becomes the stream's request, and the stream's first event the reply.
 *
 * What is sent then goes in POSTs, one at a time; what comes meanwhile waits and is joined. Who
 * sends keeps within a bound by counting (counting.js), so there is none here.
 */
export class HttpSocket {
	/** @type {() => void} */
	onopen = () => {};
	/** `counted`: how many counted messages there were up to this one, if the server said so.
	 * @type {(event: {data: string, counted?: number}) => void} */
	onmessage = () => {};
	/** @type {(event: {code: number, reason: string}) => void} */
	onclose = () => {};

	#base;
	#fetch;
	#random;
	#renew;
	#over = new AbortController();
	/** @type {any} */
	#openId = null;
	#token = "";
	#session = "";
	#answering = false;
	/** Counted messages that the server has. */
	#sent = 0;
	/** @type {string[]} */
	#queue = [];
	/** @type {Body | null} */
	#inFlight = null;

	/**
	 * @param {string} base the address that `events` and `messages` are under
	 * @param {() => Promise<string>} renew another token in place of one that was refused
	 * @param {HttpOptions} [options]
	 */
	constructor(base, renew, { fetch = globalThis.fetch, random } = {}) {
		this.#base = base;
		this.#renew = renew;
		this.#fetch = fetch.bind(globalThis);
		this.#random = random;
		queueMicrotask(() => this.#closed || this.onopen());
	}

	get #closed() {
		return this.#over.signal.aborted;
	}

	/** The server, or something on the way, has begun to answer but lets nothing through. */
	get heldBack() {
		return this.#answering && this.#session === "";
	}

	/** @param {string} text */
	send(text) {
		if (this.#closed) return;
		if (this.#openId === null) {
			const { id, params } = JSON.parse(text);
			this.#openId = id;
			void this.#stream(params);
			return;
		}
		this.#queue.push(text);
		if (!this.#inFlight) void this.#post();
	}

	/** Code 1000 ends the session, any other only this connection. @param {number} code */
	close(code) {
		if (this.#closed) return;
		if (code === 1000 && this.#session) this.#sayGoodbye();
		this.#over.abort();
	}

	/** @param {number} code @param {string} [reason] */
	#end(code, reason = "") {
		if (this.#closed) return;
		this.#over.abort();
		this.onclose({ code, reason });
	}

	/* ---- what comes ---- */

	/** @param {{token: string, batch?: boolean, resume?: {session: string, received: number}}} open */
	async #stream({ token, batch, resume }) {
		this.#token = token;
		const query = new URLSearchParams({ batch: batch ? "1" : "0" });
		if (resume) query.set("session", resume.session);
		if (resume) query.set("received", String(resume.received));
		try {
			const response = await this.#ask(`events?${query}`, { headers: { Accept: "text/event-stream" } },
				this.#over.signal);
			this.#answering = true;
			const type = response.headers.get("Content-Type") ?? "";
			if (!response.ok) await this.#refused(response);
			else if (!/^text\/event-stream[ \t]*(;|$)/i.test(type) || !response.body) this.#end(1006, "no stream");
			else await this.#read(response.body.getReader());
		} catch (error) {
			this.#end(error instanceof RangeError ? 1009 : 1006, String(error));
		}
	}

	/** @param {ReadableStreamDefaultReader<Uint8Array>} reader */
	async #read(reader) {
		const parser = new EventParser((event) => this.#closed || this.#event(event));
		for (;;) {
			const { done, value } = await reader.read();
			if (this.#closed) return;
			if (done) break;
			parser.feed(value);
		}
		this.#end(1006, "the stream ended");
	}

	/** @param {{name: string, data: string, id: string}} event */
	#event({ name, data, id }) {
		if (name === "open") {
			const result = JSON.parse(data);
			this.#session = result.session;
			this.#sent = result.received;
			this.#reply({ result });
		} else if (name === "close") {
			const { code, reason } = JSON.parse(data);
			this.#end(code, reason);
		} else if (name === "message") {
			const counted = id === "" ? undefined : Number(id.slice(id.lastIndexOf(":") + 1));
			this.onmessage({ data, counted });
		}
	}

	/** @param {object} outcome of session.open */
	#reply(outcome) {
		this.onmessage({ data: JSON.stringify({ jsonrpc: "2.0", id: this.#openId, ...outcome }) });
	}

	/** The stream's request was. @param {Response} response */
	async #refused(response) {
		const text = (await response.text()).trim();
		const { status } = response;
		const error = errorOf(text) ?? { code: 0, message: text.slice(0, 200), data: {} };
		if (status === 401) this.#end(3000, error.message);
		else if (status === 403) this.#end(3003, error.message);
		else if (status === 429 || status === 503 || error.code) {
			const code = error.code || (status === 429 ? -32029 : -32030);
			this.#reply({ error: { code, message: error.message, data: { retry_after: retryAfter(response), ...error.data } } });
		} else this.#end(1006, `${status} ${error.message}`);
	}

	/* ---- what goes ---- */

	async #post() {
		while (this.#queue.length > 0 && !this.#closed) {
			const body = this.#join(this.#queue);
			this.#inFlight = body;
			this.#queue.splice(0, body.texts.length);
			if (!(await this.#deliver(body))) return;
			this.#sent += body.count;
			this.#inFlight = null;
		}
	}

	/** As many as one POST may carry. @param {string[]} texts @returns {Body} */
	#join(texts) {
		let bytes = utf8Bytes(texts[0]) + 2;
		let count = 1;
		while (count < Math.min(texts.length, MAX_BATCH)) {
			bytes += utf8Bytes(texts[count]) + 1;
			if (bytes > MAX_MESSAGE) break;
			count++;
		}
		return bodyOf(texts.slice(0, count));
	}

	/** Until the server has it. False: it will not. @param {Body} body */
	async #deliver(body) {
		this.#adoptToken(body);
		const backoff = new Backoff(this.#random);
		let renewed = false;
		for (let failures = 0; failures < MAX_FAILURES && !this.#closed; ) {
			const response = await this.#try(body);
			if (this.#closed) return false;
			if (response?.ok) return true;
			if (!response || FROM_A_PROXY.has(response.status)) {
				failures++;
				await pause(backoff.next());
			} else if (response.status === 429 || response.status === 503) {
				await pause(retryAfter(response) * 1000 + backoff.next());
			} else if (response.status === 401 && !renewed) {
				renewed = true;
				this.#token = await this.#renew().catch(() => this.#token);
			} else {
				this.#end(codeOf(response.status), `POST ${response.status}`);
				return false;
			}
		}
		this.#end(1006, "what was sent did not arrive");
		return false;
	}

	/** @param {Body} body @returns {Promise<Response | null>} null: no answer came */
	async #try({ body }) {
		const late = new AbortController();
		const timer = setTimeout(() => late.abort(), POST_MS);
		const stop = () => late.abort();
		this.#over.signal.addEventListener("abort", stop);
		try {
			return await this.#ask("messages", this.#message(body, this.#sent), late.signal);
		} catch {
			return null;
		} finally {
			clearTimeout(timer);
			this.#over.signal.removeEventListener("abort", stop);
		}
	}

	/**
	 * The session's end, behind all that the server may not have yet: it skips what it has.
	 * The page may be gone before there is an answer.
	 */
	#sayGoodbye() {
		const end = JSON.stringify({ jsonrpc: "2.0", id: "end", method: "session.close", params: {} });
		const { body } = bodyOf([...(this.#inFlight?.texts ?? []), ...this.#queue, end]);
		const keepalive = utf8Bytes(body) <= MAX_LAST;
		this.#ask("messages", { ...this.#message(body, this.#sent), keepalive }).catch(() => {});
	}

	/** @param {string} body @param {number} sent */
	#message(body, sent) {
		return {
			method: "POST",
			body,
			headers: {
				"Content-Type": "application/json",
				"Signalbox-Session": this.#session,
				"Signalbox-Sent": String(sent),
			},
		};
	}

	/**
	 * @param {string} path
	 * @param {{method?: string, body?: string, keepalive?: boolean, headers: Record<string, string>}} request
	 * @param {AbortSignal} [signal]
	 */
	#ask(path, request, signal) {
		const headers = { ...request.headers, Authorization: `Bearer ${this.#token}` };
		const how = { cache: "no-store", credentials: "omit", redirect: "error" };
		return this.#fetch(this.#base + path, /** @type {RequestInit} */ ({ ...how, ...request, headers, signal }));
	}

	/** A token that the session is to have from now on is the one to come with. @param {Body} body */
	#adoptToken({ texts }) {
		for (const text of texts) {
			const message = text.includes('"session.refresh"') ? JSON.parse(text) : {};
			if (message.method === "session.refresh") this.#token = message.params.token;
		}
	}
}

/** @param {string[]} texts @returns {Body} */
function bodyOf(texts) {
	const count = texts.filter((text) => countMessages(JSON.parse(text), () => false) > 0).length;
	return { texts, count, body: texts.length === 1 ? texts[0] : `[${texts.join(",")}]` };
}

/** What a refused POST means for the connection, as a close code. @param {number} status */
function codeOf(status) {
	if (status === 401) return 3000;
	if (status === 403) return 3003;
	// 404, 409: the server has this session otherwise; a resume makes that right.
	return [400, 411, 413, 415].includes(status) ? 1002 : 1006;
}

/** Seconds. @param {Response} response */
function retryAfter(response) {
	return Number(response.headers.get("Retry-After")) || 1;
}

/** @param {number} ms */
function pause(ms) {
	return new Promise((done) => setTimeout(done, ms));
}

/**
 * The error in the body of a refusal, when it is one.
 * @param {string} text
 * @returns {{code: number, message: string, data: any} | null}
 */
function errorOf(text) {
	try {
		const { code, message, data = {} } = JSON.parse(text).error;
		return { code, message, data };
	} catch {
		return null;
	}
}
