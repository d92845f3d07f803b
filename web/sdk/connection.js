import { Backoff } from "./backoff.js";
import { Calls } from "./calls.js";
import { Counting, countMessages, utf8Bytes } from "./counting.js";
import { SignalboxError } from "./errors.js";
import { Emitter } from "./events.js";
import { ACK, KEPT, MAX_MESSAGE, SUBPROTOCOL, closing } from "./protocol.js";

/**
 * @typedef {import("./protocol.js").SessionResult} SessionResult
 * @typedef {"idle"|"connecting"|"open"|"reconnecting"|"closed"} State
 * @typedef {(why: {fresh: boolean}) => string | null | Promise<string | null>} TokenCallback
 *   `fresh: true` asks for another token than the last: that one was refused or is running out.
 *   Null, or a SignalboxError `unauthenticated`, says that only the person can help; any other
 *   failure is tried again.
 *
 * @typedef {{
 *   url: string, token: TokenCallback, client?: {name: string, version: string},
 *   timeout?: number, random?: () => number, WebSocket?: typeof globalThis.WebSocket,
 * }} ConnectionOptions
 *
 * @typedef {{code: number, reason: string, message: string}} Closed
 * @typedef {{
 *   connecting: {attempt: number},
 *   open: {session: string, resumed: boolean, user: {id: string, name: string}},
 *   reconnecting: Closed & {delay: number},
 *   closed: Closed,
 *   error: SignalboxError,
 *   notification: {method: string, params: any},
 * }} ConnectionEvents
 */

/** How long the server may take to answer `session.open`. */
const OPEN_MS = 12_000;
/** How long it may take to answer a ping before the connection counts as dead. */
const PONG_MS = 10_000;
/** A connection that lasted this long makes the backoff begin anew. */
const STEADY_MS = 5_000;
/** The close codes this side sends: the session is over, or only this connection is. */
const DONE = 1000;
const GIVEN_UP = 4000;
/** This many refused tokens in a row end it. */
const MAX_REFUSED = 2;

/**
 * One session with the server, across as many WebSockets as it needs.
 * @template {ConnectionEvents} [Events=ConnectionEvents]
 * @extends {Emitter<Events>}
 */
export class Connection extends Emitter {
	/** @type {State} */
	state = "idle";
	/** The server's answer to `session.open`. @type {SessionResult | null} */
	session = null;
	/** When the token runs out, in seconds since 1970. */
	expiresAt = 0;

