// Tokens that are taken back, one by one or all of a user or client, and users who are put out: what is
// open ends with 4501 on every worker, nothing of theirs is accepted again in any way, others notice nothing,
// and a new sign-in is welcome in the same second.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { connect, HandshakeError, within } from "../support/client.mjs";
import { foreignIssuer } from "../support/foreign.mjs";
import { ask, eventStream, readEvents } from "../support/http-session.mjs";
import { bearer, request } from "../support/raw.mjs";
import { handleOf, ResumingClient } from "../support/resuming.mjs";
import { post } from "../support/rooms.mjs";
import { anyNumber, anyPace, run, startServer } from "../support/server.mjs";

const WORKERS = 4;
const TRIES = 2 * WORKERS; // the kernel spreads connections over the workers
const STORM = 60;
const times = (work, n = TRIES) => Promise.all(Array.from({ length: n }, work));
const code = async (closed) => (await within(closed, 5000, "the close")).code;
const claimsOf = (token) => JSON.parse(Buffer.from(token.split(".")[1], "base64url").toString());

let server, corp;
before(async () => {
	corp = await foreignIssuer("corp");
	const config = { issuers: [corp.config], limits: { ...anyPace, ...anyNumber } };
	server = await startServer({ workers: WORKERS, config });
	await server.addUser("ann");
});
after(() => server.stop());

const mint = async (user, wishes = {}) => {
	await server.addUser(user);
	return (await server.rpc("token.mint", { user, ...wishes })).token;
};

const listRooms = '{"jsonrpc":"2.0","id":1,"method":"room.list"}';
const asBackend = (at, token) => request(at, "POST /v1/rpc", bearer(token), listRooms);
const stream = (at, token) => ask(`${at.url}/v1/events`, { headers: { ...bearer(token), Accept: "text/event-stream" } });
const upgrade = (at, token) => connect(at, { headers: { authorization: `Bearer ${token}` } });

/** In no way, on no worker. */
async function isRefused(at, token) {
	await times(async () => {
		assert.equal((await asBackend(at, token)).status, 401);
		await assert.rejects(upgrade(at, token), (error) => error instanceof HandshakeError && error.status === 401);
		const c = await connect(at, { open: false });
		await assert.rejects(c.call("session.open", { token }), { code: -32001, reason: "invalid_token" });
		assert.equal(await code(c.closed), 3000);
		const answer = await stream(at, token);
		assert.equal(answer.statusCode, 401);
		answer.destroy();
	});
}

async function isWelcome(at, token) {
	await times(async () => {
		assert.equal((await asBackend(at, token)).status, 200);
		await (await upgrade(at, token)).close();
	});
}

/** Everything that can be open by one token, and what it then ends with. */
async function openAll(at, token) {
	const sessions = await times(() => connect(at, { token }));
	const half = await times(() => connect(at, { open: false, headers: { authorization: `Bearer ${token}` } }));
	const away = new ResumingClient(at, token);
	await away.connect();
	away.cut();
	const streams = await times(async () => {
		const response = await stream(at, token);
		assert.equal(response.statusCode, 200);
		return new Promise((opened) => {
			const closed = new Promise((end) =>
				readEvents(response, ({ event, data }) => {
					if (event === "open") opened({ closed, session: JSON.parse(data).session });
					if (event === "close") end(JSON.parse(data));
				}),
			);
		});
	});
	const posted = (session) =>
		request(at, "POST /v1/messages", { ...bearer(token), "Signalbox-Session": session, "Signalbox-Sent": "0" }, listRooms);
	assert.equal((await posted(streams[0].session)).status, 202);
	return async () => {
		for (const { closed } of [...sessions, ...half, ...streams]) assert.equal(await code(closed), 4501);
		assert.equal((await posted(streams[0].session)).status, 401);
		await assert.rejects(away.connect());
		await assert.rejects(away.connect(undefined, eventStream));
	};
}

const mine = (token) => claimsOf(token).jti;
const cases = {
	"one token, by itself": { who: () => mint("t1"), how: (token) => ({ token }) },
	"one token, by its jti": { who: () => mint("t2"), how: (token) => ({ jti: mine(token) }) },
	"all tokens of a user": { who: () => mint("t3"), how: () => ({ user: "T3" }) },
	"all tokens of a client": {
		who: async () => {
			const { client_id: client } = await server.rpc("client.add", { name: "c", grants: ["client_credentials"] });
			return (await server.rpc("token.mint", { client })).token;
		},
		how: (token) => ({ client: claimsOf(token).client_id }),
	},
	"another issuer's token": { who: () => corp.token("f1", { jti: "x" }), how: (token) => ({ token }) },
	"another issuer's token, by its jti": { who: () => corp.token("f2", { jti: "y" }), how: () => ({ jti: "corp|y" }) },
	"another issuer's token without jti": { who: () => corp.token("f3"), how: (token) => ({ token }) },
	"all tokens of another issuer's user": { who: () => corp.token("f4", { jti: "x2" }), how: () => ({ user: "corp|f4" }) },
	"all tokens of another issuer's client": {
		who: () => corp.token("f5", { client_id: "app" }),
		how: () => ({ client: "corp|app" }),
	},
};

