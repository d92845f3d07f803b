// Rooms that are kept: what the store says of roles and locks, what a restart leaves, and that
// nothing that was acknowledged is ever lost.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import test from "node:test";
import { connect } from "../support/client.mjs";
import { refused } from "../support/rooms.mjs";
import { ownDirectory, startServer } from "../support/server.mjs";

const ROUNDS = 20;

/** Writes into the data directory of a server that is stopped. */
function sqlite(data, sql) {
	return execFileSync("sqlite3", ["-bail", join(data, "signalbox.db"), sql], { encoding: "utf8" }).trim();
}

const grant = (room, user, role) =>
	`INSERT INTO room_roles SELECT id, '${user}', '${role}' FROM rooms WHERE name = '${room}';`;
const ban = (room, user) =>
	`INSERT INTO room_bans SELECT id, '${user}', '', '', 0, NULL FROM rooms WHERE name = '${room}';`;

/** Two runs on one data directory, and what is done to it between them. */
async function twoRuns(t, { first, between, workers = 4, config, killed }) {
	const data = join(ownDirectory(), "d");
	const before = await startServer({ workers, data });
	await first(before);
	await (killed ? before.kill() : before.stop());
	if (between) sqlite(data, between);
	return startServer({ t, workers, data, config });
}

test("a crash leaves rooms as they were, with another epoch, and ephemeral ones gone", async (t) => {
	const metadata = '{ "n" :1.10, "n":1e400, "s":"\\ud800\\u0000" }';
	let made, epoch;
	const server = await twoRuns(t, {
		killed: true,
		async first(before) {
			const ann = await connect(before, { user: "ann" });
			const bob = await connect(before, { user: "bob" });
			made = await ann.call("room.create", { room: "kept", title: "Kept", visibility: "private", max_members: 3 });
			const { request, answer } = ann.request("room.create");
			ann.raw(`{"jsonrpc":"2.0","id":${request.id},"method":"room.create","params":{"room":"raw","metadata":${metadata}}}`);
			await answer;
			await bob.call("room.join", { room: "brief" });
			({ epoch } = await bob.call("room.join", { room: "raw" }));
			await bob.call("room.publish", { room: "raw", data: 1 });
		},
	});
	const ann = await connect(server, { user: "ann" });
	assert.deepEqual(await ann.call("room.get", { room: "kept" }), made);
	await ann.call("room.get", { room: "raw" });
	assert.ok(ann.frames.at(-1).includes(`"metadata":${metadata},`), ann.frames.at(-1));
	await refused(ann.call("room.get", { room: "brief" }), "not_found", "no_such_room");
	await refused(ann.call("room.create", { room: "kept" }), "conflict", "room_exists");
	const joined = await ann.call("room.join", { room: "raw", since: { epoch, offset: 0 } });
	assert.notEqual(joined.epoch, epoch);
	assert.deepEqual([joined.offset, joined.recovered, joined.messages, joined.members], [0, false, [], []]);
});

test("a viewer receives and sees, but neither signals nor publishes", async (t) => {
	const server = await twoRuns(t, {
		first: (before) => before.rpc("room.create", { room: "show" }),
		between: grant("show", "eve", "viewer"),
	});
	const ann = await connect(server, { user: "ann" });
	const eve = await connect(server, { user: "eve" });
	const device = await connect(server, { user: "eve" });
	const { peer } = await ann.call("room.join", { room: "show" });
	const joined = await eve.call("room.join", { room: "show", state: "watching" });
	assert.deepEqual([joined.role, joined.members.length], ["viewer", 1]);
	const { members } = (await ann.next("room.joined")).params;
	assert.deepEqual([members[0].role, members[0].state], ["viewer", "watching"]);
	assert.equal((await eve.call("room.get", { room: "show" })).role, "viewer");

	for (const to of [{ peer }, { user: "ann" }, "room"])
		await refused(
			eve.call("signal.send", { room: "show", to, type: "offer", data: 1 }),
			"forbidden",
			"viewer",
		);
	await refused(eve.call("room.publish", { room: "show", data: 1 }), "forbidden", "viewer");
	// not by another device that is not in the room, either
	await refused(device.call("room.publish", { room: "show", data: 1 }), "forbidden", "viewer");

	await ann.call("signal.send", { room: "show", to: { peer: joined.peer }, type: "offer", data: 1 });
	await eve.next("signal.received");
	await ann.call("room.publish", { room: "show", data: 1 });
	await eve.next("room.message");
	await eve.call("room.state", { room: "show", state: "hand" });
	assert.equal((await ann.next("room.updated")).params.changes.state, "hand");
	assert.equal((await eve.call("room.presence", { room: "show" })).members.length, 1);
});

