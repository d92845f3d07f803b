// Sessions that outlive their connections: nothing lost, nothing done twice, in either direction, on
// whichever worker the next connection lands.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { connect } from "../support/client.mjs";
import { rawConnect, requestText } from "../support/raw.mjs";
import { ResumingClient } from "../support/resuming.mjs";
import { anyPace, startServer } from "../support/server.mjs";

const WINDOW_S = 2;
let server;

before(async () => {
	server = await startServer({
		workers: 4,
		config: { session: { resume_window: `${WINDOW_S}s` }, limits: anyPace },
	});
});
after(() => server.stop());

let rooms = 0;
const roomName = () => `room ${++rooms}`;

async function client(user, options) {
	const made = new ResumingClient(server, await server.mint(user), options);
	await made.connect(null);
	return made;
}

async function pair() {
	const room = roomName();
	const [ann, bob] = [await client("ann"), await client("bob")];
	const { peer: annPeer } = await ann.call("room.join", { room });
	const { peer: bobPeer } = await bob.call("room.join", { room });
	return { room, ann, bob, annPeer, bobPeer };
}

const workerOf = ({ opened }) => opened.session.split(".")[0];

test("what was sent while away comes, in order, each once", async () => {
	for (let round = 0; round < 10; round++) {
		const { room, ann, bob, annPeer } = await pair();
		const send = (i) => bob.send("signal.send", { room, to: { peer: annPeer }, type: "n", data: i });
		for (let i = 0; i < 40; i++) send(i);
		ann.cut();
		for (let i = 40; i < 80; i++) send(i);
		const session = ann.opened.session;
		const opened = await ann.connect();
		assert.deepEqual([opened.resumed, opened.session], [true, session]);
		send(80);
		await ann.until(() => ann.of("signal.received").length >= 81, "81 signals");
		assert.deepEqual(ann.of("signal.received").map(({ data }) => data), [...Array(81).keys()]);
		await Promise.all([ann.close(), bob.close()]);
	}
});

test("requests of a cut connection are done once, and answered", async () => {
	const { room, ann, bob } = await pair();
	const ids = [];
	for (let cut = 0; cut < 5; cut++) {
		for (let i = 0; i < 20; i++) ids.push(ann.send("room.publish", { room, data: ids.length }));
		ann.cut();
		for (let i = 0; i < 5; i++) ids.push(ann.send("room.publish", { room, data: ids.length }));
		assert.equal((await ann.connect()).resumed, true);
	}
	await ann.until(() => ids.every((id) => ann.answers.has(id)), "all answers");
	await bob.until(() => bob.of("room.message").length >= ids.length, "all messages");
	assert.deepEqual(bob.of("room.message").map(({ data }) => data), ids.map((_, i) => i));
	assert.deepEqual(ids.map((id) => ann.answers.get(id).result.offset), ids.map((_, i) => i + 1));
	await Promise.all([ann.close(), bob.close()]);
});

test("the others see who is away, and who comes back", async () => {
	const { room, ann, bob, annPeer } = await pair();
	ann.cut();
	await bob.until(() => bob.of("room.updated").length === 1, "room.updated");
	const { members } = await bob.call("room.presence", { room });
	assert.equal(members.find(({ peer }) => peer === annPeer).connected, false);
	assert.deepEqual(await bob.call("signal.send", { room, to: { peer: annPeer }, type: "x", data: 1 }), {
		queued: 1,
	});
	await ann.connect();
	await bob.until(() => bob.of("room.updated").length === 2, "room.updated");
	assert.deepEqual(bob.of("room.updated").map(({ peer, changes }) => [peer, changes]), [
		[annPeer, { connected: false }],
		[annPeer, { connected: true }],
	]);
	assert.deepEqual(bob.of("room.left"), []);
	await Promise.all([ann.close(), bob.close()]);
});

test("past the window the session is over, and the others are told", async () => {
	const { ann, bob, annPeer } = await pair();
	ann.cut();
	await bob.until(() => bob.of("room.left").length === 1, "room.left");
	assert.deepEqual(bob.of("room.left").map(({ peer, reason }) => [peer, reason]), [[annPeer, "lost"]]);
	const session = ann.opened.session;
	const opened = await ann.connect();
	assert.equal(opened.resumed, false);
	assert.notEqual(opened.session, session);
	await Promise.all([ann.close(), bob.close()]);
});

