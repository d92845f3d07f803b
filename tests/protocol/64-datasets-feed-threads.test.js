// What readers of a dataset are told: the table as it is, page by page, then every change of it, whoever makes it, without
// hole or double: within the credit that they grant and what they acknowledge, on one connection or many, in one process
// or the next. Each reader is held against its query on the table.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { connect } from "../support/client.mjs";
import { textOf, View, ViewSession } from "../support/dataset-readers.mjs";
import { eventStream } from "../support/http-session.mjs";
import { webSocket } from "../support/resuming.mjs";
import { anyPace, ownDirectory, startServer } from "../support/server.mjs";
import { rows, sqlite } from "../support/sqlite.mjs";
import { within } from "../support/within.mjs";

const MESSAGE_MAX = 256 * 1024;
const folder = ownDirectory();
let files = 0;

function database(...more) {
	const file = join(folder, `${++files}.db`);
	sqlite(
		file,
		`PRAGMA journal_mode = WAL;
		CREATE TABLE todos (id INTEGER PRIMARY KEY, title TEXT, owner TEXT);
		${more.join(";")};`,
	);
	return file;
}

const dataset = (name, file, rules = { read: "1" }) => ({ name, database: file, table: "todos", ...rules });
const many = (count, title = "'a title'") =>
	`INSERT INTO todos (title, owner) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ${count})
	SELECT ${title}, CASE i % 2 WHEN 0 THEN 'ann' ELSE 'bob' END FROM n`;

/** What a reader of all columns should have. */
const table = (file, where = "1") =>
	textOf(rows(file, `SELECT id, title, owner FROM todos WHERE ${where}`).map((row) => [`[${row.id}]`, JSON.stringify(Object.values(row))]));

/** One subscription on a client of client.mjs. acks: false: it grants nothing by itself. */
class Reader {
	messages = 0;
	resets = [];

	constructor(client, wish, { acks = true } = {}) {
		Object.assign(this, { client, acks, view: new View(wish, ["id"]) });
	}

	async subscribe(params = this.view.params) {
		this.answer = await this.client.call("dataset.subscribe", params);
		this.view.answered(this.answer);
		this.messages = 0;
		return this;
	}

	async next() {
		const { method, params } = await this.client.next((one) => one.method?.startsWith("dataset.") && one.params.sub === this.view.sub);
		this.messages++;
		this.view.take(method, params);
		if (method === "dataset.reset") this.resets.push(params);
		if (this.acks && this.messages % 16 === 0) this.grant(64);
		return { method, params };
	}

	grant(more) {
		this.client.notify("dataset.ack", { sub: this.view.sub, seq: this.view.at ?? "0", credit: this.messages + more });
	}

	async until(holds, what = "what the reader waits for") {
		return within(
			(async () => {
				while (!holds(this.view)) await this.next();
				return this;
			})(),
			20_000,
			what,
		);
	}

	/** In step for the first time. */
	whole() {
		return this.until(({ whole }) => whole, "the snapshot");
	}

	/** It has what the table has. */
	async sees(file, where) {
		const wanted = table(file, where);
		await this.until(({ rows }) => textOf(rows) === wanted, "what the table has").catch((error) => {
			assert.equal(textOf(this.view.rows), wanted, error.message);
			throw error;
		});
	}

	get unread() {
		return this.client.unread.filter(({ params }) => params.sub === this.view.sub);
	}
}

const reader = async (client, wish, options) => new Reader(client, wish, options).subscribe();
/** All that was on its way before has come, also from the datasets' homes. */
const settled = async (client, dataset) => {
	for (let i = 0; i < 3; i++) await client.call("dataset.schema", { dataset });
};

/** Another process that writes until it is told to stop: {stop}, a promise of how many statements it made. */
function writer(file, statement) {
	const child = spawn("sqlite3", ["-bail", file], { stdio: ["pipe", "pipe", "inherit"] });
	let made = 0;
	let stopping = false;
	const step = () => child.stdin.write(`${statement(made++)};\nSELECT 1;\n`);
	child.stdin.write(".timeout 5000\n");
	child.stdout.on("data", () => (stopping ? child.stdin.end() : step()));
	const ended = new Promise((done) => child.on("close", () => done(made)));
	step();
	return { stop: () => ((stopping = true), within(ended, 10_000, "the end of a writer")), made: () => made };
}

