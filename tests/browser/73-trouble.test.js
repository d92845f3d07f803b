// A call outlives a bad network, a lost one, and the loss of the service.
import assert from "node:assert/strict";
import { test } from "node:test";
import { dropUdp, people, serve, startWay, until } from "../support/browser.mjs";

async function seeEachOther(one, other, options) {
	await Promise.all([one.sees(other.name, options), other.sees(one.name, options)]);
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

test("loss is shown and passes; ICE restarts by hand and by itself", async (t) => {
	const server = await serve(t, { workers: 1 });
	const [ann, bob] = await people(t, server, ["ann", "bob"]);
	// Without microphones: what a browser reports of its sound is up to ten seconds old.
	for (const one of [ann, bob]) await one.the("with-mic").uncheck();
	const silent = { audio: false };
	await Promise.all([ann.join("tea"), bob.join("tea")]);
	await seeEachOther(ann, bob, silent);
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

	const path = async () => {
		const [{ bob: mine }, { ann: his }] = await Promise.all([ann.stats(), bob.stats()]);
		return { fragments: [mine.ufrag, his.ufrag], connections: [mine.connection, his.connection] };
	};
	const first = await path();
	await ann.page.evaluate(() => [...window.signalboxDemo.call.peers.values()][0].restartIce());
	const renewed = async (before) => {
		await until("new ICE names on both sides", async () => {
			const { fragments } = await path();
			return fragments.every((name, i) => name && name !== before.fragments[i]);
		}, { describe: () => ann.describe() });
		await seeEachOther(ann, bob, silent);
	};
	await renewed(first);

	// The network is gone for so long that the SDK looks for new paths by itself.
	const second = await path();
	const back = dropUdp(t, 100);
	await ann.shown(ann.tile("bob").getByText("Connection lost, trying again…"));
	await until("a restart was asked for", async () => {
		const { fragments } = await path();
		return fragments.some((name, i) => name !== second.fragments[i]);
	}, { describe: () => ann.describe() });
	back();
	await renewed(second);
	assert.deepEqual((await path()).connections, first.connections, "it is the same call all along");
});

test("the service is lost, for one and then for both: they come back, and so does the call", async (t) => {
	const way = await startWay(t);
	const server = await serve(t, { workers: 4, config: { issuer: { url: way.url } } });
	way.to(server.port);
	const options = { site: `${way.url}/`, expected: [/WebSocket connection to .* failed/] };
	const [ann] = await people(t, server, ["ann"], options);
	const [bob] = await people(t, server, ["bob"], options);
	await Promise.all([ann.join("tea"), bob.join("tea")]);
	await seeEachOther(ann, bob);

	const session = () => window.signalboxDemo.box.session?.session;
	const returned = async (one, before) => {
		await one.until("a session again", (old) => {
			const { box } = window.signalboxDemo;
			return box.state === "open" && box.session.session !== old;
		}, before);
	};
	const lost = await ann.page.evaluate(session);
	way.cut(0);
	await returned(ann, lost);
	await seeEachOther(ann, bob);
	assert.equal(await bob.the("tile").count(), 1, "no ghost of ann is left");

	const both = await Promise.all([ann.page.evaluate(session), bob.page.evaluate(session)]);
	way.block();
	await ann.shown(ann.the("status").getByText("Reconnecting"));
	way.unblock();
	await Promise.all([returned(ann, both[0]), returned(bob, both[1])]);
	await seeEachOther(ann, bob);
	await ann.the("chat-input").fill("here again");
	await ann.the("chat-input").press("Enter");
	await bob.shown(bob.the("chat-message").getByText("here again"));
	for (const one of [ann, bob]) assert.equal(await one.the("tile").count(), 1, `${one.name} sees one tile`);
});
