// No secret is kept or logged in clear. Somebody does everything that gives, takes or shows one, with the log as
// talkative as it can be; every one that was used is noted. Then the database with its WAL, everything else in
// the data directory, the log, the audit and the metrics are searched for each of them, in whatever spelling.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { connect } from "../support/client.mjs";
import { authorizeUrl, basic, issuerOf } from "../support/oauth.mjs";
import { Browser } from "../support/page.mjs";
import { ResumingClient } from "../support/resuming.mjs";
import { ownDirectory, run, startServer } from "../support/server.mjs";
import { totp } from "../support/totp.mjs";

const BACK = "https://app.example/cb";
const data = join(ownDirectory(), "d");
const logs = [];
const secrets = new Map(); // what it is → its text
let ahead = 0;
const now = () => Date.now() / 1000 + ahead;

function note(what, text) {
	assert.ok(text?.length >= 6, `${what}: ${text}`); // else there was none to look for
	secrets.set(`${what} ${secrets.size}`, text);
	return text;
}

const start = async (t, format) => {
	// the issuer's name, and so its address, is that of the first start
	const listen = `127.0.0.1:${logs[0]?.port ?? 0}`;
	const server = await startServer({ t, data, listen, workers: 2, clock: true, config: { log: { level: "debug", format } } });
	server.ahead(ahead);
	logs.push(server);
	return server;
};

// ---- everything that has to do with secrets ----

const makePassword = () => note("password", `pass/word+${randomBytes(12).toString("base64")} ä`);

