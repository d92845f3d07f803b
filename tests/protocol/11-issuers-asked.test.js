// Issuers that are found by their discovery document, sign with a shared secret, say what their users
// may do in their own way, or are asked about tokens that only they can read.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { connect } from "../support/client.mjs";
import { AUDIENCE, Issuer } from "../support/issuer.mjs";
import { bearer, request, upgrade } from "../support/raw.mjs";
import { anyNumber, run, startServer } from "../support/server.mjs";

const COOLDOWN = 31; // seconds between two fetches of one issuer, and a little
const SECRET = "a secret of thirty-two bytes, ok"; // of a test, and of nobody else

async function start(t, issuers, more = {}) {
	return startServer({ t, clock: true, ...more, config: { limits: anyNumber, issuers, ...more.config } });
}

async function opens(server, token) {
	const c = await connect(server, { token });
	await c.close();
	return c.session;
}

async function refuses(server, token, what) {
	const c = await connect(server, { open: false });
	await assert.rejects(c.call("session.open", { token }), { code: -32001, reason: "invalid_token" }, what);
	assert.equal((await c.closed).code, 3000);
}

async function overloaded(server, token, what) {
	const c = await connect(server, { open: false });
	await assert.rejects(c.call("session.open", { token }), { code: -32030, reason: "overloaded" }, what);
	assert.equal((await c.closed).code, 3008);
}

async function issuerOf(t, name, path) {
	const issuer = (await new Issuer(name).listen()).discovered(path);
	t.after(() => issuer.close());
	await issuer.addKey("ES256");
	return issuer;
}

test("discovery: at the place of OpenID Connect, at that of RFC 8414, and where the configuration says", async (t) => {
	const oidc = await issuerOf(t, "oidc", "/realms/a");
	const oauth = await issuerOf(t, "oauth", "/tenant");
	oauth.only = "oauth";
	const moved = await issuerOf(t, "moved");
	moved.issuer = "https://moved.example"; // nobody is there
	moved.answer = (request, response) =>
		response.end(request.url === "/elsewhere.json" ? JSON.stringify(moved.document) : moved.jwks);
	const server = await start(t, [
		oidc.config(),
		oauth.config(),
		moved.config({ jwks_url: undefined, discovery_url: `${moved.url}/elsewhere.json` }),
	]);
	for (const issuer of [oidc, oauth, moved])
		assert.equal((await opens(server, await issuer.token())).user.id, `${issuer.alias}|sam`);
	// keys that change are found without another look at the document
	const key = await oidc.addKey("RS256");
	const before = oidc.requests;
	server.ahead(COOLDOWN);
	await opens(server, await oidc.token({}, { key }));
	assert.equal(oidc.requests, before + 1);
});

test("a discovery document that is somebody else's, or leads astray, gives no keys", async (t) => {
	const issuer = await issuerOf(t, "odd");
	const documents = {
		"another issuer": { ...issuer.document, issuer: `${issuer.issuer}/` },
		"no issuer": { jwks_uri: `${issuer.url}/jwks` },
		"no jwks_uri": { issuer: issuer.issuer },
		"not https": { issuer: issuer.issuer, jwks_uri: "http://192.0.2.1/jwks" },
		"not http": { issuer: issuer.issuer, jwks_uri: "file:///etc/passwd" },
		"a member twice": `{"issuer":"${issuer.issuer}","issuer":"x","jwks_uri":"${issuer.url}/jwks"}`,
		deep: `{"issuer":"${issuer.issuer}","x":${"[".repeat(5000)}${"]".repeat(5000)},"jwks_uri":"${issuer.url}/jwks"}`,
		large: JSON.stringify({ ...issuer.document, x: "x".repeat(70_000) }),
	};
	let ahead = 0;
	let document;
	issuer.answer = (request, response) =>
		response.end(request.url === "/jwks" ? issuer.jwks : typeof document === "string" ? document : JSON.stringify(document));
	document = documents["another issuer"];
	const server = await start(t, [issuer.config()]);
	const token = await issuer.token();
	for (const [what, text] of Object.entries(documents)) {
		document = text;
		server.ahead((ahead += COOLDOWN));
		await overloaded(server, token, what);
	}
	document = issuer.document;
	server.ahead((ahead += COOLDOWN));
	await opens(server, token);
	assert.match(server.log, /its `issuer` is not the one/);
});

