// Who tries too often has to wait, and nobody else because of them: not the others behind their proxy, not the
// account that they try, not who comes to sign in while they sign up.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Browser } from "../support/page.mjs";
import { startServer } from "../support/server.mjs";

const PASSWORD = "correct horse battery";
const FREE_OF_ADDRESS = 50;
const FREE_OF_ACCOUNT = 10;
const WAITING_DEVICES = 20;
let told, untold, open; // a proxy that is believed; one that is not known; sign-up for everybody

before(async () => {
	const trusted_proxies = ["127.0.0.1"];
	const issuer = { sign_up: "invitation" };
	[told, untold, open] = await Promise.all([
		startServer({ workers: 2, config: { issuer, server: { trusted_proxies } } }),
		startServer({ workers: 2, config: { issuer, server: { behind_proxy: true } } }),
		startServer({ workers: 2, config: { server: { trusted_proxies } } }),
	]);
});

after(() => Promise.all([told, untold, open].map((server) => server.stop())));

const from = (address) => (address ? { "x-forwarded-for": address } : {});
const page = (server, path, address) => new Browser(from(address)).open(new URL(path, server.url));

async function signIn(server, name, password, address) {
	return (await (await page(server, "/oauth/login?page=account", address)).submit({ name, password })).status;
}

async function signUp(server, name, invitation, address) {
	const browser = await page(server, "/oauth/signup?page=account", address);
	return (await browser.submit({ name, password: PASSWORD, ...(invitation && { invitation }) })).status;
}

async function device(server, client_id, address) {
	const response = await fetch(`${server.url}/oauth/device_authorization`, {
		method: "POST",
		headers: { "content-type": "application/x-www-form-urlencoded", ...from(address) },
		body: new URLSearchParams({ client_id }).toString(),
	});
	return response.status;
}

const addClient = (server) =>
	server.rpc("client.add", { name: "tv", grants: ["device_code"], public: true, scope: "rooms:join" });
/** Until somebody has to wait, which doubles each time: what was answered before that. */
async function untilTold(one) {
	const answers = [];
	for (let i = 0; i < 100 && answers.at(-1) !== 429; i++) answers.push(await one(i));
	assert.equal(answers.pop(), 429, answers.join());
	return answers;
}

const all = (n, one) => Promise.all(Array.from({ length: n }, (_, i) => one(i)));

// all at once: most of it is one server's waiting for its hashes
describe("who tries too often", { concurrency: true }, () => {
	test("behind a proxy that does not say whose a request is, nobody waits for another's failures", async () => {
		await untold.rpc("user.add", { name: "ann", password: PASSWORD });
		await all(FREE_OF_ADDRESS + 5, (i) => signUp(untold, `eve${i}`, "guess"));
		const { code } = await untold.rpc("invitation.add", {});
		assert.equal(await signUp(untold, "bob", code), 303);
		const tried = await all(FREE_OF_ADDRESS + 5, (i) => signIn(untold, `nobody${i}`, "a guess"));
		assert.ok(tried.every((status) => status === 403), tried.join());
		assert.equal(await signIn(untold, "ann", PASSWORD), 303);
		const { client_id } = await addClient(untold);
		const statuses = await all(WAITING_DEVICES + 5, () => device(untold, client_id));
		assert.deepEqual(statuses, Array(WAITING_DEVICES + 5).fill(200));
	});

	test("all addresses of an IPv6 network are one client's", async () => {
		const eves = (i) => `2001:db8:0:1::${i.toString(16)}`;
		const { client_id } = await addClient(told);
		const statuses = await all(WAITING_DEVICES + 5, (i) => device(told, client_id, eves(i)));
		assert.equal(statuses.filter((status) => status === 429).length, 5, statuses.join());
		assert.equal(await device(told, client_id, "2001:db8:0:2::1"), 200);
		const guesses = await all(FREE_OF_ADDRESS + 5, (i) => signUp(told, `eve${i}`, "guess", eves(i)));
		assert.ok(guesses.includes(429), guesses.join());
		const { code } = await told.rpc("invitation.add", {});
		assert.equal(await signUp(told, "bob", code, "2001:db8:0:2::1"), 303);
	});

	test("who tries somebody's password keeps them out nowhere where they were before", async () => {
		const [hers, his, other] = ["192.0.2.1", "198.51.100.1", "198.51.100.2"];
		await told.rpc("user.add", { name: "ann", password: PASSWORD });
		assert.equal(await signIn(told, "Ann", PASSWORD, hers), 303);
		const tried = await untilTold(() => signIn(told, "ann", "a guess", his));
		assert.ok(tried.length >= FREE_OF_ACCOUNT && tried.every((status) => status === 403), tried.join());
		assert.ok((await untilTold(() => signIn(told, "ann", "a guess", other))).length < FREE_OF_ACCOUNT);
		assert.equal(await signIn(told, "ann", PASSWORD, hers), 303);
		assert.ok((await untilTold(() => signIn(told, "ANN", "a guess", hers))).length >= FREE_OF_ACCOUNT);
	});

	test("one address makes some accounts, not any number", async () => {
		const eve = "198.51.100.1";
		const made = await untilTold((i) => signUp(open, `eve${i}`, null, eve));
		assert.ok(made.length >= FREE_OF_ADDRESS && made.every((status) => status === 303), made.join());
		const { signalbox_passwords_hashed_total: hashed } = await open.metrics();
		assert.equal(hashed, made.length, "what is refused costs no hash");
		assert.equal(await signIn(open, "eve1", PASSWORD, eve), 303);
		assert.equal(await signUp(open, "ann", null, "192.0.2.1"), 303);
		assert.match(open.log, /audit.*action="?sign-up"? outcome="?rate_limited"?/);
	});
});
