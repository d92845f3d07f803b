// The runner behind ./dev test and ./dev fuzz (see tests/README.md). It builds what a stage needs while
// earlier stages run, runs each test program as a process group of its own, reads what it says, and
// closes with the slowest tests and one line "N passed, N failed".
//   run-tests.mjs [-k] [--seconds N] [--keep-finds] [--minutes N] [STAGE [PATTERN]]
import { spawn, spawnSync } from "node:child_process";
import { existsSync, globSync, mkdirSync, rmSync } from "node:fs";
import { basename, resolve } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

process.chdir(resolve(import.meta.dirname, "../.."));

const { values: options, positionals } = parseArgs({
	allowPositionals: true,
	options: {
		"keep-going": { type: "boolean", short: "k" },
		seconds: { type: "string", default: "5" },
		"keep-finds": { type: "boolean" },
		minutes: { type: "string", default: "15" },
	},
});
const [onlyStage, pattern] = positionals;
const seconds = Number(options.seconds);
const minutes = Number(options.minutes);

const matches = (name) => !pattern || name.includes(pattern);
const files = (glob) =>
	globSync(glob)
		.filter((file) => matches(basename(file)))
		.sort();
const sourceName = (file) => basename(file, ".c");

const results = []; // {stage, program, name, ms, outcome: passed, failed or skipped, reason}
const groups = new Set(); // process groups that are running

// ---- the stages, fast ones first ----

const configurations = {
	asan: { SIGNALBOX_BIN: resolve("build/asan/signalbox") },
	tsan: { SIGNALBOX_BIN: resolve("build/tsan/signalbox") },
	release: { SIGNALBOX_BIN: resolve("build/release/signalbox") },
};

// One row a stage: which targets of which configuration it needs built, and which programs it runs,
// how many at a time. Those that mostly wait (for time-outs, for credentials to run out) have a lane of
// their own beside the others.
const stages = [
	{
		name: "lint",
		atATime: 2,
		programs: () => [
			...files("tests/support/lint.sh").map((file) => ({
				name: "lint",
				command: [file],
				read: readLines(/: warning: /),
			})),
			...files("tests/{support,bench}/*.test.js").map((file) => nodeTest(file)),
		],
	},
	{
		name: "unit",
		build: "asan",
		targets: () => (pattern ? files("tests/unit/test_*.c").map(sourceName) : []),
		atATime: 2,
		programs: () => files("tests/unit/test_*.c").map((file) => unitTest("asan", file)),
	},
	{
		name: "fuzz",
		build: "fuzz",
		targets: () => files("tests/fuzz/fuzz_*.c").map(sourceName),
		atATime: 2,
		programs: () => files("tests/fuzz/fuzz_*.c").map(fuzzer),
	},
	{
		name: "protocol",
		build: "asan",
		atATime: 2,
		waits: /^(27-many-slow|28-attacks|29-store-trouble|61-stranger)$/,
		programs: () => files("tests/protocol/*.test.js").map((file) => nodeTest(file, "asan")),
	},
	{
		name: "threads",
		build: "tsan",
		targets: () => [...server(), ...files("tests/unit/test_threads_*.c").map(sourceName)],
		atATime: 2,
		programs: () => [
			...files("tests/unit/test_threads_*.c").map((file) => unitTest("tsan", file)),
			...files("tests/protocol/*threads*.test.js").map((file) => nodeTest(file, "tsan")),
		],
	},
	{
		name: "browser",
		build: "release",
		waits: /^(75-blocked|76-address|80-ice-renewal)$/,
		programs: () => files("tests/browser/*.test.js").map((file) => nodeTest(file, "release")),
	},
	{
		name: "schema",
		programs: () => files("tests/schema/*.test.js").map((file) => nodeTest(file, "release")),
	},
	{
		name: "bench",
		build: "release",
		targets: () => [...server(), "bench_guard", "bench_floor", "bench_peers"],
		programs: () =>
			[
				["guard", []],
				["run", ["--quick"]],
			].flatMap(([name, words]) =>
				files(`tests/bench/${name}`).map((file) => ({
					name,
					command: [file, ...words],
					env: configurations.release,
					read: readLines(/./),
				})),
			),
	},
	{
		name: "soak",
		onlyByName: true,
		build: "release",
		programs: () =>
			[
				["22-hand-over-load", { HAND_OVER_SESSIONS: "2000" }],
				["25-faults-threads", { CUTS: "10000" }],
				["27-many-slow", { SOAK: "1" }],
				["30-soak", { MINUTES: String(minutes) }],
			]
				.filter(([name]) => matches(name))
				.map(([name, whole]) => {
					const program = nodeTest(`tests/protocol/${name}.test.js`, "release");
					const env = { ...program.env, ...whole, SIGNALBOX_TRAFFIC: "" };
					return { ...program, env, limit: 900 + minutes * 60, read: readNode(/^\|/) };
				}),
	},
];