test("a clean end is an end: nobody waits, nothing is resumed", async () => {
	const { ann, bob, annPeer } = await pair();
	await ann.close(1000);
	await bob.until(() => bob.of("room.left").length === 1, "room.left");
	assert.deepEqual(bob.of("room.left").map(({ peer, reason }) => [peer, reason]), [[annPeer, "left"]]);
	assert.equal((await ann.connect()).resumed, false);
	await Promise.all([ann.close(), bob.close()]);
});

test("a connection that breaks the protocol ends its session", async () => {
	const { ann, bob, annPeer } = await pair();
	ann.send("room.publish", { room: "x".repeat(140 * 1024), data: 1 });
	assert.equal((await ann.closed).code, 1009);
	await bob.until(() => bob.of("room.left").length === 1, "room.left");
	assert.equal(bob.of("room.left")[0].peer, annPeer);
	await bob.close();
});

test("a session id alone is worth nothing", async () => {
	const { ann, bob } = await pair();
	const claim = { session: ann.opened.session, received: ann.received };
	const eve = new ResumingClient(server, await server.mint("eve"));
	const refused = await eve.connect(claim);
	const unknown = new ResumingClient(server, await server.mint("eve"));
	const nothing = await unknown.connect({ session: `${workerOf(ann)}.${"0".repeat(32)}`, received: 0 });
	assert.deepEqual(Object.keys(refused), Object.keys(nothing));
	assert.deepEqual([refused.resumed, nothing.resumed], [false, false]);
	assert.equal((await ann.call("session.ping", {})).time > 0, true);
	for (const session of ["x", "0", "0.", "99999999999999999999.1", "-1.1", "0.1", "🙂"]) {
		const guess = new ResumingClient(server, await server.mint("eve"));
		assert.equal((await guess.connect({ session, received: 0 })).resumed, false);
		await guess.close();
	}
	await Promise.all([ann.close(), bob.close(), eve.close(), unknown.close()]);
});

test("a resume from before what is kept, or from the future, ends the old session", async () => {
	for (const received of [1_000_000, 0]) {
		const { room, ann, bob, annPeer } = await pair();
		if (!received) {
			for (let i = 0; i < 40; i++) bob.send("signal.send", { room, to: { peer: annPeer }, type: "n", data: i });
			await ann.until(() => ann.of("signal.received").length >= 40, "signals");
			await ann.call("room.presence", { room }); // what it acknowledged has arrived
		}
		ann.cut();
		const opened = await ann.connect({ session: ann.opened.session, received });
		assert.equal(opened.resumed, false);
		await bob.until(() => bob.of("room.left").length === 1, "room.left");
		assert.equal(bob.of("room.left")[0].peer, annPeer);
		await Promise.all([ann.close(), bob.close()]);
	}
});

test("a resume beside a living connection takes the session over, with 4003", async () => {
	for (let round = 0; round < 6; round++) {
		const { room, ann, bob, annPeer } = await pair();
		const old = ann.closed;
		const opened = await ann.connect();
		assert.equal(opened.resumed, true);
		assert.equal((await old).code, 4003);
		await bob.call("signal.send", { room, to: { peer: annPeer }, type: "x", data: round });
		await ann.until(() => ann.of("signal.received").length === 1, "the signal");
		assert.deepEqual(bob.of("room.updated"), []);
		await Promise.all([ann.close(), bob.close()]);
	}
});

