// A client written from docs/PROTOCOL.md alone, in another language: clients/python/signalbox.py. One
// member by WebSocket, one by stream and POST, each through a proxy that cuts connections often; the
// service is stopped and started, and killed and started. What arrived is judged here.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { anyPace, ownDirectory, startServer } from "../support/server.mjs";
import { within } from "../support/within.mjs";

const PROGRAM = resolve(import.meta.dirname, "../clients/python/exchange.py");
const ROOM = "stranger";
const HOUR = 3600;
const STEP_MS = 50_000;
// Signals and messages of each step. Five events and answers for each come to either member: in the calm step
// more than the 1024 that are kept for it, so that who does not acknowledge is found; in the others fewer, because
// who is away for all of the step is to come back.
const CALM_NUMBERS = 220;
const NUMBERS = 150;
const LAST_NUMBERS = 50;
// A connection passes so many bytes of both directions together, then it is cut; small numbers are the likely
// ones. What has waited comes as one array: the most must be more than that, but not for the first ones.
const CUT_LEAST = 500;
const CUT_MOST = 400_000;
const CUT_MOST_AT_FIRST = 10_000;
const FIRST_CONNECTIONS = 6;

/** mulberry32: the same choices again for the same SEED. */
function randomFrom(seed) {
	return () => {
		seed = (seed + 0x6d2b79f5) | 0;
		let word = Math.imul(seed ^ (seed >>> 15), 1 | seed);
		word = (word + Math.imul(word ^ (word >>> 7), 61 | word)) ^ word;
		return ((word ^ (word >>> 14)) >>> 0) / 2 ** 32;
	};
}

/** Passes bytes on to a port, and cuts each connection in the midst of them. */
async function startProxy(t, port, random) {
	const proxy = { cuts: 0, connections: 0, calm: true };
	const open = new Set();
	const server = createServer((near) => {
		const far = connect(port, "127.0.0.1");
		const most = ++proxy.connections > FIRST_CONNECTIONS ? CUT_MOST : CUT_MOST_AT_FIRST;
		let left = Math.floor(CUT_LEAST * (most / CUT_LEAST) ** random());
		const cut = () => {
			near.destroy();
			far.destroy();
		};
		const pass = (from, to) => {
			from.on("data", (bytes) => {
				const passed = proxy.calm ? bytes : bytes.subarray(0, left);
				left -= Math.min(left, passed.length);
				if (passed.length === bytes.length) return to.write(passed);
				proxy.cuts++;
				from.pause();
				to.write(passed, cut); // the rest is lost on the way
			});
			from.on("end", () => to.end());
			from.on("error", cut).on("close", () => open.delete(from));
			open.add(from);
		};
		pass(near, far);
		pass(far, near);
	});
	proxy.cutAll = () => {
		for (const socket of open) socket.destroy();
	};
	await new Promise((done) => server.listen(0, "127.0.0.1", done));
	t.after(() => {
		server.close();
		proxy.cutAll();
	});
	proxy.url = `http://127.0.0.1:${server.address().port}`;
	return proxy;
}

/** The Python program; what it says is kept as [word, …]. */
class Member {
	lines = [];
	#watchers = new Set();

