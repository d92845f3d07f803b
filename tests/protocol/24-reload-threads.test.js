// SIGHUP: configuration and certificate are read again while clients talk, on all workers at once; what
// is wrong changes nothing and is said.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { connect as dialTls } from "node:tls";
import { connect, within } from "../support/client.mjs";
import { upgrade } from "../support/raw.mjs";
import { atOnce, ownDirectory, run, startServer } from "../support/server.mjs";

const hurry = { requests_per_second: 1_000_000, requests_burst: 1_000_000 };
const base = { ...atOnce, server: { origins: ["https://one.example"] }, log: { level: "info" }, limits: hurry };
const server = await startServer({ workers: 4, config: base });
after(() => server.stop());
const file = `${server.data}.yaml`;
const folder = ownDirectory();

/** Sends SIGHUP and waits for the line that matches, written behind it; the log since then. */
async function hup(expected = "configuration reloaded", on = server) {
	const from = on.log.length;
	on.signal("SIGHUP");
	await on.logged({ exec: (text) => text.slice(from).match(expected) });
	return on.log.slice(from);
}

async function configure(config, expected, on = server) {
	writeFileSync(`${on.data}.yaml`, typeof config === "string" ? config : JSON.stringify(config));
	return hup(expected, on);
}

const REFUSED = "nothing has changed";

/** Two people on any workers who talk until told to stop; nothing is lost, doubled or out of order. */
async function traffic(on = server, options = {}) {
	const people = [];
	for (const user of ["ann", "bob", "cat", "dan"]) people.push(await connect(on, { user, ...options }));
	for (const c of people) await c.call("room.join", { room: "traffic" });
	const [ann] = people;
	let going = true;
	let sent = 0;
	const publishing = (async () => {
		while (going) await ann.call("room.publish", { room: "traffic", data: sent++ });
	})();
	return {
		people,
		async stop() {
			going = false;
			await publishing;
			for (const c of people) {
				for (let i = 0; i < sent; i++) assert.equal((await c.next("room.message")).params.data, i);
				await c.close();
			}
			return sent;
		},
	};
}

// ---- what can change ----

test("limits change for connections that are there and for new ones, on every worker, under traffic", async () => {
	const talk = await traffic();
	const old = [];
	for (let i = 0; i < 12; i++) old.push(await connect(server, { user: "eve" }));
	assert.equal(old[0].session.limits.message, 131072);
	const log = await configure({ ...base, limits: { ...hurry, message: "16KiB", data: "8KiB", batch: 3 } });
	assert.match(log, /changed="limits.message limits.data limits.batch"/);
	for (const c of old) {
		await assert.rejects(c.call("room.publish", { room: "r", data: "x".repeat(9000) }), { code: -32013 });
		c.raw(`"${"x".repeat(20_000)}"`);
		assert.equal((await c.closed).code, 1009);
	}
	for (let i = 0; i < 8; i++) {
		const c = await connect(server, { user: "eve" });
		assert.deepEqual([c.session.limits.message, c.session.limits.batch], [16384, 3]);
		await c.close();
	}
	await configure(base);
	const c = await connect(server, { user: "eve" });
	assert.equal(c.session.limits.message, 131072);
	await c.call("room.join", { room: "r" });
	await c.call("room.publish", { room: "r", data: "x".repeat(60_000) });
	await c.close();
	assert.ok((await talk.stop()) > 0);
});

test("origins", async () => {
	const status = async (origin) => (await upgrade(server, { Origin: origin })).status;
	for (const [allowed, refused] of [["one", "two"], ["two", "one"]]) {
		await configure({ ...base, server: { origins: [`https://${allowed}.example`] } });
		for (let i = 0; i < 8; i++) {
			assert.equal(await status(`https://${allowed}.example`), 101);
			assert.equal(await status(`https://${refused}.example`), 403);
		}
	}
	await configure(base);
});

test("ICE servers, for those who are in a room as for those who come", async () => {
	const c = await connect(server, { user: "ann" });
	assert.deepEqual((await c.call("ice.servers")).ice_servers, []);
	for (const host of ["a", "b", "c"]) {
		const urls = [`turn:${host}.example:3478`];
		await configure({ ...base, ice_servers: [{ urls, secret: `secret-${host}` }], ice: { credential_lifetime: "10m" } });
		const { ice_servers, expires_at } = await c.call("ice.servers");
		assert.deepEqual(ice_servers.map((one) => one.urls), [urls]);
		assert.ok(Math.abs(expires_at - Date.now() / 1000 - 600) < 60);
		const { ice_servers: joined } = await c.call("room.join", { room: `ice-${host}` });
		assert.deepEqual(joined.map((one) => one.urls), [urls]);
		assert.doesNotMatch(server.log, /secret-/);
	}
	await configure(base);
	assert.deepEqual((await c.call("ice.servers")).ice_servers, []);
	await c.close();
});

