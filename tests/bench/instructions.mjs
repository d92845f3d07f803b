// Instructions of single operations, as the guard counts them (guard.mjs), with the words of a table.
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

const MEMBERS = 100;
const WORDS = {
	message_100: `one message of 128 B to ${MEMBERS} members`,
	message_100_waiting: "  the same, eight waiting, without batches",
	message_100_batching: "  the same, eight waiting, in batches",
	signal_128: "one directed signal of 128 B",
	signal_4096: "one directed signal of 4 KiB",
	handshake: "one handshake, with a token seen before",
	dataset_change_100: `one change of a row to ${MEMBERS} subscribers`,
};

export async function instructions() {
	const guard = join(import.meta.dirname, "guard");
	const { stdout } = await promisify(execFile)(guard, ["--json"]);
	const counts = JSON.parse(stdout);
	return Object.entries(WORDS).map(([name, words]) => [words, counts[name]]);
}
