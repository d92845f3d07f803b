// Whose address a connection is counted and logged under: the socket's, unless a trusted proxy says another,
// in X-Forwarded-For or in a PROXY header. Nobody else is believed.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { connect as dial } from "node:net";
import { after, test } from "node:test";
import { connect } from "../support/client.mjs";
import { rawConnect, request, requestText, upgrade, upgradeText } from "../support/raw.mjs";
import { run, startServer } from "../support/server.mjs";

const trusted = { server: { trusted_proxies: ["127.0.0.1", "10.0.0.0/8", "fd00::/8"] } };
const server = await startServer({ workers: 2, config: trusted });
const strict = await startServer({ workers: 2 });
const proxied = await startServer({ workers: 2, config: { server: { ...trusted.server, proxy_protocol: true } } });
after(() => Promise.all([server, strict, proxied].map((one) => one.stop())));

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
let users = 0;

/** The address that a session is logged under, of a connection with these headers. */
async function addressOf(where, headers) {
	const user = `u${++users}`;
	const c = await connect(where, { user, headers });
	const [, address] = await where.logged(new RegExp(`session opened".* user=${user} .*address=(\\S+)`));
	await c.close();
	return address;
}

const forwarded = (value) => ({ "X-Forwarded-For": value });

test("X-Forwarded-For of a trusted proxy: the rightmost address that is not trusted", async () => {
	for (const [value, address] of [
		["192.0.2.1", "192.0.2.1"],
		["192.0.2.1:4711", "192.0.2.1"],
		["2001:db8::1", "2001:db8::1"],
		["[2001:DB8:0::1]", "2001:db8::1"],
		["[2001:db8::1]:443", "2001:db8::1"],
		["::ffff:192.0.2.1", "192.0.2.1"],
		["6.6.6.6, 192.0.2.1", "192.0.2.1"],
		["6.6.6.6,192.0.2.1 ,\t10.1.2.3, fd00::7", "192.0.2.1"],
		["10.9.9.9, 10.1.2.3", "10.9.9.9"],
		[Array(200).fill("6.6.6.6").concat("192.0.2.2").join(", "), "192.0.2.2"],
	])
		assert.equal(await addressOf(server, forwarded(value)), address, value);
});

test("X-Forwarded-For that is no list of addresses: the last good one, or the proxy", async () => {
	for (const [value, address] of [
		["unknown", "127.0.0.1"],
		["", "127.0.0.1"],
		[",", "127.0.0.1"],
		["192.0.2.1, ", "127.0.0.1"],
		["192.0.2.1, rubbish, 10.1.2.3", "10.1.2.3"],
		["for=192.0.2.1", "127.0.0.1"],
		["192.0.2.1%00", "127.0.0.1"],
		["\x01\x7f\xff", "127.0.0.1"],
		["[", "127.0.0.1"],
	]) {
		const user = `u${++users}`;
		const raw = await rawConnect(server);
		raw.write(Buffer.from(upgradeText(server, { ...forwarded(value), Authorization: `Bearer ${await server.mint(user)}` }), "latin1"));
		assert.equal((await raw.response()).status, 101, value);
		raw.destroy();
		assert.equal(await addressOf(server, forwarded("192.0.2.9")), "192.0.2.9");
		if (/^[\x20-\x7e]*$/.test(value)) assert.equal(await addressOf(server, forwarded(value)), address, value);
	}
});

test("several X-Forwarded-For headers are one list", async () => {
	const value = ["6.6.6.6", "192.0.2.1", "10.1.1.1"];
	assert.equal(await addressOf(server, { "X-Forwarded-For": value }), "192.0.2.1");
});

test("one of 100 KiB ends its own connection and nobody else's", async () => {
	const bystander = await connect(server, { user: "bystander", headers: forwarded("192.0.2.3") });
	const raw = await rawConnect(server);
	raw.write(upgradeText(server, forwarded("192.0.2.1, ".repeat(9000))));
	await raw.gone();
	await bystander.call("session.ping");
	await bystander.close();
});

