import { OddText, decodeCell, encodeCell, encodeCells, keyText, rowOf } from "./cells.js";
import { Emitter } from "./events.js";
import { Feed, keyOf } from "./feed.js";
import { compileWhere, encodeWhere } from "./filter.js";
import { Live } from "./live.js";
import { Writes, reaches } from "./writes.js";

/**
 * @typedef {import("./cells.js").Row} Row
 * @typedef {import("./filter.js").Where} Where
 * @typedef {import("./kept.js").Kept} Kept
 * @typedef {import("./kept.js").WireOp} WireOp
 * @typedef {import("./errors.js").SignalboxError} SignalboxError
 * @typedef {string | {column: string, desc?: boolean}} Order `"-due"` is `{column: "due", desc: true}`
 * @typedef {any} Key one value, an array where the key has several columns, or a row
 * @typedef {"unchanged" | {seq: string} | {old: Record<string, any>}} Condition `"unchanged"`: what is to
 *   be changed still is as it is shown here
 *
 * @typedef {{
 *   op: "insert", set: Record<string, any>, upsert?: boolean, if?: Condition,
 * } | {
 *   op: "update", key: Key, set: Record<string, any>, if?: Condition,
 * } | {
 *   op: "delete", key: Key, if?: Condition,
 * }} WriteOp
 *
 * @typedef {{
 *   ops: {op: "insert"|"update"|"delete", key?: any[], set?: Record<string, any>, if?: any, upsert?: boolean}[],
 *   conflicts: import("./writes.js").Conflict[], error: SignalboxError,
 * }} ConflictEvent
 *
 * @typedef {{
 *   conflict?: (conflict: ConflictEvent) => WriteOp[] | null | void | Promise<WriteOp[] | null | void>,
 * }} DatasetOptions `conflict`: what to write instead; nothing: it is taken back, and told as `error`
 *
 * @typedef {{where?: Where, columns?: string[], order?: Order | Order[], limit?: number}} Wanted
 *
 * @typedef {{name: string, type: string, key: any, required: boolean}} Column
 * @typedef {{schema_version: any, columns: Column[], may?: string[]}} Schema
 * @typedef {{mutation: string, seq: string, txn: string | null, rows: (Row | null)[], keys: (any[] | null)[]}} Written
 *
 * @typedef {{error: SignalboxError, schema: Schema, pending: {pending: number}}} DatasetEvents
 *
 * @typedef {{
 *   isOpen: () => boolean, wasOpen: () => boolean, kept: () => Kept | null, subs: Map<string, Feed>,
 *   request: (method: string, params: object, options?: {apply?: (result: any) => void}) => Promise<any>,
 *   notify: (method: string, params: object) => void,
 * }} Server
 */

/**
 * A table of a database: its rows as they change, and changes to it.
 *
 * What is written is shown at once, sent as soon as there is a connection, and taken back with the event
 * `error` where the server refuses it. The promise of a write resolves when the server has it.
 *
 * @extends {Emitter<DatasetEvents>}
 */
export class Dataset extends Emitter {
	#server;
	/** @type {NonNullable<DatasetOptions["conflict"]> | null} */
	#conflict = null;
	/** @type {Map<string, Feed>} */
	#feeds = new Map();
	#writes;
	/** @type {Schema | null} */
	#schema = null;
	/** It may be another one by now: keys are told by it until that is here. */
	#outdated = false;
	/** @type {Promise<Schema> | null} */
	#asking = null;
	#told = 0;
	#owner;

