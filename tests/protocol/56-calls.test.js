// Ringing somebody: on all devices, accepted on one, and every other way that a call ends.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { connect } from "../support/client.mjs";
import { foreignIssuer } from "../support/foreign.mjs";
import { Receiver } from "../support/receiver.mjs";
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

	// ---- rooms that are there ----

	test("a room that is there lets the callee in for the call, and no longer", async () => {
		const [ann, bob, eve] = await sessions("ann20", "bob20", "eve20");
		await ann.call("room.create", { room: "team20", visibility: "private" });
		await assert.rejects(invite(eve, "bob20", { room: "team20" }), { reason: "room_private" });
		const call = await invite(ann, "bob20", { room: "team20" });
		assert.equal(call.room, "team20");
		const { joined } = await bob.call("call.accept", { call: call.call });
		assert.deepEqual([joined.role, joined.members.map(({ user }) => user)], ["member", [id("ann20")]]);
		await bob.call("session.refresh", { token: await corp.token("bob20", { jti: "another" }) });
		await bob.call("room.publish", { room: "team20", data: 1 });
		await bob.call("call.hangup", { call: call.call });
		const left = await bob.next("room.left");
		assert.deepEqual(left.params, { room: "team20", peer: joined.peer, reason: "closed" });
		await assert.rejects(bob.call("room.join", { room: "team20" }), { reason: "room_private" });
		await ann.call("room.publish", { room: "team20", data: 2 }); // she stays
		assert.equal((await ended(ann, call)).reason, "hangup");

		// who has a role there stays, too
		await ann.call("room.grant", { room: "team20", user: id("bob20"), role: "viewer" });
		const second = await invite(ann, "bob20", { room: "team20" });
		assert.equal((await bob.call("call.accept", { call: second.call })).joined.role, "viewer");
		await ann.call("call.hangup", { call: second.call });
		await ended(bob, second);
		assert.equal((await bob.call("room.presence", { room: "team20" })).members.length, 1);
		// and opens no door
		const third = await invite(bob, "eve20", { room: "team20" });
		await assert.rejects(eve.call("call.accept", { call: third.call }), { reason: "room_private" });
		assert.equal((await ended(bob, third)).reason, "unreachable");
		assert.equal((await ended(eve, third)).reason, "unreachable");
		// a call does not end for who is in the room anyway, but for who leaves it
		const fourth = await invite(ann, "eve20", { room: "team20" });
		await eve.call("call.accept", { call: fourth.call });
		await ann.call("room.kick", { room: "team20", user: id("eve20") });
		assert.equal((await ended(ann, fourth)).reason, "hangup");
		const fifth = await invite(ann, "eve20", { room: "team20" });
		await assert.rejects(eve.call("call.accept", { call: fifth.call }), { reason: "kicked" });
	});

	test("a lock, a ban, a full room and one that rests are doors that a call does not open", async () => {
		const [ann, bob, carl] = await sessions("ann21", "bob21", "carl21");
		const accept = async (who, call) => {
			const answer = await who.call("call.accept", { call: call.call }).catch((error) => error.reason);
			if (typeof answer === "string") assert.equal((await ended(who, call)).reason, "unreachable");
			else await who.call("call.hangup", { call: call.call });
			return answer.joined?.role ?? answer;
		};
		await ann.call("room.create", { room: "r21", max_members: 2 });
		await carl.call("room.join", { room: "r21" });
		await ann.call("room.lock", { room: "r21", locked: true });
		assert.equal(await accept(bob, await invite(carl, "bob21", { room: "r21" })), "room_locked");
		await carl.call("room.leave", { room: "r21" });
		assert.equal(await accept(bob, await invite(ann, "bob21", { room: "r21" })), "member");
		await ann.call("room.lock", { room: "r21", locked: false });
		await bob.call("room.leave", { room: "r21" });
		await carl.call("room.join", { room: "r21" });
		assert.equal(await accept(bob, await invite(ann, "bob21", { room: "r21" })), "room_full");
		await carl.call("room.leave", { room: "r21" });
		await ann.call("room.ban", { room: "r21", user: id("bob21") });
		assert.equal(await accept(bob, await invite(ann, "bob21", { room: "r21" })), "banned");
		const call = await invite(ann, "carl21", { room: "r21" });
		await ann.call("room.update", { room: "r21", archived: true });
		assert.equal(await accept(carl, call), "room_archived");
		await assert.rejects(invite(ann, "bob21", { room: "r21" }), { reason: "room_archived" });
		// one that does not exist is made as by a join
		assert.equal(await accept(bob, await invite(ann, "bob21", { room: "made21" })), "member");
	});

	// ---- what a connection, a process or a backend does to calls ----

	const own = (config, t, workers = 4, more = {}) =>
		startServer({ t, workers, config: { limits: anyPace, issuers: [corp.config], ...config }, ...more });
	const resuming = async (on, name) => {
		const made = new ResumingClient(on, await corp.token(name));
		await made.connect(null);
		return made;
	};
	const ring = (who, name, more) => who.call("call.invite", { to: { user: id(name) }, ...more });
	const of = (who, method, { call }) => who.of(method).filter((params) => params.call === call);
	const heard = async (who, method, call) => {
		await who.until(() => of(who, method, call).length > 0, `${method} of ${call.call}`);
		return of(who, method, call)[0];
	};

	test("a lost connection costs nothing", async () => {
		const [ann, bob] = [await resuming(server, "ann22"), await resuming(server, "bob22")];
		const call = await ring(ann, "bob22");
		ann.cut();
		bob.cut(); // neither is there while it rings
		await Promise.all([ann.connect(), bob.connect()]);
		assert.ok(ann.opened.resumed && bob.opened.resumed);
		await heard(bob, "call.incoming", call);
		ann.cut(); // nor the caller when it is accepted
		const { joined } = await bob.call("call.accept", { call: call.call });
		const away = ({ peer, changes }) => peer === joined.members[0].peer && changes.connected === false;
		if (joined.members[0].connected) await bob.until(() => bob.of("room.updated").some(away), "ann to be away");
		await ann.connect();
		assert.equal((await heard(ann, "call.accepted", call)).joined.epoch, joined.epoch);
		await bob.call("signal.send", { room: call.room, to: "room", type: "x", data: 1 });
		await ann.until(() => ann.of("signal.received").length === 1, "the signal");
		await ann.close();
		assert.equal((await heard(bob, "call.ended", call)).reason, "hangup");
	});

	test("a lost session ends the call", async (t) => {
		const on = await own({ session: { resume_window: "100ms" } }, t);
		const lose = async (name, answer, gone, reason) => {
			const [caller, callee] = [await resuming(on, `caller-${name}`), await resuming(on, `callee-${name}`)];
			const call = await ring(caller, `callee-${name}`);
			await heard(callee, "call.incoming", call);
			if (answer) await callee.call("call.accept", { call: call.call });
			const [lost, left] = gone === "caller" ? [caller, callee] : [callee, caller];
			lost.cut();
			assert.equal((await heard(left, "call.ended", call)).reason, reason);
		};
		await Promise.all([
			lose("a", false, "caller", "cancelled"),
			lose("b", true, "caller", "hangup"),
			lose("c", true, "callee", "hangup"),
		]);
		assert.equal((await on.metrics()).signalbox_user_calls, 0);
	});

	test("a call rings on over a restart, and goes on", async (t) => {
		let on = await own({ session: { resume_window: "30s", drain_spread: "100ms" } }, t);
		const [ann, bob, carl, dora] = await Promise.all(["ann", "bob", "carl", "dora"].map((name) => resuming(on, name)));
		const all = [ann, bob, carl, dora];
		const talking = await ring(ann, "bob");
		const hers = await bob.call("call.accept", { call: talking.call });
		const ringing = await ring(carl, "dora", { data: { n: 1 } });
		const brief = await ring(dora, "ann");
		assert.equal((await heard(dora, "call.ended", brief)).reason, "busy");
		for (const workers of [1, 3, 2]) {
			const next = await on.successor({ t, workers });
			await on.exited();
			on = next;
			await Promise.all(all.map((who) => who.connect()));
			assert.ok(all.every(({ opened }) => opened.resumed));
			const metrics = await on.metrics();
			assert.equal(metrics.signalbox_user_calls, 2);
			assert.equal(metrics.signalbox_room_members, 2);
		}
		const late = await resuming(on, "dora");
		assert.deepEqual((await heard(late, "call.incoming", ringing)).data, { n: 1 });
		await late.call("call.accept", { call: ringing.call });
		await heard(carl, "call.accepted", ringing);
		assert.equal((await heard(dora, "call.ended", ringing)).reason, "answered_elsewhere");
		await bob.call("signal.send", { room: talking.room, to: "room", type: "x", data: 1 });
		assert.equal(hers.joined.members.length, 1);
		await bob.call("call.hangup", { call: talking.call });
		assert.equal((await heard(ann, "call.ended", talking)).reason, "hangup");
		await ann.until(() => ann.of("room.left").length > 0, "the end of the room");
		await carl.close();
		assert.equal((await heard(late, "call.ended", ringing)).reason, "hangup");
		assert.equal(of(ann, "call.ended", talking).length, 1);
		assert.equal(of(dora, "call.ended", ringing).length, 1);
	});

	test("what the process has not seen the end of is lost, and was missed if nobody had answered", async (t) => {
		const receiver = await new Receiver().listen(t);
		const config = { webhooks: [receiver.webhook({ events: ["call.*"] })] };
		const first = await own(config, t);
		const [ann, bob, carl] = await Promise.all(["ann", "bob", "carl"].map((name) => resuming(first, name)));
		const talking = await ring(ann, "bob");
		await bob.call("call.accept", { call: talking.call });
		const ringing = await ring(ann, "carl", { data: "x" });
		await heard(carl, "call.incoming", ringing);
		const accepted = ({ type, data }) => type === "call.accepted" && data.call === talking.call;
		await receiver.got((all) => all.some(accepted)); // it is on the disk
		await first.kill();
		const on = await own({ ...config }, t, 2, { data: first.data });
		const back = await resuming(on, "carl");
		await back.until(() => back.of("call.missed").length > 0, "what carl has missed");
		const entries = back.of("call.missed").flatMap(({ calls }) => calls);
		assert.deepEqual(entries.map(({ call, outcome, data }) => [call, outcome, data]), [[ringing.call, "lost", "x"]]);
		const [hers, his] = await Promise.all([resuming(on, "ann"), resuming(on, "bob")]);
		for (const [who, calls] of [[hers, [ringing, talking]], [his, [talking]]]) {
			const history = (await who.call("call.history", {})).calls;
			assert.deepEqual(history.map(({ call, outcome, seen }) => [call, outcome, seen]), calls.map(({ call }) => [call, "lost", true]));
		}
		assert.deepEqual([hers, his].flatMap((who) => who.of("call.missed")), []);
		const told = (call) => receiver.unique.filter(({ data }) => data.call === call.call).map(({ type, data }) => data.reason ? `${type} ${data.reason}` : type);
		await receiver.got(() => told(ringing).length === 3 && told(talking).length === 3);
		assert.deepEqual(told(talking), ["call.invited", "call.accepted", "call.ended lost"]);
		assert.deepEqual(told(ringing), ["call.invited", "call.ended lost", "call.missed lost"]);
	});

	test("webhooks are told, in order; and it rings for who is woken by one", async (t) => {
		const receiver = await new Receiver().listen(t);
		const on = await own({ webhooks: [receiver.webhook({ events: ["call.*"] })] }, t);
		const [ann] = [await resuming(on, "ann")];
		const call = await ring(ann, "bob", { data: { n: 1 } });
		assert.equal(call.ringing, 0);
		await receiver.got((all) => all.some(({ type, data }) => type === "call.invited" && data.call === call.call));
		const bob = await resuming(on, "bob"); // whom a push message has woken
		await heard(bob, "call.incoming", call);
		await bob.call("call.accept", { call: call.call });
		await ann.call("call.hangup", { call: call.call });
		const missed = await ring(ann, "bob");
		await ann.call("call.cancel", { call: missed.call });
		const told = ({ call: wanted }) => receiver.unique.filter(({ data }) => data.call === wanted);
		await receiver.got(() => told(call).length === 3 && told(missed).length === 3);
		assert.deepEqual(told(call).map(({ type }) => type), ["call.invited", "call.accepted", "call.ended"]);
		assert.deepEqual(told(missed).map(({ type, data }) => [type, data.reason]), [["call.invited", undefined], ["call.ended", "cancelled"], ["call.missed", "cancelled"]]);
		const [{ key, data }] = told(call);
		assert.equal(key, `call:${call.call}`);
		assert.deepEqual({ ...data, expires_at: 0 }, { call: call.call, room: call.room, caller: { user: id("ann"), name: data.caller.name }, callee: id("bob"), data: { n: 1 }, expires_at: 0 });
		assert.deepEqual(receiver.problems, []);
	});

	test("a backend that is asked who may join has its word about calls; who calls too often waits; the busy can be rung", async (t) => {
		const backend = await new Receiver().listen(t);
		backend.decide = ({ user, room }) => user === id("eve") || room === "closed" ? { allow: false, reason: "No." } : { allow: true };
		const on = await own({
			authorize: { url: backend.url, secret: backend.secret, on: ["join"] },
			calls: { busy: "ring", invitations_per_minute: 3 },
		}, t);
		const [ann, bob, eve] = await Promise.all(["ann", "bob", "eve"].map((name) => resuming(on, name)));
		const reason = (promise) => promise.then(() => "none", ({ data }) => data.reason);
		assert.equal(await reason(ring(eve, "bob")), "refused_by_backend");
		assert.equal(await reason(ring(ann, "bob", { room: "closed" })), "refused_by_backend");
		const refused = await ring(ann, "eve");
		assert.equal(await reason(eve.call("call.accept", { call: refused.call })), "refused_by_backend");
		assert.equal((await heard(ann, "call.ended", refused)).reason, "unreachable");
		const call = await ring(ann, "bob");
		await bob.call("call.accept", { call: call.call });
		const second = await ring(ann, "bob");
		assert.equal(second.ringing, 1);
		await bob.call("call.accept", { call: second.call });
		const error = await ring(ann, "bob").catch(({ data }) => data);
		assert.equal(error.reason, "calling_too_often");
		assert.ok(error.retry_after >= 1 && error.retry_after <= 20);
		await ann.close();
		for (const one of [call, second]) assert.equal((await heard(bob, "call.ended", one)).reason, "hangup");
		assert.deepEqual(backend.problems, []);
	});
});
