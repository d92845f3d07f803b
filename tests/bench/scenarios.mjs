// What `./dev bench` measures with the load generator, as data: which servers do which work, how often, and what must come
// of it. Nothing here runs anything: see rounds.mjs.

/** What is measured, by name: the server it needs, what the load is told besides, and which tokens its clients bring: one each
 * (where nothing is said), "one" for all, or "new" ones before each round. */
export const SERIES = {
	signalbox: { title: "Signalbox", server: "signalbox" },
	"signalbox-single": { title: "Signalbox, clients without batches", server: "signalbox", args: { "no-batch": true } },
	"signalbox-open": { title: "Signalbox, without a token", server: "signalbox", args: { "no-auth": true } },
	"signalbox-new": { title: "Signalbox, another token each time", server: "signalbox", tokens: "new" },
	"signalbox-seen": { title: "Signalbox, a token seen before", server: "signalbox", tokens: "one" },
	memory: { title: "Signalbox", server: "signalbox-fresh" },
	"memory-tls": { title: "Signalbox, TLS", server: "signalbox-fresh-tls", args: { insecure: true } },
	"signalbox-tls-new": { title: "Signalbox, TLS, another token each time", server: "signalbox-tls", args: { insecure: true }, tokens: "new" },
	"signalbox-tls-resumed": { title: "Signalbox, TLS resumed, another token each time", server: "signalbox-tls", args: { insecure: true, "resume-tls": true }, tokens: "new" },
	"workers-1": { title: "1 worker", server: "workers-1" },
	"workers-2": { title: "2 workers", server: "workers-2" },
	"workers-4": { title: "4 workers", server: "workers-4" },
	floor: { title: "floor", server: "floor" },
	"floor-single": { title: "floor, clients without batches", server: "floor", args: { "no-batch": true } },
	nchan: { title: "nchan (nginx)", server: "nchan" },
	mosquitto: { title: "mosquitto (MQTT)", server: "mosquitto" },
	ws: { title: "ws (Node.js)", server: "ws" },
	socketio: { title: "socket.io (Node.js)", server: "socketio" },
	peerjs: { title: "PeerJS server (Node.js)", server: "peerjs" },
};

const PEERS = ["nchan", "mosquitto", "ws", "socketio"];
const OURS = ["signalbox", "floor"];
const W = "1,8,32";
const SHORT = { seconds: 0.7, warm: 0.2 };

const fanOut = (key, members, series, more = {}) => ({
	key,
	letter: "a",
	title: `Fan-out, ${(more.rooms ?? 1) > 1 ? `${more.rooms} rooms` : "one room"} of ${members.toLocaleString("en")} members, ${more.bytes ?? 128} bytes`,
	scenario: "fanout",
	args: { members, outstanding: W, ...SHORT, ...more },
	series,
});

// Parts of the capacity, which is what (a) and (b) have come to in the same run.
const latency = (key, scenario, args, capacity) =>
	[10, 50, 80].map((percent) => ({
		key: `${key}-${percent}`,
		letter: "f",
		title: `Latency, ${scenario === "signal" ? "signals" : "fan-out"} at ${percent} % of the capacity`,
		scenario,
		args: { ...args, seconds: 1, warm: 0.2 },
		rate: { ...capacity, part: percent / 100 },
		series: OURS,
	}));

// Rooms of one size have as many messages outstanding each, however many they are: 8.
/** In the order in which they are measured. `rounds`: how often, by turns, where not as often as the others; `peers`: whom --full adds; `full`:
 * measured by --full alone; `together`: all at once, where nothing is timed. */
export const GROUPS = [
	fanOut("members-1000", 1000, [...OURS, "signalbox-single", "floor-single", ...PEERS]),
	{ ...fanOut("members-100", 100, OURS), peers: PEERS },
	{ ...fanOut("members-10", 10, OURS), peers: PEERS },
	{ ...fanOut("bytes-2048", 1000, OURS, { bytes: 2048 }), peers: ["signalbox-single", "floor-single", ...PEERS] },
	fanOut("rooms-3", 100, OURS, { rooms: 3, outstanding: "24" }),
	{ ...fanOut("rooms-10", 100, OURS, { rooms: 10, outstanding: "80" }), peers: PEERS },
	fanOut("rooms-3-1000", 1000, OURS, { rooms: 3, outstanding: "24" }),
	{ ...fanOut("rooms-10-1000", 1000, OURS, { rooms: 10, outstanding: "80" }), full: true },
	{
		key: "signal",
		letter: "b",
		title: "Directed signaling, 1,000 pairs: an offer of 4 KiB, an answer, 10 candidates",
		scenario: "signal",
		args: { pairs: 1000, bytes: 4096, seconds: 1, warm: 0.3 },
		series: [...OURS, "peerjs"],
	},
	{
		key: "handshake",
		letter: "c",
		title: "Handshakes, ES256 tokens",
		scenario: "handshake",
		args: SHORT,
		series: ["signalbox-open", "signalbox-new", "signalbox-seen", "signalbox-tls-new", "signalbox-tls-resumed"],
	},
	...latency("latency-signal", "signal", { pairs: 1000, bytes: 4096 }, { group: "signal" }),
	...latency("latency-fanout", "fanout", { members: 100 }, { group: "members-100", outstanding: 32 }),
	{
		key: "join",
		letter: "e",
		title: "Join storm: 1,000 clients into one room at once",
		scenario: "join",
		args: { members: 1000 },
		series: ["signalbox"],
	},
	{
		key: "workers",
		letter: "h",
		title: "Workers: 10 rooms of 100 members, 128 bytes",
		scenario: "fanout",
		args: { members: 100, rooms: 10, outstanding: "8,80", ...SHORT }, // fewer than rooms, and eight in each
		series: ["workers-1", "workers-2", "workers-4"],
	},
	{
		key: "memory",
		letter: "d",
		title: "Memory, 10,000 connections in rooms of 10",
		scenario: "idle",
		args: { connections: 10_000, hold: 30 },
		series: ["memory", "memory-tls"], // of services that have served nobody before
		rounds: 1, // the number is the same each time; a round takes most of a minute
		together: true,
	},
];

