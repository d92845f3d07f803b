// The lobby: who has no role knocks, moderators let in or turn away, and nobody gets past them.
import assert from "node:assert/strict";
import test from "node:test";
import { connect } from "../support/client.mjs";
import { caughtUp, onOneAndFourWorkers, refused } from "../support/rooms.mjs";
import { anyPace, startServer } from "../support/server.mjs";

const KNOCKS_MAX = 100;
const templates = [{ names: ["brief-*"], lobby: true, maker_role: "owner" }];
const config = { room_templates: templates };
let rooms = 0;

/** A room with a lobby and its owner in it. */
async function lobbied(ann, kind = "kept", more = {}) {
	const room = `${kind}-${++rooms}`;
	if (kind === "kept") await ann.call("room.create", { room, lobby: true, ...more });
	await ann.call("room.join", { room });
	return room;
}

const params = async (client, method) => (await client.next(method)).params;

onOneAndFourWorkers({ config }, (test) => {
	for (const kind of ["kept", "brief"])
		test(`who knocks and is let in joins, now and later (${kind})`, async ({ server, people }) => {
			const [ann, bob, tab] = await people("ann", "bob", "bob");
			const room = await lobbied(ann, kind);
			await refused(bob.call("room.join", { room }), "forbidden", "lobby");
			for (const method of ["room.presence", "room.history"])
				await refused(bob.call(method, { room }), "forbidden", "lobby");
			assert.deepEqual([(await bob.call("room.get", { room })).role, (await bob.call("room.get", { room })).lobby], ["none", true]);
			await refused(bob.call("room.publish", { room, data: 1 }), "forbidden", "not_a_member");

			const { knock } = await bob.call("room.knock", { room, message: "it's me é" });
			const told = await params(ann, "room.knocked");
			const { time, ...rest } = told;
			assert.deepEqual(rest, { room, knock, user: "bob", name: "bob", message: "it's me é" });
			assert.ok(Math.abs(time - Date.now()) < 60_000);
			assert.deepEqual(await bob.call("room.knock", { room, message: "again" }), { knock });
			const other = await tab.call("room.knock", { room });
			assert.equal((await params(ann, "room.knocked")).message, null);
			const { knocks } = await ann.call("room.knocks", { room });
			assert.deepEqual(knocks.map((one) => one.knock), [knock, other.knock]);
			await refused(bob.call("room.knocks", { room }), "forbidden", "not_moderator");
			await refused(bob.call("room.admit", { room, knock }), "forbidden", "not_moderator");
			await refused(ann.call("room.admit", { room, knock: "none" }), "not_found", "no_such_knock");

			assert.deepEqual(await ann.call("room.admit", { room, knock }), { user: "bob" });
			for (const client of [bob, tab]) assert.deepEqual(await params(client, "room.admitted"), { room });
			const ended = [await params(ann, "room.knock_ended"), await params(ann, "room.knock_ended")];
			assert.deepEqual(ended, [knock, other.knock].map((one) => ({ room, knock: one, reason: "admitted" })));
			assert.equal((await bob.call("room.join", { room })).role, "member");
			await refused(tab.call("room.knock", { room }), "conflict", "no_need_to_knock");
			await bob.call("room.leave", { room });
			await bob.call("room.join", { room });
			// a kick takes it away
			await ann.call("room.kick", { room, user: "bob" });
			await refused(tab.call("room.knock", { room }), "forbidden", "kicked");
			assert.deepEqual((await ann.call("room.knocks", { room })).knocks, []);
			await refused(ann.call("room.knock", { room }), "conflict", "no_need_to_knock");
		});

	test("who is turned away waits a minute, and others do not", async ({ people }) => {
		const [ann, bob, cat] = await people("ann", "bob", "cat");
		const room = await lobbied(ann);
		const { knock } = await bob.call("room.knock", { room });
		await cat.call("room.knock", { room });
		assert.deepEqual(await ann.call("room.deny", { room, knock }), { user: "bob" });
		assert.deepEqual(await params(bob, "room.denied"), { room, reason: "denied" });
		assert.deepEqual(await params(ann, "room.knock_ended"), { room, knock, reason: "denied" });
		const error = await bob.call("room.knock", { room }).catch((problem) => problem);
		assert.equal(error.reason, "knock_denied");
		assert.ok(error.data.retry_after > 50 && error.data.retry_after <= 60);
		await refused(bob.call("room.join", { room }), "forbidden", "lobby");
		assert.equal((await ann.call("room.knocks", { room })).knocks.length, 1);
	});

	test("who leaves does not knock any more", async ({ server, people }) => {
		const [ann, bob] = await people("ann", "bob");
		const room = await lobbied(ann);
		const { knock } = await bob.call("room.knock", { room });
		await ann.next("room.knocked");
		await bob.close();
		assert.deepEqual(await params(ann, "room.knock_ended"), { room, knock, reason: "gone" });
		await refused(ann.call("room.admit", { room, knock }), "not_found", "no_such_knock");
	});

	test("a role is let in without knocking, and remembering gives one", async ({ people }) => {
		const [ann, bob, cat] = await people("ann", "bob", "cat");
		const room = await lobbied(ann, "kept", { visibility: "private" });
		// a private room with a lobby can be knocked at, and says nothing else of itself
		await refused(bob.call("room.get", { room }), "forbidden", "room_private");
		await refused(bob.call("room.join", { room }), "forbidden", "lobby");
		const { knock } = await bob.call("room.knock", { room });
		await ann.call("room.admit", { room, knock, remember: true });
		await bob.next("room.admitted");
		await bob.call("room.join", { room });
		assert.deepEqual((await ann.call("room.roles", { room })).roles, [{ user: "bob", role: "member" }]);
		await ann.call("room.grant", { room, user: "cat", role: "viewer" });
		assert.equal((await cat.call("room.join", { room })).role, "viewer");
		// what was given is taken
		await ann.call("room.grant", { room, user: "bob", role: "none" });
		assert.equal((await params(bob, "room.left")).reason, "kicked");
		await refused(bob.call("room.join", { room }), "forbidden", "lobby");
	});

	test("a lobby that opens keeps who is in, one that closes lets nobody wait", async ({ people }) => {
		const [ann, bob, cat] = await people("ann", "bob", "cat");
		const room = await lobbied(ann, "kept", { lobby: false });
		await bob.call("room.join", { room });
		await refused(cat.call("room.knock", { room }), "conflict", "no_need_to_knock");
		await ann.call("room.update", { room, lobby: true });
		await bob.call("room.publish", { room, data: 1 });
		await bob.call("room.leave", { room });
		await bob.call("room.join", { room });
		await cat.call("room.knock", { room });
		await ann.call("room.update", { room, lobby: false });
		assert.deepEqual(await params(cat, "room.denied"), { room, reason: "closed" });
		await cat.call("room.join", { room });
	});

	test("who waits at a room that ends is told", async ({ people }) => {
		const [ann, bob] = await people("ann", "bob");
		for (const kind of ["kept", "brief"]) {
			const room = await lobbied(ann, kind);
			await bob.call("room.knock", { room });
			await (kind === "kept" ? ann.call("room.delete", { room }) : ann.call("room.leave", { room }));
			assert.deepEqual(await params(bob, "room.denied"), { room, reason: "closed" });
		}
		// and at one that is empty waits for a moderator to come
		const room = await lobbied(ann);
		await ann.call("room.leave", { room });
		const { knock } = await bob.call("room.knock", { room });
		await ann.call("room.join", { room });
		assert.equal((await ann.call("room.knocks", { room })).knocks[0].knock, knock);
	});

	test("who is put out or given a role meanwhile does not knock any more", async ({ people }) => {
		const [ann, bob, cat, dan] = await people("ann", "bob", "cat", "dan");
		const room = await lobbied(ann);
		for (const client of [bob, cat, dan]) client.knock = (await client.call("room.knock", { room })).knock;
		await ann.call("room.ban", { room, user: "bob" });
		await ann.call("room.kick", { room, user: "cat" });
		await ann.call("room.grant", { room, user: "dan", role: "moderator" });
		for (const client of [bob, cat]) assert.deepEqual(await params(client, "room.denied"), { room, reason: "denied" });
		assert.deepEqual(await params(dan, "room.admitted"), { room });
		for (const [{ knock }, reason] of [[bob, "denied"], [cat, "denied"], [dan, "admitted"]])
			assert.deepEqual(await params(ann, "room.knock_ended"), { room, knock, reason });
		assert.deepEqual((await ann.call("room.knocks", { room })).knocks, []);
		await refused(ann.call("room.admit", { room, knock: bob.knock, remember: true }), "not_found", "no_such_knock");
		assert.equal((await dan.call("room.join", { room })).role, "moderator");
	});

	test("a ban, a lock and a room without a lobby are no doors", async ({ people }) => {
		const [ann, bob] = await people("ann", "bob");
		const room = await lobbied(ann);
		await ann.call("room.ban", { room, user: "bob" });
		await refused(bob.call("room.knock", { room }), "forbidden", "banned");
		await refused(bob.call("room.knock", { room: "nowhere" }), "not_found", "no_such_room");
		await ann.call("room.create", { room: `${room}-private`, visibility: "private" });
		await refused(bob.call("room.knock", { room: `${room}-private` }), "forbidden", "room_private");
	});
});

