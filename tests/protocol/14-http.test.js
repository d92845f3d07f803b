// The HTTP side: what is served, /v1/rpc, and the holes of the HTTP parser below, each closed: no second
// request hides in a first one, and no worker spins behind any of it.
import assert from "node:assert/strict";
import { readdirSync, readFileSync, readlinkSync as readlink } from "node:fs";
import { join, resolve } from "node:path";
import { after, test } from "node:test";
import { connect } from "../support/client.mjs";
import { rawConnect, request, requestText, upgradeText } from "../support/raw.mjs";
import { startServer } from "../support/server.mjs";
import { nameConnection, record } from "../support/traffic.mjs";

const ORIGIN = "https://app.example";
const server = await startServer({ workers: 2, config: { server: { origins: [ORIGIN] } } });
after(() => server.stop());
const token = await server.mint("ann");

const host = { Host: `127.0.0.1:${server.port}` };
const ping = '{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}';
const bearer = { Authorization: `Bearer ${token}` };

/** Sends bytes on one connection; all responses until it ends, or until as many as wanted came. */
async function responses(bytes, wanted = Infinity) {
	const raw = await rawConnect(server);
	raw.write(bytes);
	const all = [];
	while (all.length < wanted) {
		const response = await raw.response();
		if (!response) break;
		all.push(response);
	}
	raw.destroy();
	return all;
}

const post = (headers, body = ping) => requestText("POST /v1/rpc", { ...host, ...bearer, ...headers }, body);

/** POSTs to /v1/rpc as a proper client; the body's JSON in .json. */
async function rpc(body, { headers = bearer, at = server, path = "/v1/rpc", type = "application/json" } = {}) {
	const text = typeof body === "string" ? body : JSON.stringify(body);
	const on = nameConnection();
	record("out", text, "http", on, typeof body === "string");
	const response = await request(at, `POST ${path}`, { "Content-Type": type, ...headers }, text);
	if (response?.headers["content-type"] === "application/json") {
		record("in", response.text, "http", on);
		response.json = JSON.parse(response.text);
	}
	return response;
}

/** Seconds of processor time that the server has used. */
function processorTime() {
	const [user, system] = readFileSync(`/proc/${server.pid}/stat`, "utf8").split(") ")[1].split(" ").slice(11, 13);
	return (Number(user) + Number(system)) / 100;
}

/** Both workers answer, and neither spins: that would use the processor for as long as one looks. */
async function idle() {
	const before = processorTime();
	const LOOK_MS = 200;
	await new Promise((done) => setTimeout(done, LOOK_MS));
	const used = processorTime() - before;
	assert.ok(used < LOOK_MS / 2000, `${used} s of processor time with nothing to do`);
	for (let i = 0; i < 6; i++) assert.equal((await request(server, "GET /health")).status, 200);
}

// ---- the holes ----

const hidden = requestText("GET /health", host);

