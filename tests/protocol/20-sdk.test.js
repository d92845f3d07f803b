// The JavaScript library in Node: what a backend or a native app does with it. Calls are tested in
// browsers (tests/browser); here sessions, rooms, presence, and what a restart of the service does.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, readFileSync, symlinkSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { ownDirectory, startServer } from "../support/server.mjs";
import { within } from "../support/client.mjs";
import { Signalbox, SignalboxError } from "../../web/sdk/signalbox.js";

const WAIT_MS = 10_000;

const event = (emitter, name, is = () => true) =>
	within(
		new Promise((done) => {
			const off = emitter.on(name, (value) => {
				if (!is(value)) return;
				off?.();
				done(value);
			});
		}),
		WAIT_MS,
		name,
	);

const client = (server, user) =>
	new Signalbox({ url: server.url, token: () => server.mint(user) });

test("two clients meet in a room", async (t) => {
	const server = await startServer({ t, workers: 4 });
	const [ann, bob] = [client(server, "ann"), client(server, "bob")];
	await Promise.all([ann.connect(), bob.connect()]);
	const hers = await ann.join("tea", { state: { cups: 1 } });
	const came = event(hers, "joined");
	const his = await bob.join("tea");
	assert.deepEqual([...his.members.values()].map((m) => [m.user, m.polite, m.state]), [
		["ann", true, { cups: 1 }],
	]);
	const member = await came;
	assert.equal((member.member ?? member).user, "bob");

	const said = event(his, "message");
	const { offset } = await hers.publish({ text: "hello" });
	const message = await said;
	assert.deepEqual([message.data, message.offset], [{ text: "hello" }, offset]);

	const signaled = event(hers, "signal");
	await his.signal({ user: "ann" }, "wave", { hand: "left" });
	const signal = await signaled;
	assert.deepEqual([signal.from.user, signal.type, signal.data], ["bob", "wave", { hand: "left" }]);

	const updated = event(hers, "updated");
	await his.setState({ cups: 2 });
	await updated;
	assert.deepEqual([...hers.members.values()][0].state, { cups: 2 });

	const left = event(hers, "left");
	await his.leave();
	await left;
	assert.equal(hers.members.size, 0);
	await Promise.all([ann.close(), bob.close()]);
});

test("a refusal says what to do", async (t) => {
	const server = await startServer({ t });
	const ann = client(server, "ann");
	await ann.connect();
	await assert.rejects(ann.rooms.get("nowhere"), (error) => {
		assert(error instanceof SignalboxError);
		assert.deepEqual([error.code, error.reason], [-32004, "no_such_room"]);
		return error.message.length > 10;
	});
	await ann.close();

	const nobody = new Signalbox({ url: server.url, token: async () => "not.a.token" });
	const closed = event(nobody, "closed");
	await assert.rejects(nobody.connect(), SignalboxError);
	assert.equal((await closed).code, 3000);
});

test("a restart of the service brings everybody back into their rooms", async (t) => {
	const first = await startServer({ workers: 2 });
	const token = {};
	for (const user of ["ann", "bob"]) token[user] = await first.mint(user);
	// soon again: how long to wait is drawn anew each time, up to 20 s
	const make = (user) =>
		new Signalbox({ url: first.url, token: async () => token[user], random: () => 0.05 });
	const [ann, bob] = [make("ann"), make("bob")];
	t.after(() => Promise.all([ann.close(), bob.close()]));
	await Promise.all([ann.connect(), bob.connect()]);
	const [hers, his] = [await ann.join("tea"), await bob.join("tea")];
	const sessions = [ann.session.session, bob.session.session];

	const away = Promise.all([event(ann, "reconnecting"), event(bob, "reconnecting")]);
	const back = Promise.all([event(hers, "rejoined"), event(his, "rejoined")]);
	await first.stop();
	await away;
	const second = await startServer({
		t,
		workers: 2,
		data: first.data,
		listen: `127.0.0.1:${first.port}`,
	});
	await back; // until then they show who was there before
	assert.notDeepEqual([ann.session.session, bob.session.session], sessions);
	await within(
		(async () => {
			while (hers.members.size !== 1 || his.members.size !== 1)
				await new Promise((done) => setTimeout(done, 10));
		})(),
		WAIT_MS,
		"both to see each other again",
	);
	const said = event(his, "message", (message) => message.data === "again");
	await hers.publish("again");
	await said;
	assert.equal(second.url, first.url);
});

test("the package holds the library with its types", () => {
	const copy = join(ownDirectory(), "sdk");
	cpSync(resolve(import.meta.dirname, "../../web/sdk"), copy, { recursive: true });
	symlinkSync(resolve(import.meta.dirname, "../node_modules"), join(copy, "node_modules"));
	const tsc = resolve(import.meta.dirname, "../node_modules/.bin/tsc");
	execFileSync(tsc, ["-p", ".", "--noEmit", "false", "--declaration", "--emitDeclarationOnly", "--outDir", "types"], {
		cwd: copy,
	});
	const types = readFileSync(join(copy, "types/signalbox.d.ts"), "utf8");
	assert.match(types, /export class Signalbox/);
	const [{ files }] = JSON.parse(
		execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], { cwd: copy, encoding: "utf8" }),
	);
	const packed = files.map(({ path }) => path);
	for (const path of ["signalbox.js", "signin.js", "types/signalbox.d.ts", "package.json"])
		assert(packed.includes(path), `${path} is not in the package`);
	assert(packed.every((path) => !path.startsWith("node_modules/")));
});
