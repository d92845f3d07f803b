// The JavaScript library with datasets of the real service: lists that stay as their table, whoever writes it;
// writes that wait for a service that is away; conflicts; and the examples of docs/DATASETS.md with the real
// frameworks.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, test } from "node:test";
import { createElement } from "react";
import { act, create } from "react-test-renderer";
import ts from "typescript";
import { effectScope } from "vue";
import { joinAsGuest } from "../../web/sdk/guest.js";
import { OddText, Signalbox, SignalboxError } from "../../web/sdk/signalbox.js";
import { ownDirectory, startServer } from "../support/server.mjs";
import { events, within } from "../support/within.mjs";

const WAIT_MS = 15_000;
const event = events(WAIT_MS);

const folder = ownDirectory();
const file = join(folder, "app.db");
/** As another program has it open. */
const db = new DatabaseSync(file);
db.exec(`
	PRAGMA journal_mode = WAL;
	PRAGMA busy_timeout = 5000;
	CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT NOT NULL CHECK(title <> ''), done INTEGER NOT NULL DEFAULT 0, owner TEXT NOT NULL);
	CREATE TABLE notes(id INTEGER PRIMARY KEY, c, t TEXT);
`);
const EVERYBODY = { read: "1", insert: "owner = :user", update: "1", delete: "owner = :user" };
const config = {
	datasets: [
		{ name: "todos", database: file, table: "todos", ...EVERYBODY },
		{ name: "mine", database: file, table: "todos", read: "owner = :user", insert: "owner = :user" },
		{ name: "notes", database: file, table: "notes", read: "1", insert: "1", update: "1", delete: "1" },
	],
};

let server;
const boxes = [];
before(async () => {
	server = await startServer({ workers: 2, config });
});
after(async () => {
	for (const box of boxes) box.close();
	await server.stop();
	db.close();
});

async function open(name, options = {}) {
	const box = new Signalbox({ url: server.url, token: () => server.mint(name), ...options });
	boxes.push(box);
	await within(box.connect(), WAIT_MS, `a connection of ${name}`);
	return box;
}

const open2 = (...names) => Promise.all(names.map((name) => open(name)));

/** Waits until the rows are so. */
async function until(list, is, what) {
	if (is(list.rows)) return;
	await within(
		new Promise((done) => {
			const off = list.on("change", () => is(list.rows) && (off(), done()));
		}),
		WAIT_MS,
		what,
	).catch((error) => {
		throw new Error(`${error.message}; there is ${JSON.stringify(list.rows)}, ${list.status}`);
	});
}

async function live(list) {
	list.open();
	if (list.status !== "live") await event(list, "status", ({ status }) => status === "live");
	return list;
}

let words = 0;
const word = () => `w${++words}`;
const table = (where = "1") => db.prepare(`SELECT * FROM todos WHERE ${where} ORDER BY id`).all().map((row) => ({ ...row }));
const same = (list, where) => JSON.stringify(list.rows.map((row) => ({ ...row }))) === JSON.stringify(table(where));

test("lists of two people and the table stay the same, whoever writes", async () => {
	const [ann, bob] = await open2("ann", "bob");
	const [hers, his] = [ann, bob].map((box) => box.dataset("todos").live());
	await Promise.all([live(hers), live(his)]);
	const id = word();
	const written = await ann.dataset("todos").insert({ id, title: "tea", owner: "ann" });
	assert.deepEqual([written.keys, { ...written.rows[0] }], [[[id]], { id, title: "tea", done: 0, owner: "ann" }]);
	await until(his, (rows) => rows.some((row) => row.id === id), "what she wrote");
	await bob.dataset("todos").update(id, { done: true });
	await until(hers, (rows) => rows.some((row) => row.id === id && row.done === 1), "what he changed");
	const other = word();
	db.exec(`INSERT INTO todos(id, title, owner) VALUES('${other}', 'by hand', 'cron'); UPDATE todos SET title = 'green tea' WHERE id = '${id}'`);
	for (const list of [hers, his]) await until(list, () => same(list), "what another program wrote");
	await ann.dataset("todos").delete(id);
	for (const list of [hers, his]) await until(list, () => same(list), "what she deleted");
	assert.equal(await bob.dataset("todos").count(["=", "owner", "cron"]), 1);
	const page = await bob.dataset("todos").query({ where: ["=", "owner", "cron"] });
	assert.deepEqual({ ...page.rows[0] }, { id: other, title: "by hand", done: 0, owner: "cron" });
	assert.deepEqual((await bob.datasets.list()).map(({ dataset }) => dataset).filter((name) => name !== "demo-board").sort(), ["mine", "notes", "todos"]);
	const { columns, may } = await bob.dataset("mine").schema();
	assert.deepEqual([columns.map(({ name }) => name), may], [["id", "title", "done", "owner"], ["read", "insert"]]);
});

