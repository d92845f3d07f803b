// A TCP proxy between clients and the service, on which connections come to harm: cut, stalled, split,
// half open, their bytes late. Of each connection a plan says what happens, and behind how many bytes:
//   {how, way: "up" | "down", after: bytes, late: ms, stalls: [{way, after, ms}], split: {way, from, to}}
// up is from the client to the service. how:
//   fin, rst         both ends are closed, or reset
//   drop             what goes that way is lost without a word; the other way works on
//   void             the same both ways: nobody is told anything
//   hold             nothing goes on either way; when the client has given up, what it sent arrives `late`
// After drop, void and hold the service's side stays open for `late` ms when the client's has gone: its
// peer is dead, and it has to find out. Without `how` a connection is left alone, but for stalls and split.
// Requests of HTTP that carry a body come with that body to the plan (see `post` below).
import { once } from "node:events";
import { connect, createServer } from "node:net";

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const turn = () => new Promise(setImmediate);

const POST = "POST ";
const HANDSHAKE_BYTES = 400;
const HEAD_END = "\r\n\r\n";

const OPEN_BYTES = 1500; // the handshake and session.open
const ways = ["up", "down"];

/**
 * Plans for connections and for POSTs, by the choices of support/random.mjs. A session.open that comes late,
 * when the client has long resumed elsewhere, is a resume like any other: it takes the session over. So
 * none is held back.
 */
export function harms({ below, pick, chance, around }) {
	/** Behind how many bytes: in the handshake, in session.open and what is sent again, or later. */
	const somewhere = () => (chance(0.1) ? below(700) : chance(0.2) ? below(2500) : 1000 + around(6000));

	function harm() {
		const how = pick(["fin", "fin", "rst", "rst", "drop", "void", "hold", "hold"]);
		const plan = { how, way: pick(ways), after: somewhere(), late: below(300) };
		if (how === "hold" && plan.way === "up" && plan.after < OPEN_BYTES) plan.how = "void";
		if (chance(0.3)) plan.stalls = [{ way: pick(ways), after: somewhere(), ms: below(60) }];
		if (chance(0.15)) {
			const from = somewhere();
			plan.split = { way: pick(ways), from, to: from + below(2000) };
		}
		return plan;
	}

	/** A POST is lost in part, arrives without its answer arriving, arrives twice, or late and out of order. */
	function harmToPost() {
		if (chance(0.9)) return {};
		const late = below(300);
		return pick([
			{ replay: late },
			{ replay: late },
			{ astray: late },
			{ how: pick(["fin", "rst"]), way: "up", after: below(1500) },
			{ how: "rst", way: "down", after: 0 },
		]);
	}

	return { harm, harmToPost };
}

/**
 * target: {port, host}. plan(): what is to become of the next connection. post(head): of one that is a
 * POST, with its first bytes; its plan may also have {replay: ms} — it arrives once more, so much later — and
 * {astray: ms} — the client is cut at once, and the request arrives so much later. from(): the local
 * address of the proxy's connection to the service.
 */
export async function startProxy(target, options = {}) {
	const proxy = new Proxy(target, options);
	await proxy.listen();
	return proxy;
}

class Proxy {
	#server = createServer({ noDelay: true }, (socket) => this.#accept(socket));
	#links = new Set();
	#healed = false;
	/** How many connections came to harm, by how; those of a POST by "POST " and how. */
	harmed = {};
	connections = 0;

	constructor(target, { plan = () => ({}), post = plan, from = () => undefined }) {
		Object.assign(this, { target, plan, post, from });
	}

	async listen() {
		this.#server.listen(0, "127.0.0.1");
		await once(this.#server, "listening");
		this.port = this.#server.address().port;
	}

	/** The same as one number, without POSTs. */
	get cuts() {
		return Object.entries(this.harmed).reduce((sum, [how, n]) => sum + (how.startsWith(POST) ? 0 : n), 0);
	}

	count(how) {
		this.harmed[how] = (this.harmed[how] ?? 0) + 1;
	}

	/** A connection to the service. */
	dial() {
		const { host = "127.0.0.1", port } = this.target;
		const socket = connect({ host, port, noDelay: true, localAddress: this.from() });
		socket.on("error", () => {});
		return socket;
	}

	async #accept(client) {
		this.connections++;
		client.on("error", () => {});
		const link = new Link(this, client);
		this.#links.add(link);
		await link.run().catch(() => {});
		this.#links.delete(link);
	}

