// Moderation: lock, mute, kick and ban. What is done to a user is told to all, holds for all of their devices
// and whatever token they bring, and outlives what may come: a reconnect, a restart, the room's unloading.
import assert from "node:assert/strict";
import test from "node:test";
import { connect } from "../support/client.mjs";
import { caughtUp, onOneAndFourWorkers, post, refused, refusedField } from "../support/rooms.mjs";
import { Receiver } from "../support/receiver.mjs";
import { anyPace, startServer } from "../support/server.mjs";

const config = { session: { resume_window: "30s" } };
const KINDS = ["kept", "brief"]; // in the store, or as long as somebody is there
let rooms = 0;

/** A room with its moderator in it, and others: [room, …clients], each with its own `peer`. */
async function gathered(server, people, kind, ...others) {
	const room = `m-${++rooms}`;
	const [mod] = await people({ user: "mod", scope: "rooms:join rooms:create rooms:moderate" });
	if (kind === "kept") await server.rpc("room.create", { room });
	const clients = others.length ? [mod, ...(await people(...others))] : [mod];
	for (const client of clients) client.peer = (await client.call("room.join", { room })).peer;
	await caughtUp(server, room, ...clients);
	for (const client of clients) client.unread.length = 0;
	return [room, ...clients];
}

const left = async (client) => (await client.next("room.left")).params;
/** What it hears of itself; of others it may hear before. */
const out = async (client) =>
	(await client.next(({ method, params }) => method === "room.left" && params.peer === client.peer)).params;
const updated = async (client) => (await client.next("room.updated")).params;