test("a filter, an order and a window are kept right as rows move", async () => {
	const [ann] = await open2("ann");
	const todos = ann.dataset("todos");
	const window_ = await live(todos.live({ where: ["like", "title", "win%"], order: ["-title", "id"], limit: 3 }));
	for (const n of [1, 2, 3, 4, 5]) todos.insert({ id: `win${n}`, title: `win ${n}`, owner: "ann" });
	const titles = () => window_.rows.map(({ title }) => title);
	await until(window_, () => String(titles()) === "win 5,win 4,win 3", "the last three");
	await todos.delete("win4");
	await until(window_, () => String(titles()) === "win 5,win 3,win 2", "another one in its place");
	db.exec("UPDATE todos SET title = 'win 9' WHERE id = 'win1'; UPDATE todos SET title = 'lost' WHERE id = 'win5'");
	await until(window_, () => String(titles()) === "win 9,win 3,win 2", "in and out");
	window_.close();
});

test("every value comes as it is, and is written back the same", async () => {
	const [ann] = await open2("ann");
	const notes = ann.dataset("notes");
	const list = await live(notes.live());
	const values = [null, 5, 9007199254740993n, -9223372036854775808n, 0.1 + 0.2, 5e-324, Infinity, -Infinity, "größer 🚂", Uint8Array.of(0, 255), new OddText(Uint8Array.of(0x61, 0xff))];
	const { keys } = await notes.write(values.map((c) => ({ op: "insert", set: { c, t: "v" } })));
	await until(list, (rows) => rows.length === values.length, "all values");
	assert.deepEqual(list.rows.map(({ c }) => c), values);
	db.prepare("INSERT INTO notes(c, t) SELECT c, 'copy' FROM notes WHERE t = 'v' ORDER BY id").run();
	await until(list, (rows) => rows.length === 2 * values.length, "their copies");
	assert.deepEqual(list.rows.slice(values.length).map(({ c }) => c), values);
	for (const [at, row] of list.rows.slice(values.length).entries()) await notes.update(keys[at], { c: row.c, t: "back" });
	const differ = db.prepare("SELECT count(*) AS n FROM notes a JOIN notes b ON a.id = b.id + ? AND (a.c IS NOT b.c OR typeof(a.c) <> typeof(b.c))").get(values.length);
	assert.equal(differ.n, 0);
	list.close();
});

test("what a rule, a constraint or a stranger's change is against is taken back and explained; a condition goes to the page", async () => {
	const [ann, bob] = await open2("ann", "bob");
	const hers = ann.dataset("todos");
	const list = await live(hers.live({ where: ["=", "title", "plan"] }));
	const id = word();
	await bob.dataset("todos").insert({ id, title: "plan", owner: "bob" });
	await until(list, (rows) => rows.length === 1, "his row");
	const refused = async (promise, reason) => {
		const told = event(list, "error", (error) => error.reason === reason);
		await assert.rejects(promise, { reason });
		assert.ok((await told).message.length > 20);
		assert.deepEqual(list.rows.map((row) => ({ ...row })), table(`id = '${id}'`));
	};
	await refused(hers.delete(id), "rule_forbids");
	await refused(hers.update(id, { title: "" }), "constraint");
	await refused(hers.insert({ id, title: "plan", owner: "ann" }), "constraint");
	await refused(hers.update("nothing", { title: "x" }), "no_such_row");

	db.exec(`UPDATE todos SET done = 7 WHERE id = '${id}'`);
	await until(list, (rows) => rows[0]?.done === 7, "what another program wrote");
	const stale = hers.update(id, { done: 8 }, { if: { old: { done: 0 } } });
	await refused(stale, "conflict");
	ann.dataset("todos", { conflict: ({ conflicts: [{ key, seq, current }] }) => [{ op: "update", key, set: { done: current.done + 1 }, if: { seq } }] });
	await hers.update(id, { done: 1 }, { if: { old: { done: 0 } } });
	await until(list, (rows) => rows[0]?.done === 8, "what the page made of it");
	list.close();
});

