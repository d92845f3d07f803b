// The samples of deploy/issuers as they lie there, only their addresses replaced, with tokens of the
// shape that each product documents; and the code in docs/ISSUERS.md. What is tried is that shape, not
// the product.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { connect } from "../support/client.mjs";
import { Issuer } from "../support/issuer.mjs";
import { ownDirectory, run, startServer } from "../support/server.mjs";

const root = resolve(import.meta.dirname, "../..");
const CALLER = ["datasets:read", "datasets:write", "rooms:create", "rooms:join", "rpc:call"];
const now = () => Math.floor(Date.now() / 1000);

async function start(t, name, replaced) {
	let config = readFileSync(join(root, `deploy/issuers/${name}.yaml`), "utf8");
	for (const [from, to] of Object.entries(replaced)) {
		assert.ok(config.includes(from), `${name}.yaml has ${from}`);
		config = config.replaceAll(from, to);
	}
	return startServer({ t, config });
}

async function startWith(t, name, address, path, { alg = "RS256", keys } = {}) {
	const issuer = (await new Issuer(name).listen()).discovered(path);
	if (keys) issuer.answer = (request, response) => (request.url === keys ? response.end(issuer.jwks) : response.writeHead(404).end());
	t.after(() => issuer.close());
	await issuer.addKey(alg);
	if (name === "entra") delete issuer.keys[0].jwk.alg; // Entra's keys do not say it
	return { issuer, server: await start(t, name, { [address]: issuer.url }) };
}

/** Who comes in, with which scopes. */
async function opens(server, token) {
	const c = await connect(server, { token });
	await c.close();
	return { user: c.session.user, scopes: c.session.scopes.sort() };
}

async function refuses(server, token, rule) {
	const c = await connect(server, { open: false });
	const before = server.log.length;
	await assert.rejects(c.call("session.open", { token }), { code: -32001, reason: "invalid_token" });
	await c.closed;
	assert.match(server.log.slice(before), new RegExp(`token refused" rule=${rule}`));
}

