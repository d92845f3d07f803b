// A restart is a hand-over: sessions and rooms outlive the process.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, writeFileSync } from "node:fs";
import { connect as connectTo, createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { eventStream } from "../support/http-session.mjs";
import { rawConnect, requestText, upgradeText } from "../support/raw.mjs";
import { ResumingClient } from "../support/resuming.mjs";
import { anyPace, binary, ownDirectory, run, startServer } from "../support/server.mjs";

const config = {
	session: { resume_window: "30s", drain_spread: "100ms" },
	limits: { ...anyPace, requests_in_flight: 1000 },
};

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
		for (const who of [ann, bob])
			await who.until(() => who.of("room.left").length === restart + 1, "the late one to leave");
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
	const { first, ann } = await left(t, { env: { SIGNALBOX_STORE_FAULT: "HAND_OVER_PUT:1:internal" } });
	assert.match(first.log, /no session is handed over/);
	await assertNothingIsThere(t, first, ann, /./);
});

test("a store that is in trouble for a while takes it when it can", async (t) => {
	const { first, ann } = await left(t, { env: { SIGNALBOX_STORE_FAULT: "HAND_OVER_PUT:1:commit,HAND_OVER_PUT:2:overloaded" } });
	await next(first, { t });
	assert.equal((await ann.connect()).resumed, true);
});

test("what is damaged, or of another version, is dropped as a whole", async (t) => {
	const damages = {
		"UPDATE hand_over SET bytes = CAST(replace(bytes, 'ann', 'bob') AS BLOB)": /damaged/,
		"UPDATE hand_over SET bytes = CAST(bytes || X'00' AS BLOB)": /damaged/,
		"UPDATE hand_over SET bytes = CAST(substr(bytes, 1, length(bytes) - 9) AS BLOB)": /damaged/,
		"UPDATE hand_over SET bytes = CAST(substr(bytes, 1, 30) AS BLOB)": /damaged/,
		"UPDATE hand_over SET bytes = X'00'": /another version/,
		"UPDATE hand_over SET bytes = X''": /another version/,
		"UPDATE hand_over SET bytes = CAST('signalbox hand-over 1' || X'0A' || substr(bytes, 23) AS BLOB)":
			/another version/,
	};
	for (const [damage, said] of Object.entries(damages)) {
		const { first, ann } = await left(t);
		assert.equal(sql(first, "SELECT count(*) FROM hand_over"), "1");
		sql(first, damage);
		await assertNothingIsThere(t, first, ann, said);
	}
});

test("what cannot be read, or marked as being read, is not used", async (t) => {
	for (const fault of ["HAND_OVER_TRY:1:internal", "HAND_OVER_GET:1:internal"]) {
		const { first, ann } = await left(t);
		const server = await next(first, { t, env: { SIGNALBOX_STORE_FAULT: fault } });
		assert.match(server.log, /cannot be read/);
		assert.equal((await ann.connect()).resumed, false);
	}
});

test("a start that dies while it takes over leaves all to the next; the fourth gives it up", async (t) => {
	for (const deaths of [2, 3]) {
		const { first, ann } = await left(t);
		for (let i = 0; i < deaths; i++) {
			const options = ["serve", "--data", first.data, "--listen", `127.0.0.1:${first.port}`];
			const env = { SIGNALBOX_STORE_FAULT: "HAND_OVER_CLEAR:1:delay=60000" };
			const dying = spawn(binary, options, { env: { ...env, PATH: process.env.PATH } });
			t.after(() => dying.kill("SIGKILL"));
			for await (const line of createInterface({ input: dying.stderr }))
				if (line.includes("taken over")) break;
			dying.kill("SIGKILL");
			await once(dying, "exit");
		}
		if (deaths === 3) {
			await assertNothingIsThere(t, first, ann, /start after start/);
		} else {
			await next(first, { t });
			assert.equal((await ann.connect()).resumed, true);
		}
	}
});

test("who had only begun to ask is answered", async (t) => {
	const first = await startServer({ t, workers: 2, config });
	const texts = [
		upgradeText(first, { Authorization: `Bearer ${await first.mint("ann")}` }),
		requestText("POST /v1/rpc", { Host: "x", "Content-Length": 2 }, "{}"),
		requestText("GET /health", { Host: "x" }),
	];
	const begun = [];
	for (const text of texts)
		for (const part of [0, 0.5, 0.97]) {
			const raw = await rawConnect(first);
			const at = Math.floor(part * text.length);
			raw.write(text.slice(0, at));
			begun.push({ raw, text, at });
		}
	const accepted = async () => (await first.metrics()).signalbox_accepted_total;
	while ((await accepted()) < begun.length) await new Promise(setImmediate);
	await first.successor();
	for (const { raw, text, at } of begun) raw.write(text.slice(at));
	for (const { raw, text } of begun) {
		const { status, headers } = await raw.response();
		assert.equal(status, [101, 503, 200][texts.indexOf(text)]);
		if (status === 101) assert.equal(await raw.closeCode(), 1001);
		if (status === 503) assert.ok(headers["retry-after"] >= 1);
		raw.destroy();
	}
	assert.equal((await first.exited()).code, 0);
});

