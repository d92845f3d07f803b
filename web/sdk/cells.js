/*
 * Values of a database as JavaScript has them, exactly: what JSON would change goes tagged over the wire.
 */

/**
 * @typedef {null | number | bigint | string | Uint8Array | OddText | LargeCell} Cell
 * @typedef {any} WireCell JSON, or `{"$b"|"$i"|"$r"|"$t"|"$big": …}`
 * @typedef {Readonly<Record<string, any>>} Row its cells by the names of their columns
 */

const decoder = new TextDecoder();
const encoder = new TextEncoder();
const SAFE = BigInt(Number.MAX_SAFE_INTEGER);

/** A text in the database that is no UTF-8, as its bytes; written back it is the same. */
export class OddText {
	/** @param {Uint8Array} bytes */
	constructor(bytes) {
		this.bytes = bytes;
	}

	/** For people: what cannot be read stands as �. */
	toString() {
		return decoder.decode(this.bytes);
	}
}

/** In place of a cell that is too large for the feed: `query` with `ranges` brings it. */
export class LargeCell {
	/** @param {number} bytes how long it is */
	constructor(bytes) {
		this.bytes = bytes;
	}
}

/** @param {WireCell} cell @returns {Cell} */
export function decodeCell(cell) {
	if (cell === null || typeof cell !== "object") return cell;
	if (typeof cell.$b === "string") return fromBase64(cell.$b);
	if (typeof cell.$i === "string") return BigInt(cell.$i);
	if (typeof cell.$r === "string") return cell.$r === "-Inf" ? -Infinity : Infinity;
	if (typeof cell.$t === "string") return new OddText(fromBase64(cell.$t));
	if (typeof cell.$big === "number") return new LargeCell(cell.$big);
	throw new TypeError(`The server sent a cell that this library does not know: ${JSON.stringify(cell)}`);
}

/**
 * @param {unknown} value true and false become 1 and 0, as SQLite has them
 * @returns {WireCell}
 */
export function encodeCell(value) {
	if (value === null || typeof value === "string") return value;
	if (typeof value === "boolean") return Number(value);
	if (typeof value === "number" && !Number.isNaN(value)) {
		return Number.isFinite(value) ? value : { $r: value > 0 ? "Inf" : "-Inf" };
	}
	if (typeof value === "bigint" && BigInt.asIntN(64, value) === value) {
		return value <= SAFE && value >= -SAFE ? Number(value) : { $i: String(value) };
	}
	if (value instanceof ArrayBuffer) return { $b: toBase64(new Uint8Array(value)) };
	if (value instanceof Uint8Array) return { $b: toBase64(value) };
	if (value instanceof OddText) return { $t: toBase64(value.bytes) };
	throw new TypeError(
		`A database holds null, numbers, texts and blobs, and not ${describe(value)}. ` +
		"Write a number or a text in its place.");
}

/** @param {unknown} value */
function describe(value) {
	if (value instanceof LargeCell) return "the mark of a cell that was too large to be sent";
	if (typeof value === "object") return `a ${value?.constructor?.name ?? "strange object"}`;
	return typeof value === "bigint" ? "integers of more than 64 bits" : String(value);
}

/** @param {Record<string, unknown>} cells @returns {Record<string, WireCell>} */
export function encodeCells(cells) {
	return Object.fromEntries(Object.entries(cells).map(([name, value]) => [name, encodeCell(value)]));
}

/** @param {readonly string[]} columns @param {readonly WireCell[]} cells @returns {Row} */
export function rowOf(columns, cells) {
	/** @type {Record<string, Cell>} */
	const row = {};
	for (const [at, column] of columns.entries()) row[column] = decodeCell(cells[at] ?? null);
	return Object.freeze(row);
}

/** What a key is looked up by. @param {readonly WireCell[]} key @returns {string} */
export function keyText(key) {
	return JSON.stringify(key);
}

/** Whether two cells hold the same. @param {any} a @param {any} b */
export function sameCell(a, b) {
	if (Object.is(a, b)) return true;
	if (a instanceof Uint8Array && b instanceof Uint8Array) return compareBytes(a, b) === 0;
	if (a instanceof OddText && b instanceof OddText) return compareBytes(a.bytes, b.bytes) === 0;
	return a instanceof LargeCell && b instanceof LargeCell && a.bytes === b.bytes;
}

/* ---- order ---- */

/** @param {any} cell */
function rank(cell) {
	if (cell === null || cell === undefined) return 0;
	if (typeof cell === "number" || typeof cell === "bigint") return 1;
	return typeof cell === "string" || cell instanceof OddText ? 2 : 3;
}

/**
 * The order of SQLite with the collation BINARY: null, numbers, texts by their bytes, blobs.
 * @param {any} a @param {any} b
 * @returns {number}
 */
export function compareCells(a, b) {
	const kind = rank(a);
	const other = rank(b);
	if (kind !== other) return kind - other;
	if (kind === 0) return 0;
	if (kind === 1) return a < b ? -1 : a > b ? 1 : 0;
	if (typeof a === "string" && typeof b === "string") return compareText(a, b);
	return compareBytes(bytesOf(a), bytesOf(b));
}

/** As their UTF-8 would compare: JavaScript's own order differs behind U+D800. @param {string} a @param {string} b */
function compareText(a, b) {
	const n = Math.min(a.length, b.length);
	for (let i = 0; i < n; i++) {
		const x = a.charCodeAt(i);
		const y = b.charCodeAt(i);
		if (x !== y) return weight(x) - weight(y);
	}
	return a.length - b.length;
}

/** Halves of pairs stand for what comes behind all else. @param {number} unit */
function weight(unit) {
	return unit >= 0xd800 && unit < 0xe000 ? unit + 0x10000 : unit;
}

/** @param {any} cell */
function bytesOf(cell) {
	if (typeof cell === "string") return encoder.encode(cell);
	return cell instanceof Uint8Array ? cell : (cell.bytes instanceof Uint8Array ? cell.bytes : new Uint8Array());
}

/** @param {Uint8Array} a @param {Uint8Array} b */
function compareBytes(a, b) {
	const n = Math.min(a.length, b.length);
	for (let i = 0; i < n; i++) if (a[i] !== b[i]) return a[i] - b[i];
	return a.length - b.length;
}

/* ---- base64 ---- */

/** @param {Uint8Array} bytes */
function toBase64(bytes) {
	let binary = "";
	for (let i = 0; i < bytes.length; i += 8192) binary += String.fromCharCode(...bytes.subarray(i, i + 8192));
	return btoa(binary);
}

/** @param {string} text */
function fromBase64(text) {
	return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}
