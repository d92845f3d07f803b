// A session from session.open to its end: what it says, how messages are counted and acknowledged,
// refresh and expiry, batches and ids (docs/PROTOCOL.md, "Messages" and "Session").
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { connect, within } from "../support/client.mjs";
import { rawWebSocket } from "../support/raw.mjs";
import { anyPace, startServer } from "../support/server.mjs";

const server = await startServer({ workers: 4, config: { limits: anyPace } });
after(() => server.stop());

const AT_ONCE_MS = 3000; // before the acknowledgement that comes after 5 s in any case

const open = (more) => connect(server, { user: "ann", ...more });

/** Sends text and returns the next message that came for it. */
async function sends(c, text) {
	c.raw(text);
	return c.next((message) => message.id !== undefined);
}

/** Nothing else came before the answer to a ping: messages are answered in order. */
async function quiet(c) {
	const frames = c.frames.length;
	await c.call("session.ping");
	assert.deepEqual(c.frames.slice(frames, -1), []);
}

// The slow one goes beside the others: one message, and no more, is acknowledged after 5 s.
const lone = await open();
const acknowledged = (async () => {
	const began = performance.now();
	await assert.rejects(lone.call("no.such"), { code: -32601 });
	await lone.next("session.ack");
	return performance.now() - began;
})();
acknowledged.catch(() => {});

// ---- opening ----

test("session.open says who, what is allowed, until when, and the limits", async () => {
	const before = Math.floor(Date.now() / 1000);
	const c = await open({ client: { name: "tests", version: "1" }, batch: false });
	const { session, user, scopes, expires_at, limits, server: name, ...rest } = c.session;
	assert.match(session, /^.{20,}$/);
	assert.deepEqual(user, { id: "ann", name: "ann" });
	assert.deepEqual(scopes.toSorted(), ["datasets:read", "datasets:write", "rooms:create", "rooms:join", "rpc:call"]);
	assert.ok(expires_at > before + 800 && expires_at < before + 1000);
	const { requests_per_second, requests_burst, joins_per_second, joins_burst } = anyPace;
	assert.deepEqual(limits, {
		message: 131072,
		data: 65536,
		batch: 100,
		in_flight: 256,
		rooms: 128,
		requests_per_second,
		requests_burst,
		joins_per_second,
		joins_burst,
	});
	assert.equal(name.name, "Signalbox");
	assert.match(name.version, /^\d+\.\d+\.\d+/);
	assert.deepEqual(Object.keys(rest).toSorted(), ["ping_interval", "received", "resume_window", "resumed"]);
	assert.equal(rest.resumed, false);
	assert.equal(rest.received, 0);
	assert.equal(rest.ping_interval, 25);
	await c.close();
});

test("no two sessions have the same id", async () => {
	const all = await Promise.all(Array.from({ length: 8 }, () => open()));
	assert.equal(new Set(all.map((c) => c.id)).size, all.length);
	await Promise.all(all.map((c) => c.close()));
});

test("a second session.open is a conflict, and the session goes on", async () => {
	const c = await open();
	const token = await server.mint("bob");
	await assert.rejects(c.call("session.open", { token }), { code: -32009, reason: "already_open" });
	assert.equal((await c.call("room.join", { room: "second-open" })).members.length, 0);
	await c.close();
});

test("before session.open a call is unauthenticated, whatever it is; then it can still be opened", async () => {
	const c = await open({ open: false });
	for (const method of ["room.join", "session.ping", "session.ack", "session.refresh", "session.close", "no.such"])
		await assert.rejects(c.call(method), { code: -32001, reason: "unauthenticated" }, method);
	const said = await sends(c, '{"jsonrpc":"2.0","method":"room.join"}');
	assert.deepEqual([said.id, said.error.code], [null, -32001]);
	const result = await c.call("session.open", { token: await server.mint("ann") });
	assert.equal(result.user.id, "ann");
	await c.close();
});

test("session.open stands alone, and has an id", async () => {
	const params = { token: await server.mint("ann") };
	const message = { jsonrpc: "2.0", id: 1, method: "session.open", params };
	for (const text of [[message], [message, message], [], { ...message, id: undefined }, { ...message, id: null }]) {
		const c = await open({ open: false });
		const { id, error } = await sends(c, JSON.stringify(text));
		assert.deepEqual([id, error.code, error.data.reason], [null, -32600, "invalid_request"], JSON.stringify(text).slice(0, 60));
		await c.call("session.open", params);
		await c.close();
	}
});

