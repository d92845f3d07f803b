// Holds the instructions of each operation of bench_guard (guard.c) against budget.json.
//   guard [NAME...]               "ok NAME" or "not ok NAME" a line
//   guard --profile NAME          where the instructions are, by function: of their own, and with what they call
//   guard --update NAME REASON    what it costs now is the budget from here on, and why
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { Issuer } from "../support/issuer.mjs";

const { values: options, positionals } = parseArgs({
	allowPositionals: true,
	options: { profile: { type: "boolean" }, update: { type: "boolean" } },
});
const program = resolve(process.env.BENCH_GUARD ?? "build/release/bench_guard");
const budgetFile = resolve(import.meta.dirname, "budget.json");
const allowed = 0.05;
const atATime = 2;
const counted = 0.005; // a function with less of the whole is not kept in the budget
const shown = { grown: 10, profile: 40 };

// Beside what the worker runs itself: what the thread that watches a database runs about a change.
const elsewhere = { dataset_change_100: ["live_step"] };

// Who runs this on another processor has other string functions in the C library, and other ciphers: those of
// the one are fixed to what every processor has, and the library of the other is not counted.
const left = /^libcrypto\.so/;
const features = ["AVX", "AVX2", "AVX512F", "AVX512VL", "AVX512BW", "AVX512CD", "AVX512DQ", "AVX512ER", "AVX512PF",
	"AVX_Fast_Unaligned_Load", "AVX_Usable", "AVX2_Usable", "AVX512F_Usable", "BMI1", "BMI2", "ERMS", "FSRM", "FMA",
	"FMA4", "FMA_Usable", "FMA4_Usable", "LZCNT", "MOVBE", "OSXSAVE", "POPCNT", "Prefer_ERMS", "Prefer_FSRM",
	"Prefer_No_VZEROUPPER", "RTM", "SSE4_1", "SSE4_2", "SSSE3", "XSAVE", "XSAVEC", "Fast_Unaligned_Copy",
	"Fast_Unaligned_Load", "Fast_Copy_Backward", "Slow_SSE4_2"];
const tunables = `glibc.cpu.hwcaps=${features.map((name) => `-${name}`).join(",")}`;

const scratch = mkdtempSync(join(tmpdir(), "signalbox-guard-"));
const running = new Set();

function ended(child) {
	running.add(child);
	let said = "";
	for (const stream of [child.stdout, child.stderr]) stream.on("data", (bytes) => (said += bytes));
	return new Promise((done) =>
		child.on("close", (code) => {
			running.delete(child);
			done({ code, said });
		}),
	);
}

async function operations() {
	const { code, said } = await ended(spawn(program));
	if (code !== 0) throw new Error(`${program} ended with ${code}`);
	return new Map(said.trim().split("\n").map((line) => line.split(" ")));
}

async function begin(name, issuer) {
	const directory = join(scratch, name);
	mkdirSync(directory);
	const file = (what, text) => {
		writeFileSync(join(directory, what), text);
		return join(directory, what);
	};
	const token = await issuer.token({ sub: "guard", scope: "rooms:join rooms:create datasets:read" });
	return {
		directory,
		token: file("token", `${token}\n`),
		config: file("config.yaml", JSON.stringify({
			data: { directory: join(directory, "data") },
			server: { listen: ["127.0.0.1:0"], workers: 1, demo: false },
			log: { level: "warn" },
			issuer: { enabled: false },
			issuers: [issuer.config({ jwks_file: file("jwks.json", issuer.jwks) })],
			limits: {
				requests_per_second: 1_000_000, requests_burst: 1_000_000, joins_per_second: 1_000_000, joins_burst: 1_000_000,
				connections_per_address: 0, unopened_per_address: 0, handshakes_per_second: 0, sessions_per_user: 0,
			},
			datasets: [{ name: "t", database: join(directory, "t.db"), table: "t", read: "1" }],
		})),
	};
}

/** The dumps of one operation, a Profile each. */
async function run(name, issuer) {
	const { directory, token, config } = await begin(name, issuer);
	const words = [
		"-q", "--tool=callgrind", "--instr-atstart=no", "--collect-atstart=no",
		...(elsewhere[name] ?? []).map((of) => `--toggle-collect=${of}`),
		`--callgrind-out-file=${directory}/dump`, program, name, token, "--config", config,
	];
	const env = { PATH: process.env.PATH, GLIBC_TUNABLES: tunables, LD_BIND_NOW: "1" };
	const { code, said } = await ended(spawn("valgrind", words, { env }));
	if (code !== 0) throw new Error(`${name}: ended with ${code}\n${said}`);
	const dumps = readdirSync(directory).filter((file) => /^dump\.\d+$/.test(file));
	return dumps.map((file) => new Profile(readFileSync(join(directory, file), "utf8")));
}

// Functions without a name are one: their addresses say nothing.
const inLibrary = (name, library) => (name.startsWith("0x") ? `(${library})` : `${name} (${library})`);

/** What a dump of callgrind says: instructions of each function, its own and with what it calls. */
class Profile {
	total = 0;
	own = new Map();
	all = new Map();
	#names = { ob: new Map(), fn: new Map() };

