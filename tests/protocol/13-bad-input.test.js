// Whatever a client sends gets the error or the close code of the contract, and disturbs nobody else:
// two others on the same worker go on talking behind each of it, and miss nothing.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { connect, within } from "../support/client.mjs";
import { frame, rawConnect, rawWebSocket, upgradeText } from "../support/raw.mjs";
import { anyPace, atOnce, startServer } from "../support/server.mjs";

const server = await startServer({ config: { ...atOnce, limits: anyPace } });
after(() => server.stop());

// Who never finishes a handshake is cut off. The first test begins that, the last looks: at a server that
// is busy, and at one where nothing else happens.
const HANDSHAKE_MS = 30_000;
const slow = [];
const still = await startServer({ config: { ...atOnce, limits: anyPace } });
after(() => still.stop());

const [ann, bob] = [await connect(server, { user: "ann" }), await connect(server, { user: "bob" })];
for (const c of [ann, bob]) await c.call("room.join", { room: "bystanders" });
await ann.next("room.joined");
let said = 0;

async function undisturbed() {
	const data = ++said;
	await ann.call("room.publish", { room: "bystanders", data });
	for (const c of [ann, bob]) assert.equal((await c.next()).params.data, data);
	await bob.call("signal.send", { room: "bystanders", to: "room", type: "x", data });
	assert.equal((await ann.next()).params.data, data);
}

/** A test with a session of its own, behind which the others are as before. */
function bad(name, body) {
	test(name, async (t) => {
		await body(t);
		await undisturbed();
	});
}

const mallory = () => connect(server, { user: "mallory" });
const PING = '{"jsonrpc":"2.0","id":"ping","method":"session.ping"}';

async function told(c, text) {
	c.raw(text);
	const { id, error } = await c.next((message) => message.error);
	assert.equal(id, null);
	return error;
}

// ---- beginnings ----

bad("handshakes byte by byte, and connections that say nothing", async () => {
	for (let i = 0; i < 20; i++) slow.push(await rawConnect(server));
	for (const raw of slow.slice(10)) raw.write(upgradeText(server).slice(0, 50));
	slow.push(await rawConnect(still));
	await (await mallory()).close();
});

// ---- text ----

bad("what is no JSON: -32700, and the session goes on", async () => {
	const c = await mallory();
	for (const text of [
		"", "nonsense", "{", "[", '{"a":1,}', "[1,]", "{'a':1}", '{"a":01}', "nul", "\u0000", '"\u0001"', "\ufeff{}",
		'{"a":1}{}', "1 2", '"\\x"', '"\\u12"', '"', "+1", ".5", "1.", "1e", "NaN", "-", "{1:2}", "\u2028", "[".repeat(1000),
		"]", "}", "\\", "/* */ {}", '{"jsonrpc":"2.0","id":1,"method":"session.ping"', "�",
	]) {
		const error = await told(c, text);
		assert.deepEqual([error.code, error.data.reason], [-32700, "parse_error"], JSON.stringify(text.slice(0, 40)));
	}
	await c.call("session.ping");
	await c.close();
});

bad("depth: 10,000 levels are -32700, 60 are fine", async () => {
	const c = await mallory();
	for (const [open, close] of [["[", "]"], ['{"a":', "}"]])
		for (const [start, end] of [["", ""], ['{"jsonrpc":"2.0","id":1,"method":"room.publish","params":{"room":"r","data":', "}}"]]) {
			const error = await told(c, start + open.repeat(10_000) + 1 + close.repeat(10_000) + end);
			assert.equal(error.code, -32700);
		}
	await c.call("room.join", { room: "deep" });
	const data = JSON.parse("[".repeat(60) + "]".repeat(60));
	await c.call("room.publish", { room: "deep", data });
	assert.deepEqual((await c.next("room.message")).params.data, data);
	await c.close();
});

bad("an unknown method is -32601, however long its name", async () => {
	const c = await mallory();
	for (const method of ["no.such", "", "room", "room.join ", "Room.join", "room\u0000.join", "🚪", "x".repeat(100_000), "rpc.server", "__proto__"])
		await assert.rejects(c.call(method), (error) => {
			assert.deepEqual([error.code, error.reason], [-32601, "method_not_found"]);
			assert.ok(error.message.length < 1000 + method.length && JSON.stringify(error.data).length < 300);
			return true;
		});
	await c.close();
});

