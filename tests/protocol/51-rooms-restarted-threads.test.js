// Rooms on four workers against a naive model of them: who may what by role, by token and by what moderators
// decided; what is published, changed and taken back; who comes back to what. A dozen sessions do random
// things one behind the other, lose their connections, end, and in the middle the service restarts.
//
// After each step: the answer is the model's; and what every session has heard of every room is a beginning
// of what the model says it should have heard, in that order, each once. Now and then all of it is there, and
// the service says of each room what the model does.
//
// SEED=N repeats the choices of a run; OPERATIONS=N makes it longer.
import assert from "node:assert/strict";
import test from "node:test";
import { foreignIssuer } from "../support/foreign.mjs";
import { SEED, randomFrom } from "../support/random.mjs";
import { ResumingClient, handleOf } from "../support/resuming.mjs";
import { anyNumber, anyPace, startServer } from "../support/server.mjs";

const STEPS = Number(process.env.OPERATIONS ?? 1200);
const LOOK_EVERY = 35;
const WORKERS = 4;
const HELD = 30; // messages, of a room in memory
const KEPT = 60; // of the durable one, at least
const KEYS = 5;
const { below, pick, chance } = randomFrom(SEED);

const issuer = await foreignIssuer("f");
const full = (name) => `f|${name}`;
const OWNER = full("n0");
const MODERATOR = full("n5"); // by the scope of its token
const people = Array.from({ length: 6 }, (_, i) => `n${i}`);
const ORDER = ["none", "banned", "viewer", "member", "moderator", "owner"];
const rank = (role) => ORDER.indexOf(role);

const config = {
	issuers: [issuer.config],
	rooms: { history_messages: HELD, history_messages_max: KEPT },
	session: { resume_window: "10m", drain_spread: "0s" },
	limits: { ...anyPace, ...anyNumber },
};

// ---- the model ----

class Room {
	roles = new Map(); // user → role given
	muted = new Map(); // user → "all" or nothing, of signals
	banned = new Set();
	kicked = new Set(); // for longer than this runs
	members = []; // in the order they came
	messages = []; // offset - 1 → message
	keys = new Map(); // user and key → offset
	locked = false;
	private = false;

	constructor(name, { kept = true, durable = false, hidden = false } = {}) {
		Object.assign(this, { name, kept, durable, private: hidden, owner: kept ? OWNER : null });
	}

	granted(user) {
		return this.roles.get(user) ?? "none";
	}

	/** By what the room says; scopes: of the token. */
	ruled(user, scopes = "") {
		let role = this.granted(user);
		if (role === "none" && !this.private) role = "member";
		if (this.owner === user) return "owner";
		if (rank(role) < rank("moderator") && scopes.includes("rooms:moderate")) return "moderator";
		return role;
	}

	role({ user, scopes }) {
		return this.banned.has(user) ? "banned" : this.ruled(user, scopes);
	}

	/** One that is not kept ends with the last who leaves, and all that was decided in it. */
	get gone() {
		return !this.kept && !this.members.length;
	}

	forget() {
		for (const part of [this.roles, this.muted, this.banned, this.kicked, this.keys]) part.clear();
		this.messages = [];
		this.locked = false;
		this.epoch = undefined;
	}

	/** Why the room may not be looked at. */
	look(who) {
		if (this.gone) return "no_such_room";
		const role = this.role(who);
		return role === "banned" ? "banned" : role === "none" ? "room_private" : undefined;
	}

	enter(who) {
		const why = this.gone ? undefined : this.look(who); // whoever joins makes it
		if (why && why !== "room_private") return why;
		if (this.kicked.has(who.user)) return "kicked";
		if (why) return why;
		return this.locked && rank(this.role(who)) < rank("moderator") ? "room_locked" : undefined;
	}

	moderate(who) {
		return this.look(who) ?? (rank(this.role(who)) < rank("moderator") ? "not_moderator" : undefined);
	}

	outranked(who, user) {
		if (who.user === user) return "outranked"; // nobody acts on themselves
		const theirs = [this.ruled(user), ...this.of(user).map(({ seat }) => this.ruled(user, seat.scopes))];
		return rank(this.role(who)) <= Math.max(...theirs.map(rank)) ? "outranked" : undefined;
	}