const holes = {
	"two POSTs in one segment": [post({ "Content-Length": ping.length }).repeat(2), [200]],
	"a GET behind a POST in one segment": [post({ "Content-Length": ping.length }) + hidden, [200]],
	"a POST with less body than it says, and another behind it": [
		post({ "Content-Length": ping.length + hidden.length }) + hidden + post({ "Content-Length": ping.length }),
		[400],
	],
	"Transfer-Encoding alone": [post({ "Transfer-Encoding": "chunked" }, `5\r\n{"a":\r\n0\r\n\r\n${hidden}`), [501]],
	"Transfer-Encoding and Content-Length": [
		post({ "Transfer-Encoding": "chunked", "Content-Length": ping.length }, `0\r\n\r\n${hidden}`),
		[501],
	],
	"Content-Length and Transfer-Encoding, the other way round": [
		post({ "Content-Length": 4, "Transfer-Encoding": "chunked" }, `0\r\n\r\n${hidden}`),
		[501],
	],
	"Transfer-Encoding: identity": [post({ "Transfer-Encoding": "identity", "Content-Length": ping.length }), [501]],
	"Transfer-Encoding on a GET": [requestText("GET /health", { ...host, "Transfer-Encoding": "chunked" }, `0\r\n\r\n${hidden}`), [501]],
	"no Content-Length": [post({}), [411]],
	"two Content-Lengths": [post({ "Content-Length": [ping.length, 5] }), [400]],
	"the same Content-Length twice": [post({ "Content-Length": [ping.length, ping.length] }), [400]],
	"a list of Content-Lengths": [post({ "Content-Length": `${ping.length}, ${ping.length}` }), [400]],
	"Content-Length negative": [post({ "Content-Length": "-1" }), [400]],
	"Content-Length with a plus": [post({ "Content-Length": `+${ping.length}` }), [400]],
	"Content-Length in hexadecimal": [post({ "Content-Length": "0x10" }), [400]],
	"Content-Length of words": [post({ "Content-Length": "ten" }), [400]],
	"Content-Length past 2^64": [post({ "Content-Length": "18446744073709551616" }), [400]],
	"Content-Length past 2^32": [post({ "Content-Length": "4294967300" }), [413]],
	"a body larger than allowed": [post({ "Content-Length": 200_000 }), [413]],
	"a GET with a body": [requestText("GET /health", { ...host, "Content-Length": hidden.length }, hidden), [400]],
	// what libwebsockets refuses itself, in its own words
	"an unknown method": [requestText("BREW /v1/rpc", host) + hidden, [403], "own"],
	"no HTTP at all": ["hello\r\n\r\n", [403], "own"],
	"the preface of HTTP/2": ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", [403], "own"],
	DELETE: [requestText("DELETE /v1/rpc", { ...host, "Content-Length": 0 }) + hidden, [405]],
	"PUT with a body": [requestText("PUT /v1/rpc", { ...host, "Content-Length": hidden.length }, hidden), [400]],
	"only line feeds": ["GET /health HTTP/1.1\nHost: a\n\n", [undefined, 200], "own"],
};

for (const [what, [bytes, expected, how]] of Object.entries(holes))
	test(`${what}: at most one answer, then the end`, async () => {
		const all = await responses(bytes, how === "own" ? 1 : Infinity);
		assert.ok(all.length <= 1, `${all.length} answers`);
		assert.ok(expected.includes(all[0]?.status), `${all[0]?.status} ${all[0]?.text}`);
		if (how !== "own") assert.equal(all[0].headers.connection, "close");
	});

test("what never becomes a request ends when the client does", async () => {
	for (const bytes of [
		Buffer.from("16030100c8010000c40303000102030405060708090a0b0c0d0e0f", "hex"), // TLS
		requestText("CONNECT example.com:443", host),
		"GET /health HTTP/1.1\r\nHost",
		"\0\0\0\0",
	]) {
		const raw = await rawConnect(server);
		raw.write(bytes);
		raw.socket.end();
		await raw.gone();
		raw.destroy();
	}
});

test("an upgrade to h2c is no upgrade", async () => {
	const headers = { ...host, Upgrade: "h2c", Connection: "Upgrade, HTTP2-Settings", "HTTP2-Settings": "AAMAAABkAAQAAP__" };
	for (const path of ["/", "/health", "/ws", "/v1/rpc"]) {
		const [response] = await responses(requestText(`GET ${path}`, headers), 1);
		assert.equal(response.status, 400, path);
	}
});

test("headers of 20 KB are refused; a 9 KB one is taken", async () => {
	for (const headers of [
		{ "X-Large": "x".repeat(20_000) },
		{ Authorization: `Bearer ${"x".repeat(20_000)}` },
		Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`X-${i}`, "y".repeat(60)])),
		{ Cookie: Array.from({ length: 300 }, (_, i) => `c${i}=${"z".repeat(80)}`) },
	]) {
		const all = await responses(requestText("GET /health", { ...host, ...headers }), 1);
		if (all[0] && !headers["X-Large"] && !headers["X-0"]) assert.notEqual(all[0].status, 200);
	}
	const [long] = await responses(requestText(`GET /${"p".repeat(20_000)}`, host), 1);
	assert.notEqual(long?.status, 200);
	const big = await request(server, "POST /v1/rpc", { Authorization: `Bearer ${"x".repeat(9000)}` }, ping);
	assert.equal(big.status, 401);
});

