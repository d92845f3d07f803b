// The sqlite3 shell, as any other program that has a database open: another process than the service.
import { execFileSync } from "node:child_process";

/** Runs statements on a file, or on {path, under} (a disk of disk.mjs), and answers what the shell prints. */
export function sqlite(file, sql, ...options) {
	const { path, under = [] } = typeof file === "string" ? { path: file } : file;
	const [command, ...words] = [...under, "sqlite3", "-bail", ...options, path];
	return execFileSync(command, words, { input: `.timeout 5000\n${sql}\n`, encoding: "utf8", maxBuffer: 16 << 20 });
}

/** Rows as objects. */
export function rows(file, sql) {
	const text = sqlite(file, sql, "-json");
	return text.trim() ? JSON.parse(text) : [];
}

/** All that the file consists of but for its rows. */
export const schemaOf = (file) => sqlite(file, ".schema --nosys");
