// What the kernel says of a process and of the machine, and which core a process may use. The service and its peers have
// the first core, the load the last: where there is only one, nothing that is measured here means anything.
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";

const CORES = cpus().length;
export const SERVICE_CORE = 0;
export const LOAD_CORE = CORES - 1;

/** Nanoseconds that all threads of the process have run. */
export function processorTime(pid) {
	const tasks = readdirSync(`/proc/${pid}/task`);
	const run = (id) => Number(readFileSync(`/proc/${pid}/task/${id}/schedstat`, "utf8").split(" ")[0]);
	return tasks.reduce((sum, id) => sum + run(id), 0);
}

/** A line of /proc/PID/status that is in kB, such as VmRSS, as MiB. */
export function memory(pid, what) {
	const text = readFileSync(`/proc/${pid}/status`, "utf8");
	return Number(new RegExp(`${what}:\\s+(\\d+) kB`).exec(text)[1]) / 1024;
}

/** What stands before a command that shall stay on these cores, such as 0 or "0,1". */
export const pinned = (cores) => ["taskset", "--cpu-list", String(cores)];

/** Throws where pinning would pin nothing. */
export function requireCores() {
	if (CORES < 2) throw new Error("this needs two cores, one for the service and one for the load");
}

/** The machine, in one line. */
export function machine() {
	const model = cpus()[0].model.trim();
	const kernel = execFileSync("uname", ["-sr"], { encoding: "utf8" }).trim();
	return `${CORES} cores of ${model}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${kernel}, Node ${process.version.slice(1)}`;
}
