// Requests as JSON allows them to be written: members in any order and with escapes in their names, white space, members that
// nobody knows, values of any kind, some twice, some damaged. What is answered is what a reader by JSON.parse would answer.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { connect } from "../support/client.mjs";
import { randomFrom, SEED } from "../support/random.mjs";
import { anyPace, atOnce, startServer } from "../support/server.mjs";

const server = await startServer({ config: { ...atOnce, limits: { ...anyPace } } });
after(() => server.stop());

const REQUESTS = 600;
const { pick, chance, below } = randomFrom(SEED);

const space = () => (chance(0.7) ? "" : pick([" ", "\n", "\t", "\r\n", "  \n "]));
const escaped = (text) =>
	[...text].map((c) => (chance(0.1) ? `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}` : c)).join("");
const quoted = (text) => `"${chance(0.8) ? text : escaped(text)}"`;

const NUMBERS = ["0", "-1", "1.5", "-0.0", "1e3", "2E-7", "1e999", "123456789012345678901234567890"];
const TEXTS = ['""', '"\\""', '"\\\\"', '"a\\u0000b"', '"é☃😀"', '"\\ud83d\\ude00"', '"\\ud800"', '"}]{[,:"', '"\\\\\\""', `"${"x".repeat(300)}"`];

function junk(depth = 0) {
	const kind = depth > 4 ? below(3) : below(5);
	if (kind === 0) return pick(NUMBERS);
	if (kind === 1) return pick(TEXTS);
	if (kind === 2) return pick(["true", "false", "null"]);
	const values = Array.from({ length: below(4) }, () => `${space()}${junk(depth + 1)}${space()}`);
	if (kind === 3) return `[${values.length ? values : space()}]`;
	return `{${values.length ? values.map((value) => `${space()}${quoted(pick(["a", "id", "method", "😀"]))}${space()}:${value}`) : space()}}`;
}

const mostly = (good, bad) => (chance(0.85) ? good() : bad());

const mixed = (list) => list.map((member) => [below(1000), member]).sort(([a], [b]) => a - b).map(([, member]) => member);

/** [name, text of its value] in some order. */
function members(id) {
	const list = [];
	const add = (name, share, text) => chance(share) && list.push([name, text()]);
	add("jsonrpc", 0.97, () => mostly(() => quoted("2.0"), () => pick(['"2.1"', "2.0", "null", '"2.0 "'])));
	add("id", 0.85, () => mostly(() => id, junk));
	add("method", 0.97, () => mostly(() => quoted("session.ping"), () => pick(['"no.such"', '"session.pin"', '""', junk()])));
	add("params", 0.5, () => mostly(() => `{${space()}}`, () => pick(['{"x":1}', "[]", "{\"x\":1,\"x\":1}"])));
	for (let more = chance(0.05) ? 40 : below(3); more > 0; more--) add(pick(["other", "ids", "metho", "params2", "💡"]), 1, junk);
	if (list.length && chance(0.05)) list.push(pick(list));
	return mixed(list);
}

const written = (list) =>
	`${space()}{${list.map(([name, text]) => `${space()}${quoted(name)}${space()}:${space()}${text}${space()}`).join(",")}${list.length ? "" : space()}}${space()}`;

function damaged(text) {
	const at = below(text.length);
	const made = pick([text.slice(0, at), text.slice(0, at) + text.slice(at + 1), `${text.slice(0, at)}${pick(['"', "{", "}", ",", ":", "\\", "\u0001", "0", "]"])}${text.slice(at)}`]);
	return made || "x";
}

function parses(text) {
	try {
		return { value: JSON.parse(text) };
	} catch {
		return undefined;
	}
}

const isId = (text) => (text[0] === '"' ? Buffer.byteLength(text) <= 128 : /^-?\d+$/.test(text) && BigInt(text) === BigInt.asIntN(64, BigInt(text)));

/** What is answered: [id as it was written or null, an error's code or 0]; undefined: nothing. */
function expected(list) {
	const known = ["jsonrpc", "id", "method", "params"];
	const all = Object.fromEntries(list);
	const value = Object.fromEntries(list.map(([name, text]) => [name, JSON.parse(text)]));
	const twice = known.some((name) => list.filter(([other]) => other === name).length > 1);
	if (twice || (all.id && !isId(all.id))) return ["null", -32600];
	const id = all.id ?? "null";
	if (value.jsonrpc !== "2.0" || typeof value.method !== "string") return [id, -32600];
	if (!all.id) return undefined;
	if (value.method !== "session.ping") return [id, -32601];
	return [id, all.params && !/^\{\s*\}$/.test(all.params) ? -32602 : 0];
}

const outcome = (text) => {
	const [, id] = /^\{"jsonrpc":"2\.0","id":("(?:[^"\\]|\\.)*"|[^,]+),/.exec(text) ?? [];
	return [id, JSON.parse(text).error?.code ?? 0];
};

test(`any way to write a request (SEED=${SEED})`, async () => {
	const c = await connect(server, { user: "ann", ack: false });
	const cases = [];
	for (let i = 0; i < REQUESTS; i++) {
		const list = members(pick([`${1000 + i}`, `-${i + 1}`, `"id ${i}"`, '"\\u00e9\\"\\\\"']));
		let text = written(list);
		let wanted = expected(list);
		if (chance(0.2)) {
			text = damaged(text);
			if (parses(text)) continue; // it is another request now, or the same
			wanted = ["null", -32700];
		}
		cases.push({ text, wanted });
	}
	c.frames.length = 0;
	for (const { text } of cases) {
		c.raw(text);
		c.raw('{"jsonrpc":"2.0","id":"behind","method":"session.ping"}');
	}
	await c.call("session.ping");
	const frames = c.frames.filter((text) => !text.includes('"method":"session.ack"'));
	for (const { text, wanted } of cases) {
		const got = [];
		for (let frame; (frame = frames.shift()) && !frame.includes('"id":"behind"');) got.push(outcome(frame));
		assert.deepEqual(got, wanted ? [wanted] : [], text);
	}
	assert.ok(cases.length > REQUESTS / 2);
	await c.close();
});

test(`data reaches others as it was written, wherever it stood (SEED=${SEED})`, async () => {
	const [ann, bob] = [await connect(server, { user: "ann" }), await connect(server, { user: "bob" })];
	await ann.call("room.join", { room: "bytes" });
	const { peer } = await bob.call("room.join", { room: "bytes" });
	const sent = [];
	bob.frames.length = 0;
	for (let i = 0; i < 200; i++) {
		const data = junk();
		const params = [["room", '"bytes"'], ["data", data]];
		const signal = chance(0.5);
		if (signal) params.push(["to", written([["peer", quoted(peer)]])], ["type", '"x"']);
		const others = Array.from({ length: chance(0.1) ? 30 : below(3) }, () => [pick(["other", "para", "data"]), junk()]);
		const list = [["jsonrpc", '"2.0"'], ["method", quoted(signal ? "signal.send" : "room.publish")], ["params", written(mixed(params))]];
		sent.push(data);
		ann.raw(written(mixed([...list, ...others])));
	}
	for (let i = 0; i < sent.length; i++) await bob.next(({ method }) => /^(room\.message|signal\.received)$/.test(method));
	const heard = bob.frames.filter((text) => /"(room\.message|signal\.received)"/.test(text));
	assert.equal(heard.length, sent.length);
	for (const [i, text] of heard.entries()) assert.ok(text.includes(`"data":${sent[i]}`), `${text} holds ${sent[i]}`);
	await Promise.all([ann.close(), bob.close()]);
});
