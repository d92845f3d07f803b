// /oauth/device: what somebody has to do before their device gets anything, and what others cannot do for them.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { connect, within } from "../support/client.mjs";
import { issuerOf } from "../support/oauth.mjs";
import { Browser } from "../support/page.mjs";
import { startServer } from "../support/server.mjs";

const PASSWORD = "correct horse battery";
let server, base, television;

before(async () => {
	server = await startServer({ workers: 2 });
	base = await issuerOf(server);
	television = await server.rpc("client.add", {
		name: 'tv"><script>', grants: ["device_code"], public: true, scope: "rooms:join",
	});
});

after(() => server.stop());

const post = async (path, form) => {
	const response = await fetch(base + path, {
		method: "POST",
		headers: { "content-type": "application/x-www-form-urlencoded" },
		body: new URLSearchParams({ client_id: television.client_id, ...form }).toString(),
	});
	return response.json();
};
const token = (device_code) =>
	post("/oauth/token", { grant_type: "urn:ietf:params:oauth:grant-type:device_code", device_code });
const waiting = () => post("/oauth/device_authorization", { scope: "rooms:join" });

async function arrive(name, path = "/oauth/device") {
	await server.rpc("user.add", { name, password: PASSWORD });
	const browser = new Browser();
	await browser.open(new URL(path, base));
	await browser.open(new URL(browser.location, base));
	await browser.submit({ name, password: PASSWORD });
	return browser.open(new URL(browser.location, base));
}

test("the code is typed in any way, and what is asked for is shown", async () => {
	const { user_code, device_code } = await waiting();
	const browser = await arrive("ann");
	assert.equal(browser.title, "Connect a device");
	await browser.submit({ user_code: ` ${user_code.toLowerCase().replace("-", "")} ` });
	assert.equal(browser.title, "Connect this device?");
	assert.ok(browser.html.includes(user_code));
	assert.match(browser.html, /tv&quot;&gt;&lt;script&gt;/);
	assert.match(browser.html, /Join rooms/);
	assert.match(browser.headers.get("content-security-policy"), /frame-ancestors 'none'/);
	await browser.submit({ decision: "allow" });
	assert.equal(browser.title, "Device connected");
	await browser.open(new URL(`/oauth/device?user_code=${user_code}`, base));
	assert.equal(browser.status, 404, "a code is good for one answer");
	assert.match(server.log, /audit.*action="?device"? outcome="?ok"? actor="?ann/);

	const { access_token } = await token(device_code);
	const session = await connect(server, { token: access_token });
	assert.equal(session.user, "ann");
	await browser.open(new URL("/oauth/logout", base));
	await browser.submit({ decision: "yes" });
	await session.call("room.list"); // the device is not this browser
	await browser.open(new URL("/oauth/login?page=account", base));
	await browser.submit({ name: "ann", password: PASSWORD });
	await browser.open(new URL("/oauth/account", base));
	assert.match(browser.html, /Take its access away/);
	await browser.submit({});
	assert.equal((await within(session.closed, 5000, "the close")).code, 4501);
	assert.equal((await token(device_code)).error, "invalid_grant");
});

test("a link decides nothing, nor does a form from elsewhere", async () => {
	const { user_code, device_code, verification_uri_complete } = await waiting();
	const browser = await arrive("bob", `/oauth/device?user_code=${user_code}&decision=allow`);
	assert.equal(browser.title, "Connect this device?", "the code has come along through the sign-in");
	await browser.open(`${verification_uri_complete}&decision=allow`);
	assert.equal(browser.title, "Connect this device?");
	for (const csrf of ["", "x".repeat(43)]) {
		await browser.open(new URL("/oauth/device", base), { csrf, user_code, decision: "allow" });
		assert.equal(browser.status, 403);
	}
	await browser.open(verification_uri_complete);
	assert.equal(browser.title, "Connect this device?", "it waits still");
	await browser.submit({ decision: "deny" });
	assert.equal(browser.title, "Device refused");
	assert.equal((await token(device_code)).error, "access_denied");
	assert.match(server.log, /audit.*action="?device"? outcome="?access_denied"? actor="?bob/);
});

test("codes are guessed a few times only, by whoever it is", async () => {
	const browser = await arrive("eve");
	await browser.submit({ user_code: "no code" });
	assert.equal(browser.status, 400, "what is none is not counted");
	const answers = [];
	for (const last of "BCDFGHJK") {
		await browser.open(new URL(`/oauth/device?user_code=ZZZZ-ZZZ${last}`, base));
		answers.push(browser.status);
	}
	assert.deepEqual(answers.slice(0, 5), [404, 404, 404, 404, 404]);
	assert.ok(answers.includes(429), answers.join());
	const { user_code } = await waiting();
	await browser.open(new URL(`/oauth/device?user_code=${user_code}`, base));
	assert.equal(browser.status, 429, "not even a right one is looked at");
});
