// A client of the protocol, over the package ws: what a test needs of one, and no more.
//   const ann = await connect(server, { user: "ann" });
//   await ann.call("room.join", { room: "a" });
//   const { params } = await ann.next("room.joined");
import WebSocket from "ws";
import { nameConnection, record } from "./traffic.mjs";
import { within } from "./within.mjs";

export { within };

const TIMEOUT_MS = 10_000;
const ACK_EVERY = 64;
const ACK_BYTES = 64 * 1024;
const UNCOUNTED = new Set(["session.open", "session.ack", "session.ping"]);

export class RpcError extends Error {
	constructor({ code, message, data = {} }, method) {
		super(`${method}: ${message} (${code} ${JSON.stringify(data)})`);
		this.code = code;
		this.data = data;
		this.text = message;
	}
	get reason() {
		return this.data.reason;
	}
}

/** The server refused the handshake: {status, headers, body}. */
export class HandshakeError extends Error {
	constructor(response, body) {
		super(`the handshake was refused: ${response.statusCode} ${body}`);
		this.status = response.statusCode;
		this.headers = response.headers;
		this.body = body;
	}
}

/**
 * user: a token is minted for that name (with scope, expires, claim); or token itself; or neither,
 *   with headers.authorization: session.open then carries none.
 * open: false leaves session.open to the test. batch, client: passed to session.open.
 * ack: false: the client never acknowledges. ws: more options for the WebSocket.
 */
export async function connect(server, options = {}) {
	const { protocols = "signalbox.v1", headers = {}, url = server.wsUrl, ws = {} } = options;
	const { user, scope, expires, claim } = options;
	const token = options.token ?? (user && (await server.mint(user, { scope, expires, claim })));
	const socket = new WebSocket(url, protocols, { headers, perMessageDeflate: false, ...ws });
	const client = new Client(socket, options);
	await client.connected();
	if (options.open === false) return client;
	const params = { ...(token && { token }), ...options.params };
	if (options.batch !== undefined) params.batch = options.batch;
	if (options.client) params.client = options.client;
	client.session = await client.call("session.open", params);
	client.id = client.session.session;
	client.user = client.session.user.id;
	return client;
}

class Client {
	#name = nameConnection();
	#ids = 0;
	#pending = new Map(); // id → {method, done, failed}
	#waiting = []; // {matches, done}
	#handlers = new Map();
	#acked = 0;
	#unacked = 0; // bytes
	#opened;

	/** Everything that came and was no answer to a call, in order; next() takes from `unread`. */
	events = [];
	unread = [];
	/** The texts of all frames that came. */
	frames = [];
	/** What the server said it had received, newest last. */
	acks = [];
	/** Counted messages, as in the protocol. */
	sent = 0;
	received = 0;

