// Hashing passwords costs a core 40 ms each: it is done one at a time, on a thread of the lowest priority, so
// that no flood of sign-ins holds up who is connected.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { connect } from "../support/client.mjs";
import { anyPace, startServer } from "../support/server.mjs";
import { Browser } from "../support/page.mjs";

const PASSWORD = "correct horse battery";
const PEOPLE = 4;
const CROWD = 12; // browsers: less than may wait
const LOWEST = 19;

/** The threads of the process: {name, nice, ms of processor time}. */
function threads({ pid }) {
	return readdirSync(`/proc/${pid}/task`).map((id) => {
		const stat = readFileSync(`/proc/${pid}/task/${id}/stat`, "utf8");
		const rest = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
		const name = stat.slice(stat.indexOf("(") + 1, stat.lastIndexOf(")"));
		return { name, nice: Number(rest[16]), ms: (Number(rest[11]) + Number(rest[12])) * 10 };
	});
}

test("sign-ins as fast as they come: one hash at a time, none on a worker", async (t) => {
	const server = await startServer({ t, workers: 2, config: { limits: anyPace } });
	const users = Array.from({ length: PEOPLE }, (_, i) => `user${i}`);
	for (const name of users) await server.rpc("user.add", { name, password: PASSWORD });
	const witness = await connect(server, { user: "witness" });
	const before = { threads: threads(server), metrics: await server.metrics() };
	const forms = await Promise.all(Array.from({ length: CROWD }, () => new Browser().open(`${server.url}/oauth/login?page=account`)));
	const signIns = forms.map((browser, i) => browser.submit({ name: users[i % PEOPLE], password: PASSWORD }));
	let over = false;
	let most = 0;
	const all = Promise.all(signIns).then(() => (over = true));
	while (!over) {
		await witness.call("room.list"); // a worker answers meanwhile
		most = Math.max(most, (await server.metrics()).signalbox_passwords_hashing);
	}
	await all;
	assert.deepEqual(forms.map(({ status }) => status), Array(CROWD).fill(303));
	const after = { threads: threads(server), metrics: await server.metrics() };
	assert.equal(after.metrics.signalbox_passwords_hashed_total - before.metrics.signalbox_passwords_hashed_total, CROWD);
	assert.equal(most, 1);
	assert.equal(after.metrics.signalbox_passwords_hashing_most, 1);
	assert.equal(after.metrics.signalbox_passwords_hashing, 0);

	const used = (name) => {
		const of = (list) => list.filter((thread) => thread.name === name).reduce((sum, { ms }) => sum + ms, 0);
		return of(after.threads) - of(before.threads);
	};
	const hashing = after.threads.filter(({ name }) => name === "passwords");
	assert.deepEqual(hashing.map(({ nice }) => nice), [LOWEST]);
	const each = used("passwords") / CROWD;
	assert.ok(each > 5, `a hash took ${each} ms of that thread: it was done elsewhere`);
});