test("a service that is killed: what is written meanwhile is shown, sent once when it is back, and lists go on from where they were", async () => {
	const before_ = server;
	const [ann, bob] = await open2("ann", "bob");
	const todos = ann.dataset("todos");
	const [hers, his, own] = [todos.live(), bob.dataset("todos").live(), bob.dataset("mine").live()];
	await Promise.all([live(hers), live(his), live(own)]);
	const id = word();
	await todos.insert({ id, title: "before", owner: "ann" });
	await until(his, () => same(his), "the first");

	await before_.kill();
	if (hers.status !== "offline") await event(hers, "status", ({ status }) => status === "offline");
	const during = [todos.insert({ id: `${id}-2`, title: "during", owner: "ann" }), todos.update(id, { title: "changed" }), todos.delete(`${id}-2`), todos.insert({ id: `${id}-3`, title: "stays", owner: "ann" })];
	assert.deepEqual([hers.rows.find((row) => row.id === id).title, hers.rows.some((row) => row.id === `${id}-3`), todos.pending], ["changed", true, 4]);
	db.exec(`INSERT INTO todos(id, title, owner) VALUES('${id}-4', 'by hand meanwhile', 'bob')`);

	const modes = [];
	for (const box of [ann, bob]) {
		const { request } = box;
		box.request = async function (method, ...rest) {
			const result = await request.call(this, method, ...rest);
			if (method === "dataset.subscribe") modes.push(result.mode);
			return result;
		};
	}
	server = await startServer({ workers: 2, config, data: before_.data, listen: `127.0.0.1:${before_.port}` });
	for (const box of [ann, bob]) box.check();
	await within(Promise.all(during), WAIT_MS, "what was written meanwhile");
	for (const list of [hers, his]) await until(list, () => same(list), "the table");
	await until(own, () => same(own, "owner = 'bob'"), "his own");
	await Promise.all([live(hers), live(his), live(own)]);
	assert.deepEqual(modes, ["tail", "tail", "tail"]);
	assert.equal(table(`id LIKE '${id}%'`).length, 3);
});

test("over HTTP it is the same", async () => {
	const ann = await open("ann", { transport: "http" });
	const list = await live(ann.dataset("todos").live({ where: ["=", "owner", "ann"] }));
	await ann.dataset("todos").upsert({ id: word(), title: "by HTTP", owner: "ann" });
	await until(list, () => same(list, "owner = 'ann'"), "the same rows");
	assert.equal(ann.transport, "http");
});

/* ---- the demo's board ---- */

