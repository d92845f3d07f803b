// session.refresh and a resume bring another token of the same user: what it does not allow ends at once,
// also what was under way, and the rest goes on as it was.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { connect } from "../support/client.mjs";
import { foreignIssuer } from "../support/foreign.mjs";
import { eventStream } from "../support/http-session.mjs";
import { ResumingClient, webSocket } from "../support/resuming.mjs";
import { anyNumber, anyPace, startServer } from "../support/server.mjs";

const WORKERS = 4;
const ROOMS = 8; // on several workers
const HURRIED = 40;
const ROUNDS = 5;

let server, corp;
before(async () => {
	corp = await foreignIssuer("corp");
	server = await startServer({ workers: WORKERS, config: { issuers: [corp.config], auth: { cached_tokens: 0 }, limits: { ...anyPace, ...anyNumber } } });
});
after(() => server.stop());

const rooms = (prefix, n = ROOMS) => Array.from({ length: n }, (_, i) => `${prefix}-${i}`);
const only = (...globs) => ({ claim: { signalbox: { rooms: globs } } });
const lefts = (events) => events.filter(({ method }) => method === "room.left");
/** The next so many room.left that a client hears. */
const takeLefts = async (client, count) => {
	const all = [];
	while (all.length < count) all.push(await client.next("room.left"));
	return all;
};

test("rooms that the new token does not name are left, everybody hears it, and the others go on", async () => {
	const [ann, bob] = [await connect(server, { user: "ann" }), await connect(server, { user: "bob" })];
	const names = [...rooms("r1"), "r1-stays"];
	const peers = new Map();
	for (const room of names) {
		await bob.call("room.join", { room });
		peers.set(room, (await ann.call("room.join", { room })).peer);
	}
	const result = await ann.call("session.refresh", { token: await server.mint("ann", only("r1-s*")) });
	assert.ok(result.expires_at > Date.now() / 1000);
	const gone = names.filter((room) => room !== "r1-stays").sort();
	const [own, others] = [await takeLefts(ann, gone.length), await takeLefts(bob, gone.length)];
	assert.deepEqual(own.map(({ params }) => params.room).sort(), gone);
	for (const { params } of own) assert.deepEqual([params.peer, params.reason], [peers.get(params.room), "closed"]);
	for (const { params } of others) assert.deepEqual([params.peer, params.reason], [peers.get(params.room), "left"]);
	for (const room of gone) {
		await assert.rejects(ann.call("room.publish", { room, data: 1 }), { code: -32003 });
		await assert.rejects(ann.call("room.join", { room }), { code: -32003, reason: "room_not_in_token" });
		assert.deepEqual((await bob.call("room.presence", { room })).members, []);
	}
	await ann.call("signal.send", { room: "r1-stays", to: { user: "bob" }, type: "offer", data: {} });
	await bob.call("room.publish", { room: "r1-stays", data: "still" });
	await ann.next("room.message");
	// a wider one again: rooms may be joined anew
	await ann.call("session.refresh", { token: await server.mint("ann") });
	assert.notEqual((await ann.call("room.join", { room: gone[0] })).peer, peers.get(gone[0]));
	for (const c of [ann, bob]) await c.close();
});

test("scopes that are lost are lost for what follows; without rooms:join there is no room", async () => {
	const ann = await connect(server, { user: "ann", scope: "rooms:join rooms:create rooms:moderate" });
	const bob = await connect(server, { user: "bob" });
	await ann.call("room.create", { room: "r2-own" });
	assert.equal((await bob.call("room.join", { room: "r2-else" })).role, "member");
	assert.equal((await ann.call("room.join", { room: "r2-else" })).role, "moderator");
	await ann.call("session.refresh", { token: await server.mint("ann", { scope: "rooms:join" }) });
	await assert.rejects(ann.call("room.create", { room: "r2-next" }), { code: -32003, reason: "insufficient_scope" });
	const roleOf = async () => (await bob.call("room.presence", { room: "r2-else" })).members.find(({ user }) => user === "ann")?.role;
	assert.equal(await roleOf(), "member");
	await ann.call("session.refresh", { token: await server.mint("ann", { scope: "rooms:create" }) });
	await ann.next("room.left");
	await bob.next("room.left");
	assert.equal(await roleOf(), undefined);
	for (const c of [ann, bob]) await c.close();
});

