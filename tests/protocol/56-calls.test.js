// Ringing somebody: on all devices, accepted on one, and every other way that a call ends.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { connect } from "../support/client.mjs";
import { foreignIssuer } from "../support/foreign.mjs";
import { ResumingClient } from "../support/resuming.mjs";
import { anyPace, startServer } from "../support/server.mjs";

const corp = await foreignIssuer("corp"); // whose users need no account here
let server; // of those that need none of their own

const id = (name) => `corp|${name}`;
const session = async (name, claims) =>
	connect(server, { token: await corp.token(name, { name: name.toUpperCase(), ...claims }) });
const sessions = (...names) => Promise.all(names.map((name) => session(name)));
const invite = (who, name, more = {}) => who.call("call.invite", { to: { user: id(name) }, ...more });

/** What it was told of this call, in order; the next one of the name. */
const told = (who, { call }, name) => who.next(({ method, params }) => method === name && params.call === call).then(({ params }) => params);
const ended = (who, call) => told(who, call, "call.ended");
const count = (who, { call }, name) => who.events.filter(({ method, params }) => method === name && params.call === call).length;

/** The call rings there: what was said of it. */
const rings = (who, call) => told(who, call, "call.incoming");

const history = async (who) => (await who.call("call.history")).calls;
const outcome = async (who, { call }) => (await history(who)).find((entry) => entry.call === call).outcome;

/** Once the store has it. */
async function outcomes(call, ...both) {
	for (;;) {
		const all = await Promise.all(both.map((who) => outcome(who, call)));
		if (all.every((word) => word !== null)) return all;
	}
}

before(async () => {
	server = await startServer({ workers: 4, config: { limits: anyPace, issuers: [corp.config], calls: { invitations_per_minute: 0 } } });
});
after(() => server.stop());

