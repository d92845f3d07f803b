// The tables of the model of datasets (67-datasets-model-threads), what foreign programs do to them at random, what is
// read from them, and an oracle: it asks SQLite itself, with its own SQL over the tables, what each reader is to see.
import { DatabaseSync } from "node:sqlite";
import { textOf } from "./dataset-readers.mjs";

export const USERS = ["ann", "bob", "cat", "dan", "eve", "fay"];
const NOBODY = "nobody"; // owns what no reader may see; such rows have LEAK in a text, and belong to no list
const LEAK = "LEAK";
const HIDDEN = "HIDDEN"; // in a column that nobody is told

/** What must not be in anything that any reader is sent. */
export const planted = new RegExp(`${LEAK}|${HIDDEN}|${NOBODY}`);

const TODOS = (name) => `CREATE TABLE ${name}(
	id INTEGER PRIMARY KEY,
	owner TEXT NOT NULL COLLATE NOCASE,
	list INTEGER REFERENCES lists(id) ON DELETE CASCADE ON UPDATE CASCADE,
	title TEXT NOT NULL,
	code TEXT UNIQUE COLLATE NOCASE,
	n INTEGER,
	score REAL,
	data BLOB,
	secret TEXT NOT NULL DEFAULT '${HIDDEN} by default',
	twice AS (n * 2))`;

export const tables = [
	"CREATE TABLE lists(id INTEGER PRIMARY KEY, name TEXT)",
	"CREATE TABLE members(list INTEGER NOT NULL, user TEXT NOT NULL, note TEXT, PRIMARY KEY(list, user))",
	TODOS("todos"),
	`CREATE TABLE pairs(a TEXT NOT NULL COLLATE NOCASE, b INTEGER NOT NULL, v TEXT NOT NULL, w INTEGER UNIQUE, shared INTEGER NOT NULL,
		PRIMARY KEY(a, b)) WITHOUT ROWID`,
	"CREATE TABLE done(id INTEGER, title TEXT)",
	"INSERT INTO lists VALUES(1, 'one'), (2, 'two'), (3, 'three'), (4, 'four'), (5, 'five')",
	`INSERT INTO members VALUES(1, 'ann', ''), (2, 'ann', ''), (2, 'bob', ''), (3, 'cat', ''), (4, 'dan', ''), (5, 'eve', '')`,
	// the owner's own trigger: it makes more changes of one statement, in another table
	`CREATE TRIGGER finish AFTER DELETE ON todos WHEN old.n > 50 BEGIN INSERT INTO done VALUES(old.id, old.title); END`,
];

export const datasets = (database) => [
	{
		name: "todos",
		database,
		table: "todos",
		read: "owner = :user OR EXISTS(SELECT 1 FROM members WHERE members.list = todos.list AND members.user = :user)",
		insert: "owner = :user",
		update: "owner = :user",
		delete: "owner = :user",
		depends: ["members"],
		hide: ["secret"],
	},
	{ name: "pairs", database, table: "pairs", read: "shared = 1 OR a = :user", insert: "a = :user AND shared = 1", delete: "a = :user" },
];

/** The read rules once more, as the oracle says them: over an alias, with the membership counted. */
const visible = {
	todos: "(lower(t.owner) = $user OR (SELECT count(*) FROM members m WHERE m.list = t.list AND m.user = $user) > 0)",
	pairs: "(t.shared = 1 OR lower(t.a) = $user)",
};

export const keys = { todos: ["id"], pairs: ["a", "b"] };

/** Filters, each as JSON and as SQL of the oracle's own. */
const filters = {
	todos: [
		[undefined, "1"],
		[["=", "list", 2], "t.list = 2"],
		[["=", "owner", "ANN"], "t.owner = 'ann'"],
		[["!=", "owner", "bob"], "t.owner <> 'bob'"],
		[["in", "owner", ["bob", "Cat"]], "t.owner IN ('bob', 'cat')"],
		[["and", [">=", "n", 5], ["<", "n", 60]], "t.n BETWEEN 5 AND 59 AND typeof(t.n) <> 'text'"],
		[["or", ["=", "n", 7], [">", "score", 0.5]], "(t.n = 7 OR t.score > 0.5)"],
		[["like", "title", "%a%"], "instr(lower(t.title), 'a') > 0"],
		[["is-null", "list"], "t.list IS NULL"],
		[["not", ["is-null", "code"]], "t.code NOT NULL"],
		[["=", "code", "c7"], "t.code = 'C7'"],
		[["not", ["=", "list", 3]], "t.list <> 3"],
		[[">", "twice", 20], "t.n * 2 > 20"],
		[["=", "title", "alpha"], "t.title = 'alpha'"],
	],
	pairs: [
		[undefined, "1"],
		[["=", "a", "ann"], "t.a = 'ann'"],
		[["=", "b", 2], "t.b = 2"],
		[["<=", "w", 20], "t.w <= 20"],
	],
};

