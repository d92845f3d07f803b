// A session without WebSocket: a stream of events and POSTs. The same promises as over a WebSocket: nothing
// lost, nothing done twice, whatever carries it, on whichever worker it lands.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ask, eventStream, post, readEvents, textOf } from "../support/http-session.mjs";
import { rawConnect, request, requestText } from "../support/raw.mjs";
import { ResumingClient, webSocket } from "../support/resuming.mjs";
import { anyNumber, anyPace, ownDirectory, startServer } from "../support/server.mjs";
import { record } from "../support/traffic.mjs";
import { within } from "../support/within.mjs";

const WINDOW_S = 4;
const ORIGIN = "https://app.example";
const WAIT_MS = 10_000;
let server;

before(async () => {
	server = await startServer({
		workers: 4,
		config: {
			session: { resume_window: `${WINDOW_S}s` },
			server: { origins: [ORIGIN] },
			limits: { ...anyPace, ...anyNumber },
		},
	});
});
after(() => server.stop());

let rooms = 0;
const roomName = () => `room ${++rooms}`;
const bearer = async (user = "ann") => ({ Authorization: `Bearer ${await server.mint(user)}` });
const rpc = (id, method, params = {}) => ({ jsonrpc: "2.0", id, method, params });
const range = (n) => [...Array(n).keys()];

async function client(user, options = { over: eventStream }) {
	const made = new ResumingClient(server, await server.mint(user), options);
	await made.connect(null);
	return made;
}

/** ann over a stream, bob over a WebSocket, both in a room. */
async function pair(options = {}) {
	const room = roomName();
	const ann = await client("ann", { over: eventStream, ...options });
	const bob = await client("bob", {});
	const { peer: annPeer } = await ann.call("room.join", { room });
	const { peer: bobPeer } = await bob.call("room.join", { room });
	return { room, ann, bob, annPeer, bobPeer };
}

/** A POST of ann's by hand, beside those that her client sends. */
async function postFor(ann, sent, message) {
	const body = JSON.stringify(message);
	record("out", body, "http", ann.recordAs);
	return post(server.url, ann.token, ann.opened.session, sent, body);
}

async function metric(name, at = server) {
	return (await at.metrics())[`signalbox_${name}`];
}

/** Waits until a condition that is asked for holds. */
function eventually(holds, what) {
	return within(
		(async () => {
			while (!(await holds())) await new Promise((done) => setTimeout(done, 20));
		})(),
		WAIT_MS,
		what,
	);
}

/** A stream by hand: {events, comments, opened, until, end}. */
async function stream(query = "", headers = {}, at = server) {
	const response = await ask(`${at.url}/v1/events${query}`, { headers: { ...(await bearer()), ...headers } });
	assert.equal(response.statusCode, 200);
	const s = { response, events: [], comments: 0, ended: false };
	const ended = new Promise((done) => response.on("close", () => done((s.ended = true))));
	response.on("error", () => {});
	readEvents(
		response,
		(event) => s.events.push({ ...event, json: JSON.parse(event.data) }),
		() => s.comments++,
	);
	s.until = async (holds, what) => {
		await eventually(() => holds(s) || s.ended, what);
		assert.ok(holds(s), what);
	};
	s.end = () => within(ended, WAIT_MS, "the end of the stream");
	await s.until(() => s.events.length > 0, "event: open");
	s.opened = s.events[0].json;
	s.answers = () => s.events.flatMap(({ json }) => json).filter(({ id }) => id !== undefined);
	s.post = async (sent, body, headers, user = "ann") =>
		post(at.url, await at.mint(user), s.opened.session, sent, typeof body === "string" ? body : JSON.stringify(body), headers);
	s.leave = () => response.destroy();
	return s;
}

// ---- as it should be ----

test("a stream opens with what session.open would answer", async () => {
	const s = await stream("", { Accept: "text/event-stream" });
	const { headers } = s.response;
	assert.deepEqual(
		["content-type", "cache-control", "x-accel-buffering", "connection", "content-length"].map((name) => headers[name]),
		["text/event-stream", "no-store", "no", "close", undefined],
	);
	const [{ event, id }] = s.events;
	assert.deepEqual([event, id], ["open", undefined]);
	const ws = await client("ann", {});
	const same = ({ session, expires_at, ...rest }) => rest;
	assert.deepEqual(same(s.opened), same(ws.opened));
	assert.notEqual(s.opened.session, ws.opened.session);
	assert.equal((await s.post(0, rpc(1, "session.close"))).status, 202);
	await s.end();
	assert.deepEqual(s.events.slice(1).map(({ event, id, json }) => [event, id, json]), [
		["message", `${s.opened.session}:1`, { jsonrpc: "2.0", id: 1, result: {} }],
		["close", undefined, { code: 1000, reason: "closed" }],
	]);
	await ws.close();
});