onOneAndFourWorkers({ config }, (test) => {
	for (const kind of KINDS) {
		test(`a kick is told to all, and keeps the user out for a minute (${kind})`, async ({ server, people }) => {
			const [room, mod, eve, tab, bob] = await gathered(server, people, kind, "eve", "eve", "bob");
			const answer = await mod.call("room.kick", { room, peer: eve.peer, reason: "noise" });
			assert.deepEqual(answer, { user: "eve", peers: 2 });
			for (const client of [mod, bob]) {
				const peers = [await left(client), await left(client)];
				for (const one of peers) assert.deepEqual([one.room, one.reason], [room, "kicked"]);
				assert.deepEqual(peers.map(({ peer }) => peer).sort(), [eve.peer, tab.peer].sort());
			}
			for (const client of [eve, tab])
				assert.deepEqual(await out(client), { room, peer: client.peer, reason: "kicked" });
			await refused(eve.call("signal.send", { room, to: "room", type: "a", data: 1 }), "forbidden", "not_a_member");
			await refused(eve.call("room.publish", { room, data: 1 }), "forbidden", "kicked");
			// nor by another session with another token
			const [again] = await people({ user: "eve", scope: "rooms:join rooms:create" });
			for (const client of [eve, again]) {
				const error = await client.call("room.join", { room }).catch((problem) => problem);
				assert.equal(error.reason, "kicked");
				assert.ok(error.data.retry_after > 50 && error.data.retry_after <= 60, error.message);
			}
			assert.equal((await bob.call("room.presence", { room })).members.length, 1);
		});

		test(`a ban holds until it is lifted or ends, and is listed (${kind})`, async ({ server, people }) => {
			const [room, mod, eve, tab, bob] = await gathered(server, people, kind, "eve", "eve", "bob");
			const before = Math.floor(Date.now() / 1000);
			assert.deepEqual(await mod.call("room.ban", { room, user: "eve", reason: "spam é" }), {
				room,
				user: "eve",
				expires_at: null,
			});
			for (const client of [eve, tab])
				assert.deepEqual(await out(client), { room, peer: client.peer, reason: "banned" });
			assert.equal((await left(bob)).reason, "banned");
			const [again] = await people({ user: "eve", scope: "rooms:join rooms:moderate admin" });
			for (const method of ["room.join", "room.get", "room.presence", "room.history", "room.bans"])
				await refused(again.call(method, { room }), "forbidden", "banned");
			await refused(again.call("room.unban", { room, user: "eve" }), "forbidden", "banned");
			await refused(again.call("room.publish", { room, data: 1 }), "forbidden", "banned");

			const { expires_at } = await mod.call("room.ban", { room, user: "dan", expires_in: 3600 });
			assert.ok(expires_at >= before + 3600 && expires_at <= before + 3660);
			const { bans, cursor } = await mod.call("room.bans", { room, limit: 1 });
			assert.deepEqual([bans.map(({ user }) => user), cursor], [["dan"], "dan"]);
			assert.deepEqual([bans[0].reason, bans[0].by, bans[0].expires_at], [null, "mod", expires_at]);
			const rest = await mod.call("room.bans", { room, cursor });
			const { created_at, ...eves } = rest.bans[0];
			assert.deepEqual(eves, { user: "eve", reason: "spam é", by: "mod", expires_at: null });
			assert.ok(created_at >= before - 1 && rest.bans.length === 1 && !rest.cursor);

			assert.deepEqual(await mod.call("room.unban", { room, user: "eve" }), {});
			await eve.call("room.join", { room });
			await refused(mod.call("room.unban", { room, user: "eve" }), "not_found", "not_banned");
		});

		test(`who is muted publishes nothing, and signals only what is left (${kind})`, async ({ server, people }) => {
			const [room, mod, eve, tab, bob] = await gathered(server, people, kind, "eve", "eve", "bob");
			const signal = (client, type) => client.call("signal.send", { room, to: { peer: bob.peer }, type, data: 1 });
			const { epoch, offset } = await eve.call("room.publish", { room, data: 1 });
			const muted = await mod.call("room.mute", { room, user: "eve", muted: true });
			assert.deepEqual(muted, { user: "eve", muted: true });
			for (const client of [mod, bob, eve, tab]) {
				const told = [await updated(client), await updated(client)];
				assert.deepEqual(told.map(({ changes }) => changes), [{ muted: true }, { muted: true }]);
				assert.deepEqual(told.map(({ peer }) => peer).sort(), [eve.peer, tab.peer].sort());
			}
			for (const client of [eve, tab]) {
				await refused(client.call("room.publish", { room, data: 2 }), "forbidden", "muted");
				await signal(client, "offer");
			}
			await refused(eve.call("room.edit", { room, epoch, offset, data: 2 }), "forbidden", "muted");
			await eve.call("room.redact", { room, epoch, offset }); // that may always be
			// a device that comes later, one that comes again, and one that never came
			const [later, backend] = await people("eve", "eve");
			assert.equal((await later.call("room.join", { room })).muted, true);
			await refused(later.call("room.publish", { room, data: 2 }), "forbidden", "muted");
			await refused(backend.call("room.publish", { room, data: 2 }), "forbidden", "muted");
			await eve.call("room.leave", { room });
			assert.equal((await eve.call("room.join", { room })).muted, true);
			const { members } = await bob.call("room.presence", { room });
			assert.deepEqual(
				members.map(({ user, muted: quiet }) => `${user} ${quiet}`).sort(),
				["eve true", "eve true", "eve true", "mod false"],
			);

			await mod.call("room.mute", { room, peer: later.peer ?? tab.peer, muted: true, signals: ["offer", "a"] });
			await refused(signal(tab, "offer"), "forbidden", "muted");
			await refused(signal(tab, "a"), "forbidden", "muted");
			for (const type of ["answer", "aa", "offers", "ffer"]) await signal(tab, type);
			await mod.call("room.mute", { room, user: "eve", muted: true, signals: "all" });
			await refused(signal(tab, "answer"), "forbidden", "muted");
			assert.equal((await mod.call("room.mute", { room, user: "eve", muted: false })).muted, false);
			await signal(tab, "offer");
			await tab.call("room.publish", { room, data: 3 });
			await caughtUp(server, room, bob);
			const last = bob.events.findLast(({ method }) => method === "room.updated");
			assert.deepEqual(last.params.changes, { muted: false });
		});

		test(`a locked room lets nobody else in but moderators (${kind})`, async ({ server, people }) => {
			const [room, mod, bob] = await gathered(server, people, kind, "bob");
			const [eve, other] = await people("eve", { user: "other", scope: "rooms:join rooms:moderate" });
			await mod.call("room.lock", { room, locked: true });
			for (const client of [mod, bob]) assert.deepEqual(await updated(client), { room, changes: { locked: true } });
			await mod.call("room.lock", { room, locked: true }); // is not told again
			assert.equal((await bob.call("room.get", { room })).locked, true);
			await refused(eve.call("room.join", { room }), "forbidden", "room_locked");
			await other.call("room.join", { room });
			await bob.call("room.publish", { room, data: 1 });
			await mod.call("room.lock", { room, locked: false });
			assert.deepEqual(await updated(bob), { room, changes: { locked: false } });
			await eve.call("room.join", { room });
			assert.ok(!bob.unread.some(({ method }) => method === "room.updated"));
		});
	}

	test("only moderators act, and never against who is as much or more", async ({ server, people }) => {
		const [room, mod, bob, eve] = await gathered(server, people, "brief", "bob", "eve");
		const acts = [
			["room.kick", { user: "eve" }],
			["room.ban", { user: "eve" }],
			["room.mute", { user: "eve", muted: true }],
			["room.lock", { locked: true }],
			["room.unban", { user: "eve" }],
			["room.bans", {}],
		];
		for (const [method, params] of acts)
			await refused(bob.call(method, { room, ...params }), "forbidden", "not_moderator");
		const [second] = await people({ user: "second", scope: "rooms:join rooms:moderate" });
		const { peer } = await second.call("room.join", { room });
		for (const target of [{ user: "second" }, { user: "mod" }])
			for (const [method, params] of acts.slice(0, 3))
				await refused(mod.call(method, { room, ...params, ...target }), "forbidden", "outranked");
		await refused(mod.call("room.kick", { room, peer }), "forbidden", "outranked");
		// the owner of a kept room also when away; admin stands above
		const [owner] = await people("owner");
		const kept = `${room}-kept`;
		await owner.call("room.create", { room: kept });
		await refused(mod.call("room.ban", { room: kept, user: "owner" }), "forbidden", "outranked");
		// in any case: an account is found by its name
		await refused(mod.call("room.ban", { room: kept, user: "OWNER" }), "forbidden", "outranked");
		assert.equal((await mod.call("room.ban", { room: kept, user: "EVE" })).user, "eve");
		await refused(eve.call("room.join", { room: kept }), "forbidden", "banned");
		assert.equal((await owner.call("room.kick", { room: kept, user: "mod" })).peers, 0);
		assert.equal((await server.rpc("room.kick", { room: kept, user: "owner" })).peers, 0);
		await refused(owner.call("room.join", { room: kept }), "forbidden", "kicked");
	});

	test("nobody undoes what was done to them, whatever their token says when they are not in the room", async ({ people }) => {
		const room = `m-${++rooms}`;
		const [owner, deputy] = await people("owner", { user: "deputy", scope: "rooms:join rooms:moderate" });
		await owner.call("room.create", { room });
		await deputy.call("room.join", { room });
		await owner.call("room.mute", { room, user: "deputy", muted: true });
		for (const away of [false, true]) {
			if (away) await deputy.call("room.leave", { room });
			const call = deputy.call("room.mute", { room, user: "deputy", muted: false });
			await refused(call, "forbidden", "outranked");
		}
		assert.equal((await deputy.call("room.join", { room })).muted, true);
		await refused(deputy.call("room.publish", { room, data: 1 }), "forbidden", "muted");
	});

	test("what makes no sense is refused by its name, and changes nothing", async ({ server, people }) => {
		const [room, mod, bob] = await gathered(server, people, "brief", "bob");
		await refusedField(mod.call("room.kick", { room }), "user");
		await refusedField(mod.call("room.kick", { room, user: "bob", peer: bob.peer }), "user");
		await refused(mod.call("room.kick", { room, peer: "nobody" }), "not_found", "no_such_peer");
		for (const signals of ["some", [""], ["a b"], [1], ["x".repeat(33)], {}, Array(33).fill("a")])
			await refusedField(mod.call("room.mute", { room, user: "bob", muted: true, signals }), "signals");
		await refused(mod.call("room.kick", { room: "nowhere", user: "bob" }), "not_found", "no_such_room");
		await bob.call("room.publish", { room, data: 1 });
		assert.equal((await mod.call("room.presence", { room })).members.length, 1);
		assert.deepEqual(await mod.call("room.bans", { room }), { bans: [] });
	});

	test("a backend moderates without a session", async ({ server, people }) => {
		const [room, , bob] = await gathered(server, people, "kept", "bob");
		const token = await server.mint("backend", { scope: "rooms:join rooms:moderate" });
		await post(server, token, "room.mute", { room, user: "bob", muted: true });
		await refused(bob.call("room.publish", { room, data: 1 }), "forbidden", "muted");
		assert.deepEqual(await post(server, token, "room.kick", { room, user: "bob" }), { user: "bob", peers: 1 });
		await refused(post(server, await server.mint("bob"), "room.publish", { room, data: 1 }), "forbidden", "kicked");
		assert.equal((await left(bob)).reason, "kicked");
		await post(server, token, "room.ban", { room, user: "bob", reason: "x" });
		const { bans } = await post(server, token, "room.bans", { room });
		assert.deepEqual(bans.map(({ by }) => by), ["backend"]);
	});

	test("a kick and joins from all sides leave nobody in", async ({ server, people }) => {
		const [room, mod] = await gathered(server, people, "kept");
		const devices = await people(...Array(8).fill("eve"));
		for (let round = 0; round < 4; round++) {
			const acts = [
				mod.call("room.kick", { room, user: "eve" }),
				...devices.map((client) => client.call("room.join", { room }).catch(({ reason }) => reason)),
			];
			const outcomes = (await Promise.all(acts)).slice(1);
			const { members } = await mod.call("room.presence", { room });
			// whoever came in after the kick would still be there
			assert.deepEqual(members, []);
			for (const outcome of outcomes) assert.ok(outcome === "kicked" || outcome.peer, String(outcome));
		}
	});
});

