/**
 * @typedef {import("./connection.js").Connection<any>} Connection
 * @typedef {import("./protocol.js").RoomInfo} RoomInfo
 * @typedef {import("./protocol.js").Role} Role
 */

/** The rooms the server knows, whether joined or not. */
export class Rooms {
	#connection;

	/** @param {Connection} connection */
	constructor(connection) {
		this.#connection = connection;
	}

	/**
	 * One page of the rooms this user may see.
	 * @param {{cursor?: string, limit?: number}} [page]
	 * @returns {Promise<{rooms: RoomInfo[], cursor?: string}>}
	 */
	async list(page = {}) {
		return this.#connection.request("room.list", page);
	}

	/**
	 * @param {string} room
	 * @param {{title?: string, visibility?: "public"|"private", max_members?: number,
	 *   metadata?: any}} [settings]
	 * @returns {Promise<RoomInfo>}
	 */
	create(room, settings = {}) {
		return this.#connection.request("room.create", { room, ...settings });
	}

	/** @param {string} room @returns {Promise<RoomInfo>} */
	get(room) {
		return this.#connection.request("room.get", { room });
	}

	/**
	 * Who is in a room, also for those who may look without joining.
	 * @param {string} room
	 * @returns {Promise<import("./protocol.js").Member[]>}
	 */
	async presence(room) {
		const members = [];
		let cursor;
		do {
			const page = await this.#connection.request("room.presence", { room, ...cursor });
			members.push(...page.members);
			cursor = page.members_cursor ? { cursor: page.members_cursor } : null;
		} while (cursor);
		return members;
	}
}