test("from anybody else it changes nothing", async () => {
	assert.equal(await addressOf(strict, forwarded("192.0.2.1")), "127.0.0.1");
	await strict.logged(/X-Forwarded-For of an address that is no trusted proxy/);
	assert.equal(await logged(v1("192.0.2.1"), { where: strict }), "127.0.0.1"); // noise before a request
	const raw = await rawConnect(strict);
	raw.write(v2("192.0.2.1"));
	await raw.gone();
});

test("limits hold for the client that the proxy names, and not for the proxy", async (t) => {
	const few = await startServer({ t, config: { ...trusted, limits: { connections_per_address: 2 } } });
	const one = forwarded("192.0.2.1");
	const held = [await connect(few, { user: "ann", headers: one }), await connect(few, { user: "ann", headers: one })];
	const refused = await upgrade(few, { ...one });
	assert.equal(refused.status, 429);
	assert.ok(Number(refused.headers["retry-after"]) >= 1);
	assert.equal((await upgrade(few, forwarded("192.0.2.2"))).status, 101);
	// what the client itself puts in front does not make it another
	assert.equal((await upgrade(few, forwarded("192.0.2.77, 192.0.2.1"))).status, 429);
	// one customer has a whole /64
	const six = (n) => forwarded(`2001:db8::${n}`);
	for (const n of [1, 2]) held.push(await connect(few, { user: "bob", headers: six(n) }));
	assert.equal((await upgrade(few, six(3))).status, 429);
	assert.equal((await upgrade(few, forwarded("2001:db8:0:1::1"))).status, 101);
	for (let i = 0; i < 20; i++) assert.equal((await upgrade(few, {})).status, 101); // the proxy's own
	for (const c of held) await c.close();
	while ((await upgrade(few, one)).status !== 101) await sleep(50); // their places are free again
});

test("the sign-in throttle counts the client that the proxy names", async (t) => {
	const one = await startServer({ t, config: trusted });
	await one.addUser("ann");
	const token = (headers) =>
		request(one, "POST /oauth/token", { "Content-Type": "application/x-www-form-urlencoded", Authorization: `Basic ${btoa("nobody:wrong")}`, ...headers }, "grant_type=client_credentials");
	assert.equal((await token(forwarded("192.0.2.1"))).status, 401);
	await one.logged(/action=client outcome=invalid_client.*address=192\.0\.2\.1/);
});

// ---- PROXY ----

const v1 = (address) =>
	`PROXY ${address.includes(":") ? "TCP6" : "TCP4"} ${address} ${address.includes(":") ? "::1" : "10.0.0.1"} 56324 443\r\n`;

function v2(address, { command = 1, more = 0 } = {}) {
	const head = Buffer.from("0d0a0d0a000d0a515549540a", "hex");
	const addresses = Buffer.alloc(12 + more);
	addresses.set(address.split(".").map(Number));
	return Buffer.concat([head, Buffer.from([0x20 | command, 0x11, addresses.length >> 8, addresses.length & 255]), addresses]);
}

/** The address that a session behind such a header is logged under. */
async function logged(header, { where = proxied, bytewise = false, headers } = {}) {
	const user = `u${++users}`;
	const socket = dial({ port: where.port, host: "127.0.0.1", noDelay: true });
	for (const part of bytewise ? Buffer.from(header).map((byte) => byte) : [0]) {
		socket.write(bytewise ? Buffer.from([part]) : header);
		if (bytewise) await sleep(2);
	}
	const c = await connect(where, { user, headers, ws: { createConnection: () => socket } });
	const [, address] = await where.logged(new RegExp(`session opened".* user=${user} .*address=(\\S+)`));
	await c.close();
	return address;
}

test("a PROXY header of either version, whole or byte by byte", async () => {
	assert.equal(await logged(v1("192.0.2.1")), "192.0.2.1");
	assert.equal(await logged(v1("2001:db8::1")), "2001:db8::1");
	assert.equal(await logged(v2("192.0.2.2")), "192.0.2.2");
	assert.equal(await logged(v2("192.0.2.3", { more: 900 })), "192.0.2.3");
	for (const header of [v1("192.0.2.4"), v2("192.0.2.4")])
		assert.equal(await logged(header, { bytewise: true }), "192.0.2.4");
});

