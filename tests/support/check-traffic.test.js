// The check of recorded traffic sees what is not as described.
import assert from "node:assert/strict";
import test from "node:test";
import { Checker } from "./check-traffic.mjs";

const asked = (method, params, id = 1) => ({
	dir: "out",
	text: JSON.stringify({ jsonrpc: "2.0", id, method, params }),
});
const came = (message) => ({ dir: "in", text: JSON.stringify({ jsonrpc: "2.0", ...message }) });
const answer = (result, id = 1) => came({ id, result });
const refusal = (code, reason, id = 1) =>
	came({ id, error: { code, message: "No.", data: { reason } } });
const left = { room: "a", peer: "A".repeat(22), reason: "left" };

const cases = {
	"an event": [[came({ method: "room.left", params: left })]],
	"an answer": [[asked("session.ping", {}), answer({ time: 1 })]],
	"a refusal": [[asked("room.get", { room: "a" }), refusal(-32004, "no_such_room")]],
	"answers in an array": [
		[asked("session.ping", {}), asked("session.ping", {}, "b")],
		{ dir: "in", text: `[${answer({ time: 1 }, "b").text},${answer({ time: 1 }).text}]` },
	],
	"a wrong request that is refused": [[asked("room.get", { rom: 1 }), refusal(-32602, "invalid_params")]],
	"a message that nobody could read": [[{ dir: "out", text: "{" }], refusal(-32700, "parse_error", null)],
	"an event that is not described": [[came({ method: "room.vanished", params: {} })], /room\.vanished/],
	"an event without a member": [[came({ method: "room.left", params: { ...left, peer: undefined } })], /peer/],
	"an event with one more": [[came({ method: "room.left", params: { ...left, why: 1 } })], /additional/],
	"an event with another word": [[came({ method: "room.left", params: { ...left, reason: "bored" } })], /allowed/],
	"a result with one more": [[asked("session.ping", {}), answer({ time: 1, zone: 1 })], /additional/],
	"a result of another type": [[asked("session.ping", {}), answer({ time: "1" })], /integer/],
	"a wrong request that succeeds": [[asked("session.ping", { now: 1 }), answer({ time: 1 })], /additional/],
	"a name of 256 bytes that succeeds": [
		[asked("room.leave", { room: "é".repeat(128) }), answer({})],
		/x-max-bytes/,
	],
	"an unknown method that succeeds": [[asked("room.burn", {}), answer({})], /room\.burn/],
	"an answer to nothing": [[answer({ time: 1 })], /nothing was asked/],
	"a second answer": [[asked("session.ping", {}), answer({ time: 1 }), answer({ time: 1 })], /nothing was asked/],
	"a reason that is not described": [[asked("room.get", {}), refusal(-32004, "no_such_thing")], /no_such_thing/],
	"a reason of another code": [[asked("room.get", {}), refusal(-32003, "no_such_room")], /-32003/],
	"a reason of another method": [[asked("room.get", {}), refusal(-32023, "room_full")], /room_full/],
	"an error without a reason": [[asked("room.get", {}), came({ id: 1, error: { code: -32602, message: "No." } })], /error\.data/],
	"an array of none": [[{ dir: "in", text: "[]" }], /empty/],
	"no JSON": [[{ dir: "in", text: "{" }], /not JSON/],
	"not 2.0": [[{ dir: "in", text: '{"id":1,"result":{}}' }], /jsonrpc/],
	"more than 256 KiB": [
		[asked("rpc.discover", {}), answer({ openrpc: "x".repeat(262_144), info: {}, methods: [] })],
		/256 KiB/,
	],
};

for (const [name, [messages, ...rest]] of Object.entries(cases))
	test(name, () => {
		const checker = new Checker();
		const expected = rest.find((one) => one instanceof RegExp);
		const all = [...messages, ...rest.filter((one) => one !== expected)];
		const wrong = all.map((message) => checker.look(message)).find(Boolean);
		if (expected) assert.match(wrong, expected);
		else assert.equal(wrong, undefined);
	});