test("a user who is away is kicked all the same, and finds out on coming back", async (t) => {
	const server = await startServer({ t, workers: 4, config: { limits: anyPace } });
	const mod = await connect(server, { user: "mod", scope: "rooms:join rooms:create rooms:moderate" });
	const eve = await connect(server, { user: "eve" });
	await mod.call("room.create", { room: "r" });
	await mod.call("room.join", { room: "r" });
	const { peer } = await eve.call("room.join", { room: "r" });
	const token = await server.mint("eve");
	await caughtUp(server, "r", eve);
	const { received } = eve;
	eve.terminate();
	await mod.next(({ method, params }) => method === "room.updated" && params.changes.connected === false);
	await mod.call("room.kick", { room: "r", user: "eve" });
	assert.deepEqual((await mod.next("room.left")).params, { room: "r", peer, reason: "kicked" });
	const back = await connect(server, { open: false });
	const { resumed } = await back.call("session.open", { token, resume: { session: eve.id, received } });
	assert.equal(resumed, true);
	assert.deepEqual((await back.next("room.left")).params, { room: "r", peer, reason: "kicked" });
	await refused(back.call("room.join", { room: "r" }), "forbidden", "kicked");
	await refused(back.call("room.publish", { room: "r", data: 1 }), "forbidden", "kicked");
	// another token of the same user changes nothing
	await back.call("session.refresh", { token: await server.mint("eve", { scope: "rooms:join rooms:create" }) });
	await refused(back.call("room.join", { room: "r" }), "forbidden", "kicked");
});