test("a shared secret: HS256 with it, and nothing else", async (t) => {
	const secret = new TextEncoder().encode(SECRET);
	const issuer = new Issuer("shared");
	const key = { alg: "HS256", kid: undefined, privateKey: secret };
	const server = await start(t, [issuer.config({ algorithms: ["HS256"], secret: SECRET, allow_typ_jwt: true })]);
	const token = await issuer.token({}, { key, header: { typ: "JWT" } });
	assert.equal((await opens(server, token)).user.id, "shared|sam");
	await refuses(server, await issuer.token({}, { key: { ...key, privateKey: new TextEncoder().encode("x".repeat(32)) } }));
	await refuses(server, await issuer.token({}, { key: { ...key, alg: "HS384" } }));
	const ec = await issuer.addKey("ES256");
	await refuses(server, await issuer.token({}, { key: ec }));
	const shown = await run(["config", "show", "--config", `${server.data}.yaml`]);
	assert.ok(/secret: "?\*\*\*/.test(shown.stdout) && !shown.stdout.includes(SECRET));
});

test("roles, names and rooms come from where the configuration says", async (t) => {
	const issuer = await issuerOf(t, "mapped");
	const server = await start(t, [
		issuer.config({
			name_claim: "profile.nick",
			scope_claims: ["scope", "permissions"],
			role_claims: ["realm_access.roles", "https://x\\.example/roles"],
			role_scopes: ["caller=rooms:join rooms:create", "head=rooms:moderate"],
			rooms_claim: "may.enter",
		}),
	]);
	const roles = ["caller", "other"];
	const token = await issuer.token({
		profile: { nick: "Sammy" },
		realm_access: { roles },
		"https://x.example/roles": { head: {} },
		permissions: ["datasets:read"],
		may: { enter: ["team-*"] },
	});
	const c = await connect(server, { token });
	assert.equal(c.session.user.name, "Sammy");
	assert.deepEqual(c.session.scopes.sort(), ["datasets:read", "rooms:create", "rooms:join", "rooms:moderate"]);
	await c.call("room.join", { room: "team-1" });
	await assert.rejects(c.call("room.join", { room: "hall" }), { code: -32003 });
	await c.close();
	const bare = await connect(server, { token: await issuer.token({ realm_access: { roles: ["other"] } }) });
	assert.deepEqual(bare.session.scopes, []);
	await bare.close();
});

test("opaque tokens: the issuer is asked once, its answer is the grant, and is believed for a while", async (t) => {
	const issuer = await issuerOf(t, "asked");
	const server = await start(t, [issuer.asked()], { workers: 4 });
	const token = issuer.opaqueToken({ scope: "rooms:join", name: "Sam", jti: "j" });
	let release;
	issuer.hold = new Promise((done) => (release = done));
	const many = Promise.all(Array.from({ length: 12 }, () => opens(server, token)));
	await issuer.questioned;
	release();
	for (const session of await many) {
		assert.equal(session.user.id, "asked|sam");
		assert.deepEqual(session.scopes, ["rooms:join"]);
	}
	assert.deepEqual(issuer.questions, [token]);
	assert.equal((await request(server, "POST /v1/rpc", bearer(token), '{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}')).status, 200);
	// withdrawn there: told when the answer is no longer believed
	issuer.opaque.delete(token);
	await opens(server, token);
	server.ahead(61);
	await refuses(server, token);
	assert.equal(issuer.questions.length, 2);
	await refuses(server, token);
	assert.equal(issuer.questions.length, 2, "a refusal is remembered, too");
	server.ahead(61 + 11);
	await refuses(server, token);
	assert.equal(issuer.questions.length, 3);
	const metrics = await server.metrics();
	assert.equal(metrics.signalbox_introspections_total, 3);
});

test("opaque tokens: one that is taken back here stays so, whatever its issuer says; its session ends with 4501", async (t) => {
	const issuer = await issuerOf(t, "taken");
	const server = await start(t, [issuer.asked()], { workers: 2 });
	const [token, other] = [issuer.opaqueToken(), issuer.opaqueToken()]; // without a jti
	const [c, d] = [await connect(server, { token }), await connect(server, { token: other })];
	await server.rpc("token.revoke", { token });
	assert.equal((await c.closed).code, 4501);
	await refuses(server, token);
	server.ahead(61);
	await refuses(server, token);
	await opens(server, other);
	await d.close();
});

test("opaque tokens: an answer never outlives the token", async (t) => {
	const issuer = await issuerOf(t, "brief");
	const server = await start(t, [issuer.asked()]);
	const token = issuer.opaqueToken({ exp: Math.floor(Date.now() / 1000) + 20 });
	await opens(server, token);
	server.ahead(21);
	await refuses(server, token);
});

test("opaque tokens: what the issuer says is held against the same rules as a token", async (t) => {
	const issuer = await issuerOf(t, "rules");
	const server = await start(t, [issuer.asked()]);
	const now = Math.floor(Date.now() / 1000);
	const bad = {
		"not active": { active: false },
		"active is a text": { active: "true" },
		"another iss": { iss: "https://other.example" },
		"another aud": { aud: "https://other.example" },
		"no aud": { aud: undefined },
		"it has ended": { exp: now - 1 },
		"no exp": { exp: undefined },
		"no sub": { sub: undefined },
		"bound to a key": { cnf: { jkt: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" } },
		"bound to a certificate": { cnf: { "x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2" } },
		"a DPoP token": { token_type: "DPoP" },
		"a refresh token": { typ: "Refresh" },
		"odd scopes": { scope: 7 },
	};
	for (const [what, claims] of Object.entries(bad)) await refuses(server, issuer.opaqueToken(claims), what);
	await opens(server, issuer.opaqueToken({ iss: undefined, aud: ["x", AUDIENCE] }));
	await refuses(server, "made-up");
});

test("opaque tokens: an issuer that does not answer says nothing of a token", async (t) => {
	const issuer = await issuerOf(t, "down");
	const server = await start(t, [issuer.asked()], { config: { auth: { jwks_timeout: "1s" } } });
	await opens(server, issuer.opaqueToken());
	const answers = {
		"status 500": (response) => response.writeHead(500).end("{}"),
		"our secret is wrong": (response) => response.writeHead(401).end(),
		redirect: (response) => response.writeHead(307, { location: `${issuer.url}/introspect` }).end(),
		"not JSON": (response) => response.end("<html>"),
		"two of a member": (response) => response.end('{"active":false,"active":true}'),
		"too large": (response) => response.end(`{"x":"${"x".repeat(70_000)}"}`),
		deep: (response) => response.end("[".repeat(60_000)),
		"never ends": (response) => response.write("{"),
		gone: (response) => response.destroy(),
	};
	for (const [what, answer] of Object.entries(answers)) {
		issuer.answer = (request, response) => answer(response);
		await overloaded(server, issuer.opaqueToken(), what);
	}
	issuer.answer = undefined;
	await opens(server, issuer.opaqueToken());
	assert.equal(server.log.match(/could not be asked about a token/g).length, 1, "once in ten seconds");
});

test("opaque tokens: only so many questions at once, and others do not suffer", async (t) => {
	const issuer = await issuerOf(t, "busy");
	const server = await start(t, [issuer.asked()]);
	let release;
	issuer.hold = new Promise((done) => (release = done));
	const good = await issuer.token();
	const asked = Array.from({ length: 80 }, () =>
		request(server, "POST /v1/rpc", bearer(issuer.opaqueToken()), "[]").then(({ status }) => status),
	);
	const refused = asked.map((status) => status.then((code) => code === 503));
	await Promise.race(refused);
	await opens(server, good);
	release();
	const all = await Promise.all(asked);
	assert.equal(all.filter((status) => status === 503).length, 80 - 64);
	assert.equal(issuer.questions.length, 64);
});

test("a token is asked about only where it may be one, and its text goes nowhere else", async (t) => {
	const issuer = await issuerOf(t, "shy");
	const server = await start(t, [issuer.asked()]);
	for (const token of ["a b", "tok\u00e9n"]) await refuses(server, token);
	await refuses(server, `${await issuer.token()}x`);
	await refuses(server, await issuer.token({}, { key: { ...issuer.keys[0], kid: "made-up" } }));
	assert.deepEqual(issuer.questions, []);
	const token = "opaque-and-made-up";
	await refuses(server, token);
	assert.deepEqual(issuer.questions, [token]);
	assert.ok(!server.log.includes(token));
});

test("a handshake with a token whose issuer has to be asked first waits for it, and is refused only by it", async (t) => {
	const issuer = await issuerOf(t, "handshake");
	const server = await start(t, [issuer.asked()], { workers: 2 });
	const who = async (token, headers = bearer(token)) => {
		const c = await connect(server, { headers, open: false });
		const session = await c.call("session.open", {});
		await c.close();
		return session.user.id;
	};
	assert.equal(await who(issuer.opaqueToken()), "handshake|sam");
	// a new key, at once
	const key = await issuer.addKey("ES256", "fresh");
	server.ahead(COOLDOWN);
	assert.equal(await who(await issuer.token({}, { key })), "handshake|sam");
	// two credentials are one too many also while the first is being looked at
	let release;
	issuer.hold = new Promise((done) => (release = done));
	const held = await connect(server, { headers: bearer(issuer.opaqueToken()), open: false });
	await assert.rejects(held.call("session.open", { token: await issuer.token() }), { code: -32602, reason: "two_credentials" });
	assert.equal((await held.closed).code, 3000);
	// what comes before the answer waits, but only one session.open
	const early = await connect(server, { headers: bearer(issuer.opaqueToken()), open: false });
	const opened = early.call("session.open", {});
	release();
	assert.equal((await opened).user.id, "handshake|sam");
	await early.close();
	// refused: with a code, and with an answer where session.open was called
	const silent = await connect(server, { headers: bearer("made-up"), open: false });
	assert.equal((await silent.closed).code, 3000);
	issuer.hold = new Promise((done) => (release = done));
	const asking = await connect(server, { headers: bearer("made-up too"), open: false }).catch((error) => error);
	assert.equal(asking.status, 400, "not one token");
	const told = await connect(server, { headers: bearer("made-up-as-well"), open: false });
	const refused = assert.rejects(told.call("session.open", {}), { code: -32001, reason: "invalid_token" });
	release();
	await refused;
	assert.equal((await told.closed).code, 3000);
	// known by now: refused as other bad tokens are
	server.ahead(2 * COOLDOWN);
	const made = await issuer.token({}, { key: { ...key, kid: "made-up" } });
	await refuses(server, made);
	assert.equal((await upgrade(server, bearer(await issuer.token({}, { key: { ...key, kid: "made-up-2" } })))).status, 401);
});

test("token verify --explain says what each step found and wanted", async (t) => {
	const issuer = await issuerOf(t, "told");
	const server = await start(t, [issuer.asked()]);
	const explain = async (token, ...more) => run(["token", "verify", "--explain", "--data", server.data, ...more], { input: token });
	const good = await explain(await issuer.token({ scope: "rooms:join" }));
	assert.equal(good.code, 0);
	assert.match(good.stdout, /ok {3}audience/);
	assert.match(good.stdout, /user: "told\|sam"/);
	const told = async (token) => {
		const { code, stdout } = await explain(token, "--json");
		assert.equal(code, 1);
		const { valid, steps } = JSON.parse(stdout);
		assert.equal(valid, false);
		const last = steps.pop();
		assert.ok(!last.passed && steps.every(({ passed }) => passed));
		return last;
	};
	const audience = await told(await issuer.token({ aud: ["account", "x"] }));
	assert.deepEqual([audience.step, audience.found, audience.wanted], ["audience", 'aud ["account","x"]', AUDIENCE]);
	const iss = await told(await issuer.token({ iss: `${issuer.issuer}/` }));
	assert.equal(iss.step, "issuer");
	assert.ok(iss.found.includes(`${issuer.issuer}/`) && iss.wanted.includes(issuer.issuer));
	const key = await told(await issuer.token({}, { key: { ...issuer.keys[0], kid: "other" } }));
	assert.deepEqual([key.step, key.found, key.wanted], ["key", "kid other", issuer.keys[0].kid]);
	const typ = await told(await issuer.token({}, { header: { typ: "JWT" } }));
	assert.deepEqual([typ.step, typ.found], ["type", "typ JWT"]);
	assert.match(typ.wanted, /allow_typ_jwt/);
	assert.equal((await told(await issuer.token({ exp: 1 }))).step, "times");
	assert.equal((await told(await issuer.token({ cnf: {} }))).step, "binding");
	assert.equal((await told("made-up")).step, "active");
	assert.equal((await told(issuer.opaqueToken({ aud: "x" }))).step, "audience");
	// the log has the rule and the issuer, in one line a token, and nothing of the token
	const before = server.log.length;
	await refuses(server, await issuer.token({ aud: "x" }));
	const lines = server.log.slice(before).split("\n").filter((line) => /refused/.test(line));
	assert.equal(lines.length, 1, lines.join("\n"));
	assert.match(lines[0], /rule=audience/);
	assert.ok(lines[0].includes(issuer.issuer) && lines[0].includes(issuer.keys[0].kid));
});