	#options;
	#url;
	#timeout;
	#backoff;
	#counting = new Counting();
	#calls = new Calls();
	/** Written, but not yet handed to a socket. @type {import("./calls.js").Outgoing[]} */
	#waiting = [];
	#waitingBytes = 0;
	/** @type {WebSocket | null} */
	#socket = null;
	/** A session was open before this attempt, and its rooms are to be joined again. */
	#begun = false;
	#attempts = 0;
	#refused = 0;
	#freshToken = false;
	/** Seconds, from session.closing or an error's retry_after. @type {number | null} */
	#returnAfter = null;
	/** @type {Record<"retry"|"open"|"ack"|"ping"|"pong"|"steady", any>} */
	#timers = { retry: 0, open: 0, ack: 0, ping: 0, pong: 0, steady: 0 };
	/** @type {{promise: Promise<SessionResult>, resolve: Function, reject: Function} | null} */
	#opening = null;
	#onWake = () => this.#wake();
	/** @param {Event} event */
	#onPageHide = (event) => {
		if (!(/** @type {PageTransitionEvent} */ (event).persisted)) this.#pageGone();
	};

	/** @param {ConnectionOptions} options */
	constructor(options) {
		super();
		this.#options = options;
		this.#url = socketUrl(options.url);
		this.#timeout = options.timeout ?? 30_000;
		this.#backoff = new Backoff(options.random);
	}

	/** Who is signed in, once open. */
	get user() {
		return this.session?.user ?? null;
	}

	/** Connects, and stays connected until `close()`. Resolves when first open. */
	connect() {
		if (this.#opening) return this.#opening.promise;
		this.#opening = withResolvers();
		this.#backoff.reset();
		this.#attempts = this.#refused = 0;
		this.#freshToken = false;
		watchPage(true, this.#onWake, this.#onPageHide);
		void this.#attempt();
		return this.#opening.promise;
	}

	/** Ends the session: the server takes this client out of its rooms at once. */
	close() {
		if (this.state === "closed" || this.state === "idle") return;
		this.#stop({ code: DONE, reason: "done", message: "Closed by this client." }, null);
	}

	/**
	 * Sends a request and resolves with its result.
	 * @param {string} method
	 * @param {object} [params]
	 * @param {{timeout?: number, apply?: (result: any) => void}} [options] `apply` gets the
	 *   result before any later message is handled
	 * @returns {Promise<any>}
	 */
	request(method, params = {}, { timeout = this.#timeout, apply } = {}) {
		if (this.state === "closed") {
			const message = `${method}: the connection is closed. Connect again first.`;
			return Promise.reject(new SignalboxError("closed", message));
		}
		const { call, promise } = this.#calls.make(method, params, apply);
		if (call.bytes > MAX_MESSAGE) {
			this.#calls.fail(call, new SignalboxError("too_large",
				`${method}: the message has ${call.bytes} bytes and may have ${MAX_MESSAGE}. ` +
				"Send less at once.", { code: -32013, data: { limit: MAX_MESSAGE } }));
			return promise;
		}
		if (this.#waiting.length >= KEPT.messages || this.#waitingBytes > KEPT.bytes) {
			this.#calls.fail(call, new SignalboxError("overloaded",
				`${method}: too much is waiting to be sent. Wait until it is connected again.`,
				{ code: -32030 }));
			return promise;
		}
		this.#calls.limit(call, timeout, () => this.#withdraw(call));
		this.#enqueue(call);
		return promise;
	}

	/** Called when a new session began in place of a lost one, before anything waiting is sent. */
	onFreshSession() {}

	/* ---- connecting ---- */

	async #attempt() {
		this.#setState("connecting", { attempt: ++this.#attempts });
		let token;
		try {
			token = await this.#options.token({ fresh: this.#freshToken });
			if (!token) throw SignalboxError.signInNeeded();
		} catch (error) {
			if (this.state === "connecting") this.#noToken(error);
			return;
		}
		if (this.state !== "connecting") return;
		this.#freshToken = false;
		const socket = this.#openSocket();
		if (!socket) return;
		this.#socket = socket;
		const current = () => this.#socket === socket;
		socket.onopen = () => current() && this.#sendOpen(String(token));
		socket.onmessage = (event) => current() && this.#receive(event.data);
		socket.onclose = (event) => current() && this.#lost(event.code, event.reason);
		// Node says of a connection that was never made only this; elsewhere onclose comes first.
		socket.onerror = () => setTimeout(() => current() && this.#lost(1006, ""));
		this.#timers.open = setTimeout(() => current() && this.#drop(), OPEN_MS);
	}

	/** @returns {WebSocket | null} */
	#openSocket() {
		const WebSocket = this.#options.WebSocket ?? globalThis.WebSocket;
		try {
			return new WebSocket(this.#url, [SUBPROTOCOL]);
		} catch (cause) {
			const message = `${this.#url} cannot be opened from here (${text(cause)}). ` +
				"Check the address; a page served by https needs a server with https.";
			const error = new SignalboxError("bad_address", message, { cause });
			this.#stop({ code: 0, reason: error.reason, message }, error);
			return null;
		}
	}

	/** @param {unknown} error */
	#noToken(error) {
		if (error instanceof SignalboxError && error.kind === "unauthenticated") {
			this.#stop({ code: 0, reason: "unauthenticated", message: error.message }, error);
			return;
		}
		const message = `No sign-in token could be fetched (${text(error)}). Check the network.`;
		this.emit("error", new SignalboxError("token", message, { cause: error }));
		this.#retry({ code: 0, reason: "token", message });
	}

	/** @param {string} token */
	#sendOpen(token) {
		const params = {
			token,
			batch: true,
			client: this.#options.client ?? { name: "signalbox-js", version: "0.1.0" },
			...(this.session && {
				resume: { session: this.session.session, received: this.#counting.received },
			}),
		};
		const { call, promise } = this.#calls.make("session.open", params, (result) =>
			this.#opened(result));
		promise.catch((error) => this.#openRefused(error));
		this.#socket?.send(call.text);
	}

	/** @param {SessionResult} result */
	#opened(result) {
		clearTimeout(this.#timers.open);
		const before = this.session;
		const resumed = before !== null && result.resumed && this.#counting.confirm(result.received);
		if (result.resumed && !resumed) {
			this.session = null;
			this.#drop();
			return;
		}
		this.session = result;
		this.expiresAt = result.expires_at;
		this.#refused = 0;
		this.#returnAfter = null;
		this.#timers.steady = setTimeout(() => this.#backoff.reset(), STEADY_MS);
		if (resumed) {
			for (const text of this.#counting.rest()) this.#socket?.send(text);
			this.#setState("open", this.#openDetail(result, true));
		} else {
			this.#begin(result, this.#begun);
		}
		this.#watchLife();
		this.#flush();
		this.#opening?.resolve(result);
	}

	/**
	 * @param {SessionResult} result
	 * @param {boolean} replaced
	 */
	#begin(result, replaced) {
		this.#counting = new Counting();
		const waiting = this.#waiting;
		this.#waiting = [];
		this.#begun = true;
		this.#calls.failSent((method) => new SignalboxError("lost",
			`${method}: the connection was lost before the answer came. ` +
			"Look whether it took effect, and try again if not."));
		this.#setState("open", this.#openDetail(result, false));
		if (replaced) this.onFreshSession();
		this.#waiting.push(...waiting);
	}

	/** @param {SessionResult} result @param {boolean} resumed */
	#openDetail(result, resumed) {
		return { session: result.session, resumed, user: result.user };
	}

	/** @param {SignalboxError} error */
	#openRefused(error) {
		if (this.state !== "connecting" || error.reason === "lost") return;
		this.#returnAfter = error.retryAfter || null;
		const code = error.code;
		if (code === -32001) this.#lost(3000, error.message);
		else if (code === -32003) this.#lost(3003, error.message);
		else if (code === -32029 || code === -32030 || code === -32603 || code === -32023) this.#drop();
		else this.#stop({ code, reason: error.reason, message: error.message }, error);
	}

	/* ---- losing it ---- */

	/** Gives up on the socket without waiting for its close. */
	#drop() {
		this.#lost(1006, "");
	}

	/**
	 * @param {number} code
	 * @param {string} said
	 */
	#lost(code, said) {
		this.#detach(GIVEN_UP);
		const known = closing(code);
		const closed = { code, reason: known.reason, message: known.message };
		let next = known.next;
		if (next === "token") {
			this.#freshToken = true;
			if (++this.#refused > MAX_REFUSED) next = "stop";
		}
		if (next === "stop") {
			const message = said && code >= 3000 ? `${closed.message} (${said})` : closed.message;
			const error = new SignalboxError(closed.reason, message, { code });
			this.#stop({ ...closed, message }, code === 1000 ? null : error);
			return;
		}
		if (next === "fresh") this.session = null;
		this.#retry(closed);
	}

	/** @param {Closed} closed */
	#retry(closed) {
		const backoff = this.#backoff.next();
		const delay = this.#returnAfter === null ? backoff : Math.round(this.#returnAfter * 1000);
		this.#returnAfter = null;
		this.#setState("reconnecting", { ...closed, delay });
		this.#timers.retry = setTimeout(() => void this.#attempt(), delay);
	}

	/**
	 * @param {Closed} closed
	 * @param {SignalboxError | null} error
	 */
	#stop(closed, error) {
		this.#detach(DONE);
		watchPage(false, this.#onWake, this.#onPageHide);
		this.session = null;
		this.#begun = false;
		this.#waiting = [];
		this.#waitingBytes = 0;
		const failure = error ?? new SignalboxError("closed", closed.message, { code: closed.code });
		const opening = this.#opening;
		this.#opening = null;
		this.#setState("closed", closed);
		this.#calls.failAll(() => failure);
		opening?.reject(failure);
		if (error) this.emit("error", error);
	}

	/**
	 * Forgets the socket; whatever it still delivers is ignored.
	 * @param {number} code
	 */
	#detach(code) {
		for (const timer of Object.values(this.#timers)) clearTimeout(timer);
		this.#timers.ack = 0;
		const socket = this.#socket;
		this.#socket = null;
		this.#calls.forget("session.open", "session.ping");
		if (socket) socket.close(code);
	}

	/* ---- sending ---- */

	/** @param {import("./calls.js").Outgoing} message */
	#enqueue(message) {
		this.#waiting.push(message);
		this.#waitingBytes += message.bytes;
		this.#flush();
	}

	/** @param {import("./calls.js").Outgoing} message */
	#withdraw(message) {
		const at = this.#waiting.indexOf(message);
		if (at < 0) return;
		this.#waiting.splice(at, 1);
		this.#waitingBytes -= message.bytes;
	}

	#flush() {
		while (this.state === "open" && this.#socket && this.#waiting.length > 0) {
			const message = this.#waiting[0];
			if (!this.#counting.hasRoom(message.bytes)) return;
			this.#waiting.shift();
			this.#waitingBytes -= message.bytes;
			this.#counting.keep(message.text, message.bytes);
			message.sent = true;
			this.#socket.send(message.text);
		}
	}

	#acknowledge() {
		clearTimeout(this.#timers.ack);
		this.#timers.ack = 0;
		const received = this.#counting.acknowledge();
		this.#notifyUncounted("session.ack", { received });
	}

	/** @param {string} method @param {object} params */
	#notifyUncounted(method, params) {
		this.#socket?.send(JSON.stringify({ jsonrpc: "2.0", method, params }));
	}

	/* ---- receiving ---- */

	/** @param {unknown} frame */
	#receive(frame) {
		if (typeof frame !== "string") return;
		/** @type {any} */
		let value;
		try {
			value = JSON.parse(frame);
		} catch {
			value = undefined;
		}
		const count = countMessages(value, (id) => this.#calls.isUncounted(id));
		if (count > 0) this.#countReceived(count, utf8Bytes(frame));
		const socket = this.#socket;
		for (const item of Array.isArray(value) ? value : [value]) {
			if (this.#socket === socket) this.#handle(item);
		}
		this.#watchLife();
	}

	/** @param {number} messages @param {number} bytes */
	#countReceived(messages, bytes) {
		if (this.#counting.arrived(messages, bytes)) this.#acknowledge();
		else this.#timers.ack ||= setTimeout(() => this.#acknowledge(), ACK.ms);
	}

	/** @param {any} item */
	#handle(item) {
		if (item === null || typeof item !== "object") return;
		if (typeof item.method !== "string") this.#calls.settle(item);
		else if (item.id !== undefined) this.#refuse(item);
		else this.#notified(item.method, item.params ?? {});
	}

	/** @param {{id: any, method: string}} request */
	#refuse(request) {
		const error = { code: -32601, message: `${request.method} is not served here` };
		const text = JSON.stringify({ jsonrpc: "2.0", id: request.id, error });
		this.#enqueue({ text, bytes: utf8Bytes(text), sent: false });
	}

	/** @param {string} method @param {any} params */
	#notified(method, params) {
		if (method === "session.ack") {
			this.#counting.confirm(params.received);
			this.#flush();
		} else if (method === "session.closing") {
			this.#returnAfter = Number(params.reconnect_after) || 0;
		} else if (method === "session.expiring") {
			void this.#refresh();
		}
		this.emit("notification", { method, params });
	}

	async #refresh() {
		try {
			const token = await this.#options.token({ fresh: true });
			if (!token) throw SignalboxError.signInNeeded();
			const result = await this.request("session.refresh", { token });
			this.expiresAt = result.expires_at;
		} catch (error) {
			if (this.state === "closed") return;
			const message = `The sign-in runs out soon and could not be renewed: ${text(error)}`;
			this.emit("error", new SignalboxError("expiring", message, { cause: error }));
		}
	}

	/* ---- noticing a dead connection, and the end of the page ---- */

	#watchLife() {
		if (this.state !== "open") return;
		clearTimeout(this.#timers.ping);
		clearTimeout(this.#timers.pong);
		const interval = (this.session?.ping_interval || 25) * 1000;
		this.#timers.ping = setTimeout(() => this.#ping(PONG_MS), interval);
	}

	/** @param {number} patience */
	#ping(patience) {
		const { call, promise } = this.#calls.make("session.ping", {});
		promise.catch(() => {});
		this.#socket?.send(call.text);
		clearTimeout(this.#timers.pong);
		this.#timers.pong = setTimeout(() => this.#drop(), patience);
	}

	/** The network changed or the device woke up: find out at once instead of by timers. */
	#wake() {
		if (this.state === "open") this.#ping(5_000);
		if (this.state !== "reconnecting") return;
		clearTimeout(this.#timers.retry);
		void this.#attempt();
	}

	/** Nobody is left to come back: the others need not wait until the server gives up on us. */
	#pageGone() {
		this.#stop({ code: DONE, reason: "page_gone", message: "The page was closed." }, null);
	}

	/**
	 * @param {Exclude<State, "idle">} state
	 * @param {any} detail
	 */
	#setState(state, detail) {
		this.state = state;
		this.emit(state, detail);
	}
}

