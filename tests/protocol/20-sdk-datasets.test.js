// Parts of the library's datasets that need no server: values, order and filters held against SQLite's own,
// rows against a plain list, and what becomes of messages as docs/PROTOCOL.md has them.
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { LargeCell, OddText, compareCells, decodeCell, encodeCell, keyText, sameCell } from "../../web/sdk/cells.js";
import { Datasets } from "../../web/sdk/datasets.js";
import { SignalboxError } from "../../web/sdk/errors.js";
import { Emitter } from "../../web/sdk/events.js";
import { compileWhere, encodeWhere } from "../../web/sdk/filter.js";
import { Kept } from "../../web/sdk/kept.js";
import { View } from "../../web/sdk/rows.js";
import { SEED, randomFrom } from "../support/random.mjs";
import { events, within } from "../support/within.mjs";

console.log(`seed ${SEED}`);
const { random, below, pick, chance } = randomFrom(SEED);
const event = events(5_000);

/* ---- values ---- */

const bytes = (...list) => Uint8Array.from(list);

test("every value goes over the wire and back as it is", () => {
	const values = [
		[null, null], ["", ""], ["größer 🚂", "größer 🚂"], [0, 0], [-1.5, -1.5], [1e300, 1e300], [5e-324, 5e-324],
		[9007199254740991n, 9007199254740991], [9007199254740993n, { $i: "9007199254740993" }],
		[-9223372036854775808n, { $i: "-9223372036854775808" }], [Infinity, { $r: "Inf" }], [-Infinity, { $r: "-Inf" }],
		[true, 1], [false, 0], [bytes(0, 255, 7), { $b: "AP8H" }], [new OddText(bytes(0x61, 0xff)), { $t: "Yf8=" }],
	];
	for (const [value, cell] of values) {
		assert.deepEqual(encodeCell(value), cell);
		const back = decodeCell(JSON.parse(JSON.stringify(cell)));
		const plain = typeof value === "boolean" || typeof cell === "number" ? Number(value) : value;
		assert.ok(sameCell(back, plain), `${JSON.stringify(cell)} comes back`);
	}
	const large = Uint8Array.from({ length: 100_000 }, (_, i) => i);
	assert.deepEqual(decodeCell(encodeCell(large)), large);
	assert.equal(decodeCell({ $big: 300_000 }).bytes, 300_000);
	assert.equal(String(decodeCell({ $t: "Yf8=" })), "a\ufffd");
	for (const bad of [NaN, undefined, new Date(), {}, [1], 2n ** 63n, new LargeCell(9)])
		assert.throws(() => encodeCell(bad), { name: "TypeError" });
	assert.throws(() => decodeCell({ $new: 1 }), /does not know/);
});

const CELLS = [
	null, 0, 1, -1, 2.5, 1e300, -1e300, Infinity, -Infinity, 9007199254740993n, -9223372036854775808n, "", "a", "A", "ab", "b",
	"é", "\ud7ff", "\ue000", "\uffff", "😀", "10", "9", "%", "a%b", bytes(), bytes(0), bytes(1, 2), bytes(255),
	new OddText(bytes(0xff)), new OddText(bytes(0x61, 0x80)),
];
const integer = (cell) => (Number.isSafeInteger(cell) ? BigInt(cell) : cell);

/** A table with all cells in a column without a type. */
function tableOf(cells) {
	const db = new DatabaseSync(":memory:");
	db.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, c)");
	for (const [id, cell] of cells.entries()) {
		if (cell instanceof OddText) db.prepare("INSERT INTO t VALUES(?, CAST(? AS TEXT))").run(id, cell.bytes);
		else db.prepare("INSERT INTO t VALUES(?, ?)").run(id, integer(cell));
	}
	return db;
}

test("values stand in the order that SQLite has them in", () => {
	const db = tableOf(CELLS);
	const theirs = db.prepare("SELECT id FROM t ORDER BY c, id").all().map(({ id }) => id);
	const ours = [...CELLS.keys()].sort((a, b) => compareCells(CELLS[a], CELLS[b]) || a - b);
	assert.deepEqual(ours, theirs);
	db.close();
});

