// How long members wait for a message when nobody, and when one in a hundred, reads nothing.
import { join } from "node:path";
import { startCrowd } from "../support/crowd.mjs";
import { median } from "./numbers.mjs";
import { control, scratch, startServer, stopServer } from "./service.mjs";

/** {p50, p99}: ratios of medians of crowds of each kind, by turns. */
export async function slowReaders({ quick }) {
	const crowd = quick
		? { connections: 200, rooms: 2, messages: 20, bytes: 512, rate: 20 }
		: { connections: 1000, rooms: 10, messages: 30, bytes: 512, rate: 20 };
	const crowds = quick ? 1 : 5; // of each kind
	const server = await startServer(join(scratch, "slow"));
	await control(server, "user.add", { name: "bench" });
	const { token } = await control(server, "token.mint", { user: "bench" });
	const port = Number(new URL(server.url).port);
	const waits = { none: { p50: [], p99: [] }, some: { p50: [], p99: [] } };
	for (let i = 0; i < 2 * crowds; i++) {
		const [kind, deaf] = i % 2 ? ["some", crowd.connections / 100] : ["none", 0];
		const clients = await startCrowd({ port, token }, { ...crowd, deaf });
		const { expected, delivered, wrong, p50_us, p99_us } = await clients.publish();
		await clients.leave();
		if (wrong || delivered !== expected) throw new Error(`${delivered} of ${expected} delivered`);
		waits[kind].p50.push(p50_us);
		waits[kind].p99.push(p99_us);
	}
	await stopServer(server);
	const ratio = (of) => median(waits.some[of]) / median(waits.none[of]);
	return { p50: ratio("p50"), p99: ratio("p99") };
}
