// The JavaScript library with rooms as people use them: history and its changes, moderation, the lobby,
// invitations and guests, who is online, calls. What the service does is tested elsewhere; here, that the
// library asks rightly and tells rightly.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { events } from "../support/within.mjs";
import { startServer } from "../support/server.mjs";
import { joinAsGuest, lookAtInvitation } from "../../web/sdk/guest.js";
import { Signalbox } from "../../web/sdk/signalbox.js";

const WAIT_MS = 10_000;
const event = events(WAIT_MS);

let server;
const boxes = [];
let rooms = 0;
const roomName = () => `sdk ${++rooms}`;

before(async () => {
	server = await startServer({ workers: 2, config: { presence: { linger: "0s" } } });
});
after(async () => {
	for (const box of boxes) box.close();
	await server.stop();
});

/** People with an open session each. */
const people = (...names) =>
	Promise.all(
		names.map(async (name) => {
			const box = new Signalbox({ url: server.url, token: () => server.mint(name) });
			boxes.push(box);
			await box.connect();
			return box;
		}),
	);

const refused = (promise, reason) =>
	assert.rejects(promise, (error) => {
		assert.equal(error.reason, reason);
		return error.message.length > 10;
	});

test("history goes back by the page; what was edited and taken back is told, and is so in the history", async () => {
	const [ann, bob] = await people("ann", "bob");
	const hers = await ann.join(roomName());
	const sent = [];
	for (const n of [1, 2, 3, 4, 5]) sent.push(await hers.publish({ n }));
	const theirs = await bob.join(hers.name);
	const newest = await theirs.history({ limit: 2, reverse: true });
	assert.deepEqual(newest.messages.map(({ data }) => data.n), [5, 4]);
	assert.equal(newest.more, true);
	const older = await theirs.history({ limit: 10, reverse: true, since: newest.messages.at(-1) });
	assert.deepEqual([older.messages.map(({ data }) => data.n), older.more], [[3, 2, 1], false]);

	const edited = event(theirs, "edited");
	const spoiled = theirs.on("message", () => assert.fail("an edit is no message"));
	await hers.edit(sent[1], { n: "two" });
	const { offset, data, message } = await edited;
	assert.deepEqual([offset, data, message.edits], [sent[1].offset, { n: "two" }, sent[1].offset]);
	await refused(theirs.edit(sent[0], {}), "not_yours");
	const redacted = event(theirs, "redacted");
	await hers.redact(sent[2]);
	assert.equal((await redacted).offset, sent[2].offset);
	assert.equal(theirs.offset, hers.offset);
	spoiled();

	const { messages } = await theirs.history({ limit: 3 });
	assert.deepEqual(messages.map((one) => [one.data, one.redacted ?? false]), [
		[{ n: 1 }, false], [{ n: "two" }, false], [null, true],
	]);
	assert.ok(messages[1].edited_at > 0);
});

test("rooms are made, found, changed, watched, handed over and deleted", async () => {
	const [ann, bob] = await people("ann", "bob");
	const name = roomName();
	const made = await ann.rooms.create(name, { title: "Blue", lobby: false, max_members: 9 });
	assert.deepEqual([made.title, made.max_members, made.role], ["Blue", 9, "owner"]);
	const found = await bob.rooms.list({ search: "blue" });
	assert.deepEqual(found.rooms.map(({ room }) => room), [name]);
	assert.deepEqual((await bob.rooms.list({ mine: true })).rooms, []);

	const counted = event(bob, "occupancy", ({ rooms: [{ member_count }] }) => member_count === 1);
	assert.deepEqual(await bob.rooms.watch([name]), [{ room: name, member_count: 0, user_count: 0 }]);
	const hers = await ann.join(name);
	assert.deepEqual((await counted).rooms, [{ room: name, member_count: 1, user_count: 1 }]);
	assert.deepEqual(await bob.rooms.occupancy([name]), [{ room: name, member_count: 1, user_count: 1 }]);
	await bob.rooms.watch([]);

	const told = event(hers, "updated", ({ member, changes }) => !member && changes.title === "Green");
	await ann.rooms.update(name, { title: "Green" });
	await told;
	await refused(bob.rooms.update(name, { title: "Red" }), "not_moderator");
	await ann.rooms.moderation(name).grant("bob", "moderator");
	assert.deepEqual((await hers.moderation.roles()).find(({ user }) => user === "bob"), { user: "bob", role: "moderator" });
	await bob.rooms.update(name, { title: "Red" });
	await refused(bob.rooms.delete(name), "not_owner");

	const mine = event(hers, "me", ({ changes }) => changes.role === "moderator");
	await ann.rooms.update(name, { owner: "bob" });
	await mine;
	assert.equal(hers.role, "moderator");
	const closed = event(hers, "closed");
	await bob.rooms.delete(name);
	assert.equal((await closed).reason, "closed");
	await refused(ann.rooms.get(name), "no_such_room");
});

