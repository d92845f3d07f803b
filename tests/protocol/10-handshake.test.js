// Who may open a WebSocket, and how those are refused who may not (docs/PROTOCOL.md, "Who is calling").
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { connect, within } from "../support/client.mjs";
import { bearer, rawConnect, request, upgrade, upgradeText } from "../support/raw.mjs";
import { startServer } from "../support/server.mjs";

const server = await startServer({ config: { auth: { session_open_timeout: "1s" } } });
after(() => server.stop());

async function refused(status, headers, path) {
	const response = await upgrade(server, headers, path);
	assert.equal(response?.status, status, JSON.stringify(headers));
	assert.equal(response.headers.connection, "close");
	assert.ok(response.text.length > 10, "a refusal says why");
	return response;
}

test("a handshake that lists the subprotocol is taken, wherever it stands in the list", async () => {
	for (const list of ["signalbox.v1", "signalbox.v1, other", "other,signalbox.v1", " a , signalbox.v1 "]) {
		const response = await upgrade(server, { "Sec-WebSocket-Protocol": list });
		assert.equal(response.status, 101, list);
		assert.equal(response.headers["sec-websocket-protocol"], "signalbox.v1", list);
	}
});

test("no subprotocol, a wrong or a too long list: 400", async () => {
	for (const list of [null, "", "signalbox", "signalbox.v2", "xsignalbox.v1", "SIGNALBOX.V1", ",,,"])
		await refused(400, { "Sec-WebSocket-Protocol": list });
	await refused(400, { "Sec-WebSocket-Protocol": `signalbox.v1, ${"t".repeat(200)}` });
	const { text } = await refused(400, { "Sec-WebSocket-Protocol": `signalbox.v1, ${"t".repeat(4000)}` });
	assert.match(text, /session\.open/);
});

test("another path, another upgrade, another version, no key: 400", async () => {
	for (const path of ["/", "/ws/", "/ws2", "/v1/rpc", "/WS", "/%77%73x"]) await refused(400, {}, path);
	for (const word of ["websocket2", "tls", "websocket, h2c"]) // libwebsockets' own refusal
		assert.equal((await upgrade(server, { Upgrade: word })).status, 403, word);
	await refused(400, { Upgrade: "h2c" });
	await refused(400, {
		Upgrade: "h2c",
		Connection: "Upgrade, HTTP2-Settings",
		"HTTP2-Settings": "AAMAAABkAARAAAAAAAIAAAAA",
	});
	for (const version of [null, "8", "12", "14", "013", "13 13"])
		await refused(400, { "Sec-WebSocket-Version": version });
	for (const key of [null, "", "short", "x".repeat(400)])
		await refused(400, { "Sec-WebSocket-Key": key });
	await refused(400, { "Content-Length": "5" });
	await refused(400, { "Transfer-Encoding": "chunked" });
});

test("a query is refused: no token in an address", async () => {
	const token = await server.mint("ann");
	for (const path of ["/ws?", "/ws?a=b", `/ws?access_token=${token}`, `/ws?token=${token}`])
		await refused(400, {}, path);
});

test("Authorization: a good token opens a session that needs no other", async () => {
	const ann = await connect(server, { headers: bearer(await server.mint("ann")) });
	assert.equal(ann.user, "ann");
	await ann.close();
});

test("Authorization: a bad token is 401 invalid_token, and never an anonymous caller", async () => {
	const good = await server.mint("ann");
	const [header, payload, signature] = good.split(".");
	const unsigned = Buffer.from('{"alg":"none","typ":"at+jwt"}').toString("base64url");
	const bad = {
		garbage: "garbage",
		empty: "e30.e30.",
		"alg none": `${unsigned}.${payload}.`,
		"without its signature": `${header}.${payload}.`,
		"one bit of the signature": `${header}.${payload}.${signature[0] === "A" ? "B" : "A"}${signature.slice(1)}`,
		"another's payload": [header, (await server.mint("bob")).split(".")[1], signature].join("."),
		padded: `${good}=`,
		"the tiniest": ".e30.AA",
		"9000 bytes": "a".repeat(9000),
	};
	for (const [what, token] of Object.entries(bad)) {
		const response = await refused(401, bearer(token));
		assert.equal(response.headers["www-authenticate"], 'Bearer error="invalid_token"', what);
	}
});

test("Authorization: an expired token is 401", async (t) => {
	const later = await startServer({ t, clock: true });
	const token = await later.mint("ann", { expires: 60 });
	assert.equal((await upgrade(later, bearer(token))).status, 101);
	later.ahead(61);
	const response = await upgrade(later, bearer(token)); // out of the cache of verified tokens, too
	assert.equal(response.status, 401);
	assert.equal(response.headers["www-authenticate"], 'Bearer error="invalid_token"');
});

test("Authorization: a token of another issuer's, or for another audience, is 401", async (t) => {
	const other = await startServer({ t });
	await refused(401, bearer(await other.mint("ann")));
	await refused(401, bearer(await server.mint("ann", { audience: "https://elsewhere.example" })));
});