const windows = {
	todos: [
		{ order: ["n", "-title"], limit: 5, sql: "t.n, t.title COLLATE BINARY DESC, t.id" },
		{ order: ["-score"], limit: 3, sql: "t.score DESC, t.id" },
		{ order: ["owner", "id"], limit: 8, sql: "t.owner COLLATE BINARY, t.id" },
	],
	pairs: [{ order: ["-w"], limit: 4, sql: "t.w DESC, t.a COLLATE BINARY, t.b" }],
};

const columns = { todos: [undefined, ["title", "owner"], ["score", "n", "data"]], pairs: [undefined] };

/** A random wish to see something: {wish, where, order, limit}. */
export function randomWish({ pick, chance }) {
	const dataset = chance(0.75) ? "todos" : "pairs";
	const [where, sql] = pick(filters[dataset]);
	const wish = { dataset, where, columns: pick(columns[dataset]) };
	const window = chance(0.2) ? pick(windows[dataset]) : undefined;
	if (window) Object.assign(wish, { order: window.order, limit: window.limit });
	else if (chance(0.05)) wish.notify = true;
	return { wish, sql: { where: sql, window } };
}

// ---- what foreign programs do ----

const TITLES = ["alpha", "beta", "gamma's", 'quo"te', "größe ☃", "tab\tand\nline", "Alpha", ""];
const NUMBERS = ["NULL", "0", "1", "5", "7", "12", "42", "59", "60", "9007199254740993", "-9223372036854775808", "'x5'"];
const SCORES = ["NULL", "0.1", "0.5", "0.1 + 0.2", "1e308", "9e999", "-9e999", "5e-324", "3", "-0.75"];
const BLOBS = ["NULL", "x''", "x'00ff10'", "zeroblob(40)"];

const quoted = (text) => `'${text.replaceAll("'", "''")}'`;

