// Bytes on a socket, for what no proper client would send: HTTP by hand and WebSocket frames by hand.
import { randomBytes } from "node:crypto";
import { connect as dial } from "node:net";
import { constants, deflateRawSync, inflateRawSync } from "node:zlib";
import { within } from "./within.mjs";

const TIMEOUT_MS = 10_000;

/** from: the client's own address, 127.0.0.2 say. */
export async function rawConnect(server, { port = server.port, host = "127.0.0.1", from } = {}) {
	const socket = dial({ port, host, noDelay: true, localAddress: from });
	const raw = new Raw(socket);
	await within(
		new Promise((done, failed) => socket.once("connect", done).once("error", failed)),
		TIMEOUT_MS,
		"a connection",
	);
	return raw;
}

class Raw {
	bytes = Buffer.alloc(0); // what came and was not taken yet
	ended = false;
	#watchers = new Set();

	constructor(socket) {
		this.socket = socket;
		socket.on("data", (bytes) => {
			this.bytes = Buffer.concat([this.bytes, bytes]);
			for (const watch of [...this.#watchers]) watch();
		});
		socket.on("error", () => {}); // a reset is an end, too
		this.closed = new Promise((done) => {
			const end = () => {
				this.ended = true;
				for (const watch of [...this.#watchers]) watch();
				done();
			};
			socket.on("end", end).on("close", end);
		});
	}

	write(bytes) {
		this.socket.write(bytes);
	}

	destroy() {
		this.socket.destroy();
	}

	/** The server has ended the connection. */
	gone(timeout = TIMEOUT_MS) {
		return within(this.closed, timeout, "the end of the connection");
	}

	/** Waits until take() finds something in the bytes so far; undefined when they end before. */
	#until(take, what, timeout = TIMEOUT_MS) {
		let look;
		const found = new Promise((done) => {
			look = () => {
				const value = take();
				if (value === undefined && !this.ended) return;
				this.#watchers.delete(look); // at once: more may come within this turn, for who waits next
				done(value);
			};
			this.#watchers.add(look);
			look();
		});
		return within(found, timeout, what).finally(() => this.#watchers.delete(look));
	}

	/** The next HTTP response: {status, headers, body, text}; undefined when the connection ends before. */
	response({ head = false, timeout } = {}) {
		return this.#until(() => this.#takeResponse(head), "an HTTP response", timeout);
	}

	#takeResponse(head) {
		const end = this.bytes.indexOf("\r\n\r\n");
		if (end < 0) return undefined;
		const [first, ...lines] = this.bytes.subarray(0, end).toString("latin1").split("\r\n");
		const [, status] = /^HTTP\/1\.[01] (\d{3}) /.exec(first) ?? [];
		if (!status) throw new Error(`this is no status line: ${first}`);
		const headers = {};
		for (const line of lines) {
			const name = line.slice(0, line.indexOf(":")).toLowerCase();
			const value = line.slice(line.indexOf(":") + 1).trim();
			headers[name] = name in headers ? `${headers[name]}, ${value}` : value;
		}
		const n = head || status === "101" ? 0 : Number(headers["content-length"] ?? 0);
		if (this.bytes.length < end + 4 + n) return undefined;
		const body = Buffer.from(this.bytes.subarray(end + 4, end + 4 + n));
		this.bytes = this.bytes.subarray(end + 4 + n);
		return { status: Number(status), headers, body, text: body.toString() };
	}

	/** The next WebSocket frame: {fin, rsv, opcode, payload, text}; undefined when the connection ends before. */
	frame(timeout) {
		return this.#until(() => this.#takeFrame(), "a frame", timeout);
	}

	#takeFrame() {
		const b = this.bytes;
		if (b.length < 2) return undefined;
		let n = b[1] & 127;
		let at = 2;
		if (n === 126) [n, at] = [b.length < 4 ? Infinity : b.readUInt16BE(2), 4];
		else if (n === 127) [n, at] = [b.length < 10 ? Infinity : Number(b.readBigUInt64BE(2)), 10];
		if (b.length < at + n) return undefined;
		const payload = Buffer.from(b.subarray(at, at + n));
		this.bytes = b.subarray(at + n);
		return { fin: b[0] >> 7 === 1, rsv: (b[0] >> 4) & 7, opcode: b[0] & 15, payload, text: payload.toString() };
	}

	/** The code of the close frame, others passed over; 1006 when the connection ends without one. */
	async closeCode(timeout) {
		for (;;) {
			const frame = await this.frame(timeout);
			if (!frame) return 1006;
			if (frame.opcode === 8) return frame.payload.length < 2 ? 1005 : frame.payload.readUInt16BE(0);
		}
	}
}

/** A request's text: headers is {name: value, an array for several, or null for none}. */
export function requestText(line, headers = {}, body = "") {
	const lines = Object.entries(headers).flatMap(([name, value]) =>
		value === null ? [] : [value].flat().map((one) => `${name}: ${one}`),
	);
	return [`${line} HTTP/1.1`, ...lines, "", body].join("\r\n");
}

/** The header of a request by who has this token. */
export const bearer = (token) => ({ Authorization: `Bearer ${token}` });

/** One request on a connection of its own, and its response. */
export async function request(server, line, headers = {}, body = "", options = {}) {
	const raw = await rawConnect(server, options);
	const length = body.length || line.startsWith("POST") ? { "Content-Length": Buffer.byteLength(body) } : {};
	raw.write(requestText(line, { Host: `127.0.0.1:${server.port}`, ...length, ...headers }, body));
	const response = await raw.response({ head: line.startsWith("HEAD") });
	raw.destroy();
	return response;
}

export function upgradeText(server, headers = {}, path = "/ws") {
	return requestText(`GET ${path}`, {
		Host: `127.0.0.1:${server.port}`,
		Upgrade: "websocket",
		Connection: "Upgrade",
		"Sec-WebSocket-Key": randomBytes(16).toString("base64"),
		"Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Protocol": "signalbox.v1",
		...headers,
	});
}

/** A handshake and what is answered, on a connection of its own. */
export async function upgrade(server, headers, path, options) {
	const raw = await rawConnect(server, options);
	raw.write(upgradeText(server, headers, path));
	const response = await raw.response();
	raw.destroy();
	return response;
}

/** A WebSocket by hand, its session open when a user is named; headers: more for the handshake. */
export async function rawWebSocket(server, { user, headers = {} } = {}) {
	const raw = await rawConnect(server);
	const token = user && (await server.mint(user));
	raw.write(upgradeText(server, { ...headers, ...(token && { Authorization: `Bearer ${token}` }) }));
	const { status } = await raw.response();
	if (status !== 101) throw new Error(`the handshake was refused: ${status}`);
	if (user) {
		raw.write(frame(1, '{"jsonrpc":"2.0","id":"open","method":"session.open"}'));
		const { rsv, payload } = await raw.frame();
		const opened = JSON.parse(rsv ? inflated(payload) : payload);
		if (!opened.result) throw new Error(JSON.stringify(opened));
	}
	return raw;
}

/** The payload of a compressed message (RFC 7692) as text; windowBits: no reference may reach further back. */
export function inflated(payload, windowBits = 15) {
	const whole = Buffer.concat([payload, Buffer.from("0000ffff", "hex")]);
	return inflateRawSync(whole, { windowBits, finishFlush: constants.Z_SYNC_FLUSH }).toString();
}

/** A message compressed for the payload of a frame. */
export function deflated(text, options = {}) {
	const packed = deflateRawSync(Buffer.from(text), { ...options, finishFlush: constants.Z_SYNC_FLUSH });
	return packed.subarray(0, packed.length - 4);
}

/** A frame as a client sends it. length: what it says its length is. */
export function frame(opcode, payload = "", { fin = true, rsv = 0, mask = true, length } = {}) {
	const body = Buffer.from(payload);
	const n = length ?? body.length;
	const size = n < 126 ? 2 : n < 65536 ? 4 : 10;
	const head = Buffer.alloc(size);
	head[0] = (fin ? 128 : 0) | (rsv << 4) | opcode;
	head[1] = (mask ? 128 : 0) | (size === 2 ? n : size === 4 ? 126 : 127);
	if (size === 4) head.writeUInt16BE(n, 2);
	if (size === 10) head.writeBigUInt64BE(BigInt(n), 2);
	if (!mask) return Buffer.concat([head, body]);
	const key = randomBytes(4);
	return Buffer.concat([head, key, body.map((byte, i) => byte ^ key[i % 4])]);
}
