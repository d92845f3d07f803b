// What a run has come to: tables, targets that are held or not, pictures, and the pages they go into.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { columns, figure, limited, markdown, median } from "./numbers.mjs";
import { chart } from "./plot.mjs";
import { MEASURES, measured, ratio, select } from "./rounds.mjs";
import { GROUPS, SERIES, TARGETS } from "./scenarios.mjs";

// ---- the table ----

/** What a series is compared with: the floor of the same sends, or what stands first. */
function base(all, series) {
	const floor = series.endsWith("-single") ? "floor-single" : "floor";
	return all.includes(floor) ? floor : all[0];
}

const OF_EACH = ["fanout", "signal", "handshake"]; // the scenarios whose operations have a cost each
export const HEAD = ["scenario", "outstanding", "server", "µs of processor time each", "ratio", "sends each", "each second", "p50 µs", "p99 µs"];

function rows(mine, group, sends) {
	const series = [...new Set(mine.map((line) => line.series))];
	const outstanding = [...new Set(mine.map((line) => line.outstanding))].sort((a, b) => a - b);
	const sent = (name, w) => sends.find((one) => one.group === group.key && one.series === name && one.outstanding === w)?.each;
	return outstanding.flatMap((w) =>
		series.map((name) => {
			const which = { group: group.key, series: name, outstanding: w };
			const of = (what) => figure(measured(mine, which, what));
			const to = ratio(mine, which, { ...which, series: base(series, name) }, "each");
			const waits = measured(mine, which, "p50") > 0 ? [of("p50"), of("p99")] : ["", ""]; // none began and ended within the time
			return [`(${group.letter}) ${group.title}`, w || "", SERIES[name].title, of("each"), to.toFixed(2), sent(name, w)?.toFixed(2) ?? "", of("rate"), ...waits];
		}),
	);
}

/** One row for each group, number outstanding and server that was measured. */
export function table(lines, sends = []) {
	return GROUPS.filter((group) => OF_EACH.includes(group.scenario)).flatMap((group) => {
		const mine = lines.filter((line) => line.group === group.key);
		return mine.length ? rows(mine, group, sends) : [];
	});
}

const FIGURES = [
	{ what: "memory a connection, 10,000 in rooms of 10", group: "memory", series: "memory", of: "memory", unit: "KiB" },
	{ what: "  the same with TLS", group: "memory", series: "memory-tls", of: "memory", unit: "KiB" },
	{ what: "1,000 join one room at once: until each knows of all", group: "join", series: "signalbox", of: "joined", unit: "s" },
];

/** Numbers that are no costs of an operation, as {what, value, unit}: those that were measured. */
export const loadFigures = (lines) =>
	FIGURES.filter((one) => lines.some(({ group, series }) => group === one.group && series === one.series)).map(({ what, of, unit, ...which }) => ({
		what,
		value: measured(lines, which, of),
		unit,
	}));

// ---- targets ----

/** The median of what each round's figures of `over` and `under` (or `less`) come to. */
function value(lines, { of, over, under, less }) {
	if (of === "toFloor") {
		const to = (which) => ratio(lines, { ...which, series: "signalbox" }, { ...which, series: "floor" }, "each");
		return to(over) / to(under);
	}
	if (under) return ratio(lines, over, under, of);
	if (!less) return measured(lines, over, of);
	const below = new Map(select(lines, less).map((line) => [line.round, MEASURES[of](line)]));
	const both = select(lines, over).filter(({ round }) => below.has(round));
	return median(both.map((line) => MEASURES[of](line) - below.get(line.round)));
}

/** {what, value, unit, held, limit}, of the targets whose groups are among `groups`. */
export function judged(lines, groups) {
	const wanted = TARGETS.filter(({ over, under, less }) => [over, under, less].every((which) => !which || groups.includes(which.group)));
	return wanted.map((target) => {
		try {
			return limited({ what: target.what, value: value(lines, target), unit: target.unit ?? "times" }, target);
		} catch (error) {
			return { what: target.what, held: false, limit: error.message };
		}
	});
}

export const targetRows = (targets) => targets.map(({ what, value: is, unit = "", held, limit }) => [what, is === undefined ? "" : figure(is), unit, limit, held ? "ok" : "**not ok**"]);

/** A line "ok …" or "not ok …". */
export const verdict = ({ what, value: is, unit = "", held, limit }) => `${held ? "ok" : "not ok"} ${what}: ${is === undefined ? limit : `${figure(is)} ${unit} (${limit})`}`;

// ---- pictures ----

const EACH = "µs of processor time a delivery";
const point = (lines, x, which) => [x, measured(lines, which, "each")];

function members(lines) {
	const line = (series, w) => ({
		name: `${SERIES[series].title}, ${w} outstanding`,
		kind: series === "floor" ? "floor" : "ours",
		points: [10, 100, 1000].map((n) => point(lines, n, { group: `members-${n}`, series, outstanding: w })),
	});
	return [1, 8, 32].flatMap((w) => [line("signalbox", w), line("floor", w)]);
}

function outstanding(lines) {
	const { series, key } = GROUPS.find((group) => group.key === "members-1000");
	return series.map((name) => ({
		name: SERIES[name].title.replace("clients ", ""),
		kind: name.startsWith("floor") ? "floor" : name.startsWith("signalbox") ? "ours" : undefined,
		points: [1, 8, 32].map((w) => point(lines, w, { group: key, series: name, outstanding: w })),
	}));
}

