// Clients that want to do harm: slow, silent, many, large. Each is refused within its limit and its time,
// while two users go on exchanging signals, lose nothing and wait for nothing.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { after, test } from "node:test";
import { startBystanders } from "../support/bystanders.mjs";
import { connect } from "../support/client.mjs";
import { deflated, frame, rawConnect, rawWebSocket, requestText, upgradeText } from "../support/raw.mjs";
import { anyPace, atOnce, startServer } from "../support/server.mjs";

const HANDSHAKE_MS = 20_000; // how long the service waits for a request, or for its body
const OPEN_MS = 5000; // auth.session_open_timeout
const SLACK_MS = 10_000; // it looks every few seconds, and this machine may be busy
const LIMITS = { connections_per_address: 256, unopened_per_address: 256 }; // the defaults
const CUT_ABOVE = 64; // so many above connections_per_address are still answered
const SETTLED_MS = 20_000;

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const several = (n, make) => Promise.all(Array.from({ length: n }, (_, i) => make(i)));
const resident = ({ pid }) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) / 1024;
const descriptors = ({ pid }) => readdirSync(`/proc/${pid}/fd`).length;

async function until(holds, what, timeout = SETTLED_MS) {
	const since = performance.now();
	while (!(await holds())) {
		assert.ok(performance.now() - since < timeout, what);
		await pause(50);
	}
}

const server = await startServer({ workers: 2, config: { ...atOnce, server: { compression: true }, limits: LIMITS } });
after(() => server.stop());
const calm = await startServer({ workers: 2 });
after(() => calm.stop());
await server.mint("mallory");
const others = await startBystanders(server, calm);
const metric = async (name) => (await server.metrics())[`signalbox_${name}`];

/** How long each of them took to be ended by the server. */
async function ends(raws, most) {
	const began = performance.now();
	const times = raws.map(async (raw) => {
		await raw.gone(most + SLACK_MS);
		raw.destroy();
		return performance.now() - began;
	});
	return Math.max(...(await Promise.all(times)));
}

/** Sends the text byte by byte, then more of what goes on for ever. */
async function drip(raw, text, more, every) {
	for (let i = 0; !raw.ended; i++) {
		raw.write(i < text.length ? text[i] : more);
		await pause(every);
	}
}

// ---- slow ones ----

test("handshakes, headers and bodies that come byte by byte, or not at all", async (t) => {
	const token = await server.mint("mallory");
	const Host = `127.0.0.1:${server.port}`;
	const post = (path, headers) => requestText(`POST ${path}`, { Host, "Content-Length": 60_000, ...headers });
	const kinds = {
		silent: [],
		"upgrade, slow": ["", upgradeText(server), "x", 500],
		"headers for ever": [upgradeText(server).slice(0, -2), "", "X-More: 1\r\n", 1000],
		"body, slow": [post("/v1/rpc", { Authorization: `Bearer ${token}` }), "[", " ", 500],
		"body without a token, slow": [post("/oauth/token", { "Content-Length": 2000 }), "", "a", 500],
		"body of a POST to a session": [
			post("/v1/messages", { Authorization: `Bearer ${token}`, "Signalbox-Session": "0.0", "Signalbox-Sent": 0 }),
			"",
			" ",
			500,
		],
	};
	const started = Object.entries(kinds).map(async ([kind, [first, text, more, every]], k) => {
		const raws = await several(60, () => rawConnect(server, { from: `127.0.2.${k + 1}` }));
		for (const raw of raws)
			if (every) {
				if (first) raw.write(first);
				drip(raw, text, more, every);
			}
		const ms = await ends(raws, HANDSHAKE_MS).catch((error) => Promise.reject(new Error(`${kind}: ${error.message}`)));
		return `${kind} ${(ms / 1000).toFixed(1)} s`;
	});
	t.diagnostic((await Promise.all(started)).join(", "));
	await others.undisturbed(t);
});

test("who connects and never says who he is", async (t) => {
	const raws = await several(200, () => rawConnect(server, { from: "127.0.2.20" }));
	for (const raw of raws) raw.write(upgradeText(server));
	for (const raw of raws) assert.equal((await raw.response()).status, 101);
	const codes = await Promise.all(raws.map((raw) => raw.closeCode(OPEN_MS + SLACK_MS)));
	assert.deepEqual([...new Set(codes)], [3008]);
	for (const raw of raws) raw.destroy();
	await others.undisturbed(t);
});

// ---- many ----

test("a flood from one address: 429, then nothing; from another the door is open", async (t) => {
	const before = await server.metrics();
	const most = LIMITS.connections_per_address;
	const raws = await several(500, () => rawConnect(server, { from: "127.0.3.1" }).catch(() => undefined));
	const answers = raws.map(async (raw) => {
		raw?.write(upgradeText(server));
		const { status } = (await raw?.response()) ?? { status: "cut" };
		return status;
	});
	const counts = {};
	for (const status of await Promise.all(answers)) counts[status] = (counts[status] ?? 0) + 1;
	t.diagnostic(JSON.stringify(counts));
	assert.ok(counts[101] <= most && counts[101] > 0.5 * most, "about as many as may");
	assert.ok(counts.cut > 0 && counts.cut <= 500 - most, "the rest is closed, without an answer if need be");
	assert.ok(counts[101] + (counts[429] ?? 0) <= most + CUT_ABOVE + 10);
	const now = await server.metrics();
	assert.ok(now.signalbox_connections_cut_total - before.signalbox_connections_cut_total >= counts.cut);
	const cat = await connect(server, { user: "cat", ws: { localAddress: "127.0.3.2" } });
	await cat.call("session.ping");
	await cat.close();
	for (const raw of raws) raw?.destroy();
	await until(async () => (await metric("connections")) === 2, "the flood has gone");
	const back = await rawConnect(server, { from: "127.0.3.1" });
	back.write(upgradeText(server));
	assert.equal((await back.response()).status, 101);
	back.destroy();
	await others.undisturbed(t);
});

