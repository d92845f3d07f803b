// A way to the server, as through a router at home or the proxy of a hotel.
//   const way = await openWay();
//   way.to(server.port);              it may come before the server, which has to be told its address
// Shut, it lets nobody new through; blocked, it has also cut those who were.
import { createConnection, createServer } from "node:net";

const KILL_MS = 150; // long enough for session.open and its answer

export async function openWay() {
	const sockets = new Set(); // WebSockets, in the order they came
	const all = new Set();
	let target;
	let open = true;
	const way = {
		/**
		 * What it does to WebSockets: "pass"; "reset"; "swallow": there is no answer at all; "mute": the
		 * upgrade gets through, and nothing behind it; "kill": each is cut behind its first answers.
		 */
		websockets: "pass",
		/** Lets the answer to a stream's request through, but nothing of the stream. */
		holdsStreams: false,
		to: (port) => (target = port),
		/** Cuts the nth WebSocket that is open. */
		cut: (nth) => cut([...sockets].slice(nth, nth + 1)),
		/** Cuts all that is open. */
		cutAll: () => cut(all),
		shut: () => (open = false),
		block: () => {
			open = false;
			cut(all);
		},
		unblock: () => (open = true),
		close: () => {
			listener.close();
			cut(all);
		},
	};
	const cut = (pairs) => {
		for (const pair of [...pairs]) for (const socket of pair) socket.resetAndDestroy();
	};
	const listener = createServer((near) => {
		near.on("error", () => {});
		if (!open) return void near.resetAndDestroy();
		near.once("data", (bytes) => {
			const isWebSocket = /^upgrade: websocket/im.test(bytes);
			if (isWebSocket && way.websockets === "reset") return void near.resetAndDestroy();
			const far = createConnection(target, "127.0.0.1");
			const pair = [near, far];
			all.add(pair);
			if (isWebSocket) sockets.add(pair);
			for (const socket of pair)
				socket.on("error", () => {}).on("close", () => {
					all.delete(pair);
					sockets.delete(pair);
					for (const one of pair) one.destroy();
				});
			if (isWebSocket && way.websockets === "swallow") return;
			far.write(bytes);
			near.pipe(far);
			const holds = isWebSocket ? way.websockets === "mute" : way.holdsStreams && isStream(bytes);
			if (holds)
				far.once("data", (answer) => {
					near.write(answer.subarray(0, answer.indexOf("\r\n\r\n") + 4));
					far.resume();
				});
			else far.pipe(near);
			if (isWebSocket && way.websockets === "kill") far.on("data", () => setTimeout(() => cut([pair]), KILL_MS));
		});
	});
	await new Promise((done) => listener.listen(0, "127.0.0.1", done));
	way.url = `http://localhost:${listener.address().port}`;
	return way;
}

function isStream(bytes) {
	return bytes.toString().startsWith("GET /v1/events");
}
