// What a room holds of what was published: read by the page, both ways; changed and taken back.
import assert from "node:assert/strict";
import test from "node:test";
import { connect } from "../support/client.mjs";
import { callRaw, frameWith, offsets, onOneAndFourWorkers, post, refused, refusedField, span, told } from "../support/rooms.mjs";
import { startServer } from "../support/server.mjs";

const HISTORY = 60;
const config = { rooms: { history_messages: HISTORY } };
const PAGE_BYTES = 128 * 1024;

/** All pages in one direction, and the messages on them. */
async function pages(client, params) {
	const found = [];
	for (let since = params.since; ; ) {
		const page = await client.call("room.history", { ...params, ...(since && { since }) });
		found.push(page);
		if (!page.more) return { pages: found, messages: found.flatMap(({ messages }) => messages) };
		since = { epoch: page.epoch, offset: page.messages.at(-1).offset };
	}
}

async function publishMany(client, room, count, data = (n) => n) {
	for (let n = 1; n <= count; n++) await client.call("room.publish", { room, data: data(n) });
}

onOneAndFourWorkers({ config }, (test) => {
	test("a room's messages, from the oldest or the newest, a page at a time", async ({ people, server }) => {
		const [ann, bob] = await people("ann", "bob");
		const { epoch } = await ann.call("room.join", { room: "h1" });
		const empty = { messages: [], epoch, offset: 0, more: false };
		assert.deepEqual(await bob.call("room.history", { room: "h1" }), empty);
		assert.deepEqual(await bob.call("room.history", { room: "h1", reverse: true, since: { epoch, offset: 1 } }), empty);
		await publishMany(ann, "h1", 25);
		const all = told(ann, "h1");
		const forwards = await pages(bob, { room: "h1", limit: 10 });
		assert.deepEqual(forwards.messages, all);
		assert.deepEqual(forwards.pages.map(({ messages, more, offset }) => [messages.length, more, offset]), [[10, true, 25], [10, true, 25], [5, false, 25]]);
		const back = await pages(bob, { room: "h1", limit: 5, reverse: true });
		assert.deepEqual(back.messages, all.toReversed());
		assert.deepEqual(back.pages.map(({ more }) => more), [true, true, true, true, false]);
		const middle = (more) => bob.call("room.history", { room: "h1", since: { epoch, offset: 12 }, ...more });
		assert.deepEqual(offsets((await middle({})).messages), span(13, 25));
		assert.deepEqual(offsets((await middle({ reverse: true, limit: 3 })).messages), [11, 10, 9]);
		assert.deepEqual((await bob.call("room.history", { room: "h1", since: { epoch, offset: 25 } })).messages, []);
		// a backend's way in
		assert.deepEqual((await server.rpc("room.history", { room: "h1" })).messages, all);
		assert.deepEqual((await post(server, await server.mint("bob"), "room.history", { room: "h1", limit: 1 })).messages, all.slice(0, 1));
	});

	test("a position that is not held any more is gone, in either direction", async ({ people }) => {
		const [ann] = await people("ann");
		const { epoch } = await ann.call("room.join", { room: "h2" });
		await publishMany(ann, "h2", HISTORY + 10);
		const last = HISTORY + 10;
		const ask = (offset, reverse, of = epoch) => ann.call("room.history", { room: "h2", since: { epoch: of, offset }, reverse, limit: 1000 });
		assert.deepEqual(offsets((await ask(10)).messages), span(11, last));
		assert.deepEqual(offsets((await ask(12, true)).messages), [11]);
		assert.deepEqual(await ask(11, true), { messages: [], epoch, offset: last, more: false });
		assert.equal((await ask(last + 1, true)).messages.length, HISTORY);
		for (const [offset, reverse, of] of [[9], [0], [last + 1], [10, true], [0, true], [last + 2, true], [20, false, "AAAAAAAAAAAA"], [20, true, "x"]])
			await refused(ask(offset, reverse, of), "gone", "history_gone");
		assert.deepEqual(offsets((await pages(ann, { room: "h2", limit: 7 })).messages), span(11, last));
	});

	test("a page has 128 KiB of messages at most, however long they are", async ({ people }) => {
		const [ann] = await people("ann");
		await ann.call("room.join", { room: "h3" });
		const long = "x".repeat(64 * 1024 - 2);
		await publishMany(ann, "h3", 8, (n) => (n % 3 ? long : "short"));
		for (const reverse of [false, true]) {
			const { pages: all, messages } = await pages(ann, { room: "h3", reverse, limit: 1000 });
			assert.deepEqual(offsets(messages), reverse ? span(1, 8).reverse() : span(1, 8));
			for (const page of all) assert.ok(JSON.stringify(page.messages).length <= PAGE_BYTES + 2);
			assert.ok(all.length >= 4 && all.length <= 7, `${all.length} pages`);
		}
	});

	test("who may not look at the room does not read it; parameters are what they may be", async ({ people }) => {
		const [ann, bob] = await people("ann", "bob");
		await ann.call("room.create", { room: "h4", visibility: "private" });
		await refused(bob.call("room.history", { room: "h4" }), "forbidden", "room_private");
		await refused(bob.call("room.history", { room: "h4 no such room" }), "not_found", "no_such_room");
		const [cat] = await people({ user: "cat", claim: { signalbox: { rooms: ["other"] } } });
		for (const method of ["room.history", "room.redact"])
			await refused(cat.call(method, { room: "h4", ...(method === "room.redact" && { offset: 1 }) }), "forbidden", "room_not_in_token");
		const ask = (more) => ann.call("room.history", { room: "h4", ...more });
		for (const limit of [0, 1001, 1.5, "1"]) await refusedField(ask({ limit }), "limit");
		for (const since of [{}, { epoch: "x" }, { epoch: 1, offset: 1 }, { epoch: "x", offset: -1 }]) await refusedField(ask({ since }), "since");
		await refusedField(ask({ reverse: 1 }), "reverse");
	});

	// ---- changing ----

	test("an edited message is told, and is another one wherever it is kept", async ({ people }) => {
		const [ann, bob] = await people("ann", "bob");
		const { epoch, peer } = await ann.call("room.join", { room: "e1" });
		await bob.call("room.join", { room: "e1" });
		await publishMany(ann, "e1", 3);
		const before = Date.now();
		assert.deepEqual(await callRaw(ann, "room.edit", '{"room":"e1","offset":2,"data": { "a":1.10 }}'), { epoch, offset: 4 });
		const news = await bob.next(({ params }) => params.edits);
		assert.ok(frameWith(bob, '"edits":2').includes('"data":{ "a":1.10 },'));
		const { time, ...rest } = news.params;
		assert.deepEqual(rest, { room: "e1", epoch, offset: 4, from: { peer, user: "ann" }, data: { a: 1.1 }, edits: 2 });
		assert.ok(time >= before - 1000 && time <= Date.now() + 1000);
		const { messages } = await bob.call("room.history", { room: "e1" });
		assert.deepEqual(messages[1], { ...told(bob, "e1")[1], data: { a: 1.1 }, edited_at: time });
		assert.deepEqual(messages[3], news.params);
		assert.ok(frameWith(bob, '"edited_at"').includes('"data":{ "a":1.10 },'));
		assert.deepEqual(offsets(messages), [1, 2, 3, 4]);
		// once more, from another device that is not in the room, by the offset's epoch; a join is told the same
		const [device] = await people("ann");
		await device.call("room.edit", { room: "e1", offset: 2, epoch, data: null });
		const [cat] = await people("cat");
		const joined = await cat.call("room.join", { room: "e1", since: { epoch, offset: 0 } });
		assert.equal(joined.recovered, true);
		assert.deepEqual(joined.messages.map(({ data }) => data), [1, null, 3, { a: 1.1 }, null]);
		assert.equal(joined.messages[1].redacted, undefined);
		assert.deepEqual(joined.messages[4].from, { peer: null, user: "ann" });
	});

	test("a message that was taken back is gone, and its edits with it", async ({ people, server }) => {
		const [ann, bob] = await people("ann", "bob");
		const { epoch } = await ann.call("room.join", { room: "e2" });
		await bob.call("room.join", { room: "e2" });
		for (const data of ["one", "secret", "three"]) await ann.call("room.publish", { room: "e2", data });
		await ann.call("room.edit", { room: "e2", offset: 2, data: "secret, too" });
		await ann.call("room.edit", { room: "e2", offset: 3, data: "four" });
		assert.deepEqual(await ann.call("room.redact", { room: "e2", offset: 2 }), { epoch, offset: 6 });
		const { params } = await bob.next(({ params }) => params.redacts);
		assert.deepEqual([params.data, params.redacts, params.offset], [null, 2, 6]);
		const page = await bob.call("room.history", { room: "e2" });
		assert.doesNotMatch(bob.frames.at(-1), /secret/);
		assert.deepEqual(page.messages.map(({ data, edits, redacts, redacted }) => [data, edits ?? redacts, redacted]), [
			["one", undefined, undefined],
			[null, undefined, true],
			["four", undefined, undefined],
			[null, 2, true],
			["four", 3, undefined],
			[null, 2, undefined],
		]);
		assert.equal(page.messages[1].edited_at, undefined);
		// neither that one nor what is told of one can be changed
		for (const offset of [2, 4, 5, 6, 7, 1000])
			for (const [method, more] of [["room.edit", { data: 1 }], ["room.redact", {}]])
				await refused(ann.call(method, { room: "e2", offset, ...more }), "not_found", "no_such_message");
		await refused(ann.call("room.redact", { room: "e2", offset: 1, epoch: "AAAAAAAAAAAA" }), "not_found", "no_such_message");
		// a moderator, and who operates the service, take back what others have said
		const [mod] = await people({ user: "mod", scope: "rooms:join rooms:moderate" });
		await mod.call("room.redact", { room: "e2", offset: 1 });
		await server.rpc("room.redact", { room: "e2", offset: 3 });
		const { messages } = await bob.call("room.history", { room: "e2" });
		assert.deepEqual(messages.slice(0, 6).map(({ data }) => data), Array(6).fill(null));
		assert.deepEqual(messages.at(-2).from, { peer: null, user: "mod" });
	});

	test("what is still told of a message that is held no more is taken back, too", async ({ people }) => {
		const [ann, bob] = await people("ann", "bob");
		await ann.call("room.create", { room: "e4", history: { messages: 4 } });
		const { epoch } = await ann.call("room.join", { room: "e4" });
		await publishMany(ann, "e4", 2);
		await ann.call("room.edit", { room: "e4", offset: 1, data: "secret" });
		await publishMany(ann, "e4", 2);
		await refused(ann.call("room.edit", { room: "e4", offset: 1, data: 1 }), "not_found", "no_such_message");
		await refused(bob.call("room.redact", { room: "e4", offset: 1 }), "forbidden", "not_yours");
		assert.deepEqual(await ann.call("room.redact", { room: "e4", offset: 1 }), { epoch, offset: 6 });
		const { messages } = await bob.call("room.history", { room: "e4" });
		assert.deepEqual(messages.map(({ offset, data, redacted }) => [offset, data, redacted]), [
			[3, null, true],
			[4, 1, undefined],
			[5, 2, undefined],
			[6, null, undefined],
		]);
		await refused(ann.call("room.redact", { room: "e4", offset: 1 }), "not_found", "no_such_message");
		// fewer from now on are fewer at once
		await ann.call("room.update", { room: "e4", history: { messages: 1 } });
		assert.deepEqual(offsets((await bob.call("room.history", { room: "e4" })).messages), [6]);
	});

	test("what others have said is not edited, nor taken back, by a member", async ({ people }) => {
		const [ann, bob, eve] = await people("ann", "bob", "eve");
		await ann.call("room.join", { room: "e3" });
		await bob.call("room.join", { room: "e3" });
		await ann.call("room.publish", { room: "e3", data: "mine" });
		await refused(bob.call("room.edit", { room: "e3", offset: 1, data: 1 }), "forbidden", "not_yours");
		await refused(bob.call("room.redact", { room: "e3", offset: 1 }), "forbidden", "not_yours");
		await refused(eve.call("room.edit", { room: "e3", offset: 1, data: 1 }), "forbidden", "not_a_member");
		await refused(eve.call("room.redact", { room: "e3", offset: 1 }), "forbidden", "not_yours");
		const [mod] = await people({ user: "mod", scope: "rooms:join rooms:moderate" });
		await refused(mod.call("room.edit", { room: "e3", offset: 1, data: 1 }), "forbidden", "not_yours");
		await ann.call("room.leave", { room: "e3" });
		await refused(ann.call("room.edit", { room: "e3", offset: 1, data: 1 }), "forbidden", "not_a_member");
		await ann.call("room.redact", { room: "e3", offset: 1 });
		await refused(ann.call("room.redact", { room: "e3 none", offset: 1 }), "not_found", "no_such_room");
		await refusedField(ann.call("room.redact", { room: "e3", offset: 0 }), "offset");
		const data = `"${"x".repeat(65536)}"`;
		await refused(callRaw(ann, "room.edit", `{"room":"e3","offset":1,"data":${data}}`), "too_large", "too_large", { field: "data", limit: 65536 });
	});
});

test("messages of a room, changed ones too, survive a hand-over", async (t) => {
	const server = await startServer({ workers: 2, config });
	const ann = await connect(server, { user: "ann" });
	const { epoch } = await ann.call("room.create", { room: "kept" }).then(() => ann.call("room.join", { room: "kept" }));
	await publishMany(ann, "kept", 4);
	await ann.call("room.edit", { room: "kept", offset: 1, data: "new" });
	await ann.call("room.redact", { room: "kept", offset: 2 });
	const { messages } = await ann.call("room.history", { room: "kept" });
	const next = await server.successor({ t, workers: 3 });
	await server.exited();
	const bob = await connect(next, { user: "ann" });
	assert.deepEqual(await bob.call("room.history", { room: "kept" }), { messages, epoch, offset: 6, more: false });
	await bob.call("room.redact", { room: "kept", offset: 1 });
	assert.deepEqual((await bob.call("room.history", { room: "kept", limit: 1 })).messages[0].redacted, true);
});
