// Who sees what of a dataset: rules with memberships, hidden columns, filters by the column's own comparing, keys that
// change, rows that come into sight and leave it, values as SQLite has them; and that nothing else is ever sent.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { connect } from "../support/client.mjs";
import { anyPace, ownDirectory, startServer } from "../support/server.mjs";
import { sqlite } from "../support/sqlite.mjs";

const file = join(ownDirectory(), "app.db");
const SECRET = "nobody-may-read-this";
const member = "EXISTS (SELECT 1 FROM members WHERE members.team = tasks.team AND members.user = :user)";

let server;
before(async () => {
	sqlite(
		file,
		`PRAGMA journal_mode = WAL;
		CREATE TABLE tasks (team TEXT, n INTEGER, title TEXT COLLATE NOCASE, pay INTEGER, PRIMARY KEY (team, n)) WITHOUT ROWID;
		CREATE TABLE members (team TEXT, user TEXT, PRIMARY KEY (team, user));
		CREATE TABLE cells (id INTEGER PRIMARY KEY, v);
		INSERT INTO members VALUES ('red', 'ann'), ('blue', 'bob');
		INSERT INTO tasks VALUES ('red', 1, 'Paint', 10), ('red', 2, 'clean', 20), ('blue', 1, '${SECRET}', 30);`,
	);
	server = await startServer({
		workers: 2,
		config: {
			limits: anyPace,
			datasets: [
				{ name: "tasks", database: file, table: "tasks", read: member, depends: ["members"], hide: ["pay unless :scope_admin"] },
				{ name: "cells", database: file, table: "cells", read: "1", insert: "1", update: "1" },
			],
		},
	});
});
after(() => server.stop());

/** A client that follows, and what it was told since it was asked last. */
async function follow(params, options = { user: "ann" }) {
	const client = await connect(server, options);
	const answer = await client.call("dataset.subscribe", params);
	const page = await client.next("dataset.page");
	await client.next("dataset.uptodate");
	const ops = async () => (await client.next("dataset.change")).params.ops.map(({ op, key, row }) => (row ? [op, key, row] : [op, key]));
	return { client, answer, rows: page.params.rows, ops };
}

test("a membership brings rows into sight and takes them out of it", async () => {
	const { client, answer, rows, ops } = await follow({ dataset: "tasks" });
	assert.deepEqual(answer.columns, ["team", "n", "title"]);
	assert.deepEqual(rows, [["red", 1, "Paint"], ["red", 2, "clean"]]);
	sqlite(file, "UPDATE tasks SET title = title || '!' WHERE team = 'blue'; UPDATE tasks SET title = 'Clean' WHERE n = 2");
	assert.deepEqual(await ops(), [["U", ["red", 2], ["red", 2, "Clean"]]]);
	sqlite(file, "INSERT INTO tasks VALUES ('green', 1, 'Dig', 1); INSERT INTO members VALUES ('green', 'ann')");
	assert.deepEqual(await ops(), [["I", ["green", 1], ["green", 1, "Dig"]]]);
	sqlite(file, "UPDATE tasks SET team = 'blue', n = 7, title = 'gone' WHERE team = 'green'");
	assert.deepEqual(await ops(), [["X", ["green", 1]]]);
	sqlite(file, "DELETE FROM members WHERE user = 'ann'");
	assert.deepEqual((await ops()).sort(), [["X", ["red", 1]], ["X", ["red", 2]]]);
	sqlite(file, "INSERT INTO members VALUES ('red', 'ann')");
	assert.equal((await ops()).length, 2);
	assert.ok(!client.frames.join("").includes(SECRET), "a row that the rule hides was sent");
	await client.close();
});

test("a filter compares as the column does: what comes to fit is I, what ceases to is X, another key is both", async () => {
	const { client, answer, rows, ops } = await follow({ dataset: "tasks", columns: ["title"], where: ["=", "title", "PAINT"] });
	assert.deepEqual(answer.columns, ["title", "team", "n"]);
	assert.deepEqual(rows, [["Paint", "red", 1]]);
	sqlite(file, "UPDATE tasks SET title = 'pAINT' WHERE team = 'red' AND n = 2");
	assert.deepEqual(await ops(), [["I", ["red", 2], ["pAINT", "red", 2]]]);
	sqlite(file, "UPDATE tasks SET n = 9 WHERE team = 'red' AND n = 2");
	assert.deepEqual(await ops(), [["D", ["red", 2]], ["I", ["red", 9], ["pAINT", "red", 9]]]);
	sqlite(file, "UPDATE tasks SET title = 'Wash' WHERE n = 9");
	assert.deepEqual(await ops(), [["X", ["red", 9]]]);
	sqlite(file, "BEGIN; DELETE FROM tasks WHERE n = 9; REPLACE INTO tasks VALUES ('red', 1, 'paint', 11); COMMIT");
	assert.deepEqual((await ops()).at(-1).slice(1), [["red", 1], ["paint", "red", 1]]);
	await client.close();
});

test("a hidden column is there for who may see it, and for nobody else", async () => {
	const admin = await follow({ dataset: "tasks" }, { user: "ann", scope: "datasets:read admin" });
	assert.deepEqual(admin.answer.columns, ["team", "n", "title", "pay"]);
	const plain = await follow({ dataset: "tasks" });
	assert.notEqual(admin.answer.sub, plain.answer.sub);
	await assert.rejects(plain.client.call("dataset.subscribe", { dataset: "tasks", where: ["=", "pay", 11] }), { reason: "no_such_column" });
	const secret = 770077007700; // no id and no epoch has it by chance
	sqlite(file, `UPDATE tasks SET pay = ${secret} WHERE team = 'red' AND n = 1`);
	assert.equal((await admin.ops())[0][2][3], secret);
	await plain.client.call("dataset.schema", { dataset: "tasks" });
	assert.ok(!plain.client.frames.join("").includes(secret));
	await Promise.all([admin.client.close(), plain.client.close()]);
});

test("values are what SQLite has; who sees the same has the same shape; a write's own txn comes back", async () => {
	const one = await follow({ dataset: "cells" });
	const two = await follow({ dataset: "cells" }, { user: "bob" });
	assert.equal(one.answer.sub, two.answer.sub);
	const values = {
		"9007199254740993": { $i: "9007199254740993" },
		"-5": -5,
		"0.1": 0.1,
		"1e999": { $r: "Inf" },
		"x'00ff'": { $b: "AP8=" },
		"CAST(x'61ff' AS TEXT)": { $t: "Yf8=" },
		NULL: null,
		"'a' || char(10) || '\"'": 'a\n"',
		"hex(zeroblob(100001))": { $big: 200002 },
	};
	const literals = Object.keys(values);
	sqlite(file, `INSERT INTO cells (v) VALUES ${literals.map((literal) => `(${literal})`)}`);
	for (const { ops } of [one, two]) assert.deepEqual((await ops()).map(([, , row]) => row[1]), Object.values(values));
	const writer = await connect(server, { user: "cid" });
	const { txn } = await writer.call("dataset.write", { dataset: "cells", mutation: "m", ops: [{ op: "insert", set: { v: "mine" } }] });
	const { params } = await one.client.next("dataset.change");
	assert.deepEqual(params.ops.map((op) => [op.txn, op.row[1]]), [[txn, "mine"]]);
	await Promise.all([one.client.close(), two.client.close(), writer.close()]);
});
