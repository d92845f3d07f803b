// Tickets: a token is turned into what may stand in an address, good once, for a moment, and for the
// Origin that it was made for.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { connect, HandshakeError, within } from "../support/client.mjs";
import { ask, readEvents, textOf } from "../support/http-session.mjs";
import { bearer, request } from "../support/raw.mjs";
import { anyNumber, anyPace, startServer } from "../support/server.mjs";

const WORKERS = 4;
const RACES = 200;
const RACERS = 3;
const OF_A_USER = 32;
const limits = { ...anyPace, ...anyNumber };

let server, origin, token;
const secrets = [];
before(async () => {
	server = await startServer({ workers: WORKERS, clock: true, config: { limits } });
	origin = server.url;
	token = await server.mint("ann");
});
after(async () => {
	await server.stop();
	for (const secret of secrets) assert.ok(!server.log.includes(secret), "a ticket is in the log");
});

/** The answer to POST /v1/tickets: {status, headers, json}. */
async function asked(at, headers, body = "") {
	const { status, headers: told, body: text } = await request(at, "POST /v1/tickets", { "Content-Type": "application/json", ...headers }, body);
	return { status, headers: told, json: JSON.parse(text) };
}

async function ticket(at, own, { from, body } = {}) {
	const { status, json } = await asked(at, { ...bearer(own), ...(from && { Origin: from }) }, body && JSON.stringify(body));
	assert.equal(status, 200, JSON.stringify(json));
	assert.match(json.ticket, /^[A-Za-z0-9_-]{43}$/);
	secrets.push(json.ticket);
	return json.ticket;
}

const byTicket = (at, word, { from, headers, ...more } = {}) =>
	connect(at, { url: `${at.wsUrl}?ticket=${word}`, headers: { ...headers, ...(from && { origin: from }) }, ...more });
const streamed = (at, word, headers = {}) =>
	ask(`${at.url}/v1/events?ticket=${word}`, { headers: { Accept: "text/event-stream", ...headers } });

const refused = (connecting, status = 401) =>
	assert.rejects(connecting, (error) => error instanceof HandshakeError && error.status === status);

/** Refused over both ways in; the stream's is looked at first where one is spent by that. */
async function isOver(at, word) {
	const answer = await streamed(at, word);
	assert.equal(answer.statusCode, 401);
	assert.match(answer.headers["www-authenticate"], /^Bearer error="invalid_token"/);
	assert.equal(JSON.parse(await textOf(answer)).error.data.reason, "unauthenticated");
	await refused(byTicket(at, word));
}

test("a ticket opens one WebSocket, or one stream, as its token would", async () => {
	const first = await asked(server, bearer(token));
	assert.equal(first.json.expires_in, 30);
	assert.equal(first.headers["cache-control"], "no-store");
	const c = await byTicket(server, first.json.ticket);
	assert.equal(c.user, "ann");
	assert.deepEqual(c.session.scopes, (await connect(server, { token })).session.scopes);
	await isOver(server, first.json.ticket);
	await c.call("room.list"); // who came by it stays

	const word = await ticket(server, token);
	const response = await streamed(server, word);
	assert.equal(response.statusCode, 200);
	const opened = await new Promise((done) => readEvents(response, ({ event, data }) => event === "open" && done(JSON.parse(data))));
	assert.equal(opened.user.id, "ann");
	await isOver(server, word);
	response.destroy();
});

test("one credential, by one way; a bad one is never nobody", async () => {
	const both = { authorization: `Bearer ${token}` };
	await refused(byTicket(server, await ticket(server, token), { headers: both }), 400);
	assert.equal((await streamed(server, await ticket(server, token), both)).statusCode, 400);
	const one = await ticket(server, token);
	await refused(connect(server, { url: `${server.wsUrl}?ticket=${one}&ticket=${one}` }), 400);
	await refused(connect(server, { url: `${server.wsUrl}?ticket=${one}&x=1` }), 400);
	await refused(connect(server, { url: `${server.wsUrl}?token=${one}` }), 400);
	const c = await byTicket(server, one, { open: false }); // none of these has spent it
	await assert.rejects(c.call("session.open", { token }), { code: -32602, reason: "two_credentials" });
	assert.equal((await within(c.closed, 5000, "the close")).code, 3000);
	for (const bad of ["", "x", "A".repeat(43), token]) await refused(byTicket(server, bad, { open: false }));
	assert.equal((await asked(server, {})).status, 401);
	assert.equal((await asked(server, bearer("x"))).status, 401);
	assert.equal((await asked(server, bearer(one))).status, 401);
	for (const body of ["[]", "{", '{"origin":1}', '{"x":1}', `{"origin":"${"a".repeat(600)}"}`])
		assert.ok([400, 413].includes((await asked(server, bearer(token), body)).status), body);
	assert.equal((await request(server, "POST /v1/tickets?ticket=x", bearer(token), "")).status, 400);
});