export function randomWriter(random) {
	const { below, pick, chance } = random;
	let made = 0;
	const id = () => 1 + below(70);
	const list = () => 1 + below(5);
	const member = () => pick(USERS);
	const code = () => (chance(0.4) ? "NULL" : quoted(`${pick(["c", "C"])}${below(15)}`));
	const owner = () => quoted(chance(0.3) ? member().toUpperCase() : member());
	const title = () => quoted(chance(0.5) ? pick(TITLES) : `t${made++}`);

	/** Who it belongs to, with a title that fits: one that no reader may see is never told. */
	const belongs = () =>
		chance(0.2)
			? { owner: quoted(NOBODY), list: "NULL", title: quoted(`${LEAK} ${made++}`) }
			: { owner: owner(), list: chance(0.3) ? "NULL" : String(list()), title: title() };
	const sets = (values) => Object.entries(values).map(([name, value]) => `${name} = ${value}`).join(", ");
	const rest = () => ({ n: pick(NUMBERS), score: pick(SCORES), data: pick(BLOBS), secret: quoted(`${HIDDEN} ${made++}`) });

	const insert = (or, more = "") => {
		const values = { id: chance(0.2) ? "NULL" : id(), ...belongs(), code: code(), ...rest() };
		return `INSERT ${or} INTO todos(${Object.keys(values)}) VALUES(${Object.values(values)})${more}`;
	};
	const pair = () => (chance(0.2) ? { a: quoted(NOBODY), shared: 0, v: quoted(`${LEAK} ${made++}`) } : { a: owner(), shared: below(2), v: title() });
	const statements = [
		[6, () => insert("")],
		[6, () => insert("OR REPLACE")],
		[1, () => insert("OR IGNORE")],
		[4, () => insert("", ` ON CONFLICT(id) DO UPDATE SET ${["owner", "list", "title", "code"].map((name) => `${name} = excluded.${name}`)}`)],
		[4, () => `UPDATE todos SET ${sets({ ...belongs(), n: pick(NUMBERS) })} WHERE id = ${id()}`],
		[2, () => `UPDATE todos SET n = ${pick(NUMBERS)}, score = ${pick(SCORES)} WHERE id % 7 = ${below(7)}`],
		[2, () => `UPDATE OR REPLACE todos SET id = ${id()} WHERE id = ${id()}`],
		[2, () => `UPDATE OR REPLACE todos SET code = ${code()} WHERE id = ${id()}`],
		[1, () => `UPDATE todos SET id = id + 100 WHERE id % 11 = ${below(11)} AND id < 100`],
		[2, () => `DELETE FROM todos WHERE id = ${id()}`],
		[1, () => `DELETE FROM todos WHERE id > 100`],
		[1, () => `UPDATE todos SET ${sets({ list: list() })} WHERE owner <> ${quoted(NOBODY)} AND list = ${list()}`],
		[1, () => `DELETE FROM lists WHERE id = ${list()}`],
		[5, () => `INSERT OR IGNORE INTO lists VALUES(${list()}, ${title()})`],
		[1, () => `UPDATE OR IGNORE lists SET id = ${list()} WHERE id = ${list()}`],
		[2, () => `INSERT OR REPLACE INTO members VALUES(${list()}, ${quoted(member())}, ${title()})`],
		[2, () => `DELETE FROM members WHERE list = ${list()} AND user = ${quoted(member())}`],
		[1, () => `UPDATE OR REPLACE members SET list = ${list()} WHERE user = ${quoted(member())}`],
		[5, () => {
			const { a, shared, v } = pair();
			return `INSERT OR REPLACE INTO pairs(a, b, v, w, shared) VALUES(${a}, ${below(6)}, ${v}, ${chance(0.3) ? "NULL" : below(40)}, ${shared})`;
		}],
		[2, () => `UPDATE OR REPLACE pairs SET ${sets(pair())} WHERE a = ${owner()} AND b = ${below(6)}`],
		[1, () => `UPDATE OR REPLACE pairs SET b = ${below(6)}, w = ${below(40)} WHERE a = ${owner()} AND b = ${below(6)}`],
		[1, () => `DELETE FROM pairs WHERE b = ${below(6)} AND a = ${owner()}`],
	];
	const weighted = statements.flatMap(([weight, make]) => Array(weight).fill(make));
	const some = (n) => Array.from({ length: n }, () => pick(weighted)());

	/** One transaction: some statements; with a part of it, or all of it, rolled back. */
	return () => {
		const before = some(1 + below(4));
		const middle = chance(0.2) ? ["SAVEPOINT a", ...some(1 + below(2)), "ROLLBACK TO a"] : [];
		return ["BEGIN IMMEDIATE", ...before, ...middle, chance(0.12) ? "ROLLBACK" : "COMMIT"];
	};
}

/** So much in one transaction that it is not told change by change. */
export const flood = [
	"BEGIN IMMEDIATE",
	"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 3000) INSERT INTO pairs(a, b, v, w, shared) SELECT 'flood', x, 'f', NULL, 1 FROM c",
	"UPDATE pairs SET v = 'g' WHERE a = 'flood'",
	"DELETE FROM pairs WHERE a = 'flood' AND b > 3",
	"COMMIT",
];

let added = 0;
/** Changes of the schema, each a transaction. */
export const schemaChanges = {
	column: () => [`ALTER TABLE todos ADD COLUMN more${++added} TEXT DEFAULT 'more'`],
	index: () => [`CREATE INDEX i${++added} ON todos(owner, n)`],
	/** As https://www.sqlite.org/lang_altertable.html has it; with a change that no trigger can see. */
	rebuild: (db) => {
		const names = db.columnsOf("todos");
		const inherited = names.filter((name) => name.startsWith("more")).map((name) => `, ${name} TEXT DEFAULT 'more'`);
		return [
			"PRAGMA foreign_keys = OFF",
			"BEGIN IMMEDIATE",
			TODOS("todos_new").replace(/\)$/, `${inherited.join("")})`),
			`INSERT INTO todos_new(${names}) SELECT ${names} FROM todos`,
			"DROP TABLE todos",
			"ALTER TABLE todos_new RENAME TO todos",
			`UPDATE todos SET title = 'rebuilt ${++added}' WHERE owner <> '${NOBODY}'`,
			"COMMIT",
			"PRAGMA foreign_keys = ON",
		];
	},
};

// ---- the oracle ----

function cell(value) {
	if (typeof value === "bigint") return value >= -9007199254740991n && value <= 9007199254740991n ? Number(value) : { $i: String(value) };
	if (value === Infinity || value === -Infinity) return { $r: value > 0 ? "Inf" : "-Inf" };
	if (value instanceof Uint8Array) return { $b: Buffer.from(value).toString("base64") };
	return value;
}

