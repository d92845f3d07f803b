// The sign-in of the library in tabs that share it: refresh tokens that are good once are renewed by one tab
// at a time, a copy that slept catches up, and signing out in one signs out all, at the issuer, too.
import assert from "node:assert/strict";
import { test } from "node:test";
import { atEnd, launch, serve, siteOf } from "../support/browser.mjs";

const PASSWORD = "correct horse battery";

test("tabs that share a sign-in renew it one after the other, and sign out together", async (t) => {
	const server = await serve(t, { workers: 2, clock: true });
	const site = siteOf(server);
	await server.rpc("user.add", { name: "ann", password: PASSWORD });
	const browser = await launch();
	atEnd(t, () => browser.close());
	const context = await browser.newContext();
	context.setDefaultTimeout(15_000);
	const first = await context.newPage();
	await first.goto(site);
	await Promise.all([
		first.waitForURL("**/oauth/**"),
		first.evaluate(async () => {
			const { signIn } = await import("/sdk/signin.js");
			await signIn({
				issuer: location.origin, clientId: "demo", redirectUri: `${location.origin}/`,
				scope: "openid profile offline_access rooms:join",
			});
		}),
	]);
	await first.fill("[name=name]", "ann");
	await first.fill("[name=password]", PASSWORD);
	await first.getByRole("button", { name: "Sign in" }).click();
	await first.getByTestId("who").waitFor();

	/** Another tab with a copy of the first one's session storage. */
	const copy = async () => {
		const opened = context.waitForEvent("page");
		await first.evaluate(() => void window.open("/health"));
		const page = await opened;
		await page.waitForLoadState();
		return page;
	};
	const call = (page, name, ...args) =>
		page.evaluate(async ([method, given]) => (await import("/sdk/signin.js"))[method](...given), [name, args]);
	const renew = (page) => call(page, "token", { fresh: true });
	const held = async (page) => (await call(page, "signedIn"))?.refreshToken;
	const taken = async (token) =>
		(await fetch(`${site}oauth/userinfo`, { headers: { authorization: `Bearer ${token}` } })).status;
	const tabs = [first, await copy(), await copy()];
	const begun = await held(first);
	assert.match(begun, /^sbr_/);

	// all at once, again and again, each time past the half minute in which an old one would be forgiven
	for (let round = 1; round <= 3; round++) {
		const tokens = await Promise.all(tabs.map(renew));
		assert.equal(new Set(await Promise.all(tabs.map(held))).size, 1, `round ${round}`);
		assert.deepEqual(new Set(await Promise.all(tokens.map(taken))), new Set([200]));
		server.ahead(60 * round);
	}
	assert.notEqual(await held(first), begun);

	// a tab that comes late with what it was copied with asks the others first
	const late = await copy();
	await late.evaluate((old) => {
		const key = "signalbox.signin.tokens";
		sessionStorage.setItem(key, JSON.stringify({ ...JSON.parse(sessionStorage.getItem(key)), refreshToken: old, renewals: 1 }));
	}, begun);
	const token = await renew(late);
	assert.equal(await taken(token), 200);
	assert.equal(await held(late), await held(first));
	assert.doesNotMatch(server.log, /refresh\.reuse/);

	const [refreshToken, access] = [await held(first), await renew(tabs[1])];
	await call(tabs[1], "signOut");
	for (const page of [...tabs, late])
		await page.waitForFunction(() => sessionStorage.getItem("signalbox.signin.tokens") === null);
	assert.equal(await taken(access), 401);
	const body = new URLSearchParams({ grant_type: "refresh_token", client_id: "demo", refresh_token: refreshToken });
	assert.equal((await fetch(`${site}oauth/token`, { method: "POST", body })).status, 400);
});
