// What a page shows and does where WebSocket is blocked, and where there is no network at all.
import assert from "node:assert/strict";
import { test } from "node:test";
import { people, serve, startWay, until } from "../support/browser.mjs";
import { plugIn } from "../support/network.mjs";

plugIn(); // else a browser calls itself offline from the first

/** People in a browser each, who reach the server by a way that the test has in its hand. */
async function behind(t, names, prepare = () => {}) {
	const way = await startWay(t);
	const server = await serve(t, { workers: 4, config: { issuer: { url: way.url } } });
	way.to(server.port);
	prepare(way);
	const expected = [/WebSocket connection to .* failed/, /Failed to load resource/];
	return { way, server, everybody: await people(t, server, names, { site: `${way.url}/`, expected }) };
}

const transport = (one) => one.page.evaluate(() => window.signalboxDemo.box.transport);

test("a call is set up over HTTP where WebSocket is blocked, and moves over when it is not any more", async (t) => {
	const { way, everybody } = await behind(t, ["ann", "bob"], (blocked) => (blocked.websockets = "reset"));
	const [ann, bob] = everybody;
	for (const one of everybody) await one.the("with-mic").uncheck();
	await Promise.all([ann.join("tea"), bob.join("tea")]);
	const see = () => Promise.all([ann.sees("bob", { audio: false }), bob.sees("ann", { audio: false })]);
	await see();
	for (const one of everybody) {
		assert.equal(await transport(one), "http");
		await one.shown(one.the("status", '[data-state="open"]').getByText("Over HTTP: WebSocket is blocked here"));
	}
	await ann.the("chat-input").fill("by another way");
	await ann.the("chat-input").press("Enter");
	await bob.shown(bob.the("chat-message").getByText("by another way"));

	const connections = async () => (await Promise.all([ann.stats(), bob.stats()])).flatMap((all) =>
		Object.values(all).map(({ connection }) => connection));
	const before = await connections();
	const { session } = await ann.page.evaluate(() => window.signalboxDemo.box.session);
	way.websockets = "pass";
	await ann.page.evaluate(() => window.dispatchEvent(new Event("online"))); // as when the network has changed
	await ann.shown(ann.the("status", '[data-transport="websocket"]').getByText("Connected"));
	const now = await ann.page.evaluate(() => window.signalboxDemo.box.session);
	assert.deepEqual([now.session, now.resumed], [session, true]);
	assert.equal(await bob.the("tile", '[data-user="ann"][data-connected="true"]').count(), 1);

	// the stream of one and the WebSocket of the other are cut: the call does not notice
	for (const one of everybody)
		await one.page.evaluate(() => {
			window.opens = [];
			window.signalboxDemo.box.on("open", ({ resumed }) => window.opens.push(resumed));
		});
	way.block();
	for (const one of everybody) await one.shown(one.the("status").getByText("Reconnecting"));
	await see();
	way.unblock();
	for (const one of everybody) {
		await one.until("the session again", () => window.opens.length > 0);
		assert.deepEqual(await one.page.evaluate(() => window.opens), [true]);
	}
	await see();
	assert.deepEqual(await connections(), before, "it is the same call");
});

test("the page says how the connection is, and tries at once when it is asked", async (t) => {
	const { way, everybody: [ann] } = await behind(t, ["ann"]);
	await ann.page.evaluate(() => {
		window.states = [];
		window.signalboxDemo.box.on("status", ({ state }) => window.states.push(state));
	});
	const states = () => ann.page.evaluate(() => window.states.splice(0));
	const status = (state, text) => ann.shown(ann.the("status", `[data-state="${state}"]`).getByText(text));
	await status("open", "Connected");
	assert.equal(await ann.the("trouble").isVisible(), false);

	way.block();
	await status("reconnecting", "Reconnecting");
	await ann.shown(ann.the("trouble").getByText("The connection was lost."));
	await until("a wait that is counted", async () => /Reconnecting in \d+ s…/.test(await ann.the("trouble").innerText()));

	await ann.context.setOffline(true);
	await status("offline", "Offline");
	await ann.shown(ann.the("trouble").getByText("This device is offline."));
	await states();
	await ann.the("try-now").click();
	await until("an attempt, and offline again", async () => (await ann.page.evaluate(() => window.states.length)) >= 2);
	assert.deepEqual(await states(), ["connecting", "offline"], "it tries when it is asked, and else it waits");

	way.unblock();
	await ann.context.setOffline(false);
	await status("open", "Connected");
	await ann.gone(ann.the("trouble"));
	const back = await states();
	assert.deepEqual([back[0], back.at(-1)], ["connecting", "open"], "at once, when the network is back");
});
