// The JavaScript library where WebSocket does not get through: the same session over HTTP, the way
// around and the way back, and what a network may do to both.
import assert from "node:assert/strict";
import { test } from "node:test";
import WebSocket from "ws";
import { startServer } from "../support/server.mjs";
import { events, within } from "../support/within.mjs";
import { openWay } from "../support/way.mjs";
import { Signalbox } from "../../web/sdk/signalbox.js";

const WAIT_MS = 20_000;

const event = events(WAIT_MS);

const said = (room, data) => event(room, "message", (message) => message.data === data);

function collect(room) {
	const seen = { messages: [], connected: [], left: [], gaps: 0 };
	room.on("message", ({ data }) => seen.messages.push(data));
	room.on("updated", ({ changes }) => "connected" in changes && seen.connected.push(changes.connected));
	room.on("left", ({ reason }) => seen.left.push(reason));
	room.on("gap", () => seen.gaps++);
	return seen;
}

async function client(t, server, user, options) {
	const token = await server.mint(user);
	const box = new Signalbox({ url: server.url, token: async () => token, random: () => 0.02, WebSocket, ...options });
	t.after(() => box.close());
	return box;
}

/** A server, and a way to it that the test has in its hand. */
async function behind(t, options) {
	const server = await startServer({ t, workers: 4, ...options });
	const way = await openWay();
	t.after(() => way.close());
	way.to(server.port);
	return { server, way };
}

test("over HTTP: a session like any other, and its end is told at once", async (t) => {
	const server = await startServer({ t, workers: 4 });
	const ann = await client(t, server, "ann", { transport: "http" });
	const bob = await client(t, server, "bob");
	const opened = event(ann, "open");
	await Promise.all([ann.connect(), bob.connect()]);
	const { transport, resumed, user } = await opened;
	assert.deepEqual([transport, resumed, user.id], ["http", false, "ann"]);
	assert.deepEqual([ann.transport, ann.status.state, bob.transport], ["http", "open", "websocket"]);
	const hers = await ann.join("tea", { state: { cups: 1 } });
	const met = event(hers, "joined");
	const his = await bob.join("tea");
	await met;

	// many at once: they go in few POSTs, and their order stays
	const heard = collect(his);
	const last = said(his, "99, größer 🚂");
	const all = Array.from({ length: 100 }, (_, n) => `${n}, größer 🚂`);
	await Promise.all(all.slice(0, 50).map((data) => hers.publish(data)));
	await Promise.all(all.slice(50).map((data) => hers.publish(data)));
	await last;
	assert.deepEqual(heard.messages, all);
	await assert.rejects(ann.rooms.get("nowhere"), { reason: "no_such_room" });

	const left = event(his, "left");
	const parting = said(his, "and good bye");
	hers.publish("and good bye").catch(() => {}); // it is closed before there is an answer
	ann.close();
	await parting;
	assert.equal((await left).reason, "left");
});

test("however the network cuts streams and POSTs, each message arrives once and in order", async (t) => {
	const { server, way } = await behind(t);
	const ann = await client(t, server, "ann", { transport: "http", url: way.url });
	const bob = await client(t, server, "bob");
	await Promise.all([ann.connect(), bob.connect()]);
	const [hers, his] = [await ann.join("tea"), await bob.join("tea")];
	const [hear, heard] = [collect(hers), collect(his)];
	const { session } = ann.session;

	const ROUNDS = 40;
	const answers = [];
	for (let round = 0; round < ROUNDS; round++) {
		for (let n = 0; n < 5; n++) {
			answers.push(hers.publish(`ann ${round} ${n}`));
			answers.push(his.publish(`bob ${round} ${n}`));
		}
		// at all sorts of moments: before, within and after POSTs and their answers
		for (let turns = (round * 7) % 23; turns > 0; turns--) await new Promise((done) => setImmediate(done));
		way.cutAll();
		if (round % 3 === 0 && ann.state !== "open") await event(ann, "open");
	}
	const offsets = await within(Promise.all(answers), WAIT_MS, "an answer to each");
	const ends = [said(hers, "end"), said(his, "end")];
	await hers.publish("end");
	await Promise.all(ends);

	assert.equal(ann.session.session, session);
	assert.deepEqual(hear.messages, heard.messages);
	assert.equal(hear.messages.length, offsets.length + 1);
	for (const who of ["ann", "bob"]) {
		const mine = heard.messages.filter((text) => text.startsWith(who));
		const wanted = Array.from({ length: ROUNDS * 5 }, (_, n) => `${who} ${Math.floor(n / 5)} ${n % 5}`);
		assert.deepEqual(mine, wanted);
	}
	assert.equal(new Set(offsets.map(({ offset }) => offset)).size, offsets.length);
	assert.equal(hear.gaps + heard.gaps, 0);
	assert.ok((await server.metrics()).signalbox_sessions_resumed_total > 5, "it was cut indeed");
});

