// Nobody is kept out of a call because a device is missing: each trouble has its sentence, and the others are seen.
import assert from "node:assert/strict";
import { test } from "node:test";
import { people, serve } from "../support/browser.mjs";

async function isTold(person, sentence) {
	await person.shown(person.the("notice").getByText(sentence), `"${sentence}"`);
}

async function showsVideo(watcher, user, yes) {
	await watcher.shown(watcher.the("tile", `[data-user="${user}"][data-video="${yes}"]`), `${user} with video: ${yes}`);
}

test("devices", async (t) => {
	const server = await serve(t, { workers: 4 });
	const [[ann], [dora], [eve]] = await Promise.all([
		people(t, server, ["ann"]),
		people(t, server, ["dora"], { answer: "deny" }),
		people(t, server, ["eve"], { camera: "none" }),
	]);
	await Promise.all([ann, dora, eve].map((one) => one.join("tea")));

	await t.test("permission denied and no camera: a sentence each, and everybody is in the call", async () => {
		await isTold(dora, "The browser may not use the camera. Allow it in the address bar");
		await isTold(dora, "The browser may not use the microphone. Allow it in the address bar");
		await isTold(eve, "No camera was found. Connect one and switch it on; until then you can see and hear the others.");
		await Promise.all([
			dora.sees("ann"),
			dora.sees("eve", { videos: 0 }),
			eve.sees("ann"),
			eve.sees("dora", { videos: 0, audio: false }),
			ann.sees("eve", { videos: 0 }),
			showsVideo(ann, "dora", false),
			showsVideo(ann, "eve", false),
			ann.shown(ann.the("tile", '[data-user="dora"][data-audio="false"]'), "dora is mute"),
		]);
	});

	await t.test("a camera is unplugged, and comes back", async () => {
		// A page cannot unplug a camera; this is all that a page notices of it.
		await ann.page.evaluate(() => {
			const [track] = window.signalboxDemo.call.stream.getVideoTracks();
			track.stop();
			track.dispatchEvent(new Event("ended"));
		});
		await isTold(ann, "The camera was unplugged or stopped. Plug it in and switch it on again.");
		await Promise.all([showsVideo(dora, "ann", false), showsVideo(eve, "ann", false)]);
		assert.equal(await ann.the("camera").getAttribute("aria-pressed"), "false");
		await dora.sees("ann", { videos: 0 });
		await ann.the("camera").click();
		await Promise.all([showsVideo(dora, "ann", true), dora.sees("ann"), eve.sees("ann")]);
	});

	await t.test("what is switched off while the browser still opens it stays off", async () => {
		const on = await ann.page.evaluate(async () => {
			const { box } = window.signalboxDemo;
			const call = (await box.join("early")).call({ audio: true, video: true });
			await Promise.all([call.setAudio(false), call.setVideo(false)]);
			await call.ready;
			const before = [call.audio, call.video, call.stream.getAudioTracks()[0].enabled];
			await call.setVideo(true);
			const after = [call.audio, call.video];
			await call.room.leave();
			return [before, after];
		});
		assert.deepEqual(on, [[false, false, false], [false, true]]);
	});

	await t.test("sound that the browser holds back starts with a click", async () => {
		// Comes back into the room without having touched the page, and without a microphone that would count.
		await dora.page.reload();
		const offered = "document.querySelector('[data-testid=unblock]')?.checkVisibility()";
		const silent = "[...document.querySelectorAll('[data-testid=tile] video')].some((video) => video.srcObject && video.paused)";
		const untouched = "!navigator.userActivation.hasBeenActive";
		await dora.untilQuietly("the page says that sound is off", `${offered} && ${silent} && ${untouched}`);
		await dora.the("unblock").click();
		await dora.gone(dora.the("unblock"));
		await dora.until("it plays", () =>
			[...document.querySelectorAll("[data-testid=tile] video")].every((video) => !video.paused));
		await dora.sees("ann");
	});
});
