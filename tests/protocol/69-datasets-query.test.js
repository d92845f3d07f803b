// One-off pages: what SQLite holds comes out exactly, filters select what SQLite's own conditions select, pages lead on
// without hole or double while others write, and nobody sees by a filter, an order, a cursor or a range what the rules hide.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { connect } from "../support/client.mjs";
import { ownDirectory, startServer } from "../support/server.mjs";
import { rows, sqlite } from "../support/sqlite.mjs";

const file = join(ownDirectory(), "app.db");
const SECRET = "planted-secret";
let server, ann, bob;

before(async () => {
	sqlite(
		file,
		`PRAGMA journal_mode = WAL;
		CREATE TABLE todos (id INTEGER PRIMARY KEY, title TEXT COLLATE NOCASE, due REAL, owner TEXT, list INTEGER, note BLOB, pay TEXT);
		CREATE TABLE members (user TEXT, list INTEGER, PRIMARY KEY (user, list)) WITHOUT ROWID;
		CREATE TABLE nobodys (id INTEGER PRIMARY KEY);
		CREATE TABLE anything (k TEXT, n, x, PRIMARY KEY (k, n)) WITHOUT ROWID;
		CREATE TABLE many (id INTEGER PRIMARY KEY, text TEXT, g INTEGER);
		INSERT INTO todos VALUES (1, 'Milk', 1.5, 'ann', 1, x'00ff', '${SECRET}'), (2, 'bread', NULL, 'bob', 1, NULL, '${SECRET}'),
			(3, NULL, 0.1, 'ann', 2, NULL, '${SECRET}'), (4, 'apples', 3, 'bob', 2, NULL, '${SECRET}'), (5, 'MILK', 2, 'cid', 3, NULL, '${SECRET}');
		INSERT INTO members VALUES ('ann', 1), ('bob', 2), ('bob', 3);
		WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 500)
			INSERT INTO many SELECT i, printf('%d%s', i, hex(zeroblob(500))), i % 7 FROM c;`,
	);
	server = await startServer({ workers: 2 });
	const add = (dataset, table, more) => server.rpc("dataset.add", { dataset, database: file, table, ...more });
	await add("todos", "todos", {
		read: "owner = :user OR EXISTS (SELECT 1 FROM members WHERE user = :user AND list = todos.list)",
		depends: ["members"],
		hide: ["pay unless :scope_admin"],
	});
	await add("nobodys", "nobodys");
	await add("anything", "anything", { read: "1" });
	await add("many", "many", { read: "1" });
	[ann, bob] = await Promise.all(["ann", "bob"].map((user) => connect(server, { user, scope: "datasets:read" })));
});
after(async () => {
	await Promise.all([ann?.close(), bob?.close()]);
	await server.stop();
});

const ids = async (who, wish) => {
	const { columns, rows } = await who.call("dataset.query", { dataset: "todos", ...wish });
	return rows.map((row) => row[columns.indexOf("id")]);
};

/** All pages, one behind the other; before each but the first: between(). */
async function pages(who, wish, between = () => {}) {
	const all = [];
	for (let cursor; cursor !== null; ) {
		if (cursor) await between();
		const page = await who.call("dataset.query", { ...wish, ...(cursor && { cursor }) });
		all.push(page);
		({ cursor } = page);
	}
	return all;
}

