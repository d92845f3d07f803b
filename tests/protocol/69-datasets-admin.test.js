// Datasets come and go: by commands, by the configuration, with the service running and without; what is wrong with one is
// told before it is taken in; and nothing is left in a file that was let go.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { connect } from "../support/client.mjs";
import { ownDirectory, run, startServer as start } from "../support/server.mjs";
import { rows, schemaOf, sqlite } from "../support/sqlite.mjs";
import { within } from "../support/within.mjs";

const TABLES = `
	PRAGMA journal_mode = WAL;
	CREATE TABLE todos (id INTEGER PRIMARY KEY, title TEXT NOT NULL, owner TEXT, team TEXT, pay REAL DEFAULT 1);
	CREATE TABLE members (team TEXT, user TEXT, PRIMARY KEY (team, user)) WITHOUT ROWID;
	CREATE TABLE loose (a, b);
	CREATE VIEW open AS SELECT id, title FROM todos;
	CREATE INDEX todos_by_owner ON todos (owner);
	CREATE TRIGGER own AFTER DELETE ON todos BEGIN DELETE FROM members WHERE team = old.team; END;
	INSERT INTO todos (title, owner) VALUES ('one', 'ann'), ('two', 'bob');`;

/** Without the demo, whose board would be one more dataset. */
const startServer = (options) => start({ args: ["--server.demo=false"], ...options });

const folder = ownDirectory();
let files = 0;
function database(sql = TABLES) {
	const file = join(folder, `app${++files}.db`);
	sqlite(file, sql);
	return file;
}

let server;
before(async () => {
	server = await startServer({ workers: 2 });
});
after(() => server.stop());

const cli = (data, ...words) => run([...words, "--data", data]);

/** Asks again until it is so: what changes comes by itself. */
async function until(ask, holds, what) {
	const look = async () => {
		for (;;) {
			const answer = await ask();
			if (holds(answer)) return answer;
			await new Promise((done) => setTimeout(done, 20));
		}
	};
	return within(look(), 10_000, what);
}

const live = (on, dataset) =>
	until(() => on.rpc("dataset.show", { dataset }), ({ state }) => state === "live", `${dataset} to be live`);