test("a body in many pieces, and one that never comes whole", async () => {
	const raw = await rawConnect(server);
	raw.write(post({ "Content-Length": ping.length }, ""));
	for (const byte of ping) {
		raw.write(byte);
		await new Promise((done) => setImmediate(done));
	}
	assert.equal((await raw.response()).status, 200);
	await raw.gone();
	const cut = await rawConnect(server);
	cut.write(post({ "Content-Length": ping.length }, ping.slice(0, 10)));
	cut.socket.end();
	await cut.gone();
	cut.destroy();
});

test("an answer ends its connection: what stands behind the request is not looked at", async () => {
	const behind = [
		hidden,
		post({ "Content-Length": ping.length }),
		post({ "Content-Length": 0 }, ""),
		post({ "Transfer-Encoding": "chunked" }, "2\r\n{}\r\n0\r\n\r\n"),
		"GET /hea",
	];
	for (const first of [hidden, requestText("GET /nothing", host), post({ "Content-Length": ping.length })])
		for (const second of behind) {
			const raw = await rawConnect(server);
			raw.write(first + second);
			const { headers } = await raw.response();
			assert.equal(headers.connection, "close");
			await raw.gone();
			assert.equal(raw.bytes.length, 0);
			raw.destroy();
		}
});

test("clients that leave in the middle of anything leave nothing behind", async () => {
	const whole = post({ "Content-Length": ping.length });
	for (let cut = 1; cut < whole.length; cut += 17) {
		const raw = await rawConnect(server);
		raw.write(whole.slice(0, cut));
		raw.socket.end();
		raw.destroy();
	}
	for (let i = 0; i < 20; i++) {
		const raw = await rawConnect(server);
		raw.write(whole); // gone before the answer
		raw.socket.resetAndDestroy();
	}
});

test("behind all that no worker spins, and sessions are served", async () => {
	await idle();
	for (let i = 0; i < 4; i++) {
		const c = await connect(server, { user: "ann" });
		await c.call("session.ping");
		await c.close();
	}
});

// ---- what is served ----

test("/health, /ready, /metrics", async () => {
	const health = await request(server, "GET /health");
	assert.deepEqual([health.status, health.text], [200, "ok\n"]);
	const ready = await request(server, "GET /ready");
	assert.deepEqual([ready.status, ready.text], [200, "ready\n"]);
	const { status, headers, text } = await request(server, "GET /metrics");
	assert.equal(status, 200);
	assert.match(headers["content-type"], /^text\/plain; version=0\.0\.4/);
	const samples = text.split("\n").filter((line) => line && !line.startsWith("#"));
	assert.ok(samples.length > 15);
	for (const line of samples) {
		assert.match(line, /^signalbox_[a-z_]+ -?\d+$/);
		const [name] = line.split(" ");
		assert.ok(text.includes(`# HELP ${name} `) && text.includes(`# TYPE ${name} `), name);
	}
});

test("with internal_listen they are there, and only there", async (t) => {
	const inside = await startServer({ t, config: { server: { internal_listen: "127.0.0.1:0" } } });
	for (const path of ["/health", "/ready", "/metrics"])
		for (const Host of [`127.0.0.1:${inside.port}`, "internal", "internal:80", "public"])
			assert.equal((await request(inside, `GET ${path}`, { Host })).status, 404, `${Host} ${path}`);
	const ports = readFileSync(`/proc/${inside.pid}/net/tcp`, "utf8")
		.split("\n")
		.map((line) => line.trim().split(/\s+/))
		.filter((row) => row[3] === "0A")
		.map((row) => [parseInt(row[1].split(":")[1], 16), row[9]]);
	const own = new Set(
		readdirSync(`/proc/${inside.pid}/fd`).flatMap((fd) => {
			try {
				return [readlink(`/proc/${inside.pid}/fd/${fd}`)];
			} catch {
				return []; // closed meanwhile
			}
		}),
	);
	const [port] = ports.find(([at, inode]) => own.has(`socket:[${inode}]`) && at !== inside.port);
	for (const path of ["/health", "/ready", "/metrics"])
		assert.equal((await request(inside, `GET ${path}`, {}, "", { port })).status, 200, path);
	for (const path of ["/", "/v1/rpc", "/oauth/jwks", "/ws"])
		for (const Host of [`127.0.0.1:${port}`, "public"])
			assert.equal((await request(inside, `GET ${path}`, { Host }, "", { port })).status, 404, path);
	const raw = await rawConnect(inside, { port });
	raw.write(upgradeText(inside));
	assert.notEqual((await raw.response())?.status, 101, "sessions are for the outer address");
	raw.destroy();
});

