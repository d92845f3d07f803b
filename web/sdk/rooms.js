import { Moderation } from "./moderation.js";

/**
 * @typedef {import("./connection.js").Connection<any>} Connection
 * @typedef {import("./protocol.js").RoomInfo} RoomInfo
 * @typedef {import("./protocol.js").Role} Role
 * @typedef {import("./protocol.js").Occupancy} Occupancy
 * @typedef {import("./protocol.js").InvitationInfo} InvitationInfo
 *
 * @typedef {{
 *   title?: string | null, visibility?: "public"|"private", max_members?: number | null,
 *   metadata?: any, lobby?: boolean,
 *   history?: {messages?: number, age?: number, durable?: boolean},
 * }} RoomSettings null takes a title, a limit or metadata away; `age` in seconds
 */

/** The rooms the server knows, whether joined or not. */
export class Rooms {
	#connection;
	/** @type {string[]} */
	#watched = [];

	/** @param {Connection} connection */
	constructor(connection) {
		this.#connection = connection;
	}

	/**
	 * One page of the rooms this user may see.
	 * @param {{cursor?: string, limit?: number, search?: string, mine?: boolean, archived?: boolean}} [page]
	 *   `search`: in name and title. `mine`: those where this user is owner or has a role
	 * @returns {Promise<{rooms: RoomInfo[], cursor?: string}>}
	 */
	async list(page = {}) {
		return this.#connection.request("room.list", page);
	}

	/**
	 * @param {string} room
	 * @param {RoomSettings} [settings]
	 * @returns {Promise<RoomInfo>}
	 */
	create(room, settings = {}) {
		return this.#connection.request("room.create", { room, ...settings });
	}

	/**
	 * Moderators change title, metadata and lobby, the owner all of it. `owner` hands the room over,
	 * `archived` closes it without deleting anything.
	 * @param {string} room
	 * @param {RoomSettings & {owner?: string, archived?: boolean}} changes
	 * @returns {Promise<RoomInfo>}
	 */
	update(room, changes) {
		return this.#connection.request("room.update", { room, ...changes });
	}

	/** Ends a room with all that it has: history, roles, bans, invitations. @param {string} room */
	async delete(room) {
		await this.#connection.request("room.delete", { room });
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

	/**
	 * How many are in these rooms (at most 100), without joining. Rooms that one may not look into
	 * are left out.
	 * @param {string[]} rooms
	 * @returns {Promise<Occupancy[]>}
	 */
	async occupancy(rooms) {
		return (await this.#connection.request("room.occupancy", { rooms })).rooms;
	}

	/**
	 * The same now, and from now on as the event `occupancy` of the box, for these rooms and no
	 * others. An empty list ends it.
	 * @param {string[]} rooms
	 * @returns {Promise<Occupancy[]>}
	 */
	async watch(rooms) {
		this.#watched = [...rooms];
		return (await this.#connection.request("room.watch", { rooms })).rooms;
	}

	/** Who may what in a room that one need not be in. @param {string} room */
	moderation(room) {
		return new Moderation(this.#connection, room);
	}

	/** What an invitation is for. @param {string} token @returns {Promise<InvitationInfo>} */
	invitation(token) {
		return this.#connection.request("invitation.look", { token });
	}

	/**
	 * Takes the role that an invitation gives.
	 * @param {string} token
	 * @returns {Promise<{room: string, role: Role}>}
	 */
	accept(token) {
		return this.#connection.request("invitation.accept", { token });
	}

	/** A new session has forgotten what the old one watched. @returns {Promise<Occupancy[]>} */
	async watchAgain() {
		return this.#watched.length ? this.watch(this.#watched) : [];
	}
}
