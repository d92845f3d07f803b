// What one client address and one user may use, whichever workers it falls on: each limit reached with real
// clients, its reason, its metric, the way back, and another address or user that notices nothing.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { test } from "node:test";
import { connect } from "../support/client.mjs";
import { bearer, rawConnect, request, requestText, upgrade, upgradeText } from "../support/raw.mjs";
import { ResumingClient } from "../support/resuming.mjs";
import { anyNumber, ownDirectory, startServer } from "../support/server.mjs";

const WORKERS = 4;
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const dialing = (from) => ({ ws: { localAddress: from } }); // of loopback, every address is ours
const ONE = "127.0.0.2";
const OTHER = "127.0.0.3";
const INTERNAL = "127.0.0.9";

const serve = (t, limits, more) => startServer({ t, workers: WORKERS, config: { limits: { ...anyNumber, ...limits }, ...more } });

async function count(server, name) {
	return (await server.metrics())[`signalbox_${name}_total`];
}

/** Asks until the answer has this status; the test's own limit of time ends it. */
async function until(status, ask) {
	for (;;) {
		const answer = await ask();
		if (answer?.status === status) return answer;
		await sleep(50);
	}
}

const told = (answer, words) => {
	assert.equal(answer.status, 429);
	assert.match(answer.text, words);
	const after = Number(answer.headers["retry-after"]);
	assert.ok(Number.isInteger(after) && after >= 1, `Retry-After: ${answer.headers["retry-after"]}`);
	return after;
};

test("connections_per_address: 429 for upgrades and requests, and served again when one has left", async (t) => {
	const MOST = 10;
	const server = await serve(t, { connections_per_address: MOST });
	const held = [];
	for (let i = 0; i < MOST; i++) held.push(await connect(server, { user: "ann", ...dialing(ONE) }));
	told(await upgrade(server, {}, "/ws", { from: ONE }), /Too many connections of this address/);
	for (const line of ["GET /health", "POST /v1/rpc", "GET /", "GET /v1/events"])
		told(await request(server, line, {}, "", { from: ONE }), /Too many connections/);
	assert.equal(await count(server, "connections_limited"), 5);
	assert.equal((await upgrade(server, {}, "/ws", { from: OTHER })).status, 101);
	for (const c of held) await c.call("session.ping");
	await held.pop().close();
	await until(101, () => upgrade(server, {}, "/ws", { from: ONE }));
	for (const c of held) await c.close();
});

test("64 above it a socket is closed without a word, before any TLS", async (t) => {
	const server = await serve(t, { connections_per_address: 5 });
	const silent = [];
	for (let i = 0; i < 5 + 64; i++) silent.push(await rawConnect(server, { from: ONE }));
	for (let asked = 1; (await count(server, "accepted")) - asked < silent.length; asked++) await sleep(20);
	const cut = await rawConnect(server, { from: ONE });
	cut.write(upgradeText(server));
	await cut.gone();
	assert.equal(cut.bytes.length, 0);
	assert.equal(await count(server, "connections_cut"), 1);
	assert.equal((await upgrade(server, {}, "/ws", { from: OTHER })).status, 101);
	for (const raw of silent) raw.destroy();
	await until(101, () => upgrade(server, {}, "/ws", { from: ONE }).catch(() => undefined));
});

test("handshakes_per_second: ten times of it at once, then 429 until some have come back", async (t) => {
	const server = await serve(t, { handshakes_per_second: 2 });
	const token = await server.mint("ann");
	const stream = () => request(server, "GET /v1/events", { Accept: "text/event-stream" }, "", { from: ONE });
	let answers = 0;
	let refused;
	for (; !refused; answers++) {
		const answer = answers % 2 ? await upgrade(server, bearer(token), "/ws", { from: ONE }) : await stream();
		if (answer.status === 429) refused = answer;
	}
	assert.ok(answers > 20 && answers < 40, `${answers} answers`);
	const after = told(refused, /Too many connections of this address in a short time/);
	// who is known is refused, too, and so is a stream; what is no handshake is not
	const events = await stream();
	if (events.status === 429) assert.equal(JSON.parse(events.text).error.data.reason, "too_many_handshakes");
	assert.equal((await request(server, "GET /health", {}, "", { from: ONE })).status, 200);
	assert.equal((await upgrade(server, {}, "/ws", { from: OTHER })).status, 101);
	assert.ok((await count(server, "handshakes_limited")) >= 1);
	await sleep(after * 1000);
	assert.equal((await upgrade(server, {}, "/ws", { from: ONE })).status, 101);
});