test("an unknown address is 404, and no path leads out of the tree", async () => {
	for (const path of [
		"/nothing", "/sdk/", "/sdk/nothing.js", "/index.htm", "/sdk/../../etc/passwd", "/../../etc/passwd",
		"/sdk/%2e%2e/%2e%2e/etc/passwd", "/sdk/..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/sdk/....//....//etc/passwd",
		"/sdk//etc/passwd", "//etc/passwd", "/..\\..\\etc\\passwd", "/sdk/%5c..%5cetc", "/web/demo/index.html", "/./../service/main.c",
		"/.git/config", "/.env", "/%c0%ae%c0%ae/etc/passwd", "/etc/passwd", "/signalbox.db", "/%FF",
	]) {
		const response = await request(server, `GET ${path}`);
		assert.ok([400, 403, 404].includes(response?.status), `${path}: ${response?.status}`);
		assert.doesNotMatch(response.text, /root:/);
	}
	for (const path of ["/a%00b", "/a%", "/%zz"]) {
		const response = await request(server, `GET ${path}`);
		assert.notEqual(response?.status, 200, path);
	}
});

const sources = resolve(import.meta.dirname, "../../web");
const types = {
	html: "text/html; charset=utf-8",
	js: "text/javascript; charset=utf-8",
	css: "text/css; charset=utf-8",
	svg: "image/svg+xml",
};

/** The addresses of a folder of web/. */
function files(folder, at) {
	try {
		return readdirSync(join(sources, folder), { recursive: true, withFileTypes: true })
			.filter((entry) => entry.isFile() && types[entry.name.split(".").pop()] && !entry.parentPath.includes("node_modules"))
			.map((entry) => join(entry.parentPath, entry.name))
			.map((path) => at + path.slice(join(sources, folder).length + 1));
	} catch {
		return [];
	}
}

test("files: type, ETag and 304, HEAD, security headers", async () => {
	const all = [...files("sdk", "/sdk/"), ...files("demo", "/")];
	assert.ok(all.length > 0);
	let served = 0;
	for (const path of all) {
		const response = await request(server, `GET ${path}`);
		if (response.status === 404) continue; // not all of a folder is served
		served++;
		const { headers } = response;
		assert.equal(headers["content-type"], types[path.split(".").pop()], path);
		assert.match(headers.etag, /^"[^"]+"$/);
		assert.match(headers["content-security-policy"], /default-src 'none'/);
		assert.match(headers["content-security-policy"], /frame-ancestors 'none'/);
		assert.equal(headers["x-content-type-options"], "nosniff");
		assert.equal(headers["referrer-policy"], "no-referrer");
		const same = await request(server, `GET ${path}`, { "If-None-Match": headers.etag });
		assert.deepEqual([same.status, same.text, same.headers.etag], [304, "", headers.etag]);
		for (const several of [`"other", ${headers.etag}`, `W/${headers.etag}`, "*"])
			assert.equal((await request(server, `GET ${path}`, { "If-None-Match": several })).status, 304);
		assert.equal((await request(server, `GET ${path}`, { "If-None-Match": '"other"' })).status, 200);
		const head = await request(server, `HEAD ${path}`);
		assert.equal(head.status, 200);
		assert.equal(head.headers["content-length"], String(response.body.length));
		assert.equal((await request(server, `POST ${path}`)).status, 405);
	}
	assert.ok(served > 0);
	assert.equal((await request(server, "GET /sdk/signalbox.js")).headers["access-control-allow-origin"], undefined);
	assert.equal((await request(server, "GET /sdk/signalbox.js", { Origin: "https://any.example" })).headers["access-control-allow-origin"], "*");
});

