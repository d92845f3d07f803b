// What people are asked before a client gets something: consent, once for each client and scope; what the
// parameters of OpenID Connect ask for beside it (prompt, max_age, id_token_hint); and signing out.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { connect, within } from "../support/client.mjs";
import { authorizeUrl, basic, issuerOf } from "../support/oauth.mjs";
import { Browser } from "../support/page.mjs";
import { startServer } from "../support/server.mjs";

const PASSWORD = "correct horse battery";
const BACK = "https://app.example/cb";
const OUT = "https://app.example/bye?x=1";
const VERIFIER = "v".repeat(43);

let server, base, app, other, own;

before(async () => {
	server = await startServer({ workers: 2, clock: true });
	base = await issuerOf(server);
	for (const name of ["ann", "bob"]) await server.rpc("user.add", { name, password: PASSWORD });
	const register = (name, more) =>
		server.rpc("client.add", {
			name,
			grants: ["authorization_code"],
			redirect_uris: [BACK],
			post_logout_redirect_uris: [OUT],
			...more,
		});
	[app, other, own] = [await register("the <b>app</b>"), await register("other"), await register("own", { trusted: true })];
});

after(() => server.stop());

const address = ({ client_id }, more) =>
	authorizeUrl(base, { client_id, redirect_uri: BACK, scope: "openid rooms:join", verifier: VERIFIER, state: "s", ...more });

const at = (browser, name) => browser.location && new URL(browser.location, base).searchParams.get(name);

async function signIn(browser, url, name = "ann") {
	await browser.open(url);
	assert.equal(browser.title, "Sign in");
	return browser.submit({ name, password: PASSWORD });
}

/** A browser in which somebody is signed in who was asked nothing. */
async function signedIn(name = "ann") {
	const browser = new Browser();
	await signIn(browser, address(own), name);
	assert.ok(at(browser, "code"));
	return browser;
}

async function tokens(client, code) {
	const response = await fetch(`${base}/oauth/token`, {
		method: "POST",
		headers: basic(client),
		body: new URLSearchParams({ grant_type: "authorization_code", code, redirect_uri: BACK, code_verifier: VERIFIER }),
	});
	assert.equal(response.status, 200);
	return response.json();
}

describe("consent", () => {
	test("is asked once, and again when the client wants more", async () => {
		const browser = await signedIn();
		await browser.open(address(app, { prompt: "none" }));
		assert.equal(at(browser, "error"), "consent_required");
		await browser.open(address(app));
		assert.equal(browser.title, "Allow access?");
		assert.match(browser.html, /the &lt;b&gt;app&lt;\/b&gt;/, "the client's name is text");
		assert.match(browser.html, /https:\/\/app\.example</, "where it leads to");
		assert.match(browser.html, /Join rooms/);
		await browser.submit({ decision: "allow" });
		assert.ok(at(browser, "code"), browser.html);
		assert.equal(at(browser, "state"), "s");
		assert.equal(at(browser, "iss"), base);

		await browser.open(address(app));
		assert.ok(at(browser, "code"), "remembered");
		await browser.open(address(app, { scope: "openid" }));
		assert.ok(at(browser, "code"), "less is covered");
		await browser.open(address(app, { prompt: "none" }));
		assert.ok(at(browser, "code"));
		await browser.open(address(app, { scope: "openid rooms:create" }));
		assert.equal(browser.title, "Allow access?");
		await browser.submit({ decision: "allow" });
		await browser.open(address(app, { scope: "openid rooms:join rooms:create" }));
		assert.ok(at(browser, "code"), "what was allowed before stays allowed");
		await browser.open(address(other));
		assert.equal(browser.title, "Allow access?", "another client has to ask for itself");
		const bob = await signedIn("bob");
		await bob.open(address(app));
		assert.equal(bob.title, "Allow access?", "and so have other people");
	});

	test("that is refused goes back as access_denied, and is asked again", async () => {
		const browser = await signedIn("bob");
		await browser.open(address(other));
		await browser.submit({ decision: "deny" });
		assert.equal(at(browser, "error"), "access_denied");
		assert.equal(at(browser, "code"), null);
		await browser.open(address(other));
		assert.equal(browser.title, "Allow access?");
	});

	test("cannot be given by a form from elsewhere, nor without a decision", async () => {
		const browser = await signedIn("bob");
		await browser.open(address(other));
		await browser.submit({ decision: "allow", csrf: "x".repeat(43) });
		assert.equal(browser.status, 403);
		assert.match(browser.html, /role="alert"/);
		await browser.submit({});
		assert.equal(browser.status, 403);
		const nobody = new Browser();
		await nobody.open(address(other));
		const { csrf } = nobody.filled();
		const action = address(other).href.replace("/oauth/authorize", "/oauth/consent");
		await nobody.open(action, { csrf, decision: "allow" });
		assert.equal(nobody.title, "Sign in", "nor by nobody");
	});

	test("to a program on one's own machine, which anybody can claim to be, is not remembered", async () => {
		const local = await server.rpc("client.add", {
			name: "tool", grants: ["authorization_code"], redirect_uris: ["http://127.0.0.1/"], public: true,
		});
		const browser = await signedIn();
		for (let round = 0; round < 2; round++) {
			await browser.open(address(local, { redirect_uri: "http://127.0.0.1:9/" }));
			assert.equal(browser.title, "Allow access?");
			await browser.submit({ decision: "allow" });
			assert.ok(at(browser, "code"));
		}
	});
});

