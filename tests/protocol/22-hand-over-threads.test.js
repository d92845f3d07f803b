// A restart is a hand-over: sessions and rooms outlive the process.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { ResumingClient } from "../support/resuming.mjs";
import { run, startServer } from "../support/server.mjs";

const config = { session: { resume_window: "30s", drain_spread: "100ms" } };

/** The process that comes after this one has ended. */
async function next(server, { t, workers = 2, ...options }) {
	await server.stop();
	return startServer({ t, workers, config, data: server.data, listen: `127.0.0.1:${server.port}`, ...options });
}

async function client(server, user, options) {
	const made = new ResumingClient(server, await server.mint(user), options);
	await made.connect(null);
	return made;
}

const messages = (list) => list.map((text) => ({ offset: text.offset, data: text.data }));

test("sessions and rooms are there again after a restart, as if nothing had been", async (t) => {
	let server = await startServer({ t, workers: 4, config });
	const [ann, bob, eve] = [
		await client(server, "ann"),
		await client(server, "bob", { batch: true }),
		await client(server, "eve"),
	];
	const rooms = ["one", "two", "three", "four", "five"];
	const peers = {};
	const epochs = {};
	for (const room of rooms)
		for (const [name, who] of Object.entries({ ann, bob, eve })) {
			const joined = await who.call("room.join", { room, state: { name } });
			(peers[room] ??= {})[name] = joined.peer;
			epochs[room] = joined.epoch;
		}
	for (const room of rooms)
		for (let i = 1; i <= 3; i++)
			assert.equal(
				(await ann.call("room.publish", { room, data: i, idempotency_key: `${room} ${i}` })).offset,
				i,
			);
	eve.cut(); // is away when the restart comes
	await bob.until(() => bob.of("room.updated").length === rooms.length, "eve to be seen away");
	const workers = [1, 2, 4];
	for (let restart = 0; restart < workers.length; restart++) {
		for (let i = 0; i < 10; i++)
			bob.send("signal.send", {
				room: rooms[0],
				to: { peer: peers[rooms[0]].eve },
				type: "n",
				data: [restart, i],
			});
		const pid = server.pid;
		server = await next(server, { t, workers: workers[restart] });
		assert.notEqual(server.pid, pid);
		for (const who of [ann, bob]) {
			const [told] = who.of("session.closing").slice(-1);
			assert.equal(told.reason, "draining");
			assert.ok(told.reconnect_after >= 0 && told.reconnect_after <= 0.1);
			assert.equal((await who.closed).code, 1001);
			assert.equal((await who.connect()).resumed, true);
		}
		const members = (await ann.call("room.presence", { room: "one" })).members;
		assert.deepEqual(
			members.map(({ peer, user, state, connected }) => ({ peer, user, state, connected })),
			["bob", "eve"].map((name) => ({
				peer: peers.one[name],
				user: name,
				state: { name },
				connected: name !== "eve",
			})),
		);
		// the same offsets go on, the keys are known
		for (const room of rooms) {
			const data = `after ${restart}`;
			const again = await ann.call("room.publish", { room, data: 1, idempotency_key: `${room} 1` });
			assert.deepEqual(again, { epoch: epochs[room], offset: 1 });
			assert.equal((await ann.call("room.publish", { room, data })).offset, 4 + restart);
		}
		const late = await client(server, "late");
		const joined = await late.call("room.join", { room: "two", since: { epoch: epochs.two, offset: 1 } });
		assert.equal(joined.recovered, true);
		assert.deepEqual(messages(joined.messages), [
			...[2, 3].map((data) => ({ offset: data, data })),
			...Array.from({ length: restart + 1 }, (_, i) => ({ offset: 4 + i, data: `after ${i}` })),
		]);
		assert.deepEqual(
			joined.members.map(({ user, polite }) => [user, polite]),
			["ann", "bob", "eve"].map((user) => [user, true]),
		);
		await late.close();
		await bob.until(() => bob.of("room.left").length === restart + 1, "the late one to leave");
	}
	assert.equal((await eve.connect()).resumed, true);
	await eve.until(() => eve.of("signal.received").length === 10 * workers.length, "the signals of all the time");
	assert.deepEqual(
		eve.of("signal.received").map(({ data }) => data),
		workers.flatMap((_, restart) => Array.from({ length: 10 }, (_, i) => [restart, i])),
	);
	await bob.until(() => bob.of("room.updated").length === 2 * rooms.length, "eve to be seen again");
	for (const room of rooms)
		assert.deepEqual(
			bob
				.of("room.updated")
				.filter((updated) => updated.room === room)
				.map(({ peer, changes }) => [peer, changes]),
			[false, true].map((connected) => [peers[room].eve, { connected }]),
		);
	for (const who of [ann, bob]) {
		assert.deepEqual(
			who.of("room.left").map(({ reason }) => reason),
			workers.map(() => "left"),
		);
		for (const room of rooms)
			assert.deepEqual(
				who
					.of("room.message")
					.filter((message) => message.room === room)
					.map(({ offset }) => offset),
				[1, 2, 3, ...workers.map((_, i) => 4 + i)],
			);
	}
});

