// The embedded issuer against clients that other people wrote: openid-client, oauth4webapi and jose,
// unmodified, over HTTP; and what must hold of sign-ups when the process dies.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import * as jose from "jose";
import * as oauth from "oauth4webapi";
import * as openid from "openid-client";
import { issuerOf } from "../support/oauth.mjs";
import { Browser } from "../support/page.mjs";
import { ownDirectory, startServer } from "../support/server.mjs";

const PASSWORD = "correct horse battery";
const REDIRECT_URI = "http://localhost:9/"; // nobody listens there; only the Location is looked at

const data = join(ownDirectory(), "d");
let server, base;

// From the client's address to the one that it is sent back to.
async function signIn(browser, url, name) {
	await browser.open(url);
	assert.equal(browser.status, 200, browser.html);
	await browser.submit({ name, password: PASSWORD });
	if (browser.html.includes("Allow access?")) await browser.submit({ decision: "allow" });
	assert.equal(browser.status, 303, browser.html);
	return new URL(browser.location);
}

async function signUp(browser, name) {
	const client = await discovered();
	const url = openid.buildAuthorizationUrl(client, {
		redirect_uri: REDIRECT_URI,
		scope: "openid profile",
		prompt: "create",
		code_challenge: await openid.calculatePKCECodeChallenge(openid.randomPKCECodeVerifier()),
		code_challenge_method: "S256",
	});
	await signIn(browser, url, name);
}

function discovered(id = "demo", secret, authentication) {
	return openid.discovery(new URL(base), id, secret, authentication, {
		execute: [openid.allowInsecureRequests],
	});
}

before(async () => {
	server = await startServer({ data, workers: 4 });
	base = await issuerOf(server);
});

after(() => server.stop());

// ---- the documents ----

describe("discovery", () => {
	test("every page may read the public documents", async () => {
		for (const path of [
			"/.well-known/openid-configuration",
			"/.well-known/oauth-authorization-server",
			"/.well-known/oauth-protected-resource",
			"/oauth/jwks",
		]) {
			const response = await fetch(base + path, { headers: { origin: "https://a.example" } });
			assert.equal(response.status, 200);
			assert.equal(response.headers.get("access-control-allow-origin"), "*");
			assert.match(response.headers.get("content-type"), /^application\/json/);
			assert.equal(response.headers.get("x-content-type-options"), "nosniff");
		}
	});

	test("oauth4webapi takes the RFC 8414 document", async () => {
		const options = { algorithm: "oauth2", [oauth.allowInsecureRequests]: true };
		const response = await oauth.discoveryRequest(new URL(base), options);
		const metadata = await oauth.processDiscoveryResponse(new URL(base), response);
		assert.deepEqual(metadata.code_challenge_methods_supported, ["S256"]);
	});

	test("oauth4webapi takes the RFC 9728 document", async () => {
		const options = { [oauth.allowInsecureRequests]: true };
		const response = await oauth.resourceDiscoveryRequest(new URL(base), options);
		const metadata = await oauth.processResourceDiscoveryResponse(new URL(base), response);
		assert.deepEqual(metadata.authorization_servers, [base]);
	});
});

// ---- signing in ----

