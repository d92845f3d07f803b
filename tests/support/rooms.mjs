// What the tests of rooms share: clients on different workers, refusals, raw JSON, the backend's way in.
import assert from "node:assert/strict";
import test, { after, before } from "node:test";
import { connect, within } from "./client.mjs";
import { anyPace, atOnce, startServer } from "./server.mjs";
import { nameConnection, record } from "./traffic.mjs";

/** Codes of the contract by their word. */
export const CODES = {
	parse_error: -32700,
	invalid_params: -32602,
	forbidden: -32003,
	not_found: -32004,
	conflict: -32009,
	gone: -32010,
	too_large: -32013,
	full: -32023,
	overloaded: -32030,
};

/** The call is refused with this code and reason, and what else is given of error.data. */
export async function refused(call, word, reason, more = {}) {
	const error = await call.then(
		(result) => assert.fail(`not refused, but: ${JSON.stringify(result).slice(0, 200)}`),
		(problem) => problem,
	);
	if (error.code === "ERR_ASSERTION") throw error;
	const { data = {} } = error;
	const found = { code: error.code, reason: data.reason };
	for (const key of Object.keys(more)) found[key] = data[key];
	assert.deepEqual(found, { code: CODES[word], reason, ...more });
}

export const refusedField = (call, field) =>
	refused(call, "invalid_params", "invalid_params", { field });

/**
 * The tests twice: on one worker, and on four. Each is given a server, and people(…) that connects
 * users, each on another worker than the one before it where there are several. The clients are
 * closed when their test ends.
 */
export function onOneAndFourWorkers(options, tests) {
	for (const workers of [1, 4]) {
		let server;
		before(async () => {
			const limits = { ...anyPace, ...options.config?.limits };
			server = await startServer({ workers, ...options, config: { ...atOnce, ...options.config, limits } });
		});
		after(() => server.stop());
		tests((name, run) =>
			test(`${name} (${workers} worker${workers > 1 ? "s" : ""})`, async (t) => {
				const clients = [];
				t.after(() => Promise.all(clients.map((client) => client.end ?? client.close())));
				const people = async (...wanted) => {
					for (const who of wanted) {
						const other = workers > 1 && clients.at(-1);
						clients.push(await connectOn(server, who, other && workerOf(other)));
					}
					return clients.slice(-wanted.length);
				};
				await run({ server, people, workers, t });
			}),
		);
	}
}

export const workerOf = (client) => client.id.split(".")[0];

/** A client on any other worker than this one: the kernel spreads connections, so it is asked again. */
async function connectOn(server, who, not) {
	const options = typeof who === "string" ? { user: who } : who;
	for (;;) {
		const client = await connect(server, options);
		if (workerOf(client) !== not) return client;
		await client.close();
	}
}

/** Calls with params as JSON text, sent as it is. */
export function callRaw(client, method, params) {
	const { request, answer } = client.request(method);
	client.raw(`{"jsonrpc":"2.0","id":${request.id},"method":"${method}","params":${params}}`);
	return within(answer, 10_000, `the answer to ${method}`);
}

/** The newest frame that holds the text, as it came. */
export function frameWith(client, text) {
	const frame = client.frames.findLast((one) => one.includes(text));
	assert.ok(frame !== undefined, `no frame with ${text} in ${client.frames.at(-1)}`);
	return frame;
}

/** Everything that happened in the room until now has come to these clients. */
export async function caughtUp(server, room, ...clients) {
	const { offset } = await server.rpc("room.publish", { room, data: "caught up" });
	for (const client of clients)
		await client.next(
			({ method, params }) =>
				method === "room.message" && params.room === room && params.offset === offset,
		);
}

export const offsets = (messages) => messages.map(({ offset }) => offset);
/** The whole numbers from one to the other. */
export const span = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

/** What this client was told of the room. */
export const told = (client, room) =>
	client.events.filter(({ method, params }) => method === "room.message" && params.room === room).map(({ params }) => params);

/** One request over HTTP, as a backend makes it: what the JSON-RPC answer holds. */
export async function post(server, token, method, params) {
	const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
	const on = nameConnection();
	record("out", body, "http", on);
	const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
	const response = await fetch(`${server.url}/v1/rpc`, { method: "POST", headers, body });
	const text = await response.text();
	record("in", text, "http", on);
	const { result, error } = JSON.parse(text);
	if (error) throw Object.assign(new Error(error.message), error);
	return result;
}
