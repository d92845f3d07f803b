// Sessions whose connections are cut, stalled, split, half open and late at random points: between each
// pair of sender and receiver every message arrives exactly once and in order, and every request has
// exactly one outcome, the one that a naive model foresaw when it was sent.
//
// SEED=N repeats the choices of a run (not the timing); CUTS=N says how many connections come to harm.
import assert from "node:assert/strict";
import test from "node:test";
import { eventStream } from "../support/http-session.mjs";
import { harms, startProxy } from "../support/proxy.mjs";
import { SEED, randomFrom } from "../support/random.mjs";
import { ResumingClient, isFinal, webSocket } from "../support/resuming.mjs";
import { anyPace, binary, startServer } from "../support/server.mjs";

const CUTS = Number(process.env.CUTS ?? (binary.includes("tsan") ? 300 : 1000));
const WORKERS = 4;
const ROOMS = 8;
const IN_A_ROOM = 5;
const IN_FLIGHT = 25;
const STUCK_MS = 30_000;
const QUIET_MS = 500; // an answer that takes longer: perhaps the connection is dead
// None is given up early: a session.open that comes late takes the session over (see harms() of proxy.mjs).
const CONNECT_MS = 3000;
const PATIENCE_MS = 10_000;

const choices = randomFrom(SEED);
const { below, pick, chance, around } = choices;
const { harm, harmToPost } = harms(choices);
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** What is sent again comes late. */
const lingers = (plan) => ({ stalls: [{ way: "up", after: 800 + below(700), ms: below(200) }], ...plan });

/** The network is lost in the middle of a POST: that comes late, and its sender is elsewhere by then. */
function loseNetwork(head) {
	const [, session] = /\r\nsignalbox-session: *(\S+)/i.exec(head) ?? [];
	all.find(({ client }) => client.opened?.session === session)?.client.cut();
	return { astray: below(200) };
}

// ---- who travels ----

class Traveller {
	peers = new Map(); // peer → traveller, the others of the room
	said = new Map(); // traveller, or "room", "message", "state" → how many so far
	connected = new Map(); // peer → is it
	heard = new Map(); // traveller → {to me, room, message, state}: how many so far
	pending = new Map(); // id → what looks at the answer
	offset = 0;
	offsets = new Map(); // its own messages → their offset
	own = { joined: false };
	#opened = Promise.withResolvers(); // its session
	#progress = performance.now();

	constructor(server, proxy, number, token) {
		this.number = number;
		this.carriers = [[webSocket], [eventStream], [webSocket, eventStream]][number % 3];
		this.room = `room ${Math.floor(number / IN_A_ROOM)}`;
		this.client = new ResumingClient(server, token, {
			url: `ws://127.0.0.1:${proxy.port}/ws`,
			httpUrl: `http://127.0.0.1:${proxy.port}`,
			batch: chance(0.5),
			heard: (message) => this.hear(message),
		});
	}

