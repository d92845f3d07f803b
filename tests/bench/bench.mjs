// What the service costs: start-up time, and instructions an operation. Instructions are counted by
// callgrind in the whole process, from the socket's bytes in to the sockets' bytes out, with one
// worker; they are the same from run to run, whatever else the machine does.
//   bench.mjs [--quick] [--json FILE]      --quick: fewer repetitions, to see that it works
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createConnection } from "node:net";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import WebSocket from "ws";
import { startCrowd } from "../support/crowd.mjs";
import { captureCosts } from "./capture.mjs";
import { datasetCosts } from "./datasets.mjs";
import { handshakeCosts, signInCosts } from "./tokens.mjs";

const { values: options } = parseArgs({
	options: { quick: { type: "boolean" }, json: { type: "string" } },
});
const binary = resolve(process.env.SIGNALBOX_BIN ?? "build/release/signalbox");
const members = 100;
const rounds = 5;
const repetitions = options.quick ? 10 : 40; // in each
const starts = options.quick ? 2 : 9;
const crowd = options.quick
	? { connections: 200, rooms: 2, messages: 20, bytes: 512, rate: 20 }
	: { connections: 1000, rooms: 10, messages: 100, bytes: 512, rate: 20 };
const crowds = options.quick ? 1 : 5; // of each kind, by turns
const scratch = mkdtempSync(join(tmpdir(), "signalbox-bench-"));
const running = new Set();
// The program refuses variables of ours that it does not know: those of the tests.
const env = Object.fromEntries(
	Object.entries(process.env).filter(([name]) => !name.startsWith("SIGNALBOX_")),
);

async function startServer(data, prefix = [], more = []) {
	const began = performance.now();
	const [command, ...args] = [
		...prefix,
		binary,
		"serve",
		"--data",
		data,
		"--listen",
		"127.0.0.1:0",
		"--workers",
		"1",
		// it asks as fast as it can
		"--limits.requests_per_second=1000000",
		"--limits.requests_burst=1000000",
		// from one address, as one user
		"--limits.connections_per_address=0",
		"--limits.unopened_per_address=0",
		"--limits.handshakes_per_second=0",
		"--limits.sessions_per_user=0",
		...more,
	];
	const child = spawn(command, args, { env, stdio: ["ignore", "ignore", "pipe"] });
	running.add(child);
	for await (const line of createInterface({ input: child.stderr })) {
		const url = /listening url=(\S+)/.exec(line)?.[1];
		if (!url) continue;
		child.stderr.resume();
		return { child, url, data, ms: performance.now() - began };
	}
	throw new Error("the service did not start");
}

async function stopServer(server) {
	const ended = once(server.child, "exit");
	server.child.kill("SIGTERM");
	const [code] = await ended;
	running.delete(server.child);
	if (code !== 0) throw new Error(`the service ended with ${code}`);
}

// One call over the control socket.
async function control(server, method, params) {
	const socket = createConnection(join(server.data, "control.sock"));
	socket.write(`${JSON.stringify({ jsonrpc: "2.0", id: 1, method, params })}\n`);
	let text = "";
	for await (const chunk of socket.setEncoding("utf8")) {
		text += chunk;
		if (text.endsWith("\n")) break;
	}
	const answer = JSON.parse(text);
	if (answer.error) throw new Error(`${method}: ${answer.error.message}`);
	return answer.result;
}

class Client {
	static async open(server, token) {
		const client = new Client();
		client.ws = new WebSocket(`${server.url.replace("http", "ws")}/ws`, ["signalbox.v1"]);
		client.calls = new Map();
		client.events = 0;
		client.waiting = null;
		client.ws.on("message", (data) => client.#receive(JSON.parse(data)));
		await once(client.ws, "open");
		await client.call("session.open", { token });
		return client;
	}

	#receive(message) {
		if (message.id !== undefined) {
			this.calls.get(message.id)?.(message);
			this.calls.delete(message.id);
		} else if (message.method === "room.message" || message.method === "signal.received") {
			this.events++;
			if (this.waiting && this.events >= this.waiting.count) this.waiting.resolve();
		}
	}

