// kill -9 at any moment loses nothing that was acknowledged: rooms made and accounts added, in ten rounds on
// one data directory, each ended in the middle of more of the same.
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { connect } from "../support/client.mjs";
import { anyPace, ownDirectory, startServer } from "../support/server.mjs";

const ROUNDS = 10;
const seed = Number(process.env.SEED ?? Date.now() % 1e6);
let state = seed;
/** A number from 0 to below n, the same again for the same seed. */
function random(n) {
	state = (state * 1103515245 + 12345) % 2 ** 31;
	return Math.floor((state / 2 ** 31) * n);
}

const data = join(ownDirectory(), "d");
const acknowledged = { rooms: new Map(), users: new Set() };
let token; // of the first round: its issuer and keys have to survive, too

/** What was acknowledged is there, and as it was. */
async function check(server, c) {
	const users = new Set();
	for (let cursor; ; ) {
		const page = await server.rpc("user.list", cursor ? { cursor } : {});
		for (const { name } of page.users) users.add(name);
		cursor = page.cursor;
		if (!cursor) break;
	}
	for (const name of acknowledged.users) assert.ok(users.has(name), `the user ${name} is lost (SEED=${seed})`);
	for (const [room, title] of acknowledged.rooms) {
		const kept = await c.call("room.get", { room }).catch((error) => error);
		assert.equal(kept.title, title, `the room ${room} is lost (SEED=${seed}): ${kept.message}`);
	}
}

async function round(number) {
	const server = await startServer({ data, workers: 2, config: { limits: anyPace } });
	try {
		await work(server, number);
	} finally {
		await server.kill();
	}
}

/** Makes and adds until a random number of it was acknowledged, then kills. */
async function work(server, number) {
	token ??= await server.mint("ann");
	acknowledged.users.add("ann");
	const clients = await Promise.all([1, 2, 3].map(() => connect(server, { token })));
	await check(server, clients[0]);

	// Hashing a password takes longer than making many a room: every second round is theirs alone.
	const onlyUsers = number % 2 === 1;
	let left = 1 + random(onlyUsers ? 4 : 60); // acknowledgements until the end
	let killed;
	const told = (note) => {
		if (killed) return;
		note();
		if (--left === 0) killed = server.kill();
	};
	const makeRooms = async (c, who) => {
		for (let i = 0; ; i++) {
			const room = `room-${number}-${who}-${i}`;
			const title = `${room} ${random(1e6)}`;
			await c.call("room.create", { room, title });
			told(() => acknowledged.rooms.set(room, title));
		}
	};
	const addUsers = async (who) => {
		for (let i = 0; ; i++) {
			const name = `user-${number}-${who}-${i}`;
			await server.rpc("user.add", { name });
			told(() => acknowledged.users.add(name));
		}
	};
	const ends = await Promise.allSettled([
		...[0, 1].map(addUsers),
		...(onlyUsers ? [] : clients.map(makeRooms)),
	]);
	const reasons = ends.map(({ reason }) => `${reason}`).join("\n");
	assert.ok(killed, `all were refused before the kill (SEED=${seed}):\n${reasons}`);
	await killed;
}

test(`${ROUNDS} times kill -9 while rooms and accounts are made`, async (t) => {
	t.diagnostic(`SEED=${seed}`);
	for (let number = 0; number < ROUNDS; number++) await round(number);
	const server = await startServer({ data, config: { limits: anyPace }, t });
	await check(server, await connect(server, { token }));
	t.diagnostic(`${acknowledged.rooms.size} rooms and ${acknowledged.users.size} accounts were acknowledged`);
	assert.ok(acknowledged.rooms.size >= ROUNDS / 2 && acknowledged.users.size > ROUNDS / 2);
});