test("the demo has a board for whoever is signed in; without the demo there is none", async () => {
	const [ann] = await open2("ann");
	const board = ann.dataset("demo-board");
	const list = await live(board.live({ where: ["=", "room", "tea"] }));
	const card = { id: crypto.randomUUID(), room: "tea", lane: "todo", place: 1, title: "biscuits", author: "ann", editor: "ann" };
	await board.insert(card);
	assert.deepEqual(list.rows.map((row) => ({ ...row })), [card]);
	await assert.rejects(board.insert({ ...card, id: crypto.randomUUID(), author: "bob" }), { reason: "rule_forbids" });
	await assert.rejects(board.update(card.id, { lane: "elsewhere" }), { reason: "constraint" });

	await ann.rooms.create("house");
	const house = await ann.join("house");
	const { token } = await house.moderation.invite({ guests: true });
	const { box: guest } = await joinAsGuest({ url: server.url, invitation: token, name: "Gast" });
	boxes.push(guest);
	await assert.rejects(guest.dataset("demo-board").query(), { kind: "forbidden" });
	await assert.rejects(guest.dataset("demo-board").delete(card.id), { kind: "forbidden" });
	await board.delete(card.id);

	const without = await startServer({ config: { server: { demo: false } } });
	const bob = new Signalbox({ url: without.url, token: () => without.mint("bob") });
	await bob.connect();
	assert.deepEqual(await bob.datasets.list(), []);
	bob.close();
	await without.stop();
});

/* ---- the examples of docs/DATASETS.md ---- */

const PAGE = readFileSync(resolve(import.meta.dirname, "../../docs/DATASETS.md"), "utf8");

/** The code block under this heading. */
function example(heading) {
	const [, code] = PAGE.match(new RegExp(`^### ${heading}\\n\\n\`\`\`jsx?\\n(.*?)^\`\`\``, "ms"));
	return code;
}

/** Loads it as a module of its own. */
async function load(name, code) {
	const place = join(import.meta.dirname, `../node_modules/.${name}-${process.pid}.mjs`);
	writeFileSync(place, code);
	try {
		return await import(place);
	} finally {
		(await import("node:fs")).rmSync(place);
	}
}

async function follows(box, show) {
	const todos = box.dataset("todos");
	const ids = [word(), word()];
	const shows = async (...titles) => {
		const end = Date.now() + WAIT_MS;
		while (String(await show()) !== String(titles)) {
			assert.ok(Date.now() < end, `it shows ${await show()} and should ${titles}`);
			await new Promise((done) => setTimeout(done, 10));
		}
	};
	db.exec("UPDATE todos SET done = 1");
	await shows();
	await todos.insert({ id: ids[0], title: "bread", owner: box.user.id });
	await shows("bread");
	db.exec(`INSERT INTO todos(id, title, owner) VALUES('${ids[1]}', 'apples', 'cron')`);
	await shows("apples", "bread");
	return async (click) => {
		await click();
		await shows("bread");
	};
}

test("the example for React, in StrictMode, follows the table", async () => {
	const box = await open("ann");
	const { outputText } = ts.transpileModule(example("React"), { compilerOptions: { jsx: ts.JsxEmit.ReactJSX, target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ES2022 } });
	const { Todos } = await load("react-example", outputText);
	globalThis.IS_REACT_ACT_ENVIRONMENT = true;
	const { StrictMode } = await import("react");
	let tree;
	await act(async () => (tree = create(createElement(StrictMode, null, createElement(Todos, { box })))));
	delete globalThis.IS_REACT_ACT_ENVIRONMENT; // what follows happens as it happens
	const items = () => tree.root.findAllByType("li");
	const tap = await follows(box, () => items().map(({ children }) => children.join("")));
	await tap(() => items()[0].props.onClick());
	tree.unmount();
});

test("the example for Vue follows the table", async () => {
	const box = await open("ann");
	const { Todos } = await load("vue-example", example("Vue"));
	const scope = effectScope();
	const render = scope.run(() => Todos.setup({ box }));
	const items = () => render().children;
	const tap = await follows(box, () => items().map(({ children }) => children));
	await tap(() => items()[0].props.onClick());
	scope.stop();
});

test("the example in plain JavaScript follows the table", async () => {
	const box = await open("ann");
	const shown = [];
	const list = { replaceChildren: (...items) => shown.splice(0, shown.length, ...items) };
	const document = { getElementById: () => list, createElement: () => ({ remove() {} }) };
	new Function("box", "document", "alert", example("Plain JavaScript"))(box, document, assert.fail);
	const tap = await follows(box, () => shown.map(({ textContent }) => textContent));
	await tap(() => shown[0].onclick());
	assert.ok(new SignalboxError("x", "y") instanceof Error);
});
