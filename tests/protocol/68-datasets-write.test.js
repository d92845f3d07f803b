// What clients write into a dataset, through the service: rules and conditions, all of it or each op alone, what a table's
// owner has declared, retries also behind a crash, and what others are told of it. (What a single op does and refuses is in
// unit/test_write.c.)
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import test, { after } from "node:test";
import { connect, within } from "../support/client.mjs";
import { bearer } from "../support/raw.mjs";
import { ownDirectory, startServer } from "../support/server.mjs";

const folder = ownDirectory();
const file = join(folder, "app.db");
const schema = `
	PRAGMA journal_mode=WAL;
	CREATE TABLE lists(id INTEGER PRIMARY KEY, name TEXT);
	INSERT INTO lists VALUES(1, 'one');
	CREATE TABLE todos(id INTEGER PRIMARY KEY, owner TEXT NOT NULL, title TEXT NOT NULL UNIQUE, n INTEGER CHECK(n < 100),
		list INTEGER REFERENCES lists(id), secret TEXT DEFAULT 's');
	CREATE TRIGGER stop BEFORE INSERT ON todos WHEN new.title = 'never' BEGIN SELECT RAISE(ABORT, 'not that title'); END;
	CREATE TABLE notes(id INTEGER PRIMARY KEY, text TEXT);
	CREATE TABLE pages(id INTEGER PRIMARY KEY, text TEXT, more TEXT);
	CREATE INDEX pages_tag ON pages(json_extract(more, '$.tag'));
	CREATE TABLE tags(page, tag);
	CREATE TABLE elsewhere(json TEXT CHECK(json_valid(json)), kind TEXT AS (json_type(json)) UNIQUE);
	CREATE VIRTUAL TABLE pages_text USING fts5(text, content='pages', content_rowid='id');
	CREATE VIRTUAL TABLE pages_words USING fts4(text);
	CREATE VIRTUAL TABLE pages_place USING rtree(id, a, b);
	CREATE TRIGGER pages_i AFTER INSERT ON pages BEGIN
		INSERT INTO pages_text(rowid, text) VALUES(new.id, new.text);
		INSERT INTO pages_words(rowid, text) VALUES(new.id, new.text);
		INSERT INTO pages_place VALUES(new.id, new.id, new.id);
		INSERT INTO tags SELECT new.id, value FROM json_each(new.more, '$.all');
	END;
	CREATE TRIGGER pages_u AFTER UPDATE ON pages BEGIN
		INSERT INTO pages_text(pages_text, rowid, text) VALUES('delete', old.id, old.text);
		INSERT INTO pages_text(rowid, text) VALUES(new.id, new.text);
		UPDATE pages_words SET text = new.text WHERE rowid = new.id;
	END;
	CREATE TRIGGER pages_d AFTER DELETE ON pages BEGIN
		INSERT INTO pages_text(pages_text, rowid, text) VALUES('delete', old.id, old.text);
		DELETE FROM pages_words WHERE rowid = old.id;
	END`;
execFileSync("sqlite3", [file, schema]);

const options = {
	data: join(folder, "data"),
	workers: 4,
	config: {
		datasets: [
			{
				name: "todos", database: file, table: "todos", hide: ["secret"],
				read: "owner = :user OR n = 1", insert: "owner = :user", update: "owner = :user", delete: "owner = :user",
			},
			{ name: "notes", database: file, table: "notes", read: "1" },
			{ name: "pages", database: file, table: "pages", read: "1", insert: "1", update: "1", delete: "1" },
			{ name: "other", database: file, table: "notes", read: "1", insert: "1" },
		],
	},
};
let server = await startServer(options);
after(() => server.stop());

const db = new DatabaseSync(file);
db.exec("PRAGMA busy_timeout = 5000");
after(() => db.close());
const rows = (sql) => db.prepare(sql).all().map((row) => Object.values(row));

let mutations = 0;
const write = (client, ops, more = {}) =>
	client.call("dataset.write", { dataset: "todos", mutation: `m${++mutations}`, ops, ...more });

/** The data of the error that it is refused with. */
async function refused(promise, code, reason) {
	const error = await promise.then((result) => assert.fail(JSON.stringify(result)), (why) => why);
	assert.equal(error.code, code, error.message);
	assert.equal(error.reason, reason, error.message);
	return error.data;
}

/** Subscribes, and reads up to the first uptodate. */
async function reader(user, dataset = "todos") {
	const client = await connect(server, { user });
	const { sub } = await client.call("dataset.subscribe", { dataset });
	await client.next(({ method, params }) => method === "dataset.uptodate" && params.sub === sub);
	client.unread = [];
	return client;
}

const change = async (client) => (await client.next(({ method, params }) => method === "dataset.change" && params.ops.length > 0)).params;

