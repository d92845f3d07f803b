// A client that resumes: it counts both ways, keeps what is not acknowledged, and sends the rest again
// (docs/PROTOCOL.md, "Counting" and "Resume"). Not the JavaScript library: a second reading of the page.
//
// What carries a session is a function, and a session may change it from one connection to the next:
//   over(client, resume, on) → promise of {opened} or {error}, as session.open was answered
// It calls on.opened(result, carrier) the moment the answer is there, then on.message(frame, bytes) with each
// message or array that comes behind it (false: nobody listens any more). A carrier has send(text, counted),
// cut(), pause(), resume(), close(code), closed, a promise of {code, reason}, and port, that of its connection.
import { createHash } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import WebSocket from "ws";
import { within } from "./client.mjs";
import { nameConnection, record } from "./traffic.mjs";

const WAIT_MS = 10_000;
const RETRY_MS = 100;
const ACK_EVERY = 16;
const ACK_BYTES = 64 * 1024;
const PING = "ping"; // the id of session.ping, whose answers do not count

/** What the log and administrators call a session, whose id is its client's secret. */
export const handleOf = (id) => `${id.split(".")[0]}.${createHash("sha256").update(id).digest("hex").slice(0, 32)}`;

const request = (id, method, params) => JSON.stringify({ jsonrpc: "2.0", id, method, params });

/** A WebSocket as carrier. */
export async function webSocket(client, resume, on) {
	const { server, token, recordAs: name, patience } = client; // one name: an answer may come on another connection
	const { url = server.wsUrl, batch = false } = client.options;
	const socket = new WebSocket(url, "signalbox.v1", { perMessageDeflate: false });
	const closed = new Promise((done) =>
		socket.on("close", (code, reason) => done({ code, reason: reason.toString() })),
	);
	const send = (text) => {
		if (socket.readyState !== WebSocket.OPEN) return;
		record("out", text, "ws", name);
		socket.send(text);
	};
	const carrier = {
		send,
		closed,
		cut: () => socket.terminate(),
		pause: () => socket._socket.pause(),
		resume: () => socket._socket.resume(),
		close: (code) => socket.close(code),
		get port() {
			return socket._socket.localPort;
		},
	};
	socket.on("ping", () => client.pings++); // and is answered by ws itself
	const answer = new Promise((done) => {
		let opened = false;
		socket.on("message", (data) => {
			const text = data.toString();
			const message = JSON.parse(text);
			if (!opened || on.message(message, text.length)) record("in", text, "ws", name);
			if (opened) return;
			opened = true; // at once: what is sent again may stand right behind it
			if (message.result) on.opened(message.result, carrier);
			done(message);
		});
	});
	try {
		await within(
			new Promise((done, failed) => socket.once("open", done).once("error", failed)),
			patience,
			"a connection",
		);
		socket.on("error", () => {});
		const params = { token, batch };
		if (resume) params.resume = resume;
		send(request("open", "session.open", params));
		return await within(
			Promise.race([answer, closed.then(({ code }) => ({ error: { message: `closed ${code}` } }))]),
			patience,
			"the answer to session.open",
		);
	} catch (error) {
		socket.on("error", () => {});
		socket.terminate();
		throw error;
	}
}

/** An answer of the service that ends a client's tries: not the network's doing, and not "connect anew". */
export const isFinal = ({ code, status, message, data }) =>
	(code < 0 || status >= 400) && !/superseded/.test(data?.reason ?? message);

export class ResumingClient {
	events = [];
	answers = new Map(); // id → answer
	opened = null; // the last answer to session.open
	received = 0;
	pings = 0; // how often it was asked for a sign of life, or a stream gave one
	patience = WAIT_MS; // for a connection and the answer to session.open
	recordAs = nameConnection();
	#sent = 0;
	#kept = []; // what the server has not acknowledged: texts of single messages
	#acknowledged = 0;
	#carrier = null;
	#waiting = new Set();
	#left = false;

	/**
	 * url, batch: as it connects. over: what carries it (webSocket). heard: called with each counted message;
	 * events and answers are then not kept. asked: called with each request of the server.
	 */
	constructor(server, token, options = {}) {
		this.server = server;
		this.token = token;
		this.options = options;
	}

	/** Connects; resumes when there is a session (unless resume: null, or another one is given). */
	async connect(
		resume = this.opened && { session: this.opened.session, received: this.received },
		over = this.options.over ?? webSocket,
	) {
		this.#carrier = null;
		let mine;
		const on = {
			opened: (result, carrier) => this.#begin(result, (mine = carrier)),
			message: (frame, bytes) => mine === this.#carrier && (this.#receive(frame, bytes), true),
		};
		const { error } = await over(this, resume, on);
		if (error) throw Object.assign(new Error(error.message), error);
		return this.opened;
	}

