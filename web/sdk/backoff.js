/** Exponential backoff with full jitter: the n-th wait is random within 0.5 s · 2^n, at most 20 s. */
export class Backoff {
	#attempt = 0;
	#random;

	/** @param {() => number} [random] */
	constructor(random = Math.random) {
		this.#random = random;
	}

	/** Milliseconds to wait before the next attempt. */
	next() {
		const ceiling = Math.min(20_000, 500 * 2 ** this.#attempt);
		if (ceiling < 20_000) this.#attempt++;
		return Math.round(this.#random() * ceiling);
	}

	reset() {
		this.#attempt = 0;
	}
}