test("session.open names the parameter that is unknown or wrong", async () => {
	const token = await server.mint("ann");
	for (const [field, params] of [
		["tokn", { token, tokn: 1 }],
		["batch", { token, batch: 1 }],
		["token", { token: 5 }],
		["token", { token: "" }],
		["client", { token, client: "x" }],
		["nme", { token, client: { name: "x", nme: 1 } }],
		["name", { token, client: {} }],
		["received", { token, resume: { session: "x" } }],
		["resume", { token, resume: [] }],
	]) {
		const c = await open({ open: false });
		await assert.rejects(c.call("session.open", params), (error) => {
			assert.deepEqual([error.code, error.reason, error.data.field], [-32602, "invalid_params", field]);
			return true;
		});
		await c.call("session.open", { token });
		await c.close();
	}
});

test("an unknown session cannot be resumed: a new one is opened", async () => {
	const c = await open({ params: { resume: { session: "0.0123456789abcdef0123456789abcdef", received: 0 } } });
	assert.equal(c.session.resumed, false);
	assert.notEqual(c.id, "0.0123456789abcdef0123456789abcdef");
	await c.close();
});

test("session.ping answers the time", async () => {
	const c = await open();
	const { time } = await c.call("session.ping");
	assert.ok(Math.abs(time - Date.now()) < 5000);
	await c.close();
});

test("session.close answers, leaves its rooms at once, and closes with 1000", async () => {
	const [ann, bob] = [await open(), await open({ user: "bob" })];
	await ann.call("room.join", { room: "closing" });
	const { peer } = await bob.call("room.join", { room: "closing" });
	assert.deepEqual(await bob.call("session.close"), {});
	assert.equal((await bob.closed).code, 1000);
	await ann.next("room.joined");
	assert.deepEqual((await ann.next("room.left")).params, { room: "closing", peer, reason: "left" });
	await ann.close();
});

// ---- counting ----

test("each counted message counts, whatever its outcome; the server acknowledges the 64th", async () => {
	const c = await open();
	const text = JSON.stringify;
	const request = (id, method, params) => ({ jsonrpc: "2.0", id, method, params });
	for (let i = 0; i < 70; i++) c.notify("session.ping"); // uncounted, like the next three
	await c.call("session.ping");
	c.notify("session.ack", { received: 0 });
	await assert.rejects(c.call("session.open"), { code: -32009 });

	const ack = c.next("session.ack", AT_ONCE_MS);
	c.raw("this is no JSON"); // 1
	c.raw("[]"); // 2
	c.raw(text(request(900, "no.such"))); // 3
	c.raw(text({ jsonrpc: "2.0", method: "no.such.notification" })); // 4
	c.raw(text(request(901, "room.join", { roo: "x" }))); // 5
	c.raw(text({ jsonrpc: "2.0", id: 902, result: {} })); // 6: an answer to nothing
	c.raw(text([1, request(903, "room.list"), request(904, "session.ping"), { x: 1 }])); // 9: a ping in it
	c.raw(text(Array.from({ length: 54 }, (_, i) => request(1000 + i, "no.such")))); // 63
	await c.call("session.ping");
	assert.deepEqual(c.acks, []);
	c.raw("{}"); // 64
	assert.equal((await ack).params.received, 64);
	assert.deepEqual(c.acks, [64]);
	await c.close();
});

test("a batch that is refused for its length counts all the same", async () => {
	const c = await open();
	const ack = c.next("session.ack", AT_ONCE_MS);
	c.raw(JSON.stringify(Array.from({ length: 1000 }, () => 0)));
	assert.equal((await ack).params.received, 1000);
	await c.close();
});

test("64 KiB are acknowledged without waiting for 64 messages", async () => {
	const c = await open();
	const ack = c.next("session.ack", AT_ONCE_MS);
	const params = { room: "x".repeat(40_000) };
	await assert.rejects(c.call("room.join", params), { code: -32602 });
	await assert.rejects(c.call("room.join", params), { code: -32602 });
	assert.equal((await ack).params.received, 2);
	await c.close();
});

test("session.ack beyond what was sent is refused, and nothing else happens", async () => {
	const c = await open({ ack: false });
	await assert.rejects(c.call("room.join", {}), { code: -32602 });
	await assert.rejects(c.call("session.ack", { received: 2 }), { code: -32602, data: { reason: "invalid_params", field: "received", limit: 1 } });
	assert.deepEqual(await c.call("session.ack", { received: 1 }), {});
	assert.deepEqual(await c.call("session.ack", { received: 0 }), {});
	for (const received of [-1, 1.5, "1", null]) await assert.rejects(c.call("session.ack", { received }), { code: -32602 });
	c.notify("session.ack", { received: 1e15 });
	await quiet(c);
	await c.close();
});

