// An issuer on another machine, by name and over TLS, that tries to make the service ask what lies on the
// service's own: by what its documents say, by what its names mean, by sending it on.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { copyFileSync, mkdirSync, readFileSync, unlinkSync, writeFileSync } from "node:fs";
import { createServer as createTlsServer } from "node:https";
import { createConnection, createServer } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { connect } from "../support/client.mjs";
import { AUDIENCE, Issuer } from "../support/issuer.mjs";
import { assertAlone } from "../support/network.mjs";
import { anyNumber, ownDirectory, startServer } from "../support/server.mjs";

const COOLDOWN = 31; // seconds between two fetches of one issuer, and a little
const THERE = "10.9.9.9"; // the other machine
const METADATA = "169.254.169.254"; // where clouds keep secrets for whoever asks from inside
const NAMES = {
	"issuer.example": [THERE],
	"inside.example": ["127.0.0.1"],
	"metadata.example": [METADATA],
	"both.example": ["10.9.9.8", "127.0.0.1"], // nobody, and then we
	"nobody.example": ["0.0.0.0"],
};

const directory = ownDirectory();
const file = (name) => join(directory, name);
const issuer = new Issuer("issuer");
const silent = []; // questions about a name that nobody answers
let trapped = 0; // connections that should not have been
let trap; // the port of what lies on this machine
let tls;
let dns;
let server;
let document;

/** Answers for NAMES, addresses of IPv4 only. */
function answer(query) {
	const labels = [];
	let at = 12;
	for (; query[at]; at += query[at] + 1) labels.push(query.subarray(at + 1, at + 1 + query[at]).toString());
	const end = at + 5;
	const addresses = (query.readUInt16BE(at + 1) === 1 && NAMES[labels.join(".").toLowerCase()]) || [];
	const records = addresses.map((address) =>
		Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, ...address.split(".").map(Number)]),
	);
	const head = Buffer.from(query.subarray(0, end));
	head.writeUInt16BE(0x8180, 2);
	for (const [place, n] of [[4, 1], [6, addresses.length], [8, 0], [10, 0]]) head.writeUInt16BE(n, place);
	return Buffer.concat([head, ...records]);
}

before(async () => {
	assertAlone();
	for (const address of [THERE, METADATA]) execFileSync("ip", ["addr", "add", `${address}/32`, "dev", "lo"]);
	const words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=issuer.example";
	const names = [...Object.keys(NAMES).map((name) => `DNS:${name}`), "DNS:localhost", "DNS:x.localhost", "IP:127.0.0.1", "IP:::1"];
	execFileSync("openssl", [...words.split(" "), "-keyout", file("key.pem"), "-out", file("cert.pem"), "-addext", `subjectAltName=${names}`], { stdio: "ignore" });
	const secrets = { key: readFileSync(file("key.pem")), cert: readFileSync(file("cert.pem")) };
	await issuer.addKey("ES256");
	tls = createTlsServer(secrets, (request, response) => {
		if (request.url.includes("/.well-known/")) response.end(JSON.stringify(document));
		else if (request.url === "/away") response.writeHead(302, { location: `http://127.0.0.1:${trap}/` }).end();
		else response.end(issuer.jwks);
	});
	await new Promise((done) => tls.listen(0, THERE, done));
	issuer.issuer = `https://issuer.example:${tls.address().port}`;
	const inside = createServer((socket) => {
		trapped++;
		socket.destroy();
	}).unref();
	await new Promise((done) => inside.listen(0, "::", done));
	trap = inside.address().port;
	dns = createSocket("udp4", (query, from) => {
		if (query.includes("silent")) silent.push(query.toString("latin1"));
		else dns.send(answer(query), from.port, from.address);
	});
	await new Promise((done) => dns.bind(53, THERE, done));
	writeFileSync(file("resolv.conf"), `nameserver ${THERE}\n`);
	document = { issuer: issuer.issuer, jwks_uri: `http://127.0.0.1:${trap}/` };
	copyFileSync(file("cert.pem"), file("trusted.pem"));
	server = await start("trusted.pem");
});
after(async () => {
	await server?.stop();
	dns?.close();
	tls?.closeAllConnections();
	tls?.close();
});

/** A service that asks our name server, and trusts those; elsewhere it may find what it likes. */
function start(trusted, mounts = []) {
	const all = [[file("resolv.conf"), "/etc/resolv.conf"], ...mounts].map((pair) => `mount --bind ${pair.join(" ")} && `);
	return startServer({
		clock: true,
		under: ["unshare", "--mount", "sh", "-c", `${all.join("")}exec "$@"`, "sh"],
		config: {
			limits: anyNumber,
			auth: { authorities: file(trusted), jwks_timeout: "2s" },
			issuers: [{ issuer: issuer.issuer, alias: "far", audiences: [AUDIENCE], client_id: "us", client_secret: "ours" }],
		},
	});
}

