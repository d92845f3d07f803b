// What a token says its bearer is in rooms, and what others hear when another token says something else.
import assert from "node:assert/strict";
import test, { after, before } from "node:test";
import { connect } from "../support/client.mjs";
import { refused } from "../support/rooms.mjs";
import { startServer } from "../support/server.mjs";

let server, ann;
before(async () => {
	server = await startServer({ workers: 4 });
	ann = await connect(server, { user: "ann" });
});
after(() => server.stop());

const claim = (roles) => ({ signalbox: { roles } });
const as = (user, roles) => connect(server, { user, claim: claim(roles) });

test("a role by claim opens a private room; its own name beats a glob, the highest glob the others", async () => {
	for (const room of ["team-a", "team-b", "crew-a"]) await ann.call("room.create", { room, visibility: "private" });
	const bob = await as("bob", { "team-*": "moderator", "t*": "viewer", "team-b": "viewer" });
	assert.equal((await bob.call("room.join", { room: "team-a" })).role, "moderator");
	assert.equal((await bob.call("room.join", { room: "team-b" })).role, "viewer");
	await refused(bob.call("room.join", { room: "crew-a" }), "forbidden", "room_private");
	const listed = await bob.call("room.list", { limit: 100 });
	assert.deepEqual(listed.rooms.map(({ room, role }) => [room, role]), [
		["team-a", "moderator"],
		["team-b", "viewer"],
	]);
	assert.equal((await bob.call("room.list", { mine: true })).rooms.length, 2);
	assert.deepEqual(
		(await bob.call("room.occupancy", { rooms: ["team-a", "crew-a"] })).rooms.map(({ room }) => room),
		["team-a"],
	);
	await bob.close();
});

test("of what the room and the token say the higher one counts, and a ban stands above both", async () => {
	await ann.call("room.create", { room: "both", visibility: "private" });
	await ann.call("room.grant", { room: "both", user: "cat", role: "moderator" });
	await ann.call("room.grant", { room: "both", user: "dan", role: "viewer" });
	const cat = await as("cat", { both: "viewer" });
	const dan = await as("dan", { both: "member" });
	assert.equal((await cat.call("room.join", { room: "both" })).role, "moderator");
	assert.equal((await dan.call("room.join", { room: "both" })).role, "member");
	await ann.call("room.ban", { room: "both", user: "dan" });
	await refused(dan.call("room.join", { room: "both" }), "forbidden", "banned");
	await Promise.all([cat.close(), dan.close()]);
});

test("another token's role is told to everybody in the room, and what it takes holds at once", async () => {
	await ann.call("room.create", { room: "told", visibility: "private" });
	await ann.call("room.join", { room: "told" });
	const eve = await as("eve", { told: "viewer" });
	const { peer } = await eve.call("room.join", { room: "told" });
	await refused(eve.call("room.publish", { room: "told", data: 1 }), "forbidden", "viewer");
	await eve.call("session.refresh", { token: await server.mint("eve", { claim: claim({ "t*": "moderator" }) }) });
	for (const client of [ann, eve])
		assert.deepEqual((await client.next("room.updated")).params, { room: "told", peer, changes: { role: "moderator" } });
	await eve.call("room.publish", { room: "told", data: 1 });
	await eve.call("session.refresh", { token: await server.mint("eve") });
	assert.deepEqual((await eve.next("room.left")).params, { room: "told", peer, reason: "closed" });
	assert.deepEqual((await ann.next("room.left")).params, { room: "told", peer, reason: "left" });
	await eve.close();
});

test("a claim that is not understood, or says too much, is no token", async () => {
	for (const roles of [{ a: "owner" }, { a: "banned" }, { a: "none" }, { a: 1 }, ["a"], "a"])
		await assert.rejects(as("fay", roles), { code: -32001 });
	const { roles } = await server.rpc("token.verify", {
		token: await server.mint("fay", { claim: claim({ "x-*": "member" }) }),
	});
	assert.deepEqual(roles, [{ rooms: "x-*", role: "member" }]);
});
