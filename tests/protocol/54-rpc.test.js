// Methods that clients serve for each other: rpc.serve, rpc.call, rpc.invoke.
import assert from "node:assert/strict";
import { callRaw, frameWith, onOneAndFourWorkers, post, refused, refusedField } from "../support/rooms.mjs";

const SERVE = "rooms:join rpc:serve";
const CALL = "rooms:join rpc:call";
const HELD = 2; // calls a backend may have at once, in these tests

const config = { rpc: { in_flight: HELD }, limits: { requests_in_flight: 1000 } };
const backend = (user) => ({ user, scope: SERVE });
const caller = (user) => ({ user, scope: CALL });
const echo = (params) => params;
const outcomeOf = (call) => call.then((result) => ({ result }), ({ code, text, data }) => ({ code, text, data }));

onOneAndFourWorkers({ config }, (test) => {
	test("a call is answered by who serves the method, and says whose it is", async ({ people, server }) => {
		const [shop, ann] = await people(backend("shop"), caller("ann"));
		assert.deepEqual(await shop.serve(["shop.price", "ping"], echo), { methods: ["shop.price", "ping"] });
		const asked = { method: "shop.price", params: { of: "tea" }, caller: { user: "ann", name: "ann", scopes: CALL.split(" ") } };
		assert.deepEqual(await ann.call("rpc.call", { method: "shop.price", params: { of: "tea" } }), asked);
		assert.deepEqual((await ann.call("rpc.call", { method: "ping" })).params, {});
		const token = await server.mint("ann", { scope: CALL });
		assert.deepEqual(await post(server, token, "rpc.call", { method: "shop.price", params: { of: "tea" } }), asked);
		const admin = await server.rpc("rpc.call", { method: "ping", params: null });
		assert.deepEqual({ ...admin, caller: admin.caller.user }, { method: "ping", params: null, caller: "control" });
	});

	test("params and result are passed on as the bytes that came", async ({ people }) => {
		const [shop, ann] = await people(backend("shop"), caller("ann"));
		const bytes = '{ "a":1.50,"b" : 12345678901234567890, "\\u00e4":"\\ud83d\\ude00","c":[ ]}';
		shop.on("rpc.invoke", ({ id }) => {
			assert.ok(frameWith(shop, '"rpc.invoke"').includes(`"params":${bytes}`));
			shop.sent++;
			shop.raw(`{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":${bytes}}`);
		});
		await shop.call("rpc.serve", { methods: ["raw"] });
		await callRaw(ann, "rpc.call", `{"method":"raw","params":${bytes}}`);
		assert.ok(frameWith(ann, '"result"').endsWith(`"result":${bytes}}`));
	});

	test("an error is passed on with code, message and data", async ({ people }) => {
		const [shop, ann] = await people(backend("shop"), caller("ann"));
		const replies = [
			[{ error: { code: 17, message: "sold out" } }, { code: 17, text: "sold out", data: {} }],
			[{ error: { code: -32004, message: "no", data: { of: ["tea", 1.0] } } }, { code: -32004, text: "no", data: { of: ["tea", 1] } }],
			[{ error: { code: 1, message: "", data: { reason: "mine" }, more: 1 } }, { code: 1, text: "", data: { reason: "mine" } }],
			[{ result: 0, error: null }, { result: 0 }],
			[{ result: null }, { result: null }],
		];
		const bad = [{ error: { message: "no code" } }, { error: { code: 1 } }, { error: { code: 1.5, message: "" } },
			{ error: "no" }, { error: null }, { result: 1, error: { code: 1, message: "both" } }];
		let next;
		shop.on("rpc.invoke", ({ id }) => shop.reply(id, next));
		await shop.call("rpc.serve", { methods: ["shop.*"] });
		for (const [reply, expected] of replies) {
			next = reply;
			assert.deepEqual(await outcomeOf(ann.call("rpc.call", { method: "shop.x" })), expected);
		}
		for (next of bad) {
			const { code, data } = await outcomeOf(ann.call("rpc.call", { method: "shop.x" }));
			assert.deepEqual({ code, ...data }, { code: -32603, reason: "bad_answer" }, JSON.stringify(next));
		}
	});

	test("a name that ends in .* stands for all that begin so; a later rpc.serve takes the place of the one before", async ({ people }) => {
		const [shop, ann] = await people(backend("shop"), caller("ann"));
		const served = async (methods, expected) => {
			await shop.call("rpc.serve", { methods });
			for (const [method, yes] of Object.entries(expected)) {
				const call = ann.call("rpc.call", { method });
				if (yes) assert.equal((await call).method, method);
				else await refused(call, "not_found", "not_served", { field: method });
			}
		};
		await shop.serve([], echo);
		await served(["w.a.*", "w.b", "w.b"], { "w.a.x": true, "w.a.x.y.z": true, "w.a": false, "w.b": true, "w.b.c": false, "w.ax": false, "w.*": false, "w.a.*": false, w: false });
		await served(["w.*"], { "w.a": true, "w.a.x": true, w: false, "v.a": false });
		await served(["w", "w.a", "w.*"], { w: true, "w.a": true });
		await served([], { w: false, "w.a": false });
	});

	test("what cannot be served is refused", async ({ people, server }) => {
		const [shop, ann] = await people(backend("shop"), caller("ann"));
		for (const methods of [[""], ["a b"], ["*"], [".*"], [".a"], ["a*"], ["a.*.b"], ["a.*.*"], ["ä"], ["a\u0000"], [1], [null], [["a"]], ["n".repeat(129)],
			["room.x"], ["session.*"], ["rpc.call"], ["signal"], Array.from({ length: 65 }, (_, i) => `m${i}`)])
			await refusedField(shop.call("rpc.serve", { methods }), "methods");
		const many = Array.from({ length: 64 }, (_, i) => `m${i}.${"n".repeat(100)}`);
		assert.deepEqual(await shop.call("rpc.serve", { methods: many }), { methods: many });
		await refused(ann.call("rpc.serve", { methods: ["a"] }), "forbidden", "insufficient_scope", { field: "rpc:serve" });
		await refused(shop.call("rpc.call", { method: "a" }), "forbidden", "insufficient_scope", { field: "rpc:call" });
		const token = await server.mint("shop", { scope: SERVE });
		await assert.rejects(post(server, token, "rpc.serve", { methods: ["a"] }), { code: -32600 });
		for (const timeout of [0, 121, 1.5, "1"])
			await refusedField(ann.call("rpc.call", { method: "a", timeout }), "timeout");
	});

	test("several share the load: who has less to do is asked first, and in turn", async ({ people }) => {
		const names = ["one", "two", "three", "four"];
		const [ann, ...backends] = await people(caller("ann"), ...names.map(backend));
		const counts = names.map(() => 0);
		for (const [i, each] of backends.entries()) await each.serve(["load.*"], () => counts[i]++);
		for (let i = 0; i < 40; i++) await ann.call("rpc.call", { method: `load.${i % 3}` });
		assert.deepEqual(counts, [10, 10, 10, 10]);
		// one that hangs is asked only while all others have as much to do
		const hanging = [];
		let hangs;
		backends[0].on("rpc.invoke", (request) => {
			hanging.push(request);
			hangs();
		});
		const stuck = [];
		for (let i = 0; i < 30; i++) {
			const known = hanging.length;
			const hung = new Promise((done) => (hangs = done));
			const call = ann.call("rpc.call", { method: "load.x" });
			await Promise.race([call, hung]);
			if (hanging.length > known) stuck.push(call);
		}
		assert.equal(hanging.length, 1);
		backends[0].reply(hanging[0].id, { result: "at last" });
		assert.equal(await stuck[0], "at last");
	});

	test("a backend has at most so many calls at once; then it is overloaded, whichever method", async ({ people, server }) => {
		const [shop, ann] = await people(backend("shop"), caller("ann"));
		await shop.call("rpc.serve", { methods: ["a.hold", "b.hold", "c.hold", "d.hold"] });
		const held = ["a.hold", "b.hold"].map((method) => ann.call("rpc.call", { method }));
		const asked = [await shop.next("rpc.invoke"), await shop.next("rpc.invoke")];
		for (const method of ["a.hold", "c.hold", "d.hold"]) {
			const { code, data } = await outcomeOf(ann.call("rpc.call", { method }));
			assert.deepEqual({ code, ...data, retry_after: 0 }, { code: -32030, reason: "backends_busy", limit: HELD, retry_after: 0 });
		}
		for (const { id, params } of asked) shop.reply(id, { result: params.method });
		assert.deepEqual(await Promise.all(held), ["a.hold", "b.hold"]);
		shop.on("rpc.invoke", ({ id }) => shop.reply(id, { result: "again" }));
		assert.equal(await ann.call("rpc.call", { method: "d.hold" }), "again");
		assert.equal((await server.metrics()).signalbox_rpc_under_way, 0);
	});

	test("who answers too late, twice, or what nobody asked, is not heard; who was asked is", async ({ people, server }) => {
		const [slow, other, ann] = await people(backend("slow"), backend("other"), caller("ann"));
		await slow.call("rpc.serve", { methods: ["late"] });
		await other.serve(["late.not"], echo);
		const before = (await server.metrics()).signalbox_rpc_unexpected_total;
		const began = performance.now();
		const answers = ann.frames.length;
		const call = ann.call("rpc.call", { method: "late", timeout: 1 });
		const { id } = await slow.next("rpc.invoke");
		other.reply(id, { result: "forged" }); // it was never asked
		other.reply("0.1", { result: "made up" });
		for (const odd of [null, 7, "", "x", "0.", ".1", "99.1", "0.1x", "-1.1", `${id} `, [id], { id }]) slow.reply(odd, { result: 1 });
		const { code, data } = await outcomeOf(call);
		assert.deepEqual({ code, ...data }, { code: -32008, reason: "timeout" });
		assert.ok(performance.now() - began >= 900);
		slow.reply(id, { result: "late" });
		slow.reply(id, { error: { code: 1, message: "again" } });
		// behind all of that everything goes on, and is counted on both sides
		const next = ann.call("rpc.call", { method: "late" });
		const again = await slow.next("rpc.invoke");
		slow.reply(again.id, { result: "now" });
		slow.reply(again.id, { result: "twice" });
		assert.equal(await next, "now");
		await slow.call("rpc.serve", { methods: [] });
		assert.equal(ann.frames.length - answers, 2);
		assert.equal((await server.metrics()).signalbox_rpc_unexpected_total - before, 2 + 12 + 1 + 1);
	});

	test("a backend that ends leaves its calls unanswered, and says so at once; others go on", async ({ people, server }) => {
		const [one, two, ann] = await people(backend("one"), backend("two"), caller("ann"));
		const before = (await server.metrics()).signalbox_rpc_lost_total;
		await one.call("rpc.serve", { methods: ["end.x"] });
		const lost = ann.call("rpc.call", { method: "end.x" });
		await one.next("rpc.invoke");
		await two.serve(["end.*"], () => "two");
		assert.equal(await ann.call("rpc.call", { method: "end.x" }), "two");
		one.terminate();
		const { code, data } = await outcomeOf(lost);
		assert.deepEqual({ code, ...data }, { code: -32008, reason: "backend_lost" });
		for (let i = 0; i < 4; i++) assert.equal(await ann.call("rpc.call", { method: "end.x" }), "two");
		await two.close();
		let late = 0; // calls that have come before the service had seen to the end
		for (let last; (last = await outcomeOf(ann.call("rpc.call", { method: "end.x" }))).data.reason !== "not_served"; late++)
			assert.equal(last.data.reason, "backend_lost");
		const { signalbox_rpc_under_way, signalbox_rpc_lost_total } = await server.metrics();
		assert.deepEqual([signalbox_rpc_under_way, signalbox_rpc_lost_total - before], [0, 1 + late]);
	});

	test("a caller does not wait to leave: session.close is answered at once", async ({ people }) => {
		const [shop, ann] = await people(backend("shop"), caller("ann"));
		await shop.call("rpc.serve", { methods: ["stay"] });
		ann.call("rpc.call", { method: "stay", timeout: 120 }).catch(() => {});
		const { id } = await shop.next("rpc.invoke");
		await ann.call("session.close");
		assert.equal((await ann.closed).code, 1000);
		shop.reply(id, { result: "nobody" });
		await shop.call("rpc.serve", { methods: [] });
	});

	test("a notification is a call of which nobody hears", async ({ people }) => {
		const [shop, ann] = await people(backend("shop"), caller("ann"));
		await shop.call("rpc.serve", { methods: ["tell"] });
		const frames = ann.frames.length;
		ann.notify("rpc.call", { method: "tell", params: [1] });
		ann.notify("rpc.call", { method: "nobody" });
		const { id, params } = await shop.next("rpc.invoke");
		assert.deepEqual(params.params, [1]);
		shop.reply(id, { result: "ignored" });
		const call = ann.call("rpc.call", { method: "tell" });
		const second = await shop.next("rpc.invoke");
		shop.reply(second.id, { result: "heard" });
		assert.equal(await call, "heard");
		assert.equal(ann.frames.length - frames, 1);
	});

	test("in a batch, too", async ({ people }) => {
		const [shop, ann] = await people({ ...backend("shop"), batch: true }, caller("ann"));
		await shop.serve(["batch.*"], ({ method }) => method);
		const calls = ["batch.a", "nobody", "batch.b"].map((method) => ["rpc.call", { method }]);
		const results = (await ann.batch(calls)).map(({ value, reason }) => value ?? reason.data.reason);
		assert.deepEqual(results, ["batch.a", "not_served", "batch.b"]);
	});

	test("as large as a message may be", async ({ people }) => {
		const [shop, ann] = await people(backend("shop"), caller("ann"));
		await shop.serve(["large.*"], ({ method, params }) => (method === "large.in" ? params.length : "r".repeat(params)));
		assert.equal(await ann.call("rpc.call", { method: "large.in", params: "p".repeat(64 * 1024 - 2) }), 64 * 1024 - 2);
		await refused(ann.call("rpc.call", { method: "large.in", params: "p".repeat(64 * 1024) }), "too_large", "too_large", { field: "params" });
		const most = 128 * 1024 - 100;
		assert.equal((await ann.call("rpc.call", { method: "large.out", params: most })).length, most);
		const { data } = await outcomeOf(ann.call("rpc.call", { method: "large.out", params: 128 * 1024 }));
		assert.equal(data.reason, "backend_lost"); // a message that is too large ends its session
		assert.equal((await shop.closed).code, 1009);
	});

	test("a token without rpc:serve takes the methods away; what was asked is still answered", async ({ people, server }) => {
		const [shop, ann] = await people(backend("shop"), caller("ann"));
		await shop.call("rpc.serve", { methods: ["grant"] });
		const call = ann.call("rpc.call", { method: "grant" });
		const { id } = await shop.next("rpc.invoke");
		await shop.call("session.refresh", { token: await server.mint("shop", { scope: "rooms:join" }) });
		await refused(ann.call("rpc.call", { method: "grant" }), "not_found", "not_served");
		shop.reply(id, { result: "still" });
		assert.equal(await call, "still");
	});
});
