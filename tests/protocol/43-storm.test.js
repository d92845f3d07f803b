// A thousand members of one room: they join at 100 a second, half of them leave at once, the rest change at
// once. Everybody knows in the end who is there and how, and nobody is told in more messages than may be.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import WebSocket from "ws";
import { anyNumber, anyPace, atOnce, startServer } from "../support/server.mjs";
import { nameConnection, record } from "../support/traffic.mjs";
import { within } from "../support/within.mjs";

const MEMBERS = 1000;
const PER_USER = 20; // sessions
const PER_SECOND = 100;
const OPENING = 50; // at a time
const MOST_MESSAGES = 60; // about the roster, while all join in the time that they should
const TELLINGS_PER_SECOND = 4;
const BURST = 9; // before the pauses begin
const WAIT_MS = 60_000;
const ROOM = "storm";

const server = await startServer({ workers: 2, config: { ...atOnce, limits: { ...anyPace, ...anyNumber } } });
after(() => server.stop());

/** As little of a client as can be asked for a thousand times; the traffic of a few is recorded. */
class Member {
	roster = new Map(); // peer → {state, connected, polite}, of the others
	messages = 0; // about the roster
	#pending = new Map();
	#ids = 0;
	#name;

	async open(token, recorded) {
		this.#name = recorded ? nameConnection() : undefined;
		this.socket = new WebSocket(server.wsUrl, "signalbox.v1", { perMessageDeflate: false });
		this.socket.on("message", (bytes) => this.#take(bytes.toString()));
		await within(
			new Promise((done, failed) => this.socket.once("open", done).once("error", failed)),
			WAIT_MS,
			"the handshake",
		);
		await this.call("session.open", { token });
	}

	#write(message) {
		const text = JSON.stringify({ jsonrpc: "2.0", ...message });
		if (this.#name) record("out", text, "ws", this.#name);
		this.socket.send(text);
	}

	call(method, params) {
		const id = ++this.#ids;
		this.#write({ id, method, params });
		const answer = new Promise((done, failed) => this.#pending.set(id, { done, failed }));
		return within(answer, WAIT_MS, `the answer to ${method}`);
	}

	#take(text) {
		if (this.#name) record("in", text, "ws", this.#name);
		const { id, result, error, method, params } = JSON.parse(text);
		if (method) {
			if (params.room) this.#event(method, params);
			return;
		}
		const { done, failed } = this.#pending.get(id);
		this.#pending.delete(id);
		if (error) failed(Object.assign(new Error(error.message), error));
		else {
			if (result.members) this.#learn(result.members); // now: the events behind it count from here
			done(result);
		}
	}

	#learn(members) {
		for (const { peer, state, connected, polite } of members) {
			assert.notEqual(peer, this.peer, "told of itself having joined");
			this.roster.set(peer, { state, connected, polite });
		}
	}

	#event(method, params) {
		this.messages++;
		const members = params.members ?? [params];
		if (method === "room.joined") this.#learn(members);
		for (const { peer, changes } of members)
			if (method === "room.left") this.roster.delete(peer);
			else if (method === "room.updated" && this.roster.has(peer)) Object.assign(this.roster.get(peer), changes);
	}

	/** Joins, and asks for the pages of the roster that the answer had no room for. */
	async join() {
		let page = await this.call("room.join", { room: ROOM });
		this.peer = page.peer;
		while (page.members_cursor)
			page = await this.call("room.presence", { room: ROOM, cursor: page.members_cursor });
	}
}

function cpuSeconds() {
	const fields = readFileSync(`/proc/${server.pid}/stat`, "utf8").split(") ")[1].split(" ");
	return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Does it, waits until it has come to everybody, and says what it cost. */
async function phase(t, what, act, members, holds) {
	const cpu = cpuSeconds();
	const begin = Date.now();
	for (const member of members) member.messages = 0;
	await act();
	const acted = (Date.now() - begin) / 1000;
	while (!members.every(holds)) {
		assert.ok(Date.now() - begin < WAIT_MS * 2, `${what}: not everybody has heard of it`);
		await new Promise((done) => setTimeout(done, 50));
	}
	const seconds = (Date.now() - begin) / 1000;
	const most = Math.max(...members.map(({ messages }) => messages));
	t.diagnostic(
		`${what}: ${acted.toFixed(1)} s, to everybody ${seconds.toFixed(1)} s, at most ${most} messages to one, ` +
			`${(cpuSeconds() - cpu).toFixed(2)} s of the server's processors`,
	);
	return { most, seconds };
}

/** What may be told in so many seconds. */
const allowed = (seconds) => Math.ceil(seconds * TELLINGS_PER_SECOND) + BURST;

const sleepUntil = (time) => new Promise((done) => setTimeout(done, Math.max(0, time - Date.now())));

test("a thousand join at 100 a second, half leave at once, the rest change at once", async (t) => {
	const all = Array.from({ length: MEMBERS }, () => new Member());
	const tokens = await Promise.all(
		Array.from({ length: MEMBERS / PER_USER }, (_, i) => server.mint(`user${i}`)),
	);
	for (let i = 0; i < MEMBERS; i += OPENING)
		await Promise.all(
			all.slice(i, i + OPENING).map((member, k) => member.open(tokens[(i + k) % tokens.length], i + k === 0 || i + k === 700)),
		);
	t.after(() => all.forEach(({ socket }) => socket.terminate()));

	const join = async () => {
		const begin = Date.now();
		const joins = [];
		for (const [i, member] of all.entries()) {
			await sleepUntil(begin + (i * 1000) / PER_SECOND);
			joins.push(member.join());
		}
		await Promise.all(joins);
	};
	const joined = await phase(t, "joining", join, all, ({ roster }) => roster.size === MEMBERS - 1);
	assert.ok(joined.most <= Math.max(MOST_MESSAGES, allowed(joined.seconds)), `${joined.most} messages`);
	for (const [i, member] of all.entries())
		for (const other of all.slice(i + 1)) {
			const [one, two] = [member.roster.get(other.peer), other.roster.get(member.peer)];
			if (one.polite === two.polite) assert.fail("of each pair one yields");
		}

	const staying = all.filter((_, i) => i % 2);
	const leave = () => Promise.all(all.filter((_, i) => i % 2 === 0).map((one) => one.call("room.leave", { room: ROOM })));
	const left = await phase(t, "leaving", leave, staying, ({ roster }) => roster.size === staying.length - 1);
	assert.ok(left.most <= allowed(left.seconds), `${left.most} messages`);
	const peers = staying.map(({ peer }) => peer).sort();
	for (const { roster, peer } of staying) assert.deepEqual([...roster.keys(), peer].sort(), peers);

	const change = () => Promise.all(staying.map((one, i) => one.call("room.state", { room: ROOM, state: { hand: i } })));
	const told = ({ roster }) => [...roster.values()].every(({ state }) => state);
	const changed = await phase(t, "changing", change, staying, told);
	assert.ok(changed.most <= allowed(changed.seconds), `${changed.most} messages`);
	for (const member of staying)
		for (const [i, { peer }] of staying.entries())
			if (peer !== member.peer) assert.equal(member.roster.get(peer).state.hand, i);
	assert.ok((await server.metrics()).signalbox_roster_changes_merged_total >= MEMBERS);
});
