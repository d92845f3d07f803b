// A coturn for a test: relays between browsers on this machine, and takes the credentials that the
// service makes from their common secret.
//   const turn = await startTurn(t, "secret");      config: { ice_servers: [{ urls: [turn.url], secret: "secret" }] }
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { atEnd } from "./browser.mjs";
import { ownDirectory } from "./server.mjs";

const START_MS = 10_000;
const PATHS = ["/usr/bin/turnserver", "/usr/sbin/turnserver"];

const running = new Set();
process.on("exit", () => {
	for (const child of running) child.kill("SIGKILL");
});

/** Started, and answering; ends with the test. {url, port, log, stop} */
export async function startTurn(t, secret, { port } = {}) {
	port ??= await freePort();
	const folder = ownDirectory();
	const child = spawn(
		PATHS.find(existsSync) ?? "turnserver",
		[
			...["-n", "--no-cli", "--no-tls", "--no-dtls", "--no-tcp-relay", "--allow-loopback-peers"],
			...["--use-auth-secret", `--static-auth-secret=${secret}`, "--realm=signalbox.test"],
			...["-L", "127.0.0.1", "-p", String(port), "-E", "127.0.0.1"],
			...["--min-port=49200", "--max-port=49300", "--log-file=stdout", "--verbose"],
			...[`--pidfile=${join(folder, "pid")}`, `--userdb=${join(folder, "users")}`],
		],
		{ stdio: ["ignore", "pipe", "pipe"] },
	);
	running.add(child);
	const turn = { port, url: `turn:127.0.0.1:${port}?transport=udp`, log: "" };
	for (const stream of [child.stdout, child.stderr])
		stream.setEncoding("utf8").on("data", (text) => (turn.log += text));
	const ended = new Promise((done) => {
		child.on("error", (error) => done(error.message));
		child.on("close", (code, signal) => done(`it ended: ${signal ?? code}`));
	}).then((how) => {
		running.delete(child);
		return how;
	});
	turn.stop = async () => {
		child.kill("SIGKILL");
		await ended;
	};
	atEnd(t, turn.stop);
	const failed = await Promise.race([answering(port), ended]);
	if (failed) throw new Error(`coturn: ${failed}\n${turn.log.slice(-2000)}`);
	return turn;
}

function freePort() {
	const socket = createSocket("udp4");
	return new Promise((done, failed) => {
		socket.once("error", failed);
		socket.bind(0, "127.0.0.1", () => {
			const { port } = socket.address();
			socket.close(() => done(port));
		});
	});
}

/** Resolves once a STUN binding request is answered; with a sentence when none is. */
function answering(port) {
	const request = Buffer.concat([Buffer.from("000100002112a442", "hex"), randomBytes(12)]);
	const socket = createSocket("udp4");
	const ask = () => socket.send(request, port, "127.0.0.1");
	return new Promise((done) => {
		const again = setInterval(ask, 50);
		const late = setTimeout(() => finish(`no answer within ${START_MS} ms`), START_MS);
		const finish = (problem) => {
			clearInterval(again);
			clearTimeout(late);
			socket.close();
			done(problem);
		};
		socket.on("error", () => {}); // nobody listens there yet
		socket.once("message", () => finish());
		ask();
	});
}
