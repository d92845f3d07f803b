// Backends on four workers: how the load spreads, and what becomes of calls whose backend is lost, comes
// back, or lives through a restart.
import assert from "node:assert/strict";
import test from "node:test";
import { connect } from "../support/client.mjs";
import { eventStream } from "../support/http-session.mjs";
import { randomFrom, SEED } from "../support/random.mjs";
import { ResumingClient, webSocket } from "../support/resuming.mjs";
import { post, refused, workerOf } from "../support/rooms.mjs";
import { anyNumber, anyPace, startServer } from "../support/server.mjs";

const WORKERS = 4;
const limits = { ...anyPace, ...anyNumber, requests_in_flight: 1000 };
const config = { session: { resume_window: "20s", drain_spread: "100ms" }, limits };
const caller = (server, options) => connect(server, { user: "ann", scope: "rpc:call", ...options });
const outcome = (call) => call.then((result) => result, ({ code, data }) => ({ code, reason: data?.reason }));

/** One client on each worker, of those that make() connects. */
async function onEachWorker(make) {
	const found = new Map();
	while (found.size < WORKERS) {
		const client = await make();
		const worker = workerOf(client);
		if (found.has(worker)) await client.close();
		else found.set(worker, client);
	}
	return [...found.values()];
}

/** A backend that can be cut off: it answers by answer(params), and notes each id it was asked with. */
async function resumingBackend(server, methods, answer, options = {}) {
	const asked = ({ id, params }) => {
		made.asked.push(id);
		made.reply(id, { result: answer(params) });
	};
	const made = new ResumingClient(server, await server.mint("shop", { scope: "rpc:serve" }), { ...options, asked });
	made.asked = [];
	await made.connect(null);
	await made.call("rpc.serve", { methods });
	return made;
}

test("callers and backends on all workers: the load is even, one that is killed loses only its own calls", async (t) => {
	const CALLS = 400;
	const server = await startServer({ t, workers: WORKERS, config: { ...config, session: { resume_window: "0s" } } });
	const backends = await onEachWorker(() => connect(server, { user: "shop", scope: "rpc:serve" }));
	const callers = await onEachWorker(() => caller(server));
	const counts = new Map();
	const methods = ["even.*", "odd.*", "a.b.*", "c"];
	for (const each of backends) {
		counts.set(each, 0);
		await each.serve(methods, ({ method, params }) => {
			counts.set(each, counts.get(each) + 1);
			return [method, params];
		});
	}
	const names = ["even.x", "odd.y", "a.b.c.d", "c"];
	const results = await Promise.all(Array.from({ length: CALLS }, (_, i) =>
		callers[i % WORKERS].call("rpc.call", { method: names[i % 3], params: i })));
	assert.deepEqual(results, results.map((_, i) => [names[i % 3], i]));
	const spread = [...counts.values()];
	t.diagnostic(`calls answered by each of ${WORKERS}: ${spread}`);
	for (const n of spread) assert.ok(n > CALLS / WORKERS / 2 && n < (CALLS / WORKERS) * 2, `${spread}`);

	// in the middle of it one is killed: what it had not answered is lost, all else is answered
	const [victim, ...others] = backends;
	let seen = 0;
	victim.on("rpc.invoke", ({ id, params }) => {
		if (++seen === 20) victim.terminate();
		else if (seen < 20) victim.reply(id, { result: [params.method, params.params] });
	});
	const before = counts.get(others[0]);
	const rest = await Promise.all(Array.from({ length: CALLS }, (_, i) =>
		outcome(callers[i % WORKERS].call("rpc.call", { method: names[i % 4], params: i }))));
	const lost = rest.filter(({ reason }) => reason === "backend_lost").length;
	t.diagnostic(`lost with one that was killed: ${lost} of ${CALLS}`);
	assert.ok(lost > 0 && lost < CALLS / 2);
	for (const [i, result] of rest.entries())
		if (result.reason) assert.deepEqual(result, { code: -32008, reason: "backend_lost" });
		else assert.deepEqual(result, [names[i % 4], i]);
	assert.ok(counts.get(others[0]) - before > CALLS / WORKERS / 2);
	const { signalbox_rpc_under_way, signalbox_rpc_lost_total, signalbox_rpc_backends } = await server.metrics();
	assert.deepEqual([signalbox_rpc_under_way, signalbox_rpc_lost_total, signalbox_rpc_backends], [0, lost, WORKERS - 1]);
});

test("a backend that is away is asked nothing new, and answers what it was asked when it is back", async (t) => {
	const server = await startServer({ t, workers: WORKERS, config });
	const ann = await caller(server);
	const shop = new ResumingClient(server, await server.mint("shop", { scope: "rpc:serve" }));
	await shop.connect(null);
	await shop.call("rpc.serve", { methods: ["away.*"] });
	const calls = [1, 2, 3].map((params) => ann.call("rpc.call", { method: "away.x", params }));
	await shop.until(() => shop.of("rpc.invoke").length === 3, "three calls");
	shop.cut();
	const gone = () => outcome(ann.call("rpc.call", { method: "away.x", timeout: 1 }));
	while ((await gone()).reason !== "not_served"); // until the cut is noticed
	const ids = shop.events.filter(({ method }) => method === "rpc.invoke").map(({ id }) => id);
	for (const [i, id] of ids.entries()) shop.reply(id, { result: i }); // it does not know yet
	assert.equal((await shop.connect()).resumed, true);
	assert.deepEqual(await Promise.all(calls), [0, 1, 2]);
	const again = ann.call("rpc.call", { method: "away.x", params: "again" });
	await shop.until(() => shop.of("rpc.invoke").some(({ params }) => params === "again"), "the call");
	shop.reply(shop.events.findLast(({ method }) => method === "rpc.invoke").id, { result: "back" });
	assert.equal(await again, "back");
	await shop.close();
	await ann.close();
});

