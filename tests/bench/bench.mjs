// ./dev bench: what the service costs, beside what people use today and a bare loop that makes the same sends. See README.md.
//   bench.mjs [--full] [--only LETTERS] [--rounds N] [--json FILE] [--report] [--from FILE] [--quick]
//     --only ab     these scenarios of scenarios.mjs alone, by their letters; --only x: what is measured without the load generator
//     --report      writes the outcome into docs/PERFORMANCE.md and docs/pictures
//     --from FILE   measures nothing: what a run with --json has kept
//     --quick       a few seconds of each of our own, to see that it works: the stage bench of ./dev test
import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { captureCosts } from "./capture.mjs";
import { datasetCosts } from "./datasets.mjs";
import { instructions } from "./instructions.mjs";
import { machine, requireCores } from "./machine.mjs";
import { briefly, judged, loadFigures, printed, report } from "./outcome.mjs";
import { limited } from "./numbers.mjs";
import { peerVersion } from "./peers.mjs";
import { Rounds } from "./rounds.mjs";
import { GROUPS, QUICK } from "./scenarios.mjs";
import { sameBytes } from "./same.mjs";
import { sendsEach } from "./sends.mjs";
import { Servers } from "./servers.mjs";
import { clear } from "./service.mjs";
import { slowReaders } from "./slow.mjs";
import { startUp } from "./startup.mjs";
import { handshakeCosts, signInCosts } from "./tokens.mjs";

const ROUNDS = 5;
const { values: options } = parseArgs({
	options: {
		quick: { type: "boolean", default: false },
		full: { type: "boolean", default: false },
		only: { type: "string", default: "" },
		rounds: { type: "string", default: String(ROUNDS) },
		json: { type: "string" },
		report: { type: "boolean", default: false },
		from: { type: "string" },
	},
});

// ---- what is measured without the load generator: {figures, targets} each ----

const OWN = {
	i: async (how) => {
		const { first, again } = await startUp(how);
		const figures = [
			{ what: "start to listening, new data directory", value: first, unit: "ms" },
			{ what: "start to listening, existing data directory", value: again, unit: "ms" },
		];
		// under sanitizers or beside other tests times say nothing
		return { figures, targets: how.quick ? [] : figures.map((one) => limited(one, { most: 50 })) };
	},
	instructions: async (how) => {
		if (how.quick) return { figures: [] }; // the guard counts them beside this
		return { figures: (await instructions()).map(([what, value]) => ({ what, value, unit: "instructions" })) };
	},
	slow: async (how) => {
		const { p50, p99 } = await slowReaders(how);
		return {
			figures: [
				{ what: "1 % read nothing: wait of the others", value: p50, unit: "times (median)" },
				{ what: "  of that, the slowest hundredth", value: p99, unit: "times (99th percentile)" },
			],
		};
	},
	handshakes: async (how) => {
		const costs = await handshakeCosts(how);
		const rows = ["ES256", "RS256"].flatMap((alg) => [
			{ what: `  ${alg}, another token each time`, value: costs[alg].distinct / costs.none, unit: "times" },
			{ what: `  ${alg}, the same token again`, value: costs[alg].repeated / costs.none, unit: "times" },
		]);
		return { figures: [{ what: "handshake without a token", value: costs.none, unit: "µs of processor time" }, ...rows] };
	},
	signIns: async (how) => {
		const { p50, p99, aMinute } = await signInCosts(how);
		return {
			figures: [
				{ what: `${aMinute.toFixed(0)} sign-ins a minute: wait of others`, value: p50, unit: "times (median)" },
				{ what: "  of that, the slowest hundredth", value: p99, unit: "times (99th percentile)" },
			],
		};
	},
	capture: async (how) => {
		const kinds = (await captureCosts(how)).map(({ op, each, without, ratio, least }) => ({
			figure: { what: `${op}, captured, ${each} a transaction, to ${without} rows a second`, value: ratio, unit: "times" },
			least,
		}));
		// of one pair it says nothing
		return { figures: kinds.map(({ figure }) => figure), targets: how.quick ? [] : kinds.map(({ figure, least }) => limited(figure, { least })) };
	},
	g: (how) => datasetCosts(how),
};
const LETTERS = { i: "i", g: "g" }; // the others are x's

// ---- a run ----

const wanted = (letter) => !options.only || options.only.includes(letter);
const whole = (group) => (options.full && group.peers ? { ...group, series: [...group.series, ...group.peers] } : group);
const groups = options.quick ? QUICK : GROUPS.filter((group) => wanted(group.letter) && (options.full || !group.full)).map(whole);
const own = Object.keys(OWN).filter((name) => wanted(LETTERS[name] ?? "x"));

/** Runs a part, tells how long it took, and goes on behind what could not be measured: that is a failure of its own. */
async function part(outcome, what, run) {
	const began = performance.now();
	try {
		await run();
	} catch (error) {
		outcome.failed.push({ what, held: false, limit: error.message });
	}
	if (!options.quick) console.error(`bench: ${what}: ${((performance.now() - began) / 1000).toFixed(0)} s`);
}

/** Whom it was measured against. */
const versions = () => [...new Set(groups.flatMap(({ series }) => series))].filter((name) => name in peerVersion && name !== "floor").map((name) => peerVersion[name]());

async function measure() {
	const outcome = { machine: machine(), versions: versions(), command: ["./dev bench", ...process.argv.slice(2)].join(" "), lines: [], sends: [], figures: [], targets: [], failed: [] };
	const began = performance.now();
	const servers = new Servers();
	const rounds = new Rounds(servers);
	if (groups.length && !options.quick) requireCores();
	if (groups.some(({ series }) => series.includes("floor")))
		await part(outcome, "the floor says as much as the service", async () => sameBytes(await servers.get("signalbox"), await servers.get("floor"), servers.foreign.tokens(102).slice(100)));
	for (const group of groups) await part(outcome, `(${group.letter}) ${group.title}`, () => rounds.run(group, options.quick ? 1 : (group.rounds ?? Number(options.rounds))));
	const counted = groups.find(({ key }) => key === "members-1000");
	if (counted && !options.quick) await part(outcome, "sends a delivery", async () => (outcome.sends = await sendsEach(rounds, counted, options.full ? [1, 8, 32] : [8, 32])));
	await part(outcome, "the servers end well", () => servers.stop());
	outcome.lines = rounds.lines;
	for (const name of own)
		await part(outcome, name, async () => {
			const { figures, targets = [] } = await OWN[name]({ quick: options.quick });
			outcome.figures.push(...figures);
			outcome.targets.push(...targets);
		});
	outcome.seconds = (performance.now() - began) / 1000;
	return outcome;
}

/** What the lines come to is reckoned anew, so that a run that was kept can be looked at in another way. */
function judge(outcome) {
	const there = [...new Set([...groups.map(({ key }) => key), ...outcome.lines.map(({ group }) => group)])];
	outcome.figures.unshift(...loadFigures(outcome.lines));
	outcome.targets.unshift(...judged(outcome.lines, options.quick ? [] : there));
	outcome.targets.push(...outcome.failed);
	return outcome;
}

try {
	const kept = options.from ? JSON.parse(readFileSync(options.from, "utf8")) : await measure();
	if (options.json) writeFileSync(options.json, JSON.stringify(kept));
	const outcome = judge(kept);
	console.log(options.quick ? briefly(outcome) : printed(outcome));
	if (outcome.targets.some(({ held }) => !held)) process.exitCode = 1;
	if (options.report) report(resolve("docs"), outcome);
} finally {
	clear();
}
