// permessage-deflate (RFC 7692): negotiated, each message alone, and never more in memory than a message may be.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import { deflateRawSync } from "node:zlib";
import { connect } from "../support/client.mjs";
import { deflated, frame, inflated, rawWebSocket, upgrade } from "../support/raw.mjs";
import { atOnce, startServer } from "../support/server.mjs";

const server = await startServer({
	workers: 2,
	config: { ...atOnce, server: { compression: true }, limits: { outbound_queue: "256KiB" } },
	// freed memory is not to be held back here, where memory is measured
	env: { ASAN_OPTIONS: `${process.env.ASAN_OPTIONS ?? ""}:quarantine_size_mb=1:thread_local_quarantine_size_kb=64` },
});
after(() => server.stop());

const LIMIT = 131072;
const FIRST_LIMIT = 16384;
const RSV1 = 4;
const PING = '{"jsonrpc":"2.0","id":"ping","method":"session.ping"}';
const JOIN = (room) => JSON.stringify({ jsonrpc: "2.0", id: 1, method: "room.join", params: { room } });
const offer = { "Sec-WebSocket-Extensions": "permessage-deflate" };
const ANSWER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

const saved = async () => (await server.metrics()).signalbox_compression_saved_bytes_total;
const mallory = () => rawWebSocket(server, { user: "mallory", headers: offer });
const packed = (text, options) => frame(1, deflated(text, options), { rsv: RSV1 });
const text = ({ rsv, payload }) => (rsv ? inflated(payload) : payload.toString());

/** The frame with this id's answer, whatever comes before it. */
async function answered(raw, id) {
	for (;;) {
		const got = await raw.frame();
		assert.ok(got, "closed before the answer");
		assert.notEqual(got.opcode, 8, () => `closed: ${got.payload.readUInt16BE(0)} ${got.payload.subarray(2)}`);
		if (got.opcode === 1 && JSON.parse(text(got)).id === id) return got;
	}
}

async function works(raw) {
	raw.write(packed(PING));
	await answered(raw, "ping");
	raw.destroy();
}

// ---- the handshake ----

const offers = [
	["permessage-deflate", ANSWER],
	["permessage-deflate; client_max_window_bits", ANSWER],
	["permessage-deflate;client_max_window_bits=9;client_no_context_takeover;server_no_context_takeover", ANSWER],
	["permessage-deflate; server_max_window_bits=15", `${ANSWER}; server_max_window_bits=15`],
	['permessage-deflate; server_max_window_bits="9"', `${ANSWER}; server_max_window_bits=9`],
	["permessage-deflate; server_max_window_bits=10, permessage-deflate", `${ANSWER}; server_max_window_bits=10`],
	["permessage-deflate; server_max_window_bits=8, permessage-deflate; client_max_window_bits", ANSWER],
	["permessage-deflate; unheard_of, permessage-deflate, permessage-deflate", ANSWER],
	["x-webkit-deflate-frame, permessage-deflate", ANSWER],
	["permessage-deflate; server_max_window_bits=8"], // zlib has none so small
	["permessage-deflate; server_max_window_bits"],
	["permessage-deflate; server_max_window_bits=16"],
	["permessage-deflate; server_max_window_bits=010"],
	["permessage-deflate; client_max_window_bits=7"],
	["permessage-deflate; server_no_context_takeover=1"],
	["permessage-deflate; client_max_window_bits; client_max_window_bits"],
	["permessage-deflate;"],
	["permessage-deflat"],
	["Permessage-deflate; ;=;, ,,"],
	["permessage-deflate\t; a"],
	["x".repeat(254)],
];
for (const [offered, answer] of offers)
	test(`offered ${offered.slice(0, 100)}: ${answer ?? "not taken"}`, async () => {
		const { status, headers } = await upgrade(server, { "Sec-WebSocket-Extensions": offered });
		assert.deepEqual([status, headers["sec-websocket-extensions"]], [101, answer]);
	});

test("offers in two headers are one list; a list that is too long is a 400", async () => {
	const two = await upgrade(server, { "Sec-WebSocket-Extensions": ["one", "permessage-deflate"] });
	assert.equal(two.headers["sec-websocket-extensions"], ANSWER);
	assert.equal((await upgrade(server, { "Sec-WebSocket-Extensions": "x".repeat(255) })).status, 400);
});

