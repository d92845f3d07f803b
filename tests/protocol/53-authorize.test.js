// A backend that is asked whether somebody may connect, join, publish or make a room, and what holds when it
// does not answer. Each question is verified by the library that receivers use.
import assert from "node:assert/strict";
import test from "node:test";
import { connect } from "../support/client.mjs";
import { Receiver } from "../support/receiver.mjs";
import { post, refused } from "../support/rooms.mjs";
import { anyPace, atOnce, startServer } from "../support/server.mjs";

const all = ["connect", "join", "publish", "create"];

async function start(t, { on = all, workers = 2, ...more } = {}, config = {}) {
	const backend = await new Receiver().listen(t);
	const authorize = { url: backend.url, secret: backend.secret, on, ...more };
	const server = await startServer({ t, workers, config: { ...atOnce, authorize, limits: anyPace, ...config } });
	t.after(() => assert.deepEqual(backend.problems, []));
	return { backend, server };
}

const no = (reason) => ({ allow: false, reason });

test("its word counts, for each thing that it is asked about", async (t) => {
	const { backend, server } = await start(t);
	backend.decide = ({ type, user, room, data }) => {
		if (type === "connect") return user === "eve" ? no("Eve has not paid.") : { allow: true };
		if (type === "join") return room === "closed" ? { allow: false } : { allow: true };
		if (type === "publish") return data === "spam" ? no("No spam.") : { allow: true };
		return room.startsWith("own-") ? { allow: true } : no("Names begin with own-.");
	};
	await assert.rejects(connect(server, { user: "eve" }), ({ code, message, data }) => {
		assert.deepEqual([code, data.reason], [-32003, "refused_by_backend"]);
		assert.match(message, /Eve has not paid\./);
		return true;
	});
	const stream = await fetch(`${server.url}/v1/events`, {
		headers: { accept: "text/event-stream", authorization: `Bearer ${await server.mint("eve")}` },
	});
	assert.equal(stream.status, 403);
	assert.match(await stream.text(), /Eve has not paid\./);
	const ann = await connect(server, { user: "ann" });
	t.after(() => ann.close());
	await refused(ann.call("room.join", { room: "closed" }), "forbidden", "refused_by_backend");
	const { epoch } = await ann.call("room.join", { room: "open" });
	await refused(ann.call("room.publish", { room: "open", data: "spam" }), "forbidden", "refused_by_backend");
	assert.deepEqual(await ann.call("room.publish", { room: "open", data: [1] }), { epoch, offset: 1 });
	await refused(ann.call("room.edit", { room: "open", offset: 1, data: "spam" }), "forbidden", "refused_by_backend");
	assert.deepEqual(await ann.call("room.edit", { room: "open", offset: 1, data: "tea" }), { epoch, offset: 2 });
	await ann.call("room.redact", { room: "open", offset: 1 });
	await refused(ann.call("room.create", { room: "mine" }), "forbidden", "refused_by_backend");
	assert.equal((await ann.call("room.create", { room: "own-1", title: "One" })).owner, "ann");
	const asked = backend.questions.map(({ type, user, name, room, role, title, data, edits }) => ({ type, user, name, room, role, title, data, edits }));
	const who = { user: "ann", name: "ann" };
	const question = (more) => ({ ...who, room: undefined, role: undefined, title: undefined, data: undefined, edits: undefined, ...more });
	assert.deepEqual(asked, [
		question({ type: "connect", user: "eve", name: "eve" }),
		question({ type: "connect", user: "eve", name: "eve" }),
		question({ type: "connect" }),
		question({ type: "join", room: "closed", role: "member" }),
		question({ type: "join", room: "open", role: "member" }),
		question({ type: "publish", room: "open", data: "spam" }),
		question({ type: "publish", room: "open", data: [1] }),
		question({ type: "publish", room: "open", data: "spam", edits: 1 }),
		question({ type: "publish", room: "open", data: "tea", edits: 1 }),
		question({ type: "create", room: "mine", title: "" }),
		question({ type: "create", room: "own-1", title: "One" }),
	]);
	// the backend itself is not asked for its own word
	const token = await server.mint("robot", { scope: "admin rooms:join rooms:create" });
	await post(server, token, "room.publish", { room: "open", data: "spam" });
	await post(server, token, "room.create", { room: "any" });
	assert.equal(backend.questions.length, asked.length);
});