test("what was asked before a refresh and is done behind it leaves nobody where they may not be", async (t) => {
	const config = { limits: { ...anyPace, ...anyNumber, rooms_per_session: 1000, requests_in_flight: 1000 } };
	const first = await startServer({ workers: WORKERS, config });
	const all = Array.from({ length: ROUNDS }, (_, round) => rooms(`r3-${round}`, HURRIED));
	const maker = await connect(first, { user: "root", scope: "rooms:join rooms:create" });
	await Promise.all(all.flat().map((room) => maker.call("room.create", { room })));
	await maker.close();
	await first.stop();
	// no worker has a room in memory now: a join waits for the store
	const again = await startServer({ t, workers: WORKERS, config, data: first.data });
	const root = await connect(again, { user: "root" });
	for (const names of all) {
		const ann = await connect(again, { user: "ann" });
		const narrow = await again.mint("ann", only(names[0]));
		const joins = Promise.allSettled(names.map((room) => ann.call("room.join", { room })));
		const refreshed = ann.call("session.refresh", { token: narrow });
		const late = Promise.allSettled(names.map((room) => ann.call("room.join", { room })));
		await refreshed;
		const joined = await joins;
		for (const [i, { status, reason }] of (await late).entries())
			if (status === "rejected") assert.equal(reason.reason, "room_not_in_token", names[i]);
		const owed = new Set(names.filter((room, i) => i && joined[i].status === "fulfilled"));
		while (owed.size) owed.delete((await ann.next("room.left")).params.room);
		for (const room of names.slice(1)) assert.deepEqual((await root.call("room.presence", { room })).members, [], room);
		assert.equal((await root.call("room.presence", { room: names[0] })).members.length, 1);
		await ann.close();
	}
});

for (const [way, over] of Object.entries({ webSocket, eventStream }))
	test(`a resume with a narrower token, and a refresh, do the same over ${way}`, async () => {
		const bob = await connect(server, { user: "bob" });
		const ann = new ResumingClient(server, await server.mint("ann"), { over });
		await ann.connect();
		const [kept, lost, last] = rooms(`r4-${way}`, 3);
		for (const room of [kept, lost, last]) {
			await bob.call("room.join", { room });
			await ann.call("room.join", { room });
		}
		ann.cut();
		ann.token = await server.mint("ann", only(kept, last));
		assert.equal((await ann.connect()).resumed, true);
		await ann.until(() => lefts(ann.events).length === 1, "room.left after the resume");
		assert.deepEqual(lefts(ann.events).map(({ params }) => [params.room, params.reason]), [[lost, "closed"]]);
		assert.equal((await bob.next("room.left")).params.room, lost);
		await ann.call("session.refresh", { token: await server.mint("ann", only(kept)) });
		await ann.until(() => lefts(ann.events).length === 2, "room.left after the refresh");
		assert.equal((await bob.next("room.left")).params.room, last);
		await ann.call("room.publish", { room: kept, data: 1 });
		await ann.leave();
		await bob.close();
	});

test("only a token of the same issuer and subject refreshes", async () => {
	const own = await connect(server, { user: "sam" });
	const other = await connect(server, { token: await corp.token("sam") });
	const forbidden = { code: -32003, reason: "other_subject" };
	await assert.rejects(own.call("session.refresh", { token: await corp.token("sam") }), forbidden);
	await assert.rejects(other.call("session.refresh", { token: await server.mint("sam") }), forbidden);
	await assert.rejects(other.call("session.refresh", { token: await corp.token("tom") }), forbidden);
	const exp = Math.floor(Date.now() / 1000) + 7000;
	assert.equal((await other.call("session.refresh", { token: await corp.token("sam", { exp }) })).expires_at, exp);
	// the token before this one is taken back: the session has another by now
	const first = await server.rpc("token.mint", { user: "sam" });
	const kept = await connect(server, { token: first.token });
	await kept.call("session.refresh", { token: (await server.rpc("token.mint", { user: "sam" })).token });
	await server.rpc("token.revoke", { token: first.token });
	await kept.call("room.list");
	for (const c of [own, other, kept]) await c.close();
});

test("a token that lives less than a minute is said to end, and ends", async (t) => {
	const aged = await startServer({ t, clock: true, workers: 2 });
	const brief = await connect(aged, { user: "ann", expires: 40 });
	assert.equal((await brief.next("session.expiring")).params.expires_at, brief.session.expires_at);
	const away = new ResumingClient(aged, await aged.mint("bob", { expires: 40 }));
	await away.connect();
	away.cut();
	aged.ahead(40 + 26);
	assert.equal((await brief.closed).code, 4001);
	await assert.rejects(away.connect()); // with the token that is over
	away.token = await aged.mint("bob");
	assert.equal((await away.connect()).resumed, true);
	await away.leave();
});