	planFor(head) {
		if (this.#healed) return {};
		return head.startsWith(POST) ? this.post(head) : this.plan(head);
	}

	/** From now on no harm is done; what is harmed already is over. */
	heal() {
		this.#healed = true;
		for (const link of this.#links)
			if (link.harmed) link.end("rst");
			else link.plan = {};
	}

	/** Harms one of the connections that there are, and that are open for longer than a moment. */
	strike(pick, plan) {
		const well = [...this.#links].filter((link) => !link.harmed && link.kind === "" && link.open);
		if (well.length && !this.#healed) pick(well).harm(plan);
	}

	/** Cuts every connection there is. */
	cutAll(how = "rst") {
		for (const link of this.#links) link.harm({ how });
	}

	async close() {
		this.#server.close();
		for (const link of this.#links) link.end("rst");
	}
}

class Link {
	open = false; // bytes have come from the service behind the handshake
	harmed = false;
	over = false;
	plan = {};
	#passed = { up: 0, down: 0 };
	#held = []; // bytes of the client that are late

	constructor(proxy, client) {
		this.proxy = proxy;
		this.client = client;
		this.comes = client[Symbol.asyncIterator](); // one for all: what it has read is nowhere else
	}

	async run() {
		const { value: first } = await this.comes.next();
		if (!first) return;
		const head = first.toString("latin1");
		this.plan = this.proxy.planFor(head);
		this.kind = head.startsWith(POST) ? POST : "";
		const { replay, astray } = this.plan;
		if (replay === undefined && astray === undefined) return this.#join(first);
		const request = await this.#wholeRequest(first);
		if (!request) return;
		if (astray !== undefined) return this.#goAstray(request, astray);
		this.#count("replay");
		await Promise.all([this.#deliver(request, replay), this.#join(request)]);
	}

	#count(how) {
		this.proxy.count(`${this.kind}${how}`);
	}

	async #wholeRequest(bytes) {
		for (;;) {
			const text = bytes.toString("latin1");
			const end = text.indexOf(HEAD_END);
			const length = Number(/\r\ncontent-length: *(\d+)/i.exec(text)?.[1] ?? 0);
			if (end >= 0 && bytes.length >= end + HEAD_END.length + length) return bytes;
			const { value: more } = await this.comes.next();
			if (!more) return undefined;
			bytes = Buffer.concat([bytes, more]);
		}
	}

	/** The client hears nothing of its request, which comes late. */
	async #goAstray(request, ms) {
		this.#count("astray");
		this.client.resetAndDestroy();
		await this.#deliver(request, ms);
	}

	/** A whole request on a connection of its own, whose answer nobody reads. */
	async #deliver(request, ms) {
		await pause(ms);
		const socket = this.proxy.dial();
		socket.resume();
		socket.write(request);
		await once(socket, "close");
	}

	async #join(first) {
		this.server = this.proxy.dial();
		const up = this.#carry("up", this.comes, this.server, first);
		const down = this.#carry("down", this.server, this.client);
		await Promise.all([up, down]);
		this.server.destroy();
		this.client.destroy();
	}

	async #carry(way, from, to, first) {
		try {
			if (first) await this.#pass(way, first, to);
			for await (const bytes of from) await this.#pass(way, bytes, to);
		} catch {} // a reset is an end, too
		if (!this.harmed || (this.plan.how === "drop" && this.plan.way !== way)) to.end();
		else if (way === "up" && !this.over) await this.#orphan();
	}

	/** The client has gone, and the service does not know. */
	async #orphan() {
		const { late = 0 } = this.plan;
		await pause(late / 2);
		for (const bytes of this.#held) this.server.write(bytes);
		await pause(late / 2);
		this.end("rst");
	}

	/** Passes bytes on, up to where the plan has something in store for them. */
	async #pass(way, bytes, to) {
		while (bytes.length) {
			if (this.harmed && this.#swallow(way, bytes)) return;
			const { plan } = this;
			const at = this.#passed[way];
			const stall = plan.stalls?.find((one) => one.way === way && one.after >= at);
			const harm = !this.harmed && plan.how && plan.way === way ? plan.after : Infinity;
			const n = Math.max(0, Math.min(bytes.length, harm - at, stall ? stall.after - at : Infinity));
			await this.#write(way, bytes.subarray(0, n), to);
			this.#passed[way] += n;
			this.open ||= way === "down" && this.#passed.down > HANDSHAKE_BYTES;
			bytes = bytes.subarray(n);
			if (stall && at + n === stall.after) {
				stall.after = -1;
				await pause(stall.ms);
			}
			if (at + n >= harm && this.plan === plan) this.harm(plan); // else it was healed meanwhile
		}
	}

	/** True: these bytes do not go on. */
	#swallow(way, bytes) {
		const { how, way: harmed } = this.plan;
		if (how === "hold" && way === "up") this.#held.push(bytes);
		return how !== "drop" || way === harmed;
	}

	async #write(way, bytes, to) {
		const { split } = this.plan;
		const at = this.#passed[way];
		if (split?.way === way && split.from < at + bytes.length && split.to > at) {
			for (const byte of bytes) {
				to.write(Buffer.of(byte));
				await turn();
			}
		} else if (bytes.length && !to.write(bytes) && !to.destroyed) {
			await Promise.race([once(to, "drain"), once(to, "close")]);
		}
	}

	harm(plan) {
		if (this.harmed || this.over) return;
		this.harmed = true;
		this.plan = { ...this.plan, ...plan };
		this.#count(plan.how);
		if (plan.how === "fin" || plan.how === "rst") this.end(plan.how);
	}

	end(how) {
		this.over = true;
		for (const socket of [this.client, this.server])
			if (how === "fin") socket?.end();
			else if (socket?.writableEnded) socket.destroy(); // a reset behind a shutdown never ends in Node
			else socket?.resetAndDestroy();
		if (how === "fin") setTimeout(() => this.end("rst"), 1000).unref();
	}
}