test("who does not come back is lost, and nobody sees a flicker of the others", async (t) => {
	const short = { session: { resume_window: "1s", drain_spread: "100ms" } };
	const first = await startServer({ t, workers: 2, config: short });
	const [ann, bob, eve] = [
		await client(first, "ann"),
		await client(first, "bob"),
		await client(first, "eve"),
	];
	const peers = [];
	for (const who of [ann, bob, eve]) peers.push((await who.call("room.join", { room: "r" })).peer);
	const server = await next(first, { t, workers: 2, config: short });
	assert.equal((await ann.connect()).resumed, true);
	assert.equal((await bob.connect()).resumed, true);
	await ann.until(() => ann.of("room.left").length, "eve to be lost");
	assert.deepEqual(ann.of("room.left"), [{ room: "r", peer: peers[2], reason: "lost" }]);
	assert.deepEqual(ann.of("room.updated"), []);
	await assert.doesNotReject(eve.connect());
	assert.equal(eve.opened.resumed, false);
	assert.equal((await ann.call("room.presence", { room: "r" })).members.length, 1);
	assert.equal((await server.metrics()).signalbox_sessions_handed_over_total, 3);
});

test("requests that were under way have one outcome, be they handled before or after", async (t) => {
	for (const workers of [1, 2]) {
		const first = await startServer({ t, workers: 2, config });
		const ann = await client(first, "ann");
		await ann.call("room.join", { room: "r" });
		const ids = [];
		const stopping = new Promise((done) => first.exited().then(done));
		for (let i = 0; i < 300; i++) {
			ids.push(ann.send("room.publish", { room: "r", data: i }));
			if (i === 100) first.signal("SIGTERM");
			if (i % 10 === 0) await new Promise((done) => setImmediate(done));
		}
		await stopping;
		await next(first, { t, workers });
		assert.equal((await ann.connect()).resumed, true);
		await ann.until(() => ids.every((id) => ann.answers.has(id)), "all answers");
		assert.deepEqual(
			ids.map((id) => ann.answers.get(id).result?.offset),
			ids.map((_, i) => i + 1),
		);
		await ann.until(() => ann.of("room.message").length >= ids.length, "all messages");
		assert.deepEqual(
			ann.of("room.message").map(({ data }) => data),
			ids.map((_, i) => i),
		);
	}
});

/** A server with one client in a room, which has ended; and what its database then held. */
async function left(t, options = {}) {
	const first = await startServer({ t, workers: 2, config, ...options });
	const ann = await client(first, "ann");
	await ann.call("room.join", { room: "r" });
	await first.stop();
	return { first, ann };
}

const database = (server) => join(server.data, "signalbox.db");
const sql = (server, text) => execFileSync("sqlite3", [database(server), text], { encoding: "utf8" }).trim();

