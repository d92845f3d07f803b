// An account that is disabled: its sessions end, and the token that it still has opens nothing any more, on
// any worker, in any way, and behind a restart.
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { connect, HandshakeError, within } from "../support/client.mjs";
import { bearer, request } from "../support/raw.mjs";
import { ResumingClient } from "../support/resuming.mjs";
import { ownDirectory, startServer } from "../support/server.mjs";

const WORKERS = 4;
const TRIES = 3 * WORKERS; // the kernel spreads connections over the workers: each gets one of them
const times = (work) => Promise.all(Array.from({ length: TRIES }, work));
const listRooms = '{"jsonrpc":"2.0","id":1,"method":"room.list"}';

const overHttp = (server, token) => request(server, "POST /v1/rpc", bearer(token), listRooms);
const overHeader = (server, token) => connect(server, { headers: { authorization: `Bearer ${token}` } });
const closing = (client) => within(client.closed, 5000, "the close");

async function isRefused(server, token) {
	await times(async () => assert.equal((await overHttp(server, token)).status, 401));
	await times(() =>
		assert.rejects(overHeader(server, token), (error) => error instanceof HandshakeError && error.status === 401),
	);
	await times(async () => {
		const c = await connect(server, { open: false });
		await assert.rejects(c.call("session.open", { token }), { code: -32001, reason: "invalid_token" });
		assert.equal((await closing(c)).code, 3000);
	});
}

async function isWelcome(server, token, user) {
	await times(async () => assert.equal((await overHttp(server, token)).status, 200));
	await times(async () => {
		const c = await overHeader(server, token);
		assert.equal(c.user, user);
		await c.close();
	});
}

test("a disabled account's token is refused everywhere, and stays so", async (t) => {
	const data = join(ownDirectory(), "d");
	const server = await startServer({ t, workers: WORKERS, data });
	const eve = await server.mint("eve");
	const eva = await server.mint("eva"); // a name that begins the same
	const backend = await server.rpc("client.add", { name: "backend", grants: ["client_credentials"] });
	const { token: own } = await server.rpc("token.mint", { client: backend.client_id });
	const sessions = await times(() => connect(server, { token: eve }));
	const half = await times(() => connect(server, { open: false, headers: { authorization: `Bearer ${eve}` } }));
	const other = await connect(server, { token: eva });
	const away = new ResumingClient(server, eve);
	await away.connect();
	away.cut();
	await isWelcome(server, eve, "eve"); // now every worker remembers the token as a good one

	await server.rpc("user.disable", { name: "EVE" });
	for (const c of sessions) assert.equal((await closing(c)).code, 4501);
	await isRefused(server, eve);
	await assert.rejects(away.connect(), { code: -32001 });
	for (const c of half) {
		await c.call("session.open").catch(() => {});
		assert.equal((await closing(c)).code, 4501);
	}
	await other.call("room.list");
	await assert.rejects(other.call("session.refresh", { token: eve }), { code: -32001 });
	await isWelcome(server, eva, "eva");
	await isWelcome(server, own, `client:${backend.client_id}`);
	await server.stop();

	const again = await startServer({ t, workers: WORKERS, data });
	await isRefused(again, eve);
	await isWelcome(again, eva, "eva");
	await isWelcome(again, own, `client:${backend.client_id}`);
});