test("where it is not configured it is not taken, and the bit is refused", async (t) => {
	const plain = await startServer({ t });
	const { status, headers } = await upgrade(plain, offer);
	assert.deepEqual([status, headers["sec-websocket-extensions"]], [101, undefined]);
	const raw = await rawWebSocket(plain, { user: "mallory", headers: offer });
	raw.write(packed(PING));
	assert.equal(await raw.closeCode(), 1002);
	raw.destroy();
});

test("who does not offer it gets nothing compressed, and may not compress", async () => {
	const raw = await rawWebSocket(server, { user: "mallory" });
	raw.write(frame(1, JOIN("plain")));
	raw.write(frame(1, JSON.stringify({ jsonrpc: "2.0", id: 2, method: "room.publish", params: { room: "plain", data: "x".repeat(5000) } })));
	for (let i = 0; i < 3; i++) assert.equal((await raw.frame()).rsv, 0);
	raw.write(packed(PING));
	assert.equal(await raw.closeCode(), 1002);
	raw.destroy();
});

// ---- there and back ----

const contents = {
	"text that repeats itself": (n) => "the same again; ".repeat(n / 16 + 1).slice(0, n),
	"text like messages": (n) =>
		Array.from({ length: n / 40 + 1 }, (_, i) => `{peer: '${(i * 7919) % 100003}', state: {muted: ${i % 3 === 0}}}`).join().slice(0, n),
	"random text, that grows": (n) => randomBytes(n).toString("base64").slice(0, n),
};
// What the `ws` package and every browser may ask for. Its inflater is made for the window it asked for.
for (const bits of [9, 12, 15])
	test(`messages of every size, and a window of ${bits} bits`, async () => {
		const ws = { perMessageDeflate: { serverMaxWindowBits: bits, clientMaxWindowBits: bits, threshold: 0 } };
		const c = await connect(server, { user: "ann", ws });
		assert.equal(c.socket.extensions, "permessage-deflate");
		const room = `sizes-${bits}`;
		await c.call("room.join", { room });
		for (const content of Object.values(contents))
			for (const n of [0, 1, 125, 126, 255, 256, 257, 511, 512, 4095, 4096, 32768, 65534]) {
				const data = content(n);
				await c.call("room.publish", { room, data });
				assert.ok((await c.next("room.message")).params.data === data, `${n} bytes`);
			}
		await c.close();
	});

test("exact sizes to the server: 125, 126, 65,535, 65,536 and the largest; a byte more is 1009", async () => {
	const raw = await mallory();
	for (const n of [PING.length, 125, 126, 65535, 65536, LIMIT]) {
		raw.write(packed(PING.padEnd(n)));
		await answered(raw, "ping");
	}
	raw.write(packed(PING.padEnd(LIMIT + 1)));
	assert.equal(await raw.closeCode(), 1009);
	raw.destroy();
});

test("the largest message that cannot be made smaller is longer when compressed, and taken", async () => {
	const raw = await mallory();
	const noise = `{"jsonrpc":"2.0","id":"big","method":"nope","params":{"x":"${randomBytes(LIMIT).toString("base64")}`;
	const message = `${noise.slice(0, LIMIT - 3)}"}}`;
	const payload = deflated(message, { level: 0 });
	assert.ok(payload.length > LIMIT && message.length === LIMIT);
	raw.write(frame(1, payload, { rsv: RSV1 }));
	await answered(raw, "big");
	await works(raw);
});

test("each message is compressed alone, only when that makes it smaller, and only from 256 bytes on", async () => {
	const raw = await mallory();
	raw.write(packed(JOIN("alone")));
	await answered(raw, 1);
	const before = await saved();
	const publish = (data) => frame(1, JSON.stringify({ jsonrpc: "2.0", id: 2, method: "room.publish", params: { room: "alone", data } }));
	for (const [data, rsv] of [["x".repeat(20), 0], ["x".repeat(5000), RSV1], ["x".repeat(5000), RSV1], [contents["random text, that grows"](60_000), RSV1]]) {
		raw.write(publish(data));
		let got;
		do got = await raw.frame();
		while (!text(got).includes("room.message"));
		assert.equal(got.rsv, rsv);
		assert.equal(JSON.parse(text(got)).params.data, data);
	}
	assert.ok((await saved()) - before > 9000);
	await works(raw);
});

