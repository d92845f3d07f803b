// Choices that a seed repeats: SEED=N in the environment, else another each time. Print it.

export const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 32));

/** mulberry32 */
export function randomFrom(seed) {
	let a = seed >>> 0;
	const random = () => {
		a = (a + 0x6d2b79f5) | 0;
		let t = Math.imul(a ^ (a >>> 15), 1 | a);
		t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
		return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
	};
	return {
		random,
		below: (n) => Math.floor(random() * n),
		pick: (list) => list[Math.floor(random() * list.length)],
		chance: (p) => random() < p,
		/** Mostly small, sometimes many times as much. */
		around: (mean) => Math.floor(-mean * Math.log(1 - random())),
	};
}
