// oidc-client-ts, the library that most pages sign in with, unmodified, in a page of another origin: it finds
// the issuer, signs in, renews in silence, and signs out.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { test } from "node:test";
import { atEnd, launch, serve, siteOf } from "../support/browser.mjs";

const PASSWORD = "correct horse battery";
const library = join(import.meta.dirname, "../node_modules/oidc-client-ts/dist/browser/oidc-client-ts.min.js");
const PAGE = "<!doctype html><meta charset=utf-8><title>app</title><script src=/library.js></script><h1>app</h1>";

/** A page of its own server; the issuer's site, another origin. */
async function serveApp(t) {
	const app = createServer((request, response) => {
		const script = request.url === "/library.js";
		response.setHeader("content-type", script ? "text/javascript" : "text/html");
		response.end(script ? readFileSync(library) : PAGE);
	});
	await new Promise((done) => app.listen(0, "127.0.0.1", done));
	atEnd(t, () => new Promise((done) => app.close(done)));
	return `http://localhost:${app.address().port}`;
}

test("a page signs somebody in, renews in silence, and signs out", async (t) => {
	const app = await serveApp(t);
	const server = await serve(t, { workers: 1, config: { server: { origins: [app] } } });
	const site = siteOf(server);
	await server.rpc("user.add", { name: "ann", display_name: "Ann", password: PASSWORD });
	const { client_id } = await server.rpc("client.add", {
		name: "The app",
		grants: ["authorization_code"],
		redirect_uris: [`${app}/`],
		post_logout_redirect_uris: [`${app}/bye`],
		public: true,
		trusted: true,
	});
	const browser = await launch();
	atEnd(t, () => browser.close());
	const page = await browser.newPage();
	page.setDefaultTimeout(15_000);
	const settings = {
		authority: site.slice(0, -1),
		client_id,
		redirect_uri: `${app}/`,
		post_logout_redirect_uri: `${app}/bye`,
		scope: "openid profile rooms:join",
	};
	/** Calls a method of a new UserManager in the page. */
	const call = (method, ...args) =>
		page.evaluate(
			async ([options, name, given]) => {
				const { UserManager, WebStorageStateStore } = window.oidc;
				const store = new WebStorageStateStore({ store: window.localStorage });
				const user = await new UserManager({ ...options, userStore: store })[name](...given);
				return user && { profile: user.profile, token: user.access_token, scope: user.scope, state: user.state };
			},
			[settings, method, args],
		);

	await page.goto(`${app}/`);
	await Promise.all([page.waitForURL("**/oauth/**"), call("signinRedirect", { state: "where I was", nonce: "n-1" }).catch(() => {})]);
	await page.fill("[name=name]", "ann");
	await page.fill("[name=password]", PASSWORD);
	await page.click("button[type=submit]");
	await page.waitForURL(`${app}/?**`);
	const user = await call("signinRedirectCallback");
	assert.equal(user.profile.sub, "ann");
	assert.equal(user.profile.name, "Ann");
	assert.equal(user.state, "where I was");
	assert.equal(user.scope, "openid profile rooms:join");
	const used = await page.evaluate(
		async ([address, token]) =>
			(await fetch(`${address}v1/rpc`, {
				method: "POST",
				headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
				body: '{"jsonrpc":"2.0","id":1,"method":"room.list"}',
			})).status,
		[site, user.token],
	);
	assert.equal(used, 200);

	// by a frame that shows nothing: only the redirect back is a page, and that is the app's own
	const renewed = page.waitForEvent("framenavigated", (frame) => frame.parentFrame() && frame.url().startsWith(`${app}/?`));
	const waiting = call("signinSilent");
	const frame = await renewed;
	await frame.waitForFunction(() => window.oidc); // navigated is not yet loaded
	await frame.evaluate(async (options) => {
		const { UserManager } = window.oidc;
		await new UserManager(options).signinSilentCallback();
	}, settings);
	const again = await waiting;
	assert.equal(again.profile.sub, "ann");
	assert.notEqual(again.token, user.token);

	await Promise.all([page.waitForURL(`${app}/bye**`), call("signoutRedirect").catch(() => {})]);
	await page.goto(`${app}/`);
	await Promise.all([page.waitForURL("**/oauth/**"), call("signinRedirect").catch(() => {})]);
	assert.equal(await page.locator("h1").innerText(), "Sign in", "signed out at the issuer, too");
});
