// Parts of the JavaScript library that need no server: how it reads an event stream, however the
// network has cut it, and how it keeps to a server's limits, held against that server's own count.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Outbox } from "../../web/sdk/outbox.js";
import { EventParser } from "../../web/sdk/sse.js";
import { Ways } from "../../web/sdk/ways.js";

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
console.log(`seed ${seed}`);
let state = seed;
/** mulberry32: the same numbers for the same seed. */
function random() {
	state = (state + 0x6d2b79f5) | 0;
	let t = Math.imul(state ^ (state >>> 15), 1 | state);
	t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
	return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}
const upTo = (n) => Math.floor(random() * n);

test("an event stream is read the same however it is cut, and with each kind of line end", () => {
	const events = [
		{ name: "open", data: '{"session":"0.x"}', id: "" },
		{ name: "message", data: '{"text":"größer, 漢字, 🚂"}', id: "0.x:1" },
		{ name: "message", data: "two\nlines", id: "0.x:2" },
		{ name: "message", data: "", id: "" },
		{ name: "close", data: ' {"code":1001}', id: "" },
	];
	for (let round = 0; round < 300; round++) {
		const end = ["\n", "\r\n", "\r"][upTo(3)];
		const lines = [": ping", "retry: 5", "nonsense", "event: nothing follows", "", ""];
		for (const { name, data, id } of events) {
			if (name !== "message") lines.push(`event: ${name}`);
			if (id) lines.push(`id:${id}`);
			for (const line of data.split("\n")) lines.push(line ? `data: ${line}` : "data");
			lines.push("", ": ping");
		}
		const bytes = new TextEncoder().encode(lines.map((line) => line + end).join(""));
		const seen = [];
		const parser = new EventParser((event) => seen.push(event));
		for (let at = 0; at < bytes.length; ) {
			const next = at + 1 + upTo(round % 2 ? 3 : 40);
			parser.feed(bytes.subarray(at, next));
			at = next;
		}
		assert.deepEqual(seen, events, `cut by seed ${seed}, round ${round}`);
	}
});

test("a stream that never ends its event is given up", () => {
	const parser = new EventParser(() => assert.fail("there is no event"));
	const piece = new TextEncoder().encode("x".repeat(100_000));
	parser.feed(new TextEncoder().encode("data: "));
	assert.throws(() => {
		for (let i = 0; i < 100; i++) parser.feed(piece);
	}, RangeError);
});

/** What the server counts by: refuses a message that comes too early. */
function serverBucket(rate, burst) {
	let tokens = burst;
	let at = 0;
	return (now) => {
		tokens = Math.min(burst, tokens + ((now - at) * rate) / 1000);
		at = now;
		if (tokens < 1) return false;
		tokens--;
		return true;
	};
}

const LIMITS = { requests_per_second: 100, requests_burst: 200, joins_per_second: 10, joins_burst: 20 };
const message = (method, room, n) => ({ text: "", bytes: 10, sent: false, method, room, n });

/** Sends what waits, on a clock of its own; each may be late by some milliseconds, none overtakes. */
function sendAll(outbox, { late = 0, taken = () => {} } = {}) {
	let now = 0;
	let arrived = 0;
	while (outbox.length > 0) {
		const next = outbox.take(now, () => true);
		if (next) taken(next, (arrived = Math.max(arrived, now + random() * late)));
		else now += outbox.wait;
		assert.ok(next || outbox.wait > 0, "what waits is told when");
	}
	return now;
}

test("a thousand requests and a hundred joins never pass the server's limits, also when they are held up", () => {
	const outbox = new Outbox();
	outbox.allow(LIMITS, 0, true);
	for (let n = 0; n < 100; n++) outbox.push(message("room.join", `r${n}`, n));
	for (let n = 0; n < 1000; n++) outbox.push(message("room.publish", `r${n % 100}`, n));
	const [requests, joins] = [serverBucket(100, 200), serverBucket(10, 20)];
	const joined = new Set();
	let last = -1;
	const took = sendAll(outbox, {
		late: 300,
		taken: ({ method, room, n }, at) => {
			assert.ok(requests(at), `request ${n} at ${at} ms is not refused`);
			if (method === "room.join") {
				assert.ok(joins(at), `join ${n} at ${at} ms is not refused`);
				assert.ok(n > last, "joins go in order");
				last = n;
				joined.add(room);
			} else {
				assert.ok(joined.has(room), `${room} is joined before anything is said in it`);
			}
		},
	});
	assert.equal(joined.size, 100);
	assert.ok(took < 15_000, `it took ${took} ms`);
});