test("one room, members with every kind of terms, batches or none: all read the same, in order", async () => {
	const kinds = [false, true, { serverMaxWindowBits: 9 }, { serverMaxWindowBits: 11 }, { serverMaxWindowBits: 15 }];
	const members = [];
	for (const perMessageDeflate of kinds)
		for (const batch of [false, true]) members.push(await connect(server, { user: "ann", batch, ws: { perMessageDeflate } }));
	for (const c of members) await c.call("room.join", { room: "kinds" });
	const data = Array.from({ length: 60 }, (_, i) => [i, contents["text like messages"]((i * 997) % 6000)]);
	const sent = data.map((one) => members[0].call("room.publish", { room: "kinds", data: one }));
	for (const c of members)
		for (const one of data) assert.deepEqual((await c.next("room.message", 60_000)).params.data, one);
	await Promise.all(sent);
	for (const c of members) await c.close();
});

// ---- frames ----

test("a compressed message byte by byte, in fragments with pings and pongs between them", async () => {
	const raw = await mallory();
	const payload = deflated(PING.padEnd(3000));
	for (let i = 0; i < payload.length; i++) {
		const one = payload.subarray(i, i + 1);
		const bytes = frame(i ? 0 : 1, one, { rsv: i ? 0 : RSV1, fin: i === payload.length - 1 });
		for (const byte of bytes) raw.write(Buffer.of(byte));
		if (i < payload.length - 1) {
			raw.write(frame(9, `p${i}`));
			raw.write(frame(10, "q"));
			raw.write(frame(0, "", { fin: false }));
		}
	}
	await answered(raw, "ping");
	raw.write(Buffer.concat([frame(1, payload, { rsv: RSV1, fin: false }), frame(0)]));
	await answered(raw, "ping");
	raw.write(Buffer.concat([frame(1, "", { rsv: RSV1, fin: false }), frame(0, payload)]));
	await answered(raw, "ping");
	raw.write(frame(1, PING)); // not every message has to be compressed
	await answered(raw, "ping");
	raw.write(frame(8, Buffer.from("03e8", "hex")));
	assert.equal(await raw.closeCode(), 1000);
	raw.destroy();
});

test("blocks of every kind: stored, fixed, dynamic, empty, and a last one with more behind it", async () => {
	const raw = await mallory();
	const final = (message) => Buffer.concat([deflateRawSync(Buffer.from(message)), Buffer.of(0)]);
	for (const payload of [
		deflated(PING, { level: 0 }),
		deflated(PING, { strategy: 4 }), // Z_FIXED
		deflated(PING.padEnd(5000, " \t\n"), { strategy: 2 }), // Z_HUFFMAN_ONLY
		deflated(PING, { windowBits: 9 }),
		final(PING),
		Buffer.concat([deflateRawSync(Buffer.from(PING.slice(0, 20))), deflateRawSync(Buffer.from(PING.slice(20))), Buffer.of(0)]),
	]) {
		raw.write(frame(1, payload, { rsv: RSV1 }));
		await answered(raw, "ping");
	}
	await works(raw);
});

const wrong = {
	"noise": [1007, frame(1, Buffer.from("ffeeddccbbaa99887766", "hex"), { rsv: RSV1 })],
	"a message that is cut off": [1007, frame(1, deflated(PING).subarray(0, 20), { rsv: RSV1 })],
	"nothing at all": [1007, frame(1, "", { rsv: RSV1 })],
	"a reference to before the message": [1007, frame(1, Buffer.from("4a040200", "hex").subarray(1), { rsv: RSV1 })],
	"a reference into the message before": [1007, frame(1, deflateRawSync(Buffer.from(PING), { dictionary: Buffer.from(PING) }), { rsv: RSV1 })],
	"compressed bytes that are no UTF-8": [1007, frame(1, deflated(Buffer.from("22ff22", "hex")), { rsv: RSV1 })],
	"a compressed binary message": [1003, frame(2, deflated(PING), { rsv: RSV1 })],
	"the bit in a later frame": [1002, Buffer.concat([frame(1, "[", { fin: false }), frame(0, "]", { rsv: RSV1 })])],
	"the bit in both frames": [1002, Buffer.concat([frame(1, deflated(PING), { rsv: RSV1, fin: false }), frame(0, "", { rsv: RSV1 })])],
	"another reserved bit": [1002, frame(1, deflated(PING), { rsv: 6 })],
};
for (const [what, [code, bytes]] of Object.entries(wrong))
	test(`${what}: ${code}, and nothing behind it is looked at`, async () => {
		const raw = await mallory();
		raw.write(packed(PING));
		await answered(raw, "ping");
		raw.write(Buffer.concat([bytes, packed(PING)]));
		assert.equal(await raw.closeCode(), code);
		raw.destroy();
	});

