// How many calls that send a server makes for each delivery. strace counts them, of the whole run of a load generator, so
// that all deliveries count, those behind the measured time too; what opening and joining take is counted once for itself and
// left out. Servers are slower meanwhile: nothing else is measured here.
import { countSendsOf } from "./peers.mjs";
import { load } from "./rounds.mjs";

const HARDLY = { seconds: 0.01, warm: 0, outstanding: 1 };
const A_WHILE = { seconds: 0.3, warm: 0 };

async function counted(rounds, group, series, args) {
	const command = await rounds.command(group, series, args);
	const pid = Number(command[command.indexOf("--pid") + 1]);
	const { sends, value } = await countSendsOf(pid, () => load(command));
	return { sends, deliveries: value.reduce((sum, line) => sum + line.in_all, 0) };
}

/** [{group, series, outstanding, each}] */
export async function sendsEach(rounds, group, numbers) {
	const found = [];
	for (const series of group.series) {
		const before = await counted(rounds, group, series, HARDLY);
		for (const outstanding of numbers) {
			const { sends, deliveries } = await counted(rounds, group, series, { ...A_WHILE, outstanding });
			const each = (sends - before.sends) / (deliveries - before.deliveries);
			found.push({ group: group.key, series, outstanding, each });
		}
	}
	return found;
}
