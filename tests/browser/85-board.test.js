// The board of the demo: two browsers change it at once, one of them without a connection for a while; what is kept
// in a browser, and for whom.
import assert from "node:assert/strict";
import { test } from "node:test";
import { people, serve, startWay, until } from "../support/browser.mjs";
import { plugIn } from "../support/network.mjs";

plugIn(); // else a browser calls itself offline from the first

const board = (person) => person.page.evaluate(() =>
	Object.fromEntries([...document.querySelectorAll('[data-testid="lane"]')].map((lane) =>
		[lane.dataset.lane, [...lane.querySelectorAll('[data-testid="card-title"]')].map(({ textContent }) => textContent)])));
const card = (person, title) => person.the("card").filter({ hasText: title });

async function shows(person, expected) {
	await until(`${person.name}'s board`, async () => JSON.stringify(await board(person)) === JSON.stringify(expected), {
		ms: 10_000,
		describe: async () => JSON.stringify(await board(person)),
	});
}

async function add(person, lane, title) {
	await person.the("card-new", `[data-lane="${lane}"]`).fill(title);
	await person.the("card-new", `[data-lane="${lane}"]`).press("Enter");
	await person.shown(card(person, title));
}

async function rewrite(person, title, text) {
	await card(person, title).getByTestId("card-title").click();
	await person.the("card-input").fill(text);
	await person.the("card-input").press("Enter");
}

const state = (person, word, pending = 0) => person.shown(person.the("board-state", `[data-state="${word}"][data-pending="${pending}"]`), `a board that is ${word}`);

