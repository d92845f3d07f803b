// The issuer's pages in a browser whose scripts are off: everybody gets through all of them, on a telephone
// and at a desk. PICTURES=FOLDER keeps a picture of each page, small and large, light and dark.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch, siteOf } from "../support/browser.mjs";
import { authorizeUrl } from "../support/oauth.mjs";
import { startServer } from "../support/server.mjs";
import { totp } from "../support/totp.mjs";

const PASSWORD = "correct horse battery";
const pictures = process.env.PICTURES;
const SMALL = { width: 390, height: 844 };
const LARGE = { width: 1280, height: 800 };

let server, site, browser, clients;

before(async () => {
	server = await startServer({ workers: 1, clock: true, config: { issuer: { sign_up: "open" } } });
	site = siteOf(server);
	browser = await launch();
	const add = (name, more) =>
		server.rpc("client.add", {
			name, grants: ["authorization_code", "device_code"], redirect_uris: ["http://localhost/"], public: true,
			scope: "rooms:join rooms:create datasets:read admin", ...more,
		});
	clients = { app: await add("A notebook with rather a long name for a program") };
});

after(async () => {
	await browser.close();
	await server.stop();
});

/** Somebody with a browser of their own that runs no scripts. */
async function arrive(t) {
	const context = await browser.newContext({ javaScriptEnabled: false, viewport: SMALL });
	t.after(() => context.close());
	const page = await context.newPage();
	page.setDefaultTimeout(10_000);
	return page;
}

const authorize = (more) =>
	authorizeUrl(site.slice(0, -1), {
		client_id: clients.app.client_id, redirect_uri: site, scope: "openid profile rooms:join datasets:read", ...more,
	}).href;

/** What holds of every page; it has this title. */
async function sees(page, title, name = title) {
	const found = await page.evaluate(() => {
		const wrong = [];
		const { scrollWidth, clientWidth } = document.scrollingElement;
		if (scrollWidth > clientWidth) wrong.push(`it is ${scrollWidth} wide on a screen of ${clientWidth}`);
		for (const input of document.querySelectorAll("input:not([type=hidden], [hidden])")) {
			if (!input.labels.length) wrong.push(`${input.name} has no label`);
			const ids = (input.getAttribute("aria-describedby") ?? "").split(" ").filter(Boolean);
			for (const id of ids) if (!document.getElementById(id)) wrong.push(`${input.name} is described by nothing (${id})`);
		}
		for (const button of document.querySelectorAll("button")) {
			const { height } = button.getBoundingClientRect();
			if (height < 40) wrong.push(`"${button.innerText}" is ${height} high`);
		}
		if (document.querySelectorAll("h1").length !== 1) wrong.push("not one h1");
		if (!document.documentElement.lang) wrong.push("no language");
		return { title: document.querySelector("h1")?.innerText, wrong };
	});
	assert.deepEqual(found, { title, wrong: [] }, name);
	if (pictures) await picture(page, name);
}

const shown = new Set();

async function picture(page, name) {
	if (shown.has(name)) return;
	shown.add(name);
	mkdirSync(pictures, { recursive: true });
	for (const [size, viewport] of [["small", SMALL], ["large", LARGE]]) {
		await page.setViewportSize(viewport);
		for (const colorScheme of ["light", "dark"]) {
			await page.emulateMedia({ colorScheme });
			const path = join(pictures, `${name.replaceAll(/\W+/g, "-")}-${size}-${colorScheme}.png`);
			await page.screenshot({ path, fullPage: true });
		}
	}
	await page.setViewportSize(SMALL);
}

const press = (page, name) => page.getByRole("button", { name }).click();
const follow = (page, name) => page.getByRole("link", { name }).click();

async function signIn(page, name, password = PASSWORD) {
	await page.fill("[name=name]", name);
	await page.fill("[name=password]", password);
	await press(page, "Sign in");
}

test("sign up, consent, sign in again, sign out", async (t) => {
	const page = await arrive(t);
	await page.goto(authorize());
	await sees(page, "Sign in");
	await follow(page, /Sign up/);
	await sees(page, "Sign up");
	await page.fill("[name=name]", "zoe");
	await page.fill("[name=display_name]", "Zoë <b>");
	await page.fill("[name=password]", PASSWORD);
	await press(page, "Sign up");
	await sees(page, "Allow access?");
	await press(page, "Deny");
	assert.equal(new URL(page.url()).searchParams.get("error"), "access_denied");
	await page.goto(authorize());
	await press(page, "Allow");
	assert.ok(new URL(page.url()).searchParams.get("code"));

	await page.goto(authorize({ prompt: "login" }));
	await signIn(page, "zoe", "not the password");
	await sees(page, "Sign in", "Sign in, refused");
	assert.match(await page.getByRole("alert").innerText(), /password is wrong/);
	assert.equal(await page.locator("[name=name]").inputValue(), "zoe", "what was typed is there still");
	await page.fill("[name=password]", PASSWORD);
	await press(page, "Sign in");
	await press(page, "Allow");
	await page.goto(authorize({ prompt: "select_account" }));
	await sees(page, "Allow access?", "Allow access, chosen");

	await page.goto(`${site}oauth/logout`);
	await sees(page, "Sign out?");
	await press(page, "Sign out");
	await sees(page, "Signed out");
	await page.goto(`${site}oauth/account`);
	await sees(page, "Sign in", "Sign in to the account");
});

