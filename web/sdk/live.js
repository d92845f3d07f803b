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

/** @type {readonly Row[]} */
const NOTHING = Object.freeze([]);

/**
 * Rows that stay as they are on the server, from the first `on()`, `subscribe()` or `ready` on. For
 * `useSyncExternalStore` and the like: `subscribe` and `getSnapshot` need no `this`, and a snapshot is another
 * array only when something in it is different.
 *
 * @extends {Emitter<LiveEvents>}
 */
export class Live extends Emitter {
	/** The dataset, to write to. */
	dataset;

	#source;
	/** @type {Feed | null} */
	#feed = null;
	#subscribers = 0;
	#ready;
	#resolve = /** @param {{stale: boolean}} _ */ (_) => {};

	/**
	 * @param {import("./dataset.js").Dataset} dataset
	 * @param {{
	 *   attach: (live: Live) => Feed, detach: (live: Live, feed: Feed) => void, peek: () => Feed | undefined,
	 * }} source `peek`: the feed that others have opened
	 */
	constructor(dataset, source) {
		super();
		this.dataset = dataset;
		this.#source = source;
		/** @type {Promise<{stale: boolean}>} */
		this.#ready = new Promise((resolve) => (this.#resolve = resolve));
	}

	/** Resolves when there are rows the first time: those of the last visit (`stale`), or the server's. */
	get ready() {
		this.open();
		return this.#ready;
	}

	/** In the order that was asked for, without one by their key. @returns {readonly Row[]} */
	get rows() {
		return this.#shown?.view.rows ?? NOTHING;
	}

	/** @returns {LiveStatus} `stale`: of an earlier visit, or the server cannot tell just now */
	get status() {
		return this.#shown?.status ?? "stale";
	}

	/** Why it is not live, if the server has said so. */
	get error() {
		return this.#shown?.error ?? null;
	}

	/** How far it is in the changes of the database. */
	get seq() {
		return this.#shown?.position ?? null;
	}

	get #shown() {
		return this.#feed ?? this.#source.peek();
	}

	/** The rows, as a snapshot. */
	getSnapshot = () => this.rows;

	/** Calls whenever rows or status are different. With the last who goes it closes. @param {() => void} listener */
	subscribe = (listener) => {
		const call = () => listener();
		const offs = [this.on("change", call), this.on("status", call), this.on("ready", call)];
		this.#subscribers++;
		return () => {
			if (!offs.length) return;
			for (const off of offs.splice(0)) off();
			this.#subscribers--;
			// whoever only changes places is back by then
			setTimeout(() => this.#subscribers || this.close());
		};
	};

	/** @override @template {keyof LiveEvents} K @param {K} name @param {(detail: LiveEvents[K]) => void} listener */
	on(name, listener) {
		const off = super.on(name, listener);
		this.open();
		return off;
	}

	open() {
		if (this.#feed) return this;
		this.#feed = this.#source.attach(this);
		if (this.#feed.ready) this.#resolve({ stale: this.status !== "live" });
		return this;
	}

	/** It changes no more, until it is opened again. */
	close() {
		const feed = this.#feed;
		this.#feed = null;
		if (feed) this.#source.detach(this, feed);
	}

	/** @template {keyof LiveEvents} K @param {K} name @param {LiveEvents[K]} detail */
	tell(name, detail) {
		if (name === "ready") this.#resolve(/** @type {any} */ (detail));
		this.emit(name, detail);
	}

	/** The same rows come by another feed already. @param {Feed} feed */
	follow(feed) {
		const before = this.rows;
		if (this.#feed) this.#source.detach(this, this.#feed);
		this.#feed = feed;
		feed.readers.add(this);
		this.tell("change", { added: [...this.rows], updated: [], removed: [...before] });
		if (feed.ready) this.tell("ready", { stale: this.status !== "live" });
		this.tell("status", { status: feed.status, message: feed.message });
	}
}