	/** Connects again and again, until it is to stay at home. */
	async travel() {
		const { client } = this;
		let old;
		for (let failed = 0; !this.home; ) {
			client.patience = Math.min(CONNECT_MS * 2 ** failed, PATIENCE_MS);
			const known = client.opened;
			try {
				await client.connect(undefined, pick(this.carriers));
				failed = 0;
			} catch (error) {
				if (isFinal(error)) throw error;
				failed++;
				continue;
			}
			this.#opened.resolve();
			if (known) assert.deepEqual([client.opened.resumed, client.opened.session], [true, known.session]);
			if (this.home) client.close();
			const moves = chance(0.1) ? pause(below(200)) : new Promise(() => {});
			const stay = { over: false };
			const why = await Promise.race([client.closed, this.#lonely(stay), moves.then(() => "moves")]);
			stay.over = true;
			old?.cut();
			old = client.carrier;
			if (why !== "moves") client.cut(); // else the next connection comes beside this one
		}
		old?.cut();
	}

	/** Resolves when it has waited too long for something. */
	async #lonely(stay) {
		this.#progress = performance.now();
		while (!stay.over && !this.home && performance.now() - this.#progress < QUIET_MS) {
			await pause(50);
			if (this.pending.size === 0) this.#progress = performance.now();
		}
	}

	// ---- out ----

	async talk() {
		while (!this.silent) {
			if (this.pending.size < IN_FLIGHT) this.say();
			await pause(below(100));
		}
	}

	say() {
		const calls = Array.from({ length: Math.min(20, 1 + around(2)) }, () => this.something());
		const together = chance(0.3) ? [calls] : calls.map((call) => [call]);
		for (const some of together) {
			const ids = this.client.batch(some);
			for (const [i, id] of ids.entries()) if (id) this.pending.set(id, some[i].look);
		}
		if (chance(0.1)) this.client.ping();
	}

	next(what) {
		const n = (this.said.get(what) ?? 0) + 1;
		this.said.set(what, n);
		return n;
	}

	/** One call, as [method, params, silent], with what its answer must be in `look`. */
	something() {
		const { room } = this;
		const dice = below(100);
		const filling = chance(0.02) ? "x".repeat(below(20_000)) : "";
		if (dice < 50) {
			const [peer, to] = pick([...this.peers]);
			const data = { by: this.number, n: this.next(to), filling };
			return this.call("signal.send", { room, to: { peer }, type: "n", data }, ({ queued }) => assert.equal(queued, 1));
		}
		if (dice < 62) {
			const data = { by: this.number, room: this.next("room") };
			return this.call("signal.send", { room, to: "room", type: "n", data }, ({ queued }) =>
				assert.equal(queued, this.peers.size),
			);
		}
		if (dice < 74) {
			const data = { by: this.number, message: this.next("message"), filling };
			return this.call("room.publish", { room, data }, ({ offset }) =>
				this.published(data.message, offset),
			);
		}
		if (dice < 80) return this.call("room.state", { room, state: { at: this.next("state") } }, assert.ok);
		if (dice < 84)
			return this.call("room.join", { room }, ({ peer, offset }) => {
				assert.equal(peer, this.peer);
				assert.ok(this.offset <= offset, "an event before the answer that stands before it");
			});
		if (dice < 86) return this.call("room.create", { room: `made ${this.number} ${this.next("made")}` }, assert.ok);
		if (dice < 94) return this.ownRoom();
		const refused = pick([
			["signal.send", { room, to: { peer: "nobody" }, type: "n", data: 1 }, -32004],
			["no.such", {}, -32601],
			["room.join", { room: "" }, -32602],
		]);
		return this.call(refused[0], refused[1], undefined, refused[2]);
	}

	/** A room of its own, which it is in or not: what a call comes to is known beforehand. */
	ownRoom() {
		const room = `own ${this.number}`;
		const { joined } = this.own;
		if (chance(0.4)) {
			this.own.joined = !joined;
			return this.call(joined ? "room.leave" : "room.join", { room }, assert.ok);
		}
		return this.call("room.state", { room, state: 1 }, joined ? assert.ok : undefined, joined ? undefined : "any");
	}

	call(method, params, look, code) {
		const silent = chance(0.1);
		const call = [method, params, silent];
		call.look = ({ result, error }) => {
			if (!code) {
				assert.equal(error, undefined, `${method} ${JSON.stringify(params)}`);
				look(result);
			} else {
				assert.ok(error, `${method} ${JSON.stringify(params)} was to be refused`);
				if (code !== "any") assert.equal(error.code, code);
			}
		};
		return call;
	}

	// ---- in ----

	hear(message) {
		if (this.home) return;
		this.#progress = performance.now();
		if (message.method) return this.event(message.method, message.params);
		const look = this.pending.get(message.id);
		assert.ok(look, `a second answer to ${message.id}, or one to nothing: ${JSON.stringify(message)}`);
		this.pending.delete(message.id);
		look(message);
	}

	event(event, { room, from, data, offset, peer, changes, members }) {
		if (room !== this.room) return assert.equal(room, `own ${this.number}`);
		switch (event) {
			case "room.joined":
				return this.meet(members);
			case "room.updated":
				return this.update(peer, changes);
			case "room.message":
				assert.equal(offset, this.offset + 1, "a hole in the room's messages, or one twice");
				this.offset = offset;
				if (data.by === this.number) this.published(data.message, offset);
				return this.count(data.by, "message", data.message);
			case "signal.received":
				assert.ok(this.peers.get(from.peer)?.number === data.by);
				return data.n ? this.count(data.by, "me", data.n) : this.count(data.by, "room", data.room);
			default:
				assert.fail(`${event} for traveller ${this.number}`);
		}
	}

	/** Its message, as the answer says and as the event says. */
	published(n, offset) {
		assert.equal(this.offsets.get(n) ?? offset, offset);
		this.offsets.set(n, offset);
	}

	meet(members) {
		for (const { peer, connected } of members) this.connected.set(peer, connected);
	}

	update(peer, { state, connected }) {
		if (state) this.count(this.peers.get(peer).number, "state", state.at);
		if (connected === undefined) return;
		assert.equal(connected, !this.connected.get(peer), `${peer} was said to be so already`);
		this.connected.set(peer, connected);
	}

	of(number) {
		if (!this.heard.has(number)) this.heard.set(number, { me: 0, room: 0, message: 0, state: 0 });
		return this.heard.get(number);
	}

	count(by, what, n) {
		const heard = this.of(by);
		assert.equal(n, heard[what] + 1, `from ${by} to ${this.number} (${what})`);
		heard[what] = n;
	}

	/** What it has not heard yet of what the others said. */
	*missing() {
		if (this.pending.size) yield `${this.number} waits for answers to ${[...this.pending.keys()]}`;
		for (const other of [...this.peers.values(), this]) {
			const due = { me: other.said.get(this) ?? 0 };
			for (const what of ["room", "message", "state"]) due[what] = other.said.get(what) ?? 0;
			if (other === this) due.room = due.state = 0; // told to the others
			const heard = this.of(other.number);
			for (const what in due)
				if (heard[what] !== due[what])
					yield `${this.number} has heard ${heard[what]} of ${due[what]} from ${other.number} (${what})`;
		}
	}

	async join() {
		await this.#opened.promise;
		await new Promise((done) =>
			this.pending.set(this.client.send("room.join", { room: this.room }), ({ result }) => {
				this.peer = result.peer;
				this.meet(result.members); // at once: events may stand right behind it
				done();
			}),
		);
	}
}

const all = [];

/** Harms one after another, wherever they are: those that carry little would live for long. */
async function strike(proxy) {
	while (proxy.cuts < CUTS && !all[0].home) {
		proxy.strike(pick, { ...harm(), after: 0 });
		await pause(below(20));
	}
}

async function until(holds, what) {
	let last;
	let since = performance.now();
	for (;;) {
		const now = holds();
		if (now === true || all[0].home) return;
		if (now !== last) [last, since] = [now, performance.now()];
		assert.ok(performance.now() - since < STUCK_MS, `${what}: ${now}`);
		await pause(20);
	}
}

test(`${CUTS} connections come to harm, and nothing is lost or done twice`, async (t) => {
	console.log(`seed ${SEED}`);
	// What goes wrong while a message is being handled is the test's failure, not the process's end.
	const failed = Promise.withResolvers();
	process.on("uncaughtException", failed.reject);
	const server = await startServer({
		workers: WORKERS,
		config: {
			session: { resume_window: "10m" },
			limits: { ...anyPace, kept_messages: 65536, kept_bytes: "64MiB", rooms_per_session: 1000 },
		},
	});
	const proxy = await startProxy(server, {
		plan: () => (chance(0.3) ? lingers(harm()) : harm()),
		post: (head) => (chance(0.06) ? loseNetwork(head) : harmToPost()),
		from: () => `127.0.0.${2 + below(250)}`,
	});
	t.after(async () => {
		await proxy.close();
		await server.stop();
	});

	for (let i = 0; i < ROOMS * IN_A_ROOM; i++)
		all.push(new Traveller(server, proxy, i, await server.mint(`user${i % 10}`)));
	const whole = async () => {
		const journeys = all.map((one) => one.travel().catch(failed.reject));
		for (const one of all) await Promise.race([one.join(), failed.promise]);
		for (const one of all)
			for (const other of all) if (other.room === one.room && other !== one) one.peers.set(other.peer, other);
		const began = performance.now();
		for (const one of all) one.talk().catch(failed.reject);

		strike(proxy).catch(failed.reject);
		await until(() => proxy.cuts >= CUTS || proxy.cuts, "cuts so far");
		for (const one of all) one.silent = true;
		proxy.heal();
		await until(() => all.flatMap((one) => [...one.missing()]).join("\n") || true, "at the end");

		const workers = new Set(all.map(({ client }) => client.opened.session.split(".")[0]));
		assert.equal(workers.size, WORKERS, "not every worker has a session");
		const { signalbox_sessions_resumed_total: resumed, signalbox_signals_total: signals } = await server.metrics();
		assert.ok(resumed > CUTS / 2, `only ${resumed} were resumed`);
		const seconds = ((performance.now() - began) / 1000).toFixed(1);
		t.diagnostic(`${JSON.stringify(proxy.harmed)}, ${resumed} resumed, ${signals} signals, ${seconds} s`);

		for (const one of all) one.home = true;
		for (const { client } of all) client.close();
		await Promise.all(journeys);
	};
	await Promise.race([whole(), failed.promise]).finally(() => {
		for (const one of all) {
			one.silent = one.home = true;
			one.client.cut();
		}
	});
});
