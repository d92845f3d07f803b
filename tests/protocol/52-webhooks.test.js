// Webhooks: what happens is told to other programs, signed, in order, at least once, whatever the receiver
// does. Each event is verified by the library that receivers use.
import assert from "node:assert/strict";
import test from "node:test";
import { connect } from "../support/client.mjs";
import { brief, newSecret, Receiver } from "../support/receiver.mjs";
import { atOnce, startServer } from "../support/server.mjs";

const quick = { first_retry: "20ms", last_retry: "100ms" };

const ended = (all) => all.some(({ type }) => type === "room.vacated");

test("what happens in a room and to a session is told in order", async (t) => {
	const receiver = await new Receiver().listen(t);
	const server = await startServer({ t, workers: 4, config: { ...atOnce, webhooks: [receiver.webhook()] } });
	const ann = await connect(server, { user: "ann" });
	const bob = await connect(server, { user: "bob" });
	const joined = await ann.call("room.join", { room: "r" });
	const { peer } = await bob.call("room.join", { room: "r" });
	await bob.call("room.publish", { room: "r", data: { n: 1.0, text: "é" } });
	await bob.call("room.leave", { room: "r" });
	await ann.close();
	await receiver.got((all) => ended(all) && all.some(({ type, data }) => type === "session.closed" && data.user === "ann"));
	const room = receiver.events.filter(({ key }) => key === "room:r");
	assert.deepEqual(room.map(brief), [
		"room.occupied r",
		"room.joined r ann",
		"room.joined r bob",
		"room.published r [object Object]",
		"room.left r bob left",
		"room.left r ann left",
		"room.vacated r",
	]);
	assert.ok(room.every(({ sequence }, i) => i === 0 || sequence > room[i - 1].sequence));
	assert.equal(room[1].data.peer, joined.peer);
	assert.equal(room[2].data.peer, peer);
	assert.deepEqual(room[3].data, {
		room: "r",
		epoch: joined.epoch,
		offset: 1,
		from: { peer, user: "bob" },
		data: { n: 1.0, text: "é" },
		time: room[3].data.time,
	});
	const sessions = receiver.events.filter(({ key }) => key === "user:ann");
	assert.deepEqual(sessions.map(brief), ["session.opened ann ann", "session.closed ann ann closed"]);
	assert.equal(sessions[0].data.session, sessions[1].data.session);
	assert.deepEqual(receiver.problems, []);
	assert.equal(new Set(receiver.events.map(({ id }) => id)).size, receiver.events.length);
});
