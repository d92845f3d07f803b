/**
 * @typedef {import("./kept.js").Kept} Kept
 * @typedef {import("./rows.js").View} View
 * @typedef {{shape: string, epoch: string, seq: string}} Position
 */

/** Changes that come close together are saved at once. */
const WAIT_MS = 150;
/** A feed with more rows than this is not kept. */
const MOST_ROWS = 20_000;

/**
 * Keeps what a feed shows on the device, rows and position always together. One tab does it for all that have the
 * same feed; the next one begins by saving the whole of its own.
 */
export class Saving {
	#id;
	#dataset;
	#view;
	/** @type {Kept | null} */
	#kept = null;
	#mine = false;
	#release = () => {};
	/** Keys of rows that are different from what is kept; null: all may be. @type {Set<string> | null} */
	#dirty = null;
	/** @type {Position | null} */
	#position = null;
	/** @type {any} */
	#timer = 0;
	/** One after the other. */
	#work = Promise.resolve();

	/** @param {string} id @param {string} dataset @param {View} view */
	constructor(id, dataset, view) {
		this.#id = id;
		this.#dataset = dataset;
		this.#view = view;
	}

	/** @param {Kept} kept */
	async begin(kept) {
		this.end();
		this.#kept = kept;
		this.#release = kept.claim(this.#id, () => {
			this.#mine = true;
			this.#soon();
		});
		return kept.feed(this.#id);
	}

	end() {
		this.flush();
		void this.#work.then(this.#release); // only then may another tab save
		this.#release = () => {};
		this.#kept = null;
		this.#mine = false;
		this.#dirty = this.#position = null;
		clearTimeout(this.#timer);
	}

	/** All the rows are new. @param {Position} position */
	whole(position) {
		this.#dirty = null;
		this.moved(position);
	}

	/** @param {string[]} keys @param {Position} position */
	changed(keys, position) {
		for (const key of keys) this.#dirty?.add(key);
		this.moved(position);
	}

	/** @param {Position} position */
	moved(position) {
		this.#position = position;
		this.#soon();
	}

	/** These rows are not for this user any more. */
	drop() {
		this.#position = this.#dirty = null;
		const kept = this.#kept;
		if (kept) this.#work = this.#work.then(() => kept.dropFeed(this.#id)).catch(() => {});
	}

	#soon() {
		if (this.#mine && this.#position) this.#timer ||= setTimeout(() => this.flush(), WAIT_MS);
	}

	/** Saves now what is to be saved; goes on when the page is left. */
	flush() {
		clearTimeout(this.#timer);
		this.#timer = 0;
		const kept = this.#kept;
		if (!kept || !this.#mine || !this.#position) return;
		const { columns, key } = this.#view;
		const feed = { id: this.#id, dataset: this.#dataset, columns, key, at: Date.now(), ...this.#position };
		const saving = this.#take();
		this.#position = null;
		const save = this.#view.size > MOST_ROWS ? () => kept.dropFeed(feed.id) : () => kept.saveFeed(feed, saving);
		this.#work = this.#work.then(save).catch(() => {
			this.#dirty = null; // no space, perhaps: the next time it is all of it or nothing
		});
	}

	/** @returns {import("./kept.js").Saving} */
	#take() {
		const dirty = this.#dirty;
		this.#dirty = new Set();
		if (!dirty) return { put: [...this.#view.told()], drop: [], whole: true };
		/** @type {import("./kept.js").Saving} */
		const saving = { put: [], drop: [], whole: false };
		for (const id of dirty) {
			const row = this.#view.toldOf(id);
			if (row) saving.put.push([id, row]);
			else saving.drop.push(id);
		}
		return saving;
	}
}
