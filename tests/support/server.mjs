// Starts the program for a test, on a free port and with its own data directory, and ends it by its pid.
//   const server = await startServer({ t, workers: 4, config: { auth: { … } } });
// `clock: true` lets the test put the server's wall clock forward: server.ahead(seconds).
// `listen`: ADDRESS:PORT, or null for its own choice.
// `disk`: its data lies on a disk of support/disk.mjs. `under`: the words of a command that runs it.
// With `t`, a test's context, the server is stopped (and judged) when that test ends; without it,
// the file calls server.stop() itself, in after().
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { nameConnection, record } from "./traffic.mjs";
import { within } from "./within.mjs";

// What is meant for the tests: the program refuses variables that it does not know.
const { SIGNALBOX_BIN, SIGNALBOX_TRAFFIC, ...environment } = process.env;

const root = resolve(import.meta.dirname, "../..");

export const binary =
	SIGNALBOX_BIN ??
	["asan", "release", "dev"]
		.map((name) => join(root, "build", name, "signalbox"))
		.find((path) => existsSync(path)) ??
	"there is no build of signalbox: ./dev build";

/** A configuration in which whoever loses the connection is gone at once. */
export const atOnce = { session: { resume_window: "0s" } };

/** Limits for who asks as fast as it can: { limits: { ...anyPace } }. */
export const anyPace = {
	requests_per_second: 1_000_000,
	requests_burst: 1_000_000,
	joins_per_second: 1_000_000,
	joins_burst: 1_000_000,
};

/** The same for who connects as often and as many times as it can. */
export const anyNumber = {
	connections_per_address: 0,
	unopened_per_address: 0,
	handshakes_per_second: 0,
	failed_authentications_per_minute: 0,
	sessions_per_user: 0,
	http_requests_per_second: 0,
};

const START_MS = 20_000;
const STOP_MS = 20_000;
const ANSWER_MS = 10_000;
const RUN_MS = 30_000;
const TAIL_LINES = 40;
const REPORT = /ERROR: AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:/;

// Everything this process has started, for the end of it: a failed file shows each server's last words.
const running = new Set();
const started = [];
process.on("exit", (code) => {
	for (const child of running) child.kill("SIGKILL");
	if (code || process.exitCode)
		for (const { log, args } of started)
			process.stderr.write(`\n---- the log of signalbox ${args.join(" ")}\n${tail(log.text)}\n`);
	for (const { own } of started) if (own) rmSync(own, { recursive: true, force: true });
});

function tail(text) {
	return text.trimEnd().split("\n").slice(-TAIL_LINES).join("\n");
}

/** A directory of a test's own, gone when the process ends. Short: control.sock has to fit in 107 bytes. */
export function ownDirectory() {
	const own = mkdtempSync(join(tmpdir(), "sb-"));
	process.on("exit", () => rmSync(own, { recursive: true, force: true }));
	return own;
}

/** Runs a command of the program to its end: {code, stdout, stderr}. */
export async function run(args, { input = "", env = {}, cwd, disk } = {}) {
	const words = [...(disk?.under ?? []), binary, ...args];
	const child = spawn(words[0], words.slice(1), { env: { ...environment, ...disk?.env, ...env }, cwd });
	running.add(child);
	let stdout = "";
	let stderr = "";
	child.stdout.setEncoding("utf8").on("data", (text) => (stdout += text));
	child.stderr.setEncoding("utf8").on("data", (text) => (stderr += text));
	child.stdin.on("error", () => {}); // it may end without reading
	child.stdin.end(input);
	const ended = new Promise((done, failed) => {
		child.on("error", failed);
		child.on("close", (status, signal) => done(signal ?? status));
	});
	const code = await within(ended, RUN_MS, `the end of signalbox ${args.join(" ")}`);
	running.delete(child);
	assert.doesNotMatch(stderr, REPORT);
	return { code, stdout, stderr };
}

export async function startServer(options = {}) {
	const server = new Server(options);
	options.t?.after(() => server.stop());
	try {
		await server.listening();
	} catch (error) {
		server.kill();
		throw error;
	}
	return server;
}

