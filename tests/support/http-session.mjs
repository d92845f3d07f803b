// What carries a ResumingClient's session without WebSocket: a stream of events and POSTs, one at a time
// (docs/PROTOCOL.md, "Without WebSocket"). Every id of an event is held against the client's own count.
//   new ResumingClient(server, token, { over: eventStream })
// gather: so many messages that wait go in one POST, where each POST takes long.
import assert from "node:assert/strict";
import http from "node:http";
import https from "node:https";
import { bearer } from "./raw.mjs";
import { within } from "./within.mjs";
import { record } from "./traffic.mjs";

const POST_PAUSE_MS = 20; // before a POST that found no server is sent again
const UNCOUNTED_ID = "ping"; // see resuming.mjs

const counts = (one) => one.method !== "session.ack" && one.id !== UNCOUNTED_ID;

/** A request on a connection of its own; the response when its headers are there. */
export function ask(url, { method = "GET", headers = {}, body, signal } = {}) {
	const { request } = url.startsWith("https:") ? https : http;
	return new Promise((done, failed) => {
		const asked = request(url, { method, headers, agent: false, rejectUnauthorized: false, signal }, done);
		asked.on("error", failed);
		asked.end(body);
	});
}

/** The whole text of a response. */
export async function textOf(response) {
	let text = "";
	for await (const chunk of response.setEncoding("utf8")) text += chunk;
	return text;
}

/** One POST /v1/messages: {status, text, headers}. */
export async function post(url, token, session, sent, body, headers = {}, signal = undefined) {
	const response = await ask(`${url}/v1/messages`, {
		method: "POST",
		signal,
		headers: {
			...bearer(token),
			"Content-Type": "application/json",
			"Content-Length": Buffer.byteLength(body),
			"Signalbox-Session": session,
			"Signalbox-Sent": String(sent),
			...headers,
		},
		body,
	});
	return { status: response.statusCode, headers: response.headers, text: await textOf(response) };
}

/** Calls took({event, id, data}) with each event of a stream, comment() with each comment. */
export function readEvents(response, took, comment = () => {}) {
	let rest = "";
	response.setEncoding("utf8").on("data", (chunk) => {
		const blocks = (rest + chunk).split("\n\n");
		rest = blocks.pop();
		for (const block of blocks) {
			const event = { event: "message", id: undefined, data: undefined };
			for (const line of block.split("\n")) {
				const colon = line.indexOf(":");
				if (colon === 0) comment(line);
				else event[line.slice(0, colon)] = line.slice(colon + 1).replace(/^ /, "");
			}
			if (event.data !== undefined) took(event);
		}
	});
}

/** A stream and its POSTs as carrier. */
export async function eventStream(client, resume, on) {
	const givenUp = new AbortController(); // on a dead network a request would be under way for long
	try {
		return await within(open(client, resume, on, givenUp), client.patience, "a stream and its event: open");
	} catch (error) {
		givenUp.abort();
		throw error;
	}
}

async function open(client, resume, on, givenUp) {
	const { server, token, recordAs: name } = client;
	const { httpUrl: base = server.url, batch = false, lastEventId = false, gather = 1 } = client.options;
	const query = new URLSearchParams({ batch: batch ? "1" : "0" });
	const headers = { ...bearer(token), Accept: "text/event-stream" };
	if (resume && lastEventId) headers["Last-Event-ID"] = `${resume.session}:${resume.received}`;
	else if (resume) for (const key of ["session", "received"]) query.set(key, resume[key]);
	// the same as a session.open, for who reads the record
	const params = resume ? { batch, resume } : { batch };
	record("out", JSON.stringify({ jsonrpc: "2.0", id: "open", method: "session.open", params }), "http", name);
	const { signal } = givenUp;
	const response = await ask(`${base}/v1/events?${query}`, { headers, signal });
	if (response.statusCode !== 200) return { error: { message: await textOf(response), status: response.statusCode } };

	let session;
	let received = 0; // of counted messages, as the ids have to say
	let sent = 0; // of them, what has been answered with 202
	const waiting = [];
	let posting = false;
	let over = false;
	let end;
	const closed = new Promise((done) => (end = done));

	const carrier = {
		closed,
		port: response.socket.localPort,
		send(text, counted) {
			if (over) return;
			record("out", text, "http", name);
			waiting.push({ text, counted });
			pump();
		},
		cut() {
			over = true;
			response.destroy();
			givenUp.abort();
		},
		pause: () => response.pause(),
		resume: () => response.resume(),
		close(code) {
			if (code !== 1000) return carrier.cut();
			carrier.send('{"jsonrpc":"2.0","id":"close","method":"session.close","params":{}}', 1);
		},
	};

	async function pump() {
		if (posting) return;
		posting = true;
		while (waiting.length && !over) {
			const some = waiting.slice(0, gather);
			const text = some.length > 1 ? `[${some.map((one) => one.text.replace(/^\[|\]$/g, ""))}]` : some[0].text;
			const answer = await post(base, token, session, sent, text, {}, signal).catch(() => undefined);
			if (over) return;
			if (!answer || answer.status === 503) {
				await new Promise((done) => setTimeout(done, POST_PAUSE_MS)); // not known whether it came: the server skips what it has
				continue;
			}
			if (answer.status !== 202) {
				carrier.refused = answer;
				return carrier.cut();
			}
			for (const { counted } of waiting.splice(0, some.length)) sent += counted;
		}
		posting = false;
	}

	let answered;
	const answer = new Promise((done) => (answered = done));
	const took = ({ event, id, data }) => {
		if (over) return;
		const message = JSON.parse(data);
		if (event === "open") {
			record("in", `{"jsonrpc":"2.0","id":"open","result":${data}}`, "http", name);
			session = message.session;
			received = message.resumed ? resume.received : 0;
			sent = message.received;
			on.opened(message, carrier);
			return answered({ opened: message });
		}
		if (event === "close") return end(message);
		const counted = [message].flat().filter(counts).length;
		received += counted;
		assert.equal(id, counted ? `${session}:${received}` : undefined, `the id of ${data.slice(0, 200)}`);
		if (on.message(message, data.length)) record("in", data, "http", name);
	};
	readEvents(response, took, () => client.pings++);
	response.on("close", () => {
		over = true;
		end({ code: 1006, reason: "" });
	});
	response.on("error", () => {});
	return Promise.race([answer, closed.then(({ code, reason }) => ({ error: { message: `closed ${code} ${reason}` } }))]);
}