test("who dies without a word, a thousand times over", async (t) => {
	for (let round = 0; round < 10; round++) {
		const raws = await several(100, (i) => rawConnect(server, { from: `127.0.4.${round + 1}` }));
		for (const [i, raw] of raws.entries()) {
			raw.write(upgradeText(server).slice(0, i * 3));
			if (i % 2) raw.socket.resetAndDestroy();
			else raw.destroy();
		}
	}
	await until(async () => (await metric("connections")) === 2, "they are gone");
	await others.undisturbed(t);
});

// ---- large ----

test("headers and bodies without end, as fast as they can", async (t) => {
	const before = resident(server);
	const Host = `127.0.0.1:${server.port}`;
	const line = `X-More: ${"x".repeat(1000)}\r\n`;
	const bodies = ["/v1/rpc", "/v1/messages", "/oauth/token", "/", "/nowhere"].flatMap((path) => [
		[requestText(`POST ${path}`, { Host, "Content-Length": "1000000000000" }), "x".repeat(10_000)],
		[requestText(`POST ${path}`, { Host, "Transfer-Encoding": "chunked" }), `2710\r\n${"x".repeat(10_000)}\r\n`],
	]);
	const kinds = [[`GET / HTTP/1.1\r\nHost: ${Host}\r\n`, line], [upgradeText(server).slice(0, -2), line], ["", line], ...bodies];
	const all = kinds.flatMap(([first, more]) => Array.from({ length: 5 }, () => [first, more]));
	await Promise.all(
		all.map(async ([first, more], i) => {
			const raw = await rawConnect(server, { from: `127.0.5.${i + 1}` });
			raw.write(first);
			let bytes = 0;
			for (; !raw.ended && bytes < 20 << 20; bytes += more.length) {
				if (!raw.socket.write(more)) await Promise.race([pause(10), raw.closed]);
			}
			await raw.gone(SLACK_MS);
			const { status } = (await raw.response()) ?? {};
			if (first.startsWith("POST")) assert.ok([400, 404, 405, 411, 413, 501].includes(status) || status === undefined, `${status}`);
			raw.destroy();
		}),
	);
	const grown = resident(server) - before;
	assert.ok(grown < 40, `${grown} MiB more`);
	await others.undisturbed(t);
});

test("messages that are small on the way and large when they are there", async (t) => {
	const bomb = deflated(Buffer.alloc(100 << 20, " "), { level: 9 });
	const before = resident(server);
	for (let round = 0; round < 5; round++)
		await several(10, async () => {
			const raw = await rawWebSocket(server, {
				user: "mallory",
				headers: { "Sec-WebSocket-Extensions": "permessage-deflate" },
			});
			raw.write(frame(1, bomb, { rsv: 4 }));
			assert.equal(await raw.closeCode(), 1009);
			raw.destroy();
		});
	const grown = resident(server) - before;
	assert.ok(grown < 60, `${grown} MiB more`);
	await others.undisturbed(t);
});

// ---- descriptors ----

test("all descriptors are in use: who is there goes on, and when some are free again others get in", async (t) => {
	const poor = await startServer({ workers: 2, config: { ...atOnce, limits: { ...anyPace, connections_per_address: 10_000 } } });
	t.after(() => poor.stop());
	const others = await startBystanders(poor, calm);
	const most = descriptors(poor) + 50;
	execFileSync("prlimit", [`--pid=${poor.pid}`, `--nofile=${most}:${most}`]);
	const raws = await several(300, () => rawConnect(poor, { from: "127.0.6.1" })); // the kernel answers for those that wait
	await poor.logged("no descriptor for a new connection");
	await pause(1000);
	await others.undisturbed(t);
	const lines = poor.log.split("no descriptor").length;
	assert.ok(lines <= 1 + 2 * 2, `${lines} lines in the log`); // each worker says it, once in 10 s
	for (const raw of raws) raw.destroy();
	const cat = await connect(poor, { user: "cat" });
	await cat.call("session.ping");
	await cat.close();
	await others.stop();
	await until(() => descriptors(poor) < most - 40, "descriptors are free again");
});

test("nothing is left of all that", async () => {
	await others.stop();
	await until(async () => (await metric("connections")) === 0 && (await metric("sessions")) === 0, "all have gone");
	const { signalbox_event_streams: streams = 0 } = await server.metrics();
	assert.equal(streams, 0);
	const own = descriptors(server);
	const fresh = await startServer({ workers: 2 });
	await fresh.logged("dataset live"); // the demo's board has its file open, too
	const usual = descriptors(fresh);
	await fresh.stop();
	assert.ok(own <= usual + 5, `${own} descriptors; a fresh one has ${usual}`);
});