test("who is banned sees nothing of the room, whatever the token allows", async (t) => {
	const server = await twoRuns(t, {
		async first(before) {
			for (const room of ["open", "owned"]) await before.rpc("room.create", { room });
			const eve = await connect(before, { user: "eve" });
			await eve.call("room.create", { room: "eve's" });
		},
		between: ban("open", "eve") + ban("open", "mod") + grant("owned", "eve", "viewer"),
	});
	const eve = await connect(server, { user: "eve" });
	const mod = await connect(server, { user: "mod", scope: "rooms:join rooms:moderate admin" });
	const calls = [
		["room.get"],
		["room.join"],
		["room.presence"],
		["room.publish", { data: 1 }],
	];
	for (const client of [eve, mod])
		for (const [method, more] of calls)
			await refused(client.call(method, { room: "open", ...more }), "forbidden", "banned");
	await refused(
		eve.call("signal.send", { room: "open", to: "room", type: "a", data: 1 }),
		"forbidden",
		"not_a_member",
	);
	assert.deepEqual((await eve.call("room.list")).rooms.map(({ room }) => room).sort(), ["eve's", "owned"]);
	assert.deepEqual((await mod.call("room.list")).rooms.map(({ room }) => room).sort(), ["eve's", "owned"]);
});

test("a role opens a private room", async (t) => {
	const server = await twoRuns(t, {
		first: (before) => before.rpc("room.create", { room: "club", visibility: "private" }),
		between: grant("club", "ann", "member") + grant("club", "mod", "moderator"),
	});
	for (const [user, role] of [["ann", "member"], ["mod", "moderator"]]) {
		const client = await connect(server, { user });
		const { rooms } = await client.call("room.list");
		assert.deepEqual(rooms.map(({ room, ...rest }) => [room, rest.role]), [["club", role]]);
		assert.equal((await client.call("room.join", { room: "club" })).role, role);
	}
	const bob = await connect(server, { user: "bob" });
	await refused(bob.call("room.join", { room: "club" }), "forbidden", "room_private");
});

test("a locked room lets moderators in and keeps who is in", async (t) => {
	const server = await twoRuns(t, {
		async first(before) {
			const ann = await connect(before, { user: "ann" });
			await ann.call("room.create", { room: "locked" });
		},
		between: `UPDATE rooms SET locked = 1; ${grant("locked", "mod", "moderator")} ${grant("locked", "cat", "member")}`,
	});
	const [ann, mod, cat, bob] = await Promise.all(
		["ann", "mod", "cat", "bob"].map((user) => connect(server, { user })),
	);
	for (const client of [cat, bob])
		await refused(client.call("room.join", { room: "locked" }), "forbidden", "room_locked");
	await refused(
		(await connect(server, { user: "bob" })).call("room.join", { room: "locked" }),
		"forbidden",
		"room_locked",
	);
	assert.equal((await bob.call("room.get", { room: "locked" })).locked, true);
	assert.deepEqual((await bob.call("room.presence", { room: "locked" })).members, []);
	assert.equal((await ann.call("room.join", { room: "locked" })).role, "owner");
	const { peer } = await mod.call("room.join", { room: "locked" });
	assert.equal((await mod.call("room.join", { room: "locked" })).peer, peer);
});

