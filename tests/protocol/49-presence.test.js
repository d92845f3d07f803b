// Who is there: of a user over all sessions, in spite of connections that come and go, to those who watch.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { connect } from "../support/client.mjs";
import { foreignIssuer } from "../support/foreign.mjs";
import { ResumingClient } from "../support/resuming.mjs";
import { callRaw, post, refused, refusedField } from "../support/rooms.mjs";
import { anyPace, startServer } from "../support/server.mjs";

const GRACE_MS = 400;
const LINGER_MS = 300;
const WINDOW_S = 1;
const issuer = await foreignIssuer("f"); // whose users need no accounts
const config = {
	presence: { grace: `${GRACE_MS}ms`, linger: `${LINGER_MS}ms` },
	session: { resume_window: `${WINDOW_S}s`, drain_spread: "0s" },
	limits: anyPace,
	issuers: [issuer.config],
};
const MOST_WATCHED = 1024;
const PAGE = 256;

const full = (name) => `f|${name}`;
const short = ({ user, ...rest }) => ({ user: user.slice("f|".length), ...rest });

const come = async (server, name, claims) => connect(server, { token: await issuer.token(name, claims) });

/** A client that loses connections and resumes. */
async function resuming(server, name) {
	const made = new ResumingClient(server, await issuer.token(name));
	await made.connect(null);
	return made;
}

/** The answer about these users, whose names are without the issuer's alias here. */
const ask = async (client, method, ...names) =>
	(await client.call(method, { users: names.map(full) })).users.map(short);
const watch = (client, ...names) => ask(client, "presence.watch", ...names);
const get = (client, ...names) => ask(client, "presence.get", ...names);

const statuses = (users) => Object.fromEntries(users.map(({ user, status }) => [user, status]));

const isOf = (name) => ({ method, params }) =>
	method === "presence.changed" && params.users.some(({ user }) => user === full(name));

/** What the watcher hears next of this user; what it hears of others stays unread. */
async function heard(client, name) {
	const { params } = await client.next(isOf(name));
	return params.users.map(short).find(({ user }) => user === name);
}

/** Nothing more has come of this user by when a change of another has, which is made now. */
async function silentOf(watcher, name, witness) {
	for (const status of ["away", "online"]) {
		await witness.call("presence.set", { status });
		assert.equal((await heard(watcher, witness.user.slice("f|".length))).status, status);
	}
	assert.deepEqual(watcher.unread.filter(isOf(name)), []);
}

