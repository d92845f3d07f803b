// The JavaScript library in Node: what a backend or a native app does with it. Calls are tested in
// browsers (tests/browser); here sessions, rooms, presence, and what a restart of the service does.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, readFileSync, symlinkSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";
import WebSocket from "ws";
import { ownDirectory, startServer } from "../support/server.mjs";
import { events, within } from "../support/within.mjs";
import { Signalbox, SignalboxError } from "../../web/sdk/signalbox.js";

const WAIT_MS = 10_000;

const event = events(WAIT_MS);

const client = (server, user) =>
	new Signalbox({ url: server.url, token: () => server.mint(user) });

test("two clients meet in a room", async (t) => {
	const server = await startServer({ t, workers: 4 });
	const [ann, bob] = [client(server, "ann"), client(server, "bob")];
	await Promise.all([ann.connect(), bob.connect()]);
	const hers = await ann.join("tea", { state: { cups: 1 } });
	const came = event(hers, "joined");
	const his = await bob.join("tea");
	assert.deepEqual([...his.members.values()].map((m) => [m.user, m.polite, m.state]), [
		["ann", true, { cups: 1 }],
	]);
	const member = await came;
	assert.equal((member.member ?? member).user, "bob");

	const said = event(his, "message");
	const { offset } = await hers.publish({ text: "hello" });
	const message = await said;
	assert.deepEqual([message.data, message.offset], [{ text: "hello" }, offset]);

	const signaled = event(hers, "signal");
	await his.signal({ user: "ann" }, "wave", { hand: "left" });
	const signal = await signaled;
	assert.deepEqual([signal.from.user, signal.type, signal.data], ["bob", "wave", { hand: "left" }]);

	const updated = event(hers, "updated");
	await his.setState({ cups: 2 });
	await updated;
	assert.deepEqual([...hers.members.values()][0].state, { cups: 2 });

	const left = event(hers, "left");
	await his.leave();
	await left;
	assert.equal(hers.members.size, 0);
	await Promise.all([ann.close(), bob.close()]);
});

test("a refusal says what to do", async (t) => {
	const server = await startServer({ t });
	const ann = client(server, "ann");
	await ann.connect();
	await assert.rejects(ann.rooms.get("nowhere"), (error) => {
		assert(error instanceof SignalboxError);
		assert.deepEqual([error.code, error.reason], [-32004, "no_such_room"]);
		return error.message.length > 10;
	});
	await ann.close();

	const nobody = new Signalbox({ url: server.url, token: async () => "not.a.token" });
	const closed = event(nobody, "closed");
	await assert.rejects(nobody.connect(), SignalboxError);
	assert.equal((await closed).code, 3000);
});

test("a crash of the service brings everybody back into their rooms", async (t) => {
	const first = await startServer({ workers: 2 });
	const token = {};
	for (const user of ["ann", "bob"]) token[user] = await first.mint(user);
	// soon again: how long to wait is drawn anew each time, up to 20 s
	const make = (user) =>
		new Signalbox({ url: first.url, token: async () => token[user], random: () => 0.05 });
	const [ann, bob] = [make("ann"), make("bob")];
	t.after(() => Promise.all([ann.close(), bob.close()]));
	await Promise.all([ann.connect(), bob.connect()]);
	const [hers, his] = [await ann.join("tea"), await bob.join("tea")];
	const sessions = [ann.session.session, bob.session.session];

	const away = Promise.all([event(ann, "reconnecting"), event(bob, "reconnecting")]);
	const back = Promise.all([event(hers, "rejoined"), event(his, "rejoined")]);
	await first.kill();
	await away;
	const second = await startServer({
		t,
		workers: 2,
		data: first.data,
		listen: `127.0.0.1:${first.port}`,
	});
	await back; // until then they show who was there before
	assert.notDeepEqual([ann.session.session, bob.session.session], sessions);
	await within(
		(async () => {
			while (hers.members.size !== 1 || his.members.size !== 1)
				await new Promise((done) => setTimeout(done, 10));
		})(),
		WAIT_MS,
		"both to see each other again",
	);
	const said = event(his, "message", (message) => message.data === "again");
	await hers.publish("again");
	await said;
	assert.equal(second.url, first.url);
});