describe("by commands", () => {
	test("add, list, show, schema, drop: and the file is as it was", async () => {
		const file = database();
		const before = schemaOf(file);
		const added = await server.rpc("dataset.add", {
			dataset: "todos",
			database: file,
			table: "todos",
			read: "owner = :user OR team IN (SELECT team FROM members WHERE user = :user)",
			insert: "owner = :user",
			depends: ["members"],
			hide: ["pay unless :scope_admin"],
		});
		assert.deepEqual(added, { dataset: "todos", state: "live" });
		assert.notEqual(schemaOf(file), before, "nothing was put into it");

		const shown = await server.rpc("dataset.show", { dataset: "todos" });
		assert.equal(shown.database, file);
		assert.equal(shown.configured, false);
		assert.deepEqual([shown.depends, shown.hide, shown.seq], [["members"], ["pay unless :scope_admin"], "0"]);

		const ann = await connect(server, { user: "ann", scope: "datasets:read" });
		const { datasets } = await ann.call("dataset.list");
		assert.deepEqual(datasets, [{ dataset: "todos", state: "live", may: ["read"] }]);
		const { columns, may } = await ann.call("dataset.schema", { dataset: "todos" });
		assert.deepEqual(may, ["read"]);
		assert.deepEqual(columns.map(({ name, key, required }) => [name, key, required]), [
			["id", 1, false],
			["title", 0, true],
			["owner", 0, false],
			["team", 0, false],
		]);
		const root = await connect(server, { user: "root", scope: "datasets:read datasets:write admin" });
		assert.deepEqual((await root.call("dataset.schema", { dataset: "todos" })).columns.at(-1).name, "pay");
		assert.deepEqual((await root.call("dataset.list")).datasets[0].database, file);

		await assert.rejects(server.rpc("dataset.add", { dataset: "todos", database: file, table: "members" }), { data: { reason: "dataset_exists", field: "dataset" } });
		await server.rpc("dataset.drop", { dataset: "todos" });
		assert.equal(schemaOf(file), before);
		await assert.rejects(ann.call("dataset.schema", { dataset: "todos" }), { reason: "no_such_dataset" });
		await assert.rejects(server.rpc("dataset.drop", { dataset: "todos" }), { data: { reason: "no_such_dataset", field: "dataset" } });
		await Promise.all([ann.close(), root.close()]);
	});

	test("two datasets of one file: what the first needs stays when the second goes", async () => {
		const file = database();
		const before = schemaOf(file);
		const of = { database: file, read: "1" };
		await server.rpc("dataset.add", { ...of, dataset: "a", table: "todos", depends: ["members"] });
		const alone = schemaOf(file);
		await server.rpc("dataset.add", { ...of, dataset: "b", table: "members" });
		await server.rpc("dataset.drop", { dataset: "b" });
		assert.equal(schemaOf(file), alone);
		await server.rpc("dataset.drop", { dataset: "a" });
		assert.equal(schemaOf(file), before);
	});

	test("a token that names datasets sees these and no others, page by page", async () => {
		const file = database();
		const names = ["team-a", "team-b", "team-c", "other"];
		for (const dataset of names) await server.rpc("dataset.add", { dataset, database: file, table: "todos", read: "1" });
		const claim = { signalbox: { datasets: ["team-*"] } };
		const eve = await connect(server, { user: "eve", scope: "datasets:read", claim });
		const first = await eve.call("dataset.list", { limit: 2 });
		assert.deepEqual(first.datasets.map(({ dataset }) => dataset), ["team-a", "team-b"]);
		const { datasets, cursor } = await eve.call("dataset.list", { limit: 2, cursor: first.cursor });
		assert.deepEqual([datasets.map(({ dataset }) => dataset), cursor], [["team-c"], undefined]);
		await assert.rejects(eve.call("dataset.schema", { dataset: "other" }), { reason: "no_such_dataset" });
		await assert.rejects(eve.call("dataset.add", { dataset: "x", database: file, table: "todos" }), { reason: "insufficient_scope" });
		for (const dataset of names) await server.rpc("dataset.drop", { dataset });
		await eve.close();
	});

	test("verify finds what was changed behind the capture's back", async () => {
		const file = database();
		await server.rpc("dataset.add", { dataset: "proof", database: file, table: "todos", read: "1" });
		sqlite(file, "INSERT INTO todos (title) VALUES ('three'); UPDATE todos SET title = 'ONE' WHERE id = 1; DELETE FROM todos WHERE id = 2;");
		assert.deepEqual(await server.rpc("dataset.verify", { dataset: "proof" }), { ok: true, changes: 3, rows: 2 });
		const good = await cli(server.data, "dataset", "verify", "proof");
		assert.equal(good.code, 0, good.stderr);
		sqlite(file, "UPDATE _sb_c1 SET n2 = 'another' WHERE seq = 1;");
		const { ok, problem } = await server.rpc("dataset.verify", { dataset: "proof" });
		assert.equal(ok, false);
		assert.ok(problem.length > 10);
		assert.equal((await cli(server.data, "dataset", "verify", "proof")).code, 1);
		await server.rpc("dataset.drop", { dataset: "proof" });
	});

	test("one in trouble is dropped all the same; what cannot be taken out now goes at the next start", async (t) => {
		const [file, missing] = [database(), database()];
		const before = schemaOf(file);
		const troubled = await startServer({ t });
		for (const [dataset, of] of [["todos", file], ["lost", missing]])
			await troubled.rpc("dataset.add", { dataset, database: of, table: "todos", read: "1" });
		rmSync(missing);
		assert.deepEqual(await troubled.rpc("dataset.drop", { dataset: "lost" }), {});

		const holder = spawn("sqlite3", [file], { stdio: ["pipe", "pipe", "inherit"] });
		holder.stdin.write("BEGIN IMMEDIATE;\n.print held\n");
		await new Promise((held) => holder.stdout.once("data", held));
		const { left } = await troubled.rpc("dataset.drop", { dataset: "todos" });
		assert.match(left, /locked/);
		holder.stdin.end("ROLLBACK;\n.quit\n");
		await new Promise((ended) => holder.once("close", ended));
		assert.notEqual(schemaOf(file), before);
		await troubled.stop();
		const next = await startServer({ t, data: troubled.data });
		await next.logged("no datasets any more");
		assert.equal(schemaOf(file), before);
	});

	test("what is wrong is said before anything is done, with the field", async () => {
		const file = database();
		const before = schemaOf(file);
		const locked = database();
		const nothing = join(folder, "no-database");
		writeFileSync(nothing, "not a database at all".repeat(100));
		mkdirSync(join(folder, "directory"));
		const bad = [
			[{ database: join(folder, "none.db") }, "database", /No such file/],
			[{ database: "app.db" }, "database", /from the root/],
			[{ database: nothing }, "database", /no SQLite database/],
			[{ database: join(folder, "directory") }, "database", /is no file/],
			[{ database: join(server.data, "signalbox.db"), table: "users" }, "database", /a database of Signalbox itself/],
			[{ table: "todoz" }, "table", /did you mean `todos`/],
			[{ table: "loose" }, "table", /PRIMARY KEY/],
			[{ table: "open" }, "table", /key/],
			[{ table: "_sb_ctx" }, "table", /Signalbox/],
			[{ key: ["id"] }, "key", /a key of its own/],
			[{ read: "ownr = :user" }, "read", /ownr/],
			[{ read: "owner = :nobody" }, "read", /nobody/],
			[{ read: "random() > 0" }, "read", /random/],
			[{ update: "1; DROP TABLE todos" }, "update", /character 2/],
			[{ delete: "id IN (SELECT id FROM members)" }, "delete", /members/],
			[{ depends: ["memberz"] }, "depends", /did you mean `members`/],
			[{ hide: ["pai"] }, "hide", /did you mean `pay`/],
			[{ hide: ["id"] }, "hide", /key/],
			[{ hide: ["pay unless owner = 1"] }, "hide", /./],
			[{ dataset: "a b" }, "dataset", /letters/],
		];
		for (const [change, field, said] of bad) {
			const wish = { dataset: "bad", database: file, table: "todos", ...change };
			const { message, data } = await server.rpc("dataset.add", wish).then(assert.fail, (error) => error);
			assert.deepEqual([data?.field, /^bad_/.test(data?.reason)], [field, true], `${JSON.stringify(change)}: ${message}`);
			assert.match(message, said, JSON.stringify(change));
		}
		assert.equal(schemaOf(file), before);
		assert.equal(schemaOf(locked), before);
		const { datasets } = await server.rpc("dataset.list");
		assert.deepEqual(datasets, []);
	});

	test("what was added is there after a restart, and the audit has who did it", async (t) => {
		const file = database();
		const first = await startServer({ t });
		await first.rpc("dataset.add", { dataset: "kept", database: file, table: "todos", read: "1" });
		const { entries } = await until(() => first.rpc("audit.list", { action: "dataset.add" }), (a) => a.entries.length, "the audit");
		assert.match(entries[0].detail, /dataset=kept .*database=/);
		await first.stop();
		sqlite(file, "INSERT INTO todos (title) VALUES ('while it was away')");
		const second = await startServer({ t, data: first.data });
		assert.equal((await live(second, "kept")).seq, "1");
		await second.rpc("dataset.drop", { dataset: "kept" });
	});
});