const churn = (i) => {
	const id = 1 + ((i * 7919) % 400);
	return [
		`INSERT INTO todos (title, owner) VALUES ('new ${i}', 'ann')`,
		`UPDATE todos SET title = 'changed ${i}' WHERE id = ${id}`,
		`REPLACE INTO todos VALUES (${id}, 'put ${i}', 'bob')`,
		`DELETE FROM todos WHERE id = ${id}`,
	][i % 4];
};

describe("one service", () => {
	const big = database(many(3000, "hex(randomblob(120))"));
	const small = database(many(400));
	const other = database(many(3));
	const wide = database(many(2));
	let server, ann, quiet;

	before(async () => {
		server = await startServer({
			workers: 4,
			config: {
				limits: anyPace,
				dataset: { subscriptions_per_session: 8 },
				datasets: [
					dataset("big", big),
					dataset("small", small),
					dataset("other", other),
					dataset("wide", wide),
					dataset("mine", other, { read: "owner = :claim_team" }),
					dataset("nobody", other, {}),
					dataset("missing", join(folder, "there", "is", "none.db")),
				],
			},
		});
		ann = await connect(server, { user: "ann" });
		quiet = await reader(await connect(server, { user: "bob" }), { dataset: "small", where: ["=", "owner", "nobody"] });
		await quiet.whole();
	});
	after(() => server.stop());

	test("the table in pages, while others write, and then each change", async () => {
		const writing = writer(big, churn);
		const all = await reader(ann, { dataset: "big" });
		assert.deepEqual(all.answer.columns, ["id", "title", "owner"]);
		assert.equal(all.answer.mode, "snapshot");
		await all.whole();
		const pages = ann.events.filter(({ method }) => method === "dataset.page");
		assert.ok(pages.length > 8, `${pages.length} pages`);
		for (const frame of ann.frames) assert.ok(frame.length <= MESSAGE_MAX);
		await all.until(() => writing.made() > 40);
		await writing.stop();
		await all.sees(big);
		sqlite(big, "BEGIN; DELETE FROM todos WHERE id < 10; UPDATE todos SET owner = 'cid' WHERE id < 20; COMMIT");
		await all.sees(big);
		await ann.call("dataset.unsubscribe", { sub: all.view.sub });
	});

	test("an equal subscribe is answered by the one there is; after unsubscribe nothing comes", async () => {
		const one = await (await reader(ann, { dataset: "other", where: ["=", "owner", "ann"] })).whole();
		const again = await ann.call("dataset.subscribe", { dataset: "other", where: ["=", "owner", "ann"] });
		assert.equal(again.sub, one.view.sub);
		sqlite(other, "INSERT INTO todos (title, owner) VALUES ('once', 'ann')");
		await one.sees(other, "owner = 'ann'");
		assert.deepEqual(await ann.call("dataset.unsubscribe", { sub: again.sub }), {});
		await assert.rejects(ann.call("dataset.unsubscribe", { sub: again.sub }), { code: -32004, reason: "no_such_sub" });
		const rest = await (await reader(ann, { dataset: "other" })).whole();
		sqlite(other, "INSERT INTO todos (title, owner) VALUES ('not told', 'ann')");
		await rest.sees(other);
		assert.deepEqual(one.unread, []);
		await ann.call("dataset.unsubscribe", { sub: rest.view.sub });
	});

	test("no more than was granted; what came meanwhile is one change of each row", async () => {
		const client = await connect(server, { user: "ann" });
		const slow = new Reader(client, { dataset: "small", credit: 1 }, { acks: false });
		const fast = await (await reader(ann, { dataset: "small" })).whole();
		await slow.subscribe({ dataset: "small", credit: 1 });
		assert.equal((await slow.next()).method, "dataset.page");
		await settled(client, "small");
		assert.deepEqual(slow.unread, []);
		slow.grant(1);
		assert.equal((await slow.next()).method, "dataset.uptodate");
		for (let i = 0; i < 30; i++) sqlite(small, `UPDATE todos SET title = 'round ${i}' WHERE id IN (1, 2)`);
		await fast.sees(small);
		await settled(client, "small");
		assert.deepEqual(slow.unread, []);
		slow.grant(2);
		const { method, params } = await slow.next();
		assert.equal(method, "dataset.change");
		assert.deepEqual(params.ops.map(({ op, key, row }) => [op, key, row[1]]), [
			["U", [1], "round 29"],
			["U", [2], "round 29"],
		]);
		assert.equal((await slow.next()).method, "dataset.uptodate");
		assert.equal(textOf(slow.view.rows), table(small));
		await ann.call("dataset.unsubscribe", { sub: fast.view.sub });
		await client.close();
	});

	test("who acknowledges nothing costs a position: nothing is lost, nobody is closed", async () => {
		const client = await connect(server, { user: "ann", ack: false });
		const slow = new Reader(client, { dataset: "small", credit: 100000 }, { acks: false });
		const fast = await (await reader(ann, { dataset: "small" })).whole();
		await (await slow.subscribe({ dataset: "small", credit: 100000 })).whole();
		const writing = writer(small, churn);
		await fast.until(() => writing.made() > 600);
		await writing.stop();
		await fast.sees(small);
		await settled(client, "small");
		assert.ok(slow.unread.length < 300, `${slow.unread.length} messages without a sign of life`);
		assert.notEqual(textOf(slow.view.rows), table(small));
		client.ack = true;
		client.notify("session.ack", { received: client.received });
		await slow.sees(small);
		assert.ok(slow.messages < 400, `${slow.messages} messages`);
		assert.equal(client.end, undefined);
		await ann.call("dataset.unsubscribe", { sub: fast.view.sub });
		await client.close();
	});

	test("a window stays right for who falls behind, and notify tells that something has changed", async () => {
		const client = await connect(server, { user: "ann" });
		const wish = { dataset: "small", order: ["-title"], limit: 5 };
		const slow = new Reader(client, { ...wish, credit: 2 }, { acks: false });
		await (await slow.subscribe({ ...wish, credit: 2 })).whole();
		const word = new Reader(client, { dataset: "small", notify: true, credit: 1 }, { acks: false });
		await (await word.subscribe({ dataset: "small", notify: true, credit: 1 })).whole();
		const fast = await (await reader(ann, { dataset: "small" })).whole();
		const top = () =>
			textOf(
				rows(small, "SELECT id, title, owner FROM todos ORDER BY title DESC, id LIMIT 5").map((row) => [
					`[${row.id}]`,
					JSON.stringify(Object.values(row)),
				]),
			);
		for (let i = 0; i < 6; i++) sqlite(small, `REPLACE INTO todos VALUES (${1000 + i}, 'zz${i}', 'ann'); DELETE FROM todos WHERE title = 'zz${i - 2}'`);
		await fast.sees(small);
		await settled(client, "small");
		assert.deepEqual([...slow.unread, ...word.unread], []);
		slow.grant(64);
		await slow.until(({ rows: have }) => textOf(have) === top(), "the window");
		word.grant(64);
		await word.next();
		assert.equal(word.view.told, 2, "six changes, one word");
		await ann.call("dataset.unsubscribe", { sub: fast.view.sub });
		await client.close();
	});

	test("a window that goes through a whole table: nobody waits for it, and it stays right, also while others write", async () => {
		const file = database(many(100_000, "hex(randomblob(4))"), "CREATE TABLE notes (id INTEGER PRIMARY KEY)");
		const both = ["todos", "notes"].map((table) => ({ dataset: `slow-${table}`, database: file, table, read: "1" }));
		for (const one of both) await server.rpc("dataset.add", one);
		const client = await connect(server, { user: "ann" });
		const slow = await (await reader(client, { dataset: "slow-todos", order: ["-title"], limit: 3 })).whole();
		const top = () =>
			textOf(
				rows(file, "SELECT id, title, owner FROM todos ORDER BY title DESC, id LIMIT 3").map((row) => [
					`[${row.id}]`,
					JSON.stringify(Object.values(row)),
				]),
			);
		for (let i = 0; i < 3; i++) {
			sqlite(file, `INSERT INTO todos (title) VALUES ('z${i}')`);
			await slow.until(({ rows: have }) => textOf(have) === top(), "the window");
		}
		const writing = writer(file, (i) => (i % 50 ? "INSERT INTO notes DEFAULT VALUES" : `INSERT INTO todos (title) VALUES ('zz${i}')`));
		const { told } = slow.view;
		await slow.until((view) => view.told > told + 3, "to be up to date while others write");
		await writing.stop();
		await slow.until(({ rows: have }) => textOf(have) === top(), "the window");
		assert.deepEqual(slow.resets, []);
		await client.close();
		for (const { dataset: name } of both) await server.rpc("dataset.drop", { dataset: name });
	});

	/** 60 rows of 60 KB in one transaction: less than one change may have, more than a connection may have waiting. */
	const heavy = "INSERT INTO todos (title) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 60) SELECT hex(randomblob(30000)) FROM n";

	test("a transaction of megabytes, and a window of them, over one connection that is no wider", async () => {
		const file = database(many(3));
		await server.rpc("dataset.add", { dataset: "heavy", database: file, table: "todos", read: "1" });
		const client = await connect(server, { user: "ann" });
		const one = await (await reader(client, { dataset: "heavy" })).whole();
		sqlite(file, heavy);
		await one.sees(file);
		const window = await (await reader(client, { dataset: "heavy", order: ["-id"], limit: 1000 })).whole();
		await window.sees(file);
		sqlite(file, "UPDATE todos SET title = lower(title)");
		await Promise.all([one.sees(file), window.sees(file)]);
		assert.equal(client.end, undefined);
		assert.deepEqual([...one.resets, ...window.resets], []);
		await client.close();
		await server.rpc("dataset.drop", { dataset: "heavy" });
	});

	test("a session that was away in the middle of a window's pages gets the others as they were then, and what has changed", async () => {
		const file = database(many(3), heavy);
		await server.rpc("dataset.add", { dataset: "halves", database: file, table: "todos", read: "1" });
		const client = await connect(server, { user: "ann" });
		const wish = { dataset: "halves", order: ["id"], limit: 40 };
		const window = new Reader(client, wish, { acks: false });
		await window.subscribe({ ...wish, credit: 2 });
		await window.next();
		await window.next();
		client.socket.terminate();
		await client.closed;
		sqlite(file, "DELETE FROM todos WHERE id < 4");
		window.client = await connect(server, { user: "ann", params: { resume: { session: client.id, received: client.received } } });
		assert.equal(window.client.session.resumed, true);
		window.client.received = client.received;
		window.acks = true;
		window.grant(1000);
		await window.until(({ rows: have }) => textOf(have) === table(file, "id <= 43"), "the window");
		await window.client.close();
		await server.rpc("dataset.drop", { dataset: "halves" });
	});

	test("what many wait for is kept once; each something else: only as much as may be kept", async () => {
		const file = database(many(3));
		await server.rpc("dataset.add", { dataset: "held", database: file, table: "todos", read: "1" });
		const clients = await Promise.all(Array.from({ length: 24 }, () => connect(server, { user: "ann" })));
		const waiting = async (wish) => {
			const readers = clients.map((client, i) => new Reader(client, wish(i), { acks: false }));
			await Promise.all(readers.map(async (one) => (await one.subscribe({ ...one.view.params, credit: 3 })).whole()));
			sqlite(file, heavy);
			const came = await Promise.all(readers.map((one) => one.next()));
			await Promise.all(clients.map((client) => settled(client, "held")));
			return { readers, resets: [...came, ...readers.flatMap(({ unread }) => unread)].filter(({ method }) => method === "dataset.reset") };
		};
		const same = await waiting(() => ({ dataset: "held", where: [">", "id", 3] }));
		assert.deepEqual(same.resets, []);
		for (const one of same.readers) await one.client.call("dataset.unsubscribe", { sub: one.view.sub });
		sqlite(file, "DELETE FROM todos WHERE id > 3");
		const each = await waiting((i) => ({ dataset: "held", where: ["!=", "id", 1000 + i] }));
		assert.ok(each.resets.length > 0 && each.resets.length < 12, `${each.resets.length} resets`);
		for (const { params } of each.resets) assert.equal(params.reason, "overflow");
		await Promise.all(clients.map((client) => client.close()));
		await server.rpc("dataset.drop", { dataset: "held" });
	});

	test("behind by too much: reset, overflow, and from anew", async () => {
		const client = await connect(server, { user: "ann" });
		const wish = { dataset: "wide", where: ["<", "id", 10] };
		const late = new Reader(client, wish, { acks: false });
		await (await late.subscribe({ ...wish, credit: 2 })).whole();
		const fast = await (await reader(ann, wish)).whole();
		for (const mark of ["one", "two", "three", "four", "five"]) {
			sqlite(wide, `${many(21_000, "NULL")}; UPDATE todos SET title = '${mark}' WHERE id = 1`);
			await fast.sees(wide, "id < 10");
		}
		late.grant(64);
		await late.until(() => late.resets.length === 1, "the reset");
		assert.equal(late.resets[0].reason, "overflow");
		assert.ok(late.resets[0].retry_after >= 0);
		await late.subscribe(wish);
		assert.equal(late.answer.mode, "snapshot");
		await late.sees(wide, "id < 10");
		await ann.call("dataset.unsubscribe", { sub: fast.view.sub });
		await client.close();
	});

	test("a resume goes on from its position, or is a snapshot", async () => {
		const client = await connect(server, { user: "ann" });
		const one = await (await reader(client, { dataset: "other" })).whole();
		await client.close();
		sqlite(other, "INSERT INTO todos (title, owner) VALUES ('meanwhile', 'ann')");
		const { epoch, shape, at: seq } = one.view;
		one.client = await connect(server, { user: "ann" });
		await one.subscribe();
		assert.equal(one.answer.mode, "tail");
		await one.sees(other);
		for (const resume of [
			{ epoch, shape, seq: "999999999" },
			{ epoch: "another", shape, seq },
			{ epoch, shape: "another", seq },
		]) {
			const again = await connect(server, { user: "ann" });
			const { mode } = await again.call("dataset.subscribe", { dataset: "other", resume });
			assert.equal(mode, "snapshot", JSON.stringify(resume));
			await again.close();
		}
		await assert.rejects(one.client.call("dataset.subscribe", { dataset: "other", resume: { epoch, shape, seq: "x" } }), { code: -32602 });
		await one.client.close();
	});

	test("what is pruned is no position any more", async () => {
		const file = database(many(3));
		await server.rpc("dataset.add", { dataset: "pruned", database: file, table: "todos", read: "1" });
		const client = await connect(server, { user: "ann" });
		const late = new Reader(client, { dataset: "pruned", credit: 2 }, { acks: false });
		await (await late.subscribe({ dataset: "pruned", credit: 2 })).whole();
		const { epoch, shape, at: seq } = late.view;
		const fast = await (await reader(ann, { dataset: "pruned", columns: ["title"] })).whole();
		sqlite(file, "INSERT INTO todos (title) VALUES ('x')");
		await fast.until(({ rows: have }) => have.size === 4);
		sqlite(file, "UPDATE _sb_ctx SET floor = seq; DELETE FROM _sb_c1; UPDATE todos SET title = 'y' WHERE id = 1");
		await fast.until(({ rows: have }) => [...have.values()].some((row) => row.includes("y")));
		const again = await connect(server, { user: "ann" });
		const answer = await again.call("dataset.subscribe", { dataset: "pruned", resume: { epoch, shape, seq } });
		assert.equal(answer.mode, "snapshot");
		late.grant(64);
		await late.until(() => late.resets.length);
		assert.equal(late.resets[0].reason, "pruned");
		await Promise.all([client.close(), again.close()]);
		await server.rpc("dataset.drop", { dataset: "pruned" });
		await fast.until(() => fast.resets.length);
		await assert.rejects(ann.call("dataset.subscribe", { dataset: "pruned" }), { reason: "no_such_dataset" });
	});

	test("another column: reset, schema, and the new columns", async () => {
		const file = database(many(3));
		await server.rpc("dataset.add", { dataset: "grows", database: file, table: "todos", read: "1" });
		const client = await connect(server, { user: "ann" });
		const one = await (await reader(client, { dataset: "grows" })).whole();
		sqlite(file, "ALTER TABLE todos ADD COLUMN due TEXT; UPDATE todos SET due = 'soon' WHERE id = 1");
		await one.until(() => one.resets.length);
		assert.equal(one.resets[0].reason, "schema");
		const { params } = await client.next("dataset.schema");
		assert.deepEqual(params.columns.map(({ name }) => name), ["id", "title", "owner", "due"]);
		assert.ok(params.schema_version > one.view.version);
		await (await one.subscribe({ dataset: "grows" })).whole();
		assert.equal(one.view.rows.get("[1]"), '[1,"a title","bob","soon"]');
		await client.close();
		await server.rpc("dataset.drop", { dataset: "grows" });
	});

	test("another grant: what it does not allow is reset, what it does goes on", async () => {
		const claim = (team) => ({ team });
		const token = (team, more) => server.mint("ann", { claim: claim(team), ...more });
		const client = await connect(server, { token: await token("ann") });
		const mine = await (await reader(client, { dataset: "mine" })).whole();
		const all = await (await reader(client, { dataset: "other" })).whole();
		await client.call("session.refresh", { token: await token("ann", { expires: 7200 }) });
		sqlite(other, "INSERT INTO todos (title, owner) VALUES ('still mine', 'ann')");
		await mine.sees(other, "owner = 'ann'");
		await client.call("session.refresh", { token: await token("bob") });
		await mine.until(() => mine.resets.length);
		assert.equal(mine.resets[0].reason, "auth");
		sqlite(other, "INSERT INTO todos (title, owner) VALUES ('theirs', 'bob')");
		await all.sees(other);
		await (await mine.subscribe({ dataset: "mine" })).sees(other, "owner = 'bob'");
		await client.call("session.refresh", { token: await token("bob", { scope: "rooms:join" }) });
		await mine.until(() => mine.resets.length === 2);
		await all.until(() => all.resets.length);
		await assert.rejects(client.call("dataset.subscribe", { dataset: "other" }), { reason: "insufficient_scope" });
		await client.close();
	});

	test("refusals", async () => {
		const client = await connect(server, { user: "ann" });
		const ask = (params) => client.call("dataset.subscribe", { dataset: "other", ...params });
		await assert.rejects(ask({ dataset: "none" }), { code: -32004, reason: "no_such_dataset" });
		await assert.rejects(ask({ dataset: "nobody" }), { code: -32003, reason: "not_readable" });
		await assert.rejects(ask({ where: ["=", "none", 1] }), { code: -32602, reason: "no_such_column" });
		await assert.rejects(ask({ dataset: "missing" }), ({ code, reason, data }) => {
			assert.deepEqual([code, reason], [-32030, "dataset_unavailable"]);
			return data.retry_after > 0;
		});
		for (let i = 0; i < 8; i++) await ask({ where: ["=", "id", i] });
		await assert.rejects(ask({ where: ["=", "id", 8] }), { code: -32023, reason: "too_many_subscriptions", data: { reason: "too_many_subscriptions", limit: 8 } });
		const { sub } = await ask({ where: ["=", "id", 7] });
		await client.call("dataset.unsubscribe", { sub });
		await ask({ where: ["=", "id", 8] });
		await client.close();
		const narrow = await connect(server, { user: "ann", claim: { signalbox: { datasets: ["sm*"] } } });
		await assert.rejects(narrow.call("dataset.subscribe", { dataset: "other" }), { reason: "no_such_dataset" });
		await narrow.call("dataset.subscribe", { dataset: "small" });
		await narrow.close();
	});

	test("whoever nothing concerned is told after some seconds how far it is, all the same", async () => {
		await quiet.until(({ told }) => told > 1);
		assert.ok(BigInt(quiet.view.at) > 100n);
		assert.equal(quiet.view.rows.size, 0);
		assert.ok(quiet.messages <= 5, `${quiet.messages} messages`);
		await quiet.client.close();
	});

	test("a session's end is the end of its subscriptions", async () => {
		const count = async () => (await server.metrics()).signalbox_dataset_readers;
		await ann.close();
		await within(
			(async () => {
				while ((await count()) !== 0) await new Promise((done) => setTimeout(done, 20));
			})(),
			10_000,
			"nobody to read",
		);
	});
});