test("so many knock at a room, and not more", async (t) => {
	const server = await startServer({ t, workers: 2, config: { limits: { ...anyPace, sessions_per_user: 0, connections_per_address: 0, handshakes_per_second: 0, unopened_per_address: 0 } } });
	const ann = await connect(server, { user: "ann" });
	await ann.call("room.create", { room: "r", lobby: true });
	const token = await server.mint("bob");
	const crowd = await Promise.all(Array.from({ length: KNOCKS_MAX + 1 }, () => connect(server, { token })));
	for (const client of crowd.slice(1)) await client.call("room.knock", { room: "r", message: '"'.repeat(500) });
	await refused(crowd[0].call("room.knock", { room: "r" }), "full", "too_many_knocks", { limit: KNOCKS_MAX });
	const { knocks } = await ann.call("room.knocks", { room: "r" });
	assert.equal(knocks.length, KNOCKS_MAX);
	await crowd[1].close();
	await ann.call("room.join", { room: "r" });
	// one device is let in, and with it all
	const rest = (await ann.call("room.knocks", { room: "r" })).knocks;
	await ann.call("room.admit", { room: "r", knock: rest[0].knock });
	for (const client of crowd.slice(2)) await client.next("room.admitted");
	assert.deepEqual((await ann.call("room.knocks", { room: "r" })).knocks, []);
});

