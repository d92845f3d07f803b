// The command line: each command with and without a running service, its exit codes, and how serve starts,
// refuses to start, and ends.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import { createLocalJWKSet, decodeJwt, jwtVerify } from "jose";
import WebSocket from "ws";
import { connect, within } from "../support/client.mjs";
import { request } from "../support/raw.mjs";
import { ownDirectory, run, startServer } from "../support/server.mjs";

const [DONE, REFUSED, USAGE] = [0, 1, 2];
const folder = ownDirectory();
const offline = join(folder, "offline");
const server = await startServer();
after(() => server.stop());

/** A command on the data of the running service, or of none. */
const cli = (words, options) => run(words.split(" ").concat("--data", server.data), options);
const alone = (words, options) => run(words.split(" ").concat("--data", offline), options);

async function done(promise) {
	const { code, stdout, stderr } = await promise;
	assert.equal(code, DONE, stderr);
	return stdout;
}

async function fails(promise, code, pattern) {
	const result = await promise;
	assert.equal(result.code, code, result.stdout + result.stderr);
	assert.match(result.stderr, pattern);
	assert.equal(result.stdout, "");
	return result;
}

const commands = [
	"serve", "user add", "user list", "user disable", "user enable", "user passwd", "user factor-off", "invitation add",
	"invitation list", "invitation remove", "client add", "client list", "client remove",
	"room list", "room show", "room update", "room close", "room roles", "room grant", "audit list",
	"user show", "client show", "client update", "client secret", "key list", "key rotate", "key remove", "token mint", "token inspect", "token verify", "token revoke", "revocation list", "session list", "session end", "jws verify", "config check", "config show",
	"config reference", "bench",
];