const leaving = (more) => `${base}/oauth/logout?${new URLSearchParams(more)}`;

describe("prompt, max_age and id_token_hint", () => {
	test("prompt=login asks for the password, prompt=consent asks again, both do both", async () => {
		const browser = await signedIn();
		await browser.open(address(own, { prompt: "login" }));
		assert.equal(browser.title, "Sign in");
		await browser.submit({ name: "ann", password: PASSWORD });
		assert.ok(at(browser, "code"));
		await browser.open(address(own, { prompt: "consent" }));
		assert.equal(browser.title, "Allow access?");
		await signIn(browser, address(own, { prompt: "login consent" }));
		assert.equal(browser.title, "Allow access?");
		await browser.submit({ decision: "allow" });
		assert.ok(at(browser, "code"));
	});

	test("prompt=select_account offers the account, or another one", async () => {
		const browser = await signedIn();
		await browser.open(address(own, { prompt: "select_account" }));
		assert.equal(browser.title, "Continue?");
		assert.match(browser.html, /<strong>ann<\/strong>/);
		const elsewhere = /href="([^"]*)">Use another account/.exec(browser.html)[1].replaceAll("&amp;", "&");
		await browser.submit({ decision: "allow" });
		assert.ok(at(browser, "code"));
		await signIn(browser, new URL(elsewhere, base), "bob");
		assert.ok(at(browser, "code"), "who has just chosen is not asked again");
	});

	test("what makes no sense goes back as invalid_request", async () => {
		const browser = await signedIn();
		for (const [more, error] of [
			[{ prompt: "none login" }, "invalid_request"],
			[{ prompt: "dance" }, "invalid_request"],
			[{ prompt: "login dance" }, "invalid_request"],
			[{ max_age: "-1" }, "invalid_request"],
			[{ max_age: "soon" }, "invalid_request"],
			[{ response_mode: "fragment" }, "invalid_request"],
			[{ response_type: "code id_token" }, "unsupported_response_type"],
			[{ request: "e30." }, "request_not_supported"],
			[{ request_uri: "https://app.example/r" }, "request_uri_not_supported"],
			[{ registration: "{}" }, "registration_not_supported"],
			[{ id_token_hint: "e30.e30.AA" }, "invalid_request"],
		]) {
			await browser.open(address(own, more));
			assert.equal(browser.status, 303, JSON.stringify(more));
			assert.equal(at(browser, "error"), error, JSON.stringify(more));
			assert.equal(at(browser, "state"), "s");
		}
	});

	test("what is only a wish changes nothing", async () => {
		const browser = await signedIn();
		const wishes = { ui_locales: "de fr", claims_locales: "de", display: "popup", acr_values: "1 2", claims: "{}", extra: "1" };
		await browser.open(address(own, wishes));
		assert.ok(at(browser, "code"));
	});

	test("nobody signed in is login_required for prompt=none", async () => {
		const browser = new Browser();
		await browser.open(address(own, { prompt: "none" }));
		assert.equal(at(browser, "error"), "login_required");
	});

	test("an ID token says who it has to be, also when it has expired", async () => {
		const browser = await signedIn();
		await browser.open(address(own));
		const { id_token, access_token } = await tokens(own, at(browser, "code"));
		const asked = { prompt: "none", id_token_hint: id_token };
		await browser.open(address(own, asked));
		assert.ok(at(browser, "code"));
		server.ahead(2 * 24 * 3600);
		try {
			await browser.open(address(own, asked));
			assert.ok(at(browser, "code"), "expired");
			const bob = await signedIn("bob");
			await bob.open(address(own, asked));
			assert.equal(at(bob, "error"), "login_required");
			await bob.open(address(own, { id_token_hint: id_token }));
			assert.equal(bob.title, "Sign in");
			assert.equal(bob.filled().name, "ann");
			await bob.submit({ name: "bob", password: PASSWORD });
			assert.equal(at(bob, "error"), "login_required");
			for (const hint of [access_token, id_token.slice(0, -4) + "AAAA"]) {
				await browser.open(address(own, { prompt: "none", id_token_hint: hint }));
				assert.equal(at(browser, "error"), "invalid_request", "an access token or a forged one is no hint");
			}
			await browser.open(address(app, asked));
			assert.equal(at(browser, "error"), "invalid_request", "nor one of another client");
			await browser.open(address(own, { max_age: "3600" }));
			assert.equal(browser.title, "Sign in", "max_age");
			await browser.open(address(own, { max_age: "3600", prompt: "none" }));
			assert.equal(at(browser, "error"), "login_required");
			await signIn(browser, address(own, { max_age: "3600", nonce: "n" }));
			const { id_token: fresh } = await tokens(own, at(browser, "code"));
			const claims = JSON.parse(Buffer.from(fresh.split(".")[1], "base64url"));
			assert.ok(claims.auth_time >= claims.iat - 60);
			assert.equal(claims.nonce, "n");
		} finally {
			server.ahead(0);
		}
	});

	test("max_age=0 asks for the password, however fresh the login is", async () => {
		const browser = await signedIn();
		await browser.open(address(own, { max_age: "0" }));
		assert.equal(browser.title, "Sign in");
	});

	test("an ID token whose key has gone says nothing any more, and hinders nobody", async () => {
		const browser = await signedIn();
		await browser.open(address(own));
		const { id_token } = await tokens(own, at(browser, "code"));
		const { kid } = JSON.parse(Buffer.from(id_token.split(".")[0], "base64url"));
		await server.rpc("key.rotate", { now: true });
		await server.rpc("key.remove", { kid });
		await browser.open(address(own, { prompt: "none", id_token_hint: id_token }));
		assert.equal(at(browser, "error"), "login_required", "it might be somebody else's");
		await browser.open(address(own, { id_token_hint: id_token }));
		assert.ok(at(browser, "code"));
		await browser.open(address(app, { id_token_hint: id_token }));
		assert.equal(at(browser, "error"), "invalid_request", "one of another client is none still");
		await browser.open(leaving({ id_token_hint: id_token, post_logout_redirect_uri: "https://evil.example/" }));
		assert.equal(browser.status, 400);
		await browser.open(leaving({ id_token_hint: id_token, post_logout_redirect_uri: OUT }));
		assert.equal(browser.title, "Sign out?", "anybody could have written it");
		await browser.submit({ decision: "yes" });
		assert.equal(browser.location, OUT);
	});

	test("login_hint stands in the form, as text", async () => {
		const browser = new Browser();
		await browser.open(address(own, { login_hint: '"><script>1</script>' }));
		assert.match(browser.html, /value="&quot;&gt;&lt;script&gt;/);
		assert.doesNotMatch(browser.html, /<script/);
	});
});

