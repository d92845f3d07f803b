// A client of whom very many are here is revoked: all of them are closed, and others have their turn
// meanwhile.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { connect } from "../support/client.mjs";
import { foreignIssuer } from "../support/foreign.mjs";
import { anyNumber, anyPace, startServer } from "../support/server.mjs";

const MANY = 300;
const ASKED = 6000; // more than is read in one turn, or in those until the revocation is written

test("who is here for another reason is not kept waiting until all have been closed", async () => {
	const corp = await foreignIssuer("corp");
	const server = await startServer({ workers: 1, config: { limits: { ...anyNumber, ...anyPace }, issuers: [corp.config] } });
	after(() => server.stop());
	const many = [];
	for (let i = 0; i < MANY; i++) many.push(await connect(server, { token: await corp.token(`u${i}`, { client_id: "web" }) }));
	const admin = await connect(server, { token: await server.mint("boss", { scope: "admin" }) });
	// What the service has to do for somebody else is in the log between the ends of the sessions.
	const revoked = admin.call("token.revoke", { client: "corp|web" });
	const others = Array.from({ length: ASKED }, () => admin.call("session.refresh", { token: "nobody's" }).catch(({ reason }) => reason));
	await revoked;
	assert.deepEqual(new Set(await Promise.all(others)), new Set(["unauthenticated"]));
	assert.deepEqual(new Set(await Promise.all(many.map(({ closed }) => closed)).then((all) => all.map(({ code }) => code))), new Set([4501]));
	const lines = server.log.split("\n").filter((line) => /"session ended"|"token refused"/.test(line));
	const ends = lines.flatMap((line, i) => (line.includes("ended") ? [i] : []));
	assert.equal(ends.length, MANY);
	assert.ok(ends.at(-1) - ends[0] >= MANY, "one after the other, and nothing else");
});