test("who knocks goes on knocking when the service restarts, and who was let in still is", async (t) => {
	const before = await startServer({ workers: 2, config });
	const ann = await connect(before, { user: "ann" });
	const bob = await connect(before, { user: "bob" });
	const cat = await connect(before, { user: "cat" });
	const dan = await connect(before, { user: "dan" });
	const made = [];
	for (const room of ["brief-1", "kept"]) {
		if (room === "kept") await ann.call("room.create", { room, lobby: true });
		await ann.call("room.join", { room });
		made.push((await bob.call("room.knock", { room, message: "hi" })).knock);
		const { knock } = await cat.call("room.knock", { room });
		await ann.call("room.admit", { room, knock });
		await ann.call("room.deny", { room, knock: (await dan.call("room.knock", { room })).knock });
	}
	await cat.next("room.admitted");
	await cat.next("room.admitted");
	const resume = new Map([ann, bob].map(({ user, id, received }) => [user, { session: id, received }]));
	const server = await before.successor({ workers: 3 });
	t.after(() => server.stop());
	assert.equal((await before.exited()).code, 0);
	const [annBack, bobBack] = await Promise.all(
		["ann", "bob"].map(async (user) => {
			const client = await connect(server, { open: false });
			await client.call("session.open", { token: await server.mint(user), resume: resume.get(user) });
			return client;
		}),
	);
	const catBack = await connect(server, { user: "cat" });
	const danBack = await connect(server, { user: "dan" });
	for (const [i, room] of ["brief-1", "kept"].entries()) {
		const { knocks } = await annBack.call("room.knocks", { room });
		assert.deepEqual(knocks.map(({ knock, user, message }) => [knock, user, message]), [[made[i], "bob", "hi"]]);
		await annBack.call("room.admit", { room, knock: made[i] });
		assert.deepEqual(await params(bobBack, "room.admitted"), { room });
		for (const client of [bobBack, catBack]) await client.call("room.join", { room });
		await refused(danBack.call("room.knock", { room }), "forbidden", "knock_denied");
	}
	await caughtUp(server, "kept", annBack, bobBack);
});
