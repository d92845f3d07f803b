// What the log of a dataset has: by dataset.changes in pages and waiting, and as lines of JSON from the command line.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { binary, ownDirectory, run, startServer } from "../support/server.mjs";
import { sqlite } from "../support/sqlite.mjs";
import { within } from "../support/within.mjs";

const file = join(ownDirectory(), "app.db");
let server;
before(async () => {
	sqlite(file, "PRAGMA journal_mode = WAL; CREATE TABLE todos (id INTEGER PRIMARY KEY, title, n); CREATE TABLE other (id INTEGER PRIMARY KEY);");
	server = await startServer({ workers: 2 });
	await server.rpc("dataset.add", { dataset: "todos", database: file, table: "todos", read: "1" });
	await server.rpc("dataset.add", { dataset: "other", database: file, table: "other", read: "1" });
});
after(() => server.stop());

const changes = (params) => server.rpc("dataset.changes", { dataset: "todos", ...params });
const lines = (text) => text.trim().split("\n").filter(Boolean).map((line) => JSON.parse(line));

/** `dataset tail` as it runs; next() is its next line. */
function tail(...words) {
	const child = spawn(binary, ["dataset", "tail", ...words, "--data", server.data], { env: { PATH: process.env.PATH }, stdio: ["ignore", "pipe", "pipe"] });
	const out = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
	child.stderr.pipe(process.stderr);
	return {
		child,
		next: async () => JSON.parse((await within(out.next(), 10_000, "a line of tail")).value),
	};
}

test("pages of exact values, old and new", async () => {
	sqlite(file, `INSERT INTO todos VALUES (1, 'a', 9e999), (2, x'00ff', 9007199254740993); REPLACE INTO todos VALUES (1, 'b', 0.1);
		INSERT INTO other VALUES (7); UPDATE todos SET id = 5 WHERE id = 2; DELETE FROM todos WHERE id = 1;`);
	const first = await changes({ since: "0", limit: 2 });
	assert.deepEqual(first.columns, ["id", "title", "n"]);
	assert.deepEqual(first.changes.map(({ seq, txn, op, key, row, old }) => [seq, txn, op, key, row, old]), [
		["1", null, "I", [1], [1, "a", { $r: "Inf" }], null],
		["2", null, "I", [2], [2, { $b: "AP8=" }, { $i: "9007199254740993" }], null],
	]);
	assert.equal(first.seq, "2");
	const rest = await changes({ since: first.seq, epoch: first.epoch });
	assert.deepEqual(rest.changes.map(({ seq, op, key, row, old }) => [seq, op, key, row, old]), [
		["3", "D", [1], null, [1, "a", { $r: "Inf" }]],
		["4", "I", [1], [1, "b", 0.1], null],
		["6", "U", [5], [5, { $b: "AP8=" }, { $i: "9007199254740993" }], [2, { $b: "AP8=" }, { $i: "9007199254740993" }]],
		["7", "D", [1], null, [1, "b", 0.1]],
	]);
	assert.equal(rest.seq, "7");
	assert.deepEqual((await changes({})).changes, [], "without since it begins now");
});

test("who waits is told of the next change, and of nothing when none comes", async () => {
	const { seq, epoch } = await changes({});
	const waiting = [changes({ since: seq, epoch, wait: 30 }), changes({ wait: 30 })];
	sqlite(file, "INSERT INTO todos VALUES (10, 'waited for', NULL)");
	// the one without since may have come too late to begin before it
	assert.deepEqual((await within(waiting[0], 10_000, "the change")).changes.map(({ key }) => key), [[10]]);
	sqlite(file, "INSERT INTO todos VALUES (11, 'and this', NULL)");
	assert.ok((await within(waiting[1], 10_000, "a change")).changes.length);
	const head = (await changes({})).seq;
	sqlite(file, "INSERT INTO other VALUES (8)");
	const { changes: none, seq: moved } = await changes({ since: head, wait: 1 });
	assert.deepEqual([none, moved], [[], String(Number(head) + 1)]);
});

test("what the log does not hold is gone, and says so", async () => {
	await assert.rejects(changes({ since: "0", epoch: "another" }), { data: { reason: "epoch" } });
	await assert.rejects(changes({ since: "999999" }), { data: { reason: "epoch" } });
	await assert.rejects(changes({ since: "x" }), { data: { field: "since", reason: "invalid_params" } });
	await assert.rejects(server.rpc("dataset.changes", { dataset: "none" }), { data: { reason: "no_such_dataset", field: "dataset" } });
});

test("tail prints lines of JSON by the columns' names, and ends at the newest change when told so", async () => {
	const { code, stdout } = await run(["dataset", "tail", "todos", "--no-follow", "--data", server.data]);
	assert.equal(code, 0);
	const all = lines(stdout);
	assert.deepEqual([all[0].row, all[0].old, all[0].op], [{ id: 1, title: "a", n: { $r: "Inf" } }, null, "I"]);
	assert.equal(all.at(-1).row.title, "and this");
	const since = await run(["dataset", "tail", "todos", "--no-follow", "--since", all.at(-2).seq, "--data", server.data]);
	assert.deepEqual(lines(since.stdout), [all.at(-1)]);
});

test("a long log comes whole, page by page", async () => {
	const { seq } = await changes({});
	sqlite(file, "WITH RECURSIVE n(x) AS (VALUES(1000) UNION ALL SELECT x + 1 FROM n WHERE x < 4999) INSERT INTO todos SELECT x, hex(zeroblob(100)), 'a' || char(0) || 'b' FROM n");
	const { code, stdout } = await run(["dataset", "tail", "todos", "--no-follow", "--since", seq, "--data", server.data]);
	assert.equal(code, 0);
	assert.deepEqual(lines(stdout).map(({ row }) => [row.id, row.n]), Array.from({ length: 4000 }, (_, i) => [1000 + i, "a\0b"]));
});

test("tail follows, and says when its place is no longer there", async () => {
	const { seq } = await changes({});
	const following = tail("todos", "--since", seq);
	sqlite(file, "INSERT INTO todos VALUES (20, 'one', 1)");
	assert.equal((await following.next()).row.title, "one");
	sqlite(file, "UPDATE todos SET title = 'two' WHERE id = 20");
	const { op, old, row } = await following.next();
	assert.deepEqual([op, old.title, row.title], ["U", "one", "two"]);
	const ended = once(following.child, "exit");
	following.child.kill("SIGINT");
	await within(ended, 10_000, "the end of tail");

	sqlite(file, "UPDATE _sb_ctx SET floor = seq; DELETE FROM _sb_c1;");
	const pruned = await run(["dataset", "tail", "todos", "--since", seq, "--data", server.data]);
	assert.equal(pruned.code, 1);
	assert.match(pruned.stderr, /does not reach back so far.*\(pruned\)/);
	const other = await run(["dataset", "tail", "todos", "--epoch", "another", "--data", server.data]);
	assert.equal(other.code, 1);
	assert.match(other.stderr, /not the one that this position is of.*\(epoch\)/);
});

test("who waits when the dataset is dropped is answered", async () => {
	const { seq } = await server.rpc("dataset.changes", { dataset: "other" });
	const waiting = assert.rejects(server.rpc("dataset.changes", { dataset: "other", since: seq, wait: 30 }), ({ data }) =>
		["no_such_dataset", "dataset_unavailable"].includes(data.reason));
	await server.rpc("dataset.drop", { dataset: "other" });
	await within(waiting, 10_000, "the refusal");
});
