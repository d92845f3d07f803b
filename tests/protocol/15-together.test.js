// What a client says at once, more than is read from it at a time, is handled in one turn: whoever is told of it hears it together.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { after, test } from "node:test";
import { connect, within } from "../support/client.mjs";
import { frame, rawWebSocket } from "../support/raw.mjs";
import { anyNumber, anyPace, ownDirectory, startServer } from "../support/server.mjs";

const config = { limits: { ...anyPace, ...anyNumber, outbound_queue: "256KiB" } };
const server = await startServer({ workers: 1, config });
after(() => server.stop());

const COUNT = 200; // of some hundred bytes each: several buffers full
const ROOM = "together";
const NORMAL = Buffer.from([1000 >> 8, 1000 & 255]);

const request = (id, method, params) => frame(1, JSON.stringify({ jsonrpc: "2.0", id, method, params }));
const publishes = () => Array.from({ length: COUNT }, (_, i) => request(i + 2, "room.publish", { room: ROOM, data: i }));

async function speaker(at = server) {
	const raw = await rawWebSocket(at, { user: "ann" });
	raw.write(request(1, "room.join", { room: ROOM }));
	await raw.frame();
	return raw;
}

/** The member has heard all of them, in order; the texts they came in. */
async function hearsAll(member) {
	const before = member.frames.length;
	for (let i = 0; i < COUNT; i++) assert.equal((await member.next("room.message")).params.data, i);
	return member.frames.slice(before).filter((text) => text.includes("room.message"));
}

const member = await connect(server, { user: "bob", batch: true });
await member.call("room.join", { room: ROOM });

test("what came at once is told at once", async () => {
	const raw = await speaker();
	raw.write(Buffer.concat(publishes()));
	const texts = await hearsAll(member);
	assert.equal(texts.length, 1, `in ${texts.map((text) => JSON.parse(text).length ?? 1)}`);
	raw.destroy();
});

/** Has all of it in the server's hands before any is read. */
async function atOneTime(write) {
	process.kill(server.pid, "SIGSTOP");
	await write();
	process.kill(server.pid, "SIGCONT");
}

const written = (raw, bytes) => new Promise((done) => raw.socket.write(bytes, done));

test("who has much to say does not keep others waiting who have less", async () => {
	const [short, long] = [await speaker(), await speaker()];
	const FEW = 30, MANY = 400;
	const say = (count, who) => Buffer.concat(Array.from({ length: count }, (_, i) => request(i + 2, "room.publish", { room: ROOM, data: [who, i] })));
	await atOneTime(async () => {
		await written(short, say(FEW, "short"));
		await written(long, say(MANY, "long"));
	});
	const said = [];
	for (let i = 0; i < FEW + MANY; i++) said.push((await member.next("room.message")).params.data);
	for (const who of ["short", "long"]) {
		const numbers = said.filter(([by]) => by === who).map(([, i]) => i);
		assert.deepEqual(numbers, numbers.map((_, i) => i));
	}
	const last = said.findIndex(([who, i]) => who === "short" && i === FEW - 1);
	assert.ok(last < said.length / 2, `${last} came before`);
	for (const raw of [short, long]) raw.destroy();
});

// More than a queue may hold, all asked for before the first of it is written.
for (const others of [0, 40])
	test(`who asks for much at once, and reads it, is not a slow one; with ${others} who are told between`, async () => {
		const SIZE = 20_000, ROUNDS = 6, PAGES = 3;
		const token = await server.mint("crowd");
		const [big, crowd] = [`big-${others}`, `crowd-${others}`];
		const all = [];
		for (let i = 0; i < others; i++) all.push(await connect(server, { token }));
		for (const c of all) await c.call("room.join", { room: crowd });
		await member.call("room.join", { room: big });
		await member.call("room.publish", { room: big, data: "x".repeat(SIZE) });
		await member.next("room.message");
		const raw = await rawWebSocket(server, { user: "ann" });
		for (const room of [big, crowd]) raw.write(request(room, "room.join", { room }));
		for (let joined = 0; joined < 2; ) joined += (await raw.frame()).text.includes('"result"');
		const page = (n) => request(`${n}`.padEnd(100, "."), "room.history", { room: big, limit: 1, reverse: true });
		const round = (n) => [request(n, "room.publish", { room: crowd, data: n }), ...Array.from({ length: PAGES }, (_, i) => page(n * PAGES + i))];
		raw.write(Buffer.concat(Array.from({ length: ROUNDS }, (_, n) => round(n)).flat()));
		for (let pages = 0; pages < ROUNDS * PAGES; ) {
			const got = await raw.frame();
			assert.equal(got?.opcode, 1, `${pages} of ${ROUNDS * PAGES}, then ${got?.payload.subarray(2)}`);
			pages += got.text.includes("x".repeat(SIZE));
		}
		for (const c of all) for (let n = 0; n < ROUNDS; n++) assert.equal((await c.next("room.message")).params.data, n);
		for (const c of all) await c.close();
		raw.destroy();
	});

