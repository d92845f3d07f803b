// The runner must not call a run good that was not: it is run on small trees whose test programs are scripts.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import test from "node:test";

// Runs the runner in a tree that has these files, and returns what it printed and its exit status.
function run(files, ...args) {
	const top = mkdtempSync(join(tmpdir(), "run-tests-"));
	try {
		for (const part of ["run-tests.mjs", "run-tests-reporter.mjs"])
			cpSync(join(import.meta.dirname, part), join(top, "tests/support", part));
		const all = { "package.json": '{"type": "module"}', dev: "#!/bin/sh\n", ...files };
		for (const [name, text] of Object.entries(all)) {
			mkdirSync(dirname(join(top, name)), { recursive: true });
			writeFileSync(join(top, name), text);
			if (text.startsWith("#!")) chmodSync(join(top, name), 0o755);
		}
		const { NODE_TEST_CONTEXT: _, ...env } = process.env; // else the inner node --test believes it is a child
		const { stdout, stderr, status } = spawnSync(
			process.execPath,
			[join(top, "tests/support/run-tests.mjs"), ...args],
			{
				encoding: "utf8",
				env,
			},
		);
		return { text: stdout + stderr, last: stdout.trimEnd().split("\n").at(-1), status };
	} finally {
		rmSync(top, { recursive: true });
	}
}

function unit(script) {
	return { "tests/unit/test_a.c": "", "build/asan/test_a": `#!/bin/sh\n${script}\n` };
}

function protocol(script) {
	return { "tests/protocol/a.test.js": `import test from 'node:test'\n${script}\n` };
}

const cases = {
	"a unit program whose tests pass": [
		unit(
			"echo '[ RUN      ] one'; echo '[       OK ] one'; echo '[ RUN      ] two'; echo '[       OK ] two'",
		),
		"2 passed, 0 failed",
	],
	"a unit test that fails": [
		unit(`echo '[ RUN      ] one'; echo '[       OK ] one'; echo '[ RUN      ] two'; echo 'a.c:7: error' >&2
			echo '[  FAILED  ] two' >&2; echo '[  FAILED  ] tests: 1 test(s), listed below:' >&2
			echo '[  FAILED  ] two' >&2; exit 1`),
		"1 passed, 1 failed",
		/a\.c:7: error/,
		/failed: unit test_a: two/,
	],
	"a unit test that is skipped": [
		unit(`echo '[ RUN      ] one'; echo '[  SKIPPED ] one'; echo '[ RUN      ] two'; echo '[       OK ] two'
			echo '[  SKIPPED ] tests: 1 test(s), listed below:'; echo '[  SKIPPED ] one'`),
		"1 passed, 0 failed, 1 skipped",
		/skipped: unit test_a: one/,
	],
	"a unit program that runs no test": [unit("true"), "0 passed, 1 failed", /ran no test/],
	"a unit program that leaks": [
		unit("echo '[ RUN      ] one'; echo '[       OK ] one'; echo leak >&2; exit 23"),
		"1 passed, 1 failed",
		/leak/,
		/exit code 23/,
	],
	"a unit program that crashes": [
		unit("echo '[ RUN      ] one'; kill -SEGV $$"),
		"0 passed, 1 failed",
		/ended by SIGSEGV/,
		/failed: unit test_a: one/,
	],
	"a unit program that was not built": [
		{ "tests/unit/test_a.c": "" },
		"0 passed, 1 failed",
		/did not start/,
	],
	"a build that fails": [
		{ ...unit("true"), dev: '#!/bin/sh\necho "a.c:3: error"; exit 1' },
		"0 passed, 1 failed",
		/a\.c:3: error/,
		/FAILED to build asan/,
	],
	"a protocol file whose tests pass, some inside others": [
		protocol("test('one', async (t) => { await t.test('in', () => {}) }); test('two', () => {})"),
		"2 passed, 0 failed",
	],
	"a protocol test that fails, inside another": [
		protocol(
			"test('one', async (t) => { await t.test('in', () => { console.log('seed 5'); throw new Error('no') }) })",
		),
		"0 passed, 1 failed",
		/seed 5/,
		/Error: no/,
		/failed: protocol a: in/,
	],
	"a protocol file that fails outside its tests": [
		protocol("test('one', () => {}); process.on('exit', () => { process.exitCode = 4 })"),
		"1 passed, 1 failed",
	],
	"a protocol file that runs no test": [protocol(""), "0 passed, 1 failed", /ran no test/],
	"a skipped test is told": [
		protocol("test.skip('one'); test('two', () => {})"),
		"1 passed, 0 failed, 1 skipped",
		/skipped: protocol a: one/,
	],
	"a fuzzer that ran": [
		{
			"tests/fuzz/fuzz_a.c": "",
			"build/fuzz/fuzz_a": '#!/bin/sh\necho "Done 12 runs in 5 second(s)" >&2\n',
		},
		"1 passed, 0 failed",
		/5\.00|fuzz_a: 1 passed/,
	],
	"a fuzzer that found something": [
		{
			"tests/fuzz/fuzz_a.c": "",
			"build/fuzz/fuzz_a": '#!/bin/sh\necho "Test unit written to x-crash" >&2; exit 77\n',
		},
		"0 passed, 1 failed",
		/x-crash/,
	],
	"a budget that does not hold": [
		{
			"tests/bench/run":
				'#!/bin/sh\necho ok start-up; echo "took 9, may take 3"; echo not ok fan-out; exit 1\n',
		},
		"1 passed, 1 failed",
		/took 9, may take 3/,
		/failed: bench run: fan-out/,
	],
	"nothing at all": [{}, "0 passed, 0 failed"],
};

for (const [name, [files, closing, ...patterns]] of Object.entries(cases))
	test(name, () => {
		const { text, last, status } = run(files);
		assert.equal(last, closing, text);
		for (const pattern of patterns) assert.match(text, pattern);
		assert.equal(status, / 0 failed/.test(closing) && !closing.startsWith("0 passed") ? 0 : 1);
	});

test("a stage behind one that failed does not run, except with -k", () => {
	const files = { ...unit("false"), ...protocol("test('one', () => {})") };
	assert.equal(run(files).last, "0 passed, 1 failed");
	assert.equal(run(files, "-k").last, "1 passed, 1 failed");
	assert.equal(run(files, "protocol").last, "1 passed, 0 failed");
	assert.equal(run(files, "protocol", "b").status, 1);
	assert.equal(run(files, "protocols").status, 2);
});

test("what a test leaves running is ended", () => {
	const { last } = run(unit("sleep 100 & echo '[ RUN      ] one'; echo '[       OK ] one'"));
	assert.equal(last, "1 passed, 0 failed");
});
