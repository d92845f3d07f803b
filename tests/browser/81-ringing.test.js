// Calling somebody who is in no room: all devices ring until one has the call, whoever was not there finds
// it missed.
import assert from "node:assert/strict";
import { test } from "node:test";
import { arrive, people, serve, siteOf } from "../support/browser.mjs";

const contact = (person, user, status) => person.the("contact", `[data-user="${user}"]${status ? `[data-status="${status}"]` : ""}`);

async function call(person, user) {
	await contact(person, user).getByTestId("contact-call").click();
}

test("a user with two browsers is rung on both, takes it on one, and misses another", async (t) => {
	const server = await serve(t, { workers: 4 });
	const [[ann, bob], tablet] = await Promise.all([people(t, server, ["ann", "bob"]), arrive(t, "bob")]);
	await tablet.open(siteOf(server));
	await tablet.signIn();

	await t.test("who is online is seen without meeting in a room", async () => {
		await ann.the("contact-name").fill("bob");
		await ann.the("contact-name").press("Enter");
		await ann.shown(contact(ann, "bob", "online"), "bob, online");
	});

	await t.test("both ring; one accepts, the other stops ringing, and the two are in a call", async () => {
		await call(ann, "bob");
		assert.match(await ann.shown(ann.the("ring-text")), /2 devices/);
		for (const one of [bob, tablet])
			assert.match(await one.shown(one.the("ring-title"), "the call"), /Ann calls you/);
		await tablet.the("ring-yes").click();
		await bob.gone(bob.the("ring"), "the call that is answered elsewhere");
		await Promise.all([ann, tablet].map((one) => one.shown(one.the("room-view"), "the call")));
		await Promise.all([ann.sees("bob"), tablet.sees("ann")]);
		await bob.shown(bob.the("notice").getByText("You took this call on another device."));
		assert.match(await tablet.the("room-title").innerText(), /Call with Ann/);
	});

	await t.test("one hangs up, and both are out of it", async () => {
		await ann.leave();
		await tablet.shown(tablet.the("room-name"), "the lobby");
	});

	await t.test("declined on one device it is declined", async () => {
		await call(ann, "bob");
		await Promise.all([bob, tablet].map((one) => one.shown(one.the("ring-no"))));
		await bob.page.keyboard.press("Escape");
		await Promise.all([ann.gone(ann.the("ring")), tablet.gone(tablet.the("ring"))]);
		await ann.shown(ann.the("notice").getByText("They cannot take the call now."));
	});

	await t.test("given up it is missed, on all devices and in the list", async () => {
		await call(ann, "bob");
		await bob.shown(bob.the("ring-title"));
		await ann.the("ring-no").click();
		await Promise.all([bob, tablet].map((one) => one.shown(one.the("notice").getByText("You missed a call from Ann"))));
		await bob.shown(bob.the("call-entry", '[data-missed="true"]').first(), "the missed call in the list");
		assert.equal(await bob.the("notice").getByText("given up").count(), 0, "told once");
	});

	await t.test("who is not there finds it missed at the next sign-in, and can call back from the list", async () => {
		for (const one of [bob, tablet]) await one.the("sign-out").click();
		await ann.shown(contact(ann, "bob", "offline"), "bob, offline");
		await call(ann, "bob");
		await ann.shown(ann.the("notice").getByText("They cannot be reached now."));
		await bob.signIn();
		await bob.shown(bob.the("notice").getByText("You missed a call from Ann"));
		await bob.the("call-entry", '[data-user="ann"]').first().getByTestId("contact-call").click();
		await ann.shown(ann.the("ring-title").getByText("Bob calls you"));
		await ann.the("ring-voice").click();
		await bob.sees("ann", { videos: 0 });
	});
});