function server() {
	return existsSync("service/main.c") ? ["signalbox"] : [];
}

function unitTest(configuration, file) {
	const name = sourceName(file);
	return {
		name,
		command: [...fixedAddresses(configuration), `build/${configuration}/${name}`],
		env: configurations[configuration],
		read: readCmocka,
	};
}

function nodeTest(file, configuration) {
	const reporter = resolve("tests/support/run-tests-reporter.mjs");
	return {
		name: basename(file, ".test.js"),
		command: [
			...(configuration === "release" || /network/.test(file) ? ownNetwork() : []),
			...fixedAddresses(configuration),
			process.execPath,
			"--test",
			"--test-reporter",
			reporter,
			"--test-reporter-destination",
			"stdout",
			file,
		],
		env: configurations[configuration],
		read: readNode(),
	};
}

function fuzzer(file) {
	const name = sourceName(file);
	const short = name.replace("fuzz_", "");
	// ./dev fuzz goes on where it was; the tests begin with the seeds alone, on every machine.
	const keep = options["keep-finds"];
	const finds = `build/fuzz-${keep ? "corpus" : "finds"}/${short}`;
	const seeds = `tests/fuzz/corpus/${short}`;
	const dictionary = `${seeds}.dict`;
	if (!keep) rmSync(finds, { recursive: true, force: true });
	mkdirSync(finds, { recursive: true });
	mkdirSync("build/fuzz-crashes", { recursive: true });
	return {
		name,
		command: [
			`build/fuzz/${name}`,
			`-max_total_time=${seconds}`,
			"-timeout=10",
			"-rss_limit_mb=2048",
			`-artifact_prefix=build/fuzz-crashes/${short}-`,
			...(existsSync(dictionary) ? [`-dict=${dictionary}`] : []),
			finds,
			seeds,
		],
		limit: seconds + 60,
		read: readFuzzer,
	};
}

// ThreadSanitizer of clang 14 dies at start where addresses are more random than it knows.
function fixedAddresses(configuration) {
	return configuration === "tsan" ? ["setarch", "--addr-no-randomize"] : [];
}

// Browsers and tests of networks get one that has nothing but loopback, and processes that end with
// them; without the rights for that (nobody's root, a plain container) they share ours.
let network;
function ownNetwork() {
	network ??= isolated();
	return network;
}

function isolated() {
	const apart = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"];
	if (spawnSync(apart[0], [...apart.slice(1), "true"]).status === 0)
		return [...apart, "sh", "-c", 'ip link set lo up && exec "$@"', "sh"];
	console.log("no right to make a network namespace: browsers share this machine's network");
	return [];
}

// ---- what the programs say ----
// A reader is given report(name, outcome, ms, reason) and keep(line), for what is shown when
// something has failed, and returns what is to be called with each line.

function readCmocka(report, keep) {
	let started;
	let running; // none in its closing lists, which name once more what has ended before
	const read = (line) => {
		keep(line);
		const [, word, name] = /^\[ +(RUN|OK|FAILED|SKIPPED) +\] (\w+)/.exec(line) ?? [];
		if (word === "RUN") {
			started = performance.now();
			running = name;
		} else if (word && running) {
			const outcome = { OK: "passed", FAILED: "failed", SKIPPED: "skipped" }[word];
			report(name, outcome, performance.now() - started);
			running = undefined;
		}
	};
	read.running = () => running;
	return read;
}

// Lines like `shown` are told in any case.
function readNode(shown) {
	return (report, keep) => {
		let nestingBefore = 0;
		return (line) => {
			if (!line.startsWith("{")) return keep(line);
			const event = JSON.parse(line);
			if (event.type === "output") {
				const text = event.text.replace(/\n$/, "");
				if (shown?.test(text)) console.log(indent(text));
				return keep(text);
			}
			const holdsOthers = nestingBefore > event.nesting || event.suite;
			nestingBefore = event.nesting;
			const isFile = event.nesting === 0 && event.name.endsWith(".test.js");
			if (event.type === "fail" && !event.skip) {
				if (event.failure === "subtestsFailed") return;
				report(event.name, "failed", event.ms, event.reason);
			} else if (!holdsOthers && !isFile) {
				report(event.name, event.skip ? "skipped" : "passed", event.ms);
			}
		};
	};
}

