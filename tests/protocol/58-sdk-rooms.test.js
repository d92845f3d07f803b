// The JavaScript library with rooms as people use them: history and its changes, moderation, the lobby,
// invitations and guests, who is online, calls. What the service does is tested elsewhere; here, that the
// library asks rightly and tells rightly.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { within } from "../support/client.mjs";
import { startServer } from "../support/server.mjs";
import { Signalbox } from "../../web/sdk/signalbox.js";

const WAIT_MS = 10_000;
const event = (emitter, name, is = () => true) =>
	within(
		new Promise((done) => {
			const off = emitter.on(name, (value) => {
				if (!is(value)) return;
				off();
				done(value);
			});
		}),
		WAIT_MS,
		name,
	);

let server;
const boxes = [];
let rooms = 0;
const roomName = () => `sdk ${++rooms}`;

before(async () => {
	server = await startServer({ workers: 2 });
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