	constructor(socket, { ack = true }) {
		this.socket = socket;
		this.ack = ack;
		this.#opened = new Promise((done, failed) => {
			socket.on("open", done);
			socket.on("unexpected-response", async (request, response) => {
				let body = "";
				for await (const chunk of response) body += chunk;
				failed(new HandshakeError(response, body));
				request.destroy();
			});
			socket.on("error", failed);
		});
		this.#opened.catch(() => {});
		this.closed = new Promise((done) => {
			socket.on("close", (code, reason) => {
				this.end = { code, reason: reason.toString() };
				for (const { failed, method } of this.#pending.values())
					failed(new Error(`${method}: closed before the answer: ${code} ${reason}`));
				for (const wait of this.#waiting.splice(0))
					wait.failed(new Error(`closed while waiting for ${wait.what}: ${code} ${reason}`));
				done(this.end);
			});
		});
		socket.on("message", (bytes) => this.#take(bytes.toString()));
	}

	connected() {
		return within(this.#opened, TIMEOUT_MS, "the handshake");
	}

	// ---- out ----

	/** Sends text as it is. */
	raw(text) {
		record("out", String(text), "ws", this.#name, true);
		this.socket.send(text);
	}

	#send(message) {
		const text = JSON.stringify(message);
		record("out", text, "ws", this.#name);
		this.socket.send(text);
	}

	/** A request's result; throws RpcError. */
	call(method, params = {}, { id = ++this.#ids, timeout = TIMEOUT_MS } = {}) {
		if (this.end) return Promise.reject(new Error(`${method}: closed already: ${JSON.stringify(this.end)}`));
		const { request, answer } = this.request(method, params, id);
		this.#send(request);
		return within(answer, timeout, `the answer to ${method}`);
	}

	/** A request that is still to be sent, in a batch, say: {request, answer}. */
	request(method, params = {}, id = ++this.#ids) {
		if (!UNCOUNTED.has(method)) this.sent++;
		const answer = new Promise((done, failed) => this.#pending.set(id, { method, done, failed }));
		answer.catch(() => {});
		return { request: { jsonrpc: "2.0", id, method, params }, answer };
	}

	/** Several requests in one message: [[method, params], …] → what each came to, as allSettled tells. */
	batch(calls) {
		const requests = calls.map(([method, params]) => this.request(method, params));
		this.#send(requests.map(({ request }) => request));
		return within(
			Promise.allSettled(requests.map(({ answer }) => answer)),
			TIMEOUT_MS,
			"the answers to a batch",
		);
	}

	/** Answers a request of the server: {result} or {error}. */
	reply(id, answer) {
		this.sent++;
		this.#send({ jsonrpc: "2.0", id, ...answer });
	}

	/** Serves these methods: each rpc.invoke is given to answer(params), whose result or error is the reply. */
	async serve(methods, answer) {
		this.on("rpc.invoke", async ({ id, params }) => {
			const reply = await Promise.resolve(params).then(answer).then(
				(result = null) => ({ result }),
				({ code = -1, message, data }) => ({ error: { code, message, data } }),
			);
			if (!this.end) this.reply(id, reply);
		});
		return this.call("rpc.serve", { methods });
	}

	/** Has each event of that name handled, instead of kept. */
	on(method, handler) {
		this.#handlers.set(method, handler);
	}

	notify(method, params = {}) {
		if (!UNCOUNTED.has(method)) this.sent++;
		this.#send({ jsonrpc: "2.0", method, params });
	}

	// ---- in ----

	#take(text) {
		this.frames.push(text);
		record("in", text, "ws", this.#name);
		const message = JSON.parse(text);
		for (const one of Array.isArray(message) ? message : [message]) this.#one(one);
		this.#unacked += text.length;
		const due = this.received - this.#acked >= ACK_EVERY || this.#unacked >= ACK_BYTES;
		if (this.ack && due && this.socket.readyState === 1 && this.received > this.#acked) {
			this.#acked = this.received;
			this.#unacked = 0;
			this.notify("session.ack", { received: this.received });
		}
	}

	#one(message) {
		const pending = message.method === undefined && this.#pending.get(message.id);
		if (pending) {
			this.#pending.delete(message.id);
			if (!UNCOUNTED.has(pending.method)) this.received++;
			if (message.error) pending.failed(new RpcError(message.error, pending.method));
			else pending.done(message.result);
		} else if (message.method === "session.ack") {
			this.acks.push(message.params.received);
			this.#wake(message);
		} else {
			this.received++;
			const handler = this.#handlers.get(message.method);
			if (handler) return handler(message);
			this.events.push(message);
			if (!this.#wake(message)) this.unread.push(message);
		}
	}

	#wake(message) {
		const at = this.#waiting.findIndex(({ matches }) => matches(message));
		if (at < 0) return false;
		this.#waiting.splice(at, 1)[0].done(message);
		return true;
	}

	/**
	 * The first unread event that matches: a method's name, a function, or none for whatever comes.
	 * Others stay unread. session.ack only if it is named, and only one that is still to come.
	 */
	next(wanted, timeout = TIMEOUT_MS) {
		const matches =
			typeof wanted === "function"
				? (message) => message.method !== "session.ack" && wanted(message)
				: wanted
					? ({ method }) => method === wanted
					: ({ method }) => method !== "session.ack";
		const at = this.unread.findIndex(matches);
		if (at >= 0) return Promise.resolve(this.unread.splice(at, 1)[0]);
		const what = `an event (${wanted ?? "any"})`;
		if (this.end)
			return Promise.reject(new Error(`closed, so there will not be ${what}: ${JSON.stringify(this.end)}`));
		let wait;
		const event = new Promise((done, failed) => {
			wait = { matches, done, failed, what };
			this.#waiting.push(wait);
		});
		return within(event, timeout, what).finally(() => {
			this.#waiting = this.#waiting.filter((other) => other !== wait);
		});
	}

	// ---- the end ----

	/** Closes as a client does that is done; {code, reason} that came back. */
	async close(code = 1000) {
		this.socket.close(code);
		return within(this.closed, TIMEOUT_MS, "the close");
	}

	/** Gone without a word. */
	terminate() {
		this.socket.terminate();
	}
}
