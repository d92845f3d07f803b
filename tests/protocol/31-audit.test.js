// The audit: what is written into it, by whom and from where; that it says no secret, cannot be changed, is
// bounded, and forgets what is too old.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { DatabaseSync } from "node:sqlite";
import { connect } from "../support/client.mjs";
import { authorizeUrl } from "../support/oauth.mjs";
import { Browser } from "../support/page.mjs";
import { post } from "../support/rooms.mjs";
import { ownDirectory, run, startServer } from "../support/server.mjs";

const PASSWORD = "correct horse battery";
const REDIRECT_URI = "http://localhost:9/";
const DAY = 24 * 3600;
const verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

const data = join(ownDirectory(), "d");
const server = await startServer({ data, workers: 1, clock: true });
after(() => server.stop());

const list = (params) => server.rpc("audit.list", params).then(({ entries }) => entries);

// Entries come behind the answers that they are about: nobody waits for them.
async function entry(wanted, params = {}) {
	const fits = (e) => Object.entries(wanted).every(([key, value]) => e[key] === value);
	for (const end = Date.now() + 5000; Date.now() < end; ) {
		const found = (await list(params)).find(fits);
		if (found) return found;
	}
	assert.fail(`not in the audit: ${JSON.stringify(wanted)}\n${JSON.stringify(await list(), null, 1)}`);
}

const address = (more) =>
	authorizeUrl(server.url, { client_id: "demo", redirect_uri: REDIRECT_URI, scope: "openid rooms:join", verifier, ...more });

async function token(form) {
	const response = await fetch(`${server.url}/oauth/token`, {
		method: "POST",
		body: new URLSearchParams({ client_id: "demo", redirect_uri: REDIRECT_URI, code_verifier: verifier, ...form }),
	});
	return { status: response.status, ...(await response.json()) };
}

describe("who signs in", () => {
	const browser = new Browser();
	let code;

	test("a sign-up, a grant and a token, each with user, client and address", async () => {
		await browser.open(address({ prompt: "create" }));
		await browser.submit({ name: "Ann", password: PASSWORD });
		code = new URL(browser.location).searchParams.get("code");
		const common = { outcome: "ok", actor: "Ann", user: "Ann", client: "demo", address: "127.0.0.1" };
		await entry({ action: "sign-up", ...common });
		await entry({ action: "authorize", ...common, detail: "openid rooms:join" });
		await token({ grant_type: "authorization_code", code });
		await entry({ action: "token", ...common, detail: "openid rooms:join" });
	});

	test("a code that is used again", async () => {
		assert.equal((await token({ grant_type: "authorization_code", code })).status, 400);
		await entry({ action: "code.reuse", outcome: "invalid_grant", user: "Ann", client: "demo", address: "127.0.0.1" });
	});

	test("a failure names the account, and not what was typed where there is none", async () => {
		for (const name of ["ann", "my secret passphrase"]) {
			await browser.open(address({ prompt: "login" }));
			await browser.submit({ name, password: "wrong wrong wrong" });
			assert.equal(browser.status, 403);
		}
		await entry({ action: "sign-in", outcome: "unauthenticated", actor: "", user: "Ann", address: "127.0.0.1" });
		await entry({ action: "sign-in", outcome: "unauthenticated", actor: "", user: "" });
		assert.doesNotMatch(JSON.stringify(await list()), /passphrase|wrong wrong/);
		await browser.open(address({ prompt: "login" }));
		await browser.submit({ name: "ann", password: PASSWORD });
		await entry({ action: "sign-in", outcome: "ok", actor: "Ann", user: "Ann", client: "demo" });
	});

	test("a client that is not who it says", async () => {
		const made = await server.rpc("client.add", { name: "shop", grants: ["client_credentials"] });
		assert.equal((await token({ grant_type: "client_credentials", client_id: made.client_id, client_secret: "no" })).status, 401);
		assert.equal((await token({ grant_type: "client_credentials", client_id: "_who", client_secret: "no" })).status, 401);
		await entry({ action: "client", outcome: "invalid_client", client: made.client_id, address: "127.0.0.1" });
		await entry({ action: "client", outcome: "invalid_client", client: "", detail: "there is none of this id" });
	});
});

