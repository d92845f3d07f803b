// Sign-up by invitation: who has one makes an account, nobody else does, and it counts.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { issuerOf } from "../support/oauth.mjs";
import { Browser } from "../support/page.mjs";
import { startServer } from "../support/server.mjs";

const PASSWORD = "correct horse battery";
let server, base;

before(async () => {
	server = await startServer({ workers: 2, clock: true, config: { issuer: { sign_up: "invitation" } } });
	base = await issuerOf(server);
});

after(() => server.stop());

const open = (browser, path) => browser.open(new URL(path, base));

async function signUp(url, name, more = {}) {
	const browser = await open(new Browser(), url);
	assert.equal(browser.title, "Sign up");
	return browser.submit({ name, password: PASSWORD, ...more });
}

test("the link of an invitation makes one account, signed in, and no second one", async () => {
	const { url } = await server.rpc("invitation.add", { note: "for ann" });
	const ann = await signUp(url, "ann");
	assert.equal(ann.location, "/oauth/account");
	await open(ann, ann.location);
	assert.equal(ann.title, "Your account");
	const bob = await signUp(url, "bob");
	assert.equal(bob.status, 403);
	assert.match(bob.html, /id="invitation"[^>]*aria-describedby="problem" aria-invalid="true"/);
	assert.equal(bob.filled().name, "bob", "what was typed is there still");
});

test("a name that is taken uses nothing up", async () => {
	await server.rpc("user.add", { name: "cid", password: PASSWORD });
	const { url } = await server.rpc("invitation.add", {});
	assert.equal((await signUp(url, "CID")).status, 409);
	assert.equal((await signUp(url, "cid2")).status, 303);
});

test("of many at once as many get in as were invited", async () => {
	const { url } = await server.rpc("invitation.add", { uses: 3 });
	const answers = await Promise.all(Array.from({ length: 8 }, (_, i) => signUp(url, `many${i}`)));
	const statuses = answers.map(({ status }) => status);
	assert.equal(statuses.filter((status) => status === 303).length, 3, statuses.join());
	assert.equal(statuses.filter((status) => status === 403).length, 5, statuses.join());
});

test("ends: with its time, or when it is taken back", async () => {
	const late = await server.rpc("invitation.add", { expires: 60 });
	const back = await server.rpc("invitation.add", {});
	await server.rpc("invitation.remove", { invitation: back.invitation });
	assert.equal((await signUp(back.url, "dan")).status, 403);
	server.ahead(61);
	assert.equal((await signUp(late.url, "dan")).status, 403);
	server.ahead(0);
	assert.equal((await signUp(late.url, "dan")).status, 303);
});

test("nobody gets in without, and guesses are counted before a password is hashed", async () => {
	const answers = [];
	const { signalbox_passwords_hashed_total: before } = await server.metrics();
	const browser = await open(new Browser(), "/oauth/signup?page=account");
	for (let i = 0; i < 60; i++)
		answers.push((await browser.submit({ name: `eve${i}`, password: PASSWORD, invitation: i ? `guess ${i}` : "" })).status);
	assert.ok(answers.slice(0, 40).every((status) => status === 403), answers.join());
	assert.ok(answers.includes(429), answers.join());
	assert.equal((await server.metrics()).signalbox_passwords_hashed_total, before);
	assert.match(server.log, /audit.*action="?sign-up"? outcome="?no_invitation"?/);
});
