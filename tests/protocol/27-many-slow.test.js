// A crowd of which one in a hundred reads nothing: the others lose nothing and wait for nothing, and
// when all have left, their memory has been given back. With 10,000 in ./dev soak.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import { startCrowd } from "../support/crowd.mjs";
import { anyNumber, anyPace, atOnce, startServer } from "../support/server.mjs";
import { within } from "../support/within.mjs";

const WHOLE = process.env.SOAK === "1";
const CROWD = WHOLE
	? { connections: 10_000, rooms: 100, deaf: 100, messages: 200, bytes: 8192, rate: 2 }
	: { connections: 1000, rooms: 10, deaf: 10, messages: 150, bytes: 8192, rate: 15 };
const SETTLE_MS = 60_000;
const POLL_MS = 100;
const SPARE = 4 << 20; // of resident memory: what the allocator keeps in pieces

const server = await startServer({
	workers: 2,
	// who reads nothing is to be put out for that, not because its pong does not come
	config: { session: { ...atOnce.session, ping_interval: "10m" }, limits: { ...anyPace, ...anyNumber, outbound_queue: "256KiB" } },
	// freed memory is not to be held back here, where memory is measured
	env: { ASAN_OPTIONS: `${process.env.ASAN_OPTIONS ?? ""}:quarantine_size_mb=1:thread_local_quarantine_size_kb=64` },
});
after(() => server.stop());
const token = await server.mint("crowd");

function resident() {
	return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.pid}/status`, "utf8"))[1]) * 1024;
}

async function until(what, holds) {
	const look = async () => {
		while (!(await holds(await server.metrics()))) await new Promise((done) => setTimeout(done, POLL_MS));
	};
	await within(look(), SETTLE_MS, what);
}

// With the first crowd comes what is made once for all and stays.
let ground;

async function wave(t) {
	const before = (await server.metrics()).signalbox_slow_consumers_total;
	const crowd = await startCrowd({ port: server.port, token }, { t, ...CROWD });
	const full = resident();
	const { expected, delivered, wrong, lost, ...times } = await crowd.publish();
	assert.deepEqual({ delivered, wrong, lost }, { delivered: expected, wrong: 0, lost: 0 });
	await until("each of those who do not read put out", (now) => now.signalbox_slow_consumers_total === before + CROWD.deaf);
	await until("their sessions ended", (now) => now.signalbox_sessions === CROWD.connections - CROWD.deaf);
	await crowd.leave();
	await until("all gone", (now) => now.signalbox_connections === 0 && now.signalbox_sessions === 0);
	await until("memory given back", () => resident() < (ground ?? full) + SPARE);
	ground ??= resident();
	return { full, empty: resident(), ...times };
}

test("one in a hundred reads nothing: the others miss nothing, and all memory comes back", async (t) => {
	t.diagnostic(JSON.stringify([await wave(t), await wave(t)]));
});