test("signals and messages in both directions, in order, with ids that count", async () => {
	for (const batch of [false, true]) {
		const { room, ann, bob, annPeer, bobPeer } = await pair({ batch });
		for (const i of range(200)) {
			bob.send("signal.send", { room, to: { peer: annPeer }, type: "n", data: i });
			ann.send("signal.send", { room, to: { peer: bobPeer }, type: "n", data: i });
		}
		for (const one of [ann, bob]) {
			await one.until(() => one.of("signal.received").length >= 200, "200 signals");
			assert.deepEqual(one.of("signal.received").map(({ data }) => data), range(200));
		}
		await ann.until(() => ann.answers.size >= 201, "ann's answers");
		assert.deepEqual([...ann.answers.values()].filter(({ error }) => error), []);
		await Promise.all([ann.close(), bob.close()]);
	}
});

test("cut at random, on any worker: nothing lost, nothing twice, either way", async () => {
	for (const lastEventId of [false, true]) {
		const { room, ann, bob, annPeer, bobPeer } = await pair({ lastEventId, batch: lastEventId });
		let sent = 0;
		for (let cut = 0; cut < 15; cut++) {
			for (const i of range(10)) {
				bob.send("signal.send", { room, to: { peer: annPeer }, type: "n", data: sent });
				ann.send("room.publish", { room, data: sent++ });
				if (i === cut % 10) ann.cut(); // a POST may be under way, and comes late
			}
			assert.equal((await ann.connect()).resumed, true);
		}
		await ann.until(() => ann.of("signal.received").length >= sent && ann.answers.size > sent, "all of it");
		await bob.until(() => bob.of("room.message").length >= sent, "all messages");
		assert.deepEqual(ann.of("signal.received").map(({ data }) => data), range(sent));
		assert.deepEqual(bob.of("room.message").map(({ data }) => data), range(sent));
		assert.deepEqual(bob.of("room.message").map(({ offset }) => offset), range(sent).map((i) => i + 1));
		assert.ok(bobPeer);
		await Promise.all([ann.close(), bob.close()]);
	}
});

test("one session, from WebSocket to stream and back", async () => {
	const { room, ann, bob, annPeer } = await pair({ over: webSocket });
	const session = ann.opened.session;
	let sent = 0;
	for (const over of [eventStream, webSocket, webSocket, eventStream, eventStream, webSocket, eventStream]) {
		for (const i of range(20)) {
			bob.send("signal.send", { room, to: { peer: annPeer }, type: "n", data: sent });
			ann.send("room.publish", { room, data: sent++ });
			if (i === 10 && sent % 3) ann.cut(); // or it is taken over while it lives
		}
		const opened = await ann.connect(undefined, over);
		assert.deepEqual([opened.resumed, opened.session], [true, session]);
	}
	await ann.until(() => ann.of("signal.received").length >= sent && ann.answers.size > sent, "all of it");
	await bob.until(() => bob.of("room.message").length >= sent, "all messages");
	assert.deepEqual(ann.of("signal.received").map(({ data }) => data), range(sent));
	assert.deepEqual(bob.of("room.message").map(({ data }) => data), range(sent));
	await Promise.all([ann.close(), bob.close()]);
});

test("a stream that is taken over gets its close", async () => {
	for (let round = 0; round < 6; round++) {
		const s = await stream();
		const next = await stream(`?session=${s.opened.session}&received=0`);
		assert.deepEqual([next.opened.resumed, next.opened.session], [true, s.opened.session]);
		await s.end();
		assert.deepEqual(s.events.at(-1).json, { code: 4003, reason: "resumed elsewhere" });
		assert.equal(s.events.at(-1).event, "close");
		next.leave();
	}
});

test("line breaks in data become spaces; nothing else does", async () => {
	const s = await stream();
	const body = '{"jsonrpc":"2.0","id":1,"method":"room.join","params":{"room":"breaks"}}';
	assert.equal((await s.post(0, body)).status, 202);
	const data = '{ "a"\r\n:\n[1,\r2 , 3.10],\t"b":"\\n\\r\\u000a\u2028 é" }';
	assert.equal((await s.post(1, `{"jsonrpc":"2.0","id":2,"method":"room.publish","params":{"room":"breaks","data":${data}}}`)).status, 202);
	await s.until(() => s.answers().length === 2, "the answers");
	await s.until(() => s.events.some(({ json }) => json.method === "room.message"), "the message");
	const { data: text } = s.events.find(({ json }) => json.method === "room.message");
	assert.ok(text.includes(data.replaceAll(/[\r\n]/g, " ")), text);
	s.leave();
});

