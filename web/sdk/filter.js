import { compareCells, encodeCell } from "./cells.js";

/**
 * A filter, as `["and", ["=", "status", "open"], ["in", "owner", ["ann", "bob"]]]`.
 * @typedef {any[]} Where
 * @typedef {(row: import("./cells.js").Row) => boolean | null} Test null: unknown, as SQL says it
 */

const JOINING = new Set(["and", "or", "not"]);

/** The filter as it goes over the wire. @param {Where} where @returns {any[]} */
export function encodeWhere(where) {
	const [operator, ...rest] = where;
	if (JOINING.has(operator)) return [operator, ...rest.map(encodeWhere)];
	const [column, value] = rest;
	if (operator === "in") return [operator, column, [...value].map(encodeCell)];
	return rest.length > 1 ? [operator, column, encodeCell(value)] : [operator, column];
}

/**
 * What the server will most likely say of a row that it has not seen yet. (It alone knows the types and
 * collations of the columns, and has the last word.)
 * @param {Where | undefined} where
 * @returns {Test}
 */
export function compileWhere(where) {
	if (!where) return () => true;
	const [operator, ...rest] = where;
	if (operator === "and") return every(rest.map(compileWhere));
	if (operator === "or") {
		const none = every(rest.map((part) => not(compileWhere(part))));
		return not(none);
	}
	if (operator === "not") return not(compileWhere(rest[0]));
	const [column, value] = rest;
	if (operator === "is-null") return (row) => (row[column] ?? null) === null;
	if (operator === "in") return among([...value].map(plain), column);
	if (operator === "like") return like(column, String(value));
	const holds = COMPARISONS[operator];
	if (!holds) throw new TypeError(`A filter has no operator ${JSON.stringify(operator)}.`);
	return against(column, plain(value), holds);
}

/** @type {Record<string, (order: number) => boolean>} */
const COMPARISONS = {
	"=": (order) => order === 0,
	"!=": (order) => order !== 0,
	"<": (order) => order < 0,
	"<=": (order) => order <= 0,
	">": (order) => order > 0,
	">=": (order) => order >= 0,
};

/** @param {any} value */
function plain(value) {
	return typeof value === "boolean" ? Number(value) : value;
}

/** @param {string} column @param {any} value @param {(order: number) => boolean} holds @returns {Test} */
function against(column, value, holds) {
	return (row) => {
		const cell = row[column] ?? null;
		return cell === null || value === null ? null : holds(compareCells(cell, value));
	};
}

/** @param {any[]} values @param {string} column @returns {Test} */
function among(values, column) {
	return (row) => {
		const cell = row[column] ?? null;
		if (cell === null) return values.length ? null : false;
		if (values.some((value) => value !== null && compareCells(cell, value) === 0)) return true;
		return values.includes(null) ? null : false;
	};
}

/** Small and large letters of ASCII are the same. @param {string} column @param {string} pattern @returns {Test} */
function like(column, pattern) {
	const lower = (/** @type {string} */ text) => text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
	const source = lower(pattern).replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&").replaceAll("%", ".*").replaceAll("_", ".");
	const expression = new RegExp(`^${source}$`, "su");
	return (row) => {
		const cell = row[column] ?? null;
		return cell === null ? null : expression.test(lower(String(cell)));
	};
}

/** @param {Test[]} tests @returns {Test} */
function every(tests) {
	return (row) => {
		/** @type {boolean | null} */
		let all = true;
		for (const test of tests) {
			const holds = test(row);
			if (holds === false) return false;
			if (holds === null) all = null;
		}
		return all;
	};
}

/** @param {Test} test @returns {Test} */
function not(test) {
	return (row) => {
		const holds = test(row);
		return holds === null ? null : !holds;
	};
}
