// Very many clients in a process of their own: see crowd.c.
// The server must allow as much from one user and one address: limits: { ...anyPace, ...anyNumber }.
//   const crowd = await startCrowd(server, { connections: 1000, rooms: 10, deaf: 10 });
//   const { delivered, p99_us } = await crowd.publish();
//   await crowd.leave();
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { ownDirectory } from "./server.mjs";
import { within } from "./within.mjs";

const JOIN_MS = 120_000;
const PUBLISH_MS = 180_000;
const LEAVE_MS = 60_000;

let program;

function compiled() {
	if (!program) {
		program = join(ownDirectory(), "crowd");
		execFileSync("cc", ["-O2", "-o", program, join(import.meta.dirname, "crowd.c")]);
	}
	return program;
}

/** With `t`, a test's context, it ends with that test. Resolves when all have joined. */
export async function startCrowd({ port, token }, options) {
	const { t, connections, rooms, deaf = 0, messages, bytes, rate } = options;
	const numbers = [connections, rooms, deaf, messages, bytes, rate].map(String);
	const child = spawn(compiled(), [String(port), token, ...numbers], {
		stdio: ["pipe", "pipe", "inherit"],
	});
	const kill = () => child.kill("SIGKILL");
	process.once("exit", kill);
	t?.after(kill);
	const exited = once(child, "exit").finally(() => process.off("exit", kill));
	const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
	const line = async (ms, what) => {
		const { value } = await within(lines.next(), ms, what);
		assert.ok(value, `the crowd ended without ${what}`);
		return value;
	};
	assert.equal(await line(JOIN_MS, "all joined"), "joined");
	return {
		/** Publishes to the end: {expected, delivered, wrong, lost, p50_us, p99_us, max_us}. */
		async publish() {
			child.stdin.write("go\n");
			return JSON.parse(await line(PUBLISH_MS, "the reckoning"));
		},
		async leave() {
			child.stdin.end();
			assert.deepEqual(await within(exited, LEAVE_MS, "the end of the crowd"), [0, null]);
		},
	};
}
