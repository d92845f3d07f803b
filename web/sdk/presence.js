/**
 * @typedef {import("./connection.js").Connection<any>} Connection
 * @typedef {{
 *   user: string, status: "online"|"away"|"offline", note?: any, last_seen?: number, devices?: number,
 * }} UserPresence `last_seen` in seconds since 1970
 */

/** Who is online, by user and not by device or room. */
export class Presence {
	/** Those who are watched, as they were told of last. @type {Map<string, UserPresence>} */
	users = new Map();

	#connection;
	/** What this session says of itself. @type {{status: "online"|"away", note?: any} | null} */
	#mine = null;

	/** @param {Connection} connection */
	constructor(connection) {
		this.#connection = connection;
	}

	/** How this device is; the others see all of a user's devices as one. @param {"online"|"away"} status @param {any} [note] any JSON of up to 256 bytes */
	async set(status, note) {
		this.#mine = { status, ...(note !== undefined && { note }) };
		await this.#connection.request("presence.set", this.#mine);
	}

	/**
	 * Tells of these users, too, from now on: in `users`, and as the event `presence` of the box.
	 * @param {string[]} users
	 * @returns {Promise<UserPresence[]>}
	 */
	async watch(users) {
		/** @type {UserPresence[]} */
		const found = [];
		for (let i = 0; i < users.length; i += 256) {
			const some = { users: users.slice(i, i + 256) };
			await this.#connection.request("presence.watch", some, {
				apply: (result) => {
					this.#remember(result.users);
					found.push(...result.users);
				},
			});
		}
		return found;
	}

	/** Not of these any more, or of nobody. @param {string[]} [users] */
	async unwatch(users) {
		for (const user of users ?? [...this.users.keys()]) this.users.delete(user);
		await this.#connection.request("presence.unwatch", users ? { users } : {});
	}

	/** How they are just now. @param {string[]} users @returns {Promise<UserPresence[]>} */
	async get(users) {
		return (await this.#connection.request("presence.get", { users })).users;
	}

	/** @param {UserPresence[]} changed @returns {UserPresence[]} */
	changed(changed) {
		const watched = changed.filter(({ user }) => this.users.has(user));
		this.#remember(watched);
		return watched;
	}

	/** A new session knows nothing of this. @returns {Promise<UserPresence[]>} */
	async again() {
		if (this.#mine) await this.#connection.request("presence.set", this.#mine);
		return this.users.size ? this.watch([...this.users.keys()]) : [];
	}

	/** @param {UserPresence[]} users */
	#remember(users) {
		for (const one of users) this.users.set(one.user, one);
	}
}
