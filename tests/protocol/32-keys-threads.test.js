// The issuer's signing keys follow each other: on a schedule and when told to, on all workers at once, while
// people connect; what others who check our tokens see of it; and what a crash in between leaves.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { createRemoteJWKSet, customFetch, decodeProtectedHeader, jwtVerify } from "jose";
import { connect } from "../support/client.mjs";
import { request } from "../support/raw.mjs";
import { anyNumber, anyPace, ownDirectory, run, startServer } from "../support/server.mjs";

const DAY = 24 * 3600;
const WORKERS = 4;
const PUBLISHED = 600;
const config = { limits: { ...anyNumber, ...anyPace }, issuer: { key_rotation: "10d" } };

const data = join(ownDirectory(), "d");
let server = await startServer({ data, workers: WORKERS, config, clock: true });
after(() => server.stop());

const keys = async () => (await server.rpc("key.list")).keys;
const inState = async (wanted) => (await keys()).filter(({ state }) => state === wanted);
const kids = (list) => list.map(({ kid }) => kid).sort();
const published = async () => (await (await fetch(`${server.url}/oauth/jwks`)).json()).keys;
const kidOf = (token) => decodeProtectedHeader(token).kid;
let names = 0;
const fresh = (wishes = {}) => server.mint(`user${names++}`, wishes);
const status = async (token) =>
	(await request(server, "POST /v1/rpc", { Authorization: `Bearer ${token}` }, '{"jsonrpc":"2.0","id":1,"method":"room.list"}'))
		.status;
// The kernel spreads connections over the workers: each gets some of these.
const everywhere = (token) => Promise.all(Array.from({ length: 4 * WORKERS }, () => status(token)));

async function until(what, holds) {
	for (const end = Date.now() + 20_000; Date.now() < end; ) if (await holds()) return;
	assert.fail(`${what}: ${JSON.stringify(await keys())}`);
}

async function opens(token) {
	const c = await connect(server, { token });
	await c.close();
}

describe("by command", () => {
	test("at once, again and again while people connect: none is refused, no session notices", async () => {
		const backend = await server.rpc("client.add", { name: "backend", grants: ["client_credentials"] });
		const form = new URLSearchParams({ grant_type: "client_credentials", client_id: backend.client_id, client_secret: backend.client_secret });
		const ask = async () => (await (await fetch(`${server.url}/oauth/token`, { method: "POST", body: form })).json()).access_token;
		const before = await fresh();
		const witness = await connect(server, { token: before });
		const seen = new Set();
		let going = true;
		const people = Array.from({ length: 6 }, async () => {
			while (going) {
				const token = await ask();
				await opens(token);
				assert.equal(await status(token), 200);
				seen.add(kidOf(token));
			}
		});
		for (let i = 0; i < 3; i++) {
			const active = kids(await inState("active"));
			const { keys: after } = await server.rpc("key.rotate", { now: true });
			const now = kids(after.filter(({ state }) => state === "active"));
			assert.equal(now.length, 2);
			for (const kid of active) assert.ok(!now.includes(kid), "this one signs as before");
			const token = await fresh();
			assert.ok(now.includes(kidOf(token)), "signed by the one before");
			assert.deepEqual(await everywhere(token), Array(4 * WORKERS).fill(200));
			await until("nobody connects with the new key", async () => (await keys()).length > 0 && seen.has(kidOf(token)));
		}
		going = false;
		await Promise.all(people);
		await witness.call("room.list");
		assert.deepEqual(await everywhere(before), Array(4 * WORKERS).fill(200), "a token of the first key");
		await witness.close();
	});

	test("by the command line, as a table and as JSON", async () => {
		const cli = async (...words) => (await run(["key", ...words, "--data", data])).stdout;
		assert.match(await cli("list"), /^kid +alg +state +created_at +active_at +gone_at\n/);
		const { keys: after } = JSON.parse(await cli("rotate", "--json"));
		const next = after.filter(({ state }) => state === "next");
		assert.deepEqual(next.map(({ alg }) => alg).sort(), ["ES256", "RS256"]);
		for (const key of next) assert.ok(key.active_at - key.created_at >= PUBLISHED, "signs before others can have it");
		assert.deepEqual(kids(JSON.parse(await cli("rotate", "--json")).keys), kids(after), "the same wish makes no more keys");
	});

	test("whoever fetched the keys while the next was only published needs not ask again", async () => {
		let fetched = 0;
		const remote = createRemoteJWKSet(new URL(`${server.url}/oauth/jwks`), {
			[customFetch]: (...of) => (fetched++, fetch(...of)),
		});
		const check = (token) => jwtVerify(token, remote, { typ: "at+jwt" });
		const [next] = (await inState("next")).filter(({ alg }) => alg === "ES256");
		const one = await fresh();
		await check(one);
		const witness = await connect(server, { token: one });
		server.ahead(PUBLISHED + 1);
		await until("it does not sign", async () => (await inState("next")).length === 0);
		const other = await fresh();
		assert.equal(kidOf(other), next.kid);
		await check(other);
		await check(one);
		assert.equal(fetched, 1);
		assert.deepEqual(await everywhere(other), Array(4 * WORKERS).fill(200));
		await witness.call("room.list");
		await witness.close();
	});

	test("an old key that is removed takes its tokens with it, on every worker; one that signs stays", async () => {
		const token = await fresh();
		assert.deepEqual(await everywhere(token), Array(4 * WORKERS).fill(200)); // all remember it
		await assert.rejects(server.rpc("key.remove", { kid: kidOf(token) }), { code: -32004 });
		await server.rpc("key.rotate", { now: true });
		await server.rpc("key.remove", { kid: kidOf(token) });
		assert.deepEqual(await everywhere(token), Array(4 * WORKERS).fill(401));
		assert.ok(!kids(await published()).includes(kidOf(token)));
		await opens(await fresh());
	});
});

