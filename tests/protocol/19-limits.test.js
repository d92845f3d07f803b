// What one client may use: each limit reached by real clients, with its reason and its metric, and left
// again after retry_after; another client notices nothing.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { connect } from "../support/client.mjs";
import { frame, rawWebSocket } from "../support/raw.mjs";
import { ResumingClient } from "../support/resuming.mjs";
import { anyPace, startServer } from "../support/server.mjs";

const PACE = { requests_per_second: 10, requests_burst: 20, joins_per_second: 2, joins_burst: 4, kept_messages: 64 };
const server = await startServer({ workers: 2, config: { limits: PACE } });
after(() => server.stop());

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const refusals = (outcomes) => outcomes.filter(({ status }) => status === "rejected").map(({ reason }) => reason);

/** How much the metrics have grown since. */
async function growth(since = {}, of = server) {
	const now = await of.metrics();
	return Object.fromEntries(Object.entries(now).map(([name, n]) => [name.replace(/^signalbox_|_total$/g, ""), n - (since[name] ?? 0)]));
}

/** Runs work while another client, who is within its limits, is served all the time. */
async function undisturbed(work) {
	const other = await connect(server, { user: "other" });
	let working = true;
	const served = (async () => {
		for (let n = 0; working || n < 5; n++) {
			await other.call("ice.servers");
			await sleep(150);
		}
	})();
	try {
		await work();
	} finally {
		working = false;
	}
	await served;
	await other.close();
}

const many = (n, method, params = () => ({})) => Array.from({ length: n }, (_, i) => [method, params(i)]);

test("session.open tells what the limits are", async () => {
	const c = await connect(server, { user: "ann" });
	const { requests_per_second, requests_burst, joins_per_second, joins_burst } = c.session.limits;
	assert.deepEqual({ requests_per_second, requests_burst, joins_per_second, joins_burst, kept_messages: 64 }, PACE);
	await c.close();
});

test("requests: past the burst too_many_requests, served again after retry_after", async () => {
	await undisturbed(async () => {
		const c = await connect(server, { user: "ann" });
		const before = await server.metrics();
		const outcomes = await c.batch(many(60, "ice.servers"));
		const refused = refusals(outcomes);
		// the burst, and what came back while they came in
		assert.ok(refused.length >= 30 && refused.length <= 40, `${refused.length} refused`);
		for (const { code, data } of refused)
			assert.deepEqual([code, data], [-32029, { reason: "too_many_requests", retry_after: 1, limit: 10 }]);
		assert.equal((await growth(before)).requests_limited, refused.length);
		await sleep(1000);
		assert.deepEqual(refusals(await c.batch(many(10, "ice.servers"))), []);
		await c.close();
	});
});

test("a batch takes one for each of its elements, unknown ones, too", async () => {
	const c = await connect(server, { user: "ann" });
	c.raw(JSON.stringify(Array(20).fill({ jsonrpc: "2.0", method: "no.such" })));
	assert.ok(refusals(await c.batch(many(10, "ice.servers"))).length >= 5);
	await c.close();
});

test("session.* is never refused, and takes nothing from the others", async () => {
	const c = await connect(server, { user: "ann" });
	assert.deepEqual(refusals(await c.batch(many(60, "session.ping"))), []);
	assert.deepEqual(refusals(await c.batch(many(20, "ice.servers"))), []);
	await c.call("session.ping");
	await c.call("session.refresh", { token: await server.mint("ann") });
	await c.call("session.ack", { received: c.received });
	await c.call("session.close");
	assert.equal((await c.closed).code, 1000);
});

test("notifications past the limit are dropped, counted as received, and seen in a metric", async () => {
	const [c, other] = [await connect(server, { user: "ann" }), await connect(server, { user: "bob" })];
	for (const one of [c, other]) await one.call("room.join", { room: "dropped" });
	const before = await server.metrics();
	for (let i = 0; i < 64; i++) c.notify("room.publish", { room: "dropped", data: i });
	await c.next("session.ack"); // 64 were counted
	const { requests_limited: refused, notifications_dropped: dropped } = await growth(before);
	assert.ok(dropped >= 30 && dropped < 64, `${dropped} dropped`);
	assert.equal(refused, dropped);
	for (let i = 0; i < 64 - dropped; i++) await other.next("room.message");
	assert.deepEqual(other.unread, []);
	for (const one of [c, other]) await one.close();
});