	// "(3) name" the first time, "(3)" from then on
	#name(kind, text) {
		const [, id, name] = /^\((\d+)\)(?: (.*))?$/.exec(text);
		if (name !== undefined) this.#names[kind].set(id, name);
		return this.#names[kind].get(id);
	}

	constructor(text) {
		let object = "";
		let name = "";
		let called = false; // the next line is what the callee has cost
		for (const line of text.split("\n")) {
			const [, word, value] = /^(c?ob|c?fn|calls)=(.*)$/.exec(line) ?? [];
			if (word === "ob") object = basename(this.#name("ob", value));
			else if (word === "cob") this.#name("ob", value);
			else if (word === "cfn") this.#name("fn", value);
			else if (word === "fn") name = this.#name("fn", value).replace(/'\d+$/, "");
			else if (word === "calls") called = true;
			else {
				const cost = /^[+*-]?\d* (\d+)$/.exec(line)?.[1];
				if (!cost || left.test(object)) continue;
				this.#count(object === "bench_guard" ? name : inLibrary(name, object.replace(/\.so.*/, "")), Number(cost), called);
				called = false;
			}
		}
	}

	#count(name, cost, called) {
		this.all.set(name, (this.all.get(name) ?? 0) + cost);
		if (called) return;
		this.own.set(name, (this.own.get(name) ?? 0) + cost);
		this.total += cost;
	}
}

const byTotal = (a, b) => a.total - b.total;

async function measure(name, times, issuer) {
	const profiles = await run(name, issuer);
	const profile = profiles.sort(byTotal)[profiles.length >> 1];
	if (!profile?.total) throw new Error(`${name}: nothing was counted`);
	const each = (costs) => new Map([...costs].map(([of, cost]) => [of, cost / times]));
	return {
		name,
		instructions: Math.round(profile.total / times),
		least: profiles[0].total / times,
		most: profiles.at(-1).total / times,
		own: each(profile.own),
		all: each(profile.all),
	};
}

const number = (n) => Math.round(n).toLocaleString("en");
const percent = (ratio) => `${ratio < 0 ? "-" : "+"}${Math.abs(ratio * 100).toFixed(1)} %`;
const most = (costs, count) => [...costs].sort((a, b) => b[1] - a[1]).slice(0, count);

function table(costs) {
	for (const [of, cost] of costs) console.log(`${number(cost).padStart(12)}  ${of}`);
}

function showProfile(result) {
	console.log(`${result.name}: ${number(result.instructions)} instructions (rounds from ${number(result.least)} to ${number(result.most)})`);
	console.log("\nof their own");
	table(most(result.own, shown.profile));
	console.log("\nwith what they call");
	table(most(result.all, shown.profile));
}

/** Whether it is within its budget. */
function judge(result, budget) {
	const { name, instructions } = result;
	if (!budget) {
		console.log(`it has no budget yet: tests/bench/guard --update ${name} "REASON"`);
		console.log(`not ok ${name}`);
		return false;
	}
	const growth = instructions / budget.instructions - 1;
	const row = `${name.padEnd(24)} ${number(instructions).padStart(10)} instructions, ${percent(growth)} of ${number(budget.instructions)}`;
	if (growth <= allowed) {
		console.log(`ok ${row}`);
		if (growth < -allowed)
			console.log(`it costs less than its budget: keep that by tests/bench/guard --update ${name} "REASON"`);
		return true;
	}
	console.log(`${name} costs more than its budget; the functions that grew most:`);
	const growths = new Map([...result.own].map(([of, cost]) => [of, cost - (budget.functions[of] ?? 0)]));
	table(most(growths, shown.grown));
	console.log(`not ok ${row}`);
	return false;
}

function keep(budgets, result, why) {
	const functions = most(result.own, Infinity).filter(([, cost]) => cost >= result.instructions * counted);
	budgets[result.name] = {
		instructions: result.instructions,
		why,
		functions: Object.fromEntries(functions.map(([of, cost]) => [of, Math.round(cost)])),
	};
	const text = JSON.stringify(budgets, (key, value) => (key === "functions" ? JSON.stringify(value) : value), "\t");
	const inOneLine = text.replace(/"functions": ("(?:[^"\\]|\\.)*")/g, (_, list) => `"functions": ${JSON.parse(list)}`);
	writeFileSync(budgetFile, `${inOneLine}\n`);
	console.log(`${result.name}: ${number(result.instructions)} instructions`);
}

async function main() {
	const known = await operations();
	const names = options.update ? positionals.slice(0, 1) : positionals.length ? positionals : [...known.keys()];
	for (const name of names) if (!known.has(name)) throw new Error(`there is no ${name}; there are ${[...known.keys()].join(", ")}`);
	if (options.update && positionals.length !== 2) throw new Error('--update NAME "REASON"');
	const budgets = existsSync(budgetFile) ? JSON.parse(readFileSync(budgetFile, "utf8")) : {};
	const issuer = new Issuer("guard");
	await issuer.addKey("ES256");
	const waiting = [...names];
	const lane = async () => {
		for (let name; (name = waiting.shift());) {
			const result = await measure(name, known.get(name), issuer);
			if (options.profile) showProfile(result);
			else if (options.update) keep(budgets, result, positionals[1]);
			else if (!judge(result, budgets[name])) process.exitCode = 1;
		}
	};
	await Promise.all(Array.from({ length: atATime }, lane));
}

try {
	await main();
} finally {
	for (const child of running) child.kill("SIGKILL");
	rmSync(scratch, { recursive: true, force: true });
}
