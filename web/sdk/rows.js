import { LargeCell, compareCells, encodeCell, keyText, rowOf, sameCell } from "./cells.js";
import { compileWhere } from "./filter.js";

/**
 * @typedef {import("./cells.js").Row} Row
 * @typedef {import("./cells.js").WireCell} WireCell
 * @typedef {{column: string, desc: boolean}} OrderTerm
 * @typedef {{op: "I"|"U"|"D"|"X", key: WireCell[], row?: WireCell[], seq?: string, txn?: string | null}} Op
 * @typedef {{added: Row[], updated: Row[], removed: Row[]}} Change
 *
 * @typedef {{id: string, set?: Record<string, any>, make?: boolean, over?: boolean, is?: Row | null}} Effect
 *   what a write of one's own does to the row `id` until the server has told it: `make` a row (`over` one
 *   that is there), change one, without `set` take it away; `is`: what the server has answered
 */

/** @type {readonly Row[]} */
const NOTHING = Object.freeze([]);
/** So many changes at once, of so many rows, and sorting anew is cheaper than moving each. */
const FEW = 8;

/**
 * The rows of one feed, in their order: as the server has told them, and over that what this client has
 * written and not heard of yet. `rows` is another array whenever something in it is different, and a row
 * another object: each can be kept, and compared by `===`.
 */
export class View {
	/** @type {readonly Row[]} */
	rows = NOTHING;
	/** @type {string[]} */
	columns = [];
	/** @type {string[]} */
	key = [];

	#order;
	#limit;
	#matches;
	/** @type {Map<string, Row>} */
	#base = new Map();
	/** @type {readonly Row[]} */
	#sorted = NOTHING;
	/** @type {Effect[]} */
	#effects = [];
	/** @type {Map<string, Row | null>} */
	#over = new Map();
	/** @type {Map<string, Row>} */
	#shown = new Map();
	/** @type {WeakMap<Row, string>} */
	#ids = new WeakMap();

	/** @param {{order?: OrderTerm[], limit?: number, where?: import("./filter.js").Where}} wish */
	constructor({ order = [], limit = 0, where }) {
		this.#order = order;
		this.#limit = limit;
		this.#matches = compileWhere(where);
	}

	/** What rows look like from now on; those that are there go with the next `restart`. @param {string[]} columns @param {string[]} key */
	look(columns, key) {
		this.columns = columns;
		this.key = key;
	}

	/** Rows in the place of all that was there. @param {Iterable<readonly WireCell[]>} rows @returns {Change | null} */
	restart(rows) {
		this.#base = new Map();
		for (const cells of rows) this.#put(cells);
		this.#sort();
		return this.#compose(null);
	}

	/** What the server tells; all of it at once. @param {Op[]} ops @returns {Change | null} */
	apply(ops) {
		/** @type {Set<string>} */
		const touched = new Set();
		const sorted = ops.length * FEW < this.#base.size ? [...this.#sorted] : null;
		for (const { op, key, row } of ops) {
			const id = keyText(key);
			touched.add(id);
			const before = this.#base.get(id);
			if (before && sorted) sorted.splice(this.#find(sorted, before), 1);
			this.#base.delete(id);
			if ((op === "I" || op === "U") && row) {
				const after = this.#put(row);
				if (sorted) sorted.splice(this.#find(sorted, after), 0, after);
			}
		}
		if (sorted) this.#sorted = sorted;
		else this.#sort();
		return this.#compose(touched);
	}

	/** What this client has written. @param {Effect[]} effects @returns {Change | null} */
	overlay(effects) {
		if (!effects.length && !this.#effects.length) return null;
		this.#effects = effects;
		return this.#compose(new Set());
	}

	/** The row of this key, as it is shown or would be. @param {string} id @returns {Row | undefined} */
	get(id) {
		const over = this.#over.get(id);
		return over === undefined ? this.#base.get(id) : (over ?? undefined);
	}

	/** What a row is looked up by. @param {Row} row */
	idOf(row) {
		return this.#ids.get(row) ?? keyText(this.key.map((column) => encodeCell(row[column] ?? null)));
	}

	/** What the server has told, as it came. @returns {IterableIterator<[string, WireCell[]]>} */
	*told() {
		for (const [id, row] of this.#base) yield [id, this.#asItCame(row)];
	}

	/** @param {string} id @returns {WireCell[] | null} */
	toldOf(id) {
		const row = this.#base.get(id);
		return row ? this.#asItCame(row) : null;
	}

	/** @param {Row} row @returns {WireCell[]} */
	#asItCame(row) {
		return this.columns.map((column) => encodeAsItCame(row[column]));
	}

	get size() {
		return this.#base.size;
	}

	/** @param {readonly WireCell[]} cells */
	#put(cells) {
		const row = rowOf(this.columns, cells);
		const id = this.idOf(row);
		const same = this.#known(id, row);
		this.#base.set(id, same);
		return same;
	}

	/** The object that stands for such a row already, if there is one. @param {string} id @param {Row} row @returns {Row} */
	#known(id, row) {
		const shown = this.#shown.get(id);
		const known = shown && sameRow(shown, row) ? shown : row;
		this.#ids.set(known, id);
		return known;
	}

	#sort() {
		this.#sorted = [...this.#base.values()].sort((a, b) => this.#compare(a, b));
	}

