// A store in trouble: a full disk, one that is read-only or fails, a file that another program has locked. What
// needs the store is refused as overloaded, in time; all else goes on; it recovers by itself; nothing that was
// acknowledged is lost, and nothing that was refused is there afterwards.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { constants } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { connect } from "../support/client.mjs";
import { brokenDisk, smallDisk } from "../support/disk.mjs";
import { challengeOf } from "../support/oauth.mjs";
import { Browser } from "../support/page.mjs";
import { ResumingClient } from "../support/resuming.mjs";
import { run, startServer } from "../support/server.mjs";

const { EIO, EROFS } = constants.errno;
const LOCK_MS = 10_000;
const IN_TIME_MS = 3000 + 3500; // how long an operation may wait, and what a busy machine adds
const WELL_MS = 20_000;
const PACE_MS = 15;
const quick = { limits: { requests_per_second: 10_000, requests_burst: 10_000 } };
const PASSWORD = "correct horse battery";
const DEMO = "http://localhost:9/"; // nobody listens there; only the Location is looked at

/** Asks again until it holds. */
async function until(holds, what, ms = WELL_MS) {
	const end = Date.now() + ms;
	for (;;) {
		if (await holds()) return;
		assert.ok(Date.now() < end, `waited ${ms} ms for ${what}`);
		await pause(50);
	}
}

const count = (text, word) => text.split(word).length - 1;

/** Two peers that send each other a signal, and the next when it has arrived, for as long as the test runs. */
class Pair {
	rounds = 0;
	#stopped = false;

	static async start(server) {
		const pair = new Pair();
		const [ann, bob] = [new ResumingClient(server, await server.mint("ann")), new ResumingClient(server, await server.mint("bob"))];
		await Promise.all([ann.connect(), bob.connect()]);
		const peers = [];
		for (const client of [ann, bob]) peers.push((await client.call("room.join", { room: "pair" })).peer);
		pair.end = pair.#run([ann, bob], peers);
		pair.end.catch(() => {}); // told by stop()
		return pair;
	}

	async #run(clients, peers) {
		while (!this.#stopped) {
			const [from, to] = [this.rounds % 2, 1 - (this.rounds % 2)];
			const data = this.rounds >> 1;
			const sent = await clients[from].call("signal.send", { room: "pair", to: { peer: peers[to] }, type: "n", data });
			assert.deepEqual(sent, { queued: 1 });
			await clients[to].until(() => clients[to].of("signal.received").length > data, `signal ${this.rounds}`);
			this.rounds++;
			await pause(PACE_MS);
		}
		for (const client of clients) {
			const heard = client.of("signal.received").map(({ data }) => data);
			assert.deepEqual(heard, [...heard.keys()]);
			await client.close();
		}
	}

	/** So many more arrive. */
	async more(rounds = 20) {
		const before = this.rounds;
		await Promise.race([this.end, until(() => this.rounds >= before + rounds, `${rounds} signals`)]);
		assert.ok(this.rounds >= before + rounds);
	}

	stop() {
		this.#stopped = true;
		return this.end;
	}
}

/** Makes rooms, one behind the other, and notes which were acknowledged and which refused. */
class Scribe {
	kept = new Map();
	refused = [];
	slowest = 0;
	#stopped = false;

	static async start(server) {
		const scribe = new Scribe();
		scribe.client = await connect(server, { user: "scribe" });
		scribe.end = scribe.#run();
		scribe.end.catch(() => {}); // told by stop()
		return scribe;
	}

