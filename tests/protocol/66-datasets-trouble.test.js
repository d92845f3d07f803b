// Databases in trouble: missing, locked, full, damaged, without their table, with another one, from a backup. The dataset
// says what it is, everything else goes on, and when it is over its readers have the table as it is: nobody is left with
// a gap, and nothing has to be started anew.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, copyFileSync, openSync, readFileSync, renameSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { connect } from "../support/client.mjs";
import { textOf, View, ViewSession } from "../support/dataset-readers.mjs";
import { smallDisk } from "../support/disk.mjs";
import { ownDirectory, startServer } from "../support/server.mjs";
import { rows, sqlite } from "../support/sqlite.mjs";
import { within } from "../support/within.mjs";

const IN_TIME_MS = 20_000;
const folder = ownDirectory();
const todos = (mode) => `PRAGMA journal_mode = ${mode}; CREATE TABLE todos (id INTEGER PRIMARY KEY, title TEXT);
	INSERT INTO todos VALUES (1, 'one'), (2, 'two');`;

/** Asks again until it holds: what a file's threads notice comes by itself. */
async function until(ask, holds, what) {
	const end = Date.now() + IN_TIME_MS;
	for (;;) {
		const last = await ask();
		if (holds(last)) return last;
		assert.ok(Date.now() < end, `waited ${IN_TIME_MS} ms for ${what}, not ${JSON.stringify(last)}`);
		await pause(20);
	}
}

/** A dataset with a reader, whose view is the table whenever nothing is under way. */
class Watched {
	static async start(server, name, file, { mode = "WAL" } = {}) {
		sqlite(file, todos(mode));
		await server.rpc("dataset.add", { dataset: name, database: file.path ?? file, table: "todos", read: "1", insert: "1" });
		const watched = new Watched();
		Object.assign(watched, { server, name, file, view: new View({ dataset: name }, ["id"]) });
		const token = await server.mint("ann");
		watched.session = new ViewSession(server, token, [watched.view], {});
		await watched.session.connect();
		await watched.same();
		return watched;
	}

	/** The reader has what the table has. */
	async same() {
		const table = textOf(rows(this.file, "SELECT * FROM todos").map((row) => [`[${row.id}]`, JSON.stringify(Object.values(row))]));
		const have = () => (this.view.whole && !this.view.lost ? textOf(this.view.rows) : undefined);
		const failed = this.session.failed;
		await Promise.race([failed, until(have, (text) => text === table, `${this.name}: ${table}`)]);
	}

	show(holds, what) {
		return until(() => this.server.rpc("dataset.show", { dataset: this.name }), holds, `${this.name} to be ${what}`);
	}

	/** It says what is wrong, and /ready says it too, without being less ready. */
	async trouble(what) {
		await this.show(({ trouble }) => trouble && what.test(`${trouble.what}; ${trouble.remedy}`), `in trouble, ${what}`);
		const ready = await fetch(`${this.server.url}/ready`);
		assert.equal(ready.status, 200);
		const line = (await ready.text()).split("\n").find((text) => text.startsWith(`dataset ${this.name}: `));
		assert.match(line, what);
	}

	async well() {
		await this.show(({ state }) => state === "live", "live");
		sqlite(this.file, "INSERT INTO todos (title) VALUES ('behind it')");
		await this.same();
	}

	leave() {
		this.session.leave();
	}
}

let server, calm, pair;
before(async () => {
	server = await startServer({ workers: 2 });
	calm = await Watched.start(server, "calm", join(folder, "calm.db"));
	pair = [await connect(server, { user: "bob" }), await connect(server, { user: "cleo" })];
	for (const client of pair) await client.call("room.join", { room: "beside" });
});
after(async () => {
	calm.leave();
	await server.stop();
});

/** Another dataset and a room feel nothing of it. */
async function undisturbed() {
	sqlite(calm.file, "INSERT INTO todos (title) VALUES ('calm')");
	await calm.same();
	const { offset } = await pair[0].call("room.publish", { room: "beside", data: "calm" });
	await pair[1].next(({ method, params }) => method === "room.message" && params.offset === offset);
}