test("HEAD is answered without a body", async () => {
	const raw = await rawConnect(server);
	raw.write(requestText("HEAD /health", host));
	const head = await raw.response({ head: true });
	assert.deepEqual([head.status, head.headers["content-length"]], [200, "3"]);
	await raw.gone();
	assert.equal(raw.bytes.length, 0);
	raw.destroy();
});

test("without the demo / is 404", async (t) => {
	const bare = await startServer({ t, config: { server: { demo: false } } });
	assert.equal((await request(bare, "GET /")).status, 404);
	assert.equal((await request(bare, "GET /health")).status, 200);
});

test("a method that an address does not take is 405, and says which", async () => {
	assert.equal((await request(server, "GET /v1/rpc")).headers.allow, "POST");
	const { status, headers } = await request(server, "POST /health");
	assert.deepEqual([status, headers.allow], [405, "GET, HEAD"]);
});

// ---- /v1/rpc ----

test("/v1/rpc: a request is 200 with its answer, an error of a method is 200, too", async () => {
	const { status, headers, json } = await rpc({ jsonrpc: "2.0", id: "x", method: "room.list", params: {} });
	assert.equal(status, 200);
	assert.equal(headers["content-type"], "application/json");
	assert.equal(headers["cache-control"], "no-store");
	assert.equal(json.id, "x");
	assert.ok(Array.isArray(json.result.rooms));
	const unknown = await rpc({ jsonrpc: "2.0", id: 1, method: "no.such" });
	assert.deepEqual([unknown.status, unknown.json.error.code], [200, -32601]);
});

test("/v1/rpc: notifications are 204, a batch is an array", async () => {
	const note = { jsonrpc: "2.0", method: "room.list" };
	for (const body of [note, [note, note]]) {
		const { status, text, headers } = await rpc(body);
		assert.deepEqual([status, text, headers["content-length"]], [204, "", undefined]);
	}
	const { status, json } = await rpc([note, { ...note, id: 1 }, { ...note, id: 2, method: "no.such" }, 5]);
	assert.equal(status, 200);
	assert.deepEqual(json.map(({ id, error }) => [id, error?.code]).toSorted(), [[1, undefined], [2, -32601], [null, -32600]].toSorted());
	const empty = await rpc("[]");
	assert.deepEqual([empty.status, empty.json.error.code], [200, -32600]);
});

test("/v1/rpc: no token, a bad one, two, one in the address", async () => {
	const none = await rpc(ping, { headers: {} });
	assert.deepEqual([none.status, none.headers["www-authenticate"], none.json.error.code], [401, "Bearer", -32001]);
	for (const value of ["garbage", ".e30.AA", `${token.slice(0, -2)}xx`]) {
		const bad = await rpc(ping, { headers: { Authorization: `Bearer ${value}` } });
		assert.deepEqual([bad.status, bad.headers["www-authenticate"]], [401, 'Bearer error="invalid_token"']);
	}
	for (const value of [[`Bearer ${token}`, `Bearer ${token}`], `Basic ${token}`, `Bearer ${token} x`]) {
		const two = await rpc(ping, { headers: { Authorization: value } });
		assert.deepEqual([two.status, two.headers["www-authenticate"]], [400, 'Bearer error="invalid_request"']);
	}
	for (const path of [`/v1/rpc?access_token=${token}`, `/v1/rpc?ticket=x`]) {
		assert.equal((await rpc(ping, { headers: {}, path })).status, 400);
		assert.equal((await rpc(ping, { path })).status, 400);
	}
});

test("/v1/rpc: answers that are too large together are said to be", async () => {
	const batch = Array.from({ length: 100 }, (_, id) => ({ jsonrpc: "2.0", id, method: "rpc.discover", params: {} }));
	const { status, json } = await rpc(batch);
	assert.deepEqual([status, json.error.code, json.error.data.limit], [200, -32013, 256 * 1024]);
	const fewer = await rpc(batch.slice(0, 1));
	assert.equal(fewer.json.length, 1);
});

test("a POST to where there is nothing to post is 405, whatever its body", async () => {
	for (const body of ["", "x", "x".repeat(10_000)])
		assert.equal((await request(server, "POST /nothing", {}, body)).status, 405);
});

