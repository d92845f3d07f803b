// Templates of the configuration: what holds for rooms by their names, also after a reload.
import assert from "node:assert/strict";
import test from "node:test";
import { connect } from "../support/client.mjs";
import { refused } from "../support/rooms.mjs";
import { startServer } from "../support/server.mjs";

test("a template gives defaults and limits, and says who creates and what its maker is", async (t) => {
	const room_templates = [
		{ names: ["team-*"], create: "moderators", history_messages: 1000, history_age: "2h", max_members: 50 },
		{ names: ["desk-*"], visibility: "private", maker_role: "owner" },
		{ names: ["made-*"], ephemeral: false, lobby: true, history_durable: true },
	];
	const server = await startServer({ t, config: { room_templates } });
	const ann = await connect(server, { user: "ann" });
	const mod = await connect(server, { user: "mod", scope: "rooms:join rooms:create rooms:moderate" });
	await refused(ann.call("room.create", { room: "team-1" }), "forbidden", "template_forbids");
	const team = await mod.call("room.create", { room: "team-1" });
	assert.deepEqual(team.history, { messages: 1000, age: 7200, durable: false });
	assert.deepEqual([team.max_members, team.visibility, team.lobby], [50, "public", false]);
	await refused(mod.call("room.create", { room: "team-2", max_members: 51 }), "invalid_params", "invalid_params", {
		field: "max_members",
		limit: 50,
	});

	assert.equal((await ann.call("room.join", { room: "desk-1" })).role, "owner");
	const bob = await connect(server, { user: "bob" });
	await refused(bob.call("room.join", { room: "desk-1" }), "forbidden", "room_private");
	await refused(ann.call("room.join", { room: "made-1" }), "not_found", "no_such_room");
	const made = await ann.call("room.create", { room: "made-1" });
	assert.deepEqual([made.lobby, made.history.durable], [true, true]);
	assert.equal(made.updated_at, made.created_at);
});
