// The pages themselves: by keyboard alone, on a small phone, and closed to everything from outside.
import assert from "node:assert/strict";
import { test } from "node:test";
import { arrive, people, serve, siteOf, until } from "../support/browser.mjs";

const PASSWORD = "correct horse battery";

/** Presses Tab until the focus is where it should be, and can be seen there. */
async function tabTo(person, selector) {
	for (let steps = 0; steps < 30; steps++) {
		const there = await person.page.evaluate((wanted) => {
			const { activeElement: element } = document;
			const { outlineStyle, boxShadow } = getComputedStyle(element);
			return element.matches(wanted) && (outlineStyle !== "none" || boxShadow !== "none" || "invisible");
		}, selector);
		if (there) return assert.equal(there, true, `the focus on ${selector} cannot be seen`);
		await person.page.keyboard.press("Tab");
	}
	assert.fail(`${person.name} does not get to ${selector} with Tab\n${await person.describe()}`);
}

const byId = (id) => `[data-testid="${id}"]`;

test("by keyboard: an account, a room, mute, leave, sign out, sign in", async (t) => {
	const server = await serve(t, { workers: 1 });
	const kim = await arrive(t, "kim");
	const keys = kim.page.keyboard;
	const press = async (selector, key = "Enter") => {
		await tabTo(kim, selector);
		await keys.press(key);
	};
	await kim.open(siteOf(server));

	await press(byId("sign-up"));
	await kim.page.waitForURL("**/oauth/**");
	await tabTo(kim, "[name=name]");
	await keys.type("kim");
	await tabTo(kim, "[name=password]");
	await keys.type(PASSWORD);
	await keys.press("Enter");
	await kim.inLobby();

	await tabTo(kim, byId("room-name"));
	await keys.type("tea");
	await keys.press("Enter");
	await kim.shown(kim.the("room-view"), "the room");
	await kim.shown(kim.the("mic", '[aria-pressed="true"]'), "the microphone is on");
	await keys.press("m");
	await kim.shown(kim.the("mic", '[aria-pressed="false"]'), "the microphone is off");
	await press(byId("camera"), "Space");
	await kim.shown(kim.the("camera", '[aria-pressed="false"]'), "the camera is off");
	await tabTo(kim, byId("chat-input"));
	await keys.type("marvellous"); // has keys in it that switch things elsewhere
	await keys.press("Enter");
	await kim.shown(kim.the("chat-message").getByText("marvellous"));
	await kim.shown(kim.the("mic", '[aria-pressed="false"]'), "the microphone is still off");
	await press(byId("leave"));
	await kim.shown(kim.the("room-name"), "the lobby");

	await press(byId("sign-out"));
	await kim.shown(kim.the("sign-in"), "the welcome page");
	await press(byId("sign-in"));
	await kim.page.waitForURL("**/oauth/**");
	await tabTo(kim, "[name=name]");
	await keys.type("kim");
	await tabTo(kim, "[name=password]");
	kim.expect(/403 \(Forbidden\)/);
	await keys.type("not the password");
	await keys.press("Enter");
	await kim.shown(kim.page.getByRole("alert"), "a sentence about the password");
	await tabTo(kim, "[name=password]");
	await keys.type(PASSWORD);
	await keys.press("Enter");
	await kim.inLobby();
	assert.equal(await kim.the("who").innerText(), "kim");
});

/** Everything fits into the width, and what is named can be seen whole. */
async function fits(person, where, ...ids) {
	const { clientWidth, scrollWidth } = await person.page.evaluate(() => {
		const { clientWidth, scrollWidth } = document.scrollingElement;
		return { clientWidth, scrollWidth };
	});
	assert.ok(scrollWidth <= clientWidth, `${where} is ${scrollWidth} wide, the screen ${clientWidth}`);
	const screen = person.page.viewportSize();
	for (const id of ids) {
		const box = await person.the(id).first().boundingBox();
		const inside =
			box && box.x >= 0 && box.y >= 0 && box.x + box.width <= screen.width && box.y + box.height <= screen.height;
		assert.ok(inside, `${where}: ${id} is at ${JSON.stringify(box)} on ${JSON.stringify(screen)}`);
		const pressed = box.width >= 40 && box.height >= 40;
		if (!["tile", "own-tile", "quality"].includes(id))
			assert.ok(pressed, `${where}: ${id} is too small for a finger: ${JSON.stringify(box)}`);
	}
}

test("on a small phone everything fits and can be pressed", async (t) => {
	const server = await serve(t, { workers: 1 });
	const page = { viewport: { width: 320, height: 568 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 };
	const [[ann], tim] = await Promise.all([people(t, server, ["ann"]), arrive(t, "tim", { page })]);
	await tim.open(siteOf(server));
	await fits(tim, "the welcome page", "sign-in", "sign-up");
	await tim.the("sign-up").tap();
	await tim.page.waitForURL("**/oauth/**");
	await fits(tim, "the sign-up page");
	await tim.page.fill("[name=name]", "tim");
	await tim.page.fill("[name=password]", PASSWORD);
	await tim.page.tap("button[type=submit]");
	await tim.inLobby();
	await fits(tim, "the lobby", "room-name", "join");
	const room = "a-room-with-a-name-that-is-longer-than-any-telephone-is-wide";
	await Promise.all([ann.join(room), tim.join(room)]);
	await Promise.all([tim.sees("ann"), ann.sees("tim")]);
	await tim.shown(tim.the("quality"), "the quality");
	await fits(tim, "the room", "mic", "camera", "settings", "panel-toggle", "leave", "tile", "own-tile", "quality");
	await tim.the("panel-toggle").tap();
	await fits(tim, "the chat", "chat-input", "chat-send");
	await tim.the("chat-input").fill("from the phone");
	await tim.the("chat-send").tap();
	await ann.shown(ann.the("chat-message").getByText("from the phone"));
});

test("the pages let nothing in from outside, and the tests would notice", async (t) => {
	const server = await serve(t, { workers: 1 });
	const eve = await arrive(t, "eve");
	const policies = new Map();
	eve.page.on("response", async (response) =>
		policies.set(new URL(response.url()).pathname, response.headers()["content-security-policy"]));
	await eve.open(siteOf(server));
	await eve.signUp();
	for (const path of ["/", "/oauth/authorize"]) {
		const policy = policies.get(path);
		assert.match(policy, /default-src 'none'/, path);
		assert.match(policy, /frame-ancestors 'none'/, path);
		assert.doesNotMatch(policy, /unsafe|\*/, path);
	}
	eve.expect(/Content Security Policy/, /400 \(Bad Request\)/);
	await eve.page.goto(`${siteOf(server)}oauth/authorize?client_id=nobody`);
	await eve.shown(eve.page.getByRole("alert"), "a sentence about the unknown client");
	await eve.page.goto(siteOf(server));
	const before = eve.console.length;
	const ran = await eve.page.evaluate(() => {
		document.body.append(Object.assign(document.createElement("script"), { textContent: "window.ran = true" }));
		return window.ran;
	});
	assert.equal(ran, undefined, "a script in the page did not run");
	await until("the console says so", () => /Content Security Policy/.test(eve.console.slice(before).join()));
});
