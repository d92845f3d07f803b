// What went over the wire, for the test that holds it against schema/openrpc.json. With
// SIGNALBOX_TRAFFIC naming a folder, each process writes one file of JSON lines there:
//   {dir: "in" | "out", text, over: "ws" | "http" | "control", on, raw?: true}
// "out" is what the client sent; on: which connection; raw: written by hand, perhaps wrong on purpose.
import { appendFileSync, mkdirSync } from "node:fs";
import { basename, join } from "node:path";

const folder = process.env.SIGNALBOX_TRAFFIC;
const LINES = 500;
let lines = [];
let file;

let connections = 0;

/** What to call a new connection by. */
export function nameConnection() {
	return ++connections;
}

export function record(dir, text, over, on, raw) {
	if (!folder) return;
	lines.push(JSON.stringify({ dir, text, over, on, raw }));
	if (lines.length >= LINES) write();
}

function write() {
	if (lines.length === 0) return;
	if (!file) {
		mkdirSync(folder, { recursive: true });
		file = join(folder, `${basename(process.argv[1] ?? "node", ".js")}-${process.pid}.jsonl`);
	}
	appendFileSync(file, `${lines.join("\n")}\n`);
	lines = [];
}

if (folder) process.on("exit", write);
