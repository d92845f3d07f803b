// A client that does not read: it gets 4002 or is cut, others get theirs, and memory stays bounded.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import { connect, within } from "../support/client.mjs";
import { frame, rawWebSocket } from "../support/raw.mjs";
import { anyPace, atOnce, startServer } from "../support/server.mjs";

const server = await startServer({
	workers: 2,
	config: { ...atOnce, limits: { ...anyPace, outbound_queue: "256KiB" } },
	// freed memory is not to be held back here, where memory is measured
	env: { ASAN_OPTIONS: `${process.env.ASAN_OPTIONS ?? ""}:quarantine_size_mb=1:thread_local_quarantine_size_kb=64` },
});
after(() => server.stop());

const DATA = "x".repeat(60_000);
const POLL_MS = 50;

function resident() {
	return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.pid}/status`, "utf8"))[1]) * 1024;
}

const join = (room) => frame(1, JSON.stringify({ jsonrpc: "2.0", id: 1, method: "room.join", params: { room } }));

/** A session that joins and then reads no more. */
async function deaf(room, user = "deaf") {
	const raw = await rawWebSocket(server, { user });
	raw.write(join(room));
	await raw.frame();
	raw.socket.pause();
	return raw;
}

/** Publishes until the server has counted so many slow consumers more. */
async function until(ann, bob, room, count) {
	const NAME = "signalbox_slow_consumers_total";
	const before = (await server.metrics())[NAME];
	let sent = 0;
	while ((await server.metrics())[NAME] < before + count) {
		assert.ok(sent < 1000, `still not slow after ${sent} messages of ${DATA.length} bytes`);
		await ann.call("room.publish", { room, data: [sent, DATA] });
		assert.equal((await bob.next("room.message")).params.data[0], sent++);
		await ann.next("room.message");
	}
	return sent;
}

async function pair(room) {
	const [ann, bob] = [await connect(server, { user: "ann" }), await connect(server, { user: "bob" })];
	for (const c of [ann, bob]) await c.call("room.join", { room });
	return [ann, bob];
}

test("who does not read is put out with 4002; the others miss nothing; the room hears of it", async () => {
	const [ann, bob] = await pair("slow");
	const raw = await deaf("slow");
	await until(ann, bob, "slow", 1);
	raw.socket.resume(); // reads at last: what the kernel had of the messages, then why
	assert.equal(await raw.closeCode(), 4002);
	raw.write(frame(8, Buffer.from("0fa2", "hex")));
	await raw.gone();
	for (const c of [ann, bob]) assert.equal((await c.next("room.left")).params.reason, "lost");
	raw.destroy();
	await ann.close();
	await bob.close();
});

test("20 of them at once are put out, and their memory is given back", async () => {
	const [ann, bob] = await pair("many-slow");
	const before = resident();
	const all = [];
	for (let i = 0; i < 20; i++) all.push(await deaf("many-slow", `deaf-${i % 4}`));
	await until(ann, bob, "many-slow", 20);
	// 20 queues of 256 KiB, what libwebsockets has taken of each, and the allocator's share
	const grown = (resident() - before) >> 20;
	assert.ok(grown < 40, `${grown} MiB more`);
	// who never takes the close frame is cut all the same
	await within(
		(async () => {
			while ((await server.metrics()).signalbox_connections > 2) await new Promise((done) => setTimeout(done, POLL_MS));
		})(),
		10_000,
		"the end of their connections",
	);
	assert.equal((await server.metrics()).signalbox_sessions, 2);
	for (const raw of all) raw.destroy();
	await ann.close();
	await bob.close();
});

test("who asks and does not read the answers is put out, too", async () => {
	const raw = await rawWebSocket(server, { user: "asker" });
	raw.socket.pause();
	const batch = JSON.stringify(Array.from({ length: 100 }, (_, id) => ({ jsonrpc: "2.0", id: `${id}`.padEnd(100), method: "session.ping" })));
	const bytes = frame(1, batch);
	const before = (await server.metrics()).signalbox_slow_consumers_total;
	let writing = true;
	raw.closed.then(() => (writing = false));
	for (let i = 0; writing && (await server.metrics()).signalbox_slow_consumers_total === before; i++) {
		assert.ok(i < 5000);
		raw.write(bytes);
		raw.write(bytes);
	}
	raw.destroy();
	const ann = await connect(server, { user: "ann" });
	await ann.call("session.ping");
	await ann.close();
});

test("a slow but steady reader is left alone", async () => {
	const [ann, bob] = await pair("steady");
	const cat = await connect(server, { user: "cat" });
	await cat.call("room.join", { room: "steady" });
	for (let i = 0; i < 40; i++) {
		cat.socket.pause();
		await ann.call("room.publish", { room: "steady", data: [i, DATA] });
		await bob.next("room.message");
		cat.socket.resume();
		assert.equal((await cat.next("room.message")).params.data[0], i);
	}
	for (const c of [ann, bob, cat]) await c.close();
});
