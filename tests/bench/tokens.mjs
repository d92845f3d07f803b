// What tokens and passwords cost the service: processor time of a handshake with each kind of token, and how
// long others wait while many people sign in.
import { createConnection } from "node:net";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { startCrowd } from "../support/crowd.mjs";
import { Browser } from "../support/page.mjs";
import { Foreign } from "./foreign.mjs";
import { processorTime } from "./machine.mjs";
import { median } from "./numbers.mjs";
import { control, scratch, startServer, stopServer } from "./service.mjs";

const PASSWORD = "correct horse battery";
const ALGORITHMS = ["ES256", "RS256"];
const SIGN_INS_A_MINUTE = 1000;
const PEOPLE = 20;
const AT_ONCE = 8;

/** One handshake to the end of its answer. */
function handshake(port, token) {
	return new Promise((done, failed) => {
		const socket = createConnection(port, "127.0.0.1");
		let text = "";
		socket.on("error", failed).setEncoding("latin1").on("data", (chunk) => {
			text += chunk;
			if (!text.includes("\r\n\r\n")) return;
			socket.destroy();
			if (text.startsWith("HTTP/1.1 101 ")) done();
			else failed(new Error(text));
		});
		socket.write(
			`GET /ws HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n` +
				"Sec-WebSocket-Protocol: signalbox.v1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
				`${token ? `Authorization: Bearer ${token}\r\n` : ""}\r\n`,
		);
	});
}

/** Processor time of one, in microseconds. */
async function handshakes(server, tokens) {
	const port = Number(new URL(server.url).port);
	const before = processorTime(server.child.pid);
	for (let i = 0; i < tokens.length; i += AT_ONCE)
		await Promise.all(tokens.slice(i, i + AT_ONCE).map((token) => handshake(port, token)));
	return (processorTime(server.child.pid) - before) / 1000 / tokens.length;
}

/** {none, ES256: {distinct, repeated}, RS256: …}: microseconds, medians of rounds by turns. */
export async function handshakeCosts({ quick }) {
	const count = quick ? 32 : 300;
	const rounds = quick ? 1 : 5;
	const foreign = new Foreign(scratch);
	const server = await startServer(join(scratch, "tokens"), [], ["--config", foreign.config]);
	const costs = { none: [], ...Object.fromEntries(ALGORITHMS.map((alg) => [alg, { distinct: [], repeated: [] }])) };
	await handshakes(server, Array(count).fill("")); // warm
	for (let round = 0; round < rounds; round++) {
		costs.none.push(await handshakes(server, Array(count).fill("")));
		for (const alg of ALGORITHMS) {
			const tokens = foreign.tokens(count, alg);
			costs[alg].distinct.push(await handshakes(server, tokens));
			costs[alg].repeated.push(await handshakes(server, Array(count).fill(tokens[0])));
		}
	}
	await stopServer(server);
	const medians = Object.fromEntries(
		ALGORITHMS.map((alg) => [alg, { distinct: median(costs[alg].distinct), repeated: median(costs[alg].repeated) }]),
	);
	return { none: median(costs.none), ...medians };
}

/** People who sign in, evenly, until told to stop. Returns how many did. */
function signIns(forms) {
	let going = true;
	let done = 0;
	const waiting = [];
	const began = performance.now();
	const all = (async () => {
		for (let i = 0; going; i++) {
			const { browser, name } = forms[i % forms.length];
			waiting.push(browser().submit({ name, password: PASSWORD }).then(({ status }) => (done += status === 303)));
			await pause(Math.max(0, began + (i + 1) * (60_000 / SIGN_INS_A_MINUTE) - performance.now()));
		}
		await Promise.all(waiting);
	})();
	return async () => {
		going = false;
		const seconds = (performance.now() - began) / 1000;
		await all;
		return { done, asked: waiting.length, seconds };
	};
}

/** How long members of rooms wait for a message while people sign in, as a ratio to when nobody does. */
export async function signInCosts({ quick }) {
	const crowd = { connections: 200, rooms: 2, deaf: 0, bytes: 512, rate: 20, messages: quick ? 20 : 40 };
	const rounds = quick ? 1 : 5;
	const server = await startServer(join(scratch, "sign-ins"));
	const forms = [];
	for (let i = 0; i < PEOPLE; i++) {
		const name = `person${i}`;
		await control(server, "user.add", { name, password: PASSWORD });
		const page = await new Browser().open(`${server.url}/oauth/login?page=account`);
		// each time a browser that has this form before it
		forms.push({ name, browser: () => Object.assign(new Browser(), { html: page.html, url: page.url, cookies: new Map(page.cookies) }) });
	}
	const { token } = await control(server, "token.mint", { user: "person0" });
	const port = Number(new URL(server.url).port);
	const waits = { quiet: { p50: [], p99: [] }, busy: { p50: [], p99: [] } };
	let done = 0;
	let seconds = 0;
	for (let i = 0; i < 2 * rounds; i++) {
		const kind = i % 2 ? "busy" : "quiet";
		const clients = await startCrowd({ port, token }, crowd);
		const stop = kind === "busy" ? signIns(forms) : null;
		const { expected, delivered, wrong, p50_us, p99_us } = await clients.publish();
		if (stop) {
			const round = await stop();
			if (round.done !== round.asked) throw new Error(`${round.done} of ${round.asked} signed in`);
			done += round.done;
			seconds += round.seconds;
		}
		await clients.leave();
		if (wrong || delivered !== expected) throw new Error(`${delivered} of ${expected} delivered`);
		waits[kind].p50.push(p50_us);
		waits[kind].p99.push(p99_us);
	}
	const metrics = await (await fetch(`${server.url}/metrics`)).text();
	const most = Number(/^signalbox_passwords_hashing_most (\d+)/m.exec(metrics)[1]);
	if (most !== 1) throw new Error(`${most} passwords were hashed at once`);
	await stopServer(server);
	const ratio = (of) => median(waits.busy[of]) / median(waits.quiet[of]);
	return { p50: ratio("p50"), p99: ratio("p99"), aMinute: (done / seconds) * 60 };
}