	async call(method, params) {
		const id = (this.lastId = (this.lastId ?? 0) + 1);
		const answer = new Promise((done) => this.calls.set(id, done));
		this.ws.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
		const message = await answer;
		if (message.error) throw new Error(`${method}: ${message.error.message}`);
		return message.result;
	}

	received(count) {
		if (this.events >= count) return Promise.resolve();
		return new Promise((done) => (this.waiting = { count, resolve: done }));
	}
}

async function startUp() {
	const times = { first: [], again: [] };
	for (let i = 0; i < starts; i++) {
		const data = join(scratch, `start-${i}`);
		for (const kind of ["first", "again"]) {
			const server = await startServer(data);
			times[kind].push(server.ms);
			await stopServer(server);
		}
	}
	return { first: median(times.first), again: median(times.again) };
}

async function callgrindControl(pid, ...args) {
	const [code] = await once(spawn("callgrind_control", [...args, String(pid)]), "exit");
	if (code !== 0) throw new Error(`callgrind_control ${args} ended with ${code}`);
}

// Instructions of one operation: counted over many, and divided; the median of several rounds, so that
// what a timer does once meanwhile (the store's threads are counted, too) is not taken for the operation's.
async function count(server, name, operate) {
	const files = () => readdirSync(scratch).filter((file) => file.startsWith("callgrind.out."));
	const costs = [];
	await operate(); // warm
	await callgrindControl(server.child.pid, "--zero");
	await callgrindControl(server.child.pid, "--instr=on");
	for (let round = 0; round < rounds; round++) {
		for (let i = 0; i < repetitions; i++) await operate();
		const before = new Set(files());
		await callgrindControl(server.child.pid, `--dump=${name}`); // and begins at 0 again
		const dump = files().find((file) => !before.has(file));
		costs.push(selfCost(readFileSync(join(scratch, dump), "utf8")) / repetitions);
	}
	await callgrindControl(server.child.pid, "--instr=off");
	return Math.round(median(costs));
}

// The sum over all functions of what each spent itself (the file's own summary leaves out threads
// but one). The line behind "calls=" is what the callee spent, which stands elsewhere again.
function selfCost(text) {
	let sum = 0;
	let callee = false;
	for (const line of text.split("\n")) {
		const cost = /^[+*-]?\d* (\d+)$/.exec(line)?.[1];
		if (cost && !callee) sum += Number(cost);
		callee = line.startsWith("calls=");
	}
	return sum;
}

async function instructions() {
	const data = join(scratch, "callgrind");
	const server = await startServer(data, [
		"valgrind",
		"-q",
		"--tool=callgrind",
		"--instr-atstart=no",
		`--callgrind-out-file=${scratch}/callgrind.out`,
	]);
	await control(server, "user.add", { name: "bench" });
	const { token } = await control(server, "token.mint", { user: "bench" });
	const clients = [];
	let peers = [];
	for (let i = 0; i < members; i++) {
		const client = await Client.open(server, token);
		const joined = await client.call("room.join", { room: "bench" });
		peers = joined.members.map((member) => member.peer);
		clients.push(client);
	}
	const [sender, receiver] = [clients[members - 1], clients[0]];
	const data128 = "x".repeat(128);
	let published = 0;
	const message = await count(server, "message", async () => {
		published++;
		await sender.call("room.publish", { room: "bench", data: data128 });
		await Promise.all(clients.map((client) => client.received(published)));
	});
	const peer = peers[0];
	const signal = await count(server, "signal", async () => {
		const before = receiver.events;
		await sender.call("signal.send", {
			room: "bench",
			to: { peer },
			type: "candidate",
			data: data128,
		});
		await receiver.received(before + 1);
	});
	for (const client of clients) client.ws.terminate();
	await stopServer(server);
	if (!(message > members && signal > 0)) throw new Error("callgrind counted nothing");
	return { message, signal };
}