describe("people", { concurrency: true }, () => {
	let server, patient, admin;
	before(async () => {
		server = await startServer({ workers: 4, config });
		patient = await startServer({
			workers: 4,
			config: { ...config, presence: { grace: "1h", linger: "1m" }, session: { resume_window: "1h" } },
		});
		admin = await come(server, "root", { scope: "rooms:join admin" });
	});
	after(() => Promise.all([server.stop(), patient.stop()]));

	test("who watches hears how others are, and of each change once", async () => {
		const ann = await come(server, "ann");
		assert.deepEqual(await watch(ann, "ann", "bob", "ann", "nobody"), [
			{ user: "ann", status: "online", devices: 1 },
			{ user: "bob", status: "offline", devices: 0 },
			{ user: "nobody", status: "offline", devices: 0 },
		]);
		const bob = await come(server, "bob");
		assert.deepEqual(await heard(ann, "bob"), { user: "bob", status: "online" });
		await callRaw(bob, "presence.set", '{"status":"away","note":{"n": 1.50}}');
		assert.deepEqual(await heard(ann, "bob"), { user: "bob", status: "away", note: { n: 1.5 } });
		assert.ok(ann.frames.at(-1).includes('"note":{"n": 1.50}'), "not the note's own bytes");
		// watched again: told again, but not of each change a second time
		assert.deepEqual(await watch(ann, "bob"), [{ user: "bob", status: "away", note: { n: 1.5 }, devices: 1 }]);
		await bob.call("presence.set", { status: "online", note: null });
		assert.deepEqual(await heard(ann, "bob"), { user: "bob", status: "online" });
		await ann.call("presence.set", { status: "away" }); // oneself is a user like others
		assert.deepEqual(await heard(ann, "ann"), { user: "ann", status: "away" });
		const now = Math.floor(Date.now() / 1000);
		await bob.close();
		const gone = await heard(ann, "bob");
		assert.equal(gone.status, "offline");
		assert.ok(gone.last_seen - now >= 0 && gone.last_seen - now <= 2);
		assert.deepEqual(
			ann.events.flatMap(({ params }) => params.users.map(short).map(({ user, status }) => [user, status])),
			[
				["bob", "online"],
				["bob", "away"],
				["bob", "online"],
				["ann", "away"],
				["bob", "offline"],
			],
		);
		await ann.close();
	});

	test("who watches no more hears nothing", async () => {
		const [cat, dan, eve] = [await come(server, "cat"), await come(server, "dan"), await come(server, "eve")];
		await watch(cat, "dan", "eve");
		await cat.call("presence.unwatch", { users: [full("dan"), "a stranger"] });
		await dan.call("presence.set", { status: "away" });
		await silentOf(cat, "dan", eve);
		await watch(cat, "dan");
		await cat.call("presence.unwatch");
		await cat.call("presence.unwatch");
		await dan.call("presence.set", { status: "online" });
		await watch(cat, "eve");
		await silentOf(cat, "dan", eve);
		for (const client of [cat, dan, eve]) await client.close();
	});

	test("a connection that is lost and found again is no news", async () => {
		const [fay, witness] = [await come(patient, "fay"), await come(patient, "gus's witness")];
		const gus = await resuming(patient, "gus");
		await gus.call("presence.set", { status: "online", note: "here" });
		await watch(fay, "gus", "gus's witness");
		for (let i = 0; i < 10; i++) {
			gus.cut();
			assert.equal((await gus.connect()).resumed, true);
		}
		gus.cut();
		await silentOf(fay, "gus", witness);
		assert.deepEqual(await get(fay, "gus"), [{ user: "gus", status: "online", note: "here", devices: 1 }]);
		for (const client of [fay, witness]) await client.close();
	});

	test("who stays without a connection is away, and offline when the session ends", async () => {
		const fay = await come(server, "fay");
		const gus = await resuming(server, "gus");
		await gus.call("presence.set", { status: "online", note: "here" });
		await watch(fay, "gus");
		let cut = Date.now();
		gus.cut();
		assert.deepEqual(await heard(fay, "gus"), { user: "gus", status: "away", note: "here" });
		assert.ok(Date.now() - cut >= GRACE_MS - 5, `away after ${Date.now() - cut} ms`);
		assert.equal((await gus.connect()).resumed, true);
		assert.deepEqual(await heard(fay, "gus"), { user: "gus", status: "online", note: "here" });
		cut = Date.now();
		gus.cut();
		assert.equal((await heard(fay, "gus")).status, "away");
		assert.equal((await heard(fay, "gus")).status, "offline");
		assert.ok(Date.now() - cut >= WINDOW_S * 1000 - 5);
		await fay.close();
	});

	test("a page that is loaded again does not flicker", async () => {
		const [hal, witness] = [await come(patient, "hal"), await come(patient, "ida's witness")];
		await watch(hal, "ida", "ida's witness");
		let ida = await come(patient, "ida");
		assert.equal((await heard(hal, "ida")).status, "online");
		await ida.call("presence.set", { status: "online", note: 1 });
		assert.equal((await heard(hal, "ida")).note, 1);
		for (let i = 0; i < 5; i++) {
			await ida.close();
			ida = await come(patient, "ida");
		}
		await ida.call("presence.set", { status: "online", note: 1 });
		await ida.close();
		await silentOf(hal, "ida", witness);
		assert.deepEqual(await get(hal, "ida"), [{ user: "ida", status: "online", note: 1, devices: 0 }]);
		for (const client of [hal, witness]) await client.close();
	});

	test("a session that the service ends does not linger, but those before it do", async () => {
		const jon = await come(patient, "jon");
		const end = async (kai) => {
			await patient.rpc("session.end", { user: full("kai") });
			await kai.closed;
			while ((await get(jon, "kai"))[0].devices); // its end comes to its user's home
			return (await get(jon, "kai"))[0].status;
		};
		await (await come(patient, "kai")).close();
		assert.equal(await end(await come(patient, "kai")), "online");
		const last = await come(patient, "kai");
		await last.call("presence.set", { status: "online" }); // with which nothing is left of those before
		assert.equal(await end(last), "offline");
		await jon.close();
	});

	test("a user with many devices is there while one of them is", async () => {
		const kim = await come(server, "kim");
		await watch(kim, "lea");
		const devices = await Promise.all(Array.from({ length: 32 }, () => come(server, "lea")));
		assert.equal((await heard(kim, "lea")).status, "online");
		assert.deepEqual(await get(kim, "lea"), [{ user: "lea", status: "online", devices: 32 }]);
		await Promise.all(devices.map((one, i) => i && one.call("presence.set", { status: "away", note: i })));
		await devices[7].call("presence.set", { status: "away", note: "the newest" });
		let last;
		do last = await heard(kim, "lea");
		while (last.note !== "the newest");
		assert.equal(last.status, "online");
		await devices[0].call("presence.set", { status: "away" });
		assert.deepEqual(await heard(kim, "lea"), { user: "lea", status: "away", note: "the newest" });
		await Promise.all(devices.slice(1).map((one) => one.close()));
		do last = await heard(kim, "lea");
		while (last.note !== undefined); // those who left have taken theirs along
		assert.equal(last.status, "away");
		await devices[0].close();
		assert.equal((await heard(kim, "lea")).status, "offline");
		await kim.close();
	});

	test("names are any UTF-8", async () => {
		const max = await come(server, "max");
		const names = ['ünï 🦄 "quoted" \\ ', "ü".repeat(250), "a|b", "client:x", "guest:x", "__proto__", "null"];
		assert.deepEqual(
			await watch(max, ...names),
			names.map((user) => ({ user, status: "offline", devices: 0 })),
		);
		const unicorn = await come(server, names[0]);
		assert.equal((await heard(max, names[0])).status, "online");
		await callRaw(max, "presence.unwatch", JSON.stringify({ users: [full(names[0])] }).replace("f|", "\\u0066|"));
		await unicorn.close();
		assert.equal((await server.rpc("presence.get", { users: [full("max")] })).users[0].devices, 1);
		await max.close();
	});

	test("what is too much, or no name, is refused and changes nothing", async () => {
		const [ned, ola] = [await come(server, "ned"), await come(server, "ola")];
		const some = (n, from = 0) => Array.from({ length: n }, (_, i) => `someone ${from + i}`);
		for (const users of [[], some(PAGE + 1), ["a", ""], ["x".repeat(512)], ["a\nb"], ["a", 1], [null], [["a"]]])
			for (const method of ["presence.watch", "presence.get", "presence.unwatch"])
				await refusedField(ned.call(method, { users }), "users");
		await assert.rejects(callRaw(ned, "presence.get", '{"users":["\\ud800"]}'), { code: -32602 });
		for (const status of ["", "offline", "Online", "busy"])
			await refusedField(ned.call("presence.set", { status }), "status");
		await refused(ned.call("presence.set", { status: "away", note: "x".repeat(255) }), "too_large", "too_large", {
			field: "note",
		});
		for (let i = 0; i < MOST_WATCHED; i += PAGE) await watch(ned, ...some(PAGE, i));
		await watch(ned, ...some(PAGE, 9)); // no more than there are
		await refused(watch(ned, "ola"), "full", "too_many_watched", { limit: MOST_WATCHED });
		await ned.call("presence.unwatch", { users: [full("someone 1")] });
		await refused(watch(ned, "ola", "one more"), "full", "too_many_watched");
		await watch(ned, "ola");
		await ola.call("presence.set", { status: "away" });
		assert.equal((await heard(ned, "ola")).status, "away");
		for (const client of [ned, ola]) await client.close();
	});

	test("a backend asks without a session", async () => {
		const pia = await come(server, "pia");
		const users = [full("pia"), full("backend")];
		const answer = await post(server, await issuer.token("backend"), "presence.get", { users });
		assert.deepEqual(statuses(answer.users.map(short)), { pia: "online", backend: "offline" });
		const without = async (method, scope) => {
			const token = await issuer.token("backend", { scope });
			return post(server, token, method, { users }).then(assert.fail, ({ data }) => data.reason);
		};
		assert.equal(await without("presence.watch", "rooms:join"), "invalid_request");
		assert.equal(await without("presence.get", "rpc:call"), "insufficient_scope");
		await pia.close();
	});

	test("a token that allows less ends what is watched", async () => {
		const [quin, ron] = [await come(server, "quin"), await come(server, "ron")];
		await watch(quin, "ron");
		await quin.call("session.refresh", { token: await issuer.token("quin", { scope: "rpc:call" }) });
		await watch(admin, "ron");
		await ron.call("presence.set", { status: "away" });
		assert.equal((await heard(admin, "ron")).status, "away");
		await quin.call("session.ping");
		assert.deepEqual(quin.events, []);
		for (const client of [quin, ron]) await client.close();
	});
});