// Nor does it get anything more, which would be no frame.
test("a connection that could not be written to is ended, also where that was tried while more was to come", async (t) => {
	const COUNT = 4, LONG = 20_000, QUARTER = 64 * 1024;
	const library = join(ownDirectory(), "send.so");
	execFileSync("cc", ["-O1", "-shared", "-fPIC", "-o", library, join(import.meta.dirname, "../support/send.c")]);
	const env = { LD_PRELOAD: library, TEST_SEND_BYTES: QUARTER, ASAN_OPTIONS: `${process.env.ASAN_OPTIONS ?? ""}:verify_asan_link_order=0` };
	const poor = await startServer({ t, workers: 1, config, env });
	const token = await poor.mint("bob");
	const bob = await connect(poor, { token, batch: true });
	await bob.call("room.join", { room: ROOM });
	let fault;
	bob.socket.on("error", (error) => (fault = error));
	const raw = await speaker(poor);
	await bob.next("room.joined");
	raw.write(Buffer.concat(Array.from({ length: COUNT }, (_, i) => request(i + 2, "room.publish", { room: ROOM, data: [i, "x".repeat(LONG)] }))));
	assert.equal((await within(bob.closed, 10_000, "the end")).code, 1006);
	assert.equal(fault, undefined);
	const again = await connect(poor, { token, batch: true, params: { resume: { session: bob.id, received: bob.received } } });
	assert.equal(again.session.resumed, true);
	for (let i = 0; i < COUNT; i++) assert.equal((await again.next("room.message")).params.data[0], i);
	raw.destroy();
});

test("with much to do, receipts go together with what comes next for the same client, and are not kept back without", async () => {
	const PAIRS = 40, LONG = 14_000; // more than is read in the turns before receipts go alone, less than in those they may wait for
	const token = await server.mint("crowd");
	const pairs = await Promise.all(
		Array.from({ length: PAIRS }, async (_, i) => {
			const pair = await Promise.all([0, 1].map(() => connect(server, { token, batch: true })));
			const room = `pair-${i}`;
			const [{ peer: a }, { peer: b }] = [await pair[0].call("room.join", { room }), await pair[1].call("room.join", { room })];
			await pair[0].next("room.joined");
			return pair.map((client, j) => ({ client, signal: { room, to: { peer: [b, a][j] }, type: "n" } }));
		}),
	);
	/** One of the pair signals, and the other if it has so much to say. */
	const exchange = async (bytes) => {
		const answers = [];
		await atOneTime(() =>
			Promise.all(
				pairs.flat().map(({ client, signal }, i) => {
					if (i % 2 && !bytes) return undefined;
					answers.push(client.call("signal.send", { ...signal, data: "x".repeat(i % 2 ? bytes : 1) }));
					return new Promise((done) => client.socket._socket.write("", done)); // behind the request
				}),
			),
		);
		for (const answer of answers) assert.deepEqual(await answer, { queued: 1 });
	};
	await exchange(LONG);
	const together = pairs.filter(([{ client }]) => client.frames.some((text) => text.includes('"queued"') && text.includes("signal.received")));
	assert.ok(together.length > PAIRS / 2, `${together.length} of ${PAIRS}`);
	await exchange(0);
	for (const { client } of pairs.flat()) await client.close();
});

test("whoever leaves with the last byte has been heard, and is gone", async () => {
	for (const end of [frame(8, NORMAL), frame(8, NORMAL), frame(2, "binary"), frame(3, "no such frame"), null]) {
		const raw = await speaker();
		raw.write(Buffer.concat([...publishes(), ...(end ? [end] : [])]));
		if (!end) raw.socket.end();
		await hearsAll(member);
		raw.socket.end(); // a close frame is not answered here
		await raw.gone();
	}
	await member.call("session.ping");
	await member.close();
});
