// signalbox bench: what it counts is what the service did, it leaves nothing behind, it says what is in its way; and
// of a server that loses, doubles or mixes up messages it says so.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { createServer as createHttp } from "node:http";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import { WebSocketServer } from "ws";
import { anyNumber, anyPace, ownDirectory, run, startServer } from "../support/server.mjs";
import { within } from "../support/within.mjs";

const [DONE, REFUSED, USAGE] = [0, 1, 2];
const SHORT = ["--seconds", "0.2", "--warm", "0.05"];
const folder = ownDirectory();
const [key, certificate] = [join(folder, "key"), join(folder, "crt")];
execFileSync(
	"openssl",
	["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=x",
		"-addext", "subjectAltName=IP:127.0.0.1"],
	{ stdio: "ignore" },
);
const [server, tight] = await Promise.all([
	startServer({ config: { limits: { ...anyPace, ...anyNumber } } }),
	startServer({ config: { tls: { certificate, key }, limits: { ...anyNumber, requests_per_second: 20, requests_burst: 20, members_per_room: 5 } } }),
]);
const secureUrl = `https://127.0.0.1:${tight.port}`;
after(() => Promise.all([server.stop(), tight.stop()]));

/** The lines of one call, which has to end well. */
async function measured(url, words, data = server.data) {
	const { code, stdout, stderr } = await run(["bench", url, ...words.split(" "), "--json", "--data", data]);
	assert.deepEqual([code, stderr], [DONE, ""], words);
	return stdout.trim().split("\n").map((line) => JSON.parse(line));
}

const all = (words) => measured(server.url, `${words} ${SHORT.join(" ")}`);

/** In order, and there. */
function held({ p50, p95, p99, p999, max }) {
	const values = [p50, p95, p99, p999, max];
	assert.deepEqual(values, values.toSorted((a, b) => a - b));
	assert.ok(p50 > 0 && max < 10_000_000, JSON.stringify(values));
}

function fine(result, expected) {
	const { lost, wrong, late, dialect } = result;
	assert.deepEqual({ lost, wrong, late, dialect }, { lost: 0, wrong: 0, late: 0, dialect: "signalbox" });
	for (const [name, value] of Object.entries(expected)) assert.equal(result[name], value, name);
}

test("fan-out: each number of messages under way, with batches and without", async () => {
	for (const words of ["fanout --outstanding 1,4", "fanout --no-batch --outstanding 3"]) {
		const runs = await all(`${words} --members 10 --rooms 2 --publishers 2`);
		assert.equal(runs.length, words.includes("no-batch") ? 1 : 2);
		for (const result of runs) {
			fine(result, { scenario: "fanout", members: 10, rooms: 2, publishers: 2, bytes: 128, batch: !words.includes("no-batch") });
			assert.ok(result.messages > 10, `${result.messages} messages`);
			// some of what came in the time was sent before it, or will be whole after it
			assert.ok(Math.abs(result.deliveries - 10 * result.messages) <= 10 * 2 * result.outstanding, JSON.stringify(result));
			// with those that came before and behind it each message has reached everybody
			assert.ok(result.in_all >= result.deliveries && result.in_all % 10 === 0, JSON.stringify(result));
			assert.ok(result.cpu_ns > 0 && result.cpu_ns < 4 * result.seconds * 1e9, `${result.cpu_ns} ns`);
			assert.ok(result.seconds > 0.19);
			held(result.latency_us);
		}
	}
});

test("signaling, and messages that begin when they are due", async () => {
	const paced = "fanout --rate 100 --members 4 --seconds 0.2 --warm 0";
	const [[signals], [due], [signalsDue]] = await Promise.all([all("signal --pairs 4 --bytes 1000"), measured(server.url, paced), all("signal --rate 50 --pairs 3")]);
	fine(signals, { scenario: "signal", pairs: 4, bytes: 1000 });
	assert.ok(signals.messages > 24, `${signals.messages} signals`); // each pair was through with more than an offer and an answer
	held(signals.latency_us);
	fine(due, { rate: 100, outstanding: 0 });
	// however late it was with some: no more than were due in that time
	assert.ok(due.messages > 0 && due.in_all / 4 <= 100 * due.seconds + 2, JSON.stringify(due));
	fine(signalsDue, { rate: 50, pairs: 3 });
	held(signalsDue.latency_us);
});