test("a verification that takes long does not hold up the end of the service", async (t) => {
	const file = database();
	const big = await startServer({ t });
	await big.rpc("dataset.add", { dataset: "todos", database: file, table: "todos", read: "1" });
	sqlite(file, "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 150000) INSERT INTO todos (title) SELECT 't' || n FROM c;");
	const verified = big.rpc("dataset.verify", { dataset: "todos" }).then(() => "done", ({ message }) => message);
	await big.rpc("dataset.show", { dataset: "todos" }); // behind it: it has begun
	await big.stop();
	assert.equal(await verified, "interrupted");
});

test("by the command line, with no service running", async (t) => {
	const file = database();
	const before = schemaOf(file);
	const data = join(ownDirectory(), "d");
	const add = await run(["dataset", "add", "todos", "--database", "app.db", "--table", "todos", "--read", "1", "--data", data], {
		cwd: (renameSync(file, join(folder, "app.db")), folder),
	});
	assert.equal(add.code, 0, add.stderr);
	assert.match(add.stdout, /state: live/);
	const moved = join(folder, "app.db");
	assert.notEqual(schemaOf(moved), before);
	sqlite(moved, "INSERT INTO todos (title) VALUES ('seen')");
	const list = await cli(data, "dataset", "list");
	assert.match(list.stdout, /^dataset +database/m);
	assert.match(list.stdout, /^todos .*live/m);
	const shown = JSON.parse((await cli(data, "dataset", "show", "todos", "--json")).stdout);
	assert.deepEqual([shown.state, shown.seq, shown.database], ["live", "1", moved]);

	const running = await startServer({ t, data });
	assert.equal((await live(running, "todos")).seq, "1");
	const wrong = await cli(data, "dataset", "add", "more", "--database", moved, "--table", "nothing");
	assert.equal(wrong.code, 1);
	assert.match(wrong.stderr, /There is no table `nothing`.*\(table\)/);
	const dropped = await cli(data, "dataset", "drop", "todos");
	assert.deepEqual([dropped.code, dropped.stdout], [0, "done\n"]);
	assert.equal(schemaOf(moved), before);
	await running.stop();
	assert.match((await cli(data, "dataset", "list")).stdout, /none/);
});

