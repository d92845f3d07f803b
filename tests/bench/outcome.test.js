// What the bench makes of the load generator's lines: medians of rounds, ratios of the same round, targets, tables, pages.
import assert from "node:assert/strict";
import test from "node:test";
import { inserted, judged, pictures, printed, table } from "./outcome.mjs";
import { measured, ratio, requireNew } from "./rounds.mjs";
import { GROUPS, SERIES, TARGETS } from "./scenarios.mjs";

const COST = { signalbox: 2000, floor: 1600, nchan: 9000, ws: 14_000, peerjs: 30_000 };

/** Lines of a whole run, in which a server costs what stands above (nanoseconds), each round a little more. */
function run(change = (line) => line) {
	const lines = [];
	for (const { key, series, args, rounds = 5 } of GROUPS)
		for (let round = 0; round < rounds; round++)
			for (const name of series)
				for (const outstanding of String(args.outstanding ?? 0).split(",").map(Number)) {
					const cost = (COST[name] ?? 2500) * (1 + round / 10);
					const line = { group: key, series: name, round, outstanding, messages: 10, deliveries: 1000, handshakes: 100, resumed: 99, seconds: 1, cpu_ns: cost * 1000 };
					const more = { latency_us: { p50: cost / 10, p99: cost / 5 }, rss_before: 0, rss_held: 5120 * 10_000, connections: 10_000, all_joined_s: 0.5 };
					lines.push(change({ ...line, ...more }));
				}
	return lines;
}

const keys = GROUPS.map(({ key }) => key);
const one = (targets, pattern) => targets.find(({ what }) => pattern.test(what));

test("what scenarios name is there", () => {
	assert.equal(new Set(keys).size, keys.length);
	for (const { series } of GROUPS) for (const name of series) assert.ok(SERIES[name], name);
	for (const { over, under, less } of TARGETS) for (const which of [over, under, less]) assert.ok(!which || keys.includes(which.group));
});

test("medians of rounds, and ratios of the same round", () => {
	const lines = run((line) => (line.series === "floor" && line.round === 4 ? { ...line, cpu_ns: line.cpu_ns * 50 } : line));
	const floor = { group: "members-1000", series: "floor", outstanding: 8 };
	assert.equal(measured(lines, floor, "each"), 1.6 * 1.2);
	assert.equal(ratio(lines, { ...floor, series: "signalbox" }, floor, "each"), 1.25);
	const cut = lines.filter(({ series, round }) => series !== "floor" || round < 3);
	assert.equal(ratio(cut, { ...floor, series: "signalbox" }, floor, "each"), 1.25, "of the rounds that both have ended");
	assert.throws(() => measured(lines, { ...floor, outstanding: 9 }, "each"), /nothing was measured of floor in members-1000, 9 outstanding/);
});

test("handshakes that took a token twice are no measure of new ones", () => {
	requireNew([{ in_all: 60 }, { in_all: 40 }], 100);
	assert.throws(() => requireNew([{ in_all: 60 }, { in_all: 41 }], 100), /101 handshakes with 100 tokens/);
	assert.throws(() => requireNew([{ in_all: 16_001 }]), /not all of them were new/);
});

test("each target is held or not, by its own limit", () => {
	const held = judged(run(), keys);
	assert.equal(held.length, TARGETS.length);
	assert.equal(one(held, /8 outstanding: .*to floor$/).held, true);
	assert.equal(one(held, /32 outstanding: .*to nchan/).held, false, "0.22 is more than 0.12");
	assert.deepEqual([one(held, /^memory a connection$/).value, one(held, /^memory a connection$/).held], [5, true]);
	const afresh = judged(run((line) => ({ ...line, resumed: 98 })), keys);
	assert.deepEqual([held, afresh].map((all) => one(all, /go on with a session/).held), [true, false]);
	const slower = judged(run((line) => (line.series === "signalbox" && line.group === "members-1000" ? { ...line, cpu_ns: line.cpu_ns * 1.3 } : line)), keys);
	assert.equal(one(slower, /8 outstanding: .*to floor$/).held, false);
	assert.equal(one(slower, /1,000 members to 100, 8/).held, false);
});

test("what was not measured is no success, and what was not wanted no failure", () => {
	const lines = run().filter(({ series }) => series !== "peerjs");
	const target = one(judged(lines, keys), /PeerJS/);
	assert.equal(target.held, false);
	assert.match(target.limit, /nothing was measured of peerjs/);
	assert.equal(one(judged(lines, ["members-1000"]), /PeerJS/), undefined);
});

test("the table has a row for each server and number outstanding", () => {
	const rows = table(run(), [{ group: "members-1000", series: "signalbox", outstanding: 8, each: 0.125 }]);
	assert.equal(rows.filter(([what]) => what.includes("one room of 1,000 members, 128")).length, 8 * 3);
	const row = rows.find(([what, w, server]) => what.includes("one room of 1,000 members, 128") && w === 8 && server === "Signalbox");
	assert.deepEqual(row.slice(3), ["2.40", "1.25", "0.13", "1,000", "240", "480"]);
	assert.match(printed({ lines: run(), figures: [], targets: judged(run(), keys) }), /^not ok .*32 outstanding.*nchan/m);
});

test("all pictures are drawn of a whole run", () => {
	for (const svg of Object.values(pictures(run()))) assert.match(svg, /^<svg [^]*<polyline[^]*<\/svg>\n$/);
	const some = pictures(run().filter(({ group }) => group !== "workers"));
	assert.match(some["cost-workers"].message, /nothing was measured of workers-1/);
	assert.match(some["cost-members"], /^<svg /);
});

test("a page takes its parts between its markers, again and again", () => {
	const page = "a\n<!-- bench:x -->\nold\n<!-- /bench:x -->\nb\n";
	const once = inserted(page, { x: "new $1" });
	assert.equal(once, "a\n<!-- bench:x -->\nnew $1\n<!-- /bench:x -->\nb\n");
	assert.equal(inserted(once, { x: "new $1" }), once);
	assert.throws(() => inserted(page, { y: "" }), /no markers/);
});
