// Many at once with one code, one refresh token, one device code or one signed assertion, on four workers:
// exactly one wins where one may, and all get the same where a client may ask again.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import * as jose from "jose";
import { connect, within } from "../support/client.mjs";
import { authorizeUrl, issuerOf } from "../support/oauth.mjs";
import { Browser } from "../support/page.mjs";
import { anyNumber, startServer } from "../support/server.mjs";

const PASSWORD = "correct horse battery";
const REDIRECT_URI = "http://localhost:9/";
const VERIFIER = "v".repeat(43);
const browser = new Browser();
let server, base, client, robot, robotKey;

before(async () => {
	server = await startServer({ workers: 4, clock: true, config: { limits: anyNumber } });
	base = await issuerOf(server);
	await server.rpc("user.add", { name: "ann", password: PASSWORD });
	const { publicKey, privateKey } = await jose.generateKeyPair("ES256");
	robotKey = privateKey;
	client = await server.rpc("client.add", {
		name: "app", grants: ["authorization_code", "refresh_token", "device_code"],
		redirect_uris: [REDIRECT_URI], public: true, trusted: true,
	});
	robot = await server.rpc("client.add", {
		name: "robot", grants: ["client_credentials"], jwks: { keys: [await jose.exportJWK(publicKey)] },
	});
	await browser.open(address());
	await browser.submit({ name: "ann", password: PASSWORD });
	assert.equal(browser.status, 303, browser.html);
});

after(() => server.stop());

const address = () =>
	authorizeUrl(base, {
		client_id: client.client_id, redirect_uri: REDIRECT_URI, scope: "openid offline_access rooms:join", verifier: VERIFIER,
	});

async function code() {
	await browser.open(address());
	assert.equal(browser.status, 303, browser.html);
	return new URL(browser.location).searchParams.get("code");
}

async function ask(fields, path = "/oauth/token") {
	const response = await fetch(base + path, { method: "POST", body: new URLSearchParams(fields) });
	return { status: response.status, ...(await response.json().catch(() => null)) };
}

const redeem = (text) =>
	ask({
		grant_type: "authorization_code", client_id: client.client_id, redirect_uri: REDIRECT_URI,
		code: text, code_verifier: VERIFIER,
	});

const refresh = (token) => ask({ grant_type: "refresh_token", client_id: client.client_id, refresh_token: token });

const many = (n, what) => Promise.all(Array.from({ length: n }, what));

/** How often each answer came: {200: 1, invalid_grant: 999}. */
function counted(answers) {
	const counts = {};
	for (const { status, error } of answers) counts[error ?? status] = (counts[error ?? status] ?? 0) + 1;
	return counts;
}

async function userinfo(token) {
	return (await fetch(`${base}/oauth/userinfo`, { headers: { authorization: `Bearer ${token}` } })).status;
}

test("of a thousand redemptions of one code exactly one wins, and what it won is taken back", { timeout: 60_000 }, async () => {
	const text = await code();
	const answers = await many(1000, () => redeem(text));
	assert.deepEqual(counted(answers), { 200: 1, invalid_grant: 999 });
	const won = answers.find(({ status }) => status === 200);
	assert.equal(await userinfo(won.access_token), 401);
	assert.equal((await refresh(won.refresh_token)).error, "invalid_grant");
	// and the person is asked nothing again: another code works
	assert.equal((await redeem(await code())).status, 200);
});

test("one refresh token asked with many times gives one successor; later it ends the sign-in", { timeout: 60_000 }, async () => {
	const first = await redeem(await code());
	const answers = await many(200, () => refresh(first.refresh_token));
	assert.deepEqual(counted(answers), { 200: 200 });
	assert.equal(new Set(answers.map((answer) => answer.refresh_token)).size, 1);
	const second = answers[0].refresh_token;
	assert.notEqual(second, first.refresh_token);
	// the next generation, while the first one is still asked with: it is past its successor's use
	const third = await refresh(second);
	assert.equal(third.status, 200);
	assert.equal(await userinfo(third.access_token), 200);
	assert.equal((await refresh(first.refresh_token)).error, "invalid_grant");
	assert.equal(await userinfo(third.access_token), 401);
	assert.equal((await refresh(third.refresh_token)).error, "invalid_grant");
});

test("past its half minute a used refresh token ends the sign-in, on all workers", { timeout: 60_000 }, async () => {
	const first = await redeem(await code());
	const second = await refresh(first.refresh_token);
	server.ahead(29);
	assert.equal((await refresh(first.refresh_token)).refresh_token, second.refresh_token);
	// by what both its tokens gave there are sessions; another sign-in of the same person has one, too
	const sessions = await Promise.all([first, second, first, second].map(({ access_token: token }) => connect(server, { token })));
	const other = await connect(server, { token: (await redeem(await code())).access_token });
	server.ahead(62);
	assert.equal((await refresh(first.refresh_token)).error, "invalid_grant");
	for (const { closed } of sessions) assert.equal((await within(closed, 5000, "the end of a session")).code, 4501);
	assert.ok((await other.call("session.ping", {})).time);
	other.close();
	assert.deepEqual(new Set(await many(40, () => userinfo(second.access_token))), new Set([401]));
	assert.deepEqual(counted(await many(40, () => refresh(second.refresh_token))), { invalid_grant: 40 });
});

test("a device code is given once", { timeout: 60_000 }, async () => {
	const device = await ask({ client_id: client.client_id, scope: "rooms:join" }, "/oauth/device_authorization");
	await browser.open(device.verification_uri_complete);
	await browser.submit({ decision: "allow" });
	const answers = await many(50, () =>
		ask({
			grant_type: "urn:ietf:params:oauth:grant-type:device_code",
			client_id: client.client_id, device_code: device.device_code,
		}),
	);
	assert.equal(counted(answers)[200], 1, JSON.stringify(counted(answers)));
});

test("a signed assertion is good once", { timeout: 60_000 }, async () => {
	const assertion = await new jose.SignJWT({})
		.setProtectedHeader({ alg: "ES256" })
		.setIssuer(robot.client_id).setSubject(robot.client_id).setAudience(base)
		.setJti(crypto.randomUUID()).setExpirationTime("10m")
		.sign(robotKey);
	const answers = await many(50, () =>
		ask({
			grant_type: "client_credentials",
			client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
			client_assertion: assertion,
		}),
	);
	assert.deepEqual(counted(answers), { 200: 1, invalid_client: 49 });
});
