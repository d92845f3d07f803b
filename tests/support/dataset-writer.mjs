// The same as dataset-writer.py, as a program for Node writes: FILE, then statements that set its connection up.
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";

const [file, ...pragmas] = process.argv.slice(2);
const db = new DatabaseSync(file, { enableForeignKeyConstraints: false, timeout: 10_000 });
for (const pragma of pragmas) db.exec(pragma);

function run(statements) {
	try {
		for (const sql of statements) db.exec(sql);
		return null;
	} catch (error) {
		return error.message;
	} finally {
		if (db.isTransaction) db.exec("ROLLBACK");
	}
}

for await (const line of createInterface({ input: process.stdin }))
	process.stdout.write(`${JSON.stringify(run(JSON.parse(line)))}\n`);
