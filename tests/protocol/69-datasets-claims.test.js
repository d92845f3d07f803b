// Claims of tokens that rules name: of every kind of token, from the moment a rule names them, over a refresh and a restart.
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { connect } from "../support/client.mjs";
import { ownDirectory, startServer } from "../support/server.mjs";
import { sqlite } from "../support/sqlite.mjs";

const scope = "datasets:read";
const titles = (client) =>
	client.call("dataset.query", { dataset: "todos", columns: ["title"] }).then(({ rows }) => rows.map(([title]) => title).sort());

test("rules see the claims and foreign scopes of a token, and nobody else's", async (t) => {
	const database = join(ownDirectory(), "app.db");
	sqlite(database, "CREATE TABLE todos (id INTEGER PRIMARY KEY, title TEXT, team TEXT, level INTEGER); INSERT INTO todos (title, team, level) VALUES ('r1', 'red', 1), ('r9', 'red', 9), ('b1', 'blue', 1);");
	const server = await startServer({ t, workers: 2 });
	const claim = { team: "red", level: 5, scp: ["todo:all-of.it", "x"], other: { a: [1] } };
	const early = await connect(server, { user: "early", scope, claim });
	const rule = "(team = :claim_team AND level <= :claim_level) OR (:scope_todo_all_of_it AND :claim_other = '{\"a\":[1]}' AND level = 1)";
	await server.rpc("dataset.add", { dataset: "todos", database, table: "todos", read: rule });

	const late = await connect(server, { user: "late", scope, claim });
	assert.deepEqual(await titles(late), ["b1", "r1"]);
	// checked before the rule was there: nothing, until the same token is shown again
	assert.deepEqual(await titles(early), []);
	await early.call("session.refresh", { token: await server.mint("early", { scope, claim }) });
	assert.deepEqual(await titles(early), ["b1", "r1"]);
	// other values, none, and such that are no claims of the token
	for (const [user, claims, sees] of [
		["ann", { team: "red", level: 9 }, ["r1", "r9"]],
		["bob", { team: "blue", level: "1" }, ["b1"]],
		["eve", {}, []],
		["dan", { team: ["red"], level: 5, scp: "todo:all-of.its" }, []],
		["kim", { nested: { team: "red", level: 5 } }, []],
	]) {
		const client = await connect(server, { user, scope, claim: claims });
		assert.deepEqual(await titles(client), sees, user);
		await client.close();
	}

	// after a restart as well
	const { session } = late.session;
	const next = await server.successor();
	t.after(() => next.stop());
	const again = await connect(next, { user: "late", scope, claim, params: { resume: { session, received: late.received } } });
	assert.equal(again.session.resumed, true);
	assert.deepEqual(await titles(again), ["b1", "r1"]);
	await again.close();
});
