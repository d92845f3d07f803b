import { $, avatar, busy, h, icon, notify } from "./dom.js";

const MOST_LINES = 500;
const PAGE = 30;
const NEAR_TOP = 40; // pixels

/** Messages of the room, and the panel they stand in. */
export class Chat {
	#room;
	#me;
	#names = new Map();
	#unread = 0;
	#abort = new AbortController();
	/** By epoch and offset. @type {Map<string, HTMLElement>} */
	#lines = new Map();
	/** Before what the next page of history ends. */
	#oldest;
	/** The message that is being written anew. */
	#editing = null;

	constructor(room, me) {
		this.#room = room;
		this.#me = me;
		this.#oldest = { epoch: room.epoch, offset: room.offset + 1 };
		$("chat-log").replaceChildren(h("li", { className: "chat-note" }, "Messages go to everybody who is here."));
		$("chat-form").onsubmit = (event) => {
			event.preventDefault();
			void this.#send();
		};
		$("chat-input").onkeydown = (event) => {
			if (event.key === "Escape" && this.#editing) {
				event.stopPropagation();
				this.#edit(null);
			}
		};
		$("chat-earlier").hidden = true;
		$("chat-earlier").onclick = () => busy($("chat-earlier"), () => this.#earlier());
		$("chat-log").onscroll = () => {
			if ($("chat-log").scrollTop < NEAR_TOP && !$("chat-earlier").hidden) $("chat-earlier").click();
		};
		$("panel-toggle").onclick = () => this.#toggle($("panel").classList.contains("closed"));
		$("panel-close").onclick = () => this.#toggle(false);
		document.addEventListener("keydown", (event) => {
			if (event.key === "Escape" && narrow() && !document.querySelector("dialog[open]")) this.#toggle(false);
		}, { signal: this.#abort.signal });
		this.#edit(null);
		this.#toggle(!narrow(), false);
		this.#earlier().catch(() => {}); // a room without it has only what is said from now on
	}

	close() {
		this.#abort.abort();
		$("chat-log").onscroll = null;
	}

	add(message) {
		if (this.#lines.has(keyOf(message))) return;
		const item = this.#item(message);
		if (!item) return;
		const log = $("chat-log");
		const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
		log.append(item);
		if (atEnd) {
			this.#trim();
			log.scrollTop = log.scrollHeight;
		}
		if ($("panel").classList.contains("closed")) this.#countUnread(this.#unread + 1);
	}

	edited({ offset, data, message }) {
		const item = this.#lines.get(keyOf({ epoch: message.epoch, offset }));
		if (item) this.#fill(item, { ...item.message, data, edited_at: message.time });
	}

	redacted({ offset, message }) {
		const item = this.#lines.get(keyOf({ epoch: message.epoch, offset }));
		if (item) this.#fill(item, { ...item.message, data: null, redacted: true });
	}

	gap() {
		$("chat-log").append(h("li", { className: "chat-note" }, "Some messages were missed while you were away."));
	}

	/** One page more of what was said before. */
	async #earlier() {
		const { messages, more } = await this.#room.history({ since: this.#oldest, limit: PAGE, reverse: true });
		if (this.#abort.signal.aborted) return;
		const log = $("chat-log");
		const below = log.scrollHeight - log.scrollTop;
		for (const message of messages) {
			this.#oldest = { epoch: message.epoch, offset: message.offset };
			const item = this.#lines.has(keyOf(message)) ? null : this.#item(message);
			if (item) log.firstElementChild.after(item);
		}
		$("chat-earlier").hidden = !more;
		log.scrollTop = log.scrollHeight - below;
	}

	/** Whoever reads what is new has no need of the top of a long list; it can be fetched again. */
	#trim() {
		while (this.#lines.size > MOST_LINES) {
			const first = $("chat-log").querySelector(".message");
			const { epoch, offset } = first.message;
			this.#lines.delete(keyOf(first.message));
			first.remove();
			this.#oldest = { epoch, offset: offset + 1 };
			$("chat-earlier").hidden = false;
		}
	}

	/* ---- one message ---- */

	#item(message) {
		const { from, edits, redacts, redacted } = message;
		if (edits || redacts || (!redacted && textOf(message) === null)) return null;
		const mine = from.user === this.#me.id;
		const item = h("li", { className: mine ? "message mine" : "message", data: { testid: "chat-message", user: from.user } });
		this.#lines.set(keyOf(message), item);
		this.#fill(item, message);
		return item;
	}

	#fill(item, message) {
		const { from, time, edited_at, redacted } = message;
		const mine = from.user === this.#me.id;
		const name = mine ? this.#me.name : this.#nameOf(from);
		const head = h("span", { className: "message-head" }, h("b", {}, name), " ", h("time", {}, clock(time)));
		if (edited_at && !redacted) head.append(" ", h("span", { className: "message-edited" }, "edited"));
		const text = redacted
			? h("span", { className: "message-text gone" }, "This message was taken back.")
			: h("span", { className: "message-text" }, textOf(message));
		item.message = message;
		item.dataset.redacted = String(redacted === true);
		item.replaceChildren(avatar(from.user, name, "small"), h("div", { className: "bubble" }, head, text));
		if (!redacted) item.append(...this.#acts(item, mine));
	}

	#acts(item, mine) {
		const moderates = ["owner", "moderator"].includes(this.#room.role);
		const button = (id, name, label, onclick) => h("button", {
			type: "button", className: "control small quiet message-act", title: label, onclick,
			data: { testid: id }, aria: { label },
		}, icon(name));
		const acts = [];
		if (mine) acts.push(button("message-edit", "edit", "Edit this message", () => this.#edit(item)));
		if (mine || moderates)
			acts.push(button("message-delete", "bin", "Take this message back", () => this.#room.redact(item.message).catch(notify)));
		return acts;
	}

	/** @param {any} item the message to write anew, or null for a new one */
	#edit(item) {
		this.#editing = item;
		$("chat-input").value = item ? textOf(item.message) : "";
		$("chat-input").placeholder = item ? "Esc: leave it as it was" : "Message to all";
		if (item) $("chat-input").focus();
	}

	#nameOf({ peer, user }) {
		const name = this.#room.members.get(peer)?.name;
		if (name) this.#names.set(user, name);
		return this.#names.get(user) ?? (user.startsWith("guest:") ? "Guest" : user);
	}

	async #send() {
		const input = $("chat-input");
		const text = input.value.trim();
		const editing = this.#editing;
		if (!text) return;
		this.#edit(null);
		try {
			if (editing) await this.#room.edit(editing.message, { text });
			else await this.#room.publish({ text }, { idempotencyKey: crypto.randomUUID() });
		} catch (error) {
			if (!input.value) input.value = text;
			notify(error);
		}
	}

	/* ---- the panel ---- */

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

function keyOf({ epoch, offset }) {
	return `${epoch}:${offset}`;
}

/** What a page said that writes as this one does; null: something else. */
function textOf({ data }) {
	const text = typeof data === "string" ? data : data?.text;
	return typeof text === "string" ? text : null;
}

function narrow() {
	return matchMedia("(max-width: 52rem)").matches;
}

function clock(time) {
	return new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}