// ---- refresh and expiry ----

test("session.refresh: the same subject; the new scopes count at once", async () => {
	const c = await open();
	const token = await server.mint("ann", { scope: "rooms:create", expires: 7200 });
	const result = await c.call("session.refresh", { token });
	assert.deepEqual(result.scopes, ["rooms:create"]);
	assert.ok(result.expires_at > Date.now() / 1000 + 7000);
	await assert.rejects(c.call("room.join", { room: "a" }), { code: -32003, data: { reason: "insufficient_scope", field: "rooms:join" } });
	await c.call("session.refresh", { token: await server.mint("ann") });
	await c.call("room.join", { room: "refreshed" });
	await c.close();
});

test("session.refresh: another subject is forbidden, a bad token unauthenticated; the session goes on", async () => {
	const c = await open();
	await assert.rejects(c.call("session.refresh", { token: await server.mint("bob") }), { code: -32003, reason: "other_subject" });
	const good = await server.mint("ann");
	const cut = good.slice(0, -4);
	for (const token of ["x", "a.b.c", cut])
		await assert.rejects(c.call("session.refresh", { token }), { code: -32001 });
	for (const params of [{}, { token: 1 }, { token: good, x: 1 }])
		await assert.rejects(c.call("session.refresh", params), { code: -32602 });
	assert.equal((await c.call("room.join", { room: "still-here" })).role, "member");
	await c.close();
});

test("session.expiring a minute before the token's end; 25 s behind it 4001, unless refreshed", async (t) => {
	const aged = await startServer({ t, clock: true });
	const token = await aged.mint("ann", { expires: 200 });
	const [kept, left] = [await connect(aged, { token }), await connect(aged, { token })];
	// what it is told says that the server has looked at its clock
	const looked = await connect(aged, { user: "bob", expires: 270 });
	aged.ahead(130); // 70 s are left
	await kept.call("session.ping");
	assert.deepEqual([kept.events, left.events], [[], []]);
	aged.ahead(145); // 55 s
	const { expires_at } = kept.session;
	for (const c of [kept, left]) assert.deepEqual((await c.next("session.expiring")).params, { expires_at });
	aged.ahead(220); // in the grace
	await looked.next("session.expiring");
	const fresh = await aged.mint("ann", { expires: 201 });
	await kept.call("session.refresh", { token: fresh });
	await left.call("session.ping");
	aged.ahead(230);
	assert.equal((await within(left.closed, 5000, "4001")).code, 4001);
	await kept.call("session.ping");
	aged.ahead(220 + 150); // told anew
	assert.ok((await kept.next("session.expiring")).params.expires_at > expires_at);
	aged.ahead(220 + 201 + 26);
	assert.equal((await within(kept.closed, 5000, "4001")).code, 4001);
	assert.equal(left.events.length, 1, "told once");
});

test("a user who is disabled is put out with 4501, and gets no new token", async () => {
	const [c, other] = [await open({ user: "mallory" }), await open()];
	await server.rpc("user.disable", { name: "mallory" });
	assert.equal((await within(c.closed, 5000, "4501")).code, 4501);
	await assert.rejects(server.rpc("token.mint", { user: "mallory" }), { code: -32003 });
	await other.call("session.ping");
	await other.close();
});

// ---- requests ----

test("a parameter that is unknown, missing or of a wrong type is named", async () => {
	const c = await open();
	for (const [field, params] of [
		["rom", { room: "a", rom: 1 }],
		["room", {}],
		["room", { room: 5 }],
		["room", { room: null }],
		["room", { room: ["a"] }],
		["room", { room: "" }],
		["room", { room: "a\u0000b" }],
		["room", { room: "x".repeat(256) }],
	])
		await assert.rejects(c.call("room.join", params), (error) => {
			assert.deepEqual([error.code, error.data.field], [-32602, field], JSON.stringify(params).slice(0, 60));
			return true;
		});
	for (const params of ["[]", "5", '"x"', "null", '["a"]', "true"]) {
		const { error } = await sends(c, `{"jsonrpc":"2.0","id":1,"method":"room.join","params":${params}}`);
		assert.ok([-32600, -32602].includes(error.code), params);
	}
	await c.close();
});