describe("calls", { concurrency: true }, () => {
	test("rings on all devices, is accepted on one, and both are in a room of their own", async () => {
		const [ann, bob, other] = await sessions("ann", "bob", "bob");
		const before = Math.floor(Date.now() / 1000);
		const call = await invite(ann, "bob", { data: { video: true } });
		assert.equal(call.ringing, 2);
		assert.equal(call.room, `call:${call.call}`);
		for (const who of [bob, other]) {
			const { expires_at, ...incoming } = await rings(who, call);
			assert.deepEqual(incoming, { call: call.call, room: call.room, from: { user: id("ann"), name: "ANN" }, data: { video: true } });
			assert.ok(expires_at >= before + 45 && expires_at <= before + 50);
		}
		const { joined, ...accepted } = await bob.call("call.accept", { call: call.call });
		assert.deepEqual(accepted, { call: call.call, room: call.room });
		const { joined: hers, ...heard } = await told(ann, call, "call.accepted");
		assert.deepEqual(heard, { call: call.call, room: call.room, by: { user: id("bob"), name: "BOB" } });
		assert.deepEqual((await ended(other, call)).reason, "answered_elsewhere");
		assert.deepEqual(joined.members.map(({ user, polite }) => [user, polite]), [[id("ann"), true]]);
		assert.deepEqual(hers.members, []);
		const { params: came } = await ann.next("room.joined");
		assert.deepEqual(came.members.map(({ peer, polite }) => [peer, polite]), [[joined.peer, false]]);
		assert.equal(joined.epoch, hers.epoch);

		await assert.rejects(other.call("call.decline", { call: call.call }), { reason: "answered_elsewhere" });
		await assert.rejects(other.call("call.hangup", { call: call.call }), { reason: "answered_elsewhere" });
		await ann.call("signal.send", { room: call.room, to: { peer: joined.peer }, type: "offer", data: 1 });
		assert.equal((await bob.next("signal.received")).params.data, 1);

		const [eve] = await sessions("eve");
		for (const method of ["room.join", "room.get", "room.presence"])
			await assert.rejects(eve.call(method, { room: call.room }), { reason: "room_private" });
		await assert.rejects(eve.call("call.hangup", { call: call.call }), { reason: "no_such_call" });

		await ann.call("call.hangup", { call: call.call });
		for (const who of [ann, bob]) {
			const end = await ended(who, call);
			assert.equal(end.reason, "hangup");
			assert.ok(end.duration >= 0 && end.duration < 10);
		}
		for (const [who, { peer }] of [[ann, hers], [bob, joined]]) {
			const left = await who.next(({ method, params }) => method === "room.left" && params.peer === peer);
			assert.equal(left.params.reason, "closed");
		}
		await assert.rejects(ann.call("room.join", { room: call.room }), { reason: "no_such_room" });
		assert.equal(count(other, call, "call.ended"), 1);
		assert.deepEqual(await outcomes(call, ann, bob), ["hangup", "hangup"]);
		const [entry] = await history(bob);
		assert.deepEqual(
			{ ...entry, started_at: 0, answered_at: 0, ended_at: 0 },
			{ ...accepted, direction: "in", user: id("ann"), name: "ANN", outcome: "hangup", data: { video: true }, started_at: 0, answered_at: 0, ended_at: 0, seen: true },
		);
		assert.ok(entry.started_at <= entry.answered_at && entry.answered_at <= entry.ended_at);
	});

	test("is declined, or cancelled: for all, once, and nobody can answer it then", async () => {
		const [ann, bob, other] = await sessions("ann2", "bob2", "bob2");
		for (const [who, method, reason] of [[other, "call.decline", "declined"], [ann, "call.cancel", "cancelled"], [ann, "call.hangup", "cancelled"], [bob, "call.hangup", "declined"]]) {
			const call = await invite(ann, "bob2");
			await Promise.all([bob, other].map((device) => rings(device, call)));
			await assert.rejects(ann.call("call.accept", { call: call.call }), { reason: "no_such_call" });
			await assert.rejects(ann.call("call.decline", { call: call.call }), { reason: "no_such_call" });
			await assert.rejects(bob.call("call.cancel", { call: call.call }), { reason: "no_such_call" });
			await who.call(method, { call: call.call });
			for (const device of [ann, bob, other]) assert.deepEqual((await ended(device, call)).reason, reason);
			await assert.rejects(bob.call("call.accept", { call: call.call }), { reason: "no_such_call" });
			assert.deepEqual(await outcomes(call, ann, bob), [reason, reason]);
			for (const device of [ann, bob, other]) assert.equal(count(device, call, "call.ended"), 1);
		}
	});

	test("rings for as long as it was to, on who comes later too, and is missed then", async () => {
		const [ann, bob] = await sessions("ann3", "bob3");
		const since = performance.now();
		const call = await invite(ann, "bob3", { timeout: 5 });
		await rings(bob, call);
		const [late] = await sessions("bob3");
		const { expires_at } = await rings(late, call);
		bob.socket.close(1000); // it rings on
		await bob.closed;
		for (const who of [ann, late]) assert.equal((await ended(who, call)).reason, "timeout");
		const took = performance.now() - since;
		assert.ok(took >= 4990 && took < 9000, `it rang ${took} ms`);
		assert.ok(expires_at <= Math.floor(Date.now() / 1000));
		const { params } = await late.next("call.missed");
		assert.deepEqual(params.calls.map((entry) => [entry.call, entry.outcome, entry.seen]), [[call.call, "timeout", false]]);
		assert.equal(count(ann, call, "call.ended"), 1);
	});

	test("of two devices that accept at the same moment one is in the call", async () => {
		const [ann, ...devices] = await sessions("ann4", "bob4", "bob4", "bob4");
		for (let i = 0; i < 12; i++) {
			const call = await invite(ann, "bob4");
			const answers = await Promise.allSettled(devices.map((device) => device.call("call.accept", { call: call.call })));
			const winners = devices.filter((_, k) => answers[k].status === "fulfilled");
			assert.equal(winners.length, 1);
			for (const { status, reason } of answers) if (status === "rejected") assert.equal(reason.reason, "answered_elsewhere");
			await told(ann, call, "call.accepted");
			await winners[0].call("call.hangup", { call: call.call });
			for (const device of devices)
				assert.equal((await ended(device, call)).reason, device === winners[0] ? "hangup" : "answered_elsewhere");
			assert.equal((await ended(ann, call)).reason, "hangup");
		}
	});

	test("cancelled at the moment it is accepted: either way both are told the same", async () => {
		const [ann, bob] = await sessions("ann5", "bob5");
		for (let i = 0; i < 12; i++) {
			const call = await invite(ann, "bob5");
			const [accepted] = await Promise.allSettled([bob.call("call.accept", { call: call.call }), ann.call("call.cancel", { call: call.call })]);
			const [hers, his] = await Promise.all([ended(ann, call), ended(bob, call)]);
			assert.deepEqual(hers, his);
			assert.equal(hers.reason, accepted.status === "fulfilled" ? "hangup" : "cancelled");
			assert.equal(count(ann, call, "call.accepted"), accepted.status === "fulfilled" ? 1 : 0);
		}
	});

	test("two who ring each other at the same moment are connected", async () => {
		const users = Array.from({ length: 12 }, (_, i) => [`x${i}`, `y${i}`]);
		let crossed = 0;
		await Promise.all(users.map(async ([x, y]) => {
			const both = await sessions(x, y);
			const calls = await Promise.all([invite(both[0], y), invite(both[1], x)]);
			assert.equal(calls[0].call, calls[1].call);
			assert.equal(calls[0].room, calls[1].room);
			assert.equal(calls.filter((answer) => answer.crossed).length, 1);
			crossed++;
			const heard = await Promise.all(both.map((who) => told(who, calls[0], "call.accepted")));
			assert.deepEqual(heard.map(({ by }) => by.user), [id(y), id(x)]);
			await both[0].call("call.hangup", { call: calls[0].call });
			for (const who of both) assert.equal((await ended(who, calls[0])).reason, "hangup");
			for (const who of both) assert.equal((await history(who)).length, 1);
		}));
		assert.equal(crossed, users.length);
	});

	test("an invitation to who rings the inviter already accepts that", async () => {
		const [ann, other, bob] = await sessions("ann6", "ann6", "bob6");
		const call = await invite(bob, "ann6");
		await Promise.all([ann, other].map((who) => rings(who, call)));
		assert.deepEqual(await invite(ann, "bob6"), { call: call.call, room: call.room, ringing: 0, crossed: true });
		await told(bob, call, "call.accepted");
		const { joined } = await told(ann, call, "call.accepted");
		assert.deepEqual(joined.members.map(({ user }) => user), [id("bob6")]);
		assert.equal((await ended(other, call)).reason, "answered_elsewhere");
		// who talks is busy for the same one, too
		const again = await invite(ann, "bob6");
		assert.equal((await ended(ann, again)).reason, "busy");
	});

	test("who is in a call is busy, has missed the other one, and is told so", async () => {
		const [ann, bob, eve] = await sessions("ann7", "bob7", "eve7");
		const call = await invite(ann, "bob7");
		await bob.call("call.accept", { call: call.call });
		for (const user of ["ann7", "bob7"]) {
			const busy = await invite(eve, user);
			assert.equal(busy.ringing, 0);
			assert.equal((await ended(eve, busy)).reason, "busy");
			const { params } = await (user === "ann7" ? ann : bob).next("call.missed");
			assert.deepEqual(params.calls.map(({ call, outcome, user }) => [call, outcome, user]), [[busy.call, "busy", id("eve7")]]);
		}
		assert.equal(bob.events.filter(({ method }) => method === "call.incoming").length, 1);
		await bob.call("session.close");
		assert.equal((await ended(ann, call)).reason, "hangup");
		const [back] = await sessions("bob7");
		assert.equal((await invite(eve, "bob7")).ringing, 1);
		await back.next("call.incoming");
	});

	test("who is not there is unreachable, and learns of it when they come", async () => {
		const [ann] = await sessions("ann8");
		const calls = [];
		for (let i = 0; i < 3; i++) {
			calls.push(await invite(ann, "bob8", { data: i }));
			assert.equal(calls[i].ringing, 0);
			assert.equal((await ended(ann, calls[i])).reason, "unreachable");
			await outcomes(calls[i], ann);
		}
		const [bob] = await sessions("bob8");
		const { params } = await bob.next("call.missed");
		assert.deepEqual(params.calls.map(({ call, data, seen }) => [call, data, seen]), calls.map(({ call }, i) => [call, i, false]).reverse());
		await bob.call("call.seen", { calls: [calls[0].call, "of somebody else"] });
		const [again] = await sessions("bob8");
		assert.equal((await again.next("call.missed")).params.calls.length, 2);
		await again.call("call.seen", { all: true });
		assert.ok((await history(bob)).every(({ seen }) => seen));
		const [last] = await sessions("bob8");
		assert.equal((await invite(ann, "bob8")).ringing, 3);
		await last.next("call.incoming");
		assert.ok(last.events.every(({ method }) => method !== "call.missed"));
	});

	test("history comes by the page, newest first", async () => {
		const [ann] = await sessions("ann9");
		const calls = [];
		for (let i = 0; i < 7; i++) calls.unshift((await invite(ann, `nobody${i % 2}`)).call);
		const pages = [];
		for (let cursor; ; ) {
			const page = await ann.call("call.history", { limit: 3, ...(cursor && { cursor }) });
			pages.push(page.calls.map(({ call }) => call));
			if (!(cursor = page.cursor)) break;
		}
		assert.deepEqual(pages, [calls.slice(0, 3), calls.slice(3, 6), calls.slice(6)]);
		await assert.rejects(ann.call("call.history", { cursor: "x" }), { reason: "invalid_params" });
		const rpc = await fetch(`${server.url}/v1/rpc`, {
			method: "POST",
			headers: { authorization: `Bearer ${await corp.token("ann9")}`, "content-type": "application/json" },
			body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "call.history", params: { limit: 1 } }),
		});
		assert.equal((await rpc.json()).result.calls[0].call, calls[0]);
	});

	test("what cannot be a call is refused, and says why", async () => {
		const [ann, bob] = await sessions("ann10", "bob10");
		const refused = (params, reason, field) =>
			assert.rejects(ann.call("call.invite", params), (error) => error.reason === reason && error.data.field === field);
		await refused({ to: { user: id("ann10") } }, "invalid_params", "to");
		await refused({ to: {} }, "invalid_params", "to");
		await refused({ to: { user: id("bob10") }, timeout: 4 }, "invalid_params", "timeout");
		await refused({ to: { user: id("bob10") }, timeout: 121 }, "invalid_params", "timeout");
		await refused({ to: { user: id("bob10") }, data: "x".repeat(16383) }, "too_large", "data");
		await refused({ to: { user: id("bob10") }, room: "call:mine" }, "reserved_name");
		await refused({ to: { user: id("bob10") }, extra: 1 }, "invalid_params", "extra");
		for (const method of ["call.accept", "call.decline", "call.cancel", "call.hangup"])
			for (const call of ["x", "-".repeat(38), "0".repeat(38), "é".repeat(19)])
				await assert.rejects(bob.call(method, { call }), { reason: "no_such_call" });
		for (const params of [{}, { all: false }, { calls: [] }, { calls: [1] }, { calls: ["a"], all: true }, { calls: Array(101).fill("a") }])
			await assert.rejects(bob.call("call.seen", params), { reason: "invalid_params" });
		await assert.rejects(ann.call("room.create", { room: "call:mine" }), { reason: "reserved_name" });
		await assert.rejects(ann.call("room.join", { room: "call:mine" }), { reason: "no_such_room" });
		const narrow = await session("ann10", { signalbox: { rooms: ["team-*"] } });
		await assert.rejects(invite(narrow, "bob10"), { reason: "room_not_in_token" });
	});

	test("a user rings five others at a time", async () => {
		const [ann, second, bob] = await sessions("ann11", "ann11", "bob11");
		const calls = [];
		for (let i = 0; i < 5; i++) calls.push(await invite(i % 2 ? ann : second, "bob11"));
		await assert.rejects(invite(ann, "bob11"), (error) => error.reason === "too_many_calls" && error.data.limit === 5);
		await assert.rejects(ann.call("call.cancel", { call: calls[0].call }), { reason: "no_such_call" }); // the other session's
		await second.call("call.cancel", { call: calls[0].call });
		await bob.call("call.decline", { call: calls[1].call });
		await bob.call("call.accept", { call: calls[2].call });
		assert.equal((await invite(ann, "bob11").then((call) => ended(ann, call))).reason, "busy");
		await ann.close();
		assert.equal((await ended(bob, calls[3])).reason, "cancelled");
	});

	test("a user with 32 sessions hears it on all of them", async () => {
		const [ann] = await sessions("ann12");
		const many = await sessions(...Array(32).fill("bob12"));
		const call = await invite(ann, "bob12");
		assert.equal(call.ringing, 32);
		await Promise.all(many.map((who) => rings(who, call)));
		await many[17].call("call.accept", { call: call.call });
		const others = many.filter((_, i) => i !== 17);
		for (const end of await Promise.all(others.map((who) => ended(who, call)))) assert.equal(end.reason, "answered_elsewhere");
	});

	test("the session that accepts dies at that moment: it rings on, or both have talked", async () => {
		const [ann, other] = await sessions("ann13", "bob13");
		for (let i = 0; i < 8; i++) {
			const [bob] = await sessions("bob13");
			const call = await invite(ann, "bob13");
			await Promise.all([bob, other].map((who) => rings(who, call)));
			bob.call("call.accept", { call: call.call }).catch(() => {});
			bob.call("session.close").catch(() => {});
			const late = await other.call("call.accept", { call: call.call }).catch((error) => error);
			if (late.joined) await other.call("call.hangup", { call: call.call });
			else assert.match(late.reason, /answered_elsewhere|no_such_call/);
			assert.equal((await ended(ann, call)).reason, "hangup");
			assert.equal((await ended(other, call)).reason, late.joined ? "hangup" : "answered_elsewhere");
			await ann.next(({ method, params }) => method === "room.left" && params.room === call.room && params.reason === "closed");
		}
	});

	test("leaving the room of the call hangs up", async () => {
		const [ann, bob] = await sessions("ann14", "bob14");
		const call = await invite(ann, "bob14");
		await bob.call("call.accept", { call: call.call });
		await bob.call("room.leave", { room: call.room });
		for (const who of [ann, bob]) assert.equal((await ended(who, call)).reason, "hangup");
	});
});
