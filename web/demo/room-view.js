import { Chat } from "./chat.js";
import { Controls } from "./controls.js";
import { $, announce, notify } from "./dom.js";
import { showPeople } from "./people.js";
import { Tiles } from "./tiles.js";

/** One room on the page: its call, its tiles, its people and its chat. */
export class RoomView {
	#closed;
	#offs = [];
	#tiles;
	#chat;
	#controls;
	#drawing = 0;

	/**
	 * @param {any} room a Room of the SDK
	 * @param {{id: string, name: string}} me
	 * @param {{audio: boolean, video: boolean}} wanted
	 * @param {(why: string | null) => void} closed
	 */
	constructor(room, me, wanted, closed) {
		this.room = room;
		this.me = me;
		this.#closed = closed;
		this.call = room.call(wanted);
		this.#tiles = new Tiles($("tiles"), this.call);
		this.#chat = new Chat(room, me);
		this.#controls = new Controls(this.call, () => this.leave());
		$("room-title").textContent = room.name;
		$("sound-banner").hidden = true;
		$("copy-link").onclick = () => this.#copyLink();
		$("unblock").onclick = () => this.#unblock();
		this.#watchRoom();
		this.#watchCall();
		this.#tiles.addMine(room.peer, me);
		this.#people();
	}

	async leave() {
		this.close();
		this.#closed(null);
	}

	/** Leaves the room and clears the page. */
	close() {
		for (const off of this.#offs.splice(0)) off();
		this.#controls.close();
		this.#tiles.clear();
		this.#chat.close();
		for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
		this.room.leave().catch(() => {});
	}

	#on(source, name, listener) {
		this.#offs.push(source.on(name, listener));
	}

	#watchRoom() {
		const { room } = this;
		this.#on(room, "joined", (member) => {
			announce(`${member.name} is here`);
			this.#people();
		});
		this.#on(room, "left", ({ member }) => {
			announce(`${member.name} left`);
			this.#people();
		});
		this.#on(room, "updated", ({ member }) => {
			this.#people();
			if (member) this.#tiles.presence(member);
		});
		this.#on(room, "rejoined", () => {
			this.#tiles.renameMine(room.peer);
			this.#people();
		});
		this.#on(room, "message", (message) => this.#chat.add(message));
		this.#on(room, "gap", () => this.#chat.gap());
		this.#on(room, "error", (error) => notify(error));
		this.#on(room, "closed", ({ reason, message }) => {
			this.close();
			this.#closed(reason === "left" ? null : message);
		});
	}

	#watchCall() {
		const { call, room } = this;
		this.#on(call, "local", (local) => {
			this.#tiles.mine(local);
			this.#controls.show(local);
		});
		this.#on(call, "peer", (peer) => {
			this.#tiles.add(peer);
			const member = room.members.get(peer.peer);
			if (member) this.#tiles.presence(member);
			this.#people();
		});
		this.#on(call, "peer-left", ({ peer }) => {
			this.#tiles.remove(peer);
			this.#people();
		});
		this.#on(call, "stream", (event) => this.#tiles.stream(event));
		this.#on(call, "stream-ended", (event) => this.#tiles.streamEnded(event));
		this.#on(call, "state", ({ peer, state }) => this.#tiles.state(peer, state));
		this.#on(call, "quality", (quality) => this.#tiles.quality(quality));
		this.#on(call, "problem", ({ kind, reason, message }) => {
			// Closing the browser's own window for choosing a screen is no failure.
			if (kind !== "screen" || reason !== "permission-denied") notify(message);
		});
		this.#on(call, "autoplay-blocked", () => ($("sound-banner").hidden = false));
		this.#on(call, "error", (error) => notify(error));
		this.#on(call, "ended", ({ reason }) => {
			if (reason === "failed") void this.leave();
		});
	}

	/** Soon, and once for all that happens at a time: a large room tells of many people at once. */
	#people() {
		this.#drawing ||= requestAnimationFrame(() => {
			this.#drawing = 0;
			if (this.#offs.length) this.#drawPeople();
		});
	}

	#drawPeople() {
		showPeople(this.room, this.me, this.call);
		$("alone").hidden = this.room.members.size > 0;
	}

	async #unblock() {
		$("sound-banner").hidden = true;
		await this.call.resumePlayback();
	}

	async #copyLink() {
		try {
			await navigator.clipboard.writeText(location.href);
			notify("The link is copied. Send it to whom you want here.", { kind: "done" });
		} catch {
			notify(`Copy this address by hand: ${location.href}`, { kind: "done" });
		}
	}
}
