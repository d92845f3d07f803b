// Guests: who has a link comes into one room, with a name and nothing else, for as long as the link's owner
// likes.
import assert from "node:assert/strict";
import test from "node:test";
import { connect } from "../support/client.mjs";
import { foreignIssuer } from "../support/foreign.mjs";
import { onOneAndFourWorkers, post, refused } from "../support/rooms.mjs";
import { startServer } from "../support/server.mjs";

let rooms = 0;

async function ask(server, body, headers = {}) {
	const response = await fetch(`${server.url}/v1/guests`, {
		method: "POST",
		headers: { "content-type": "application/json", ...headers },
		body: typeof body === "string" ? body : JSON.stringify(body),
	});
	const text = await response.text();
	const json = response.headers.get("content-type") === "application/json";
	return { status: response.status, headers: response.headers, body: json ? JSON.parse(text) : text };
}

/** A guest by this invitation, connected. */
async function guest(server, invitation, name = "Gus") {
	const { status, body } = await ask(server, { invitation, name });
	assert.equal(status, 201, JSON.stringify(body));
	const client = await connect(server, { token: body.access_token });
	return Object.assign(client, { token: body.access_token, answer: body });
}

const refusal = ({ status, body }) => [status, body.error.data.reason];

async function privateRoom(ann, name = `g-${++rooms}`) {
	await ann.call("room.create", { room: name, title: "Club", visibility: "private" });
	return name;
}