test("a restart of the service is a pause", async (t) => {
	const config = { session: { drain_spread: "300ms" } };
	const first = await startServer({ workers: 2, config });
	const [ann, bob] = ["ann", "bob"].map((user) => client(first, user));
	t.after(() => Promise.all([ann.close(), bob.close()]));
	await Promise.all([ann.connect(), bob.connect()]);
	const hers = await ann.join("tea");
	const joined = event(hers, "joined");
	const his = await bob.join("tea");
	await joined;
	const sessions = [ann.session.session, bob.session.session];
	const members = [...hers.members.keys()];
	const left = [];
	his.on("left", (member) => left.push(member));
	const told = event(ann, "closing");
	const away = Promise.all([event(ann, "reconnecting"), event(bob, "reconnecting")]);
	await first.stop();
	assert.ok((await told).delay <= 300);
	await away;
	const said = event(his, "message", (message) => message.data === "meanwhile");
	const published = hers.publish("meanwhile"); // answered when it can be
	await startServer({ t, workers: 4, config, data: first.data, listen: `127.0.0.1:${first.port}` });
	await Promise.all([published, said]);
	assert.deepEqual([ann.session.session, bob.session.session], sessions);
	assert.deepEqual([...hers.members.keys()], members);
	assert.deepEqual(left, []);
});

/** A client whose connections a test can cut, and that comes back only when it is let. */
async function cuttable(server, user) {
	const token = await server.mint(user);
	const sockets = [];
	let gate = Promise.resolve();
	let open;
	class Wire extends WebSocket {
		constructor(...how) {
			super(...how);
			sockets.push(this);
		}
	}
	const box = new Signalbox({
		url: server.url,
		token: () => gate.then(() => token),
		random: () => 0,
		transport: "websocket",
		WebSocket: Wire,
	});
	const happened = [];
	for (const name of ["open", "reconnecting", "closed", "error"])
		box.on(name, (what) => happened.push(name === "open" ? `open ${what.resumed}` : name));
	return {
		box,
		sockets,
		happened,
		/** What still comes on this connection is not heard. */
		deafen: () => (sockets.at(-1).onmessage = null),
		/** What is still sent on it gets lost. */
		mute: () => (sockets.at(-1).send = () => {}),
		cut() {
			gate = new Promise((done) => (open = done));
			sockets.at(-1).terminate();
		},
		letBack: () => open(),
	};
}

/** The names of what happens in a room from now on; messages with what they say. */
function follow(room) {
	const seen = { messages: [], offsets: [], others: [] };
	room.on("message", ({ data, offset }) => (seen.messages.push(data), seen.offsets.push(offset)));
	for (const name of ["joined", "left", "rejoined", "gap", "closed", "error"])
		room.on(name, () => seen.others.push(name));
	room.on("updated", ({ member, changes }) => seen.others.push(`${member?.user} ${JSON.stringify(changes)}`));
	room.on("signal", ({ from, type }) => seen.others.push(`${type} from ${from.user}`));
	return seen;
}

const said = (room, data) => event(room, "message", (message) => message.data === data);
const connected = (room, yes) => event(room, "updated", ({ changes }) => changes.connected === yes);