test("an attempt that was given up and arrives late neither takes the session over nor ends it", async () => {
	const { room, ann, bob, annPeer } = await pair();
	const { session } = ann.opened;
	const say = async (count, heard) => {
		for (let i = 0; i < count; i++) bob.send("signal.send", { room, to: { peer: annPeer }, type: "n", data: i });
		await ann.until(() => ann.of("signal.received").length === heard, "signals");
	};
	const token = await server.mint("ann");
	const stream = (raw, received) =>
		raw.write(requestText(`GET /v1/events?session=${session}&received=${received}`, {
			...{ Accept: "text/event-stream", Authorization: `Bearer ${token}` },
			Host: `127.0.0.1:${server.port}`,
		}));
	const early = [];
	for (let i = 0; i < 8; i++) early.push(await connect(server, { open: false })); // on all workers
	const streams = [await rawConnect(server), await rawConnect(server)];
	await new Promise((done) => setTimeout(done, 50)); // accepted by now
	ann.cut();
	await ann.connect();
	await say(100, 100);
	const old = ann.received;
	await say(100, 200);
	ann.send("room.list"); // behind the acknowledgements of what came
	await ann.until(() => ann.answers.size === 1, "an answer");

	// of what is not kept any more, of what is, and of more than there is
	for (const [i, c] of early.entries()) {
		const received = [1, old, ann.received, ann.received + 1000][i % 4];
		const refused = { code: -32030, reason: "superseded" };
		await assert.rejects(c.call("session.open", { token, resume: { session, received } }), refused);
		assert.equal((await c.closed).code, 3008);
	}
	for (const raw of streams) {
		stream(raw, 1);
		await raw.gone();
		assert.match(raw.bytes.toString(), /^HTTP\/1.1 503 [^]*superseded/);
	}
	await say(10, 210);
	assert.deepEqual(await ann.call("signal.send", { room, to: "room", type: "n", data: 0 }), { queued: 1 });

	// away, the attempt that comes late may have it when it still fits; it does not end it when not
	const late = [await connect(server, { open: false }), await connect(server, { open: false })];
	await new Promise((done) => setTimeout(done, 50));
	ann.cut();
	await ann.connect();
	ann.cut();
	await bob.until(() => bob.of("room.updated").at(-1).changes.connected === false, "her loss");
	await assert.rejects(late[0].call("session.open", { token, resume: { session, received: 1 } }), { reason: "superseded" });
	const taken = await late[1].call("session.open", { token, resume: { session, received: ann.received } });
	assert.equal(taken.resumed, true);
	late[1].terminate();
	assert.equal((await ann.connect()).resumed, true);
	await Promise.all([ann.close(), bob.close()]);
});

test("a client that did not read fast enough comes back and misses nothing", async () => {
	const { room, ann, bob, annPeer } = await pair();
	ann.pause();
	const data = "x".repeat(60_000);
	const before = (await server.metrics()).signalbox_slow_consumers_total;
	let sent = 0;
	// more than its queue and the kernel's buffers take, less than is kept
	while ((await server.metrics()).signalbox_slow_consumers_total === before && sent < 400) {
		await bob.call("signal.send", { room, to: { peer: annPeer }, type: "x", data: `${sent++} ${data}` });
	}
	assert.notEqual((await server.metrics()).signalbox_slow_consumers_total, before);
	ann.cut();
	const opened = await ann.connect();
	if (opened.resumed) {
		await ann.until(() => ann.of("signal.received").length >= sent, "all signals");
		assert.deepEqual(
			ann.of("signal.received").map((params) => Number(params.data.split(" ")[0])),
			[...Array(sent).keys()],
		);
	} else {
		// what was dropped could not be kept: said, not hidden
		assert.equal(opened.received, 0);
	}
	await Promise.all([ann.close(), bob.close()]);
});

test("away and more is waiting than is kept: the session ends", async () => {
	const { room, ann, bob, annPeer } = await pair();
	ann.cut();
	await bob.until(() => bob.of("room.updated").length === 1, "room.updated");
	const data = "x".repeat(60_000);
	for (let i = 0; i < 20 && !bob.of("room.left").length; i++)
		await bob.call("signal.send", { room, to: { peer: annPeer }, type: "x", data }).catch(() => {});
	await bob.until(() => bob.of("room.left").length === 1, "room.left");
	assert.equal((await ann.connect()).resumed, false);
	await Promise.all([ann.close(), bob.close()]);
});

test("with batches, too", async () => {
	const room = roomName();
	const [ann, bob] = [await client("ann", { batch: true }), await client("bob")];
	const { peer } = await ann.call("room.join", { room });
	await bob.call("room.join", { room });
	for (let i = 0; i < 100; i++) bob.send("signal.send", { room, to: { peer }, type: "x", data: i });
	ann.cut();
	await bob.until(() => bob.answers.size >= 101, "bob's answers");
	assert.equal((await ann.connect()).resumed, true);
	await ann.until(() => ann.of("signal.received").length >= 100, "signals");
	assert.deepEqual(ann.of("signal.received").map(({ data }) => data), [...Array(100).keys()]);
	await Promise.all([ann.close(), bob.close()]);
});

test("nothing is left of all that", async () => {
	const gauges = ["signalbox_sessions", "signalbox_room_members", "signalbox_rooms"];
	const left = async () => {
		const metrics = await server.metrics();
		return gauges.filter((name) => metrics[name]);
	};
	const deadline = Date.now() + 3 * WINDOW_S * 1000;
	while ((await left()).length && Date.now() < deadline) await new Promise((done) => setTimeout(done, 50));
	assert.deepEqual(await left(), []);
});
