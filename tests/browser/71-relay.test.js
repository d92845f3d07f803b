// Calls that may only go by way of a relay: a real coturn, and the credentials that the service issues for it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { people, serve } from "../support/browser.mjs";
import { startTurn } from "../support/coturn.mjs";

/** From now on the demo's calls use nothing but relays. Runs in the page. */
function onlyRelays() {
	const { box } = window.signalboxDemo;
	const join = box.join.bind(box);
	window.iceErrors = [];
	box.join = async (name) => {
		const room = await join(name);
		const begin = room.call.bind(room);
		room.call = (options) => {
			const call = begin({ ...options, iceTransportPolicy: "relay" });
			call.on("peer", ({ pc }) => {
				pc.addEventListener("icecandidateerror", ({ errorCode }) => window.iceErrors.push(errorCode));
			});
			return call;
		};
		return room;
	};
}

test("relay only: a call goes through coturn; with another secret it does not", async (t) => {
	const turn = await startTurn(t, "the common secret");
	const server = await serve(t, {
		workers: 4,
		config: { ice_servers: [{ urls: [turn.url], secret: "the common secret" }] },
	});
	const [ann, bob] = await people(t, server, ["ann", "bob"]);
	await bob.moveFrom(await ann.worker());
	await Promise.all([ann.page.evaluate(onlyRelays), bob.page.evaluate(onlyRelays)]);

	await Promise.all([ann.join("tea"), bob.join("tea")]);
	await Promise.all([ann.sees("bob"), bob.sees("ann")]);
	for (const [one, other] of [[ann, "bob"], [bob, "ann"]]) {
		const { local, remote } = (await one.stats())[other];
		assert.deepEqual([local, remote], ["relay", "relay"], `the path of ${one.name}`);
	}
	assert.match(turn.log, /ALLOCATE processed, success/);
	await Promise.all([ann.leave(), bob.leave()]);

	await turn.stop();
	const stranger = await startTurn(t, "another secret", turn);
	await Promise.all([ann.join("tea"), bob.join("tea")]);
	for (const [one, other] of [[ann, "bob"], [bob, "ann"]]) {
		await one.until("coturn refuses the credentials", () => window.iceErrors.includes(401));
		await one.until("no way is found", () =>
			[...window.signalboxDemo.call.peers.values()].some(({ pc }) => pc.iceGatheringState === "complete"));
		const { state, local, videos } = (await one.stats())[other];
		assert.ok(state !== "connected" && !local && videos.every(({ frames }) => frames === 0), `${one.name}: ${state}`);
	}
	assert.doesNotMatch(stranger.log, /ALLOCATE processed, success/);
});
