// Every flow of the embedded issuer by clients that other people wrote, unmodified: openid-client and
// oauth4webapi, by each way in which a client can prove itself; jose for what was signed.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import * as jose from "jose";
import * as oauth from "oauth4webapi";
import * as openid from "openid-client";
import { authorizeUrl, issuerOf } from "../support/oauth.mjs";
import { Browser } from "../support/page.mjs";
import { startServer } from "../support/server.mjs";

const PASSWORD = "correct horse battery";
const REDIRECT_URI = "http://localhost:9/"; // nobody listens there; only the Location is looked at
const SCOPE = "openid profile offline_access rooms:join rooms:create";
const GRANTS = ["authorization_code", "refresh_token", "device_code"];
const browser = new Browser(); // in which ann is signed in
const clients = {};
let server, base, keys, as;

const insecure = { [oauth.allowInsecureRequests]: true };

async function addClient(name, more) {
	const { publicKey, privateKey } = await jose.generateKeyPair(more.alg ?? "ES256", { extractable: true });
	const kid = `${name}-1`;
	const jwk = { ...(await jose.exportJWK(publicKey)), kid, alg: more.alg, use: "sig" };
	const made = await server.rpc("client.add", {
		name,
		grants: more.public ? GRANTS : [...GRANTS, "client_credentials"],
		redirect_uris: [REDIRECT_URI],
		trusted: true,
		...(more.public && { public: true }),
		...(more.alg && { jwks: { keys: [jwk] } }),
		...(more.id_token_alg && { id_token_alg: more.id_token_alg }),
	});
	clients[name] = { id: made.client_id, secret: made.client_secret, key: { key: privateKey, kid }, ...more };
}

before(async () => {
	server = await startServer({ workers: 2 });
	base = await issuerOf(server);
	keys = jose.createRemoteJWKSet(new URL(`${base}/oauth/jwks`));
	await server.rpc("user.add", { name: "ann", display_name: "Ann A", password: PASSWORD });
	await addClient("basic", {});
	await addClient("post", { id_token_alg: "RS256" });
	await addClient("es256", { alg: "ES256" });
	await addClient("ps256", { alg: "PS256" });
	await addClient("eddsa", { alg: "Ed25519" });
	await addClient("none", { public: true });
	as = await oauth.processDiscoveryResponse(new URL(base), await oauth.discoveryRequest(new URL(base), insecure));
	await browser.open(addressFor(clients.none));
	await browser.submit({ name: "ann", password: PASSWORD });
	assert.equal(browser.status, 303, browser.html);
});

after(() => server.stop());

const addressFor = (client, more) =>
	authorizeUrl(base, { client_id: client.id, redirect_uri: REDIRECT_URI, scope: SCOPE, ...more });

async function comeBack(url) {
	await browser.open(url);
	assert.equal(browser.status, 303, browser.html);
	return new URL(browser.location);
}

/** What the service says to the token: an HTTP status. */
async function takenWith(token) {
	const response = await fetch(`${base}/v1/rpc`, {
		method: "POST",
		headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
		body: '{"jsonrpc":"2.0","id":1,"method":"room.list","params":{}}',
	});
	return response.status;
}

async function verifies(tokens, client) {
	const { payload } = await jose.jwtVerify(tokens.access_token, keys, {
		issuer: base, audience: base, typ: "at+jwt", algorithms: ["ES256"],
		requiredClaims: ["exp", "iat", "jti", "sid", "client_id", "scope"],
	});
	assert.equal(payload.client_id, client.id);
	const { payload: claims } = await jose.jwtVerify(tokens.id_token, keys, {
		issuer: base, audience: client.id, algorithms: [client.id_token_alg ?? "ES256"], typ: "JWT",
	});
	assert.equal(claims.sub, "ann");
	return payload;
}

// ---- openid-client ----

const ways = {
	basic: (client) => openid.ClientSecretBasic(client.secret),
	post: (client) => openid.ClientSecretPost(client.secret),
	es256: (client) => openid.PrivateKeyJwt(client.key),
	ps256: (client) => openid.PrivateKeyJwt(client.key),
	eddsa: (client) => openid.PrivateKeyJwt(client.key),
	none: () => openid.None(),
};

