import { $ } from "./dom.js";

/** Most losses are over before anybody needs to read about them. */
const PATIENCE_MS = 1_500;

const WORD = { connecting: "Connecting…", open: "Connected", reconnecting: "Reconnecting…", offline: "Offline", closed: "Disconnected" };

/**
 * Keeps the line at the top that says how the connection is, and below it, while there is none, what
 * is the matter and a button that tries at once.
 */
export function watchStatus(box) {
	let since = 0; // when it was lost
	let later = 0;
	let ticking = 0;

	const word = ({ state, transport }) => {
		if (state === "open") return transport === "http" ? "Over HTTP" : WORD.open;
		return since && state === "connecting" ? WORD.reconnecting : WORD[state];
	};

	const explain = ({ state, message }, until) => {
		$("trouble").hidden = false;
		if (state !== "connecting") $("trouble-text").textContent = message;
		const count = () => {
			const seconds = Math.ceil((until - Date.now()) / 1000);
			$("countdown").textContent = state === "offline" ? "" : seconds > 0 ? `Reconnecting in ${seconds} s…` : "Trying now…";
		};
		clearInterval(ticking);
		ticking = setInterval(count, 250);
		count();
	};

	const stop = () => {
		clearTimeout(later);
		clearInterval(ticking);
	};

	box.on("status", (status) => {
		stop();
		const { state } = status;
		const away = state === "reconnecting" || state === "offline" || (since > 0 && state === "connecting");
		since = away ? since || Date.now() : 0;
		$("status").hidden = false;
		$("status").dataset.state = state;
		$("status").dataset.transport = status.transport;
		// Said to those who listen only when it is another one.
		if ($("status-word").textContent !== word(status)) $("status-word").textContent = word(status);
		$("status-why").hidden = !status.blocked;
		$("status").title = status.message;
		if (!away) {
			$("trouble").hidden = true;
			return;
		}
		const until = Date.now() + (status.delay ?? 0);
		const patience = state === "offline" ? 0 : since + PATIENCE_MS - Date.now();
		if (patience <= 0) explain(status, until);
		else later = setTimeout(() => explain(status, until), patience);
	});
	$("try-now").onclick = () => box.check();
}