/**
 * The WebSocket address of a server: `https://host` becomes `wss://host/ws`.
 * @param {string} url
 */
export function socketUrl(url) {
	const parsed = new URL(url, globalThis.location?.href);
	parsed.protocol = parsed.protocol.replace(/^http/, "ws");
	if (parsed.pathname === "/") parsed.pathname = "/ws";
	parsed.hash = "";
	return parsed.href;
}

/**
 * In a browser: when the network or the page changes.
 * @param {boolean} on
 * @param {() => void} wake
 * @param {(event: Event) => void} hide
 */
function watchPage(on, wake, hide) {
	if (typeof window === "undefined") return;
	const change = on ? "addEventListener" : "removeEventListener";
	window[change]("online", wake);
	window[change]("offline", wake);
	window[change]("pagehide", hide);
	document[change]("visibilitychange", wake);
}

/** @returns {{promise: Promise<any>, resolve: (value: any) => void, reject: (error: any) => void}} */
function withResolvers() {
	let resolve = /** @param {any} _ */ (_) => {};
	let reject = resolve;
	const promise = new Promise((res, rej) => {
		resolve = res;
		reject = rej;
	});
	promise.catch(() => {});
	return { promise, resolve, reject };
}

/** @param {unknown} error */
function text(error) {
	return error instanceof Error ? error.message : String(error);
}