export class Oracle {
	#db;
	#statements = new Map();
	#history = new Map(); // position and reader → what it is to see

	constructor(file) {
		this.#db = new DatabaseSync(file, { timeout: 10_000 });
		this.#db.exec("PRAGMA query_only = ON");
	}

	#prepare(sql) {
		if (!this.#statements.has(sql)) {
			const statement = this.#db.prepare(sql);
			statement.setReadBigInts(true);
			this.#statements.set(sql, statement);
		}
		return this.#statements.get(sql);
	}

	columnsOf(table) {
		return this.#db.prepare(`SELECT name FROM pragma_table_info('${table}')`).all().map(({ name }) => name);
	}

	/** What everybody may see of a table, columns in order: generated ones, too. */
	told(table) {
		return this.#db
			.prepare(`SELECT name FROM pragma_table_xinfo('${table}') WHERE name <> 'secret'`)
			.all()
			.map(({ name }) => name);
	}

	get head() {
		const { seq, epoch } = this.#prepare("SELECT seq, epoch FROM _sb_ctx").get();
		return { seq: String(seq), epoch };
	}

	#positionOf(dataset) {
		const head = this.#prepare("SELECT epoch, seq FROM _sb_ctx").get();
		const { version } = this.#prepare("SELECT version FROM _sb_tables WHERE name = ?").get(dataset) ?? {};
		return `${head.epoch} ${version} ${head.seq}`;
	}

	/** Whether the tables are captured as they stand: between a change of the schema and its capture they are not. */
	get captured() {
		const count = "SELECT count(*) AS n FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ? AND name LIKE '\\_sb\\_%' ESCAPE '\\'";
		return ["todos", "pairs", "members"].every((table) => this.#prepare(count).get(table).n > 0n);
	}

	/** What the log has of the last changes, for who looks why something went wrong. */
	log(dataset, from) {
		const { id } = this.#prepare("SELECT id FROM _sb_tables WHERE name = ?").get(dataset);
		return this.#prepare(`SELECT * FROM _sb_c${id} WHERE seq > ? ORDER BY seq`)
			.all(BigInt(from))
			.map((row) => Object.values(row).map((value) => (typeof value === "object" && value ? "blob" : value)).join("|"))
			.join("\n");
	}

	/** What a reader is to see now, as textOf() has it. */
	ask({ dataset, user, sql, columns }) {
		const { where, window } = sql;
		const order = window ? ` ORDER BY ${window.sql} LIMIT ${window.limit}` : "";
		const key = keys[dataset];
		const names = [...key, ...columns].map((name) => `t."${name}"`);
		const statement = this.#prepare(
			`SELECT ${names} FROM ${dataset} t WHERE ${visible[dataset]} AND ${where}${order}`,
		);
		statement.setReturnArrays(true);
		return textOf(
			statement.all({ $user: user }).map((row) => {
				const cells = row.map(cell);
				return [JSON.stringify(cells.slice(0, key.length)), JSON.stringify(cells.slice(key.length))];
			}),
		);
	}

	/** Keeps what each of these readers is to see at this very moment. */
	sample(readers) {
		this.#db.exec("BEGIN");
		try {
			if (!this.captured) return;
			const positions = { todos: this.#positionOf("todos"), pairs: this.#positionOf("pairs") };
			for (const reader of readers.values()) {
				const key = `${positions[reader.dataset]} ${reader.name}`;
				if (!this.#history.has(key)) this.#history.set(key, this.ask(reader));
			}
		} finally {
			this.#db.exec("COMMIT");
		}
	}

	/**
	 * What a reader had at a position, once it was whole. Held against the table as it was then, when that was sampled (now
	 * or later), and against every other reader of the same. What it should have been, if it was something else.
	 */
	saw(name, { epoch, version, at, rows }) {
		const key = `${epoch} ${version} ${at} ${name}`;
		const text = textOf(rows);
		const known = this.#history.get(key);
		if (known !== undefined && known !== text) return `of the table:\n${known}`;
		const other = this.#seen.get(key);
		if (other === undefined) this.#seen.set(key, text);
		return other === undefined || other === text ? undefined : `of another reader:\n${other}`;
	}

	#seen = new Map();

	/** Of what was seen: how much of it was held against the tables, and what of that was something else. */
	get judged() {
		const both = [...this.#seen].filter(([key]) => this.#history.has(key));
		return { count: both.length, wrong: both.filter(([key, text]) => this.#history.get(key) !== text).map(([key]) => key) };
	}

	close() {
		this.#db.close();
	}
}
