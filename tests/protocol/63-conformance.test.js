// What the OpenID Foundation's conformance suite asks of an OP in its plans "Basic OP" and "Config OP", one test a
// module and named as there. PKCE is in each request: it is never optional here (docs/SECURITY.md), and the
// suite leaves it open. Where the suite skips a module because the OP does not offer something, the test
// checks that this is so, and that asking for it does no harm.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, test } from "node:test";
import { createRemoteJWKSet, jwtVerify } from "jose";
import { basic, challengeOf } from "../support/oauth.mjs";
import { Browser } from "../support/page.mjs";
import { startServer } from "../support/server.mjs";

const PASSWORD = "correct horse battery";
const BACK = "https://rp.example/callback";
const OTHER_BACK = "https://rp.example/callback?dummy1=lorem&dummy2=ipsum";
const VERIFIER = "conformance-0123456789-0123456789-0123456789";
const CHALLENGE = challengeOf(VERIFIER);

let server, metadata, keys, first, second, ahead = 0;
before(async () => {
	server = await startServer({ workers: 2, clock: true });
	metadata = await (await fetch(`${server.url}/.well-known/openid-configuration`)).json();
	keys = createRemoteJWKSet(new URL(metadata.jwks_uri));
	await server.rpc("user.add", { name: "ann", display_name: "Ann Example", password: PASSWORD });
	const register = (name) =>
		server.rpc("client.add", {
			name,
			grants: ["authorization_code", "refresh_token"],
			redirect_uris: [BACK, OTHER_BACK],
			scope: "openid profile offline_access rooms:join",
			id_token_alg: "RS256",
			trusted: true,
		});
	[first, second] = [await register("first"), await register("second")];
});
after(() => server.stop());

// ---- what a relying party does ----

