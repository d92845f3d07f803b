// Users on four workers ring, accept, decline, cancel, hang up, leave and come back, all at random and often at the
// same moment. Each call ends once for everybody who had it, and all are told reasons that agree.
import assert from "node:assert/strict";
import test from "node:test";
import { connect } from "../support/client.mjs";
import { foreignIssuer } from "../support/foreign.mjs";
import { randomFrom, SEED } from "../support/random.mjs";
import { anyPace, atOnce, startServer } from "../support/server.mjs";

const OPERATIONS = Number(process.env.OPERATIONS ?? 700);
const USERS = 6;
const SESSIONS = 2; // of each
const SOON = 20_000;
const { below, pick, chance } = randomFrom(SEED);
const corp = await foreignIssuer("corp");
const id = (user) => `corp|u${user}`;

const calls = new Map(); // id → {caller, accepted: [sessions], heard: [{session, reason}], rang: Set of sessions}
const counts = {};
const count = (what) => (counts[what] = (counts[what] ?? 0) + 1);

function of(call) {
	if (!calls.has(call)) calls.set(call, { callers: new Set(), accepted: [], told: [], ended: new Map(), rang: new Set() });
	return calls.get(call);
}

class Session {
	has = new Set(); // calls that it was told of and whose end it was not
	asked = 0;

	static async open(server, user) {
		const session = new Session();
		session.user = user;
		session.client = await connect(server, { token: await corp.token(`u${user}`) });
		// behind what has come by now, and at once from then on
		for (const event of session.client.events) session.hear(event);
		session.client.socket.on("message", (bytes) => {
			const message = JSON.parse(bytes);
			if (message.method) session.hear(message);
		});
		return session;
	}

	hear({ method, params }) {
		if (method === "call.incoming") {
			of(params.call).rang.add(this);
			this.has.add(params.call);
		} else if (method === "call.accepted") {
			of(params.call).told.push(this);
			this.has.add(params.call);
		} else if (method === "call.ended") {
			const { ended } = of(params.call);
			assert.ok(!ended.has(this), "a call ended twice for one session");
			ended.set(this, params.reason);
			this.has.delete(params.call);
		}
	}

	async ask(method, params, then) {
		this.asked++;
		try {
			then(await this.client.call(method, params));
			count(method);
		} catch (error) {
			if (!error.reason) assert.ok(this.over, error.message);
			else count(error.reason);
			if (error.reason) assert.match(error.reason, /^(no_such_call|answered_elsewhere|too_many_calls)$/);
		}
		this.asked--;
	}

	invite(user) {
		return this.ask("call.invite", { to: { user: id(user) } }, ({ call, crossed }) => {
			of(call).callers.add(this);
			if (crossed) count("crossed");
			if (crossed) of(call).accepted.push(this);
			if (!of(call).ended.has(this)) this.has.add(call);
		});
	}

	act() {
		const call = pick([...this.has]);
		const word = pick(["call.accept", "call.accept", "call.accept", "call.decline", "call.cancel", "call.hangup", "call.hangup"]);
		return this.ask(word, { call }, () => {
			if (word === "call.accept") of(call).accepted.push(this);
		});
	}

	async end(how) {
		this.over = true;
		count(how);
		if (how === "session.close") await this.client.call("session.close").catch(() => {});
		else this.client.terminate();
		await this.client.closed;
	}
}

/** Who has calls that have not ended, and what is known of these. */
function unended(live) {
	const said = [];
	for (const session of live)
		for (const call of session.has) {
			const { callers, accepted, told, ended, rang } = of(call);
			const roles = [callers.has(session) && "caller", rang.has(session) && "rang", accepted.includes(session) && "accepted"];
			said.push(`${call} of ${session.user}, ${roles.filter(Boolean)}; told ${told.length}, ended for ${ended.size} with ${[...new Set(ended.values())]}`);
		}
	return `${said.join("; ")} (SEED=${SEED})`;
}

