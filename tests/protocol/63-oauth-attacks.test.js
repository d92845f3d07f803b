// What somebody tries at the endpoints where tokens are given and taken back, over HTTP: in the wrong way,
// from a page that may not, with what belongs to another client.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { authorizeUrl, basic, challengeOf, issuerOf } from "../support/oauth.mjs";
import { Browser } from "../support/page.mjs";
import { startServer } from "../support/server.mjs";

const PASSWORD = "correct horse battery";
const REDIRECT_URI = "https://app.example/cb";
const OTHER_URI = "https://app.example/other";
const VERIFIER = "v".repeat(43);
const POSTED = ["/oauth/token", "/oauth/revoke", "/oauth/introspect", "/oauth/device_authorization"];
const browser = new Browser();
let server, base, app, thief, secret;

before(async () => {
	server = await startServer({ workers: 2, config: { server: { origins: ["https://app.example"] } } });
	base = await issuerOf(server);
	await server.rpc("user.add", { name: "ann", password: PASSWORD });
	const grants = ["authorization_code", "refresh_token", "device_code"];
	const more = { redirect_uris: [REDIRECT_URI, OTHER_URI], public: true, trusted: true };
	app = (await server.rpc("client.add", { name: "app", grants, ...more })).client_id;
	thief = (await server.rpc("client.add", { name: "thief", grants, ...more })).client_id;
	secret = await server.rpc("client.add", { name: "backend", grants: ["client_credentials"] });
	await browser.open(address());
	await browser.submit({ name: "ann", password: PASSWORD });
	assert.equal(browser.status, 303, browser.html);
});

after(() => server.stop());

const address = (more) =>
	authorizeUrl(base, {
		client_id: app, redirect_uri: REDIRECT_URI, scope: "openid offline_access rooms:join", verifier: VERIFIER, ...more,
	});

async function code() {
	await browser.open(address());
	return new URL(browser.location).searchParams.get("code");
}

const post = (path, body, headers = {}) =>
	fetch(base + path, {
		method: "POST",
		headers: { "content-type": "application/x-www-form-urlencoded", ...headers },
		body: typeof body === "string" ? body : new URLSearchParams(body).toString(),
	});

async function ask(fields, path = "/oauth/token") {
	const response = await post(path, fields);
	const text = await response.text();
	return { status: response.status, ...(text && JSON.parse(text)) };
}

const redeem = (text, more = {}) =>
	ask({ grant_type: "authorization_code", client_id: app, redirect_uri: REDIRECT_URI, code: text, code_verifier: VERIFIER, ...more });

// ---- what belongs to another ----

test("a stolen code is of no use: by another client, without the verifier, for another address", async () => {
	for (const [more, survives] of [
		[{ client_id: thief }, true],
		[{ code_verifier: "w".repeat(43) }, false],
		[{ redirect_uri: OTHER_URI }, false],
	]) {
		const text = await code();
		assert.equal((await redeem(text, more)).error, "invalid_grant", JSON.stringify(more));
		// whoever guesses has one try; another client has none, and does its owner no harm
		assert.equal((await redeem(text)).status, survives ? 200 : 400);
	}
	assert.equal((await redeem(await code(), { code_verifier: "" })).error, "invalid_request");
	assert.equal((await redeem(await code(), { redirect_uri: "" })).error, "invalid_request");
});

test("PKCE cannot be talked down", async () => {
	for (const more of [
		{ code_challenge_method: "plain", code_challenge: VERIFIER },
		{ code_challenge_method: undefined },
		{ code_challenge: undefined, code_challenge_method: undefined },
		{ code_challenge: "a" },
	]) {
		await browser.open(address(more));
		assert.equal(new URL(browser.location).searchParams.get("error"), "invalid_request", JSON.stringify(more));
	}
	// the challenge itself is not the verifier
	assert.equal((await redeem(await code(), { code_verifier: challengeOf(VERIFIER) })).error, "invalid_grant");
});

test("a stolen refresh token is of no use to another client, nor can that end the sign-in", async () => {
	const tokens = await redeem(await code());
	assert.equal((await ask({ grant_type: "refresh_token", client_id: thief, refresh_token: tokens.refresh_token })).error, "invalid_grant");
	assert.equal((await ask({ client_id: thief, token: tokens.refresh_token }, "/oauth/revoke")).error, "unauthorized_client");
	assert.equal((await ask({ client_id: thief, token: tokens.access_token }, "/oauth/revoke")).error, "unauthorized_client");
	assert.equal((await ask({ grant_type: "refresh_token", client_id: app, refresh_token: tokens.refresh_token })).status, 200);
	// and none is a code, an access token or an assertion
	assert.equal((await redeem(tokens.refresh_token)).error, "invalid_grant");
	const response = await fetch(`${base}/oauth/userinfo`, { headers: { authorization: `Bearer ${tokens.refresh_token}` } });
	assert.equal(response.status, 401);
	assert.equal((await ask({ grant_type: "refresh_token", client_id: app, refresh_token: tokens.access_token })).error, "invalid_grant");
});

test("a stolen device code is of no use to another client", async () => {
	const device = await ask({ client_id: app, scope: "rooms:join" }, "/oauth/device_authorization");
	const grant = { grant_type: "urn:ietf:params:oauth:grant-type:device_code", device_code: device.device_code };
	await browser.open(device.verification_uri_complete);
	await browser.submit({ decision: "allow" });
	assert.equal((await ask({ ...grant, client_id: thief })).error, "invalid_grant");
	assert.equal((await ask({ ...grant, device_code: device.user_code, client_id: app })).error, "invalid_grant");
	assert.equal((await ask({ ...grant, client_id: app })).status, 200);
});

