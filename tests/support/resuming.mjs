// A client that resumes: it counts both ways, keeps what is not acknowledged, and sends the rest again
// (docs/PROTOCOL.md, "Counting" and "Resume"). Not the JavaScript library: a second reading of the page.
import WebSocket from "ws";
import { within } from "./client.mjs";
import { nameConnection, record } from "./traffic.mjs";

const WAIT_MS = 10_000;
const ACK_EVERY = 16;

export class ResumingClient {
	events = [];
	answers = new Map(); // id → answer
	opened = null; // the last answer to session.open
	received = 0;
	#sent = 0;
	#kept = []; // what the server has not acknowledged: texts of single messages
	#acknowledged = 0;
	#socket = null;
	#waiting = new Set();

	recordAs = nameConnection();

	constructor(server, token, options = {}) {
		this.server = server;
		this.token = token;
		this.options = options;
	}

	/** Connects; resumes when there is a session (unless resume: false, or another one is given). */
	async connect(resume = this.opened && { session: this.opened.session, received: this.received }) {
		const socket = new WebSocket(this.options.url ?? this.server.wsUrl, "signalbox.v1", {
			perMessageDeflate: false,
		});
		const name = this.recordAs; // one for all: an answer may come on another connection
		this.closed = new Promise((done) =>
			socket.on("close", (code, reason) => done({ code, reason: reason.toString() })),
		);
		await within(
			new Promise((done, failed) => socket.once("open", done).once("error", failed)),
			WAIT_MS,
			"a connection",
		);
		socket.on("error", () => {});
		const params = { token: this.token, batch: this.options.batch ?? false };
		if (resume) params.resume = resume;
		const open = JSON.stringify({ jsonrpc: "2.0", id: "open", method: "session.open", params });
		this.#socket = null;
		const answer = new Promise((done) => {
			let opened = false;
			socket.on("message", (data) => {
				const text = data.toString();
				record("in", text, "ws", name);
				const message = JSON.parse(text);
				if (opened) {
					if (socket === this.#socket) this.#receive(message);
					return;
				}
				opened = true; // at once: what is sent again may stand right behind it
				if (message.result) this.#begin(socket, message.result);
				done(message);
			});
		});
		record("out", open, "ws", name);
		socket.send(open);
		const { error } = await within(
			Promise.race([answer, this.closed.then(({ code }) => ({ error: { message: `closed ${code}` } }))]),
			WAIT_MS,
			"the answer to session.open",
		);
		if (error) throw Object.assign(new Error(error.message), error);
		return this.opened;
	}

	#begin(socket, result) {
		this.opened = result;
		this.#socket = socket;
		if (!result.resumed) {
			this.received = this.#sent = this.#acknowledged = 0;
			this.#kept = [];
			this.answers.clear();
		}
		this.#acknowledge(result.received);
		for (const text of this.#kept) this.#write(text);
	}

	#write(text) {
		record("out", text, "ws", this.recordAs);
		this.#socket.send(text);
	}

	#acknowledge(count) {
		this.#kept.splice(0, count - this.#acknowledged);
		this.#acknowledged = Math.max(this.#acknowledged, count);
	}

	#receive(frame) {
		for (const message of Array.isArray(frame) ? frame : [frame]) {
			if (message.method === "session.ack") {
				this.#acknowledge(message.params.received);
				continue;
			}
			this.received++;
			if (this.received % ACK_EVERY === 0)
				this.#write(
					JSON.stringify({
						jsonrpc: "2.0",
						method: "session.ack",
						params: { received: this.received },
					}),
				);
			if (message.id === undefined) {
				this.events.push(message);
			} else {
				if (this.answers.has(message.id)) throw new Error(`${message.id} is answered twice`);
				this.answers.set(message.id, message);
			}
			for (const look of this.#waiting) look();
		}
	}

	/** Sends one request, now or after the next resume; its id. */
	send(method, params) {
		const id = `${++this.#sent}`;
		const text = JSON.stringify({ jsonrpc: "2.0", id, method, params });
		this.#kept.push(text);
		if (this.#socket?.readyState === WebSocket.OPEN) this.#write(text);
		return id;
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
	until(holds, what) {
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
			WAIT_MS,
			what,
		);
	}

	/** The params of the events of one method. */
	of(method) {
		return this.events.filter((event) => event.method === method).map(({ params }) => params);
	}

	/** The connection is gone without a word, and what it still carries is not looked at. */
	cut() {
		const socket = this.#socket;
		this.#socket = null;
		socket?.terminate();
	}

	/** Stops reading: what comes stays in the kernel. */
	pause() {
		this.#socket._socket.pause();
	}

	close(code = 1000) {
		this.#socket?.close(code);
		return this.closed;
	}
}