test("an operator's SIGTERM beside a take-over costs nothing", async (t) => {
	for (const ms of [0, 5, 10, 15, 20, 30]) {
		const first = await startServer({ t, workers: 2, config });
		const ann = await client(first, "ann");
		const successor = first.successor();
		await new Promise((done) => setTimeout(done, ms));
		if (!first.ended) first.signal("SIGTERM");
		await successor;
		assert.equal((await first.exited()).code, 0);
		assert.equal((await ann.connect()).resumed, true);
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

// ---- taking over from a process that runs ----

/** Connects all the time; what did not get through in order is in `wrong`. */
function prober(t, server) {
	const wrong = [];
	let going = true;
	let count = 0;
	const one = () =>
		new Promise((done) => {
			const socket = connectTo(server.port, "127.0.0.1");
			let text = "";
			socket.setTimeout(20_000, () => socket.destroy(new Error("silent for 20 s")));
			socket.on("connect", () =>
				socket.write("GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
			);
			socket.on("data", (data) => (text += data));
			socket.on("error", (error) => wrong.push(error.message));
			socket.on("close", () => {
				count++;
				if (!/^HTTP\/1.1 (200|503)/.test(text)) wrong.push(text || "nothing");
				done();
			});
		});
	const probes = Array.from({ length: 4 }, async () => {
		while (going) await one();
	});
	t.after(() => (going = false));
	return {
		async stop() {
			going = false;
			await Promise.all(probes);
			assert.deepEqual(wrong, []);
			return count;
		},
	};
}

test("a successor goes on with everything, whatever its number of workers", async (t) => {
	let server = await startServer({ t, workers: 1, config });
	const probes = prober(t, server);
	const [ann, bob] = [await client(server, "ann"), await client(server, "bob")];
	const { peer } = await ann.call("room.join", { room: "r" });
	await bob.call("room.join", { room: "r" });
	const counts = [4, 2, 5, 1];
	for (const workers of counts) {
		const next = await server.successor({ t, workers });
		assert.equal((await server.exited()).code, 0);
		assert.match(server.log, /handing over/);
		server = next;
		for (const who of [ann, bob]) {
			assert.equal((await who.closed).code, 1001);
			assert.equal((await who.connect()).resumed, true);
		}
		bob.send("signal.send", { room: "r", to: { peer }, type: "n", data: workers });
	}
	await ann.until(() => ann.of("signal.received").length === counts.length, "all signals");
	assert.deepEqual(ann.of("signal.received").map(({ data }) => data), counts);
	assert.deepEqual([...ann.of("room.updated"), ...ann.of("room.left")], []);
	assert.ok((await probes.stop()) > 10);
});

test("sessions over streams and POSTs go on as those over WebSockets do", async (t) => {
	let server = await startServer({ t, workers: 2, config });
	const [ann, bob] = [await client(server, "ann", { over: eventStream }), await client(server, "bob")];
	await ann.call("room.join", { room: "r" });
	const { peer } = await bob.call("room.join", { room: "r" });
	let n = 0;
	for (const workers of [3, 1]) {
		const ids = [];
		const send = () =>
			ids.push(ann.send("signal.send", { room: "r", to: { peer }, type: "n", data: n++ }));
		for (let i = 0; i < 10; i++) send();
		server = await server.successor({ t, workers });
		for (let i = 0; i < 10; i++) send();
		for (const who of [ann, bob]) {
			assert.equal((await who.closed).code, 1001);
			assert.equal((await who.connect()).resumed, true);
		}
		await ann.until(() => ids.every((id) => ann.answers.has(id)), "the answers");
	}
	await bob.until(() => bob.of("signal.received").length >= n, "the signals");
	assert.deepEqual(
		bob.of("signal.received").map(({ data }) => data),
		[...Array(n).keys()],
	);
});

test("who cannot serve takes nothing over, and nothing has changed for the one that runs", async (t) => {
	const server = await startServer({ t, workers: 2, config });
	const ann = await client(server, "ann");
	const folder = ownDirectory();
	const taken = createServer().listen(0, "127.0.0.1");
	await once(taken, "listening");
	t.after(() => taken.close());
	const nothing = join(folder, "nothing.pem");
	writeFileSync(nothing, "nothing");
	const attempts = [
		["--listen", "no address"],
		[`--tls.certificate=${nothing}`, `--tls.key=${nothing}`],
		["--listen", `127.0.0.1:${server.port},127.0.0.1:${taken.address().port}`],
		["--config", join(folder, "none.yaml")],
	];
	for (const words of attempts) {
		const { code } = await run([
			"serve", "--data", server.data, "--listen", `127.0.0.1:${server.port}`, "--take-over", ...words,
		]);
		assert.notEqual(code, 0, words.join(" "));
		assert.equal((await ann.call("session.ping", {}).catch((error) => error)).code, undefined);
	}
	assert.doesNotMatch(server.log, /stopping/);
	assert.equal((await fetch(`${server.url}/ready`)).status, 200);
	assert.deepEqual(ann.of("session.closing"), []);
});

test("with other data there is nobody to take over from, and the address is in use", async (t) => {
	const server = await startServer({ t, config });
	const { code, stderr } = await run([
		"serve", "--data", join(ownDirectory(), "d"), "--listen", `127.0.0.1:${server.port}`, "--take-over",
	]);
	assert.equal(code, 1);
	assert.match(stderr, /nobody to take over from/);
	assert.match(stderr, /another program has it/);
	assert.equal((await fetch(`${server.url}/ready`)).status, 200);
});

test("without a predecessor a take-over is a start", async (t) => {
	const server = await startServer({ t, config, args: ["--take-over"] });
	assert.match(server.log, /nobody to take over from/);
	assert.equal((await fetch(`${server.url}/ready`)).status, 200);
});

test("of two successors at once one has it, and the other says so or comes after it", async (t) => {
	const server = await startServer({ t, workers: 2, config });
	const probes = prober(t, server);
	const ann = await client(server, "ann");
	const outcomes = await Promise.allSettled([1, 2].map((workers) => server.successor({ workers })));
	const [last, ...others] = outcomes
		.filter(({ status }) => status === "fulfilled")
		.map(({ value }) => value)
		.sort((a, b) => (a.ended ? 1 : 0) - (b.ended ? 1 : 0));
	assert.ok(last, outcomes.map(({ reason }) => reason?.message).join("\n"));
	t.after(() => last.stop());
	for (const other of others) assert.equal((await other.exited()).code, 0);
	await ann.closed;
	assert.equal((await ann.connect()).resumed, true);
	await probes.stop();
});

test("while the service stops, a successor waits for it and starts", async (t) => {
	const server = await startServer({ t, workers: 2, config, env: { SIGNALBOX_STORE_FAULT: "HAND_OVER_PUT:1:delay=1500" } });
	const ann = await client(server, "ann");
	server.signal("SIGTERM");
	await server.logged("stopping");
	const next = await server.successor({ t, env: {} });
	assert.equal((await server.exited()).code, 0);
	assert.equal((await ann.connect()).resumed, true);
	assert.equal((await fetch(`${next.url}/ready`)).status, 200);
});

test("a successor that dies after the old one has let go leaves everything to the next", async (t) => {
	const server = await startServer({ t, workers: 2, config, env: { SIGNALBOX_STORE_FAULT: "HAND_OVER_PUT:1:delay=1000" } });
	const ann = await client(server, "ann");
	server.ending = true;
	const words = ["serve", "--data", server.data, "--listen", `127.0.0.1:${server.port}`, "--take-over"];
	const dying = spawn(binary, words, { stdio: "ignore", env: { PATH: process.env.PATH } });
	await server.logged("handing over");
	dying.kill("SIGKILL");
	assert.equal((await server.exited()).code, 0);
	await startServer({ t, workers: 1, config, data: server.data, listen: `127.0.0.1:${server.port}` });
	assert.equal((await ann.connect()).resumed, true);
});

test("an address that is new is opened, one that is not wanted any more is closed", async (t) => {
	const server = await startServer({ t, workers: 2, config });
	const listen = `127.0.0.1:${server.port},127.0.0.2:${server.port}`;
	const second = await server.successor({ t, listen, workers: 3 });
	const reach = async (host) => (await fetch(`http://${host}:${server.port}/ready`)).status;
	assert.deepEqual([await reach("127.0.0.1"), await reach("127.0.0.2")], [200, 200]);
	const third = await second.successor({ t, listen: `127.0.0.2:${server.port}` });
	assert.match(third.log, /no longer listened on/);
	assert.equal(await reach("127.0.0.2"), 200);
	await assert.rejects(reach("127.0.0.1"));
});

test("nobody but a successor is told of sockets: there is no such method elsewhere", async (t) => {
	const server = await startServer({ t, workers: 1, config });
	const ann = new ResumingClient(server, await server.mint("ann", { scope: "admin rooms:join" }));
	await ann.connect(null);
	for (const method of ["service.sockets", "service.hand_over"])
		await assert.rejects(ann.call(method, {}), { code: -32601 });
	assert.equal(existsSync(join(server.data, "control.sock")), true);
	assert.doesNotMatch(server.log, /handing over/);
});