const watch = async (t, name, options) => {
	const watched = await Watched.start(server, name, join(folder, `${name}.db`), options);
	t.after(() => watched.leave());
	return watched;
};
const remove = (file) => ["", "-wal", "-shm", "-journal"].forEach((end) => rmSync(file + end, { force: true }));
/** A copy as a backup program makes it. */
const backup = (file) => {
	const copy = `${file}.copy`;
	rmSync(copy, { force: true });
	sqlite(file, `VACUUM INTO '${copy}'`);
	return copy;
};
/** Puts it in the place of the file, as with all programs stopped that write to it. */
const restore = (copy, file) => {
	["-wal", "-shm"].forEach((end) => rmSync(file + end, { force: true }));
	renameSync(copy, file);
};

test("a file that is missing, and comes back", async (t) => {
	const watched = await watch(t, "missing");
	const copy = backup(watched.file);
	remove(watched.file);
	await watched.trouble(/there is no such file/);
	await undisturbed();
	restore(copy, watched.file);
	await watched.well();
});

test("a file that another program keeps locked", async (t) => {
	const watched = await watch(t, "locked", { mode: "DELETE" });
	const holder = spawn("python3", ["-c", "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1], isolation_level=None)\n" +
		"c.execute('BEGIN EXCLUSIVE')\nc.execute(\"INSERT INTO todos (title) VALUES ('under lock')\")\nprint('held', flush=True)\nsys.stdin.read()\nc.execute('COMMIT')", watched.file],
		{ stdio: ["pipe", "pipe", "inherit"] });
	await within(once(holder.stdout, "data"), IN_TIME_MS, "the lock");
	await watched.trouble(/locked/);
	await undisturbed();
	const ended = once(holder, "exit");
	holder.stdin.end();
	assert.deepEqual(await within(ended, IN_TIME_MS, "the end of the lock"), [0, null]);
	await watched.well();
	assert.deepEqual(watched.session.resets, [], "a lock loses nothing");
});

test("a damaged page, and the copy that takes its place", async (t) => {
	const watched = await watch(t, "damaged", { mode: "DELETE" });
	const copy = `${watched.file}.copy`;
	copyFileSync(watched.file, copy);
	const [{ rootpage, page_size: size }] = rows(watched.file, "SELECT rootpage, (SELECT page_size FROM pragma_page_size) AS page_size FROM sqlite_master WHERE name = '_sb_ctx'");
	const file = openSync(watched.file, "r+");
	writeSync(file, Buffer.alloc(size, 0xa5), 0, size, (rootpage - 1) * size);
	const counter = readFileSync(watched.file).readUInt32BE(24);
	const changed = Buffer.alloc(4);
	changed.writeUInt32BE(counter + 1); // without it nobody has to look at the file
	writeSync(file, changed, 0, 4, 24);
	closeSync(file);
	await watched.trouble(/damaged/);
	await undisturbed();
	restore(copy, watched.file);
	await watched.well();
});

test("a table that is dropped, and made again", async (t) => {
	const watched = await watch(t, "dropped");
	sqlite(watched.file, "DROP TABLE todos");
	await watched.trouble(/no table todos/);
	await undisturbed();
	sqlite(watched.file, "CREATE TABLE todos (id INTEGER PRIMARY KEY, title TEXT); INSERT INTO todos VALUES (7, 'new')");
	await watched.well();
	assert.deepEqual([...watched.view.rows.keys()].sort(), ["[7]", "[8]"]);
	assert.ok(watched.session.resets.length, "its readers were not told");
});

test("a table that is rebuilt with other columns", async (t) => {
	const watched = await watch(t, "rebuilt");
	sqlite(watched.file, "BEGIN; CREATE TABLE new (id INTEGER PRIMARY KEY, title TEXT, due TEXT); INSERT INTO new SELECT id, title, 'today' FROM todos; DROP TABLE todos; ALTER TABLE new RENAME TO todos; COMMIT");
	await watched.well();
	assert.deepEqual(watched.view.columns, ["id", "title", "due"]);
	assert.ok(watched.session.resets.includes("schema"));
	sqlite(watched.file, "ALTER TABLE todos ADD COLUMN more DEFAULT 5");
	await watched.well();
	assert.deepEqual(watched.view.columns, ["id", "title", "due", "more"]);
	await undisturbed();
	assert.deepEqual(await server.rpc("dataset.verify", { dataset: "rebuilt" }).then(({ ok }) => ok), true);
});