test("/v1/rpc: a body that is no JSON is 400", async () => {
	for (const body of ["", "{", "nonsense", "[".repeat(10_000), '{"a":1}x', '"\xff']) {
		const { status, json } = await rpc(body);
		assert.deepEqual([status, json?.error.code], [400, -32700], body.slice(0, 20));
	}
});

test("/v1/rpc: methods that need a session are refused", async () => {
	for (const method of ["session.open", "session.ping", "session.close", "room.join", "room.leave", "room.knock", "call.invite", "rpc.serve"]) {
		const { status, json } = await rpc({ jsonrpc: "2.0", id: 1, method, params: {} });
		assert.equal(status, 200);
		assert.equal(json.error.code, -32600, method);
	}
});

test("/v1/rpc: scopes hold", async () => {
	const { json } = await rpc({ jsonrpc: "2.0", id: 1, method: "user.list", params: {} });
	assert.deepEqual([json.error.code, json.error.data.field], [-32003, "admin"]);
	const admin = { Authorization: `Bearer ${await server.mint("root", { scope: "admin" })}` };
	const list = await rpc({ jsonrpc: "2.0", id: 1, method: "user.list", params: {} }, { headers: admin });
	assert.ok(list.json.result.users.some(({ name }) => name === "ann"));
});

test("/v1/rpc: rooms made here are seen by sessions", async () => {
	const made = await rpc({ jsonrpc: "2.0", id: 1, method: "room.create", params: { room: "by-http", title: "By HTTP" } });
	assert.equal(made.json.error, undefined, made.text);
	const c = await connect(server, { user: "ann" });
	assert.equal((await c.call("room.get", { room: "by-http" })).title, "By HTTP");
	await c.close();
});

test("/v1/rpc: Origin and the preflight", async () => {
	const listed = await request(server, "OPTIONS /v1/rpc", {
		Origin: ORIGIN,
		"Access-Control-Request-Method": "POST",
		"Access-Control-Request-Headers": "authorization",
	});
	assert.equal(listed.status, 204);
	assert.equal(listed.headers["access-control-allow-origin"], ORIGIN);
	assert.match(listed.headers["access-control-allow-headers"], /Authorization/);
	assert.match(listed.headers["access-control-allow-methods"], /POST/);
	assert.match(listed.headers.vary, /Origin/);
	assert.equal(listed.headers["access-control-allow-credentials"], undefined);
	for (const origin of ["https://evil.example", "null", `${ORIGIN}.evil`, `http://127.0.0.1:${server.port}`]) {
		const { status, headers } = await request(server, "OPTIONS /v1/rpc", { Origin: origin });
		assert.deepEqual([status, headers["access-control-allow-origin"]], [403, undefined], origin);
		const sent = await rpc(ping, { headers: { ...bearer, Origin: origin } });
		assert.deepEqual([sent.status, sent.headers["access-control-allow-origin"]], [403, undefined], origin);
	}
	const sent = await rpc(ping, { headers: { ...bearer, Origin: ORIGIN } });
	assert.deepEqual([sent.status, sent.headers["access-control-allow-origin"]], [200, ORIGIN]);
	// a page can read why it is refused, whatever refuses it, and when to come back
	const large = await request(server, "POST /v1/rpc", { ...bearer, Origin: ORIGIN, "Content-Length": 1_000_000 });
	assert.deepEqual([large.status, large.headers["access-control-allow-origin"]], [413, ORIGIN]);
	const unlisted = await request(server, "POST /v1/rpc", { Origin: "https://evil.example", "Content-Length": 1_000_000 });
	assert.deepEqual([unlisted.status, unlisted.headers["access-control-allow-origin"]], [413, undefined]);
	const unauthorized = await rpc(ping, { headers: { Origin: ORIGIN } });
	assert.match(unauthorized.headers["access-control-expose-headers"], /WWW-Authenticate/);
});

test("/v1/rpc: a hundred at once", async () => {
	const all = await Promise.all(Array.from({ length: 100 }, (_, id) => rpc({ jsonrpc: "2.0", id, method: "room.list" })));
	assert.deepEqual(all.map(({ json }) => json.id), Array.from({ length: 100 }, (_, i) => i));
});

test("and behind all of it the server is idle", idle);
