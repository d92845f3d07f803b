// What people use today, set up beside the service to be measured on the same work. Each runs on a core of its own,
// in a directory of its own, with what its manual recommends for speed, and ends by its pid.
//   const peer = await startPeer("nchan", { core: 0 });  →  { name, url, pid, stop() }
// pid is the process that does the work. The names are those of bench_peers' dialects, and "floor".
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createConnection, createServer } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "../..");
const CONNECTIONS = 20_000;
const START_MS = 10_000;
const running = new Set();
process.on("exit", () => {
	for (const child of running) child.kill("SIGTERM");
});

const nginx = (dir, port) => `
load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
daemon off;
user ${userInfo().username};
worker_processes 1;
worker_rlimit_nofile ${CONNECTIONS};
pid ${dir}/nginx.pid;
error_log stderr error;
events { worker_connections ${CONNECTIONS}; multi_accept on; }
http {
	access_log off;
	gzip off;
	tcp_nodelay on;
	${["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((what) => `${what}_temp_path ${dir}/${what};`).join(" ")}
	nchan_shared_memory_size 256M;
	server {
		listen 127.0.0.1:${port} backlog=4096;
		location ~ ^/(.+)$ {
			nchan_pubsub websocket;
			nchan_channel_id $1;
			nchan_subscriber_first_message newest;
			nchan_message_buffer_length 100;
			nchan_message_timeout 10s;
		}
	}
}`;

// With a listener for WebSocket alone Debian's does not start; that one it opens on all addresses, whatever is said.
const mosquitto = (port, dir) => `
listener 0 ${dir}/mqtt.sock
listener ${port}
protocol websockets
allow_anonymous true
user ${userInfo().username}
persistence false
log_dest none
connection_messages false
sys_interval 0
set_tcp_nodelay true
max_queued_messages 0
`;

// What is run, for a port and a directory: the words of the command.
const peers = {
	floor: (port) => [resolve(root, "build/release/bench_floor"), String(port)],
	nchan(port, dir) {
		writeFileSync(join(dir, "nginx.conf"), nginx(dir, port));
		return ["/usr/sbin/nginx", "-p", dir, "-c", join(dir, "nginx.conf"), "-e", "stderr"];
	},
	mosquitto(port, dir) {
		writeFileSync(join(dir, "mosquitto.conf"), mosquitto(port, dir));
		return ["/usr/sbin/mosquitto", "-c", join(dir, "mosquitto.conf")];
	},
	ws: (port) => node("ws.mjs", port),
	socketio: (port) => node("socketio.mjs", port),
	peerjs: (port) => node("peerjs.mjs", port),
};

export const peerNames = Object.keys(peers);

const debian = (...packages) =>
	execFileSync("dpkg-query", ["-W", "-f", "${Package} ${Version}, ", ...packages], { encoding: "utf8" })
		.replaceAll(/[-+]\S*(?=, )|(?<= )\d+:/g, "")
		.slice(0, -2);
const npm = (name) =>
	`${name} ${JSON.parse(readFileSync(resolve(root, "tests/node_modules", name, "package.json"), "utf8")).version}, Node.js ${process.versions.node}`;

/** What a peer is, for a report: names and versions. */
export const peerVersion = {
	floor: () => "the floor",
	nchan: () => debian("nginx", "libnginx-mod-nchan"),
	mosquitto: () => debian("mosquitto"),
	ws: () => npm("ws"),
	socketio: () => npm("socket.io"),
	peerjs: () => npm("peer"),
};

const node = (script, port) => [process.execPath, join(import.meta.dirname, "peers", script), String(port)];

async function freePort() {
	const server = createServer().listen(0, "127.0.0.1");
	await once(server, "listening");
	const { port } = server.address();
	server.close();
	await once(server, "close");
	return port;
}

const connects = (port) =>
	new Promise((done) => {
		const socket = createConnection(port, "127.0.0.1");
		socket.once("connect", () => done(true)).once("error", () => done(false));
		socket.once("connect", () => socket.destroy());
	});

const childrenOf = (pid) => readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").trim();

export async function startPeer(name, { core = 0 } = {}) {
	const dir = mkdtempSync(join(tmpdir(), "sb-peer-"));
	const port = await freePort();
	const words = ["taskset", "-c", String(core), ...peers[name](port, dir)];
	const child = spawn(words[0], words.slice(1), {
		env: { ...process.env, NODE_ENV: "production" },
		stdio: ["ignore", "ignore", "pipe"],
	});
	running.add(child);
	let said = "";
	child.stderr.setEncoding("utf8").on("data", (text) => (said = (said + text).slice(-4000)));
	const ended = once(child, "close").then(() => {
		running.delete(child);
		rmSync(dir, { recursive: true, force: true });
	});
	const deadline = Date.now() + START_MS;
	// None of them says in one way that it is there. nginx' work is done by its one worker, which comes later.
	const there = async () => (await connects(port)) && (name !== "nchan" || childrenOf(child.pid) !== "");
	while (!(await there())) {
		if (child.exitCode !== null || child.signalCode) throw new Error(`${name} ended: ${said}`);
		if (Date.now() > deadline) throw new Error(`${name} does not listen: ${said}`);
		await new Promise((done) => setTimeout(done, 10));
	}
	return {
		name,
		url: `http://127.0.0.1:${port}`,
		pid: name === "nchan" ? Number(childrenOf(child.pid).split(" ")[0]) : child.pid,
		async stop() {
			child.kill("SIGTERM");
			await ended;
		},
	};
}

/** How many calls that send a process makes, in all its threads, until `work` is done; it is slower meanwhile. */
export async function countSendsOf(pid, work) {
	const calls = "trace=write,writev,sendto,sendmsg,sendmmsg"; // send() is sendto()
	const strace = spawn("strace", ["-f", "-c", "-e", calls, "-p", String(pid)], {
		stdio: ["ignore", "ignore", "pipe"],
	});
	let said = "";
	strace.stderr.setEncoding("utf8").on("data", (text) => (said += text));
	const ended = once(strace, "close");
	await Promise.race([once(strace.stderr, "data"), ended]); // "Process N attached"
	if (strace.exitCode !== null) throw new Error(`strace: ${said}`);
	const value = await work();
	strace.kill("SIGINT");
	await ended;
	const total = /^100\.00\s+\S+\s+\S+\s+(\d+).*total$/m.exec(said);
	return { sends: total ? Number(total[1]) : 0, value };
}

/** The same for so many milliseconds. */
export async function countSends(pid, ms) {
	const { sends } = await countSendsOf(pid, () => new Promise((done) => setTimeout(done, ms)));
	return sends;
}