	async #run() {
		for (let i = 0; !this.#stopped; i++) {
			const [room, title] = [`room ${i}`, randomBytes(150).toString("base64")];
			const began = Date.now();
			const error = await this.client.call("room.create", { room, title }).then(() => null, (problem) => problem);
			this.slowest = Math.max(this.slowest, Date.now() - began);
			if (error) isOverloaded(error);
			if (error) this.refused.push(room);
			else this.kept.set(room, title);
			await pause(PACE_MS);
		}
	}

	async until(holds, what) {
		await Promise.race([this.end, until(holds, what)]);
		assert.ok(holds(), what);
	}

	async stop() {
		this.#stopped = true;
		await this.end;
		await this.client.close();
	}

	/** What was acknowledged is there as it was, and what was refused is not. */
	async check(server) {
		const client = await connect(server, { user: "scribe" });
		for (const [room, title] of this.kept) assert.equal((await client.call("room.get", { room })).title, title);
		for (const room of this.refused)
			await assert.rejects(client.call("room.get", { room }), { code: -32004 }, `${room} was refused`);
		await client.close();
	}
}

function isOverloaded(error) {
	assert.deepEqual([error.code, error.data?.reason], [-32030, "overloaded"], error);
	assert.ok(error.data.retry_after >= 1);
}

const get = async (server, path) => {
	const response = await fetch(server.url + path);
	return [response.status, (await response.text()).trim()];
};

// ---- somebody who is about to sign in ----

const verifier = randomBytes(32).toString("base64url");
const request = {
	client_id: "demo",
	redirect_uri: DEMO,
	response_type: "code",
	code_challenge: challengeOf(verifier),
	code_challenge_method: "S256",
	scope: "rooms:join",
};

const authorize = (server, more) => `${server.url}/oauth/authorize?${new URLSearchParams({ ...request, ...more })}`;

async function signUp(server, name) {
	const browser = await new Browser().open(authorize(server, { prompt: "create" }));
	return browser.submit({ name, display_name: `The real ${name}`, password: PASSWORD });
}

const codeOf = (browser) => new URL(browser.location).searchParams.get("code");

const redeem = (server, code) =>
	fetch(`${server.url}/oauth/token`, {
		method: "POST",
		body: new URLSearchParams({
			grant_type: "authorization_code",
			client_id: "demo",
			redirect_uri: DEMO,
			code_verifier: verifier,
			code,
		}),
	});

// ---- one trouble ----

let people = 0;

/** Everything that does not need what is in trouble. Reading is not. */
async function othersGoOn(server, pair, token, away) {
	await pair.more();
	assert.deepEqual(await get(server, "/health"), [200, "ok"]);
	const session = away.opened.session;
	assert.deepEqual((await away.connect()).session, session);
	const [c, d] = [await connect(server, { token }), await connect(server, { token })];
	const room = `new ${++people}`;
	await c.call("room.join", { room });
	await d.call("room.join", { room });
	await c.call("room.state", { room, state: { muted: true } });
	assert.equal((await d.next("room.updated")).params.changes.state.muted, true);
	await c.call("room.publish", { room, data: "words" });
	assert.equal((await d.next("room.message")).params.data, "words");
	assert.equal((await c.call("room.presence", { room })).members.length, 1);
	assert.ok((await c.call("room.list")).rooms.length > 0);
	await Promise.all([c.close(), d.close()]);
	away.cut();
}

/** The pages say so in a sentence, keep what was typed, and a code is not lost. */
async function signingInWaits(server, code, browser) {
	const name = `person-${++people}`;
	const [page, answer, silent, refusal] = await Promise.all([
		signUp(server, name),
		redeem(server, code),
		browser.open(authorize(server, { prompt: "none" })),
		server.rpc("user.add", { name: `another-${people}` }).catch((error) => error),
	]);
	assert.equal(page.status, 503);
	assert.ok(Number(page.headers.get("retry-after")) > 0);
	assert.match(page.html, /role="alert">[^<]*nothing was changed\. Wait/);
	assert.deepEqual([page.filled().name, page.filled().display_name], [name, `The real ${name}`]);
	assert.equal(answer.status, 503);
	assert.ok(Number(answer.headers.get("retry-after")) > 0);
	assert.equal((await answer.json()).error, "temporarily_unavailable");
	assert.equal(new URL(silent.location).searchParams.get("error"), "temporarily_unavailable");
	isOverloaded(refusal);
	return page;
}

