// Calls between people who signed in by the real pages, each in a browser of their own.
import assert from "node:assert/strict";
import { test } from "node:test";
import { people, serve } from "../support/browser.mjs";

/** Sends a second picture, as a shared screen is sent. Runs in the page. */
function shareCanvas() {
	const canvas = document.createElement("canvas");
	canvas.width = 320;
	canvas.height = 240;
	const brush = canvas.getContext("2d");
	let step = 0;
	setInterval(() => {
		brush.fillStyle = `hsl(${(step * 7) % 360} 80% 50%)`;
		brush.fillRect(0, 0, 320, 240);
		brush.fillStyle = "white";
		brush.fillRect(step++ % 320, 100, 20, 40);
	}, 50);
	window.shared = canvas.captureStream(20);
	const [track] = window.shared.getVideoTracks();
	window.signalboxDemo.call.addTrack(track, window.shared, "screen");
}

async function seeEachOther(everybody, options) {
	const pairs = everybody.flatMap((one) => everybody.filter((other) => other !== one).map((other) => [one, other]));
	await Promise.all(pairs.map(([one, other]) => one.sees(other.name, options)));
}

async function sayHello(one, other) {
	await Promise.all([one.channelOpen(other.name), other.channelOpen(one.name)]);
	await Promise.all([one.listen(), other.listen()]);
	assert.equal(await one.sends(`from ${one.name}`), 1);
	assert.equal(await other.sends(`from ${other.name}`), 1);
	await Promise.all([one.hears(other.name, `from ${other.name}`), other.hears(one.name, `from ${one.name}`)]);
}

/** Both add a track, and neither gets to know of the other's offer before its own is made. */
async function shareAtOnce(one, other) {
	await Promise.all([one.hold(), other.hold()]);
	await Promise.all([one.page.evaluate(shareCanvas), other.page.evaluate(shareCanvas)]);
	await Promise.all([one.holds('"type":"offer"'), other.holds('"type":"offer"')]);
	await Promise.all([one.release(), other.release()]);
}

async function isShown(watcher, user, kind, value) {
	await watcher.shown(watcher.the("tile", `[data-user="${user}"][data-${kind}="${value}"]`), `${user}'s ${kind}: ${value}`);
}

test("two people, on two of four workers: a whole call", async (t) => {
	const server = await serve(t, { workers: 4 });
	const [ann, bob] = await people(t, server, ["ann", "bob"]);
	await bob.moveFrom(await ann.worker());
	assert.notEqual(await ann.worker(), await bob.worker());

	await Promise.all([ann.join("tea"), bob.join("tea")]);
	await seeEachOther([ann, bob]);
	assert.equal(await ann.shown(ann.tile("bob").locator(".tile-name")), "Bob");
	await sayHello(ann, bob);

	await shareAtOnce(ann, bob);
	await seeEachOther([ann, bob], { videos: 2 });
	await Promise.all([ann.shown(ann.the("screen-tile")), bob.shown(bob.the("screen-tile"))]);
	await sayHello(ann, bob);
	await ann.page.evaluate(() => window.signalboxDemo.call.removeTrack(window.shared.getVideoTracks()[0]));
	await bob.gone(bob.the("screen-tile"));

	await ann.the("mic").click();
	await isShown(bob, "ann", "audio", "false");
	await ann.the("camera").click();
	await isShown(bob, "ann", "video", "false");
	await ann.the("mic").click();
	await isShown(bob, "ann", "audio", "true");
	await ann.the("camera").click();
	await isShown(bob, "ann", "video", "true");
	await bob.sees("ann");

	for (const [one, other] of [[ann, bob], [bob, ann]]) {
		await one.the("chat-input").fill(`good day from ${one.name} <b>`);
		await one.the("chat-input").press("Enter");
		for (const reader of [one, other])
			await reader.shown(reader.the("chat-message", `[data-user="${one.name}"]`).getByText(`good day from ${one.name} <b>`));
	}

	await bob.leave();
	await ann.gone(ann.tile("bob"));
	await ann.the("people").getByText("Bob").waitFor({ state: "hidden" });
	assert.deepEqual(await ann.stats(), {});
});

test("three people on one worker; one leaves, one loads the page anew, one closes the tab, the others go on", async (t) => {
	const server = await serve(t, { workers: 1 });
	const [ann, bob, cid] = await people(t, server, ["ann", "bob", "cid"]);
	await ann.the("sign-out").click();
	await ann.signIn();
	await ann.join("tea");
	await bob.join("tea");
	await cid.join("tea");
	await seeEachOther([ann, bob, cid]);
	for (const one of [ann, bob, cid]) assert.equal(await one.the("tile").count(), 2);
	await bob.leave();
	await Promise.all([ann.gone(ann.tile("bob")), cid.gone(cid.tile("bob"))]);
	await seeEachOther([ann, cid]);
	for (const one of [ann, cid]) assert.equal(await one.the("tile").count(), 1);
	await sayHello(ann, cid);
	await shareAtOnce(ann, cid);
	await seeEachOther([ann, cid], { videos: 2 });

	const peer = await ann.tile("cid").getAttribute("data-peer");
	await cid.page.reload();
	await ann.gone(ann.the("tile", `[data-peer="${peer}"]`), "the cid from before");
	await cid.shown(cid.the("room-view"), "the room of the address");
	await seeEachOther([ann, cid]);
	for (const one of [ann, cid]) assert.equal(await one.the("tile").count(), 1, `${one.name} sees a ghost`);
	await ann.gone(ann.the("person", `[data-peer="${peer}"]`), "the cid from before, as a person");

	await cid.page.close({ runBeforeUnload: true });
	await ann.gone(ann.tile("cid"));
});

test("the same with compressed messages in both directions", async (t) => {
	const server = await serve(t, { workers: 2, config: { server: { compression: true } } });
	const [ann, bob] = await people(t, server, ["ann", "bob"]);
	await Promise.all([ann.join("tea"), bob.join("tea")]);
	await Promise.all([ann.sees("bob"), bob.sees("ann")]);
	assert.ok((await server.metrics()).signalbox_compression_saved_bytes_total > 1000);
});