test("ids come back as the bytes that came: strings and whole numbers", async () => {
	const c = await open();
	const ping = (id) => `{"jsonrpc":"2.0","id":${id},"method":"session.ping"}`;
	for (const id of ['""', '"a"', '"\\u00e9\\"\\\\"', '"é☃😀"', "0", "-1", "9223372036854775807", "-9223372036854775808", `"${"i".repeat(126)}"`]) {
		c.raw(ping(id));
		await c.next((message) => message.result);
		assert.ok(c.frames.at(-1).startsWith(`{"jsonrpc":"2.0","id":${id},"result":`), c.frames.at(-1));
	}
	for (const id of ["null", "1.5", "1e3", "1.0", "true", "[]", "{}", "18446744073709551616", `"${"i".repeat(127)}"`]) {
		const answer = await sends(c, ping(id));
		assert.deepEqual([answer.id, answer.error?.code], [null, -32600], id);
	}
	await c.close();
});

test("what is no JSON-RPC 2.0 request is told so", async () => {
	const c = await open();
	const invalid = {
		"no version": '{"id":1,"method":"session.ping"}',
		"version 1.0": '{"jsonrpc":"1.0","id":1,"method":"session.ping"}',
		"version as a number": '{"jsonrpc":2.0,"id":1,"method":"session.ping"}',
		"method as a number": '{"jsonrpc":"2.0","id":1,"method":5}',
		"no method": '{"jsonrpc":"2.0","id":1}',
		"two methods": '{"jsonrpc":"2.0","id":1,"method":"session.ping","method":"session.close"}',
		"two ids": '{"jsonrpc":"2.0","id":1,"id":2,"method":"session.ping"}',
		"a number": "5",
		"a text": '"session.ping"',
		null: "null",
		"an object of nothing": "{}",
	};
	for (const [what, text] of Object.entries(invalid)) {
		const { error } = await sends(c, text);
		assert.deepEqual([error?.code, error?.data.reason], [-32600, "invalid_request"], what);
	}
	// escapes in names and white space are JSON's own affair
	const escaped = await sends(c, ' \n{ "json\\u0072pc" : "2\\u002e0", "i\\u0064":7 ,"method":"session\\u002eping","other":[1] }\t');
	assert.deepEqual([escaped.id, typeof escaped.result?.time], [7, "number"]);
	c.raw('{"jsonrpc":"2.0","id":1,"result":5}'); // an answer that nobody asked for
	c.raw('{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}');
	c.raw('{"jsonrpc":"2.0","method":"no.such"}'); // a notification is never answered
	c.raw('{"jsonrpc":"2.0","method":"room.join","params":{"bad":1}}');
	await quiet(c);
	await c.close();
});

// ---- batches ----

test("an empty batch and one of 10,000 are one error, not many", async () => {
	const c = await open();
	const empty = await sends(c, " [ ] ");
	assert.deepEqual([empty.id, empty.error.code], [null, -32600]);
	const many = await sends(c, JSON.stringify(Array.from({ length: 10_000 }, () => 1)));
	assert.deepEqual([many.id, many.error.code, many.error.data.reason, many.error.data.limit], [null, -32013, "batch_too_large", 100]);
	assert.ok(c.frames.every((text) => !text.startsWith("[")));
	await c.close();
});

test("a batch of requests, notifications and nonsense: one array with an answer to each that gets one", async () => {
	const c = await open();
	c.raw(
		JSON.stringify([
			{ jsonrpc: "2.0", id: "a", method: "session.ping" },
			1,
			{ jsonrpc: "2.0", method: "session.ping" },
			{ jsonrpc: "2.0", id: "b", method: "no.such" },
			{ foo: "bar" },
			{ jsonrpc: "2.0", method: "no.such" },
			{ jsonrpc: "2.0", id: "c", method: "room.join", params: { room: "batch", x: 1 } },
			[],
			{ jsonrpc: "2.0", id: "d", result: 1 },
			{ jsonrpc: "2.0", id: "e", method: "session.open" },
		]),
	);
	await c.next();
	const answers = JSON.parse(c.frames.at(-1));
	assert.ok(Array.isArray(answers));
	const told = answers.map(({ id, error }) => [id, error?.code]).toSorted();
	const expected = [["a", undefined], ["b", -32601], ["c", -32602], ["e", -32009], [null, -32600], [null, -32600], [null, -32600]];
	assert.deepEqual(told, expected.toSorted());
	await c.close();
});

test("a batch of notifications only is not answered", async () => {
	const c = await open();
	c.raw('[{"jsonrpc":"2.0","method":"session.ping"},{"jsonrpc":"2.0","method":"no.such"}]');
	await quiet(c);
	await c.close();
});