test("joins: past their burst too_many_joins; other requests go on", async () => {
	await undisturbed(async () => {
		const c = await connect(server, { user: "ann" });
		const before = await server.metrics();
		const refused = refusals(await c.batch(many(10, "room.join", (i) => ({ room: `join-${i}` }))));
		assert.ok(refused.length >= 4 && refused.length <= 6, `${refused.length} refused`);
		for (const { code, data } of refused)
			assert.deepEqual([code, data], [-32029, { reason: "too_many_joins", retry_after: 1, limit: 2 }]);
		assert.equal((await growth(before)).joins_limited, refused.length);
		await c.call("ice.servers");
		await sleep(1000);
		await c.call("room.join", { room: "join-later" });
		await c.close();
	});
});

test("who goes on regardless, at ten times the limit, is closed with 1008; the room hears of it", async () => {
	await undisturbed(async () => {
		const watcher = await connect(server, { user: "bob" });
		await watcher.call("room.join", { room: "flood" });
		const raw = await rawWebSocket(server, { user: "mallory" });
		const before = await server.metrics();
		raw.write(frame(1, '{"jsonrpc":"2.0","id":1,"method":"room.join","params":{"room":"flood"}}'));
		await watcher.next("room.joined");
		const ask = frame(1, '{"jsonrpc":"2.0","id":2,"method":"ice.servers"}');
		for (let i = 0; i < 400; i++) raw.write(ask);
		assert.equal(await raw.closeCode(), 1008);
		assert.equal((await growth(before)).sessions_flooding, 1);
		assert.equal((await watcher.next("room.left")).params.reason, "lost");
		raw.destroy();
		await watcher.close();
	});
});

test("a flood of session.ping, of noise and of answers to nothing ends the same way", async () => {
	for (const text of ['{"jsonrpc":"2.0","id":1,"method":"session.ping"}', "{", '{"jsonrpc":"2.0","id":7,"result":1}', "[]"]) {
		const raw = await rawWebSocket(server, { user: "mallory" });
		for (let i = 0; i < 400; i++) raw.write(frame(1, text));
		assert.equal(await raw.closeCode(), 1008, text);
		raw.destroy();
	}
});

/** What a client that has come back gets answered to so many requests, sent while it was away. */
async function sentAgain(c, count) {
	c.cut();
	const ids = Array.from({ length: count }, () => c.send("ice.servers", {}));
	await c.connect();
	assert.ok(c.opened.resumed);
	await c.until(() => ids.every((id) => c.answers.has(id)), "the answers");
	return ids.map((id) => c.answers.get(id)).filter(({ error }) => error);
}

test("what is sent again after a resume is exempt, up to limits.kept_messages", async () => {
	const c = new ResumingClient(server, await server.mint("ann"));
	await c.connect();
	assert.deepEqual(await sentAgain(c, 60), []);
	await c.close();
});

test("resuming in a loop is no way around the limit", async () => {
	await undisturbed(async () => {
		const c = new ResumingClient(server, await server.mint("ann"));
		const began = performance.now();
		await c.connect();
		let refused = 0;
		for (let round = 0; round < 3; round++) refused += (await sentAgain(c, 60)).length;
		const most = 20 + 64 + 1 + (10 * (performance.now() - began)) / 1000;
		assert.ok(180 - refused <= most, `${180 - refused} served, of ${most}`);
		assert.ok(180 - refused >= 84, `${180 - refused} served`);
		await c.close();
	});
});

test("resent joins are exempt, too", async () => {
	const c = new ResumingClient(server, await server.mint("ann"));
	await c.connect();
	c.cut();
	const ids = Array.from({ length: 30 }, (_, i) => c.send("room.join", { room: `resent-${i}` }));
	await c.connect();
	await c.until(() => ids.every((id) => c.answers.has(id)), "the answers");
	assert.ok(ids.every((id) => c.answers.get(id).result));
	await c.close();
});

test("more may be under way when it is sent again", async (t) => {
	const few = await startServer({ t, workers: 2, config: { limits: { ...anyPace, requests_in_flight: 4 } } });
	const c = new ResumingClient(few, await few.mint("ann"));
	await c.connect();
	c.cut();
	// rooms of both workers, and the store is asked about each: none is answered on the spot
	const ids = Array.from({ length: 60 }, (_, i) => c.send("room.join", { room: `under-way-${i}` }));
	await c.connect();
	await c.until(() => ids.every((id) => c.answers.has(id)), "the answers");
	assert.deepEqual(ids.map((id) => c.answers.get(id).error).filter(Boolean), []);
	await c.close();
});
