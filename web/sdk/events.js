/**
 * A small typed event emitter. A listener that throws is reported and disturbs nobody else.
 * @template {Record<string, any>} Events
 */
export class Emitter {
	/** @type {Map<keyof Events, Set<(detail: any) => void>>} */
	#listeners = new Map();

	/**
	 * Calls `listener` each time `name` happens.
	 * @template {keyof Events} K
	 * @param {K} name
	 * @param {(detail: Events[K]) => void} listener
	 * @returns {() => void} takes the listener away again
	 */
	on(name, listener) {
		let set = this.#listeners.get(name);
		if (!set) this.#listeners.set(name, (set = new Set()));
		set.add(listener);
		return () => this.off(name, listener);
	}

	/**
	 * @template {keyof Events} K
	 * @param {K} name
	 * @param {(detail: Events[K]) => void} listener
	 */
	off(name, listener) {
		this.#listeners.get(name)?.delete(listener);
	}

	/**
	 * Resolves with the next `name`.
	 * @template {keyof Events} K
	 * @param {K} name
	 * @returns {Promise<Events[K]>}
	 */
	once(name) {
		return new Promise((resolve) => {
			const off = this.on(name, (detail) => {
				off();
				resolve(detail);
			});
		});
	}

	/**
	 * @template {keyof Events} K
	 * @param {K} name
	 * @param {Events[K]} detail
	 */
	emit(name, detail) {
		for (const listener of [...(this.#listeners.get(name) ?? [])]) {
			try {
				listener(detail);
			} catch (error) {
				report(error);
			}
		}
	}
}

/** @param {unknown} error */
function report(error) {
	if (typeof globalThis.reportError === "function") globalThis.reportError(error);
	else console.error(error);
}
