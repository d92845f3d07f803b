import { HttpSocket } from "./http.js";
import { SUBPROTOCOL } from "./protocol.js";

/**
 * @typedef {"websocket"|"http"} Transport
 * @typedef {{
 *   send: (text: string) => void, close: (code: number) => void,
 *   onopen: any, onmessage: any, onclose: any, onerror?: any, heldBack?: boolean,
 * }} Socket what carries a session: a WebSocket, or what is used like one
 *
 * @typedef {{
 *   transport?: "auto"|Transport, openTimeout?: number, retryWebSocket?: number,
 *   random?: () => number, ticket?: unknown,
 *   WebSocket?: typeof globalThis.WebSocket, fetch?: typeof globalThis.fetch,
 * }} WayOptions `openTimeout`: ms; `retryWebSocket`: ms after which it is tried again, where HTTP was
 *   the way around. With a ticket there is only WebSocket: a POST needs the token
 */

/** How long the server may take to answer `session.open`. */
const OPEN_MS = 12_000;
/** So many WebSockets in a row that were never open, and HTTP is tried. */
const MAX_FAILED = 2;
/** So many in a row that were cut so soon after they had opened, and HTTP is tried as well: some networks let them begin. */
const MAX_BRIEF = 3;
const BRIEF_MS = 15_000;
/** When a WebSocket is tried again beside the stream that works; twice as late each time, and at most: */
const RETRY_MS = 60_000;
const MAX_RETRY_MS = 30 * 60_000;
/** After a change of network, once things have settled. */
const SETTLE_MS = 2_000;
/** The close code for what is not needed any more; the session goes on. */
export const GIVEN_UP = 4000;

/** The ways to a server, WebSocket and HTTP: which one the next attempt takes, and is it worth another. */
export class Ways {
	/** @type {Transport} */
	current;
	url;

	/** Milliseconds that the answer to `session.open` may take. */
	openTimeout;

	#options;
	#renew;
	/** HTTP is only the way around. */
	#choice;
	#failed = 0;
	/** WebSockets in a row that were cut early, and when the last one opened. */
	#brief = 0;
	#openedAt = 0;
	/** A WebSocket was tried while HTTP worked, and was not to be had: else the server may have been away. */
	#seenBlocked = false;
	#retry;
	#pause;
	/** @type {any} */
	#timer = 0;
	/** A WebSocket that is being tried beside the stream. @type {Socket | null} */
	#beside = null;

	/**
	 * @param {string} url of the server
	 * @param {WayOptions} options
	 * @param {() => Promise<string>} renew another token in place of one that was refused
	 */
	constructor(url, options, renew) {
		this.url = socketUrl(url);
		this.#options = options;
		this.#renew = renew;
		this.openTimeout = options.openTimeout ?? OPEN_MS;
		this.#retry = this.#pause = options.retryWebSocket ?? RETRY_MS;
		const wanted = options.ticket ? "websocket" : (options.transport ?? "auto");
		const able = (options.WebSocket ?? globalThis.WebSocket) !== undefined; // Node 20 has none
		this.#choice = wanted === "auto" && able;
		this.current = wanted === "http" || (wanted === "auto" && !able) ? "http" : "websocket";
	}

	/** HTTP is used although WebSocket was meant. */
	get fallenBack() {
		return this.#choice && this.current === "http";
	}

	/** HTTP works here, and WebSocket does not. */
	get blocked() {
		return this.fallenBack && this.#seenBlocked;
	}

	/** Milliseconds that the next one may take to be there: less, where something else can be tried. */
	get patience() {
		const mayFallBack = this.#choice && this.current === "websocket";
		return mayFallBack ? (this.openTimeout * 2) / 3 : this.openTimeout;
	}

