// What the guard makes of callgrind's dumps, and of a count beside its budget.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { judge, kept } from "./budget.mjs";
import { Profile } from "./profile.mjs";

// As callgrind writes: names once, then their numbers; the line behind "calls=" is the callee's cost.
const DUMP = `events: Ir
ob=(1) /build/bench_guard
fl=(1) core/str.c
fn=(1) callback
10 100
+2 20
cob=(2) /usr/lib/libwebsockets.so.17
cfn=(2) lws_write
calls=3 0
* 600
cfn=(5) callback'2
calls=1 0
12 7
ob=(2)
fn=(2)
0 590
fn=(3) 0x0000000000001234
0 10
ob=(3) /usr/lib/libcrypto.so.3
fn=(4) EVP_Digest
0 5000
ob=(1)
fn=(5)
10 7
totals: 5727
`;

test("each function has its own instructions, and those of what it calls apart; libcrypto has none", () => {
	const profile = new Profile(DUMP, "bench_guard");
	assert.equal(profile.total, 727);
	assert.deepEqual(Object.fromEntries(profile.own), { callback: 127, "lws_write (libwebsockets)": 590, "(libwebsockets)": 10 });
	assert.equal(profile.all.get("callback"), 127 + 600 + 7);
});

test("a function that other processors do not have is no count", () => {
	for (const name of ["__memmove_avx_unaligned_erms", "__strlen_evex", "__strcmp_sse42", "__memset_avx512_unaligned"])
		assert.throws(() => new Profile(`ob=(1) /lib/libc.so.6\nfn=(1) ${name}\n0 5\n`, "bench_guard"), /not every processor/);
	new Profile("ob=(1) /lib/libc.so.6\nfn=(1) __memmove_sse2_unaligned\n0 5\n", "bench_guard");
});

const budget = { instructions: 1000, why: "", functions: { dear: 600, cheap: 400 } };
const result = (dear, cheap) => ({ name: "it", instructions: dear + cheap, own: new Map([["dear", dear], ["cheap", cheap]]) });

test("a twentieth more fails, and what grew most is said first", () => {
	assert.deepEqual(judge(result(610, 439), budget).held, true);
	const { held, lines } = judge(result(610, 441), budget);
	assert.equal(held, false);
	assert.match(lines.at(-1), /^not ok it +1,051 instructions, \+5\.1 % of 1,000$/);
	assert.match(lines[1], /41 {2}cheap/);
	assert.match(lines[2], /10 {2}dear/);
});

test("ten functions are named, new ones too", () => {
	const own = new Map(Array.from({ length: 20 }, (_, i) => [`new ${i}`, 100 + i]));
	const { lines } = judge({ name: "it", instructions: 2190, own }, budget);
	assert.equal(lines.length, 1 + 10 + 1);
	assert.match(lines[1], /114 {2}new 19/);
});

test("who has no budget fails", () => {
	assert.equal(judge(result(1, 1), undefined).held, false);
});

test("a twentieth less holds, and says how to keep it", () => {
	assert.equal(judge(result(600, 360), budget).lines.length, 1);
	const { held, lines } = judge(result(600, 340), budget);
	assert.equal(held, true);
	assert.match(lines[1], /--update it/);
});

test("each budget in the file says why it is what it is", () => {
	const budgets = Object.entries(JSON.parse(readFileSync(join(import.meta.dirname, "budget.json"), "utf8")));
	assert.ok(budgets.length > 0);
	for (const [name, { instructions, why }] of budgets) assert.ok(instructions > 0 && why.trim().length > 10, name);
});

test("a budget is kept with its reason and its functions, others as they are", () => {
	const before = { other: { instructions: 5, why: "so", functions: { f: 5 } } };
	const text = kept(before, { name: "it", instructions: 1000, own: new Map([["rare", 4], ["often", 996.4]]) }, 'a "reason"');
	assert.deepEqual(JSON.parse(text), { ...before, it: { instructions: 1000, why: 'a "reason"', functions: { often: 996 } } });
	assert.match(text, /"functions": \{"often":996\}\n/);
});