test("one answer in a batch is still an array; 100 are allowed", async () => {
	const c = await open();
	assert.equal((await c.batch([["session.ping", {}]]))[0].status, "fulfilled");
	assert.ok(c.frames.at(-1).startsWith("[{"));
	const hundred = await c.batch(Array.from({ length: 100 }, () => ["session.ping", {}]));
	assert.ok(hundred.every(({ status }) => status === "fulfilled"));
	assert.equal(JSON.parse(c.frames.at(-1)).length, 100);
	await c.close();
});

test("events of a room follow the batch that joined it", async () => {
	const c = await open();
	for (let round = 0; round < 20; round++) {
		const rooms = Array.from({ length: 5 }, (_, i) => `barrier-${round}-${i}`);
		const before = c.frames.length;
		const calls = rooms.flatMap((room) => [
			["room.join", { room }],
			["room.publish", { room, data: room }],
		]);
		const outcomes = await c.batch(calls);
		assert.ok(outcomes.every(({ status }) => status === "fulfilled"));
		for (const room of rooms) await c.next(({ method, params }) => method === "room.message" && params.room === room);
		const frames = c.frames.slice(before).filter((text) => !text.includes('"session.ack"'));
		assert.ok(frames[0].startsWith("["), "the answers come first");
		assert.equal(frames.length, 1 + rooms.length);
		await c.batch(rooms.map((room) => ["room.leave", { room }]));
	}
	await c.close();
});

test("batch: true gets waiting events as one array, batch: false never does", async () => {
	const [ann, many, single] = [
		await open(),
		await open({ user: "bob", batch: true }),
		await open({ user: "cat", batch: false }),
	];
	for (const c of [ann, many, single]) await c.call("room.join", { room: "arrays" });
	const before = [many.frames.length, single.frames.length];
	const COUNT = 50;
	await ann.batch(Array.from({ length: COUNT }, (_, i) => ["room.publish", { room: "arrays", data: i }]));
	for (const c of [many, single])
		for (let i = 0; i < COUNT; i++) assert.equal((await c.next("room.message")).params.data, i);
	assert.ok(many.frames.slice(before[0]).some((text) => text.startsWith("[")));
	assert.ok(many.frames.length - before[0] < COUNT);
	assert.ok(single.frames.slice(before[1]).every((text) => text.startsWith("{")));
	for (const c of [ann, many, single]) await c.close();
});

test("a lone message is acknowledged within 5 s", async () => {
	const took = await acknowledged;
	assert.deepEqual(lone.acks, [1]);
	assert.ok(took > 3900 && took < 8000, `${took} ms`);
	await lone.close();
});

test("who asks for the end in a batch gets all answers first", async () => {
	const c = await connect(server, { user: "ann" });
	const rooms = ["here", "there", "elsewhere", "nowhere"];
	const batch = [
		...rooms.map((room, i) => ({ jsonrpc: "2.0", id: `j${i}`, method: "room.join", params: { room } })),
		{ jsonrpc: "2.0", id: "close", method: "session.close", params: {} },
		{ jsonrpc: "2.0", id: "ping", method: "session.ping", params: {} },
	];
	const answers = new Promise((done) => c.socket.once("message", (data) => done(JSON.parse(data))));
	c.raw(JSON.stringify(batch));
	assert.deepEqual((await answers).map(({ id }) => id).sort(), batch.map(({ id }) => id).sort());
	assert.equal((await c.closed).code, 1000);
});

test("one address has only so many connections that have not said who they are", async (t) => {
	const most = 5;
	const few = await startServer({ t, config: { limits: { unopened_per_address: most } } });
	const unopened = [];
	for (let i = 0; i < most; i++) unopened.push(await connect(few, { open: false }));
	await assert.rejects(connect(few, { open: false }), { status: 429 });
	await unopened[0].call("session.open", { token: await few.mint("ann") });
	const next = await connect(few, { open: false });
	for (const c of [...unopened, next]) c.close();
});

test("before session.open a message has at most 16 KiB, also in pieces", async () => {
	const c = await connect(server, { open: false });
	const text = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "session.open", params: { token: "x" } });
	c.socket.send(`${text}${" ".repeat(10_000)}`, { fin: false });
	c.socket.send(" ".repeat(10_000), { fin: true });
	assert.equal((await c.closed).code, 1009);
});

test("a stop waits for nobody who has its close frame and does not answer it", async () => {
	const stopped = await startServer({ workers: 2 });
	const raw = await rawWebSocket(stopped, { user: "ann" });
	const began = performance.now();
	await stopped.stop();
	assert.equal(await raw.closeCode(), 1001);
	const took = performance.now() - began;
	assert.ok(took < 4500, `${took} ms`); // it was 5 s and more
});