test("handshakes, memory and joins", async () => {
	const [[tokens], [open], [idle], [joined]] = await Promise.all([
		all("handshake --outstanding 2"),
		all("handshake --no-auth"),
		measured(server.url, "idle --connections 25 --members 10 --hold 0.1"),
		measured(server.url, "join --members 12 --rooms 2"),
	]);
	for (const { handshakes, latency_us, tls } of [tokens, open]) {
		assert.ok(handshakes > 5 && !tls, `${handshakes} handshakes`);
		held(latency_us);
	}
	fine(idle, { connections: 25, rooms: 3 });
	assert.ok(idle.rss_before > 1e6 && idle.rss_joined > 1e6 && idle.rss_held > 1e6);
	fine(joined, { connections: 24, messages: 24 });
	assert.ok(joined.all_joined_s > 0);
});

test("it leaves no session, and no room", async () => {
	const gone = async () => {
		while (Object.values(await left()).some(Boolean)) await new Promise((done) => setTimeout(done, 20));
	};
	const left = async () => {
		const { signalbox_sessions, signalbox_rooms } = await server.metrics();
		return { signalbox_sessions, signalbox_rooms };
	};
	// a session that was lost, and not closed, would wait for 30 s
	await within(gone(), 15_000, "the end of all sessions and rooms");
});

test("over TLS, with a session that goes on", async () => {
	const short = SHORT.join(" ");
	const secure = (words) => measured(secureUrl, `${words} ${short}`, tight.data);
	const [[full], [resumed], [messages]] = await Promise.all([
		secure("handshake --insecure"),
		secure(`handshake --outstanding 2 --resume-tls --ca ${certificate}`),
		secure(`fanout --members 3 --rate 20 --bytes 20000 --ca ${certificate}`),
	]);
	assert.ok(full.tls && full.handshakes && full.resumed === 0, JSON.stringify(full));
	// but for the first of each of those that are under way at a time
	assert.ok(resumed.resumed > 0 && resumed.resumed <= resumed.handshakes && resumed.resumed >= resumed.handshakes - 2, JSON.stringify(resumed));
	fine(messages, { tls: true, bytes: 20_000 });
	assert.ok(messages.deliveries);
});

test("for people it is a table, with units", async () => {
	const { code, stdout } = await run(["bench", server.url, "fanout", "signal", "--members", "3", "--pairs", "2", "--outstanding", "1,2", ...SHORT, "--data", server.data]);
	assert.equal(code, DONE);
	const [titles, units, one, two, none, signals, , pairs] = stdout.split("\n");
	assert.match(titles, /^fanout +members +rooms +data +under way +messages +deliveries +delivery +p50 +p99 +max +lost +wrong$/);
	assert.match(units, /^ +bytes +\/s +\/s +µs CPU +ms +ms +ms +$/);
	for (const line of [one, two]) assert.match(line, /^ +3 +1 +128 +[12] +\d+ +\d+ +\d+\.\d{3} +\d+\.\d{3} +\d+\.\d{3} +\d+\.\d{3} +0 +0$/);
	assert.equal(new Set([titles, units, one, two].map((line) => [...line].length)).size, 1);
	assert.equal(none, "");
	assert.match(signals, /^signal +pairs/);
	assert.match(pairs, /^ +2 +4096 +\d+ +\d+\.\d{3}/);
});

async function fails(words, code, pattern, options) {
	const result = await run(["bench", ...words], options);
	assert.equal(result.code, code, result.stderr);
	assert.equal(result.stdout, "");
	assert.match(result.stderr, pattern);
}

test("it says what is in its way, and what can be done", async () => {
	const own = ["--members", "2", "--data", server.data];
	const narrow = [secureUrl, "--data", tight.data, "--users", "1"];
	await Promise.all([
		fails([], USAGE, /this is missing: `URL`/),
		fails([server.url, "fanuot"], USAGE, /no scenario `fanuot`; did you mean `fanout`\?/),
		fails([server.url, "--membres", "3"], USAGE, /did you mean `--members`\?/),
		fails([server.url, "--members", "none"], USAGE, /no value for the option: `--members`/),
		fails(["nowhere", ...own], REFUSED, /nowhere is no address; write one as in http:/),
		fails([`http://127.0.0.1:${server.port + 65_536}`, ...own], REFUSED, /:\d+ is no address/),
		fails(["http://127.0.0.1:1", ...own], REFUSED, /127\.0\.0\.1:1: Connection refused: nothing listens there/),
		fails(narrow, REFUSED, /self-signed certificate; give its authority with --ca FILE, or --insecure\n$/),
		fails([server.url, "--data", ownDirectory()], REFUSED, /no service listens at .*control\.sock. Give the --data DIR .*--tokens FILE, or --no-auth/),
		fails([server.url, "--no-auth"], REFUSED, /refuses: .*\(unauthenticated\)\nIt wants tokens/),
		fails([server.url, "--tokens", "-"], REFUSED, /refuses with HTTP 401: .*\n.*token verify --explain/, { input: "nonsense\n" }),
		fails([server.url, "--tokens", "/nowhere"], REFUSED, /\/nowhere: No such file/),
		fails([server.url, "--tokens", "-"], REFUSED, /there is no token in -/),
		fails([server.url, "--pid", "999999999", ...own], REFUSED, /there is no process 999999999/),
		fails([server.url, "--cores", "x", ...own], REFUSED, /x is no list of cores/),
		fails([...narrow, "--insecure", "--members", "4", "--seconds", "5"], REFUSED, /\(too_many_requests\)\nRaise limits\.requests_per_second/),
		fails([...narrow, "--insecure", "--members", "6"], REFUSED, /\(room_full\)\nRaise limits\.members_per_room\./),
	]);
});

