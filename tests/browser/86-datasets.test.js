// docs/DATASETS.md, "From nothing to a live list", followed word for word: its commands are run and its files
// written in an empty folder, and after the steps two browsers show what the page promises.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { arrive, until } from "../support/browser.mjs";
import { run, signUp, steps } from "../support/following.mjs";
import { binary, ownDirectory } from "../support/server.mjs";

const PAGE = readFileSync(resolve(import.meta.dirname, "../../docs/DATASETS.md"), "utf8");
const [, PART] = PAGE.match(/^## From nothing to a live list\n(.*?)^## /ms);
const SITE = "http://localhost:8000/";

const items = (person) => person.page.evaluate(() => [...document.querySelectorAll("#todos li")].map((item) =>
	`${item.querySelector("input").checked ? "x" : "-"} ${item.innerText.replace("Delete", "").trim()}`));
const shows = (person, ...expected) => until(`the list of ${person.name}`, async () => String(await items(person)) === String(expected), {
	describe: async () => String(await items(person)),
});
const add = async (person, title) => {
	await person.page.fill("#title", title);
	await person.page.keyboard.press("Enter");
};
const item = (person, text) => person.page.locator("#todos li").filter({ hasText: text });

test("docs/DATASETS.md leads from nothing to a live list in two browsers", async (t) => {
	const folder = join(ownDirectory(), "app");
	const path = ownDirectory();
	mkdirSync(folder);
	symlinkSync(resolve(binary), join(path, "signalbox"));
	let clientId;
	let service;
	const serve = (command) => {
		service = run(t, command, folder, path);
		return until("the server", () => /listening/.test(service.said.text));
	};
	const all = steps(PART);
	const served = all.findIndex((step) => step.run?.startsWith("python3"));
	const begun = all.find((step) => step.run?.startsWith("signalbox serve")).run;
	for (const { run: command, file, text } of all.slice(0, served)) {
		if (file) writeFileSync(join(folder, file), text.replace("PUT YOUR CLIENT ID HERE", clientId));
		else if (command === begun) await serve(command);
		else {
			const { said, ended } = run(t, command, folder, path);
			assert.equal(await ended, 0, `${command}\n${said.text}`);
			clientId ??= said.text.match(/client_id: (\S+)/)?.[1];
		}
	}
	run(t, all[served].run, folder, path);
	await until("the folder's server", () => fetch(SITE).then(({ ok }) => ok));

	const expected = [/favicon/, /Failed to load resource: .* 404/, /WebSocket connection to .* failed/, /ERR_CONNECTION_REFUSED/];
	const [ann, bob] = await Promise.all(["ann", "bob"].map((name) => arrive(t, name, { expected })));
	for (const one of [ann, bob]) one.sites = [SITE, "http://localhost:8080/"];
	await Promise.all([signUp(ann, SITE), signUp(bob, SITE)]);
	for (const one of [ann, bob]) await one.shown(one.page.getByText("live", { exact: true }), "the status");
	await add(ann, "Buy milk");
	await shows(bob, "- Buy milk (ann)");
	await item(bob, "Buy milk").getByRole("checkbox").click();
	await shows(ann, "x Buy milk (ann)");

	// What is left of the commands: another program writes, and what has happened is printed.
	const [insert, tail] = all.slice(served + 1).map((step) => run(t, step.run, folder, path));
	assert.equal(await insert.ended, 0, insert.said.text);
	for (const one of [ann, bob]) await shows(one, "- Written by the shell (cron)", "x Buy milk (ann)");
	assert.equal(await tail.ended, 0, tail.said.text);
	const told = tail.said.text.trim().split("\n").map((line) => JSON.parse(line));
	assert.deepEqual(told.slice(0, 2).map(({ op, actor }) => [op, actor]), [["I", "ann"], ["U", "bob"]]);

	// Not hers: it goes, and comes back.
	await item(ann, "Written by the shell").getByRole("button").click();
	await ann.shown(ann.page.locator("#problem").filter({ hasText: "rule" }));
	await shows(ann, "- Written by the shell (cron)", "x Buy milk (ann)");

	// The server is away: what is changed stays, also over a reload, and is so for both in the end.
	service.child.kill();
	await service.ended;
	await ann.shown(ann.page.getByText("offline", { exact: true }), "the status");
	await add(ann, "Bake bread");
	await item(ann, "Written by the shell").getByRole("checkbox").click();
	const hers = ["- Bake bread (ann)", "x Buy milk (ann)", "x Written by the shell (cron)"];
	await shows(ann, ...hers);
	await serve(begun);
	for (const one of [ann, bob]) await shows(one, ...hers);
	for (const one of [ann, bob]) await one.shown(one.page.getByText("live", { exact: true }), "the status");
});