test("failed_authentications_per_minute: then no token of that address is looked at, by any way", async (t) => {
	const MOST = 8;
	const server = await serve(t, { failed_authentications_per_minute: MOST });
	const good = await server.mint("ann");
	const rpc = (token, from) =>
		request(server, "POST /v1/rpc", bearer(token), '{"jsonrpc":"2.0","id":1,"method":"room.list"}', { from });
	// a session of that address that is there already goes on, also with a new token
	const there = await connect(server, { user: "ann", ...dialing(ONE) });
	const wrong = [
		async () => assert.equal((await rpc("x.y.z", ONE)).status, 401),
		async () => assert.equal((await upgrade(server, bearer("x.y.z"), "/ws", { from: ONE })).status, 401),
		async () => assert.equal((await request(server, "GET /v1/events", bearer("x.y.z"), "", { from: ONE })).status, 401),
		async () => assert.rejects(connect(server, { token: "x.y.z", ...dialing(ONE) }), { reason: "invalid_token" }),
		async () => assert.rejects(there.call("session.refresh", { token: "x.y.z" }), { reason: "unauthenticated" }),
	];
	for (let i = 0; i < MOST; i++) await wrong[i % wrong.length]();
	const before = await count(server, "authentication_failed");
	assert.equal(before, MOST);
	for (const token of [good, "x.y.z"]) {
		const answer = await rpc(token, ONE);
		const after = told(answer, /too_many_failures/);
		assert.ok(after <= 60 / MOST + 1, `${after} s`);
		assert.deepEqual(JSON.parse(answer.text).error.data, { reason: "too_many_failures", retry_after: after, limit: MOST });
		told(await upgrade(server, bearer(token), "/ws", { from: ONE }), /not valid/);
		told(await request(server, "GET /v1/events", bearer(token), "", { from: ONE }), /too_many_failures/);
		const c = await connect(server, { open: false, ...dialing(ONE) });
		await assert.rejects(c.call("session.open", { token }), { code: -32029, reason: "too_many_failures" });
		assert.equal((await c.closed).code, 3008);
	}
	assert.equal(await count(server, "authentication_failed"), before, "they were not looked at");
	assert.equal(await count(server, "authentication_limited"), 8);
	const said = server.log.match(/"limit reached" reason=too_many_failures address=127\.0\.0\.2 limit=8$/gm);
	assert.equal(said?.length, 1, "whom it refuses is said, but not each time");
	await there.call("session.refresh", { token: good });
	await there.close();
	assert.equal((await rpc(good, OTHER)).status, 200);
	const later = await until(200, () => rpc(good, ONE)); // one comes back each 7.5 s
	assert.ok(JSON.parse(later.text).result);
});

test("unopened_per_address counts over all workers", async (t) => {
	const MOST = 6;
	const server = await serve(t, { unopened_per_address: MOST });
	const held = [];
	for (let i = 0; i < MOST; i++) held.push(await connect(server, { open: false, ...dialing(ONE) }));
	told(await upgrade(server, {}, "/ws", { from: ONE }), /have not said who they are/);
	assert.equal(await count(server, "unopened_limited"), 1);
	assert.equal((await upgrade(server, {}, "/ws", { from: OTHER })).status, 101);
	await held[0].call("session.open", { token: await server.mint("ann") });
	await until(101, () => upgrade(server, {}, "/ws", { from: ONE }));
	for (const c of held) c.terminate();
});

const full = { code: -32023, reason: "too_many_sessions" };

test("sessions_per_user: full, then 3008; a resume is no new session; an ended one makes room", async (t) => {
	const server = await serve(t, { sessions_per_user: 3 });
	const away = new ResumingClient(server, await server.mint("ann"));
	await away.connect();
	const held = [await connect(server, { user: "ann" }), await connect(server, { user: "ann" })];
	const c = await connect(server, { open: false });
	const error = await c.call("session.open", { token: await server.mint("ann") }).catch((problem) => problem);
	assert.deepEqual([error.code, error.data], [full.code, { reason: full.reason, retry_after: 1, limit: 3 }]);
	assert.equal((await c.closed).code, 3008);
	assert.equal(await count(server, "sessions_limited"), 1);
	const stream = await request(server, "GET /v1/events", bearer(await server.mint("ann")));
	assert.equal(stream.status, 409);
	assert.equal(JSON.parse(stream.text).error.data.reason, full.reason);
	// cut and resumed, on whichever worker, it is the same one
	for (let i = 0; i < 2 * WORKERS; i++) {
		away.cut();
		assert.ok((await away.connect()).resumed);
	}
	// one that cannot be resumed ends: its place is free for the new one
	away.cut();
	const fresh = await away.connect({ session: away.opened.session, received: 1e9 });
	assert.equal(fresh.resumed, false);
	await (await connect(server, { user: "bob" })).close();
	await held.pop().close();
	held.push(await (async () => {
		for (;;)
			try {
				return await connect(server, { user: "ann" });
			} catch (problem) {
				assert.equal(problem.reason, full.reason);
				await sleep(50);
			}
	})());
	for (const one of held) await one.close();
	await away.close();
});

