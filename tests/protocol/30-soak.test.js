// What a service has to bear from day to day: people come in twos, talk over connections that come to
// harm, and leave or vanish; now and then the service is handed over to the next process. Nobody misses
// anything, and what the service takes of memory and descriptors does not grow. Some seconds in
// ./dev test; MINUTES=N in ./dev soak.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { eventStream } from "../support/http-session.mjs";
import { harms, startProxy } from "../support/proxy.mjs";
import { SEED, randomFrom } from "../support/random.mjs";
import { ResumingClient, webSocket } from "../support/resuming.mjs";
import { anyNumber, anyPace, startServer } from "../support/server.mjs";

const SECONDS = process.env.MINUTES ? Number(process.env.MINUTES) * 60 : 12;
const LONG = SECONDS >= 60;
const COUPLES = LONG ? 100 : 20; // at a time
const USERS = 10;
const MESSAGES = 20; // of each of a couple, at most
const QUIET_MS = 1000;
const CONNECT_MS = 2000;
const WINDOW_S = LONG ? 30 : 10; // who has lost its connection has come back by then, whatever happens to its attempts
const ARRIVES_MS = 60_000;
const ROWS = 20; // of the table
const HAND_OVERS = LONG ? [2, 4, 6] : [6]; // behind these rows; the last process is warm half way
const SPARE = 4 << 20; // of resident memory: what the allocator keeps in pieces

const choices = randomFrom(SEED);
const { below, pick, chance } = choices;
const { harm, harmToPost } = harms(choices);

let server;
let proxy;
const tokens = [];
const done = { couples: 0, messages: 0 };

