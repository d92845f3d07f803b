// Rooms as people use them: a door to knock at, a guest by a link, and a moderator whose word holds.
import assert from "node:assert/strict";
import { test } from "node:test";
import { arrive, people, serve } from "../support/browser.mjs";

const EARLIER = 45; // messages: more than a page

const person = (watcher, name, more = "") => watcher.the("person", more).filter({ hasText: name });

async function moderate(moderator, name, act) {
	await person(moderator, name).getByTestId("person-menu").click();
	await moderator.the(act).click();
}

async function say(one, text) {
	await one.the("chat-input").fill(text);
	await one.the("chat-input").press("Enter");
}

const reads = (one, text) => one.shown(one.the("chat-message").getByText(text, { exact: true }), `"${text}"`);

test("a room with a lobby, a guest, and a moderator", async (t) => {
	const server = await serve(t, { workers: 4 });
	const [[ann, bob], gus] = await Promise.all([people(t, server, ["ann", "bob"]), arrive(t, "gus")]);
	const entry = (count) => bob.the("room-entry", `[data-room="salon"][data-count="${count}"]`);
	let guest;

	await t.test("who makes it is alone in it, and the others see that somebody is there", async () => {
		await ann.the("create").click();
		await ann.the("create-name").fill("salon");
		await ann.the("create-text").fill("The salon, where everybody has a long word to say");
		await ann.the("create-lobby").check();
		await ann.the("create-durable").check();
		await ann.the("create-confirm").click();
		await ann.shown(ann.the("room-title").getByText("The salon"));
		await ann.page.evaluate(async (count) => {
			for (let n = 1; n <= count; n++) await window.signalboxDemo.room.publish({ text: `line ${n}` });
		}, EARLIER);
		await bob.the("rooms-search").fill("sal");
		await bob.shown(entry(1), "the room, with one person in it");
		const size = bob.page.viewportSize();
		await bob.page.setViewportSize({ width: 375, height: 667 }); // as a telephone has it
		assert.equal(await bob.page.evaluate(() => document.documentElement.scrollWidth), 375);
		await bob.page.setViewportSize(size);
	});

	await t.test("knock, and be let in", async () => {
		await entry(1).click();
		await bob.the("knock-message").fill("it is me");
		await bob.the("knock").click();
		await ann.shown(ann.the("knock-entry", '[data-user="bob"]').getByText("it is me"));
		await bob.the("knock-back").click(); // goes away, and comes back
		await entry(1).click();
		await bob.the("knock").click();
		await ann.the("knock-admit").click();
		await bob.shown(bob.the("room-view"), "the room");
		await ann.gone(ann.the("knock-entry"));
		await Promise.all([ann.sees("bob"), bob.sees("ann")]);
	});

	await t.test("what was said before is there, as far back as one scrolls; and what is changed since", async () => {
		await reads(bob, `line ${EARLIER}`);
		assert.equal(await bob.the("chat-message").getByText("line 1", { exact: true }).count(), 0);
		await bob.the("chat-log").evaluate((log) => (log.scrollTop = 0));
		await reads(bob, "line 1");
		await say(ann, "tea is reddy");
		const wrong = ann.the("chat-message").filter({ hasText: "tea is reddy" });
		await wrong.hover();
		await wrong.getByTestId("message-edit").click();
		await say(ann, "tea is ready");
		await reads(bob, "tea is ready");
		await ann.the("chat-message").filter({ hasText: "tea is ready" }).getByTestId("message-delete").click();
		await reads(bob, "This message was taken back.");
	});

	await t.test("a guest comes by a link, without an account", async () => {
		await ann.the("invite").click();
		await ann.the("invite-make").click();
		await ann.until("the link", () => document.getElementById("invite-link").value);
		const link = await ann.the("invite-link").inputValue();
		await ann.page.keyboard.press("Escape");
		assert.match(link, /\/#invitation=[\w-]{43}$/);
		gus.site = link;
		await gus.page.goto(link);
		assert.match(await gus.shown(gus.the("guest-room")), /The salon/);
		await gus.the("guest-name").fill("Gus");
		await gus.the("guest-join").click();
		await gus.shown(gus.the("room-view"), "the room");
		guest = await gus.page.evaluate(() => window.signalboxDemo.box.user.id);
		await Promise.all([ann.sees(guest), gus.sees("ann"), gus.sees("bob")]);
		await gus.page.reload();
		await gus.sees("ann");
		assert.ok(gus.requests.every((url) => !url.includes(link.split("=")[1])), "the token is in no address that a server saw");
	});

	await t.test("the screen beside the camera", async () => {
		await bob.the("screen").click();
		await ann.shown(ann.the("screen-tile"), "bob's screen");
		await Promise.all([ann.sees("bob", { videos: 2 }), gus.sees("bob", { videos: 2 })]);
		await bob.the("screen").click();
		await ann.gone(ann.the("screen-tile"));
	});

	await t.test("another microphone and another speaker, in the middle of it", async () => {
		await bob.the("settings").click();
		await bob.the("pick-audio").selectOption({ label: "Fake Audio Input 2" });
		await bob.the("pick-speaker").selectOption({ label: "Fake Audio Output 1" });
		await bob.until("he speaks into the one and hears by the other", () => {
			const [microphone] = window.signalboxDemo.call.stream.getAudioTracks();
			const sinks = [...document.querySelectorAll("[data-testid=tile] video")].map(({ sinkId }) => sinkId);
			return microphone.label === "Fake Audio Input 2" && sinks.every((id) => id && id !== "default");
		});
		await bob.the("devices-done").click();
		await ann.sees("bob");
	});

	await t.test("muted: nobody hears him, and he cannot write", async () => {
		await moderate(ann, "Bob", "act-mute");
		await bob.shown(bob.the("muted"), "that he is muted");
		await gus.shown(gus.the("tile", '[data-user="bob"][data-audio="false"]'), "bob is mute");
		assert.equal(await bob.the("mic").isDisabled(), true);
		await say(bob, "not to be read");
		await bob.shown(bob.the("notice").getByText(/moderator/));
		await bob.page.reload();
		await bob.shown(bob.the("muted"), "that he is muted, after coming back");
		await moderate(ann, "Bob", "act-unmute");
		await bob.gone(bob.the("muted"));
		await say(bob, "to be read");
		await reads(ann, "to be read");
		assert.equal(await ann.the("chat-message").getByText("not to be read").count(), 0);
	});

	await t.test("kicked: out at once", async () => {
		await moderate(ann, "Gus", "act-kick");
		await gus.shown(gus.the("welcome-problem").getByText("You were taken out of the room."));
		await ann.gone(ann.tile(guest));
	});

	await t.test("banned: kept out, with a fresh token too", async () => {
		await moderate(ann, "Bob", "act-ban");
		await bob.shown(bob.the("lobby-problem").getByText("You were banned from this room."));
		await bob.the("sign-out").click();
		await bob.signIn();
		await bob.join("tea"); // elsewhere he may be
		await bob.leave();
		await bob.the("room-name").fill("salon");
		await bob.the("join").click();
		await bob.shown(bob.the("lobby-problem").getByText("banned"), "that he is banned");
		assert.equal(await bob.the("room-view").isVisible(), false);
		assert.equal(await ann.the("person").count(), 1);
	});
});