test("a ban that ends is as if it had not been", async (t) => {
	const server = await startServer({ t, clock: true });
	const mod = await connect(server, { user: "mod", scope: "rooms:join rooms:create rooms:moderate" });
	const eve = await connect(server, { user: "eve", expires: 86400 });
	await mod.call("room.create", { room: "kept" });
	await mod.call("room.join", { room: "brief" });
	for (const room of ["kept", "brief"]) {
		await mod.call("room.ban", { room, user: "eve", expires_in: 600 });
		const error = await eve.call("room.join", { room }).catch((problem) => problem);
		assert.equal(error.reason, "banned");
		assert.ok(error.data.retry_after > 500 && error.data.retry_after <= 600, error.message);
	}
	assert.deepEqual((await eve.call("room.list")).rooms, []);
	server.ahead(601);
	assert.deepEqual((await eve.call("room.list")).rooms.map(({ room }) => room), ["kept"]);
	for (const room of ["kept", "brief"]) {
		assert.deepEqual((await mod.call("room.bans", { room })).bans, []);
		await refused(mod.call("room.unban", { room, user: "eve" }), "not_found", "not_banned");
		assert.equal((await eve.call("room.join", { room })).role, "member");
	}
});

test("what was decided is so after a restart, a crash and a hand-over", async (t) => {
	const people = ["mod", "kim", "ban", "mum", "own"];
	let server = await startServer({ workers: 2, config: { rooms: { ephemeral_names: ["brief"] } } });
	t.after(() => server.stop());
	const mod = await connect(server, { user: "mod", scope: "rooms:join rooms:create rooms:moderate" });
	await mod.call("room.create", { room: "kept" });
	const mum = await connect(server, { user: "mum" });
	for (const room of ["kept", "brief"]) {
		for (const client of [mod, mum]) await client.call("room.join", { room });
		await mod.call("room.kick", { room, user: "kim" });
		await mod.call("room.ban", { room, user: "ban", reason: "x" });
		await mod.call("room.mute", { room, user: "mum", muted: true, signals: ["offer"] });
		await mod.call("room.lock", { room, locked: true });
		await mod.call("room.update", { room, title: "Club", metadata: { a: 1 } });
	}
	const { bans } = await mod.call("room.bans", { room: "brief" });
	const resumes = [mod, mum].map(({ id, received }) => ({ session: id, received }));

	const check = async (room, { kicked }) => {
		const [backMod, , , backMum] = await Promise.all(
			people.slice(0, 4).map((user) => connect(server, { user, scope: user === "mod" ? "rooms:join rooms:moderate" : undefined })),
		);
		await refused((await connect(server, { user: "ban" })).call("room.join", { room }), "forbidden", "banned");
		await refused(
			(await connect(server, { user: "kim" })).call("room.join", { room }),
			"forbidden",
			kicked ? "kicked" : "room_locked",
		);
		await refused(backMum.call("room.publish", { room, data: 1 }), "forbidden", "muted");
		assert.deepEqual((await backMod.call("room.bans", { room })).bans.map(({ user, by }) => [user, by]), [["ban", "mod"]]);
		const { locked, title, metadata } = await backMod.call("room.get", { room });
		assert.deepEqual([locked, title, metadata], [true, "Club", { a: 1 }]);
	};

	// a hand-over: also what only memory has
	const before = server;
	server = await server.successor({ workers: 3 });
	assert.equal((await before.exited()).code, 0);
	const [again, quiet] = await Promise.all(
		["mod", "mum"].map(async (user, i) => {
			const client = await connect(server, { open: false });
			const token = await server.mint(user, user === "mod" ? { scope: "rooms:join rooms:create rooms:moderate" } : {});
			const { resumed } = await client.call("session.open", { token, resume: resumes[i] });
			assert.equal(resumed, true);
			return client;
		}),
	);
	for (const room of ["kept", "brief"]) {
		const to = "room";
		await refused(quiet.call("signal.send", { room, to, type: "offer", data: 1 }), "forbidden", "muted");
		await quiet.call("signal.send", { room, to, type: "answer", data: 1 });
		await refused(quiet.call("room.publish", { room, data: 1 }), "forbidden", "muted");
		await check(room, { kicked: true });
	}
	assert.deepEqual((await again.call("room.bans", { room: "brief" })).bans, bans);

	// a crash: what is written down
	const { data } = server;
	await server.kill();
	server = await startServer({ workers: 1, data, config: { rooms: { ephemeral_names: ["brief"] } } });
	await check("kept", { kicked: false });
});