	/** @param {Server} server @param {string} name */
	constructor(server, name) {
		super();
		this.name = name;
		this.#server = server;
		this.#writes = new Writes({
			name,
			isOpen: server.isOpen,
			request: server.request,
			keyColumns: () => this.#schema && keyOf(this.#schema),
			changed: () => this.#changed(),
			conflict: (conflicts, write, error) => this.#resolve(conflicts, write, error),
			failed: (error) => this.#failed(error),
			told: (seq) => [...this.#feeds.values()].every(({ error, shown }) => error || reaches(shown, seq)),
		});
		/** @type {import("./feed.js").FeedOwner} */
		this.#owner = {
			...server,
			schema: () => this.#known(),
			schemaNow: () => this.#schema,
			forgetSchema: () => this.#forgetSchema(),
			effects: (/** @type {string | null} */ shown) => this.#writes.effects(shown),
			holds: () => this.#writes.awaitsKey,
			moved: (/** @type {boolean | undefined} */ anew) => this.#moved(anew),
		};
	}

	/** How many changes wait for the server. */
	get pending() {
		return this.#writes.waiting;
	}

	/** @param {DatasetOptions} options */
	configure({ conflict }) {
		if (conflict) this.#conflict = conflict;
	}

	/* ---- reading ---- */

	/**
	 * The rows of the table that match, and every change of them, until `close()`.
	 * @param {Wanted & {notify?: boolean}} [wanted] `limit` with `order`: the first so many, a window. `columns`: those and
	 *   the key's. `notify`: no rows; `uptodate` says that something has changed
	 * @returns {Live}
	 */
	live({ notify, ...wanted } = {}) {
		const { where } = wanted;
		const wish = { dataset: this.name, ...wire(wanted), ...(notify && { notify }) };
		const id = JSON.stringify(wish);
		const attach = (/** @type {Live} */ live) => {
			let feed = this.#feeds.get(id);
			if (!feed) {
				feed = new Feed(this.#owner, wish, { where, order: terms(wanted.order) });
				this.#feeds.set(id, feed);
				if (this.#server.kept()) void feed.begin();
			}
			feed.readers.add(live);
			return feed;
		};
		compileWhere(where); // what is wrong with it is told here
		return new Live(this, { attach, detach: (live, feed) => this.#detach(live, feed), peek: () => this.#feeds.get(id) });
	}

	/** @param {Live} live @param {Feed} feed */
	#detach(live, feed) {
		feed.readers.delete(live);
		if (feed.readers.size) return;
		for (const [id, one] of this.#feeds) if (one === feed) this.#feeds.delete(id);
		feed.close();
		this.#moved();
	}

	/**
	 * One page, as it is now.
	 * @param {Wanted & {cursor?: string, count?: boolean, ranges?: Record<string, [number, number]>}} [wanted] `count`: how many
	 *   match in all. `ranges`: only these bytes of large cells, `[offset, length]`
	 * @returns {Promise<{rows: Row[], cursor: string | null, asOf: string, count?: number}>}
	 */
	async query({ cursor, count, ranges, ...wanted } = {}) {
		const params = { dataset: this.name, ...wire(wanted), ...(cursor && { cursor }), ...(count && { count }), ...(ranges && { ranges }) };
		const result = await this.#server.request("dataset.query", params);
		const columns = result.columns.map((/** @type {any} */ column) => column.name ?? column);
		return {
			rows: result.rows.map((/** @type {any[]} */ row) => rowOf(columns, row)),
			cursor: result.cursor ?? null,
			asOf: result.as_of,
			...(result.count !== undefined && { count: Number(decodeCell(result.count)) }),
		};
	}

	/** How many rows match. @param {Where} [where] @returns {Promise<number>} */
	async count(where) {
		const { count } = await this.query({ where, limit: 1, count: true });
		return count ?? 0;
	}

	/** Columns, and what this user may do. @returns {Promise<Schema>} */
	async schema() {
		/** @type {Schema} */
		const schema = await this.#server.request("dataset.schema", { dataset: this.name });
		this.#schema = schema;
		this.#outdated = false;
		this.#server.kept()?.saveSchema(this.name, schema).catch(() => {});
		this.emit("schema", schema);
		this.#changed();
		return schema;
	}

	/** @returns {Promise<Schema>} */
	async #known() {
		if (this.#schema && !this.#outdated) return this.#schema;
		return (this.#asking ??= this.schema().finally(() => (this.#asking = null)));
	}

	#forgetSchema() {
		this.#outdated = true;
	}

	/* ---- writing ---- */

	/**
	 * @param {Record<string, any>} row without the key where the table makes it
	 * @returns {Promise<Written>}
	 */
	insert(row) {
		return this.write([{ op: "insert", set: row }]);
	}

	/** Makes the row, or changes the one that has its key. @param {Record<string, any>} row @returns {Promise<Written>} */
	upsert(row) {
		return this.write([{ op: "insert", set: row, upsert: true }]);
	}

	/**
	 * @param {Key} key
	 * @param {Record<string, any>} set
	 * @param {{if?: Condition}} [condition]
	 * @returns {Promise<Written>}
	 */
	update(key, set, condition = {}) {
		return this.write([{ op: "update", key, set, ...condition }]);
	}

	/** @param {Key} key @param {{if?: Condition}} [condition] @returns {Promise<Written>} */
	delete(key, condition = {}) {
		return this.write([{ op: "delete", key, ...condition }]);
	}

	/**
	 * Several changes, in one transaction: all of them or none; `atomic: false`: each for itself.
	 * @param {WriteOp[]} ops
	 * @param {{atomic?: boolean}} [options]
	 * @returns {Promise<Written>}
	 */
	write(ops, { atomic = true } = {}) {
		const written = this.#writes.add(ops.map((op) => this.#wire(op)), atomic).then(
			({ mutation, seq, txn, columns = [], rows = [] }) => ({
				mutation, seq, txn,
				rows: rows.map(({ row }) => (row ? rowOf(columns, row) : null)),
				keys: rows.map(({ key }) => key?.map(decodeCell) ?? null),
			}));
		written.catch(() => {}); // whoever does not wait for it hears of it by "error"
		return written;
	}

	/** @param {WriteOp} op @returns {WireOp} */
	#wire(op) {
		if (op.op === "insert") {
			const condition = op.if && op.if !== "unchanged" ? conditionOf(op.if) : null;
			return { op: "insert", set: encodeCells(op.set), ...(op.upsert && { upsert: true }), ...(condition && { if: condition }) };
		}
		const key = this.#keyOf(op.key);
		const set = op.op === "update" ? encodeCells(op.set) : undefined;
		const condition = op.if === "unchanged" ? { old: this.#shown(key, set) } : op.if && conditionOf(op.if);
		return { op: op.op, key, ...(set && { set }), ...(condition && { if: condition }) };
	}

	/** @param {Key} key */
	#keyOf(key) {
		if (Array.isArray(key)) return key.map(encodeCell);
		const isRow = key !== null && typeof key === "object" && !(key instanceof Uint8Array || key instanceof OddText);
		if (!isRow) return [encodeCell(key)];
		const columns = this.#schema ? keyOf(this.#schema) : null;
		if (!columns?.every((column) => column in key)) {
			throw new TypeError(`${this.name}: this row does not say its key. Give the key itself.`);
		}
		return columns.map((column) => encodeCell(key[column]));
	}

	/** @param {any[]} key @param {Record<string, any> | undefined} set @returns {Record<string, any>} */
	#shown(key, set) {
		const id = keyText(key);
		const row = [...this.#feeds.values()].map(({ view }) => view.get(id)).find(Boolean);
		if (!row) throw new TypeError(`${this.name}: no list here shows this row. Give \`old\` or \`seq\` as condition.`);
		return encodeCells(Object.fromEntries(Object.keys(set ?? row).map((column) => [column, row[column] ?? null])));
	}

	/** @param {import("./writes.js").Conflict[]} conflicts @param {import("./kept.js").KeptWrite} write @param {SignalboxError} error */
	async #resolve(conflicts, write, error) {
		if (!this.#conflict) return null;
		const ops = write.ops.map(({ key, set, ...op }) => ({ ...op, ...(key && { key: key.map(decodeCell) }), ...(set && { set: decoded(set) }) }));
		const instead = await this.#conflict({ ops, conflicts, error });
		return instead?.length ? instead.map((op) => this.#wire(op)) : null;
	}

	/* ---- what happens ---- */

	/** What is kept for this user is there. @param {Kept} kept */
	async begin(kept) {
		this.#schema ??= await kept.schema(this.name).catch(() => null);
		if (this.#server.kept() !== kept) return;
		for (const feed of this.#feeds.values()) void feed.begin();
		await this.#writes.begin(kept);
	}

	/** @param {boolean} resumed */
	opened(resumed) {
		for (const feed of this.#feeds.values()) feed.opened(resumed);
		void this.#writes.send();
	}

	/** The connection is away, or not yet there. */
	connection() {
		for (const feed of this.#feeds.values()) feed.connection();
	}

	/** Somebody else is here. @param {SignalboxError} why */
	end(why) {
		this.#schema = null;
		this.#writes.end(why);
		for (const feed of this.#feeds.values()) feed.forget();
		this.#countPending();
	}

	/** From another tab. @param {any} message */
	heard(message) {
		this.#writes.heard(message);
	}

	/** The page is being left. */
	flush() {
		for (const feed of this.#feeds.values()) feed.flush();
	}

	/** @param {Schema} schema */
	schemaChanged({ schema_version, columns }) {
		this.#schema = { ...this.#schema, schema_version, columns };
		this.emit("schema", this.#schema);
	}

	#changed() {
		for (const feed of this.#feeds.values()) feed.overlay();
		this.#countPending();
	}

	/** @param {boolean} [anew] to another history, in which no answer of before has a place */
	#moved(anew) {
		if (this.#writes.forget(anew)) for (const feed of this.#feeds.values()) feed.overlay();
	}

	#countPending() {
		const { pending } = this;
		if (pending === this.#told) return;
		this.#told = pending;
		this.emit("pending", { pending });
	}

	/** @param {SignalboxError} error */
	#failed(error) {
		this.emit("error", error);
		for (const feed of this.#feeds.values()) for (const reader of feed.readers) reader.tell("error", error);
	}
}

/** @param {Wanted} wanted */
function wire({ where, columns, order, limit }) {
	const list = terms(order).map(({ column, desc }) => (desc ? `-${column}` : column));
	return {
		...(where && { where: encodeWhere(where) }),
		...(columns && { columns }),
		...(list.length && { order: list }),
		...(limit && { limit }),
	};
}

/** @param {Order | Order[]} [order] @returns {import("./rows.js").OrderTerm[]} */
function terms(order = []) {
	return [order].flat().map((term) => {
		if (typeof term !== "string") return { column: term.column, desc: term.desc ?? false };
		return { column: term.replace(/^-/, ""), desc: term.startsWith("-") };
	});
}

/** @param {{seq: string} | {old: Record<string, any>}} condition */
function conditionOf(condition) {
	return "old" in condition ? { old: encodeCells(condition.old) } : condition;
}

/** @param {Record<string, any>} cells */
function decoded(cells) {
	return Object.fromEntries(Object.entries(cells).map(([name, cell]) => [name, decodeCell(cell)]));
}
