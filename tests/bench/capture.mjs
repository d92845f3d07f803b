// What the capture of a dataset costs the programs that write to its table: the rate of one writer with it and without, by
// turns, in a process of its own. The service has put its triggers into the file and is not running meanwhile.
import { execFileSync } from "node:child_process";
import { copyFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { median } from "./numbers.mjs";
import { control, scratch, startServer, stopServer } from "./service.mjs";

const KINDS = [
	{ op: "insert", each: 1, rows: 6_000, least: 0.33 },
	{ op: "update", each: 1, rows: 6_000, least: 0.33 },
	{ op: "insert", each: 1000, rows: 60_000, least: 0.18 },
	{ op: "update", each: 1000, rows: 60_000, least: 0.18 },
];
const FULL = 60_000; // rows of the table that is updated

const sqlite = (file, sql) => execFileSync("sqlite3", ["-bail", file], { input: sql });

function tables() {
	const files = {};
	for (const [op, rows] of [["insert", 0], ["update", FULL]]) {
		files[op] = { without: join(scratch, `${op}.db`), with: join(scratch, `${op}-captured.db`) };
		sqlite(
			files[op].without,
			`PRAGMA journal_mode = WAL;
			CREATE TABLE todos (id INTEGER PRIMARY KEY, owner TEXT NOT NULL, title TEXT NOT NULL, done INTEGER NOT NULL DEFAULT 0, due REAL, note TEXT);
			WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${rows})
			INSERT INTO todos SELECT i, 'ann', 'the title of row ' || i, 0, i * 0.1, 'a note of some length, as people write' FROM n WHERE ${rows};
			PRAGMA wal_checkpoint(TRUNCATE);`,
		);
		copyFileSync(files[op].without, files[op].with);
	}
	return files;
}

async function capture(files) {
	const server = await startServer(join(scratch, "capture"));
	for (const [op, { with: database }] of Object.entries(files)) {
		await control(server, "dataset.add", { dataset: op, database, table: "todos", read: "1" });
		while ((await control(server, "dataset.show", { dataset: op })).state !== "live") await pause(20);
	}
	await stopServer(server);
	for (const { with: database } of Object.values(files)) sqlite(database, "PRAGMA wal_checkpoint(TRUNCATE)");
}

/** Rows a second of a writer on a copy of the file. */
function rate(program, file, { op, rows, each }, count) {
	const copy = `${file}.copy`;
	copyFileSync(file, copy);
	const out = execFileSync(program, [copy, op, String(count ?? rows), String(each)], { encoding: "utf8" });
	for (const end of ["", "-wal", "-shm"]) rmSync(copy + end, { force: true });
	return Number(out);
}

/** [{op, each, least, without, ratio}]: medians of pairs by turns. */
export async function captureCosts({ quick }) {
	const program = join(scratch, "writer");
	execFileSync("cc", ["-O2", "-o", program, join(import.meta.dirname, "writer.c"), "-lsqlite3"]);
	const files = tables();
	await capture(files);
	return KINDS.map((kind) => {
		const pairs = Array.from({ length: quick ? 1 : 5 }, () => {
			const [without, captured] = ["without", "with"].map((which) => rate(program, files[kind.op][which], kind, quick ? 1000 : undefined));
			return { without, ratio: captured / without };
		});
		return { ...kind, without: median(pairs.map(({ without }) => without)), ratio: median(pairs.map(({ ratio }) => ratio)) };
	});
}
