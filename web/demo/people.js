import { $, avatar, h, icon } from "./dom.js";

/** Writes the list of who is here. */
export function showPeople(room, me, call, moderator) {
	const { peer, state, role, muted } = room;
	const mine = { peer, user: me.id, name: `${me.name} (you)`, state, role, muted, connected: true };
	const all = [mine, ...room.members.values()];
	const focused = document.activeElement?.closest?.(".person-more")?.closest("li")?.dataset.peer;
	$("people").replaceChildren(...all.map((member) => entry(member, call, member !== mine && moderator)));
	if (focused) $("people").querySelector(`[data-peer="${CSS.escape(focused)}"] .person-more`)?.focus();
	$("people-count").textContent = String(all.length);
}

function entry(member, call, moderator) {
	const state = member.state ?? {};
	const inCall = state.call === true;
	const data = {
		testid: "person",
		peer: member.peer,
		user: member.user,
		state: call.peers.get(member.peer)?.state ?? "",
		connected: String(member.connected !== false),
		role: member.role,
		muted: String(member.muted === true),
	};
	const item = h("li", { data },
		avatar(member.user, member.name, "small"),
		h("span", { className: "person-name" }, member.name),
		h("span", { className: "person-note" }, note(member)));
	if (inCall) {
		item.append(mark(state.audio === true, "mic", "microphone"));
		item.append(mark(state.video === true, "camera", "camera"));
	}
	if (moderator && moderator.over(member)) {
		const label = `What to do with ${member.name}`;
		const more = h("button", {
			type: "button", className: "control small quiet person-more", title: label, data: { testid: "person-menu" },
			aria: { label, haspopup: "dialog" },
		}, icon("more"));
		more.onclick = () => moderator.openMenu(member);
		item.append(more);
	}
	return item;
}

const ROLE = { owner: "owner", moderator: "moderator", viewer: "looks on" };

function note({ connected, state, role, muted }) {
	if (connected === false) return "reconnecting…";
	if (muted) return "muted by a moderator";
	const words = [ROLE[role], state?.screen ? "shows the screen" : state?.call === true ? "" : "not in the call"];
	return words.filter(Boolean).join(", ");
}

function mark(on, name, word) {
	const label = `${word} ${on ? "on" : "off"}`;
	const className = `mark ${on ? "on" : "off"}`;
	return h("span", { className, role: "img", title: label, aria: { label } }, icon(on ? name : `${name}-off`));
}