test("a filter holds for the same rows as in SQLite", () => {
	const cells = CELLS.filter((cell) => !(cell instanceof OddText));
	const db = tableOf(cells);
	/** The filter as SQL; values are bound. */
	const sql = ([operator, ...rest], bound) => {
		if (operator === "not") return `NOT (${sql(rest[0], bound)})`;
		if (operator === "and" || operator === "or") return rest.map((part) => `(${sql(part, bound)})`).join(` ${operator} `);
		if (operator === "is-null") return "c IS NULL";
		const values = operator === "in" ? rest[1] : [rest[1]];
		bound.push(...values.map(integer));
		return operator === "in" ? `c IN (${values.map(() => "?")})` : `c ${operator} ?`;
	};
	const some = (depth) => {
		const kind = depth > 0 && chance(0.5) ? pick(["and", "or", "not"]) : pick(["=", "!=", "<", "<=", ">", ">=", "in", "is-null", "like"]);
		if (kind === "not") return [kind, some(depth - 1)];
		if (kind === "and" || kind === "or") return [kind, some(depth - 1), some(depth - 1)];
		if (kind === "is-null") return [kind, "c"];
		if (kind === "in") return [kind, "c", [pick(cells), pick(cells), pick(cells)]];
		return [kind, "c", kind === "like" ? pick(["a%", "_", "%B", "A", "%", "a\\%b", "[a]"]) : pick(cells)];
	};
	const texts = cells.map((cell) => !(cell instanceof Uint8Array) && typeof cell !== "bigint" && Math.abs(cell ?? 0) !== Infinity && Math.abs(cell) !== 1e300);
	for (let round = 0; round < 500; round++) {
		const where = some(3);
		const bound = [];
		const text = sql(where, bound);
		const theirs = db.prepare(`SELECT id FROM t WHERE ${text} ORDER BY id`).all(...bound).map(({ id }) => id);
		const test_ = compileWhere(where);
		const ours = [...cells.keys()].filter((id) => test_({ c: cells[id] }) === true);
		// LIKE makes texts of numbers, in ways that are SQLite's own
		const both = JSON.stringify(where, (_, v) => (typeof v === "bigint" ? String(v) : v)).includes('"like"') ? (list) => list.filter((id) => texts[id]) : (list) => list;
		assert.deepEqual(both(ours), both(theirs), text);
	}
	assert.deepEqual(encodeWhere(["and", ["=", "n", 2n ** 60n], ["in", "b", [bytes(1), true]], ["not", ["is-null", "x"]]]),
		["and", ["=", "n", { $i: "1152921504606846976" }], ["in", "b", [{ $b: "AQ==" }, 1]], ["not", ["is-null", "x"]]]);
	db.close();
});

/* ---- rows ---- */

test("rows stand in order whatever happens, with what was written over what was told, and each change says what is different", () => {
	for (let round = 0; round < 60; round++) {
		const limit = chance(0.4) ? 1 + below(8) : 0;
		const where = chance(0.5) ? ["!=", "n", 2] : undefined;
		const order = chance(0.7) ? [{ column: "n", desc: chance(0.5) }] : [];
		const view = new View({ order, limit, where });
		view.look(["id", "n", "t"], ["id"]);
		const told = new Map();
		let effects = [];
		const followed = new Map();
		const follow = (change, before) => {
			if (!change) return assert.equal(view.rows, before, "without a change the same array");
			assert.notEqual(view.rows, before);
			for (const row of change.removed) assert.ok(followed.delete(row.id), "removed was there");
			for (const row of change.updated) assert.ok(followed.has(row.id) && followed.set(row.id, row), "updated was there");
			for (const row of change.added) assert.ok(!followed.has(row.id) && followed.set(row.id, row), "added was not there");
		};
		for (let step = 0; step < 60; step++) {
			const before = view.rows;
			const objects = new Map(before.map((row) => [row.id, row]));
			const what = below(10);
			if (what === 0) {
				told.clear();
				for (let i = below(20); i > 0; i--) told.set(i, [i, below(4), "t"]);
				follow(view.restart(told.values()), before);
			} else if (what < 7) {
				const ops = Array.from({ length: 1 + below(4) }, () => {
					const id = 1 + below(20);
					if (chance(0.3)) {
						told.delete(id);
						return { op: pick(["D", "X"]), key: [id] };
					}
					const row = [id, below(4), pick(["t", "u"])];
					told.set(id, row);
					return { op: pick(["I", "U"]), key: [id], row };
				});
				follow(view.apply(ops), before);
			} else {
				effects = Array.from({ length: below(4) }, () => {
					const id = 1 + below(25);
					return pick([{ id: keyText([id]) }, { id: keyText([id]), set: { n: below(4) } },
						{ id: keyText([id]), set: { id, n: below(4) }, make: true, over: chance(0.5) },
						{ id: keyText([id]), is: chance(0.5) ? { id, n: 1, t: "is" } : null },
						{ id: keyText([id]), set: { id: 1 + below(25) } }]);
				});
				follow(view.overlay(effects), before);
			}
			const expected = plainly(told, effects, { order, limit, where });
			assert.deepEqual(view.rows.map((row) => ({ ...row })), expected, `seed ${SEED}, round ${round}, step ${step}`);
			assert.deepEqual(new Set(followed.values()), new Set(view.rows), "the changes lead to the same rows");
			for (const row of view.rows) {
				const same = objects.get(row.id);
				if (same && same.n === row.n && same.t === row.t) assert.equal(row, same, "an equal row is the same object");
			}
		}
	}
});

