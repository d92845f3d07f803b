// Rooms whose history is kept in the database: offsets given on the disk, many messages under way at once, and
// everything that can come between.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test, { after, before } from "node:test";
import { connect } from "../support/client.mjs";
import { brokenDisk } from "../support/disk.mjs";
import { Receiver } from "../support/receiver.mjs";
import { ResumingClient } from "../support/resuming.mjs";
import { offsets, post, refused, span, told } from "../support/rooms.mjs";
import { anyPace, atOnce, ownDirectory, startServer } from "../support/server.mjs";
import { constants } from "node:os";

const RING = 20; // what is in memory of it
const config = { rooms: { history_messages: RING }, limits: anyPace, ...atOnce };
const kept = { messages: 1000, age: 86400, durable: true };

const sum = (list) => list.reduce((a, b) => a + b, 0);

/** All pages in one direction. */
async function pages(client, params) {
	const found = [];
	for (let since = params.since; ; ) {
		const page = await client.call("room.history", { ...params, ...(since && { since }) });
		found.push(...page.messages);
		if (!page.more) return found;
		since = { epoch: page.epoch, offset: page.messages.at(-1).offset };
	}
}

const publish = (client, room, data, more) => client.call("room.publish", { room, data, ...more });
const publishMany = (client, room, count) => Promise.all(span(1, count).map((n) => publish(client, room, n)));

let server, ann, bob;
before(async () => {
	server = await startServer({ workers: 4, config });
	[ann, bob] = [await connect(server, { user: "ann" }), await connect(server, { user: "bob" })];
});
after(() => server.stop());

/** A room of ann's, in which ann is. */
async function make(room, client = ann, history = kept) {
	await client.call("room.create", { room, history });
	return (await client.call("room.join", { room })).epoch;
}

test("all of it is read, both ways, far behind what is in memory", async () => {
	const epoch = await make("read");
	await publishMany(ann, "read", 130);
	const all = told(ann, "read");
	assert.deepEqual(offsets(all), span(1, 130));
	assert.deepEqual(all.map(({ data }) => data), span(1, 130));
	assert.deepEqual(await pages(bob, { room: "read", limit: 50 }), all);
	assert.deepEqual(await pages(bob, { room: "read", limit: 50, reverse: true }), all.toReversed());
	assert.deepEqual(await pages(bob, { room: "read", limit: 7, since: { epoch, offset: 100 } }), all.slice(100));
	assert.deepEqual(await pages(bob, { room: "read", limit: 9, reverse: true, since: { epoch, offset: 60 } }), all.slice(0, 59).reverse());
	const ask = (offset, reverse, of = epoch) => bob.call("room.history", { room: "read", reverse, since: { epoch: of, offset } });
	for (const page of [await ask(130), await ask(1, true)]) assert.deepEqual(page, { messages: [], epoch, offset: 130, more: false });
	for (const [offset, reverse, of] of [[131], [0, true], [132, true], [5, false, "AAAAAAAAAAAA"]])
		await refused(ask(offset, reverse, of), "gone", "history_gone");
	// a join is told all since, too, or nothing
	for (const [offset, many] of [[0, 130], [50, 80], [100, 30], [115, 15], [130, 0]]) {
		const joined = await bob.call("room.join", { room: "read", since: { epoch, offset } });
		assert.deepEqual([joined.recovered, joined.offset, joined.messages], [true, 130, many ? all.slice(-many) : []]);
		await bob.call("room.leave", { room: "read" });
	}
	const none = await bob.call("room.join", { room: "read", since: { epoch, offset: 131 } });
	assert.deepEqual([none.recovered, none.messages], [false, []]);
	await bob.call("room.leave", { room: "read" });
});

test("a page and a recovery have 128 KiB at most, however long messages are", async () => {
	const epoch = await make("long");
	const long = "x".repeat(64 * 1024 - 2);
	const data = span(1, 30).map((n) => (n % 4 ? "short" : long));
	await Promise.all(data.map((one) => publish(ann, "long", one)));
	for (const reverse of [false, true]) {
		const all = await pages(bob, { room: "long", limit: 1000, reverse });
		assert.deepEqual(all.map(({ data }) => data), reverse ? data.toReversed() : data);
	}
	const page = await bob.call("room.history", { room: "long" });
	assert.deepEqual([page.more, JSON.stringify(page.messages).length <= 128 * 1024 + 2], [true, true]);
	const join = (offset) => bob.call("room.join", { room: "long", since: { epoch, offset } });
	assert.deepEqual(offsets((await join(24)).messages), span(25, 30));
	const { recovered, messages } = await join(7);
	assert.deepEqual([recovered, messages], [false, []]);
	await bob.call("room.leave", { room: "long" });
});