test("each sample is a configuration as it lies there", async () => {
	for (const name of ["keycloak", "auth0", "entra", "zitadel", "supabase"]) {
		const { code, stderr } = await run(["config", "check", "--config", join(root, `deploy/issuers/${name}.yaml`)]);
		assert.equal(code, 0, stderr);
	}
	const own = await run(["config", "check", "--config", join(root, "deploy/issuers/own-key.yaml")]);
	assert.match(own.stderr, /shop\.jwks\.json` cannot be read/); // and nothing else
	assert.equal(own.stderr.match(/issuers\./g).length, 1);
});

test("keycloak.yaml", async (t) => {
	const { issuer, server } = await startWith(t, "keycloak", "https://login.example.com", "/realms/calls");
	const header = { typ: "JWT" };
	const claims = (more) => ({
		jti: "onrtac:0f4b9d6e-6f3b-9a52-2d1c-8a4e6c3f1b7d",
		aud: ["https://calls.example.com", "account"],
		sub: "f1e2d3c4-0000-4000-8000-a1b2c3d4e5f6",
		typ: "Bearer",
		azp: "calls-web",
		sid: "4c0a3a8a-3a47-4f2f-8e89-9e5f9b0a0a0a",
		acr: "1",
		"allowed-origins": ["https://app.example.com"],
		realm_access: { roles: ["default-roles-calls", "offline_access", "uma_authorization", "calls-moderator"] },
		resource_access: { account: { roles: ["manage-account", "view-profile"] } },
		scope: "openid email profile",
		email_verified: true,
		name: "Ada Lovelace",
		preferred_username: "ada",
		...more,
	});
	const { user, scopes } = await opens(server, await issuer.token(claims(), { header }));
	assert.deepEqual(user, { id: "keycloak|f1e2d3c4-0000-4000-8000-a1b2c3d4e5f6", name: "Ada Lovelace" });
	assert.deepEqual(scopes, [...CALLER, "rooms:moderate"].sort());
	await refuses(server, await issuer.token(claims({ aud: "account" }), { header }), "audience"); // no mapper
	const id = { aud: ["calls-web", "https://calls.example.com"], typ: "ID", at_hash: undefined, nonce: undefined };
	await refuses(server, await issuer.token(claims(id), { header }), "type");
	const none = await opens(server, await issuer.token(claims({ realm_access: { roles: ["offline_access"] } }), { header }));
	assert.deepEqual(none.scopes, []);
});

test("auth0.yaml", async (t) => {
	const { issuer, server } = await startWith(t, "auth0", "https://example.eu.auth0.com", "/");
	const claims = (more) => ({
		sub: "auth0|507f1f77bcf86cd799439011",
		aud: ["https://calls.example.com", "https://example.eu.auth0.com/userinfo"],
		azp: "my_client_id",
		scope: "openid profile rooms:join",
		permissions: ["rooms:join", "rooms:create"],
		...more,
	});
	for (const typ of ["JWT", "at+jwt"]) {
		const { user, scopes } = await opens(server, await issuer.token(claims(), { header: { typ } }));
		assert.equal(user.id, "auth0|auth0|507f1f77bcf86cd799439011");
		assert.deepEqual(scopes, ["rooms:create", "rooms:join"]);
	}
	await refuses(server, await issuer.token(claims({ aud: "my_client_id", nonce: "n" }), { header: { typ: "JWT" } }), "audience");
	await refuses(server, await issuer.token(claims({ iss: issuer.url }), { header: { typ: "JWT" } }), "issuer"); // without its slash
});

test("entra.yaml", async (t) => {
	const tenant = "11111111-2222-3333-4444-555555555555";
	const { issuer, server } = await startWith(t, "entra", "https://login.microsoftonline.com", `/${tenant}/v2.0`);
	const header = { typ: "JWT" };
	const claims = (more) => ({
		aud: "66666666-7777-8888-9999-000000000000",
		nbf: now(),
		aio: "AWQAm/8bAAAAtWq",
		azp: "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
		azpacr: "0",
		name: "Ada Lovelace",
		oid: "0f0f0f0f-1111-2222-3333-444444444444",
		preferred_username: "ada@example.com",
		rh: "0.AXkA",
		roles: ["Calls.Moderator"],
		scp: "access_as_user",
		sub: "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ",
		tid: tenant,
		uti: "fqiBqXLPj0eQa82S-IYFAA",
		ver: "2.0",
		...more,
	});
	const { user, scopes } = await opens(server, await issuer.token(claims(), { header }));
	assert.deepEqual(user, { id: "entra|HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ", name: "Ada Lovelace" });
	assert.deepEqual(scopes, [...CALLER, "rooms:moderate"].sort());
	// a program by itself has roles and no scp
	const program = await opens(server, await issuer.token(claims({ scp: undefined, roles: ["Calls.Admin"], name: undefined, preferred_username: undefined }), { header }));
	assert.deepEqual(program.scopes, ["admin"]);
	await refuses(server, await issuer.token(claims({ iss: `https://sts.windows.net/${tenant}/`, ver: "1.0" }), { header }), "issuer");
	await refuses(server, await issuer.token(claims({ aud: "00000003-0000-0000-c000-000000000000" }), { header }), "audience");
});

test("zitadel.yaml", async (t) => {
	const { issuer, server } = await startWith(t, "zitadel", "https://example.zitadel.cloud", "");
	const header = { typ: "JWT" };
	const claims = (more) => ({
		aud: ["123456789012345679@calls", "123456789012345678"],
		nbf: now(),
		jti: "V2_250000000000000000-at_250000000000000001",
		sub: "170079991923474689",
		"urn:zitadel:iam:org:project:roles": {
			caller: { 165460784409546242: "example.zitadel.cloud" },
			"another-projects": { 165460784409546242: "example.zitadel.cloud" },
		},
		...more,
	});
	const { user, scopes } = await opens(server, await issuer.token(claims(), { header }));
	assert.equal(user.id, "zitadel|170079991923474689");
	assert.deepEqual(scopes, CALLER);
	await refuses(server, await issuer.token(claims({ aud: ["123456789012345679@calls"] }), { header }), "audience");
});

test("supabase.yaml", async (t) => {
	const { issuer, server } = await startWith(t, "supabase", "https://abcdefghijklmnopqrst.supabase.co", "/auth/v1", {
		alg: "ES256",
		keys: "/auth/v1/.well-known/jwks.json",
	});
	const header = { typ: "JWT" };
	const claims = (more) => ({
		aud: "authenticated",
		sub: "123e4567-e89b-12d3-a456-426614174000",
		role: "authenticated",
		aal: "aal1",
		amr: [{ method: "password", timestamp: now() }],
		session_id: "123e4567-e89b-12d3-a456-426614174001",
		email: "ada@example.com",
		phone: "",
		is_anonymous: false,
		app_metadata: { provider: "email", providers: ["email"], roles: ["moderator"] },
		user_metadata: { full_name: "Ada Lovelace", roles: ["admin"] },
		...more,
	});
	const { user, scopes } = await opens(server, await issuer.token(claims(), { header }));
	assert.deepEqual(user, { id: "supabase|123e4567-e89b-12d3-a456-426614174000", name: "Ada Lovelace" });
	assert.deepEqual(scopes, [...CALLER, "rooms:moderate"].sort());
	const anonymous = await opens(server, await issuer.token(claims({ role: "anon", app_metadata: {} }), { header }));
	assert.deepEqual(anonymous.scopes, []);
});

test("supabase.yaml with the old shared secret, as its comment says", async (t) => {
	const secret = "super-secret-jwt-token-with-at-least-32-characters-long"; // as its own documentation has it
	const text = readFileSync(join(root, "deploy/issuers/supabase.yaml"), "utf8");
	const [, url] = text.match(/^ *jwks_url: (.*?)(?: #.*)?$/m);
	const server = await start(t, "supabase", {
		"    algorithms: [ES256]": "    #",
		[`    jwks_url: ${url}`]: "    #",
		"# algorithms: [HS256]": "algorithms: [HS256]",
		"# secret: the JWT secret": `secret: ${secret}`,
	});
	const issuer = new Issuer("x");
	issuer.issuer = "https://abcdefghijklmnopqrst.supabase.co/auth/v1";
	const key = { alg: "HS256", privateKey: new TextEncoder().encode(secret) };
	const token = await issuer.token({ aud: "authenticated", role: "authenticated" }, { key, header: { typ: "JWT" } });
	assert.deepEqual((await opens(server, token)).scopes, CALLER);
});

test("own-key.yaml, and the code in docs/ISSUERS.md as it stands there", async (t) => {
	const directory = ownDirectory();
	const docs = readFileSync(join(root, "docs/ISSUERS.md"), "utf8");
	const block = (language) => docs.match(new RegExp(`\`\`\`${language}\n([^]*?)\`\`\``))[1];
	const env = { ...process.env, PATH: `${dirname(process.execPath)}:${process.env.PATH}` };
	execFileSync("bash", ["-euc", block("sh")], { cwd: directory, env });
	const code = block("js").replace('"shop.key.pem"', JSON.stringify(join(directory, "shop.key.pem")));
	writeFileSync(join(directory, "token.mjs"), code);
	const { tokenFor } = await import(pathToFileURL(join(directory, "token.mjs")));
	copyFileSync(join(directory, "shop.jwks.json"), join(directory, "copy.json"));
	const server = await start(t, "own-key", { "/etc/signalbox/shop.jwks.json": join(directory, "copy.json") });
	const { user, scopes } = await opens(server, tokenFor({ id: "42", name: "Ada" }));
	assert.deepEqual(user, { id: "shop|42", name: "Ada" });
	assert.deepEqual(scopes, CALLER);
	assert.ok(!readFileSync(join(directory, "copy.json"), "utf8").includes('"d"'), "the private half stays where it is");
});
