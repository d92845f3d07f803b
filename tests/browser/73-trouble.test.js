// A call outlives a bad network, a lost one, and the loss of the service.
import assert from "node:assert/strict";
import { test } from "node:test";
import { dropUdp, people, serve, startWay, until } from "../support/browser.mjs";

async function seeEachOther(one, other) {
	await Promise.all([one.sees(other.name, { audio: false }), other.sees(one.name, { audio: false })]);
}

/** What the tile of `user` shows as quality, once it fits. */
async function qualityOf(watcher, user, what, fits) {
	const badge = watcher.tile(user).locator('[data-testid="quality"]');
	const look = async () => {
		const [loss, level, text] = await badge.evaluate(({ dataset, innerText }) => [
			Number(dataset.loss),
			dataset.level,
			innerText,
		]);
		return fits(loss, level) && { loss, level, text };
	};
	return until(`${watcher.name} is shown ${what} for ${user}`, look, { describe: () => watcher.describe() });
}

test("trouble", async (t) => {
	const way = await startWay(t);
	const config = { issuer: { url: way.url } };
	const server = await serve(t, { workers: 4, config });
	way.to(server.port);
	// What Chromium itself says of connections that could not be made: after two WebSockets the library tries HTTP.
	const expected = [/WebSocket connection to .* failed/, /Failed to load resource: net::ERR_CONNECTION_RESET/];
	const options = { site: `${way.url}/`, expected };
	const [ann] = await people(t, server, ["ann"], options); // the first on the way
	const [bob] = await people(t, server, ["bob"], options);
	// Without microphones: what a browser reports of its sound is up to ten seconds old.
	for (const one of [ann, bob]) await one.the("with-mic").uncheck();
	await Promise.all([ann.join("tea"), bob.join("tea")]);
	await seeEachOther(ann, bob);

	/** The names that ICE goes by on both sides, new with each restart; and the connections they belong to. */
	const path = async () => {
		const [{ bob: mine }, { ann: his }] = await Promise.all([ann.stats(), bob.stats()]);
		return { names: [mine.ufrag, his.ufrag], connections: [mine.connection, his.connection] };
	};
	/** How often each has had its session again, and whether it was the same one. */
	const watch = (one) =>
		one.page.evaluate(() => {
			window.opens = [];
			window.signalboxDemo.box.on("open", ({ resumed }) => window.opens.push(resumed));
		});
	const resumed = (one, times) =>
		one.until("the session again", (count) => window.opens.length >= count, times);
	const opens = (one) => one.page.evaluate(() => window.opens);
	await Promise.all([watch(ann), watch(bob)]);

	const isConnected = (watcher, user, yes) =>
		Promise.all(
			["tile", "person"].map((id) =>
				watcher.shown(watcher.the(id, `[data-user="${user}"][data-connected="${yes}"]`), `${id} of ${user}: ${yes}`)),
		);

	await t.test("one loses the service, comes back, and the call never noticed", async () => {
		const before = await path();
		way.shut();
		way.cut(0);
		await isConnected(bob, "ann", false);
		for (const id of ["tile", "person"])
			assert.match(await bob.the(id, '[data-user="ann"]').innerText(), /reconnecting…/, `the ${id} says so`);
		await seeEachOther(ann, bob);
		assert.deepEqual(await opens(ann), [], "ann is still away");
		way.unblock();
		await resumed(ann, 1);
		await isConnected(bob, "ann", true);
		for (const id of ["tile", "person"])
			assert.doesNotMatch(await bob.the(id, '[data-user="ann"]').innerText(), /reconnecting/, `the ${id} says so`);
		await seeEachOther(ann, bob);
		assert.deepEqual(await opens(ann), [true]);
		assert.deepEqual((await path()).connections, before.connections, "it is the same call");
		assert.equal(await bob.the("tile").count(), 1, "no ghost of ann is left");
	});

	await t.test("all lose the service, come back, and the call never noticed", async () => {
		const before = await path();
		way.block();
		await ann.shown(ann.the("status").getByText("Reconnecting"));
		way.unblock();
		await Promise.all([resumed(ann, 2), resumed(bob, 1)]);
		assert.deepEqual([await opens(ann), await opens(bob)], [[true, true], [true]]);
		await seeEachOther(ann, bob);
		assert.deepEqual((await path()).connections, before.connections, "it is the same call");
		await ann.the("chat-input").fill("here again");
		await ann.the("chat-input").press("Enter");
		await bob.shown(bob.the("chat-message").getByText("here again"));
		for (const one of [ann, bob]) assert.equal(await one.the("tile").count(), 1, `${one.name} sees one tile`);
	});

	await t.test("the service is killed: new sessions, and the call comes back", async () => {
		const before = await path();
		await server.kill();
		await ann.shown(ann.the("status").getByText("Reconnecting"));
		await serve(t, { workers: 4, config, data: server.data, listen: `127.0.0.1:${server.port}` });
		await Promise.all([resumed(ann, 3), resumed(bob, 2)]);
		assert.deepEqual([await opens(ann), await opens(bob)], [[true, true, false], [true, false]]);
		const isNew = async () => (await path()).connections.every((id, i) => id && id !== before.connections[i]);
		await until("a new call", isNew, { describe: () => ann.describe() });
		await seeEachOther(ann, bob);
		for (const one of [ann, bob]) {
			assert.equal(await one.the("tile").count(), 1, `${one.name} sees one tile`);
			assert.equal(await one.the("person").count(), 2, `${one.name} sees two people`);
		}
	});

	await t.test("loss is shown, and passes", async () => {
		await qualityOf(ann, "bob", "no loss", (loss, level) => loss < 2 && level === "good");
		const heal = dropUdp(t, 20);
		const bad = await qualityOf(ann, "bob", "loss", (loss, level) => loss > 5 && level !== "good");
		assert.match(bad.text, new RegExp(`${bad.loss} % lost`));
		await qualityOf(bob, "ann", "loss", (loss) => loss > 5);
		heal();
		await Promise.all([
			qualityOf(ann, "bob", "no more loss", (loss, level) => loss < 2 && level === "good"),
			qualityOf(bob, "ann", "no more loss", (loss, level) => loss < 2 && level === "good"),
		]);
	});

	const restarted = async (before, { sides }) => {
		await until(`new ICE names on ${sides} sides`, async () => {
			const { names } = await path();
			return names.filter((name, i) => name && name !== before.names[i]).length >= sides;
		}, { describe: () => ann.describe() });
	};

	await t.test("ICE restarts when it is told to", async () => {
		const before = await path();
		await ann.page.evaluate(() => [...window.signalboxDemo.call.peers.values()][0].restartIce());
		await restarted(before, { sides: 2 });
		await seeEachOther(ann, bob);
		assert.deepEqual((await path()).connections, before.connections, "it is the same call");
	});

	await t.test("ICE restarts by itself when the network is gone for longer", async () => {
		const before = await path();
		const back = dropUdp(t, 100);
		await ann.shown(ann.tile("bob").getByText("Connection lost, trying again…"));
		await restarted(before, { sides: 1 });
		back();
		await restarted(before, { sides: 2 });
		await seeEachOther(ann, bob);
		assert.deepEqual((await path()).connections, before.connections, "it is the same call");
	});
});
