import { $, busy, h, icon, notify, problem } from "./dom.js";

const REFRESH_MS = 8_000;
const TYPING_MS = 250;
const WATCHED = 100; // as many as the service takes

/** The rooms there are, how many people are in each just now, and the way to make one. */
export class RoomsList {
	#box = null;
	#enter;
	#timer = 0;
	#typing = 0;
	#cursor;
	/** How many are in a room, by its name. */
	#counts = new Map();

	/** @param {{enter: (name: string, button: HTMLElement) => void}} actions */
	constructor({ enter }) {
		this.#enter = enter;
		$("create").onclick = () => this.#openCreate();
		$("create-form").onsubmit = (event) => {
			event.preventDefault();
			void busy(event.submitter, () => this.#create(), (error) => problem($("create-problem"), error));
		};
		$("rooms-more").onclick = () => busy($("rooms-more"), () => this.#load(this.#cursor));
		$("rooms-search").oninput = () => {
			clearTimeout(this.#typing);
			this.#typing = setTimeout(() => this.#load().catch(notify), TYPING_MS);
		};
	}

	open(box) {
		if (this.#box !== box) box.on("occupancy", ({ rooms }) => this.#occupancy(rooms));
		this.#box = box;
		clearInterval(this.#timer);
		this.#timer = setInterval(() => this.#refresh(), REFRESH_MS);
		void this.#refresh();
	}

	/** Nobody looks at it: nobody need be told. */
	close() {
		clearInterval(this.#timer);
		if (this.#box?.state === "open") this.#box.rooms.watch([]).catch(() => {});
	}

	async #refresh() {
		if (this.#box?.state === "open" && !this.#cursor) await this.#load().catch(notify);
	}

	async #load(cursor) {
		const box = this.#box;
		const search = $("rooms-search").value.trim();
		const page = await box.rooms.list({ ...(cursor && { cursor }), ...(search && { search }) });
		for (const { room, member_count } of page.rooms) this.#counts.set(room, member_count ?? 0);
		const entries = page.rooms.map((room) => this.#entry(room));
		if (cursor) {
			$("rooms").append(...entries);
		} else if (!$("rooms").contains(document.activeElement)) {
			// Not under somebody's keyboard.
			$("rooms").replaceChildren(...entries);
		}
		this.#cursor = page.cursor;
		$("rooms-more").hidden = !page.cursor;
		$("rooms-empty").hidden = $("rooms").childElementCount > 0 || search !== "";
		const names = [...$("rooms").querySelectorAll(".room-entry")].map((entry) => entry.dataset.room);
		if (box.state === "open") this.#occupancy(await box.rooms.watch(names.slice(0, WATCHED)));
	}

	#entry(room) {
		const data = { testid: "room-entry", room: room.room };
		const second = room.title ? room.room : room.owner ? `by ${room.owner}` : "";
		const button = h("button", { type: "button", className: "room-entry", data },
			h("span", { className: "room-name" }, room.title || room.room),
			h("span", { className: "room-sub" }, second),
			h("span", { className: "room-count" }));
		if (room.lobby) button.append(mark("door", "knock first"));
		if (room.visibility === "private" || room.locked) button.append(mark("lock", room.locked ? "locked" : "private"));
		button.onclick = () => this.#enter(room.room, button);
		this.#count(button);
		return h("li", {}, button);
	}

	#occupancy(rooms) {
		for (const { room, member_count } of rooms) this.#counts.set(room, member_count);
		for (const entry of $("rooms").querySelectorAll(".room-entry")) this.#count(entry);
	}

	#count(entry) {
		const count = this.#counts.get(entry.dataset.room) ?? 0;
		const span = entry.querySelector(".room-count");
		entry.dataset.count = String(count);
		span.textContent = count ? `${count} here` : "";
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
		const most = $("create-most").valueAsNumber;
		await this.#box.rooms.create(name, {
			...(title && { title }),
			...(most && { max_members: most }),
			...($("create-lobby").checked && { lobby: true }),
			...($("create-durable").checked && { history: { durable: true } }),
			visibility: $("create-private").checked ? "private" : "public",
		});
		$("create-dialog").close();
		this.#enter(name, $("create"));
	}
}

function mark(name, label) {
	return h("span", { className: "mark", role: "img", title: label, aria: { label } }, icon(name));
}
