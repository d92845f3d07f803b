// Disks for a data directory that get into trouble when a test says so.
//   const disk = smallDisk(t, "3m");      a file system of its own, in memory: disk.fill(), disk.free()
//   const disk = brokenDisk(t);           this machine's, whose errors are made: disk.fail(errno), 0: well
//   const server = await startServer({ t, disk });
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdirSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { ownDirectory } from "./server.mjs";
import { within } from "./within.mjs";

const MOUNT_MS = 10_000;
const BLOCK = Buffer.alloc(4096, 1);

/**
 * A tmpfs of that size in a mount namespace, which lives until the test ends: so a second server may
 * find what the first has left. Without root the namespace is the user's own.
 */
export async function smallDisk(t, size) {
	const path = join(ownDirectory(), "disk");
	mkdirSync(path);
	const apart = process.getuid() ? ["--user", "--map-root-user", "--mount"] : ["--mount"];
	const script = 'mount -t tmpfs -o size="$2",mode=700 none "$1" && echo mounted && exec cat';
	const holder = spawn("unshare", [...apart, "sh", "-c", script, "sh", path, size], {
		stdio: ["pipe", "pipe", "inherit"],
	});
	t.after(() => holder.stdin.end());
	await within(
		Promise.race([
			once(holder.stdout, "data"),
			once(holder, "exit").then(() => Promise.reject(new Error("no disk of its own: unshare failed"))),
		]),
		MOUNT_MS,
		"the disk",
	);
	const inside = ["nsenter", "--target", `${holder.pid}`, "--mount", "--root"];
	if (process.getuid()) inside.push("--user", "--preserve-credentials");
	inside.push("--");
	const files = `/proc/${holder.pid}/root${path}`;
	const rest = join(files, "rest");
	return {
		path,
		files,
		under: inside,
		/** Takes all the room there is. */
		fill() {
			const file = openSync(rest, "w");
			try {
				for (;;) writeSync(file, BLOCK);
			} catch (error) {
				if (error.code !== "ENOSPC") throw error;
			} finally {
				closeSync(file);
			}
		},
		free: () => rmSync(rest),
		/** "ro" or "rw": only while no program has a file open for writing there. */
		remount: (mode) => execFileSync(inside[0], [...inside.slice(1), "mount", "-o", `remount,${mode}`, path]),
	};
}

let library;

/** Errors of the system for all that would change a file of the data directory. */
export function brokenDisk() {
	const folder = ownDirectory();
	const path = join(folder, "d");
	const file = join(folder, "error");
	writeFileSync(file, Buffer.alloc(4096));
	if (!library) {
		library = join(folder, "disk.so");
		execFileSync("cc", ["-O1", "-shared", "-fPIC", "-o", library, join(import.meta.dirname, "disk.c")]);
	}
	return {
		path,
		files: path,
		under: [],
		env: {
			LD_PRELOAD: library,
			TEST_DISK_FILE: file,
			TEST_DISK_FOLDER: path,
			ASAN_OPTIONS: `${process.env.ASAN_OPTIONS ?? ""}:verify_asan_link_order=0`,
		},
		fail(errno) {
			const bytes = Buffer.alloc(8);
			bytes.writeBigInt64LE(BigInt(errno));
			const open = openSync(file, "r+");
			writeSync(open, bytes);
			closeSync(open);
		},
	};
}
