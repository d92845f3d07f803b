// Tokens of issuers other than the embedded one: keys from a file and from an address, their rotation,
// what an issuer that is down or a flood of made-up keys does, and what such tokens allow.
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { exportJWK } from "jose";
import { connect } from "../support/client.mjs";
import { AUDIENCE, Issuer } from "../support/issuer.mjs";
import { bearer, rawConnect, request, requestText, upgrade } from "../support/raw.mjs";
import { anyNumber, ownDirectory, run, startServer } from "../support/server.mjs";

const KEY_COOLDOWN = 31; // seconds between two fetches of one issuer's keys, and a little

const directory = ownDirectory();
const now = () => Math.floor(Date.now() / 1000);

const filed = new Issuer("filed");
await filed.addKey("RS256");
await filed.addKey("ES256");
await filed.addKey("PS256");
const jwksFile = join(directory, "jwks.json");
writeFileSync(jwksFile, filed.jwks);

const served = await new Issuer("served").listen();
await served.addKey("ES256");
await served.addKey("RS256");
after(() => served.close());

const server = await startServer({
	clock: true,
	config: {
		limits: anyNumber,
		issuers: [
			filed.config({ jwks_file: jwksFile }),
			served.config({ allow_typ_jwt: true, default_scopes: ["rooms:join"] }),
		],
	},
});
after(() => server.stop());

async function opens(token) {
	const c = await connect(server, { token });
	await c.close();
	return c.session;
}

async function refuses(token, what) {
	const c = await connect(server, { open: false });
	await assert.rejects(c.call("session.open", { token }), { code: -32001, reason: "invalid_token" }, what);
	assert.equal((await c.closed).code, 3000);
}

test("keys from a file: RS256 and ES256; the user is alias|subject", async () => {
	for (const key of filed.keys.slice(0, 2)) {
		const session = await opens(await filed.token({ name: "Sam" }, { key }));
		assert.equal(session.user.id, "filed|sam");
		assert.equal(session.resumed, false);
	}
});

test("keys from an address: RS256 and ES256", async () => {
	for (const key of served.keys)
		assert.equal((await opens(await served.token({}, { key }))).user.id, "served|sam");
});

test("an algorithm that the issuer is not configured for is refused", async () => {
	await refuses(await filed.token({}, { key: filed.keys[2] }));
});

test("one issuer's key does not sign for the other", async () => {
	const sign = served.keys[0].privateKey;
	await refuses(await filed.token({}, { key: filed.keys[1], sign }));
	await refuses(await filed.token({ iss: served.issuer }, { key: filed.keys[1] }));
});

test("claims: issuer, audience, subject, times, type", async () => {
	const skew = 30;
	const bad = {
		"iss with a slash": { iss: `${filed.issuer}/` },
		"no iss": { iss: undefined },
		"another aud": { aud: "https://elsewhere.example" },
		"no aud": { aud: undefined },
		"aud is an empty list": { aud: [] },
		"no sub": { sub: undefined },
		"an empty sub": { sub: "" },
		"NUL in sub": { sub: "sam\0" },
		"no exp": { exp: undefined },
		"exp is over": { exp: now() - skew - 2 },
		"exp is a text": { exp: String(now() + 60) },
		"exp is huge": { exp: 1e300 },
		"exp is negative": { exp: -1 },
		"nbf to come": { nbf: now() + skew + 20 },
		"iat to come": { iat: now() + skew + 20 },
	};
	for (const [what, claims] of Object.entries(bad)) await refuses(await filed.token(claims).catch(() => "x"), what);
	for (const claims of [
		{ aud: ["https://elsewhere.example", AUDIENCE] },
		{ exp: now() + 60.5 },
		{ nbf: now() + skew - 10 },
		{ nbf: now() - 60, iat: now() - 60 },
	])
		await opens(await filed.token(claims));
	await refuses(await filed.token({}, { header: { typ: "JWT" } }), "typ JWT is not allowed here");
	await opens(await served.token({}, { header: { typ: "JWT" } }));
	await refuses(await served.token({ nonce: "n" }, { header: { typ: "JWT" } }), "an ID token");
	await opens(await filed.token({}, { header: { typ: "application/at+jwt" } }));
});

