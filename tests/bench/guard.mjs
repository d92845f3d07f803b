// Holds the instructions of each operation of bench_guard (guard.c) against budget.json.
//   guard [NAME...]               "ok NAME" or "not ok NAME" a line
//   guard --profile NAME          where the instructions are, by function: of their own, and with what they call
//   guard --update NAME REASON    what it costs now is the budget from here on, and why; NAME may be "all"
//   guard --json                  {NAME: instructions}, and nothing is judged
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { Issuer } from "../support/issuer.mjs";
import { judge, kept, most, number, table } from "./budget.mjs";
import { Profile } from "./profile.mjs";

const { values: options, positionals } = parseArgs({
	allowPositionals: true,
	options: { profile: { type: "boolean" }, update: { type: "boolean" }, json: { type: "boolean" } },
});
const program = resolve(process.env.BENCH_GUARD ?? "build/release/bench_guard");
const budgetFile = resolve(import.meta.dirname, "budget.json");
const AT_A_TIME = 2;
const SHOWN = 40; // functions of a profile

// Beside what the worker runs itself: what the thread that watches a database runs about a change.
const elsewhere = { dataset_change_100: ["live_step"] };

// The C library chooses functions by the processor: without these features it takes those that all of them have.
const features = [
	"AVX2", "AVX512BW", "AVX512VL", "AVX_Fast_Unaligned_Load", "BMI2", "ERMS", "FSRM", "Fast_Copy_Backward", "Fast_Unaligned_Copy",
	"Fast_Unaligned_Load", "LZCNT", "MOVBE", "POPCNT", "Prefer_ERMS", "Prefer_FSRM", "RTM", "SSE4_1", "SSE4_2", "SSSE3", "Slow_BSF",
];
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
			auth: { session_open_timeout: "1m" }, // however slow this machine is
			session: { ping_interval: "10m" },
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
	return dumps.map((file) => new Profile(readFileSync(join(directory, file), "utf8"), basename(program)));
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

function showProfile(result) {
	const lines = [
		`${result.name}: ${number(result.instructions)} instructions (rounds from ${number(result.least)} to ${number(result.most)})`,
		"\nof their own",
		...table(most(result.own, SHOWN)),
		"\nwith what they call",
		...table(most(result.all, Infinity).filter(([of]) => !of.startsWith("(")).slice(0, SHOWN)), // who has no name calls himself
	];
	console.log(lines.join("\n"));
}

async function main() {
	const known = await operations();
	const chosen = options.update ? positionals.slice(0, 1).filter((name) => name !== "all") : positionals;
	const names = chosen.length ? chosen : [...known.keys()];
	for (const name of names) if (!known.has(name)) throw new Error(`there is no ${name}; there are ${[...known.keys()].join(", ")}`);
	if (options.update && (positionals.length !== 2 || !positionals[1].trim())) throw new Error('--update NAME "REASON"');
	const budgets = existsSync(budgetFile) ? JSON.parse(readFileSync(budgetFile, "utf8")) : {};
	const issuer = new Issuer("guard");
	await issuer.addKey("ES256");
	const waiting = [...names];
	const counts = {};
	const lane = async () => {
		for (let name; (name = waiting.shift());) {
			const result = await measure(name, known.get(name), issuer);
			counts[name] = result.instructions;
			if (options.profile) showProfile(result);
			else if (options.update) {
				const text = kept(budgets, result, positionals[1]);
				Object.assign(budgets, JSON.parse(text));
				writeFileSync(budgetFile, text);
			}
			else if (!options.json) {
				const { held, lines } = judge(result, budgets[name]);
				if (!held) process.exitCode = 1;
				console.log(lines.join("\n"));
			}
		}
	};
	await Promise.all(Array.from({ length: AT_A_TIME }, lane));
	if (options.json || options.update) console.log(JSON.stringify(counts));
}

try {
	await main();
} finally {
	for (const child of running) child.kill("SIGKILL");
	rmSync(scratch, { recursive: true, force: true });
}
