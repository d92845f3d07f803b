// What datasets cost: how long a commit of another process takes to a client's socket; what one change costs the service
// with 1,000 subscribers, as a ratio to a plain message in a room of 1,000; and how much memory a table of a million rows
// takes while somebody reads all of it. Processor time is that of the whole process, as the kernel counts it.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import WebSocket from "ws";
import { memory, processorTime } from "./machine.mjs";
import { limited, median, percentile } from "./numbers.mjs";
import { control, scratch, startServer, stopServer } from "./service.mjs";

const ACK_EVERY = 64;
const ACK_BYTES = 64 * 1024;
const CREDIT = 1 << 30;

const sqlite = (file, sql) => execFileSync("sqlite3", ["-bail", file], { input: `.timeout 10000\n${sql}\n`, encoding: "utf8" });

/** Another process that writes: one statement at a time, each its own transaction. $now is its clock, just before. */
class Writer {
	static script = `
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], timeout=10, isolation_level=None)
db.execute("PRAGMA synchronous=NORMAL")
for line in sys.stdin:
    began = time.monotonic_ns()
    db.execute(line.replace("$now", str(began)))
    print(time.monotonic_ns() - began, flush=True)
`;

	constructor(file) {
		this.child = spawn("python3", ["-c", Writer.script, file], { stdio: ["pipe", "pipe", "inherit"] });
		this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
	}

	/** Nanoseconds that it took. */
	async run(sql) {
		this.child.stdin.write(`${sql}\n`);
		const { value } = await this.lines.next();
		if (value === undefined) throw new Error("the writer has ended");
		return Number(value);
	}

	async end() {
		this.child.stdin.end();
		await once(this.child, "exit");
	}
}

/** A client that does no more with what comes than it must: the machine is the service's. */
class Client {
	#id = 0;
	#answers = new Map();
	#received = 0;
	#unacked = 0;
	#bytes = 0; // since the last acknowledgement
	events = 0; // room.message and dataset.change
	onText = null;

	static async open(server, token) {
		const client = new Client();
		client.ws = new WebSocket(`${server.url.replace("http", "ws")}/ws`, ["signalbox.v1"], { perMessageDeflate: false });
		client.ws.on("message", (bytes) => client.#take(bytes.toString("latin1")));
		await once(client.ws, "open");
		await client.call("session.open", { token });
		return client;
	}

	#take(text) {
		if (text.startsWith('{"jsonrpc":"2.0","id":')) {
			const message = JSON.parse(text);
			if (message.id > 1) this.#count(text.length);
			this.#answers.get(message.id)?.(message);
			this.#answers.delete(message.id);
			return;
		}
		if (!text.includes('"session.ack"')) this.#count(text.length);
		if (text.includes('"room.message"') || text.includes('"dataset.change"')) {
			this.events++;
			this.onEvent?.();
		}
		this.onText?.(text);
	}