test("changes reach what is far behind what is in memory; of what was taken back no byte is left", async (t) => {
	const data = join(ownDirectory(), "d");
	const own = await startServer({ data, config });
	const cat = await connect(own, { user: "cat" });
	await make("changed", cat);
	await publish(cat, "changed", "this-is-secret");
	await publishMany(cat, "changed", 2 * RING);
	const last = 2 * RING + 1;
	const change = (method, more, by = cat) => by.call(method, { room: "changed", ...more });
	assert.equal((await change("room.edit", { offset: 2, data: "two" })).offset, last + 1);
	assert.equal((await change("room.edit", { offset: 1, data: "that-is-secret" })).offset, last + 2);
	assert.equal((await change("room.edit", { offset: last, data: "last" })).offset, last + 3);
	assert.equal((await change("room.redact", { offset: 1 })).offset, last + 4);
	const [dan, mod] = [await connect(own, { user: "dan" }), await connect(own, { user: "mod", scope: "rooms:join rooms:moderate" })];
	await dan.call("room.join", { room: "changed" });
	for (const by of [dan, mod]) await refused(change("room.edit", { offset: 3, data: 1 }, by), "forbidden", "not_yours");
	await refused(change("room.redact", { offset: 3 }, dan), "forbidden", "not_yours");
	for (const offset of [1, last + 1, last + 2, last + 4, last + 5, 1e6])
		for (const [method, more] of [["room.edit", { data: 1 }], ["room.redact", {}]])
			await refused(change(method, { offset, ...more }), "not_found", "no_such_message");
	assert.equal((await change("room.redact", { offset: 3 }, mod)).offset, last + 5);
	const check = async (client) => {
		const { messages } = await client.call("room.history", { room: "changed", limit: 1000 });
		assert.deepEqual(offsets(messages), span(1, last + 5));
		assert.deepEqual(messages.slice(0, 3).map(({ data, redacted, edited_at }) => [data, redacted, edited_at > 0]), [[null, true, false], ["two", undefined, true], [null, true, false]]);
		const news = messages.slice(last).map(({ data, edits, redacts, redacted }) => ({ data, edits, redacts, redacted }));
		const [none, yes] = [undefined, true];
		assert.deepEqual(news, [
			{ data: "two", edits: 2, redacts: none, redacted: none },
			{ data: null, edits: 1, redacts: none, redacted: yes },
			{ data: "last", edits: last, redacts: none, redacted: none },
			{ data: null, edits: none, redacts: 1, redacted: none },
			{ data: null, edits: none, redacts: 3, redacted: none },
		]);
		assert.doesNotMatch(client.frames.at(-1), /secret/);
	};
	await check(cat);
	assert.deepEqual(told(cat, "changed").slice(last).map(({ edits, redacts }) => edits ?? redacts), [2, 1, last, 1, 3]);
	await own.stop();
	assert.ok(!readFileSync(join(data, "signalbox.db")).includes("is-secret"));
	const next = await startServer({ t, data, config });
	await check(await connect(next, { user: "cat" }));
});

