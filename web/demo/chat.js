import { $, avatar, h, notify } from "./dom.js";

const MOST_LINES = 500;

/** Messages of the room, and the panel they stand in. */
export class Chat {
	#room;
	#me;
	#names = new Map();
	#unread = 0;
	#abort = new AbortController();

	constructor(room, me) {
		this.#room = room;
		this.#me = me;
		$("chat-log").replaceChildren(h("li", { className: "chat-note" }, "Messages go to everybody who is here."));
		$("chat-form").onsubmit = (event) => {
			event.preventDefault();
			void this.#send();
		};
		$("panel-toggle").onclick = () => this.#toggle($("panel").classList.contains("closed"));
		$("panel-close").onclick = () => this.#toggle(false);
		document.addEventListener("keydown", (event) => {
			if (event.key === "Escape" && narrow() && !document.querySelector("dialog[open]")) this.#toggle(false);
		}, { signal: this.#abort.signal });
		this.#toggle(!narrow(), false);
	}

	close() {
		this.#abort.abort();
	}

	add({ from, data: said, time }) {
		const text = typeof said === "string" ? said : said?.text;
		if (typeof text !== "string") return;
		const mine = from.user === this.#me.id;
		const name = mine ? this.#me.name : this.#nameOf(from);
		const bubble = h("div", { className: "bubble" },
			h("span", { className: "message-head" }, h("b", {}, name), " ", h("time", {}, clock(time))),
			h("span", { className: "message-text" }, text));
		const data = { testid: "chat-message", user: from.user };
		const className = mine ? "message mine" : "message";
		this.#line(h("li", { className, data }, avatar(from.user, name, "small"), bubble));
		if ($("panel").classList.contains("closed")) this.#countUnread(this.#unread + 1);
	}

	gap() {
		this.#line(h("li", { className: "chat-note" }, "Some messages were missed while you were away."));
	}

	#line(item) {
		const log = $("chat-log");
		const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
		log.append(item);
		while (log.childElementCount > MOST_LINES) log.firstElementChild.remove();
		if (atEnd) log.scrollTop = log.scrollHeight;
	}

	#nameOf({ peer, user }) {
		const name = this.#room.members.get(peer)?.name;
		if (name) this.#names.set(user, name);
		return this.#names.get(user) ?? user;
	}

	async #send() {
		const input = $("chat-input");
		const text = input.value.trim();
		if (!text) return;
		input.value = "";
		try {
			await this.#room.publish({ text }, { idempotencyKey: crypto.randomUUID() });
		} catch (error) {
			if (!input.value) input.value = text;
			notify(error);
		}
	}

	#toggle(open, focus = true) {
		$("panel").classList.toggle("closed", !open);
		$("panel-toggle").setAttribute("aria-expanded", String(open));
		if (open) this.#countUnread(0);
		if (focus) (open ? $("chat-input") : $("panel-toggle")).focus();
		if (open) $("chat-log").scrollTop = $("chat-log").scrollHeight;
	}

	#countUnread(count) {
		this.#unread = count;
		$("unread").hidden = count === 0;
		$("unread").textContent = count > 9 ? "9+" : String(count);
		$("panel-toggle").setAttribute("aria-label", count ? `Chat and people, ${count} new` : "Chat and people");
	}
}

function narrow() {
	return matchMedia("(max-width: 52rem)").matches;
}

function clock(time) {
	return new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}
