// Whether the floor says as much as the service: the same requests to both, and what comes compared by its bytes. A floor
// that said less would be lower than it is.
import { frame, rawConnect, upgradeText } from "../support/raw.mjs";

const ROOM = "bench-0123abcd-00001";
const DATA = `~${"x".repeat(127)}`;
const ACKED = 64; // messages, after which there is an acknowledgement
const LEAST = 0.99;

class Client {
	ids = 100_000_000;
	bytes = 0; // of frames and their headers, since the last look
	text = "";

	static async open(server, token, batch) {
		const client = new Client();
		const at = { port: Number(new URL(server.url).port) };
		client.raw = await rawConnect(at);
		client.raw.write(upgradeText(at, { Authorization: `Bearer ${token}` }));
		if ((await client.raw.response()).status !== 101) throw new Error(`${server.url} refused a handshake`);
		client.ask("session.open", `{"batch":${batch}}`);
		await client.until({ '"id":100000001,': 1 });
		return client;
	}

	request(method, params) {
		return frame(1, `{"jsonrpc":"2.0","id":${++this.ids},"method":"${method}","params":${params}}`);
	}

	ask(method, params) {
		this.raw.write(this.request(method, params));
		return this.ids;
	}

	/** Reads on until each of these has come so often since it was called last; returns the text. */
	async until(wanted) {
		const missing = () => Object.entries(wanted).some(([part, times]) => this.text.split(part).length <= times);
		while (missing()) {
			const { text, payload } = await this.raw.frame();
			this.text += text;
			this.bytes += payload.length + (payload.length < 126 ? 2 : 4);
		}
		const text = this.text;
		this.text = "";
		return text;
	}

	look() {
		const { bytes } = this;
		this.bytes = 0;
		return bytes;
	}
}

const publish = (n) => [..."x".repeat(n)].map(() => ["room.publish", `{"room":"${ROOM}","data":"${DATA}"}`]);

/** What each of two clients gets for a message, for some in one turn, for a signal, and for so many that they are acknowledged. */
async function heard(server, tokens, batch) {
	const [a, b] = [await Client.open(server, tokens[0], batch), await Client.open(server, tokens[1], batch)];
	const join = (client) => client.until({ [`"id":${client.ask("room.join", `{"room":"${ROOM}"}`)},`]: 1 });
	await join(a);
	await join(b);
	const joined = await a.until({ "room.joined": 1 });
	const peer = /"peer":"([^"]+)"/.exec(joined)[1];
	const signal = ["signal.send", `{"room":"${ROOM}","to":{"peer":"${peer}"},"type":"offer","data":"${DATA}"}`];
	const sizes = {};
	a.look();
	b.look();
	for (const [what, requests] of Object.entries({ message: publish(1), messages: publish(3), signal: [signal], many: publish(ACKED) })) {
		a.raw.write(Buffer.concat(requests.map(([method, params]) => a.request(method, params))));
		await a.until({ [`"id":${a.ids},`]: 1, "session.ack": what === "many" ? 1 : 0 });
		await b.until(what === "signal" ? { "signal.received": 1 } : { "room.message": requests.length });
		sizes[`${what}, who sends it`] = a.look();
		sizes[`${what}, who gets it`] = b.look();
	}
	a.raw.destroy();
	b.raw.destroy();
	return sizes;
}

/** Throws when the floor says less, or more, than the service does. tokens: two of the service's, of users with names as long
 * as the floor's: u100 of the issuer "bench". */
export async function sameBytes(service, floor, tokens) {
	for (const batch of [true, false]) {
		const ours = await heard(service, tokens, batch);
		const theirs = await heard(floor, tokens, batch);
		for (const [what, bytes] of Object.entries(ours)) {
			const ratio = theirs[what] / bytes;
			if (ratio < LEAST || ratio > 1 / LEAST)
				throw new Error(`the floor says ${theirs[what]} bytes where the service says ${bytes}: ${what}, ${batch ? "in" : "without"} batches`);
		}
	}
}
