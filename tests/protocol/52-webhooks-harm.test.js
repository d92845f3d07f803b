// Webhooks when things go wrong: receivers that are down, slow, fail, lose answers, never answer, answer with
// far too much or send elsewhere; the service killed, handed over or reloaded in between. Pauses between tries
// are compressed by the configuration: "down for a minute" is some hundred of them here as there.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import test from "node:test";
import { connect } from "../support/client.mjs";
import { randomFrom, SEED } from "../support/random.mjs";
import { brief, newSecret, Receiver } from "../support/receiver.mjs";
import { anyPace, atOnce, startServer } from "../support/server.mjs";

const hooks = { first_retry: "10ms", last_retry: "40ms" };
const resuming = { session: { resume_window: "20s" } };

const FOLLOWED = Number(process.env.EVENTS ?? 2000); // of the ten thousand that wait

const byKey = (events) => Map.groupBy(events, ({ key }) => key);

/** What came of one room makes sense in this order. */
function checkRoom(events) {
	const inside = new Set();
	let occupied = false;
	for (const { type, data } of events) {
		if (type === "room.occupied") assert.equal(occupied, false);
		if (type === "room.joined") assert.ok(occupied && !inside.has(data.peer));
		if (type === "room.published") assert.ok(inside.has(data.from.peer));
		if (type === "room.left") assert.ok(inside.delete(data.peer));
		if (type === "room.vacated") assert.ok(occupied && inside.size === 0);
		if (type === "room.joined") inside.add(data.peer);
		if (type === "room.occupied" || type === "room.vacated") occupied = type === "room.occupied";
	}
	assert.ok(!occupied && inside.size === 0);
}

/** Publishes until it is told to stop or the service is gone; what was answered is in `done`. */
function talk(client, room, done, stop) {
	return (async () => {
		await client.call("room.join", { room });
		while (!stop.now) {
			const n = done.next++;
			await client.call("room.publish", { room, data: n });
			done.answered.push(n);
		}
	})().catch((error) => {
		if (!stop.now && !/closed/.test(error.message)) throw error;
	});
}

test("down, slow, failing, losing its answers, and the service killed: all of it arrives, in order", async (t) => {
	t.diagnostic(`SEED=${SEED}`);
	const random = randomFrom(SEED);
	const receiver = await new Receiver().listen(t);
	const config = { ...atOnce, limits: anyPace, hooks, webhooks: [receiver.webhook({ events: ["room.*"], timeout: "300ms" })] };
	let server = await startServer({ workers: 2, config });
	t.after(() => server.stop());
	receiver.answer = async (event, response) => {
		const luck = random.below(10);
		if (luck === 0) return 500;
		if (luck === 1) return void response.destroy(); // it has it, and nobody knows
		if (luck === 2) await new Promise((done) => setTimeout(done, 20));
		receiver.events.push(event);
		if (luck === 3) return void response.destroy();
		response.writeHead(204).end();
	};
	const said = { a: { next: 0, answered: [] }, b: { next: 0, answered: [] } };
	const stop = { now: false };
	for (const life of [0, 1]) {
		stop.now = false;
		const ann = await connect(server, { user: "ann" });
		const bob = await connect(server, { user: "bob" });
		const talks = [talk(ann, "a", said.a, stop), talk(bob, "b", said.b, stop)];
		const enough = (count) => () => said.a.answered.length >= count && said.b.answered.length >= count;
		const reach = async (condition) => {
			while (!condition()) await new Promise((done) => setTimeout(done, 5));
		};
		const begun = Math.max(said.a.answered.length, said.b.answered.length);
		await reach(enough(begun + 15));
		const { port } = receiver;
		await receiver.close();
		await reach(enough(begun + 30));
		if (life === 0) {
			stop.now = true;
			await server.kill();
			await Promise.all(talks);
			server = await startServer({ workers: 3, config, data: server.data, t });
		}
		await receiver.listen(undefined, port);
		if (life === 1) {
			stop.now = true;
			await Promise.all(talks);
			await Promise.all([ann.close(), bob.close()]);
		}
	}
	const vacated = (all) => new Set(all.filter(({ type }) => type === "room.vacated").map(({ id }) => id)).size === 4;
	await receiver.got((all) => vacated(all), "the last of all rooms");
	const rooms = byKey(receiver.unique);
	for (const [name, { answered }] of Object.entries(said)) {
		const events = rooms.get(`room:${name}`);
		checkRoom(events);
		const numbers = events.filter(({ type }) => type === "room.published").map(({ data }) => data.data);
		assert.deepEqual(numbers, numbers.toSorted((one, other) => one - other));
		assert.equal(new Set(numbers).size, numbers.length);
		const missing = answered.filter((n) => !numbers.includes(n));
		assert.deepEqual(missing, []);
		assert.deepEqual(events.filter(({ data }) => data.reason === "crash").map(({ type }) => type), ["room.left"]);
	}
	assert.ok(receiver.events.length > receiver.unique.length, "no event came twice: nothing was tested");
	assert.deepEqual(receiver.problems, []);
});

