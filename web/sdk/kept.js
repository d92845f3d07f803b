/*
 * What datasets keep on this device, for one user of one server: rows with the position they are of, and
 * writes that have not been answered. In IndexedDB, with Web Locks between the tabs; where one of them is
 * missing (Node, pages without https) in memory, as long as the page lives.
 */

/**
 * @typedef {import("./cells.js").WireCell} WireCell
 * @typedef {{
 *   id: string, dataset: string, shape: string, epoch: string, seq: string,
 *   columns: string[], key: string[], at: number,
 * }} KeptFeed
 * @typedef {{
 *   mutation: string, dataset: string, at: number, atomic: boolean, ops: WireOp[], again?: number, sent?: number,
 * }} KeptWrite `at` is their order; `again`: how often it has taken the place of one that met a conflict; `sent`: when
 *   it was sent the first time
 * @typedef {{
 *   op: "insert"|"update"|"delete", key?: WireCell[], set?: Record<string, WireCell>, upsert?: boolean,
 *   if?: {seq: string} | {old: Record<string, WireCell>},
 * }} WireOp
 * @typedef {{put: [string, WireCell[]][], drop: string[], whole: boolean}} Saving
 */

/** Nobody looks at a feed for so long, and its rows are forgotten. */
const FEED_MS = 30 * 24 * 3600_000;
/** So many feeds are kept, those that were used last. */
const MOST_FEEDS = 64;

/**
 * @param {string} server @param {string} user
 * @returns {Promise<Kept>}
 */
export async function openKept(server, user) {
	const { indexedDB, navigator } = globalThis;
	if (!indexedDB || !navigator?.locks) return new Kept(server, user);
	try {
		const database = await open(nameOf(server, user));
		await forgetOld(database);
		return new KeptInBrowser(server, user, database);
	} catch (error) {
		console.warn("Signalbox: this browser keeps nothing (private window, or no space)", error);
		return new Kept(server, user);
	}
}

/** Takes all away that is kept for this user. @param {string} server @param {string} user @returns {Promise<void>} */
export function forgetKept(server, user) {
	return new Promise((done) => {
		if (!globalThis.indexedDB) return done();
		const request = indexedDB.deleteDatabase(nameOf(server, user));
		request.onsuccess = request.onerror = request.onblocked = () => done();
	});
}

/** @param {string} server @param {string} user */
function nameOf(server, user) {
	return `signalbox ${server} ${user}`;
}

/** In memory. */
export class Kept {
	/** It is still there after a reload. */
	durable = false;
	/** What another tab says. @param {any} _message */
	heard = (_message) => {};
	name;
	/** @type {Map<string, KeptWrite>} */
	#writes = new Map();

	/** @param {string} server @param {string} user */
	constructor(server, user) {
		this.user = user;
		this.name = nameOf(server, user);
	}

	/**
	 * The rows of a feed as they were saved.
	 * @param {string} _id
	 * @returns {Promise<{feed: KeptFeed, rows: WireCell[][]} | null>}
	 */
	async feed(_id) {
		return null;
	}

	/**
	 * All of it is there afterwards, or nothing.
	 * @param {KeptFeed} _feed @param {Saving} _saving
	 */
	async saveFeed(_feed, _saving) {}

	/** @param {string} _id */
	async dropFeed(_id) {}

	/**
	 * Calls `mine` when no other tab saves this feed any more: then this one may. Returns what gives it up.
	 * @param {string} _id @param {() => void} _mine
	 * @returns {() => void}
	 */
	claim(_id, _mine) {
		return () => {};
	}

	/** What was written and not answered, in its order. @param {string} dataset @returns {Promise<KeptWrite[]>} */
	async writes(dataset) {
		return [...this.#writes.values()].filter((write) => write.dataset === dataset).sort((a, b) => a.at - b.at);
	}

	/** @param {KeptWrite} write */
	async saveWrite(write) {
		this.#writes.set(write.mutation, write);
	}

	/** @param {string} mutation */
	async dropWrite(mutation) {
		this.#writes.delete(mutation);
	}

	/** @param {string} _dataset @returns {Promise<any>} */
	async schema(_dataset) {
		return null;
	}

	/** @param {string} _dataset @param {any} _schema */
	async saveSchema(_dataset, _schema) {}

	/** To the other tabs. @param {any} _message */
	tell(_message) {}

	/**
	 * One tab at a time.
	 * @template T
	 * @param {string} _what @param {() => Promise<T>} work
	 * @returns {Promise<T>}
	 */
	alone(_what, work) {
		return work();
	}

	close() {}
}

/** In IndexedDB. */
class KeptInBrowser extends Kept {
	#database;
	#tabs;
	#closed = new AbortController();

	/** @param {string} server @param {string} user @param {IDBDatabase} database */
	constructor(server, user, database) {
		super(server, user);
		this.durable = true;
		this.#database = database;
		database.onversionchange = () => this.close(); // it is being forgotten, in whichever tab
		this.#tabs = new BroadcastChannel(this.name);
		this.#tabs.onmessage = ({ data }) => this.heard(data);
	}

