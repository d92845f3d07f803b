// Rooms, roles, moderation, history and recovery on four workers, with connections that are lost and come back: each step
// is a random one, and behind each the whole of it is held against a naive model: what was answered, what every session
// has heard of every room and in which order, who is there, and what the room holds.
//
// SEED=N repeats the choices of a run; OPERATIONS=N makes it longer.
import assert from "node:assert/strict";
import test from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { SEED, randomFrom } from "../support/random.mjs";
import { ResumingClient } from "../support/resuming.mjs";
import { anyPace, startServer } from "../support/server.mjs";
import { within } from "../support/within.mjs";

const STEPS = Number(process.env.OPERATIONS ?? 900);
const WORKERS = 4;
const RING = 12;
const OWNER = "olga";
const USERS = [OWNER, "mona", "ann", "bob", "cat"];
const SESSIONS = [...USERS, "ann", "bob", "mona"];
const RANK = { banned: -1, none: 0, viewer: 1, member: 2, moderator: 3, owner: 4 };
const config = { rooms: { history_messages: RING, history_messages_max: 10_000 }, limits: anyPace };
const { below, pick, chance } = randomFrom(SEED);

const span = (from, to) => Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i);
const trail = [];
const where = () => `(SEED=${SEED}, ${trail.length} steps)\n${trail.slice(-12).join("\n")}`;

// ---- the model ----

class Room {
	roles = new Map();
	muted = new Set();
	kicked = new Set();
	banned = new Set();
	locked = false;
	members = []; // {session, peer}, in the order they came
	messages = []; // by offset, from 1
	keys = new Map();
	epoch = null;

	constructor(name, durable, isPrivate) {
		Object.assign(this, { name, durable, isPrivate });
	}

	roleOf(user) {
		return this.banned.has(user) ? "banned" : this.given(user);
	}

	/** Without a ban. */
	given(user) {
		if (user === OWNER) return "owner";
		return this.roles.get(user) ?? (this.isPrivate ? "none" : "member");
	}

	rankOf(user) {
		return RANK[this.roleOf(user)];
	}

	memberOf(session) {
		return this.members.find((member) => member.session === session);
	}

	/** All of them hear it, but one. */
	tell(entry, but) {
		for (const { session } of this.members) if (session !== but) session.due(this).push(entry);
	}

	look(user) {
		const role = this.roleOf(user);
		return role === "banned" ? "banned" : role === "none" ? "room_private" : undefined;
	}

	mayEnter(user) {
		if (this.roleOf(user) === "banned") return "banned";
		if (this.kicked.has(user)) return "kicked";
		if (this.roleOf(user) === "none") return "room_private";
		return this.locked && this.rankOf(user) < RANK.moderator ? "room_locked" : undefined;
	}

	mayPublish(session) {
		const { user } = session;
		const role = this.roleOf(user);
		if (!this.memberOf(session)) {
			if (this.look(user)) return this.look(user);
			if (this.kicked.has(user)) return "kicked";
		}
		if (role === "viewer") return "viewer";
		if (this.muted.has(user)) return "muted";
		const present = this.members.some((member) => member.session.user === user);
		return present || RANK[role] >= RANK.moderator ? undefined : "not_a_member";
	}

	/** The oldest offset that is held. */
	get oldest() {
		return this.durable ? 1 : Math.max(1, this.messages.length - RING + 1);
	}

	add(session, facts) {
		const message = { offset: this.messages.length + 1, from: { peer: this.memberOf(session)?.peer ?? null, user: session.user }, ...facts };
		this.messages.push(message);
		this.tell(["message", { ...message }]);
		return message;
	}

	out(user, reason) {
		for (const member of [...this.members])
			if (member.session.user === user) {
				this.tell(["left", member.peer, reason]);
				this.members.splice(this.members.indexOf(member), 1);
			}
	}
}

/** A message of the service as the model has it; when it was edited it does not know. */
function plain({ offset, from, data, edits, redacts, edited_at, redacted }) {
	const message = { offset, from, data };
	return Object.assign(message, edits && { edits }, redacts && { redacts }, edited_at && { edited: true }, redacted && { redacted });
}

// ---- a session ----

class Session {
	#heard = new Map(); // room → entries
	#due = new Map();
	#read = 0;
	away = false;

