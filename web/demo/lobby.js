import { $, busy, h, icon, notify, problem, show } from "./dom.js";

const REFRESH_MS = 8_000;

/** The list of rooms, and the ways into one. */
export class Lobby {
	#box = null;
	#join;
	#timer = 0;
	#cursor;

	/** @param {{join: (name: string, wanted: {audio: boolean, video: boolean}) => Promise<void>}} actions */
	constructor({ join }) {
		this.#join = join;
		$("join-form").onsubmit = (event) => {
			event.preventDefault();
			this.#enter($("room-name").value.trim(), event.submitter ?? $("join-form").querySelector("button"));
		};
		$("create").onclick = () => this.#openCreate();
		$("create-form").onsubmit = (event) => {
			event.preventDefault();
			void busy(event.submitter, () => this.#create(), (error) => problem($("create-problem"), error));
		};
		$("rooms-more").onclick = () => busy($("rooms-more"), () => this.#load(this.#cursor));
		for (const [id, key] of [["with-mic", "mic"], ["with-camera", "camera"]]) {
			$(id).checked = localStorage.getItem(`signalbox.demo.${key}`) !== "off";
			$(id).onchange = () => localStorage.setItem(`signalbox.demo.${key}`, $(id).checked ? "on" : "off");
		}
	}

	/** What to join with. */
	wanted() {
		return { audio: $("with-mic").checked, video: $("with-camera").checked };
	}

	open(box, error) {
		this.#box = box;
		problem($("lobby-problem"), error);
		clearInterval(this.#timer);
		this.#timer = setInterval(() => this.#refresh(), REFRESH_MS);
		void this.#refresh();
	}

	async #refresh() {
		if (document.body.dataset.view !== "lobby") clearInterval(this.#timer);
		else if (this.#box?.state === "open" && !this.#cursor) await this.#load().catch(notify);
	}

	async #load(cursor) {
		const page = await this.#box.rooms.list(cursor ? { cursor } : {});
		const entries = page.rooms.map((room) => this.#entry(room));
		if (cursor) {
			$("rooms").append(...entries);
		} else if (!$("rooms").contains(document.activeElement)) {
			// Not under somebody's keyboard.
			$("rooms").replaceChildren(...entries);
		}
		this.#cursor = page.cursor;
		$("rooms-more").hidden = !page.cursor;
		$("rooms-empty").hidden = $("rooms").childElementCount > 0;
	}

	#entry(room) {
		const data = { testid: "room-entry", room: room.room };
		const second = room.title ? room.room : room.owner ? `by ${room.owner}` : "";
		const button = h("button", { type: "button", className: "room-entry", data },
			h("span", { className: "room-name" }, room.title || room.room),
			h("span", { className: "room-sub" }, second));
		if (room.visibility === "private" || room.locked) button.append(icon("lock"));
		button.onclick = () => this.#enter(room.room, button);
		return h("li", {}, button);
	}

	#enter(name, button) {
		if (!name) return;
		problem($("lobby-problem"), null);
		void busy(button, () => this.#join(name, this.wanted()), (error) => problem($("lobby-problem"), error));
	}

	#openCreate() {
		$("create-form").reset();
		$("create-name").value = $("room-name").value.trim();
		problem($("create-problem"), null);
		$("create-dialog").showModal();
	}

	async #create() {
		const name = $("create-name").value.trim();
		const title = $("create-text").value.trim();
		await this.#box.rooms.create(name, {
			...(title && { title }),
			visibility: $("create-private").checked ? "private" : "public",
		});
		$("create-dialog").close();
		show("lobby");
		await this.#join(name, this.wanted());
	}
}
