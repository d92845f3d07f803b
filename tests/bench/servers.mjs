// The servers of a run, each started when first wanted, pinned to its core, and left alone until the end: whoever is not
// asked anything takes no time from the others.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { Foreign } from "./foreign.mjs";
import { pinned, SERVICE_CORE } from "./machine.mjs";
import { startPeer } from "./peers.mjs";
import { binary, scratch, startServer, stopServer } from "./service.mjs";

const ALL_CORES = "0-1";
const CERTIFICATE = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1";
const SIZE = "--limits.members_per_room=2000"; // those who publish come on top

/** A program of ours, or what to do to get it. */
export function program(name) {
	const path = name === "signalbox" ? binary : resolve("build/release", name);
	if (!existsSync(path)) throw new Error(`there is no ${path}: ./dev build release signalbox bench_floor bench_peers`);
	return path;
}

export class Servers {
	#running = new Map(); // name → {url, pid, dialect, stop}
	#foreign = null;
	#tokens = null;

	/** Its issuer, whose keys all the services know. */
	get foreign() {
		return (this.#foreign ??= new Foreign(scratch));
	}

	async get(name) {
		if (!this.#running.has(name)) this.#running.set(name, await this.#start(name));
		return this.#running.get(name);
	}

	async stop() {
		const ends = await Promise.allSettled([...this.#running.values()].map(({ stop }) => stop()));
		this.#running.clear();
		for (const { reason } of ends) if (reason) throw reason;
	}

	/** What the load generator's command line begins with. */
	command({ dialect, url }) {
		if (dialect === "signalbox") return [program("signalbox"), "bench", url];
		return [program("bench_peers"), dialect, url];
	}

	async #start(name) {
		if (name.startsWith("signalbox")) return this.#service(name, SERVICE_CORE, name.endsWith("-tls") ? this.#certificate() : []);
		const workers = /^workers-(\d+)$/.exec(name)?.[1];
		if (workers) return this.#service(name, ALL_CORES, ["--workers", workers]);
		program("bench_floor");
		return { dialect: name === "floor" ? "signalbox" : name, ...(await startPeer(name, { core: SERVICE_CORE })) };
	}

	async #service(name, cores, more) {
		const server = await startServer(join(scratch, name), pinned(cores), ["--config", this.foreign.config, SIZE, ...more]);
		return { dialect: "signalbox", url: server.url, pid: server.child.pid, stop: () => stopServer(server) };
	}

	#certificate() {
		const [certificate, key] = ["cert.pem", "key.pem"].map((file) => join(scratch, file));
		execFileSync("openssl", [...CERTIFICATE.split(" "), "-keyout", key, "-out", certificate], { stdio: "pipe" });
		return ["--tls.certificate", certificate, "--tls.key", key];
	}
}
