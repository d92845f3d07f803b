import { Emitter } from "./events.js";

/**
 * @typedef {import("./cells.js").Row} Row
 * @typedef {import("./feed.js").Feed} Feed
 * @typedef {import("./feed.js").LiveStatus} LiveStatus
 * @typedef {{
 *   change: import("./rows.js").Change, ready: {stale: boolean}, uptodate: {seq: string},
 *   status: {status: LiveStatus, message: string}, error: import("./errors.js").SignalboxError,
 * }} LiveEvents
 */

/**
 * Rows that stay as they are on the server. For `useSyncExternalStore` and the like: `subscribe` and
 * `getSnapshot` need no `this`, and a snapshot is another array only when something in it is different.
 *
 * @extends {Emitter<LiveEvents>}
 */
export class Live extends Emitter {
	/** Resolves when there are rows the first time: those of the last visit (`stale`), or the server's. @type {Promise<{stale: boolean}>} */
	ready;
	/** The dataset, to write to. */
	dataset;

	/** @type {Feed} */
	#feed;
	#attach;
	#open = true;
	#resolve = /** @param {{stale: boolean}} _ */ (_) => {};

	/**
	 * @param {import("./dataset.js").Dataset} dataset
	 * @param {(live: Live) => Feed} attach
	 * @param {(live: Live, feed: Feed) => void} detach
	 */
	constructor(dataset, attach, detach) {
		super();
		this.dataset = dataset;
		this.ready = new Promise((resolve) => (this.#resolve = resolve));
		this.#attach = attach;
		this.#detach = detach;
		this.#feed = attach(this);
		if (this.#feed.ready) this.#resolve({ stale: this.status !== "live" });
	}

	#detach;

	/** In the order that was asked for, without one by their key. @returns {readonly Row[]} */
	get rows() {
		return this.#feed.view.rows;
	}

	/** @returns {LiveStatus} `stale`: of an earlier visit, or the server cannot tell just now */
	get status() {
		return this.#feed.status;
	}

	/** Why it is not live, if the server has said so. */
	get error() {
		return this.#feed.error;
	}

	/** How far it is in the changes of the database. */
	get seq() {
		return this.#feed.position;
	}

	/** The rows, as a snapshot. */
	getSnapshot = () => this.rows;

	/** Calls whenever rows or status are different. Opens again what was closed. @param {() => void} listener */
	subscribe = (listener) => {
		this.open();
		const call = () => listener();
		const offs = [this.on("change", call), this.on("status", call), this.on("ready", call)];
		return () => offs.forEach((off) => off());
	};

	open() {
		if (this.#open) return;
		this.#open = true;
		this.#feed = this.#attach(this);
	}

	/** It changes no more; `open()` or another `subscribe()` begins again. */
	close() {
		if (!this.#open) return;
		this.#open = false;
		this.#detach(this, this.#feed);
	}

	/** @template {keyof LiveEvents} K @param {K} name @param {LiveEvents[K]} detail */
	tell(name, detail) {
		if (name === "ready") this.#resolve(/** @type {any} */ (detail));
		this.emit(name, detail);
	}

	/** The same rows come by another feed already. @param {Feed} feed */
	follow(feed) {
		const before = this.rows;
		this.#detach(this, this.#feed);
		this.#feed = feed;
		feed.readers.add(this);
		this.tell("change", { added: [...this.rows], updated: [], removed: [...before] });
		if (feed.ready) this.tell("ready", { stale: this.status !== "live" });
		this.tell("status", { status: feed.status, message: feed.message });
	}
}