test("where WebSocket is blocked it goes around, with the same session, and back again", async (t) => {
	const { server, way } = await behind(t);
	const ann = await client(t, server, "ann", { url: way.url, retryWebSocket: 300 });
	const bob = await client(t, server, "bob");
	const transports = [];
	ann.on("transport", ({ transport, message }) => transports.push([transport, message]));
	await Promise.all([ann.connect(), bob.connect()]);
	const [hers, his] = [await ann.join("tea"), await bob.join("tea")];
	const [hear, heard] = [collect(hers), collect(his)];
	const { session } = ann.session;
	assert.equal(ann.transport, "websocket");

	way.websockets = "reset";
	const around = event(ann, "open");
	const losses = [];
	ann.on("reconnecting", ({ reason, attempt }) => losses.push([reason, attempt]));
	way.cutAll();
	const during = [hers.publish("while away"), his.publish("meanwhile")];
	assert.deepEqual(await around, { session, resumed: true, user: ann.user, transport: "http" });
	assert.deepEqual(losses, [["lost", 1], ["lost", 2], ["lost", 3]], "the loss, and two WebSockets that never opened");
	await Promise.all(during);
	assert.equal(ann.status.message, "Connected over HTTP.");
	const { message } = await event(ann, "status", ({ blocked }) => blocked); // it has looked again by now
	assert.match(message, /WebSocket is blocked/);

	// back: nobody notices, also while it is talked in both directions
	const states = [];
	ann.on("status", ({ state }) => states.push(state));
	const back = event(ann, "transport", ({ transport }) => transport === "websocket");
	heard.connected.length = 0;
	way.websockets = "pass";
	let talking = true;
	let count = 0;
	const talk = async (room, who) => {
		for (let n = 0; talking || n < 50; n++) {
			await room.publish(`${who} ${n}`);
			count++;
		}
	};
	const talks = [talk(hers, "ann"), talk(his, "bob")];
	await back;
	talking = false;
	await within(Promise.all(talks), WAIT_MS, "the talk");
	const ends = [said(hers, "end"), said(his, "end")];
	await hers.publish("end");
	await Promise.all(ends);
	assert.deepEqual([ann.transport, ann.session.session], ["websocket", session]);
	assert.deepEqual(states, ["open"], "it was open all the time");
	assert.deepEqual(heard.connected, [], "and the others saw no loss");
	assert.equal(heard.messages.length, count + 3);
	assert.deepEqual(hear.messages, heard.messages);
	assert.deepEqual(transports.map(([transport]) => transport), ["http", "websocket"]);
	assert.deepEqual(hear.left.concat(heard.left), []);
	await ann.request("room.list");
});

test("blocked from the first: by resets, by silence; and one that may only use WebSocket says so", async (t) => {
	const { server, way } = await behind(t);
	way.websockets = "reset";
	const ann = await client(t, server, "ann", { url: way.url });
	const told = event(ann, "transport");
	await within(ann.connect(), WAIT_MS, "ann");
	assert.equal((await told).transport, "http");

	way.websockets = "swallow";
	const bob = await client(t, server, "bob", { url: way.url, openTimeout: 1500 });
	await within(bob.connect(), WAIT_MS, "bob");
	assert.equal(bob.transport, "http");

	way.websockets = "reset";
	const cid = await client(t, server, "cid", { url: way.url, transport: "websocket" });
	const connecting = cid.connect();
	for (let n = 0; n < 4; n++) assert.equal((await event(cid, "reconnecting")).reason, "lost");
	assert.equal(cid.transport, "websocket");
	cid.close();
	await assert.rejects(connecting, { reason: "closed" });
});

test("where each WebSocket is cut soon after it opened it goes around, too, and loses nothing", async (t) => {
	const { server, way } = await behind(t);
	way.websockets = "kill";
	const ann = await client(t, server, "ann", { url: way.url, retryWebSocket: 300 });
	const bob = await client(t, server, "bob");
	await Promise.all([ann.connect(), bob.connect()]);
	const [hers, his] = [await ann.join("tea"), await bob.join("tea")];
	const [hear, heard] = [collect(hers), collect(his)];
	const { session } = ann.session;
	const around = event(ann, "status", ({ state, transport, blocked }) => state === "open" && transport === "http" && blocked);
	const wanted = [];
	for (let n = 0; ann.transport === "websocket"; n++) {
		wanted.push(n);
		await hers.publish(n);
	}
	await around;

	// it is tried again, found to be as before, and each time left at once
	for (const way of ["websocket", "http"]) await event(ann, "transport", ({ transport }) => transport === way);
	way.websockets = "pass";
	const back = event(ann, "transport", ({ transport }) => transport === "websocket");
	const end = said(his, "end");
	await hers.publish("end");
	await end;
	await back;
	assert.equal(ann.session.session, session);
	assert.deepEqual(heard.messages, [...wanted, "end"]);
	assert.deepEqual(hear.messages, heard.messages);
});

