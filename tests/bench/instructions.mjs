// Instructions of an operation, counted by callgrind in the whole process, from the socket's bytes in to the sockets' bytes
// out, with one worker; they are the same from run to run, whatever else the machine does.
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import WebSocket from "ws";
import { median } from "./numbers.mjs";
import { control, scratch, start, startServer, stopServer } from "./service.mjs";

const members = 100;
const rounds = 5;

class Client {
	static async open(server, token) {
		const client = new Client();
		client.ws = new WebSocket(`${server.url.replace("http", "ws")}/ws`, ["signalbox.v1"]);
		client.calls = new Map();
		client.events = 0;
		client.waiting = null;
		client.ws.on("message", (data) => client.#receive(JSON.parse(data)));
		await once(client.ws, "open");
		await client.call("session.open", { token });
		return client;
	}

	#receive(message) {
		if (message.id !== undefined) {
			this.calls.get(message.id)?.(message);
			this.calls.delete(message.id);
		} else if (message.method === "room.message" || message.method === "signal.received") {
			this.events++;
			if (this.waiting && this.events >= this.waiting.count) this.waiting.resolve();
		}
	}

	async call(method, params) {
		const id = (this.lastId = (this.lastId ?? 0) + 1);
		const answer = new Promise((done) => this.calls.set(id, done));
		this.ws.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
		const message = await answer;
		if (message.error) throw new Error(`${method}: ${message.error.message}`);
		return message.result;
	}

	received(count) {
		if (this.events >= count) return Promise.resolve();
		return new Promise((done) => (this.waiting = { count, resolve: done }));
	}
}

async function callgrindControl(pid, ...args) {
	const [code] = await once(start(["callgrind_control", ...args, String(pid)], {}), "exit");
	if (code !== 0) throw new Error(`callgrind_control ${args} ended with ${code}`);
}

// Instructions of one operation: counted over many, and divided; the median of several rounds, so that
// what a timer does once meanwhile (the store's threads are counted, too) is not taken for the operation's.
async function count(server, name, repetitions, operate) {
	const files = () => readdirSync(scratch).filter((file) => file.startsWith("callgrind.out."));
	const costs = [];
	await operate(); // warm
	await callgrindControl(server.child.pid, "--zero");
	await callgrindControl(server.child.pid, "--instr=on");
	for (let round = 0; round < rounds; round++) {
		for (let i = 0; i < repetitions; i++) await operate();
		const before = new Set(files());
		await callgrindControl(server.child.pid, `--dump=${name}`); // and begins at 0 again
		const dump = files().find((file) => !before.has(file));
		costs.push(selfCost(readFileSync(join(scratch, dump), "utf8")) / repetitions);
	}
	await callgrindControl(server.child.pid, "--instr=off");
	return Math.round(median(costs));
}

// The sum over all functions of what each spent itself (the file's own summary leaves out threads
// but one). The line behind "calls=" is what the callee spent, which stands elsewhere again.
function selfCost(text) {
	let sum = 0;
	let callee = false;
	for (const line of text.split("\n")) {
		const cost = /^[+*-]?\d* (\d+)$/.exec(line)?.[1];
		if (cost && !callee) sum += Number(cost);
		callee = line.startsWith("calls=");
	}
	return sum;
}

/** {members, message, signal}: medians of rounds of so many each. */
export async function instructions({ quick }) {
	const repetitions = quick ? 10 : 40;
	const data = join(scratch, "callgrind");
	const server = await startServer(data, [
		"valgrind",
		"-q",
		"--tool=callgrind",
		"--instr-atstart=no",
		`--callgrind-out-file=${scratch}/callgrind.out`,
	]);
	await control(server, "user.add", { name: "bench" });
	const { token } = await control(server, "token.mint", { user: "bench" });
	const clients = [];
	let peers = [];
	for (let i = 0; i < members; i++) {
		const client = await Client.open(server, token);
		const joined = await client.call("room.join", { room: "bench" });
		peers = joined.members.map((member) => member.peer);
		clients.push(client);
	}
	const [sender, receiver] = [clients[members - 1], clients[0]];
	const data128 = "x".repeat(128);
	let published = 0;
	const message = await count(server, "message", repetitions, async () => {
		published++;
		await sender.call("room.publish", { room: "bench", data: data128 });
		await Promise.all(clients.map((client) => client.received(published)));
	});
	const peer = peers[0];
	const signal = await count(server, "signal", repetitions, async () => {
		const before = receiver.events;
		await sender.call("signal.send", {
			room: "bench",
			to: { peer },
			type: "candidate",
			data: data128,
		});
		await receiver.received(before + 1);
	});
	for (const client of clients) client.ws.terminate();
	await stopServer(server);
	if (!(message > members && signal > 0)) throw new Error("callgrind counted nothing");
	return { members, message, signal };
}