async function trouble(server, scribe, pair, { begin, end, why }) {
	const browser = await signUp(server, `person-${++people}`);
	const code = codeOf(browser);
	const token = await server.mint("carl");
	const away = new ResumingClient(server, token);
	await away.connect();
	away.cut();
	await scribe.until(() => scribe.kept.size >= 10, "some rooms");
	const log = server.log.length;
	const refused = scribe.refused.length;

	const finish = await begin();
	await scribe.until(() => scribe.refused.length > refused, "a refusal");
	assert.deepEqual(await get(server, "/ready"), [503, `the store: ${why}`]);
	assert.equal((await server.metrics()).signalbox_store_trouble, 1);
	await othersGoOn(server, pair, token, away);
	const page = await signingInWaits(server, code, browser);
	await othersGoOn(server, pair, token, away);
	assert.deepEqual(await get(server, "/ready"), [503, `the store: ${why}`]);

	await finish();
	await until(async () => (await get(server, "/ready"))[0] === 200, "being ready");
	assert.equal((await server.metrics()).signalbox_store_trouble, 0);
	const before = scribe.kept.size;
	await scribe.until(() => scribe.kept.size >= before + 10, "more rooms");
	assert.equal((await redeem(server, code)).status, 200);
	assert.equal((await page.submit({ password: PASSWORD })).status, 303, page.html);
	assert.ok(scribe.slowest < IN_TIME_MS, `an answer took ${scribe.slowest} ms`);
	await pair.more();
	const said = server.log.slice(log);
	assert.equal(count(said, "store in trouble"), 1, said);
	assert.equal(count(said, "store works again"), 1, said);
	assert.match(said, new RegExp(`store in trouble" why="${why}" do="[^"]+"`));
}

/** The troubles one behind the other; then what is kept is looked at, here and after the power has failed. */
async function through(t, options, troubles) {
	const server = await startServer({ workers: 2, config: quick, ...options });
	try {
		const [pair, scribe] = [await Pair.start(server), await Scribe.start(server)];
		for (const one of troubles(server)) await trouble(server, scribe, pair, one);
		await scribe.stop();
		await pair.stop();
		await scribe.check(server);
		await server.kill();
		const next = await startServer({ t, config: quick, disk: options.disk, data: options.disk ? undefined : server.data });
		await scribe.check(next);
		t.diagnostic(`${scribe.kept.size} rooms kept, ${scribe.refused.length} refused, ${pair.rounds} signals`);
		const [path, inside] = [join(server.data, "signalbox.db"), options.disk?.under ?? []];
		const words = [...inside, "sqlite3", path, "PRAGMA integrity_check"];
		assert.equal(execFileSync(words[0], words.slice(1), { encoding: "utf8" }).trim(), "ok");
	} finally {
		if (!server.ended) await server.kill();
	}
}

test("a disk that is really full", async (t) => {
	const disk = await smallDisk(t, "3m");
	await through(t, { disk }, () => [
		{
			why: "the disk is full",
			begin() {
				disk.fill();
				return disk.free;
			},
		},
	]);
});

test("a disk that has become read-only, then one that fails", async (t) => {
	const disk = brokenDisk();
	const failing = (errno, why) => ({
		why,
		begin() {
			disk.fail(errno);
			return () => disk.fail(0);
		},
	});
	await through(t, { disk }, () => [failing(EROFS, "the disk is read-only"), failing(EIO, "the disk fails")]);
});

test("another program has locked the file for ten seconds", async (t) => {
	await through(t, {}, (server) => [
		{
			why: "another program has locked the database",
			async begin() {
				const other = spawn("sqlite3", [join(server.files, "signalbox.db")], { stdio: ["pipe", "pipe", "inherit"] });
				t.after(() => other.stdin.end());
				other.stdin.write(".timeout 5000\nBEGIN IMMEDIATE;\nSELECT 'locked';\n");
				await once(other.stdout, "data");
				const held = pause(LOCK_MS);
				return async () => {
					await held;
					other.stdin.end("COMMIT;\n");
				};
			},
		},
	]);
});