test("who closes the stream is away at once, and gone after the window", async () => {
	const { ann, bob, annPeer } = await pair();
	const before = performance.now();
	ann.cut();
	await bob.until(() => bob.of("room.updated").length === 1, "room.updated");
	assert.ok(performance.now() - before < WINDOW_S * 1000, "not because of a ping or a timeout");
	assert.deepEqual(bob.of("room.updated")[0].changes, { connected: false });
	await ann.connect();
	await bob.until(() => bob.of("room.updated").length === 2, "room.updated");
	ann.cut();
	await bob.until(() => bob.of("room.left").length === 1, "room.left");
	assert.deepEqual(bob.of("room.left").map(({ peer, reason }) => [peer, reason]), [[annPeer, "lost"]]);
	assert.equal((await ann.connect()).resumed, false);
	await Promise.all([ann.close(), bob.close()]);
});

test("while the stream is lost, POSTs are taken and answered on the next one", async () => {
	const s = await stream();
	assert.equal((await s.post(0, rpc(1, "room.join", { room: "away" }))).status, 202);
	await s.until(() => s.answers().length === 1, "the answer");
	s.leave();
	await eventually(async () => (await s.post(1, [])).status === 202, "a POST"); // [] counts as one
	for (const i of range(20)) assert.equal((await s.post(2 + i, rpc(2 + i, "room.publish", { room: "away", data: i }))).status, 202);
	const next = await stream(`?session=${s.opened.session}&received=1`);
	assert.deepEqual([next.opened.resumed, next.opened.received], [true, 22]);
	await next.until(() => next.answers().filter(({ result }) => result).length === 20, "20 answers");
	assert.deepEqual(next.answers().filter(({ result }) => result).map(({ result }) => result.offset), range(20).map((i) => i + 1));
	next.leave();
});

test("session.refresh goes by POST; a token that ends is told, then 4001", async (t) => {
	const aged = await startServer({ t, workers: 2, clock: true });
	const token = await aged.mint("ann", { expires: 3600 });
	const s = await stream("", { Authorization: `Bearer ${token}` }, aged);
	const [fresh, other] = [await aged.mint("ann", { expires: 7200 }), await aged.mint("bob")];
	assert.equal((await s.post(0, [rpc(1, "session.refresh", { token: fresh }), rpc(2, "session.refresh", { token: other })])).status, 202);
	await s.until(() => s.answers().length === 2, "the answers");
	const [first, second] = s.answers().sort((a, b) => a.id - b.id);
	assert.ok(first.result.expires_at > s.opened.expires_at + 3000);
	assert.ok(second.error);
	aged.ahead(2 * 3600 - 30);
	await s.until(() => s.events.some(({ json }) => json.method === "session.expiring"), "session.expiring");
	aged.ahead(2 * 3600 + 26);
	await s.end();
	assert.equal(s.events.at(-1).json.code, 4001);
	const late = await post(aged.url, fresh, s.opened.session, 2, "[]");
	assert.deepEqual([late.status, late.headers["www-authenticate"]], [401, 'Bearer error="invalid_token"']);
	const old = await ask(`${aged.url}/v1/events`, { headers: { Authorization: `Bearer ${fresh}` } });
	assert.deepEqual([old.statusCode, old.headers["www-authenticate"]], [401, 'Bearer error="invalid_token"']);
	await textOf(old);
});

test("a service that stops says so on its streams", async (t) => {
	const stopping = await startServer({ t, workers: 2 });
	const token = await stopping.mint("ann");
	const open = await Promise.all(range(10).map(() => stream("", { Authorization: `Bearer ${token}` }, stopping)));
	stopping.signal("SIGTERM");
	await Promise.all(open.map((s) => s.end()));
	assert.deepEqual(open.map((s) => [s.events.at(-1).event, s.events.at(-1).json.code]), range(10).map(() => ["close", 1001]));
	assert.equal((await stopping.exited()).code, 0);
});

// ---- POSTs ----

test("doubled and reordered POSTs are handled once, in order", async () => {
	const s = await stream();
	const say = (id) => rpc(id, "no.such");
	const send = async (sent, ...ids) => (await s.post(sent, ids.length > 1 ? ids.map(say) : say(ids[0]))).status;
	assert.equal(await send(0, 1), 202);
	assert.equal(await send(0, 1), 202); // again
	const early = await s.post(2, say(3)); // before the second
	assert.deepEqual([early.status, JSON.parse(early.text)], [409, { received: 1 }]);
	assert.equal(await send(0, 1, 2), 202); // with more behind it
	assert.equal(await send(1, 2), 202);
	assert.equal(await send(0, 1, 2, 3, 4), 202);
	assert.equal(await send(2, 3, 4, 5), 202);
	assert.equal(await send(4, 5), 202);
	assert.equal((await s.post(6, say(7))).status, 409);
	assert.equal((await s.post(0, say(6))).status, 202); // all of it skipped, whatever it is
	assert.equal(await send(5, 6), 202);
	await s.until(() => s.answers().length >= 6, "six answers");
	assert.deepEqual(s.answers().map(({ id }) => id), [1, 2, 3, 4, 5, 6]);
	s.leave();
});