function readFuzzer(report, keep) {
	return (line) => {
		const [, runs, time] = /^Done (\d+) runs in (\d+) second/.exec(line) ?? [];
		if (runs > 0) report(`${runs} inputs`, "passed", time * 1000);
		else if (!/^(#\d|INFO:|\s+NEW_FUNC|Dictionary:)/.test(line)) keep(line);
	};
}

// "ok NAME" and "not ok NAME"; what stands before a "not ok" is its reason. Lines like `shown` are
// told in any case.
function readLines(shown) {
	return (report) => {
		let before = [];
		let started = performance.now();
		return (line) => {
			const [, not, name] = /^(not )?ok (.+)/.exec(line) ?? [];
			if (shown.test(line)) console.log(`  ${line}`);
			if (name) {
				const outcome = not ? "failed" : "passed";
				report(name, outcome, performance.now() - started, before.join("\n"));
				before = [];
				started = performance.now();
			} else {
				before.push(line);
			}
		};
	};
}

// ---- running ----

function start(command, env = {}) {
	const child = spawn(command[0], command.slice(1), {
		detached: true,
		stdio: ["ignore", "pipe", "pipe"],
		env: { ...process.env, ...sanitizers, SIGNALBOX_TRAFFIC: resolve("build/traffic"), ...env },
	});
	groups.add(child);
	return child;
}

const symbolizer = "/usr/bin/llvm-symbolizer-14";
const sanitizers = {
	ASAN_OPTIONS:
		"detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1:allocator_may_return_null=1",
	UBSAN_OPTIONS: "print_stacktrace=1:halt_on_error=1",
	TSAN_OPTIONS: `halt_on_error=1:second_deadlock_stack=1:external_symbolizer_path=${symbolizer}`,
	ASAN_SYMBOLIZER_PATH: symbolizer,
};

// Ends what is left of a process group: a failed test may leave its servers behind.
function end(child) {
	groups.delete(child);
	try {
		process.kill(-child.pid, "SIGKILL");
	} catch {} // nothing left
}

async function exited(child) {
	return new Promise((done) => {
		child.on("error", (error) => done(`did not start: ${error.message}`));
		child.on("exit", () => setTimeout(end, 100, child)); // its pipes may be held open by what it left
		child.on("close", (code, signal) =>
			done(code === 0 ? "" : signal ? `ended by ${signal}` : `exit code ${code}`),
		);
	});
}

async function runProgram(stage, program) {
	const began = performance.now();
	const said = [];
	const mine = [];
	const keep = (line) => {
		said.push(line);
		if (said.length > 400) said.shift();
	};
	const report = (name, outcome, ms, reason) => {
		const result = { stage: stage.name, program: program.name, name, outcome, ms, reason };
		mine.push(result);
		results.push(result);
	};
	const child = start(program.command, program.env);
	const read = program.read(report, keep);
	for (const stream of [child.stdout, child.stderr])
		createInterface({ input: stream, crlfDelay: Infinity }).on("line", read);
	let late = "";
	const limit = program.limit ?? 240;
	const timer = setTimeout(() => {
		late = `took longer than ${limit} s`;
		end(child);
	}, limit * 1000);
	const how = await exited(child);
	clearTimeout(timer);
	const failed = () => mine.some((result) => result.outcome === "failed");
	const whole = (reason) =>
		report(read.running?.() ?? "the whole program", "failed", performance.now() - began, reason);
	if (how && !failed()) whole(late || how);
	if (mine.length === 0) whole("ran no test");
	const count = (outcome) => mine.filter((result) => result.outcome === outcome).length;
	const took = ((performance.now() - began) / 1000).toFixed(2);
	const skipped = count("skipped") ? `, ${count("skipped")} skipped` : "";
	console.log(
		`  ${program.name}: ${count("passed")} passed, ${count("failed")} failed${skipped} (${took} s)`,
	);
	if (!failed()) return;
	if (said.length) console.log(indent(said.join("\n")));
	for (const { name, outcome, reason } of mine)
		if (outcome === "failed")
			console.log(`  FAILED ${program.name}: ${name}${reason ? `\n${indent(reason)}` : ""}`);
}

const indent = (text) => text.replace(/^/gm, "    ");

async function runStage(stage) {
	const began = performance.now();
	const waiting = stage.programs();
	if (waiting.length === 0) return;
	if (stage.build) {
		const problem = await built(stage);
		stage.waited = performance.now() - began;
		if (problem) {
			results.push({
				stage: stage.name,
				program: "build",
				name: stage.build,
				outcome: "failed",
				ms: stage.waited,
			});
			console.log(`${stage.name}\n${indent(problem)}\n  FAILED to build ${stage.build}`);
			return;
		}
	}
	console.log(stage.name);
	const waits = (program) => stage.waits?.test(program.name);
	const busy = waiting.filter((program) => !waits(program));
	const lane = async (programs) => {
		for (let program; (program = programs.shift());) await runProgram(stage, program);
	};
	const lanes = Array.from({ length: stage.atATime ?? 1 }, () => lane(busy));
	await Promise.all([lane(waiting.filter(waits)), ...lanes]);
	stage.took = performance.now() - began;
}

// Builds run one after another, in the order of the stages, at the lowest priority, while stages run.
let buildsBefore = Promise.resolve();
const builds = new Map();

function built(stage) {
	const key = JSON.stringify([stage.build, stage.targets?.() ?? []]);
	if (!builds.has(key)) {
		const build = buildsBefore.then(() => runBuild(...JSON.parse(key)));
		builds.set(key, build);
		buildsBefore = build;
	}
	return builds.get(key);
}

async function runBuild(configuration, targets) {
	const began = performance.now();
	const child = start(["nice", "-n", "19", "./dev", "build", configuration, ...targets]);
	let said = "";
	for (const stream of [child.stdout, child.stderr]) stream.on("data", (bytes) => (said += bytes));
	const how = await exited(child);
	buildTimes.push([configuration, performance.now() - began]);
	return how && (said || how);
}
const buildTimes = [];

// ---- the end ----

function summary(began) {
	const count = (outcome) => results.filter((result) => result.outcome === outcome).length;
	const time = (ms) => (ms / 1000).toFixed(ms < 10_000 ? 2 : 0).padStart(7);
	console.log("\nTimes in seconds");
	for (const [configuration, ms] of buildTimes)
		console.log(`${time(ms)}  building ${configuration}`);
	for (const stage of stages)
		if (stage.took)
			console.log(
				`${time(stage.took)}  ${stage.name}${stage.waited > 500 ? `, of them ${time(stage.waited).trim()} for its build` : ""}`,
			);
	console.log(`${time(performance.now() - began)}  everything\nThe slowest tests`);
	const asLongAsTold = (result) => result.stage === "fuzz";
	const slowest = results.filter((result) => !asLongAsTold(result)).sort((a, b) => b.ms - a.ms);
	for (const { ms, stage, program, name } of slowest.slice(0, 10))
		console.log(`${time(ms)}  ${stage} ${program}: ${name}`);
	for (const outcome of ["skipped", "failed"])
		for (const result of results)
			if (result.outcome === outcome)
				console.log(`${outcome}: ${result.stage} ${result.program}: ${result.name}`);
	const skipped = count("skipped") ? `, ${count("skipped")} skipped` : "";
	console.log(`\n${count("passed")} passed, ${count("failed")} failed${skipped}`);
	return count("failed") === 0 && count("passed") > 0 ? 0 : 1;
}

function endAll() {
	for (const child of groups) end(child);
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"])
	process.on(signal, () => {
		endAll();
		process.exit(130);
	});

const began = performance.now();
const chosen = stages.filter(({ name, onlyByName }) => (onlyStage ? name === onlyStage : !onlyByName));
if (chosen.length === 0) {
	console.error(
		`there is no stage ${onlyStage}; there are ${stages.map((stage) => stage.name).join(", ")}`,
	);
	process.exit(2);
}
if (!pattern && onlyStage !== "schema") rmSync("build/traffic", { recursive: true, force: true });
mkdirSync("build/traffic", { recursive: true });
for (const stage of chosen) if (stage.build && stage.programs().length > 0) built(stage);
for (const stage of chosen) {
	await runStage(stage);
	if (!options["keep-going"] && results.some((result) => result.outcome === "failed")) break;
}
endAll();
process.exitCode = summary(began);