test("a role that it gives opens a private room and holds there", async (t) => {
	const { backend, server } = await start(t, { on: ["join"] });
	const ann = await connect(server, { user: "ann" });
	await ann.call("room.create", { room: "p", visibility: "private" });
	const bob = await connect(server, { user: "bob" });
	t.after(() => Promise.all([ann.close(), bob.close()]));
	await refused(bob.call("room.join", { room: "p" }), "forbidden", "room_private");
	assert.equal(backend.questions.at(-1).role, "none");
	backend.decide = () => ({ allow: true, role: "owner" }); // not its to give
	await refused(bob.call("room.join", { room: "p" }), "forbidden", "room_private");
	backend.decide = () => ({ allow: true, role: "moderator" });
	assert.equal((await bob.call("room.join", { room: "p" })).role, "moderator");
});

test("what comes behind a join waits for its answer; who leaves meanwhile does not stay", async (t) => {
	const { backend, server } = await start(t, { on: ["join"] });
	let go;
	const held = new Promise((done) => (go = done));
	backend.decide = async ({ user }) => {
		if (user !== "watcher") await held;
		return { allow: true };
	};
	const watcher = await connect(server, { user: "watcher" });
	await watcher.call("room.join", { room: "w" });
	const ann = await connect(server, { user: "ann" });
	const gone = await connect(server, { user: "gone" });
	t.after(() => Promise.all([ann.close(), watcher.close()]));
	gone.call("room.join", { room: "w" }).catch(() => {});
	await backend.got((_, { questions }) => questions.some(({ user }) => user === "gone"), "the question");
	const closed = gone.close();
	const join = ann.call("room.join", { room: "w" });
	const sent = ann.call("signal.send", { room: "w", to: "room", type: "offer", data: 1 });
	await closed;
	go();
	assert.equal((await join).room, "w");
	assert.ok((await sent).queued >= 1);
	await watcher.next(({ method, params }) => method === "room.left" && params.reason === "left");
	const { members } = await watcher.call("room.presence", { room: "w" });
	assert.deepEqual(members.map(({ user }) => user), ["ann"]);
});

test("those who come to one room together are asked about together", async (t) => {
	const { backend, server } = await start(t, { on: ["join"], timeout: "10s" });
	const names = Array.from({ length: 12 }, (_, i) => `user${i}`);
	const all = await Promise.all(names.map((user) => connect(server, { user })));
	t.after(() => Promise.all(all.map((who) => who.close())));
	let asked = 0, go;
	const together = new Promise((done) => (go = done));
	backend.decide = async ({ user }) => {
		if (++asked === names.length) go();
		await together;
		if (user === "user7") return no("Not you.");
		return { allow: true, role: user === "user8" ? "viewer" : "member" };
	};
	const joins = await Promise.allSettled(all.map((who) => who.call("room.join", { room: "r" })));
	const word = ({ value, reason }) => value?.role ?? `${reason.reason}: ${reason.text}`;
	assert.deepEqual(joins.map(word), names.map((_, i) => (i === 7 ? "refused_by_backend: Not you." : i === 8 ? "viewer" : "member")));
	const { members } = await all[0].call("room.presence", { room: "r" });
	assert.equal(members.length, names.length - 2); // but herself and who was refused
	assert.equal(backend.questions.length, names.length);
});

