// What waits for many at once: members of the same rooms, who take arrays or single messages, compressed or plain, and of whom
// some are sent signals between. Each hears everything that is meant for it, in order, once, whatever others wait for.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { connect } from "../support/client.mjs";
import { randomFrom, SEED } from "../support/random.mjs";
import { ResumingClient } from "../support/resuming.mjs";
import { anyPace, startServer } from "../support/server.mjs";

const server = await startServer({ workers: 3, config: { server: { compression: true }, limits: { ...anyPace } } });
after(() => server.stop());

const ROUNDS = 9;
const MEMBERS = 12;
const FRAME_MAX = 256 * 1024;
const ROOMS = ["waiting-a", "waiting-b", "waiting-c"];

/** The first five are in the same rooms and take arrays: what waits for them is the same but for signals. */
async function enter(i) {
	const client = await connect(server, {
		user: `member-${i}`,
		batch: i < 5 || i % 3 !== 0,
		ws: { perMessageDeflate: i % 4 === 3 },
	});
	client.arrays = i < 5 || i % 3 !== 0;
	client.peers = new Map();
	client.expected = new Map(ROOMS.map((room) => [room, []]));
	for (const room of ROOMS.filter((_, k) => i < 5 || i % (k + 2) === 0))
		client.peers.set(room, (await client.call("room.join", { room })).peer);
	return client;
}

const heard = (client, room) =>
	client.events
		.filter(({ method, params }) => /^(room\.message|signal\.received)$/.test(method) && params.room === room)
		.map(({ method, params: { data } }) => `${method} ${data.n} ${data.fill.length}`);

/** Tells every expected list of it, and returns the call. */
function told(members, { pick, chance, below }, n, most) {
	const room = pick(ROOMS);
	const data = { n, fill: "x".repeat(below(most)) };
	const inside = members.filter(({ peers }) => peers.has(room));
	if (chance(0.8)) {
		for (const { expected } of inside) expected.get(room).push(`room.message ${n} ${data.fill.length}`);
		return ["room.publish", { room, data }];
	}
	const to = pick(inside);
	to.expected.get(room).push(`signal.received ${n} ${data.fill.length}`);
	return ["signal.send", { room, to: { peer: to.peers.get(room) }, type: "x", data }];
}

async function settled(client) {
	const wanted = [...client.expected.values()].reduce((sum, list) => sum + list.length, 0);
	const count = () => ROOMS.reduce((sum, room) => sum + heard(client, room).length, 0);
	while (count() < wanted) await client.next(({ method }) => method === "room.message" || method === "signal.received");
	await client.call("session.ping"); // and nothing comes behind it
}

test(`everybody hears what is meant for them, in order and once (SEED=${SEED})`, async () => {
	const random = randomFrom(SEED);
	const members = await Promise.all(Array.from({ length: MEMBERS }, (_, i) => enter(i)));
	const sender = await connect(server, { user: "sender" });
	for (const room of ROOMS) await sender.call("room.join", { room });
	let n = 0;
	let arrays = 0;
	for (let round = 0; round < ROUNDS; round++) {
		for (const client of members) client.frames.length = client.events.length = 0;
		// few large ones, many small ones; several batches one behind the other
		const [calls, most] = round % 3 === 2 ? [3, 40_000] : [40, 200];
		const answered = [];
		for (let batch = 0; batch < 4; batch++)
			answered.push(sender.batch(Array.from({ length: calls }, () => told(members, random, n++, most))));
		for (const outcomes of await Promise.all(answered))
			for (const { status, reason } of outcomes) assert.equal(status, "fulfilled", String(reason));
		await Promise.all(members.map(settled));
		for (const [i, client] of members.entries()) {
			for (const room of ROOMS) assert.deepEqual(heard(client, room), client.expected.get(room), `member ${i} in ${room}, round ${round}`);
			for (const list of client.expected.values()) list.length = 0;
			for (const text of client.frames) assert.ok(text.length <= FRAME_MAX);
			const joined = client.frames.filter((text) => text.startsWith("["));
			if (!client.arrays) assert.deepEqual(joined, []);
			for (const text of joined) assert.ok(JSON.parse(text).length > 1);
			arrays += joined.length;
		}
	}
	assert.ok(arrays > ROUNDS * 5, `only ${arrays} arrays`);
	for (const client of [...members, sender]) await client.close();
});

test(`what was counted is right whatever was joined: who is cut off comes back to the rest (SEED=${SEED})`, async () => {
	const { below, chance, pick } = randomFrom(SEED + 1);
	const room = "waiting-cut";
	const members = await Promise.all(
		Array.from({ length: 6 }, async (_, i) => {
			const member = new ResumingClient(server, await server.mint(`member-${i}`), { batch: i < 5 });
			await member.connect();
			member.peer = (await member.call("room.join", { room })).peer;
			member.expected = [];
			return member;
		}),
	);
	const sender = await connect(server, { user: "sender" });
	await sender.call("room.join", { room });
	const of = ({ events }) => events.filter(({ params: { data } }) => Number.isInteger(data)).map(({ params }) => params.data);
	let n = 0;
	const call = () => {
		const data = n++;
		const to = chance(0.2) && pick(members);
		for (const { expected } of to ? [to] : members) expected.push(data);
		return to ? ["signal.send", { room, to: { peer: to.peer }, type: "x", data }] : ["room.publish", { room, data }];
	};
	for (let round = 0; round < 12; round++) {
		const sent = sender.batch(Array.from({ length: 50 }, call));
		const some = members.filter(() => chance(0.5));
		const far = below(50); // as far as each of them hears before it is cut off
		await Promise.all(
			some.map(async (member) => {
				const heard = member.events.length + far;
				await member.until(() => member.events.length >= Math.min(heard, member.expected.length / 2), "some of it");
				member.cut();
				assert.equal((await member.connect()).resumed, true);
			}),
		);
		for (const { status, reason } of await sent) assert.equal(status, "fulfilled", String(reason));
	}
	for (const [i, member] of members.entries()) {
		await member.until(() => of(member).length >= member.expected.length, `the rest of member ${i}`);
		assert.deepEqual(of(member), member.expected, `member ${i}`);
		await member.close();
	}
	await sender.close();
});
