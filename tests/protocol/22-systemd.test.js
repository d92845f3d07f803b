// Sockets that systemd holds, and what it is told: sd_listen_fds(3), sd_notify(3). tests/support/systemd.c
// is systemd here.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { before, test } from "node:test";
import { within } from "../support/client.mjs";
import { ResumingClient } from "../support/resuming.mjs";
import { binary, ownDirectory, run } from "../support/server.mjs";

const WAIT_MS = 20_000;
const program = join(ownDirectory(), "systemd");
before(() => execFileSync("cc", ["-O1", "-Wall", "-o", program, join(import.meta.dirname, "../support/systemd.c")]));

class Systemd {
	log = "";

	static async with(t, sockets) {
		const made = new Systemd();
		const { PATH, ASAN_OPTIONS = "", TSAN_OPTIONS = "" } = process.env;
		made.child = spawn(program, [join(ownDirectory(), "notify"), String(sockets), binary], {
			env: { PATH, ASAN_OPTIONS, TSAN_OPTIONS },
		});
		t.after(() => made.child.stdin.end());
		made.child.stderr.setEncoding("utf8").on("data", (text) => (made.log += text));
		made.lines = createInterface({ input: made.child.stdout })[Symbol.asyncIterator]();
		made.ports = [];
		for (let line; (line = await made.next()) !== "holding"; ) made.ports.push(Number(line.split(" ")[1]));
		return made;
	}

	async next() {
		return (await within(this.lines.next(), WAIT_MS, `a word of systemd's; the log: ${this.log}`)).value;
	}

	/** Starts the service and says its pid. */
	async start(...words) {
		this.child.stdin.write(`${["serve", ...words].join("\t")}\n`);
		return Number((await this.next()).replace("started ", ""));
	}

	async startReady(...words) {
		const pid = await this.start(...words);
		assert.equal(await this.next(), `says READY=1 MAINPID=${pid}`);
		return pid;
	}

	async stop(pid) {
		process.kill(pid, "SIGTERM");
		assert.equal(await this.next(), "says STOPPING=1");
		assert.equal(await this.next(), "ended 0");
	}
}

test("the sockets of systemd are listened on; who connects while nobody runs waits, sessions go on", async (t) => {
	const systemd = await Systemd.with(t, 1);
	const [port] = systemd.ports;
	const data = join(ownDirectory(), "d");
	const words = ["--data", data, "--listen", `127.0.0.1:${port}`, "--workers", "3", "--session.drain_spread=100ms"];
	let pid = await systemd.startReady(...words);
	assert.equal((await fetch(`http://127.0.0.1:${port}/ready`)).status, 200);
	assert.equal((await run(["user", "add", "ann", "--data", data])).code, 0);
	const token = (await run(["token", "mint", "--user", "ann", "--data", data])).stdout.trim();
	const clients = Array.from({ length: 12 }, () => new ResumingClient({ wsUrl: `ws://127.0.0.1:${port}/ws` }, token));
	for (const one of clients) await one.connect(null);
	await systemd.stop(pid);
	const waiting = fetch(`http://127.0.0.1:${port}/health`);
	pid = await systemd.startReady(...words);
	assert.equal((await waiting).status, 200);
	for (const one of clients) assert.equal((await one.connect()).resumed, true);
	await systemd.stop(pid);
	assert.doesNotMatch(systemd.log, /Sanitizer|runtime error/);
});

test("a socket for an address that is not configured is named, and nothing starts", async (t) => {
	const systemd = await Systemd.with(t, 2);
	await systemd.start("--data", join(ownDirectory(), "d"), "--listen", `127.0.0.1:${systemd.ports[0]}`);
	assert.equal(await systemd.next(), "ended 1");
	assert.ok(systemd.log.includes(`a socket for 127.0.0.1:${systemd.ports[1]}`), systemd.log);
});

const started = async (variables) => {
	const words = ["serve", "--data", join(ownDirectory(), "d"), "--listen", "127.0.0.1:0"];
	const script = `${variables}; export LISTEN_PID LISTEN_FDS; exec "$@"`;
	const child = spawn("sh", ["-c", script, "sh", binary, ...words], { stdio: ["ignore", "pipe", "pipe", "ignore"], env: { PATH: process.env.PATH } });
	let log = "";
	for (const stream of [child.stdout, child.stderr])
		stream.setEncoding("utf8").on("data", (text) => {
			log += text;
			if (/listening/.test(log)) child.kill("SIGTERM");
		});
	const [code] = await within(once(child, "close"), WAIT_MS, "the end");
	return { code, log };
};

test("what is no listening socket is refused; variables for another process are not looked at", async () => {
	const wrong = await started("LISTEN_PID=$$ LISTEN_FDS=1");
	assert.equal(wrong.code, 1);
	assert.match(wrong.log, /descriptor 3 that systemd gives is no listening stream socket/);
	assert.match((await started("LISTEN_PID=$$ LISTEN_FDS=x")).log, /no count of sockets/);
	assert.match((await started("LISTEN_PID=1 LISTEN_FDS=1")).log, /listening/);
});