test("two change a board at once, one without a connection for a while, and it is the same in the end", async (t) => {
	const way = await startWay(t);
	const server = await serve(t, { workers: 2, config: { issuer: { url: way.url } } });
	way.to(server.port);
	const expected = [/WebSocket connection to .* failed/, /Failed to load resource/];
	const site = `${way.url}/`;
	const page = { viewport: { width: 1280, height: 800 } }; // three columns beside each other
	const [ann, bob] = await people(t, server, ["ann", "bob"], { site, expected, page });
	await bob.page.reload(); // so that his connection is the second one
	await bob.inLobby();
	await Promise.all([ann, bob].map(async (one) => {
		for (const id of ["with-mic", "with-camera"]) await one.the(id).uncheck();
		await one.join("tea");
		await one.the("board-toggle").click();
		await state(one, "live");
	}));

	await t.test("cards that one adds, moves, changes and deletes are so for the other", async () => {
		await add(ann, "todo", "kettle");
		await add(ann, "todo", "cups");
		await card(bob, "kettle").getByTestId("card-right").click();
		await shows(ann, { todo: ["cups"], doing: ["kettle"], done: [] });
		assert.equal(await card(ann, "kettle").getByTestId("card-who").innerText(), "you, then bob");
		await rewrite(bob, "cups", "five cups");
		await shows(ann, { todo: ["five cups"], doing: ["kettle"], done: [] });
		await card(ann, "kettle").getByTestId("card-left").click();
		await shows(bob, { todo: ["five cups", "kettle"], doing: [], done: [] });
		await card(bob, "five cups").dragTo(bob.the("lane", '[data-lane="done"]'));
		for (const one of [ann, bob]) await shows(one, { todo: ["kettle"], doing: [], done: ["five cups"] });
	});

	await t.test("one is offline, both go on; back again both have all of it", async () => {
		way.shut();
		way.cut(1);
		await bob.context.setOffline(true);
		await state(bob, "offline");
		await add(bob, "doing", "milk");
		await card(bob, "milk").getByTestId("card-right").click();
		await rewrite(bob, "kettle", "big kettle");
		await state(bob, "offline", 3);
		await shows(bob, { todo: ["big kettle"], doing: [], done: ["five cups", "milk"] });
		await rewrite(ann, "kettle", "small kettle");
		await card(ann, "five cups").getByTestId("card-delete").click();
		await add(ann, "todo", "sugar");
		await shows(ann, { todo: ["small kettle", "sugar"], doing: [], done: [] });

		way.unblock();
		await bob.context.setOffline(false);
		for (const one of [ann, bob]) await shows(one, { todo: ["small kettle", "sugar"], doing: [], done: ["milk"] });
		await state(bob, "live");
		await bob.shown(bob.the("notice").filter({ hasText: "ann changed this card at the same time, and that stays. Your text was: “big kettle”" }));
	});

	await t.test("a reload starts from what is kept, sends what was not sent, and asks only for what has changed", async () => {
		await bob.hold();
		await add(bob, "doing", "toast");
		await bob.holds("toast");
		await until("it is kept", () => bob.page.evaluate(kept, ["writes", 1]));
		await until("the rows are kept", () => bob.page.evaluate(kept, ["rows", 3]));
		const asked = [];
		bob.page.on("websocket", (socket) => {
			const note = ({ payload }) => String(payload).includes("demo-board") && asked.push(String(payload));
			socket.on("framesent", note);
		});
		await bob.page.reload();
		for (const one of [ann, bob]) await shows(one, { todo: ["small kettle", "sugar"], doing: ["toast"], done: ["milk"] });
		const [subscribe] = asked.filter((text) => text.includes("dataset.subscribe"));
		assert.match(subscribe, /"resume":\{"epoch":"/);
		await until("the new row is kept, too", () => bob.page.evaluate(kept, ["rows", 4]));
		const before = await bob.page.evaluate(unconnected, { user: "bob", room: "tea" });
		assert.deepEqual(before, { stale: true, status: "stale", titles: ["milk", "small kettle", "sugar", "toast"] });
	});

	await t.test("what a tab without a connection writes is sent by another one", async () => {
		const tab = await bob.context.newPage();
		await tab.goto(`${site}health`); // a page of the same origin, with nothing on it
		await tab.evaluate(async () => {
			const { Signalbox } = await import("/sdk/signalbox.js");
			const box = new Signalbox({ url: location.origin, token: () => null, user: "bob" });
			const row = { id: crypto.randomUUID(), room: "tea", lane: "done", place: 9e9, title: "from the other tab", author: "bob", editor: "bob" };
			await box.dataset("demo-board").insert(row);
		});
		await ann.shown(card(ann, "from the other tab"));
		await tab.close();
	});

	await t.test("where the browser keeps nothing any more, it is sent all the same; and who signs out while it waits is asked", async () => {
		await bob.page.evaluate(async () => {
			for (const { name } of await indexedDB.databases())
				if (name.endsWith(" bob")) await new Promise((done) => (indexedDB.deleteDatabase(name).onsuccess = done));
		});
		await add(bob, "doing", "not kept");
		await ann.shown(card(ann, "not kept"));
		assert.ok(bob.console.some((line) => line.includes("could not be kept on this device")), "it was not kept");
		await bob.hold();
		await add(bob, "doing", "waits");
		const asked = new Promise((done) => bob.page.once("dialog", (dialog) => done(dialog.message()) || dialog.dismiss()));
		await bob.the("sign-out").click();
		assert.match(await asked, /One change of a board has not been sent yet/);
		await bob.release();
		await ann.shown(card(ann, "waits"));
		await state(bob, "live");
	});

	await t.test("nobody else is shown what is kept, and who signs out leaves nothing", async () => {
		assert.deepEqual(await bob.page.evaluate(unconnected, { user: "ann", room: "tea", wait: 500 }), null);
		await bob.the("sign-out").click();
		await bob.shown(bob.the("sign-in"), "the welcome page");
		await until("nothing is kept", () => bob.page.evaluate(async () =>
			(await indexedDB.databases()).every(({ name }) => !name.endsWith(" bob"))));
	});
});

/** Runs in the page: whether so many are kept there. */
async function kept([store, count]) {
	const open = (name) => new Promise((done) => (indexedDB.open(name).onsuccess = ({ target }) => done(target.result)));
	const { name } = (await indexedDB.databases()).find((one) => one.name.endsWith(" bob"));
	const database = await open(name);
	const found = await new Promise((done) => (database.transaction(store).objectStore(store).count().onsuccess = ({ target }) => done(target.result)));
	database.close();
	return found === count;
}

/** Runs in the page: what a page that is not connected shows to this user; null: nothing. */
async function unconnected({ user, room, wait = 10_000 }) {
	const { Signalbox } = await import("/sdk/signalbox.js");
	const box = new Signalbox({ url: location.origin, token: () => null, user });
	const live = box.dataset("demo-board").live({ where: ["=", "room", room], order: ["place"] });
	const nothing = new Promise((done) => setTimeout(done, wait, null));
	const ready = await Promise.race([live.ready, nothing]);
	const titles = live.rows.map(({ title }) => title).sort();
	live.close();
	return ready && { ...ready, status: live.status, titles };
}