bad("a room name of 100 KB is -32602, one of 1 MB closes with 1009", async () => {
	const c = await mallory();
	for (const method of ["room.join", "room.leave", "room.get", "room.presence", "room.publish"])
		await assert.rejects(c.call(method, { room: "r".repeat(100_000), data: 1 }), { code: -32602 }, method);
	c.call("room.join", { room: "r".repeat(1 << 20) }).catch(() => {});
	assert.equal((await c.closed).code, 1009);
});

bad("a message of 128 KiB is taken, one of a byte more closes with 1009", async () => {
	const c = await mallory();
	c.raw(PING + " ".repeat(131072 - PING.length));
	await c.next(({ result }) => result?.time);
	c.raw(PING + " ".repeat(131073 - PING.length));
	assert.equal((await c.closed).code, 1009);
});

bad("a message of 10 MB closes with 1009, in one frame, in a thousand, and unfinished", async () => {
	const c = await mallory();
	c.raw("x".repeat(10_000_000));
	assert.equal((await c.closed).code, 1009);

	const fragments = await rawWebSocket(server, { user: "mallory" });
	fragments.write(frame(1, "[", { fin: false }));
	const piece = frame(0, " ".repeat(10_000), { fin: false });
	for (let i = 0; i < 1000 && !fragments.ended; i++) fragments.write(piece);
	assert.equal(await fragments.closeCode(), 1009);
	fragments.destroy();

	const declared = await rawWebSocket(server, { user: "mallory" });
	declared.write(frame(1, "x".repeat(200_000), { length: 2 ** 40 }));
	assert.ok([1009, 1006].includes(await declared.closeCode()));
	declared.destroy();
});

bad("an impossible length is the end of the connection", async () => {
	const raw = await rawWebSocket(server, { user: "mallory" });
	raw.write(Buffer.from("81ffffffffffffffffff00000000", "hex")); // 2^64-1: RFC 6455 wants the top bit 0
	raw.write(Buffer.alloc(200_000));
	assert.ok([1002, 1006, 1009].includes(await raw.closeCode()));
	raw.destroy();
});

bad("text that is not UTF-8 closes with 1007, whole or in fragments", async () => {
	const broken = ["ff", "c080", "eda080", "f8888080", "f4908080", "22c322", "80", "22e2822822", "c3"];
	const behindNoJson = ["7b5d20ff", "5b5d5d22c3", `${"5b".repeat(100)}80`]; // what is wrong first does not hide it
	for (const hex of [...broken, ...behindNoJson])
		for (const user of ["mallory", undefined]) {
			const raw = await rawWebSocket(server, { user });
			raw.write(frame(1, Buffer.from(hex, "hex")));
			assert.equal(await raw.closeCode(), 1007, hex);
			raw.destroy();
		}
	const raw = await rawWebSocket(server, { user: "mallory" });
	raw.write(frame(1, Buffer.from("22c3", "hex"), { fin: false }));
	raw.write(frame(0, Buffer.from("28", "hex"), { fin: false }));
	raw.write(frame(0, Buffer.from("22", "hex")));
	assert.equal(await raw.closeCode(), 1007);
	raw.destroy();
});

bad("a binary message closes with 1003, before session.open and behind it", async () => {
	for (const open of [true, false]) {
		const c = await connect(server, { user: "mallory", open });
		c.socket.send(Buffer.from(PING));
		assert.equal((await c.closed).code, 1003);
	}
	const raw = await rawWebSocket(server, { user: "mallory" });
	raw.write(frame(2, "[", { fin: false }));
	assert.equal(await raw.closeCode(), 1003);
	raw.destroy();
});

// ---- frames ----

bad("a message in fragments, with pings between them, empty ones and a split character", async () => {
	const raw = await rawWebSocket(server, { user: "mallory" });
	const text = Buffer.from('{"jsonrpc":"2.0","id":"é☃😀","method":"session.ping"}');
	raw.write(frame(1, text.subarray(0, 1), { fin: false }));
	for (let i = 1; i < text.length; i++) {
		raw.write(frame(0, "", { fin: false }));
		raw.write(frame(9, `p${i}`));
		raw.write(frame(0, text.subarray(i, i + 1), { fin: i === text.length - 1 }));
	}
	let answer;
	let last;
	while (!answer) {
		const got = await raw.frame();
		if (got.opcode === 10) last = got.text;
		else answer = got;
	}
	assert.equal(JSON.parse(answer.text).id, "é☃😀");
	assert.match(last ?? "p1", /^p\d+$/);
	raw.write(frame(8, Buffer.from("03e8", "hex")));
	assert.equal(await raw.closeCode(), 1000);
	raw.destroy();
});