test("the same body by many POSTs at once is handled once", async () => {
	const { room, ann, bob } = await pair();
	const batch = range(10).map((i) => rpc(`p${i}`, "room.publish", { room, data: i }));
	const statuses = await Promise.all(range(40).map(async () => (await postFor(ann, 1, batch)).status));
	assert.deepEqual(statuses, range(40).map(() => 202));
	await bob.until(() => bob.of("room.message").length >= 10, "the messages");
	await bob.call("room.presence", { room });
	assert.deepEqual(bob.of("room.message").map(({ data }) => data), range(10));
	await ann.until(() => range(10).every((i) => ann.answers.has(`p${i}`)), "one answer each");
	ann.cut();
	await bob.close();
});

test("POSTs that race each other: whoever comes too early hears what there is", async () => {
	const { room, ann, bob } = await pair();
	const before = await metric("posts_out_of_step_total");
	let early = 0;
	const one = async (i) => {
		for (;;) {
			const { status, text } = await postFor(ann, 1 + i, rpc(`q${i}`, "room.publish", { room, data: i }));
			if (status === 202) return;
			assert.equal(status, 409);
			assert.ok(JSON.parse(text).received < 1 + i);
			early++;
		}
	};
	await Promise.all(range(12).map((i) => one(11 - i)));
	await bob.until(() => bob.of("room.message").length >= 12, "the messages");
	assert.deepEqual(bob.of("room.message").map(({ data }) => data), range(12));
	assert.equal((await metric("posts_out_of_step_total")) - before, early);
	ann.cut();
	await bob.close();
});

test("what does not count is done again only at the end of a repeated body", async () => {
	const s = await stream();
	const [one, ping, ack] = [rpc(1, "no.such"), rpc("p", "session.ping"), { jsonrpc: "2.0", method: "session.ack", params: { received: 0 } }];
	const pings = () => s.answers().filter(({ id }) => id === "p").length;
	const say = async (body, sent) => assert.equal((await s.post(sent, body)).status, 202);
	await say([ping, one, ack], 0);
	await s.until(() => pings() === 1 && s.answers().length === 2, "both answers");
	await say([ping, one, ack], 0); // the ping stands before what is skipped
	await say([one, ping], 0);
	await s.until(() => pings() === 2, "a second answer to the ping");
	await say(ping, 1);
	await say(ping, 1);
	await s.until(() => pings() === 4, "and for each on its own");
	await say(ping, 0); // among what is skipped
	await say(rpc(2, "no.such"), 1);
	await s.until(() => s.answers().some(({ id }) => id === 2), "the last answer");
	assert.equal(pings(), 4);
	const ids = s.events.filter(({ id }) => id).map(({ id }) => id);
	assert.deepEqual(ids, [`${s.opened.session}:1`, `${s.opened.session}:2`]);
	s.leave();
});

test("a batch that is too long is refused once", async () => {
	const s = await stream();
	const many = JSON.stringify(range(150).map((i) => rpc(i, "no.such")));
	assert.equal((await s.post(0, many)).status, 202);
	assert.equal((await s.post(0, many)).status, 202);
	assert.equal((await s.post(150, rpc("x", "no.such"))).status, 202);
	await s.until(() => s.answers().some(({ id }) => id === "x"), "the answer");
	assert.deepEqual(s.answers().map(({ id, error }) => [id, error.data.reason]), [[null, "batch_too_large"], ["x", "method_not_found"]]);
	s.leave();
});

test("a POST that comes after the session went to a WebSocket is not handled", async () => {
	const { room, ann, bob } = await pair();
	const late = () => postFor(ann, 1, rpc("late", "room.publish", { room, data: "late" }));
	await ann.connect(undefined, webSocket);
	const refused = await late();
	assert.deepEqual([refused.status, JSON.parse(refused.text)], [409, { received: 1 }]);
	await ann.call("room.publish", { room, data: "over it" });
	ann.cut(); // away: it was a WebSocket
	await bob.until(() => bob.of("room.updated").length >= 1, "room.updated");
	assert.deepEqual(JSON.parse((await late()).text), { received: 2 });
	await ann.connect(undefined, eventStream);
	assert.equal((await late()).status, 202); // behind what is there already: skipped
	await ann.call("room.publish", { room, data: "by POST" });
	await bob.until(() => bob.of("room.message").length >= 2, "the messages");
	assert.deepEqual(bob.of("room.message").map(({ data }) => data), ["over it", "by POST"]);
	await Promise.all([ann.close(), bob.close()]);
});