test("ten thousand wait for one that is down; the other hears at once, and then that one, too", async (t) => {
	const good = await new Receiver().listen(t);
	const bad = await new Receiver().listen(t);
	const { port } = bad;
	await bad.close();
	const config = {
		...atOnce,
		hooks,
		webhooks: [good.webhook({ name: "good", events: ["room.*"] }), bad.webhook({ name: "bad", events: ["room.*"] })],
	};
	let server = await startServer({ workers: 2, config });
	await server.stop();
	const db = new DatabaseSync(join(server.data, "signalbox.db"));
	db.exec(`INSERT INTO outbox (hook, id, type, key, time, data)
		WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 9999)
		SELECT 'bad', 'msg_' || n, 'room.published', 'room:' || iif(n % 5, 'busy', n % 500), ${Date.now()}, '{"n":' || n || '}' FROM n`);
	db.close();
	server = await startServer({ workers: 2, config, data: server.data, t });
	const ann = await connect(server, { user: "ann" });
	await ann.call("room.join", { room: "r" });
	await good.got((all) => all.length === 2);
	const says = async (name, value) => {
		while ((await server.metrics())[name] !== value) await new Promise((done) => setTimeout(done, 20));
	};
	await says("signalbox_hooks_waiting", 10_002);
	await says("signalbox_hooks_down", 1);
	await bad.listen(t, port);
	await bad.got((all) => all.length >= FOLLOWED && all.some(({ type }) => type === "room.joined"));
	const lanes = byKey(bad.events);
	assert.ok(lanes.size > 50 && lanes.get("room:busy").length > 16);
	for (const events of lanes.values())
		assert.ok(events.every(({ sequence }, i) => i === 0 || sequence > events[i - 1].sequence));
	const busy = lanes.get("room:busy").map(({ data }) => data.n);
	assert.deepEqual(busy, busy.map((_, i) => i + 1 + Math.floor(i / 4))); // without a hole
	assert.ok(bad.most <= 16);
	await says("signalbox_hooks_down", 0);
	await ann.close();
});

test("what has waited too long is given up, as fast as it comes", async (t) => {
	const bad = await new Receiver().listen(t);
	await bad.close();
	const config = { ...atOnce, hooks: { ...hooks, keep: "2s" }, webhooks: [bad.webhook({ name: "bad", events: ["room.*"] })] };
	const first = await startServer({ config });
	await first.stop();
	const db = new DatabaseSync(join(first.data, "signalbox.db"));
	db.exec(`INSERT INTO outbox (hook, id, type, key, time, data)
		WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 19999)
		SELECT 'bad', 'msg_' || n, 'room.published', 'room:r', ${Date.now() - 3_600_000}, '{}' FROM n`);
	db.close();
	const server = await startServer({ config, data: first.data, t });
	await server.logged(/given up.*events=20000/); // said once, at the end
	const { signalbox_hooks_waiting, signalbox_hooks_expired_total } = await server.metrics();
	assert.deepEqual([signalbox_hooks_waiting, signalbox_hooks_expired_total], [0, 20_000]);
});

test("receivers that never answer, answer far too much, send elsewhere or hang up hold up nobody else", async (t) => {
	const other = await new Receiver().listen(t);
	const behaviours = {
		silent: () => undefined,
		huge: (_, response) => {
			response.writeHead(200);
			const flood = () => {
				while (!response.destroyed && response.write("x".repeat(65536)));
			};
			response.on("drain", flood);
			flood();
		},
		moved: (_, response) => void response.writeHead(307, { location: other.url }).end(),
		reset: (_, response) => void response.socket.resetAndDestroy(),
	};
	const receivers = {};
	for (const [name, answer] of Object.entries(behaviours)) {
		receivers[name] = await new Receiver().listen(t);
		receivers[name].answer = answer;
	}
	const good = await new Receiver().listen(t);
	const webhooks = [...Object.entries(receivers), ["good", good]].map(([name, receiver]) =>
		receiver.webhook({ name, events: ["room.*"], timeout: "200ms" }),
	);
	const server = await startServer({ t, workers: 2, config: { ...atOnce, hooks, webhooks } });
	const ann = await connect(server, { user: "ann" });
	for (let i = 0; i < 10; i++) await ann.call("room.join", { room: `r${i}` });
	await ann.close();
	await good.got((all) => all.filter(({ type }) => type === "room.vacated").length === 10);
	// more than it wants to read is a yes all the same
	const { huge, silent, moved, reset } = receivers;
	await huge.got((_, { attempts }) => attempts.filter(({ type }) => type === "room.vacated").length === 10);
	assert.equal(new Set(huge.attempts.map(({ id }) => id)).size, huge.attempts.length);
	for (const one of [silent, moved, reset]) {
		await one.got((_, { attempts }) => attempts.length >= 4, "another try");
		one.answer = () => 204;
	}
	for (const one of [silent, moved, reset])
		await one.got((all) => all.filter(({ type }) => type === "room.vacated").length === 10);
	assert.equal(other.attempts.length, 0);
	await server.logged(/a webhook does not take events.*webhook=moved.*status is 307/);
	await server.logged(/a webhook takes events again.*webhook=moved/);
});

