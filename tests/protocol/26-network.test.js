// Real networks: packets get lost, hosts fall silent, addresses change. The service is another host; who
// is dead is found in time, and a session goes on from wherever its client turns up.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { eventStream } from "../support/http-session.mjs";
import { heal, secondHost, silence } from "../support/network.mjs";
import { ResumingClient, webSocket } from "../support/resuming.mjs";
import { anyPace, startServer } from "../support/server.mjs";

const PORT = 8080; // in a network of the test's own nobody else has it
const CALM = 1; // a way to it
const [PING_S, PONG_S] = [2, 3];
const BUSY_S = 3; // we have to share the processor; less than the 5 s that libwebsockets likes to wait
const carriers = { webSocket, eventStream };

let server;
let host;

before(async () => {
	host = await secondHost();
	host.connect(CALM);
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
