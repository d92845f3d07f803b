// What members send each other: signals, messages with a place in the room's history, and the bytes
// of both, which are passed on as they came.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import {
	callRaw,
	caughtUp,
	CODES,
	frameWith,
	onOneAndFourWorkers,
	post,
	refused,
	refusedField,
} from "../support/rooms.mjs";

const HISTORY = 20;
const DATA_MAX = 64 * 1024;
const config = {
	rooms: { history_messages: HISTORY },
	ice: { credential_lifetime: "10m" },
	ice_servers: [
		{ urls: ["stun:stun.test:3478"] },
		{ urls: ["turn:turn.test:3478?transport=udp", "turns:turn.test"], secret: "north" },
		{ urls: ["turn:fixed.test"], username: "all", credential: "same" },
	],
};

// Clients in a room, each with its answer to room.join, and nothing unread.
async function gather(people, room, ...users) {
	const clients = await people(...(users.length ? users : ["ann", "bob"]));
	const joined = [];
	for (const client of clients) {
		const before = clients.slice(0, joined.length);
		joined.push(await client.call("room.join", { room }));
		for (const other of before) await other.next("room.joined");
	}
	return { clients, joined };
}

onOneAndFourWorkers({ config }, (test) => {
	// ---- signals ----

	test("a signal goes to one peer, and to nobody else", async ({ people, server }) => {
		const { clients, joined } = await gather(people, "s1", "ann", "bob", "cat");
		const [ann, bob, cat] = clients;
		const [a, b] = joined;
		for (const type of ["offer", "answer", "candidate", "candidates-end", "restart", "bye", "x_Y-9", "z".repeat(32)]) {
			const sent = { room: "s1", to: { peer: b.peer }, type, data: { sdp: type } };
			assert.deepEqual(await ann.call("signal.send", sent), { queued: 1 });
			assert.deepEqual((await bob.next()).params, {
				room: "s1",
				from: { peer: a.peer, user: "ann", name: "ann" },
				type,
				data: { sdp: type },
			});
		}
		await caughtUp(server, "s1", ...clients);
		assert.deepEqual([ann.unread, cat.unread].flat().filter(({ method }) => method === "signal.received"), []);
	});

	test("a signal to a user reaches all devices but the sender's own", async ({ people, server }) => {
		const { clients, joined } = await gather(people, "s2", "ann", "ann", "ann", "bob");
		const [phone, laptop, tablet, bob] = clients;
		const to = (user) => ({ room: "s2", to: { user }, type: "offer", data: user });
		assert.deepEqual(await bob.call("signal.send", to("ann")), { queued: 3 });
		for (const device of [phone, laptop, tablet])
			assert.equal((await device.next("signal.received")).params.from.peer, joined[3].peer);
		assert.deepEqual(await laptop.call("signal.send", to("ann")), { queued: 2 });
		for (const device of [phone, tablet])
			assert.equal((await device.next("signal.received")).params.from.peer, joined[1].peer);
		await refused(bob.call("signal.send", to("bob")), "not_found", "no_such_user");
		await refused(bob.call("signal.send", to("eve")), "not_found", "no_such_user");
		await caughtUp(server, "s2", ...clients);
		for (const client of clients)
			assert.deepEqual(client.unread.filter(({ method }) => method === "signal.received"), []);
	});

	test("a signal to the room reaches all but the sender; none there is no error", async ({ people }) => {
		const [ann, bob, cat] = await people("ann", "bob", "cat");
		const send = { room: "s3", to: "room", type: "bye", data: null };
		await ann.call("room.join", { room: "s3" });
		assert.deepEqual(await ann.call("signal.send", send), { queued: 0 });
		await bob.call("room.join", { room: "s3" });
		await cat.call("room.join", { room: "s3" });
		assert.deepEqual(await ann.call("signal.send", send), { queued: 2 });
		for (const client of [bob, cat]) assert.equal((await client.next("signal.received")).params.data, null);
		// the same word, escaped
		await callRaw(bob, "signal.send", '{"room":"s3","to":"\\u0072oom","type":"bye","data":1}');
		for (const client of [ann, cat]) assert.equal((await client.next("signal.received")).params.data, 1);
	});

	test("who is not there is not found, at once: never there, left, lost, in another room", async ({ people }) => {
		const [ann, bob, cat] = await people("ann", "bob", "cat");
		await ann.call("room.join", { room: "s4" });
		const { peer: left } = await bob.call("room.join", { room: "s4" });
		const { peer: lost } = await cat.call("room.join", { room: "s4" });
		await bob.call("room.leave", { room: "s4" });
		const { peer: elsewhere } = await bob.call("room.join", { room: "s4b" });
		cat.terminate();
		await ann.next(({ method, params }) => method === "room.left" && params.peer === lost);
		for (const peer of [left, lost, elsewhere, "x", "A".repeat(22)])
			await refused(
				ann.call("signal.send", { room: "s4", to: { peer }, type: "offer", data: 1 }),
				"not_found",
				"no_such_peer",
			);
	});

	test("only members signal, and only in the room they are in", async ({ people }) => {
		const { clients, joined } = await gather(people, "s5");
		const [ann, bob] = clients;
		const [eve] = await people("eve");
		const to = { peer: joined[0].peer };
		for (const room of ["s5", "s5 no such room"])
			await refused(
				eve.call("signal.send", { room, to, type: "offer", data: 1 }),
				"forbidden",
				"not_a_member",
			);
		await bob.call("room.leave", { room: "s5" });
		await refused(
			bob.call("signal.send", { room: "s5", to, type: "offer", data: 1 }),
			"forbidden",
			"not_a_member",
		);
		assert.equal((await ann.next()).method, "room.left");
		assert.deepEqual(ann.unread, []);
	});

	test("to and type are what they may be", async ({ people }) => {
		const { clients } = await gather(people, "s6");
		const [ann] = clients;
		const send = (more) => ann.call("signal.send", { room: "s6", to: "room", type: "offer", data: 1, ...more });
		for (const to of ["all", "", null, 1, [], {}, { peer: 1 }, { peer: "a", user: "b" }, { session: "a" }, { peer: "" }])
			await refusedField(send({ to }), "to");
		for (const type of ["", "two words", "é", "x".repeat(33), "a.b", 1, null]) await refusedField(send({ type }), "type");
		const { data: _, ...without } = { room: "s6", to: "room", type: "a", data: 1 };
		await refusedField(ann.call("signal.send", without), "data");
	});

	test("signals of one sender arrive in the order sent, however they are addressed", async ({ people }) => {
		const { clients, joined } = await gather(people, "s7");
		const [ann, bob] = clients;
		const addressed = [{ peer: joined[1].peer }, { user: "bob" }, "room"];
		const sent = Array.from({ length: 200 }, (_, n) =>
			ann.call("signal.send", { room: "s7", to: addressed[n % 3], type: "candidate", data: n }),
		);
		for (const answer of await Promise.all(sent)) assert.deepEqual(answer, { queued: 1 });
		const got = [];
		while (got.length < sent.length) got.push((await bob.next("signal.received")).params.data);
		assert.deepEqual(got, sent.map((_, n) => n));
		assert.deepEqual(bob.unread, []);
	});

	// ---- messages ----

	test("a message goes to all, the sender too, with offsets without holes", async ({ people }) => {
		const { clients, joined } = await gather(people, "p1");
		const [ann, bob] = clients;
		const before = Date.now();
		const published = [];
		for (let n = 1; n <= 30; n++) published.push((n % 2 ? ann : bob).call("room.publish", { room: "p1", data: n }));
		const answers = await Promise.all(published);
		assert.deepEqual(answers.map(({ offset }) => offset).sort((a, b) => a - b), published.map((_, i) => i + 1));
		for (const client of clients) {
			let time = before - 1000;
			for (let offset = 1; offset <= 30; offset++) {
				const { params } = await client.next("room.message");
				assert.equal(params.epoch, joined[0].epoch);
				assert.equal(params.offset, offset);
				assert.equal(answers[params.data - 1].offset, offset);
				const by = params.data % 2 ? 0 : 1;
				assert.deepEqual(params.from, { peer: joined[by].peer, user: ["ann", "bob"][by] });
				assert.ok(params.time >= time && params.time <= Date.now() + 1000);
				time = params.time;
			}
		}
	});

	test("who publishes is in the room, or has a device there, or owns or moderates it", async ({ people, server }) => {
		const [ann, bob, mod] = await people("ann", "bob", { user: "mod", scope: "rooms:join rooms:moderate" });
		await ann.call("room.create", { room: "p2" });
		const { peer } = await bob.call("room.join", { room: "p2" });
		const say = (by) => by.call("room.publish", { room: "p2", data: "x" });
		const [eve] = await people("eve");
		await refused(say(eve), "forbidden", "not_a_member");
		await refused(eve.call("room.publish", { room: "p2 none", data: 1 }), "not_found", "no_such_room");
		for (const by of [ann, mod]) await say(by);
		// the backend, in the name of a user who is in the room, and of one who is not
		const bobs = await server.mint("bob");
		await post(server, bobs, "room.publish", { room: "p2", data: "x" });
		await say(bob);
		const from = [];
		for (let i = 0; i < 4; i++) from.push((await bob.next("room.message")).params.from);
		assert.deepEqual(from, [
			{ peer: null, user: "ann" },
			{ peer: null, user: "mod" },
			{ peer: null, user: "bob" },
			{ peer, user: "bob" },
		]);
		const eves = await server.mint("eve");
		await assert.rejects(post(server, eves, "room.publish", { room: "p2", data: 1 }), {
			code: CODES.forbidden,
		});
	});

	test("an idempotency key publishes once, and is its user's own", async ({ people, server }) => {
		const { clients } = await gather(people, "p3");
		const [ann, bob] = clients;
		const say = (by, data, idempotency_key) => by.call("room.publish", { room: "p3", data, idempotency_key });
		const first = await say(ann, "one", "k");
		assert.equal(first.offset, 1);
		assert.deepEqual(await say(ann, "one", "k"), first);
		assert.deepEqual(await say(ann, "other", "k"), first);
		assert.equal((await say(bob, "two", "k")).offset, 2);
		assert.equal((await say(ann, "three", "K")).offset, 3);
		// again from another connection, as after a lost answer
		const again = await post(server, await server.mint("ann"), "room.publish", {
			room: "p3",
			data: "one",
			idempotency_key: "k",
		});
		assert.deepEqual(again, first);
		// many at once: still once
		const many = await Promise.all(Array.from({ length: 20 }, () => say(bob, "four", "at once")));
		assert.deepEqual(new Set(many.map(({ offset }) => offset)), new Set([4]));
		await caughtUp(server, "p3", bob);
		const told = bob.events.filter(({ method }) => method === "room.message").map(({ params }) => params.data);
		assert.deepEqual(told, ["one", "two", "three", "four", "caught up"]);
		for (const key of ["", "x".repeat(129), "a\nb"]) await refusedField(say(ann, 1, key), "idempotency_key");
	});

	test("data is at most 64 KiB, for signals and messages alike", async ({ people, server }) => {
		const { clients } = await gather(people, "p4");
		const [ann, bob] = clients;
		const most = `"${"x".repeat(DATA_MAX - 2)}"`;
		const more = `"${"x".repeat(DATA_MAX - 1)}"`;
		const limit = { field: "data", limit: DATA_MAX };
		const signal = (data) => callRaw(ann, "signal.send", `{"room":"p4","to":"room","type":"a","data":${data}}`);
		const publish = (data) => callRaw(ann, "room.publish", `{"room":"p4","data":${data}}`);
		await signal(most);
		assert.equal((await bob.next("signal.received")).params.data.length, DATA_MAX - 2);
		await publish(most);
		assert.equal((await bob.next("room.message")).params.data.length, DATA_MAX - 2);
		await refused(signal(more), "too_large", "too_large", limit);
		await refused(publish(more), "too_large", "too_large", limit);
		await caughtUp(server, "p4", bob);
		assert.deepEqual(bob.unread, []);
	});

	// ---- recovery ----

	test("since is answered with all that came after it, in order", async ({ people }) => {
		const [ann, bob] = await people("ann", "bob");
		const { epoch } = await ann.call("room.join", { room: "r1" });
		for (let n = 1; n <= 5; n++) await ann.call("room.publish", { room: "r1", data: n });
		const join = (offset, of = epoch) => bob.call("room.join", { room: "r1", since: { epoch: of, offset } });
		const told = ann.events.filter(({ method }) => method === "room.message").map(({ params }) => params);
		for (let offset = 0; offset <= 5; offset++) {
			const joined = await join(offset);
			assert.deepEqual([joined.recovered, joined.offset, joined.epoch], [true, 5, epoch]);
			assert.deepEqual(joined.messages, told.slice(offset));
			await bob.call("room.leave", { room: "r1" });
		}
		for (const [offset, of] of [[6, epoch], [Number.MAX_SAFE_INTEGER, epoch], [2, "AAAAAAAAAAAA"], [0, "x"]]) {
			const joined = await join(offset, of);
			assert.deepEqual([joined.recovered, joined.messages, joined.offset], [false, [], 5]);
			await bob.call("room.leave", { room: "r1" });
		}
		const without = await bob.call("room.join", { room: "r1" });
		assert.deepEqual([without.recovered, without.messages], [false, []]);
		for (const since of [{}, { epoch }, { epoch, offset: -1 }, { epoch, offset: "1" }, { epoch, offset: 1, more: 1 }])
			await refusedField(bob.call("room.join", { room: "r1", since }), "since");
	});

	test("what is not held any more is refused whole", async ({ people }) => {
		const [ann, bob] = await people("ann", "bob");
		const { epoch } = await ann.call("room.join", { room: "r2" });
		const count = HISTORY + 7;
		for (let n = 1; n <= count; n++) await ann.call("room.publish", { room: "r2", data: n });
		const join = async (offset) => {
			const joined = await bob.call("room.join", { room: "r2", since: { epoch, offset } });
			await bob.call("room.leave", { room: "r2" });
			return joined;
		};
		const whole = await join(count - HISTORY);
		assert.deepEqual([whole.recovered, whole.messages.length], [true, HISTORY]);
		const missing = await join(count - HISTORY - 1);
		assert.deepEqual([missing.recovered, missing.messages], [false, []]);
	});

	test("more than 128 KiB is not told in an answer, nor half of it", async ({ people }) => {
		const [ann, bob] = await people("ann", "bob");
		const { epoch } = await ann.call("room.join", { room: "r3" });
		const data = "x".repeat(50 * 1024);
		for (let n = 0; n < 3; n++) await ann.call("room.publish", { room: "r3", data });
		const join = async (offset) => {
			const joined = await bob.call("room.join", { room: "r3", since: { epoch, offset } });
			await bob.call("room.leave", { room: "r3" });
			return [joined.recovered, joined.messages.map((message) => message.offset)];
		};
		assert.deepEqual(await join(0), [false, []]);
		assert.deepEqual(await join(1), [true, [2, 3]]);
	});

	test("between a join's messages and the first event there is no hole and no double", async ({ people }) => {
		const [ann, bob] = await people("ann", "bob");
		const { epoch } = await ann.call("room.join", { room: "r4" });
		// ann publishes while bob comes, listens in every other round until the end, and goes
		const BURST = 8;
		const got = [];
		for (let round = 0; round < 30; round++) {
			const burst = Array.from({ length: BURST }, () => ann.call("room.publish", { room: "r4", data: "x" }));
			const offset = got.at(-1) ?? 0;
			const joined = await bob.call("room.join", { room: "r4", since: { epoch, offset } });
			assert.equal(joined.recovered, true);
			got.push(...joined.messages.map((message) => message.offset));
			assert.equal(joined.offset, got.at(-1) ?? 0);
			if (round % 2)
				while ((got.at(-1) ?? 0) < BURST * (round + 1)) got.push((await bob.next("room.message")).params.offset);
			await bob.call("room.leave", { room: "r4" });
			got.push(...bob.unread.splice(0).map(({ params }) => params.offset));
			await Promise.all(burst);
		}
		assert.deepEqual(got, Array.from({ length: 30 * BURST }, (_, i) => i + 1));
	});

	// ---- bytes ----

	// JSON that a careless reader changes: numbers, escapes, order, doubled members, spacing.
	const RAW = [
		"1e0", "1.10", "0.1", "-0", "-0.0", "1E+2", "1e400", "-1e-400", "18446744073709551616",
		"123456789012345678901234567890.123456789012345678901234567890", "9007199254740993",
		'"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"', '"\\/"', '"/"', '"\\u0041"',
		'"é\u{1f600}\u2028\u007f"', '"\\u00e9"', "true", "null", '""', "[]", "{}",
		'{"a":1,"a":2}', '{"b":1,"a":2,"10":3,"9":4}', '{"__proto__":1,"constructor":{}}', '{"\\u0061":1,"a":2}',
		'{ "b" :\t[ 1 ,\n2\r\n] , "c":{ } }', "[ ]", '[1,  2 ,[ ],{ "x" :null}]',
		`${"[".repeat(62)}${"]".repeat(62)}`, // 64 deep with the message around it
	];

	test("data is passed on as the bytes that came", async ({ people }) => {
		const { clients, joined } = await gather(people, "b1");
		const [ann, bob] = clients;
		for (const [n, data] of RAW.entries()) {
			await callRaw(ann, "signal.send", `{"room":"b1","to":{"peer":"${joined[1].peer}"},"type":"n${n}","data":${data}}`);
			await bob.next("signal.received");
			assert.ok(frameWith(bob, `"type":"n${n}"`).includes(`"data":${data}}`), data);
			const { offset } = await callRaw(ann, "room.publish", `{"data": ${data} ,"room":"b1"}`);
			for (const client of clients) {
				await client.next("room.message");
				assert.ok(frameWith(client, `"offset":${offset},`).includes(`"data":${data},"time"`), data);
			}
		}
		// and the same out of the history
		const [cat] = await people("cat");
		await callRaw(cat, "room.join", `{"room":"b1","since":{"epoch":"${joined[0].epoch}","offset":${RAW.length - HISTORY}}}`);
		const told = frameWith(cat, '"recovered":true');
		for (const data of RAW.slice(-HISTORY)) assert.ok(told.includes(`"data":${data},"time"`), data);
	});

	test("state is passed on as the bytes that came", async ({ people }) => {
		const { clients, joined } = await gather(people, "b2");
		const [ann, bob] = clients;
		const [cat] = await people("cat");
		for (const state of RAW) {
			await callRaw(bob, "room.state", `{"room":"b2","state":${state}}`);
			await ann.next("room.updated");
			assert.ok(frameWith(ann, `"peer":"${joined[1].peer}","changes"`).includes(`"changes":{"state":${state}}`), state);
			await ann.call("room.presence", { room: "b2" });
			assert.ok(ann.frames.at(-1).includes(`"state":${state},"connected"`), state);
			await callRaw(cat, "room.join", `{"room":"b2","state":${state}}`);
			assert.ok(cat.frames.at(-1).includes(`"state":${state},"connected"`), state);
			await ann.next("room.joined");
			assert.ok(frameWith(ann, '"method":"room.joined"').includes(`"state":${state},"connected"`), state);
			await cat.call("room.leave", { room: "b2" });
			await ann.next("room.left");
		}
	});

	test("metadata is passed on as the bytes that came", async ({ people, server }) => {
		const [ann, bob] = await people("ann", "bob");
		for (const [n, metadata] of RAW.entries()) {
			await callRaw(ann, "room.create", `{"room":"b3-${n}","metadata":${metadata}}`);
			assert.ok(ann.frames.at(-1).includes(`"metadata":${metadata},"history"`), metadata);
			await bob.call("room.get", { room: `b3-${n}` });
			assert.ok(bob.frames.at(-1).includes(`"metadata":${metadata},"history"`), metadata);
			assert.equal((await server.rpc("room.get", { room: `b3-${n}` })).room, `b3-${n}`);
		}
		await bob.call("room.list", { limit: 100 });
		for (const metadata of RAW) assert.ok(bob.frames.at(-1).includes(`"metadata":${metadata},"history"`), metadata);
	});

	test("what is deeper than 64, or no JSON, is refused and harms nothing", async ({ people }) => {
		const { clients } = await gather(people, "b4");
		const [ann, bob] = clients;
		const deep = `${"[".repeat(63)}${"]".repeat(63)}`;
		const bad = [deep, "01", "1.", ".1", "+1", "0x1", "NaN", "'a'", '"\t"', '"\\x"', '"\\u12"', "[1,]", "{a:1}", '{"a" 1}', "tru", ""];
		for (const data of bad) {
			ann.raw(`{"jsonrpc":"2.0","id":1,"method":"room.publish","params":{"room":"b4","data":${data}}}`);
			const { id, error } = await ann.next((message) => message.id === null);
			assert.deepEqual([id, error.code], [null, CODES.parse_error], data);
		}
		await ann.call("room.publish", { room: "b4", data: "still here" });
		assert.equal((await bob.next("room.message")).params.data, "still here");
		assert.equal((await bob.call("room.get", { room: "b4" })).member_count, 2);
	});

	// ---- ICE ----

	test("ICE servers come with credentials that a TURN server can check", async ({ people }) => {
		const [ann] = await people("ann");
		const now = Math.floor(Date.now() / 1000); // time() may be a tick behind
		const told = await ann.call("ice.servers");
		assert.ok(told.expires_at >= now + 599 && told.expires_at <= now + 660);
		const username = `${told.expires_at}:ann`;
		const expected = (name) => [
			{ urls: ["stun:stun.test:3478"] },
			{
				urls: ["turn:turn.test:3478?transport=udp", "turns:turn.test"],
				username: name,
				credential: createHmac("sha1", "north").update(name).digest("base64"),
			},
			{ urls: ["turn:fixed.test"], username: "all", credential: "same" },
		];
		assert.deepEqual(told.ice_servers, expected(username));
		const { ice_servers } = await ann.call("room.join", { room: "ice" });
		assert.deepEqual(ice_servers, expected(ice_servers[1].username));
	});
});