test("addresses of this machine and of private networks are not asked, however they are spelled", async (t) => {
	const receiver = await new Receiver().listen(t);
	const secret = newSecret();
	const hosts = ["[::ffff:127.0.0.1]", "0.0.0.0", "169.254.169.254", "10.1.2.3", "192.168.0.1", "[fd00::1]", "[64:ff9b::a00:1]", "100.64.0.1"];
	const webhooks = hosts.map((host, i) => ({ name: `h${i}`, url: `https://${host}:${receiver.port}/`, secret }));
	const server = await startServer({ t, config: { ...atOnce, hooks, webhooks } });
	await (await connect(server, { user: "ann" })).close();
	for (const i of hosts.keys())
		await server.logged(new RegExp(`does not take events.*webhook=h${i} why="the address is on this machine or in a private network"`));
	assert.deepEqual([receiver.problems, receiver.attempts], [[], []]);
});

test("webhooks come, go, change and get another secret by a reload", async (t) => {
	const [one, two] = [await new Receiver().listen(t), await new Receiver().listen(t)];
	const write = (...webhooks) => writeFileSync(`${server.data}.yaml`, JSON.stringify({ ...atOnce, hooks, webhooks }));
	let loads = 0;
	const reload = async (...webhooks) => {
		write(...webhooks);
		server.signal("SIGHUP");
		loads++;
		await server.logged(new RegExp(`(?:configuration reloaded[^]*){${loads}}`));
	};
	const server = await startServer({ t, workers: 2, config: { ...atOnce, hooks, webhooks: [one.webhook({ name: "one", events: ["room.*"] })] } });
	const ann = await connect(server, { user: "ann" });
	const visit = async (room) => {
		await ann.call("room.join", { room });
		await ann.call("room.leave", { room });
	};
	const has = (room) => (all) => all.some(({ type, data }) => type === "room.vacated" && data.room === room);
	await visit("a");
	await one.got(has("a"));
	// another one; the first is down, then moves
	await one.close();
	await reload(one.webhook({ name: "one", events: ["room.*"] }), two.webhook({ events: ["room.vacated"] }));
	await visit("b");
	await two.got(has("b"));
	const old = one.secret;
	one.secret = newSecret();
	await one.listen();
	await reload(one.webhook({ name: "one", events: ["room.*"], previous_secret: old }));
	await one.got(has("b")); // what waited under its name
	one.secret = old; // a receiver that has not changed yet
	await visit("c");
	await one.got(has("c"));
	assert.deepEqual(two.events.map(brief), ["room.vacated b"]);
	await reload();
	await visit("d");
	await reload(one.webhook({ name: "one", events: ["room.*"] }));
	await visit("e");
	await one.got(has("e"));
	assert.ok(!has("d")(one.events));
	assert.deepEqual(one.problems, []);
	await one.close();
	await ann.close();
});

test("a hand-over in the middle of a delivery: it comes again, and nothing is told as ended that goes on", async (t) => {
	const receiver = await new Receiver().listen(t);
	const webhooks = [receiver.webhook({ timeout: "30s" })];
	const server = await startServer({ t, workers: 2, config: { ...resuming, hooks, webhooks } });
	const ann = await connect(server, { user: "ann" });
	await ann.call("room.join", { room: "r" });
	await receiver.got((all) => all.some(({ type }) => type === "room.joined"));
	receiver.answer = () => undefined;
	await ann.call("room.publish", { room: "r", data: 1 });
	await receiver.got((_, { attempts }) => attempts.some(({ type }) => type === "room.published"));
	receiver.answer = () => 204; // to the next try; this one hangs
	const next = await server.successor({ t, workers: 3 });
	await receiver.got((all) => all.some(({ type }) => type === "room.published"));
	const tried = receiver.attempts.filter(({ type }) => type === "room.published");
	assert.equal(new Set(tried.map(({ id }) => id)).size, 1);
	assert.ok(tried.length >= 2);
	assert.deepEqual(receiver.unique.filter(({ type }) => /left|vacated|closed/.test(type)), []);
	const back = await connect(next, { user: "ann", params: { resume: { session: ann.id, received: ann.received } } });
	assert.equal(back.session.resumed, true);
	await back.close();
	await receiver.got((all) => all.some(({ type }) => type === "session.closed") && all.some(({ type }) => type === "room.vacated"));
	const [opened, closed] = receiver.unique.filter(({ key }) => key === "user:ann");
	assert.deepEqual([closed.data.session, closed.data.reason], [opened.data.session, "closed"]);
	assert.deepEqual(receiver.unique.filter(({ key }) => key === "room:r").map(brief).slice(-2), ["room.left r ann left", "room.vacated r"]);
	assert.deepEqual(receiver.problems, []);
});