describe("what is seen", () => {
	test("rows by the rule, columns by the scope, in the order of the key", async () => {
		const page = await ann.call("dataset.query", { dataset: "todos" });
		assert.deepEqual(page.columns, ["id", "title", "due", "owner", "list", "note"]);
		assert.deepEqual(page.rows, [
			[1, "Milk", 1.5, "ann", 1, { $b: "AP8=" }],
			[2, "bread", null, "bob", 1, null],
			[3, null, 0.1, "ann", 2, null],
		]);
		assert.deepEqual([page.cursor, page.schema_version > 0, typeof page.epoch], [null, true, "string"]);
		assert.deepEqual(await ids(bob), [2, 4, 5].concat(3).sort());
		const root = await connect(server, { user: "root", scope: "datasets:read admin" });
		assert.deepEqual((await root.call("dataset.query", { dataset: "todos" })).columns.at(-1), "pay");
		await root.close();
	});

	test("another program's write is there, and as_of has moved with it", async () => {
		const before = await ann.call("dataset.query", { dataset: "todos" });
		sqlite(file, "INSERT INTO members VALUES ('ann', 3)");
		const after = await ann.call("dataset.query", { dataset: "todos" });
		assert.equal(BigInt(after.as_of), BigInt(before.as_of) + 1n);
		assert.deepEqual(after.rows.map(([id]) => id), [1, 2, 3, 5]);
		assert.equal(after.epoch, before.epoch);
		sqlite(file, "DELETE FROM members WHERE user = 'ann' AND list = 3");
	});

	test("of a view, too, with pages by its key", async () => {
		sqlite(file, "CREATE VIEW lists AS SELECT list, count(*) AS n, max(title) AS last FROM todos GROUP BY list;");
		await server.rpc("dataset.add", { dataset: "lists", database: file, table: "lists", key: ["list"], depends: ["todos"], read: "list IN (SELECT list FROM todos WHERE owner = :user)" });
		const found = await pages(bob, { dataset: "lists", limit: 1, columns: ["n"] });
		assert.deepEqual(found.map(({ rows }) => rows), [[[2, 1]], [[2, 2]]]);
		await server.rpc("dataset.drop", { dataset: "lists" });
	});

	test("chosen columns, with the key behind them; counting", async () => {
		const page = await ann.call("dataset.query", { dataset: "todos", columns: ["TITLE", "due"], limit: 1, count: true });
		assert.deepEqual([page.columns, page.rows, page.count], [["title", "due", "id"], [["Milk", 1.5, 1]], 3]);
	});

	test("what may not be asked", async () => {
		const refused = async (wish, error) => {
			await assert.rejects(ann.call("dataset.query", { dataset: "todos", ...wish }), error);
		};
		await refused({ dataset: "nope" }, { reason: "no_such_dataset" });
		await refused({ dataset: "nobodys" }, { reason: "not_readable", code: -32003 });
		await refused({ where: ["=", "pay", SECRET] }, { reason: "no_such_column", data: { reason: "no_such_column", field: "where[1]" } });
		await refused({ where: ["or", ["=", "id", 1], ["not", ["like", "pay", "p%"]]] }, { data: { reason: "no_such_column", field: "where[2][1][1]" } });
		await refused({ order: ["-pay"] }, { reason: "no_such_column" });
		await refused({ columns: ["pay"] }, { reason: "no_such_column" });
		await refused({ ranges: { pay: [0, 1] } }, { reason: "no_such_column" });
		await refused({ where: ["=", "id", null] }, { code: -32602 });
		await refused({ where: ["nope", "id", 1] }, { code: -32602 });
		await refused({ where: ["in", "id", Array(201).fill(1)] }, { reason: "filter_too_long", code: -32013 });
		await refused({ limit: 1001 }, { code: -32602 });
		const eve = await connect(server, { user: "eve", scope: "datasets:read", claim: { signalbox: { datasets: ["other-*"] } } });
		await assert.rejects(eve.call("dataset.query", { dataset: "todos" }), { reason: "no_such_dataset" });
		const none = await connect(server, { user: "ann", scope: "rooms:join" });
		await assert.rejects(none.call("dataset.query", { dataset: "todos" }), { code: -32003 });
		await Promise.all([eve.close(), none.close()]);
	});

	test("by HTTP alone, the same", async () => {
		const token = await server.mint("ann", { scope: "datasets:read" });
		const asked = { jsonrpc: "2.0", id: 1, method: "dataset.query", params: { dataset: "todos", where: ["=", "id", 2] } };
		const response = await fetch(`${server.url}/v1/rpc`, {
			method: "POST",
			headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
			body: JSON.stringify(asked),
		});
		const { result } = await response.json();
		assert.deepEqual(result.rows, [[2, "bread", null, "bob", 1, null]]);
	});
});

