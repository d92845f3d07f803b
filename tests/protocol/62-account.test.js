// What people do with their own account: look what is signed in and end it, another password, a second
// factor and its recovery codes; and what an attacker gets out of each.
import assert from "node:assert/strict";
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { issuerOf } from "../support/oauth.mjs";
import { Browser } from "../support/page.mjs";
import { startServer } from "../support/server.mjs";
import { totp } from "../support/totp.mjs";

const PASSWORD = "correct horse battery";
let server, base;
let ahead = 0;

before(async () => {
	server = await startServer({ workers: 2, clock: true });
	base = await issuerOf(server);
});

after(() => server.stop());

const go = (browser, path) => browser.open(new URL(path, base));
const follow = (browser) => go(browser, browser.location);
const now = () => Date.now() / 1000 + ahead;

/** The service's clock goes to the next code of everybody's app. */
function nextCode() {
	ahead += 30;
	server.ahead(ahead);
}

async function signIn(name, password = PASSWORD) {
	const browser = new Browser();
	await go(browser, "/oauth/account");
	assert.match(browser.location, /^\/oauth\/login\?page=account/);
	await follow(browser);
	assert.equal(browser.title, "Sign in");
	return browser.submit({ name, password });
}

/** Somebody new, signed in and at their account. */
async function arrive(name) {
	await server.rpc("user.add", { name, password: PASSWORD });
	const browser = await signIn(name);
	assert.equal(browser.location, "/oauth/account");
	await follow(browser);
	assert.equal(browser.title, "Your account");
	return browser;
}

const secretOf = (browser) => /<p class="secret"><code>([A-Z2-7 ]+)</.exec(browser.html)[1];
const codesOf = (browser) => [...browser.html.matchAll(/<li><code>([\w-]+)</g)].map(([, code]) => code);

/** Turns the second factor on; returns the app's secret and the recovery codes. */
async function turnOn(browser) {
	await go(browser, "/oauth/account/factor");
	assert.equal(browser.title, "Set up a second factor");
	const secret = secretOf(browser);
	nextCode();
	await browser.submit({ code: totp(secret, now()) });
	assert.equal(browser.title, "Your recovery codes");
	return { secret, codes: codesOf(browser) };
}

describe("what is signed in", () => {
	test("is listed, and ends one by one", async () => {
		const here = await arrive("ann");
		const there = await signIn("ann");
		await go(here, "/oauth/account");
		assert.equal(here.html.match(/Sign out there/g).length, 1, "the other browser, not this one");
		assert.match(here.html, /\(this browser\)/);
		assert.match(here.html, /from 127\.0\.0\.1/);
		await here.submit({});
		assert.equal(here.location, "/oauth/account");
		await go(there, "/oauth/account");
		assert.match(there.location, /^\/oauth\/login/, "signed out there");
		await follow(here);
		assert.doesNotMatch(here.html, /Sign out there/);
		assert.equal((await go(here, "/oauth/account")).status, 200, "and not here");
	});

	test("ends for nobody else: neither with their ids, nor by a form from elsewhere", async () => {
		const bob = await arrive("bob");
		await signIn("bob");
		await go(bob, "/oauth/account");
		const { kind, id } = bob.filled();
		const eve = await arrive("eve");
		const { csrf } = (await go(eve, "/oauth/account/password")).filled();
		await eve.open(new URL("/oauth/account/end", base), { csrf, kind, id });
		await bob.open(new URL("/oauth/account/end", base), { csrf: "x".repeat(43), kind, id });
		assert.equal(bob.status, 403);
		await bob.open(new URL("/oauth/account/end", base), { kind, id });
		assert.equal(bob.status, 403);
		await go(bob, "/oauth/account");
		assert.match(bob.html, /Sign out there/, "it is there still");
	});
});