function connections(lines) {
	const line = (series, size, groups) => ({
		name: `${SERIES[series].title}, rooms of ${size}`,
		kind: series === "floor" ? "floor" : "ours",
		points: groups.map(([n, group, outstanding = 8]) => point(lines, n, { group, series, outstanding })),
	});
	const small = [[100, "members-100"], [300, "rooms-3", 24], [1000, "rooms-10", 80]];
	const large = [[1000, "members-1000"], [3000, "rooms-3-1000", 24]];
	return [["100", small], ["1,000", large]].flatMap((of) => ["signalbox", "floor"].map((series) => line(series, ...of)));
}

const workers = (lines) =>
	[8, 80].map((w) => ({
		name: `10 rooms, ${w} outstanding`,
		kind: "ours",
		points: [1, 2, 4].map((n) => point(lines, n, { group: "workers", series: `workers-${n}`, outstanding: w })),
	}));

function latency(lines) {
	const line = (series, kind, of) => ({
		name: `${SERIES[series].title}, ${kind === "signal" ? "signals" : "fan-out"}`,
		kind: series === "floor" ? "floor" : "ours",
		points: [10, 50, 80].map((part) => [part, measured(lines, { group: `latency-${kind}-${part}`, series }, of)]),
	});
	return ["signal", "fanout"].flatMap((kind) => ["signalbox", "floor"].map((series) => line(series, kind, "p99")));
}

const PICTURES = {
	"cost-members": { draw: members, title: "One room: cost of a delivery against its members", x: { label: "members" }, y: { label: EACH } },
	"cost-outstanding": { draw: outstanding, title: "1,000 members: cost of a delivery, and the peers'", x: { label: "messages outstanding" }, y: { label: EACH } },
	"cost-connections": { draw: connections, title: "Cost of a delivery against connections, 8 outstanding a room", x: { label: "connections" }, y: { label: EACH } },
	"cost-workers": { draw: workers, title: "Cost of a delivery against workers", x: { label: "workers" }, y: { label: EACH } },
	latency: { draw: latency, title: "Latency against load", x: { label: "% of the capacity" }, y: { label: "µs, 99th percentile" } },
};

/** {name: SVG text}, and for what was not measured whole {name: Error}. */
export function pictures(lines) {
	const drawn = Object.entries(PICTURES).map(([name, { draw, ...rest }]) => {
		try {
			return [name, chart({ ...rest, lines: draw(lines) })];
		} catch (error) {
			return [name, error];
		}
	});
	return Object.fromEntries(drawn);
}

// ---- pages ----

/** Puts each part between its markers <!-- bench:NAME --> and <!-- /bench:NAME -->, and throws where a page has none. */
export function inserted(page, parts) {
	for (const [name, text] of Object.entries(parts)) {
		const between = new RegExp(`(<!-- bench:${name} -->\n)[^]*?(<!-- /bench:${name} -->)`);
		if (!between.test(page)) throw new Error(`the page has no markers <!-- bench:${name} --> … <!-- /bench:${name} -->`);
		page = page.replace(between, (_, begin, end) => `${begin}${text}\n${end}`);
	}
	return page;
}

const TARGET_HEAD = ["what", "measured", "", "limit", ""];

/** Writes docs/pictures/*.svg and the report's parts into docs/PERFORMANCE.md. */
export function report(docs, outcome) {
	const { lines, sends, figures, targets, machine, versions, command, seconds } = outcome;
	mkdirSync(join(docs, "pictures"), { recursive: true });
	for (const [name, svg] of Object.entries(pictures(lines)))
		if (svg instanceof Error) console.error(`bench: docs/pictures/${name}.svg stays as it was: ${svg.message}`);
		else writeFileSync(join(docs, "pictures", `${name}.svg`), svg);
	const page = join(docs, "PERFORMANCE.md");
	const parts = {
		machine: `\`${command}\` on ${machine}: ${(seconds / 60).toFixed(1)} minutes. Beside ${versions.join("; ")}.`,
		targets: markdown(TARGET_HEAD, targetRows(targets)),
		table: markdown(HEAD, table(lines, sends)),
		figures: markdown(["what", "", ""], figures.map(({ what, value: is, unit }) => [what.trim(), figure(is), unit])),
	};
	writeFileSync(page, inserted(readFileSync(page, "utf8"), parts));
}

/** For a terminal. */
export function printed({ lines, sends, figures, targets }) {
	const all = table(lines, sends);
	const parts = [
		all.length && columns(HEAD, all),
		figures.length && columns(["", "", ""], figures.map(({ what, value: is, unit }) => [what, figure(is), unit])).trim(),
		targets.map(verdict).join("\n"),
	];
	return parts.filter(Boolean).join("\n\n");
}

/** For the list of tests, whose lines all begin with ok or not ok. */
export const briefly = ({ lines, figures, targets }) =>
	[
		...table(lines).map(([what, w, server, each]) => `ok ${what}${w && `, ${w} outstanding`}: ${server}: ${each} µs`),
		...figures.map(({ what, value: is, unit }) => `ok ${what}: ${figure(is)} ${unit}`),
		...targets.map(verdict),
	].join("\n");