async function configured(name) {
	const client = clients[name];
	const configuration = await openid.discovery(new URL(base), client.id, { id_token_signed_response_alg: client.id_token_alg ?? "ES256" }, ways[name](client), {
		execute: [openid.allowInsecureRequests],
	});
	return [configuration, client];
}

async function signIn(configuration, client) {
	const verifier = openid.randomPKCECodeVerifier();
	const checks = { pkceCodeVerifier: verifier, expectedState: openid.randomState(), expectedNonce: openid.randomNonce() };
	const challenge = await openid.calculatePKCECodeChallenge(verifier);
	const back = await comeBack(addressFor(client, { code_challenge: challenge, state: checks.expectedState, nonce: checks.expectedNonce }));
	return openid.authorizationCodeGrant(configuration, back, checks);
}

describe("openid-client", () => {
	for (const name of Object.keys(ways))
		test(`from a code to a revoked sign-in, by a client that proves itself with ${name}`, async () => {
			const [configuration, client] = await configured(name);
			const first = await signIn(configuration, client);
			assert.equal(first.scope, SCOPE);
			const { sid } = await verifies(first, client);
			const info = await openid.fetchUserInfo(configuration, first.access_token, "ann");
			assert.deepEqual(info, { sub: "ann", name: "Ann A", preferred_username: "ann" });

			const second = await openid.refreshTokenGrant(configuration, first.refresh_token);
			assert.notEqual(second.refresh_token, first.refresh_token);
			assert.equal((await verifies(second, client)).sid, sid); // one sign-in
			assert.equal(second.claims().nonce, undefined);
			const less = await openid.refreshTokenGrant(configuration, second.refresh_token, { scope: "rooms:join" });
			assert.equal(less.scope, "rooms:join");

			if (name !== "none") {
				const access = await openid.tokenIntrospection(configuration, less.access_token);
				assert.deepEqual(
					[access.active, access.sub, access.username, access.client_id, access.scope, access.sid],
					[true, "ann", "ann", client.id, "rooms:join", sid],
				);
				const refresh = await openid.tokenIntrospection(configuration, less.refresh_token);
				assert.deepEqual([refresh.active, refresh.sub, refresh.scope], [true, "ann", SCOPE]);
				assert.deepEqual(await openid.tokenIntrospection(configuration, "nonsense"), { active: false });
			}
			assert.equal(await takenWith(less.access_token), 200);
			await openid.tokenRevocation(configuration, less.refresh_token);
			await assert.rejects(openid.refreshTokenGrant(configuration, less.refresh_token), { error: "invalid_grant" });
			for (const token of [first.access_token, second.access_token, less.access_token])
				assert.equal(await takenWith(token), 401);
			await openid.tokenRevocation(configuration, "nonsense");
		});

	test("a token for the client itself, in each way", async () => {
		for (const name of ["basic", "post", "es256", "ps256", "eddsa"]) {
			const [configuration, client] = await configured(name);
			const tokens = await openid.clientCredentialsGrant(configuration, { scope: "rpc:call rooms:join" });
			assert.equal(tokens.refresh_token, undefined);
			assert.equal(jose.decodeJwt(tokens.access_token).sub, client.id);
			assert.equal(await takenWith(tokens.access_token), 200);
			await openid.tokenRevocation(configuration, tokens.access_token, { token_type_hint: "access_token" });
			assert.equal(await takenWith(tokens.access_token), 401);
		}
	});

	test("a device gets its token when somebody says yes elsewhere, and none after a no", async () => {
		const [configuration, client] = await configured("none");
		const decided = async (decision) => {
			const device = await openid.initiateDeviceAuthorization(configuration, { scope: SCOPE });
			await browser.open(device.verification_uri_complete);
			assert.ok(browser.html.includes(device.user_code), browser.html);
			await browser.submit({ decision });
			assert.equal(browser.status, 200, browser.html);
			return device;
		};
		const devices = [await decided("allow"), await decided("deny")];
		// each of them waits for its interval before it asks: here for a second, as somebody has decided already
		for (const device of devices) {
			assert.equal(device.interval, 5);
			device.interval = 1;
		}
		const [yes, no] = await Promise.allSettled(devices.map((device) => openid.pollDeviceAuthorizationGrant(configuration, device)));
		assert.equal(yes.value.scope, SCOPE);
		await verifies(yes.value, client);
		assert.ok((await openid.refreshTokenGrant(configuration, yes.value.refresh_token)).access_token);
		assert.equal(no.reason.error, "access_denied");
	});
});

