// Real networks: packets get lost, hosts fall silent, addresses change. The service is another host; who
// is dead is found in time, and a session goes on from wherever its client turns up.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { eventStream } from "../support/http-session.mjs";
import { heal, loseSome, renumber, secondHost, silence } from "../support/network.mjs";
import { handleOf, ResumingClient, isFinal, webSocket } from "../support/resuming.mjs";
import { anyPace, startServer } from "../support/server.mjs";
import { within } from "../support/within.mjs";

const PORT = 8080; // in a network of the test's own nobody else has it
const [CALM, ROUGH] = [1, 2]; // two ways to it
const LOST = 15; // packets of a hundred, each way
const MESSAGES = 60; // of each client
const QUIET_MS = 1500; // a client that waits for answers gives a connection up when nothing comes for so long
const [PING_S, PONG_S] = [1, 2];
const BUSY_S = 3; // we have to share the processor; less than the 5 s that libwebsockets likes to wait
const carriers = { webSocket, eventStream };

let server;
let host;

before(async () => {
	host = await secondHost();
	for (const way of [CALM, ROUGH]) host.connect(way);
	host.bufferLess();
	server = await startServer({
		workers: 2,
		under: host.under,
		listen: `0.0.0.0:${PORT}`,
		config: {
			server: { behind_proxy: true },
			session: { ping_interval: `${PING_S}s`, pong_timeout: `${PONG_S}s`, resume_window: "2m" },
			limits: { ...anyPace, outbound_queue: "8MiB", kept_bytes: "8MiB" },
		},
	});
});
after(async () => {
	await server.stop();
	host.end();
});
beforeEach(() => heal());

const url = (way) => `http://10.9.${way}.2:${PORT}`;

async function client(user, way, over, options) {
	const made = new ResumingClient(server, await server.mint(user), {
		url: `${url(way).replace("http", "ws")}/ws`,
		httpUrl: url(way),
		over: carriers[over],
		gather: 50,
		...options,
	});
	await made.connect(null);
	return made;
}

/** ann, over what is tested, and bob, who sees and sends. */
async function pair(t, over, way = CALM) {
	const room = t.name;
	const [ann, bob] = [await client("ann", way, over), await client("bob", CALM)];
	t.after(() => [ann, bob].forEach((one) => one.cut()));
	const { peer } = await ann.call("room.join", { room });
	await bob.call("room.join", { room });
	return { room, ann, bob, peer };
}

const away = (bob) => bob.of("room.updated").filter(({ changes }) => changes.connected === false).length;

for (const over of Object.keys(carriers))
	for (const queue of ["an empty", "a full"])
		test(`who falls silent with ${queue} queue is found in time (${over})`, async (t) => {
			const { ann, bob, room, peer } = await pair(t, over);
			if (queue === "a full") {
				ann.pause();
				for (let i = 0; i < 60; i++)
					await bob.call("signal.send", { room, to: { peer }, type: "n", data: "x".repeat(60_000) });
			}
			assert.equal(away(bob), 0);
			const since = performance.now();
			silence(ann.carrier.port);
			await bob.until(() => away(bob) === 1, "ann to be seen away");
			const found = (performance.now() - since) / 1000;
			t.diagnostic(`found after ${found.toFixed(1)} s`);
			assert.ok(found < PING_S + PONG_S + BUSY_S, `found after ${found.toFixed(1)} s`);
			ann.cut();
			heal();
			assert.equal((await ann.connect()).resumed, true);
		});

test("who reads slowly is asked for signs of life, however much waits, and lives by any", async (t) => {
	const { ann, bob, room, peer } = await pair(t, "webSocket");
	const got = () => ann.of("signal.received").length;
	let sent = 0;
	let over = false;
	const reading = (async () => {
		for (; !over; await pause(PONG_S * 600)) {
			ann.resume();
			await new Promise(setImmediate); // some kilobytes
			ann.pause();
			ann.ping();
		}
		ann.resume();
	})();
	// Two megabytes wait, and there is something new in each turn. What the kernels hold of it takes her
	// longer to read than a pong may take.
	const BYTES = 10_000;
	for (const until = performance.now() + 2 * (PING_S + PONG_S) * 1000; performance.now() < until; await pause(5))
		if (sent < got() + 200) bob.send("signal.send", { room, to: { peer }, type: "n", data: [sent++, "x".repeat(BYTES)] });
	t.diagnostic(`${got()} of ${sent} read`);
	assert.ok(got() < sent - 150, "she reads slowly");
	over = true;
	await reading;
	await ann.until(() => got() === sent, "the rest");
	assert.deepEqual(ann.of("signal.received").map(({ data }) => data[0]), [...Array(sent).keys()]);
	assert.equal(away(bob), 0);
	assert.ok(ann.pings >= 3, `${ann.pings} pings`);
});