describe("the password", () => {
	test("changes for who knows the old one, and everything else is signed out", async () => {
		const here = await arrive("pia");
		const there = await signIn("pia");
		await go(here, "/oauth/account/password");
		await here.submit({ old: "not the password", password: "another password" });
		assert.equal(here.status, 403);
		assert.match(here.html, /aria-invalid="true" aria-describedby="problem"/);
		await here.submit({ old: PASSWORD, password: "short" });
		assert.equal(here.status, 400);
		await here.submit({ old: PASSWORD, password: "x".repeat(257) });
		assert.equal(here.status, 400);
		await here.submit({ old: PASSWORD, password: "another password" });
		assert.equal(here.title, "Password changed");
		assert.equal((await go(here, "/oauth/account")).status, 200);
		assert.equal((await go(there, "/oauth/account")).status, 303);
		assert.equal((await signIn("pia")).status, 403);
		assert.equal((await signIn("pia", "another password")).status, 303);
	});

	test("is not changed by a form from elsewhere", async () => {
		const browser = await arrive("pim");
		for (const csrf of ["", "x".repeat(43)]) {
			await browser.open(new URL("/oauth/account/password", base), { csrf, old: PASSWORD, password: "another password" });
			assert.equal(browser.status, 403);
		}
		assert.equal((await signIn("pim")).status, 303);
	});

	/** So many passwords that have to be hashed before what is asked next. */
	const crowd = (prefix) =>
		Array.from({ length: 6 }, (_, i) => server.rpc("user.add", { name: `${prefix}${i}`, password: PASSWORD }));
	const another = "another horse battery";

	test("has to be right still when the sign-in is written down", async () => {
		await server.rpc("user.add", { name: "gil", password: PASSWORD });
		const thief = new Browser();
		await go(thief, "/oauth/login?page=account");
		const before = crowd("gil");
		const changed = server.rpc("user.passwd", { name: "gil", password: another });
		await server.metrics(); // all of it waits now
		const stale = thief.submit({ name: "gil", password: PASSWORD });
		await Promise.all([...before, changed, stale]);
		await go(thief, "/oauth/account");
		assert.match(thief.location, /^\/oauth\/login/, "whichever was first, the thief is not signed in");
		assert.equal((await signIn("gil", another)).location, "/oauth/account");
	});

	test("is not changed by who was signed out meanwhile", async () => {
		const thief = await arrive("hal");
		await go(thief, "/oauth/account/password");
		const before = crowd("hal");
		const stale = thief.submit({ old: PASSWORD, password: "the thief's own" });
		await server.metrics();
		const changed = server.rpc("user.passwd", { name: "hal", password: another });
		await Promise.all([...before, changed, stale]);
		assert.notEqual(thief.title, "Password changed");
		assert.equal((await signIn("hal", another)).location, "/oauth/account");
	});
});