describe("filters", () => {
	const same = [
		[["=", "title", "milk"], "title = 'milk'"],
		[["=", "title", "m"], "title = 'm'"],
		[["!=", "due", 1.5], "due <> 1.5"],
		[["<", "due", "2"], "due < '2'"],
		[[">=", "title", "b"], "title >= 'b'"],
		[["in", "owner", ["ann", "cid"]], "owner IN ('ann', 'cid')"],
		[["in", "id", []], "0"],
		[["like", "title", "%IL%"], "title LIKE '%IL%'"],
		[["is-null", "title"], "title IS NULL"],
		[["not", ["=", "due", 0.1]], "NOT due = 0.1"],
		[["and", ["=", "list", 1], ["or", ["=", "owner", "ann"], ["is-null", "due"]]], "list = 1 AND (owner = 'ann' OR due IS NULL)"],
		[["=", "note", { $b: "AP8=" }], "note = x'00ff'"],
		[["=", "list", "1"], "list = '1'"],
		[["=", "owner", "ann' OR '1'='1"], "owner = 'ann'' OR ''1''=''1'"],
	];
	for (const [where, sql] of same)
		test(sql, async () => {
			const want = rows(file, `SELECT id FROM todos WHERE owner = 'bob' OR list IN (2, 3) ORDER BY id`).map(({ id }) => id);
			const select = rows(file, `SELECT id FROM todos WHERE ${sql}`).map(({ id }) => id);
			assert.deepEqual(await ids(bob, { where }), want.filter((id) => select.includes(id)));
		});
});

describe("pages", () => {
	test("in any order, also by what is NULL and of mixed types, and while others write", async () => {
		const mixed = ["NULL", "1", "2.5", "'1'", "'a'", "'A'", "x'61'", "''", "9e999", "9007199254740993"];
		const values = mixed.flatMap((x, i) => ["b", "B", "a"].map((k, j) => `('${k}', ${mixed[(i + 1 + j) % 9 || 1]}, ${x})`));
		sqlite(file, `INSERT OR IGNORE INTO anything VALUES ${values.join(", ")};`);
		for (const order of [[], ["x"], ["-x"], ["k", "-x"], ["-n", "k"]]) {
			let other = 0;
			const wish = { dataset: "anything", order, limit: 4 };
			const found = await pages(ann, wish, () => sqlite(file, `UPDATE todos SET due = ${++other} WHERE id = 5`));
			const sql = order.map((term) => `${term.replace("-", "")}${term[0] === "-" ? " DESC" : ""}, `).join("");
			const want = rows(file, `SELECT k FROM anything ORDER BY ${sql}k, n`);
			const have = found.flatMap(({ rows }) => rows);
			assert.deepEqual(have.map(([k]) => k), want.map(({ k }) => k));
			assert.equal(new Set(have.map((row) => JSON.stringify(row))).size, want.length);
			assert.ok(other >= 5 && found.every(({ rows }, i) => rows.length === 4 || i === found.length - 1));
		}
	});

	test("a page ends at 128 KiB of rows, and the next goes on", async () => {
		const found = await pages(ann, { dataset: "many", limit: 1000 });
		const have = found.flatMap(({ rows }) => rows.map(([id]) => id));
		assert.deepEqual(have, Array.from({ length: 500 }, (_, i) => i + 1));
		assert.ok(found.length > 3);
		for (const { rows } of found) assert.ok(JSON.stringify(rows).length <= 128 * 1024 + 2);
	});

	test("a cursor is of one query and one caller's view, and nothing else is a cursor", async () => {
		const wish = { dataset: "todos", order: ["title"], limit: 1 };
		const { cursor } = await bob.call("dataset.query", wish);
		const others = [
			[bob, { ...wish, order: ["-title"] }],
			[bob, { ...wish, where: ["=", "list", 2] }],
			[bob, { ...wish, columns: ["id"] }],
			[bob, { ...wish, dataset: "many", order: ["id"] }],
			[ann, wish],
		];
		for (const [who, other] of others)
			await assert.rejects(who.call("dataset.query", { ...other, cursor }), { code: -32602, data: { reason: "invalid_params", field: "cursor" } });
		for (const made of ["A", "AAAA", "%%%%", cursor.slice(0, -2), `${cursor}AAAA`])
			await assert.rejects(bob.call("dataset.query", { ...wish, cursor: made }), { code: -32602 });
		assert.equal((await bob.call("dataset.query", { ...wish, cursor, limit: 5 })).rows.length, 3);
	});

	test("queries that take too long are ended, and so is waiting for them", async () => {
		sqlite(file, "CREATE TABLE numbers (a INTEGER PRIMARY KEY); WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 2000) INSERT INTO numbers SELECT i FROM c;");
		await server.rpc("dataset.add", {
			dataset: "slow",
			database: file,
			table: "members",
			read: "EXISTS (SELECT 1 FROM numbers a, numbers b, numbers c WHERE a.a * b.a * c.a = -1)",
			depends: ["numbers"],
		});
		const begun = performance.now();
		const ends = Array.from({ length: 6 }, () => ann.call("dataset.query", { dataset: "slow" }).catch(({ reason }) => reason));
		const { sub } = await bob.call("dataset.subscribe", { dataset: "todos" });
		await bob.next("dataset.uptodate");
		await bob.call("dataset.unsubscribe", { sub });
		assert.ok(performance.now() - begun < 1500, "the others have waited");
		const reasons = await Promise.all(ends);
		assert.ok(reasons.filter((reason) => reason === "query_too_slow").length >= 2, reasons.join());
		assert.ok(reasons.includes("dataset_unavailable"), `all have had their turn: ${reasons}`);
		assert.ok(performance.now() - begun < 10_000);
		await server.rpc("dataset.drop", { dataset: "slow" });
	});
});

