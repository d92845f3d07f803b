// A hand-over while everybody is busy: nobody is refused, nothing is lost or doubled, and they do not all
// come back at once. HAND_OVER_SESSIONS=2000 is the whole of it.
import assert from "node:assert/strict";
import { connect as connectTo } from "node:net";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ResumingClient } from "../support/resuming.mjs";
import { startServer } from "../support/server.mjs";

const SESSIONS = Number(process.env.HAND_OVER_SESSIONS ?? 300);
const ROOM = 10; // members
const PER_USER = 25; // sessions
const TICK_MS = 50;
const SIGNALS_A_TICK = 40;
const PUBLISHED_A_TICK = 3;
const SPREAD_S = 12;
const NO_ADDRESS_LIMITS = { connections_per_address: 0, handshakes_per_second: 0 }; // all come from one

/** A newcomer all the time: how long each waited, and what went wrong. */
function newcomers(port) {
	const waits = [];
	const wrong = [];
	let going = true;
	const one = () =>
		new Promise((done) => {
			const began = performance.now();
			const socket = connectTo(port, "127.0.0.1");
			let text = "";
			socket.on("connect", () => socket.write("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"));
			socket.on("data", (data) => (text += data));
			socket.on("error", (error) => wrong.push(error.message));
			socket.on("close", () => {
				waits.push(performance.now() - began);
				if (!/^HTTP\/1.1 (200|503)/.test(text)) wrong.push(text || "closed without a word");
				done();
			});
		});
	const ends = [1, 2].map(async () => {
		while (going) {
			await one();
			await sleep(5);
		}
	});
	return async () => {
		going = false;
		await Promise.all(ends);
		assert.deepEqual(wrong, []);
		return { count: waits.length, longest: Math.max(...waits) };
	};
}

/** A client that does what it is told by session.closing; one that was cut chooses its own time. */
class Member extends ResumingClient {
	returned = [];
	#left = false;
	#cut = false;

	cut() {
		this.#cut = true;
		super.cut();
	}

	async live() {
		while (!this.#left) {
			const { code } = await this.closed;
			if (this.#left) return;
			if (!this.#cut) assert.equal(code, 1001);
			const told = this.#cut ? undefined : this.of("session.closing").at(-1);
			await sleep((told?.reconnect_after ?? 1 + Math.random() * (SPREAD_S - 1)) * 1000);
			this.#cut = false;
			await this.connect();
			assert.equal(this.opened.resumed, true);
			this.returned.push(performance.now());
		}
	}

	leave() {
		this.#left = true;
		return this.close();
	}
}

/** What each member has heard of another one, in the order it came, is 0, 1, 2, … */
function assertWhole(list, from, count, what) {
	const heard = list.filter((message) => message.from.peer === from).map(({ data }) => data.n);
	assert.deepEqual(heard, [...Array(count).keys()], what);
}

test(`a hand-over with ${SESSIONS} sessions and messages between them`, { timeout: 300_000 }, async (t) => {
	const first = await startServer({ workers: 2, config: { limits: NO_ADDRESS_LIMITS } });
	const tokens = [];
	for (let i = 0; i < SESSIONS / PER_USER; i++) tokens.push(await first.mint(`user${i}`));
	const members = Array.from({ length: SESSIONS }, (_, i) => new Member(first, tokens[i % tokens.length]));
	for (let i = 0; i < SESSIONS; i += 50)
		await Promise.all(members.slice(i, i + 50).map((member) => member.connect(null)));
	for (const [i, member] of members.entries()) {
		Object.assign(member, { room: `room ${Math.floor(i / ROOM)}`, signals: 0, published: 0, requests: [] });
		member.neighbour = members[i % ROOM === ROOM - 1 ? i - ROOM + 1 : i + 1];
	}
	for (let seat = 0; seat < ROOM; seat++)
		await Promise.all(
			members
				.filter((_, i) => i % ROOM === seat)
				.map(async (member) => {
					({ peer: member.peer } = await member.call("room.join", { room: member.room }));
				}),
		);
	const lives = members.map((member) => member.live());

	let busy = true;
	const signal = (member) =>
		member.requests.push(
			member.send("signal.send", {
				room: member.room, to: { peer: member.neighbour.peer }, type: "n", data: { n: member.signals++ },
			}),
		);
	const publish = (member) =>
		member.requests.push(
			member.send("room.publish", { room: member.room, data: { n: member.published++ } }),
		);
	const traffic = (async () => {
		for (let i = 0; busy; i++) {
			for (let k = 0; k < SIGNALS_A_TICK; k++) signal(members[(i * SIGNALS_A_TICK + k) % SESSIONS]);
			for (let k = 0; k < PUBLISHED_A_TICK; k++) publish(members[(i * 7 + k * 31) % SESSIONS]);
			await sleep(TICK_MS);
		}
	})();
	const newcomersEnd = newcomers(first.port);
	await sleep(1000);

	// each third loses its connection, with what is on its way, around the time that it happens
	const cuts = members.filter((_, i) => i % 3 === 0).map(async (member) => {
		await sleep(Math.random() * 1500);
		member.cut();
	});
	await sleep(1000);
	const began = performance.now();
	const second = await first.successor({ t, workers: 3 });
	const served = performance.now() - began;
	assert.equal((await first.exited()).code, 0);
	await Promise.all(cuts);
	while (members.some(({ returned }) => returned.length === 0)) {
		assert.ok(performance.now() - began < (SPREAD_S + 60) * 1000, "all to come back");
		await sleep(100);
	}
	busy = false;
	await traffic;
	const { count, longest } = await newcomersEnd();
	const done = (member) => member.requests.every((id) => member.answers.has(id));
	for (const member of members) await member.until(() => done(member), "all answers");
	for (const member of members) for (const id of member.requests) assert.ok(member.answers.get(id).result, id);

	for (const [i, member] of members.entries()) {
		const before = members[i % ROOM ? i - 1 : i + ROOM - 1];
		await member.until(() => member.of("signal.received").length >= before.signals, "all signals");
		assertWhole(member.of("signal.received"), before.peer, before.signals, `signals to ${i}`);
		assert.equal(member.of("signal.received").length, before.signals);
		const mates = members.filter(({ room }) => room === member.room);
		const all = mates.reduce((sum, { published }) => sum + published, 0);
		await member.until(() => member.of("room.message").length >= all, "all messages");
		const heard = member.of("room.message");
		assert.deepEqual(heard.map(({ offset }) => offset), Array.from({ length: all }, (_, k) => k + 1));
		for (const mate of mates) assertWhole(heard, mate.peer, mate.published, `messages to ${i}`);
		assert.deepEqual(member.of("room.left"), []);
		assert.ok(member.of("session.closing").length <= 1);
	}
	const times = members.map(({ returned }) => returned[0]).sort((a, b) => a - b);
	let most = 0;
	for (let i = 0, j = 0; j < times.length; j++) {
		while (times[j] - times[i] >= 1000) i++;
		most = Math.max(most, j - i + 1);
	}
	assert.ok(most <= SESSIONS / 5, `${most} of ${SESSIONS} came back within a second`);
	assert.equal((await second.metrics()).signalbox_sessions, SESSIONS);
	t.diagnostic(
		`${members.reduce((sum, { requests }) => sum + requests.length, 0)} requests; the successor served after ` +
			`${Math.round(served)} ms; of ${count} newcomers the longest waited ${Math.round(longest)} ms; at most ` +
			`${most} of ${SESSIONS} came back within one second`,
	);
	await Promise.all(members.map((member) => member.leave()));
	await Promise.all(lives);
});