test("who cannot prove itself is told nothing", async () => {
	const { access_token } = await redeem(await code());
	for (const fields of [{ client_id: app }, { client_id: secret.client_id }, { client_id: secret.client_id, client_secret: "x" }])
		assert.deepEqual([(await ask({ ...fields, token: access_token }, "/oauth/introspect")).error], ["invalid_client"]);
	const known = await ask({ client_id: secret.client_id, client_secret: "x", grant_type: "client_credentials" });
	const unknown = await ask({ client_id: "_unknown", client_secret: "x", grant_type: "client_credentials" });
	assert.deepEqual(known, unknown);
});

// ---- how it is sent ----

test("only as a POST with a form, each field once, and not too large", async () => {
	const good = { grant_type: "client_credentials", client_id: secret.client_id, client_secret: secret.client_secret, token: "x" };
	for (const path of POSTED) {
		for (const method of ["GET", "PUT", "DELETE"])
			assert.equal((await fetch(`${base}${path}?${new URLSearchParams(good)}`, { method })).status, 405, `${method} ${path}`);
		const twice = `${new URLSearchParams(good)}&client_id=${secret.client_id}`;
		assert.deepEqual([(await ask(twice, path)).error], ["invalid_request"], path);
		assert.equal((await post(path, JSON.stringify(good), { "content-type": "application/json" })).status, 400, path);
		assert.equal((await post(path, `${new URLSearchParams(good)}&x=${"y".repeat(20_000)}`)).status, 413, path);
		assert.equal((await post(path, `${new URLSearchParams(good)}&x=%zz`)).status < 500, true, path);
		// in the address it is not there at all
		assert.equal((await post(`${path}?${new URLSearchParams(good)}`, "")).status, 400, path);
	}
	for (const field of ["code", "redirect_uri", "code_verifier"])
		assert.equal((await ask(`grant_type=authorization_code&client_id=${app}&code=a&redirect_uri=b&code_verifier=${VERIFIER}&${field}=x`)).error, "invalid_request", field);
	assert.equal((await ask(`grant_type=refresh_token&client_id=${app}&refresh_token=a&refresh_token=a`)).error, "invalid_request");
	assert.equal((await ask(`token=a&token=b&client_id=${app}`, "/oauth/revoke")).error, "invalid_request");
	assert.equal((await ask({ client_id: app, scope: "rooms:join" }, "/oauth/device_authorization")).status, 200);
});

test("a client says who it is in one way", async () => {
	const proof = basic(secret);
	const send = async (fields) => {
		const response = await post("/oauth/token", { grant_type: "client_credentials", ...fields }, proof);
		return [response.status, (await response.json()).error, response.headers.get("www-authenticate")];
	};
	assert.deepEqual(await send({}), [200, undefined, null]);
	assert.deepEqual(await send({ client_id: secret.client_id }), [200, undefined, null]);
	assert.deepEqual(await send({ client_secret: secret.client_secret }), [400, "invalid_request", null]);
	assert.deepEqual(await send({ client_id: app }), [400, "invalid_request", null]);
	assert.deepEqual(
		await send({ client_assertion: "x", client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" }),
		[400, "invalid_request", null],
	);
	const wrong = await post("/oauth/token", { grant_type: "client_credentials" }, { authorization: `${proof.authorization.slice(0, -4)}AAAA` });
	assert.deepEqual([wrong.status, wrong.headers.get("www-authenticate")], [401, 'Basic realm="signalbox"']);
});

test("pages of other origins get no answer, those on the list do", async () => {
	const { access_token } = await redeem(await code());
	for (const path of [...POSTED, "/oauth/userinfo"]) {
		const asked = { origin: "https://evil.example", authorization: `Bearer ${access_token}` };
		const evil = await fetch(base + path, { method: "POST", headers: asked, body: new URLSearchParams({ client_id: app }) });
		assert.equal(evil.status, 403, path);
		const preflight = await fetch(base + path, {
			method: "OPTIONS",
			headers: { origin: "https://app.example", "access-control-request-method": "POST", "access-control-request-headers": "authorization" },
		});
		assert.equal(preflight.headers.get("access-control-allow-origin"), "https://app.example", path);
		assert.match(preflight.headers.get("access-control-allow-headers"), /authorization/i, path);
	}
	const info = await fetch(`${base}/oauth/userinfo`, { headers: { origin: "https://app.example", authorization: `Bearer ${access_token}` } });
	assert.equal(info.headers.get("access-control-allow-origin"), "https://app.example");
	assert.equal(info.headers.get("cache-control"), "no-store");
	assert.deepEqual(await info.json(), { sub: "ann" });
});

test("what a client may not ask for any more is in none of its tokens, and who somebody is stays", async () => {
	const { client_id } = await server.rpc("client.add", {
		name: "grown", grants: ["authorization_code", "refresh_token"], redirect_uris: [REDIRECT_URI],
		scope: "rooms:join rooms:moderate", public: true, trusted: true,
	});
	await browser.open(address({ client_id, scope: "openid offline_access rooms:join rooms:moderate" }));
	const text = new URL(browser.location).searchParams.get("code");
	const wide = await redeem(text, { client_id });
	assert.equal(wide.scope, "openid offline_access rooms:join rooms:moderate");
	const { scope } = await server.rpc("client.update", { client_id, scope: "rooms:join" });
	assert.equal(scope, "openid profile offline_access rooms:join");
	const narrow = await ask({ grant_type: "refresh_token", client_id, refresh_token: wide.refresh_token });
	assert.equal(narrow.scope, "openid offline_access rooms:join");
	assert.ok(narrow.id_token, "it signs people in still");
	assert.deepEqual(JSON.parse(Buffer.from(narrow.access_token.split(".")[1], "base64url")).scope, narrow.scope);
});