test("rooms: what is kept of those that are there, and which are made by joining", async () => {
	const c = await connect(server, { user: "ann" });
	await c.call("room.join", { room: "kept" });
	const { epoch } = await c.call("room.publish", { room: "kept", data: 1 });
	for (let i = 2; i <= 9; i++) await c.call("room.publish", { room: "kept", data: i });
	await configure({ ...base, rooms: { history_messages: 3, ephemeral: false } });
	await c.call("room.publish", { room: "kept", data: 10 });
	const late = await connect(server, { user: "bob" });
	await assert.rejects(late.call("room.join", { room: "new" }), { code: -32004 });
	for (const [offset, recovered] of [[6, false], [7, true]]) {
		const joined = await late.call("room.join", { room: "kept", since: { epoch, offset } });
		assert.equal(joined.recovered, recovered, `since ${offset}`);
		await late.call("room.leave", { room: "kept" });
	}
	await configure(base);
	await late.call("room.join", { room: "new" });
	for (const one of [c, late]) await one.close();
});

test("the log: its level and its form", async () => {
	await configure({ ...base, log: { level: "info", format: "json" } });
	const line = JSON.parse(server.log.trimEnd().split("\n").at(-1));
	assert.deepEqual([line.event, line.changed], ["configuration reloaded", "log.format"]);
	await configure({ ...base, log: { level: "warn" }, server: { origins: [], demo: false } }, "needs a restart");
	const quiet = server.log.length;
	await configure({ ...base, log: { level: "error" }, server: { origins: [], demo: false } }, { [Symbol.match]: () => true });
	const reloads = async () => (await server.metrics()).signalbox_reloads_total;
	const before = await reloads();
	await configure({ ...base, limits: { ...hurry, batch: 7 }, log: { level: "error" } }, { [Symbol.match]: () => true });
	while ((await reloads()) === before) await new Promise((done) => setTimeout(done, 20));
	assert.doesNotMatch(server.log.slice(quiet), /reloaded/);
	await configure(base);
});

// ---- what cannot ----

