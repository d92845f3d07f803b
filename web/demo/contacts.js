import { $, avatar, busy, h, icon, notify } from "./dom.js";

const KEPT = "signalbox.demo.people";
const MOST = 100;
const CALLS = 8;

const WORD = { online: "online", away: "away", offline: "offline" };

/** People one has met, whether they are here now, and the calls with them. */
export class Contacts {
	#box = null;
	#ring;
	#offs = [];
	/** Names by user, of whoever signed in here. @type {Map<string, string>} */
	#names = new Map();
	#calls = [];

	/** @param {{ring: (user: string, name: string) => Promise<void>}} actions */
	constructor({ ring }) {
		this.#ring = ring;
		$("contact-form").onsubmit = (event) => {
			event.preventDefault();
			const user = $("contact-name").value.trim();
			$("contact-name").value = "";
			if (user) this.met([{ user, name: user }]);
		};
	}

	/** Begins for whoever is signed in now. */
	begin(box) {
		this.#box = box;
		this.#names = new Map(Object.entries(JSON.parse(localStorage.getItem(this.#key()) ?? "{}")));
		box.on("presence", () => this.#draw());
		box.on("missed", () => this.#load().catch(notify));
		this.#draw();
		void this.#watch([...this.#names.keys()]);
	}

	/** It is looked at. */
	open() {
		this.#draw();
		this.#load().catch(notify);
	}

	/** People came by. @param {Iterable<{user: string, name: string}>} people */
	met(people) {
		const fresh = [];
		for (const { user, name } of people) {
			if (user === this.#box.user.id || user.startsWith("guest:")) continue;
			if (this.#names.get(user) === name || (this.#names.has(user) && name === user)) continue;
			if (!this.#names.has(user)) fresh.push(user);
			this.#names.set(user, name);
		}
		while (this.#names.size > MOST) this.#names.delete(this.#names.keys().next().value);
		localStorage.setItem(this.#key(), JSON.stringify(Object.fromEntries(this.#names)));
		this.#draw();
		void this.#watch(fresh);
	}

	nameOf(user) {
		return this.#names.get(user) ?? user;
	}

	#key() {
		return `${KEPT}.${this.#box.user.id}`;
	}

	async #watch(users) {
		if (!users.length) return;
		await this.#box.presence.watch(users).catch(notify);
		this.#draw();
	}

	async #load() {
		const { calls } = await this.#box.calls.history({ limit: CALLS });
		this.#calls = calls;
		this.#draw();
		if (document.body.dataset.view === "lobby" && calls.some(({ seen, direction }) => !seen && direction === "in"))
			await this.#box.calls.seen();
	}

	#draw() {
		const { focused, list } = focusIn("contacts", "calls");
		const order = { online: 0, away: 1, offline: 2 };
		const people = [...this.#names].map(([user, name]) => {
			const { status = "offline", last_seen } = this.#box.presence.users.get(user) ?? {};
			return { user, name, status, last_seen };
		});
		people.sort((a, b) => order[a.status] - order[b.status] || a.name.localeCompare(b.name));
		$("contacts").replaceChildren(...people.map((person) => this.#person(person)));
		$("contacts-empty").hidden = people.length > 0;
		$("calls").replaceChildren(...this.#calls.map((call) => this.#call(call)));
		$("calls-part").hidden = this.#calls.length === 0;
		if (focused) $(list).querySelector(`[data-key="${CSS.escape(focused)}"] button`)?.focus();
	}

	#person({ user, name, status, last_seen }) {
		const seen = status === "offline" && last_seen ? `last here ${ago(last_seen)}` : WORD[status];
		const face = h("span", { className: "face" }, avatar(user, name, "small"), h("span", { className: "dot", data: { status } }));
		const text = h("span", { className: "contact-text" },
			h("span", { className: "person-name" }, name),
			h("span", { className: "person-note" }, seen));
		return h("li", { data: { testid: "contact", key: user, user, status } }, face, text, this.#ringer(user, name));
	}

	#call({ call, user, name, direction, outcome, started_at, seen }) {
		const missed = direction === "in" && MISSED.has(outcome);
		const words = missed ? "missed" : direction === "in" ? "called you" : OUT[outcome] ?? "you called";
		const text = h("span", { className: "contact-text" },
			h("span", { className: "person-name" }, this.#names.get(user) ?? name ?? user),
			h("span", { className: "person-note" }, `${words}, ${ago(started_at)}`));
		const data = { testid: "call-entry", key: call, user, outcome, missed: String(missed), seen: String(seen) };
		return h("li", { data }, avatar(user, name ?? user, "small"), text, this.#ringer(user, name ?? user));
	}

	#ringer(user, name) {
		const label = `Call ${name}`;
		const button = h("button", {
			type: "button", className: "control small", title: label, data: { testid: "contact-call" }, aria: { label },
		}, icon("phone"));
		button.onclick = () => busy(button, () => this.#ring(user, this.nameOf(user)));
		return button;
	}
}

/** Whose button has the focus, which a new list is not to take away. */
function focusIn(...lists) {
	const entry = document.activeElement?.closest?.("[data-key]");
	const list = lists.find((id) => entry && $(id).contains(entry));
	return { focused: list && entry.dataset.key, list };
}

const MISSED = new Set(["timeout", "cancelled", "unreachable", "busy", "lost"]);
const OUT = {
	timeout: "did not answer", cancelled: "you gave up", declined: "declined", busy: "was in another call",
	unreachable: "could not be reached",
};

/** @param {number} time in seconds since 1970 */
function ago(time) {
	const minutes = Math.max(0, Math.round((Date.now() / 1000 - time) / 60));
	const how = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
	if (minutes < 1) return "just now";
	if (minutes < 60) return how.format(-minutes, "minute");
	if (minutes < 60 * 24) return how.format(-Math.round(minutes / 60), "hour");
	return how.format(-Math.round(minutes / 60 / 24), "day");
}
