import { $, h, icon, initials, tint } from "./dom.js";

/** Writes the list of who is here. */
export function showPeople(room, me, call) {
	const mine = { peer: room.peer, user: me.id, name: me.name, state: room.state, connected: true, self: true };
	const all = [mine, ...room.members.values()];
	$("people").replaceChildren(...all.map((member) => entry(member, call)));
	$("people-count").textContent = String(all.length);
}

function entry(member, call) {
	const state = member.state ?? {};
	const inCall = state.call === true;
	const note = !member.connected ? "away" : inCall ? (state.screen ? "shows the screen" : "") : "not in the call";
	const item = h("li", { className: member.connected ? "" : "away", data: { testid: "person", peer: member.peer, user: member.user } },
		h("span", { className: "avatar small", data: { tint: tint(member.user) }, aria: { hidden: "true" } }, initials(member.name)),
		h("span", { className: "person-name" }, member.self ? `${member.name} (you)` : member.name),
		h("span", { className: "person-note" }, note));
	if (inCall) item.append(mark(state.audio === true, "mic", "microphone"), mark(state.video === true, "camera", "camera"));
	item.dataset.state = call.peers.get(member.peer)?.state ?? "";
	return item;
}

function mark(on, name, word) {
	const span = h("span", { className: `mark ${on ? "on" : "off"}`, role: "img", title: `${word} ${on ? "on" : "off"}`, aria: { label: `${word} ${on ? "on" : "off"}` } });
	span.append(icon(on ? name : `${name}-off`));
	return span;
}