	/** @override @param {string} id */
	async feed(id) {
		const stores = this.#in("readonly", "feeds", "rows");
		const [feed, rows] = await Promise.all([asked(stores[0].get(id)), asked(stores[1].getAll(allOf(id)))]);
		return feed ? { feed, rows: rows.map(({ row }) => row) } : null;
	}

	/** @override @param {KeptFeed} feed @param {Saving} saving */
	async saveFeed(feed, { put, drop, whole }) {
		const [feeds, rows] = this.#in("readwrite", "feeds", "rows");
		if (whole) rows.delete(allOf(feed.id));
		for (const key of drop) rows.delete([feed.id, key]);
		for (const [key, row] of put) rows.put({ feed: feed.id, key, row });
		feeds.put(feed);
		await finished(feeds.transaction);
	}

	/** @override @param {string} id */
	async dropFeed(id) {
		const [feeds, rows] = this.#in("readwrite", "feeds", "rows");
		feeds.delete(id);
		rows.delete(allOf(id));
		await finished(feeds.transaction);
	}

	/** @override @param {string} id @param {() => void} mine */
	claim(id, mine) {
		const over = new AbortController();
		const signal = AbortSignal.any([over.signal, this.#closed.signal]);
		const held = () => new Promise((done) => {
			signal.addEventListener("abort", done);
			mine();
		});
		// given up while it waited: then it was never ours
		navigator.locks.request(`${this.name} feed ${id}`, { signal }, held).catch(() => {});
		return () => over.abort();
	}

	/** @override @param {string} dataset @returns {Promise<KeptWrite[]>} */
	async writes(dataset) {
		const [writes] = this.#in("readonly", "writes");
		const range = IDBKeyRange.bound([dataset, -Infinity], [dataset, Infinity]);
		return asked(writes.index("order").getAll(range));
	}

	/** @override @param {KeptWrite} write */
	async saveWrite(write) {
		const [writes] = this.#in("readwrite", "writes");
		writes.put(write);
		await finished(writes.transaction);
	}

	/** @override @param {string} mutation */
	async dropWrite(mutation) {
		const [writes] = this.#in("readwrite", "writes");
		writes.delete(mutation);
		await finished(writes.transaction);
	}

	/** @override @param {string} dataset */
	async schema(dataset) {
		return (await asked(this.#in("readonly", "schemas")[0].get(dataset))) ?? null;
	}

	/** @override @param {string} dataset @param {any} schema */
	async saveSchema(dataset, schema) {
		const [schemas] = this.#in("readwrite", "schemas");
		schemas.put(schema, dataset);
		await finished(schemas.transaction);
	}

	/** @override @param {any} message */
	tell(message) {
		if (!this.#closed.signal.aborted) this.#tabs.postMessage(message);
	}

	/** @override @template T @param {string} what @param {() => Promise<T>} work @returns {Promise<T>} */
	async alone(what, work) {
		return await navigator.locks.request(`${this.name} ${what}`, work);
	}

	/** @override */
	close() {
		this.#closed.abort();
		this.#tabs.close();
		this.#database.close();
	}

	/** @param {IDBTransactionMode} mode @param {string[]} stores */
	#in(mode, ...stores) {
		const transaction = this.#database.transaction(stores, mode);
		return stores.map((store) => transaction.objectStore(store));
	}
}

/** @param {string} name @returns {Promise<IDBDatabase>} */
function open(name) {
	return new Promise((done, failed) => {
		const request = indexedDB.open(name, 1);
		request.onupgradeneeded = () => {
			const database = request.result;
			database.createObjectStore("feeds", { keyPath: "id" });
			database.createObjectStore("rows", { keyPath: ["feed", "key"] });
			database.createObjectStore("writes", { keyPath: "mutation" }).createIndex("order", ["dataset", "at"]);
			database.createObjectStore("schemas");
		};
		request.onsuccess = () => done(request.result);
		request.onerror = () => failed(request.error);
		request.onblocked = () => failed(new Error("another tab holds it"));
	});
}

/** @param {IDBDatabase} database */
async function forgetOld(database) {
	const transaction = database.transaction(["feeds", "rows"], "readwrite");
	const [feeds, rows] = [transaction.objectStore("feeds"), transaction.objectStore("rows")];
	/** @type {KeptFeed[]} */
	const all = await asked(feeds.getAll());
	all.sort((a, b) => b.at - a.at);
	for (const [place, { id, at }] of all.entries()) {
		if (place < MOST_FEEDS && Date.now() - at < FEED_MS) continue;
		feeds.delete(id);
		rows.delete(allOf(id));
	}
	await finished(transaction);
}

/** All rows of a feed. @param {string} id */
function allOf(id) {
	return IDBKeyRange.bound([id], [id, []]);
}

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
function asked(request) {
	return new Promise((done, failed) => {
		request.onsuccess = () => done(request.result);
		request.onerror = () => failed(request.error);
	});
}

/** @param {IDBTransaction} transaction @returns {Promise<void>} */
function finished(transaction) {
	return new Promise((done, failed) => {
		transaction.oncomplete = () => done();
		transaction.onerror = transaction.onabort = () => failed(transaction.error);
	});
}
