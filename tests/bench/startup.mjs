// How long the service takes from its start to listening, with a data directory that is new and with one that is there.
import { join } from "node:path";
import { median } from "./numbers.mjs";
import { scratch, startServer, stopServer } from "./service.mjs";

/** {first, again}: milliseconds, medians. */
export async function startUp({ quick }) {
	const times = { first: [], again: [] };
	for (let i = 0; i < (quick ? 2 : 9); i++) {
		const data = join(scratch, `start-${i}`);
		for (const kind of ["first", "again"]) {
			const server = await startServer(data);
			times[kind].push(server.ms);
			await stopServer(server);
		}
	}
	return { first: median(times.first), again: median(times.again) };
}
