// Datasets against an oracle: three foreign programs (the sqlite3 shell, Python, Node) write at random, each with pragmas
// of its own, and are killed; clients write too; a crowd of readers with filters, windows and rules of membership loses
// connections and sessions, reads slowly, gives no credit; tables get columns, indexes, are rebuilt; the service is killed.
//
// What each reader has is held against SQL over the tables themselves: at every position where both are known, and
// whenever all is quiet. Every message is held against the protocol (support/dataset-readers.mjs), and searched for what
// nobody may be told (support/dataset-world.mjs).
//
// SEED=N repeats the choices of a run, though not how the programs overtake each other; OPERATIONS=N makes it longer.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import test from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { View, ViewSession, textOf } from "../support/dataset-readers.mjs";
import { Oracle, USERS, datasets, flood, keys, planted, randomWish, randomWriter, schemaChanges, tables } from "../support/dataset-world.mjs";
import { startWriter, writerKinds } from "../support/dataset-writers.mjs";
import { eventStream } from "../support/http-session.mjs";
import { SEED, randomFrom } from "../support/random.mjs";
import { webSocket } from "../support/resuming.mjs";
import { anyNumber, anyPace, binary, ownDirectory, startServer } from "../support/server.mjs";
import { within } from "../support/within.mjs";

const STEPS = Number(process.env.OPERATIONS ?? (binary.includes("tsan") ? 45 : 90)); // transactions of a storm
const SESSIONS = 36;
const VIEWS = 6; // of a session
const QUIET_MS = 20_000;

const pragmas = {
	shell: ["PRAGMA synchronous=OFF", "PRAGMA recursive_triggers=ON", "PRAGMA foreign_keys=ON"],
	python: ["PRAGMA synchronous=NORMAL", "PRAGMA foreign_keys=ON", "PRAGMA wal_autocheckpoint=5", "PRAGMA cache_size=5"],
	node: ["PRAGMA synchronous=FULL", "PRAGMA trusted_schema=OFF", "PRAGMA foreign_keys=OFF"],
};
// of a file that is not in WAL mode, each connection has its own
const journals = { shell: "TRUNCATE", python: "PERSIST", node: "DELETE" };

class World {
	readers = new Map(); // name → what the oracle is to ask
	sessions = [];
	writers = [];
	writes = { done: 0, refused: {} };

	static async begin(t, { workers, wal }) {
		const world = new World();
		Object.assign(world, { workers, wal, random: randomFrom(SEED + workers) });
		const folder = ownDirectory();
		world.file = join(folder, "world.db");
		execFileSync("sqlite3", [world.file, `PRAGMA journal_mode=${wal ? "WAL" : "DELETE"}; ${tables.join("; ")}`]);
		world.options = {
			workers,
			data: join(folder, "data"),
			// the log is cut short, so that who falls behind must begin anew
			config: { datasets: datasets(world.file), dataset: { keep_size: "64KiB", lag_max: 1000 }, session: { resume_window: "1m" }, limits: { ...anyPace, ...anyNumber } },
		};
		world.server = await startServer(world.options);
		t.after(() => world.end());
		world.transaction = randomWriter(world.random);
		world.writers = writerKinds.map((kind) => world.startWriter(kind));
		world.oracle = new Oracle(world.file);
		await world.crowd();
		return world;
	}

	get url() {
		return this.server.url;
	}

	get wsUrl() {
		return this.server.wsUrl;
	}

	startWriter(kind) {
		return startWriter(kind, this.file, [...(this.wal ? [] : [`PRAGMA journal_mode=${journals[kind]}`]), ...pragmas[kind]]);
	}

	fail = (error) => {
		this.error ??= error;
	};

	// ---- readers ----

	async crowd() {
		const { random } = this;
		for (let i = 0; i < SESSIONS; i++) {
			const user = USERS[i % USERS.length];
			const wishes = new Map();
			while (wishes.size < VIEWS) {
				const one = randomWish(random);
				wishes.set(JSON.stringify({ ...one.wish }), one);
			}
			const views = [...wishes.values()].map((one) => this.view(user, one));
			const session = new ViewSession(this, await this.server.mint(user), views, {
				over: random.chance(0.5) ? webSocket : eventStream,
				heard: (message) => this.heard(message, user),
			});
			session.user = user;
			session.failed.catch(this.fail);
			this.sessions.push(session);
		}
		await Promise.all(this.sessions.map((session) => session.connect()));
	}

	view(user, { wish, sql }) {
		const view = new View(wish, keys[wish.dataset]);
		Object.assign(view, {
			user,
			begun: () => {
				view.name = `${user} ${JSON.stringify(wish)} ${view.columns}`;
				view.reader = { name: view.name, dataset: wish.dataset, user, sql, columns: view.columns };
				if (!wish.notify) this.readers.set(view.name, view.reader);
			},
			moved: () => {
				const other = wish.notify ? undefined : this.oracle.saw(view.name, view);
				if (other !== undefined && !this.error) this.explain(view);
				if (other !== undefined)
					this.fail(new Error(`at ${view.at} ${view.name} (${view.mode}, ${view.told} times up to date) has\n${textOf(view.rows)}\n-- but ${other}`));
			},
		});
		return view;
	}