test("attacks on the header are refused", async () => {
	const [rsa, ec] = filed.keys;
	const payload = (await filed.token()).split(".")[1];
	const b64 = (value) => Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");
	await refuses(`${b64({ alg: "none", typ: "at+jwt" })}.${payload}.`);
	await refuses(`${b64({ alg: "none", typ: "at+jwt" })}.${payload}.AA`);
	// the public key's own text as the secret of an HMAC
	const secrets = [JSON.stringify(rsa.jwk), rsa.jwk.n, ec.jwk.x];
	for (const secret of secrets)
		await refuses(
			await filed.token({}, { key: { alg: "HS256", kid: rsa.kid }, sign: new TextEncoder().encode(secret.padEnd(32, "x")) }),
		);
	await refuses(await filed.token({}, { key: ec, header: { kid: rsa.kid } }), "the wrong key's kid");
	const stranger = generateKeyPairSync("ec", { namedCurve: "P-256" });
	const jwk = await exportJWK(stranger.publicKey);
	for (const header of [{ jwk }, { jku: `http://127.0.0.1:${served.port}/jwks` }, { x5u: "https://x.example" }])
		await refuses(await filed.token({}, { key: { ...ec }, header, sign: stranger.privateKey }), JSON.stringify(header));
	await opens(await filed.token({}, { key: ec, header: { jku: "https://x.example", jwk } })); // not looked at
	const crit = b64({ alg: "ES256", kid: ec.kid, typ: "at+jwt", crit: ["x"], x: 1 });
	await refuses(`${crit}.${payload}.${(await filed.token({}, { key: ec })).split(".")[2]}`);
	for (const kid of ["../../etc/passwd", "' OR 1=1 --", "k".repeat(2000), "\0"])
		await refuses(await filed.token({}, { key: ec, header: { kid } }), kid);
});

test("the scope claim is the grant; without it, what the configuration says", async () => {
	const grant = async (claims) => (await opens(await served.token(claims))).scopes;
	assert.deepEqual(await grant({}), ["rooms:join"]);
	assert.deepEqual(await grant({ scope: "rooms:create" }), ["rooms:create"]);
	assert.deepEqual((await grant({ scope: "openid rooms:create profile rooms:join" })).sort(), ["rooms:create", "rooms:join"]);
	assert.deepEqual(await grant({ scope: "" }), []);
});

test("a scope that is missing is forbidden, and named", async () => {
	const c = await connect(server, { token: await served.token({ scope: "rooms:create" }) });
	await assert.rejects(c.call("room.join", { room: "team-a" }), {
		code: -32003,
		data: { reason: "insufficient_scope", field: "rooms:join" },
	});
	const d = await connect(server, { token: await served.token({ scope: "rooms:join" }) });
	for (const [method, params, field] of [
		["room.create", { name: "team-a" }, "rooms:create"],
		["user.list", {}, "admin"],
		["token.mint", { user: "x" }, "admin"],
	])
		await assert.rejects(d.call(method, params), (error) => {
			assert.deepEqual([error.code, error.data.field], [-32003, field], method);
			return true;
		});
	await c.close();
	await d.close();
});

test("the claim signalbox narrows the rooms", async () => {
	const token = await served.token({ scope: "rooms:join rooms:create", signalbox: { rooms: ["team-*", "hall"] } });
	const c = await connect(server, { token });
	for (const room of ["team-1", "team-", "hall"]) assert.equal((await c.call("room.join", { room })).room, room);
	for (const room of ["team", "halls", "xteam-1", "Team-1", "x"])
		await assert.rejects(c.call("room.join", { room }), { code: -32003 }, room);
	await c.close();
	const none = await connect(server, { token: await served.token({ scope: "rooms:join rooms:create", signalbox: { rooms: [] } }) });
	await assert.rejects(none.call("room.join", { room: "team-1" }), { code: -32003 });
	await none.close();
	for (const signalbox of [{ rooms: "team-*" }, { rooms: [1] }, [], "x"])
		await refuses(await served.token({ signalbox }), JSON.stringify(signalbox));
});