test("a backup that is put in place begins another history", async (t) => {
	const watched = await watch(t, "restored");
	sqlite(watched.file, "UPDATE todos SET title = 'of the backup'");
	await watched.same();
	const copy = backup(watched.file);
	sqlite(watched.file, "UPDATE todos SET title = 'lost'; INSERT INTO todos VALUES (50, 'lost'), (51, 'lost')");
	await watched.same();
	const { epoch } = watched.view;
	restore(copy, watched.file);
	sqlite(watched.file, "INSERT INTO todos VALUES (60, 'behind the backup')");
	await until(() => watched.session.resets, (resets) => resets.includes("epoch"), "the reset");
	await watched.well();
	assert.notEqual(watched.view.epoch, epoch);
	assert.ok(!watched.view.rows.has("[50]"));
	await undisturbed();
});

test("a backup that is put in place while the service is down is no place to go on from", async (t) => {
	const file = join(folder, "down.db");
	sqlite(file, todos("WAL"));
	const first = await startServer({ t });
	await first.rpc("dataset.add", { dataset: "down", database: file, table: "todos", read: "1" });
	const subscribe = async (on, resume) => {
		const ann = await connect(on, { user: "ann", scope: "datasets:read" });
		const answer = await ann.call("dataset.subscribe", { dataset: "down", ...(resume && { resume }) });
		return { ...answer, seq: (await ann.next("dataset.uptodate")).params.seq };
	};
	const copy = backup(file);
	sqlite(file, "INSERT INTO todos VALUES (50, 'lost'), (51, 'lost')");
	await until(() => first.rpc("dataset.show", { dataset: "down" }), ({ seq }) => seq === "2", "the changes");
	const { epoch, shape, seq } = await subscribe(first);
	await first.stop();
	restore(copy, file);
	sqlite(file, "INSERT INTO todos VALUES (60, 'other'), (61, 'other'), (62, 'other')");
	const next = await startServer({ t, data: first.data });
	await until(() => next.rpc("dataset.show", { dataset: "down" }), ({ state }) => state === "live", "it to be live");
	const again = await subscribe(next, { epoch, shape, seq });
	assert.deepEqual([again.mode, again.epoch === epoch], ["snapshot", false]);
});

test("another database under its name, and its own again", async (t) => {
	const watched = await watch(t, "replaced");
	const other = join(folder, "stranger.db");
	sqlite(other, "CREATE TABLE bookmarks (url TEXT)");
	const copy = backup(watched.file);
	restore(other, watched.file);
	await watched.trouble(/no table todos/);
	await undisturbed();
	restore(copy, watched.file);
	await watched.well();
	const nonsense = join(folder, "nonsense.db");
	copyFileSync(process.execPath, nonsense);
	const again = backup(watched.file);
	restore(nonsense, watched.file);
	await watched.trouble(/damaged|not a database/);
	restore(again, watched.file);
	await watched.well();
});

test("a disk without room", async (t) => {
	const disk = await smallDisk(t, "2m");
	const own = await startServer({ t, disk: { under: disk.under, files: undefined }, data: join(ownDirectory(), "d") });
	const [full, late] = ["full.db", "late.db"].map((name) => ({ path: join(disk.path, name), under: disk.under }));
	const watched = await Watched.start(own, "full", full);
	t.after(() => watched.leave());
	sqlite(late, todos("WAL"));
	await undisturbed();
	disk.fill();
	await assert.rejects(own.rpc("dataset.add", { dataset: "late", database: late.path, table: "todos", read: "1" }));
	const ann = await connect(own, { user: "ann", scope: "datasets:read datasets:write" });
	const write = (mutation) => ann.call("dataset.write", { dataset: "full", mutation, ops: [{ op: "insert", set: { title: "x".repeat(50_000) } }] });
	let written = 0;
	await until(() => write(`m${written}`).then(() => ++written && "written", ({ code }) => code), (code) => code === -32030, "the disk to be full");
	assert.equal(rows(watched.file, "SELECT count(*) AS n FROM todos WHERE length(title) = 50000")[0].n, written, "what was refused was not written");
	await watched.same();
	disk.free();
	await until(() => write("behind").then(() => true, () => false), Boolean, "a write");
	await watched.well();
});
