// The JavaScript library as a backend, and as who calls one.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Signalbox } from "../../web/sdk/signalbox.js";
import { anyPace, startServer } from "../support/server.mjs";
import { within } from "../support/client.mjs";

const open = async (t, server, user, scope) => {
	const box = new Signalbox({ url: server.url, token: () => server.mint(user, { scope }) });
	t.after(() => box.close());
	await box.connect();
	return box;
};

test("what a backend returns or throws is what its caller gets", async (t) => {
	const limits = { ...anyPace, requests_per_second: 20, requests_burst: 20 };
	const server = await startServer({ t, workers: 4, config: { limits } });
	const shop = await open(t, server, "shop", "rpc:serve");
	const ann = await open(t, server, "ann", "rpc:call");
	await shop.serve({
		"shop.price": async ({ of }, { method, caller }) => ({ of, method, user: caller.user, scopes: caller.scopes }),
		"shop.*": (params, { method }) => [method, params],
		"shop.order.*": () => {},
		"shop.fail": () => { throw Object.assign(new Error("sold out"), { code: 17, data: { of: "tea" } }); },
		"shop.break": () => { throw new TypeError("oh"); },
		"shop.huge": () => "x".repeat(200_000),
	});
	assert.deepEqual(await ann.rpc("shop.price", { of: "tea" }), { of: "tea", method: "shop.price", user: "ann", scopes: ["rpc:call"] });
	assert.deepEqual(await ann.rpc("shop.list.all"), ["shop.list.all", {}]);
	assert.equal(await ann.rpc("shop.order.new", 1), null);
	await assert.rejects(ann.rpc("shop.fail"), { code: 17, data: { of: "tea" }, message: /sold out/ });
	await assert.rejects(ann.rpc("shop.break"), { code: -32000, message: /oh/ });
	await assert.rejects(ann.rpc("shop.huge"), { code: -32013, message: /too large/ });
	await assert.rejects(ann.rpc("nobody"), { kind: "not_found", reason: "not_served", message: /Nobody/ });
	await assert.rejects(shop.serve({ "room.mine": () => 1 }), { kind: "invalid_params" });
	assert.deepEqual(await ann.rpc("shop.x"), ["shop.x", {}]); // the methods of before go on
	// replies do not wait for the pace: forty of them, where twenty requests are a second's worth
	const callers = await Promise.all(["bob", "cat", "dan"].map((user) => open(t, server, user, "rpc:call")));
	await within(Promise.all(callers.flatMap((box) => Array.from({ length: 14 }, (_, i) => box.rpc("shop.y", i)))), 2_000, "forty answers");
	await shop.serve({});
	await assert.rejects(ann.rpc("shop.x"), { reason: "not_served" });
});

test("a service that was killed: the backend serves again by itself", async (t) => {
	let server = await startServer({ t, workers: 2 });
	const shop = await open(t, server, "shop", "rpc:serve");
	await shop.serve({ again: () => "again" });
	const fresh = new Promise((done) => shop.on("open", ({ resumed }) => resumed || done()));
	await server.kill();
	server = await startServer({ t, workers: 2, data: server.data, listen: `127.0.0.1:${server.port}` });
	await within(fresh, 20_000, "a new session");
	const ann = await open(t, server, "ann", "rpc:call");
	const answer = async () => ann.rpc("again").catch((error) => error.reason);
	let said = await answer(); // the offer may be on its way
	while (said === "not_served") said = await answer();
	assert.equal(said, "again");
});