test("one that names nobody leaves the proxy's address; one that names a proxy lets X-Forwarded-For speak", async () => {
	assert.equal(await logged("PROXY UNKNOWN\r\n"), "127.0.0.1");
	assert.equal(await logged(v2("192.0.2.1", { command: 0 })), "127.0.0.1");
	assert.equal(await logged(v1("10.1.1.1"), { headers: forwarded("192.0.2.5") }), "192.0.2.5");
	assert.equal(await logged(v1("192.0.2.6"), { headers: forwarded("192.0.2.5") }), "192.0.2.6");
});

test("anything else closes the socket, and is counted", async () => {
	const before = (await metrics()).signalbox_proxy_headers_refused_total;
	const wrong = [
		"GET / HTTP/1.1\r\n\r\n",
		"PROXY TCP4 192.0.2.1\r\n",
		`PROXY UNKNOWN ${"x".repeat(200)}\r\n`,
		"PROXY TCP4 192.0.2.1 10.0.0.1 1 99999\r\n",
		v2("192.0.2.1", { command: 5 }),
		v2("192.0.2.1", { more: 2000 }),
		Buffer.alloc(5000, 0x16),
	];
	for (const header of wrong) {
		const raw = await rawConnect(proxied);
		raw.write(header);
		await raw.gone();
		assert.equal(raw.bytes.length, 0);
		raw.destroy();
	}
	const half = await rawConnect(proxied);
	half.write("PROXY TCP4 192.");
	half.socket.end();
	await half.gone();
	assert.equal((await metrics()).signalbox_proxy_headers_refused_total, before + wrong.length + 1);
});

test("who never finishes it is closed within 5 s; others get in meanwhile", async () => {
	const silent = await rawConnect(proxied);
	const halfway = await rawConnect(proxied);
	halfway.write("PROXY TCP4 1");
	const floods = await Promise.all(Array.from({ length: 300 }, () => rawConnect(proxied)));
	assert.equal(await logged(v1("192.0.2.7")), "192.0.2.7");
	for (const raw of [silent, halfway, ...floods]) {
		await raw.gone(15_000);
		raw.destroy();
	}
});

test("connections that wait for it end with the service", async () => {
	const ending = await startServer({ config: { server: { ...trusted.server, proxy_protocol: true } } });
	const raw = await rawConnect(ending);
	raw.write("PROXY ");
	await ending.stop();
	await raw.gone();
});

/** /metrics of the one that wants a header. */
async function metrics() {
	const raw = await rawConnect(proxied);
	raw.write(`${v1("192.0.2.200")}${requestText("GET /metrics", { Host: "x" })}`);
	const { text } = await raw.response();
	raw.destroy();
	return Object.fromEntries(
		text
			.split("\n")
			.filter((line) => line && !line.startsWith("#"))
			.map((line) => [line.split(" ")[0], Number(line.split(" ")[1])]),
	);
}

test("a wrong network in the configuration is told, with what would be right", async () => {
	for (const [value, right] of [
		["10.1.2.3/8", /10\.0\.0\.0\/8/],
		["localhost", /127\.0\.0\.1/],
		["[::1]:80", /::1/],
		["10.0.0.0/33", /10\.0\.0\.0\/8/],
		["proxy.example.com", /neither an address nor a network/],
	]) {
		const { code, stderr } = await run(["config", "check", `--server.trusted_proxies=${value}`]);
		assert.equal(code, 2, value);
		assert.match(stderr, right, value);
	}
	const { code, stderr } = await run(["config", "check", "--server.proxy_protocol=true"]);
	assert.notEqual(code, 0);
	assert.match(stderr, /trusted_proxies/);
});

test("whom to trust can change while the service runs", async (t) => {
	const one = await startServer({ t, workers: 2, config: {} });
	assert.equal(await addressOf(one, forwarded("192.0.2.1")), "127.0.0.1");
	const held = await connect(one, { user: "held", headers: forwarded("192.0.2.1") });
	writeFileSync(`${one.data}.yaml`, JSON.stringify(trusted));
	one.signal("SIGHUP");
	await one.logged(/configuration reloaded/);
	assert.equal(await addressOf(one, forwarded("192.0.2.1")), "192.0.2.1");
	await held.close(); // counted under the address that it came with
});