/** The same work in small, of the service alone: to see that it can be driven. */
export const QUICK = [
	{ ...GROUPS.find(({ key }) => key === "members-100"), args: { members: 100, outstanding: "1,8", seconds: 0.2, warm: 0.1 }, series: OURS },
	{ ...GROUPS.find(({ key }) => key === "members-10"), args: { members: 10, outstanding: "8", seconds: 0.1, warm: 0.1 }, series: PEERS },
	{ ...GROUPS.find(({ key }) => key === "signal"), args: { pairs: 50, bytes: 4096, seconds: 0.2, warm: 0.1 }, series: [...OURS, "peerjs"] },
	{ ...GROUPS.find(({ key }) => key === "handshake"), args: { seconds: 0.2, warm: 0.1 }, series: ["signalbox-open", "signalbox-seen"] },
];

// ---- what must be reached ----
// `over` and, for a ratio, `under` say which figures: group, series, and what tells its lines apart. `most` or `least` is the limit.

const at1000 = (series, outstanding) => ({ group: "members-1000", series, outstanding });
const against = (series, other, outstanding, most) => ({
	what: `${SERIES[series].title}, 1,000 members, ${outstanding} outstanding: processor time a delivery, to ${SERIES[other].title}`,
	of: "each",
	over: at1000(series, outstanding),
	under: at1000(other, outstanding),
	most,
});

export const TARGETS = [
	against("signalbox", "nchan", 8, 0.35),
	against("signalbox", "nchan", 32, 0.12),
	against("signalbox", "ws", 8, 0.2),
	against("signalbox", "ws", 32, 0.08),
	against("signalbox", "floor", 8, 1.5),
	against("signalbox", "floor", 32, 1.5),
	against("signalbox-single", "nchan", 1, 0.9),
	against("signalbox-single", "nchan", 8, 0.6),
	against("signalbox-single", "nchan", 32, 0.4),
	...[1, 8, 32].map((outstanding) => ({
		what: `1,000 members to 100, ${outstanding} outstanding: ratio to the floor of the same size`,
		of: "toFloor",
		over: { group: "members-1000", outstanding },
		under: { group: "members-100", outstanding },
		most: 1.25,
	})),
	{
		what: "directed signal: processor time a message, to the floor",
		of: "each",
		over: { group: "signal", series: "signalbox" },
		under: { group: "signal", series: "floor" },
		most: 1.5,
	},
	{
		what: "directed signal: processor time a message, to PeerJS server",
		of: "each",
		over: { group: "signal", series: "signalbox" },
		under: { group: "signal", series: "peerjs" },
		most: 0.6,
	},
	{
		what: "directed signal at half of the capacity: 99th percentile, above the floor's",
		of: "p99",
		over: { group: "latency-signal-50", series: "signalbox" },
		less: { group: "latency-signal-50", series: "floor" },
		most: 1000,
		unit: "µs",
	},
	{
		what: "handshakes a second of processor time, another ES256 token each, to none",
		of: "capacity",
		over: { group: "handshake", series: "signalbox-new" },
		under: { group: "handshake", series: "signalbox-open" },
		least: 0.35,
	},
	{
		what: "handshakes a second of processor time, a token seen before, to none",
		of: "capacity",
		over: { group: "handshake", series: "signalbox-seen" },
		under: { group: "handshake", series: "signalbox-open" },
		least: 0.85,
	},
	{
		what: "TLS handshakes that go on with a session, of those that were to",
		of: "resumed",
		over: { group: "handshake", series: "signalbox-tls-resumed" },
		least: 99,
		unit: "%",
	},
	{ what: "memory a connection", of: "memory", over: { group: "memory", series: "memory" }, most: 6, unit: "KiB" },
	{ what: "memory a connection, TLS", of: "memory", over: { group: "memory", series: "memory-tls" }, most: 24, unit: "KiB" },
	...[8, 80].map((outstanding) => ({
		what: `two workers, ${outstanding} outstanding: processor time a delivery, to one`,
		of: "each",
		over: { group: "workers", series: "workers-2", outstanding },
		under: { group: "workers", series: "workers-1", outstanding },
		most: 1.15,
	})),
];