const median = (list) => list.sort((a, b) => a - b)[list.length >> 1];

// How long members wait for a message when nobody, and when one in a hundred, reads nothing.
async function slowReaders() {
	const server = await startServer(join(scratch, "slow"));
	await control(server, "user.add", { name: "bench" });
	const { token } = await control(server, "token.mint", { user: "bench" });
	const port = Number(new URL(server.url).port);
	const waits = { none: { p50: [], p99: [] }, some: { p50: [], p99: [] } };
	for (let i = 0; i < 2 * crowds; i++) {
		const [kind, deaf] = i % 2 ? ["some", crowd.connections / 100] : ["none", 0];
		const clients = await startCrowd({ port, token }, { ...crowd, deaf });
		const { expected, delivered, wrong, p50_us, p99_us } = await clients.publish();
		await clients.leave();
		if (wrong || delivered !== expected) throw new Error(`${delivered} of ${expected} delivered`);
		waits[kind].p50.push(p50_us);
		waits[kind].p99.push(p99_us);
	}
	await stopServer(server);
	const ratio = (of) => median(waits.some[of]) / median(waits.none[of]);
	return { p50: ratio("p50"), p99: ratio("p99") };
}

try {
	const start = await startUp();
	const cost = await instructions();
	const slow = await slowReaders();
	const tools = { startServer, stopServer, control, scratch, quick: options.quick };
	const shaken = await handshakeCosts(tools);
	const signedIn = await signInCosts(tools);
	const captured = await captureCosts(tools);
	const datasets = await datasetCosts(tools);
	const rows = [
		["start, new data directory", start.first.toFixed(0), "ms (median)"],
		["start, existing data directory", start.again.toFixed(0), "ms (median)"],
		[`one message to ${members} members`, cost.message.toLocaleString("en"), "instructions"],
		["  of that, each delivery", Math.round(cost.message / members).toLocaleString("en"), "instructions"],
		["one directed signal", cost.signal.toLocaleString("en"), "instructions"],
		["1 % read nothing: wait of the others", slow.p50.toFixed(2), "times (median)"],
		["  of that, the slowest hundredth", slow.p99.toFixed(2), "times (99th percentile)"],
		["handshake without a token", shaken.none.toFixed(0), "µs of processor time"],
		...["ES256", "RS256"].flatMap((alg) => [
			[`  ${alg}, another token each time`, (shaken[alg].distinct / shaken.none).toFixed(2), "times"],
			[`  ${alg}, the same token again`, (shaken[alg].repeated / shaken.none).toFixed(2), "times"],
		]),
		[`${signedIn.aMinute.toFixed(0)} sign-ins a minute: wait of others`, signedIn.p50.toFixed(2), "times (median)"],
		["  of that, the slowest hundredth", signedIn.p99.toFixed(2), "times (99th percentile)"],
		...datasets.rows,
	];
	for (const [what, value, unit] of rows)
		console.log(`${options.quick ? "ok " : ""}${what.padEnd(38)} ${value.padStart(12)} ${unit}`);
	for (const { op, each, without, ratio, least } of captured) {
		const held = options.quick || ratio >= least; // of one pair it says nothing
		if (!held) process.exitCode = 1;
		const what = `${op}, captured, ${each} a transaction`;
		console.log(`${held ? "ok" : "not ok"} ${what.padEnd(37)} ${ratio.toFixed(2).padStart(10)} of ${without} rows a second (at least ${least})`);
	}
	for (const what of datasets.beyond) {
		process.exitCode = 1;
		console.log(`not ok ${what}`);
	}
	if (options.json) writeFileSync(options.json, JSON.stringify({ start, cost, slow, shaken, signedIn, captured, datasets }, null, 2));
} finally {
	for (const child of running) child.kill("SIGKILL");
	rmSync(scratch, { recursive: true, force: true });
}