test("POSTs to every worker", async () => {
	const { room, ann, bob } = await pair();
	const COUNT = 60; // a connection each: the kernel spreads them
	for (const i of range(COUNT))
		assert.equal((await postFor(ann, 1 + i, rpc(`w${i}`, "room.publish", { room, data: i }))).status, 202);
	await bob.until(() => bob.of("room.message").length >= COUNT, "the messages");
	assert.deepEqual(bob.of("room.message").map(({ data }) => data), range(COUNT));
	ann.cut();
	await bob.close();
});

// ---- refused ----

const errorOf = (text) => JSON.parse(text).error.data;

test("POSTs that are refused, and nothing of them is counted", async () => {
	const s = await stream();
	const good = JSON.stringify(rpc(1, "no.such"));
	const token = await server.mint("ann");
	const cases = [
		[{ "Signalbox-Session": "" }, good, 400, "Signalbox-Session"],
		[{ "Signalbox-Sent": "" }, good, 400, "Signalbox-Sent"],
		[{ "Signalbox-Sent": "-1" }, good, 400, "Signalbox-Sent"],
		[{ "Signalbox-Sent": "1e3" }, good, 400, "Signalbox-Sent"],
		[{ "Signalbox-Sent": "0x1" }, good, 400, "Signalbox-Sent"],
		[{ "Signalbox-Sent": "99999999999999999999" }, good, 400, "Signalbox-Sent"],
		[{}, "", 400, undefined, "parse_error"],
		[{}, "{", 400, undefined, "parse_error"],
		[{}, '{"jsonrpc":"2.0"} x', 400, undefined, "parse_error"],
		[{}, Buffer.from('{"x":"\xff"}', "latin1"), 400, undefined, "parse_error"],
		[{ "Signalbox-Session": "x" }, good, 404, "Signalbox-Session", "not_found"],
		[{ "Signalbox-Session": `0.${"0".repeat(32)}` }, good, 404, "Signalbox-Session", "not_found"],
		[{ "Signalbox-Session": "0".repeat(300) }, good, 404, "Signalbox-Session", "not_found"],
		[{ Authorization: "Bearer x" }, good, 401, undefined, "unauthenticated"],
		[{ Authorization: `Bearer ${token}, Bearer ${token}` }, good, 400, undefined, "invalid_request"],
		[{ Authorization: `Bearer ${await server.mint("eve")}` }, good, 404, "Signalbox-Session", "not_found"],
	];
	for (const [headers, body, status, field, reason = "invalid_params"] of cases) {
		const answer = await post(server.url, token, s.opened.session, 0, body, headers);
		assert.equal(answer.status, status, `${JSON.stringify(headers)} ${body}: ${answer.text}`);
		assert.deepEqual([errorOf(answer.text).field, errorOf(answer.text).reason], [field, reason]);
	}
	// nobody's and somebody else's are answered alike
	const [theirs, nobodys] = await Promise.all([
		post(server.url, await server.mint("eve"), s.opened.session, 0, good),
		post(server.url, await server.mint("eve"), `0.${"0".repeat(32)}`, 0, good),
	]);
	assert.deepEqual([theirs.status, theirs.text], [nobodys.status, nobodys.text]);
	const none = await request(server, "POST /v1/messages", { "Signalbox-Session": s.opened.session, "Signalbox-Sent": "0" }, good);
	assert.deepEqual([none.status, none.headers["www-authenticate"]], [401, "Bearer"]);
	for (const [name, headers] of [
		["Signalbox-Session", { "Signalbox-Sent": "0" }],
		["Signalbox-Sent", { "Signalbox-Session": s.opened.session }],
	]) {
		const missing = await request(server, "POST /v1/messages", { ...(await bearer()), ...headers }, good);
		assert.deepEqual([missing.status, errorOf(missing.text).field], [400, name]);
	}
	const query = await request(server, "POST /v1/messages?x=1", { ...(await bearer()), "Signalbox-Session": s.opened.session, "Signalbox-Sent": "0" }, good);
	assert.equal(query.status, 400);
	const get = await request(server, "GET /v1/messages", await bearer());
	assert.deepEqual([get.status, get.headers.allow], [405, "POST"]);
	assert.equal((await s.post(0, good)).status, 202);
	await s.until(() => s.answers().length === 1, "the answer");
	assert.equal(s.events.at(-1).id, `${s.opened.session}:1`);
	s.leave();
});

test("a message may be as large as on a WebSocket, no larger; its type is not looked at", async (t) => {
	const s = await stream();
	const message = (n) => JSON.stringify({ ...rpc(1, "no.such"), x: "" }).replace('"x":""', `"x":"${"y".repeat(n)}"`);
	const exact = message(128 * 1024 - message(0).length);
	assert.equal(exact.length, 128 * 1024);
	assert.equal((await s.post(0, exact, { "Content-Type": "text/plain" })).status, 202);
	const large = await s.post(1, `${exact} `).catch(({ code }) => code); // the answer may come before all is sent
	assert.ok(large.status === 413 || ["EPIPE", "ECONNRESET"].includes(large), JSON.stringify(large));
	s.leave();
	const small = await startServer({ t, config: { limits: { message: "4KiB", data: "2KiB" } } });
	const token = await small.mint("ann");
	const tiny = await stream("", { Authorization: `Bearer ${token}` }, small);
	const refused = await tiny.post(0, message(4096));
	assert.deepEqual([refused.status, errorOf(refused.text)], [413, { reason: "too_large", limit: 4096 }]);
	assert.equal((await tiny.post(0, message(1000))).status, 202);
	tiny.leave();
});