	constructor(t, url, transport, tokenFile) {
		this.transport = transport;
		this.child = spawn("python3", ["-B", PROGRAM, url, ROOM, transport, tokenFile], {
			stdio: ["pipe", "pipe", "inherit"],
		});
		this.child.stdin.on("error", () => {}); // its end is told below
		t.after(() => this.child.kill("SIGKILL"));
		this.ended = new Promise((done) => this.child.on("close", done));
		this.child.on("error", (error) => this.#heard(["failed", error.message]));
		createInterface({ input: this.child.stdout }).on("line", (line) => this.#heard(JSON.parse(line)));
	}

	#heard(line) {
		this.lines.push(line);
		for (const watch of this.#watchers) watch();
	}

	ask(what) {
		this.child.stdin.write(`${JSON.stringify(what)}\n`);
	}

	/** Resolves with the line once there is one that fits; the end of the program is a failure. */
	said(fits, what) {
		const found = new Promise((done, failed) => {
			const watch = () => {
				const line = this.lines.find(fits);
				const over = this.lines.find(([word]) => word === "over");
				if (!line && !over) return;
				this.#watchers.delete(watch);
				if (line) done(line);
				else failed(new Error(`${this.transport} stopped before ${what}: ${JSON.stringify(over)}`));
			};
			this.#watchers.add(watch);
			this.ended.then((code) => failed(new Error(`${this.transport} ended (${code}) before ${what}`)));
			watch();
		});
		return within(found, STEP_MS, `${what} of ${this.transport}`);
	}

	all(...words) {
		return this.lines.filter(([word]) => words.includes(word));
	}

	outcomes(kind) {
		return this.all(kind).map(([, n, outcome]) => ({ n, ...outcome }));
	}
}

const numbersTo = (last) => Array.from({ length: last }, (_, i) => i + 1);

function signalsOf(member) {
	return member.all("signal.received").map(([, params]) => params);
}

function messagesOf(member) {
	return member.all("room.message").map(([, params]) => params);
}

/** Nothing was lost: each number once, in order, from both; every request was answered well. */
function judgeWhole(member, other, last) {
	const who = member.transport;
	assert.deepEqual(member.all("lost", "over"), [], `${who}: the session goes on`);
	assert.deepEqual(signalsOf(member).map(({ data }) => data.n), numbersTo(last), `${who}: signals`);
	for (const sender of [member, other]) {
		const [, { peer }] = sender.all("joined")[0];
		const from = messagesOf(member).filter((message) => message.from.peer === peer);
		assert.deepEqual(from.map(({ data }) => data.n), numbersTo(last), `${who}: messages of ${sender.transport}`);
	}
	assert.deepEqual(messagesOf(member).map(({ offset }) => offset), numbersTo(2 * last), `${who}: offsets`);
	for (const kind of ["signal", "message"])
		assert.deepEqual(
			member.outcomes(kind).filter((outcome) => !outcome.queued && !outcome.offset),
			[],
			`${who}: each ${kind} is answered`,
		);
}

/** The service was killed: what came is in order and once, and what did not come was told as lost. */
function judgeKilled(member, other, last) {
	const who = member.transport;
	assert.equal(member.all("lost").length, 1, `${who} is told that its session is lost`);
	const signals = signalsOf(member);
	const bySender = Map.groupBy(signals, ({ from }) => from.peer);
	for (const received of bySender.values())
		for (const [i, { data }] of received.entries())
			if (i > 0) assert.equal(data.n, received[i - 1].data.n + 1, `${who}: signals of one sender have no holes`);
	assert.deepEqual(
		signals.map(({ data }) => data.n),
		[...new Set(signals.map(({ data }) => data.n))].sort((a, b) => a - b),
		`${who}: each signal at most once, in order`,
	);
	assert.equal(signals.at(-1)?.data.n, last, `${who}: the last signal`);

	const [, rejoined] = member.all("rejoined")[0];
	const epochs = [...Map.groupBy(messagesOf(member), ({ epoch }) => epoch).values()];
	for (const received of epochs)
		for (const [i, { offset }] of received.entries())
			if (i > 0) assert.equal(offset, received[i - 1].offset + 1, `${who}: offsets have no holes`);
	if (rejoined.recovered) assert.equal(epochs.length, 1, `${who}: recovered is of the same epoch`);
	const has = (kind, outcome) => messagesOf(member).some(({ epoch, offset }) => epoch === outcome.epoch && offset === outcome.offset);
	const missing = other.outcomes("message").filter((outcome) => outcome.offset && !has("message", outcome));
	if (missing.length > 0) assert.equal(rejoined.recovered, false, `${who}: messages are missing, and it is told so`);
	assert.ok(messagesOf(member).some(({ data, from }) => data.n === last && from.user !== who), `${who}: the last message`);
}

test("a client by a stranger keeps its session through cuts and a restart, and is told of a loss", async (t) => {
	const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
	t.diagnostic(`SEED=${seed}`);
	const random = randomFrom(seed);
	const config = { limits: { ...anyPace }, session: { drain_spread: "3s" } };
	const files = ownDirectory();
	const data = join(files, "d");
	let server = await startServer({ t, data, config });
	const again = { data, config, listen: `127.0.0.1:${server.port}` };
	const members = [];
	for (const transport of ["websocket", "stream"]) {
		const tokenFile = join(files, transport);
		writeFileSync(tokenFile, await server.mint(transport));
		const proxy = await startProxy(t, server.port, random);
		const member = new Member(t, proxy.url, transport, tokenFile);
		members.push(Object.assign(member, { proxy }));
		await member.said(([word]) => word === "joined", "joining");
	}
	const [one, other] = members;
	let last = 0;
	const send = (count) => {
		last += count;
		for (const member of members) {
			member.proxy.connections = 0;
			member.ask({ send: count });
		}
	};
	const judge = () => {
		judgeWhole(one, other, last);
		judgeWhole(other, one, last);
	};
	const halfway = (n) => Promise.all(members.map((m) => m.said(([word, at]) => word === "signal" && at >= n, `signal ${n}`)));
	const arrived = (n) =>
		Promise.all(
			members.flatMap((m) => [
				m.said(([word, at]) => word === "sent" && at === n, `the answers to ${n}`),
				m.said(([word, p]) => word === "signal.received" && p.data.n === n, `the arrival of signal ${n}`),
				...members.map(({ transport }) =>
					m.said(
						([word, p]) => word === "room.message" && p.data.n === n && p.from.user === transport,
						`message ${n} of ${transport}`,
					),
				),
			]),
		);

	// nothing is cut, and then all
	send(CALM_NUMBERS);
	await arrived(last);
	for (const { proxy } of members) {
		proxy.calm = false;
		proxy.cutAll();
	}

	// connections are cut
	send(NUMBERS);
	await arrived(last);
	for (const { proxy, transport } of members) assert.ok(proxy.cuts > 3, `${transport} was cut ${proxy.cuts} times`);
	judge();

	// the service is stopped and started
	send(NUMBERS);
	await halfway(last - NUMBERS / 2);
	await server.stop();
	server = await startServer({ t, ...again });
	await arrived(last);
	judge();

	// the service is killed and started
	send(NUMBERS);
	await halfway(last - NUMBERS / 2);
	await server.kill();
	server = await startServer({ t, ...again });
	await Promise.all(members.map((m) => m.said(([word]) => word === "rejoined", "coming back")));
	await Promise.all(members.map((m) => m.said(([word, n]) => word === "sent" && n === last, "all answers")));
	send(LAST_NUMBERS); // who came back first may have spoken to nobody
	await arrived(last);
	judgeKilled(one, other, last);
	judgeKilled(other, one, last);

	for (const member of members) {
		member.ask({ close: 1 });
		const [, end] = await member.said(([word]) => word === "over", "the end");
		assert.equal(end.code, 1000);
	}
});

test("a client by a stranger refreshes its token, or comes back with a new one", async (t) => {
	const server = await startServer({ t, clock: true });
	const files = ownDirectory();
	const tokenFor = async (member, hours) =>
		writeFileSync(join(files, member), await server.mint(member, { expires: hours * HOUR }));
	const members = [];
	for (const transport of ["websocket", "stream"]) {
		await tokenFor(transport, 1);
		const member = new Member(t, server.url, transport, join(files, transport));
		members.push(member);
		await member.said(([word]) => word === "joined", "joining");
		await tokenFor(transport, 2);
	}
	const expiring = (count) =>
		Promise.all(members.map((m) => m.said(() => m.all("session.expiring").length === count, `expiring ${count}`)));
	const speak = async (n) => {
		for (const member of members) {
			member.ask({ send: 1 });
			await member.said(([word, at]) => word === "sent" && at === n, "an answer");
		}
	};

	server.ahead(HOUR - 30);
	await expiring(1);
	await Promise.all(members.map((m) => m.said(([word]) => word === "refreshed", "a refresh")));
	server.ahead(HOUR + 60); // past the first one's end, and what is granted beyond
	await speak(1);

	server.ahead(2 * HOUR - 30); // the file holds the same token as before: a refresh brings nothing
	await expiring(2);
	for (const member of members) await tokenFor(member.transport, 3);
	server.ahead(2 * HOUR + 60);
	await server.logged(/(code=4001[^]*){2}/);
	await speak(2);
	for (const member of members) assert.deepEqual(member.all("lost", "over"), [], `${member.transport}: the session goes on`);
});