describe("by the clock", () => {
	let long;

	test("the next is published a day before, then signs; the old one goes a day later", async () => {
		long = await fresh({ expires: 40 * DAY });
		const before = await inState("active");
		server.ahead(9 * DAY + 1000);
		await until("nothing is published", async () => (await inState("next")).length === 2);
		const next = await inState("next");
		assert.deepEqual(kids(await inState("active")), kids(before));
		for (const kid of kids(next)) assert.ok(kids(await published()).includes(kid));
		server.ahead(10 * DAY + 2000);
		await until("they do not sign", async () => (await inState("next")).length === 0);
		assert.deepEqual(kids(await inState("active")), kids(next));
		assert.deepEqual(kids(await inState("old")).filter((kid) => kids(before).includes(kid)), kids(before));
		const { entries } = await server.rpc("audit.list", { action: "key.rotate" });
		assert.ok(entries.some(({ actor, detail }) => actor === "schedule" && kids(next).includes(detail)));
	});

	test("but not one that signed a token which lives longer", async () => {
		server.ahead(12 * DAY);
		await until("the old ones stay", async () => (await inState("old")).length === 1);
		assert.deepEqual(kids(await inState("old")), [kidOf(long)]);
		assert.deepEqual(await everywhere(long), Array(4 * WORKERS).fill(200));
	});
});

describe("a new directory", () => {
	const algs = async (of) => (await (await fetch(`${of.url}/oauth/jwks`)).json()).keys.map(({ alg }) => alg).sort();

	test("is listened for before the key that takes long is made; whoever asks for the keys gets both", async () => {
		const fresh = await startServer({ workers: WORKERS });
		assert.deepEqual(await algs(fresh), ["ES256", "RS256"]);
		const { index: made } = await fresh.logged(/"signing key made" alg=RS256/);
		const listening = fresh.log.search(/ listening /);
		assert.ok(listening >= 0 && listening < made, fresh.log);
		await fresh.stop();
	});

	test("a process that is killed or stopped before it leaves nothing half", async () => {
		const place = join(ownDirectory(), "d");
		let one = await startServer({ data: place });
		const token = await one.mint("ann");
		await one.kill();
		one = await startServer({ data: place });
		const asked = fetch(`${one.url}/oauth/jwks`).then((answer) => answer.status, () => "refused");
		await one.stop();
		assert.ok([200, 503, "refused"].includes(await asked), String(await asked));
		one = await startServer({ data: place });
		assert.deepEqual(await algs(one), ["ES256", "RS256"]);
		assert.ok((await (await fetch(`${one.url}/oauth/jwks`)).json()).keys.some(({ kid }) => kid === kidOf(token)), "the first key is another one");
		await (await connect(one, { token })).close();
		await one.stop();
	});
});

describe("a process that ends", () => {
	test("by kill -9 between the publishing and the use: the next one goes on", async () => {
		const { keys: after } = await server.rpc("key.rotate");
		const next = after.filter(({ state }) => state === "next");
		await server.kill();
		server = await startServer({ data, workers: WORKERS, config, clock: true });
		server.ahead(12 * DAY);
		assert.deepEqual(kids(await inState("next")), kids(next));
		server.ahead(12 * DAY + PUBLISHED + 60);
		await until("they do not sign", async () => (await inState("next")).length === 0);
		assert.deepEqual(kids(await inState("active")), kids(next));
	});

	test("by handing over in the middle of it: tokens of all keys are good, and each algorithm has one that signs", async () => {
		const token = await fresh();
		const rotating = server.rpc("key.rotate", { now: true }).catch(() => {}); // answered, or not any more
		const old = server;
		const next = await old.successor({ clock: true });
		next.ahead(12 * DAY + PUBLISHED + 60);
		await Promise.all([rotating, old.exited()]);
		await old.stop();
		server = next;
		assert.deepEqual((await inState("active")).map(({ alg }) => alg).sort(), ["ES256", "RS256"]);
		assert.deepEqual(await everywhere(token), Array(4 * WORKERS).fill(200));
		assert.deepEqual(await everywhere(await fresh()), Array(4 * WORKERS).fill(200));
	});
});
