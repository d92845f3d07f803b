// Rooms: made, found, joined, left; who may, who sees whom, and how many fit.
import assert from "node:assert/strict";
import { caughtUp, onOneAndFourWorkers, post, refused, refusedField, workerOf } from "../support/rooms.mjs";

const ROOMS_PER_SESSION = 4;
const MEMBERS_PER_ROOM = 32;
const config = {
	limits: { rooms_per_session: ROOMS_PER_SESSION, members_per_room: MEMBERS_PER_ROOM },
};
const USUAL = "rooms:join rooms:create";
const only = (user, ...rooms) => ({ user, scope: USUAL, claim: { signalbox: { rooms } } });

onOneAndFourWorkers({ config }, (test) => {
	// ---- records ----

	test("a room that is made is answered whole, and is the same for who asks later", async ({ people }) => {
		const [ann, bob] = await people("ann", "bob");
		const before = Math.floor(Date.now() / 1000); // time() may be a tick behind
		const made = await ann.call("room.create", {
			room: "made é\u{1f600}",
			title: "Made",
			visibility: "public",
			max_members: 7,
			metadata: { topic: "x" },
		});
		const { created_at, updated_at, ...rest } = made;
		assert.equal(updated_at, created_at);
		assert.ok(created_at >= before - 1 && created_at <= before + 60);
		assert.deepEqual(rest, {
			room: "made é\u{1f600}",
			title: "Made",
			owner: "ann",
			visibility: "public",
			max_members: 7,
			locked: false,
			lobby: false,
			archived: false,
			metadata: { topic: "x" },
			history: { messages: 100, age: 3600, durable: false },
			persistent: true,
			role: "owner",
			member_count: 0,
		});
		await bob.call("room.join", { room: made.room });
		const got = await bob.call("room.get", { room: made.room });
		assert.deepEqual(got, { ...made, role: "member", member_count: 1 });
		const plain = await bob.call("room.create", { room: "plain" });
		assert.deepEqual(
			[plain.title, plain.metadata, plain.max_members, plain.visibility, plain.owner],
			[null, null, MEMBERS_PER_ROOM, "public", "bob"],
		);
	});

	test("a name is taken once, whoever asks and however many ask at once", async ({ people }) => {
		const [ann, bob] = await people("ann", "bob");
		const asked = [ann, bob, ann, bob].map((client) => client.call("room.create", { room: "taken" }));
		const outcomes = await Promise.allSettled(asked);
		assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 1);
		for (const { reason } of outcomes.filter(({ status }) => status === "rejected"))
			assert.deepEqual([reason.code, reason.reason], [-32009, "room_exists"]);
		await refused(bob.call("room.create", { room: "taken" }), "conflict", "room_exists");
		await ann.call("room.join", { room: "not stored" });
		await refused(bob.call("room.create", { room: "not stored" }), "conflict", "room_exists");
	});

	test("names are 1 to 255 bytes without control characters", async ({ people }) => {
		const [ann] = await people("ann");
		for (const room of ["", "x".repeat(256), `${"é".repeat(127)}xx`, "a\nb", "a\u007fb", "a\u0085b", "a\0b"])
			for (const method of ["room.create", "room.join", "room.get"])
				await refusedField(ann.call(method, { room }), "room");
		for (const room of ["x".repeat(255), `${"é".repeat(127)}x`, " ", "a/b", "*", '"\\'])
			assert.equal((await ann.call("room.create", { room })).room, room);
		await refusedField(ann.call("room.create", { room: 7 }), "room");
		await refusedField(ann.call("room.create", {}), "room");
	});

	test("what a room cannot be is refused by its field", async ({ people }) => {
		const [ann] = await people("ann");
		const create = (more) => ann.call("room.create", { room: "never", ...more });
		for (const visibility of ["", "secret", "Public"]) await refusedField(create({ visibility }), "visibility");
		for (const max_members of [0, -1, 1.5, "7"]) await refusedField(create({ max_members }), "max_members");
		await refused(create({ max_members: MEMBERS_PER_ROOM + 1 }), "invalid_params", "invalid_params", {
			field: "max_members",
			limit: MEMBERS_PER_ROOM,
		});
		await refusedField(create({ title: "x".repeat(256) }), "title");
		await refusedField(create({ owner: "bob" }), "owner");
		const metadata = "x".repeat(16 * 1024 - 2);
		await refused(create({ metadata: `${metadata}x` }), "too_large", "too_large", {
			field: "metadata",
			limit: 16 * 1024,
		});
		assert.equal((await create({ metadata })).metadata, metadata);
	});

	test("scopes and the token's own rooms stand before everything", async ({ people }) => {
		const [ann, may, not] = await people(
			"ann",
			only("bob", "team-*", "x"),
			{ user: "eve", scope: "datasets:read" },
		);
		await ann.call("room.create", { room: "team-one" });
		await ann.call("room.create", { room: "other" });
		for (const method of ["room.create", "room.get", "room.join", "room.presence"]) {
			await refused(not.call(method, { room: "x" }), "forbidden", "insufficient_scope");
			await refused(may.call(method, { room: "other" }), "forbidden", "room_not_in_token");
		}
		await refused(may.call("room.get", { room: "no such" }), "forbidden", "room_not_in_token");
		await refused(not.call("room.list"), "forbidden", "insufficient_scope");
		await refused(not.call("ice.servers"), "forbidden", "insufficient_scope");
		await may.call("room.join", { room: "team-one" });
		await may.call("room.join", { room: "team-two" });
		await may.call("room.create", { room: "x" });
		const { rooms } = await may.call("room.list");
		assert.deepEqual(rooms.map(({ room }) => room).sort(), ["team-one", "x"]);
	});

	test("private rooms are seen by their owner, by moderators, and by nobody else", async ({ people }) => {
		const [ann, bob, mod] = await people(
			"ann",
			"bob",
			{ user: "mod", scope: `${USUAL} rooms:moderate` },
		);
		await ann.call("room.create", { room: "den", visibility: "private" });
		const names = async (client) => {
			const found = [];
			for (let cursor; ; ) {
				const page = await client.call("room.list", { ...(cursor && { cursor }) });
				found.push(...page.rooms.map(({ room }) => room));
				cursor = page.cursor;
				if (!cursor) return found;
			}
		};
		assert.ok((await names(ann)).includes("den"));
		assert.ok((await names(mod)).includes("den"));
		assert.ok(!(await names(bob)).includes("den"));
		for (const method of ["room.get", "room.join", "room.presence", "room.publish"])
			await refused(
				bob.call(method, { room: "den", ...(method === "room.publish" && { data: 1 }) }),
				"forbidden",
				"room_private",
			);
		assert.equal((await ann.call("room.join", { room: "den" })).role, "owner");
		assert.equal((await mod.call("room.join", { room: "den" })).role, "moderator");
		assert.equal((await mod.call("room.get", { room: "den" })).role, "moderator");
	});

	test("the list comes in pages, each room once, the oldest first", async ({ people }) => {
		const [ann, bob] = await people("ann", only("bob", "page-*"));
		const names = Array.from({ length: 11 }, (_, i) => `page-${i}`);
		for (const room of names) {
			await ann.call("room.create", { room });
			await ann.call("room.create", { room: `between-${room}` });
		}
		const seen = [];
		let pages = 0;
		for (let cursor; ; pages++) {
			const page = await bob.call("room.list", { limit: 3, ...(cursor && { cursor }) });
			assert.ok(page.rooms.length <= 3);
			seen.push(...page.rooms.map(({ room }) => room));
			cursor = page.cursor;
			if (!cursor) break;
		}
		assert.deepEqual(seen, names);
		assert.ok(pages >= 3);
		for (const cursor of ["x", "1.5", "-"]) await refusedField(bob.call("room.list", { cursor }), "cursor");
		for (const limit of [0, 101]) await refusedField(bob.call("room.list", { limit }), "limit");
		assert.ok((await ann.call("room.list", { limit: 100 })).rooms.length >= 22);
	});

	test("an ephemeral room is made by its first join and ends with its last leave", async ({ people }) => {
		const [ann, bob, guest] = await people("ann", "bob", { user: "guest", scope: "rooms:join" });
		for (const method of ["room.get", "room.presence"])
			await refused(ann.call(method, { room: "brief" }), "not_found", "no_such_room");
		await refused(guest.call("room.join", { room: "brief" }), "not_found", "no_such_room");
		const first = await ann.call("room.join", { room: "brief" });
		const record = await bob.call("room.get", { room: "brief" });
		assert.deepEqual(record, {
			room: "brief",
			title: null,
			owner: null,
			visibility: "public",
			max_members: MEMBERS_PER_ROOM,
			locked: false,
			lobby: false,
			archived: false,
			metadata: null,
			history: { messages: 100, age: 3600, durable: false },
			persistent: false,
			role: "member",
			member_count: 1,
		});
		assert.ok(!(await ann.call("room.list", { limit: 100 })).rooms.some(({ room }) => room === "brief"));
		assert.equal((await guest.call("room.join", { room: "brief" })).epoch, first.epoch);
		await ann.call("room.publish", { room: "brief", data: 1 });
		await ann.call("room.leave", { room: "brief" });
		assert.equal((await bob.call("room.get", { room: "brief" })).member_count, 1);
		await guest.call("room.leave", { room: "brief" });
		await refused(bob.call("room.get", { room: "brief" }), "not_found", "no_such_room");
		const again = await bob.call("room.join", { room: "brief", since: { epoch: first.epoch, offset: 0 } });
		assert.notEqual(again.epoch, first.epoch);
		assert.deepEqual([again.offset, again.recovered, again.messages], [0, false, []]);
		await bob.call("room.leave", { room: "brief" });
	});

	// ---- coming and going ----

	test("who comes is told who is there, who was there is told who comes; one of each pair is polite", async ({
		people,
	}) => {
		const [ann, bob, cat] = await people("ann", "bob", "cat");
		const a = await ann.call("room.join", { room: "hall", state: { camera: true } });
		assert.deepEqual(a.members, []);
		assert.match(a.peer, /^[A-Za-z0-9_-]{22}$/);
		assert.equal(a.role, "member");
		const b = await bob.call("room.join", { room: "hall" });
		const annSeen = { peer: a.peer, user: "ann", name: "ann", role: "member", state: { camera: true }, connected: true, muted: false };
		const bobSeen = { peer: b.peer, user: "bob", name: "bob", role: "member", state: null, connected: true, muted: false };
		assert.deepEqual(b.members, [{ ...annSeen, polite: true }]);
		assert.deepEqual((await ann.next()).params, { room: "hall", members: [{ ...bobSeen, polite: false }] });
		const c = await cat.call("room.join", { room: "hall" });
		assert.deepEqual(c.members, [
			{ ...annSeen, polite: true },
			{ ...bobSeen, polite: true },
		]);
		const catSeen = { ...bobSeen, peer: c.peer, user: "cat", name: "cat" };
		for (const client of [ann, bob])
			assert.deepEqual((await client.next("room.joined")).params.members, [{ ...catSeen, polite: false }]);
		// to the one in the middle: who came before is yielded to, who came later is not
		const { members } = await bob.call("room.presence", { room: "hall" });
		assert.deepEqual(members, [
			{ ...annSeen, polite: true },
			{ ...catSeen, polite: false },
		]);
		assert.equal(new Set([a.peer, b.peer, c.peer]).size, 3);
	});

	test("joining again is the same peer, told everything again, and nobody else hears of it", async ({
		people,
		server,
	}) => {
		const [ann, bob] = await people("ann", "bob");
		const a = await ann.call("room.join", { room: "twice" });
		const b = await bob.call("room.join", { room: "twice" });
		await ann.next("room.joined");
		const again = await bob.call("room.join", { room: "twice" });
		assert.deepEqual(again, b);
		await caughtUp(server, "twice", ann, bob);
		assert.deepEqual(ann.unread, []);
		// a state that comes with it is a change of state
		const third = await bob.call("room.join", { room: "twice", state: 5 });
		assert.equal(third.peer, b.peer);
		assert.deepEqual((await ann.next()).params, { room: "twice", peer: b.peer, changes: { state: 5 } });
		// who left and comes back is somebody new
		await bob.call("room.leave", { room: "twice" });
		const fresh = await bob.call("room.join", { room: "twice" });
		assert.notEqual(fresh.peer, b.peer);
		assert.deepEqual(fresh.members.map(({ peer }) => peer), [a.peer]);
	});

	test("leaving, closing and being lost are told with their reasons", async ({ people }) => {
		const [ann, ...others] = await people("ann", "bob", "bob", "cat", "dan");
		await ann.call("room.join", { room: "door" });
		const ends = [
			["left", (client) => client.call("room.leave", { room: "door" })],
			["left", (client) => client.call("session.close")],
			["left", (client) => client.close()],
			["lost", (client) => client.terminate()],
		];
		for (const [i, [reason, leave]] of ends.entries()) {
			const { peer } = await others[i].call("room.join", { room: "door" });
			await ann.next("room.joined");
			await leave(others[i]);
			assert.deepEqual((await ann.next()).params, { room: "door", peer, reason });
		}
		await ann.call("room.leave", { room: "door" });
		await ann.call("room.leave", { room: "door" }); // who is not there has left already
		await ann.call("room.leave", { room: "no such room" });
	});

	test("a session's end ends all of its memberships", async ({ people, server }) => {
		const [ann, bob] = await people("ann", "bob");
		const rooms = Array.from({ length: ROOMS_PER_SESSION }, (_, i) => `many-${i}`);
		for (const room of rooms) {
			await ann.call("room.join", { room });
			await bob.call("room.join", { room });
		}
		bob.terminate();
		for (const room of rooms) await ann.next(({ method, params }) => method === "room.left" && params.room === room);
		for (const room of rooms) assert.equal((await server.rpc("room.get", { room })).member_count, 1);
	});

	test("one user is several peers on several devices", async ({ people }) => {
		const [phone, laptop, bob] = await people("ann", "ann", "bob");
		const p = await phone.call("room.join", { room: "devices" });
		const l = await laptop.call("room.join", { room: "devices" });
		assert.notEqual(p.peer, l.peer);
		assert.deepEqual(l.members.map(({ user }) => user), ["ann"]);
		const { members } = await bob.call("room.presence", { room: "devices" });
		assert.deepEqual(members.map(({ peer, polite }) => [peer, polite]), [[p.peer, false], [l.peer, false]]);
	});

	test("where there are several workers, these tests' sessions are on different ones", async ({ people, workers }) => {
		const on = (await people("ann", "bob", "cat")).map(workerOf);
		if (workers === 1) assert.deepEqual(on, ["0", "0", "0"]);
		else assert.ok(on[0] !== on[1] && on[1] !== on[2], on.join());
	});

	// ---- presence ----

	test("presence state goes to the others, and stands in every list", async ({ people, server }) => {
		const [ann, bob] = await people("ann", "bob");
		await ann.call("room.join", { room: "stage" });
		await refused(bob.call("room.state", { room: "stage", state: 1 }), "forbidden", "not_a_member");
		await refused(bob.call("room.state", { room: "nowhere", state: 1 }), "forbidden", "not_a_member");
		const { peer } = await bob.call("room.join", { room: "stage" });
		for (const state of [{ hand: true }, [], "x", 0, false, null]) {
			assert.deepEqual(await bob.call("room.state", { room: "stage", state }), {});
			assert.deepEqual((await ann.next("room.updated")).params, { room: "stage", peer, changes: { state } });
			const { members } = await ann.call("room.presence", { room: "stage" });
			assert.deepEqual(members[0].state, state);
		}
		await refusedField(bob.call("room.state", { room: "stage" }), "state");
		await caughtUp(server, "stage", bob);
		assert.deepEqual(bob.unread, [], "one's own change is not told to oneself");
	});

	test("state is at most 4 KiB", async ({ people }) => {
		const [ann] = await people("ann");
		const most = "x".repeat(4094);
		await ann.call("room.join", { room: "large", state: most });
		await ann.call("room.state", { room: "large", state: most });
		const limit = { field: "state", limit: 4096 };
		await refused(ann.call("room.state", { room: "large", state: `${most}x` }), "too_large", "too_large", limit);
		await refused(ann.call("room.join", { room: "new", state: `${most}x` }), "too_large", "too_large", limit);
		await refused(ann.call("room.get", { room: "new" }), "not_found", "no_such_room");
	});

	test("a full room, and a list of members that takes several pages", async ({ people, server }) => {
		const crowd = await people(...Array(MEMBERS_PER_ROOM).fill("ann"));
		const state = "x".repeat(4000);
		const peers = [];
		for (const client of crowd) peers.push((await client.call("room.join", { room: "crowd", state })).peer);
		const [bob] = await people("bob");
		await refused(bob.call("room.join", { room: "crowd" }), "full", "room_full", { limit: MEMBERS_PER_ROOM });
		const seen = [];
		let pages = 0;
		for (let cursor; ; ) {
			const page = await bob.call("room.presence", { room: "crowd", ...(cursor && { cursor }) });
			assert.ok(Buffer.byteLength(bob.frames.at(-1)) <= 256 * 1024);
			seen.push(...page.members.map(({ peer }) => peer));
			pages++;
			cursor = page.members_cursor;
			if (!cursor) break;
		}
		assert.deepEqual(seen, peers);
		assert.ok(pages > 1, "one page was enough: the test needs more members");
		// the answer to a join is the first page; the rest is asked for
		await crowd[0].call("room.leave", { room: "crowd" });
		const { members, members_cursor } = await bob.call("room.join", { room: "crowd" });
		const rest = await bob.call("room.presence", { room: "crowd", cursor: members_cursor });
		assert.deepEqual([...members, ...rest.members].map(({ peer }) => peer), peers.slice(1));
		await refusedField(bob.call("room.presence", { room: "crowd", cursor: "x" }), "cursor");
		assert.equal((await server.rpc("room.get", { room: "crowd" })).member_count, MEMBERS_PER_ROOM);
	});

	// ---- limits ----

	test("a room's own limit counts peers, and a place that is left can be taken", async ({ people }) => {
		const [ann, bob, cat] = await people("ann", "bob", "cat");
		await ann.call("room.create", { room: "pair", max_members: 2 });
		await ann.call("room.join", { room: "pair" });
		await bob.call("room.join", { room: "pair" });
		await refused(cat.call("room.join", { room: "pair" }), "full", "room_full", { limit: 2 });
		await bob.call("room.join", { room: "pair" }); // who is in needs no place
		bob.terminate();
		await ann.next("room.left");
		await cat.call("room.join", { room: "pair" });
	});

	test("a session is in so many rooms, wherever they live, and refusals take no place", async ({ people }) => {
		const [ann, bob] = await people("ann", "bob");
		await bob.call("room.create", { room: "shut", visibility: "private" });
		const rooms = Array.from({ length: ROOMS_PER_SESSION }, (_, i) => `place-${i}`);
		for (let i = 0; i < 2 * ROOMS_PER_SESSION; i++)
			await refused(ann.call("room.join", { room: "shut" }), "forbidden", "room_private");
		for (const room of rooms) await ann.call("room.join", { room });
		for (let i = 0; i < 5; i++)
			await refused(ann.call("room.join", { room: `more-${i}` }), "full", "too_many_rooms", {
				limit: ROOMS_PER_SESSION,
			});
		await ann.call("room.join", { room: rooms[0] });
		await ann.call("room.leave", { room: rooms[0] });
		await ann.call("room.join", { room: "more-0" });
		await refused(ann.call("room.join", { room: rooms[0] }), "full", "too_many_rooms");
		// others of the same user have their own
		const [phone] = await people("ann");
		await phone.call("room.join", { room: rooms[0] });
	});

	test("methods that need a session say so over HTTP", async ({ server }) => {
		const token = await server.mint("ann");
		for (const [method, params] of [
			["room.join", { room: "x" }],
			["room.leave", { room: "x" }],
			["room.state", { room: "x", state: 1 }],
		])
			await assert.rejects(post(server, token, method, params), { code: -32600 });
		await post(server, token, "room.create", { room: "by-http" });
		assert.equal((await post(server, token, "room.get", { room: "by-http" })).owner, "ann");
	});
});
