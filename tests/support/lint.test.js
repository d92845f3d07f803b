// Plants each fault that the lint must find in a small tree of its own, and what looks like one and is none.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import test from "node:test";

const lintScript = join(import.meta.dirname, "lint.sh");
const ourLayout = readFileSync(join(import.meta.dirname, "../../.clang-format"), "utf8");

// Lints a tree that has these files, and returns what it printed, as lines, and its exit status.
function lint(files) {
	const top = mkdtempSync(join(tmpdir(), "lint-"));
	try {
		const all = { ".clang-format": "DisableFormat: true", "core/README.md": "core", ...files };
		for (const [name, text] of Object.entries(all)) {
			mkdirSync(dirname(join(top, name)), { recursive: true });
			writeFileSync(join(top, name), text + "\n");
			if (text.startsWith("#!")) chmodSync(join(top, name), 0o755);
		}
		execFileSync("git", ["init", "-q", top]);
		execFileSync("git", ["-C", top, "add", "-f", "."]);
		const { stdout, stderr, status } = spawnSync(lintScript, { cwd: top, encoding: "utf8" });
		return { lines: (stdout + stderr).trimEnd().split("\n"), status };
	} finally {
		rmSync(top, { recursive: true });
	}
}

function mustFind(files, ...patterns) {
	const { lines, status } = lint(files);
	for (const pattern of patterns)
		assert.ok(
			lines.some((line) => pattern.test(line)),
			`nothing like ${pattern} in:\n${lines.join("\n")}`,
		);
	assert.equal(status, 1);
	assert.equal(lines.filter((line) => line.startsWith("not ok")).length, 1, lines.join("\n"));
	return lines;
}

test("a clean tree is found clean", () => {
	const { lines, status } = lint({
		"core/err.h": "#pragma once\n#include <stdio.h>",
		"store/README.md": "store",
		"store/a.c": '#include "core/err.h"\n#include "store/a.h"',
		"tests/README.md": "tests",
		"tests/unit/test_a.c": '#include "service/main.h"\n#include "dataset/a.h"',
		dev: '#!/usr/bin/env bash\necho "$1"',
	});
	assert.deepEqual(
		lines.filter((line) => !line.startsWith("ok ")),
		[],
	);
	assert.equal(status, 0);
});

test("layout", () => {
	mustFind(
		{ ".clang-format": ourLayout, "core/a.c": "int a;\nint  b;" },
		/^core\/a\.c:2: .*run \.\/dev format$/,
	);
});

const upward = [
	["core", "store"],
	["core", "service"],
	["store", "auth"],
	["auth", "signaling"],
	["auth", "service"],
	["signaling", "dataset"],
	["dataset", "signaling"],
	["signaling", "service"],
	["dataset", "service"],
	["client", "store"],
	["client", "service"],
	["core", "client"],
];
for (const [from, to] of upward)
	test(`an include from ${from} up or across to ${to}`, () => {
		mustFind(
			{ [`${from}/README.md`]: from, [`${from}/a.c`]: `/* a */\n#include "${to}/b.h"` },
			new RegExp(`^${from}/a\\.c:2: includes "${to}/b\\.h", but ${from}/ may only include core`),
		);
	});

test("an include that names no folder, or goes round the check", () => {
	mustFind(
		{
			"core/a.c": '#include "err.h"\n#include "../store/store.h"',
			"core/b.h": '#include "./err.h"',
		},
		/^core\/a\.c:1: .*names no folder/,
		/^core\/a\.c:2: .*names no folder/,
		/^core\/b\.h:1: .*names no folder/,
	);
});

test("the server folder inside auth counts as auth", () => {
	mustFind(
		{ "auth/README.md": "auth", "auth/server/a.c": '#include "service/b.h"' },
		/^auth\/server\/a\.c:1: .*auth\/ may only include/,
	);
});

test("a metric or a limit that the operator's page does not name", () => {
	mustFind(
		{
			"core/metrics.def": 'METRIC(A, counter, "signalbox_a_total", "A.")\nMETRIC(B, gauge, "signalbox_b", "B.")',
			"service/README.md": "service",
			"service/config_keys.def": 'KEY(limits, message, SIZE, "1", 1, 2, "", "M.")\nKEY_AT_START(limits, data, SIZE, "1", 1, 2, "", "D.")\nKEY(log, level, WORD, "", 0, 0, "", "L.")',
			"docs/OPERATIONS.md": "`signalbox_b` `signalbox_a` `data`",
		},
		/OPERATIONS\.md:1: does not name signalbox_a_total/,
		/OPERATIONS\.md:1: does not name message/,
	);
});