test("epoch, offsets and keys go on over a restart and a kill; a position from before is answered", async (t) => {
	const data = join(ownDirectory(), "d");
	let own = await startServer({ data, config });
	const restart = async (kill) => {
		await (kill ? own.kill() : own.stop());
		own = await startServer({ data, config });
		return connect(own, { user: "cat" });
	};
	t.after(() => own.stop());
	let cat = await connect(own, { user: "cat" });
	const epoch = await make("goes on", cat);
	for (const n of span(1, 30)) await publish(cat, "goes on", n, { idempotency_key: `key ${n}` });
	const all = told(cat, "goes on");
	for (const kill of [true, false, true]) {
		cat = await restart(kill);
		const joined = await cat.call("room.join", { room: "goes on", since: { epoch, offset: 10 } });
		assert.deepEqual([joined.epoch, joined.offset, joined.recovered], [epoch, all.length, true]);
		assert.deepEqual(joined.messages, all.slice(10));
		assert.deepEqual(await publish(cat, "goes on", "again", { idempotency_key: "key 7" }), { epoch, offset: 7 });
		const eve = await connect(own, { user: "eve" });
		await eve.call("room.join", { room: "goes on" });
		const once = span(1, 10).map(() => publish(eve, "goes on", "eve's", { idempotency_key: `key 7 ${all.length}` }));
		const { offset } = await publish(cat, "goes on", "next");
		assert.deepEqual(new Set((await Promise.all(once)).map((answer) => answer.offset)).size, 1);
		all.push(...told(cat, "goes on"));
		assert.equal(offset <= all.length, true);
		assert.deepEqual(offsets(all), span(1, all.length));
	}
	// nobody is there for a while, and the room is read anew
	assert.deepEqual(await pages(cat, { room: "goes on" }), all);
});

test("many at once from many: one order for all, each sender's own order in it", async () => {
	await make("many");
	const people = [ann, bob, ...(await Promise.all(["cat", "dan"].map((user) => connect(server, { user }))))];
	for (const client of people.slice(1)) await client.call("room.join", { room: "many" });
	const answers = await Promise.all(people.map((client, by) => Promise.all(span(1, 100).map((n) => publish(client, "many", { by, n })))));
	const last = (client) => told(client, "many").at(-1)?.offset === 400 || client.next(({ params }) => params.offset === 400);
	for (const client of people) await last(client);
	const all = told(ann, "many");
	assert.deepEqual(offsets(all), span(1, 400));
	for (const client of people.slice(1)) assert.deepEqual(told(client, "many"), all);
	for (const [by, own] of answers.entries()) {
		assert.deepEqual(offsets(all.filter(({ data }) => data.by === by)), offsets(own));
		assert.deepEqual(all.filter(({ data }) => data.by === by).map(({ data }) => data.n), span(1, 100));
	}
	assert.deepEqual(await pages(bob, { room: "many", limit: 1000 }), all);
	const metrics = await server.metrics();
	const group = metrics.signalbox_store_writes_total / metrics.signalbox_store_commits_total;
	assert.ok(group > 2, `${group} writes share a commit`);
	for (const client of people.slice(1)) await client.call("room.leave", { room: "many" });
});

test("who joins while others publish misses nothing and hears nothing twice", async () => {
	const epoch = await make("joining");
	const BURST = 40; // more than the ring holds
	const got = [];
	for (let round = 0; round < 20; round++) {
		const burst = publishMany(ann, "joining", BURST);
		const joined = await bob.call("room.join", { room: "joining", since: { epoch, offset: got.at(-1) ?? 0 } });
		assert.equal(joined.recovered, true, `round ${round}`);
		got.push(...offsets(joined.messages));
		assert.equal(joined.offset, got.at(-1) ?? 0);
		if (round % 2)
			while ((got.at(-1) ?? 0) < BURST * (round + 1)) got.push((await bob.next(({ params }) => params.room === "joining" && params.offset)).params.offset);
		await bob.call("room.leave", { room: "joining" });
		got.push(...bob.unread.splice(0).filter(({ method, params }) => method === "room.message" && params.room === "joining").map(({ params }) => params.offset));
		await burst;
	}
	assert.deepEqual(got, span(1, 20 * BURST));
});