	#begin(result, carrier) {
		this.opened = result;
		this.#carrier = carrier;
		this.closed = carrier.closed;
		if (!result.resumed) {
			this.received = this.#sent = this.#acknowledged = 0;
			this.#kept = [];
			this.answers.clear();
		}
		this.#acknowledge(result.received);
		for (const text of this.#kept) carrier.send(text, 1);
	}

	#acknowledge(count) {
		this.#kept.splice(0, count - this.#acknowledged);
		this.#acknowledged = Math.max(this.#acknowledged, count);
	}

	#bytes = 0; // since the last acknowledgement

	#receive(frame, bytes) {
		for (const message of Array.isArray(frame) ? frame : [frame]) {
			if (message.method === "session.ack") {
				this.#acknowledge(message.params.received);
				continue;
			}
			if (message.id === PING) continue;
			this.received++;
			if (this.received % ACK_EVERY === 0) this.#uncounted("session.ack", { received: this.received });
			if (this.options.heard) {
				this.options.heard(message);
			} else if (message.method !== undefined) {
				this.events.push(message);
				if (message.id !== undefined) this.options.asked?.(message);
			} else {
				if (this.answers.has(message.id)) throw new Error(`${message.id} is answered twice`);
				this.answers.set(message.id, message);
			}
			for (const look of this.#waiting) look();
		}
		this.#bytes += bytes;
		if (this.#bytes < ACK_BYTES) return;
		this.#bytes = 0;
		this.#uncounted("session.ack", { received: this.received });
	}

	#uncounted(method, params, id) {
		this.#carrier?.send(request(id, method, params), 0);
	}

	/** A sign of life, whose answer is not looked at. */
	ping() {
		this.#uncounted("session.ping", {}, PING);
	}

	/** Sends one request, now or after the next resume; its id. */
	send(method, params) {
		return this.batch([[method, params]])[0];
	}

	/** Sends several as one message; [method, params, true]: as a notification. Their ids. */
	batch(calls) {
		const ids = calls.map(([, , silent]) => (++this.#sent, silent ? undefined : `${this.#sent}`));
		const texts = calls.map(([method, params], i) => request(ids[i], method, params));
		this.#kept.push(...texts);
		this.#carrier?.send(texts.length > 1 ? `[${texts}]` : texts[0], texts.length);
		return ids;
	}

	/** Answers a request of the server, now or after the next resume. */
	reply(id, answer) {
		const text = JSON.stringify({ jsonrpc: "2.0", id, ...answer });
		this.#sent++;
		this.#kept.push(text);
		this.#carrier?.send(text, 1);
	}

	/** The result of a request, whenever it comes. */
	async call(method, params) {
		const id = this.send(method, params);
		await this.until(() => this.answers.has(id), `the answer to ${method}`);
		const { result, error } = this.answers.get(id);
		if (error) throw Object.assign(new Error(error.message), error);
		return result;
	}

	/** Until something holds that a message may have changed. */
	until(holds, what, ms = WAIT_MS) {
		return within(
			new Promise((done) => {
				const look = () => {
					if (!holds()) return;
					this.#waiting.delete(look);
					done();
				};
				this.#waiting.add(look);
				look();
			}),
			ms,
			what,
		);
	}

	/** The params of the events of one method. */
	of(method) {
		return this.events.filter((event) => event.method === method).map(({ params }) => params);
	}

	/** What it is carried by now. */
	get carrier() {
		return this.#carrier;
	}

	/**
	 * Connects, and anew whenever its connection has ended or nothing has come for so many ms, until
	 * leave() or vanish(). over: what carries the next connection.
	 */
	async live(quiet, over = () => undefined) {
		while (!this.#left) {
			const known = this.opened?.session;
			try {
				await this.connect(undefined, over());
			} catch (error) {
				// the service has refused it (503: it restarts), or the network has lost it again
				if (isFinal(error) && error.status !== 503) throw error;
				await pause(RETRY_MS);
				continue;
			}
			if (known && this.opened.session !== known && !this.#left) throw new Error(`${known} was not resumed`);
			await Promise.race([this.closed, this.#silent(quiet)]);
			if (!this.#left) this.cut();
		}
		this.cut();
	}

	/** Resolves when nothing has come for so long. */
	async #silent(quiet) {
		const carrier = this.#carrier;
		for (let before; carrier === this.#carrier && before !== this.received; await pause(quiet)) before = this.received;
	}

	/** Its session ends with it. */
	leave() {
		this.#left = true;
		return this.close();
	}

	/** It is gone, and nobody is told. */
	vanish() {
		this.#left = true;
		this.cut();
	}

	/** The connection is gone without a word, and what it still carries is not looked at. */
	cut() {
		const carrier = this.#carrier;
		this.#carrier = null;
		carrier?.cut();
	}

	/** Stops reading: what comes stays in the kernel. */
	pause() {
		this.#carrier.pause();
	}

	/** Reads again. */
	resume() {
		this.#carrier.resume();
	}

	close(code = 1000) {
		this.#carrier?.close(code);
		return this.closed;
	}
}