let marks = 0;
function request(client, more = {}) {
	const mark = ++marks;
	const all = {
		client_id: client.client_id,
		redirect_uri: BACK,
		response_type: "code",
		scope: "openid",
		state: `state-${mark}`,
		nonce: `nonce-${mark}`,
		code_challenge: CHALLENGE,
		code_challenge_method: "S256",
		...more,
	};
	return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

const address = (asked) => `${metadata.authorization_endpoint}?${new URLSearchParams(asked)}`;

/** Opens the address; the form is filled in when there is one. What comes back to the client. */
async function authorize(browser, asked, { login } = {}) {
	await browser.open(address(asked));
	if (login !== undefined) assert.equal(browser.status === 200, login, `a form: ${!login}`);
	if (browser.status === 200) await browser.submit({ name: "ann", password: PASSWORD });
	if (browser.status === 200 && browser.html.includes('name="decision"')) await browser.submit({ decision: "allow" });
	return answer(browser, asked);
}

function answer(browser, asked) {
	assert.ok([302, 303].includes(browser.status), `${browser.status} ${browser.html}`);
	const back = new URL(browser.location);
	assert.ok(browser.location.startsWith(asked.redirect_uri), browser.location);
	const said = Object.fromEntries(back.searchParams);
	assert.equal(said.state, asked.state);
	assert.equal(said.iss, metadata.issuer);
	return said;
}

async function token(form, { client = first, post = false } = {}) {
	const secret = { client_id: client.client_id, client_secret: client.client_secret };
	const response = await fetch(metadata.token_endpoint, {
		method: "POST",
		headers: post ? {} : basic(client),
		body: new URLSearchParams({ ...form, ...(post && secret) }),
	});
	assert.match(response.headers.get("content-type"), /^application\/json/);
	assert.match(response.headers.get("cache-control"), /no-store/);
	return { status: response.status, ...(await response.json()) };
}

const redeem = (code, asked, options) =>
	token({ grant_type: "authorization_code", code, redirect_uri: asked.redirect_uri, code_verifier: VERIFIER }, options);

/** The claims of an ID token that is as it must be. */
async function idToken(tokens, asked, client) {
	const { payload, protectedHeader } = await jwtVerify(tokens.id_token, keys, {
		issuer: metadata.issuer,
		audience: client.client_id,
		algorithms: ["RS256"],
		currentDate: new Date(Date.now() + ahead * 1000),
		requiredClaims: ["iss", "sub", "aud", "exp", "iat", "auth_time"],
	});
	assert.ok(protectedHeader.kid);
	assert.equal(payload.nonce, asked.nonce);
	assert.ok(payload.exp > payload.iat && payload.auth_time <= payload.iat);
	assert.ok(payload.sub.length <= 255);
	const half = createHash("sha256").update(tokens.access_token).digest().subarray(0, 16);
	if (payload.at_hash) assert.equal(payload.at_hash, half.toString("base64url"));
	return payload;
}

/** The whole flow. */
async function flow(more = {}, { browser = new Browser(), client = first, login, post } = {}) {
	const asked = request(client, more);
	const { code, ...rest } = await authorize(browser, asked, { login });
	assert.ok(code, JSON.stringify(rest));
	const tokens = await redeem(code, asked, { client, post });
	assert.equal(tokens.status, 200, JSON.stringify(tokens));
	assert.equal(tokens.token_type.toLowerCase(), "bearer");
	assert.ok(tokens.expires_in > 0);
	return { asked, browser, code, tokens, claims: await idToken(tokens, asked, client) };
}

async function userinfo(accessToken, how = "get") {
	const bearer = { authorization: `Bearer ${accessToken}` };
	const response = await fetch(metadata.userinfo_endpoint, {
		get: { headers: bearer },
		header: { method: "POST", headers: bearer },
		body: { method: "POST", body: new URLSearchParams({ access_token: accessToken }) },
	}[how]);
	return { status: response.status, body: response.status === 200 ? await response.json() : null };
}

function later(seconds) {
	ahead += seconds;
	server.ahead(ahead);
}

// ---- the modules ----

const skippedScope = (scope, claims) => async () => {
	assert.ok(!metadata.scopes_supported.includes(scope), "offered: then it is to be tested");
	const { tokens } = await flow({ scope: `openid ${scope}` });
	const { body } = await userinfo(tokens.access_token);
	for (const claim of claims) assert.ok(!(claim in body), claim);
};

const harmless = (more) => async () => void (await flow(more));

const basicPlan = {
	"oidcc-server": async () => {
		const { claims } = await flow();
		assert.equal(claims.sub, "ann");
	},
	"oidcc-response-type-missing": async () => {
		const { error, code } = await authorize(new Browser(), request(first, { response_type: undefined }));
		assert.ok(["invalid_request", "unsupported_response_type"].includes(error), error);
		assert.equal(code, undefined);
	},
	"oidcc-userinfo-get": async () => {
		const { tokens, claims } = await flow();
		const { status, body } = await userinfo(tokens.access_token, "get");
		assert.deepEqual([status, body.sub], [200, claims.sub]);
	},
	"oidcc-userinfo-post-header": async () => {
		const { tokens, claims } = await flow();
		const { status, body } = await userinfo(tokens.access_token, "header");
		assert.deepEqual([status, body.sub], [200, claims.sub]);
	},
	"oidcc-userinfo-post-body": async () => {
		const { tokens, claims } = await flow();
		const { status, body } = await userinfo(tokens.access_token, "body");
		assert.deepEqual([status, body.sub], [200, claims.sub]);
	},
	"oidcc-ensure-request-without-nonce-succeeds-for-code-flow": async () => {
		const { claims } = await flow({ nonce: undefined });
		assert.equal(claims.nonce, undefined);
	},
	"oidcc-scope-profile": async () => {
		const { tokens } = await flow({ scope: "openid profile" });
		const { body } = await userinfo(tokens.access_token);
		assert.deepEqual(body, { sub: "ann", name: "Ann Example", preferred_username: "ann" });
		const { tokens: without } = await flow();
		assert.deepEqual((await userinfo(without.access_token)).body, { sub: "ann" });
	},
	"oidcc-scope-email": skippedScope("email", ["email", "email_verified"]),
	"oidcc-scope-address": skippedScope("address", ["address"]),
	"oidcc-scope-phone": skippedScope("phone", ["phone_number", "phone_number_verified"]),
	"oidcc-scope-all": skippedScope("email address phone", ["email", "address", "phone_number"]),
	"oidcc-ensure-other-scope-order-succeeds": async () => {
		const { claims } = await flow({ scope: "profile openid" });
		assert.equal(claims.sub, "ann");
	},
	"oidcc-alternate-happy-flow": async () => {
		const { claims } = await flow({ redirect_uri: OTHER_BACK, state: "#&= ä%" }, { client: second });
		assert.equal(claims.aud, second.client_id);
	},
	"oidcc-display-page": harmless({ display: "page" }),
	"oidcc-display-popup": harmless({ display: "popup" }),
	"oidcc-prompt-login": async () => {
		const { browser, claims } = await flow();
		later(2);
		const again = await flow({ prompt: "login" }, { browser, login: true });
		assert.equal(again.claims.sub, claims.sub);
		assert.ok(again.claims.auth_time > claims.auth_time);
	},
	"oidcc-prompt-none-not-logged-in": async () => {
		const { error, code } = await authorize(new Browser(), request(first, { prompt: "none" }), { login: false });
		assert.deepEqual([error, code], ["login_required", undefined]);
	},
	"oidcc-prompt-none-logged-in": async () => {
		const { browser, claims } = await flow();
		later(2);
		const again = await flow({ prompt: "none" }, { browser, login: false });
		assert.deepEqual([again.claims.sub, again.claims.auth_time], [claims.sub, claims.auth_time]);
	},
	"oidcc-max-age-1": async () => {
		const { browser, claims } = await flow();
		later(2);
		const again = await flow({ max_age: "1" }, { browser, login: true });
		assert.ok(again.claims.auth_time > claims.auth_time);
	},
	"oidcc-max-age-10000": async () => {
		const { browser, claims } = await flow();
		later(2);
		const again = await flow({ max_age: "10000" }, { browser, login: false });
		assert.equal(again.claims.auth_time, claims.auth_time);
	},
	"oidcc-ensure-request-with-unknown-parameter-succeeds": harmless({ extra: "foobar" }),
	"oidcc-id-token-hint": async () => {
		const { browser, tokens, claims } = await flow();
		const again = await flow({ prompt: "none", id_token_hint: tokens.id_token }, { browser, login: false });
		assert.equal(again.claims.sub, claims.sub);
	},
	"oidcc-login-hint": async () => {
		const browser = new Browser();
		await browser.open(address(request(first, { login_hint: "ann" })));
		assert.equal(browser.filled().name, "ann");
		await flow({ login_hint: "ann" });
	},
	"oidcc-ui-locales": harmless({ ui_locales: "se" }),
	"oidcc-claims-locales": harmless({ claims_locales: "se" }),
	"oidcc-ensure-request-with-acr-values-succeeds": harmless({ acr_values: "1 2" }),
	"oidcc-codereuse": async () => {
		const { code, asked } = await flow();
		const { status, error } = await redeem(code, asked);
		assert.deepEqual([status, error], [400, "invalid_grant"]);
	},
	"oidcc-codereuse-30seconds": async () => {
		const { code, asked, tokens } = await flow();
		later(30);
		const { status, error } = await redeem(code, asked);
		assert.deepEqual([status, error], [400, "invalid_grant"]);
		assert.equal((await userinfo(tokens.access_token)).status, 401, "what the code gave is still good");
	},
	"oidcc-ensure-registered-redirect-uri": async () => {
		const browser = await new Browser().open(address(request(first, { redirect_uri: `${BACK}/other` })));
		assert.equal(browser.location, null);
		assert.equal(browser.status, 400);
	},
	"oidcc-ensure-post-request-succeeds": async () => {
		const browser = new Browser();
		const asked = request(first);
		await browser.open(metadata.authorization_endpoint, asked);
		if (browser.status === 303) await browser.open(new URL(browser.location, metadata.issuer));
		assert.equal(browser.status, 200, "no form");
		await browser.submit({ name: "ann", password: PASSWORD });
		const { code } = answer(browser, asked);
		await idToken(await redeem(code, asked), asked, first);
	},
	"oidcc-server-client-secret-post": async () => void (await flow({}, { client: second, post: true })),
	"oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported": async () => {
		const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
		const asked = request(first);
		const object = `${part({ alg: "none" })}.${part({ ...asked, state: "of the object" })}.`;
		const { error } = await authorize(new Browser(), { ...asked, request: object });
		assert.equal(error, "request_not_supported");
		assert.equal(metadata.request_parameter_supported, false);
	},
	"oidcc-claims-essential": async () => {
		assert.equal(metadata.claims_parameter_supported, false);
		const claims = JSON.stringify({ userinfo: { name: { essential: true } } });
		const { tokens } = await flow({ claims });
		assert.equal((await userinfo(tokens.access_token)).status, 200);
	},
	"oidcc-ensure-request-object-with-redirect-uri": async () => {
		const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
		const object = `${part({ alg: "none" })}.${part({ redirect_uri: "https://evil.example/" })}.`;
		const { error } = await authorize(new Browser(), { ...request(first), request: object });
		assert.equal(error, "request_not_supported");
		const without = await new Browser().open(address({ ...request(first, { redirect_uri: undefined }), request: object }));
		assert.deepEqual([without.status, without.location], [400, null]);
	},
	"oidcc-refresh-token": async () => {
		const { tokens, claims } = await flow({ scope: "openid offline_access", prompt: "consent" }, {});
		assert.ok(tokens.refresh_token, "none came");
		const next = await token({ grant_type: "refresh_token", refresh_token: tokens.refresh_token });
		assert.equal(next.status, 200, JSON.stringify(next));
		assert.notEqual(next.access_token, tokens.access_token);
		if (next.id_token) {
			const { payload } = await jwtVerify(next.id_token, keys, { currentDate: new Date(Date.now() + ahead * 1000) });
			for (const name of ["iss", "sub", "aud", "auth_time"]) assert.deepEqual(payload[name], claims[name], name);
			assert.ok(payload.iat >= claims.iat);
		}
		assert.equal((await userinfo(next.access_token)).body.sub, claims.sub);
		const stolen = await token({ grant_type: "refresh_token", refresh_token: next.refresh_token }, { client: second });
		assert.deepEqual([stolen.status, stolen.error], [400, "invalid_grant"]);
	},
	"oidcc-ensure-request-with-valid-pkce-succeeds": async () => {
		await flow();
		const asked = request(first);
		const { code } = await authorize(new Browser(), asked);
		const wrong = { grant_type: "authorization_code", code, redirect_uri: BACK, code_verifier: "x".repeat(43) };
		const { status, error } = await token(wrong);
		assert.deepEqual([status, error], [400, "invalid_grant"]);
	},
};

const configPlan = {
	"oidcc-discovery-endpoint-verification": async () => {
		const response = await fetch(`${metadata.issuer}/.well-known/openid-configuration`);
		assert.match(response.headers.get("content-type"), /^application\/json/);
		assert.deepEqual(await response.json(), metadata);
		const issuer = new URL(metadata.issuer);
		assert.deepEqual([issuer.search, issuer.hash], ["", ""]);
		for (const name of ["authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"])
			assert.equal(new URL(metadata[name]).origin, issuer.origin, name);
		const holds = (name, ...values) => values.forEach((value) => assert.ok(metadata[name].includes(value), `${name}: ${value}`));
		holds("response_types_supported", "code");
		holds("subject_types_supported", "public");
		holds("id_token_signing_alg_values_supported", "RS256");
		holds("scopes_supported", "openid");
		holds("claims_supported", "sub", "iss", "aud", "name");
		holds("grant_types_supported", "authorization_code");
		holds("token_endpoint_auth_methods_supported", "client_secret_basic", "client_secret_post");
		for (const name of ["request_parameter_supported", "request_uri_parameter_supported", "claims_parameter_supported"])
			assert.equal(metadata[name], false, `${name}: absent means another thing`);
		const jwks = await (await fetch(metadata.jwks_uri)).json();
		const kids = jwks.keys.map(({ kid }) => kid);
		assert.equal(new Set(kids).size, kids.length);
		for (const key of jwks.keys) {
			for (const secret of ["d", "p", "q", "dp", "dq", "qi", "k"]) assert.ok(!(secret in key), "a private key");
			assert.equal(key.use, "sig");
			assert.ok(key.kty === "EC" ? key.crv && key.x && key.y : key.n && key.e);
		}
		assert.ok(jwks.keys.some(({ kty }) => kty === "RSA"));
	},
};

for (const [name, run] of Object.entries({ ...basicPlan, ...configPlan })) test(name, run);