/** Where a server listens that ends with the test. */
async function listening(t, server) {
	server.listen(0, "127.0.0.1");
	await once(server, "listening");
	t.after(() => server.close());
	return `http://127.0.0.1:${server.address().port}`;
}

test("it does not wait for ever: for nobody's answer, and for an answer's connection to end", async (t) => {
	const sockets = [];
	t.after(() => sockets.forEach((socket) => socket.destroy()));
	const silent = await listening(t, createServer((socket) => sockets.push(socket.on("error", () => {}))));
	const page = createHttp({ keepAliveTimeout: 0 }, (_, answer) => answer.writeHead(404, { "Content-Length": 24 }).end("no such page\nelsewhere\n\n"));
	const other = await listening(t, page.on("connection", (socket) => sockets.push(socket)));
	await Promise.all([
		fails([silent, "handshake", "--no-auth", "--patience", "0.3", ...SHORT], REFUSED, /for 0\.3 s no handshake has come to its end: the server does not answer/),
		fails([silent, "--no-auth", "--patience", "0.3"], REFUSED, /0 of 1000 connections are ready, and for 0\.3 s no more/),
		fails([other, "--no-auth"], REFUSED, /refuses with HTTP 404: no such page\n/),
	]);
});

test("more than a connection may keep to be sent is no stream of halves", async (t) => {
	const words = ["--no-auth", "--members", "1", "--outstanding", "40", "--bytes", "1000000", "--data", ownDirectory(), ...SHORT];
	await fails([await faultyServer(t, "lost"), ...words], REFUSED, /connection 1 does not take what is to be sent: more than 16 MiB wait/);
});

/** A server that says what Signalbox would, but for one message in four to the last member. */
async function faultyServer(t, fault) {
	const server = new WebSocketServer({ port: 0, host: "127.0.0.1", handleProtocols: () => "signalbox.v1" });
	t.after(() => server.close());
	const members = [];
	let count = 0;
	const faults = {
		lost: () => {},
		doubled: (socket, event) => (socket.send(event), socket.send(event)),
		order: (socket, event) => setTimeout(() => socket.send(event), 20), // those behind it are faster
	};
	server.on("connection", (socket) => {
		socket.on("message", (text) => {
			const { id, method, params } = JSON.parse(text);
			if (!id) return;
			if (method === "room.join") members.push(socket);
			socket.send(JSON.stringify({ jsonrpc: "2.0", id, result: { peer: `p${members.length}`, members: [] } }));
			if (method !== "room.publish") return;
			const event = JSON.stringify({ jsonrpc: "2.0", method: "room.message", params: { data: params.data } });
			for (const member of members.slice(0, -1)) member.send(event);
			const last = members.at(-1);
			if (++count % 4 === 0) return faults[fault](last, event);
			last.send(event);
		});
	});
	await once(server, "listening");
	return `http://127.0.0.1:${server.address().port}`;
}

test("messages that are lost, doubled or out of order are seen, and the call fails", async (t) => {
	const found = await Promise.all(
		["lost", "doubled", "order"].map(async (fault) => {
			const url = await faultyServer(t, fault);
			const words = ["--no-auth", "--members", "3", "--publishers", "1", "--outstanding", "8", "--patience", "8", "--json", "--data", ownDirectory(), ...SHORT];
			const { code, stdout, stderr } = await run(["bench", url, ...words]);
			assert.equal(code, REFUSED, stderr);
			assert.match(stderr, /\d+ deliveries are lost, \d+ were doubled, out of order or not meant for who got them/);
			const { lost, wrong } = JSON.parse(stdout);
			return [fault, lost > 0, wrong > 0];
		}),
	);
	// behind one that was lost the next is not in order
	assert.deepEqual(found, [["lost", true, true], ["doubled", false, true], ["order", false, true]]);
});
