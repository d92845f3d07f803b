// The JavaScript library when tokens end, narrow or are taken back, and with tickets in their place.
import assert from "node:assert/strict";
import { test } from "node:test";
import { events } from "../support/within.mjs";
import { request } from "../support/raw.mjs";
import { startServer } from "../support/server.mjs";
import { Signalbox } from "../../web/sdk/signalbox.js";

const WAIT_MS = 10_000;
const event = events(WAIT_MS);

async function ticketOf(server, token) {
	const answer = await request(server, "POST /v1/tickets", { Authorization: `Bearer ${token}` }, "");
	assert.equal(answer.status, 200);
	return JSON.parse(answer.body).ticket;
}

test("it comes by tickets, each time another, and resumes by one when the token's time is over", async (t) => {
	const server = await startServer({ t, workers: 2, clock: true });
	let asked = 0;
	let lifetime = 100;
	const box = new Signalbox({
		url: server.url,
		ticket: async () => (asked++, ticketOf(server, await server.mint("ann", { expires: lifetime }))),
	});
	t.after(() => box.close());
	await box.connect();
	assert.equal(box.user.id, "ann");
	const room = await box.join("tea");
	const back = event(box, "open", ({ resumed }) => resumed);
	lifetime = 5000;
	server.ahead(100 + 26);
	await back;
	assert.equal(asked, 2);
	await room.publish("still here");
	assert.throws(() => new Signalbox({ url: server.url }), TypeError);
	assert.throws(() => new Signalbox({ url: server.url, token: () => "", ticket: () => "" }), TypeError);
});

for (const [what, code, reason, act] of [
	["revoked", 4501, "account_disabled", (server) => server.rpc("token.revoke", { user: "ann" })],
	["put out", 4500, "put_out", (server) => server.rpc("session.end", { user: "ann" })],
])
	test(`a session whose user is ${what} is closed, and does not come back by itself`, async (t) => {
		const server = await startServer({ t, workers: 2 });
		let asked = 0;
		const box = new Signalbox({ url: server.url, token: () => (asked++, server.mint("ann")) });
		await box.connect();
		const failed = event(box, "error");
		const closed = event(box, "closed");
		await act(server);
		assert.equal((await failed).kind, reason);
		assert.equal((await closed).code, code);
		assert.deepEqual([box.state, asked], ["closed", 1]);
	});

test("a token that narrows: the room says that it is over, the others stay; short-lived ones are not asked for all the time", async (t) => {
	const server = await startServer({ t, workers: 2 });
	const tokens = [
		{ expires: 30 },
		{ expires: 40, claim: { signalbox: { rooms: ["kept"] } } },
		{ expires: 50 },
	];
	let asked = 0;
	const box = new Signalbox({ url: server.url, token: () => server.mint("ann", tokens[asked++]) });
	t.after(() => box.close());
	await box.connect();
	const [kept, lost] = [await box.join("kept"), await box.join("lost")];
	const { reason } = await event(lost, "closed"); // 30 s: it was said to expire, and renewed
	assert.equal(reason, "closed");
	assert.equal(asked, 2);
	await kept.publish("still here");
	await event(box, "expiring"); // of the second one: at once, but it is not renewed at once
	await kept.publish("still here");
	assert.equal(asked, 2);
});