test("clients are told whose tokens count here, also without an issuer of our own", async (t) => {
	const told = async (at) => JSON.parse((await request(at, "GET /.well-known/oauth-protected-resource")).body);
	const { resource, authorization_servers } = await told(server);
	assert.deepEqual(authorization_servers, [resource, served.issuer]); // who only has a key in a file signs for itself
	const far = await new Issuer("far").listen();
	t.after(() => far.close());
	const issuer = { enabled: false, url: "https://calls.example" };
	const other = await startServer({ t, config: { issuer, issuers: [far.discovered().config({ jwks_url: "" })] } });
	const document = await told(other);
	assert.equal(document.resource, issuer.url);
	assert.deepEqual(document.authorization_servers, [far.issuer]);
	assert.deepEqual(document.bearer_methods_supported, ["header"]);
});

test("token verify says principal and grant", async () => {
	const token = await served.token({ scope: "rooms:join", signalbox: { rooms: ["team-*"] }, client_id: "app" });
	const { code, stdout } = await run(["token", "verify", "--json", "--data", server.data], { input: token });
	assert.equal(code, 0);
	const said = JSON.parse(stdout);
	assert.deepEqual(
		[said.user, said.issuer, said.subject, said.client, said.scope, said.rooms],
		["served|sam", served.issuer, "sam", "app", "rooms:join", ["team-*"]],
	);
	const bad = await run(["token", "verify", "--data", server.data], { input: await served.token({ aud: "x" }) });
	assert.equal(bad.code, 1);
	assert.match(bad.stderr, /aud/);
});

test("rotation: an unknown kid is asked for once, others wait for the cooldown", async () => {
	const fresh = await served.addKey("ES256", "rotated");
	let ahead = KEY_COOLDOWN;
	server.ahead(ahead); // the keys were fetched when the server started
	const before = served.requests;
	assert.equal((await opens(await served.token({}, { key: fresh }))).user.id, "served|sam");
	assert.equal(served.requests, before + 1);

	// within the cooldown: refused, and the issuer hears nothing of it
	const made = Array.from({ length: 50 }, (_, i) => served.token({}, { key: { ...fresh, kid: `made-up-${i}` } }));
	await Promise.all((await Promise.all(made)).map((token) => refuses(token)));
	assert.equal(served.requests, before + 1);

	// behind it a flood costs one request
	server.ahead((ahead += KEY_COOLDOWN));
	await Promise.all((await Promise.all(made)).map((token) => refuses(token)));
	assert.equal(served.requests, before + 2);

	// a key that is withdrawn no longer counts once the set was fetched again, cached token or not
	const token = await served.token({}, { key: served.keys[1] });
	await opens(token);
	served.keys.splice(1, 1);
	server.ahead((ahead += KEY_COOLDOWN));
	await refuses(await served.token({}, { key: { ...fresh, kid: "makes-it-fetch" } }));
	await refuses(token, "its key is gone");
	await opens(await served.token({}, { key: fresh }));
});

test("an issuer that is down: 503 and overloaded, then its tokens count", async (t) => {
	const late = await new Issuer("late").listen();
	await late.addKey("ES256");
	const { port } = late;
	await late.close();
	const other = await startServer({ t, clock: true, workers: 4, config: { issuers: [late.config()] } });
	await other.logged("could not be fetched");
	const token = await late.token();
	const response = await upgrade(other, bearer(token));
	assert.equal(response.status, 503);
	assert.ok(Number(response.headers["retry-after"]) > 0);
	const c = await connect(other, { open: false });
	await assert.rejects(c.call("session.open", { token }), (error) => {
		assert.deepEqual([error.code, error.reason], [-32030, "overloaded"]);
		assert.ok(error.data.retry_after > 0);
		return true;
	});
	assert.equal((await c.closed).code, 3008);
	// nothing is held against who sends it, so that the log does not say each
	for (let i = 0; i < 40; i++) assert.equal((await request(other, "POST /v1/rpc", bearer(token), "{}")).status, 503);
	const said = other.log.match(/"token refused" rule=key why="the issuer's keys are not there"/g).length;
	assert.ok(said >= 1 && said <= 4, `${said} lines of four workers`);
	// the embedded issuer's do not suffer
	await (await connect(other, { user: "ann" })).close();

	await late.listen(port);
	t.after(() => late.close());
	other.ahead(KEY_COOLDOWN);
	for (let i = 0; i < 8; i++) await (await connect(other, { token })).close(); // each worker has them
	assert.equal((await upgrade(other, bearer(token))).status, 101);
	assert.equal(late.requests, 1);
});