test("by the configuration: a reload brings, changes and takes away what has changed, and nothing else", async (t) => {
	const stays = database();
	const goes = database();
	const [, was] = [schemaOf(stays), schemaOf(goes)];
	const record = (name, file, more) => ({ name, database: file, table: "todos", read: "1", ...more });
	const configured = await startServer({ t, config: { datasets: [record("stays", stays), record("goes", goes)] } });
	const first = await live(configured, "stays");
	await live(configured, "goes");
	await assert.rejects(configured.rpc("dataset.drop", { dataset: "stays" }), { data: { reason: "dataset_configured", field: "dataset" } });
	await assert.rejects(configured.rpc("dataset.add", record("stays", stays, { dataset: "stays", name: undefined })), { data: { reason: "dataset_exists", field: "dataset" } });

	const third = database();
	const reload = async (datasets) => {
		const reloads = configured.log.split("configuration reloaded").length;
		writeFileSync(`${configured.data}.yaml`, JSON.stringify({ datasets }));
		configured.signal("SIGHUP");
		await configured.logged(new RegExp(`(configuration reloaded[^]*){${reloads}}`));
	};
	await reload([record("stays", stays), record("comes", third)]);
	await live(configured, "comes");
	await until(() => configured.rpc("dataset.show", { dataset: "goes" }).then(() => true, ({ data }) => data.reason), (r) => r === "no_such_dataset", "goes to be gone");
	assert.equal(schemaOf(goes), was);
	const second = await live(configured, "stays");
	assert.deepEqual([second.epoch, second.seq], [first.epoch, first.seq]);

	// another rule alone: the log goes on
	sqlite(stays, "INSERT INTO todos (title) VALUES ('x')");
	await reload([record("stays", stays, { read: "owner = :user" }), record("comes", third)]);
	const changed = await until(() => configured.rpc("dataset.show", { dataset: "stays" }), ({ state, read }) => state === "live" && read !== "1", "the other rule");
	assert.deepEqual([changed.epoch, changed.seq], [first.epoch, "1"]);
	assert.deepEqual(rows(stays, "SELECT count(*) AS n FROM _sb_c1"), [{ n: 1 }]);
});

test("one whose definition does not fit its table is in trouble, at the start and when the table changes", async (t) => {
	const file = database();
	const datasets = [
		{ name: "bad", database: file, table: "todos", read: "ownr = :user" },
		{ name: "good", database: file, table: "todos", read: "1", hide: ["pay"] },
	];
	const strict = await startServer({ t, config: { datasets } });
	await live(strict, "good");
	const inTrouble = (dataset) => until(() => strict.rpc("dataset.show", { dataset }), ({ state }) => state === "trouble", "the trouble");
	assert.match((await inTrouble("bad")).trouble.what, /`read` does not fit the table: .*ownr/);
	// what was hidden must not come to light under another name
	const ann = await connect(strict, { user: "ann", scope: "datasets:read" });
	sqlite(file, "ALTER TABLE todos RENAME COLUMN pay TO wages");
	assert.match((await inTrouble("good")).trouble.what, /`hide` does not fit the table: .*pay/);
	await assert.rejects(ann.call("dataset.query", { dataset: "good" }), { reason: "dataset_unavailable" });
	sqlite(file, "ALTER TABLE todos RENAME COLUMN wages TO pay");
	await live(strict, "good");
	assert.deepEqual((await ann.call("dataset.query", { dataset: "good" })).columns, ["id", "title", "owner", "team"]);
	await ann.close();
});

