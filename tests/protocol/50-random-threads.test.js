// Fifty sessions on four workers do thousands of things in random order, and each of them holds what
// it is told against a naive model of its rooms.
//
// The model stands on one promise: what a session hears of a room, answers to its own calls included,
// comes in the order in which it happened there. So a session's own list of who is in the room is
// exact whenever an answer comes: it says who should get the signal just sent, or that it had to be
// refused. Some rooms have an observer who joins first and stays: what any member hears there must be
// the observer's own list, from the member's joining to its leaving.
//
// SEED=N repeats the choices of a run (not the timing); OPERATIONS=N makes it longer.
import assert from "node:assert/strict";
import test from "node:test";
import { connect, within } from "../support/client.mjs";
import { SEED, randomFrom } from "../support/random.mjs";
import { anyPace, atOnce, startServer } from "../support/server.mjs";

const OPERATIONS = Number(process.env.OPERATIONS ?? 6000);
const SESSIONS = 50;
const WORKERS = 4;
const PENDING_MAX = 6;
const users = Array.from({ length: 16 }, (_, i) => `user${i}`);
const observed = ["watched-a", "watched-b", "watched-c", "kept-a"];
const rooms = [...observed, "kept-b", "loose-a", "loose-b", "loose-c"];
const SOON = 20_000;

const { random, pick, chance } = randomFrom(SEED);

// ---- what all sessions know together, for the reckoning at the end ----

const sessions = []; // every one that ever was
const memberships = new Map(); // peer → membership, once its session was told
const addressed = new Map(); // peer → session → numbers of its signals that had to come
const senders = new Map(); // peer → the session whose signals came from it
const published = new Map(); // room, epoch, offset → data
const counts = {};
const count = (what) => (counts[what] = (counts[what] ?? 0) + 1);
let signals = 0;

/** One session's stay in one room. */
class Membership {
	roster = new Map(); // peer → {user, state}
	log = []; // what was told to all: compared with the observer's
	heard = new Map(); // session → numbers of its signals, as they came
	constructor(session, room, { peer, epoch, offset }) {
		Object.assign(this, { session, room, peer, epoch, offset });
	}
}

function append(map, key, value) {
	if (!map.has(key)) map.set(key, []);
	map.get(key).push(value);
}

class Session {
	in = new Map(); // room → membership, as the answers said
	wants = new Set(); // rooms it will be in when all is answered
	pending = new Map(); // id → what to do with the answer
	strangers = []; // peers it once knew
	#ids = 1_000_000;
	#idle = [];

	static async open(server, user) {
		const session = new Session();
		session.number = sessions.length;
		sessions.push(session);
		session.user = user;
		session.client = await connect(server, { user });
		session.client.socket.on("message", (bytes) => session.take(JSON.parse(bytes)));
		session.client.closed.then(() => (session.ended = true));
		return session;
	}

	// ---- out ----

	ask(method, params, answered) {
		count(method);
		const id = ++this.#ids;
		const { request } = this.client.request(method, params, id);
		this.pending.set(id, { answered, method, params });
		this.client.raw(JSON.stringify(request));
	}