describe("the second factor", () => {
	test("is asked for after the password, and each code is good once", async () => {
		const browser = await arrive("tom");
		const { secret } = await turnOn(browser);
		const used = totp(secret, now());
		const second = await signIn("tom");
		assert.equal(second.status, 200);
		assert.equal(second.title, "One more step");
		assert.equal(second.cookies.get("signalbox"), undefined, "the password alone is no login");
		await second.submit({ code: used });
		assert.equal(second.status, 403, "the code that set it up is used");
		await second.submit({ code: "000000" });
		assert.equal(second.status, 403);
		nextCode();
		const code = totp(secret, now());
		await second.submit({ code: `${code.slice(0, 3)} ${code.slice(3)}` });
		assert.equal(second.location, "/oauth/account");
		const again = await signIn("tom");
		await again.submit({ code });
		assert.equal(again.status, 403, "a code that somebody has seen is of no use to them");
		await again.submit({ code: totp(secret, now() - 30) });
		assert.equal(again.status, 403, "nor one older than it");
		await again.submit({ code: totp(secret, now() + 90) });
		assert.equal(again.status, 403, "nor one of later");
		await again.submit({ code: totp(secret, now() + 30) });
		assert.equal(again.status, 303, "a telephone may go half a minute ahead");
	});

	test("cannot be passed by by a half login that is old, made up or somebody else's", async () => {
		const browser = await arrive("uwe");
		const { secret } = await turnOn(browser);
		const second = await signIn("uwe");
		const { half } = second.filled();
		await second.submit({ half: "x".repeat(43), code: totp(secret, now() + 30) });
		assert.equal(second.title, "Sign in");
		const fresh = await signIn("uwe");
		await fresh.submit({ csrf: "x".repeat(43), code: totp(secret, now() + 30) });
		assert.equal(fresh.status, 403, "a form from elsewhere");
		ahead += 301;
		server.ahead(ahead);
		const late = await signIn("uwe");
		await late.submit({ half, code: totp(secret, now()) });
		assert.equal(late.status, 403);
		assert.equal(late.title, "Sign in");
		assert.match(late.html, /took too long/);
	});

	test("is guessed a few times only", async () => {
		const browser = await arrive("gus");
		const { secret } = await turnOn(browser);
		const thief = await signIn("gus");
		const answers = [];
		for (let i = 0; i < 8; i++) answers.push((await thief.submit({ code: String(100000 + i) })).status);
		assert.deepEqual(answers.slice(0, 5), [403, 403, 403, 403, 403]);
		assert.ok(answers.slice(5).includes(429), answers.join());
		assert.match(thief.html, /Wait \d+ second/);
		assert.ok(Number(thief.headers.get("retry-after")) > 0);
		nextCode();
		await thief.submit({ code: totp(secret, now()) });
		assert.equal(thief.status, 429, "not even the right one is looked at");
	});

	test("many guesses at once are no more than one after the other", async () => {
		const browser = await arrive("mia");
		await turnOn(browser);
		const thief = await signIn("mia");
		const filled = thief.filled();
		const action = /action="([^"]*)"/.exec(thief.html)[1].replaceAll("&amp;", "&");
		const answers = await Promise.all(
			Array.from({ length: 30 }, async (_, i) => {
				const one = new Browser();
				one.cookies = new Map(thief.cookies);
				return (await one.open(new URL(action, base), { ...filled, code: String(200000 + i) })).status;
			}),
		);
		assert.ok(answers.filter((status) => status === 403).length <= 6, answers.join());
	});

	test("of many who come with the same right code at once one gets in", async () => {
		const browser = await arrive("ivy");
		const { secret, codes } = await turnOn(browser);
		nextCode();
		for (const code of [totp(secret, now()), codes[0]]) {
			const thief = await signIn("ivy");
			const filled = thief.filled();
			const action = /action="([^"]*)"/.exec(thief.html)[1].replaceAll("&amp;", "&");
			const answers = await Promise.all(
				Array.from({ length: 5 }, async () => {
					const one = new Browser();
					one.cookies = new Map(thief.cookies);
					return (await one.open(new URL(action, base), { ...filled, code })).status;
				}),
			);
			assert.equal(answers.filter((status) => status === 303).length, 1, answers.join());
		}
	});

	test("recovery codes sign in once each, and new ones end the old", async () => {
		const browser = await arrive("rex");
		const { codes } = await turnOn(browser);
		assert.equal(new Set(codes).size, 10);
		const second = await signIn("rex");
		await second.submit({ code: codes[0].toUpperCase().replaceAll("-", " ") });
		assert.equal(second.location, "/oauth/account");
		await follow(second);
		assert.match(second.html, /9 of 10 are left/);
		const again = await signIn("rex");
		await again.submit({ code: codes[0] });
		assert.equal(again.status, 403, "used");
		await go(second, "/oauth/account/recovery");
		await second.submit({ csrf: "" });
		assert.equal(second.status, 403);
		await go(second, "/oauth/account/recovery");
		await second.submit({});
		assert.equal(second.title, "Your recovery codes");
		const fresh = codesOf(second);
		await again.submit({ code: codes[1] });
		assert.equal(again.status, 403, "an old one");
		await again.submit({ code: fresh[1] });
		assert.equal(again.status, 303);
	});

	test("is turned off with password and code", async () => {
		const browser = await arrive("oli");
		const { secret, codes } = await turnOn(browser);
		nextCode();
		await go(browser, "/oauth/account/factor");
		assert.equal(browser.title, "Second factor");
		await browser.submit({ password: "not the password", code: totp(secret, now()) });
		assert.equal(browser.status, 403);
		await browser.submit({ password: PASSWORD, code: "000000" });
		assert.equal(browser.status, 403);
		await browser.submit({ csrf: "", password: PASSWORD, code: codes[0] });
		assert.equal(browser.status, 403);
		await browser.submit({ password: PASSWORD, code: totp(secret, now()) });
		assert.equal(browser.title, "Second factor is off");
		assert.equal((await signIn("oli")).status, 303);
	});

	test("wants a fresh sign-in", async () => {
		const browser = await arrive("pat");
		ahead += 601;
		server.ahead(ahead);
		for (const page of ["factor", "recovery"]) {
			await go(browser, `/oauth/account/${page}`);
			assert.equal(browser.location, `/oauth/login?page=${page}&login_hint=pat`);
		}
		await follow(browser);
		await browser.submit({ name: "pat", password: PASSWORD });
		assert.equal(browser.location, "/oauth/account/recovery", "and leads back to where one was");
		assert.equal((await go(browser, "/oauth/account/factor")).status, 200);
	});

	test("a secret that another account was shown does not set it up", async () => {
		const eve = await arrive("eva");
		await go(eve, "/oauth/account/factor");
		const { secret } = eve.filled();
		const letters = secretOf(eve);
		const victim = await arrive("vic");
		await go(victim, "/oauth/account/factor");
		await victim.submit({ secret, code: totp(letters, now()) });
		assert.equal(victim.status, 400);
		assert.equal((await signIn("vic")).status, 303);
	});

	test("the operator takes it off for who has lost everything", async () => {
		const browser = await arrive("lea");
		await turnOn(browser);
		await server.rpc("user.factor_off", { name: "LEA" });
		assert.equal((await signIn("lea")).status, 303);
		await assert.rejects(server.rpc("user.factor_off", { name: "lea" }), { code: -32004 });
	});
});