describe("from one process to the next", () => {
	const config = (file) => ({ limits: anyPace, session: { drain_spread: "0s" }, datasets: [dataset("todos", file)] });

	test("stopped or killed, restored or not: a resume goes on, or begins anew", async (t) => {
		const file = database(many(50));
		let server = await startServer({ workers: 2, config: config(file) });
		const { data } = server;
		const one = await (await reader(await connect(server, { user: "ann" }), { dataset: "todos" })).whole();
		for (const end of ["stop", "kill"]) {
			sqlite(file, `INSERT INTO todos (title) VALUES ('before ${end}')`);
			await one.sees(file);
			await server[end]();
			sqlite(file, `UPDATE todos SET title = 'while away' WHERE id % 7 = 1; DELETE FROM todos WHERE id % 7 = 2`);
			server = await startServer({ workers: 2, data, config: config(file) });
			one.client = await connect(server, { user: "ann" });
			await one.subscribe();
			assert.equal(one.answer.mode, "tail");
			await one.sees(file);
		}
		await server.stop();
		sqlite(file, `.backup ${file}.copy`);
		server = await startServer({ workers: 2, data, config: config(file) });
		one.client = await connect(server, { user: "ann" });
		await one.subscribe();
		sqlite(file, "DELETE FROM todos WHERE id < 20");
		await one.sees(file);
		await server.stop();
		sqlite(file, "PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE");
		copyFileSync(`${file}.copy`, file);
		server = await startServer({ t, workers: 2, data, config: config(file) });
		one.client = await connect(server, { user: "ann" });
		await one.subscribe();
		assert.equal(one.answer.mode, "snapshot");
		await one.sees(file);
	});

	test("handed over under writes, with fewer workers, over WebSocket and streams: nothing begins anew", async (t) => {
		const file = database(many(400));
		const first = await startServer({ workers: 4, config: config(file) });
		const views = [];
		const sessions = [];
		for (const over of [webSocket, eventStream, webSocket, eventStream]) {
			const own = [
				new View({ dataset: "todos" }, ["id"]),
				new View({ dataset: "todos", where: ["=", "owner", sessions.length % 2 ? "ann" : "bob"] }, ["id"]),
			];
			const session = new ViewSession(first, await first.mint(`user${sessions.length}`), own, { over });
			sessions.push(session);
			views.push(...own);
			await session.connect();
		}
		const looked = (holds, what) =>
			within(
				Promise.race([
					...sessions.map(({ failed }) => failed),
					(async () => {
						while (!views.every(holds)) await new Promise((done) => setTimeout(done, 10));
					})(),
				]),
				20_000,
				what,
			);
		await looked(({ whole }) => whole, "all snapshots");
		const modes = views.map(({ mode }) => mode);
		for (const view of views) view.begun = () => assert.fail("it began anew");
		const writing = writer(file, churn);
		await looked(({ at }) => BigInt(at) > 20n, "some changes");
		const second = await first.successor({ t, workers: 2 });
		await first.stop();
		for (const session of sessions) session.client.server = second;
		const at = BigInt(rows(file, "SELECT seq FROM _sb_ctx")[0].seq);
		await looked((view) => BigInt(view.at) > at, "changes behind the hand-over");
		await writing.stop();
		const wanted = (view) => table(file, view.wish.where ? `owner = '${view.wish.where[2]}'` : "1");
		await looked((view) => textOf(view.rows) === wanted(view), "what the table has");
		assert.deepEqual(views.map(({ mode }) => mode), modes);
		assert.deepEqual(sessions.flatMap(({ resets }) => resets), []);
		for (const session of sessions) session.leave();
	});
});
