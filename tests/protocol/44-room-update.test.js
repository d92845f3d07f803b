// Rooms as they are changed: update, hand-over, archive, delete, roles; and what who is in them hears.
import assert from "node:assert/strict";
import { join } from "node:path";
import test from "node:test";
import { connect } from "../support/client.mjs";
import { onOneAndFourWorkers, post, refused, refusedField } from "../support/rooms.mjs";
import { ownDirectory, startServer } from "../support/server.mjs";

const changes = async (client) => (await client.next("room.updated")).params;

onOneAndFourWorkers({}, (check) => {
	check("a room is changed by who may, kept so, and told to who is in it", async ({ people }) => {
		const [ann, bob, eve] = await people("ann", "bob", "eve");
		const made = await ann.call("room.create", { room: "update", title: "Old", metadata: { a: 1 }, max_members: 9 });
		await bob.call("room.join", { room: "update" });
		await refused(bob.call("room.update", { room: "update", title: "x" }), "forbidden", "not_moderator");
		const wish = { title: "New", max_members: 3, lobby: false, history: { messages: 5 }, visibility: "public" };
		const record = await ann.call("room.update", { room: "update", ...wish });
		assert.deepEqual(
			{ ...record, updated_at: 0 },
			{ ...made, title: "New", max_members: 3, history: { ...made.history, messages: 5 }, member_count: 1, updated_at: 0 },
		);
		assert.ok(record.updated_at >= made.created_at);
		assert.deepEqual(await changes(bob), {
			room: "update",
			changes: { title: "New", max_members: 3, history: { messages: 5, age: 3600, durable: false } },
		});
		assert.deepEqual(await ann.call("room.update", { room: "update", title: "New" }), record); // no change: nothing told
		const plain = await ann.call("room.update", { room: "update", title: null, metadata: null, max_members: null });
		assert.deepEqual([plain.title, plain.metadata, plain.max_members], [null, null, 1000]);
		assert.deepEqual((await changes(bob)).changes, { title: null, max_members: 1000, metadata: null });
		assert.deepEqual(await eve.call("room.get", { room: "update" }), { ...plain, role: "member" });
		await refused(ann.call("room.update", { room: "nowhere", title: "x" }), "not_found", "no_such_room");
		for (const [field, value] of [
			["title", 7],
			["title", "x".repeat(256)],
			["title", "a\u0007"],
			["max_members", 0],
			["max_members", 1001],
			["max_members", "7"],
			["visibility", "secret"],
			["history", { messages: -1 }],
			["history", { age: 31 * 86400 }],
		])
			await refusedField(ann.call("room.update", { room: "update", [field]: value }), field);
		assert.deepEqual(await eve.call("room.get", { room: "update" }), { ...plain, role: "member" });
	});

	check("moderators change what a room is for, its owner whose it is", async ({ people }) => {
		const [ann, mod] = await people("ann", "mod");
		await ann.call("room.create", { room: "shared" });
		await ann.call("room.grant", { room: "shared", user: "mod", role: "moderator" });
		const own = { title: "T", metadata: 1, lobby: true };
		assert.equal((await mod.call("room.update", { room: "shared", ...own })).lobby, true);
		for (const more of [
			{ visibility: "private" },
			{ max_members: 5 },
			{ history: { messages: 1 } },
			{ owner: "mod" },
			{ archived: true },
		])
			await refused(mod.call("room.update", { room: "shared", title: "X", ...more }), "forbidden", "not_owner");
		await refused(mod.call("room.delete", { room: "shared" }), "forbidden", "not_owner");
		assert.equal((await mod.call("room.get", { room: "shared" })).title, "T");
	});

	check("a room is handed over at once, in it too", async ({ people }) => {
		const [ann, bob, eve] = await people("ann", "bob", "eve");
		await ann.call("room.create", { room: "handed" });
		const peers = {};
		for (const client of [ann, bob, eve])
			peers[client.user] = (await client.call("room.join", { room: "handed" })).peer;
		for (const client of [ann, bob]) client.unread.length = 0;
		const record = await ann.call("room.update", { room: "handed", owner: "bob" });
		assert.deepEqual([record.owner, record.role], ["bob", "moderator"]);
		for (const client of [ann, bob, eve]) {
			assert.deepEqual((await changes(client)).changes, { owner: "bob" });
			const told = [await changes(client), await changes(client)].map(({ peer, changes: { role } }) => [peer, role]);
			assert.deepEqual(
				new Map(told),
				new Map([
					[peers.ann, "moderator"],
					[peers.bob, "owner"],
				]),
			);
		}
		await refused(ann.call("room.update", { room: "handed", owner: "ann" }), "forbidden", "not_owner");
		await refused(ann.call("room.grant", { room: "handed", user: "bob", role: "viewer" }), "forbidden", "outranked");
		assert.equal((await bob.call("room.get", { room: "handed" })).role, "owner");
		assert.deepEqual((await bob.call("room.roles", { room: "handed" })).roles, [{ user: "ann", role: "moderator" }]);
	});

	check("who has no role is out when a room becomes private", async ({ people }) => {
		const [ann, bob, eve] = await people("ann", "bob", "eve");
		await ann.call("room.create", { room: "closing" });
		await ann.call("room.grant", { room: "closing", user: "bob", role: "viewer" });
		await bob.call("room.join", { room: "closing" });
		const { peer } = await eve.call("room.join", { room: "closing" });
		await ann.call("room.update", { room: "closing", visibility: "private" });
		for (const client of [bob, eve])
			assert.deepEqual((await client.next("room.left")).params, { room: "closing", peer, reason: "kicked" });
		await refused(eve.call("room.join", { room: "closing" }), "forbidden", "room_private");
		assert.equal((await ann.call("room.get", { room: "closing" })).member_count, 1);
	});

	check("an archived room rests, and comes back as it was", async ({ people, server }) => {
		const [ann, bob] = await people("ann", "bob");
		await ann.call("room.create", { room: "rest" });
		const { peer, epoch } = await bob.call("room.join", { room: "rest" });
		await bob.call("room.publish", { room: "rest", data: "kept" });
		const record = await ann.call("room.update", { room: "rest", archived: true });
		assert.deepEqual([record.archived, record.member_count], [true, 0]);
		assert.deepEqual((await changes(bob)).changes, { archived: true });
		assert.deepEqual((await bob.next("room.left")).params, { room: "rest", peer, reason: "closed" });
		for (const client of [ann, bob]) {
			await refused(client.call("room.join", { room: "rest" }), "forbidden", "room_archived");
			await refused(client.call("room.publish", { room: "rest", data: 1 }), "forbidden", "room_archived");
		}
		await refused(server.rpc("room.publish", { room: "rest", data: 1 }), "forbidden", "room_archived");
		const { messages } = await bob.call("room.history", { room: "rest" });
		assert.deepEqual(messages.map(({ data }) => data), ["kept"]);
		await ann.call("room.update", { room: "rest", archived: false });
		const again = await bob.call("room.join", { room: "rest", since: { epoch, offset: 0 } });
		assert.deepEqual([again.epoch, again.recovered, again.messages.length], [epoch, true, 1]);
	});

	check("a deleted room is gone for everybody, with its roles", async ({ people }) => {
		const [ann, bob] = await people("ann", "bob");
		await ann.call("room.create", { room: "gone", visibility: "private" });
		await ann.call("room.grant", { room: "gone", user: "bob", role: "moderator" });
		const { peer, epoch } = await bob.call("room.join", { room: "gone" });
		// what comes in the same breath finds it gone
		const [, late] = await Promise.allSettled([
			ann.call("room.delete", { room: "gone" }),
			ann.call("room.publish", { room: "gone", data: 1 }),
		]);
		assert.equal(late.reason?.reason, "no_such_room");
		assert.deepEqual((await bob.next("room.left")).params, { room: "gone", peer, reason: "closed" });
		await refused(ann.call("room.get", { room: "gone" }), "not_found", "no_such_room");
		await refused(ann.call("room.delete", { room: "gone" }), "not_found", "no_such_room");
		await bob.call("room.create", { room: "gone" });
		assert.equal((await ann.call("room.get", { room: "gone" })).role, "member");
		assert.notEqual((await ann.call("room.join", { room: "gone" })).epoch, epoch);
		assert.deepEqual((await bob.call("room.roles", { room: "gone" })).roles, []);
	});

	check("roles are given by who stands above, and hold at once", async ({ people }) => {
		const [ann, mod, bob, eve] = await people("ann", "mod", "bob", "eve");
		await ann.call("room.create", { room: "roles", visibility: "private" });
		const grant = (client, user, role) => client.call("room.grant", { room: "roles", user, role });
		assert.deepEqual(await grant(ann, "mod", "moderator"), { room: "roles", user: "mod", role: "moderator" });
		await grant(mod, "bob", "viewer");
		for (const client of [ann, mod, bob]) await client.call("room.join", { room: "roles" });
		await refused(bob.call("room.publish", { room: "roles", data: 1 }), "forbidden", "viewer");
		await grant(mod, "bob", "member");
		for (const client of [ann, mod, bob]) assert.deepEqual((await changes(client)).changes, { role: "member" });
		await bob.call("room.publish", { room: "roles", data: 1 });
		await refused(grant(mod, "eve", "moderator"), "forbidden", "not_owner");
		await refused(grant(mod, "mod", "member"), "forbidden", "outranked");
		await refused(grant(mod, "ann", "member"), "forbidden", "outranked");
		await refused(grant(ann, "ann", "member"), "forbidden", "outranked");
		await refused(grant(bob, "eve", "viewer"), "forbidden", "not_moderator");
		await refused(grant(eve, "eve", "member"), "forbidden", "room_private");
		for (const role of ["owner", "banned", "king"]) await refusedField(grant(ann, "eve", role), "role");
		await refused(bob.call("room.roles", { room: "roles" }), "forbidden", "not_moderator");
		const first = await mod.call("room.roles", { room: "roles", limit: 1 });
		assert.deepEqual(first, { roles: [{ user: "bob", role: "member" }], cursor: "bob" });
		assert.deepEqual(await mod.call("room.roles", { room: "roles", cursor: first.cursor }), {
			roles: [{ user: "mod", role: "moderator" }],
		});
		await grant(mod, "bob", "none");
		for (const client of [ann, bob]) assert.equal((await client.next("room.left")).params.reason, "kicked");
		await refused(bob.call("room.join", { room: "roles" }), "forbidden", "room_private");
		await grant(ann, "bob", "member");
		await bob.call("room.join", { room: "roles" }); // at once: no role is no punishment
	});
});