test("a join that waits holds up nobody else, and the session's own requests go first", () => {
	const outbox = new Outbox();
	outbox.allow({ ...LIMITS, joins_burst: 1 }, 0, true);
	for (const [method, room] of [["room.join", "a"], ["room.join", "b"], ["room.state", "b"],
		["signal.send", "a"], ["room.list"], ["session.refresh"]]) outbox.push(message(method, room));
	const order = [];
	for (let next; (next = outbox.take(0, () => true)); ) order.push(next.method);
	assert.deepEqual(order, ["session.refresh", "room.join", "signal.send", "room.list"]);
	assert.ok(outbox.wait > 0);
	sendAll(outbox, { taken: ({ method }) => order.push(method) });
	assert.deepEqual(order.slice(4), ["room.join", "room.state"]);
});

test("what the server refused for its rate goes again in its place, not earlier than told", () => {
	const outbox = new Outbox();
	const first = message("room.publish", "a", 1);
	outbox.push(first);
	outbox.take(0, () => true);
	outbox.push(message("room.publish", "a", 2));
	outbox.push(message("room.publish", "b", 3));
	outbox.again(first, 0, 1500);
	assert.equal(outbox.take(1499, () => true).n, 3, "another room does not wait");
	assert.equal(outbox.take(1499, () => true), null);
	assert.equal(outbox.wait, 1);
	assert.deepEqual([outbox.take(1500, () => true).n, outbox.take(1500, () => true).n], [1, 2]);
});

test("a server that tells no limits is not paced; what does not fit waits", () => {
	const outbox = new Outbox();
	outbox.allow({}, 0, true);
	for (let n = 0; n < 1000; n++) outbox.push(message("room.join", `r${n}`, n));
	assert.equal(sendAll(outbox), 0);
	outbox.push(message("room.list"));
	assert.equal(outbox.take(0, () => false), null);
	assert.deepEqual([outbox.length, outbox.bytes, outbox.wait], [1, 10, 0]);
});

test("which way to go: HTTP after two WebSockets that never opened, in turns while neither does", () => {
	const ways = new Ways("https://rt.example", { WebSocket: class {} }, async () => "");
	const seen = [];
	for (let i = 0; i < 7; i++) {
		seen.push(ways.current[0]);
		ways.failed(ways.current);
	}
	assert.deepEqual(seen.join(" "), "w w h w w h w");
	assert.equal(ways.url, "wss://rt.example/ws");
	for (const transport of ["websocket", "http"]) {
		const only = new Ways("https://rt.example", { transport, WebSocket: class {} }, async () => "");
		for (let i = 0; i < 5; i++) only.failed(only.current);
		assert.deepEqual([only.current, only.fallenBack], [transport, false]);
	}
});

test("a stream of events is one by its whole type, not by how that begins", async () => {
	const { HttpSocket } = await import("../../web/sdk/http.js");
	const types = { "text/event-streams": false, "text/event-stream-like; x": false, "text/html": false,
		"text/event-stream": true, "Text/Event-Stream; charset=utf-8": true, "text/event-stream ;x": true };
	for (const [type, taken] of Object.entries(types)) {
		const end = await new Promise((closed) => {
			const answer = () => Promise.resolve(new Response("", { headers: { "Content-Type": type } }));
			const socket = new HttpSocket("http://127.0.0.1/", async () => "", { fetch: answer });
			socket.onclose = closed;
			socket.send('{"jsonrpc":"2.0","id":1,"method":"session.open","params":{"token":"x"}}');
		});
		assert.equal(end.reason !== "no stream", taken, type);
	}
});