for (const [what, { who, how }] of Object.entries(cases))
	test(`${what}: taken back, it is over everywhere`, async () => {
		const token = await who();
		const other = await connect(server, { user: "ann" });
		const sameNames = await connect(server, { token: await corp.token("t3", { jti: "z", client_id: "web" }) });
		const ended = await openAll(server, token);
		await server.rpc("token.revoke", how(token));
		await isRefused(server, token); // before anything else is waited for
		await ended();
		await assert.rejects(other.call("session.refresh", { token }), { code: -32001 });
		for (const c of [other, sameNames]) {
			await c.call("room.list");
			await c.close();
		}
	});

test("a signature written in another way is the same token", async () => {
	const n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
	const token = await corp.token("twin");
	const [header, payload, signature] = token.split(".");
	const s = Buffer.from(signature, "base64url").toString("hex");
	const twin = (n - BigInt(`0x${s.slice(64)}`)).toString(16).padStart(64, "0");
	const other = [header, payload, Buffer.from(s.slice(0, 64) + twin, "hex").toString("base64url")].join(".");
	assert.equal((await asBackend(server, other)).status, 200);
	await server.rpc("token.revoke", { token });
	await isRefused(server, other);
});

test("who signs in anew within the second of a revocation is welcome, and what was before is not", async () => {
	let before = await mint("hasty");
	for (let i = 0; i < 25; i++) {
		await server.rpc("token.revoke", { user: "hasty" });
		const now = await mint("hasty");
		await times(async () => {
			assert.equal((await asBackend(server, now)).status, 200, `round ${i}`);
			assert.equal((await asBackend(server, before)).status, 401, `round ${i}`);
		}, WORKERS);
		before = now;
	}
});

test("a user who is put out in the middle of a storm of their own has nothing open", async () => {
	const token = await mint("stormy");
	const all = [];
	const storm = Array.from({ length: STORM }, async (_, i) => {
		const c = await (i % 2 ? upgrade(server, token) : connect(server, { token })).catch(() => null);
		if (c) all.push(c);
		return c;
	});
	await Promise.race(storm);
	await server.rpc("user.disable", { name: "stormy" });
	await Promise.all(storm);
	for (const c of all) assert.equal(await code(c.closed), 4501);
	assert.deepEqual((await server.rpc("session.list", { user: "stormy" })).sessions, []);
	await isRefused(server, token);
});

test("a user of another issuer, and a client, are disabled, also behind a hand-over and a crash, and enabled", async (t) => {
	const config = { issuers: [corp.config], limits: anyNumber };
	const first = await startServer({ t, workers: WORKERS, config });
	const { client_id: id } = await first.rpc("client.add", { name: "b", grants: ["client_credentials"] });
	const { token: own } = await first.rpc("token.mint", { client: id });
	const sam = await corp.token("sam");
	const ended = await Promise.all([openAll(first, sam), openAll(first, own)]);
	await first.rpc("user.disable", { name: "corp|sam" });
	assert.equal((await run(["user", "disable", `client:${id}`, "--data", first.data])).code, 0);
	for (const end of ended) await end();
	const later = await corp.token("sam", { iat: Math.floor(Date.now() / 1000) + 20 });
	for (const token of [sam, own, later]) await isRefused(first, token);
	const second = await first.successor({ t, workers: 3 });
	for (const token of [sam, own, later]) await isRefused(second, token);
	await second.kill();
	const third = await startServer({ t, workers: WORKERS, config, data: first.data });
	for (const token of [sam, own, later]) await isRefused(third, token);
	await third.rpc("user.enable", { name: "corp|sam" });
	await third.rpc("user.enable", { name: `client:${id}` });
	await assert.rejects(third.rpc("user.enable", { name: "corp|sam" }), { code: -32004 });
	for (const token of [sam, own]) await isRefused(third, token); // from before
	await isWelcome(third, (await third.rpc("token.mint", { client: id })).token);
	await isWelcome(third, await corp.token("sam", { iat: Math.floor(Date.now() / 1000) + 2 }));
});

test("an account that is enabled again signs in anew; what it had stays dead", async () => {
	const old = await mint("phoenix");
	await server.rpc("user.disable", { name: "phoenix" });
	await assert.rejects(server.rpc("token.mint", { user: "phoenix" }), { code: -32003 });
	await server.rpc("user.enable", { name: "PHOENIX" });
	await isRefused(server, old);
	await isWelcome(server, await mint("phoenix"));
});