	heard(message, user) {
		const text = JSON.stringify(message);
		if (planted.test(text)) this.fail(new Error(`told to ${user}: ${text}`));
		this.look?.();
	}

	get views() {
		return this.sessions.flatMap(({ views }) => views);
	}

	// ---- what happens ----

	/** Now and then something happens to a reader. */
	async disturb() {
		const { pick, chance, below } = this.random;
		const session = pick(this.sessions);
		const view = pick(session.views);
		await pick([
			() => session.cut(chance(0.4)),
			() => session.unsubscribe(view),
			() => this.lag(session, below(400)),
			() => this.withhold(session, view, below(400)),
			() => this.write(session),
			() => this.write(session),
			() => this.write(session),
		])();
	}

	/** Stops reading for a while; what it was sent meanwhile is in the kernel, or the service has closed. */
	async lag(session, ms) {
		const { carrier } = session.client;
		carrier?.pause();
		await pause(ms);
		if (session.client.carrier === carrier) carrier?.resume();
	}

	async withhold(session, view, ms) {
		view.held = true;
		await pause(ms);
		session.release(view);
	}

	/** A client's own write, which is asked for twice when it was done. */
	async write(session) {
		const { below, pick, chance } = this.random;
		const owned = () => pick([session.user, session.user, session.user.toUpperCase(), "ann"]);
		const set = { owner: owned(), title: pick(["mine", "alpha", `w${below(1000)}`]), n: pick([1, 7, null, 55]), list: pick([null, 1, 2]) };
		const key = [1 + below(70)];
		const ops = Array.from({ length: 1 + below(3) }, () =>
			pick([
				{ op: "insert", set },
				{ op: "insert", key, upsert: true, set },
				{ op: "update", key, set: { n: below(70) }, ...(chance(0.5) && { if: { seq: this.oracle.head.seq } }) },
				{ op: "update", key, set: { title: "mine" }, if: { old: { owner: session.user } } },
				{ op: "delete", key },
			]),
		);
		const params = { dataset: "todos", mutation: `m${this.made++}`, ops, atomic: chance(0.5) };
		try {
			const answer = await session.call("dataset.write", params);
			this.writes.done++;
			if (chance(0.3) && answer.rows.some(({ error }) => !error))
				assert.deepEqual(await session.call("dataset.write", params), answer, "a write that is asked for again");
		} catch (error) {
			if (/another one/.test(error.message)) return; // nobody knows whether it was done
			if (error.code === undefined) throw error;
			const { reason } = error.data;
			if (!["constraint", "conflict", "rule_forbids", "no_such_row", "pruned", "dataset_unavailable"].includes(reason)) throw error;
			this.writes.refused[reason] = (this.writes.refused[reason] ?? 0) + 1;
		}
	}

	made = 0;

	/** All programs write at once, and readers are disturbed. */
	async storm(steps, disturbances = true) {
		const { below, chance } = this.random;
		const going = new Set();
		const begin = (act) => {
			const one = act().catch(this.fail).finally(() => going.delete(one));
			going.add(one);
		};
		await Promise.all(
			this.writers.map(async (_, i) => {
				for (let n = 0; n < steps / this.writers.length && !this.error; n++) {
					await this.writers[i].run(this.transaction());
					if (chance(0.5)) this.oracle.sample(this.readers);
					if (disturbances && going.size < 12 && chance(0.7)) begin(() => this.disturb());
					await pause(below(12));
				}
			}),
		);
		while (going.size) await Promise.all(going);
		this.check();
	}

	/** One program after the other, and every position is known. */
	async lockstep(steps) {
		for (let n = 0; n < steps && !this.error; n++) {
			await this.random.pick(this.writers).run(this.transaction());
			this.oracle.sample(this.readers);
			await pause(this.random.below(15));
		}
		this.check();
	}

	check() {
		for (const session of this.sessions) if (session.error) throw session.error;
		if (this.error) throw this.error;
	}

	/** What readers have that is not what they are to see. */
	get different() {
		return this.views.filter((view) => {
			if (view.asking || !view.whole || view.lost) return true;
			const now = this.oracle.ask(view.reader);
			// who is only told that something has changed was told so since all was quiet the last time
			if (view.wish.notify) return view.before && view.before.now !== now && view.before.told === view.told;
			return textOf(view.rows) !== now;
		});
	}

	remember() {
		for (const view of this.views.filter(({ wish }) => wish.notify)) view.before = { now: this.oracle.ask(view.reader), told: view.told };
	}

	/** Whether all that was on its way has come. Not when a dataset is just about to be there again. */
	async allHasCome() {
		try {
			for (const dataset of ["todos", "pairs"]) await Promise.all(this.sessions.map((session) => session.barrier(dataset)));
			return true;
		} catch (error) {
			if (error.data?.reason !== "dataset_unavailable") throw error;
			return false;
		}
	}