test("a cut connection is resumed: nothing is lost, nothing is twice, nobody has left", async (t) => {
	const server = await startServer({ t, workers: 4 });
	const ann = await cuttable(server, "ann");
	const bob = client(server, "bob");
	t.after(() => Promise.all([ann.box.close(), bob.close()]));
	await Promise.all([ann.box.connect(), bob.connect()]);
	const hers = await ann.box.join("tea");
	const met = event(hers, "joined");
	const his = await bob.join("tea");
	await met;
	const { session } = ann.box.session;
	const { peer } = hers;
	const members = [...hers.members.values()];
	const [hear, heard] = [follow(hers), follow(his)];
	const before = await server.metrics();

	ann.deafen();
	const unheard = said(his, "answered, unheard");
	const calls = [hers.publish("answered, unheard")];
	await unheard;
	ann.mute();
	calls.push(hers.publish("lost on the way"));
	const [away, lost] = [connected(his, false), event(ann.box, "reconnecting")];
	ann.cut();
	await Promise.all([away, lost]);
	calls.push(hers.publish("said while away"));
	const cups = [0, 1, 2, 3, 4];
	for (const cup of cups) await his.publish(cup);
	await his.setState({ cups: 5 });
	await his.signal({ user: "ann" }, "wave");
	await his.publish("the last");

	const [back, again] = [event(ann.box, "open"), connected(his, true)];
	const last = said(his, "said while away");
	ann.letBack();
	assert.deepEqual(await back, { session, resumed: true, user: ann.box.user, transport: "websocket" });
	await Promise.all([again, last]);
	const offsets = (await within(Promise.all(calls), WAIT_MS, "the calls in flight")).map(({ offset }) => offset);
	const end = [said(hers, "end"), said(his, "end")];
	await hers.publish("end");
	await Promise.all(end);

	const messages = ["answered, unheard", ...cups, "the last", "lost on the way", "said while away", "end"];
	assert.deepEqual(hear.messages, messages);
	assert.deepEqual(heard.messages, messages);
	assert.deepEqual(hear.offsets, heard.offsets);
	assert.deepEqual(hear.offsets, messages.map((_, i) => hear.offsets[0] + i));
	assert.deepEqual(offsets, [0, 7, 8].map((i) => hear.offsets[i]));
	assert.deepEqual(hear.others, ['bob {"state":{"cups":5}}', "wave from bob"]);
	assert.deepEqual(heard.others, ['ann {"connected":false}', 'ann {"connected":true}']);
	assert.deepEqual(ann.happened, ["open false", "reconnecting", "open true"]);
	assert.deepEqual([ann.box.session.session, hers.peer, ann.sockets.length], [session, peer, 2]);
	assert.equal(ann.box.joined.get("tea"), hers);
	assert.deepEqual([...hers.members.values()].map((member) => members.indexOf(member)), [0]);
	const after = await server.metrics();
	const rise = (name) => after[name] - before[name];
	assert.equal(rise("signalbox_sessions_resumed_total"), 1);
});

test("away for longer than the window: a new session, in the same room", async (t) => {
	const server = await startServer({ t, workers: 4, config: { session: { resume_window: "1s" } } });
	const ann = await cuttable(server, "ann");
	const bob = client(server, "bob");
	t.after(() => Promise.all([ann.box.close(), bob.close()]));
	await Promise.all([ann.box.connect(), bob.connect()]);
	const hers = await ann.box.join("tea", { state: { cups: 1 } });
	const met = event(hers, "joined");
	const his = await bob.join("tea");
	await met;
	const { session } = ann.box.session;
	const { peer } = hers;
	const [hear, heard] = [follow(hers), follow(his)];

	ann.mute();
	const failed = assert.rejects(hers.publish("lost on the way"), { reason: "lost" });
	const [away, lost, gone] = [connected(his, false), event(ann.box, "reconnecting"), event(his, "left")];
	ann.cut();
	await Promise.all([away, lost]);
	const kept = hers.publish("said while away");
	const { member, reason } = await gone;
	assert.deepEqual([member.peer, reason], [peer, "lost"]);
	await his.publish("where is she");

	const [back, rejoined, returned] = [event(ann.box, "open"), event(hers, "rejoined"), event(his, "joined")];
	const missed = said(hers, "said while away");
	ann.letBack();
	const opened = await back;
	assert.deepEqual([opened.resumed, opened.session === session], [false, false]);
	await within(failed, WAIT_MS, "the call in flight");
	assert.deepEqual(await rejoined, { recovered: true });
	const { peer: fresh, state } = await returned;
	assert.deepEqual([fresh, state], [hers.peer, { cups: 1 }]);
	assert.notEqual(fresh, peer);
	await Promise.all([kept, missed]);

	assert.deepEqual(hear.messages, ["where is she", "said while away"]);
	assert.deepEqual(heard.others, ['ann {"connected":false}', "left", "joined"]);
	assert.deepEqual(ann.happened, ["open false", "reconnecting", "open false"]);
	assert.equal(ann.box.joined.get("tea"), hers);
	assert.deepEqual([...hers.members.values()].map(({ user }) => user), ["bob"]);
	assert.equal((await server.metrics()).signalbox_sessions_resumed_total, 0);
});