/** The same the long way. */
function plainly(told, effects, { order, limit, where }) {
	const rows = new Map([...told].map(([id, [, n, t]]) => [id, { id, n, t }]));
	const written = new Set();
	for (const { id: text, set, make, over, is } of effects) {
		const [id] = JSON.parse(text);
		const there = rows.get(id);
		if (is !== undefined) {
			rows.delete(id);
			if (is) rows.set(id, is);
			written.add(id);
		} else if (!set) {
			rows.delete(id);
			written.add(id);
		} else if (there ? !make || over : make) {
			const row = { ...(there ?? { id: null, n: null, t: null }), ...set };
			rows.delete(id);
			rows.set(row.id, row);
			written.add(id).add(row.id);
		}
	}
	const matches = compileWhere(where);
	const compare = (a, b) => {
		for (const { column, desc } of order) if (a[column] !== b[column]) return (a[column] < b[column] ? -1 : 1) * (desc ? -1 : 1);
		return a.id - b.id;
	};
	// what the server tells has passed its filter
	const all = [...rows.values()].filter((row) => !written.has(row.id) || matches(row)).sort(compare);
	return limit ? all.slice(0, limit) : all;
}

test("a thousand changes of ten thousand rows take no time to speak of", () => {
	const view = new View({ order: [{ column: "n", desc: false }] });
	view.look(["id", "n"], ["id"]);
	view.restart(Array.from({ length: 10_000 }, (_, id) => [id, below(1000)]));
	const began = performance.now();
	for (let i = 0; i < 1000; i++) {
		const id = below(10_000);
		view.apply([{ op: "U", key: [id], row: [id, below(1000)] }]);
	}
	const each = (performance.now() - began) / 1000;
	assert.ok(each < 10, `${each} ms each`);
});

/* ---- what becomes of messages ---- */

const SCHEMA = {
	schema_version: "1", may: ["read", "insert", "update", "delete"],
	columns: [{ name: "id", type: "INTEGER", key: true, required: false }, { name: "title", type: "TEXT", key: false, required: true }],
};

/** The other end, whose lines the test speaks. */
class Lines extends Emitter {
	state = "idle";
	user = null;
	#sent = [];
	#waiting = [];

	constructor(options = {}) {
		super();
		this.datasets = new Datasets(this, { url: "https://rt.example", ...options });
	}

