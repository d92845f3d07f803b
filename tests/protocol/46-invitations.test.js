// Invitations to rooms: links with a role, counted, until they end or are taken back.
import assert from "node:assert/strict";
import { onOneAndFourWorkers, post, refused, refusedField } from "../support/rooms.mjs";

const SCOPE = "rooms:join rooms:create";
let rooms = 0;

/** A private room of ann's: its name. */
async function privateRoom(ann, more = {}) {
	const room = `i-${++rooms}`;
	await ann.call("room.create", { room, title: "Club", visibility: "private", ...more });
	return room;
}

onOneAndFourWorkers({}, (test) => {
	test("who has the token gets the role, as often as it says", async ({ people }) => {
		const [ann, bob, cat, dan] = await people("ann", "bob", "cat", "dan");
		const room = await privateRoom(ann);
		const made = await ann.call("room.invite", { room, uses: 2, expires_in: 3600, note: "for friends" });
		assert.ok(Math.abs(made.expires_at - Date.now() / 1000 - 3600) < 60);
		assert.equal(made.uses, 2);
		const look = { room, title: "Club", role: "member", guests: false, expires_at: made.expires_at };
		assert.deepEqual(await bob.call("invitation.look", { token: made.token }), look);
		await refused(bob.call("room.join", { room }), "forbidden", "room_private");
		assert.deepEqual(await bob.call("invitation.accept", { token: made.token }), { room, role: "member" });
		assert.equal((await bob.call("room.join", { room })).role, "member");
		// the same one once more takes nothing
		assert.deepEqual(await bob.call("invitation.accept", { token: made.token }), { room, role: "member" });
		const { invitations } = await ann.call("room.invitations", { room });
		const { created_at, ...listed } = invitations[0];
		assert.deepEqual([listed], [{ invitation: made.invitation, role: "member", uses_left: 1, guests: false, note: "for friends", by: "ann", expires_at: made.expires_at }]);
		assert.ok(created_at <= made.expires_at - 3600);
		await cat.call("invitation.accept", { token: made.token });
		for (const method of ["invitation.accept", "invitation.look"])
			await refused(dan.call(method, { token: made.token }), "not_found", "no_such_invitation");
		assert.deepEqual(await cat.call("invitation.accept", { token: made.token }), { room, role: "member" });
		assert.deepEqual((await ann.call("room.invitations", { room })).invitations, []);
		assert.deepEqual((await bob.call("room.list")).rooms.map((one) => one.room).filter((name) => name === room), [room]);
	});

	test("nobody gets less than they have, and a moderator is made by the owner alone", async ({ people }) => {
		const [ann, mod, bob] = await people("ann", "mod", "bob");
		const room = await privateRoom(ann);
		const invite = async (by, more) => (await by.call("room.invite", { room, uses: 9, ...more })).token;
		const moderators = await invite(ann, { role: "moderator" });
		assert.equal((await mod.call("invitation.accept", { token: moderators })).role, "moderator");
		await refused(mod.call("room.invite", { room, role: "moderator" }), "forbidden", "not_owner");
		const [viewers, members] = [await invite(mod, { role: "viewer" }), await invite(mod, {})];
		assert.equal((await bob.call("invitation.accept", { token: viewers })).role, "viewer");
		assert.equal((await bob.call("invitation.accept", { token: members })).role, "member");
		assert.equal((await bob.call("invitation.accept", { token: viewers })).role, "member");
		assert.equal((await mod.call("invitation.accept", { token: members })).role, "moderator");
		assert.equal((await ann.call("invitation.accept", { token: members })).role, "owner");
		const left = (await ann.call("room.invitations", { room })).invitations.map(({ role, uses_left }) => `${role} ${uses_left}`);
		assert.deepEqual(left.sort(), ["member 8", "moderator 8", "viewer 8"]);
		// in a public room everybody is a member anyway
		const open = await privateRoom(ann, { visibility: "public" });
		const { token } = await ann.call("room.invite", { room: open, role: "viewer" });
		assert.equal((await bob.call("invitation.accept", { token })).role, "member");
		assert.deepEqual((await ann.call("room.roles", { room: open })).roles, []);
	});

	test("a role that is taken away while its invitation is accepted once more stays away", async ({ people }) => {
		const [ann, bob] = await people("ann", "bob");
		const room = await privateRoom(ann);
		const { token } = await ann.call("room.invite", { room });
		const accept = () => bob.call("invitation.accept", { token });
		const grant = (role) => ann.call("room.grant", { room, user: "bob", role });
		await accept();
		for (let round = 0; round < 20; round++) {
			await grant("member");
			await Promise.all([accept(), accept(), grant("viewer"), accept(), accept()]);
			assert.deepEqual((await ann.call("room.roles", { room })).roles, [{ user: "bob", role: "viewer" }]);
		}
	});

	test("what was used up, revoked or never was is all the same", async ({ server, people }) => {
		const [ann, bob] = await people("ann", { user: `bob${rooms}`, scope: SCOPE });
		const room = await privateRoom(ann);
		const { token, invitation } = await ann.call("room.invite", { room, uses: 5 });
		assert.deepEqual(await ann.call("room.uninvite", { room, invitation }), {});
		await refused(ann.call("room.uninvite", { room, invitation: "none" }), "not_found", "no_such_invitation");
		for (const wrong of [token, token.slice(0, -1), "x"])
			await refused(bob.call("invitation.accept", { token: wrong }), "not_found", "no_such_invitation");
		for (const wrong of ["y", "z"]) await refused(bob.call("invitation.look", { token: wrong }), "not_found", "no_such_invitation");
		// too many of these
		const error = await bob.call("invitation.look", { token: "x" }).catch((problem) => problem);
		assert.deepEqual([error.code, error.reason], [-32029, "too_many_failures"]);
		assert.ok(error.data.retry_after >= 1);
		// one of another room is none of this one
		const other = await privateRoom(ann);
		const theirs = await ann.call("room.invite", { room: other });
		await refused(ann.call("room.uninvite", { room, invitation: theirs.invitation }), "not_found", "no_such_invitation");
		assert.equal((await post(server, await server.mint("ann"), "room.invitations", { room: other })).invitations.length, 1);
	});

	test("used by many at once it gives as many as it has", async ({ server, people }) => {
		const [ann, ...others] = await people("ann", ...Array.from({ length: 12 }, (_, i) => `u${i}`));
		const room = await privateRoom(ann);
		const { token } = await ann.call("room.invite", { room, uses: 5 });
		const outcomes = await Promise.all(
			others.flatMap((one) => [1, 2].map(() => one.call("invitation.accept", { token }).then(() => one.user, ({ reason }) => reason))),
		);
		const got = new Set(outcomes.filter((outcome) => outcome !== "no_such_invitation"));
		assert.equal(got.size, 5, outcomes.join());
		for (const one of others) {
			const joined = await one.call("room.join", { room }).then(() => true, ({ reason }) => assert.equal(reason, "room_private"));
			assert.equal(Boolean(joined), got.has(one.user));
		}
		assert.deepEqual((await server.rpc("room.invitations", { room })).invitations, []);
	});

	test("a token for other rooms gives its user nothing here", async ({ people }) => {
		const [ann] = await people("ann");
		const room = await privateRoom(ann);
		const { token } = await ann.call("room.invite", { room });
		const only = (name) => ({ user: "bob", claim: { signalbox: { rooms: [name] } } });
		const [other, bob] = await people(only("other-*"), only(`${room}*`));
		await refused(other.call("invitation.accept", { token }), "forbidden", "room_not_in_token");
		assert.deepEqual((await ann.call("room.roles", { room })).roles, []);
		assert.deepEqual(await bob.call("invitation.accept", { token }), { room, role: "member" });
	});

	test("a ban stands above an invitation, and what makes none is refused", async ({ people }) => {
		const [ann, bob] = await people("ann", "bob");
		const room = await privateRoom(ann);
		const { token } = await ann.call("room.invite", { room });
		await ann.call("room.ban", { room, user: "bob" });
		await refused(bob.call("invitation.accept", { token }), "forbidden", "banned");
		await ann.call("room.unban", { room, user: "bob" });
		assert.equal((await bob.call("invitation.accept", { token })).role, "member");
		await refused(bob.call("room.invite", { room }), "forbidden", "not_moderator");
		await refusedField(ann.call("room.invite", { room, role: "owner" }), "role");
		await refusedField(ann.call("room.invite", { room, role: "moderator", guests: true }), "role");
		await ann.call("room.join", { room: `${room}-brief` });
		await refused(ann.call("room.invite", { room: `${room}-brief` }), "forbidden", "not_moderator");
		const [mod] = await people({ user: "mod", scope: "rooms:join rooms:moderate" });
		await refused(mod.call("room.invite", { room: `${room}-brief` }), "conflict", "room_not_kept");
	});
});
