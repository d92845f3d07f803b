// Rooms from outside: lists with search, and how many are in them, asked for once or watched.
import assert from "node:assert/strict";
import test from "node:test";
import { connect } from "../support/client.mjs";
import { ResumingClient } from "../support/resuming.mjs";
import { onOneAndFourWorkers, refusedField } from "../support/rooms.mjs";
import { anyPace, atOnce, startServer } from "../support/server.mjs";

const names = ({ rooms }) => rooms.map(({ room }) => room);
const counts = ({ rooms }) =>
	Object.fromEntries(rooms.map(({ room, member_count, user_count }) => [room, [member_count, user_count]]));

onOneAndFourWorkers({}, (check) => {
	check("a list has what is searched for, and how many are in each room", async ({ people }) => {
		const [ann, bob, eve] = await people("ann", "bob", "eve");
		const [lin] = await people("lin");
		const made = { "s-Élan": "Été_100%", "s-a*b": "Starred", "s-plain": null, "s-other": "an ÉLAN of ours", "s-far": "x" };
		for (const [room, title] of Object.entries(made)) await lin.call("room.create", { room, ...(title && { title }) });
		const search = async (text, more) => names(await ann.call("room.list", { search: text, limit: 100, ...more })).sort();
		assert.deepEqual(await search("élan"), ["s-other", "s-Élan"].sort());
		assert.deepEqual(await search("a*B"), ["s-a*b"]);
		assert.deepEqual(await search("_100%"), ["s-Élan"]);
		assert.deepEqual(await search("%"), ["s-Élan"]);
		assert.deepEqual(await search("nothing has this"), []);
		for (const client of [ann, bob, eve]) await client.call("room.join", { room: "s-far" });
		const { rooms } = await bob.call("room.list", { search: "s-", limit: 100 });
		assert.deepEqual(
			rooms.map(({ room, member_count }) => [room, member_count]),
			Object.keys(made).map((room) => [room, room === "s-far" ? 3 : 0]),
		);
		// by the page, the same
		let cursor;
		const paged = [];
		do {
			const page = await bob.call("room.list", { search: "s-", limit: 2, ...(cursor && { cursor }) });
			paged.push(...page.rooms);
			({ cursor } = page);
		} while (cursor);
		assert.deepEqual(paged, rooms);
	});

	check("mine is what I own or have a role in; archived rooms have a list of their own", async ({ people }) => {
		const [ann, bob] = await people("ann", "bob");
		const seen = async (client, more) =>
			names(await client.call("room.list", { search: "m-", limit: 100, ...more }));
		for (const room of ["m-1", "m-2", "m-3"]) await ann.call("room.create", { room });
		await bob.call("room.create", { room: "m-4" });
		await ann.call("room.grant", { room: "m-2", user: "bob", role: "viewer" });
		assert.deepEqual(await seen(bob, { mine: true }), ["m-2", "m-4"]);
		assert.deepEqual(await seen(ann, { mine: true }), ["m-1", "m-2", "m-3"]);
		await ann.call("room.update", { room: "m-3", archived: true });
		assert.deepEqual(await seen(ann, { mine: true }), ["m-1", "m-2"]);
		assert.deepEqual(await seen(bob), ["m-1", "m-2", "m-4"]);
		assert.deepEqual(await seen(ann, { archived: true }), ["m-3"]);
		assert.equal((await ann.call("room.list", { archived: true, search: "m-3" })).rooms[0].archived, true);
	});

	check("how many are in rooms is told to who may look, kept or not", async ({ people, server }) => {
		const [ann, bob, device] = await people("ann", "bob", "bob");
		await ann.call("room.create", { room: "o-kept" });
		await ann.call("room.create", { room: "o-hidden", visibility: "private" });
		for (const client of [ann, bob, device]) await client.call("room.join", { room: "o-brief" });
		await ann.call("room.join", { room: "o-hidden" });
		const rooms = ["o-hidden", "o-none", "o-kept", "o-brief", "o-kept"];
		assert.deepEqual(await bob.call("room.occupancy", { rooms }), {
			rooms: [
				{ room: "o-kept", member_count: 0, user_count: 0 },
				{ room: "o-brief", member_count: 3, user_count: 2 },
			],
		});
		assert.deepEqual(counts(await ann.call("room.occupancy", { rooms: ["o-hidden"] })), { "o-hidden": [1, 1] });
		assert.deepEqual(counts(await server.rpc("room.occupancy", { rooms })), {
			"o-hidden": [1, 1],
			"o-kept": [0, 0],
			"o-brief": [3, 2],
		});
		for (const wrong of [["a", 7], [""], ["x".repeat(256)], ["a\u0000"], Array.from({ length: 101 }, (_, i) => `${i}`)])
			await refusedField(bob.call("room.occupancy", { rooms: wrong }), "rooms");
		assert.deepEqual(await bob.call("room.occupancy", { rooms: [] }), { rooms: [] });
	});
});