test("the account: password, second factor, recovery codes, what is signed in", async (t) => {
	await server.rpc("user.add", { name: "yan", password: PASSWORD });
	const page = await arrive(t);
	await page.goto(`${site}oauth/account`);
	await signIn(page, "yan");
	const elsewhere = await arrive(t);
	await elsewhere.goto(authorize());
	await signIn(elsewhere, "yan");
	await press(elsewhere, "Allow");
	await page.reload();
	await sees(page, "Your account");

	await follow(page, "Change the password");
	await sees(page, "Change the password");
	await page.fill("[name=old]", "not the password");
	await page.fill("[name=password]", "another password");
	await press(page, "Change the password");
	await sees(page, "Change the password", "Change the password, refused");
	await page.fill("[name=old]", PASSWORD);
	await page.fill("[name=password]", "another password");
	await press(page, "Change the password");
	await sees(page, "Password changed");
	await follow(page, /Back to your account/);
	assert.equal(await page.getByRole("button", { name: "Sign out there" }).count(), 0);

	await follow(page, /Set up/);
	await sees(page, "Set up a second factor");
	assert.ok(await page.locator("svg path").getAttribute("d"), "there is a picture");
	await page.fill("[name=code]", "000000");
	const secret = await page.locator(".secret").innerText();
	await press(page, "Turn it on");
	await sees(page, "Set up a second factor", "Set up, refused");
	assert.equal(await page.locator(".secret").innerText(), secret, "the app need not read another one");
	await page.fill("[name=code]", totp(secret));
	await press(page, "Turn it on");
	await sees(page, "Your recovery codes");
	const codes = await page.locator(".codes code").allInnerTexts();
	await follow(page, /I have them/);
	await sees(page, "Your account", "Your account, with a second factor");
	await follow(page, "Recovery codes");
	await sees(page, "Recovery codes");

	const again = await arrive(t);
	await again.goto(`${site}oauth/account`);
	await signIn(again, "yan", "another password");
	await sees(again, "One more step");
	await again.fill("[name=code]", totp(secret, 0));
	await press(again, "Sign in");
	await sees(again, "One more step", "One more step, refused");
	await again.fill("[name=code]", codes[3]);
	await press(again, "Sign in");
	await follow(again, /Second factor: on/);
	await sees(again, "Second factor");
	await again.fill("[name=password]", "another password");
	await again.fill("[name=code]", codes[4]);
	await press(again, "Turn it off");
	await sees(again, "Second factor is off");
});

test("a device is connected, by its code and by its link", async (t) => {
	await server.rpc("user.add", { name: "xu", password: PASSWORD });
	const ask = async () =>
		(await fetch(`${site}oauth/device_authorization`, {
			method: "POST",
			headers: { "content-type": "application/x-www-form-urlencoded" },
			body: `client_id=${clients.app.client_id}&scope=rooms%3Ajoin`,
		})).json();
	const page = await arrive(t);
	const first = await ask();
	await page.goto(first.verification_uri);
	await sees(page, "Sign in", "Sign in for a device");
	await signIn(page, "xu");
	await sees(page, "Connect a device");
	await page.fill("[name=user_code]", "BBBB-BBBB");
	await press(page, "Go on");
	await sees(page, "Connect a device", "Connect a device, refused");
	await page.fill("[name=user_code]", first.user_code.toLowerCase());
	await press(page, "Go on");
	await sees(page, "Connect this device?");
	await press(page, "Yes, connect it");
	await sees(page, "Device connected");
	const second = await ask();
	const other = await arrive(t);
	await other.goto(second.verification_uri_complete);
	await signIn(other, "xu");
	await sees(other, "Connect this device?", "Connect this device, by link");
	assert.ok((await other.innerText("main")).includes(second.user_code));
	await press(other, "No");
	await sees(other, "Device refused");
});

test("an invitation is a link, and a page that is filled in", async (t) => {
	const invited = await startServer({ workers: 1, config: { issuer: { sign_up: "invitation" } } });
	t.after(() => invited.stop());
	const { url } = await invited.rpc("invitation.add", { note: "for wes" });
	const page = await arrive(t);
	await page.goto(url);
	await sees(page, "Sign up", "Sign up by invitation");
	await page.fill("[name=invitation]", "guessed");
	await page.fill("[name=name]", "wes");
	await page.fill("[name=password]", PASSWORD);
	await press(page, "Sign up");
	await sees(page, "Sign up", "Sign up, not invited");
	await page.goto(url);
	await page.fill("[name=name]", "wes");
	await page.fill("[name=password]", PASSWORD);
	await press(page, "Sign up");
	await sees(page, "Your account", "Your account, new");
});

test("what goes wrong is said on a page", async (t) => {
	const page = await arrive(t);
	await page.goto(`${site}oauth/authorize?client_id=nobody&redirect_uri=http://localhost/`);
	await sees(page, "Unknown client");
	await page.goto(authorize({ redirect_uri: "https://evil.example/" }));
	await sees(page, "Wrong return address");
	await page.goto(`${site}oauth/logout?post_logout_redirect_uri=https://evil.example/`);
	await sees(page, "Bad request");
});