test("a moderator locks, mutes, kicks and bans; each says so, and coming back changes nothing", async () => {
	const [ann, bob, cid] = await people("ann", "bob", "cid");
	const name = roomName();
	await ann.rooms.create(name);
	const hers = await ann.join(name);
	const his = await bob.join(name);

	const muted = event(his, "me", ({ changes }) => changes.muted === true);
	await hers.moderation.mute({ user: "bob" });
	await muted;
	assert.equal(his.muted, true);
	await refused(his.publish("hello"), "muted");
	await his.leave();
	const back = event(hers, "joined");
	const again = await bob.join(name);
	assert.deepEqual([again.muted, (await back).muted], [true, true]);
	const unmuted = event(again, "me", ({ changes }) => changes.muted === false);
	await hers.moderation.unmute(again.peer);
	await unmuted;
	await again.publish("hello");
	await refused(again.moderation.kick({ user: "ann" }), "not_moderator");

	const locked = event(again, "updated", ({ member, changes }) => !member && changes.locked === true);
	await hers.moderation.lock();
	await locked;
	await refused(cid.join(name), "room_locked");
	await hers.moderation.lock(false);

	const kicked = event(again, "closed");
	await hers.moderation.kick(again.peer, { reason: "enough" });
	assert.equal((await kicked).reason, "kicked");
	await assert.rejects(bob.join(name), ({ reason, retryAfter }) => reason === "kicked" && retryAfter > 0);

	const third = await cid.join(name);
	const banned = event(third, "closed");
	const { expires_at } = await hers.moderation.ban("cid", { reason: "spam", expiresIn: 3600 });
	assert.equal((await banned).reason, "banned");
	await refused(cid.join(name), "banned");
	const [ban] = await hers.moderation.bans();
	assert.deepEqual([ban.user, ban.reason, ban.by, ban.expires_at], ["cid", "spam", "ann", expires_at]);
	await hers.moderation.unban("cid");
	await cid.join(name);
});

test("somebody knocks, is let in or not", async () => {
	const [ann, bob, cid] = await people("ann", "bob", "cid");
	const name = roomName();
	await ann.rooms.create(name, { lobby: true });
	const hers = await ann.join(name);
	await refused(bob.join(name), "lobby");

	const knocked = event(hers, "knocked");
	const entering = bob.knock(name, { message: "please", state: { cups: 1 } });
	const { knock, user, message } = await knocked;
	assert.deepEqual([user, message], ["bob", "please"]);
	assert.deepEqual((await hers.moderation.knocks()).map((one) => one.knock), [knock]);
	const ended = event(hers, "knock-ended");
	await hers.moderation.admit(knock);
	const his = await entering;
	assert.deepEqual([his.name, his.members.size], [name, 1]);
	assert.deepEqual(await ended, { room: name, knock, reason: "admitted" });

	const another = event(hers, "knocked");
	const hoping = refused(cid.knock(name), "denied");
	await hers.moderation.deny((await another).knock);
	await hoping;
	await refused(cid.knock(name), "knock_denied");

	// who was let in meanwhile, in another session, say, is in
	const [device] = await people("bob");
	assert.equal((await device.knock(name)).name, name);
});

test("an invitation gives a role, or lets a guest in, and is taken back", async () => {
	const [ann, bob] = await people("ann", "bob");
	const name = roomName();
	await ann.rooms.create(name, { title: "Private", visibility: "private" });
	const hers = await ann.join(name);
	await refused(bob.join(name), "room_private");
	const { token } = await hers.moderation.invite({ role: "moderator", expiresIn: 600, note: "for bob" });
	assert.equal((await bob.rooms.invitation(token)).title, "Private");
	assert.deepEqual(await bob.rooms.accept(token), { room: name, role: "moderator" });
	assert.equal((await bob.join(name)).role, "moderator");

	const { invitation, token: link } = await hers.moderation.invite({ guests: true, uses: 2 });
	const where = { url: server.url, invitation: link };
	const found = await lookAtInvitation(where);
	assert.deepEqual([found.room, found.title, found.guests], [name, "Private", true]);
	const came = event(hers, "joined");
	const { box, room } = await joinAsGuest({ ...where, name: "Gus" });
	boxes.push(box);
	assert.match(box.user.id, /^guest:/);
	const { user, name: called } = await came;
	assert.deepEqual([user, called], [box.user.id, "Gus"]);
	await room.publish("hello");
	await refused(box.calls.ring("ann"), "guest");
	assert.equal((await hers.moderation.invitations()).find((one) => one.invitation === invitation).uses_left, 1);
	const out = event(box, "closed");
	await hers.moderation.uninvite(invitation, { guests: true });
	assert.equal((await out).code, 4501);
	await refused(joinAsGuest({ ...where, name: "Gus" }), "no_such_invitation");
});