test("a client that is removed takes its tokens along", async () => {
	const { client_id: client } = await server.rpc("client.add", { name: "gone", grants: ["client_credentials"] });
	const { token } = await server.rpc("token.mint", { client });
	const c = await connect(server, { token });
	await server.rpc("client.remove", { client_id: client });
	assert.equal(await code(c.closed), 4501);
	await isRefused(server, token);
});

test("what is taken back is listed, page by page", async () => {
	assert.deepEqual(await server.rpc("token.revoke", { sid: "a-sign-in" }), { kind: "grant", value: "a-sign-in" });
	const found = [];
	for (let cursor; ; ) {
		const page = await server.rpc("revocation.list", { limit: 3, ...(cursor && { cursor }) });
		assert.ok(page.revoked.length <= 3);
		found.push(...page.revoked);
		if (!(cursor = page.cursor)) break;
	}
	const has = (kind, value, more) => assert.ok(found.some((r) => r.kind === kind && r.value === value && more(r)), value);
	has("user", "t3", (r) => !r.for_good && r.expires_at > r.withdrawn_at);
	has("grant", "a-sign-in", (r) => r.expires_at - r.withdrawn_at <= 2 * 24 * 3600); // no token of it lives longer
	has("user", "stormy", (r) => r.for_good);
	has("user", "corp|f4", (r) => r.expires_at === undefined); // nobody knows how long its tokens live
	has("client", "corp|app", (r) => !r.for_good);
	has("token", "corp|x", (r) => r.expires_at > Date.now() / 1000);
	assert.equal(new Set(found.map(({ kind, value }) => `${kind} ${value}`)).size, found.length);
	await assert.rejects(server.rpc("revocation.list", { cursor: "x" }), { code: -32602 });
	await assert.rejects(server.rpc("token.revoke", {}), { code: -32602 });
	await assert.rejects(server.rpc("token.revoke", { user: "ann", jti: "x" }), { code: -32602 });
	await assert.rejects(server.rpc("token.revoke", { token: "no.such.token" }), { code: -32602 });
});

test("sessions of all workers are listed by handles that resume nothing", async () => {
	const token = await mint("lou", { scope: "rooms:join" });
	const clients = await times(() => connect(server, { token }));
	const bystander = await connect(server, { user: "ann" });
	const away = new ResumingClient(server, token);
	await away.connect();
	away.cut();
	const found = [];
	for (let cursor; ; ) {
		const page = await server.rpc("session.list", { user: "lou", limit: 2, ...(cursor && { cursor }) });
		found.push(...page.sessions);
		if (!(cursor = page.cursor)) break;
	}
	const ids = [...clients.map(({ id }) => id), away.opened.session];
	assert.deepEqual(found.map(({ session }) => session).sort(), ids.map(handleOf).sort());
	assert.ok(new Set(ids.map((id) => id.split(".")[0])).size > 1, "all on one worker");
	for (const s of found) {
		assert.equal(s.scope, "rooms:join");
		assert.equal(s.jti, mine(token));
		assert.ok(s.opened_at > 1e9 && s.expires_at > s.opened_at);
	}
	await server.logged(`"session away" session=${handleOf(away.opened.session)}`);
	const now = (await server.rpc("session.list", { user: "lou" })).sessions;
	assert.deepEqual(now.filter((s) => !s.connected).map(({ session }) => session), [handleOf(away.opened.session)]);
	const other = await connect(server, { token, params: { resume: { session: found[0].session, received: 0 } } });
	assert.equal(other.session.resumed, false);
	for (const id of ids) assert.ok(!server.log.includes(id), "a session's id is in the log");

	await server.rpc("session.end", { session: handleOf(clients[0].id) });
	assert.equal(await code(clients[0].closed), 4500);
	await assert.rejects(server.rpc("session.end", { session: handleOf(clients[0].id) }), { code: -32004 });
	await assert.rejects(server.rpc("session.end", { session: "7" }), { code: -32004 });
	await assert.rejects(server.rpc("session.end", {}), { code: -32602 });
	await clients[1].call("room.list"); // the others, with the same token, go on
	await server.rpc("session.end", { session: handleOf(clients[1].id), revoke: true });
	for (const c of [...clients.slice(1), other]) assert.equal(await code(c.closed), 4501);
	await isRefused(server, token);
	await bystander.call("room.list");
	await server.rpc("session.end", { user: "ann" });
	assert.equal(await code(bystander.closed), 4500);
	await (await connect(server, { user: "ann" })).close(); // only that session was put out
});

test("who has not the scope admin takes nothing back and sees no session", async () => {
	const ann = await server.mint("ann");
	for (const [method, params] of [
		["token.revoke", { user: "lou" }],
		["revocation.list", {}],
		["user.disable", { name: "lou" }],
		["user.enable", { name: "lou" }],
		["session.list", {}],
		["session.end", { user: "lou" }],
	])
		await assert.rejects(post(server, ann, method, params), { code: -32003 });
	const root = await server.mint("root", { scope: "admin" });
	assert.ok((await post(server, root, "session.list", {})).sessions.length >= 0);
});
