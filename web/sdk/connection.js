import { Backoff } from "./backoff.js";
import { Calls } from "./calls.js";
import { Counting, countMessages, utf8Bytes } from "./counting.js";
import { SignalboxError } from "./errors.js";
import { Emitter } from "./events.js";
import { Outbox } from "./outbox.js";
import { isOffline, watchPage } from "./page.js";
import { ACK, HELD_BACK, KEPT, MAX_MESSAGE, closing } from "./protocol.js";
import { SENTENCE } from "./status.js";
import { GIVEN_UP, Ways } from "./ways.js";

/**
 * @typedef {import("./protocol.js").SessionResult} SessionResult
 * @typedef {import("./status.js").ConnectionEvents} ConnectionEvents
 * @typedef {import("./status.js").Closed} Closed
 * @typedef {import("./status.js").State} State
 * @typedef {import("./ways.js").Socket} Socket
 * @typedef {import("./ways.js").Transport} Transport
 * @typedef {(why: {fresh: boolean}) => string | null | Promise<string | null>} TokenCallback
 *   `fresh: true` asks for another token than the last: that one was refused or is running out.
 *   Null, or a SignalboxError `unauthenticated`, says that only the person can help; any other
 *   failure is tried again.
 *
 * @typedef {import("./ways.js").WayOptions & {
 *   url: string, token?: TokenCallback, ticket?: TokenCallback, client?: {name: string, version: string}, timeout?: number,
 *   region?: string, user?: string, keep?: boolean,
 * }} ConnectionOptions `token`, or `ticket` where the page is not to have the token: its backend asks
 *   `POST /v1/tickets` for one each time. `region`: where this client is, as the operator of the
 *   TURN servers calls it. `user`: who is signed in, where the page knows it before the server says so:
 *   datasets then start from what is kept on this device. `keep: false`: they keep nothing
 */

/** How long it may take to answer a ping before the connection counts as dead. */
const PONG_MS = 10_000;
/** The same, when there is reason to doubt it. */
const DOUBT_MS = 5_000;
/** A connection that lasted this long makes the backoff begin anew. */
const STEADY_MS = 5_000;
/** Browsers have been wrong in saying that there is no network. */
const OFFLINE_MS = 60_000;
/** The close code that ends the session, and not only this connection. */
const DONE = 1000;
/** Tokens that are short-lived are not renewed more often than this, but at the middle of what is left. */
const RENEW_MS = 10_000;
/** This many refused tokens in a row end it. */
const MAX_REFUSED = 2;

/**
 * One session with the server, across as many connections as it needs, by WebSocket or HTTP.
 * @template {ConnectionEvents} [Events=ConnectionEvents]
 * @extends {Emitter<Events>}
 */
export class Connection extends Emitter {
	/** @type {State} */
	state = "idle";
	/** What to show; the last `status`. @type {import("./status.js").Status} */
	status;
	/** What carries the session, or did last. @type {Transport} */
	transport;
	/** The server's answer to `session.open`. @type {SessionResult | null} */
	session = null;
	/** When the token runs out, in seconds since 1970. */
	expiresAt = 0;

	#options;
	#timeout;
	#backoff;
	#ways;
	#counting = new Counting();
	#calls = new Calls((call, error) => this.#again(call, error));
	/** Written, but not yet handed to a socket. */
	#outbox = new Outbox();
	/** @type {Socket | null} */
	#socket = null;
	/** The server has answered `session.open` on that socket. */
	#ready = false;
	/** The stream that a WebSocket is about to take over from. @type {Socket | null} */
	#before = null;
	/** The transport that was told of last. @type {Transport | null} */
	#told = null;
	/** A session was open before this attempt, and its rooms are to be joined again. */
	#begun = false;
	#attempts = 0;
	#refused = 0;
	#freshToken = false;
	/** When the token was renewed last, on the clock of `performance.now()`. */
	#renewedAt = -Infinity;
	/** Seconds, from a session.closing that came on this connection. @type {number | null} */
	#returnAfter = null;
	/** The server said when to come back: that is not cut short by itself. */
	#bidden = false;
	/** A session was opened although the browser said that there is no network: it knows nothing. */
	#neverOffline = false;
	/** A ping must be answered by then, on the clock of `performance.now()`; 0: there is none. */
	#pongBy = 0;
	/** @type {Record<"retry"|"open"|"ack"|"ping"|"pong"|"steady"|"pace"|"renew", any>} */
	#timers = { retry: 0, open: 0, ack: 0, ping: 0, pong: 0, steady: 0, pace: 0, renew: 0 };
	/** @type {{promise: Promise<SessionResult>, resolve: Function, reject: Function} | null} */
	#opening = null;
	#unwatch = () => {};