test("who has gone before the disk has answered has published all the same", async (t) => {
	const slow = { SIGNALBOX_STORE_FAULT: "MESSAGE_ADD:*:delay=5,MESSAGES_AFTER:*:delay=50" };
	const own = await startServer({ t, workers: 2, config, env: slow });
	const [cat, dan] = [await connect(own, { user: "cat" }), await connect(own, { user: "dan" })];
	const epoch = await make("gone", cat);
	await dan.call("room.join", { room: "gone" });
	const { peer } = (await cat.next("room.joined")).params.members[0];
	// it leaves, and its answers come
	const answers = span(1, 5).map((n) => publish(dan, "gone", n));
	await dan.call("room.leave", { room: "gone" });
	assert.deepEqual(offsets(await Promise.all(answers)), span(1, 5));
	await cat.next(({ params }) => params.offset === 5);
	assert.deepEqual(told(cat, "gone").map(({ from }) => from), Array(5).fill({ peer, user: "dan" }));
	assert.deepEqual(told(dan, "gone"), []);
	// its session ends with it
	const device = await connect(own, { user: "dan" });
	await device.call("room.join", { room: "gone" });
	for (const n of span(6, 10)) device.notify("room.publish", { room: "gone", data: n });
	await device.close();
	await cat.next(({ params }) => params.offset === 10);
	// who joins, and is gone before what it missed has been read, is not there
	const ghost = await connect(own, { user: "eve" });
	for (const n of span(11, 40)) await publish(cat, "gone", n);
	ghost.call("room.join", { room: "gone", since: { epoch, offset: 0 } }).catch(() => {});
	await ghost.call("session.ping");
	await ghost.close();
	await cat.next(({ method, params }) => method === "room.joined" && params.members[0].user === "eve");
	await cat.next("room.left");
	assert.deepEqual((await cat.call("room.presence", { room: "gone" })).members, []);
});

test("a hand-over waits for what is under way: nothing is lost, nothing twice", async (t) => {
	const slow = { SIGNALBOX_STORE_FAULT: "MESSAGE_ADD:*:delay=3" };
	const own = await startServer({ workers: 2, config: { ...config, session: {} }, env: slow });
	const [cat, dan] = ["cat", "dan"].map(async (user) => new ResumingClient(own, await own.mint(user)));
	const clients = await Promise.all([cat, dan]);
	for (const client of clients) await client.connect();
	await clients[0].call("room.create", { room: "moves", history: kept });
	for (const client of clients) await client.call("room.join", { room: "moves" });
	const ids = span(1, 60).map((n) => clients[n % 2].send("room.publish", { room: "moves", data: n }));
	await clients[0].until(() => clients[0].of("room.message").length > 5, "some messages");
	const next = await own.successor({ t, workers: 3 });
	await own.exited();
	for (const client of clients) {
		client.server = next;
		await client.connect();
		assert.equal(client.opened.resumed, true);
		await client.until(() => client.of("room.message").length >= 60 && [...ids].filter((id) => client.answers.has(id)).length >= 30, "the rest");
		assert.deepEqual(offsets(client.of("room.message")), span(1, 60));
	}
	assert.deepEqual(clients[1].of("room.message"), clients[0].of("room.message"));
	const { messages } = await clients[0].call("room.history", { room: "moves" });
	assert.deepEqual(messages, clients[0].of("room.message"));
	for (const client of clients) await client.close();
});

test("while the disk takes nothing, nothing is told and no offset is lost; then it goes on", async (t) => {
	const disk = brokenDisk();
	const own = await startServer({ t, config, disk });
	const [cat, dan] = [await connect(own, { user: "cat" }), await connect(own, { user: "dan" })];
	const epoch = await make("trouble", cat);
	await dan.call("room.join", { room: "trouble" });
	await publish(cat, "trouble", "before");
	disk.fail(constants.errno.ENOSPC);
	const refusedAll = await Promise.allSettled(span(1, 20).map((n) => publish(cat, "trouble", n, { idempotency_key: `k${n}` })));
	for (const { reason } of refusedAll) assert.deepEqual([reason.code, reason.reason], [-32030, "overloaded"]);
	for (const [method, more] of [["room.edit", { offset: 1, data: 1 }], ["room.redact", { offset: 1 }]])
		await assert.rejects(cat.call(method, { room: "trouble", ...more }), { code: -32030 });
	// what needs no disk goes on, and what is there can be read
	await cat.call("signal.send", { room: "trouble", to: { user: "dan" }, type: "x", data: 1 });
	await dan.next("signal.received");
	assert.equal((await dan.call("room.history", { room: "trouble" })).offset, 1);
	disk.fail(0);
	for (let answer; !answer; ) answer = await publish(cat, "trouble", "after", { idempotency_key: "k1" }).catch(({ code }) => assert.equal(code, -32030));
	await dan.next(({ params }) => params.data === "after");
	assert.deepEqual(told(dan, "trouble").map(({ offset, data }) => [offset, data]), [[1, "before"], [2, "after"]]);
	const joined = await dan.call("room.join", { room: "trouble", since: { epoch, offset: 0 } });
	assert.deepEqual(joined.messages, told(dan, "trouble"));
});