test("it is bound to the Origin that will use it, and spent by any try", async () => {
	const rows = [
		[{ from: origin }, origin, true],
		[{ body: { origin } }, origin, true],
		[{}, undefined, true],
		[{ from: origin }, undefined, false],
		[{}, origin, false],
		[{ body: { origin: "https://other.example" } }, origin, false],
		[{ from: origin, body: { origin: "https://other.example" } }, origin, false],
	];
	for (const [made, from, good] of rows) {
		const word = await ticket(server, token, made);
		const tried = byTicket(server, word, { from });
		if (good) await (await tried).close();
		else await refused(tried);
		await refused(byTicket(server, word, { from: made.body?.origin === origin ? origin : made.from }));
	}
	const foreign = await request(server, "POST /v1/tickets", { ...bearer(token), Origin: "https://other.example" }, "");
	assert.equal(foreign.status, 403); // a page that may not be here gets none
});

test("of many who bring the same ticket exactly one gets in", async () => {
	const user = await server.mint("racer");
	let next = 0;
	const race = async () => {
		while (next++ < RACES) {
			const word = await ticket(server, user);
			const came = await Promise.allSettled(
				Array.from({ length: RACERS }, (_, i) =>
					i ? byTicket(server, word) : streamed(server, word).then((r) => (r.destroy(), r.statusCode === 200 || Promise.reject()))),
			);
			assert.equal(came.filter(({ status }) => status === "fulfilled").length, 1);
			for (const { value } of came) if (value?.socket) value.socket.terminate();
		}
	};
	await Promise.all([race(), race(), race(), race()]);
});

test("a user has only so many that wait; others have theirs", async () => {
	const many = await server.mint("hoarder");
	for (let i = 0; i < OF_A_USER; i++) await ticket(server, many);
	const { status, headers, json } = await asked(server, bearer(many));
	assert.deepEqual([status, json.error.data.reason, headers["retry-after"]], [429, "too_many_tickets", "30"]);
	await ticket(server, token);
});

test("a user who is put out, or a token that is taken back, has no ticket any more", async () => {
	const eve = await server.mint("eve");
	const eva = await server.mint("eva");
	const words = [await ticket(server, eve), await ticket(server, eve), await ticket(server, eva), await ticket(server, eva)];
	await server.rpc("user.disable", { name: "eve" });
	await server.rpc("token.revoke", { token: eva });
	for (const word of words) await isOver(server, word);
	assert.equal((await asked(server, bearer(eve))).status, 401);
});

test("it ends with its token, and is not known to the process after this one", async (t) => {
	const brief = await server.mint("brief", { expires: 20 });
	const word = await ticket(server, brief);
	server.ahead(25);
	await isOver(server, word);
	server.ahead(0);
	const first = await startServer({ t, workers: 2, config: { limits } });
	const ann = await first.mint("ann");
	const [used, unused] = [await ticket(first, ann), await ticket(first, ann)];
	await (await byTicket(first, used)).close();
	const second = await first.successor({ t, workers: 3 });
	await isOver(second, used);
	await isOver(second, unused);
	await (await byTicket(second, await ticket(second, ann))).close();
});

test("it is counted", async () => {
	const before = await server.metrics();
	const word = await ticket(server, token);
	await (await byTicket(server, word)).close();
	await refused(byTicket(server, word));
	const now = await server.metrics();
	for (const what of ["issued", "used", "refused"])
		assert.equal(now[`signalbox_tickets_${what}_total`] - before[`signalbox_tickets_${what}_total`], 1, what);
});