test("streams that are refused", async () => {
	const { opened, leave } = await stream();
	const S = opened.session;
	const good = await bearer();
	const cases = [
		["?x=1", good, 400, "x"],
		["?batch=2", good, 400, "batch"],
		["?batch=", good, 400, "batch"],
		["?batch=1&batch=1", good, 400, "batch"],
		["?ticket=abc", good, 400, "ticket"],
		["?ticket=abc&ticket=abc", {}, 400, "ticket"],
		["?ticket=abc", {}, 401, undefined],
		["?token=abc", {}, 400, "token"],
		["?received=1", good, 400, "session"],
		[`?session=${S}`, good, 400, "received"],
		[`?session=${S}&received=`, good, 400, "received"],
		[`?session=${S}&received=-1`, good, 400, "received"],
		[`?session=${S}&received=1&received=1`, good, 400, "received"],
		["?session=&received=1", good, 400, "session"],
		["", { ...good, "Last-Event-ID": "nonsense" }, 400, "Last-Event-ID"],
		["", { ...good, "Last-Event-ID": `${S}:` }, 400, "Last-Event-ID"],
		["", { ...good, "Last-Event-ID": ":1" }, 400, "Last-Event-ID"],
		[`?session=${S}&received=0`, { ...good, "Last-Event-ID": `${S}:1` }, 400, "Last-Event-ID"],
		[`?session=${S}x&received=0`, { ...good, "Last-Event-ID": `${S}:0` }, 400, "Last-Event-ID"],
	];
	for (const [query, headers, status, field] of cases) {
		const answer = await request(server, `GET /v1/events${query}`, headers);
		assert.equal(answer.status, status, query);
		assert.equal(errorOf(answer.text).field, field, query);
	}
	for (const [headers, status, challenge] of [
		[{}, 401, "Bearer"],
		[{ Authorization: "Bearer x" }, 401, 'Bearer error="invalid_token"'],
		[{ Authorization: "Basic x" }, 400, 'Bearer error="invalid_request"'],
		[{ Authorization: [good.Authorization, good.Authorization] }, 400, 'Bearer error="invalid_request"'],
	]) {
		const answer = await request(server, "GET /v1/events", headers);
		assert.deepEqual([answer.status, answer.headers["www-authenticate"]], [status, challenge]);
	}
	assert.equal((await request(server, "GET /v1/events", { ...good, Accept: "text/html, application/json;q=0.9" })).status, 406);
	const head = await request(server, "HEAD /v1/events", good);
	assert.deepEqual([head.status, head.headers.allow], [405, "GET"]);
	assert.equal((await request(server, "POST /v1/events", good, "{}")).status, 405);
	leave();
});

test("Accept, and both ways to resume at once when they agree", async () => {
	for (const Accept of ["text/event-stream", "*/*", "text/html, TEXT/Event-Stream;q=0.5", "text/*"]) (await stream("", { Accept })).leave();
	const s = await stream("?batch=0");
	const { session } = s.opened;
	const both = await stream(`?batch=1&session=${session}&received=0`, { "Last-Event-ID": `${session}:0` });
	assert.deepEqual([both.opened.resumed, both.opened.session], [true, session]);
	both.leave();
});

test("a session id alone is worth nothing here, either", async () => {
	const { ann, bob } = await pair();
	const eve = await server.mint("eve");
	const take = (query, headers) => stream(query, { Authorization: `Bearer ${eve}`, ...headers });
	const theirs = await take(`?session=${ann.opened.session}&received=0`);
	const nobodys = await take("", { "Last-Event-ID": "0.1:5" });
	assert.deepEqual([theirs.opened.resumed, nobodys.opened.resumed], [false, false]);
	assert.deepEqual(Object.keys(theirs.opened), Object.keys(nobodys.opened));
	await ann.call("room.list", {});
	for (const s of [theirs, nobodys]) s.leave();
	await Promise.all([ann.close(), bob.close()]);
});

