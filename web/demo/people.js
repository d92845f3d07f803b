import { $, avatar, h, icon } from "./dom.js";

/** Writes the list of who is here. */
export function showPeople(room, me, call) {
	const { peer, state } = room;
	const mine = { peer, user: me.id, name: `${me.name} (you)`, state, connected: true };
	const all = [mine, ...room.members.values()];
	$("people").replaceChildren(...all.map((member) => entry(member, call)));
	$("people-count").textContent = String(all.length);
}

function entry(member, call) {
	const state = member.state ?? {};
	const inCall = state.call === true;
	const data = {
		testid: "person",
		peer: member.peer,
		user: member.user,
		state: call.peers.get(member.peer)?.state ?? "",
		connected: String(member.connected !== false),
	};
	const item = h("li", { data },
		avatar(member.user, member.name, "small"),
		h("span", { className: "person-name" }, member.name),
		h("span", { className: "person-note" }, note(member)));
	if (inCall) {
		item.append(mark(state.audio === true, "mic", "microphone"));
		item.append(mark(state.video === true, "camera", "camera"));
	}
	return item;
}

function note({ connected, state }) {
	if (connected === false) return "reconnecting…";
	if (state?.call !== true) return "not in the call";
	return state.screen ? "shows the screen" : "";
}

function mark(on, name, word) {
	const label = `${word} ${on ? "on" : "off"}`;
	const className = `mark ${on ? "on" : "off"}`;
	return h("span", { className, role: "img", title: label, aria: { label } }, icon(on ? name : `${name}-off`));
}
