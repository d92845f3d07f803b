import { $, avatar, busy, h, icon, notify, problem } from "./dom.js";

const RANK = { viewer: 0, member: 1, moderator: 2, owner: 3 };

/** What moderators see and do in a room: who knocks, the lock, invitations, and what to do with a person. */
export class Moderator {
	#room;
	#offs = [];
	#locked = false;

	constructor(room) {
		this.#room = room;
		const on = (name, listener) => this.#offs.push(room.on(name, listener));
		on("knocked", (knock) => this.#knocked(knock));
		on("knock-ended", ({ knock }) => entryOf(knock)?.remove());
		on("me", () => this.#may());
		on("updated", ({ member, changes }) => !member && changes.locked !== undefined && this.#showLock(changes.locked));
		$("knocks").replaceChildren();
		$("lock").onclick = () => busy($("lock"), () => room.moderation.lock(!this.#locked));
		$("invite").onclick = () => this.#openInvite();
		$("invite-form").onsubmit = (event) => {
			event.preventDefault();
			void busy($("invite-make"), () => this.#invite(), (error) => problem($("invite-problem"), error));
		};
		this.#may();
	}

	get #moderates() {
		return RANK[this.#room.role] >= RANK.moderator;
	}

	close() {
		for (const off of this.#offs.splice(0)) off();
		$("lock").hidden = $("invite").hidden = true;
		$("knocks").replaceChildren();
	}

	/** Whether there is anything to do with this person. */
	over(member) {
		return this.#moderates && RANK[member.role] < RANK[this.#room.role];
	}

	/** The menu of what can be done with a person. */
	openMenu(member) {
		const room = this.#room;
		const act = (id, label, work, danger = false) => {
			const button = h("button", { type: "button", textContent: label, data: { testid: id }, className: danger ? "danger" : "" });
			button.onclick = () => {
				$("person-dialog").close();
				work().catch(notify);
			};
			return button;
		};
		const { moderation } = room;
		const user = { user: member.user };
		const acts = [
			member.muted
				? act("act-unmute", "Let speak again", () => moderation.unmute(user))
				: act("act-mute", "Mute", () => moderation.mute(user)),
			act("act-kick", "Take out of the room", () => moderation.kick(user), true),
			act("act-ban", "Ban from the room", () => moderation.ban(member.user), true),
		];
		if (room.role === "owner" && !member.user.startsWith("guest:")) {
			const grant = (role) => () => moderation.grant(member.user, role);
			acts.unshift(member.role === "moderator"
				? act("act-member", "Make an ordinary member", grant("member"))
				: act("act-moderator", "Make a moderator", grant("moderator")));
		}
		$("person-title").textContent = member.name;
		$("person-acts").replaceChildren(...acts);
		$("person-dialog").showModal();
	}

	/** What it takes to be asked: told anew whenever the own role changes. */
	#may() {
		const may = this.#moderates;
		$("lock").hidden = $("invite").hidden = !may;
		this.#showLock(this.#locked);
		if (!may) {
			$("knocks").replaceChildren();
			return;
		}
		this.#room.moderation.knocks().then((knocks) => knocks.forEach((knock) => this.#knocked(knock)), ignore);
	}

	/** The room as the service described it. */
	describe({ locked = false }) {
		this.#showLock(locked);
	}

	#showLock(locked) {
		this.#locked = locked;
		const label = locked ? "Locked" : "Lock";
		$("lock").setAttribute("aria-pressed", String(locked));
		$("lock").title = locked ? "Nobody else can come in. Press to open." : "Let nobody else in";
		$("lock").replaceChildren(icon(locked ? "lock" : "unlock"), h("span", {}, label));
	}

	/* ---- the door ---- */

	#knocked({ knock, user, name, message }) {
		if (!this.#moderates || entryOf(knock)) return;
		const answer = (id, label, className, work) => {
			const button = h("button", { type: "button", textContent: label, className, data: { testid: id } });
			button.onclick = () => busy(button, work);
			return button;
		};
		const { moderation } = this.#room;
		$("knocks").append(h("li", { className: "knock", data: { testid: "knock-entry", knock, user } },
			avatar(user, name, "small"),
			h("span", { className: "knock-text" }, h("b", {}, name), " wants to come in", message ? `: “${message}”` : "."),
			answer("knock-deny", "No", "", () => moderation.deny(knock)),
			answer("knock-admit", "Let in", "primary", () => moderation.admit(knock))));
	}

	/* ---- invitations ---- */

	#openInvite() {
		problem($("invite-problem"), null);
		$("invite-made").hidden = true;
		$("invite-dialog").showModal();
	}

	async #invite() {
		const { token } = await this.#room.moderation.invite({
			uses: $("invite-uses").valueAsNumber,
			expiresIn: Number($("invite-time").value),
			guests: $("invite-guests").checked,
		});
		// Behind the #, so that no server and no log on the way gets to see it.
		$("invite-link").value = `${location.origin}/#invitation=${token}`;
		$("invite-made").hidden = false;
		$("invite-link").select();
		await navigator.clipboard?.writeText($("invite-link").value).then(
			() => notify("The link is copied.", { kind: "done" }), ignore);
	}
}

function entryOf(knock) {
	return [...$("knocks").children].find((entry) => entry.dataset.knock === knock);
}

function ignore() {}