test("pages of the Origin list may, others may not", async () => {
	const s = await stream("", { Origin: ORIGIN });
	assert.equal(s.response.headers["access-control-allow-origin"], ORIGIN);
	const taken = await s.post(0, rpc(1, "no.such"), { Origin: ORIGIN });
	assert.deepEqual([taken.status, taken.headers["access-control-allow-origin"]], [202, ORIGIN]);
	for (const path of ["/v1/events", "/v1/messages"]) {
		const preflight = await request(server, `OPTIONS ${path}`, {
			Origin: ORIGIN,
			"Access-Control-Request-Method": "POST",
			"Access-Control-Request-Headers": "authorization, last-event-id, signalbox-session, signalbox-sent",
		});
		assert.equal(preflight.status, 204);
		assert.equal(preflight.headers["access-control-allow-origin"], ORIGIN);
		for (const name of ["Authorization", "Last-Event-ID", "Signalbox-Session", "Signalbox-Sent", "Content-Type"])
			assert.ok(preflight.headers["access-control-allow-headers"].includes(name), name);
		assert.equal((await request(server, `OPTIONS ${path}`, { Origin: "https://evil.example" })).status, 403);
	}
	assert.equal((await request(server, "GET /v1/events", { ...(await bearer()), Origin: "https://evil.example" })).status, 403);
	assert.equal((await s.post(1, "[]", { Origin: "https://evil.example" })).status, 403);
	s.leave();
});

// ---- below: bytes ----

function processorTime() {
	const [user, system] = readFileSync(`/proc/${server.pid}/stat`, "utf8").split(") ")[1].split(" ").slice(11, 13);
	return (Number(user) + Number(system)) / 100;
}

/** No worker spins: that would use the processor for as long as one looks. */
async function idle(what) {
	const LOOK_MS = 500;
	const before = processorTime();
	await new Promise((done) => setTimeout(done, LOOK_MS));
	const used = processorTime() - before;
	assert.ok(used < LOOK_MS / 2000, `${what}: ${used} s of processor time in ${LOOK_MS} ms`);
}

