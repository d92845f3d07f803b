// The service, as the bench starts it: one worker, no limit of pace, since all clients come from one address.
import http from "node:http";
import https from "node:https";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";

export const binary = resolve(process.env.SIGNALBOX_BIN ?? "build/release/signalbox");
export const scratch = mkdtempSync(join(tmpdir(), "signalbox-bench-"));

const NO_LIMITS = [
	// it asks as fast as it can
	"--limits.requests_per_second=1000000",
	"--limits.requests_burst=1000000",
	"--limits.joins_per_second=1000000",
	"--limits.joins_burst=1000000",
	// from one address, as one user
	"--limits.connections_per_address=0",
	"--limits.unopened_per_address=0",
	"--limits.handshakes_per_second=0",
	"--limits.sessions_per_user=0",
];
const running = new Set();
// The program refuses variables of ours that it does not know: those of the tests.
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("SIGNALBOX_")));

/** A program that ends with the bench, whatever happens. */
export function start(command, options) {
	const child = spawn(command[0], command.slice(1), { env, ...options });
	running.add(child);
	child.on("exit", () => running.delete(child));
	return child;
}

/** Ends what is left, and takes the files away. */
export function clear() {
	for (const child of running) child.kill("SIGKILL");
	rmSync(scratch, { recursive: true, force: true });
}

/** A new service makes one of its keys when it listens already: that is not the cost of what is measured then. */
function allKeys(url) {
	const { get } = url.startsWith("https:") ? https : http;
	return new Promise((done, failed) => {
		get(`${url}/oauth/jwks`, { rejectUnauthorized: false, agent: false }, (answer) => answer.resume().on("end", done)).on("error", failed);
	});
}

/** {child, url, urls, data, ms: from its start to listening}. */
export async function startServer(data, prefix = [], more = []) {
	const began = performance.now();
	const args = ["serve", "--data", data, "--listen", "127.0.0.1:0", "--workers", "1", ...NO_LIMITS, ...more];
	const child = start([...prefix, binary, ...args], { stdio: ["ignore", "ignore", "pipe"] });
	const said = [];
	for await (const line of createInterface({ input: child.stderr })) {
		said.push(line);
		const url = /listening url=(\S+)/.exec(line)?.[1];
		if (!url) continue;
		const ms = performance.now() - began;
		child.stderr.resume();
		await allKeys(url);
		return { child, url, data, ms };
	}
	throw new Error(`the service did not start:\n${said.join("\n")}`);
}

export async function stopServer(server) {
	const ended = once(server.child, "exit");
	server.child.kill("SIGTERM");
	const [code] = await ended;
	if (code !== 0) throw new Error(`the service ended with ${code}`);
}

/** One call over the control socket. */
export async function control(server, method, params) {
	const socket = createConnection(join(server.data, "control.sock"));
	socket.write(`${JSON.stringify({ jsonrpc: "2.0", id: 1, method, params })}\n`);
	let text = "";
	for await (const chunk of socket.setEncoding("utf8")) {
		text += chunk;
		if (text.endsWith("\n")) break;
	}
	const answer = JSON.parse(text);
	if (answer.error) throw new Error(`${method}: ${answer.error.message}`);
	return answer.result;
}