async function everything(server, suffix) {
	const base = await issuerOf(server);
	const user = `ann-${suffix}`;
	const go = (browser, path) => browser.open(new URL(path, base));
	const nextCode = () => server.ahead((ahead += 30));
	const cookies = (browser) => [...browser.cookies].forEach(([name, value]) => note(`cookie ${name}`, value));
	const app = await server.rpc("client.add", {
		name: "app",
		grants: ["authorization_code", "refresh_token", "client_credentials", "device_code"],
		redirect_uris: [BACK],
		scope: "openid profile offline_access rooms:join",
	});
	note("client secret", app.client_secret);

	const verifier = note("code_verifier", randomBytes(32).toString("base64url"));
	const address = (more) =>
		authorizeUrl(base, {
			client_id: app.client_id, redirect_uri: BACK, scope: "openid profile offline_access rooms:join", verifier, ...more,
		});
	const post = async (path, form, { byHeader = true } = {}) => {
		const response = await fetch(base + path, {
			method: "POST",
			headers: byHeader ? basic(app) : {},
			body: new URLSearchParams(byHeader ? form : { client_id: app.client_id, client_secret: app.client_secret, ...form }),
		});
		const text = await response.text();
		return text ? JSON.parse(text) : {};
	};
	const noteTokens = (tokens) => {
		for (const name of ["access_token", "id_token", "refresh_token"]) if (tokens[name]) note(name, tokens[name]);
		note("the access token's signature", tokens.access_token.split(".")[2]);
		return tokens;
	};

	// sign-up, consent, code, tokens; the code once more
	let password = makePassword();
	const browser = new Browser();
	await browser.open(address({ prompt: "create" }));
	await browser.submit({ name: user, password });
	while (browser.status === 303 && !browser.location.startsWith(BACK)) await go(browser, browser.location);
	if (browser.status === 200) await browser.submit({ decision: "allow" });
	const code = note("code", new URL(browser.location, base).searchParams.get("code"));
	cookies(browser);
	const redeem = { grant_type: "authorization_code", code, redirect_uri: BACK, code_verifier: verifier };
	const tokens = noteTokens(await post("/oauth/token", redeem));
	note("refresh token", tokens.refresh_token);

	// refresh, introspection, userinfo, revocation
	const next = noteTokens(await post("/oauth/token", { grant_type: "refresh_token", refresh_token: tokens.refresh_token }, { byHeader: false }));
	assert.equal((await post("/oauth/introspect", { token: next.access_token })).active, true);
	const userinfo = await fetch(`${base}/oauth/userinfo`, { headers: { authorization: `Bearer ${next.access_token}` } });
	assert.equal(userinfo.status, 200);
	await post("/oauth/revoke", { token: next.refresh_token });
	noteTokens(await post("/oauth/token", { grant_type: "client_credentials" }));
	assert.equal((await post("/oauth/token", redeem)).error, "invalid_grant");

	// a device
	const device = await post("/oauth/device_authorization", { scope: "rooms:join" });
	note("device code", device.device_code);
	note("user code", device.user_code);
	await go(browser, `/oauth/device?user_code=${device.user_code}`);
	await post("/oauth/token", { grant_type: "urn:ietf:params:oauth:grant-type:device_code", device_code: device.device_code });

	// a second factor, its recovery codes; another password
	const account = new Browser();
	await go(account, "/oauth/login?page=account");
	await account.submit({ name: user, password });
	await go(account, "/oauth/account/factor");
	const factor = note("factor", /<p class="secret"><code>([A-Z2-7 ]+)</.exec(account.html)?.[1]);
	note("factor without spaces", factor.replaceAll(" ", ""));
	nextCode();
	await account.submit({ code: totp(factor, now()) });
	const recovery = [...account.html.matchAll(/<li><code>([\w-]+)</g)].map(([, text]) => note("recovery code", text));
	const second = new Browser();
	await go(second, "/oauth/login?page=account");
	await second.submit({ name: user, password });
	await second.submit({ code: recovery[0] });
	cookies(second);
	const old = password;
	password = makePassword();
	await go(second, "/oauth/account/password");
	await second.submit({ old, password });
	assert.match(second.html, /Password changed/);
	cookies(second);
	// a wrong one, and one where the name should stand
	const wrong = new Browser();
	await go(wrong, "/oauth/login?page=account");
	await wrong.submit({ name: user, password: note("wrong password", `wrong-${randomBytes(9).toString("hex")}`) });
	await wrong.submit({ name: note("password as name", `typed-${randomBytes(9).toString("hex")}`), password });

	// by the operator: accounts, tokens, in a session, over HTTP, at the command line
	const made = await server.rpc("user.add", { name: `bob-${suffix}` });
	note("made password", made.password);
	await server.rpc("user.passwd", { name: `bob-${suffix}`, password: makePassword() });
	const token = note("minted token", await server.mint(user, { scope: "rooms:join admin" }));
	note("its signature", token.split(".")[2]);
	await server.rpc("token.verify", { token });
	await run(["token", "verify", "--data", data], { input: token });
	const cli = await run(["user", "passwd", user, "--password-stdin", "--data", data], { input: makePassword() });
	assert.equal(cli.code, 0, cli.stderr);
	await fetch(`${base}/v1/rpc`, {
		method: "POST",
		headers: { authorization: `Bearer ${token}` },
		body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "user.passwd", params: { name: user, password: makePassword() } }),
	});
	const again = note("minted token", (await server.rpc("token.mint", { user, scope: "rooms:join" })).token);
	const c = await connect(server, { token: again });
	note("session id", c.session.session);
	await c.call("session.refresh", { token: again });
	await c.close();
	// a ticket, made and used; an invitation
	const asked = await fetch(`${base}/v1/tickets`, { method: "POST", headers: { authorization: `Bearer ${again}` } });
	const ticket = note("ticket", (await asked.json()).ticket);
	await (await connect(server, { url: `${server.wsUrl}?ticket=${ticket}` })).close();
	await assert.rejects(connect(server, { url: `${server.wsUrl}?ticket=${ticket}` }));
	const invitation = await server.rpc("invitation.add", {});
	note("invitation", invitation.code);
	await assert.rejects(connect(server, { token: note("bad token", `${again.slice(0, -8)}AAAAAAAA`) }));
	return again;
}

