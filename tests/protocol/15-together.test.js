// What a client says at once, more than is read from it at a time, is handled in one turn: whoever is told of it hears it together.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { connect } from "../support/client.mjs";
import { frame, rawWebSocket } from "../support/raw.mjs";
import { anyPace, startServer } from "../support/server.mjs";

const server = await startServer({ workers: 1, config: { limits: anyPace } });
after(() => server.stop());

const COUNT = 40; // of some hundred bytes each: several buffers full
const ROOM = "together";
const NORMAL = Buffer.from([1000 >> 8, 1000 & 255]);

const request = (id, method, params) => frame(1, JSON.stringify({ jsonrpc: "2.0", id, method, params }));
const publishes = () => Array.from({ length: COUNT }, (_, i) => request(i + 2, "room.publish", { room: ROOM, data: i }));

async function speaker() {
	const raw = await rawWebSocket(server, { user: "ann" });
	raw.write(request(1, "room.join", { room: ROOM }));
	await raw.frame();
	return raw;
}

/** The member has heard all of them, in order; the texts they came in. */
async function hearsAll(member) {
	const before = member.frames.length;
	for (let i = 0; i < COUNT; i++) assert.equal((await member.next("room.message")).params.data, i);
	return member.frames.slice(before).filter((text) => text.includes("room.message"));
}

const member = await connect(server, { user: "bob", batch: true });
await member.call("room.join", { room: ROOM });

test("what came at once is told at once", async () => {
	const raw = await speaker();
	raw.write(Buffer.concat(publishes()));
	const texts = await hearsAll(member);
	assert.equal(texts.length, 1, `in ${texts.map((text) => JSON.parse(text).length ?? 1)}`);
	raw.destroy();
});

test("whoever leaves with the last byte has been heard, and is gone", async () => {
	for (const end of [frame(8, NORMAL), frame(8, NORMAL), frame(2, "binary"), frame(3, "no such frame"), null]) {
		const raw = await speaker();
		raw.write(Buffer.concat([...publishes(), ...(end ? [end] : [])]));
		if (!end) raw.socket.end();
		await hearsAll(member);
		raw.socket.end(); // a close frame is not answered here
		await raw.gone();
	}
	await member.call("session.ping");
	await member.close();
});
