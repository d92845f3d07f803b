import { Board } from "./board.js";
import { Chat } from "./chat.js";
import { Controls } from "./controls.js";
import { $, announce, notify } from "./dom.js";
import { Moderator } from "./moderation.js";
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

	#met;
	#moderator;
	#board = null;

	/**
	 * @param {any} room a Room of the SDK
	 * @param {{
	 *   me: {id: string, name: string}, box: any, wanted: {audio: boolean, video: boolean},
	 *   ring: any, met: (people: Iterable<any>) => void,
	 * }} how `ring`: the Ring that led here, or null
	 * @param {(why: string | null) => void} closed
	 */
	constructor(room, { me, box, wanted, ring, met }, closed) {
		this.room = room;
		this.me = me;
		this.ring = ring;
		this.title = ring ? `Call with ${ring.other.name}` : room.name;
		this.#met = met;
		this.#closed = closed;
		this.call = room.call(room.muted ? { ...wanted, audio: false } : wanted);
		this.#tiles = new Tiles($("tiles"), this.call);
		this.#chat = new Chat(room, me);
		this.#controls = new Controls(this.call, () => this.leave());
		this.#moderator = new Moderator(room);
		$("room-title").textContent = this.title;
		$("sound-banner").hidden = true;
		$("copy-link").hidden = ring !== null || me.id.startsWith("guest:");
		$("copy-link").onclick = () => this.#copyLink();
		$("unblock").onclick = () => this.#unblock();
		this.#watchRoom();
		this.#watchCall();
		this.#tiles.addMine(room.peer, me);
		this.#muted();
		this.#people();
		this.call.ready.then(() => this.#people(), () => {});
		if (!ring) this.#describe(box);
		if (!ring && !me.id.startsWith("guest:")) this.#board = new Board(room, me, box);
	}

	async leave() {
		this.close();
		this.#closed(null);
	}

	/** Leaves the room and clears the page. */
	close() {
		for (const off of this.#offs.splice(0)) off();
		this.#controls.close();
		this.#moderator.close();
		this.#board?.close();
		this.#tiles.clear();
		this.#chat.close();
		for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
		this.ring?.hangUp().catch(() => {});
		this.room.leave().catch(() => {});
	}

	async #describe(box) {
		const found = await box.rooms.get(this.room.name).catch(() => ({}));
		if (this.#offs.length === 0) return;
		this.#moderator.describe(found);
		if (found.title) this.#rename(found.title);
	}

	#rename(title) {
		this.title = title || this.room.name;
		$("room-title").textContent = this.title;
		document.title = `${this.title} · Signalbox`;
	}

	/** A moderator has the last word on the microphone. */
	#muted() {
		const { muted } = this.room;
		$("muted-banner").hidden = !muted;
		$("mic").disabled = muted;
		if (muted) this.call.setAudio(false).catch(notify);
	}

	#on(source, name, listener) {
		this.#offs.push(source.on(name, listener));
	}

	#watchRoom() {
		const { room, ring } = this;
		if (ring) {
			this.#on(ring, "ended", ({ reason, message }) => {
				this.close();
				this.#closed(reason === "hangup" ? null : message);
			});
		}
		this.#on(room, "me", ({ changes }) => {
			if (changes.muted !== undefined) this.#muted();
			this.#people();
		});
		this.#on(room, "edited", (edit) => this.#chat.edited(edit));
		this.#on(room, "redacted", (redaction) => this.#chat.redacted(redaction));
		this.#on(room, "joined", (member) => {
			announce(`${member.name} is here`);
			this.#people();
		});
		this.#on(room, "left", ({ member }) => {
			announce(`${member.name} left`);
			this.#people();
		});
		this.#on(room, "updated", ({ member, changes }) => {
			this.#people();
			if (!member && changes.title !== undefined) this.#rename(changes.title);
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
			// A call's own room ends with it.
			this.#closed(reason === "left" || ring ? null : message);
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
		showPeople(this.room, this.me, this.call, this.#moderator);
		this.#met(this.room.members.values());
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