test("a drain that is told once more, after a resume, delays nothing that is lost later", async (t) => {
	const config = { session: { drain_spread: "10m" } };
	const first = await startServer({ workers: 2, config });
	const ann = await cuttable(first, "ann");
	t.after(() => ann.box.close());
	await ann.box.connect();
	const { session } = ann.box.session;
	ann.deafen();
	const away = event(ann.box, "reconnecting");
	const [back, again] = [event(ann.box, "open"), event(ann.box, "closing")];
	await first.stop();
	assert.deepEqual([(await away).code, (await away).delay], [1001, 0], "it has not heard when to come back");
	await startServer({ t, workers: 2, config, data: first.data, listen: `127.0.0.1:${first.port}` });
	assert.deepEqual([(await back).session, (await back).resumed], [session, true]);
	assert.ok((await again).delay > 1000, "what it had not heard comes now");
	const lost = event(ann.box, "reconnecting");
	ann.cut();
	assert.deepEqual([(await lost).code, (await lost).delay], [1006, 0]);
	const open = event(ann.box, "open");
	ann.letBack();
	assert.equal((await open).resumed, true);
});

const PACE = { requests_per_second: 40, requests_burst: 20, joins_per_second: 20, joins_burst: 10 };
const REFUSED = ["signalbox_requests_limited_total", "signalbox_joins_limited_total"];

test("more than the server allows waits its turn, and nothing is refused", async (t) => {
	const server = await startServer({ t, workers: 4, config: { limits: PACE } });
	const ann = client(server, "ann");
	t.after(() => ann.close());
	await ann.connect();
	const joins = Array.from({ length: 30 }, (_, n) => ann.join(`r${n}`));
	const calls = Array.from({ length: 60 }, () => ann.request("ice.servers"));
	const order = [];
	for (const [name, all] of [["joins", joins], ["calls", calls]])
		Promise.all(all).then(() => order.push(name), assert.fail);
	await ann.request("session.refresh", { token: await server.mint("ann", { expires: 1800 }) });
	assert.deepEqual(order, [], "the session's own business goes first");
	await within(Promise.all([...joins, ...calls]), WAIT_MS, "all of them");
	const metrics = await server.metrics();
	for (const name of REFUSED) assert.equal(metrics[name], 0, name);
});

