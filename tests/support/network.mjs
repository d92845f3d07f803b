// Networks of a test's own, for which it must be root in a network namespace (as in ./dev test browser).
//   const card = plugIn();                        this host gets a network card: it is online
//   const phone = await secondHost();             another host: phone.command runs a program there
//   phone.connect(1); phone.disconnect(1);        it walks from one network into another
//   renumber(1, 3);                               this host has another address in that network
//   loseSome(1, 15); silence(port); heal();       packets of that network get lost; all of one connection
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
	const under = ["nsenter", "-t", String(holder.pid), "-n"];
	const there = (words) => execFileSync(under[0], [...under.slice(1), "ip", ...words.split(" ")]);
	there("link set lo up");
	ip(`addr add ${HERE}/32 dev lo`);
	const command = (program) => {
		const file = join(ownDirectory(), "there");
		writeFileSync(file, `#!/bin/sh\nexec ${under.join(" ")} ${program} "$@"\n`);
		chmodSync(file, 0o755);
		return file;
	};
	return {
		command,
		/** What stands before a program that is to run there. */
		under,
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
		/** From now on connections there and here hold little of what is on its way. */
		bufferLess() {
			const most = ["tcp_wmem", "tcp_rmem"].map((name) => `net.ipv4.${name}=4096 16384 65536`);
			execFileSync("sysctl", ["-q", ...most]);
			execFileSync(under[0], [...under.slice(1), "sysctl", "-q", ...most]);
		},
		/** Out of it: the card is gone, and its address. */
		disconnect: (n) => ip(`link del test${n}`),
		end: () => holder.kill(),
	};
}

/** This host gives up its address in the network of that number and takes 10.9.n.last. */
export function renumber(n, last) {
	ip(`addr flush dev test${n}`);
	ip(`addr add 10.9.${n}.${last}/24 dev test${n}`);
}

const nft = (rules) => execFileSync("nft", ["-f", "-"], { input: rules });
const drop = (from, to) =>
	nft(`table inet test {
		chain in { type filter hook input priority 0; ${from} drop; }
		chain out { type filter hook output priority 0; ${to} drop; }
	}`);

/** So many packets of a hundred get lost in the network of that number, both ways. */
export function loseSome(n, percent) {
	const unlucky = `numgen random mod 100 < ${percent}`;
	drop(`iifname test${n} ${unlucky}`, `oifname test${n} ${unlucky}`);
}

/** Nothing comes or goes any more on the connections from these ports: their cable is pulled. */
export function silence(...ports) {
	const list = `{ ${ports.join(", ")} }`;
	drop(`tcp dport ${list}`, `tcp sport ${list}`);
}

/** All packets get through again. */
export function heal() {
	nft("table inet test\ndelete table inet test");
}
