// docs/VIDEO-CALL.md, followed word for word: its commands are run and its files written in an empty folder,
// and after the steps the app does what the page promises.
import assert from "node:assert/strict";
import { appendFileSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { arrive, until } from "../support/browser.mjs";
import { run, signUp, steps } from "../support/following.mjs";
import { binary, ownDirectory } from "../support/server.mjs";

const PAGE = readFileSync(resolve(import.meta.dirname, "../../docs/VIDEO-CALL.md"), "utf8");
const SITE = "http://localhost:8000/";
const PASSWORD = "correct horse battery";

const videos = (person, count) =>
	person.until(`${count} pictures that move`, (n) => {
		const found = [...document.querySelectorAll("video")];
		return found.length === n && found.every((video) => video.videoWidth > 0 && video.currentTime > 0);
	}, count);
const press = (person, name, within = person.page) => within.getByRole("button", { name, exact: true }).click();
const item = (person, list, text) => person.page.locator(`#${list} li`).filter({ hasText: text });

test("docs/VIDEO-CALL.md can be followed to the end", async (t) => {
	const folder = join(ownDirectory(), "app");
	const path = ownDirectory();
	mkdirSync(folder);
	symlinkSync(resolve(binary), join(path, "signalbox"));
	let clientId;
	for (const { run: command, file, text, add } of steps(PAGE)) {
		if (command === "./dev build") continue; // it has been built
		if (file) {
			const filled = text.replace("PUT YOUR CLIENT ID HERE", clientId);
			(add ? appendFileSync : writeFileSync)(join(folder, file), filled);
			continue;
		}
		const { said, ended } = run(t, command, folder, path);
		if (command.startsWith("signalbox serve")) await until("the server", () => /listening/.test(said.text));
		else if (command.startsWith("python3")) await until("the folder's server", () => fetch(SITE).then(({ ok }) => ok));
		else {
			assert.equal(await ended, 0, said.text);
			[, clientId] = said.text.match(/client_id: (\S+)/);
		}
	}

	const expected = [/favicon/, /Failed to load resource: .* 404/];
	const [ann, bob, tablet, gast] = await Promise.all(["ann", "bob", "tablet", "gast"].map((name) => arrive(t, name, { expected })));
	for (const one of [ann, bob, tablet, gast]) one.sites = [SITE, "http://localhost:8080/"];
	await Promise.all([ann, bob].map(async (one) => {
		await signUp(one, SITE);
		await one.shown(one.page.getByText("Connected."), "the status");
	}));
	await tablet.page.goto(SITE);
	await tablet.page.fill("[name=name]", "bob");
	await tablet.page.fill("[name=password]", PASSWORD);
	await tablet.page.click("button[type=submit]");
	await tablet.shown(tablet.page.getByText("Connected."));

	// A room with a lobby: bob knocks, ann lets him in.
	await ann.page.fill("#name", "tea");
	await press(ann, "Create, with a lobby");
	await ann.shown(ann.page.locator("#room"));
	await ann.page.fill("#text", "is anybody there?");
	await press(ann, "Send");
	await bob.shown(item(bob, "rooms", "1 there"));
	await press(bob, "tea");
	await press(ann, "Let in", item(ann, "knocks", "bob wants to come in: Hello!"));
	await bob.shown(item(bob, "messages", "ann: is anybody there?"));
	await Promise.all([videos(ann, 2), videos(bob, 2)]);
	await press(bob, "Share screen");
	await videos(ann, 3);

	// Muted, he cannot write.
	await press(ann, "Mute", item(ann, "members", "bob"));
	await ann.shown(item(ann, "members", "bob (muted)"));
	await bob.page.fill("#text", "can you hear me?");
	await press(bob, "Send");
	await bob.shown(bob.page.locator("#problem").filter({ hasText: "muted" }));

	// A guest by the link.
	await press(ann, "Invite");
	await ann.shown(ann.page.locator("#link"));
	const link = await ann.page.locator("#link").inputValue();
	gast.page.on("dialog", (dialog) => dialog.accept("Gast"));
	await gast.page.goto(link);
	await ann.shown(item(ann, "members", "Gast"));
	await press(ann, "Kick", item(ann, "members", "Gast"));
	await gast.shown(gast.page.locator("#problem").filter({ hasText: "taken out" }));

	// Ringing: on both of bob's devices, until one has it, which leaves the room for it.
	await press(ann, "Leave");
	await ann.page.fill("#user", "bob");
	await press(ann, "Add");
	await press(ann, "Call", item(ann, "people", "bob is online"));
	await Promise.all([bob, tablet].map((one) => one.shown(one.page.getByText("ann calls you"))));
	await press(bob, "Accept");
	await tablet.gone(tablet.page.locator("#ringing"));
	await Promise.all([videos(ann, 2), videos(bob, 2)]);
	await press(ann, "Leave");
	await bob.shown(bob.page.locator("#lobby"));

	// Missed by who is not there, and found at the next sign-in, until it is answered.
	await Promise.all([bob, tablet].map((one) => one.page.goto("about:blank")));
	await ann.shown(item(ann, "people", "bob is offline"));
	await press(ann, "Call", item(ann, "people", "bob is offline"));
	await ann.shown(ann.page.locator("#problem").filter({ hasText: "cannot be reached" }));
	await bob.page.goto(SITE);
	await press(bob, "Call back", item(bob, "missed", "ann"));
	await press(ann, "Decline");
	await bob.gone(item(bob, "missed", "ann"));
});