test("Authorization: two, or another scheme, or more than a token: 400 invalid_request", async () => {
	const token = await server.mint("ann");
	for (const value of [
		[`Bearer ${token}`, `Bearer ${token}`],
		`Bearer ${token} ${token}`,
		`Bearer ${token},${token}`,
		"Basic YTpi",
		"Bearer",
		token,
	]) {
		const response = await refused(400, { Authorization: value });
		assert.equal(response.headers["www-authenticate"], 'Bearer error="invalid_request"');
	}
});

test("two credentials, by header and by session.open, are an error, then 3000", async () => {
	const token = await server.mint("ann");
	const c = await connect(server, { headers: bearer(token), open: false });
	await assert.rejects(c.call("session.open", { token }), { code: -32602, reason: "two_credentials" });
	assert.equal((await c.closed).code, 3000);
});

test("Origin: the same host and none at all are taken, others are 403", async () => {
	const same = `127.0.0.1:${server.port}`;
	for (const origin of [null, `http://${same}`, `https://${same}`])
		assert.equal((await upgrade(server, { Origin: origin })).status, 101, origin);
	for (const origin of [
		"null",
		"http://evil.example",
		`http://${same}.evil.example`,
		`http://${same}/`,
		`http://127.0.0.1:${server.port + 1}`,
		`http://evil.example http://${same}`,
		"http://127.0.0.1",
		"file://",
		same,
	])
		await refused(403, { Origin: origin });
	await refused(403, { Origin: [`http://${same}`, "http://evil.example"] });
	// who it is does not help
	await refused(403, { Origin: "http://evil.example", ...bearer(await server.mint("ann")) });
});

test("Origin: with a list, those on it and no others, not even the same host", async (t) => {
	const listed = await startServer({ t, config: { server: { origins: ["https://app.example", "http://b:81"] } } });
	for (const origin of [null, "https://app.example", "http://b:81"])
		assert.equal((await upgrade(listed, { Origin: origin })).status, 101, origin);
	for (const origin of [
		`http://127.0.0.1:${listed.port}`,
		"http://app.example",
		"https://app.example:443",
		"https://APP.example",
		"https://x.app.example",
		"null",
	])
		assert.equal((await upgrade(listed, { Origin: origin })).status, 403, origin);
});

test("session.open has to come in time, also behind a token in the header: else 3008", async () => {
	const began = performance.now();
	const headers = bearer(await server.mint("ann"));
	const silent = [await connect(server, { open: false }), await connect(server, { headers, open: false })];
	for (const c of silent) {
		assert.equal((await within(c.closed, 5000, "3008")).code, 3008);
		assert.deepEqual(c.frames, [], "nothing is sent before session.open is answered");
	}
	assert.ok(performance.now() - began >= 900);
});

test("a refused session.open is an error, then 3000", async () => {
	for (const token of ["garbage", "a.b.c", ".e30.AA", "x".repeat(8192)]) {
		const c = await connect(server, { open: false });
		await assert.rejects(c.call("session.open", { token }), { code: -32001, reason: "invalid_token" });
		assert.equal((await c.closed).code, 3000);
	}
	const none = await connect(server, { open: false });
	await assert.rejects(none.call("session.open", {}), { code: -32001, data: { reason: "unauthenticated", field: "token" } });
	assert.equal((await none.closed).code, 3000);
});

test("a first message of more than 16 KiB is 1009, a token past 8 KiB an error", async () => {
	const c = await connect(server, { open: false });
	await assert.rejects(c.call("session.open", { token: "x".repeat(8193) }), { code: -32602 });
	const big = await connect(server, { open: false });
	big.call("session.open", { token: "x".repeat(17000) }).catch(() => {});
	assert.equal((await big.closed).code, 1009);
	c.terminate();
});

test("a request for /ws that is no upgrade is told so", async () => {
	for (const line of ["GET /ws", "HEAD /ws", "POST /ws"]) {
		const { status } = await request(server, line);
		assert.ok([400, 404, 405, 426].includes(status), `${line}: ${status}`);
	}
});

test("a handshake in pieces, and one with a frame right behind it", async () => {
	const token = await server.mint("ann");
	const raw = await rawConnect(server);
	const text = upgradeText(server, bearer(token));
	for (const byte of text.slice(0, 200)) raw.write(byte);
	raw.write(text.slice(200));
	assert.equal((await raw.response()).status, 101);
	raw.destroy();
});

test("the global WebSocket of Node is served, too", async () => {
	const socket = new WebSocket(server.wsUrl, ["signalbox.v1"]);
	const message = (name) => new Promise((done) => socket.addEventListener(name, done, { once: true }));
	await message("open");
	const token = await server.mint("ann");
	socket.send(JSON.stringify({ jsonrpc: "2.0", id: 1, method: "session.open", params: { token } }));
	const { data } = await message("message");
	assert.equal(JSON.parse(data).result.user.id, "ann");
	const closed = message("close");
	socket.close(1000);
	assert.equal((await closed).code, 1000);
});