	request(method, params, { apply } = {}) {
		return new Promise((resolve, reject) => {
			this.#add({
				method, params,
				reply: (result) => {
					apply?.(result);
					resolve(result);
				},
				refuse: (reason, code, data = {}) => reject(new SignalboxError(reason, `${method}: ${reason}`, { code, data })),
			});
		});
	}

	notify(method, params) {
		this.#add({ method, params });
	}

	#add(message) {
		const at = this.#waiting.findIndex(({ method }) => method === message.method);
		if (at >= 0) this.#waiting.splice(at, 1)[0].done(message);
		else this.#sent.push(message);
	}

	/** The next of these that the library says. */
	next(method) {
		const at = this.#sent.findIndex((message) => message.method === method);
		if (at >= 0) return Promise.resolve(this.#sent.splice(at, 1)[0]);
		return within(new Promise((done) => this.#waiting.push({ method, done })), 5_000, method);
	}

	silent(method) {
		assert.ok(!this.#sent.some((message) => message.method === method), `no ${method}`);
	}

	open({ user = "ann", resumed = false } = {}) {
		this.user = { id: user, name: user };
		this.state = "open";
		this.emit("open", { resumed, user: this.user });
		this.emit("status", {});
	}

	lose() {
		this.state = "reconnecting";
		this.emit("status", {});
	}

	say(method, params) {
		this.datasets.notified(`dataset.${method}`, { sub: "S", ...params });
	}

	async subscribed(answer = {}, expected = {}) {
		const subscribe = await this.next("dataset.subscribe");
		for (const [name, value] of Object.entries(expected)) assert.deepEqual(subscribe.params[name], value, name);
		subscribe.reply({ sub: "S", columns: ["id", "title"], epoch: "E", shape: "S", schema_version: "1", mode: "snapshot", head: "7", ...answer });
	}
}

const titles = (live) => live.rows.map(({ title }) => title);
const page = (as_of, last, ...rows) => ({ as_of, last, rows });
const change = (from, to, ...ops) => ({ from, to, part: 0, last: true, ops });
const op = (kind, id, title, more = {}) => ({ seq: "0", txn: null, op: kind, key: [id], ...(title && { row: [id, title] }), ...more });

/** A list that is up to date at 7 with the rows one and two. */
async function upToDate(lines, wanted, options) {
	const dataset = lines.datasets.get("todos", options);
	const live = dataset.live(wanted).open();
	lines.open();
	(await lines.next("dataset.schema")).reply(SCHEMA);
	await lines.subscribed();
	lines.say("page", page("7", true, [1, "one"], [2, "two"]));
	lines.say("uptodate", { seq: "7" });
	await live.ready;
	assert.deepEqual([titles(live), live.status], [["one", "two"], "live"]);
	return { dataset, live };
}

test("a snapshot is shown when it is complete; parts are applied when the last is there", async () => {
	const lines = new Lines();
	const live = lines.datasets.get("todos").live().open();
	assert.equal(live.status, "stale");
	lines.open();
	(await lines.next("dataset.schema")).reply(SCHEMA);
	await lines.subscribed({}, { dataset: "todos", resume: undefined });
	assert.equal(live.status, "catching up");
	lines.say("page", page("5", false, [1, "one"], [2, "two"]));
	lines.say("change", change("5", "7", op("U", 1, "first"), op("D", 2), op("X", 9)));
	assert.equal(live.rows.length, 0);
	lines.say("page", page("7", true, [3, "three"]));
	assert.deepEqual(titles(live), ["first", "three"]);
	lines.say("uptodate", { seq: "7" });
	assert.equal(live.status, "live");

	const changes = [];
	live.on("change", (detail) => changes.push(detail));
	lines.say("change", { from: "7", to: "9", part: 0, last: false, ops: [op("I", 4, "four")] });
	assert.deepEqual(titles(live), ["first", "three"]);
	lines.say("change", { from: "7", to: "9", part: 1, last: true, ops: [op("X", 1), op("U", 3, "third")] });
	assert.deepEqual(titles(live), ["third", "four"]);
	assert.deepEqual(changes.map(({ added, updated, removed }) => [added, updated, removed].map((rows) => rows.map(({ id }) => id))), [[[4], [3], [1]]]);
	assert.equal(live.seq, "9");
});

test("snapshots of the rows for useSyncExternalStore are stable, and subscribe needs no this", async () => {
	const lines = new Lines();
	const { live } = await upToDate(lines);
	const { subscribe, getSnapshot } = live;
	let calls = 0;
	const off = subscribe(() => calls++);
	const before = getSnapshot();
	lines.say("change", change("7", "8", op("U", 1, "one")));
	assert.equal(getSnapshot(), before, "an equal row is no change");
	lines.say("change", change("8", "9", op("U", 1, "uno")));
	assert.notEqual(getSnapshot(), before);
	assert.equal(getSnapshot()[1], before[1]);
	assert.deepEqual([calls, Object.isFrozen(before), before[0].title], [1, true, "one"]);
	off();
	lines.say("change", change("9", "10", op("D", 1)));
	assert.equal(calls, 1);
});

test("a hole is noticed, and filled from the last position", async () => {
	const lines = new Lines();
	const { live } = await upToDate(lines);
	lines.say("change", change("8", "9", op("I", 3, "three")));
	assert.deepEqual(titles(live), ["one", "two"], "what does not fit is not applied");
	assert.equal((await lines.next("dataset.unsubscribe")).params.sub, "S");
	await lines.subscribed({ mode: "tail", head: "9" }, { resume: { epoch: "E", shape: "S", seq: "7" } });
	lines.say("change", change("7", "9", op("I", 3, "three")));
	lines.say("uptodate", { seq: "9" });
	assert.deepEqual([titles(live), live.status], [["one", "two", "three"], "live"]);
});

test("a lost session goes on from its position; where the server cannot, the old rows stay until the new ones are there", async () => {
	const lines = new Lines();
	const { live } = await upToDate(lines);
	lines.lose();
	assert.equal(live.status, "offline");
	lines.open({ resumed: true });
	assert.equal(live.status, "live");
	lines.silent("dataset.subscribe");

	lines.lose();
	lines.open();
	await lines.subscribed({ mode: "snapshot", epoch: "F" }, { resume: { epoch: "E", shape: "S", seq: "7" } });
	const seen = [];
	live.on("change", () => seen.push(titles(live)));
	lines.say("page", page("3", false, [2, "two"]));
	assert.deepEqual([titles(live), live.status], [["one", "two"], "catching up"]);
	lines.say("page", page("3", true, [3, "three"]));
	lines.say("uptodate", { seq: "3" });
	assert.deepEqual([seen, live.status], [[["two", "three"]], "live"]);
});

test("a reset is obeyed when it says, and is followed by a snapshot", async () => {
	const lines = new Lines();
	const { live } = await upToDate(lines);
	const before = live.rows;
	const began = performance.now();
	lines.say("reset", { reason: "overflow", retry_after: 0.3 });
	assert.deepEqual([live.status, live.rows], ["stale", before]);
	await lines.subscribed({}, { resume: undefined });
	assert.ok(performance.now() - began >= 295, "not before its time");
	lines.say("page", page("9", true, [1, "one"], [2, "two"]));
	lines.say("uptodate", { seq: "9" });
	assert.deepEqual([live.rows, live.status], [before, "live"], "equal rows are no change");
	assert.equal(live.rows, before);
});

test("a list whose time to ask again comes while the connection is away asks when it is back, also in the same session", async () => {
	const lines = new Lines();
	await upToDate(lines);
	lines.say("reset", { reason: "pruned" });
	lines.lose();
	await new Promise((done) => setTimeout(done, 1500)); // behind the longest first wait
	lines.open({ resumed: true });
	await lines.subscribed({}, { resume: undefined });
});

test("between a reset and its snapshot rows can be written to, and what was written stays shown", async () => {
	const lines = new Lines();
	const { live, dataset } = await upToDate(lines);
	dataset.update(live.rows[0], { title: "uno" });
	lines.say("reset", { reason: "schema" });
	dataset.delete(live.rows[1]);
	assert.deepEqual([titles(live), dataset.pending], [["uno"], 2]);
	(await lines.next("dataset.schema")).reply(SCHEMA);
	await lines.subscribed({}, { resume: undefined });
	assert.deepEqual(titles(live), ["uno"]);
});

test("who may not see it any more is left with nothing, and told why", async () => {
	const lines = new Lines();
	const { live } = await upToDate(lines);
	lines.say("reset", { reason: "auth", retry_after: 0 });
	(await lines.next("dataset.schema")).reply(SCHEMA);
	const told = event(live, "error");
	(await lines.next("dataset.subscribe")).refuse("not_readable", -32003);
	assert.equal((await told).reason, "not_readable");
	assert.deepEqual([live.rows.length, live.status], [0, "stale"]);

	lines.lose();
	lines.open({ user: "bob" });
	(await lines.next("dataset.schema")).reply(SCHEMA);
	await lines.subscribed({}, { resume: undefined });
});

test("another user starts with nothing of the first one's", async () => {
	const lines = new Lines();
	const { live, dataset } = await upToDate(lines);
	const written = dataset.insert({ id: 3, title: "hers" });
	await lines.next("dataset.write");
	lines.lose();
	const told = event(dataset, "error");
	lines.open({ user: "bob" });
	await assert.rejects(written, { reason: "signed_out", message: /not sent is lost/ }); // nothing keeps it here
	assert.equal((await told).reason, "signed_out");
	assert.deepEqual([live.rows.length, dataset.pending], [0, 0]);
	(await lines.next("dataset.schema")).reply(SCHEMA);
	await lines.subscribed({}, { resume: undefined });
	lines.silent("dataset.write");
});

test("credit is given in time, and messages are counted", async () => {
	const lines = new Lines();
	await upToDate(lines); // two messages
	for (let i = 7; i < 100; i++) lines.say("change", change(String(i), String(i + 1)));
	const { params } = await lines.next("dataset.ack");
	assert.deepEqual(params, { sub: "S", seq: "69", credit: 64 + 128 });
	lines.silent("dataset.ack");
});

test("two lists that the server calls the same are fed by one subscription, which ends with the last of them", async () => {
	const lines = new Lines();
	const { live, dataset } = await upToDate(lines);
	const same = dataset.live();
	assert.equal(same.rows, live.rows, "before it is opened");
	same.open();
	const other = dataset.live({ where: ["and", ["not", ["is-null", "id"]]] }); // the server sees that it is no other
	other.open();
	await lines.subscribed({ mode: "tail" });
	await other.ready;
	assert.equal(other.rows, live.rows);
	lines.say("change", change("7", "8", op("D", 1)));
	assert.deepEqual([live, same, other].map(titles), [["two"], ["two"], ["two"]]);
	live.close();
	same.close();
	lines.silent("dataset.unsubscribe");
	other.close();
	assert.equal((await lines.next("dataset.unsubscribe")).params.sub, "S");
	const off = other.subscribe(() => {});
	await lines.subscribed();
	off();
	const again = other.subscribe(() => {}); // as React's StrictMode does
	await new Promise((done) => setTimeout(done, 5));
	lines.silent("dataset.unsubscribe");
	again();
	await lines.next("dataset.unsubscribe");
});

test("columns that are wanted bring those of the key and of the order", async () => {
	const lines = new Lines();
	const live = lines.datasets.get("todos").live({ columns: ["title"], order: ["-due"], limit: 3, where: ["=", "id", 5n] }).open();
	lines.open();
	(await lines.next("dataset.schema")).reply(SCHEMA);
	await lines.subscribed({ columns: ["title", "id", "due"] }, { columns: ["title", "id", "due"], order: ["-due"], limit: 3, where: ["=", "id", 5] });
	lines.say("page", page("1", true, ["a", 1, 10], ["b", 2, 30], ["c", 3, 20]));
	assert.deepEqual(titles(live), ["b", "c", "a"]);
});

test("notify: no rows, but a word whenever something has changed", async () => {
	const lines = new Lines();
	const live = lines.datasets.get("todos").live({ notify: true }).open();
	lines.open();
	(await lines.next("dataset.schema")).reply(SCHEMA);
	await lines.subscribed({}, { notify: true });
	const first = event(live, "uptodate");
	lines.say("uptodate", { seq: "7" });
	assert.equal((await first).seq, "7");
	assert.equal(live.status, "live");
	const second = event(live, "uptodate");
	lines.say("uptodate", { seq: "9" });
	assert.deepEqual([(await second).seq, live.rows.length], ["9", 0]);
});

/* ---- writing ---- */

const answer = (seq, ...rows) => ({ seq, txn: seq, columns: ["id", "title"], rows });

test("what is written is shown at once, and stays until the server has told it, whichever comes first", async () => {
	const lines = new Lines();
	const { live, dataset } = await upToDate(lines);
	const changes = [];
	live.on("change", () => changes.push(titles(live)));
	const first = dataset.update(1, { title: "uno" });
	const second = dataset.insert({ id: 3, title: "tres" });
	assert.deepEqual([titles(live), dataset.pending], [["uno", "two", "tres"], 2]);

	const one = await lines.next("dataset.write");
	assert.deepEqual([one.params.dataset, one.params.ops], ["todos", [{ op: "update", key: [1], set: { title: "uno" } }]]);
	lines.silent("dataset.write"); // in their order, one after the other
	one.reply({ mutation: one.params.mutation, ...answer("8", { key: [1], seq: "8", row: [1, "uno"] }) });
	assert.deepEqual((await first).rows.map((row) => ({ ...row })), [{ id: 1, title: "uno" }]);
	lines.say("change", change("7", "8", op("U", 1, "uno", { seq: "8", txn: "8" })));

	const two = await lines.next("dataset.write");
	lines.say("change", change("8", "9", op("I", 3, "tres", { seq: "9", txn: "9" }))); // the echo before the reply
	two.reply({ mutation: two.params.mutation, ...answer("9", { key: [3], seq: "9", row: [3, "tres"] }) });
	await second;
	assert.deepEqual([changes, dataset.pending], [[["uno", "two"], ["uno", "two", "tres"]], 0], "no flicker");
	lines.say("change", change("9", "10", op("U", 1, "eins")));
	assert.deepEqual(titles(live), ["eins", "two", "tres"], "nothing lies over it any more");
});

/** Two lists of one dataset, both up to date at 7. */
async function two(lines) {
	const { live, dataset } = await upToDate(lines);
	const other = dataset.live({ where: ["=", "title", "one"] }).open();
	await lines.subscribed({ sub: "T", shape: "T" });
	lines.say("page", { sub: "T", ...page("7", true, [1, "one"]) });
	lines.say("uptodate", { sub: "T", seq: "7" });
	return { live, other, dataset };
}

const done = (write, seq, id, title) =>
	write.reply({ mutation: write.params.mutation, ...answer(seq, { key: [id], seq, row: [id, title] }) });

test("a list shows what others write behind a write of its own, however far another list is", async () => {
	const lines = new Lines();
	const { live, other, dataset } = await two(lines);
	const written = dataset.update(1, { title: "uno" });
	done(await lines.next("dataset.write"), "8", 1, "uno");
	await written;
	lines.say("change", change("7", "9", op("U", 1, "theirs")));
	assert.deepEqual([titles(live), titles(other)], [["theirs", "two"], []]);
	lines.say("change", { sub: "T", ...change("7", "9", op("X", 1)) });
	assert.deepEqual([titles(live), titles(other)], [["theirs", "two"], []]);
});

test("while a list takes a snapshot anew, what was written and answered stays in what it still shows", async () => {
	const lines = new Lines();
	const { live, other, dataset } = await two(lines);
	const seen = [];
	live.on("change", () => seen.push(titles(live)));
	lines.say("reset", { reason: "overflow" });
	const written = dataset.update(2, { title: "dos" });
	done(await lines.next("dataset.write"), "8", 2, "dos");
	await written;
	await lines.subscribed({}, { resume: undefined });
	lines.say("page", page("8", false, [1, "one"]));
	lines.say("change", { sub: "T", ...change("7", "8") });
	assert.deepEqual(titles(live), ["one", "dos"]);
	lines.say("page", page("8", true, [2, "dos"]));
	lines.say("uptodate", { seq: "8" });
	assert.deepEqual([seen, live.status, other.status], [[["one", "dos"]], "live", "live"]);
});

test("in another history, as that of a backup, nothing lies over the rows that was answered in the one before", async () => {
	const lines = new Lines();
	const { live, dataset } = await upToDate(lines);
	const written = dataset.update(1, { title: "uno" });
	done(await lines.next("dataset.write"), "8", 1, "uno");
	await written;
	lines.say("reset", { reason: "epoch" });
	await lines.subscribed({ epoch: "F" }, { resume: undefined });
	lines.say("page", page("3", true, [1, "one"]));
	assert.deepEqual(titles(live), ["one"]);
});

test("a list of which nothing is known yet shows what is written to it as rows that are whole; one that only notifies has none", async () => {
	const lines = new Lines();
	const { dataset } = await upToDate(lines);
	lines.lose();
	const [fresh, some, bare] = [{ where: ["!=", "title", "no"] }, { columns: ["title"] }, { notify: true }].map((wanted) => dataset.live(wanted).open());
	dataset.insert({ id: 3, title: "three" });
	dataset.insert({ id: 4, title: "no" });
	assert.deepEqual([fresh, some, bare].map(({ rows }) => rows.map((row) => ({ ...row }))), [
		[{ id: 3, title: "three" }], [{ title: "three", id: 3 }, { title: "no", id: 4 }], [],
	]);
});

test("a row whose key the table makes is never there twice", async () => {
	const lines = new Lines();
	const { live, dataset } = await upToDate(lines);
	const seen = [];
	live.on("change", () => seen.push(live.rows.length));
	const written = dataset.insert({ title: "new" });
	assert.deepEqual(live.rows[0], { id: null, title: "new" });
	const write = await lines.next("dataset.write");
	lines.say("change", change("7", "8", op("I", 77, "new", { txn: "8" })));
	write.reply({ mutation: write.params.mutation, ...answer("8", { key: [77], seq: "8", row: [77, "new"] }) });
	assert.deepEqual((await written).keys, [[77]]);
	assert.deepEqual(titles(live), ["one", "two", "new"]);
	assert.ok(seen.every((n) => n === 3), `${seen}`);
});

test("what is refused is taken back and told; what was written after it stays", async () => {
	const lines = new Lines();
	const { live, dataset } = await upToDate(lines);
	const bad = dataset.update(1, { title: "x" });
	const good = dataset.delete(live.rows[1]);
	assert.deepEqual(titles(live), ["x"]);
	const told = [event(dataset, "error"), event(live, "error")];
	(await lines.next("dataset.write")).refuse("rule_forbids", -32003);
	await assert.rejects(bad, { reason: "rule_forbids" });
	assert.deepEqual((await Promise.all(told)).map(({ reason }) => reason), ["rule_forbids", "rule_forbids"]);
	assert.deepEqual(titles(live), ["one"]);
	const next = await lines.next("dataset.write");
	assert.deepEqual(next.params.ops, [{ op: "delete", key: [2] }]);
	next.reply({ mutation: next.params.mutation, ...answer("8", { key: [2], seq: "8" }) });
	await good;
	assert.deepEqual(titles(live), ["one"]);
});

test("without a connection it waits, in order; a repetition has the same mutation", async () => {
	const lines = new Lines();
	const { live, dataset } = await upToDate(lines);
	const first = dataset.insert({ id: 3, title: "a" });
	const sent = await lines.next("dataset.write");
	lines.lose();
	sent.refuse("lost", 0); // nobody knows whether it was done
	const second = dataset.update(3, { title: "b" });
	assert.deepEqual([titles(live), live.status, dataset.pending], [["one", "two", "b"], "offline", 2]);
	lines.silent("dataset.write");
	lines.open();
	await lines.subscribed({ mode: "tail" });
	lines.say("uptodate", { seq: "7" });
	const again = await lines.next("dataset.write");
	assert.equal(again.params.mutation, sent.params.mutation);
	again.reply({ mutation: sent.params.mutation, ...answer("8", { key: [3], seq: "8", row: [3, "a"] }) });
	await first;
	assert.deepEqual(titles(live), ["one", "two", "b"]);
	const next = await lines.next("dataset.write");
	assert.notEqual(next.params.mutation, sent.params.mutation);
	next.reply({ mutation: next.params.mutation, ...answer("9", { key: [3], seq: "9", row: [3, "b"] }) });
	await second;
	lines.say("change", change("7", "9", op("I", 3, "b")));
	assert.deepEqual([titles(live), dataset.pending], [["one", "two", "b"], 0]);
});

test("a conflict goes to the page, which may write something else instead", async () => {
	const lines = new Lines();
	const asked = [];
	const conflict = ({ ops, conflicts }) => {
		asked.push({ ops, conflicts });
		const [{ key, seq, current }] = conflicts;
		return asked.length < 2 ? [{ op: "update", key, set: { title: `${current.title} and ${ops[0].set.title}` }, if: { seq } }] : null;
	};
	const { live, dataset } = await upToDate(lines, {}, { conflict });
	const written = dataset.update(1, { title: "mine" }, { if: "unchanged" });
	const write = await lines.next("dataset.write");
	assert.deepEqual(write.params.ops[0].if, { old: { title: "one" } });
	write.refuse("conflict", -32009, { conflicts: [{ key: [1], seq: "8", current: [1, "theirs"] }], columns: ["id", "title"] });
	const instead = await lines.next("dataset.write");
	assert.deepEqual([instead.params.ops, { ...asked[0].conflicts[0].current }],
		[[{ op: "update", key: [1], set: { title: "theirs and mine" }, if: { seq: "8" } }], { id: 1, title: "theirs" }]);
	assert.notEqual(instead.params.mutation, write.params.mutation);
	assert.deepEqual(titles(live), ["theirs and mine", "two"]);
	instead.refuse("conflict", -32009, { conflicts: [{ key: [1], seq: "9", current: null }], columns: ["id", "title"] });
	await assert.rejects(written, { reason: "conflict" });
	assert.deepEqual([titles(live), asked.length, dataset.pending], [["one", "two"], 2, 0]);
});

test("what one tab makes of a conflict takes the place of what was written in the others, too", async () => {
	const lines = new Lines();
	const { dataset, live } = await upToDate(lines);
	const written = dataset.update(1, { title: "mine" }, { if: "unchanged" });
	const sent = await lines.next("dataset.write");
	lines.lose();
	sent.refuse("lost", 0);
	const { mutation, ops } = sent.params;
	const instead = { mutation: "another", dataset: "todos", at: 0, atomic: true, ops: [{ op: "update", key: [1], set: { title: "ours" } }] };
	dataset.heard({ write: { ...instead, mutation, ops } }); // known already
	dataset.heard({ write: instead, instead: mutation });
	assert.deepEqual([titles(live), dataset.pending], [["ours", "two"], 1]);
	dataset.heard({ settled: "another", outcome: { answer: { mutation: "another", ...answer("8", { key: [1], seq: "8", row: [1, "ours"] }) } } });
	assert.equal((await written).mutation, "another");
	lines.open();
	await lines.subscribed({ mode: "tail" });
	lines.silent("dataset.write");
});

test("a new row that was sent so long ago that the server knows no repetition of it is told, and not sent again", async (t) => {
	const lines = new Lines();
	const { live, dataset } = await upToDate(lines);
	const written = [dataset.insert({ title: "once" }), dataset.update(1, { title: "uno" })];
	const sent = await lines.next("dataset.write");
	lines.lose();
	sent.refuse("lost", 0);
	t.mock.timers.enable({ apis: ["Date"], now: Date.now() + 25 * 3600_000 });
	const told = event(dataset, "error");
	lines.open();
	await assert.rejects(written[0], { reason: "lost" });
	assert.match((await told).message, /more than a day ago/);
	done(await lines.next("dataset.write"), "8", 1, "uno");
	await written[1];
	assert.deepEqual([titles(live), dataset.pending], [["uno", "two"], 0]);
});

test("a page that answers each conflict with another is not asked for ever", async () => {
	const lines = new Lines();
	let asked = 0;
	const { dataset } = await upToDate(lines, {}, { conflict: () => ++asked && [{ op: "update", key: 1, set: { title: `${asked}` } }] });
	const written = dataset.update(1, { title: "0" });
	for (let i = 0; i < 6; i++) (await lines.next("dataset.write")).refuse("conflict", -32009, { conflicts: [] });
	await assert.rejects(written, { reason: "conflict" });
	assert.deepEqual([asked, dataset.pending], [5, 0]);
});

test("what a device does not keep is sent all the same, once; too many that wait are refused aloud", async (t) => {
	const full = async () => {
		throw new DOMException("full", "QuotaExceededError");
	};
	for (const method of ["saveWrite", "dropWrite"]) t.mock.method(Kept.prototype, method, full);
	t.mock.method(console, "warn", () => {});
	const lines = new Lines();
	const { live, dataset } = await upToDate(lines);
	const written = [dataset.update(1, { title: "uno" }), dataset.update(2, { title: "dos" })];
	done(await lines.next("dataset.write"), "8", 1, "uno");
	done(await lines.next("dataset.write"), "9", 2, "dos");
	await Promise.all(written);
	lines.silent("dataset.write");
	assert.deepEqual([titles(live), dataset.pending], [["uno", "dos"], 0]);

	lines.lose();
	for (let i = 0; i < 1000; i++) dataset.update(1, { title: `${i}` });
	const told = event(dataset, "error");
	const oneMore = dataset.update(1, { title: "one more" });
	await assert.rejects(oneMore, { reason: "overloaded" });
	assert.equal((await told).reason, "overloaded");
	assert.deepEqual([titles(live), dataset.pending], [["999", "dos"], 1000]);
});

test("a write that the server puts off again and again goes on waiting, and is spoken of once; one that always takes too long is taken back", async (t) => {
	t.mock.method(Math, "random", () => 0); // no pauses
	const lines = new Lines();
	const { live, dataset } = await upToDate(lines);
	const errors = [];
	dataset.on("error", ({ reason }) => errors.push(reason));
	const written = dataset.update(1, { title: "uno" });
	for (let i = 0; i < 8; i++) (await lines.next("dataset.write")).refuse("dataset_unavailable", -32030);
	done(await lines.next("dataset.write"), "8", 1, "uno");
	await written;
	const slow = dataset.update(2, { title: "dos" });
	for (let i = 0; i < 5; i++) (await lines.next("dataset.write")).refuse("query_too_slow", -32008);
	await assert.rejects(slow, { reason: "query_too_slow" });
	assert.deepEqual([titles(live), errors], [["uno", "two"], ["dataset_unavailable", "query_too_slow"]]);
});

test("what cannot be written is refused here, and what is no row of a list, too", async () => {
	const lines = new Lines();
	const { dataset } = await upToDate(lines);
	assert.throws(() => dataset.insert({ title: new Date() }), /Write a number or a text/);
	assert.throws(() => dataset.delete({ title: "no key" }), /Give the key itself/);
	assert.throws(() => dataset.update(99, { title: "x" }, { if: "unchanged" }), /no list here shows this row/);
	assert.throws(() => dataset.live({ where: ["~", "id", 1] }), /operator/);
	assert.equal(dataset.pending, 0);
	const counted = dataset.count(["=", "id", true]);
	const query = await lines.next("dataset.query");
	assert.deepEqual(query.params, { dataset: "todos", where: ["=", "id", 1], limit: 1, count: true });
	query.reply({ columns: ["id", "title"], rows: [[1, "one"]], cursor: "c", as_of: "7", count: 41 });
	assert.equal(await counted, 41);
	assert.ok(random() < 1);
});
