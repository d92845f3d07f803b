// Datasets that come, change and go all at once, by commands and by reloads, while clients subscribe, ask and write and other
// programs change the files: every answer is one that may be, nothing is left behind, and what stays works.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { connect } from "../support/client.mjs";
import { randomFrom, SEED } from "../support/random.mjs";
import { anyPace, ownDirectory, startServer } from "../support/server.mjs";
import { schemaOf, sqlite } from "../support/sqlite.mjs";

const ROUNDS = Number(process.env.OPERATIONS ?? 40);
const NAMES = ["a", "b", "c", "d"];
const MAY_BE = new Set(["dataset_exists", "no_such_dataset", "dataset_unavailable", "dataset_configured", "overloaded", "no_such_sub"]);

test("datasets come and go under load", async (t) => {
	console.log(`seed ${SEED}`);
	const { below, pick } = randomFrom(SEED);
	const folder = ownDirectory();
	const files = ["one.db", "two.db"].map((name) => join(folder, name));
	for (const file of files)
		sqlite(file, "PRAGMA journal_mode = WAL; CREATE TABLE todos (id INTEGER PRIMARY KEY, title TEXT); CREATE TABLE more (id INTEGER PRIMARY KEY, title TEXT);");
	const before = files.map(schemaOf);
	const limits = { ...anyPace, requests_in_flight: 1000 };
	const server = await startServer({ t, workers: 4, config: { server: { demo: false }, limits } });
	const clients = await Promise.all(
		[1, 2, 3].map((i) => connect(server, { user: `user${i}`, scope: "datasets:read datasets:write" })),
	);
	const outcome = (promise) =>
		promise.then(
			() => "ok",
			({ reason, data, message }) => reason ?? data?.reason ?? message,
		);
	const definition = (name) => ({ database: pick(files), table: pick(["todos", "more"]), read: pick(["1", "id > 2", "title <> :user"]), insert: "1", ...name });
	const reload = () => {
		const datasets = NAMES.filter(() => below(4) === 0).map((name) => definition({ name }));
		writeFileSync(`${server.data}.yaml`, JSON.stringify({ server: { demo: false }, limits, datasets }));
		server.signal("SIGHUP");
	};
	const done = new Set(); // which of them were done at least once
	const act = async (i) => {
		const kind = below(9);
		const said = await acts(kind, i);
		if (said === "ok") done.add(kind);
		return said;
	};
	const acts = (kind, i) => {
		const dataset = pick(NAMES);
		const client = pick(clients);
		switch (kind) {
			case 0:
			case 1:
				return outcome(server.rpc("dataset.add", definition({ dataset })));
			case 2:
				return outcome(server.rpc("dataset.drop", { dataset }));
			case 3:
				return outcome(server.rpc("dataset.verify", { dataset }));
			case 4:
			case 5:
				return outcome(client.call("dataset.subscribe", { dataset }));
			case 6:
				return outcome(client.call("dataset.query", { dataset }));
			case 7:
				return outcome(client.call("dataset.write", { dataset, mutation: `m${i}`, ops: [{ op: "insert", set: { title: `w${i}` } }] }));
			default:
				return outcome(server.rpc("dataset.list"));
		}
	};
	for (let round = 0; round < ROUNDS; round++) {
		const all = Array.from({ length: 12 }, (_, i) => act(round * 12 + i));
		if (below(3) === 0) reload();
		sqlite(pick(files), `INSERT INTO ${pick(["todos", "more"])} (title) VALUES ('f${round}')`);
		for (const said of await Promise.all(all)) assert.ok(said === "ok" || MAY_BE.has(said), said);
	}
	assert.equal(done.size, 9, `some were never done: only ${[...done]}`);

	// what is there in the end works, and when all is gone nothing is left
	writeFileSync(`${server.data}.yaml`, JSON.stringify({ server: { demo: false }, limits }));
	const reloads = server.log.split("configuration reloaded").length;
	server.signal("SIGHUP");
	await server.logged(new RegExp(`(configuration reloaded[^]*){${reloads}}`));
	for (const dataset of NAMES) {
		const said = await outcome(server.rpc("dataset.add", { dataset, database: files[0], table: "todos", read: "1", insert: "1" }));
		assert.ok(said === "ok" || said === "dataset_exists", said);
	}
	for (const dataset of NAMES) {
		assert.equal((await server.rpc("dataset.show", { dataset })).state, "live");
		assert.equal((await server.rpc("dataset.verify", { dataset })).ok, true);
		assert.deepEqual(await server.rpc("dataset.drop", { dataset }), {});
	}
	assert.deepEqual(files.map(schemaOf), before);
	assert.deepEqual((await server.rpc("dataset.list")).datasets, []);
	const metrics = await server.metrics();
	for (const what of ["changes", "steps", "messages", "writes"]) assert.ok(metrics[`signalbox_dataset_${what}_total`] > 0, what);
	for (const what of ["datasets", "datasets_live", "datasets_trouble", "dataset_readers"]) assert.equal(metrics[`signalbox_${what}`], 0, what);
	await Promise.all(clients.map((client) => client.close()));
});