test("SIGTERM while tokens wait for an issuer's keys: everybody is answered, at once", async (t) => {
	const silent = await new Issuer("silent").listen();
	t.after(() => silent.close());
	await silent.addKey("ES256");
	silent.answer = () => {};
	const config = { auth: { jwks_timeout: "60s", session_open_timeout: "60s" }, issuers: [silent.config()] };
	const other = await startServer({ t, workers: 2, config });
	const token = await silent.token();
	const openings = await Promise.all([1, 2].map(() => connect(other, { open: false })));
	const opened = openings.map((c) => c.call("session.open", { token }).then(() => "opened", ({ reason }) => reason));
	const posted = Array.from({ length: 6 }, () => request(other, "POST /v1/rpc", bearer(token), "{}"));
	await new Promise((done) => setTimeout(done, 500));
	assert.ok(silent.requests > 0);
	const begun = Date.now();
	await other.stop();
	assert.ok(Date.now() - begun < 2000, `${Date.now() - begun} ms`);
	assert.deepEqual(await Promise.all(opened), ["overloaded", "overloaded"]);
	for (const { status } of await Promise.all(posted)) assert.equal(status, 503);
});

/** Seconds of processor time that a process has used. */
function processorTime({ pid }) {
	const [user, system] = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ").slice(11, 13);
	return (Number(user) + Number(system)) / 100;
}

for (const [what, behind] of Object.entries({ "ends its side": "", "says more than its request": "GET / HTTP/1.1\r\n\r\n" }))
	test(`a client that ${what} while its request waits costs nothing, and is answered`, async (t) => {
		const late = await new Issuer("late").listen();
		t.after(() => late.close());
		await late.addKey("ES256");
		const asked = new Promise((done) => (late.answer = (request, response) => done(response)));
		const config = { auth: { jwks_timeout: "60s" }, issuers: [late.config()] };
		const other = await startServer({ t, workers: 1, config });
		const headers = { ...bearer(await late.token()), Host: `127.0.0.1:${other.port}` };
		const raw = await rawConnect(other);
		raw.socket.allowHalfOpen = true;
		raw.write(requestText("POST /v1/rpc", { ...headers, "Content-Length": 0 }));
		const response = await asked;
		await request(other, "GET /health");
		if (behind) raw.write(behind);
		else raw.socket.end();
		const LOOK_MS = 500;
		const before = processorTime(other);
		await new Promise((done) => setTimeout(done, LOOK_MS));
		const used = processorTime(other) - before;
		assert.ok(used < LOOK_MS / 5000, `${used} s of processor time with nothing to do`);
		assert.equal(raw.bytes.length, 0);
		response.setHeader("content-type", "application/json").end(late.jwks);
		assert.equal((await raw.response()).status, 400); // it has no body
		await raw.gone();
	});

test("an issuer's answer that is no key set changes nothing", async (t) => {
	const odd = await new Issuer("odd").listen();
	t.after(() => odd.close());
	await odd.addKey("ES256");
	const other = await startServer({ t, clock: true, config: { auth: { jwks_timeout: "1s" }, issuers: [odd.config()] } });
	const good = await odd.token();
	await (await connect(other, { token: good })).close();
	const answers = {
		redirect: (request, response) => response.writeHead(302, { location: `http://127.0.0.1:${served.port}/jwks` }).end(),
		"not JSON": (request, response) => response.end("<html>"),
		empty: (request, response) => response.end(),
		"status 500": (request, response) => response.writeHead(500).end(odd.jwks),
		"too large": (request, response) => response.end(Buffer.alloc(300 * 1024, 32)),
		endless: (request, response) => {
			const more = () => response.destroyed || response.write(Buffer.alloc(65536, 32), more);
			more();
		},
		"two of a kid": (request, response) =>
			response.end(JSON.stringify({ keys: [odd.keys[0].jwk, odd.keys[0].jwk] })),
		"never ends": (request, response) => response.write("{"),
	};
	let ahead = 0;
	for (const [what, answer] of Object.entries(answers)) {
		odd.answer = answer;
		other.ahead((ahead += KEY_COOLDOWN));
		const asked = odd.requests;
		const c = await connect(other, { open: false });
		const made = await odd.token({}, { key: { ...odd.keys[0], kid: `for-${what}` } });
		await assert.rejects(c.call("session.open", { token: made }), { code: -32001 }, what);
		assert.equal(odd.requests, asked + 1, what);
		await (await connect(other, { token: good })).close();
	}
});