test("each call is answered exactly once, whatever becomes of connections, with and without WebSocket", async (t) => {
	const ROUNDS = 12;
	const EACH = 8;
	t.diagnostic(`SEED=${SEED}`);
	const random = randomFrom(SEED);
	const server = await startServer({ t, workers: WORKERS, config });
	const ann = new ResumingClient(server, await server.mint("ann", { scope: "rpc:call" }));
	await ann.connect(null);
	const shop = await resumingBackend(server, ["once.*"], ({ params }) => params * 2, { batch: true });
	const wanted = new Map();
	let number = 0;
	for (let round = 0; round < ROUNDS; round++) {
		for (let i = 0; i < EACH; i++)
			wanted.set(ann.send("rpc.call", { method: `once.${i % 3}`, params: ++number, timeout: 120 }), number * 2);
		// the cut falls anywhere: what has not come to its home by then is served by nobody
		const some = shop.asked.length + 1 + random.below(EACH);
		await shop.until(() => shop.asked.length >= some, "some of the calls");
		shop.cut();
		if (random.below(2)) {
			ann.cut();
			await ann.connect(undefined, random.below(2) ? webSocket : eventStream);
		}
		assert.equal((await shop.connect(undefined, random.below(2) ? webSocket : eventStream)).resumed, true);
		await ann.until(() => wanted.size === [...wanted.keys()].filter((id) => ann.answers.has(id)).length, "all answers");
	}
	let served = 0;
	for (const [id, wants] of wanted) {
		const { result, error } = ann.answers.get(id);
		if (error) assert.equal(error.data.reason, "not_served");
		else assert.equal(result, wants);
		served += error ? 0 : 1;
	}
	t.diagnostic(`of ${number} calls ${number - served} came while it was away`);
	assert.ok(served >= ROUNDS);
	assert.equal(shop.asked.length, served);
	assert.equal((await server.metrics()).signalbox_rpc_unexpected_total, 0);
	await Promise.all([shop.close(), ann.close()]);
});

test("a restart: what is under way is answered honestly, and who served serves again", async (t) => {
	let server = await startServer({ t, workers: WORKERS, config });
	const ann = new ResumingClient(server, await server.mint("ann", { scope: "rpc:call" }));
	await ann.connect(null);
	const shop = await resumingBackend(server, ["hold.x", "hand.*"], ({ method }) => method);
	assert.equal(await ann.call("rpc.call", { method: "hand.over" }), "hand.over");
	for (const workers of [2, WORKERS]) {
		const hung = new ResumingClient(server, await server.mint("hung", { scope: "rpc:serve" }));
		await hung.connect(null);
		await hung.call("rpc.serve", { methods: ["hung"] });
		const id = ann.send("rpc.call", { method: "hung", timeout: 120 });
		await hung.until(() => hung.of("rpc.invoke").length, "the call");
		const next = server.successor({ workers });
		await ann.until(() => ann.answers.has(id), "the answer to what was under way");
		const { code, data } = ann.answers.get(id).error;
		assert.deepEqual({ code, ...data }, { code: -32008, reason: "backend_lost" });
		server = await next;
		for (const each of [ann, shop, hung]) each.server = server;
		await ann.closed;
		assert.equal((await ann.connect()).resumed, true);
		// its backend is on its way back: the call waits for it
		const waits = ann.call("rpc.call", { method: "hand.over" });
		await Promise.all([shop.closed, hung.closed]);
		assert.equal((await shop.connect()).resumed, true);
		assert.equal(await waits, "hand.over");
		assert.equal(await ann.call("rpc.call", { method: "hold.x" }), "hold.x");
		// an answer to what the process before had asked is to nothing
		assert.equal((await hung.connect()).resumed, true);
		hung.reply(hung.events.find(({ method }) => method === "rpc.invoke").id, { result: "late" });
		await hung.call("rpc.serve", { methods: [] });
		const token = await server.mint("ann", { scope: "rpc:call" });
		await refused(post(server, token, "rpc.call", { method: "hung" }), "not_found", "not_served");
		await hung.close();
	}
	await Promise.all([shop.close(), ann.close()]);
});

test("to answer is not to ask: a backend may answer as fast as it is asked; replies to nothing are noise", async (t) => {
	const server = await startServer({ t, workers: WORKERS, config: { limits: { ...limits, requests_per_second: 2, requests_burst: 2 } } });
	const token = await server.mint("ann", { scope: "rpc:call" });
	const shop = await connect(server, { user: "shop", scope: "rpc:serve" });
	await shop.serve(["fast"], ({ params }) => params);
	const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => post(server, token, "rpc.call", { method: "fast", params: i })));
	assert.deepEqual(answers, answers.map((_, i) => i));
	assert.equal(shop.end, undefined);
	for (let i = 0; i < 60; i++) shop.reply("0.1", { result: i });
	assert.equal((await shop.closed).code, 1008);
});