function resident() {
	return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.pid}/status`, "utf8"))[1]) * 1024;
}

const descriptors = () => readdirSync(`/proc/${server.pid}/fd`).length;

/** Two who meet in a room of their own. resolves when each has heard all of the other, and both have gone. */
async function couple(room, mayVanish) {
	const two = [0, 1].map(() => new ResumingClient(server, pick(tokens), { url: proxy.wsUrl, httpUrl: proxy.url, batch: chance(0.5) }));
	for (const one of two) one.patience = CONNECT_MS;
	const lives = two.map((one) => one.live(QUIET_MS, () => pick([webSocket, eventStream])));
	const talk = async () => {
		while (!two.every((one) => one.opened)) await pause(10);
		const joins = two.map((one) => one.send("room.join", { room }));
		for (const [i, one] of two.entries()) {
			await one.until(() => one.answers.has(joins[i]), "the answer to room.join", ARRIVES_MS);
			one.peer = one.answers.get(joins[i]).result.peer;
		}
		const n = 1 + below(MESSAGES);
		const asked = two.map(() => []);
		for (let k = 0; k < n; k++) {
			for (const [i, one] of two.entries()) {
				asked[i].push(one.send("signal.send", { room, to: { peer: two[1 - i].peer }, type: "n", data: k }));
				asked[i].push(one.send("room.publish", { room, data: [i, k] }));
			}
			if (chance(0.05)) pick(two).cut();
			await pause(below(400));
		}
		for (const [i, one] of two.entries()) {
			const all = () => asked[i].every((id) => one.answers.has(id)) && one.of("room.message").length >= 2 * n;
			await one.until(() => all() && one.of("signal.received").length >= n, "everything", ARRIVES_MS);
		}
		for (const [i, one] of two.entries()) {
			const numbers = Array.from({ length: n }, (_, k) => k);
			assert.deepEqual(one.of("signal.received").map(({ data }) => data), numbers);
			for (const by of [0, 1])
				assert.deepEqual(one.of("room.message").filter(({ data }) => data[0] === by).map(({ data }) => data[1]), numbers);
			for (const id of asked[i]) assert.ok(one.answers.get(id).result, JSON.stringify(one.answers.get(id)));
		}
		done.couples++;
		done.messages += 6 * n;
		for (const one of two)
			if (mayVanish() && chance(0.3)) one.vanish();
			else one.leave();
	};
	try {
		await Promise.race([talk(), Promise.all(lives).then(() => new Promise(() => {}))]);
		await Promise.all(lives);
	} finally {
		for (const one of two) one.vanish();
	}
}

test(`${SECONDS} seconds of coming, talking, losing connections and going: nothing is lost, and nothing grows`, async (t) => {
	console.log(`seed ${SEED}`);
	const config = {
		session: { resume_window: `${WINDOW_S}s`, drain_spread: "500ms", ping_interval: "5s", pong_timeout: "5s" },
		issuer: { access_token_lifetime: "24h" },
		limits: { ...anyPace, ...anyNumber },
	};
	server = await startServer({
		workers: 2,
		config,
		// freed memory is not to be held back here, where memory is measured
		env: { ASAN_OPTIONS: `${process.env.ASAN_OPTIONS ?? ""}:quarantine_size_mb=1:thread_local_quarantine_size_kb=64` },
	});
	for (let i = 0; i < USERS; i++) tokens.push(await server.mint(`user${i}`));
	proxy = await startProxy(server, { plan: () => (chance(0.5) ? harm() : {}), post: harmToPost });
	proxy.url = `http://127.0.0.1:${proxy.port}`;
	proxy.wsUrl = `ws://127.0.0.1:${proxy.port}/ws`;
	await server.logged("dataset live"); // the demo's board has its file open, too
	const idle = descriptors();
	t.after(async () => {
		await proxy.close();
		await server.stop();
	});

	const end = performance.now() + SECONDS * 1000;
	const failed = Promise.withResolvers();
	let over = false;
	const going = () => !over && performance.now() < end;
	let rooms = 0;
	const couples = Array.from({ length: COUPLES }, async () => {
		while (going()) await couple(`room ${++rooms}`, going);
	});
	Promise.all(couples).catch((error) => {
		over = true;
		failed.reject(error);
	});

	const rows = [];
	const watch = async () => {
		for (let row = 1; row <= ROWS; row++) {
			let least = { memory: Infinity, descriptors: Infinity };
			for (const until = end - (SECONDS * 1000 * (ROWS - row)) / ROWS; performance.now() < until; await pause(100))
				least = { memory: Math.min(least.memory, resident()), descriptors: Math.min(least.descriptors, descriptors()) };
			const { signalbox_sessions: sessions, signalbox_sessions_resumed_total: resumed } = await server.metrics();
			rows.push({ pid: server.pid, ...least, sessions, resumed, ...done, cuts: proxy.cuts });
			if (row === 1) console.log(`| ${Object.keys(rows[0]).map((name) => name.padStart(11)).join(" |")} |`);
			console.log(`| ${Object.values(rows.at(-1)).map((n) => String(n).padStart(11)).join(" |")} |`);
			if (HAND_OVERS.includes(row)) server = await server.successor();
		}
		proxy.heal();
	};
	await Promise.race([watch(), failed.promise]);
	await Promise.race([Promise.all(couples), failed.promise]);

	const [warm, last] = [rows[ROWS / 2], rows[ROWS - 1]];
	assert.equal(warm.pid, last.pid);
	assert.ok(last.memory < warm.memory + SPARE, `memory grows: ${rows.map(({ memory }) => memory >> 10)} KiB`);
	const gauges = ["sessions", "rooms", "room_members", "connections", "event_streams"];
	for (const until = performance.now() + ARRIVES_MS; ; await pause(100)) {
		const now = await server.metrics();
		const left = gauges.filter((name) => now[`signalbox_${name}`]);
		if (!left.length) break;
		assert.ok(performance.now() < until, `left over: ${left.map((name) => `${now[`signalbox_${name}`]} ${name}`)}`);
	}
	assert.ok(descriptors() <= idle + 2, `${descriptors()} descriptors, ${idle} before`);
});
