/**
 * @typedef {import("./connection.js").Connection<any>} Connection
 * @typedef {import("./protocol.js").Role} Role
 * @typedef {string | {peer: string} | {user: string}} Whom a peer id, or a user with all devices
 * @typedef {{user: string, reason: string | null, by: string, created_at: number, expires_at: number | null}} Ban
 * @typedef {{knock: string, user: string, name: string, message: string | null, time: number}} Knock
 * @typedef {{
 *   invitation: string, role: Role, uses_left: number, guests: boolean, note: string | null,
 *   by: string, created_at: number, expires_at: number,
 * }} Invitation
 */

/**
 * What moderators and owners do in one room: `room.moderation`, or `box.rooms.moderation(name)` for a
 * room that one is not in. Lists come whole, page by page behind the scenes. Each act can be refused:
 * `outranked` says that the other has the same role or a higher one.
 */
export class Moderation {
	#connection;
	#room;

	/** @param {Connection} connection @param {string} room */
	constructor(connection, room) {
		this.#connection = connection;
		this.#room = room;
	}

	/** Lets nobody but moderators in, or everybody again. @param {boolean} [locked] */
	async lock(locked = true) {
		await this.#ask("room.lock", { locked });
	}

	/**
	 * Somebody muted cannot publish, on any device, also after coming back; nor send signals of these
	 * types.
	 * @param {Whom} whom
	 * @param {{signals?: string[] | "all"}} [options]
	 */
	async mute(whom, { signals } = {}) {
		await this.#ask("room.mute", { ...target(whom), muted: true, ...(signals && { signals }) });
	}

	/** @param {Whom} whom */
	async unmute(whom) {
		await this.#ask("room.mute", { ...target(whom), muted: false });
	}

	/** Takes somebody out of the room, for a minute at least. @param {Whom} whom @param {{reason?: string}} [why] */
	async kick(whom, why = {}) {
		await this.#ask("room.kick", { ...target(whom), ...why });
	}

	/**
	 * Keeps a user out, with whatever token.
	 * @param {string} user
	 * @param {{reason?: string, expiresIn?: number}} [options] `expiresIn` in seconds; for ever without
	 * @returns {Promise<{room: string, user: string, expires_at: number | null, invitation_revoked?: boolean}>}
	 */
	ban(user, { reason, expiresIn } = {}) {
		const more = { ...(reason && { reason }), ...(expiresIn && { expires_in: expiresIn }) };
		return this.#ask("room.ban", { user, ...more });
	}

	/** @param {string} user */
	async unban(user) {
		await this.#ask("room.unban", { user });
	}

	/** @returns {Promise<Ban[]>} */
	bans() {
		return this.#all("room.bans", "bans");
	}

	/** Gives a user a role, or takes it away. @param {string} user @param {"moderator"|"member"|"viewer"|"none"} role */
	async grant(user, role) {
		await this.#ask("room.grant", { user, role });
	}

	/** @returns {Promise<{user: string, role: Role}[]>} */
	roles() {
		return this.#all("room.roles", "roles");
	}

	/* ---- the lobby ---- */

	/** Who waits at the door, for a moderator who came later. @returns {Promise<Knock[]>} */
	async knocks() {
		return (await this.#ask("room.knocks")).knocks;
	}

	/** Lets somebody in. @param {string} knock @param {{remember?: boolean}} [options] `remember`: also the next time */
	async admit(knock, options = {}) {
		await this.#ask("room.admit", { knock, ...options });
	}

	/** @param {string} knock */
	async deny(knock) {
		await this.#ask("room.deny", { knock });
	}

	/* ---- invitations ---- */

	/**
	 * Makes an invitation. `token` is said this once: put it into a link, behind `#`.
	 * @param {{
	 *   role?: "member"|"viewer"|"moderator", uses?: number, expiresIn?: number, guests?: boolean,
	 *   note?: string,
	 * }} [options] `guests`: also for people without an account
	 * @returns {Promise<{invitation: string, token: string, expires_at: number, uses: number}>}
	 */
	invite({ expiresIn, ...options } = {}) {
		return this.#ask("room.invite", { ...options, ...(expiresIn && { expires_in: expiresIn }) });
	}

	/** @returns {Promise<Invitation[]>} */
	invitations() {
		return this.#all("room.invitations", "invitations");
	}

	/** Takes an invitation back. @param {string} invitation @param {{guests?: boolean}} [options] `guests`: and puts out who came by it */
	async uninvite(invitation, options = {}) {
		await this.#ask("room.uninvite", { invitation, ...options });
	}

	/* ---- inside ---- */

	/** @param {string} method @param {object} [params] */
	#ask(method, params = {}) {
		return this.#connection.request(method, { room: this.#room, ...params });
	}

	/** @param {string} method @param {string} list @returns {Promise<any[]>} */
	async #all(method, list) {
		const items = [];
		let more = {};
		for (;;) {
			const page = await this.#ask(method, more);
			items.push(...page[list]);
			if (!page.cursor) return items;
			more = { cursor: page.cursor };
		}
	}
}

/** @param {Whom} whom */
function target(whom) {
	return typeof whom === "string" ? { peer: whom } : whom;
}