test("what needs a restart is named, stays as it was, and the rest changes all the same", async () => {
	const config = {
		...base,
		server: { ...base.server, listen: ["127.0.0.1:1"], workers: 9, demo: false, compression: true, internal_listen: "127.0.0.1:1" },
		data: { directory: "/nowhere" },
		issuer: { sign_up: "closed" },
		limits: { ...hurry, calls_per_worker: 2000, batch: 9 },
		issuers: [{ issuer: "https://a.example", alias: "a", audiences: ["x"], jwks_file: "/dev/null" }],
	};
	const log = await configure(config);
	const named = [...log.matchAll(/needs a restart"? key=(\S+)/g)].map(([, key]) => key);
	// --data, --listen and --workers are options here: these stand above the file
	assert.deepEqual(named, ["server.internal_listen", "server.compression", "server.demo", "issuer.sign_up", "limits.calls_per_worker", "issuers"]);
	assert.match(log, /hint=.*serve --take-over/);
	assert.match(log, /changed=limits.batch\n/);
	const c = await connect(server, { user: "ann" });
	assert.equal(c.session.limits.batch, 9);
	await c.close();
	assert.equal((await fetch(`${server.url}/`)).status, 200);
	assert.equal((await upgrade(server, { "Sec-WebSocket-Extensions": "permessage-deflate" })).headers["sec-websocket-extensions"], undefined);
	// the next one is compared with what is in force
	assert.match(await configure(config), /key=server.demo/);
	assert.doesNotMatch(await configure(base), /needs a restart/);
});

test("the reference and the handbook name the same keys that need a restart", async () => {
	const { stdout } = await run(["config", "reference"]);
	const named = [];
	let section;
	let said = "";
	for (const line of stdout.split("\n")) {
		if (/^\s*#/.test(line)) {
			said += ` ${line.replace(/^\s*#\s*/, "")}`;
			continue;
		}
		const key = /^(\s*)([a-z_]+):/.exec(line);
		const restart = /needs a restart/.test(said);
		said = "";
		if (!key) continue;
		if (!key[1]) section = key[2];
		if (restart) named.push(key[1] ? `${section}.${key[2]}` : section);
	}
	assert.ok(named.includes("server.listen") && named.includes("issuers") && !named.includes("limits.message"));
	const handbook = readFileSync(new URL("../../docs/OPERATIONS.md", import.meta.url), "utf8");
	const [, list] = /need a restart:([\s\S]*?)\n\n/.exec(handbook);
	const written = [...list.matchAll(/`([a-z_.]+)`/g)].map(([, key]) => key);
	const issuer = named.filter((key) => key.startsWith("issuer."));
	assert.deepEqual(written.sort(), [...named.filter((key) => !issuer.includes(key)), "issuer"].sort());
});

test("a wrong file changes nothing, and the log says where it is wrong", async () => {
	const c = await connect(server, { user: "ann" });
	const wrong = "limits:\n  batch: 5\n  message: 12 parsecs\nlog:\n  levle: warn\n";
	const log = await configure(wrong, REFUSED);
	assert.match(log, /configuration refused/);
	assert.ok(log.includes(`${file}:3:12: limits.message: `), log);
	assert.ok(log.includes(`${file}:5:3: `) && log.includes("did you mean `level`"), log);
	const again = await connect(server, { user: "ann" });
	assert.equal(again.session.limits.batch, 100);
	for (const bytes of ["\u0000", "a: [", "x".repeat(300_000), "server: {origins: [nonsense]}"]) await configure(bytes, REFUSED);
	assert.equal((await server.metrics()).signalbox_reloads_refused_total, 5);
	await c.call("session.ping");
	for (const one of [c, again]) await one.close();
	await configure(base);
});

test("a file that has vanished changes nothing", async () => {
	rmSync(file);
	assert.match(await hup(REFUSED), /cannot be read/);
	const c = await connect(server, { user: "ann" });
	await c.close();
	await configure(base);
});

test("a hundred signals in a row under load: nobody loses a message", async () => {
	const talk = await traffic();
	const reloads = async () => (await server.metrics()).signalbox_reloads_total;
	const before = await reloads();
	for (let i = 0; i < 100; i++) {
		writeFileSync(file, JSON.stringify({ ...base, limits: { ...hurry, batch: 50 + i }, ice_servers: [{ urls: [`stun:${i}.example`] }] }));
		const seen = await reloads(); // signals that come together are one
		server.signal("SIGHUP");
		while ((await reloads()) === seen) await new Promise((done) => setImmediate(done));
	}
	assert.ok((await reloads()) - before >= 100);
	const c = await connect(server, { user: "eve" });
	assert.equal(c.session.limits.batch, 149);
	assert.deepEqual((await c.call("ice.servers")).ice_servers, [{ urls: ["stun:99.example"] }]);
	await c.close();
	assert.ok((await talk.stop()) > 100);
	await configure(base);
});

// ---- TLS ----

const CURVE = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

/** A certificate of its own for a name, with its key: {certificate, key}, as PEM. */
function made(name, algorithm = CURVE) {
	const [key, certificate] = [join(folder, `${name}.key`), join(folder, `${name}.crt`)];
	execFileSync(
		"openssl",
		["req", "-x509", "-newkey", ...algorithm, "-nodes", "-keyout", key, "-out", certificate, "-days", "2", "-subj", `/CN=${name}`,
			"-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
		{ stdio: "ignore" },
	);
	return { certificate: readFileSync(certificate), key: readFileSync(key) };
}

test("a TLS session goes on with every worker, until another certificate is in force", async (t) => {
	const [key, certificate] = [join(folder, "visited.pem.key"), join(folder, "visited.pem")];
	const put = (pair) => {
		writeFileSync(certificate, pair.certificate);
		writeFileSync(key, pair.key);
	};
	put(made("before"));
	const tls = await startServer({ t, workers: 4, config: { ...atOnce, limits: hurry, tls: { certificate, key } } });
	const visit = (version, session) =>
		new Promise((done, failed) => {
			const to = { port: tls.port, host: "127.0.0.1", rejectUnauthorized: false, minVersion: version, maxVersion: version, session };
			const socket = dialTls(to).on("error", failed);
			const leave = (what) => {
				done(what);
				socket.destroy();
			};
			if (session) socket.once("secureConnect", () => leave(socket.isSessionReused()));
			else socket.once("session", leave);
		});
	const goOn = (version, session) => Promise.all(Array.from({ length: 24 }, () => visit(version, session)));
	for (const version of ["TLSv1.3", "TLSv1.2"]) {
		const session = await within(visit(version), 10_000, `a ${version} session`);
		assert.deepEqual(await within(goOn(version, session), 20_000, "24 visits"), Array(24).fill(true), version);
		await hup(undefined, tls); // it is still the same certificate
		assert.equal(await visit(version, session), true, version);
		put(made(`behind-${version}`));
		await hup(undefined, tls);
		assert.deepEqual(await within(goOn(version, session), 20_000, "24 visits"), Array(24).fill(false), version);
	}
});

test("certificates: new connections see the new one on every worker, old ones go on; a broken one stays out", async (t) => {
	const [key, certificate] = [join(folder, "key.pem"), join(folder, "certificate.pem")];
	const put = (pair) => {
		writeFileSync(certificate, pair.certificate);
		writeFileSync(key, pair.key);
	};
	const first = made("first");
	put(first);
	const config = { ...atOnce, limits: hurry, tls: { certificate, key } };
	const tls = await startServer({ t, workers: 4, config });
	const shown = () =>
		new Promise((done, failed) => {
			const socket = dialTls({ port: tls.port, host: "127.0.0.1", rejectUnauthorized: false }, () => {
				done(socket.getPeerCertificate().subject.CN);
				socket.destroy();
			});
			socket.on("error", failed);
		});
	/** What everybody who comes now is shown, on whichever worker. */
	const shownToAll = async () => {
		const names = await within(Promise.all(Array.from({ length: 24 }, shown)), 20_000, "24 handshakes");
		assert.equal(new Set(names).size, 1, names.join(" "));
		return names[0];
	};
	assert.equal(await shownToAll(), "first");

	// While old connections talk and new ones come all the time: none fails, and none of the old is cut.
	const talk = await traffic(tls, { ws: { rejectUnauthorized: false } });
	let coming = true;
	const comers = (async () => {
		let count = 0;
		for (; coming; count++) assert.match(await shown(), /^(first|second|third)$/);
		return count;
	})();
	put(made("second", ["rsa:2048"]));
	await hup(undefined, tls);
	assert.equal(await shownToAll(), "second");
	put(made("third"));
	await hup(undefined, tls);
	assert.equal(await shownToAll(), "third");
	coming = false;
	assert.ok((await comers) > 0);
	assert.ok((await talk.stop()) > 0);

	// At other paths.
	const [otherKey, otherCertificate] = [join(folder, "other.key"), join(folder, "other.crt")];
	made("other");
	assert.match(await configure({ ...config, tls: { certificate: otherCertificate, key: otherKey } }, undefined, tls), /changed="tls.certificate tls.key"/);
	assert.equal(await shownToAll(), "other");
	await configure(config, undefined, tls);
	assert.equal(await shownToAll(), "third");

	// What is broken.
	const encrypted = execFileSync("openssl", ["pkey", "-in", otherKey, "-aes256", "-passout", "pass:x"]);
	for (const [pair, why] of [
		[{ certificate: first.certificate, key: readFileSync(otherKey) }, /is not the key of/],
		[{ certificate: first.certificate, key: made("rsa", ["rsa:2048"]).key }, /is not the key of/],
		[{ certificate: first.certificate, key: encrypted }, /is encrypted/],
		[{ certificate: first.certificate, key: "nothing" }, /holds no private key/],
		[{ certificate: "nothing", key: first.key }, /holds no certificate/],
		[{ certificate: first.certificate.subarray(0, 300), key: first.key }, /holds no certificate/],
		[made("weak", ["rsa:512"]), /key too small/],
	]) {
		put(pair);
		assert.match(await hup(REFUSED, tls), why);
		assert.equal(await shownToAll(), "third");
	}
	put(first);
	rmSync(key);
	assert.match(await hup(REFUSED, tls), /key\.pem cannot be read: No such file/);
	assert.match(await configure({ ...config, tls: { certificate } }, REFUSED, tls), /tls\./);

	// One that is out of date is better than none.
	const [request, old] = [join(folder, "old.csr"), join(folder, "old.crt")];
	execFileSync("openssl", ["req", "-new", "-key", otherKey, "-subj", "/CN=old", "-out", request]);
	execFileSync("openssl", ["x509", "-req", "-in", request, "-signkey", otherKey, "-days", "-1", "-out", old], { stdio: "ignore" });
	put({ certificate: readFileSync(old), key: readFileSync(otherKey) });
	assert.match(await configure(config, undefined, tls), /the certificate has expired/);
	assert.equal(await shownToAll(), "old");

	// A server with TLS stays one.
	put(first);
	assert.match(await configure({ ...config, tls: {} }, undefined, tls), /needs a restart"? key=tls.certificate/);
	assert.equal(await shownToAll(), "old");
	await configure(config, undefined, tls);
	assert.equal(await shownToAll(), "first");
});

test("a server without TLS stays one, and says so", async () => {
	made("late");
	const log = await configure({ ...base, tls: { certificate: join(folder, "late.crt"), key: join(folder, "late.key") } });
	assert.match(log, /needs a restart"? key=tls.certificate/);
	assert.match(log, /needs a restart"? key=tls.key/);
	await (await connect(server, { user: "ann" })).close();
	await configure(base);
});