describe("the code flow", () => {
	test("openid-client signs somebody up, and in again, by a public client", async () => {
		const client = await discovered();
		const browser = new Browser();
		await signUp(browser, "ann");
		const verifier = openid.randomPKCECodeVerifier();
		const checks = {
			pkceCodeVerifier: verifier,
			expectedState: openid.randomState(),
			expectedNonce: openid.randomNonce(),
			maxAge: 60,
		};
		const url = openid.buildAuthorizationUrl(client, {
			redirect_uri: REDIRECT_URI,
			scope: "openid profile rooms:join rooms:create",
			code_challenge: await openid.calculatePKCECodeChallenge(verifier),
			code_challenge_method: "S256",
			state: checks.expectedState,
			nonce: checks.expectedNonce,
			max_age: "60",
			prompt: "login",
		});
		const back = await signIn(browser, url, "ann");
		const tokens = await openid.authorizationCodeGrant(client, back, checks);
		assert.equal(tokens.claims().sub, "ann");
		assert.equal(tokens.claims().preferred_username, "ann");
		assert.equal(tokens.scope, "openid profile rooms:join rooms:create");

		const keys = jose.createRemoteJWKSet(new URL(`${base}/oauth/jwks`));
		const { payload, protectedHeader } = await jose.jwtVerify(tokens.access_token, keys, {
			issuer: base,
			audience: base,
			typ: "at+jwt",
			algorithms: ["ES256"],
			requiredClaims: ["exp", "iat", "jti", "client_id", "scope", "sub"],
		});
		assert.equal(payload.client_id, "demo");
		assert.equal(protectedHeader.typ, "at+jwt");
		assert.equal(protectedHeader.kid.length, 43);
		// and the ID token is no access token
		await assert.rejects(jose.jwtVerify(tokens.id_token, keys, { typ: "at+jwt" }));
		for (const [token, status] of [
			[tokens.access_token, 200],
			[tokens.id_token, 401],
		]) {
			const response = await fetch(`${base}/v1/rpc`, {
				method: "POST",
				headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
				body: '{"jsonrpc":"2.0","id":1,"method":"room.list","params":{}}',
			});
			assert.equal(response.status, status);
		}
	});

	test("oauth4webapi signs in by a client with a secret, in both ways", async () => {
		const made = await server.rpc("client.add", {
			name: "shop",
			grants: ["authorization_code"],
			redirect_uris: ["https://shop.example/cb?x=1"],
		});
		const insecure = { [oauth.allowInsecureRequests]: true };
		const found = await oauth.discoveryRequest(new URL(base), insecure);
		const as = await oauth.processDiscoveryResponse(new URL(base), found);
		const client = { client_id: made.client_id };
		for (const proof of [
			oauth.ClientSecretBasic(made.client_secret),
			oauth.ClientSecretPost(made.client_secret),
		]) {
			const browser = new Browser();
			const verifier = oauth.generateRandomCodeVerifier();
			const state = oauth.generateRandomState();
			const nonce = oauth.generateRandomNonce();
			const url = new URL(as.authorization_endpoint);
			url.search = new URLSearchParams({
				client_id: client.client_id,
				redirect_uri: "https://shop.example/cb?x=1",
				response_type: "code",
				scope: "openid",
				code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
				code_challenge_method: "S256",
				state,
				nonce,
			});
			const back = await signIn(browser, url, "ann");
			assert.equal(back.searchParams.get("x"), "1");
			const answer = oauth.validateAuthResponse(as, client, back, state);
			const response = await oauth.authorizationCodeGrantRequest(
				as, client, proof, answer, "https://shop.example/cb?x=1", verifier, insecure,
			);
			const tokens = await oauth.processAuthorizationCodeResponse(as, client, response, {
				expectedNonce: nonce,
				requireIdToken: true,
			});
			await oauth.validateApplicationLevelSignature(as, response, insecure);
			assert.equal(oauth.getValidatedIdTokenClaims(tokens).sub, "ann");
			assert.equal(tokens.scope, "openid");
		}
	});

	test("openid-client gets a token for a client itself", async () => {
		const made = await server.rpc("client.add", {
			name: "robot",
			grants: ["client_credentials"],
		});
		const client = await discovered(made.client_id, made.client_secret);
		const tokens = await openid.clientCredentialsGrant(client, { scope: "rpc:call" });
		assert.equal(tokens.scope, "rpc:call");
		assert.equal(tokens.id_token, undefined);
		assert.equal(jose.decodeJwt(tokens.access_token).sub, made.client_id);
	});
});

// ---- pages ----

describe("pages", () => {
	test("say who may not frame them, run scripts or take their forms", async () => {
		const page = await new Browser().open(
			`${base}/oauth/authorize?client_id=demo&redirect_uri=http%3A%2F%2F127.0.0.1%3A9%2F` +
				`&response_type=code&code_challenge_method=S256&code_challenge=${"a".repeat(43)}`,
		);
		assert.equal(page.status, 200);
		assert.equal(
			page.headers.get("content-security-policy"),
			"default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; " +
				"form-action 'self' http://127.0.0.1:9",
		);
		assert.equal(page.headers.get("cache-control"), "no-store");
		assert.equal(page.headers.get("referrer-policy"), "no-referrer");
		assert.equal(page.headers.get("x-content-type-options"), "nosniff");
		assert.doesNotMatch(page.html, /<script|\sstyle=|\son\w+=/);
		const [cookie] = page.headers.getSetCookie();
		assert.match(cookie, /^signalbox-form=[\w-]{43}; Path=\/; HttpOnly; SameSite=Lax$/);
	});

	test("a form from elsewhere signs nobody in", async () => {
		const address =
			`${base}/oauth/login?client_id=demo&redirect_uri=http%3A%2F%2F127.0.0.1%3A9%2F` +
			`&response_type=code&code_challenge_method=S256&code_challenge=${"a".repeat(43)}`;
		const foreign = new Browser();
		await foreign.open(address, { name: "ann", password: PASSWORD, csrf: "x".repeat(43) });
		assert.equal(foreign.status, 403);
		assert.equal(foreign.cookies.get("signalbox"), undefined);
		assert.match(foreign.html, /role="alert"/);
	});
});

// ---- what was acknowledged stays ----

test("kill -9 behind a sign-up's answer loses nothing", { timeout: 60_000 }, async () => {
	for (let round = 0; round < 5; round++) {
		const browser = new Browser();
		await signUp(browser, `round${round}`);
		await server.kill();
		server = await startServer({ data, workers: 4, listen: `127.0.0.1:${new URL(base).port}` });
		// neither the account nor the login of the browser
		const url = openid.buildAuthorizationUrl(await discovered(), {
			redirect_uri: REDIRECT_URI,
			code_challenge: "a".repeat(43),
			code_challenge_method: "S256",
			prompt: "none",
		});
		await browser.open(url);
		assert.equal(browser.status, 303);
		assert.ok(new URL(browser.location).searchParams.get("code"), browser.location);
		url.searchParams.delete("prompt");
		await signIn(new Browser(), url, `round${round}`);
	}
});