async function outcome(token, at = server) {
	const c = await connect(at, { open: false });
	const said = await c.call("session.open", { token }).then(() => "opened", ({ reason }) => reason);
	await c.close().catch(() => {});
	return said;
}

const metric = (metrics) => metrics.signalbox_introspections_failed_total;
let ahead = 0;
const anew = () => server.ahead((ahead += COOLDOWN));

test("keys: no address on this machine is asked for an issuer that is elsewhere", async () => {
	const token = await issuer.token();
	const places = [
		`http://127.0.0.1:${trap}/`,
		`https://127.0.0.1:${trap}/`,
		`https://localhost:${trap}/`,
		`https://x.localhost:${trap}/`,
		`https://[::1]:${trap}/`,
		`https://[::ffff:127.0.0.1]:${trap}/`,
		`https://2130706433:${trap}/`,
		`https://0x7f.1:${trap}/`,
		`https://0:${trap}/`,
		`https://inside.example:${trap}/`,
		`https://both.example:${trap}/`,
		`https://nobody.example:${trap}/`,
		`https://metadata.example:${trap}/`,
		`https://${METADATA}:${trap}/`,
		`${issuer.issuer}/away`,
		`file://${file("cert.pem")}`,
		`gopher://127.0.0.1:${trap}/`,
	];
	for (const place of places) {
		document = { issuer: issuer.issuer, jwks_uri: place };
		anew();
		assert.equal(await outcome(token), "overloaded", place);
		assert.equal(trapped, 0, place);
	}
	assert.match(server.log, /why="the address is on this machine"/);
	document = { issuer: issuer.issuer, jwks_uri: `${issuer.issuer}/jwks` };
	anew();
	assert.equal(await outcome(token), "opened");
});

test("questions about a token go to no address on this machine either", async () => {
	for (const place of [`http://localhost:${trap}/`, `https://inside.example:${trap}/`, `${issuer.issuer}/away`]) {
		document = { issuer: issuer.issuer, jwks_uri: `${issuer.issuer}/jwks`, introspection_endpoint: place };
		server.ahead((ahead += 3600 + COOLDOWN)); // the document is read again, when a token wants a key
		const exp = Math.floor(Date.now() / 1000) + 2 * ahead;
		const made = await issuer.token({ exp }, { key: { ...issuer.keys[0], kid: `for-${ahead}` } });
		assert.equal(await outcome(made), "invalid_token");
		const before = metric(await server.metrics());
		assert.equal(await outcome(`opaque-${ahead}`), "overloaded", place);
		assert.equal(metric(await server.metrics()), before + 1, place);
		assert.equal(trapped, 0, place);
	}
});

test("who vouches for issuers is read once, not with each connection", async () => {
	document = { issuer: issuer.issuer, jwks_uri: `${issuer.issuer}/jwks` };
	unlinkSync(file("trusted.pem"));
	tls.closeAllConnections();
	server.ahead((ahead += 3600 + COOLDOWN));
	const added = await issuer.addKey("ES256");
	const exp = Math.floor(Date.now() / 1000) + 3 * ahead;
	assert.equal(await outcome(await issuer.token({ exp }, { key: added })), "opened");
});

test("auth.authorities are in place of the system's", async () => {
	const words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=company";
	execFileSync("openssl", [...words.split(" "), "-keyout", file("company.key"), "-out", file("company.pem")], { stdio: "ignore" });
	mkdirSync(file("system"));
	copyFileSync(file("cert.pem"), file("system/cert.pem"));
	copyFileSync(file("cert.pem"), file("system/ca-certificates.crt"));
	execFileSync("openssl", ["rehash", file("system")], { stdio: "ignore" });
	const other = await start("company.pem", [[file("system"), "/etc/ssl/certs"]]);
	try {
		assert.equal(await outcome(await issuer.token(), other), "overloaded");
		assert.match(other.log, /SSL certificate problem/);
	} finally {
		await other.stop();
	}
});

test("a name server that does not answer holds nobody up, but for who waits for that issuer", async () => {
	const somebody = await connect(server, { token: await issuer.token({ exp: Math.floor(Date.now() / 1000) + 3 * ahead }) });
	document = { issuer: issuer.issuer, jwks_uri: "https://silent.example/" };
	server.ahead((ahead += 3600 + COOLDOWN));
	const exp = Math.floor(Date.now() / 1000) + 3 * ahead;
	assert.equal(await outcome(await issuer.token({ exp }, { key: { ...issuer.keys[0], kid: "silent" } })), "invalid_token");
	await somebody.call("session.ping", {});
	assert.ok(silent.length);
	// Whoever looks a name up asks once more after five seconds: what was held up by that comes later.
	assert.equal(new Set(silent).size, silent.length);
	await somebody.close();
});

test("the trap would have told", async () => {
	await new Promise((done) => createConnection(trap, "127.0.0.1").on("error", done).on("close", done));
	assert.equal(trapped, 1);
});