test("a server that was away is no blocked WebSocket: who is back over HTTP first moves over soon", async (t) => {
	const { server, way } = await behind(t);
	const ann = await client(t, server, "ann", { url: way.url });
	await ann.connect();
	const { session } = ann.session;
	way.block();
	await event(ann, "reconnecting", () => ann.transport === "http"); // neither gets through
	await event(ann, "connecting", (attempt) => attempt.transport === "http");
	way.unblock();
	const { message, blocked } = await event(ann, "status", ({ state }) => state === "open");
	assert.deepEqual([message, blocked, ann.transport], ["Connected over HTTP.", false, "http"]);
	const told = event(ann, "transport");
	assert.equal((await told).transport, "websocket");
	assert.deepEqual([ann.session.session, ann.status.message], [session, "Connected."]);
});

test("a switch back that fails in the middle costs nothing but time", async (t) => {
	const { server, way } = await behind(t);
	way.websockets = "reset";
	const ann = await client(t, server, "ann", { url: way.url, retryWebSocket: 200, openTimeout: 1000 });
	const bob = await client(t, server, "bob");
	await Promise.all([ann.connect(), bob.connect()]);
	const [hers, his] = [await ann.join("tea"), await bob.join("tea")];
	const hear = collect(hers);
	const { session } = ann.session;
	// the upgrade goes through, and then nothing
	way.websockets = "mute";
	const lost = event(ann, "reconnecting");
	const again = event(ann, "open");
	await his.publish("one");
	await lost;
	const sent = hers.publish("three");
	await his.publish("two");
	assert.deepEqual(await again, { session, resumed: true, user: ann.user, transport: "http" });
	await sent;
	const end = said(hers, "end");
	await his.publish("end");
	await end;
	assert.deepEqual(hear.messages.toSorted(), ["end", "one", "three", "two"]);
});

test("a stream that is held back is said to be, and tried again", async (t) => {
	const { server, way } = await behind(t);
	way.holdsStreams = true;
	const ann = await client(t, server, "ann", { url: way.url, transport: "http", openTimeout: 500 });
	const connecting = ann.connect();
	const { reason, message } = await event(ann, "reconnecting");
	assert.equal(reason, "held_back");
	assert.match(message, /holds back/);
	way.holdsStreams = false;
	await within(connecting, WAIT_MS, "the session");
});

test("tokens: one that is refused is renewed, and the session goes on", async (t) => {
	const server = await startServer({ t });
	const good = await server.mint("ann");
	const asked = [];
	let spoil = false;
	const ann = await client(t, server, "ann", {
		transport: "http",
		token: async (why) => {
			asked.push(why.fresh);
			return good;
		},
		fetch: (url, request) => {
			const { Authorization } = request.headers;
			const headers = { ...request.headers, Authorization: spoil ? `${Authorization}x` : Authorization };
			spoil = false;
			return fetch(url, { ...request, headers });
		},
	});
	await ann.connect();
	const { session } = ann.session;
	assert.deepEqual(asked, [false]);
	spoil = true;
	await ann.request("room.list");
	assert.deepEqual(asked, [false, true]);
	await ann.request("session.refresh", { token: await server.mint("ann", { expires: 1800 }) });
	await ann.request("room.list");
	assert.equal(ann.session.session, session);
	assert.equal((await server.metrics()).signalbox_sessions_resumed_total, 0);

	const nobody = await client(t, server, "bob", { transport: "http", token: async () => "not.a.token" });
	const closed = event(nobody, "closed");
	await assert.rejects(nobody.connect(), { code: 3000 });
	assert.equal((await closed).reason, "unauthenticated");
});

test("a killed server: over HTTP, too, everybody is back in the room with what was said", async (t) => {
	const first = await startServer({ workers: 2 });
	const ann = await client(t, first, "ann", { transport: "http" });
	const bob = await client(t, first, "bob", { transport: "http" });
	await Promise.all([ann.connect(), bob.connect()]);
	const [hers, his] = [await ann.join("tea"), await bob.join("tea")];
	const back = Promise.all([event(hers, "rejoined"), event(his, "rejoined")]);
	await first.kill();
	await startServer({ t, workers: 2, data: first.data, listen: `127.0.0.1:${first.port}` });
	await back;
	const heard = said(his, "again");
	await hers.publish("again");
	await heard;
});