	publish(seat) {
		const member = this.member(seat);
		if (member) return member.role === "viewer" ? "viewer" : member.muted ? "muted" : undefined;
		const why = this.look(seat);
		if (why) return why;
		if (this.kicked.has(seat.user)) return "kicked";
		const role = this.role(seat);
		if (role === "viewer") return "viewer";
		if (this.muted.has(seat.user)) return "muted";
		const there = this.of(seat.user).some((one) => one.role !== "viewer");
		return rank(role) >= rank("moderator") || there ? undefined : "not_a_member";
	}

	signal(seat) {
		const member = this.member(seat);
		if (!member && rank(this.role(seat)) < rank("moderator")) return "not_a_member";
		if (this.gone) return "no_such_room";
		if (member?.role === "viewer") return "viewer";
		if (!member && this.kicked.has(seat.user)) return "kicked";
		return this.muted.get(seat.user) === "all" ? "muted" : undefined;
	}

	member = (seat) => this.members.find((one) => one.seat === seat);
	of = (user) => this.members.filter(({ seat }) => seat.user === user);

	/** Everybody in it hears this, but one. */
	tell(event, but) {
		for (const { seat } of this.members) if (seat !== but) seat.due(this.name).push(event);
	}

	add(seat, peer, state) {
		const user = seat.user;
		const member = { seat, peer, user, role: this.role(seat), state, connected: true, muted: this.muted.has(user) };
		this.tell(["joined", ...entry(member)]);
		this.members.push(member);
		return member;
	}

	/** All hear it; of those who are put out, they themselves too. */
	remove(member, reason) {
		const put_out = reason === "kicked" || reason === "banned";
		this.tell(["left", member.peer, reason], put_out ? undefined : member.seat);
		this.members.splice(this.members.indexOf(member), 1);
		if (this.gone) this.forget();
	}

	put_out(user, reason) {
		const out = this.of(user);
		for (const member of out) this.remove(member, reason);
		return out.length;
	}

	/** The rules have changed: for this user, or for all. */
	meet(user) {
		for (const member of [...this.members]) {
			if (user && member.user !== user) continue;
			const role = this.role(member.seat);
			if (rank(role) <= rank("banned")) this.remove(member, "kicked");
			else if (role !== member.role) {
				member.role = role;
				this.tell(["updated", member.peer, { role }]);
			}
		}
	}

	say(seat, data, news = {}) {
		const message = { offset: this.messages.length + 1, peer: this.member(seat)?.peer ?? null, user: seat.user, data, ...news };
		this.messages.push(message);
		this.tell(["message", ...written(message)]);
		return message.offset;
	}

	get held() {
		return this.durable ? KEPT : HELD;
	}

	/** The message, if it can be changed. */
	changeable(offset) {
		const message = this.messages[offset - 1];
		const there = message && offset > this.messages.length - this.held;
		return there && !message.edits && !message.redacts && !message.redacted ? message : undefined;
	}
}

const entry = ({ peer, user, role, state, connected, muted }) => [peer, user, role, state, connected, muted];
const written = ({ offset, peer, user, data, edits = 0, redacts = 0, edited = false, redacted = false }) => [
	...[offset, peer, user, data, edits, redacts, edited, redacted],
];
const read = ({ offset, from, data, edits, redacts, edited_at, redacted }) =>
	written({ offset, ...from, data, edits, redacts, edited: edited_at > 0, redacted });

const rooms = [
	new Room("public"),
	new Room("private", { hidden: true }),
	new Room("durable", { durable: true }),
	new Room("loose", { kept: false }),
];

// ---- sessions ----

class Seat {
	client = null;
	cut = false;
	#due = new Map(); // room → what it should have heard
	#heard = new Map();
	last = new Map(); // room → position, of this session or one before

	constructor(number, name) {
		Object.assign(this, { number, name, user: full(name) });
		this.scopes = `rooms:join rooms:create${this.user === MODERATOR ? " rooms:moderate" : ""}`;
	}

