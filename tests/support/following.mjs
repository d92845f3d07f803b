// What a page of docs/ tells to do, done: its commands are run, its files are for the test to write.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { atEnd } from "./browser.mjs";

const PASSWORD = "correct horse battery";

/** What the page says to do, in order: {run} or {file, text, add}. */
export function steps(page) {
	const all = [];
	const block = /(?:\*\*(At the end of )?`([\w.]+)`\*\*[^\n`]*(?:`[^\n`]*`[^\n`]*)*\n\n)?```(\w+)\n(.*?)```/gs;
	for (const [, add, file, language, text] of page.matchAll(block)) {
		if (language === "sh") all.push({ run: text.trim() });
		else if (file) all.push({ file, text, add: Boolean(add) });
		else assert.fail(`a block that is no file and no command:\n${text}`);
	}
	return all;
}

/** Runs a command of the page in the folder; one that goes on running is ended with the test. */
export function run(t, command, cwd, path) {
	const child = spawn("bash", ["-c", `exec ${command}`], { cwd, env: { PATH: `${path}:${process.env.PATH}`, HOME: cwd } });
	const said = { text: "" };
	for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (said.text += text));
	const ended = new Promise((done) => child.on("close", (code) => done(code)));
	atEnd(t, async () => {
		child.kill();
		await ended;
	});
	return { child, said, ended };
}

/** Opens the page's own site, and makes an account on the way in. */
export async function signUp(person, site) {
	await person.page.goto(site);
	await person.page.waitForURL("**/oauth/**");
	await person.page.getByRole("link", { name: /No account yet/ }).click();
	await person.page.fill("[name=name]", person.name);
	await person.page.fill("[name=password]", PASSWORD);
	await person.page.click("button[type=submit]");
	await person.page.waitForURL(`${site}**`);
}
