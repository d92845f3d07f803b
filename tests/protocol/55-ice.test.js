// STUN and TURN servers: of which region, and new credentials before the old ones run out.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import test from "node:test";
import { ResumingClient } from "../support/resuming.mjs";
import { onOneAndFourWorkers, post, refusedField } from "../support/rooms.mjs";
import { startServer } from "../support/server.mjs";

const LIFE = 10; // seconds, the shortest there is
const ice_servers = [
	{ urls: ["stun:all.test"] },
	{ urls: ["turn:eu1.test"], secret: "eu", region: "eu" },
	{ urls: ["turn:us1.test"], secret: "us", region: "us" },
	{ urls: ["turn:eu2.test"], username: "fixed", credential: "same", region: "eu" },
	{ urls: ["turn:any.test"], secret: "any" },
];
const config = { ice: { credential_lifetime: `${LIFE}s` }, ice_servers };
const SECRETS = Object.fromEntries(ice_servers.map(({ urls, secret }) => [urls[0], secret]));
const hosts = (servers) => servers.map(({ urls }) => urls[0].split(/[:.]/)[1]);

/** Each that is made with a secret is the user's, good until expires, and coturn would take it. */
function assertCredentials(servers, user, expires) {
	for (const { urls, username, credential } of servers) {
		const secret = SECRETS[urls[0]];
		if (!secret) continue;
		const [expiry, name] = username.split(":");
		assert.equal(name, user);
		if (expires) assert.equal(Number(expiry), expires);
		assert.equal(credential, createHmac("sha1", secret).update(username).digest("base64"));
	}
}

onOneAndFourWorkers({ config }, (test) => {
	test("servers of a region come first, then those of none; of an unknown one all", async ({ people, server }) => {
		const [ann] = await people("ann");
		const expected = [
			[{}, ["all", "eu1", "us1", "eu2", "any"]],
			[{ region: "eu" }, ["eu1", "eu2", "all", "any"]],
			[{ region: "us" }, ["us1", "all", "any"]],
			[{ region: "moon" }, ["all", "eu1", "us1", "eu2", "any"]],
		];
		const token = await server.mint("ann");
		for (const [region, names] of expected) {
			const { ice_servers: told, expires_at } = await ann.call("ice.servers", region);
			assert.deepEqual(hosts(told), names);
			assertCredentials(told, "ann", expires_at);
			assert.deepEqual(hosts((await ann.call("room.join", { room: "r", ...region })).ice_servers), names);
			assert.deepEqual(hosts((await post(server, token, "ice.servers", region)).ice_servers), names);
		}
		for (const region of ["", "r".repeat(33), 1]) {
			await refusedField(ann.call("ice.servers", { region }), "region");
			await refusedField(ann.call("room.join", { room: "r", region }), "region");
		}
	});
});

test("who is in a room is told new credentials in time, also by the process that comes after; nobody else is", async (t) => {
	const own = { ...config, session: { drain_spread: "100ms" } };
	let server = await startServer({ t, workers: 4, config: own });
	const client = async (user, options) => {
		const made = new ResumingClient(server, await server.mint(user), { ...options, heard: (message) => {
			if (message.method === "ice.changed") made.changed.push({ at: Date.now(), ...message.params });
			else if (message.id !== undefined) made.answers.set(message.id, message);
		} });
		made.changed = [];
		await made.connect(null);
		return made;
	};
	const several = await Promise.all(Array.from({ length: 8 }, (_, i) => client(`user${i}`)));
	const began = Date.now();
	for (const [i, each] of several.entries())
		for (const room of ["one", "two"].slice(i % 2)) await each.call("room.join", { room, ...(i < 4 && { region: "us" }) });
	const [left, looks, quiet] = [await client("left"), await client("looks"), await client("quiet")];
	await left.call("room.join", { room: "one" });
	await left.call("room.leave", { room: "one" });
	await looks.call("ice.servers", {});
	const all = [...several, left, looks, quiet];
	const joined = Date.now();
	// what is due is due in the next process, too
	const next = server.successor({ workers: 2 });
	await Promise.all(all.map((each) => each.closed));
	server = await next;
	for (const each of all) assert.equal((await each.connect()).resumed, true);
	await Promise.all(several.map((each) => each.until(() => each.changed.length === 1, "ice.changed")));
	const times = several.map(({ changed }) => changed[0].at).sort((a, b) => a - b);
	t.diagnostic(`told after ${times.map((at) => at - joined)} ms`);
	for (const at of times) assert.ok(at >= began + LIFE * 750 && at < joined + LIFE * 1000);
	assert.ok(times.at(-1) - times[0] > 100, "all at once");
	for (const [i, { changed: [{ ice_servers: told, expires_at, at }] }] of several.entries()) {
		assert.deepEqual(hosts(told), i < 4 ? ["us1", "all", "any"] : ["all", "eu1", "us1", "eu2", "any"]);
		assertCredentials(told, `user${i}`, expires_at);
		assert.ok(Math.abs(expires_at * 1000 - at - LIFE * 1000) < 2000);
	}
	for (const each of [left, looks, quiet]) assert.deepEqual(each.changed, []);
	assert.equal((await server.metrics()).signalbox_ice_renewed_total, several.length);
});