	/** Nobody writes any more: until every reader has what is there, and still has it behind all that was on its way. */
	async quiet(what) {
		const reached = async () => {
			for (;;) {
				let woken;
				const next = new Promise((done) => (woken = done));
				this.look = woken;
				this.check();
				if (this.different.length === 0 && (await this.allHasCome())) return;
				await Promise.race([next, pause(200)]);
				await pause(5); // many messages, one look
			}
		};
		try {
			await within(reached(), QUIET_MS, `everybody to have what is there: ${what}`);
			assert.equal(this.different.length, 0, "it was so only for a moment");
			this.remember();
		} catch (error) {
			this.check();
			const [view] = this.different;
			const told = view && `${view.name} at ${view.at} of ${JSON.stringify(this.oracle.head)}, whole: ${view.whole}, has\n${textOf(view.rows)}\n-- and not\n${view.reader && this.oracle.ask(view.reader)}`;
			if (view) this.explain(view);
			throw new Error(`${error.message}\n${this.different.length} of ${this.views.length} differ: ${told}`, { cause: error });
		} finally {
			this.look = undefined;
		}
	}

	/** For who looks why: what has happened to a view, and to its table. */
	explain(view) {
		console.error(`${view.name}\n${view.journal.join("\n")}\nthe log:\n${this.oracle.log(view.wish.dataset, Math.max(0, this.oracle.head.seq - 60))}`);
	}

	/** A change of a schema; what is read is read anew. */
	async change(name) {
		await this.quiet(`before ${name}`);
		this.readers.clear(); // who has another version has a position of it, too
		const answer = await this.random.pick(this.writers.filter(({ kind }) => kind !== "shell")).run(schemaChanges[name](this.oracle));
		assert.equal(answer, null, name);
		for (const view of this.views) if (view.reader && !view.wish.notify) this.readers.set(view.name, view.reader);
		await within(this.whole(name), QUIET_MS, `everybody to read the table behind ${name}`);
	}

	/** All columns that there are now are told. */
	async whole(name) {
		const told = () => this.oracle.told("todos").join();
		for (;;) {
			this.check();
			if (name !== "column" || this.views.every(({ wish, columns }) => wish.dataset !== "todos" || wish.columns || columns?.join() === told())) break;
			await pause(20);
		}
		await this.quiet(`behind ${name}`);
	}

	async killWriter() {
		const at = this.random.below(this.writers.length);
		const writer = this.writers[at];
		const running = writer.run(["BEGIN IMMEDIATE", ...this.transaction().slice(1, -1), "UPDATE todos SET n = 1", ...(this.random.chance(0.5) ? ["COMMIT"] : [])]);
		await pause(this.random.below(4));
		await writer.kill();
		await running;
		this.writers[at] = this.startWriter(writer.kind);
	}

	async killService() {
		await pause(this.random.below(300));
		await this.server.kill();
		const dead = this.server;
		this.server = await startServer({ ...this.options, listen: `127.0.0.1:${dead.port}` });
	}

	/** Another process takes over: sessions, and what they are subscribed to, go on. */
	async handOver() {
		const before = this.server;
		this.server = await before.successor({ listen: `127.0.0.1:${before.port}` });
		await before.stop();
	}

	async end() {
		for (const session of this.sessions) session.leave();
		for (const writer of this.writers) await writer.kill();
		this.oracle?.close();
		await this.server.stop();
	}
}

for (const { workers, wal } of [
	{ workers: 1, wal: true },
	{ workers: 4, wal: false },
])
	test(`every reader has what is there, ${workers} workers, ${wal ? "WAL" : "rollback journals"} (SEED=${SEED})`, async (t) => {
		const world = await World.begin(t, { workers, wal });
		await world.quiet("the beginning");
		await world.storm(STEPS);
		await world.quiet("a storm");
		await world.lockstep(STEPS / 4);
		for (const name of Object.keys(schemaChanges)) {
			await world.change(name);
			await world.lockstep(STEPS / 12);
		}
		assert.equal(await world.writers[1].run(flood), null);
		await world.quiet("a flood");
		for (const end of ["killService", "handOver"]) {
			const storm = world.storm(STEPS / 2);
			await world.killWriter();
			await world[end]();
			await world.killWriter();
			await storm;
			await world.quiet(end);
		}
		const { count, wrong } = world.oracle.judged;
		assert.deepEqual(wrong, []);
		t.diagnostic(
			`SEED=${SEED}: ${world.views.length} readers, ${count} moments of them compared; ${world.writes.done} writes, refused ${JSON.stringify(world.writes.refused)}; ` +
				`resets ${JSON.stringify(world.sessions.flatMap(({ resets }) => resets).reduce((all, reason) => ({ ...all, [reason]: (all[reason] ?? 0) + 1 }), {}))}`,
		);
		assert.ok(count > 0);
	});