	/**
	 * @param {Transport} transport @param {string} [ticket] @returns {Socket}
	 * @throws what the browser says of a bad address
	 */
	dial(transport, ticket) {
		if (transport === "http") return new HttpSocket(httpBase(this.url), this.#renew, this.#options);
		const WebSocket = this.#options.WebSocket ?? globalThis.WebSocket;
		const url = new URL(this.url);
		if (ticket) url.searchParams.set("ticket", ticket);
		return new WebSocket(url.href, [SUBPROTOCOL]);
	}

	/** An attempt by this one never got as far as open. @param {Transport} transport */
	failed(transport) {
		if (!this.#choice || transport !== this.current) return;
		if (transport === "http") {
			this.current = "websocket";
			this.#failed = 0;
		} else if (++this.#failed >= MAX_FAILED) {
			this.current = "http";
		}
	}

	/** One that was open is lost without a word. @param {Transport} transport */
	cut(transport) {
		if (!this.#choice || transport !== "websocket") return;
		this.#brief = performance.now() - this.#openedAt < BRIEF_MS ? this.#brief + 1 : 0;
		if (this.#brief < MAX_BRIEF) return;
		this.current = "http";
		this.#seenBlocked = true;
	}

	/**
	 * The session is open by this one. Is it only the way around, WebSocket is tried again: soon,
	 * because the server itself may have been away, and then less and less often.
	 * @param {Transport} transport
	 * @param {(socket: Socket | null) => void} found gets one that is open, and answers for it from
	 *   then on; null when there is none
	 */
	opened(transport, found) {
		this.current = transport;
		if (transport === "websocket") {
			this.#failed = 0;
			this.#openedAt = performance.now();
			this.#seenBlocked = false;
			if (this.#brief < MAX_BRIEF) this.#pause = this.#retry; // else it has yet to show that it stays
		}
		if (this.#seenBlocked) this.#lookAgain(found);
		else this.#lookSoon(found);
	}

	/** What was blocked in the other network may be open here. @param {(socket: Socket | null) => void} found */
	networkChanged(found) {
		this.#seenBlocked = false;
		this.#brief = 0;
		this.#lookSoon(found);
	}

	/** The session is not open any more. */
	lost() {
		clearTimeout(this.#timer);
		const beside = this.#beside;
		this.#beside = null;
		beside?.close(GIVEN_UP);
	}

	/** @param {(socket: Socket | null) => void} found */
	#lookSoon(found) {
		this.#pause = Math.min(SETTLE_MS, this.#retry) * (0.5 + Math.random() / 2);
		this.#lookAgain(found);
		this.#pause = this.#retry;
	}

	/** @param {(socket: Socket | null) => void} found */
	#lookAgain(found) {
		this.lost();
		if (!this.fallenBack) return;
		this.#timer = setTimeout(() => this.#tryBeside(found), this.#pause);
		this.#pause = Math.min(MAX_RETRY_MS, this.#pause * 2);
	}

	/** The stream goes on meanwhile, and nothing is lost if this fails. @param {(socket: Socket | null) => void} found */
	#tryBeside(found) {
		const socket = this.dial("websocket");
		const failed = () => {
			if (this.#beside !== socket) return;
			this.#seenBlocked = true;
			this.#lookAgain(found);
			found(null);
		};
		this.#beside = socket;
		socket.onclose = socket.onerror = failed;
		this.#timer = setTimeout(failed, this.openTimeout);
		socket.onopen = () => {
			if (this.#beside !== socket) return;
			clearTimeout(this.#timer);
			this.#beside = null;
			found(socket);
		};
	}
}

/**
 * The WebSocket address of a server: `https://host` becomes `wss://host/ws`.
 * @param {string} url
 */
function socketUrl(url) {
	const parsed = new URL(url, globalThis.location?.href);
	parsed.protocol = parsed.protocol.replace(/^http/, "ws");
	if (parsed.pathname === "/") parsed.pathname = "/ws";
	parsed.hash = "";
	return parsed.href;
}

/**
 * What stands before `events` and `messages` of the same server: `https://host/v1/`.
 * @param {string} socket
 */
function httpBase(socket) {
	const parsed = new URL(socket);
	parsed.protocol = parsed.protocol.replace(/^ws/, "http");
	parsed.pathname = parsed.pathname.replace(/[^/]*$/, "v1/");
	parsed.search = "";
	return parsed.href;
}