test("a backend publishes there, too; what memory kept before is still answered when a room begins to be kept", async () => {
	const token = await server.mint("ann");
	await make("by http");
	const first = await post(server, token, "room.publish", { room: "by http", data: "x", idempotency_key: "k" });
	assert.equal(first.offset, 1);
	assert.deepEqual(await post(server, token, "room.publish", { room: "by http", data: "y", idempotency_key: "k" }), first);
	assert.deepEqual(await server.rpc("room.publish", { room: "by http", data: "z" }), { ...first, offset: 2 });
});

test("what is past a room's number or age goes, and what is left goes on", async (t) => {
	const data = join(ownDirectory(), "d");
	const options = { data, config: { ...config, rooms: { ...config.rooms, history_messages_max: 10_000 } }, clock: true };
	const own = await startServer(options);
	const cat = await connect(own, { user: "cat" });
	const few = await make("few", cat, { messages: 30, age: 86400, durable: true });
	const young = await make("young", cat, { messages: 1000, age: 3600, durable: true });
	const all = await make("all", cat, { messages: 1000, age: 86400, durable: true });
	for (const room of ["few", "young", "all"]) await publishMany(cat, room, 45);
	own.ahead(3000);
	await publish(cat, "young", "later");
	await own.kill(); // nothing of it stays in memory
	const next = await startServer({ ...options, t });
	next.ahead(3700);
	const dan = await connect(next, { user: "dan" });
	const oldest = async (room) => (await dan.call("room.history", { room, limit: 1 })).messages[0]?.offset;
	while ((await oldest("few")) !== 16 || (await oldest("young")) !== 46); // each a question to the service
	assert.equal(await oldest("all"), 1);
	const metrics = await next.metrics();
	assert.ok(metrics.signalbox_history_pruned_total >= 45); // the process before may have begun
	for (const [room, epoch, offset] of [["few", few, 15], ["young", young, 45]]) {
		const joined = await dan.call("room.join", { room, since: { epoch, offset } });
		assert.deepEqual([joined.recovered, joined.messages.length], [true, room === "few" ? 30 : 1]);
		await dan.call("room.leave", { room });
		assert.equal((await dan.call("room.join", { room, since: { epoch, offset: offset - 1 } })).recovered, false);
		await refused(dan.call("room.history", { room, since: { epoch, offset: offset - 1 } }), "gone", "history_gone");
		assert.equal((await publish(dan, room, "next")).offset, room === "few" ? 46 : 47);
	}
	assert.equal((await dan.call("room.join", { room: "all", since: { epoch: all, offset: 0 } })).messages.length, 45);
});

test("a room that is deleted while much is under way: all that was answered was told, and nothing of it comes back", async (t) => {
	const data = join(ownDirectory(), "d");
	const slow = { SIGNALBOX_STORE_FAULT: "MESSAGE_ADD:*:delay=2" };
	const own = await startServer({ workers: 2, data, config, env: slow });
	const [cat, dan] = [await connect(own, { user: "cat" }), await connect(own, { user: "dan" })];
	const epoch = await make("deleted", cat);
	await dan.call("room.join", { room: "deleted" });
	await publish(dan, "deleted", 0);
	const answers = span(1, 40).map((n) => publish(dan, "deleted", n).then(({ offset }) => offset, ({ reason }) => reason));
	await dan.next(({ params }) => params.offset === 10);
	await cat.call("room.delete", { room: "deleted" });
	const ends = await Promise.all(answers);
	const kept = ends.filter((end) => typeof end === "number");
	assert.ok(kept.length >= 9, `${kept.length} of 40`);
	assert.deepEqual(new Set(ends.filter((end) => typeof end === "string")).size <= 1, true);
	for (const end of ends) if (typeof end === "string") assert.equal(end, "no_such_room");
	assert.equal((await dan.next("room.left")).params.reason, "closed");
	assert.deepEqual(offsets(told(dan, "deleted")), span(1, kept.length + 1));
	// one of the same name is another room
	const again = await make("deleted", cat);
	assert.notEqual(again, epoch);
	assert.deepEqual((await cat.call("room.history", { room: "deleted" })).messages, []);
	assert.equal((await publish(cat, "deleted", "first")).offset, 1);
	await own.stop();
	const next = await startServer({ t, data, config });
	const eve = await connect(next, { user: "eve" });
	for (let rows = 2; rows !== 1; ) rows = Number(execFileSync("sqlite3", [join(data, "signalbox.db"), "SELECT count(*) FROM messages"]));
	assert.deepEqual((await eve.call("room.history", { room: "deleted" })).messages.map(({ data }) => data), ["first"]);
});