	/** @param {Row} a @param {Row} b */
	#compare(a, b) {
		for (const { column, desc } of this.#order) {
			const order = compareCells(a[column], b[column]);
			if (order) return desc ? -order : order;
		}
		for (const column of this.key) {
			const order = compareCells(a[column], b[column]);
			if (order) return order;
		}
		const [first, second] = [this.#ids.get(a) ?? "", this.#ids.get(b) ?? ""];
		return first < second ? -1 : first > second ? 1 : 0;
	}

	/** Where a row stands, or would. @param {Row[]} sorted @param {Row} row */
	#find(sorted, row) {
		let low = 0;
		let high = sorted.length;
		while (low < high) {
			const middle = (low + high) >> 1;
			if (this.#compare(sorted[middle], row) < 0) low = middle + 1;
			else high = middle;
		}
		return low;
	}

	/* ---- what is shown ---- */

	/** @param {Set<string> | null} touched null: anything may be different @returns {Change | null} */
	#compose(touched) {
		const before = this.#over;
		this.#over = this.#written();
		for (const id of before.keys()) if (!this.#over.has(id)) this.#uncover(id);
		let rows = this.#sorted;
		if (this.#over.size) {
			const all = rows.filter((row) => !this.#over.has(this.idOf(row)));
			for (const row of this.#over.values()) {
				if (row && this.#matches(row)) all.splice(this.#find(all, row), 0, row);
			}
			rows = all;
		}
		if (this.#limit && rows.length > this.#limit) rows = rows.slice(0, this.#limit);
		if (rows.length === this.rows.length && rows.every((row, at) => row === this.rows[at])) return null;
		const ids = touched && !this.#limit ? new Set([...touched, ...before.keys(), ...this.#over.keys()]) : null;
		return this.#show(rows, ids);
	}

	/** What was told is what was written: the same object goes on. @param {string} id */
	#uncover(id) {
		const told = this.#base.get(id);
		const shown = this.#shown.get(id);
		if (!told || !shown || told === shown || !sameRow(told, shown)) return;
		this.#base.set(id, shown);
		this.#sorted = this.#sorted.map((row) => (row === told ? shown : row));
	}

	/** @returns {Map<string, Row | null>} */
	#written() {
		/** @type {Map<string, Row | null>} */
		const over = new Map();
		for (const { id, set, make, over: replaces, is } of this.#effects) {
			const known = over.get(id);
			const current = known === undefined ? (this.#base.get(id) ?? null) : known;
			if (is !== undefined) over.set(id, is && this.#known(id, this.#cut(is)));
			else if (!set) over.set(id, null);
			else if (current ? !make || replaces : make) this.#change(over, id, { ...(current ?? this.#blank()), ...set });
		}
		return over;
	}

	/** @param {Map<string, Row | null>} over @param {string} id @param {Row} changed */
	#change(over, id, changed) {
		const row = Object.freeze(this.#cut(changed));
		const named = this.key.every((column) => row[column] !== null);
		const now = named ? keyText(this.key.map((column) => encodeCell(row[column]))) : id;
		if (now !== id) over.set(id, null);
		over.set(now, this.#known(now, row));
	}

	#blank() {
		return Object.fromEntries(this.columns.map((column) => [column, null]));
	}

	/** @param {Row} row its columns that are asked for @returns {Row} */
	#cut(row) {
		return Object.fromEntries(this.columns.map((column) => [column, row[column] ?? null]));
	}

	/** @param {readonly Row[]} rows @param {Set<string> | null} ids those that can be different @returns {Change} */
	#show(rows, ids) {
		/** @type {Change} */
		const change = { added: [], updated: [], removed: [] };
		const all = ids ? null : new Map(rows.map((row) => [this.idOf(row), row]));
		for (const id of ids ?? new Set([...this.#shown.keys(), .../** @type {Map<string, Row>} */ (all).keys()])) {
			const before = this.#shown.get(id);
			const after = all ? all.get(id) : this.#visible(id);
			if (before === after) continue;
			if (!before && after) change.added.push(after);
			else if (before && after) change.updated.push(after);
			else if (before) change.removed.push(before);
			if (after) this.#shown.set(id, after);
			else this.#shown.delete(id);
		}
		this.rows = Object.freeze([...rows]);
		return change;
	}

	/** @param {string} id */
	#visible(id) {
		const row = this.get(id);
		return row && (!this.#over.has(id) || this.#matches(row)) ? row : undefined;
	}
}

/** @param {Row} a @param {Row} b */
function sameRow(a, b) {
	const names = Object.keys(a);
	return names.length === Object.keys(b).length && names.every((name) => name in b && sameCell(a[name], b[name]));
}

/** Also what cannot be written. @param {any} cell @returns {WireCell} */
function encodeAsItCame(cell) {
	return cell instanceof LargeCell ? { $big: cell.bytes } : encodeCell(cell);
}