describe("nobody learns", () => {
	test("whether there is an account, from what is answered or how long it takes", async () => {
		const answers = [];
		for (const name of ["ann", "nobody-of-this-name"]) {
			const begun = performance.now();
			const browser = await signIn(name, "not the password");
			const took = performance.now() - begun;
			answers.push({ status: browser.status, took, html: browser.html.replaceAll(name, "").replace(/value="[\w-]{43}"/, "") });
		}
		assert.equal(answers[0].status, answers[1].status);
		assert.equal(answers[0].html, answers[1].html);
		assert.ok(answers[1].took > answers[0].took / 3, `${answers[0].took} and ${answers[1].took} ms`);
	});

	test("a login from before: signing in makes a new one, and the old one ends", async () => {
		const browser = await arrive("fix");
		const before = browser.cookies.get("signalbox");
		await go(browser, "/oauth/login?page=account");
		await browser.submit({ name: "fix", password: PASSWORD });
		assert.notEqual(browser.cookies.get("signalbox"), before);
		const thief = new Browser();
		for (const cookie of [before, "A".repeat(43)]) {
			thief.cookies.set("signalbox", cookie);
			assert.equal((await go(thief, "/oauth/account")).status, 303);
		}
	});

	test("the way out: a sign-in leads to pages of our own alone", async () => {
		const browser = new Browser();
		for (const page of ["//evil.example", "https://evil.example", "login", "/oauth/account", "account/../../x"]) {
			await go(browser, `/oauth/login?page=${encodeURIComponent(page)}`);
			assert.equal(browser.status, 400, page);
		}
	});

	test("the pages cannot be framed, and have no script", async () => {
		const browser = await arrive("fay");
		for (const path of ["", "/password", "/factor", "/recovery"]) {
			await go(browser, `/oauth/account${path}`);
			assert.equal(browser.status, 200);
			assert.equal(
				browser.headers.get("content-security-policy"),
				"default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
			);
			assert.equal(browser.headers.get("cache-control"), "no-store");
			assert.doesNotMatch(browser.html, /<script|\sstyle=|\son\w+=/);
		}
	});

	test("a secret from the files: the factor's is sealed, with a key that its owner alone may read", async () => {
		const file = join(server.files, "seal.key");
		assert.ok(existsSync(file));
		assert.equal(statSync(file).mode & 0o777, 0o600);
		for (const line of ["factor.on", "factor.off", "second-factor", "recovery", "recovery.new", "password", "access.end"])
			assert.match(server.log, new RegExp(`audit.*action="?${line}"? outcome="?ok"?`), line);
		assert.match(server.log, /audit.*action="?second-factor"? outcome="?unauthenticated"?/);
		assert.match(server.log, /audit.*action="?second-factor"? outcome="?rate_limited"?/);
	});
});