// ---- looking for them ----

// A secret as it is, as it may be escaped, and as bytes: what stands in base64 depends on where it begins.
function spellings(text) {
	const bytes = Buffer.from(text);
	const inner = [0, 1, 2].map((shift) => {
		const encoded = Buffer.concat([Buffer.alloc(shift), bytes]).toString("base64");
		return encoded.slice(Math.ceil((shift * 4) / 3) + (shift ? 1 : 0), -4);
	});
	const all = [text, encodeURIComponent(text), new URLSearchParams({ a: text }).toString().slice(2), JSON.stringify(text).slice(1, -1)];
	all.push(bytes.toString("hex"), bytes.toString("hex").toUpperCase());
	all.push(...inner, ...inner.map((s) => s.replaceAll("+", "-").replaceAll("/", "_")));
	// and what a text of base64url or hex stands for
	if (/^[\w-]{22,}$/.test(text)) all.push(Buffer.from(text, "base64url"), Buffer.from(text, "base64url").toString("hex"));
	if (/^([0-9a-f]{2}){8,}$/i.test(text)) all.push(Buffer.from(text, "hex"));
	return [...new Set(all)].filter((s) => s.length >= 6);
}

function filesIn(folder) {
	return readdirSync(folder, { withFileTypes: true, recursive: true })
		.filter((entry) => entry.isFile())
		.map((entry) => join(entry.parentPath, entry.name));
}

function search(where, bytes) {
	for (const [what, text] of secrets)
		for (const spelling of spellings(text))
			assert.ok(!bytes.includes(spelling), `${what} is in ${where}: ${text} as ${spelling}`);
}

async function searchAll(server) {
	for (const file of filesIn(data)) search(file, readFileSync(file));
	for (const { log } of logs) search("the log", Buffer.from(log));
	let cursor;
	do {
		const page = await server.rpc("audit.list", cursor ? { cursor } : {});
		search("the audit", Buffer.from(JSON.stringify(page)));
		cursor = page.cursor;
	} while (cursor);
	search("the metrics", Buffer.from(await (await fetch(`${server.url}/metrics`)).text()));
}

describe("every secret that was used", () => {
	test("the search finds what is there, in each spelling", () => {
		const text = "secret/with+signs&more";
		secrets.set("planted", text);
		const found = (bytes) => assert.throws(() => search("a file", bytes), /planted is in a file/);
		found(Buffer.from(`x ${text} y`));
		for (const before of ["", "a", "ab", "abc"]) found(Buffer.from(Buffer.from(`${before}${text}tail`).toString("base64")));
		found(Buffer.from(encodeURIComponent(text)));
		found(Buffer.from(Buffer.from(text).toString("hex")));
		secrets.delete("planted");
		search("a file", Buffer.from("nothing"));
	});

	test("after all of it none of them is in a file, the log or the audit", async (t) => {
		for (const format of ["text", "json"]) {
			const server = await start(t, format);
			const token = await everything(server, format);
			await searchAll(server);
			// somebody is there when the service ends: what is handed over lies in the store
			const away = new ResumingClient(server, token);
			await away.connect();
			note("session id", away.opened.session);
			await server.stop();
			for (const file of filesIn(data)) search(file, readFileSync(file));
		}
		assert.ok(secrets.size > 60, `${secrets.size}`);
	});

	test("only its owner may read what is in the data directory", async (t) => {
		const server = await start(t, "text");
		assert.equal(statSync(data).mode & 0o777, 0o700);
		for (const name of readdirSync(data)) {
			const { mode } = statSync(join(data, name));
			assert.equal(mode & 0o077, 0, `${name}: ${(mode & 0o777).toString(8)}`);
		}
		const { entries } = await server.rpc("audit.list", {});
		assert.ok(entries.length > 20);
		await server.stop();
	});
});