test("who watches rooms hears how many are there, merged, and of others no more", async (t) => {
	const server = await startServer({ t, workers: 4, config: atOnce });
	const [ann, bob, eve] = await Promise.all(["ann", "bob", "eve"].map((user) => connect(server, { user })));
	await ann.call("room.create", { room: "w-kept" });
	const state = counts(await eve.call("room.watch", { rooms: ["w-kept", "w-brief", "w-other"] }));
	assert.deepEqual(state, { "w-kept": [0, 0] });
	const until = async (wanted) => {
		const done = () => Object.entries(wanted).every(([room, n]) => `${state[room]}` === `${n}`);
		while (!done()) Object.assign(state, counts((await eve.next("room.occupancy")).params));
	};
	await ann.call("room.join", { room: "w-kept" });
	await bob.call("room.join", { room: "w-kept" });
	await ann.call("room.join", { room: "w-brief" });
	await until({ "w-kept": [2, 2], "w-brief": [1, 1] });
	await ann.call("room.leave", { room: "w-brief" });
	await until({ "w-brief": [0, 0] });
	// another set takes the place of this one
	assert.deepEqual(counts(await eve.call("room.watch", { rooms: ["w-other"] })), {});
	eve.unread.length = 0;
	await ann.call("room.leave", { room: "w-kept" });
	await ann.call("room.join", { room: "w-other" });
	const told = counts((await eve.next("room.occupancy")).params);
	assert.deepEqual(told, { "w-other": [1, 1] });
	await eve.call("room.watch", { rooms: [] });
});

test("who may not look any more hears nothing more of the room", async (t) => {
	const server = await startServer({ t, workers: 4, config: atOnce });
	const [ann, bob, eve] = await Promise.all(["ann", "bob", "eve"].map((user) => connect(server, { user })));
	await ann.call("room.create", { room: "x-closing" });
	await ann.call("room.create", { room: "x-open" });
	await eve.call("room.watch", { rooms: ["x-closing", "x-open"] });
	await ann.call("room.update", { room: "x-closing", visibility: "private" });
	await ann.call("room.join", { room: "x-closing" });
	await bob.call("room.join", { room: "x-open" });
	assert.deepEqual(counts((await eve.next("room.occupancy")).params), { "x-open": [1, 1] });
	await ann.call("room.delete", { room: "x-open" });
	assert.deepEqual(counts((await eve.next("room.occupancy")).params), { "x-open": [0, 0] });
});

test("no session is told more than once a second, whatever happens", async (t) => {
	const server = await startServer({ t, workers: 2, config: { ...atOnce, limits: anyPace } });
	const eve = await connect(server, { user: "eve" });
	const ann = await connect(server, { user: "ann" });
	const rooms = Array.from({ length: 12 }, (_, i) => `busy-${i}`);
	await eve.call("room.watch", { rooms });
	const times = [];
	eve.socket.on("message", (bytes) => bytes.includes('"room.occupancy"') && times.push(performance.now()));
	const state = {};
	for (let round = 0; round < 3; round++)
		for (const room of rooms) {
			await ann.call("room.join", { room });
			if (round < 2) await ann.call("room.leave", { room });
		}
	while (rooms.some((room) => state[room]?.[0] !== 1)) Object.assign(state, counts((await eve.next("room.occupancy")).params));
	for (let i = 1; i < times.length; i++) assert.ok(times[i] - times[i - 1] > 900, `${times}`);
});

test("what is watched is watched on after a restart", async (t) => {
	const config = { session: { resume_window: "30s", drain_spread: "100ms" } };
	const before = await startServer({ t, workers: 2, config });
	const eve = new ResumingClient(before, await before.mint("eve"));
	const bob = new ResumingClient(before, await before.mint("bob"));
	for (const client of [eve, bob]) await client.connect(null);
	await bob.call("room.join", { room: "r-here" });
	assert.deepEqual(counts(await eve.call("room.watch", { rooms: ["r-here", "r-later"] })), { "r-here": [1, 1] });
	await before.stop();
	const after = await startServer({ t, workers: 4, config, data: before.data, listen: `127.0.0.1:${before.port}` });
	for (const client of [eve, bob]) await client.connect();
	const told = (room, n) => () =>
		eve.of("room.occupancy").some(({ rooms }) => counts({ rooms })[room]?.[0] === n);
	await bob.call("room.leave", { room: "r-here" });
	await bob.call("room.join", { room: "r-later" });
	await eve.until(told("r-here", 0), "the room that was left");
	await eve.until(told("r-later", 1), "the room that was joined");
	await after.stop();
});