describe("administration", () => {
	test("by the command line: the operator; what was given is not told", async () => {
		const before = (await list({ action: "user.add" })).length;
		const done = await run(["user", "add", "bob", "--password-stdin", "--data", data], { input: "a secret of bob's" });
		assert.equal(done.code, 0, done.stderr);
		const told = await entry({ action: "user.add", actor: "operator", user: "bob", outcome: "ok", address: "" });
		assert.equal(told.detail, "name=bob");
		assert.equal((await list({ action: "user.add" })).length, before + 1, "once");
	});

	test("over /v1/rpc and a session: the user and the address, also of what was refused", async () => {
		const admin = await server.mint("ann", { scope: "rooms:join admin" });
		await post(server, admin, "client.remove", { client_id: "_gone" }).catch(() => {});
		await entry({ action: "client.remove", outcome: "not_found", actor: "Ann", client: "_gone", address: "127.0.0.1" });
		const c = await connect(server, { token: admin });
		await c.call("user.disable", { name: "bob" });
		await entry({ action: "user.disable", outcome: "ok", actor: "Ann", user: "bob", address: "127.0.0.1" });
		await c.close();
	});

	test("every method with the scope admin is in it, but those that only read", async () => {
		const { methods } = await server.rpc("rpc.methods");
		const reads = /^(rpc\.methods|token\.verify|[a-z]+\.(get|list|explain))$/;
		const ran = new Map();
		for (const { name } of methods.filter(({ scope }) => scope === "admin")) {
			const before = (await list({ action: name })).length;
			// What is missing or unknown is refused before the method runs; these find nobody.
			const id = "nobody-there";
			const wishes = [{ name: id }, { user: id }, { client_id: id }, { name: id, grants: [] }, { session: id }, { jti: id }, { kid: id }, {}];
			for (const params of wishes) {
				const refused = await server.rpc(name, params).then(
					() => "",
					({ message }) => message,
				);
				if (!/^The parameter /.test(refused)) {
					ran.set(name, before);
					break;
				}
			}
		}
		assert.ok(ran.size > 8, `${[...ran.keys()]}`);
		await server.rpc("user.add", { name: "marker" }); // the last of a queue that all of them went through
		await entry({ action: "user.add", user: "marker" });
		ran.delete("user.add"); // that was it
		for (const [name, before] of ran)
			assert.equal((await list({ action: name })).length - before, reads.test(name) ? 0 : 1, name);
	});
});

describe("the table", () => {
	test("is shown by the command line, by user, action and time, a page at a time", async () => {
		const audit = async (...words) => (await run(["audit", "list", ...words, "--data", data])).stdout;
		const shown = await audit("--user", "bob");
		const [head, ...lines] = shown.trimEnd().split("\n");
		assert.match(head, /^happened_at +action +outcome +actor +user /);
		assert.ok(lines.length >= 2, shown);
		for (const line of lines) {
			assert.equal(line, line.trimEnd());
			assert.ok(line.slice(head.indexOf("user")).startsWith("bob"), `not aligned:\n${shown}`);
		}
		assert.match(await audit("--action", "nothing"), /^\(none\)\n$/);
		assert.doesNotMatch(await audit("--since", "1h", "--action", "user.add"), /none/);
		assert.match(await audit("--since", "2100-01-01"), /none/);
		const one = JSON.parse(await audit("--limit", "1", "--json"));
		const two = JSON.parse(await audit("--limit", "1", "--json", "--cursor", one.cursor));
		assert.equal(one.entries.length, 1);
		assert.notDeepEqual(one.entries, two.entries);
		assert.match(await audit("--limit", "1"), /\(more: --cursor \d+\)\n$/);
	});

	test("takes no change of what stands in it", () => {
		const db = new DatabaseSync(join(server.files, "signalbox.db"));
		assert.throws(() => db.exec("UPDATE audit SET user = 'eve'"), /stays as it is/);
		db.close();
	});

	test("keeps a bounded number of refusals, and all that was done", async () => {
		const tries = 650; // a worker keeps 500 at once and 20 a second
		const one = () => token({ grant_type: "client_credentials", client_id: "_flood", client_secret: "x" });
		for (let i = 0; i < tries; i += 50) await Promise.all(Array.from({ length: 50 }, one));
		await server.rpc("user.add", { name: "behind" });
		await entry({ action: "user.add", user: "behind" });
		assert.ok((await server.metrics()).signalbox_audit_dropped_total > 0);
	});

	test("forgets what is older than audit.keep", async (t) => {
		server.ahead(366 * DAY);
		await server.rpc("user.add", { name: "late" });
		await entry({ action: "user.add", user: "late" });
		server.ahead(0);
		assert.ok((await list({ user: "bob" })).length > 0);
		await server.stop();
		const later = await startServer({ t, data, config: { audit: { keep: "1h" } }, clock: true });
		later.ahead(2 * 3600);
		await later.logged("audit entries are too old and gone");
		const old = ({ happened_at }) => happened_at < Date.now() / 1000;
		const rest = async () => (await later.rpc("audit.list", {})).entries;
		for (const end = Date.now() + 20_000; Date.now() < end && (await rest()).some(old); );
		assert.deepEqual((await rest()).filter(old), []);
		assert.ok((await rest()).some(({ user }) => user === "late"), "what is not old stays");
	});
});