// ---- bombs ----

const resident = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.pid}/status`, "utf8"))[1]) / 1024;
const bomb = deflated(Buffer.alloc(120 << 20, " "), { level: 9 });

test("a bomb of 120 KiB that would be 120 MiB: 1009, forty in a row, and no memory for them", async () => {
	assert.ok(bomb.length < LIMIT, `${bomb.length}`);
	const before = resident();
	const ann = await connect(server, { user: "ann" });
	for (let i = 0; i < 40; i++) {
		const raw = await mallory();
		raw.write(frame(1, bomb, { rsv: RSV1 }));
		assert.equal(await raw.closeCode(), 1009);
		raw.destroy();
		await ann.call("session.ping");
	}
	assert.ok(resident() - before < 20, `${resident() - before} MiB more`);
	await ann.close();
});

test("before session.open a message may be 16 KiB, however small it comes", async () => {
	const token = await server.mint("mallory");
	const open = JSON.stringify({ jsonrpc: "2.0", id: "open", method: "session.open", params: { token } });
	const raw = await rawWebSocket(server, { headers: offer });
	raw.write(packed(open.padEnd(FIRST_LIMIT)));
	await answered(raw, "open");
	await works(raw);
	const late = await rawWebSocket(server, { headers: offer });
	late.write(packed(open.padEnd(FIRST_LIMIT + 1)));
	assert.equal(await late.closeCode(), 1009);
	late.destroy();
});

test("a bomb that never ends, in fragments, is 1009 when it is longer than any message compresses to", async () => {
	const raw = await mallory();
	raw.write(frame(1, "", { rsv: RSV1, fin: false }));
	const empty = frame(0, Buffer.alloc(10_000, Buffer.from("000000ffff", "hex")), { fin: false });
	for (let i = 0; i < 14; i++) raw.write(empty); // 140,000 bytes, all blocks empty
	raw.write(frame(9, "still there?"));
	assert.equal((await raw.frame()).opcode, 10);
	raw.write(empty);
	assert.equal(await raw.closeCode(), 1009);
	raw.destroy();
});

// ---- readers that are slow ----

const DATA = contents["random text, that grows"](50_000);

async function deaf(room) {
	const raw = await mallory();
	raw.write(packed(JOIN(room)));
	await answered(raw, 1);
	raw.socket.pause();
	return raw;
}

test("who stops reading, and then reads, has missed nothing", async () => {
	const raw = await deaf("pauses");
	const ann = await connect(server, { user: "ann" });
	await ann.call("room.join", { room: "pauses" });
	for (let round = 0; round < 30; round++) {
		raw.socket.pause();
		for (let i = 0; i < 4; i++) await ann.call("room.publish", { room: "pauses", data: [round, i, DATA] });
		raw.socket.resume();
		for (let i = 0; i < 4; ) {
			const { method, params } = JSON.parse(text(await raw.frame()));
			if (method !== "room.message") continue;
			assert.deepEqual(params.data.slice(0, 2), [round, i++]);
			assert.ok(params.data[2] === DATA);
		}
	}
	await works(raw);
	await ann.close();
});

test("who does not read at all is put out with 4002, behind whole messages", async () => {
	const raw = await deaf("slow");
	const ann = await connect(server, { user: "ann" });
	await ann.call("room.join", { room: "slow" });
	const before = (await server.metrics()).signalbox_slow_consumers_total;
	for (let i = 0; (await server.metrics()).signalbox_slow_consumers_total === before; i++) {
		assert.ok(i < 1000);
		await ann.call("room.publish", { room: "slow", data: [i, DATA] });
	}
	raw.socket.resume();
	let seen = 0;
	let got;
	while ((got = await raw.frame()).opcode === 1) {
		const { method, params } = JSON.parse(text(got));
		if (method === "room.message") assert.equal(params.data[0], seen++);
	}
	assert.deepEqual([got.opcode, got.payload.readUInt16BE(0)], [8, 4002]);
	raw.destroy();
	await ann.close();
});