test("a room's limit in the store holds; one above the server's own does not", async (t) => {
	const server = await twoRuns(t, {
		async first(before) {
			await before.rpc("room.create", { room: "one" });
			await before.rpc("room.create", { room: "vast" });
		},
		between: "UPDATE rooms SET max_members = 1 WHERE name = 'one'; UPDATE rooms SET max_members = 5000 WHERE name = 'vast';",
		config: { limits: { members_per_room: 2 } },
	});
	const people = await Promise.all(["ann", "bob", "cat"].map((user) => connect(server, { user })));
	await people[0].call("room.join", { room: "one" });
	await refused(people[1].call("room.join", { room: "one" }), "full", "room_full", { limit: 1 });
	for (const client of people.slice(0, 2)) await client.call("room.join", { room: "vast" });
	await refused(people[2].call("room.join", { room: "vast" }), "full", "room_full", { limit: 2 });
	assert.equal((await people[0].call("room.get", { room: "vast" })).max_members, 2);
});

test("ephemeral rooms are as the configuration says: of some names, or none", async (t) => {
	const some = await startServer({ t, config: { rooms: { ephemeral_names: ["call-*", "lobby"] } } });
	const none = await startServer({ t, config: { rooms: { ephemeral: false } } });
	const ann = await connect(some, { user: "ann" });
	for (const room of ["call-1", "lobby", "call-"]) await ann.call("room.join", { room });
	for (const room of ["lobby2", "recall-1", "x"])
		await refused(ann.call("room.join", { room }), "not_found", "no_such_room");
	const bob = await connect(none, { user: "bob" });
	await refused(bob.call("room.join", { room: "x" }), "not_found", "no_such_room");
	await bob.call("room.create", { room: "x" });
	await bob.call("room.join", { room: "x" });
});

test("kill -9 at any moment loses no room whose creation was acknowledged", async (t) => {
	const data = join(ownDirectory(), "d");
	const made = [];
	let unanswered = 0;
	let server;
	t.after(() => server.stop()); // the one that runs when it is over
	for (let round = 0; round <= ROUNDS; round++) {
		server = await startServer({ data, workers: round % 2 ? 4 : 1 });
		// what the rounds before were told, and of what they were not told, nothing half
		const missing = [];
		for (const room of made) await server.rpc("room.get", { room }).catch(() => missing.push(room));
		assert.deepEqual(missing, []);
		if (round === ROUNDS) break;
		let acknowledged = 0;
		const wanted = Math.floor(Math.random() * 12); // so many answers, and then at once
		const enough = Promise.withResolvers();
		if (wanted === 0) enough.resolve();
		const asked = Array.from({ length: 24 }, (_, i) => {
			const room = `${round}-${i}`;
			return server.rpc("room.create", { room }).then(
				() => {
					made.push(room);
					if (++acknowledged === wanted) enough.resolve();
				},
				() => unanswered++,
			);
		});
		await enough.promise;
		await server.kill();
		await Promise.all(asked);
	}
	assert.equal(sqlite(data, "PRAGMA integrity_check"), "ok");
	assert.ok(made.length > ROUNDS && unanswered > 0, `${made.length} answered, ${unanswered} not`);
	t.diagnostic(`${made.length} answered, ${unanswered} not`);
});

test("a room gives at most 10,000 roles, in whatever way", async (t) => {
	const ROLES_MAX = 10_000;
	let token;
	const server = await twoRuns(t, {
		async first(before) {
			const ann = await connect(before, { user: "ann" });
			await ann.call("room.create", { room: "large", lobby: true });
			({ token } = await ann.call("room.invite", { room: "large", uses: 9 }));
		},
		between: `INSERT INTO room_roles WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROLES_MAX})
			SELECT id, 'user' || i, 'member' FROM rooms, n;`,
	});
	const [ann, bob, one] = await Promise.all(["ann", "bob", "user1"].map((user) => connect(server, { user })));
	await ann.call("room.join", { room: "large" });
	const full = (call) => refused(call, "full", "too_many_roles", { limit: ROLES_MAX });
	await full(ann.call("room.grant", { room: "large", user: "bob", role: "viewer" }));
	await full(bob.call("invitation.accept", { token }));
	assert.deepEqual(await one.call("invitation.accept", { token }), { room: "large", role: "member" });
	const { knock } = await bob.call("room.knock", { room: "large" });
	await full(ann.call("room.admit", { room: "large", knock, remember: true }));
	await ann.call("room.admit", { room: "large", knock });
	await bob.call("room.join", { room: "large" });
});