test("roles and changes outlive the process; an account is found by its name in any case", async (t) => {
	const data = join(ownDirectory(), "d");
	const before = await startServer({ data });
	await before.addUser("Cat");
	const ann = await connect(before, { user: "ann" });
	await connect(before, { user: "bob" });
	await ann.call("room.create", { room: "r", visibility: "private" });
	await ann.call("room.grant", { room: "r", user: "bob", role: "moderator" });
	assert.equal((await ann.call("room.grant", { room: "r", user: "cAT", role: "member" })).user, "Cat");
	await ann.call("room.grant", { room: "r", user: "acme|7", role: "viewer" });
	await ann.call("room.update", { room: "r", owner: "BOB", history: { durable: true }, archived: true });
	await before.stop();
	const after = await startServer({ t, data });
	const bob = await connect(after, { user: "bob" });
	const record = await bob.call("room.get", { room: "r" });
	assert.deepEqual(
		[record.owner, record.role, record.archived, record.history.durable],
		["bob", "owner", true, true],
	);
	assert.deepEqual((await bob.call("room.roles", { room: "r" })).roles, [
		{ user: "Cat", role: "member" },
		{ user: "acme|7", role: "viewer" },
		{ user: "ann", role: "moderator" },
	]);
});

test("an ephemeral room is changed while it is there, by its moderators", async (t) => {
	const room_templates = [{ names: ["desk-*"], maker_role: "owner" }];
	const server = await startServer({ t, config: { room_templates } });
	const [ann, bob] = [await connect(server, { user: "ann" }), await connect(server, { user: "bob" })];
	await ann.call("room.join", { room: "desk-1" });
	const { peer } = await bob.call("room.join", { room: "desk-1" });
	const record = await ann.call("room.update", { room: "desk-1", title: "Desk", visibility: "private", max_members: 2 });
	assert.deepEqual([record.title, record.visibility, record.max_members, record.persistent], ["Desk", "private", 2, false]);
	assert.deepEqual((await bob.next("room.left")).params, { room: "desk-1", peer, reason: "kicked" });
	for (const more of [{ archived: true }, { history: { durable: true } }])
		await refused(ann.call("room.update", { room: "desk-1", ...more }), "conflict", "room_not_kept");
	await ann.call("room.grant", { room: "desk-1", user: "bob", role: "member" });
	await bob.call("room.join", { room: "desk-1" });
	assert.deepEqual((await ann.call("room.roles", { room: "desk-1" })).roles, [{ user: "bob", role: "member" }]);
	await ann.call("room.delete", { room: "desk-1" });
	for (const client of [ann, bob]) assert.equal((await client.next((m) => m.params?.reason === "closed")).method, "room.left");
	await refused(bob.call("room.get", { room: "desk-1" }), "not_found", "no_such_room");
});

test("what is done to rooms is in the audit, and a backend may do it", async (t) => {
	const server = await startServer({ t });
	const token = await server.mint("ann");
	await post(server, token, "room.create", { room: "r" });
	await post(server, token, "room.grant", { room: "r", user: "bob", role: "member" });
	await post(server, token, "room.update", { room: "r", owner: "bob" });
	await post(server, await server.mint("root", { scope: "rooms:join admin" }), "room.delete", { room: "r" });
	// entries come behind the answers that they are about: nobody waits for them
	const rows = async () =>
		(await server.rpc("audit.list")).entries
			.filter(({ action }) => action.startsWith("room."))
			.map(({ action, actor, user, detail }) => [action, actor, user, detail])
			.sort();
	const wanted = [
		["room.delete", "root", "", "room=r"],
		["room.grant", "ann", "bob", "room=r role=member"],
		["room.update", "ann", "bob", "room=r owner"],
	];
	for (const end = Date.now() + 5000; Date.now() < end && (await rows()).length < wanted.length; );
	assert.deepEqual(await rows(), wanted);
});
