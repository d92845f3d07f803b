import { $ } from "./dom.js";

/** Keeps the line at the top that says how the connection is. */
export function watchStatus(box) {
	let timer = 0;
	const say = (state, text) => {
		clearInterval(timer);
		$("status").hidden = false;
		$("status").dataset.state = state;
		$("status").textContent = text;
	};
	box.on("connecting", () => say("connecting", "Connecting…"));
	box.on("open", () => say("open", "Connected"));
	box.on("reconnecting", ({ delay, message }) => {
		const until = Date.now() + delay;
		const text = () => {
			const seconds = Math.ceil((until - Date.now()) / 1000);
			return seconds > 1 ? `Reconnecting in ${seconds} s` : "Reconnecting…";
		};
		say("reconnecting", text());
		$("status").title = message;
		timer = setInterval(() => ($("status").textContent = text()), 1000);
	});
	box.on("closed", () => say("closed", "Disconnected"));
}