test("nothing is left of those who watched and were watched", async (t) => {
	const server = await startServer({ t, workers: 4, config });
	const clients = await Promise.all(Array.from({ length: 20 }, (_, i) => come(server, `u${i % 10}`)));
	await Promise.all(clients.map((client) => watch(client, ...Array.from({ length: 30 }, (_, i) => `u${i}`))));
	assert.equal((await server.metrics()).signalbox_presence_watches, 20 * 30);
	await Promise.all(clients.map((client) => client.close()));
	while ((await server.metrics()).signalbox_presence_watches); // the ends come to the homes
});

test("where presence is nobody's, only administrators see it, from when the configuration says so", async (t) => {
	const server = await startServer({ t, workers: 2, config });
	const [ann, bob] = [await come(server, "ann"), await come(server, "bob")];
	const root = await come(server, "root", { scope: "rooms:join admin" });
	for (const client of [ann, root]) await watch(client, "bob");
	writeFileSync(
		`${server.data}.yaml`,
		JSON.stringify({ ...config, presence: { ...config.presence, visible: "nobody" } }),
	);
	server.signal("SIGHUP");
	await server.logged("reloaded");
	await bob.call("presence.set", { status: "away" });
	assert.equal((await heard(root, "bob")).status, "away");
	await refused(watch(ann, "bob"), "forbidden", "presence_hidden");
	await refused(get(ann, "bob"), "forbidden", "presence_hidden");
	assert.deepEqual(ann.events, []);
	assert.equal((await server.metrics()).signalbox_presence_watches, 1);
});

