// A foreign issuer as it is in the world: oidc-provider, found by its discovery document. Its tokens as
// JWT and as opaque ones, and its keys changed under way.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { createServer } from "node:http";
import { after, test } from "node:test";
import { exportJWK, generateKeyPair } from "jose";
import Provider from "oidc-provider";
import { connect } from "../support/client.mjs";
import { AUDIENCE } from "../support/issuer.mjs";
import { basic, challengeOf } from "../support/oauth.mjs";
import { Browser } from "../support/page.mjs";
import { bearer, request, upgrade } from "../support/raw.mjs";
import { anyNumber, startServer } from "../support/server.mjs";

const COOLDOWN = 31; // seconds between two fetches of one issuer's keys, and a little
const ES256 = { id_token_signed_response_alg: "ES256" };
const APP = { client_id: "app", client_secret: "the app's", redirect_uris: ["https://app.example/back"], ...ES256 };
const US = { client_id: "signalbox", client_secret: "ours: 100%", redirect_uris: [], response_types: [], grant_types: [], ...ES256 };
const OPAQUE = `${AUDIENCE}/opaque`; // the same service under the name for which tokens are opaque

async function key(kid) {
	const { privateKey } = await generateKeyPair("ES256", { extractable: true });
	return { ...(await exportJWK(privateKey)), kid, alg: "ES256", use: "sig" };
}

/** What it is with these keys, of which it signs with the first. */
function providerOf(issuer, keys) {
	const provider = new Provider(issuer, {
		clients: [APP, US],
		jwks: { keys },
		cookies: { keys: ["a cookie's"] },
		scopes: ["openid", "rooms:join", "rooms:create"],
		ttl: { AccessToken: 600, Grant: 600, Interaction: 600, Session: 600 },
		findAccount: (ctx, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
		features: {
			devInteractions: { enabled: false },
			introspection: { enabled: true, allowedPolicy: () => true },
			resourceIndicators: {
				enabled: true,
				getResourceServerInfo: (ctx, audience) => ({
					audience,
					scope: "rooms:join rooms:create",
					accessTokenFormat: audience === OPAQUE ? "opaque" : "jwt",
					...(audience !== OPAQUE && { jwt: { sign: { alg: "ES256" } } }),
				}),
			},
		},
		interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
	});
	provider.on("server_error", (ctx, error) => console.error(error));
	return provider;
}

/** Everybody who comes is Sam, and agrees to everything. */
async function agree(provider, request, response) {
	const { params } = await provider.interactionDetails(request, response);
	const grant = new provider.Grant({ accountId: "sam", clientId: params.client_id });
	grant.addOIDCScope(params.scope);
	grant.addResourceScope(params.resource, params.scope);
	const consent = { grantId: await grant.save() };
	await provider.interactionFinished(request, response, { login: { accountId: "sam" }, consent });
}

const http = createServer((request, response) => {
	if (request.url.startsWith("/interaction/")) agree(http.provider, request, response).catch((error) => response.destroy(error));
	else http.callback(request, response);
});
await new Promise((done) => http.listen(0, "127.0.0.1", done));
after(() => http.closeAllConnections() ?? http.close());
const issuer = `http://127.0.0.1:${http.address().port}`;

let ready = Promise.resolve();
const flows = new Set();

/** From here on it signs with the first of these keys. Its memory goes with it: flows are let end before. */
async function sign(keys) {
	const begun = [...flows];
	ready = Promise.all(begun).then(() => {
		http.provider = providerOf(issuer, keys);
		http.callback = http.provider.callback();
	});
	await ready;
}

async function tokenFor(resource) {
	await ready;
	const flow = codeFlow(resource);
	flows.add(flow);
	return flow.finally(() => flows.delete(flow));
}

/** The code flow with PKCE, as a browser and its page would go through it. */
async function codeFlow(resource) {
	const browser = new Browser();
	const verifier = randomBytes(32).toString("base64url");
	const query = { client_id: APP.client_id, response_type: "code", scope: "openid rooms:join", redirect_uri: APP.redirect_uris[0], resource, code_challenge: challengeOf(verifier), code_challenge_method: "S256" };
	let url = `${issuer}/auth?${new URLSearchParams(query)}`;
	for (let hops = 0; url.startsWith(issuer); hops++) {
		assert.ok(hops < 10, url);
		await browser.open(url);
		assert.equal(browser.status, 303, browser.html);
		url = new URL(browser.location, issuer).href;
	}
	const code = new URL(url).searchParams.get("code");
	const form = { grant_type: "authorization_code", code, redirect_uri: query.redirect_uri, code_verifier: verifier, resource };
	const proof = basic({ ...APP, client_secret: encodeURIComponent(APP.client_secret) });
	const response = await fetch(`${issuer}/token`, { method: "POST", body: new URLSearchParams(form), headers: proof });
	const { access_token: token, error_description: why } = await response.json();
	assert.ok(token, why);
	return token;
}

const first = await key("first");
await sign([first]);
const server = await startServer({
	clock: true,
	workers: 2,
	config: {
		limits: anyNumber,
		issuers: [
			{ issuer, alias: "real", audiences: [AUDIENCE, OPAQUE], client_id: US.client_id, client_secret: US.client_secret },
		],
	},
});
after(() => server.stop());

/** Who that is, by a WebSocket whose handshake has the token, by one whose first message has it, and by HTTP. */
async function letIn(token) {
	const upgraded = await connect(server, { headers: bearer(token) });
	const opened = await connect(server, { token });
	const posted = await request(server, "POST /v1/rpc", bearer(token), '{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}');
	assert.equal(posted.status, 200);
	assert.equal(opened.user, upgraded.user);
	await Promise.all([upgraded.close(), opened.close()]);
	return [opened.user, opened.session.scopes];
}

test("its tokens as JWT", async () => {
	assert.deepEqual(await letIn(await tokenFor(AUDIENCE)), ["real|sam", ["rooms:join"]]);
});

test("its tokens as opaque ones, until it takes them back", async () => {
	const token = await tokenFor(OPAQUE);
	assert.ok(!token.includes("."));
	assert.deepEqual(await letIn(token), ["real|sam", ["rooms:join"]]);
	await (await http.provider.AccessToken.find(token)).destroy();
	server.ahead(61);
	const response = await request(server, "POST /v1/rpc", bearer(token), "[]");
	assert.equal(response.status, 401);
});

test("a token for somebody else is refused", async () => {
	const token = await tokenFor("https://elsewhere.example");
	assert.equal((await upgrade(server, bearer(token))).status, 401);
});

test("its keys change while people come, and nobody is turned away", async () => {
	let over = false;
	const arrivals = new EventEmitter();
	const people = Array.from({ length: 3 }, async () => {
		while (!over) {
			await letIn(await tokenFor(AUDIENCE));
			arrivals.emit("one");
		}
	});
	const some = async () => {
		for (let i = 0; i < 4; i++) await Promise.race([once(arrivals, "one"), ...people]);
	};
	const old = await tokenFor(AUDIENCE);
	const [second, third] = [await key("second"), await key("third")];
	await some();
	server.ahead(61 + COOLDOWN);
	await sign([first, second]); // told beforehand
	await some();
	await sign([second, first]); // used
	await some();
	await letIn(old);
	server.ahead(61 + 2 * COOLDOWN);
	await sign([third, second]); // at once, without a word
	await some();
	over = true;
	await Promise.all(people);
	assert.ok(!/token refused/.test(server.log.slice(server.log.indexOf("keys=2"))), server.log);
	assert.equal((await upgrade(server, bearer(old))).status, 401, "the first key is withdrawn");
});