test("what is refused for its rate is asked again, and fails only when there is no time for that", async (t) => {
	const server = await startServer({ t, config: { limits: PACE } });
	// as with a server that does not tell its limits
	class Untold extends WebSocket {
		set onmessage(listener) {
			super.onmessage = ({ data }) => listener({ data: data.replace(/"limits":\{[^}]*\}/, '"limits":{}') });
		}
	}
	const token = await server.mint("ann");
	const ann = new Signalbox({ url: server.url, token: async () => token, WebSocket: Untold });
	t.after(() => ann.close());
	await ann.connect();
	assert.deepEqual(ann.session.limits, {});
	const calls = Array.from({ length: 60 }, () => ann.request("ice.servers"));
	const hurried = ann.request("ice.servers", {}, { timeout: 500 });
	await assert.rejects(hurried, { reason: "too_many_requests" });
	await within(Promise.all(calls), WAIT_MS, "all of them");
	const rooms = await within(Promise.all(Array.from({ length: 20 }, (_, n) => ann.join(`r${n}`))), WAIT_MS, "the rooms");
	assert.equal(new Set(rooms.map(({ peer }) => peer)).size, 20);
	const metrics = await server.metrics();
	for (const name of REFUSED) assert.ok(metrics[name] > 0, name);
});

test("a killed service: back in a hundred rooms within the limits, and told what has changed", async (t) => {
	const config = { limits: { joins_per_second: 60, joins_burst: 50 } };
	const first = await startServer({ workers: 4, config });
	const token = {};
	for (const user of ["ann", "bob"]) token[user] = await first.mint(user);
	const make = (user) => new Signalbox({ url: first.url, token: async () => token[user], random: () => 0.05 });
	const [ann, bob] = [make("ann"), make("bob")];
	t.after(() => ann.close());
	await Promise.all([ann.connect(), bob.connect()]);
	const names = Array.from({ length: 100 }, (_, n) => `r${n}`);
	const hers = await within(Promise.all(names.map((name) => ann.join(name, { state: { of: name } }))), WAIT_MS, "her rooms");
	const met = hers.slice(0, 5).map((room) => event(room, "joined"));
	await Promise.all(names.slice(0, 5).map((name) => bob.join(name)));
	await Promise.all(met);
	await hers[7].publish("before");

	const told = hers.map(() => []);
	hers.forEach((room, n) => {
		room.on("left", ({ member, reason }) => told[n].push(`${member.user} ${reason}`));
		room.on("gap", () => told[n].push("gap"));
		for (const name of ["closed", "error"]) room.on(name, () => told[n].push(name));
	});
	const back = hers.map((room) => within(room.once("rejoined"), 2 * WAIT_MS, `to be back in ${room.name}`));
	await first.kill();
	bob.close();
	const waited = hers[99].publish("said while away"); // goes behind its join
	const second = await startServer({ t, workers: 4, config, data: first.data, listen: `127.0.0.1:${first.port}` });
	await Promise.all(back);
	await within(waited, WAIT_MS, "what was said while away");
	hers.forEach((room, n) => {
		assert.deepEqual(told[n], n < 5 ? ["bob lost", "gap"] : ["gap"], `what is told in ${room.name}`);
		assert.deepEqual([room.open, room.members.size, room.state], [true, 0, { of: room.name }]);
	});
	assert.equal((await second.metrics())[REFUSED[1]], 0);
});

test("the package holds the library with its types", () => {
	const copy = join(ownDirectory(), "sdk");
	cpSync(resolve(import.meta.dirname, "../../web/sdk"), copy, { recursive: true });
	symlinkSync(resolve(import.meta.dirname, "../node_modules"), join(copy, "node_modules"));
	const tsc = resolve(import.meta.dirname, "../node_modules/.bin/tsc");
	execFileSync(tsc, ["-p", ".", "--noEmit", "false", "--declaration", "--emitDeclarationOnly", "--outDir", "types"], {
		cwd: copy,
	});
	const types = readFileSync(join(copy, "types/signalbox.d.ts"), "utf8");
	assert.match(types, /export class Signalbox/);
	const [{ files }] = JSON.parse(
		execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], { cwd: copy, encoding: "utf8" }),
	);
	const packed = files.map(({ path }) => path);
	for (const path of ["signalbox.js", "signin.js", "types/signalbox.d.ts", "package.json"])
		assert(packed.includes(path), `${path} is not in the package`);
	assert(packed.every((path) => !path.startsWith("node_modules/")));
});
