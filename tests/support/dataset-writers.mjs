// Foreign programs that write to a database: the sqlite3 shell, Python, Node, each a process of its own with pragmas of
// its own. A transaction is a list of statements; whether they hold together, and what of them fails, is the database's
// business: a test looks into the file for what has become of it.
//   const shell = startWriter("shell", file, ["PRAGMA recursive_triggers=ON"]);
//   await shell.run(["BEGIN IMMEDIATE", "INSERT …", "COMMIT"]);
import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { within } from "./within.mjs";

const WAIT_MS = 30_000;
const END = "-- done --";

const script = (name) => join(import.meta.dirname, name);
const commands = {
	shell: (file) => ["sqlite3", ["-batch", "-init", "/dev/null", file]],
	python: (file, pragmas) => ["python3", [script("dataset-writer.py"), file, ...pragmas]],
	node: (file, pragmas) => [process.execPath, ["--no-warnings", script("dataset-writer.mjs"), file, ...pragmas]],
};

export const writerKinds = Object.keys(commands);

const running = new Set();
process.on("exit", () => {
	for (const child of running) child.kill("SIGKILL");
});

export function startWriter(kind, file, pragmas = []) {
	return new Writer(kind, file, pragmas);
}

class Writer {
	#child;
	#asked = []; // who waits for an answer, in order
	#ended;

	constructor(kind, file, pragmas) {
		this.kind = kind;
		const [program, words] = commands[kind](file, pragmas);
		this.#child = spawn(program, words, { stdio: ["pipe", "pipe", "pipe"] });
		running.add(this.#child);
		this.#child.stdin.on("error", () => {}); // it may have been killed
		this.errors = "";
		this.#child.stderr.setEncoding("utf8").on("data", (text) => (this.errors = (this.errors + text).slice(-2000)));
		createInterface({ input: this.#child.stdout }).on("line", (line) => this.#answered(line));
		this.#ended = new Promise((done) => this.#child.on("close", done)).then(() => {
			running.delete(this.#child);
			for (const answer of this.#asked.splice(0)) answer("killed");
		});
		if (kind === "shell") this.#child.stdin.write([".timeout 10000", ...pragmas.map((sql) => `${sql};`), ""].join("\n"));
	}

	#answered(line) {
		if (this.kind !== "shell") this.#asked.shift()?.(JSON.parse(line));
		else if (line === END) this.#asked.shift()?.(null);
	}

	/** Runs the statements; what the driver says of them: null, an error's text (not of the shell's), "killed". */
	run(statements) {
		const answer = new Promise((done) => this.#asked.push(done));
		if (this.kind === "shell") {
			// a transaction that an error has left open ends here; without one this is an error that nobody hears
			const lines = [...statements.map((sql) => `${sql};`), "ROLLBACK;", `.print ${JSON.stringify(END)}`, ""];
			this.#child.stdin.write(lines.join("\n"));
		} else {
			this.#child.stdin.write(`${JSON.stringify(statements)}\n`);
		}
		return within(answer, WAIT_MS, `what ${this.kind} writes; it says: ${this.errors}`);
	}

	/** Ends it as a power cut does, whatever it is doing. */
	async kill() {
		this.#child.kill("SIGKILL");
		await this.#ended;
	}

	/** When it has done what it was told. */
	async end() {
		this.#child.stdin.end();
		await within(this.#ended, WAIT_MS, `the end of ${this.kind}`);
	}
}
