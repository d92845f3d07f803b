// Somebody walks out of one network into another during a call, and loses one of two addresses. Real
// networks, each with a card of its own.
import assert from "node:assert/strict";
import { test } from "node:test";
import { CHROMIUM, arrive, atEnd, serve, until } from "../support/browser.mjs";
import { HERE, secondHost } from "../support/network.mjs";

const PORT = 8080; // in a network of the test's own nobody else has it

test("a call goes on in another network", async (t) => {
	const phone = await secondHost();
	atEnd(t, () => phone.end());
	phone.connect(1);
	const site = `http://localhost:${PORT}/`; // pages get cameras only there, or by https
	const server = await serve(t, {
		workers: 2,
		listen: `${HERE}:${PORT}`,
		config: { server: { behind_proxy: true }, issuer: { url: site.slice(0, -1) } },
	});
	assert.equal(server.port, PORT);
	const args = [`--host-resolver-rules=MAP localhost ${HERE}`];
	const expected = [/WebSocket connection to .* failed/, /Failed to load resource/];
	const [ann, bob] = await Promise.all([
		arrive(t, "ann", { args, expected, chromium: phone.command(CHROMIUM) }),
		arrive(t, "bob", { args }),
	]);
	for (const one of [ann, bob]) {
		await one.open(site);
		await one.signUp();
		await one.the("with-mic").uncheck(); // what a browser reports of its sound is up to ten seconds old
		await one.join("tea");
	}
	const see = () => Promise.all([ann.sees("bob", { audio: false }), bob.sees("ann", { audio: false })]);
	const path = async () => {
		const [{ bob: mine }, { ann: his }] = await Promise.all([ann.stats(), bob.stats()]);
		return { names: [mine.ufrag, his.ufrag], connections: [mine.connection, his.connection] };
	};
	await see();
	/** Both sides make new paths for the same call, and the session is resumed. */
	const goesOn = async (change) => {
		const before = await path();
		const { session } = await ann.page.evaluate(() => window.signalboxDemo.box.session);
		await change();
		await until("new ICE names on both sides", async () => {
			const { names } = await path();
			return names.every((name, i) => name && name !== before.names[i]);
		}, { describe: () => ann.describe() });
		await see();
		assert.deepEqual((await path()).connections, before.connections, "it is the same call");
		const now = await ann.page.evaluate(() => window.signalboxDemo.box.session);
		assert.deepEqual([now.session, now.resumed], [session, true], "it is the same session");
		for (const one of [ann, bob]) assert.equal(await one.the("tile").count(), 1, `${one.name} sees one tile`);
	};
	await t.test("after a moment without any", () =>
		goesOn(async () => {
			phone.disconnect(1);
			await ann.shown(ann.the("status").getByText("Offline"));
			phone.connect(2);
		}));
	await t.test("one that was there before, and the browser tells nothing", () =>
		goesOn(async () => {
			phone.connect(3);
			await see();
			phone.disconnect(2);
		}));
});