test("a write is told to all who may see it, with its txn", async () => {
	const [ann, bob] = [await reader("ann"), await reader("bob")];
	const answer = await write(ann, [
		{ op: "insert", set: { owner: "ann", title: "a", n: 1 } },
		{ op: "insert", key: [10], set: { owner: "ann", title: "b", n: 2 } },
	]);
	assert.deepEqual(answer.columns, ["id", "owner", "title", "n", "list"]);
	assert.deepEqual(answer.rows.map(({ key, row }) => [key, row]), [[[1], [1, "ann", "a", 1, null]], [[10], [10, "ann", "b", 2, null]]]);
	const mine = await change(ann);
	assert.equal(mine.to, answer.seq);
	assert.deepEqual(mine.ops.map(({ op, key, txn, seq }) => [op, key, txn, seq]), [
		["I", [1], answer.txn, answer.rows[0].seq],
		["I", [10], answer.txn, answer.rows[1].seq],
	]);
	assert.deepEqual((await change(bob)).ops.map(({ key, txn }) => [key, txn]), [[[1], answer.txn]]);
	const gone = await write(ann, [{ op: "update", key: [1], set: { n: 5 } }, { op: "delete", key: [10], if: { seq: answer.seq } }]);
	assert.deepEqual((await change(bob)).ops.map(({ op, key }) => [op, key]), [["X", [1]]]);
	assert.deepEqual((await change(ann)).ops.map(({ op, key, txn }) => [op, key, txn]), [["U", [1], gone.txn], ["D", [10], gone.txn]]);
	// what another program writes has no txn
	execFileSync("sqlite3", ["-cmd", ".timeout 5000", file, "UPDATE todos SET n = 6 WHERE id = 1"]);
	assert.deepEqual((await change(ann)).ops.map(({ op, txn }) => [op, txn]), [["U", null]]);
});

test("rules, conditions and constraints refuse with what a client can act on", async () => {
	const ann = await connect(server, { user: "ann" });
	const bob = await connect(server, { user: "bob" });
	const { rows: [{ seq }] } = await write(ann, [{ op: "insert", key: [20], set: { owner: "ann", title: "c", n: 1 } }]);
	// bob sees the row, and may not write it
	assert.equal((await refused(write(bob, [{ op: "update", key: [20], set: { n: 2 } }]), -32003, "rule_forbids")).op, 0);
	await refused(write(bob, [{ op: "insert", set: { owner: "ann", title: "x" } }]), -32003, "rule_forbids");
	await refused(write(ann, [{ op: "update", key: [20], set: { owner: "bob" } }]), -32003, "rule_forbids");
	// a row that he does not see, and one that is not there, are the same to him
	await write(ann, [{ op: "update", key: [20], set: { n: 2 } }]);
	for (const key of [[20], [999]]) {
		await refused(write(bob, [{ op: "delete", key }]), -32004, "no_such_row");
		const { conflicts } = await refused(write(bob, [{ op: "delete", key, if: { old: { n: 2 } } }]), -32009, "conflict");
		assert.deepEqual(conflicts.map(({ key: whose, current }) => [whose, current]), [[key, null]]);
	}
	// ann's own base is old: she is told the row as it is, and how far that is
	const { conflicts, columns } = await refused(write(ann, [{ op: "update", key: [20], set: { n: 3 }, if: { seq } }]), -32009, "conflict");
	assert.deepEqual(columns, ["id", "owner", "title", "n", "list"]);
	assert.deepEqual(conflicts[0].current, [20, "ann", "c", 2, null]);
	await write(ann, [{ op: "update", key: [20], set: { n: 3 }, if: { seq: conflicts[0].seq } }]);
	await refused(write(ann, [{ op: "update", key: [20], set: { n: 4 }, if: { seq: "999999" } }]), -32010, "pruned");
	const kinds = [
		[{ owner: "ann", title: "c" }, "unique", "title"],
		[{ owner: "ann" }, "not_null", "title"],
		[{ owner: "ann", title: "d", n: 100 }, "check", "n"],
		[{ owner: "ann", title: "d", list: 9 }, "foreign_key", "list"],
		[{ owner: "ann", title: "never" }, "trigger", undefined],
	];
	for (const [set, constraint, field] of kinds) {
		const data = await refused(write(ann, [{ op: "insert", set }]), -32009, "constraint");
		assert.deepEqual([data.constraint, data.field, data.op], [constraint, field, 0]);
	}
	for (const [ops, field] of [
		[[{ op: "insert", set: { secret: "x" } }], "ops[0].set.secret"],
		[[{ op: "insert", set: { n: "one" } }], "ops[0].set.n"],
		[[{ op: "delete", key: [1] }, { op: "update", key: [1] }], "ops[1].set"],
	])
		assert.equal((await refused(write(ann, ops), -32602, field.endsWith("secret") ? "no_such_column" : "invalid_params")).field, field);
	await refused(write(ann, [{ op: "insert", set: { text: "x" } }], { dataset: "notes" }), -32003, "rule_forbids");
	await refused(write(ann, [{ op: "delete", key: [1] }], { dataset: "none" }), -32004, "no_such_dataset");
	const reading = await connect(server, { user: "ann", scope: "datasets:read" });
	await refused(write(reading, [{ op: "delete", key: [20] }]), -32003, "insufficient_scope");
	const narrow = await connect(server, { user: "ann", claim: { signalbox: { datasets: ["notes"] } } });
	await refused(write(narrow, [{ op: "delete", key: [20] }]), -32004, "no_such_dataset");
});