test("serve --lan wants an address of this machine", async () => {
	for (const wrong of ["", "nowhere", "::1", "10.0.0.1:", "10.0.0.1:0", "10.0.0.1:99999", "10.0.0.1:8x"])
		await fails(run(["serve", "--data", offline, `--lan=${wrong}`]), USAGE, /is no address; write one of this machine's/);
	await fails(run(["serve", "--data", "/proc/nowhere", "--lan=127.0.0.1"]), REFUSED, /cannot make the data directory \/proc\/nowhere/);
});

test("help lists every command; each has --help", async () => {
	const all = await done(run(["help"]));
	for (const words of commands) assert.ok(all.includes(words.startsWith("config") ? "config" : words), words);
	await Promise.all(
		commands.map(async (words) => {
			const { code, stdout, stderr } = await run([...words.split(" "), "--help"]);
			assert.deepEqual([words, code, stderr], [words, DONE, ""]);
			assert.match(stdout, /^usage: signalbox/i);
		}),
	);
	assert.match(await done(run(["version"])), /^signalbox \d+\.\d+\.\d+\n$/);
	assert.equal((await run([])).code, USAGE);
});

test("a wrong word is a usage error that names the nearest right one", async () => {
	await fails(run(["sevre"]), USAGE, /no command `sevre`; did you mean `serve`\?/);
	await fails(run(["user", "ad", "x"]), USAGE, /did you mean `user add`\?/);
	await fails(run(["tokn", "mint"]), USAGE, /did you mean `token mint`\?/);
	await fails(run(["xyzzy"]), USAGE, /no command `xyzzy`\n/);
	await fails(cli("token mint --usr ann"), USAGE, /--usr`; did you mean `--user`\?/);
	await fails(cli("user add"), USAGE, /NAME/);
	await fails(cli("user add a b"), USAGE, /too many: `b`/);
	await fails(run(["token", "mint", "--user"]), USAGE, /missing after `--user`/);
	await fails(cli("token mint --user ann --expires soon"), USAGE, /soon/);
	await fails(cli("token mint --user ann --claim [1]"), USAGE, /claim|\[1\]/);
	await fails(run(["serve", "--lisen", "x"]), USAGE, /did you mean .*--listen/);
});

for (const [where, sb] of [["a running service", cli], ["no service running", alone]])
	test(`users, clients and tokens, with ${where}`, async () => {
		const added = await done(sb("user add carol"));
		assert.match(added, /^name: carol\npassword: \S{12,}\n$/);
		await fails(sb("user add carol"), REFUSED, /./);
		await fails(sb("user add Not..Allowed!"), REFUSED, /./);
		assert.doesNotMatch(await done(sb("user add dave --password-stdin", { input: "correct horse battery\n" })), /password/);
		await fails(sb("user add eve --password-stdin", { input: "x" }), REFUSED, /password/);
		await done(sb("user passwd dave --password-stdin", { input: "another good password" }));
		await fails(sb("user passwd nobody --password-stdin", { input: "another good password" }), REFUSED, /./);
		await fails(sb("user factor-off dave"), REFUSED, /no user of this name with a second factor/);
		const { users } = JSON.parse(await done(sb("user list --json")));
		assert.ok(["carol", "dave"].every((name) => users.some((user) => user.name === name)));
		assert.match(await done(sb("user list")), /carol/);

		const client = JSON.parse(await done(sb("client add backend --grant client_credentials --scope rooms:join --json")));
		assert.ok(client.client_id && client.client_secret);
		const page = JSON.parse(
			await done(sb("client add page --grant authorization_code --redirect https://app.example/cb --post-logout https://app.example/bye --public --trusted --json")),
		);
		assert.equal(page.client_secret ?? null, null);
		const jwk = generateKeyPairSync("ec", { namedCurve: "P-256" });
		const keys = (key) => {
			const file = join(ownDirectory(), "jwks.json");
			writeFileSync(file, JSON.stringify({ keys: [key.export({ format: "jwk" })] }));
			return file;
		};
		const signer = JSON.parse(await done(sb(`client add signer --grant client_credentials --id-token-alg RS256 --jwks ${keys(jwk.publicKey)} --json`)));
		assert.deepEqual(Object.keys(signer), ["client_id"]); // it has its key, and gets no secret
		await fails(sb(`client add signer --grant client_credentials --jwks ${keys(jwk.privateKey)}`), REFUSED, /private/);
		await fails(sb("client add signer --grant client_credentials --jwks /nowhere.json"), USAGE, /no value/);
		await fails(sb("client add bad --grant password"), REFUSED, /grant/);
		const { clients } = JSON.parse(await done(sb("client list --json")));
		const first = clients.find(({ client_id }) => client_id === page.client_id);
		assert.deepEqual([first.trusted, first.post_logout_redirect_uris], [true, ["https://app.example/bye"]]);
		assert.ok(clients.some(({ client_id }) => client_id === client.client_id));
		const keyed = clients.find(({ client_id }) => client_id === signer.client_id);
		assert.deepEqual([keyed.keys, keyed.public, keyed.id_token_alg], [true, false, "RS256"]);
		assert.doesNotMatch(JSON.stringify(clients), new RegExp(client.client_secret));

		const invited = JSON.parse(await done(sb("invitation add --note gil --uses 3 --expires 2h --json")));
		assert.match(invited.url, /\/oauth\/signup\?page=account&invitation=[\w-]{43}$/);
		const listed = await done(sb("invitation list --json"));
		const [{ note, uses_left }] = JSON.parse(listed).invitations;
		assert.deepEqual([note, uses_left], ["gil", 3]);
		assert.ok(!listed.includes(invited.code));
		await done(sb(`invitation remove ${invited.invitation}`));
		await fails(sb(`invitation remove ${invited.invitation}`), REFUSED, /no invitation/);

		const token = (await done(sb("token mint --user carol --scope rooms:join --expires 2h"))).trim();
		const claims = decodeJwt(token);
		assert.deepEqual([claims.sub, claims.scope, claims.exp - claims.iat], ["carol", "rooms:join", 7200]);
		const own = decodeJwt((await done(sb(`token mint --client ${client.client_id}`))).trim());
		assert.equal(own.sub ?? own.client_id, own.client_id);
		const claimed = await done(sb(`token mint --user carol --audience a --claim {"x":[1]}`));
		assert.deepEqual([decodeJwt(claimed).aud, decodeJwt(claimed).x], ["a", [1]]);
		for (const words of ["--user nobody", "--client nothing", `--user carol --client ${client.client_id}`, "", "--user carol --scope rooms:everything", `--user carol --claim {"sub":"x"}`])
			await fails(sb(`token mint ${words}`.trim()), REFUSED, /./);

		const verified = JSON.parse(await done(sb("token verify", { input: token })));
		assert.deepEqual([verified.user, verified.scope], ["carol", "rooms:join"]);
		await fails(sb("token verify", { input: `${token.slice(0, -4)}AAAA` }), REFUSED, /signature|segment/);
		await fails(sb("token verify", { input: claimed }), REFUSED, /aud/);

		await done(sb("user disable carol"));
		await fails(sb("token mint --user carol"), REFUSED, /disabled/);
		await done(sb(`client remove ${client.client_id}`));
		await fails(sb(`client remove ${client.client_id}`), REFUSED, /./);
		assert.match(await done(sb("room list")), /none/);
		await fails(sb("room show nowhere"), REFUSED, /./);
	});

test("what a command does takes effect at once in the running service", async () => {
	await done(cli("user add frank"));
	const token = (await done(cli("token mint --user frank"))).trim();
	const c = await connect(server, { token });
	await c.call("room.create", { room: "kept", title: "Kept" });
	assert.match(await done(cli("room show kept")), /Kept/);
	assert.match(await done(cli("room list")), /kept/);
	assert.match(await done(cli("room list --search KEP")), /kept/);
	assert.doesNotMatch(await done(cli("room list --archived")), /kept/);
	await c.call("room.join", { room: "kept" });
	await done(cli("room grant kept --user gus --role viewer"));
	assert.match(await done(cli("room roles kept")), /gus +viewer/);
	await done(cli("room update kept --owner gus --title New"));
	assert.deepEqual((await c.next("room.updated")).params.changes, { title: "New", owner: "gus" });
	await done(cli("room close kept"));
	assert.equal((await c.next("room.left")).params.reason, "closed");
	await fails(cli("room show kept"), REFUSED, /./);
	await done(cli("user disable frank"));
	assert.equal((await within(c.closed, 5000, "4501")).code, 4501);
});

test("token inspect and jws verify need no data; a second verifier agrees", async () => {
	const token = await server.mint("ann");
	const inspected = await done(run(["token", "inspect"], { input: `${token}\n` }));
	assert.match(inspected, /"sub": "ann"/);
	assert.match(inspected, /"typ": "at\+jwt"/);
	await fails(run(["token", "inspect"], { input: "x.y" }), REFUSED, /not a JWT/);

	const { text } = await request(server, "GET /oauth/jwks");
	const jwks = join(folder, "jwks.json");
	writeFileSync(jwks, text);
	const payload = await done(run(["jws", "verify", "--jwks", jwks], { input: token }));
	assert.equal(payload, Buffer.from(token.split(".")[1], "base64url").toString());
	const { payload: same } = await jwtVerify(token, createLocalJWKSet(JSON.parse(text)));
	assert.deepEqual(JSON.parse(payload), same);
	const bad = await fails(run(["jws", "verify", "--jwks", jwks], { input: `${token.slice(0, -8)}AAAAAAAA` }), REFUSED, /signature/);
	assert.equal(bad.stderr.trim().split("\n").length, 1);
	await fails(run(["jws", "verify", "--jwks", join(folder, "none")], { input: token }), REFUSED, /none/);
	await fails(run(["jws", "verify"]), USAGE, /usage/);
});

// ---- serve: beginnings ----

const serve = (...args) => run(["serve", ...args]);

test("a second serve on the same data is refused with a sentence that says so", async () => {
	await fails(serve("--data", server.data, "--listen", "127.0.0.1:0"), REFUSED, /in use by another signalbox/);
	assert.equal((await request(server, "GET /ready")).status, 200);
});

test("commands and a serve that start at once wait for each other", async (t) => {
	const data = join(folder, "at-once");
	const names = Array.from({ length: 6 }, (_, i) => `user${i}`);
	const added = names.map((name) => run(["user", "add", name, "--data", data]));
	await Promise.all(added.map(done));
	const more = ["more1", "more2"].map((name) => run(["user", "add", name, "--data", data]));
	const late = await startServer({ t, data });
	await Promise.all(more.map(done));
	const { users } = await late.rpc("user.list");
	assert.deepEqual(users.map(({ name }) => name).sort(), ["more1", "more2", ...names]);
});

test("a store that does not say the issuer's name is said", async () => {
	const env = { SIGNALBOX_STORE_FAULT: "SETTING_GET:*:internal" };
	await fails(run(["user", "list", "--data", join(folder, "faulty")], { env }), REFUSED, /issuer's name/);
});

test("beyond this machine without TLS is refused, unless a proxy is in front", async (t) => {
	for (const listen of ["0.0.0.0:0", "[::]:0"])
		await fails(serve("--data", join(folder, "beyond"), "--listen", listen), USAGE, /no TLS.*server\.behind_proxy/s);
	const proxied = await startServer({ t, listen: "0.0.0.0:0", config: { server: { behind_proxy: true } } });
	assert.ok(proxied.port > 0);
});

test("a port that is taken is said", async (t) => {
	const taken = createServer().listen(0, "127.0.0.1");
	await new Promise((listening) => taken.once("listening", listening));
	t.after(() => taken.close());
	await fails(serve("--data", join(folder, "taken"), "--listen", `127.0.0.1:${taken.address().port}`), REFUSED, /cannot listen on.*another program has it/s);
	await fails(serve("--data", join(folder, "taken"), "--listen", `127.0.0.1:${server.port}`), REFUSED, /cannot listen on/);
});

test("a wrong configuration is said with file, line and the nearest word", async () => {
	const file = join(folder, "wrong.yaml");
	writeFileSync(file, "server:\n  lisen: [127.0.0.1:0]\n");
	const { stderr } = await run(["serve", "--config", file]);
	assert.match(stderr, /wrong\.yaml:2:3.*lisen/s);
	assert.match(stderr, /listen/);
	assert.equal((await run(["serve", "--config", file])).code, (await run(["config", "check", "--config", file])).code);
	await fails(serve("--config", join(folder, "no-such.yaml")), REFUSED, /no-such\.yaml/);
	const wrong = await run(["serve"], { env: { SIGNALBOX_SERVER_WORKERS: "many" } });
	assert.notEqual(wrong.code, DONE);
	assert.match(wrong.stderr, /SIGNALBOX_SERVER_WORKERS/);
});

test("a data directory that cannot be made or written is said", async () => {
	const file = join(folder, "a-file");
	writeFileSync(file, "");
	for (const data of [join(file, "data"), "/proc/signalbox-data", join(folder, "no", "such")])
		await fails(serve("--data", data, "--listen", "127.0.0.1:0"), REFUSED, /data directory/);
	await fails(run(["user", "add", "x", "--data", join(file, "data")]), REFUSED, /data directory/);
});

test("certificates that are none are said", async () => {
	const file = join(folder, "not.pem");
	writeFileSync(file, "nothing");
	const { code, stderr } = await serve(
		"--data", join(folder, "no-tls"), "--listen", "127.0.0.1:0", `--tls.certificate=${file}`, `--tls.key=${file}`,
	);
	assert.equal(code, REFUSED);
	assert.match(stderr, /tls|TLS|certificate/);
});

test("what is kept can be read by its owner only", () => {
	assert.equal(statSync(server.data).mode & 0o777, 0o700);
	for (const name of ["signalbox.db", "control.sock", "lock"])
		assert.equal(statSync(join(server.data, name)).mode & 0o077, 0, name);
});

// ---- serve: TLS, and the end ----

test("TLS: wss and https, and nothing in the clear on that port", async (t) => {
	const [key, certificate] = [join(folder, "key.pem"), join(folder, "certificate.pem")];
	execFileSync(
		"openssl",
		["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", certificate,
			"-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
		{ stdio: "ignore" },
	);
	const tls = await startServer({ t, workers: 2, config: { tls: { key, certificate } } });
	assert.match(tls.url, /^https:/);
	const ca = readFileSync(certificate);
	const [ann, bob] = [await connect(tls, { user: "ann", ws: { ca } }), await connect(tls, { user: "bob", ws: { ca } })];
	for (const c of [ann, bob]) await c.call("room.join", { room: "tls" });
	const data = "x".repeat(60_000);
	for (let i = 0; i < 20; i++) await ann.call("room.publish", { room: "tls", data: [i, data] });
	for (let i = 0; i < 20; i++) assert.deepEqual((await bob.next("room.message")).params.data, [i, data]);
	await ann.close();
	await bob.close();
	await assert.rejects(connect(tls, { user: "ann" }), /self-signed|certificate/);
	await assert.rejects(connect(tls, { token: "x", url: `ws://127.0.0.1:${tls.port}/ws` }));
	const plain = await request(tls, "GET /health");
	assert.notEqual(plain?.status, 200);
	const socket = new WebSocket(tls.wsUrl, "signalbox.v1", { ca, maxVersion: "TLSv1.1", minVersion: "TLSv1" });
	await new Promise((refused) => socket.once("error", refused));
});

test("SIGTERM with sessions: 1001 for each, exit code 0; commands go on without it", async () => {
	for (const workers of [1, 4]) {
		const ending = await startServer({ workers });
		const clients = await Promise.all(Array.from({ length: 12 }, (_, i) => connect(ending, { user: `u${i % 3}`, batch: i % 2 === 0 })));
		for (const c of clients) await c.call("room.join", { room: "ending" });
		const half = await connect(ending, { open: false });
		await clients[0].call("room.create", { room: "kept" });
		ending.signal("SIGTERM");
		for (const c of [...clients, half]) assert.equal((await within(c.closed, 10_000, "1001")).code, 1001);
		await ending.stop();
		assert.match(await done(run(["room", "list", "--data", ending.data])), /kept/);
	}
});

test("SIGINT ends it the same way; SIGHUP does not", async () => {
	const other = await startServer();
	other.signal("SIGHUP");
	await other.logged("configuration reloaded");
	assert.equal((await request(other, "GET /health")).status, 200);
	other.signal("SIGINT");
	assert.equal((await other.exited()).code, 0);
	await other.stop();
});

test("no token and no password is in the log, not even at level debug", async () => {
	for (const format of ["text", "json"]) {
		const loud = await startServer({ config: { log: { level: "debug", format } } });
		const token = await loud.mint("ann");
		const password = "correct horse battery staple";
		await loud.rpc("user.add", { name: "bob", password });
		const c = await connect(loud, { token });
		await c.call("session.refresh", { token });
		const bad = `${token.slice(0, -4)}AAAA`;
		await assert.rejects(c.call("session.refresh", { token: bad }));
		for (const wrong of [token, bad]) await request(loud, "POST /v1/rpc", { Authorization: `Bearer ${wrong}` }, "{}");
		await request(loud, `GET /?access_token=${token}`);
		await request(loud, "POST /oauth/token", { "Content-Type": "application/x-www-form-urlencoded" }, `grant_type=password&password=${password}`);
		await loud.stop();
		for (const secret of [token.split(".")[1], token.split(".")[2], bad.slice(-40), password])
			assert.ok(!loud.log.includes(secret), `a secret is in the log (${format})`);
	}
});