	#count(bytes) {
		this.#received++;
		this.#bytes += bytes;
		if (++this.#unacked < ACK_EVERY && this.#bytes < ACK_BYTES) return;
		this.#unacked = this.#bytes = 0;
		this.notify("session.ack", { received: this.#received });
	}

	notify(method, params) {
		this.ws.send(JSON.stringify({ jsonrpc: "2.0", method, params }));
	}

	async call(method, params) {
		const id = ++this.#id;
		const answered = new Promise((done) => this.#answers.set(id, done));
		this.ws.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
		const message = await answered;
		if (message.error) throw new Error(`${method}: ${JSON.stringify(message.error)}`);
		return message.result;
	}
}

/** Some clients, whose events are counted together. */
class Crowd {
	events = 0;
	#wanted = Infinity;
	#there = null;

	static async open(server, token, count) {
		const crowd = new Crowd();
		crowd.clients = [];
		for (let i = 0; i < count; i++) {
			const client = await Client.open(server, token);
			client.onEvent = () => crowd.#count();
			crowd.clients.push(client);
		}
		return crowd;
	}

	#count() {
		if (++this.events >= this.#wanted) this.#there();
	}

	/** All of these have come, counted from the beginning. */
	reach(count) {
		if (this.events >= count) return Promise.resolve();
		return new Promise((done) => {
			this.#wanted = count;
			this.#there = done;
		});
	}

	close() {
		for (const { ws } of this.clients) ws.terminate();
	}
}

/** Until the snapshot is over. */
function complete(client, sub) {
	return new Promise((done) => {
		client.onText = (text) => {
			if (text.includes('"dataset.uptodate"') && text.includes(sub)) done();
		};
	});
}

async function subscribe(client, params) {
	let sub;
	const texts = [];
	client.onText = (text) => texts.push(text);
	({ sub } = await client.call("dataset.subscribe", { credit: CREDIT, ...params }));
	const over = complete(client, sub);
	if (!texts.some((text) => text.includes('"dataset.uptodate"'))) await over;
	client.onText = null;
	return sub;
}

async function begin(name, tables) {
	const server = await startServer(join(scratch, name));
	server.file = join(scratch, `${name}.db`);
	sqlite(server.file, `PRAGMA journal_mode=WAL; ${tables}`);
	await control(server, "user.add", { name: "bench" });
	server.token = (await control(server, "token.mint", { user: "bench" })).token;
	return server;
}

async function add(server, dataset, table, more = {}) {
	await control(server, "dataset.add", { dataset, database: server.file, table, read: "1", ...more });
	for (;;) {
		const { state } = await control(server, "dataset.show", { dataset });
		if (state === "live") return;
	}
}

// ---- from a foreign commit to the wire ----

async function wire({ quick }) {
	const count = quick ? 50 : 1000;
	const server = await begin("wire", "CREATE TABLE t(id INTEGER PRIMARY KEY, at INTEGER, title TEXT)");
	await add(server, "t", "t");
	const client = await Client.open(server, server.token);
	await subscribe(client, { dataset: "t" });
	const writer = new Writer(server.file);
	const waits = [];
	for (let i = 0; i < count; i++) {
		const came = new Promise((done) => {
			client.onText = (text) => {
				const at = /"row":\[\d+,\{"\$i":"(\d+)"\}|"row":\[\d+,(\d+)/.exec(text);
				if (at) done(process.hrtime.bigint() - BigInt(at[1] ?? at[2]));
			};
		});
		await new Promise((done) => setTimeout(done, 2 + (i % 7)));
		const [, wait] = await Promise.all([writer.run("INSERT INTO t(at, title) VALUES ($now, 'something to do')"), came]);
		waits.push(Number(wait) / 1e6);
	}
	const before = processorTime(server.child.pid);
	const idle = quick ? 500 : 5000;
	await new Promise((done) => setTimeout(done, idle));
	const used = (processorTime(server.child.pid) - before) / 10_000 / idle;
	await writer.end();
	client.ws.terminate();
	await stopServer(server);
	return { p50: percentile(waits, 0.5), p95: percentile(waits, 0.95), idlePercent: used };
}

// ---- one change, many subscribers ----

/** Microseconds of processor time of one operation: each is over before the next. */
async function cost(server, count, operate) {
	const before = processorTime(server.child.pid);
	for (let i = 0; i < count; i++) await operate(i);
	return (processorTime(server.child.pid) - before) / 1000 / count;
}

async function fanOut({ quick }) {
	const many = quick ? 50 : 1000;
	const each = quick ? 5 : 25;
	const rounds = quick ? 1 : 5;
	const server = await begin(
		"fan",
		"CREATE TABLE one(id INTEGER PRIMARY KEY, title TEXT); INSERT INTO one VALUES (1, '');" +
			"CREATE TABLE all_(id INTEGER PRIMARY KEY, owner TEXT, title TEXT); INSERT INTO all_ VALUES (1, 'u7', '');" +
			"CREATE TABLE few(id INTEGER PRIMARY KEY, owner TEXT, title TEXT); INSERT INTO few VALUES (1, 'u7', '')",
	);
	for (const table of ["one", "all_", "few"]) await add(server, table, table);
	const text = "x".repeat(128);
	const writer = new Writer(server.file);
	const room = await Crowd.open(server, server.token, many);
	const shape = await Crowd.open(server, server.token, many);
	const single = await Crowd.open(server, server.token, 1);
	const shapes = await Crowd.open(server, server.token, many);
	for (const client of room.clients) await client.call("room.join", { room: "bench" });
	for (const client of shape.clients) await subscribe(client, { dataset: "one" });
	await subscribe(single.clients[0], { dataset: "few", where: ["=", "owner", "u7"] });
	for (const [i, client] of shapes.clients.entries()) await subscribe(client, { dataset: "all_", where: ["=", "owner", `u${i}`] });

	let n = 0;
	const change = (table) => writer.run(`UPDATE ${table} SET title = '${text}${++n}' WHERE id = 1`);
	const kinds = {
		room: [room, many, () => room.clients[0].call("room.publish", { room: "bench", data: text })],
		shape: [shape, many, () => change("one")],
		single: [single, 1, () => change("few")],
		shapes: [shapes, 1, () => change("all_")],
	};
	const costs = { room: [], shape: [], single: [], shapes: [] };
	for (let round = 0; round <= rounds; round++)
		for (const [name, [crowd, receivers, operate]] of Object.entries(kinds)) {
			const used = await cost(server, each, async () => {
				const wanted = crowd.events + receivers;
				await Promise.all([operate(), crowd.reach(wanted)]);
			});
			if (round) costs[name].push(used); // the first round warms
		}
	await writer.end();
	for (const [crowd] of Object.values(kinds)) crowd.close();
	await stopServer(server);
	const ratios = (a, b) => median(costs[a].map((value, i) => value / costs[b][i]));
	return {
		many,
		room: median(costs.room),
		shape: median(costs.shape),
		single: median(costs.single),
		shapes: median(costs.shapes),
		shapeToRoom: ratios("shape", "room"),
		shapesToSingle: ratios("shapes", "single"),
	};
}

// ---- a million rows ----

async function large() {
	const rows = 1_000_000;
	const server = await begin(
		"large",
		`CREATE TABLE big(id INTEGER PRIMARY KEY, owner TEXT, title TEXT);
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${rows})
		INSERT INTO big SELECT i, 'u' || (i % 1000), 'something to do, number ' || i FROM n;
		CREATE TABLE small(id INTEGER PRIMARY KEY, at INTEGER)`,
	);
	await add(server, "big", "big");
	await add(server, "small", "small");
	const other = await Client.open(server, server.token);
	await subscribe(other, { dataset: "small" });
	const reader = await Client.open(server, server.token);
	const writer = new Writer(server.file);
	const { pid } = server.child;
	const idle = memory(pid, "VmRSS");
	writeFileSync(`/proc/${pid}/clear_refs`, "5"); // the peak is counted from here

	let messages = 0;
	let seen = 0;
	let done = false;
	const began = performance.now();
	reader.onText = (text) => {
		const sub = /^.{0,60}"sub":"([^"]+)"/.exec(text)?.[1];
		if (sub && ++messages % 16 === 0) reader.notify("dataset.ack", { sub, seq: "0", credit: messages + 64 });
		if (text.includes('"dataset.page"')) seen += text.split("],[").length;
		done ||= text.includes('"dataset.uptodate"');
	};
	await reader.call("dataset.subscribe", { dataset: "big", credit: 64 });
	const writes = [];
	const waits = [];
	while (!done) {
		const came = new Promise((resolve) => {
			other.onText = (text) => {
				const at = /"row":\[\d+,\{"\$i":"(\d+)"\}|"row":\[\d+,(\d+)/.exec(text);
				if (at) resolve(process.hrtime.bigint() - BigInt(at[1] ?? at[2]));
			};
		});
		const [write, wait] = await Promise.all([writer.run("INSERT INTO small(at) VALUES ($now)"), came]);
		writes.push(write / 1e6);
		waits.push(Number(wait) / 1e6);
		await new Promise((resolve) => setTimeout(resolve, 5));
	}
	const seconds = (performance.now() - began) / 1000;
	const peak = memory(pid, "VmHWM");
	await writer.end();
	for (const client of [reader, other]) client.ws.terminate();
	await stopServer(server);
	if (seen < rows) throw new Error(`${seen} of ${rows} rows came`);
	return { rows, seconds, above: peak - idle, write: percentile(writes, 0.95), wait: percentile(waits, 0.95) };
}

const MEMORY = { what: "a million rows: memory above idle", of: ({ big }) => big.above, most: 64, unit: "MiB" };
const BUDGETS = [
	{ what: "foreign commit to the wire, 95th percentile", of: ({ wire: { p95 } }) => p95, most: 10, unit: "ms" },
	{ what: "one change to 1,000 of one shape, to a room's message", of: ({ fan }) => fan.shapeToRoom, most: 1.3, unit: "times" },
	{ what: "1,000 shapes, one matching, to one shape", of: ({ fan }) => fan.shapesToSingle, most: 2, unit: "times" },
	MEMORY,
];

/** {figures, targets}. Of a few operations times say nothing: then memory alone counts. */
export async function datasetCosts({ quick }) {
	const costs = { wire: await wire({ quick }), fan: await fanOut({ quick }), big: await large() };
	const { wire: soon, fan, big } = costs;
	const many = fan.many.toLocaleString("en");
	const figures = [
		["foreign commit to the wire", soon.p50, "ms (median)"],
		["  of that, the slowest twentieth", soon.p95, "ms (95th percentile)"],
		["a dataset where nothing happens", soon.idlePercent, "% of a processor"],
		[`one message to a room of ${many}`, fan.room / 1000, "ms of processor time"],
		[`  one change to ${many} of one shape`, fan.shapeToRoom, "times"],
		["one change to the one of one shape", fan.single, "µs of processor time"],
		[`  to the one of ${many} shapes`, fan.shapesToSingle, "times"],
		[`${big.rows.toLocaleString("en")} rows to a new reader`, big.seconds, "s"],
		["  memory above idle, at most", big.above, "MiB"],
		["  meanwhile, a foreign write", big.write, "ms (95th percentile)"],
		["  meanwhile, another reader's change", big.wait, "ms (95th percentile)"],
	].map(([what, value, unit]) => ({ what, value, unit }));
	const targets = (quick ? [MEMORY] : BUDGETS).map(({ what, of, most, unit }) => limited({ what, value: of(costs), unit }, { most }));
	return { figures, targets };
}