class Server {
	#options;
	#child;
	#exited;
	#tokens = new Map();
	#users = new Set();
	#asked = new Map();
	#control;
	#ids = 0;
	#buffer = { text: "" };
	#secrets = [];
	#watchers = new Set();

	constructor(options) {
		this.#options = options;
		const { workers = 1, args = [], config, disk, data = disk?.path, under = disk?.under ?? [], listen = "127.0.0.1:0" } = options;
		const env = { ...options.env, ...disk?.env, ...(options.clock && this.#clock()) };
		const own = data ? undefined : mkdtempSync(join(tmpdir(), "sb-"));
		this.data = data ?? join(own, "d"); // as the program sees it
		this.files = disk?.files ?? this.data; // as this process does
		const words = [...under, binary, "serve", "--data", this.data, "--workers", String(workers)];
		if (listen) words.push("--listen", listen);
		if (config) {
			const file = `${this.data}.yaml`;
			writeFileSync(file, typeof config === "string" ? config : JSON.stringify(config));
			words.push("--config", file);
		}
		words.push(...args);
		this.#child = spawn(words[0], words.slice(1), {
			env: { ...environment, ...env },
			stdio: ["ignore", "pipe", "pipe"],
		});
		running.add(this.#child);
		started.push({ log: this.#buffer, args: words, own });
		for (const stream of [this.#child.stdout, this.#child.stderr])
			stream.setEncoding("utf8").on("data", (text) => {
				this.#buffer.text += text;
				for (const watch of this.#watchers) watch();
			});
		this.#exited = new Promise((done) => {
			this.#child.on("error", (error) => done({ code: error.message }));
			this.#child.on("close", (code, signal) => done({ code: signal ?? code }));
		}).then((end) => {
			running.delete(this.#child);
			this.ended = end;
			for (const watch of this.#watchers) watch();
			return end;
		});
	}

	#clockFile;

	#clock() {
		const folder = ownDirectory();
		this.#clockFile = join(folder, "ahead");
		writeFileSync(this.#clockFile, Buffer.alloc(4096));
		const library = join(folder, "clock.so");
		execFileSync("cc", ["-O1", "-shared", "-fPIC", "-o", library, join(import.meta.dirname, "clock.c")]);
		return {
			LD_PRELOAD: library,
			TEST_CLOCK_FILE: this.#clockFile,
			ASAN_OPTIONS: `${environment.ASAN_OPTIONS ?? ""}:verify_asan_link_order=0`,
		};
	}

	/** Puts its wall clock forward to so many seconds before ours. */
	ahead(seconds) {
		const bytes = Buffer.alloc(8);
		bytes.writeBigInt64LE(BigInt(seconds));
		const file = openSync(this.#clockFile, "r+");
		writeSync(file, bytes);
		closeSync(file);
	}

	get pid() {
		return this.#child.pid;
	}

	/** What it has written so far. */
	get log() {
		return this.#buffer.text;
	}

	/** Resolves with the match once the log holds the pattern; rejects when the program ends before. */
	async logged(pattern, timeout = START_MS) {
		const regexp = typeof pattern === "string" ? { exec: (text) => text.includes(pattern) || null } : pattern;
		return new Promise((done, failed) => {
			const finish = (settle, value) => {
				clearTimeout(timer);
				this.#watchers.delete(look);
				settle(value);
			};
			const look = () => {
				const match = regexp.exec(this.log);
				if (match) finish(done, match);
				else if (this.ended)
					finish(failed, new Error(`signalbox ended (${this.ended.code}) without saying ${pattern}:\n${tail(this.log)}`));
			};
			const timer = setTimeout(
				() => finish(failed, new Error(`not in the log within ${timeout} ms: ${pattern}\n${tail(this.log)}`)),
				timeout,
			);
			this.#watchers.add(look);
			look();
		});
	}

	async listening() {
		const [, url] = await this.logged(/listening"?[ ,]+"?url"?[=:]"?([^\s"]+)/);
		this.url = url;
		this.port = Number(new URL(url).port);
		this.wsUrl = `${url.replace(/^http/, "ws")}/ws`;
	}

	// ---- the control socket: JSON-RPC 2.0, one message a line ----

	async #open() {
		const socket = createConnection(join(this.files, "control.sock"));
		socket.recordedAs = nameConnection();
		await new Promise((done, failed) => socket.once("connect", done).once("error", failed));
		const gone = () => {
			for (const { failed } of this.#asked.values()) failed(new Error("the control socket is gone"));
			this.#asked.clear();
			this.#control = undefined;
		};
		socket.on("error", () => {}).on("close", gone);
		socket.unref();
		const lines = createInterface({ input: socket });
		lines.on("error", () => {}); // it says again what the socket said: told by its close
		lines.on("line", (text) => {
			record("in", text, "control", socket.recordedAs);
			const answer = JSON.parse(text);
			const asked = this.#asked.get(answer.id);
			this.#asked.delete(answer.id);
			if (this.#asked.size === 0) socket.unref();
			if (answer.error) asked.failed(Object.assign(new Error(answer.error.message), answer.error));
			else asked.done(answer.result);
		});
		return socket;
	}

	/** Calls a method as the operator does. */
	async rpc(method, params = {}) {
		this.#control ??= this.#open();
		const socket = await this.#control;
		const id = ++this.#ids;
		const answer = new Promise((done, failed) => this.#asked.set(id, { done, failed }));
		const text = JSON.stringify({ jsonrpc: "2.0", id, method, params });
		record("out", text, "control", socket.recordedAs);
		socket.ref();
		socket.write(`${text}\n`);
		return within(answer, ANSWER_MS, `the answer to ${method} on the control socket`);
	}

	/** A token for a user, who is added when missing. The same again for the same wishes. */
	async mint(user, { scope, expires, claim, audience } = {}) {
		const key = JSON.stringify([user, scope, expires, claim, audience]);
		if (!this.#tokens.has(key)) this.#tokens.set(key, this.#mint(user, { scope, expires, claim, audience }));
		return this.#tokens.get(key);
	}

	async #mint(user, wishes) {
		await this.addUser(user);
		const { token } = await this.rpc("token.mint", { user, ...wishes });
		this.#secrets.push(token);
		return token;
	}

	async addUser(name) {
		if (this.#users.has(name)) return;
		this.#users.add(name);
		await this.rpc("user.add", { name }).catch((error) => {
			if (error.code !== -32009) throw error; // there from before
		});
	}

	/** What /metrics says: {name: number}, a name with its labels where it has some. */
	async metrics() {
		const text = await (await fetch(`${this.url}/metrics`)).text();
		const lines = text.split("\n").filter((line) => line && !line.startsWith("#"));
		return Object.fromEntries(
			lines.map((line) => {
				const space = line.lastIndexOf(" ");
				return [line.slice(0, space), Number(line.slice(space + 1))];
			}),
		);
	}

	// ---- the end ----

	/** Ends it as an operator does, and judges it: exit code, sanitizers, no token in the log. */
	async stop() {
		if (!this.ended && !this.ending) this.signal("SIGTERM"); // a second one would be a kill
		const timer = setTimeout(() => this.#child.kill("SIGABRT"), STOP_MS);
		const { code } = await this.#exited;
		clearTimeout(timer);
		assert.doesNotMatch(this.log, REPORT);
		if (!this.killed) assert.equal(code, 0, `exit code of signalbox:\n${tail(this.log)}`);
		for (const token of this.#secrets)
			assert.ok(!this.log.includes(token.slice(token.lastIndexOf("."))), "a token is in the log");
	}

	/** The process that takes over from this one: with its options, but for those given. */
	successor({ args = [], ...options } = {}) {
		this.ending = true; // it ends by itself, as if it had been told to
		return startServer({
			...this.#options,
			data: this.data,
			listen: `127.0.0.1:${this.port}`,
			args: [...args, "--take-over"],
			...options,
		});
	}

	/** Ends it as a power cut does. */
	async kill() {
		this.killed = true;
		this.#child.kill("SIGKILL");
		await this.#exited;
	}

	/** Resolves with {code} when it has ended. */
	async exited() {
		return this.#exited;
	}

	signal(name) {
		this.ending ||= name === "SIGTERM" || name === "SIGINT";
		this.#child.kill(name);
	}
}