test("who is online, over all devices", async () => {
	const [ann, one, other] = await people("ann", "dot", "dot");
	const seen = (status) => event(ann, "presence", ({ users }) => users.some((user) => user.user === "dot" && user.status === status));
	assert.deepEqual((await ann.presence.watch(["dot", "nobody"])).map(({ user, status }) => [user, status]), [
		["dot", "online"], ["nobody", "offline"],
	]);
	const away = seen("away");
	await Promise.all([one, other].map((box) => box.presence.set("away", { at: "lunch" })));
	await away;
	assert.deepEqual(ann.presence.users.get("dot").note, { at: "lunch" });
	const online = seen("online");
	await one.presence.set("online");
	await online;
	const gone = seen("offline");
	for (const box of [one, other]) box.close();
	await gone;
	assert.ok((await ann.presence.get(["dot"]))[0].last_seen > 0);
	await ann.presence.unwatch();
	assert.equal(ann.presence.users.size, 0);
});

test("a call rings on all devices, is taken on one, and ends for both", async () => {
	const [ann, one, other] = await people("ann", "eve", "eve");
	const incoming = [one, other].map((box) => event(box, "incoming"));
	const ring = await ann.calls.ring("eve", { data: { about: "tea" } });
	assert.deepEqual([ring.direction, ring.devices, ring.state], ["out", 2, "ringing"]);
	const [first, second] = await Promise.all(incoming);
	assert.deepEqual([first.other.user, first.data, first.call], ["ann", { about: "tea" }, ring.call]);
	const elsewhere = event(second, "ended");
	const accepted = event(ring, "accepted");
	const hers = await first.accept();
	const { room } = await accepted;
	assert.equal((await elsewhere).reason, "answered_elsewhere");
	assert.equal(room.name, hers.name);
	for (const side of [room, hers]) if (side.members.size === 0) await event(side, "joined");
	assert.deepEqual([...ann.calls.running.keys()], [ring.call]);
	const said = event(hers, "message");
	await room.publish("hello");
	assert.equal((await said).data, "hello");

	const ends = [event(ring, "ended"), event(first, "ended")];
	await first.hangUp();
	assert.deepEqual((await Promise.all(ends)).map(({ reason }) => reason), ["hangup", "hangup"]);
	assert.deepEqual([ann.calls.running.size, ann.joined.has(room.name)], [0, false]);
	await assert.rejects(ann.calls.ring("ann"), ({ kind }) => kind === "invalid_params");
});

test("what nobody took is missed, told at the next sign-in, and seen", async () => {
	const [ann, fay] = await people("ann", "fay");
	const incoming = event(fay, "incoming");
	const ring = await ann.calls.ring("fay");
	const here = await incoming;
	const [missed, ended] = [event(fay, "missed"), event(here, "ended")];
	await ring.cancel();
	assert.equal((await ended).reason, "cancelled");
	assert.deepEqual((await missed).calls.map(({ call }) => call), [ring.call]);
	fay.close();

	const offline = await ann.calls.ring("nobody is there", { name: "Nobody" });
	assert.equal((await event(offline, "ended")).reason, "unreachable");

	const back = new Signalbox({ url: server.url, token: () => server.mint("fay") });
	boxes.push(back);
	const told = event(back, "missed");
	await back.connect();
	assert.deepEqual((await told).calls.map(({ call, user, outcome, seen }) => [call, user, outcome, seen]), [
		[ring.call, "ann", "cancelled", false],
	]);
	await back.calls.seen();
	const { calls } = await back.calls.history({ limit: 5 });
	assert.deepEqual(calls.map(({ call, direction, seen }) => [call, direction, seen]), [[ring.call, "in", true]]);
});