async function assertNothingIsThere(t, first, ann, said) {
	const server = await next(first, { t });
	assert.match(server.log, said);
	assert.equal((await ann.connect()).resumed, false);
	assert.equal((await ann.call("room.join", { room: "r" })).members.length, 0);
	assert.equal(sql(server, "SELECT count(*) FROM hand_over"), "0");
	await server.stop();
}

test("a store that does not take it costs the sessions, not the end", async (t) => {
	for (const fault of ["HAND_OVER_PUT:1:internal", "HAND_OVER_PUT:1:commit"]) {
		const { first, ann } = await left(t, { env: { SIGNALBOX_STORE_FAULT: fault } });
		assert.match(first.log, /no session is handed over/);
		await assertNothingIsThere(t, first, ann, /./);
	}
});

test("what is damaged, or of another version, is dropped as a whole", async (t) => {
	const damages = {
		"UPDATE hand_over SET bytes = CAST(replace(bytes, 'ann', 'bob') AS BLOB)": /damaged/,
		"UPDATE hand_over SET bytes = CAST(bytes || X'00' AS BLOB)": /damaged/,
		"UPDATE hand_over SET bytes = CAST(substr(bytes, 1, length(bytes) - 9) AS BLOB)": /damaged/,
		"UPDATE hand_over SET bytes = CAST(substr(bytes, 1, 30) AS BLOB)": /damaged/,
		"UPDATE hand_over SET bytes = X'00'": /another version/,
		"UPDATE hand_over SET bytes = X''": /another version/,
		"UPDATE hand_over SET bytes = CAST('signalbox hand-over 2' || X'0A' || substr(bytes, 23) AS BLOB)":
			/another version/,
	};
	for (const [damage, said] of Object.entries(damages)) {
		const { first, ann } = await left(t);
		assert.equal(sql(first, "SELECT count(*) FROM hand_over"), "1");
		sql(first, damage);
		await assertNothingIsThere(t, first, ann, said);
	}
});

test("what cannot be taken out of the store is not used", async (t) => {
	for (const fault of ["HAND_OVER_CLEAR:1:internal", "HAND_OVER_GET:1:internal"]) {
		const { first, ann } = await left(t);
		const server = await next(first, { t, env: { SIGNALBOX_STORE_FAULT: fault } });
		assert.match(server.log, /cannot be read/);
		assert.equal((await ann.connect()).resumed, false);
	}
});

test("a command that is the service for a moment leaves it to the next", async (t) => {
	const { first, ann } = await left(t);
	assert.equal((await run(["user", "list", "--data", first.data])).code, 0);
	await next(first, { t });
	assert.equal((await ann.connect()).resumed, true);
});

test("an account that is disabled between the two has no session in the next", async (t) => {
	const { first, ann } = await left(t);
	assert.equal((await run(["user", "disable", "ann", "--data", first.data])).code, 0);
	const server = await next(first, { t });
	await assert.rejects(ann.connect());
	assert.equal((await server.metrics()).signalbox_sessions, 0);
});

test("after kill -9 it is said at once that nothing is there to resume, and the data is", async (t) => {
	const first = await startServer({ t, workers: 2, config });
	const ann = await client(first, "ann");
	await ann.call("room.create", { room: "kept", title: "A title" });
	await ann.call("room.join", { room: "kept" });
	await first.kill();
	await next(first, { t });
	const opened = await ann.connect();
	assert.equal(opened.resumed, false);
	assert.equal((await ann.call("room.get", { room: "kept" })).title, "A title");
});

test("a session without a window ends with the process", async (t) => {
	const none = { session: { resume_window: "0s" } };
	const first = await startServer({ t, workers: 2, config: none });
	const ann = await client(first, "ann");
	await first.stop();
	assert.equal((await ann.closed).code, 1001);
	assert.deepEqual(ann.of("session.closing"), []);
	await next(first, { t, config: none });
	assert.equal((await ann.connect()).resumed, false);
});
