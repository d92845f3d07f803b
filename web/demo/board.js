import { $, avatar, h, icon, notify } from "./dom.js";

const DATASET = "demo-board";
const OPEN = "signalbox.demo.board";
const LANES = [["todo", "To do"], ["doing", "Doing"], ["done", "Done"]];
const STEP = 1024;

/** The cards of a room, which everybody there moves and changes; also without a connection. */
export class Board {
	#room;
	#me;
	#dataset;
	#live = null;
	#offs = [];
	#over = false;
	/** The id of a card that is being dragged. @type {string | null} */
	#dragged = null;
	/** By id. @type {Map<string, HTMLElement>} */
	#cards = new Map();

	/** @param {any} room @param {{id: string, name: string}} me @param {any} box */
	constructor(room, me, box) {
		this.#room = room;
		this.#me = me;
		this.#dataset = box.dataset(DATASET, { conflict: (conflict) => this.#collided(conflict) });
		$("board").hidden = true;
		$("board-toggle").hidden = true;
		$("board-toggle").onclick = () => {
			localStorage.setItem(OPEN, this.#live ? "" : "yes");
			this.#toggle(!this.#live);
		};
		void this.#offer(box);
	}

	close() {
		this.#over = true;
		$("board-toggle").hidden = true;
		this.#toggle(false);
	}

	/** Where the server has one. Rooms that not everybody may enter have none: each account sees all boards. */
	async #offer(box) {
		const [datasets, found] = await Promise.all([box.datasets.list(), box.rooms.get(this.#room.name)]).catch(() => [[], {}]);
		const there = datasets.some(({ dataset, may }) => dataset === DATASET && may.includes("insert"));
		if (this.#over || !there || found.visibility === "private") return;
		$("board-toggle").hidden = false;
		this.#toggle(localStorage.getItem(OPEN) === "yes");
	}

	#toggle(open) {
		$("board-toggle").setAttribute("aria-pressed", String(open));
		$("board").hidden = !open;
		$("stage").classList.toggle("with-board", open);
		for (const off of this.#offs.splice(0)) off();
		this.#live?.close();
		this.#live = null;
		this.#cards.clear();
		if (!open) return;
		$("lanes").replaceChildren(...LANES.map(([lane, title]) => this.#lane(lane, title)));
		this.#live = this.#dataset.live({ where: ["=", "room", this.#room.name], order: ["place"] });
		this.#offs = [
			this.#live.on("change", () => this.#draw()),
			this.#live.on("status", () => this.#state()),
			this.#dataset.on("pending", () => this.#state()),
			this.#live.on("error", (error) => error.reason !== "conflict" && notify(error)),
		];
		this.#draw();
		this.#state();
	}

	/* ---- what is there ---- */

	#state() {
		const { status } = this.#live;
		const { pending } = this.#dataset;
		const waiting = pending === 1 ? "1 change waits to be sent" : `${pending} changes wait to be sent`;
		const words = { live: "Up to date", "catching up": "Fetching…", offline: "Offline", stale: "From your last visit" };
		$("board-state").dataset.state = status;
		$("board-state").dataset.pending = String(pending);
		$("board-state").textContent = pending && status !== "live" ? `${words[status]}: ${waiting}` : words[status];
	}

	#draw() {
		const { rows } = this.#live;
		const there = new Set(rows.map(({ id }) => id));
		for (const [id, card] of this.#cards) {
			if (there.has(id)) continue;
			card.remove();
			this.#cards.delete(id);
		}
		for (const [lane] of LANES) {
			const list = $(`lane-${lane}`);
			const cards = rows.filter((row) => row.lane === lane).map((row) => this.#card(row));
			for (const [at, card] of cards.entries()) if (list.children[at] !== card) list.insertBefore(card, list.children[at] ?? null);
			list.previousElementSibling.lastElementChild.textContent = String(cards.length);
		}
	}

	#lane(lane, title) {
		const input = h("input", { maxLength: 500, placeholder: "Add a card", enterKeyHint: "send", data: { testid: "card-new", lane }, aria: { label: `New card in ${title}` } });
		const add = h("button", { className: "control small", title: "Add", data: { testid: "card-add", lane }, aria: { label: `Add to ${title}` } }, icon("plus"));
		const form = h("form", { className: "row lane-form", autocomplete: "off" }, input, add);
		form.onsubmit = (event) => {
			event.preventDefault();
			const text = input.value.trim();
			input.value = "";
			if (text) this.#add(lane, text);
		};
		const list = h("ol", { className: "cards", id: `lane-${lane}`, aria: { label: title } });
		const section = h("section", { className: "lane", data: { testid: "lane", lane } },
			h("h3", {}, title, " ", h("span", { className: "count" }, "0")), list, form);
		section.ondragover = (event) => {
			if (this.#dragged) event.preventDefault();
		};
		section.ondrop = (event) => {
			if (!this.#dragged) return;
			event.preventDefault();
			const before = [...list.children].find((card) => event.clientY < card.getBoundingClientRect().top + card.offsetHeight / 2);
			this.#move(this.#dragged, lane, before?.row ?? null);
		};
		return section;
	}

	/** The element of a card; the same one as long as it is there, so that the focus stays. */
	#card(row) {
		let card = this.#cards.get(row.id);
		if (card?.row === row) return card;
		if (!card) {
			card = h("li", { className: "board-card", draggable: true, data: { testid: "card", id: row.id } });
			card.ondragstart = (event) => {
				this.#dragged = row.id;
				event.dataTransfer.setData("text/plain", card.row.title);
			};
			card.ondragend = () => (this.#dragged = null);
			this.#cards.set(row.id, card);
		}
		card.row = row;
		if (!card.querySelector("form")) this.#fill(card);
		return card;
	}

	#fill(card) {
		const { row } = card;
		const focused = card.contains(document.activeElement) ? document.activeElement.dataset.testid : null;
		const place = LANES.findIndex(([lane]) => lane === row.lane);
		const title = h("button", { type: "button", className: "board-text", title: "Change the text", data: { testid: "card-title" } }, row.title);
		title.onclick = () => this.#edit(card);
		const remove = this.#button("card-delete", "bin", "Delete this card", () => this.#dataset.delete(row.id));
		const left = place > 0 && this.#mover(row, "card-left", "left", LANES[place - 1]);
		const right = place < LANES.length - 1 && this.#mover(row, "card-right", "right", LANES[place + 1]);
		const acts = h("span", { className: "board-acts" }, ...[left, right, remove].filter(Boolean));
		card.replaceChildren(title, h("span", { className: "board-foot" }, avatar(row.author, row.author, "small"), this.#who(row), acts));
		if (focused) (card.querySelector(`[data-testid="${focused}"]`) ?? title).focus();
	}

	#who({ author, editor }) {
		const name = (user) => (user === this.#me.id ? "you" : user);
		return h("span", { className: "board-who", data: { testid: "card-who" } }, editor === author ? name(author) : `${name(author)}, then ${name(editor)}`);
	}

	#button(id, name, label, onclick) {
		return h("button", { type: "button", className: "control small quiet", title: label, onclick, data: { testid: id }, aria: { label } }, icon(name));
	}

	#mover(row, id, name, [lane, title]) {
		return this.#button(id, name, `Move to ${title}`, () => this.#move(row.id, lane, null));
	}

	#edit(card) {
		const { row } = card;
		const input = h("textarea", { maxLength: 500, rows: 3, value: row.title, data: { testid: "card-input" }, aria: { label: "Text of the card" } });
		const form = h("form", { className: "board-edit" }, input,
			h("span", { className: "row end" }, h("button", { type: "button", className: "quiet", onclick: () => done() }, "Cancel"),
				h("button", { className: "primary", data: { testid: "card-save" } }, "Save")));
		const done = () => {
			form.remove();
			this.#fill(card);
			card.querySelector(".board-text").focus();
		};
		input.onkeydown = (event) => {
			event.stopPropagation(); // no keys of the page
			if (event.key === "Escape") done();
			if (event.key !== "Enter" || event.shiftKey) return;
			event.preventDefault();
			form.requestSubmit();
		};
		form.onsubmit = (event) => {
			event.preventDefault();
			const title = input.value.trim();
			// the text that was read, and no other, is replaced
			if (title && title !== row.title) this.#dataset.update(row.id, { title, editor: this.#me.id }, { if: { old: { title: row.title } } });
			done();
		};
		card.replaceChildren(form);
		input.focus();
		input.select();
	}

	/* ---- what is done ---- */

	#add(lane, title) {
		const id = crypto.randomUUID();
		const { id: user } = this.#me;
		this.#dataset.insert({ id, room: this.#room.name, lane, place: this.#between(this.#last(lane), null), title, author: user, editor: user });
		this.#cards.get(id)?.scrollIntoView({ block: "nearest" });
	}

	/** @param {string} id @param {string} lane @param {any} before the row it comes before; null: at the end */
	#move(id, lane, before) {
		const others = this.#live.rows.filter((row) => row.lane === lane && row.id !== id);
		if (before?.id === id) return;
		const at = before ? others.findIndex((row) => row.id === before.id) : others.length;
		const place = this.#between(others[at - 1] ?? null, others[at] ?? null);
		this.#dataset.update(id, { lane, place, editor: this.#me.id });
	}

	#last(lane) {
		return this.#live.rows.findLast((row) => row.lane === lane) ?? null;
	}

	/** A little beside the middle, so that two who do the same at once do not get the same place. */
	#between(before, after) {
		const low = before?.place ?? (after ? after.place - STEP : 0);
		const high = after?.place ?? low + STEP;
		return low + (high - low) * (0.4 + Math.random() / 5);
	}

	/** Somebody has changed the same text meanwhile: theirs stays, ours is told. */
	#collided({ ops: [{ set }], conflicts: [{ current }] }) {
		const what = current ? `${current.editor} changed this card at the same time, and that stays.` : "This card has been deleted meanwhile.";
		if (set?.title) notify(`${what} Your text was: “${set.title}”`);
		return null;
	}
}
