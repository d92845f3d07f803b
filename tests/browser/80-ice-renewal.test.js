// Credentials for a relay that last ten seconds, and calls that last longer. Two of them at once: one is
// told new credentials in time (ice.changed), the other is kept from hearing of them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { people, serve, until } from "../support/browser.mjs";
import { startTurn } from "../support/coturn.mjs";

const SECRET = "for ten seconds";
const LIFE = "10s";
const RESTART_MS = 45_000; // after the calls have begun

/** From now on calls use nothing but relays, and the page notes what it gathers. Runs in the page. */
function watchRelays({ hears }) {
	const { box } = window.signalboxDemo;
	window.gathered = [];
	window.renewals = 0;
	const emit = box.emit.bind(box);
	box.emit = (name, detail) => {
		const changed = name === "notification" && detail.method === "ice.changed";
		if (changed) window.renewals++;
		if (!changed || hears) emit(name, detail);
	};
	const note = (pc, what) => {
		const { username } = pc.getConfiguration().iceServers[0];
		window.gathered.push({ at: Date.now(), username, ...what });
	};
	const join = box.join.bind(box);
	box.join = async (name) => {
		const room = await join(name);
		const begin = room.call.bind(room);
		room.call = (options) => {
			const video = { width: 160, height: 120, frameRate: 10 };
			const call = begin({ ...options, video, iceTransportPolicy: "relay" });
			call.on("peer", ({ pc }) => {
				pc.addEventListener("icecandidate", ({ candidate }) => candidate && note(pc, { type: candidate.type, ufrag: candidate.usernameFragment }));
				pc.addEventListener("icecandidateerror", ({ errorCode }) => note(pc, { error: errorCode }));
			});
			return call;
		};
		return room;
	};
}

/** What was gathered since then. Runs in the page. */
const since = (at) => window.gathered.filter((one) => one.at >= at);

/** The side that is not polite restarts ICE with what it has; when. */
async function forceRestart(pair) {
	const restart = () => {
		const [peer] = window.signalboxDemo.call.peers.values();
		if (!peer.polite) peer.pc.restartIce();
		return !peer.polite;
	};
	const at = Date.now();
	const impolite = await Promise.all(pair.map(({ page }) => page.evaluate(restart)));
	assert.equal(impolite.filter(Boolean).length, 1, "one of each pair is impolite");
	return at;
}

/** Both sides gather relay candidates with credentials of now, which coturn took, and frames go on. */
async function goesOn(pair, restarted, turn) {
	for (const one of pair) {
		const found = await until(`${one.name} gathers anew`, async () => {
			const all = await one.page.evaluate(since, restarted);
			assert.deepEqual(all.filter(({ error }) => error === 401), [], `${one.name} is refused by coturn`);
			return all.find(({ type }) => type === "relay");
		});
		const [expires, user] = found.username.split(":");
		assert.equal(user, one.name);
		assert.ok(Number(expires) * 1000 > restarted, `${found.username} has run out`);
		const taken = new RegExp(`user <${found.username}>: incoming packet ALLOCATE processed, success`);
		await until(`coturn takes ${found.username}`, () => taken.test(turn.log));
	}
	const [one, other] = pair;
	await Promise.all([one.sees(other.name), other.sees(one.name)]);
	for (const [each, them] of [[one, other.name], [other, one.name]]) {
		const { state, local, remote } = (await each.stats())[them];
		assert.deepEqual([state, local, remote], ["connected", "relay", "relay"], `the path of ${each.name}`);
	}
}

test("relayed calls outlive their credentials, because ice.changed brings others: without it they do not", async (t) => {
	const turn = await startTurn(t, SECRET);
	const server = await serve(t, {
		workers: 4,
		config: {
			ice: { credential_lifetime: LIFE },
			ice_servers: [{ urls: [turn.url], secret: SECRET }],
			issuer: { sign_up: "open" },
		},
	});
	const all = await people(t, server, ["ann", "bob", "cat", "dan"]);
	const [told, deaf] = [all.slice(0, 2), all.slice(2)];
	for (const [pair, room] of [[told, "told"], [deaf, "deaf"]]) {
		await Promise.all(pair.map(({ page }) => page.evaluate(watchRelays, { hears: pair === told })));
		await Promise.all(pair.map((one) => one.join(room)));
	}
	const began = Date.now();
	for (const [one, other] of [told, deaf]) await Promise.all([one.sees(other.name), other.sees(one.name)]);

	await until("the call has lasted long", () => Date.now() - began >= RESTART_MS, { ms: RESTART_MS + 1000 });
	for (const one of all) {
		const renewals = await one.page.evaluate(() => window.renewals);
		t.diagnostic(`${one.name} was sent new credentials ${renewals} times`);
		assert.ok(renewals >= 4 && renewals <= 7, `${one.name}: ${renewals}`);
	}
	const [restarted, restartedDeaf] = await Promise.all([forceRestart(told), forceRestart(deaf)]);
	await goesOn(told, restarted, turn);
	await assert.rejects(goesOn(deaf, restartedDeaf, turn), /is refused by coturn/);
	for (const one of deaf) {
		await one.until("coturn refuses it", (at) => window.gathered.some((one) => one.at >= at && one.error === 401), restartedDeaf);
	}
	// ICE began anew once for each time that the impolite side was told, and once because we made it
	const [impolite] = await Promise.all(told.map(({ page }) => page.evaluate(() => {
		const [peer] = window.signalboxDemo.call.peers.values();
		const rounds = new Set(window.gathered.filter(({ type }) => type === "relay").map(({ ufrag }) => ufrag)).size;
		return { polite: peer.polite, rounds, renewals: window.renewals };
	}))).then((both) => both.sort((x, y) => x.polite - y.polite));
	t.diagnostic(`gathered ${impolite.rounds} times with ${impolite.renewals} renewals`);
	// The last one may only just have been told; a busy machine may have made ICE doubt its path once. If the
	// polite side began anew as well, it would be twice as often.
	const again = impolite.rounds - 1 - impolite.renewals;
	assert.ok(again >= 0 && again <= 2, `${again}`);
});