describe("values", () => {
	test("are those that SQLite holds", async () => {
		const exact = [
			["0.1", 0.1],
			["0.1 + 0.2", 0.30000000000000004],
			["1e308", 1e308],
			["5e-324", 5e-324],
			["1.0", 1],
			["9e999", { $r: "Inf" }],
			["-9e999", { $r: "-Inf" }],
			["9007199254740992", 9007199254740992],
			["9007199254740993", { $i: "9007199254740993" }],
			["-9223372036854775808", { $i: "-9223372036854775808" }],
			["'a' || char(0) || 'b'", "a\0b"],
			["CAST(x'61ff' AS TEXT)", { $t: "Yf8=" }],
			["x''", { $b: "" }],
			["'\u{1f600}\u2028'", "\u{1f600}\u2028"],
			["NULL", null],
		];
		sqlite(file, `DELETE FROM anything; INSERT INTO anything VALUES ${exact.map(([sql], i) => `('k', ${i}, ${sql})`).join(", ")};`);
		const { rows: have } = await ann.call("dataset.query", { dataset: "anything", columns: ["x"] });
		assert.deepEqual(have.map(([x]) => x), exact.map(([, json]) => json));
		for (const [i, [, json]] of exact.entries()) {
			if (json === null) continue;
			const { rows: found } = await ann.call("dataset.query", { dataset: "anything", where: ["and", ["=", "x", json], ["=", "n", i]] });
			assert.equal(found.length, 1, JSON.stringify(json));
		}
	});

	test("what is too large for its row is fetched by ranges", async () => {
		sqlite(file, "INSERT INTO anything VALUES ('big', 1, hex(zeroblob(100000)) || '!'), ('big', 2, 'small');");
		const wish = { dataset: "anything", where: ["=", "k", "big"], columns: ["x"] };
		const { rows: have } = await ann.call("dataset.query", wish);
		assert.deepEqual(have.map(([x]) => x), [{ $big: 200001 }, "small"]);
		let text = "";
		for (let offset = 0; offset < 200001; offset += 131072) {
			const where = ["and", ["=", "k", "big"], ["=", "n", 1]];
			const part = await ann.call("dataset.query", { ...wish, where, ranges: { x: [offset, 131072] } });
			text += Buffer.from(part.rows[0][0].$b, "base64").toString();
		}
		assert.equal(text, `${"0".repeat(200000)}!`);
	});
});