	/** @param {ConnectionOptions} options */
	constructor(options) {
		super();
		if (!options.token === !options.ticket)
			throw new TypeError("Give Signalbox either `token` or `ticket`.");
		this.#options = options;
		this.#timeout = options.timeout ?? 30_000;
		/** Goes with each question for ICE servers. @type {{region?: string}} */
		this.near = options.region ? { region: options.region } : {};
		this.#backoff = new Backoff(options.random);
		this.#ways = new Ways(options.url, options, () => this.#token(true));
		this.transport = this.#ways.current;
		this.status = { state: "idle", message: SENTENCE.idle, transport: this.transport, blocked: false };
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
		this.#unwatch = watchPage({
			online: () => this.#networkChanged(),
			changed: () => this.#networkChanged(),
			offline: () => this.#wentOffline(),
			shown: () => this.#bidden || this.check(),
			gone: () => this.#pageGone(),
		});
		void this.#attempt();
		return this.#opening.promise;
	}

	/** Ends the session: the server takes this client out of its rooms at once. */
	close() {
		if (this.state === "closed" || this.state === "idle") return;
		this.#stop({ code: DONE, reason: "done", message: "Closed by this client." }, null);
	}

	/** Finds out at once: an open connection is pinged, for a lost one another attempt is made. */
	check() {
		if (this.#ready) this.#ping(DOUBT_MS);
		if (this.state !== "reconnecting" && this.state !== "offline") return;
		clearTimeout(this.#timers.retry);
		void this.#attempt();
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
		if (this.#outbox.length >= KEPT.messages || this.#outbox.bytes > KEPT.bytes) {
			this.#calls.fail(call, new SignalboxError("overloaded",
				`${method}: too much is waiting to be sent. Wait until it is connected again.`,
				{ code: -32030 }));
			return promise;
		}
		this.#calls.limit(call, timeout, () => this.#outbox.withdraw(call));
		this.#enqueue(call);
		return promise;
	}

	/**
	 * Sends what has no answer, and belongs to this session: without one it is not sent.
	 * @param {string} method
	 * @param {object} params
	 */
	notify(method, params) {
		if (this.state !== "open") return;
		const text = JSON.stringify({ jsonrpc: "2.0", method, params });
		this.#enqueue({ text, bytes: utf8Bytes(text), sent: false, method, ofSession: true });
	}

	/** Called when a new session began in place of a lost one, before anything waiting is sent. */
	onFreshSession() {}

	/**
	 * Called when the server asks something: what to answer.
	 * @param {string} method
	 * @param {any} params
	 * @returns {Promise<{result: any} | {error: {code: number, message: string, data?: any}}>}
	 */
	async onRequest(method, params) {
		return { error: { code: -32601, message: `${params.method ?? method} is not served here` } };
	}

	/** Called when this device is in another network than before. */
	onNetworkChange() {}

	/* ---- connecting ---- */

	async #attempt() {
		const transport = this.#ways.current;
		this.#bidden = false;
		this.#setState("connecting", { attempt: ++this.#attempts, transport });
		let token;
		try {
			token = await this.#token(this.#freshToken);
		} catch (error) {
			if (this.state === "connecting") this.#noToken(error);
			return;
		}
		if (this.state !== "connecting") return;
		this.#freshToken = false;
		const ticket = this.#options.ticket ? token : undefined;
		const socket = this.#dial(transport, ticket);
		if (!socket) return;
		this.#carryBy(socket, transport);
		socket.onopen = () => this.#socket === socket && this.#sendOpen(ticket ? undefined : token);
		this.#mustOpen(socket, this.#ways.patience);
	}

	/** A token, or a ticket in its place. @param {boolean} fresh another one than the last */
	async #token(fresh) {
		const ask = this.#options.token ?? this.#options.ticket;
		const token = await ask?.({ fresh });
		if (!token) throw SignalboxError.signInNeeded();
		return token;
	}

	/** @param {Transport} transport @param {string} [ticket] @returns {Socket | null} null: it has all ended */
	#dial(transport, ticket) {
		try {
			return this.#ways.dial(transport, ticket);
		} catch (cause) {
			const message = `${this.#ways.url} cannot be opened from here (${text(cause)}). ` +
				"Check the address; a page served by https needs a server with https.";
			const error = new SignalboxError("bad_address", message, { cause });
			this.#stop({ code: 0, reason: error.reason, message }, error);
			return null;
		}
	}

	/** From now on the session is carried by this one. @param {Socket} socket @param {Transport} transport */
	#carryBy(socket, transport) {
		const current = () => this.#socket === socket;
		this.#socket = socket;
		this.#ready = false;
		this.transport = transport;
		/** @param {{data: unknown, counted?: number}} event */
		socket.onmessage = (event) => current() && this.#receive(event.data, event.counted);
		/** @param {{code: number, reason: string}} event */
		socket.onclose = (event) => current() && this.#lost(event.code, event.reason);
		// Node says of a connection that was never made only this; elsewhere onclose comes first.
		socket.onerror = () => setTimeout(() => current() && this.#lost(1006, ""));
	}

	/** @param {Socket} socket @param {number} ms */
	#mustOpen(socket, ms) {
		clearTimeout(this.#timers.open);
		this.#timers.open = setTimeout(() => this.#socket === socket && this.#drop(), ms);
	}

	/** @param {unknown} error */
	#noToken(error) {
		if (error instanceof SignalboxError && error.kind === "unauthenticated") {
			this.#stop({ code: 0, reason: "unauthenticated", message: error.message }, error);
			return;
		}
		const message = `No sign-in token could be fetched (${text(error)}). Check the network.`;
		this.emit("error", new SignalboxError("token", message, { cause: error }));
		this.#retry({ code: 0, reason: "token", message }, this.#backoff.next());
	}

	/** @param {string} [token] none, where a ticket has said who it is */
	#sendOpen(token) {
		if (this.#socket) this.#mustOpen(this.#socket, this.#ways.openTimeout);
		const params = {
			...(token && { token }),
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
		this.#refused = this.#attempts = 0;
		this.#ready = true;
		this.#neverOffline ||= isOffline();
		this.#ways.opened(this.transport, (socket) => this.#takeOver(socket));
		this.#outbox.allow(result.limits ?? {}, performance.now(), !resumed);
		this.#timers.steady = setTimeout(() => this.#backoff.reset(), STEADY_MS);
		if (resumed) {
			for (const text of this.#counting.rest()) this.#socket?.send(text);
			this.#tellOpen(true);
		} else {
			this.#begin(this.#begun);
		}
		this.#before?.close(GIVEN_UP);
		this.#before = null;
		this.#watchLife();
		this.#flush();
		this.#opening?.resolve(result);
	}

	/** @param {boolean} replaced */
	#begin(replaced) {
		this.#counting = new Counting();
		const waiting = this.#outbox.clear();
		this.#begun = true;
		this.#calls.failSent((method) => new SignalboxError("lost",
			`${method}: the connection was lost before the answer came. ` +
			"Look whether it took effect, and try again if not."));
		this.#tellOpen(false);
		if (replaced) this.onFreshSession();
		for (const message of waiting) if (!message.ofSession) this.#outbox.push(message);
	}

	/** @param {boolean} resumed */
	#tellOpen(resumed) {
		const { session, user } = /** @type {SessionResult} */ (this.session);
		const { transport } = this;
		const changed = this.#told === null ? this.#ways.fallenBack : this.#told !== transport;
		const message = this.#openMessage();
		this.#told = transport;
		if (changed) this.emit("transport", { transport, message });
		const detail = { session, resumed, user, transport };
		// A WebSocket that took over from a stream is no news but for this.
		if (this.#before && resumed) this.#tell("open", { ...detail, message });
		else this.#setState("open", detail, message);
	}

	#openMessage() {
		if (this.#ways.blocked) return SENTENCE.blocked;
		return this.transport === "http" ? SENTENCE.openByHttp : SENTENCE.open;
	}

	/** @param {SignalboxError} error */
	#openRefused(error) {
		if (this.#ready || !this.#socket || error.reason === "lost") return;
		const { code, reason, message } = error;
		if (code === -32001) this.#lost(3000, message);
		else if (code === -32003) this.#lost(3003, message);
		else if (code === -32029 || code === -32030 || code === -32603 || code === -32023) {
			this.#detach(GIVEN_UP);
			const wait = error.retryAfter * 1000;
			this.#retry({ code, reason, message }, wait + this.#backoff.next(), wait > 0);
		} else this.#stop({ code, reason, message }, error);
	}

	/**
	 * There is a WebSocket beside the stream by now: the session is resumed over it. What the
	 * stream still brings is not counted, but thrown away, and comes again.
	 * @param {Socket | null} socket null: there is none, after all
	 */
	async #takeOver(socket) {
		const message = this.#openMessage();
		if (!socket) {
			if (this.status.message !== message) this.#tell("open", { ...this.status, message });
			return;
		}
		const stream = this.#socket;
		const token = await this.#token(false).catch(() => null);
		if (!token || this.#socket !== stream || !this.#ready) {
			socket.close(GIVEN_UP);
			return;
		}
		this.#quiet();
		this.#before = stream;
		this.#carryBy(socket, "websocket");
		this.#sendOpen(token);
	}

	/* ---- losing it ---- */

	/** Gives up on the socket without waiting for its close. */
	#drop() {
		this.#lost(this.#socket?.heldBack ? HELD_BACK : 1006, "");
	}

	/**
	 * @param {number} code
	 * @param {string} said
	 */
	#lost(code, said) {
		if ((code === 1006 || code === HELD_BACK) && !this.#isOffline) {
			if (this.#ready) this.#ways.cut(this.transport);
			else this.#ways.failed(this.transport);
		}
		const told = code === 1001 ? this.#returnAfter : null;
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
		const delay = told === null ? this.#backoff.next() : Math.round(told * 1000);
		this.#retry(closed, delay, told !== null);
	}

	/**
	 * @param {Closed} closed
	 * @param {number} delay ms
	 * @param {boolean} [bidden] the server said so
	 */
	#retry(closed, delay, bidden = false) {
		const attempt = this.#attempts + 1;
		this.#bidden = bidden && !this.#isOffline;
		if (this.#isOffline) {
			delay = Math.max(delay, OFFLINE_MS);
			const { code } = closed;
			this.#setState("offline", { code, reason: "offline", message: SENTENCE.offline, delay, attempt });
		} else {
			this.#setState("reconnecting", { ...closed, delay, attempt });
		}
		this.#timers.retry = setTimeout(() => void this.#attempt(), delay);
	}

	/**
	 * @param {Closed} closed
	 * @param {SignalboxError | null} error
	 */
	#stop(closed, error) {
		this.#detach(DONE);
		this.#unwatch();
		this.session = null;
		this.#begun = false;
		this.#told = null;
		this.#outbox.clear();
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
		this.#quiet();
		this.#returnAfter = null;
		for (const socket of [this.#socket, this.#before]) socket?.close(code);
		this.#socket = this.#before = null;
	}

	/** Nothing more goes out, and no timer of this socket runs on. */
	#quiet() {
		this.#ready = false;
		this.#ways.lost();
		this.#calls.forget("session.open", "session.ping");
		this.#pongBy = 0;
		for (const timer of Object.values(this.#timers)) clearTimeout(timer);
		this.#timers.ack = 0;
	}

	/* ---- sending ---- */

	/** @param {import("./outbox.js").Outgoing} message */
	#enqueue(message) {
		this.#outbox.push(message);
		this.#flush();
	}

	#flush() {
		if (!this.#ready) return;
		const now = performance.now();
		const fits = (/** @type {number} */ bytes) => this.#counting.hasRoom(bytes);
		let message;
		while (this.#socket && (message = this.#outbox.take(now, fits))) {
			this.#counting.keep(message.text, message.bytes);
			message.sent = true;
			this.#socket.send(message.text);
		}
		clearTimeout(this.#timers.pace);
		if (this.#outbox.wait > 0) this.#timers.pace = setTimeout(() => this.#flush(), this.#outbox.wait);
	}

	/**
	 * A call was refused for its rate, so it was not carried out and may be sent again, if its
	 * time allows.
	 * @param {import("./calls.js").Call} call
	 * @param {SignalboxError} error
	 */
	#again(call, error) {
		if (error.kind !== "rate_limited" || !call.deadline) return false;
		const now = performance.now();
		// Not all at the same moment.
		const ms = Math.max(0.1, error.retryAfter) * 1000 * (1 + Math.random() / 4);
		if (now + ms >= call.deadline) return false;
		this.#outbox.again(call, now, ms);
		this.#flush();
		return true;
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

	/** @param {unknown} frame @param {number} [counted] what the server says it is the last of */
	#receive(frame, counted) {
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
		if (counted !== undefined && counted !== this.#counting.received) {
			this.#lost(1002, ""); // something is missing or came twice: better to begin anew
			return;
		}
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
		else if (item.id !== undefined) void this.#asked(item);
		else this.#notified(item.method, item.params ?? {});
	}

	/** @param {{id: any, method: string, params?: any}} request */
	async #asked({ id, method, params = {} }) {
		const session = this.#counting;
		const answer = await this.onRequest(method, params);
		// On another session it would be an answer to nothing.
		if (session !== this.#counting || this.state === "closed") return;
		let text = JSON.stringify({ jsonrpc: "2.0", id, ...answer });
		if (utf8Bytes(text) > MAX_MESSAGE) {
			const error = { code: -32013, message: `The answer to ${params.method ?? method} is too large` };
			text = JSON.stringify({ jsonrpc: "2.0", id, error });
		}
		this.#enqueue({ text, bytes: utf8Bytes(text), sent: false });
	}

	/** @param {string} method @param {any} params */
	#notified(method, params) {
		if (method === "session.ack") {
			this.#counting.confirm(params.received);
			this.#flush();
		} else if (method === "session.closing") {
			this.#closing(params);
		} else if (method === "session.expiring") {
			this.emit("expiring", { expires_at: params.expires_at, message: SENTENCE.expiring });
			this.#renewSoon(params.expires_at);
		}
		this.emit("notification", { method, params });
	}

	/**
	 * The server is about to close this connection. That it once wanted to close an earlier one may
	 * come again after a resume: so it holds only for a connection that does end that way.
	 * @param {{reason?: string, reconnect_after?: number}} params
	 */
	#closing({ reason = "drain", reconnect_after = 0 }) {
		this.#returnAfter = Number(reconnect_after) || 0;
		this.emit("closing", { reason, delay: this.#returnAfter * 1000, message: SENTENCE.closing });
	}

	/**
	 * At once; but each token may be so short-lived that it is about to end when it comes. With tickets
	 * the session ends its connection in time, and is resumed with another.
	 * @param {number} expiresAt seconds since 1970
	 */
	#renewSoon(expiresAt) {
		if (this.#options.ticket) return;
		const left = Math.max(0, expiresAt * 1000 - Date.now());
		const wait = performance.now() - this.#renewedAt < RENEW_MS ? left / 2 : 0;
		clearTimeout(this.#timers.renew);
		this.#timers.renew = setTimeout(() => void this.#refresh(), wait);
	}

	async #refresh() {
		try {
			const token = await this.#token(true);
			const result = await this.request("session.refresh", { token });
			this.#renewedAt = performance.now();
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
		this.#pongBy = 0;
		const interval = (this.session?.ping_interval || 25) * 1000;
		this.#timers.ping = setTimeout(() => this.#ping(PONG_MS), interval);
	}

	/** @param {number} patience */
	#ping(patience) {
		const by = performance.now() + patience;
		if (this.#pongBy > 0 && this.#pongBy <= by) return;
		this.#pongBy = by;
		const { call, promise } = this.#calls.make("session.ping", {});
		promise.catch(() => {});
		this.#socket?.send(call.text);
		clearTimeout(this.#timers.pong);
		this.#timers.pong = setTimeout(() => this.#drop(), patience);
	}

	get #isOffline() {
		return !this.#neverOffline && isOffline();
	}

	#networkChanged() {
		this.#backoff.reset(); // a network that has just come may need a moment, but not twenty seconds
		if (this.#ready) this.#ways.networkChanged((socket) => this.#takeOver(socket));
		if (!this.#bidden) this.check();
		this.onNetworkChange();
	}

	#wentOffline() {
		if (this.#ready) this.#ping(DOUBT_MS);
		if (this.state !== "reconnecting" || !this.#isOffline) return;
		clearTimeout(this.#timers.retry);
		this.#retry({ code: 0, reason: "offline", message: SENTENCE.offline }, OFFLINE_MS);
	}

	/** Nobody is left to come back: the others need not wait until the server gives up on us. */
	#pageGone() {
		this.#stop({ code: DONE, reason: "page_gone", message: "The page was closed." }, null);
	}

	/**
	 * @param {Exclude<State, "idle">} state
	 * @param {any} detail
	 * @param {string} [message] what to show, where the detail has none
	 */
	#setState(state, detail, message = SENTENCE[state]) {
		this.state = state;
		this.emit(state, detail);
		if (this.state === state) this.#tell(state, { message, ...detail });
	}

	/** @param {State} state @param {any} detail */
	#tell(state, detail) {
		const blocked = state === "open" && this.#ways.blocked;
		this.status = { ...detail, state, transport: this.transport, blocked };
		this.emit("status", this.status);
	}
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