for (const [when_down, what] of [["deny", "nobody may"], ["allow", "everybody may"]])
	test(`a backend that is down, slow or confused: ${what}`, async (t) => {
		const { backend, server } = await start(t, { on: ["join"], workers: 1, timeout: "150ms", when_down });
		const ann = await connect(server, { user: "ann" });
		t.after(() => ann.close());
		const tried = async (room) => {
			if (when_down === "deny") await refused(ann.call("room.join", { room }), "overloaded", "backend_unavailable");
			else await ann.call("room.join", { room });
		};
		const answers = {
			slow: () => undefined,
			broken: () => 500,
			unclear: () => ({ allow: "yes" }),
			moved: (_, response) => void response.writeHead(302, { location: `${backend.url}/elsewhere` }).end(),
			endless: (_, response) => void response.writeHead(200).end(`{"allow": true, "x": "${"x".repeat(100_000)}"}`),
		};
		for (const [room, decide] of Object.entries(answers)) {
			backend.decide = decide;
			await tried(room);
		}
		// five in a row: it has a rest
		const asked = backend.questions.length;
		assert.equal(asked, 5);
		backend.decide = () => ({ allow: true });
		await tried("resting");
		assert.equal(backend.questions.length, asked);
		assert.ok((await server.metrics()).signalbox_backend_down_total >= 6);
		while (backend.questions.length === asked) {
			await ann.call("room.join", { room: "again" }).catch(({ data }) => assert.equal(data.reason, "backend_unavailable"));
			await ann.call("room.leave", { room: "again" });
		}
	});

test("a session that is resumed by nobody is asked about like any other", async (t) => {
	const { backend, server } = await start(t, { on: ["connect"] });
	backend.decide = ({ user }) => ({ allow: user === "ann" });
	const ann = await connect(server, { user: "ann" });
	t.after(() => ann.close());
	await assert.rejects(connect(server, { user: "bob", resume: { session: `0.${"0".repeat(32)}`, received: 0 } }), ({ data }) => {
		assert.equal(data.reason, "refused_by_backend");
		return true;
	});
	assert.deepEqual(backend.questions.map(({ user }) => user), ["ann", "bob"]);
});

test("a backend acts without a session: it publishes, lists, looks, kicks and sends signals", async (t) => {
	const server = await startServer({ t, workers: 2, config: atOnce });
	const ann = await connect(server, { user: "ann" });
	t.after(() => ann.close());
	await ann.call("room.create", { room: "shop" });
	const { peer } = await ann.call("room.join", { room: "shop" });
	const token = await server.mint("robot", { scope: "admin rooms:join" });
	const plain = await server.mint("pat");
	const signal = { room: "shop", to: { user: "ann" }, type: "offer", data: { price: 1.0 } };
	assert.deepEqual(await post(server, token, "signal.send", signal), { queued: 1 });
	const { params } = await ann.next("signal.received");
	assert.deepEqual(params, {
		room: "shop",
		from: { peer: null, user: "robot", name: "robot" },
		type: "offer",
		data: { price: 1 },
	});
	assert.deepEqual(await post(server, token, "signal.send", { ...signal, to: "room" }), { queued: 1 });
	assert.deepEqual(await post(server, token, "signal.send", { ...signal, to: { peer } }), { queued: 1 });
	await refused(post(server, plain, "signal.send", signal), "forbidden", "not_a_member");
	await refused(post(server, token, "signal.send", { ...signal, room: "none" }), "not_found", "no_such_room");
	await refused(post(server, token, "signal.send", { ...signal, to: { user: "eve" } }), "not_found", "no_such_user");
	assert.equal((await post(server, token, "room.publish", { room: "shop", data: 1 })).offset, 1);
	assert.ok((await post(server, token, "room.list", {})).rooms.some(({ room }) => room === "shop"));
	assert.deepEqual((await post(server, token, "room.presence", { room: "shop" })).members.map(({ user }) => user), ["ann"]);
	assert.equal((await post(server, token, "room.kick", { room: "shop", user: "ann" })).peers, 1);
	await ann.next(({ method, params: { reason } }) => method === "room.left" && reason === "kicked");
});
