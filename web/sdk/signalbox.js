import { Connection } from "./connection.js";
import { Room } from "./room.js";
import { Rooms } from "./rooms.js";

export { Call } from "./call.js";
export { SignalboxError } from "./errors.js";
export { openMedia, describeMediaError } from "./media.js";
export { Peer } from "./peer.js";
export { Room } from "./room.js";

/**
 * @typedef {import("./connection.js").ConnectionEvents & {
 *   ice: {ice_servers: import("./protocol.js").IceServer[], expires_at: number},
 * }} SignalboxEvents
 */

/**
 * A client of a Signalbox server: one session, and the rooms it is in.
 *
 *     const box = new Signalbox({ url: "https://rt.example", token: async () => accessToken });
 *     await box.connect();
 *     const room = await box.join("tea");
 *     const call = room.call({ audio: true, video: true });
 *
 * @extends {Connection<SignalboxEvents>}
 */
export class Signalbox extends Connection {
	/** The rooms of the server. */
	rooms = new Rooms(this);
	/** The rooms this client is in, by name. @type {Map<string, Room>} */
	joined = new Map();
	/** @type {Map<string, Promise<Room>>} */
	#joining = new Map();

	/** @param {import("./connection.js").ConnectionOptions} options */
	constructor(options) {
		super(options);
		this.on("notification", ({ method, params }) => this.#notified(method, params));
		this.on("closed", (closed) => {
			for (const room of [...this.joined.values()]) room.end(closed);
		});
	}

	/**
	 * Becomes a member of a room. Joining a room one is in gives the same object.
	 * @param {string} name
	 * @param {{state?: any, since?: import("./protocol.js").Position}} [options]
	 * @returns {Promise<Room>}
	 */
	join(name, { state = {}, since } = {}) {
		const room = this.joined.get(name);
		if (room) return Promise.resolve(room);
		const running = this.#joining.get(name);
		if (running) return running;
		const joining = this.#join(name, state, since).finally(() => this.#joining.delete(name));
		this.#joining.set(name, joining);
		return joining;
	}

	/**
	 * Fresh ICE servers; rooms and calls get theirs by themselves.
	 * @returns {Promise<{ice_servers: import("./protocol.js").IceServer[], expires_at: number}>}
	 */
	iceServers() {
		return this.request("ice.servers");
	}

	/** @param {string} name @param {any} state @param {import("./protocol.js").Position} [since] */
	async #join(name, state, since) {
		/** @type {Room | undefined} */
		let room;
		await this.request("room.join", { room: name, state, ...(since && { since }) }, {
			// At once, because the room's events may stand in the same frame as the answer.
			apply: (result) => {
				room = new Room(this, name, result, state, (left) => this.#forget(left));
				this.joined.set(name, room);
			},
		});
		return /** @type {Room} */ (room);
	}

	/** @param {Room} room */
	#forget(room) {
		if (this.joined.get(room.name) === room) this.joined.delete(room.name);
	}

	/** @param {string} method @param {any} params */
	#notified(method, params) {
		if (method === "ice.changed") {
			for (const room of this.joined.values()) room.setIceServers(params.ice_servers);
			this.emit("ice", params);
		} else if (typeof params.room === "string") {
			this.joined.get(params.room)?.receive(method, params);
		}
	}

	/** @override */
	onFreshSession() {
		for (const room of this.joined.values()) void room.rejoin();
	}

	/** @override */
	onNetworkChange() {
		for (const room of this.joined.values()) room.activeCall?.networkChanged();
	}
}
