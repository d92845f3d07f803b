// Networks of a test's own, for which it must be root in a network namespace (as in ./dev test browser).
//   const card = plugIn();                        this host gets a network card: it is online
//   const phone = await secondHost();             another host: phone.command runs a program there
//   phone.connect(1); phone.disconnect(1);        it walks from one network into another
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { chmodSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ownDirectory } from "./server.mjs";

/** Where the other host finds this one, by whichever network. */
export const HERE = "10.9.0.1";

// "addrgenmode none" below: else addresses of IPv6 come a second later, as one more change of network, and
// a browser drops what it is loading.
const ip = (...words) => execFileSync("ip", words.join(" ").split(" "));

/** Rules and addresses may only be changed where there is nobody else. */
export function assertAlone() {
	const devices = readFileSync("/proc/net/dev", "utf8").split("\n").slice(2).filter(Boolean);
	const others = devices.map((line) => line.split(":")[0].trim()).filter((name) => name !== "lo" && !name.startsWith("test"));
	assert.deepEqual(others, [], "networks may only be changed in a namespace of the test's own: run it as root");
}

/** Without a card browsers say that they are offline. */
export function plugIn() {
	assertAlone();
	ip("link add test0 type veth peer name test0far");
	ip("addr add 10.8.0.1/24 dev test0");
	for (const name of ["test0", "test0far"]) {
		ip(`link set ${name} addrgenmode none`);
		ip(`link set ${name} up`);
	}
}

/** Another host, with nothing plugged in yet. It ends with this process, or by end(). */
export async function secondHost() {
	assertAlone();
	const holder = spawn("unshare", ["--net", "sleep", "infinity"], { stdio: "ignore" });
	const network = () => readlinkSync(`/proc/${holder.pid}/ns/net`);
	while (network() === readlinkSync("/proc/self/ns/net")) await new Promise((done) => setTimeout(done, 5));
	const there = (words) => execFileSync("nsenter", ["-t", String(holder.pid), "-n", "ip", ...words.split(" ")]);
	there("link set lo up");
	ip(`addr add ${HERE}/32 dev lo`);
	const command = (program) => {
		const file = join(ownDirectory(), "there");
		writeFileSync(file, `#!/bin/sh\nexec nsenter -t ${holder.pid} -n ${program} "$@"\n`);
		chmodSync(file, 0o755);
		return file;
	};
	return {
		command,
		/** Into the network of that number, with an address there. */
		connect(n) {
			ip(`link add test${n} type veth peer name card${n} netns ${holder.pid}`);
			ip(`addr add 10.9.${n}.1/24 dev test${n}`);
			ip(`link set test${n} up`);
			there(`link set card${n} addrgenmode none`);
			there(`addr add 10.9.${n}.2/24 dev card${n}`);
			there(`link set card${n} up`);
			there(`route add ${HERE} via 10.9.${n}.1 metric ${n}`);
		},
		/** Out of it: the card is gone, and its address. */
		disconnect: (n) => ip(`link del test${n}`),
		end: () => holder.kill(),
	};
}