onOneAndFourWorkers({}, (test) => {
	test("a guest comes in by a link and a name, and may do there what its role says", async ({ server, people }) => {
		const [ann] = await people("ann");
		const room = await privateRoom(ann);
		const { token, invitation } = await ann.call("room.invite", { room, guests: true, uses: 2 });
		await ann.call("room.join", { room });
		assert.deepEqual(await ask(server, { invitation: token, look: true }).then(({ status, body }) => [status, body]), [
			200,
			{ room, title: "Club", guests: true },
		]);
		const gus = await guest(server, token, "Gus é \u{1f680}");
		const { user, expires_in, token_type } = gus.answer;
		assert.match(user, /^guest:[A-Za-z0-9_-]{22}$/);
		assert.deepEqual([expires_in, token_type, gus.answer.room], [12 * 3600, "Bearer", room]);
		assert.deepEqual([gus.session.user, gus.session.scopes], [{ id: user, name: "Gus é \u{1f680}" }, ["rooms:join"]]);
		assert.equal((await gus.call("room.join", { room })).role, "member");
		const { members } = (await ann.next("room.joined")).params;
		assert.deepEqual([members[0].user, members[0].name], [user, "Gus é \u{1f680}"]);
		await gus.call("room.publish", { room, data: 1 });
		await gus.call("signal.send", { room, to: "room", type: "offer", data: 1 });
		// nothing else: no other room, none of its own, no invitation of others
		const other = await privateRoom(ann);
		await ann.call("room.create", { room: `${room}-public` });
		for (const name of [other, `${room}-public`, "brief"])
			await refused(gus.call("room.join", { room: name }), "forbidden", "room_not_in_token");
		await refused(gus.call("room.create", { room: "mine" }), "forbidden", "insufficient_scope");
		const theirs = await ann.call("room.invite", { room: other });
		await refused(gus.call("invitation.accept", { token: theirs.token }), "forbidden", "guest");
		await refused(gus.call("room.invite", { room }), "forbidden", "not_moderator");
		assert.equal((await ann.call("room.invitations", { room })).invitations[0].uses_left, 1);
		// over HTTP with the same token, too
		assert.equal((await post(server, gus.token, "room.presence", { room })).members.length, 2);
		await guest(server, token, "Second").then((client) => client.close());
		assert.deepEqual(refusal(await ask(server, { invitation: token, name: "Third" })), [404, "no_such_invitation"]);
		await gus.close();
		assert.ok(invitation);
	});

	test("a room's name is that room, whatever is in it", async ({ server, people }) => {
		const [ann] = await people("ann");
		const star = await privateRoom(ann, `*${rooms++}*`);
		const quoted = await privateRoom(ann, `"\\ é ${rooms++}`);
		const victim = await privateRoom(ann, `x${rooms - 2}x`); // what the first would match
		for (const room of [star, quoted]) {
			const { token } = await ann.call("room.invite", { room, guests: true, role: "viewer" });
			const gus = await guest(server, token);
			assert.equal((await gus.call("room.join", { room })).role, "viewer");
			for (const other of [victim, room === star ? quoted : star, `${room}x`])
				await refused(gus.call("room.join", { room: other }), "forbidden", "room_not_in_token");
			await gus.close();
		}
	});

	test("taken back with its guests, it closes what they have open, and their tokens are worth nothing", async ({ server, people }) => {
		const [ann] = await people("ann");
		const room = await privateRoom(ann);
		await ann.call("room.join", { room });
		const first = await ann.call("room.invite", { room, guests: true, uses: 9 });
		const second = await ann.call("room.invite", { room, guests: true, uses: 9 });
		const [gus, pat, kim] = [await guest(server, first.token), await guest(server, first.token), await guest(server, second.token)];
		for (const client of [gus, kim]) await client.call("room.join", { room });
		// without them, it is closed to others only
		await ann.call("room.uninvite", { room, invitation: first.invitation });
		assert.deepEqual(refusal(await ask(server, { invitation: first.token, name: "x" })), [404, "no_such_invitation"]);
		await gus.call("room.publish", { room, data: 1 });
		await ann.call("room.uninvite", { room, invitation: first.invitation, guests: true });
		for (const client of [gus, pat]) assert.equal((await client.closed).code, 4501);
		await assert.rejects(connect(server, { token: gus.token }), { code: -32001 });
		await kim.call("room.publish", { room, data: 1 });
		await kim.close();
	});

	test("a guest is banned with the link that brought it", async ({ server, people }) => {
		const [ann] = await people("ann");
		const room = await privateRoom(ann);
		await ann.call("room.join", { room });
		const { token } = await ann.call("room.invite", { room, guests: true, uses: 9 });
		const [gus, pat] = [await guest(server, token, "Gus"), await guest(server, token, "Pat")];
		for (const client of [gus, pat]) await client.call("room.join", { room });
		const { user } = gus.answer;
		assert.deepEqual(await ann.call("room.ban", { room, user }), { room, user, expires_at: null, invitation_revoked: true });
		await refused(gus.call("room.join", { room }), "forbidden", "banned");
		assert.deepEqual(refusal(await ask(server, { invitation: token, name: "Gus again" })), [404, "no_such_invitation"]);
		await pat.call("room.publish", { room, data: 1 }); // who was there stays
		// a kicked guest comes back as another one by another link, but not by this one's token
		await ann.call("room.kick", { room, user: pat.answer.user });
		await refused(pat.call("room.join", { room }), "forbidden", "kicked");
		for (const client of [gus, pat]) await client.close();
	});

	test("a room that is made anew under the name lets no guest of the old one in", async ({ server, people }) => {
		const [ann, eve] = await people("ann", "eve");
		const room = await privateRoom(ann);
		const { token } = await ann.call("room.invite", { room, guests: true });
		const gus = await guest(server, token);
		await gus.call("room.join", { room });
		await ann.call("room.delete", { room });
		assert.equal((await gus.closed).code, 4501);
		await privateRoom(eve, room);
		await assert.rejects(connect(server, { token: gus.token }), { code: -32001 });
		assert.deepEqual(refusal(await ask(server, { invitation: token, name: "x" })), [404, "no_such_invitation"]);
	});

	test("used by many at once it lets as many in as it has uses", async ({ server, people }) => {
		const [ann] = await people("ann");
		const room = await privateRoom(ann);
		const { token } = await ann.call("room.invite", { room, guests: true, uses: 7 });
		const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => ask(server, { invitation: token, name: `g${i}` })));
		const users = answers.filter(({ status }) => status === 201).map(({ body }) => body.user);
		assert.equal(users.length, 7);
		assert.equal(new Set(users).size, 7);
		for (const answer of answers.filter(({ status }) => status !== 201)) assert.deepEqual(refusal(answer), [404, "no_such_invitation"]);
	});

	test("what is no name, no invitation or no request is refused, and takes no use", async ({ server, people }) => {
		const [ann] = await people("ann");
		const room = await privateRoom(ann);
		const { token } = await ann.call("room.invite", { room, guests: true });
		const long = "x".repeat(10 * 1024);
		const hostile = ["", " ", "\u200b\u3164", "a\nb", "a\u0000b", "a\u0085b", "\u202egnp.exe", "x\u2066y", "a\u2028b", "x".repeat(129), "é".repeat(65)];
		for (const name of hostile) {
			const { status, body } = await ask(server, { invitation: token, name });
			assert.ok(status === 400 || status === 413, `${status} for ${JSON.stringify(name)}`);
			assert.equal(body.error.data.field, "name");
		}
		assert.equal((await ask(server, { invitation: token })).body.error.data.field, "name");
		assert.equal((await ask(server, { invitation: token, name: long })).status, 413);
		assert.equal((await ask(server, { invitation: token, name: "x", admin: true })).body.error.data.field, "admin");
		assert.equal((await ask(server, { invitation: 7, name: "x" })).body.error.data.field, "invitation");
		for (const body of ["", "[]", "{", "null", `{"invitation":"a","name":"\\ud800"}`]) assert.equal((await ask(server, body)).status, 400, body);
		const withQuery = await fetch(`${server.url}/v1/guests?invitation=${token}`, { method: "POST", body: "{}" });
		assert.equal(withQuery.status, 400);
		// one for people with an account says so
		const account = await ann.call("room.invite", { room });
		assert.deepEqual(refusal(await ask(server, { invitation: account.token, name: "x" })), [403, "no_guests"]);
		assert.equal((await ask(server, { invitation: account.token, look: true })).body.guests, false);
		assert.equal((await ann.call("room.invitations", { room })).invitations.find(({ guests }) => guests).uses_left, 1);
	});
});