test("a test that the threat model names and nobody has", () => {
	const lines = mustFind(
		{
			"tests/README.md": "tests",
			"tests/unit/test_a.c": "cmocka_unit_test(holds)",
			"tests/protocol/10-b.test.js": 'test("is refused", () => {});',
			"docs/SECURITY.md": "| `test_a: holds` `10-b: is refused` | `10-b: is taken`\n| `11-b: is refused` `word`",
		},
		/^docs\/SECURITY\.md:1: there is no test "is taken" in tests\/\*\/10-b;/,
		/^docs\/SECURITY\.md:2: there is no test "is refused" in tests\/\*\/11-b;/,
	);
	assert.equal(lines.filter((line) => line.includes("there is no test")).length, 2);
});

test("migrations with a hole or a number twice", () => {
	mustFind(
		{ "schema/README.md": "schema", "schema/sql/001_a.sql": "", "schema/sql/002_b.sql": "", "schema/sql/002_c.sql": "", "schema/sql/004_d.sql": "" },
		/^schema\/sql\/002_c\.sql:1: should have the number 3/,
		/^schema\/sql\/004_d\.sql:1: should have the number 3/,
	);
});

test("libwebsockets outside its files", () => {
	const header = "#include <libwebsockets.h>";
	const lines = mustFind(
		{
			"core/frame.h": header,
			"core/worker.c": header,
			"service/README.md": "service",
			"service/session.c": `${header}\n#include <libwebsockets/a.h>`,
			"service/listener.c": header,
			"service/conn_ws.c": header,
			"service/conn_http.c": header,
			"service/conn_http_request.c": header,
			"client/README.md": "client",
			"client/any.h": header,
		},
		/^core\/frame\.h:1: includes libwebsockets/,
		/^service\/session\.c:1: includes libwebsockets/,
		/^service\/session\.c:2: includes libwebsockets/,
		/^client\/any\.h:1: includes libwebsockets/,
	);
	assert.equal(lines.filter((line) => line.includes("includes libwebsockets")).length, 4);
});

for (const name of [
	"strcpy",
	"strcat",
	"sprintf",
	"vsprintf",
	"gets",
	"atoi",
	"atol",
	"strtok",
	"alloca",
	"printf",
])
	test(`the banned call ${name}`, () => {
		mustFind(
			{ "core/a.c": `/* two\nlines */ int a = '"'; /* "open */ int b = ${name} (a);` },
			new RegExp(`^core/a\\.c:2: ${name} is banned; use `),
		);
	});

test("what only looks like a banned call", () => {
	const { lines, status } = lint({
		"core/a.c": [
			"/* strcpy(a, b) and",
			" * atoi(c), it's \"odd",
			" */",
			'static const char a[] = "printf(1) \\" /* gets(2)";',
			"// strtok(a)",
			"int c = snprintf(a) + my_atoi(a) + fgets(a) + fprintf(a) + strtok_r(a);",
			"int d = a.printf(1) + a->gets(1);",
			"int e __attribute__((format(printf, 1, 2)));",
		].join("\n"),
		"service/README.md": "service",
		"service/cli_user.c": 'int a = printf("a");',
		"service/config.c": 'int a = printf("a");',
		"tests/README.md": "tests",
		"tests/unit/test_a.c": 'int a = printf("a");',
	});
	assert.deepEqual(
		lines.filter((line) => !line.startsWith("ok ")),
		[],
	);
	assert.equal(status, 0);
});

test("paths of one machine", () => {
	const at = (...folders) => ["", ...folders].join("/");
	const lines = mustFind(
		{
			"core/a.md": `see ${at("home", "me", "x")}\n`,
			"web/README.md": `open (${at("root", "x")})`,
			"core/b.md": `https://example.org${at("home", "me")} $HOME${at("work", "x")} build${at("work", "x")}`,
		},
		/^core\/a\.md:1: \/home\/me is a path of one machine/,
		/^web\/README\.md:1: \/root\/x is a path of one machine/,
	);
	assert.ok(!lines.some((line) => line.startsWith("core/b.md")));
});

test("a folder without a README.md", () => {
	mustFind({ "store/a.h": "#pragma once" }, /^store\/README\.md:1: is missing/);
});

test("a shell script with a fault", () => {
	mustFind({ dev: "#!/usr/bin/env bash\nunused=1" }, /^dev:2:\d+: warning: unused/);
});

test("long functions and files are reported, and are no failure", () => {
	const { lines, status } = lint({
		"core/a.c": `int a(void)\n{\n${"\ta();\n".repeat(58)}}`,
		"core/b.c": `int b(void)\n{\n${"\tb();\n".repeat(57)}}`,
		"core/c.h": "#pragma once\n".repeat(800),
	});
	assert.deepEqual(
		lines.filter((line) => line.includes("warning")),
		[
			"core/a.c:1: warning: a has 61 lines; split it, or say why above it",
			"core/c.h:1: warning: the file has 801 lines; split it",
		],
	);
	assert.equal(status, 0);
});
