// Two users who go on exchanging signals while others do harm, and two more at a service that is left
// alone: what the second pair waits for is this machine's doing. They run in a thread of their own, so
// that they do not wait for whoever does the harm.
//   const others = await startBystanders(server, calm);
//   … harm …
//   await others.undisturbed(t);
//   await others.stop();
import assert from "node:assert/strict";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { connect } from "./client.mjs";

const EVERY_MS = 25; // within the limit of requests
const ROUNDS_MIN = 5;
const PATIENCE_MS = 30_000; // until there are so many

// What a round may take, beside one where nothing happens: processors are shared with whoever does harm.
const TIMES = 5;
const MORE_MS = 25;
const LONGEST_MORE_MS = 1500;

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const median = (list) => list.toSorted((a, b) => a - b)[list.length >> 1];

/** Both servers know the users ann and bob. */
export async function startBystanders(server, calm) {
	const where = async (one) => ({ wsUrl: one.wsUrl, tokens: [await one.mint("ann"), await one.mint("bob")] });
	const worker = new Worker(new URL(import.meta.url), {
		workerData: [await where(server), await where(calm)],
		env: { ...process.env, SIGNALBOX_TRAFFIC: "" }, // one recorder a process
	});
	const failed = new Promise((_, fail) => worker.on("error", fail));
	failed.catch(() => {}); // told by whoever asks next
	const ask = (what) => {
		const answer = new Promise((done) => worker.once("message", done));
		worker.postMessage(what);
		return Promise.race([answer, failed]);
	};
	await ask("start");
	return {
		/** Nothing was lost, and little has changed since the last look. */
		async undisturbed(t) {
			const [here, calm] = await ask("look");
			const text = ({ median, longest }) => `${median.toFixed(1)} ms, the longest ${longest.toFixed(0)} ms`;
			const told = `a round took ${text(here)}; where nothing happened ${text(calm)}`;
			t.diagnostic(`${here.rounds} rounds, ${told}`);
			assert.ok(here.median < TIMES * calm.median + MORE_MS, told);
			assert.ok(here.longest < TIMES * calm.longest + LONGEST_MORE_MS, told);
		},
		async stop() {
			await ask("stop");
			await worker.terminate();
		},
	};
}

// ---- in the thread ----

class Pair {
	#times = [];
	#silent = false;
	room = `bystanders ${Math.random()}`;

	static async of({ wsUrl, tokens }) {
		const pair = new Pair();
		pair.both = await Promise.all(tokens.map((token) => connect({ wsUrl }, { token })));
		for (const one of pair.both) one.peer = (await one.call("room.join", { room: pair.room })).peer;
		await pair.both[0].next("room.joined");
		pair.over = pair.#talk();
		return pair;
	}

	async #talk() {
		for (let data = 1; !this.#silent; data++) {
			const began = performance.now();
			for (const [from, to] of [this.both, this.both.toReversed()]) {
				await from.call("signal.send", { room: this.room, to: { peer: to.peer }, type: "n", data });
				const { method, params } = await to.next();
				assert.deepEqual([method, params.data], ["signal.received", data]);
			}
			this.#times.push(performance.now() - began);
			await pause(EVERY_MS);
		}
	}

	async look() {
		for (const since = performance.now(); this.#times.length < ROUNDS_MIN; await pause(EVERY_MS))
			assert.ok(performance.now() - since < PATIENCE_MS, "bystanders wait for each other");
		const times = this.#times;
		this.#times = [];
		return { rounds: times.length, median: median(times), longest: Math.max(...times) };
	}

	async stop() {
		this.#silent = true;
		await this.over;
		for (const one of this.both) assert.deepEqual(one.unread, []);
		for (const one of this.both) await one.close();
	}
}

if (!isMainThread) {
	let pairs;
	parentPort.on("message", async (what) => {
		if (what === "start") pairs = await Promise.all(workerData.map(Pair.of));
		parentPort.postMessage(what === "start" ? [] : await Promise.all(pairs.map((pair) => pair[what]())));
	});
}