test("a restart is no news, and what changes behind it is told", async (t) => {
	let server = await startServer({ t, workers: 4, config });
	const next = async (workers) => {
		await server.stop();
		server = await startServer({ t, workers, config, data: server.data, listen: `127.0.0.1:${server.port}` });
	};
	const [ann, bob] = [await resuming(server, "ann"), await resuming(server, "bob")];
	const [cat, dan] = [await resuming(server, "cat"), await come(server, "dan")];
	await bob.call("presence.set", { status: "away", note: ["a note"] });
	const names = ["ann", "bob", "cat", "dan", "eve"];
	assert.deepEqual(statuses(await watch(ann, ...names)), {
		...{ ann: "online", bob: "away", cat: "online", dan: "online", eve: "offline" },
	});
	await dan.close(); // lingers over the restart
	cat.cut(); // is in the middle of its grace
	await next(3);
	for (const who of [ann, bob]) assert.equal((await who.connect()).resumed, true);
	const news = () => ann.of("presence.changed").flatMap(({ users }) => users.map(short));
	const told = (user, status, wanted = 1) =>
		ann.until(
			() => news().filter((one) => one.user === user && one.status === status).length === wanted,
			`${user} to be ${status}`,
		);
	await told("dan", "offline");
	await told("cat", "away");
	assert.deepEqual(await get(ann, "ann", "bob", "cat"), [
		{ user: "ann", status: "online", devices: 1 },
		{ user: "bob", status: "away", note: ["a note"], devices: 1 },
		{ user: "cat", status: "away", devices: 1 },
	]);
	await cat.connect();
	await told("cat", "online");
	const eve = await come(server, "eve");
	await told("eve", "online");
	await eve.close();
	await told("eve", "offline");
	assert.equal(news().length, 5);
	// when somebody was there last is kept
	const { last_seen } = news().at(-1);
	await next(2);
	const late = await come(server, "late");
	const of_eve = { user: "eve", status: "offline", last_seen, devices: 0 };
	assert.deepEqual(await get(late, "eve"), [of_eve]);
	assert.deepEqual(await watch(late, "eve", "nobody"), [of_eve, { user: "nobody", status: "offline", devices: 0 }]);
});
