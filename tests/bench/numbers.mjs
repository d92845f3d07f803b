// Numbers of a bench: medians, and how they are written for people.

/** @param {number[]} list */
export const median = (list) => percentile(list, 0.5);

/** @param {number[]} list @param {number} part from 0 to 1 */
export function percentile(list, part) {
	if (list.length === 0) throw new Error("no number to choose from");
	return list.toSorted((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * part))];
}

/** Three digits that count, and no more behind the point than a reader needs. */
export function figure(value) {
	if (value === 0) return "0";
	const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
	if (digits > 3) return value.toFixed(4);
	return digits === 0 ? Math.round(value).toLocaleString("en") : value.toFixed(digits);
}

/** A table of texts for a terminal: the first column to the left, the others to the right. */
export function columns(head, rows) {
	const all = [head, ...rows].map((row) => row.map(String));
	const widths = head.map((_, i) => Math.max(...all.map((row) => [...(row[i] ?? "")].length)));
	const pad = (text, i) => (i ? text.padStart(widths[i]) : text.padEnd(widths[i]));
	return all.map((row) => row.map(pad).join("  ").trimEnd()).join("\n");
}

/** The same for a page. */
export function markdown(head, rows) {
	const line = (cells) => `| ${cells.join(" | ")} |`;
	return [line(head), line(head.map((_, i) => (i ? "---:" : "---"))), ...rows.map(line)].join("\n");
}

/** A figure with a limit, "at most" or "at least". */
export function limited(given, { most, least }) {
	const held = most === undefined ? given.value >= least : given.value <= most;
	return { ...given, held, limit: most === undefined ? `at least ${least}` : `at most ${most}` };
}