/** What everybody who had a call was told of it. */
function reckon() {
	for (const [call, { callers, accepted, told, ended, rang }] of calls) {
		assert.ok(accepted.length <= 1, "accepted twice");
		const [winner] = accepted;
		for (const session of [...callers, ...rang])
			assert.ok(session.over || ended.has(session), `${call} has no end for a session (SEED=${SEED})`);
		const final = new Set();
		for (const [session, reason] of ended) {
			if (reason !== "answered_elsewhere") final.add(reason);
			else assert.ok(rang.has(session) && session !== winner, "elsewhere, to who is in the call");
		}
		assert.ok(final.size <= 1, `${call}: ${[...final]} (SEED=${SEED})`);
		const elsewhere = [...ended.values()].includes("answered_elsewhere");
		if (winner || elsewhere || told.length) assert.ok(final.size === 0 || final.has("hangup"), `${call}: answered, and ${[...final]}`);
		else assert.ok(!final.has("hangup") || [...rang].some(({ over }) => over), `${call}: hung up, and nobody had answered`);
		// nobody is known as the caller whose connection ended before the answer to its invitation came
		if (winner && callers.size && ![...callers].some(({ over }) => over)) assert.ok(told.length >= 1, "the caller was not told of the answer");
		for (const reason of final) count(reason);
	}
}

async function settled(server) {
	for (const since = performance.now(); ; await new Promise(setImmediate)) {
		const { signalbox_user_calls: calls, signalbox_room_members: members, signalbox_rooms: rooms } = await server.metrics();
		if (calls + members + rooms === 0) return;
		assert.ok(performance.now() - since < SOON, `${calls} calls, ${members} members, ${rooms} rooms are left`);
	}
}

test("calls between users on four workers end once, and the same for all", async (t) => {
	console.log(`seed ${SEED}`);
	const failed = Promise.withResolvers();
	process.on("uncaughtException", failed.reject);
	const config = { ...atOnce, limits: anyPace, issuers: [corp.config], calls: { invitations_per_minute: 0, busy: "ring" } };
	const server = await startServer({ t, workers: 4, config });
	const whole = async () => {
		const live = await Promise.all(Array.from({ length: USERS * SESSIONS }, (_, i) => Session.open(server, i % USERS)));
		const pending = new Set();
		const run = (promise) => pending.add(promise.finally(() => pending.delete(promise)));
		for (let i = 0; i < OPERATIONS; i++) {
			const at = below(live.length);
			const session = live[at];
			if (chance(0.02)) {
				const ended = session.end(pick(["session.close", "terminate"]));
				live.splice(at, 1);
				live.push(await ended.then(() => Session.open(server, session.user)));
			} else if (session.has.size && chance(0.75)) run(session.act());
			else {
				const other = (session.user + 1 + below(USERS - 1)) % USERS;
				run(session.invite(other));
				const back = live.find(({ user }) => user === other);
				if (back && chance(0.4)) run(back.invite(session.user)); // they ring each other
			}
			if (pending.size > 24) await Promise.race(pending);
			if (chance(0.2)) await new Promise(setImmediate);
		}
		await Promise.all(pending);
		const waiting = live.filter(({ has }) => has.size);
		for (const session of waiting) for (const call of [...session.has]) await session.ask("call.hangup", { call }, () => {});
		await settled(server);
		// what the homes have said is behind what a session asks now
		await Promise.all(live.map(({ client }) => client.call("call.history", { limit: 1 })));
		for (const since = performance.now(); live.some(({ has }) => has.size); await new Promise(setImmediate))
			assert.ok(performance.now() - since < SOON, `a call has no end for somebody: ${unended(live)}`);
		reckon();
		for (const user of [0, 1]) {
			const { calls: history } = await live.find((session) => session.user === user).client.call("call.history", { limit: 100 });
			for (const { call, outcome, answered_at } of history) {
				if (outcome === null) continue; // the store is asked behind the telling
				const reasons = [...of(call).ended.values()].filter((reason) => reason !== "answered_elsewhere");
				if (reasons.length) assert.equal(outcome, reasons[0]);
				assert.equal(answered_at !== null, outcome === "hangup");
			}
		}
	};
	await Promise.race([whole(), failed.promise]);
	for (const what of ["call.accept", "crossed", "hangup", "declined", "cancelled"]) assert.ok(counts[what] > 0, what);
	t.diagnostic(JSON.stringify(counts));
});
