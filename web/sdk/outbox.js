/**
 * @typedef {{
 *   text: string, bytes: number, sent: boolean, method?: string, room?: string, notBefore?: number, ofSession?: boolean,
 * }} Outgoing `notBefore`: not sent earlier than this, on the clock that `take` is given; `ofSession`: means
 *   nothing in another session
 */

/**
 * Of what the server grants we use this much: messages that were held up on the way arrive closer
 * together than they were sent.
 */
const SHARE = 0.8;

/**
 * What waits to be sent, in order and no faster than the server allows. The client's own
 * `session.*` requests and its replies go first. A join that has to wait holds up what is for the same room, and
 * nothing else.
 */
export class Outbox {
	/** Milliseconds after which something may go that waits for its time; 0: nothing does. */
	wait = 0;
	/** All that waits, in bytes. */
	bytes = 0;

	/** @type {Outgoing[]} */
	#queue = [];
	#requests = new Bucket();
	#joins = new Bucket();

	get length() {
		return this.#queue.length;
	}

	/**
	 * What the server allows one session. A server that says nothing is not paced.
	 * @param {Record<string, number>} limits
	 * @param {number} now ms
	 * @param {boolean} fresh nothing of it is used up yet
	 */
	allow(limits, now, fresh) {
		this.#requests.allow(limits.requests_per_second, limits.requests_burst, now, fresh);
		this.#joins.allow(limits.joins_per_second, limits.joins_burst, now, fresh);
	}

	/** @param {Outgoing} message */
	push(message) {
		this.#queue.push(message);
		this.bytes += message.bytes;
	}

	/** Before all that waits. @param {Outgoing[]} messages */
	unshift(...messages) {
		this.#queue.unshift(...messages);
		for (const { bytes } of messages) this.bytes += bytes;
	}

	/**
	 * The server refused this one because of its rate: it goes again then, in its old place.
	 * @param {Outgoing} message
	 * @param {number} now
	 * @param {number} ms
	 */
	again(message, now, ms) {
		message.sent = false;
		message.notBefore = now + ms;
		this.#requests.spend(now);
		if (isJoin(message)) this.#joins.spend(now);
		this.unshift(message);
	}

	/** @param {Outgoing} message */
	withdraw(message) {
		const at = this.#queue.indexOf(message);
		if (at >= 0) this.#remove(at);
	}

	/** Takes all that waits. @returns {Outgoing[]} */
	clear() {
		this.bytes = 0;
		return this.#queue.splice(0);
	}

	/**
	 * The next message that may go now, if there is one.
	 * @param {number} now ms, of a clock that only goes forward
	 * @param {(bytes: number) => boolean} fits
	 */
	take(now, fits) {
		this.wait = 0;
		const at = this.#next(now);
		if (at < 0 || !fits(this.#queue[at].bytes)) return null;
		const message = this.#remove(at);
		if (!isOwn(message)) this.#requests.take(now);
		if (isJoin(message)) this.#joins.take(now);
		return message;
	}

	/** @param {number} now @returns {number} its place, or -1 */
	#next(now) {
		const urgent = this.#queue.findIndex(isOwn);
		if (urgent >= 0) return urgent;
		/** @type {Set<string | undefined>} */
		const held = new Set();
		const common = this.#requests.wait(now);
		let soonest = Infinity;
		for (const [at, message] of this.#queue.entries()) {
			if (message.room !== undefined && held.has(message.room)) continue;
			const join = isJoin(message) ? this.#joins.wait(now) : 0;
			const wait = Math.max(common, join, (message.notBefore ?? 0) - now);
			if (wait <= 0) return at;
			soonest = Math.min(soonest, wait);
			held.add(message.room);
		}
		if (soonest < Infinity) this.wait = Math.ceil(soonest);
		return -1;
	}

	/** @param {number} at */
	#remove(at) {
		const [message] = this.#queue.splice(at, 1);
		this.bytes -= message.bytes;
		return message;
	}
}

/** About the session itself, or a reply; the limits do not count these. @param {Outgoing} message */
function isOwn({ method }) {
	return method === undefined || method.startsWith("session.");
}

/** @param {Outgoing} message */
function isJoin({ method }) {
	return method === "room.join";
}

/** A token bucket: so many a second, so many at once. */
class Bucket {
	#rate = Infinity;
	#burst = Infinity;
	#tokens = Infinity;
	#at = 0;

	/**
	 * @param {number | undefined} rate a second
	 * @param {number | undefined} burst
	 * @param {number} now
	 * @param {boolean} fresh
	 */
	allow(rate, burst, now, fresh) {
		this.#rate = rate && rate > 0 ? rate * SHARE : Infinity;
		this.#burst = burst && burst > 0 && this.#rate < Infinity ? Math.max(1, burst * SHARE) : Infinity;
		if (fresh || this.#tokens > this.#burst) this.#tokens = this.#burst;
		this.#at = now;
	}

	/** Milliseconds until one may go. @param {number} now */
	wait(now) {
		if (this.#burst === Infinity) return 0;
		this.#tokens = Math.min(this.#burst, this.#tokens + ((now - this.#at) * this.#rate) / 1000);
		this.#at = now;
		return this.#tokens >= 1 ? 0 : ((1 - this.#tokens) * 1000) / this.#rate;
	}

	/** @param {number} now */
	take(now) {
		this.wait(now);
		this.#tokens -= 1;
	}

	/** There is less left than we thought. @param {number} now */
	spend(now) {
		this.wait(now);
		this.#tokens = Math.min(this.#tokens, 0);
	}
}