const JOIN = '{"jsonrpc":"2.0","id":1,"method":"room.join","params":{"room":"bystanders"}}';
const violations = {
	"reserved bits": [frame(1, PING, { rsv: 4 })],
	"other reserved bits": [frame(1, PING, { rsv: 3 })],
	"opcode 3": [frame(3, PING)],
	"opcode 11": [frame(11, "x")],
	"a ping of 126 bytes": [frame(9, "x".repeat(126))],
	"a ping in fragments": [frame(9, "x", { fin: false }), frame(0, "y")],
	"a continuation of nothing": [frame(0, PING)],
	"a message within a message": [frame(1, "[", { fin: false }), frame(1, PING)],
};
for (const [what, frames] of Object.entries(violations))
	bad(`${what}: 1002, or cut at once; nothing behind it is looked at or sent`, async () => {
		const raw = await rawWebSocket(server, { user: "mallory" });
		raw.write(Buffer.concat([...frames, frame(1, JOIN)]));
		const got = await raw.frame();
		if (got) {
			assert.deepEqual([got.opcode, got.payload.readUInt16BE(0)], [8, 1002]);
			await undisturbed();
			raw.write(frame(8, got.payload));
		}
		assert.equal(await raw.frame(), undefined);
		raw.destroy();
	});

bad("a room hears nothing of a member whose connection has broken the protocol, and he nothing of it", async () => {
	const raw = await rawWebSocket(server, { user: "mallory" });
	raw.write(frame(1, JOIN));
	await raw.frame();
	for (const c of [ann, bob]) await c.next("room.joined");
	raw.write(frame(3, "x"));
	const got = await raw.frame();
	assert.deepEqual([got.opcode, got.payload.readUInt16BE(0)], [8, 1002]);
	await undisturbed();
	raw.write(frame(8, got.payload));
	for (const c of [ann, bob]) assert.equal((await c.next("room.left")).params.reason, "lost");
	assert.equal(await raw.frame(), undefined);
	raw.destroy();
});

bad("a frame that is not masked harms nobody", async () => {
	// RFC 6455 wants it refused; libwebsockets takes it, and does not tell.
	const raw = await rawWebSocket(server, { user: "mallory" });
	raw.write(frame(1, PING, { mask: false }));
	const got = await raw.frame();
	assert.ok(!got || got.opcode === 8 || JSON.parse(got.text).id === "ping");
	raw.destroy();
});

bad("noise instead of frames ends the connection", async () => {
	let seed = 12345;
	for (let round = 0; round < 20; round++) {
		const raw = await rawWebSocket(server, { user: "mallory" });
		const noise = Buffer.alloc(5000, 0).map(() => (seed = (seed * 1103515245 + 12345) & 0x7fffffff) >> 16);
		raw.write(noise);
		raw.socket.end();
		await raw.gone();
		raw.destroy();
	}
});

bad("frames behind the close frame are not looked at", async () => {
	const raw = await rawWebSocket(server, { user: "mallory" });
	raw.write(Buffer.concat([frame(8, Buffer.from("03e8", "hex")), frame(1, JOIN), frame(1, PING)]));
	const got = await raw.frame();
	assert.deepEqual([got.opcode, got.payload.readUInt16BE(0)], [8, 1000]);
	assert.equal(await raw.frame(), undefined);
	raw.destroy();
});

bad("a close code that a peer must not send ends the connection", async () => {
	for (const hex of ["03ec", "03ed", "03ee", "03f7", "0000", "ffff", "03e7", "78"]) {
		const raw = await rawWebSocket(server, { user: "mallory" });
		raw.write(frame(8, Buffer.from(hex, "hex")));
		await raw.gone();
		raw.destroy();
	}
});

