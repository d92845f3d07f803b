import { Connection } from "./connection.js";
import { Datasets } from "./datasets.js";
import { Lobby } from "./lobby.js";
import { Presence } from "./presence.js";
import { Ringing } from "./ringing.js";
import { Room } from "./room.js";
import { Rooms } from "./rooms.js";
import { Serving } from "./serving.js";

export { Call } from "./call.js";
export { LargeCell, OddText } from "./cells.js";
export { Dataset } from "./dataset.js";
export { listDevices } from "./devices.js";
export { SignalboxError } from "./errors.js";
export { Live } from "./live.js";
export { openMedia, describeMediaError } from "./media.js";
export { Peer } from "./peer.js";
export { Ring } from "./ringing.js";
export { Room } from "./room.js";

/**
 * @typedef {import("./connection.js").ConnectionEvents & {
 *   ice: {ice_servers: import("./protocol.js").IceServer[], expires_at: number},
 *   occupancy: {rooms: import("./protocol.js").Occupancy[]},
 *   presence: {users: import("./presence.js").UserPresence[]},
 *   incoming: import("./ringing.js").Ring,
 *   missed: {calls: import("./ringing.js").CallRecord[]},
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
	/** Who is online. */
	presence = new Presence(this);
	/** Calls to users, and from them. */
	calls = new Ringing(this);
	/** The rooms this client is in, by name. @type {Map<string, Room>} */
	joined = new Map();
	/** @type {Map<string, Promise<Room>>} */
	#joining = new Map();
	#lobby = new Lobby(this);
	#serving = new Serving(this);

	/** @param {import("./connection.js").ConnectionOptions} options */
	constructor(options) {
		super(options);
		/** Tables of a database. */
		this.datasets = new Datasets(this, options);
		this.on("notification", ({ method, params }) => this.#notified(method, params));
		this.on("closed", (closed) => {
			this.calls.lost();
			this.#lobby.end(closed);
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
	 * Knocks at a room with a lobby (where `join` was refused with reason `lobby`), and joins once
	 * somebody has opened. Refused with reason `denied` where nobody wants to.
	 * @param {string} name
	 * @param {{message?: string, state?: any, since?: import("./protocol.js").Position}} [options]
	 * @returns {Promise<Room>}
	 */
	async knock(name, { message, ...how } = {}) {
		await this.#lobby.knock(name, message);
		return this.join(name, how);
	}

	/**
	 * A table of a database, as far as this user may see it; the same object each time.
	 *
	 *     const list = box.dataset("todos").live({ where: ["=", "done", 0], order: ["due"] });
	 *     list.on("change", () => draw(list.rows));
	 * @param {string} name
	 * @param {import("./dataset.js").DatasetOptions} [options]
	 */
	dataset(name, options) {
		return this.datasets.get(name, options);
	}

	/**
	 * Fresh ICE servers; rooms and calls get theirs by themselves.
	 * @returns {Promise<{ice_servers: import("./protocol.js").IceServer[], expires_at: number}>}
	 */
	iceServers() {
		return this.request("ice.servers", this.near);
	}

	/**
	 * Answers calls of these methods from now on, and of no others; needs the scope `rpc:serve`. A name
	 * that ends in `.*` stands for all that begin so. Without any it serves nothing more.
	 *
	 *     await box.serve({ "shop.price": ({ of }, { caller }) => priceFor(caller.user, of) });
	 * @param {Record<string, import("./serving.js").Served>} methods
	 */
	serve(methods) {
		return this.#serving.serve(methods);
	}

	/**
	 * Has a backend that serves the method answer; needs the scope `rpc:call`.
	 * @param {string} method
	 * @param {any} [params]
	 * @param {{timeout?: number}} [options] seconds, 1 to 120
	 * @returns {Promise<any>}
	 */
	rpc(method, params = {}, { timeout = 30 } = {}) {
		return this.#serving.call(method, params, timeout);
	}

	/**
	 * A room that the server has made this client a member of.
	 * @param {import("./protocol.js").JoinResult} joined
	 * @param {any} [state]
	 * @returns {Room}
	 */
	adopt(joined, state = {}) {
		const there = this.joined.get(joined.room);
		if (there) return there;
		const room = new Room(this, joined.room, joined, state, (left) => this.#forget(left));
		this.joined.set(room.name, room);
		return room;
	}

	/** @param {string} name @param {any} state @param {import("./protocol.js").Position} [since] */
	async #join(name, state, since) {
		/** @type {Room | undefined} */
		let room;
		await this.request("room.join", { room: name, state, ...(since && { since }), ...this.near }, {
			// At once, because the room's events may stand in the same frame as the answer.
			apply: (result) => (room = this.adopt({ ...result, room: name }, state)),
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
			for (const room of this.joined.values()) {
				room.setIceServers(params.ice_servers);
				room.activeCall?.iceServersRenewed();
			}
			this.emit("ice", params);
		} else if (method.startsWith("dataset.")) this.datasets.notified(method, params);
		else if (method.startsWith("call.")) this.calls.notified(method, params);
		else if (method === "presence.changed") this.emit("presence", { users: this.presence.changed(params.users) });
		else if (method === "room.occupancy") this.emit("occupancy", params);
		else if (method === "room.admitted" || method === "room.denied") this.#lobby.notified(method, params);
		else if (typeof params.room === "string") this.joined.get(params.room)?.receive(method, params);
	}

	/** @override */
	onFreshSession() {
		this.calls.lost();
		for (const room of this.joined.values()) void room.rejoin();
		this.#lobby.again();
		this.#serving.again().catch((error) => this.emit("error", error));
		const failed = (/** @type {any} */ error) => this.emit("error", error);
		this.rooms.watchAgain().then((rooms) => rooms.length && this.emit("occupancy", { rooms }), failed);
		this.presence.again().then((users) => users.length && this.emit("presence", { users }), failed);
	}

	/**
	 * @override
	 * @param {string} method
	 * @param {any} params
	 */
	async onRequest(method, params) {
		return method === "rpc.invoke" ? this.#serving.answer(params) : super.onRequest(method, params);
	}

	/** @override */
	onNetworkChange() {
		for (const room of this.joined.values()) room.activeCall?.networkChanged();
	}
}