test("each act is told to a webhook, of rooms that are kept and of those that are not", async (t) => {
	const receiver = await new Receiver().listen(t);
	const server = await startServer({ t, config: { webhooks: [receiver.webhook({ events: ["room.moderated"] })] } });
	const mod = await connect(server, { user: "mod", scope: "rooms:join rooms:create rooms:moderate" });
	await server.addUser("eve");
	await mod.call("room.create", { room: "kept" });
	for (const room of ["kept", "brief"]) {
		await mod.call("room.join", { room });
		await mod.call("room.lock", { room, locked: true });
		await mod.call("room.mute", { room, user: "EVE", muted: true });
		await mod.call("room.mute", { room, user: "eve", muted: false });
		await mod.call("room.kick", { room, user: "eve", reason: "too loud" });
		const { expires_at } = await mod.call("room.ban", { room, user: "eve", expires_in: 600 });
		await mod.call("room.unban", { room, user: "eve" });
		await receiver.got((all) => all.filter(({ data }) => data.room === room).length === 6);
		const told = receiver.events.filter(({ data }) => data.room === room).map(({ data }) => data);
		const act = (word, more) => ({ room, act: word, by: "mod", ...more });
		assert.deepEqual(told, [
			act("lock"),
			act("mute", { user: "eve" }),
			act("unmute", { user: "eve" }),
			act("kick", { user: "eve", reason: "too loud" }),
			act("ban", { user: "eve", expires_at }),
			act("unban", { user: "eve" }),
		]);
	}
	assert.deepEqual(receiver.problems, []);
});