	/** Resolves when every call has its answer. */
	idle(most = 0) {
		if (this.pending.size <= most || this.ended) return Promise.resolve();
		return within(
			new Promise((done) => this.#idle.push({ most, done })),
			SOON,
			`answers to ${[...this.pending.values()].map(({ method }) => method)}`,
		);
	}

	join(room) {
		this.wants.add(room);
		const state = chance(0.5) ? { at: Math.floor(random() * 1000) } : undefined;
		this.ask("room.join", { room, ...(state && { state }) }, (error, joined) => {
			assert.equal(error, undefined);
			this.joined(room, joined);
		});
	}

	leave(room) {
		this.wants.delete(room);
		this.ask("room.leave", { room }, (error) => {
			assert.equal(error, undefined);
			this.in.delete(room);
		});
	}

	state(room) {
		const state = { at: Math.floor(random() * 1000) };
		this.ask("room.state", { room, state }, (error) => {
			assert.equal(error?.data.reason, this.in.has(room) ? undefined : "not_a_member");
		});
	}

	publish(room) {
		const data = { by: this.number, n: signals++ };
		this.ask("room.publish", { room, data }, (error, answer) => {
			assert.equal(error, undefined);
			const { epoch } = this.in.get(room);
			assert.equal(answer.epoch, epoch);
			// the message came before the answer, with this offset
			assert.deepEqual(published.get(`${room} ${epoch} ${answer.offset}`), data);
		});
	}

	signal(room, to) {
		const n = signals++;
		const type = pick(["offer", "answer", "candidate"]);
		const data = { by: this.number, n, to };
		const answered = (error, answer) => {
			const membership = this.in.get(room);
			if (!membership) return assert.equal(error?.data.reason, "not_a_member");
			const receivers = this.receivers(membership, to);
			if (receivers.length === 0 && to !== "room") {
				assert.equal(error?.code, -32004, `to nobody, but: ${JSON.stringify(answer)}`);
				return count("not_found");
			}
			assert.equal(error, undefined, `not sent, but ${receivers} are there`);
			assert.equal(answer.queued, receivers.length);
			for (const peer of receivers) {
				if (!addressed.has(peer)) addressed.set(peer, new Map());
				append(addressed.get(peer), this.number, n);
			}
		};
		this.ask("signal.send", { room, to, type, data }, Object.assign(answered, { signal: n }));
	}

	receivers({ roster }, to) {
		if (to === "room") return [...roster.keys()];
		if (to.peer) return roster.has(to.peer) ? [to.peer] : [];
		return [...roster].filter(([, { user }]) => user === to.user).map(([peer]) => peer);
	}

	// ---- in ----

	take(message) {
		if (message.method === "session.ack") return;
		if (message.method) return this.hear(message.method, message.params);
		const asked = this.pending.get(message.id);
		this.pending.delete(message.id);
		asked?.answered(message.error, message.result);
		this.#idle = this.#idle.filter(({ most, done }) => this.pending.size > most || done());
	}

	joined(room, answer) {
		const entries = answer.members.map(({ peer, user, state }) => [peer, { user, state }]);
		const before = this.in.get(room);
		if (before) {
			// once more: the same peer, and nothing that was not known
			assert.equal(answer.peer, before.peer);
			assert.deepEqual(entries, [...before.roster]);
			assert.equal(answer.offset, before.offset);
			return;
		}
		for (const { polite, connected } of answer.members) assert.ok(polite && connected);
		const membership = new Membership(this, room, answer);
		membership.roster = new Map(entries);
		membership.rosterAtFirst = entries;
		assert.ok(!memberships.has(answer.peer), "a peer's name was there before");
		memberships.set(answer.peer, membership);
		this.in.set(room, membership);
	}

	hear(event, params) {
		const membership = this.in.get(params.room);
		assert.ok(membership, `${event} of ${params.room}, where this session is not`);
		const { roster, log } = membership;
		const { peer } = params;
		switch (event) {
			case "room.joined":
				for (const { peer: other, user, state, polite, connected } of params.members) {
					assert.ok(!roster.has(other) && other !== membership.peer, "joined twice");
					assert.ok(!polite && connected);
					roster.set(other, { user, state });
					log.push({ joined: other, user, state });
				}
				break;
			case "room.left":
				assert.ok(roster.delete(peer), "left without having been there");
				this.strangers.push({ room: params.room, peer });
				log.push({ left: peer, reason: params.reason });
				break;
			case "room.updated":
				assert.ok(roster.has(peer));
				roster.set(peer, { ...roster.get(peer), ...params.changes });
				log.push({ updated: peer, ...params.changes });
				break;
			case "room.message":
				this.message(membership, params);
				break;
			case "signal.received":
				this.received(membership, params);
				break;
			default:
				assert.fail(`an event ${event}`);
		}
	}

	message(membership, { room, epoch, offset, from, data }) {
		assert.equal(epoch, membership.epoch);
		assert.equal(offset, ++membership.offset, "a hole, or a message twice");
		const key = `${room} ${epoch} ${offset}`;
		if (!published.has(key)) published.set(key, data);
		assert.deepEqual(data, published.get(key), "two messages with one offset");
		const known = membership.peer === from.peer ? this : membership.roster.get(from.peer);
		assert.equal(from.peer ? known?.user : "control", from.user);
		membership.log.push({ message: offset });
	}

	received(membership, { from, data }) {
		const { by, n, to } = data;
		assert.equal(membership.roster.get(from.peer)?.user, from.user);
		if (!senders.has(from.peer)) senders.set(from.peer, by);
		assert.equal(senders.get(from.peer), by);
		if (to.peer) assert.equal(to.peer, membership.peer);
		if (to.user) assert.equal(to.user, this.user);
		const before = membership.heard.get(by)?.at(-1) ?? -1;
		assert.ok(n > before, `signal ${n} of session ${by} came behind ${before}`);
		append(membership.heard, by, n);
		if (to === "room") membership.log.push({ by, signal: n });
	}

	/** Numbers of signals whose answer never came. */
	get unsure() {
		return new Set([...this.pending.values()].map(({ answered }) => answered.signal));
	}

	// ---- the end of it ----

	end(how) {
		count(how);
		this.ended = how;
		if (how === "terminate") this.client.terminate();
		else if (how === "close") this.client.socket.close(1000);
		else this.client.call("session.close").catch(() => {});
		for (const { done } of this.#idle.splice(0)) done();
	}
}

// ---- the random run ----

function act(session) {
	const here = [...session.wants];
	const room = pick(here.length ? here : rooms);
	const roster = [...(session.in.get(room)?.roster ?? [])];
	const dice = random();
	if (here.length === 0 || (dice < 0.12 && here.length < 4)) session.join(pick(rooms));
	else if (dice < 0.19) session.leave(room);
	else if (dice < 0.25) session.state(room);
	else if (dice < 0.38) session.publish(room);
	else if (dice < 0.48) session.signal(room, "room");
	else if (dice < 0.6) session.signal(room, { user: pick(users) });
	else if (dice < 0.65 && session.strangers.length) {
		const { room: then, peer } = pick(session.strangers);
		session.signal(then, { peer }); // it has left, or this session has
	} else if (roster.length) session.signal(room, { peer: pick(roster)[0] });
}

async function run(server, live) {
	const opening = new Set();
	for (let i = 0; i < OPERATIONS; i++) {
		const at = Math.floor(random() * live.length);
		const session = live[at];
		if (chance(0.012)) {
			session.end(pick(["terminate", "terminate", "close", "session.close"]));
			live.splice(at, 1);
			const opened = Session.open(server, pick(users)).then((next) => live.push(next));
			opening.add(opened.finally(() => opening.delete(opened)));
			if (opening.size > 8) await Promise.race(opening);
			continue;
		}
		await session.idle(PENDING_MAX);
		if (!session.ended) act(session);
		if (chance(0.1)) await new Promise(setImmediate);
	}
	await Promise.all(opening);
	await Promise.all(live.map((session) => session.idle()));
}

/** Every member of a room has heard everything once it has heard this. */
async function fence(server, live) {
	for (const room of rooms) {
		const members = live.map((session) => session.in.get(room)).filter(Boolean);
		if (members.length === 0) continue;
		const { offset, epoch } = await server.rpc("room.publish", { room, data: "the end" });
		for (const { session, ...membership } of members) {
			assert.equal(membership.epoch, epoch);
			while (session.in.get(room).offset < offset)
				await session.client.next(({ params }) => params.room === room && params.offset === offset);
		}
	}
}

// ---- the reckoning ----

/** Of each sender, all that was accepted, once and in order; of one cut off, perhaps some more. */
function reckonSignals() {
	let received = 0;
	for (const [peer, by] of senders) {
		const sender = memberships.get(peer)?.session ?? sessions[by]; // or it never heard its answer
		assert.equal(sender.number, by, "a signal came in another one's name");
	}
	for (const { session, peer, heard } of memberships.values()) {
		const due = addressed.get(peer) ?? new Map();
		for (const by of new Set([...heard.keys(), ...due.keys()])) {
			const must = due.get(by) ?? [];
			const may = sessions[by].unsure;
			const came = heard.get(by) ?? [];
			received += came.length;
			const sure = came.filter((n) => !may.has(n));
			const expected = session.ended ? must.slice(0, sure.length) : must;
			assert.deepEqual(sure, expected, `signals from session ${by} to session ${session.number}`);
		}
	}
	assert.ok(received > OPERATIONS / 2, `only ${received} signals were received`);
}

/** What members heard is what the observer heard. */
function reckonRooms(observers) {
	for (const observer of observers)
		for (const { room, peer, log } of observer.in.values()) {
			const starts = new Map(log.map((entry, i) => [entry.joined, i]));
			const ends = new Map(log.map((entry, i) => [entry.left, i]));
			for (const membership of memberships.values()) {
				if (membership.room !== room || membership.peer === peer) continue;
				const { session, peer: own } = membership;
				const start = starts.get(own);
				assert.notEqual(start, undefined, "a member whom the observer never saw");
				const slice = log.slice(start + 1, ends.get(own) ?? log.length);
				const heard = slice.filter(
					({ updated, by }) => updated !== own && by !== session.number,
				);
				if (session.ended) heard.length = Math.min(heard.length, membership.log.length);
				assert.deepEqual(membership.log, heard, `${room} as session ${session.number} heard it`);
				assert.deepEqual(membership.rosterAtFirst, rosterAt(observer, peer, log.slice(0, start)));
			}
		}
}

function rosterAt(observer, peer, log) {
	const roster = new Map([[peer, { user: observer.user, state: null }]]);
	for (const { joined, left, updated, user, state } of log) {
		if (joined) roster.set(joined, { user, state });
		if (left) roster.delete(left);
		if (updated) roster.get(updated).state = state;
	}
	return [...roster];
}

/** Who the server says is in each room are those who think so. */
async function reckonPresence(server, live) {
	for (const room of rooms) {
		const members = live.map((session) => session.in.get(room)).filter(Boolean);
		const { members: there } = await server
			.rpc("room.presence", { room })
			.catch(({ code }) => assert.equal(code, -32004) ?? { members: [] });
		const peers = (list) => list.map(({ peer }) => peer).sort();
		assert.deepEqual(peers(there), peers(members), room);
		for (const { peer, roster } of members)
			assert.deepEqual([peer, ...roster.keys()].sort(), peers(members), `${room} as a member sees it`);
	}
}

async function settled(server, expected) {
	const since = performance.now();
	for (;;) {
		const metrics = await server.metrics();
		const now = Object.fromEntries(Object.keys(expected).map((name) => [name, metrics[name]]));
		try {
			return assert.deepEqual(now, expected);
		} catch (error) {
			if (performance.now() - since > SOON) throw error;
		}
	}
}

test("fifty sessions on four workers are told exactly what happened", async (t) => {
	console.log(`seed ${SEED}`);
	// What goes wrong while a message is being handled is the test's failure, not the process's end.
	const failed = Promise.withResolvers();
	process.on("uncaughtException", failed.reject);
	const server = await startServer({ workers: WORKERS, config: { ...atOnce, limits: anyPace } });
	t.after(() => server.stop());
	for (const user of users) await server.mint(user);
	for (const room of rooms.filter((name) => name.startsWith("kept")))
		await server.rpc("room.create", { room });

	const whole = async () => {
		const observers = await Promise.all(["eye1", "eye2"].map((user) => Session.open(server, user)));
		for (const [i, room] of observed.entries()) observers[i % 2].ask("room.join", { room }, (error, joined) => {
			assert.equal(error, undefined);
			observers[i % 2].joined(room, joined);
		});
		await Promise.all(observers.map((observer) => observer.idle()));
		const live = await Promise.all(
			Array.from({ length: SESSIONS - 2 }, () => Session.open(server, pick(users))),
		);
		const workers = new Set(sessions.map(({ client }) => client.id.split(".")[0]));
		assert.equal(workers.size, WORKERS, "not every worker has a session");

		await run(server, live);
		const all = [...observers, ...live];
		await fence(server, all);
		await settled(server, {
			signalbox_sessions: all.length,
			signalbox_room_members: all.reduce((n, session) => n + session.in.size, 0),
		});
		await fence(server, all); // behind the last who were lost
		await reckonPresence(server, all);
		reckonSignals();
		reckonRooms(observers);

		for (const session of all) session.end(pick(["terminate", "close", "session.close"]));
		await settled(server, {
			signalbox_connections: 0,
			signalbox_sessions: 0,
			signalbox_room_members: 0,
			signalbox_rooms: 2, // those that are kept
		});
	};
	await Promise.race([whole(), failed.promise]);
	for (const what of ["terminate", "close", "session.close", "not_found"]) assert.ok(counts[what] > 0, what);
	t.diagnostic(JSON.stringify(counts));
});