test("what is no dataset any more at the next start is taken out of its file then, and nothing else", async (t) => {
	const [one, both] = [database(), database()];
	const was = schemaOf(one);
	const record = (name, file, table) => ({ name, database: file, table, read: "1" });
	const first = await startServer({ config: { datasets: [record("a", one, "todos"), record("b", both, "todos"), record("c", both, "members")] } });
	t.after(() => first.stop());
	for (const name of ["a", "b", "c"]) await live(first, name);
	const whole = schemaOf(both);
	await first.stop();
	assert.notEqual(schemaOf(one), was);
	const second = await startServer({ t, data: first.data, config: { datasets: [record("b", both, "todos")] } });
	const { epoch } = await live(second, "b");
	await second.logged(/no datasets any more.*\n[^]*no datasets any more/);
	assert.equal(schemaOf(one), was);
	assert.ok(!schemaOf(both).includes("ON members") && whole.includes('members'), "of members nothing is captured");
	assert.equal((await second.rpc("dataset.show", { dataset: "b" })).epoch, epoch);
	assert.equal((await second.rpc("dataset.verify", { dataset: "b" })).ok, true);
});

test("a copy of a file is cleaned by the command of the documentation", async () => {
	const file = database();
	const before = schemaOf(file);
	await server.rpc("dataset.add", { dataset: "original", database: file, table: "todos", read: "1" });
	const place = ownDirectory();
	sqlite(file, `.backup ${join(place, "copy.db")}`);
	await server.rpc("dataset.drop", { dataset: "original" });
	const page = readFileSync(resolve(import.meta.dirname, "../../docs/DATASETS.md"), "utf8");
	const [, command] = page.match(/```sh\n(sqlite3 copy\.db .*)\n```/);
	execFileSync("sh", ["-c", command], { cwd: place });
	assert.equal(schemaOf(join(place, "copy.db")), before);
});

test("config check holds each against its database, with line and column", async () => {
	const file = join(ownDirectory(), "c.yaml");
	const check = async (text) => (writeFileSync(file, text), run(["config", "check", "--config", file]));
	const of = (more) => `datasets:\n  - {name: todos, database: ${app}, table: todos, ${more}}\n`;
	const app = database();
	const before = schemaOf(app);
	assert.equal((await check(of("read: 'owner = :user'"))).code, 0);
	for (const [more, said] of [
		["read: 'ownr = :user'", /c\.yaml:2:\d+: datasets\.read: .*ownr/],
		["hide: [pai]", /c\.yaml:2:\d+: datasets\.hide: .*did you mean `pay`/],
		["depends: [memberz]", /c\.yaml:2:\d+: datasets\.depends: .*did you mean `members`/],
	]) {
		const { code, stderr } = await check(of(more));
		assert.equal(code, 1);
		assert.match(stderr, said);
	}
	const { stderr } = await check(of("").replace(app, "/nowhere/app.db"));
	assert.match(stderr, /datasets\.database: .*No such file/);
	assert.equal(schemaOf(app), before);
});

test("one whose file is missing is in trouble, the rest is not; when the file comes, it is live", async (t) => {
	const good = database();
	const missing = join(folder, "later.db");
	const datasets = [
		{ name: "good", database: good, table: "todos", read: "1" },
		{ name: "late", database: missing, table: "todos", read: "1" },
	];
	const troubled = await startServer({ t, config: { datasets } });
	await live(troubled, "good");
	const late = await until(() => troubled.rpc("dataset.show", { dataset: "late" }), ({ state }) => state === "trouble", "the trouble");
	assert.ok(late.trouble.what && late.trouble.remedy);
	const ready = await fetch(`${troubled.url}/ready`);
	const text = await ready.text();
	assert.equal(ready.status, 200);
	assert.match(text, /^ready\ndataset late: .+; .+\n$/);
	const metrics = await troubled.metrics();
	assert.deepEqual(
		["", "_live", "_trouble"].map((word) => metrics[`signalbox_datasets${word}`]),
		[2, 1, 1],
	);
	const ann = await connect(troubled, { user: "ann", scope: "datasets:read" });
	await assert.rejects(ann.call("dataset.schema", { dataset: "late" }), { reason: "dataset_unavailable" });
	assert.deepEqual((await ann.call("dataset.list")).datasets.map(({ state }) => state), ["live", "trouble"]);

	sqlite(join(folder, "made.db"), TABLES);
	renameSync(join(folder, "made.db"), missing);
	await live(troubled, "late");
	assert.equal((await ann.call("dataset.schema", { dataset: "late" })).columns.length, 5);
	assert.equal(await (await fetch(`${troubled.url}/ready`)).text(), "ready\n");
	await ann.close();
});