test("a disk that does not answer: who was asked for waits, the next does not", async (t) => {
	const server = await startServer({ t, workers: 2, env: { SIGNALBOX_STORE_FAULT: "ROOM_ADD:1:delay=7000" } });
	const pair = await Pair.start(server);
	const c = await connect(server, { user: "ann" });
	const first = c.call("room.create", { room: "first" });
	await until(async () => (await get(server, "/ready"))[1] === "the store: the disk does not answer", "being unready");
	const began = Date.now();
	await assert.rejects(c.call("room.create", { room: "second" }), (error) => (isOverloaded(error), true));
	assert.ok(Date.now() - began < 3000, "it was not refused at once");
	await c.call("room.join", { room: "another" });
	await pair.more();
	assert.equal((await first).room, "first");
	await until(async () => (await get(server, "/ready"))[0] === 200, "being ready");
	await assert.rejects(c.call("room.get", { room: "second" }), { code: -32004 });
	await c.call("room.create", { room: "second" });
	await pair.stop();
	await c.close();
});

test("when nothing can be read, only rooms that are not there yet cannot be joined", async (t) => {
	const server = await startServer({ t, workers: 2, env: { SIGNALBOX_STORE_FAULT: "ROOM_GET:2:overloaded" } });
	const pair = await Pair.start(server);
	const c = await connect(server, { user: "carl" });
	await assert.rejects(c.call("room.join", { room: "unknown" }), (error) => (isOverloaded(error), true));
	assert.equal((await get(server, "/ready"))[0], 503);
	await c.call("room.join", { room: "pair" });
	await pair.more();
	await until(async () => (await get(server, "/ready"))[0] === 200, "being ready");
	await c.call("room.join", { room: "unknown" });
	await pair.stop();
	await c.close();
});

test("starting and stopping on a disk that takes no writes", async (t) => {
	const disk = await smallDisk(t, "1m");
	const refused = async (sentence) => {
		const { code, stderr } = await run(["serve", "--data", disk.path, "--listen", "127.0.0.1:0"], { disk });
		assert.equal(code, 1);
		assert.match(stderr, sentence);
	};
	disk.fill();
	await refused(/make room on the disk of the database/);
	disk.remount("ro");
	await refused(/Read-only file system; .*mount it for writing again/);
	disk.remount("rw");
	disk.free();
	const first = await startServer({ disk });
	await first.addUser("ann");
	await first.stop();
	disk.fill();
	await refused(/make room on the disk of the database/);
	disk.free();
	const second = await startServer({ disk });
	await second.kill(); // and left its log behind: there it finds room to read by
	disk.fill();
	const third = await startServer({ t, disk });
	assert.deepEqual((await third.rpc("user.list")).users.map(({ name }) => name), ["ann"]);
	await assert.rejects(third.rpc("user.add", { name: "bob" }), (error) => (isOverloaded(error), true));
	disk.free();
	await until(async () => (await get(third, "/ready"))[0] === 200, "being ready");
	await third.rpc("user.add", { name: "bob" });

	// A stop on a full disk loses the sessions, says so, and nothing else.
	const ann = new ResumingClient(third, await third.mint("ann"));
	await ann.connect();
	disk.fill();
	await assert.rejects(third.rpc("user.add", { name: "carl" }), (error) => (isOverloaded(error), true));
	await third.stop();
	assert.match(third.log, /no session is handed over/);
	disk.free();
	ann.server = await startServer({ t, disk });
	assert.equal((await ann.connect()).resumed, false);
	assert.deepEqual((await ann.server.rpc("user.list")).users.map(({ name }) => name), ["ann", "bob"]);
	await ann.close();
});