	due = (room) => list(this.#due, room);
	heard = (room) => list(this.#heard, room);

	async open(server) {
		const token = await issuer.token(this.name, { scope: this.scopes });
		this.client = new ResumingClient(server, token);
		this.#due.clear();
		this.#heard.clear();
		await this.client.connect(null);
	}

	/** Takes in what has come since; each room's in its order. */
	listen() {
		for (const { method, params } of this.client.events.splice(0)) this.#hear(method, params);
	}

	#hear(method, params) {
		const heard = this.heard(params.room ?? "");
		const each = params.members ?? [params];
		if (method === "room.joined") for (const one of each) heard.push(["joined", ...entry(one)]);
		else if (method === "room.left") for (const { peer, reason } of each) heard.push(["left", peer, reason]);
		else if (method === "room.updated" && !params.peer && params.changes) heard.push(["room", params.changes]);
		else if (method === "room.updated") for (const { peer, changes } of each) heard.push(["updated", peer, changes]);
		else if (method === "room.message") {
			heard.push(["message", ...read(params)]);
			this.last.set(params.room, { epoch: params.epoch, offset: params.offset });
		} else if (method === "signal.received") heard.push(["signal", params.from.peer, params.type, params.data]);
		else if (method !== "session.closing") heard.push([method]);
	}

	/** What it has heard is a beginning of what it should. True: it is all of it. */
	check() {
		if (!this.client) return true;
		this.listen();
		let whole = true;
		for (const room of rooms.map(({ name }) => name)) {
			const [due, heard] = [this.due(room), this.heard(room)];
			if (heard.length < due.length) whole = false;
			assert.deepEqual(heard, due.slice(0, heard.length), `seat ${this.number} in ${room}`);
		}
		assert.deepEqual(this.heard(""), []);
		return whole || this.cut;
	}
}

function list(map, key) {
	if (!map.has(key)) map.set(key, []);
	return map.get(key);
}

const seats = Array.from({ length: 12 }, (_, i) => new Seat(i, people[i % people.length]));
const counts = {};
let server, unique = 0;

/** The answer is as expected: the error's reason, or a result, which is returned. */
async function outcome(asked, reason, what) {
	const done = await asked.then(
		(result) => ({ result }),
		(error) => {
			if (!error.data) throw error;
			return { reason: error.data.reason, data: error.data };
		},
	);
	counts[`${what} ${done.reason ?? "ok"}`] = (counts[`${what} ${done.reason ?? "ok"}`] ?? 0) + 1;
	assert.equal(done.reason, reason, `${what}: ${JSON.stringify(done)}`);
	return done.result;
}

// ---- what happens ----

const acts = {
	async join(seat, room) {
		const member = room.member(seat);
		const reason = member ? undefined : room.enter(seat);
		const state = chance(0.3) ? { n: unique++ } : undefined;
		const since = seat.last.get(room.name);
		const params = { room: room.name, ...(state && { state }), ...(since && chance(0.8) && { since }) };
		const joined = await outcome(seat.client.call("room.join", params), reason, "join");
		if (reason) return;
		if (member && state) acts.changed(room, member, { state });
		const others = room.members.filter((one) => one.seat !== seat);
		assert.deepEqual(joined.members.map(entry), others.map(entry));
		const mine = member ?? room.add(seat, joined.peer, state ?? null);
		assert.deepEqual([joined.peer, joined.role, joined.muted], [mine.peer, mine.role, mine.muted]);
		const place = room.members.indexOf(mine);
		assert.deepEqual(
			joined.members.map(({ polite }) => polite),
			others.map((one) => room.members.indexOf(one) < place),
		);
		assert.equal(joined.offset, room.messages.length);
		room.epoch ??= joined.epoch;
		assert.equal(joined.epoch, room.epoch);
		acts.recovered(room, params.since?.epoch === room.epoch ? params.since : undefined, joined);
		seat.last.set(room.name, { epoch: joined.epoch, offset: joined.offset });
	},

	/** Complete, or refused: and not refused when all is held. */
	recovered(room, since, { recovered, messages }) {
		const missed = since ? room.messages.length - since.offset : Infinity;
		if (missed <= room.held) assert.equal(recovered, true, `${missed} messages of ${room.name}`);
		else if (!room.durable) assert.equal(recovered, false); // what is kept is taken out a while later
		assert.deepEqual(messages.map(read), recovered ? room.messages.slice(since.offset).map(written) : []);
	},

	changed(room, member, changes) {
		Object.assign(member, changes);
		room.tell(["updated", member.peer, changes], member.seat);
	},

	async leave(seat, room) {
		await outcome(seat.client.call("room.leave", { room: room.name }), undefined, "leave");
		const member = room.member(seat);
		if (member) room.remove(member, "left");
	},

	async state(seat, room) {
		const [member, state] = [room.member(seat), { n: unique++ }];
		const reason = member ? undefined : "not_a_member";
		await outcome(seat.client.call("room.state", { room: room.name, state }), reason, "state");
		if (member) acts.changed(room, member, { state });
	},

	async publish(seat, room) {
		const key = chance(0.3) ? `key ${below(KEYS)}` : undefined;
		const known = key && room.keys.get(`${seat.user} ${key}`);
		const data = unique++;
		const params = { room: room.name, data, ...(key && { idempotency_key: key }) };
		const reason = room.publish(seat);
		const answer = await outcome(seat.client.call("room.publish", params), reason, "publish");
		if (reason) return;
		assert.equal(answer.offset, known ?? room.say(seat, data));
		if (key && !known) room.keys.set(`${seat.user} ${key}`, answer.offset);
	},

	/** Several at once: each is told once, to all in the same order, which the offsets say. */
	async burst(seat, room) {
		const who = seats.filter((one) => one.client && !one.cut && room.member(one) && !room.publish(one));
		const all = who.flatMap((one) => [1, 2, 3].map(() => ({ one, data: unique++ })));
		const answers = await Promise.all(
			all.map(({ one, data }) => one.client.call("room.publish", { room: room.name, data })),
		);
		const order = answers.map(({ offset }, i) => ({ offset, ...all[i] })).sort((a, b) => a.offset - b.offset);
		for (const { offset, one, data } of order) assert.equal(room.say(one, data), offset);
		for (const one of who) {
			const own = order.filter((message) => message.one === one).map(({ data }) => data);
			assert.deepEqual(own, own.toSorted((a, b) => a - b), "one sender's messages changed places");
		}
	},

	async edit(seat, room) {
		const offset = Math.max(1, room.messages.length - below(HELD - 2));
		const target = room.changeable(offset);
		const data = unique++;
		const reason =
			room.publish(seat) ?? (!target ? "no_such_message" : target.user !== seat.user ? "not_yours" : undefined);
		await outcome(seat.client.call("room.edit", { room: room.name, offset, data }), reason, "edit");
		if (reason) return;
		Object.assign(target, { data, edited: true });
		room.say(seat, data, { edits: offset });
	},

	async redact(seat, room) {
		const offset = Math.max(1, room.messages.length - below(HELD - 2));
		const [target, member] = [room.changeable(offset), room.member(seat)];
		const may = target?.user === seat.user || rank(member?.role ?? room.role(seat)) >= rank("moderator");
		const reason = (member ? undefined : room.look(seat)) ?? (!target ? "no_such_message" : may ? undefined : "not_yours");
		await outcome(seat.client.call("room.redact", { room: room.name, offset }), reason, "redact");
		if (reason) return;
		for (const message of [target, ...room.messages.filter(({ edits }) => edits === offset)])
			Object.assign(message, { data: null, redacted: true, edited: false });
		room.say(seat, null, { redacts: offset });
	},

	async history(seat, room) {
		const reverse = chance(0.5);
		const limit = 1 + below(HELD);
		const reason = room.look(seat);
		const params = { room: room.name, reverse, limit };
		const page = await outcome(seat.client.call("room.history", params), reason, "history");
		if (reason) return;
		const found = page.messages.map(read);
		const from = reverse ? room.messages.length - found.length : page.messages[0]?.offset - 1 || 0;
		const expected = room.messages.slice(from, from + found.length).map(written);
		assert.deepEqual(found, reverse ? expected.reverse() : expected);
		assert.equal(found.length, Math.min(limit, Math.max(found.length, Math.min(room.held, room.messages.length))));
		assert.equal(page.offset, room.messages.length);
	},

	async signal(seat, room) {
		const member = room.member(seat);
		const others = room.members.filter((one) => one !== member);
		const [to, receivers] = pick([
			() => ["room", others],
			() => {
				const user = full(pick(people));
				return [{ user }, others.filter((one) => one.user === user)];
			},
			() => {
				const peer = others.length ? pick(others).peer : "nobody";
				return [{ peer }, others.filter((one) => one.peer === peer)];
			},
		])();
		const [type, data] = [pick(["offer", "chat"]), unique++];
		const missing = to === "room" || receivers.length ? undefined : to.user ? "no_such_user" : "no_such_peer";
		const reason = room.signal(seat) ?? missing;
		const params = { room: room.name, to, type, data };
		const answer = await outcome(seat.client.call("signal.send", params), reason, "signal");
		if (reason) return;
		assert.equal(answer.queued, receivers.length);
		for (const one of receivers) one.seat.due(room.name).push(["signal", member?.peer ?? null, type, data]);
	},

	async grant(seat, room) {
		const [user, role] = [full(pick(people)), pick(["moderator", "member", "viewer", "none"])];
		const [mine, now] = [rank(room.role(seat)), rank(room.granted(user))];
		const [owner, moderator] = [rank("owner"), rank("moderator")];
		const reason =
			room.moderate(seat) ??
			(room.owner === user
				? "outranked"
				: mine < owner && rank(role) >= moderator
					? "not_owner"
					: mine < owner && now >= moderator
						? "outranked"
						: undefined);
		await outcome(seat.client.call("room.grant", { room: room.name, user, role }), reason, "grant");
		if (reason) return;
		if (role === "none") room.roles.delete(user);
		else room.roles.set(user, role);
		room.meet(user);
	},

	async mute(seat, room) {
		const [user, muted] = [full(pick(people)), chance(0.5)];
		const signals = muted && chance(0.5) ? "all" : undefined;
		const reason = room.moderate(seat) ?? room.outranked(seat, user);
		const params = { room: room.name, user, muted, ...(signals && { signals }) };
		await outcome(seat.client.call("room.mute", params), reason, "mute");
		if (reason) return;
		if (muted) room.muted.set(user, signals);
		else room.muted.delete(user);
		for (const member of room.of(user)) {
			if (member.muted === muted) continue;
			member.muted = muted;
			room.tell(["updated", member.peer, { muted }]);
		}
	},

	async kick(seat, room) {
		const user = full(pick(people));
		const reason = room.moderate(seat) ?? room.outranked(seat, user);
		const answer = await outcome(seat.client.call("room.kick", { room: room.name, user }), reason, "kick");
		if (reason) return;
		room.kicked.add(user);
		assert.equal(answer.peers, room.put_out(user, "kicked"));
	},

	async ban(seat, room) {
		const user = full(pick(people));
		const reason = room.moderate(seat) ?? room.outranked(seat, user);
		await outcome(seat.client.call("room.ban", { room: room.name, user }), reason, "ban");
		if (reason) return;
		room.banned.add(user);
		room.put_out(user, "banned");
	},

	async unban(seat, room) {
		const user = room.banned.size && chance(0.8) ? pick([...room.banned]) : full(pick(people));
		const reason = room.moderate(seat) ?? (room.banned.has(user) ? undefined : "not_banned");
		await outcome(seat.client.call("room.unban", { room: room.name, user }), reason, "unban");
		if (!reason) room.banned.delete(user);
	},

	async lock(seat, room) {
		const locked = chance(0.4);
		const reason = room.moderate(seat);
		await outcome(seat.client.call("room.lock", { room: room.name, locked }), reason, "lock");
		if (reason || room.locked === locked) return;
		room.locked = locked;
		room.tell(["room", { locked }]);
	},

	async hide(seat, room) {
		if (!room.kept) return;
		const visibility = chance(0.6) ? "public" : "private";
		const why = room.moderate(seat);
		const reason = why ?? (room.role(seat) === "owner" ? undefined : "not_owner");
		await outcome(seat.client.call("room.update", { room: room.name, visibility }), reason, "update");
		if (reason || room.private === (visibility === "private")) return;
		room.private = visibility === "private";
		room.tell(["room", { visibility }]);
		room.meet();
	},

	/** Its connection is gone; the others see it. */
	async lose(seat) {
		seat.cut = true;
		seat.client.cut();
		for (const room of rooms) {
			const member = room.member(seat);
			if (!member) continue;
			await seen(room, member, false);
			acts.changed(room, member, { connected: false });
		}
	},

	async resume(seat) {
		assert.equal((await seat.client.connect()).resumed, true);
		seat.cut = false;
		for (const room of rooms) {
			const member = room.member(seat);
			if (!member) continue;
			await seen(room, member, true);
			acts.changed(room, member, { connected: true });
		}
	},

	/** The session ends: as its client wants, or the operator. */
	async end(seat) {
		const clean = !seat.cut && chance(0.5);
		const handle = handleOf(seat.client.opened.session);
		if (clean) await seat.client.close();
		else await server.rpc("session.end", { session: handle });
		seat.client.cut();
		seat.client = null;
		for (const room of rooms) {
			const member = room.member(seat);
			if (!member) continue;
			await seen(room, member, undefined);
			room.remove(member, clean ? "left" : "lost");
		}
	},
};

const OFTEN = ["join", "join", "join", "join", "leave", "state", "publish", "publish", "publish", "publish", "edit", "edit"];
const SOMETIMES = ["redact", "history", "history", "signal", "signal", "signal", "grant", "grant", "mute", "mute", "burst"];
const SELDOM = ["ban", "unban", "unban", "lock", "hide"];
const RARELY = ["kick"];

/** Until the service says that the member is connected, is not, or (undefined) is no member. */
async function seen(room, { peer }, connected) {
	for (;;) {
		const { members } = await server
			.rpc("room.presence", { room: room.name })
			.catch(({ data }) => assert.equal(data.reason, "no_such_room") ?? { members: [] });
		if (members.find((one) => one.peer === peer)?.connected === connected) return;
	}
}

async function step() {
	const seat = pick(seats);
	if (!seat.client) return seat.open(server);
	if (chance(0.08)) return acts[seat.cut ? (chance(0.8) ? "resume" : "end") : chance(0.7) ? "lose" : "end"](seat);
	if (seat.cut) return acts.resume(seat);
	const dice = chance(0.55) ? OFTEN : chance(0.7) ? SOMETIMES : chance(0.9) ? SELDOM : RARELY;
	return acts[pick(dice)](seat, pick(rooms));
}

// ---- looking ----

/** Everybody has heard all they should, and the service says of each room what the model does. */
async function look() {
	for (const seat of seats)
		if (seat.client && !seat.cut) await seat.client.until(() => seat.check(), `seat ${seat.number} to hear all`);
	for (const room of rooms) {
		if (room.gone) continue;
		const { members } = await server.rpc("room.presence", { room: room.name });
		assert.deepEqual(members.map(entry), room.members.map(entry), room.name);
		const { messages } = await server.rpc("room.history", { room: room.name, limit: 1000 });
		const held = room.messages.slice(room.messages.length - messages.length);
		assert.deepEqual(messages.map(read), held.map(written), room.name);
		const least = Math.min(room.messages.length, room.held);
		assert.ok(messages.length >= least, `${messages.length} of ${least} are there in ${room.name}`);
	}
	for (const room of rooms.filter(({ kept }) => kept)) {
		const { bans } = await server.rpc("room.bans", { room: room.name });
		assert.deepEqual(bans.map(({ user }) => user), [...room.banned].sort(), room.name);
		const { roles } = await server.rpc("room.roles", { room: room.name });
		assert.deepEqual(
			roles.map(({ user, role }) => [user, role]),
			[...room.roles].filter(([user]) => user !== OWNER).sort(),
			room.name,
		);
	}
}

async function restart(t) {
	await server.stop();
	server = await startServer({ t, workers: WORKERS, config, data: server.data, listen: `127.0.0.1:${server.port}` });
	for (const seat of seats) {
		if (!seat.client || seat.cut) continue;
		await seat.client.closed;
		assert.equal((await seat.client.connect()).resumed, true);
	}
}

test(`rooms are what the model says (SEED=${SEED} OPERATIONS=${STEPS})`, async (t) => {
	server = await startServer({ t, workers: WORKERS, config });
	for (const seat of seats) await seat.open(server);
	const [owner] = seats; // of the kept rooms
	for (const room of rooms.filter(({ kept }) => kept))
		await owner.client.call("room.create", {
			room: room.name,
			visibility: room.private ? "private" : "public",
			...(room.durable && { history: { messages: KEPT, durable: true } }),
		});
	const watcher = seats.pop(); // in each room from the first on
	watcher.name = "n0";
	await watcher.client.close();
	Object.assign(watcher, { user: OWNER, scopes: "rooms:join rooms:create" });
	await watcher.open(server);
	for (const room of rooms) await acts.join(watcher, room);
	for (let i = 1; i <= STEPS; i++) {
		await step();
		for (const seat of [...seats, watcher]) seat.check();
		if (i === Math.floor(STEPS / 2)) {
			seats.push(watcher);
			await look();
			await restart(t);
			await look();
			seats.pop();
		}
		if (i % LOOK_EVERY) continue;
		seats.push(watcher);
		await look();
		seats.pop();
	}
	t.diagnostic(JSON.stringify(counts));
});
