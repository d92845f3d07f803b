// Runs the groups of scenarios.mjs: round by round through all servers of a group, so that what the machine does meanwhile
// happens to all of them, and keeps what the load generator says as lines {group, series, round, …}.
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { LOAD_CORE } from "./machine.mjs";
import { median } from "./numbers.mjs";
import { SERIES } from "./scenarios.mjs";
import { scratch, start } from "./service.mjs";

const CONNECTIONS = 10_000; // the most that a scenario opens, and tokens that are made: one a user
const NEW_TOKENS = 16_000; // more than a second of handshakes takes
const LIMIT_MS = 180_000; // of one run of the load generator

/** What one line says of one operation. */
export const MEASURES = {
	/** Microseconds of the server's processor time. */
	each: (line) => line.cpu_ns / 1000 / operations(line),
	/** Operations a second of processor time. */
	capacity: (line) => operations(line) / (line.cpu_ns / 1e9),
	/** Operations a second, as they came. */
	rate: (line) => operations(line) / line.seconds,
	p50: (line) => line.latency_us.p50,
	p99: (line) => line.latency_us.p99,
	/** KiB a connection. */
	memory: (line) => (line.rss_held - line.rss_before) / 1024 / line.connections,
	joined: (line) => line.all_joined_s,
	/** Percent of the handshakes that went on with a TLS session. */
	resumed: (line) => (100 * line.resumed) / line.handshakes,
};

const operations = (line) => line.deliveries || line.handshakes || line.messages;

/** The lines of a group and series, and of a number of messages outstanding where it is given. */
export function select(lines, { group, series, outstanding }) {
	const found = lines.filter(
		(line) => line.group === group && line.series === series && (outstanding === undefined || line.outstanding === outstanding),
	);
	if (found.length === 0) throw new Error(`nothing was measured of ${series} in ${group}${outstanding ? `, ${outstanding} outstanding` : ""}`);
	return found;
}

export const measured = (lines, which, of) => median(select(lines, which).map(MEASURES[of]));

/** The median of the ratios of each round that both have ended. */
export function ratio(lines, over, under, of) {
	const below = new Map(select(lines, under).map((line) => [line.round, MEASURES[of](line)]));
	const both = select(lines, over).filter(({ round }) => below.has(round));
	return median(both.map((line) => MEASURES[of](line) / below.get(line.round)));
}

const options = (args) =>
	Object.entries(args).flatMap(([name, value]) => (value === true ? [`--${name}`] : [`--${name}`, String(value)]));

/** Runs the load generator once. It fails itself when anything was lost, doubled or out of order. */
export async function load(command) {
	const child = start(command, { stdio: ["ignore", "pipe", "pipe"] });
	let [out, said] = ["", ""];
	child.stdout.setEncoding("utf8").on("data", (text) => (out += text));
	child.stderr.setEncoding("utf8").on("data", (text) => (said += text));
	const timer = setTimeout(() => child.kill("SIGKILL"), LIMIT_MS);
	const [code, signal] = await once(child, "close");
	clearTimeout(timer);
	const lines = code === 0 ? out.trim().split("\n").map((text) => JSON.parse(text)) : [];
	const wrong = lines.find((line) => line.lost || line.wrong);
	if (code === 0 && lines.length && !wrong) return lines;
	throw new Error(`${signal ?? `exit code ${code}`} of: ${command.join(" ")}\n${said.trim() || out.trim() || "it said nothing"}`);
}

/** Tokens are taken by turns: a second time they would be known. */
export function requireNew(lines, tokens = NEW_TOKENS) {
	const begun = lines.reduce((sum, line) => sum + line.in_all, 0);
	if (begun > tokens) throw new Error(`${begun} handshakes with ${tokens} tokens: not all of them were new`);
}

export class Rounds {
	#servers;
	#fixed = null; // the file with a token for each connection
	lines = [];

	constructor(servers) {
		this.#servers = servers;
	}

	/** Measures a group. */
	async run(group, rounds) {
		const measure = async (series, round) => {
			const lines = await load(await this.command(group, series));
			if (SERIES[series].tokens === "new") requireNew(lines);
			this.lines.push(...lines.map((line) => ({ group: group.key, series, round, ...line })));
		};
		for (let round = 0; round < rounds; round++)
			if (group.together) await Promise.all(group.series.map((series) => measure(series, round)));
			else for (const series of group.series) await measure(series, round);
	}

	/** The command of the load generator that measures this; with other arguments, where they are given. */
	async command(group, name, more = {}) {
		const series = SERIES[name];
		const server = await this.#servers.get(series.server);
		const args = { ...group.args, ...series.args, pid: server.pid, ...more };
		if (!series.server.startsWith("workers-")) args.cores = LOAD_CORE;
		if (group.rate) args.rate = this.#rate(group.rate);
		const tokens = server.dialect === "signalbox" && !args["no-auth"] ? ["--tokens", this.#tokens(series.tokens)] : [];
		return [...this.#servers.command(server), group.scenario, ...options(args), ...tokens, "--json"];
	}

	/** Messages a second that are this part of what the service came to when it was asked for all. */
	#rate({ group, outstanding, part }) {
		const all = select(this.lines, { group, series: "signalbox", outstanding }).map((line) => line.messages / line.seconds);
		return Math.max(1, Math.round(median(all) * part));
	}

	#tokens(kind) {
		if (kind === "new") return this.#write("new", this.#servers.foreign.tokens(NEW_TOKENS));
		if (kind === "one") return this.#write("one", this.#servers.foreign.tokens(1));
		return (this.#fixed ??= this.#write("each", this.#servers.foreign.tokens(CONNECTIONS)));
	}

	#write(name, tokens) {
		const file = join(scratch, `tokens-${name}`);
		writeFileSync(file, `${tokens.join("\n")}\n`, { mode: 0o600 });
		return file;
	}
}