test("each act is in the audit: by whom, to whom, where and why", async (t) => {
	const server = await startServer({ t });
	const mod = await connect(server, { user: "mod", scope: "rooms:join rooms:create rooms:moderate" });
	await mod.call("room.create", { room: "r" });
	await server.addUser("eve");
	await mod.call("room.lock", { room: "r", locked: true });
	await mod.call("room.mute", { room: "r", user: "eve", muted: true });
	await mod.call("room.kick", { room: "r", user: "eve", reason: "too loud" });
	await mod.call("room.ban", { room: "r", user: "eve", reason: "again" });
	await mod.call("room.unban", { room: "r", user: "eve" });
	await mod.call("room.lock", { room: "r", locked: false }); // written behind the lines of those before
	const { entries } = await server.rpc("audit.list", {});
	const acts = entries.filter(({ action }) => action.startsWith("room.")).reverse().slice(0, 5);
	assert.deepEqual(
		acts.map(({ action, actor, user, detail }) => [action, actor, user ?? "", detail]),
		[
			["room.lock", "mod", "", "room=r locked"],
			["room.mute", "mod", "eve", "room=r muted"],
			["room.kick", "mod", "eve", "room=r too loud"],
			["room.ban", "mod", "eve", "room=r again"],
			["room.unban", "mod", "eve", "room=r"],
		],
	);
});