test("a room begins to be kept, and is no longer: a position is answered, or it is another epoch", async (t) => {
	const data = join(ownDirectory(), "d");
	let own = await startServer({ data, config });
	t.after(() => own.stop());
	let cat = await connect(own, { user: "cat" });
	const restart = async () => {
		await own.kill();
		own = await startServer({ data, config });
		cat = await connect(own, { user: "cat" });
	};
	const keep = (durable) => cat.call("room.update", { room: "changes", history: { ...kept, durable } });
	const since = async (offset) => {
		const joined = await cat.call("room.join", { room: "changes", since: { epoch, offset } });
		return joined.epoch === epoch && joined.recovered && offsets(joined.messages);
	};
	const epoch = await make("changes", cat, { ...kept, durable: false });
	await publishMany(cat, "changes", 5);
	await keep(true);
	assert.deepEqual(await publish(cat, "changes", 6), { epoch, offset: 6 });
	assert.deepEqual(await since(3), [4, 5, 6]); // the older ones out of memory
	await restart();
	assert.deepEqual(await since(5), [6]);
	assert.deepEqual(await since(4), false); // it was never kept
	assert.deepEqual(await publish(cat, "changes", 7), { epoch, offset: 7 });
	await keep(false);
	assert.deepEqual(await publish(cat, "changes", 8), { epoch, offset: 8 });
	assert.deepEqual(await since(6), [7, 8]);
	await keep(true);
	assert.deepEqual(await publish(cat, "changes", 9), { epoch, offset: 9 });
	await restart();
	assert.deepEqual(await since(8), [9]);
	assert.deepEqual(await since(7), false);
	await keep(false);
	await publish(cat, "changes", 10);
	await restart();
	const joined = await cat.call("room.join", { room: "changes", since: { epoch, offset: 9 } });
	assert.deepEqual([joined.epoch === epoch, joined.recovered, joined.offset], [false, false, 0]);
	assert.equal((await publish(cat, "changes", "new")).offset, 1);
});

test("webhooks are told of what is kept, in its order and with its offset; of what was not, nothing", async (t) => {
	const receiver = await new Receiver().listen(t);
	const own = await startServer({ t, workers: 2, config: { ...config, webhooks: [receiver.webhook()] } });
	const cat = await connect(own, { user: "cat" });
	const dan = await connect(own, { user: "dan" });
	const rooms = ['kept "offset":0,', "in memory"];
	for (const room of rooms) {
		await make(room, cat, { ...kept, durable: room !== "in memory" });
		await dan.call("room.join", { room });
		await Promise.all(span(1, 20).map((n) => publish(cat, room, { n, '"offset":0,': 0 }, n > 10 ? { idempotency_key: `${n % 4}` } : {})));
		await cat.call("room.edit", { room, offset: 3, data: "new" });
		await refused(dan.call("room.edit", { room, offset: 3, data: "his" }), "forbidden", "not_yours");
		await refused(cat.call("room.redact", { room, offset: 999 }), "not_found", "no_such_message");
		await cat.call("room.redact", { room, offset: 3 });
		await publish(dan, room, "last");
	}
	const of = (room) => receiver.events.filter(({ type, data }) => type === "room.published" && data.room === room).map(({ data }) => data);
	await receiver.got(() => rooms.every((room) => of(room).at(-1)?.data === "last"));
	for (const room of rooms) {
		await dan.next(({ method, params }) => method === "room.message" && params.room === room && params.data === "last");
		assert.deepEqual(of(room), told(dan, room));
		assert.deepEqual(offsets(of(room)), span(1, 17));
	}
	assert.deepEqual(receiver.problems, []);
});