async function rawStream(version = "1.1", behind = "") {
	const raw = await rawConnect(server);
	const text = requestText("GET /v1/events", { Host: "x", ...(await bearer()) }).replace("HTTP/1.1", `HTTP/${version}`);
	raw.write(text + behind);
	raw.find = (pattern) => eventually(() => pattern.test(raw.bytes.toString()) || raw.ended, pattern);
	await raw.find(/event: open\n.*\n\n/);
	assert.match(raw.bytes.toString(), /^HTTP\/1\.1 200 OK\r\n[^]*event: open\ndata: \{/);
	return raw;
}

test("a client of HTTP/1.0", async () => {
	const raw = await rawStream("1.0");
	assert.doesNotMatch(raw.bytes.toString(), /chunked|content-length/i);
	raw.destroy();
});

test("what stands behind the request is not served, what comes later ends the stream", async () => {
	const hidden = requestText("GET /health", { Host: "x" });
	const open = await metric("event_streams");
	const raw = await rawStream("1.1", hidden);
	await idle("a request behind it");
	assert.equal(raw.bytes.toString().split("HTTP/1.1").length, 2);
	raw.write(hidden);
	await raw.gone();
	assert.equal(raw.bytes.toString().split("HTTP/1.1").length, 2);
	const half = await rawStream();
	half.socket.end();
	await half.gone();
	const reset = await rawStream();
	reset.socket.resetAndDestroy();
	await eventually(async () => (await metric("event_streams")) <= open, "the end of the streams");
	await idle("after that");
});

test("streams cost nothing while nothing happens", async () => {
	const open = await metric("event_streams");
	const all = await Promise.all(range(50).map(() => stream()));
	await idle("50 quiet streams");
	for (const s of all) s.leave();
	await eventually(async () => (await metric("event_streams")) <= open, "the end of the streams");
});

test("who does not read is closed with 4002, and comes back", async () => {
	const { room, ann, bob, annPeer } = await pair();
	const data = "x".repeat(60_000);
	const before = await metric("slow_consumers_total");
	ann.pause();
	let sent = 0;
	while ((await metric("slow_consumers_total")) === before) {
		assert.ok(sent < 400, "still not slow");
		await bob.call("signal.send", { room, to: { peer: annPeer }, type: "x", data: `${sent++} ${data}` });
	}
	const closed = ann.closed;
	ann.resume();
	assert.equal((await within(closed, WAIT_MS, "the close")).code, 4002);
	const got = ann.of("signal.received").length;
	const opened = await ann.connect();
	if (opened.resumed) {
		await ann.until(() => ann.of("signal.received").length >= sent, "the rest");
		assert.deepEqual(ann.of("signal.received").map((params) => Number(params.data.split(" ")[0])), range(sent));
	} else {
		assert.ok(got < sent); // what was dropped could not be kept: said, not hidden
	}
	await Promise.all([ann.close(), bob.close()]);
});

test("more is kept than may wait on a connection: a resume gets it all, over either", async (t) => {
	const tight = await startServer({ t, workers: 4, config: { limits: { outbound_queue: "256KiB", kept_bytes: "1MiB" } } });
	for (const over of [webSocket, eventStream]) {
		const [ann, bob] = [new ResumingClient(tight, await tight.mint("ann"), { over }), new ResumingClient(tight, await tight.mint("bob"))];
		for (const one of [ann, bob]) await one.connect(null);
		const { peer } = await ann.call("room.join", { room: over.name });
		await bob.call("room.join", { room: over.name });
		for (const round of range(3)) {
			ann.cut();
			await bob.until(() => bob.of("room.updated").length > 2 * round, "room.updated");
			for (const i of range(16)) await bob.call("signal.send", { room: over.name, to: { peer }, type: "n", data: `${i} ${"x".repeat(50_000)}` });
			assert.equal((await ann.connect()).resumed, true);
			await ann.until(() => ann.of("signal.received").length >= 16 * (round + 1), "all of it");
			await ann.call("room.list", {});
		}
		await Promise.all([ann.close(), bob.close()]);
	}
	assert.equal(await metric("slow_consumers_total", tight), 0);
});

test("who never reads again is cut", async () => {
	const open = await metric("event_streams");
	const { room, ann, bob, annPeer } = await pair();
	const before = await metric("slow_consumers_total");
	ann.pause();
	while ((await metric("slow_consumers_total")) === before)
		await bob.call("signal.send", { room, to: { peer: annPeer }, type: "x", data: "x".repeat(60_000) });
	await eventually(async () => (await metric("event_streams")) <= open, "the end of the stream");
	await idle("after it was cut");
	ann.cut();
	await bob.close();
});

test("over TLS: large messages both ways, cut and resumed", async (t) => {
	const folder = ownDirectory();
	const [key, certificate] = [join(folder, "key.pem"), join(folder, "cert.pem")];
	const words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost";
	execFileSync("openssl", [...words.split(" "), "-keyout", key, "-out", certificate], { stdio: "pipe" });
	const tls = await startServer({ t, workers: 2, config: { tls: { key, certificate } } });
	const ann = new ResumingClient(tls, await tls.mint("ann"), { over: eventStream });
	await ann.connect(null);
	const data = "x".repeat(60_000);
	await ann.call("room.join", { room: "tls" });
	for (const i of range(30)) {
		ann.send("room.publish", { room: "tls", data: `${i} ${data}` });
		if (i % 10 !== 5) continue;
		ann.cut();
		assert.equal((await ann.connect()).resumed, true);
	}
	await ann.until(() => ann.of("room.message").length >= 30, "all messages");
	assert.deepEqual(ann.of("room.message").map(({ data }) => Number(data.split(" ")[0])), range(30));
	assert.ok(ann.of("room.message").every(({ data }, i) => data === `${i} ${"x".repeat(60_000)}`));
	ann.cut();
	await tls.logged(/session away(?![^]*session resumed)/);
	await ann.connect();
	await ann.close();
});

// ---- liveness ----

test("a quiet stream gets comments and stays; a client that is silent is found", async (t) => {
	const [PING_S, PONG_S] = [1, 2];
	const quick = await startServer({ t, workers: 2, config: { session: { ping_interval: `${PING_S}s`, pong_timeout: `${PONG_S}s` } } });
	const token = await quick.mint("ann");
	const s = await stream("", { Authorization: `Bearer ${token}` }, quick);
	const folder = ownDirectory();
	const [program, file] = [join(folder, "silent"), join(folder, "request")];
	execFileSync("cc", ["-O1", "-o", program, join(import.meta.dirname, "../support/silent.c")]);
	writeFileSync(file, requestText("GET /v1/events", { Host: "x", Authorization: `Bearer ${token}` }));
	const silent = spawn(program, [String(quick.port), file], { stdio: ["pipe", "pipe", "inherit"] });
	t.after(() => silent.kill("SIGKILL"));
	let heard = "";
	silent.stdout.setEncoding("utf8").on("data", (text) => (heard += text));
	await eventually(() => /event: open/.test(heard) && /: ping/.test(heard), "its stream, with a ping");
	assert.equal(await metric("event_streams", quick), 2);
	const since = performance.now();
	silent.stdin.write("silence\n");
	await eventually(async () => (await metric("event_streams", quick)) === 1, "the end of its stream");
	const found = (performance.now() - since) / 1000;
	// the kernel counts in steps that double; here we have to share the processor, too
	assert.ok(found < PING_S + PONG_S + 3, `found after ${found.toFixed(1)} s`);
	await s.until(() => s.comments >= 2 * (PING_S + PONG_S), "comments for longer than a silent client has");
	assert.equal(s.ended, false);
	s.leave();
});

test("nothing is left of all that", async () => {
	await eventually(async () => {
		const metrics = await server.metrics();
		return ["sessions", "room_members", "rooms", "event_streams", "connections"].every((name) => !metrics[`signalbox_${name}`]);
	}, "the end of everything");
});