// ---- oauth4webapi ----

const proofs = {
	basic: (client) => oauth.ClientSecretBasic(client.secret),
	post: (client) => oauth.ClientSecretPost(client.secret),
	es256: (client) => oauth.PrivateKeyJwt(client.key),
	ps256: (client) => oauth.PrivateKeyJwt(client.key),
	none: () => oauth.None(),
};

describe("oauth4webapi", () => {
	for (const name of Object.keys(proofs))
		test(`each request, by a client that proves itself with ${name}`, async () => {
			const registered = clients[name];
			const client = { client_id: registered.id, id_token_signed_response_alg: registered.id_token_alg ?? "ES256" };
			const proof = proofs[name](registered);
			const verifier = oauth.generateRandomCodeVerifier();
			const state = oauth.generateRandomState();
			const nonce = oauth.generateRandomNonce();
			const challenge = await oauth.calculatePKCECodeChallenge(verifier);
			const back = await comeBack(addressFor(registered, { code_challenge: challenge, state, nonce }));
			const answer = oauth.validateAuthResponse(as, client, back, state);
			const code = await oauth.authorizationCodeGrantRequest(as, client, proof, answer, REDIRECT_URI, verifier, insecure);
			const first = await oauth.processAuthorizationCodeResponse(as, client, code, { expectedNonce: nonce, requireIdToken: true });
			await oauth.validateApplicationLevelSignature(as, code, insecure);

			const again = await oauth.refreshTokenGrantRequest(as, client, proof, first.refresh_token, insecure);
			const second = await oauth.processRefreshTokenResponse(as, client, again);
			await oauth.validateApplicationLevelSignature(as, again, insecure);
			assert.notEqual(second.refresh_token, first.refresh_token);

			const asked = await oauth.userInfoRequest(as, client, second.access_token, insecure);
			assert.equal((await oauth.processUserInfoResponse(as, client, "ann", asked)).name, "Ann A");
			if (name !== "none") {
				const told = await oauth.introspectionRequest(as, client, proof, second.access_token, insecure);
				assert.equal((await oauth.processIntrospectionResponse(as, client, told)).active, true);
				const own = await oauth.clientCredentialsGrantRequest(as, client, proof, { scope: "rpc:call" }, insecure);
				assert.equal((await oauth.processClientCredentialsResponse(as, client, own)).scope, "rpc:call");
			}
			const revoked = await oauth.revocationRequest(as, client, proof, second.refresh_token, insecure);
			await oauth.processRevocationResponse(revoked);
			const refused = await oauth.refreshTokenGrantRequest(as, client, proof, second.refresh_token, insecure);
			await assert.rejects(oauth.processRefreshTokenResponse(as, client, refused), { error: "invalid_grant" });
		});

	test("a device", async () => {
		const client = { client_id: clients.basic.id };
		const proof = oauth.ClientSecretBasic(clients.basic.secret);
		const begun = await oauth.deviceAuthorizationRequest(as, client, proof, { scope: "openid" }, insecure);
		const device = await oauth.processDeviceAuthorizationResponse(as, client, begun);
		await browser.open(device.verification_uri_complete);
		await browser.submit({ decision: "allow" });
		const asked = await oauth.deviceCodeGrantRequest(as, client, proof, device.device_code, insecure);
		const tokens = await oauth.processDeviceCodeResponse(as, client, asked);
		assert.equal(tokens.scope, "openid");
		const twice = await oauth.deviceCodeGrantRequest(as, client, proof, device.device_code, insecure);
		await assert.rejects(oauth.processDeviceCodeResponse(as, client, twice), { error: "invalid_grant" });
	});
});