test("sessions that were handed over are counted by the successor", async (t) => {
	const data = `${ownDirectory()}/d`;
	const limits = { ...anyNumber, sessions_per_user: 2 };
	const config = { limits, session: { drain_spread: "0s" } };
	const first = await startServer({ data, workers: 4, config });
	const token = await first.mint("ann");
	const away = [new ResumingClient(first, token), new ResumingClient(first, token)];
	for (const c of away) await c.connect();
	await first.stop();
	const second = await startServer({ t, data, workers: 2, config });
	await assert.rejects(connect(second, { token }), full);
	for (const c of away) {
		c.server = second;
		assert.ok((await c.connect()).resumed);
	}
	await assert.rejects(connect(second, { token }), full);
	for (const c of away) await c.close();
});

test("http_requests_per_second: each request of a batch counts; 429 for that user alone", async (t) => {
	const RATE = 20;
	const server = await serve(t, { http_requests_per_second: RATE });
	const [ann, bob] = [await server.mint("ann"), await server.mint("bob")];
	const admin = await server.mint("root", { scope: "rooms:join admin" });
	const ask = (n) => JSON.stringify(Array.from({ length: n }, (_, id) => ({ jsonrpc: "2.0", id, method: "room.list" })));
	const rpc = (token, n = 1) => request(server, "POST /v1/rpc", bearer(token), ask(n));
	assert.equal((await rpc(ann, RATE)).status, 200);
	const refused = await rpc(ann, RATE);
	const after = told(refused, /too_many_requests/);
	assert.deepEqual(JSON.parse(refused.text).error, {
		code: -32029,
		message: "Too many requests in a short time; wait a little.",
		data: { reason: "too_many_requests", retry_after: after, limit: RATE },
	});
	assert.equal(await count(server, "http_limited"), 1);
	assert.equal((await rpc(bob)).status, 200);
	for (let i = 0; i < 5; i++) assert.equal((await rpc(admin, RATE)).status, 200);
	await sleep(after * 1000);
	assert.equal((await rpc(ann, RATE)).status, 200);
	// more than may come at once is served after a rest, and owed
	await sleep(1500);
	assert.equal((await rpc(ann, 5 * RATE)).status, 200);
	assert.ok(told(await rpc(ann), /too_many_requests/) >= 2);
});

test("behind a proxy that names nobody, addresses are not limited", async (t) => {
	const limits = { connections_per_address: 2, unopened_per_address: 2, handshakes_per_second: 1, failed_authentications_per_minute: 1 };
	const server = await serve(t, limits, { server: { behind_proxy: true } });
	await server.logged(/addresses are not limited/);
	const held = [];
	for (let i = 0; i < 30; i++) held.push(await connect(server, { open: false }));
	for (let i = 0; i < 5; i++) assert.equal((await upgrade(server, bearer("x.y.z"))).status, 401);
	for (const c of held) c.terminate();
});

test("the internal address is counted with nobody and refuses nobody", async (t) => {
	// a free port of an address that nobody else listens on
	const free = createServer().listen(0, INTERNAL);
	await once(free, "listening");
	const { port } = free.address();
	free.close();
	await once(free, "close");
	const server = await serve(t, { connections_per_address: 1 }, { server: { internal_listen: `${INTERNAL}:${port}` } });
	const held = await connect(server, { user: "ann" });
	const asked = [];
	for (let i = 0; i < 100; i++) asked.push(await rawConnect(server, { host: INTERNAL, port }));
	for (const raw of asked) {
		raw.write(requestText("GET /health", { Host: "x" }));
		assert.equal((await raw.response()).status, 200);
		raw.destroy();
	}
	told(await request(server, "GET /"), /Too many connections/);
	await held.close();
});