let addresses = 2; // 10.9.n.1 is the first of ours, .2 the service

/** Our address on the rough way is taken away, and there is another. */
function moveOn() {
	renumber(ROUGH, ++addresses);
	return `10.9.${ROUGH}.${addresses}`;
}

/** The session's client has come back from there. */
const resumedFrom = (address, { opened }) => server.log.includes(`"session resumed" session=${handleOf(opened.session)} address=${address}\n`);

/** Connects anew whenever nothing comes any more, as often as it takes, until it is to stop. */
async function holdOn(one, stop) {
	for (let before; !stop.now; before = one.received) {
		await pause(QUIET_MS);
		if (one.received !== before || stop.now) continue;
		one.cut();
		await one.connect().catch((error) => {
			if (isFinal(error)) throw error;
		});
	}
}

for (const over of Object.keys(carriers))
	test(`whose address is taken away is found in time, and goes on from another (${over})`, async (t) => {
		const { ann, bob, room, peer } = await pair(t, over, ROUGH);
		const asked = [];
		let sent = 0;
		const talk = (times) => {
			for (let i = 0; i < times; i++) {
				bob.send("signal.send", { room, to: { peer }, type: "n", data: sent++ });
				asked.push(ann.send("room.publish", { room, data: asked.length }));
			}
		};
		talk(20);
		const since = performance.now();
		const address = moveOn();
		talk(20);
		await bob.until(() => away(bob) === 1, "ann to be seen away");
		const found = (performance.now() - since) / 1000;
		t.diagnostic(`found after ${found.toFixed(1)} s`);
		assert.ok(found < PING_S + PONG_S + BUSY_S, `found after ${found.toFixed(1)} s`);
		talk(20);
		ann.cut();
		assert.equal((await ann.connect()).resumed, true);
		talk(20);
		await ann.until(() => asked.every((id) => ann.answers.has(id)), "all answers");
		await ann.until(() => ann.of("signal.received").length === sent, "all signals");
		await bob.until(() => bob.of("room.message").length === asked.length, "all messages");
		assert.ok(resumedFrom(address, ann), `from ${address}`);
		assert.deepEqual(ann.of("signal.received").map(({ data }) => data), [...Array(sent).keys()]);
		assert.deepEqual(asked.map((id) => ann.answers.get(id).result.offset), asked.map((_, i) => i + 1));
		assert.deepEqual(bob.of("room.message").map(({ data }) => data), asked.map((_, i) => i));
	});

test(`with ${LOST} of a hundred packets lost, and addresses that change, everything arrives once and in order`, async (t) => {
	const room = t.name;
	const all = [];
	for (let i = 0; i < 6; i++) all.push(await client(`user${i}`, ROUGH, Object.keys(carriers)[i % 2]));
	for (const one of all) one.peer = (await one.call("room.join", { room })).peer;
	const next = (i) => all[(i + 1) % all.length];
	const stop = { now: false };
	t.after(() => {
		stop.now = true;
		for (const one of all) one.cut();
	});
	loseSome(ROUGH, LOST);
	const failed = Promise.withResolvers();
	const holding = all.map((one) => holdOn(one, stop).catch(failed.reject));
	const asked = all.map(() => []);
	let address;
	for (let n = 0; n < MESSAGES; n++) {
		if (n % 20 === 10) address = moveOn();
		for (const [i, one] of all.entries())
			asked[i].push(one.send("signal.send", { room, to: { peer: next(i).peer }, type: "n", data: n }));
		await pause(100);
	}
	const arrived = (one, i) =>
		one.of("signal.received").length === MESSAGES && asked[i].every((id) => one.answers.has(id));
	const everything = async () => {
		while (!all.every(arrived)) await pause(50);
	};
	await Promise.race([within(everything(), 60_000, "everything to arrive"), failed.promise]);
	stop.now = true;
	await Promise.all(holding);
	for (const [i, one] of all.entries()) {
		assert.deepEqual(one.of("signal.received").map(({ data }) => data), [...Array(MESSAGES).keys()]);
		for (const id of asked[i]) assert.deepEqual(one.answers.get(id).result, { queued: 1 });
		assert.ok(resumedFrom(address, one), `user${i} from ${address}`);
	}
	t.diagnostic(`${server.log.split("session resumed").length - 1} resumed`);
});