describe("signing out", () => {
	test("by a page of our own asks first", async () => {
		const browser = await signedIn();
		const before = browser.cookies.get("signalbox");
		await browser.open(leaving({}));
		assert.equal(browser.title, "Sign out?");
		await browser.submit({ decision: "yes", csrf: "x".repeat(43) });
		assert.equal(browser.status, 403);
		await browser.open(leaving({}));
		await browser.submit({ decision: "yes" });
		assert.equal(browser.title, "Signed out");
		browser.cookies.set("signalbox", before);
		await browser.open(address(own));
		assert.equal(browser.title, "Sign in", "the cookie is worth nothing any more");
		await browser.open(leaving({}));
		assert.equal(browser.title, "Signed out");
	});

	test("by a client with its ID token asks nobody, and returns with state", async () => {
		const browser = await signedIn();
		await browser.open(address(own));
		const { id_token } = await tokens(own, at(browser, "code"));
		await browser.open(leaving({ id_token_hint: id_token, post_logout_redirect_uri: OUT, state: "a&b" }));
		assert.equal(browser.status, 303);
		assert.equal(browser.location, `${OUT}&state=a%26b`);
		await browser.open(address(own, { prompt: "none" }));
		assert.equal(at(browser, "error"), "login_required");
	});

	test("by a client without one, or with somebody else's, asks", async () => {
		const bob = await signedIn("bob");
		await bob.open(address(own));
		const { id_token } = await tokens(own, at(bob, "code"));
		for (const more of [{ client_id: own.client_id }, { id_token_hint: id_token }]) {
			const browser = await signedIn();
			await browser.open(leaving({ ...more, post_logout_redirect_uri: OUT }));
			assert.equal(browser.title, "Sign out?");
			assert.match(browser.headers.get("content-security-policy"), /form-action 'self' https:\/\/app\.example$/);
			await browser.submit({ decision: "yes" });
			assert.equal(browser.location, OUT);
		}
	});

	test("a client's form comes again as a link, with which the cookie comes", async () => {
		const browser = await signedIn();
		await browser.open(leaving({}), { client_id: own.client_id, post_logout_redirect_uri: OUT });
		assert.equal(browser.status, 303);
		assert.ok(browser.location.startsWith("/oauth/logout?client_id="));
		await browser.open(new URL(browser.location, base));
		assert.equal(browser.title, "Sign out?");
	});

	test("leads nowhere that is not registered exactly", async () => {
		const browser = await signedIn();
		await browser.open(address(own));
		const { id_token } = await tokens(own, at(browser, "code"));
		for (const more of [
			{ post_logout_redirect_uri: OUT },
			{ post_logout_redirect_uri: OUT, client_id: "_nobody" },
			{ post_logout_redirect_uri: `${OUT}2`, client_id: own.client_id },
			{ post_logout_redirect_uri: "https://evil.example/", id_token_hint: id_token },
			{ post_logout_redirect_uri: BACK, id_token_hint: id_token },
			{ post_logout_redirect_uri: OUT, id_token_hint: "e30.e30.AA" },
			{ post_logout_redirect_uri: OUT, id_token_hint: id_token, client_id: app.client_id },
		]) {
			await browser.open(leaving(more));
			assert.equal(browser.status, 400, JSON.stringify(more));
			assert.equal(browser.location, null);
		}
		await browser.open(address(own));
		assert.ok(at(browser, "code"), "and nobody was signed out");
	});

	test("ends what the login gave, and no other's", async () => {
		const browser = await signedIn();
		const elsewhere = await signedIn();
		const opened = [];
		for (const one of [browser, elsewhere]) {
			await one.open(address(own));
			const given = await tokens(own, at(one, "code"));
			opened.push({ ...given, client: await connect(server, { token: given.access_token }) });
		}
		await browser.open(address(own));
		const code = at(browser, "code");
		await browser.open(leaving({ id_token_hint: opened[0].id_token }));
		assert.equal(browser.title, "Signed out");
		assert.equal((await within(opened[0].client.closed, 5000, "the close")).code, 4501);
		await opened[1].client.call("room.list");
		await assert.rejects(tokens(own, code), "a code that is still on its way is worth nothing");
		await opened[1].client.close();
	});

	test("is in the audit, as are consent and sign-in", async () => {
		for (const action of ["sign-in", "consent", "sign-out"])
			assert.match(server.log, new RegExp(`audit.*action="?${action}"? outcome="?ok"? actor="?ann`));
		assert.match(server.log, /audit.*action="?consent"? outcome="?access_denied"? actor="?bob/);
	});
});