	static async open(server, user) {
		const session = new Session();
		session.user = user;
		session.client = new ResumingClient(server, await server.mint(user));
		await session.client.connect();
		return session;
	}

	due(room) {
		if (!this.#due.has(room.name)) this.#due.set(room.name, []);
		return this.#due.get(room.name);
	}

	#take() {
		for (const { method, params } of this.client.events.slice(this.#read)) {
			if (!this.#heard.has(params.room)) this.#heard.set(params.room, []);
			const log = this.#heard.get(params.room);
			if (method === "room.joined") for (const member of params.members) log.push(["joined", member]);
			else if (method === "room.left") log.push(["left", params.peer, params.reason]);
			else if (method === "room.updated") log.push(["updated", params.peer, params.changes]);
			else if (method === "room.message") log.push(["message", plain(params)]);
			else if (method === "signal.received") log.push(["signal", params.from.peer, params.data]);
			else assert.fail(`an event ${method} ${where()}`);
		}
		this.#read = this.client.events.length;
	}

	/** Until it has heard as much as it had to; then it is what it had to be. */
	async caughtUp() {
		const rooms = [...new Set([...this.#due.keys(), ...this.#heard.keys()])];
		const heard = (name) => this.#heard.get(name) ?? [];
		const enough = () => (this.#take(), [...this.#due].every(([name, due]) => heard(name).length >= due.length));
		await this.client.until(enough, `events for ${this.user} ${where()}`);
		for (const name of rooms) {
			assert.deepEqual(heard(name), this.#due.get(name) ?? [], `${name} as ${this.user} heard it ${where()}`);
			this.#heard.set(name, []); // compared, and done with
			this.#due.set(name, []);
		}
	}

	/** {result} or {reason}; told the moment it is answered. */
	async ask(method, params) {
		return this.client.call(method, params).then(
			(result) => ({ result }),
			(error) => (error.data ? { reason: error.data.reason } : Promise.reject(error)),
		);
	}
}

// ---- what may happen; each says what it was ----

const entry = ({ session, peer }, polite, room) => ({
	peer, user: session.user, name: session.user, role: room.roleOf(session.user), muted: room.muted.has(session.user),
	state: null, connected: !session.away, polite,
});

/** Holds an answer against the model: refused for this reason, or not. */
function judged(answer, reason, what) {
	assert.deepEqual(answer.reason, reason, `${what}: ${JSON.stringify(answer).slice(0, 300)} ${where()}`);
	return answer.result;
}

function checkRecovery(room, result, since) {
	const top = result.offset;
	const right = since && since.epoch === room.epoch && since.offset <= top;
	const held = room.durable || top - since?.offset <= RING;
	assert.equal(result.recovered, Boolean(right && held), `recovered ${where()}`);
	const missed = result.recovered ? span(since.offset + 1, top) : [];
	assert.deepEqual(result.messages.map(plain), missed.map((offset) => room.messages[offset - 1]), `recovery ${where()}`);
}

/** The model of a join that was answered so; messages behind it were or will be heard. */
function joined(room, session, result, since) {
	let member = room.memberOf(session);
	const others = room.members.filter((other) => other !== member);
	assert.deepEqual(result.members, others.map((other) => entry(other, !member || room.members.indexOf(other) < room.members.indexOf(member), room)), `the roster ${where()}`);
	room.epoch ??= result.epoch;
	assert.equal(result.epoch, room.epoch);
	assert.deepEqual([result.role, result.muted], [room.roleOf(session.user), room.muted.has(session.user)]);
	if (member) assert.equal(result.peer, member.peer);
	else {
		member = { session, peer: result.peer };
		room.tell(["joined", entry(member, false, room)]);
		room.members.push(member);
	}
	checkRecovery(room, result, since);
}

const sinceOf = (room) =>
	chance(0.6) ? { epoch: chance(0.9) ? (room.epoch ?? "AAAAAAAAAAAA") : "BBBBBBBBBBBB", offset: below(room.messages.length + 2) } : undefined;

const acts = {
	async join(room, session) {
		const since = sinceOf(room);
		const reason = room.memberOf(session) ? undefined : room.mayEnter(session.user);
		const result = judged(await session.ask("room.join", { room: room.name, ...(since && { since }) }), reason, "join");
		if (result) joined(room, session, result, since);
	},
	async leave(room, session) {
		judged(await session.ask("room.leave", { room: room.name }), undefined, "leave");
		const member = room.memberOf(session);
		if (!member) return;
		room.members.splice(room.members.indexOf(member), 1);
		room.tell(["left", member.peer, "left"]);
	},
	async publish(room, session) {
		const key = chance(0.3) ? `key ${below(4)}` : undefined;
		const data = { n: below(1e6) };
		const reason = room.mayPublish(session);
		const result = judged(await session.ask("room.publish", { room: room.name, data, ...(key && { idempotency_key: key }) }), reason, "publish");
		if (!result) return;
		const known = room.keys.get(`${session.user} ${key}`);
		assert.equal(result.offset, known ?? room.messages.length + 1, `its offset ${where()}`);
		room.epoch ??= result.epoch;
		if (key) room.keys.set(`${session.user} ${key}`, result.offset);
		if (!known) room.add(session, { data });
	},
	/** Several at once, and somebody joins meanwhile. */
	async burst(room, session) {
		const senders = sessions.filter((one) => !one.away && !room.mayPublish(one));
		const joiner = pick(sessions.filter((one) => !one.away && !room.memberOf(one)));
		const before = room.messages.length;
		const since = room.epoch && { epoch: room.epoch, offset: before };
		const sent = span(1, 10).flatMap((n) => (senders.length ? [{ by: pick(senders), data: { burst: n, at: before } }] : []));
		const answers = sent.map(({ by, data }) => by.ask("room.publish", { room: room.name, data }));
		const enters = joiner && since && !room.mayEnter(joiner.user) && !senders.some((one) => one.user === joiner.user && !room.memberOf(one));
		const join = enters && joiner.ask("room.join", { room: room.name, since });
		const published = [];
		for (const [i, { result, reason }] of (await Promise.all(answers)).entries()) {
			assert.equal(reason, undefined, `burst ${where()}`);
			published[result.offset] = sent[i];
			room.epoch ??= result.epoch;
		}
		const answer = join && judged(await join, undefined, "join in a burst");
		const tell = (offset) => {
			assert.ok(published[offset], `offset ${offset} is nobody's ${where()}`);
			room.add(published[offset].by, { data: published[offset].data });
		};
		for (const offset of span(before + 1, answer ? answer.offset : before + sent.length)) tell(offset);
		if (!answer) return;
		joined(room, joiner, answer, since);
		for (const offset of span(answer.offset + 1, before + sent.length)) tell(offset);
	},
	async change(room, session) {
		const redacts = chance(0.5);
		const offset = 1 + below(room.messages.length + 2);
		const target = room.messages[offset - 1];
		const data = { edit: below(1e6) };
		const can = target && offset >= room.oldest && !target.edits && !target.redacts && !target.redacted;
		const mine = target?.from.user === session.user || (redacts && room.rankOf(session.user) >= RANK.moderator);
		const access = redacts ? (room.memberOf(session) ? undefined : room.look(session.user)) : room.mayPublish(session);
		const reason = access ?? (can ? (mine ? undefined : "not_yours") : "no_such_message");
		const method = redacts ? "room.redact" : "room.edit";
		const result = judged(await session.ask(method, { room: room.name, offset, ...(!redacts && { data }) }), reason, method);
		if (!result) return;
		assert.equal(result.offset, room.messages.length + 1);
		if (redacts) {
			for (const message of room.messages.filter((one) => one === target || one.edits === offset)) {
				Object.assign(message, { data: null, redacted: true });
				delete message.edited;
			}
			room.add(session, { data: null, redacts: offset });
		} else {
			Object.assign(target, { data, edited: true });
			room.add(session, { data, edits: offset });
		}
	},
	async history(room, session) {
		const reverse = chance(0.5);
		const limit = 1 + below(20);
		const since = sinceOf(room);
		const top = room.messages.length;
		const reason = room.look(session.user);
		const right = !since || (since.epoch === room.epoch && (reverse ? since.offset >= room.oldest && since.offset <= top + 1 : since.offset >= room.oldest - 1 && since.offset <= top));
		const answer = await session.ask("room.history", { room: room.name, limit, reverse, ...(since && { since }) });
		const result = judged(answer, reason ?? (right ? undefined : "history_gone"), "history");
		if (!result) return;
		room.epoch ??= result.epoch;
		const offsets = reverse ? span(room.oldest, since ? since.offset - 1 : top).reverse() : span(since ? since.offset + 1 : room.oldest, top);
		assert.deepEqual(result.messages.map(plain), offsets.slice(0, limit).map((offset) => room.messages[offset - 1]), `history ${where()}`);
		assert.deepEqual([result.epoch, result.offset, result.more], [room.epoch, top, offsets.length > limit]);
	},
	async signal(room, session) {
		const data = { s: below(1e6) };
		const me = room.memberOf(session);
		const target = chance(0.5) ? pick(room.members) : undefined;
		const user = pick(USERS);
		const to = target ? { peer: target.peer } : chance(0.5) ? { user } : "room";
		let reason = me || room.rankOf(session.user) >= RANK.moderator ? undefined : "not_a_member";
		if (me && room.roleOf(session.user) === "viewer") reason = "viewer";
		if (!me) return; // only members of the room, here
		const receivers = room.members.filter((one) => (target ? one === target : one !== me && (to === "room" || one.session.user === user)));
		if (!reason && !receivers.length && to !== "room") reason = "no_such_user";
		const result = judged(await session.ask("signal.send", { room: room.name, to, type: "x", data }), reason, "signal");
		if (!result) return;
		assert.equal(result.queued, receivers.length);
		for (const one of receivers) one.session.due(room).push(["signal", me.peer, data]);
	},
	async grant(room, session) {
		const user = pick(USERS);
		const role = pick(["moderator", "member", "viewer", "none"]);
		const mine = room.rankOf(session.user);
		const now = RANK[room.roles.get(user) ?? "none"];
		let reason = room.look(session.user) ?? (mine < RANK.moderator ? "not_moderator" : undefined);
		if (!reason && user === OWNER) reason = "outranked";
		if (!reason && mine < RANK.owner) reason = role === "moderator" ? "not_owner" : now >= RANK.moderator ? "outranked" : undefined;
		if (!judged(await session.ask("room.grant", { room: room.name, user, role }), reason, `grant ${user} ${role}`)) return;
		const was = room.roleOf(user);
		if (role === "none") room.roles.delete(user);
		else room.roles.set(user, role);
		const is = room.roleOf(user);
		if (is === "none") room.out(user, "kicked");
		else if (is !== was && is !== "banned")
			for (const { session: one, peer } of room.members) if (one.user === user) room.tell(["updated", peer, { role: is }]);
	},
	async moderate(room, session) {
		const user = pick(USERS);
		const what = pick(["mute", "mute", "unmute", "unmute", "kick", "ban", "unban", "unban"]);
		const above = room.rankOf(session.user) > RANK[room.given(user)];
		let reason = room.look(session.user) ?? (room.rankOf(session.user) < RANK.moderator ? "not_moderator" : undefined);
		if (what === "kick" && room.kicked.size) return; // it holds for a minute: once a room
		if (what === "unban" ? !reason && !room.banned.has(user) : false) reason = "not_banned";
		else if (what !== "unban" && !reason && !above) reason = "outranked";
		if (what === "ban" && room.banned.has(user)) return;
		const method = `room.${what.replace("unmute", "mute")}`;
		const result = judged(await session.ask(method, { room: room.name, user, ...(method === "room.mute" && { muted: what === "mute" }) }), reason, `${what} ${user}`);
		if (!result) return;
		if (method === "room.mute") {
			const changed = room.muted.has(user) !== (what === "mute");
			room.muted[what === "mute" ? "add" : "delete"](user);
			for (const { session: one, peer } of room.members) if (changed && one.user === user) room.tell(["updated", peer, { muted: what === "mute" }]);
		} else if (what === "unban") room.banned.delete(user);
		else {
			(what === "kick" ? room.kicked : room.banned).add(user);
			room.out(user, what === "kick" ? "kicked" : "banned");
		}
	},
	async lock(room, session) {
		const locked = chance(0.3);
		const reason = room.look(session.user) ?? (room.rankOf(session.user) < RANK.moderator ? "not_moderator" : undefined);
		if (!judged(await session.ask("room.lock", { room: room.name, locked }), reason, "lock")) return;
		if (room.locked !== locked) room.tell(["updated", undefined, { locked }]);
		room.locked = locked;
	},
	/** The room is over, and there is another one of its name. */
	async again(room, session) {
		if (session.user !== OWNER || chance(0.7)) return;
		judged(await session.ask("room.delete", { room: room.name }), undefined, "delete");
		for (const { session: one, peer } of room.members) one.due(room).push(["left", peer, "closed"]);
		const next = new Room(room.name, room.durable, room.isPrivate);
		rooms[rooms.indexOf(room)] = next;
		await make(session, next);
	},
	/** Its connection is lost; the others hear it. */
	async cut(room, session) {
		if (sessions.filter(({ away }) => away).length > 2) return;
		session.client.cut();
		session.away = true;
		for (const one of rooms) {
			const member = one.memberOf(session);
			if (member) one.tell(["updated", member.peer, { connected: false }], session);
		}
	},
	/** It ends, and its user opens another one. */
	async reopen(room, session) {
		await session.caughtUp();
		await session.client.close();
		session.away = true;
		for (const one of rooms) {
			const member = one.memberOf(session);
			if (!member) continue;
			one.members.splice(one.members.indexOf(member), 1);
			one.tell(["left", member.peer, "left"]);
			await within(gone(one, member), 30_000, "a session that has ended to leave its rooms"); // there may be nobody to be told
		}
		await everybodyCaughtUp(); // before it comes back, it has gone
		sessions[sessions.indexOf(session)] = await Session.open(server, session.user);
	},
};

async function gone({ name }, { peer }) {
	while ((await server.rpc("room.presence", { room: name })).members.some((member) => member.peer === peer)) await pause(2);
}

async function comeBack(session) {
	await session.client.connect();
	assert.ok(session.client.opened.resumed, where());
	session.away = false;
	for (const room of rooms) {
		const member = room.memberOf(session);
		if (member) room.tell(["updated", member.peer, { connected: true }], session);
	}
}

// ---- the run ----

let server;
const sessions = [];
const rooms = [new Room("kept", true, false), new Room("kept, private", true, true), new Room("memory", false, false), new Room("memory, private", false, true)];

const make = (session, { name, durable, isPrivate }) =>
	session.client.call("room.create", {
		room: name,
		visibility: isPrivate ? "private" : "public",
		history: { messages: durable ? 5000 : RING, age: 86400, durable },
	});

async function everybodyCaughtUp() {
	for (const session of sessions) if (!session.away) await session.caughtUp();
}

/** Behind each step: all have heard all, and the room says of itself what the model says. */
async function check(room) {
	await everybodyCaughtUp();
	const looker = sessions.find(({ away, user }) => !away && user === OWNER);
	if (!looker) return;
	const me = room.memberOf(looker);
	const { members } = await looker.client.call("room.presence", { room: room.name });
	const expected = room.members.filter((member) => member !== me).map((member) => [member.peer, !member.session.away]);
	assert.deepEqual(members.map(({ peer, connected }) => [peer, connected]), expected, `who is there ${where()}`);
}

const WEIGHTS = { join: 22, leave: 5, publish: 14, burst: 9, change: 10, history: 9, signal: 8, grant: 8, moderate: 9, lock: 3, again: 2, cut: 6, reopen: 2 };
const dice = Object.entries(WEIGHTS).flatMap(([name, weight]) => Array(weight).fill(name));

test("rooms as they are held against a model, step by step", async (t) => {
	t.diagnostic(`SEED=${SEED}`);
	server = await startServer({ t, workers: WORKERS, config });
	for (const user of SESSIONS) sessions.push(await Session.open(server, user));
	for (const room of rooms) await make(sessions[0], room);
	const counts = {};
	for (let step = 0; step < STEPS; step++) {
		const lost = sessions.find(({ away }) => away);
		if (lost && chance(0.25)) {
			trail.push(`${lost.user} comes back`);
			await comeBack(lost);
		}
		const name = pick(dice);
		const room = pick(rooms);
		const session = pick(sessions.filter(({ away }) => !away));
		trail.push(`${name}: ${session.user} in ${room.name}`);
		await acts[name](room, session);
		counts[name] = (counts[name] ?? 0) + 1;
		await check(rooms.find((one) => one.name === room.name));
	}
	for (const session of sessions.filter(({ away }) => away)) await comeBack(session);
	for (const room of rooms) await check(room);
	const offsets = rooms.map(({ messages }) => messages.length);
	t.diagnostic(`${JSON.stringify(counts)}, ${offsets} messages in the rooms`);
	assert.ok(offsets.reduce((a, b) => a + b) > STEPS / 4);
	for (const session of sessions) await session.client.close();
});