test("indexes for full text, places and JSON that the table's triggers keep are kept; what they cannot take is no trouble of the database", async () => {
	const ann = await connect(server, { user: "ann" });
	const pages = (...ops) => write(ann, ops, { dataset: "pages" });
	await pages({ op: "insert", key: [1], set: { text: "green tea", more: '{"all": ["a", "b"]}' } }, { op: "insert", key: [2], set: { text: "milk" } });
	await pages({ op: "update", key: [1], set: { text: "black tea" } });
	const found = () => ["pages_text", "pages_words"].map((table) => rows(`SELECT rowid FROM ${table} WHERE ${table} MATCH 'tea'`));
	assert.deepEqual([found(), rows("SELECT count(*) FROM tags"), rows("SELECT count(*) FROM pages_place")], [[[[1]], [[1]]], [[2]], [[2]]]);
	for (const set of [{ more: "no JSON" }, { id: 7, text: "x", more: "{" }]) {
		const op = set.id ? { op: "insert", set } : { op: "update", key: [1], set };
		assert.equal((await refused(pages(op), -32009, "constraint")).constraint, "other");
	}
	await pages({ op: "delete", key: [1] });
	assert.deepEqual(found(), [[], []]);
	db.exec("INSERT INTO pages_text(pages_text) VALUES('integrity-check')");
});

test("each op alone, over POST /v1/rpc", async () => {
	const token = await server.mint("cat");
	const params = {
		dataset: "todos", mutation: "alone", atomic: false,
		ops: [{ op: "insert", set: { owner: "cat", title: "e" } }, { op: "insert", set: { owner: "bob", title: "f" } }, { op: "insert", set: { owner: "cat", title: "e" } }],
	};
	const post = async () => {
		const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "dataset.write", params });
		const response = await fetch(`${server.url}/v1/rpc`, { method: "POST", headers: { ...bearer(token), "Content-Type": "application/json" }, body });
		return (await response.json()).result;
	};
	const first = await post();
	assert.deepEqual(first.rows.map(({ key, error }) => error?.data.reason ?? key), [first.rows[0].key, "rule_forbids", "constraint"]);
	assert.deepEqual(await post(), first);
	assert.equal(rows("SELECT count(*) FROM todos WHERE owner = 'cat'")[0][0], 1);
});

test("a word for a write is used once a user and dataset, also behind a crash", async () => {
	const ops = [{ op: "insert", set: { text: "x" } }];
	const ann = await connect(server, { user: "ann" });
	const once = (client, more) => client.call("dataset.write", { dataset: "other", mutation: "once", ops, ...more });
	const first = await once(ann);
	await refused(once(ann, { ops: [{ op: "insert", set: { text: "y" } }] }), -32009, "mutation_used");
	await refused(once(ann, { atomic: false }), -32009, "mutation_used");
	assert.notDeepEqual(await once(await connect(server, { user: "bob" })), first);
	await server.kill();
	server = await startServer(options);
	const back = await connect(server, { user: "ann" });
	// the file is looked at anew first
	const again = async () => {
		for (;;) {
			try {
				return await once(back);
			} catch (error) {
				if (error.reason !== "dataset_unavailable") throw error;
				await new Promise((done) => setTimeout(done, 20));
			}
		}
	};
	assert.deepEqual(await within(again(), 10_000, "the dataset to be live again"), first);
	assert.equal(rows("SELECT count(*) FROM notes")[0][0], 2);
	await refused(once(back, { ops: [{ op: "insert", set: { text: "y" } }] }), -32009, "mutation_used");
});

test("a file that somebody else holds is waited for, and then it is said", async () => {
	const ann = await connect(server, { user: "ann" });
	db.exec("BEGIN IMMEDIATE");
	await refused(write(ann, [{ op: "insert", set: { text: "z" } }], { dataset: "other" }), -32030, "dataset_unavailable");
	db.exec("ROLLBACK");
	await write(ann, [{ op: "insert", set: { text: "z" } }], { dataset: "other" });
});