bad("a flood of pings is answered, or cut, and delays nobody", async () => {
	const raw = await rawWebSocket(server, { user: "mallory" });
	const flood = Buffer.concat(Array.from({ length: 1000 }, (_, i) => frame(9, `${i}`.padEnd(100))));
	for (let i = 0; i < 20; i++) raw.write(flood);
	const began = performance.now();
	await undisturbed();
	assert.ok(performance.now() - began < 3000);
	raw.write(frame(1, PING));
	let got = await raw.frame();
	while (got && got.opcode === 10) got = await raw.frame();
	if (got) assert.equal(JSON.parse(got.text).id, "ping");
	raw.destroy();
});

bad("empty frames and messages without end cost no memory", async () => {
	const raw = await rawWebSocket(server, { user: "mallory" });
	raw.write(frame(1, "", { fin: false }));
	const empty = Buffer.concat(Array.from({ length: 1000 }, () => frame(0, "", { fin: false })));
	for (let i = 0; i < 50; i++) raw.write(empty);
	raw.write(frame(0, PING));
	assert.equal(JSON.parse((await raw.frame()).text).id, "ping");
	raw.destroy();
});

// ---- messages in numbers ----

bad("10,000 bad messages are 10,000 errors, in order", async () => {
	const c = await mallory();
	const COUNT = 10_000;
	const calls = [];
	for (let i = 0; i < COUNT; i++) calls.push(c.call("no.such", { i }).catch(({ code }) => code));
	assert.ok((await Promise.all(calls)).every((code) => code === -32601));
	await c.close();
});

bad("a batch of 10,000 is refused as one", async () => {
	const c = await mallory();
	const error = await told(c, JSON.stringify(Array.from({ length: 10_000 }, () => 1)));
	assert.deepEqual([error.code, error.data.reason], [-32013, "batch_too_large"]);
	await c.close();
});

bad("more requests at once than may be in flight: -32029, the others are answered", async () => {
	const other = await startServer({ workers: 4, config: { ...atOnce, limits: { ...anyPace, requests_in_flight: 4 } } });
	const c = await connect(other, { user: "ann" });
	const rooms = Array.from({ length: 60 }, (_, i) => ["room.join", { room: `in-flight-${i}` }]);
	const outcomes = await c.batch(rooms);
	const refused = outcomes.filter(({ status }) => status === "rejected").map(({ reason }) => reason);
	assert.ok(refused.length > 0 && refused.length < 60);
	for (const error of refused) {
		assert.deepEqual([error.code, error.reason, error.data.limit], [-32029, "too_many_in_flight", 4]);
		assert.ok(error.data.retry_after > 0);
	}
	await other.stop();
});

// ---- ends ----

bad("a connection that is gone without a word is noticed; its session ends", async () => {
	const watcher = await mallory();
	await watcher.call("room.join", { room: "ends" });
	for (const end of ["destroy", "end", "reset"]) {
		const raw = await rawWebSocket(server, { user: "mallory" });
		raw.write(frame(1, '{"jsonrpc":"2.0","id":1,"method":"room.join","params":{"room":"ends"}}'));
		await raw.frame();
		await watcher.next("room.joined");
		if (end === "destroy") raw.socket.destroy();
		else if (end === "end") raw.socket.end();
		else raw.socket.resetAndDestroy();
		assert.equal((await watcher.next("room.left")).params.reason, "lost", end);
		raw.destroy();
	}
	await watcher.close();
});

bad("a half-open connection, that answers no ping, is lost", async (t) => {
	const pinging = await startServer({ t, config: { session: { ...atOnce.session, ping_interval: "1s", pong_timeout: "2s" } } });
	const watcher = await connect(pinging, { user: "ann" });
	await watcher.call("room.join", { room: "half-open" });
	const raw = await rawWebSocket(pinging, { user: "mallory" });
	raw.write(frame(1, '{"jsonrpc":"2.0","id":1,"method":"room.join","params":{"room":"half-open"}}'));
	await watcher.next("room.joined");
	raw.socket.pause(); // alive for the kernel, dead for everybody else
	assert.equal((await watcher.next("room.left", 15_000)).params.reason, "lost");
	raw.destroy();
});

test("the others have seen nothing of all that", () => {
	for (const c of [ann, bob]) {
		assert.deepEqual(c.unread, []);
		assert.ok(!c.end);
	}
});

test("who never finished a handshake has been cut off", async () => {
	await within(Promise.all(slow.map((raw) => raw.closed)), HANDSHAKE_MS, "the end of the slow ones");
	const { signalbox_connections: connections } = await server.metrics();
	assert.equal(connections, 2);
	await undisturbed();
});
