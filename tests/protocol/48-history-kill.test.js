// kill -9 in the middle of heavy publishing, again and again on one data directory: what was answered or told is there
// afterwards as it was, offsets go on without a hole, and each room's epoch says honestly whether anything was lost.
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { connect } from "../support/client.mjs";
import { SEED, randomFrom } from "../support/random.mjs";
import { anyPace, atOnce, ownDirectory, startServer } from "../support/server.mjs";

const ROUNDS = 7;
const CLIENTS = 4;
const KEPT = ["kept a", "kept b", "kept c"];
const FLEETING = "memory";
const ROOMS = [...KEPT, FLEETING];
const config = {
	rooms: { history_messages: 15, history_messages_max: 100_000 },
	limits: anyPace,
	...atOnce,
};
const { below, pick, chance } = randomFrom(SEED);

const data = join(ownDirectory(), "d");
let token;
const rooms = new Map(ROOMS.map((room) => [room, { epochs: new Set(), epoch: null, top: 0, messages: new Map(), keys: new Map(), redacted: new Set() }]));
let serial = 0;
let acknowledged = 0;

/** What was told or answered of an offset is so, whoever says it. */
function note(room, epoch, offset, facts) {
	const known = rooms.get(room);
	if (epoch !== known.epoch) return assert.fail(`${room}: epoch ${epoch} instead of ${known.epoch} (SEED=${SEED})`);
	const before = known.messages.get(offset);
	if (before) for (const key of Object.keys(facts)) if (key in before) assert.deepEqual(facts[key], before[key], `${room} ${offset} (SEED=${SEED})`);
	known.messages.set(offset, { ...before, ...facts });
	known.top = Math.max(known.top, offset);
}

/** All that the room holds, from the oldest. */
async function read(client, room) {
	const found = [];
	for (let since; ; ) {
		const page = await client.call("room.history", { room, limit: 1000, ...(since && { since }) });
		found.push(...page.messages);
		if (!page.more) return { ...page, messages: found };
		since = { epoch: page.epoch, offset: page.messages.at(-1).offset };
	}
}

/** Behind a kill: all that was known is there, and nothing else has taken its place. */
async function check(client) {
	for (const [room, known] of rooms) {
		const { epoch, offset, messages } = await read(client, room);
		if (room === FLEETING) {
			if (known.top) assert.ok(!known.epochs.has(epoch), `what was lost has another epoch (SEED=${SEED})`);
			Object.assign(known, { epoch, top: 0, messages: new Map() });
			known.epochs.add(epoch);
			continue;
		}
		known.epoch ??= epoch;
		assert.ok(offset >= known.top, `${room} ends with ${offset}, but ${known.top} was known (SEED=${SEED})`);
		assert.deepEqual(messages.map((message) => message.offset), Array.from({ length: offset }, (_, i) => i + 1));
		const bodies = new Set();
		for (const message of messages) {
			const { n } = message.data ?? {};
			if (n !== undefined && !message.edits && !message.edited_at) {
				assert.ok(!bodies.has(n), `${n} is there twice (SEED=${SEED})`);
				bodies.add(n);
			}
			const { edits, redacts } = message;
			const expected = known.messages.get(message.offset);
			if (known.redacted.has(message.offset)) assert.deepEqual([message.data, message.redacted], [null, true]);
			else if (expected && "data" in expected && !message.edited_at && !message.redacted) assert.deepEqual(message.data, expected.data, `${room} ${message.offset} (SEED=${SEED})`);
			note(room, epoch, message.offset, { edits, redacts });
		}
		// and a position from before the kill is answered
		const since = { epoch, offset: Math.max(0, known.top - 5) };
		const joined = await client.call("room.join", { room, since });
		assert.deepEqual([joined.recovered, joined.messages.length], [true, offset - since.offset]);
		known.top = offset;
	}
}

/** Publishes, and now and then edits or takes back, as fast as it is answered and some ahead. */
async function work(client, told) {
	const mine = [];
	client.socket.on("message", (bytes) => {
		for (const { method, params } of [JSON.parse(bytes)].flat()) if (method === "room.message") note(params.room, params.epoch, params.offset, { edits: params.edits, redacts: params.redacts, data: params.data ?? null });
	});
	for (;;) {
		const room = chance(0.9) ? pick(KEPT) : FLEETING;
		const known = rooms.get(room);
		const n = ++serial;
		if (mine.length && chance(0.06)) {
			const { room: of, offset } = pick(mine);
			const redacts = chance(0.5);
			if (rooms.get(of).redacted.has(offset)) continue;
			const method = redacts ? "room.redact" : "room.edit";
			const answer = await client.call(method, { room: of, offset, ...(!redacts && { data: { n } }) }).catch((error) => error);
			if (client.end) throw answer;
			if (answer instanceof Error) continue; // taken back meanwhile
			if (redacts) rooms.get(of).redacted.add(offset);
			note(of, answer.epoch, answer.offset, { edits: redacts ? undefined : offset, redacts: redacts ? offset : undefined });
		} else {
			const idempotency_key = `k${n}`;
			const pending = client.call("room.publish", { room, data: { n }, idempotency_key }).then(({ epoch, offset }) => {
				note(room, epoch, offset, { data: { n } });
				if (room !== FLEETING) mine.push({ room, offset });
				known.keys.set(idempotency_key, offset);
			});
			if (chance(0.7)) pending.catch(() => {});
			else await pending;
		}
		acknowledged++;
		told();
	}
}

async function round(number) {
	const server = await startServer({ data, workers: 1 + (number % 3), config });
	try {
		token ??= await server.mint("ann");
		const clients = await Promise.all(Array.from({ length: CLIENTS }, () => connect(server, { token })));
		if (number === 0)
			for (const room of ROOMS) await clients[0].call("room.create", { room, history: { messages: 100_000, age: 86400, durable: room !== FLEETING } });
		await check(clients[0]);
		for (const client of clients) for (const room of ROOMS) await client.call("room.join", { room });
		// a publish that is repeated behind the kill, as its answer may have been lost, is the same one
		for (const room of KEPT) {
			const [key, offset] = [...rooms.get(room).keys].at(-1) ?? [];
			if (key) assert.equal((await clients[0].call("room.publish", { room, data: "again", idempotency_key: key })).offset, offset);
		}
		let left = 100 + below(400);
		let killed;
		const told = () => --left === 0 && (killed = server.kill());
		const ends = await Promise.allSettled(clients.map((client) => work(client, told)));
		assert.ok(killed, `all ended before the kill (SEED=${SEED}):\n${ends.map(({ reason }) => reason?.stack).join("\n")}`);
		for (const { reason } of ends) if (reason?.code === "ERR_ASSERTION") throw reason;
		await killed;
	} finally {
		await server.kill();
	}
}

test(`${ROUNDS} times kill -9 while much is published`, async (t) => {
	t.diagnostic(`SEED=${SEED}`);
	for (let number = 0; number < ROUNDS; number++) await round(number);
	const server = await startServer({ data, t, config });
	await check(await connect(server, { token }));
	const kept = KEPT.map((room) => rooms.get(room).top);
	t.diagnostic(`${acknowledged} done, ${kept} offsets in the rooms that are kept`);
	assert.ok(kept.every((top) => top > 50 * ROUNDS / 4));
	assert.equal(rooms.get(FLEETING).epochs.size, ROUNDS + 1);
});