test("who tries too many has to wait, and a service without an issuer has no guests", async (t) => {
	const server = await startServer({ t });
	let answer;
	for (let tries = 0; tries < 60; tries++) {
		answer = await ask(server, { invitation: `none-${tries}`, name: "x" });
		if (answer.status === 429) break;
		assert.deepEqual(refusal(answer), [404, "no_such_invitation"]);
	}
	assert.deepEqual(refusal(answer), [429, "too_many_failures"]);
	assert.ok(Number(answer.headers.get("retry-after")) >= 1);
	const corp = await foreignIssuer("corp");
	const issuer = { enabled: false, url: "https://calls.example" };
	const none = await startServer({ t, config: { issuer, issuers: [corp.config] } });
	assert.deepEqual(refusal(await ask(none, { invitation: "x", name: "x" })), [403, "guests_off"]);
});

test("a guest's token ends by the configuration, is in the audit, and may be put out by the operator", async (t) => {
	const server = await startServer({ t, config: { rooms: { guest_lifetime: "2m" } } });
	const ann = await connect(server, { user: "ann" });
	await ann.call("room.create", { room: "r" });
	const { token, invitation } = await ann.call("room.invite", { room: "r", guests: true, uses: 2 });
	const gus = await guest(server, token);
	assert.equal(gus.answer.expires_in, 120);
	assert.ok(Math.abs(gus.session.expires_at - Date.now() / 1000 - 120) < 30);
	await ann.call("room.lock", { room: "r", locked: true }); // written behind what was before
	const { entries } = await server.rpc("audit.list", { action: "guest" });
	assert.deepEqual(entries.map(({ user, detail }) => [user, detail]), [[gus.answer.user, `room=r invitation=${invitation}`]]);
	assert.ok(!server.log.includes(token));
	await server.rpc("user.disable", { name: gus.answer.user });
	assert.equal((await gus.closed).code, 4501);
});
