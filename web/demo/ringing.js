import { $, announce, avatar, notify } from "./dom.js";

const TITLE_MS = 1_000;
/** Ends of which nobody here need be told: one did it, or the call is missed, which is told by itself. */
const QUIET = new Set(["declined", "cancelled", "timeout"]);

/** The dialog while a telephone rings, here or there. */
export class Ringing {
	#talk;
	/** The call that the dialog shows. */
	#ring = null;
	#title = "";
	#flash = 0;
	#sound = null;
	/** Missed calls that were told of. */
	#told = new Set();

	/** @param {{talk: (ring: any, wanted: {audio: boolean, video: boolean}) => void}} actions */
	constructor({ talk }) {
		this.#talk = talk;
		$("ring-yes").onclick = () => this.#accept({ audio: true, video: true });
		$("ring-voice").onclick = () => this.#accept({ audio: true, video: false });
		$("ring-no").onclick = () => this.#refuse();
		$("ring-dialog").addEventListener("cancel", (event) => {
			event.preventDefault();
			this.#refuse();
		});
	}

	begin(box) {
		box.on("incoming", (ring) => this.#incoming(ring));
		box.on("missed", ({ calls }) => {
			const fresh = calls.filter(({ call }) => !this.#told.has(call));
			for (const { call } of fresh) this.#told.add(call);
			const [newest] = fresh;
			const more = fresh.length > 1 ? `, and ${fresh.length - 1} more` : "";
			if (newest) notify(`You missed a call from ${newest.name ?? newest.user}${more}.`, { kind: "done" });
		});
	}

	/** Calls somebody. */
	async call(box, user, name, wanted) {
		const ring = await box.calls.ring(user, { name });
		const devices = ring.devices > 1 ? ` on ${ring.devices} devices` : "";
		this.#show(ring, `Calling ${name}…`, `It rings${devices}.`);
		ring.on("accepted", () => {
			this.#close(ring);
			this.#talk(ring, wanted);
		});
		ring.on("ended", ({ reason, message }) => {
			if (this.#close(ring) && reason !== "cancelled") notify(`${name}: ${message}`, { kind: "done" });
		});
	}

	#incoming(ring) {
		const { name, user } = ring.other;
		ring.on("ended", ({ reason, message }) => {
			if (this.#close(ring) && !QUIET.has(reason)) notify(`${name}: ${message}`, { kind: "done" });
		});
		if (this.#ring) return; // one at a time; the other goes on ringing, and is missed in the end
		this.#show(ring, `${name} calls you`, user === name ? "" : user);
		announce(`${name} calls you`);
		this.#alarm();
	}

	#show(ring, title, text) {
		this.#ring = ring;
		const incoming = ring.direction === "in";
		$("ring-face").replaceChildren(avatar(ring.other.user, ring.other.name));
		$("ring-title").textContent = title;
		$("ring-text").textContent = text;
		$("ring-no").textContent = incoming ? "Decline" : "Give up";
		$("ring-yes").hidden = $("ring-voice").hidden = !incoming;
		for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
		$("ring-dialog").showModal();
		// Not a button: who is writing just now would press it.
		(incoming ? $("ring-title") : $("ring-no")).focus();
	}

	/** @returns {boolean} whether it was this one that is shown */
	#close(ring) {
		if (this.#ring !== ring) return false;
		this.#ring = null;
		$("ring-dialog").close();
		clearInterval(this.#flash);
		if (this.#title) document.title = this.#title;
		this.#title = "";
		this.#sound?.close();
		this.#sound = null;
		return true;
	}

	async #accept(wanted) {
		const ring = this.#ring;
		if (!ring) return;
		try {
			await ring.accept();
			this.#close(ring);
			this.#talk(ring, wanted);
		} catch (error) {
			if (this.#close(ring)) notify(error);
		}
	}

	async #refuse() {
		const ring = this.#ring;
		if (!ring) return;
		this.#close(ring);
		await ring.hangUp().catch(notify);
	}

	/** In the title, for another tab; and by ear, where the browser lets a page make a sound. */
	#alarm() {
		const ringing = $("ring-title").textContent;
		this.#title = document.title;
		this.#flash = setInterval(() => {
			document.title = document.title === this.#title ? `☎ ${ringing}` : this.#title;
		}, TITLE_MS);
		if (!navigator.userActivation?.hasBeenActive) return;
		const sound = (this.#sound = new AudioContext());
		const tone = new OscillatorNode(sound, { frequency: 480 });
		const volume = new GainNode(sound, { gain: 0 });
		for (let second = 0; second < 120; second += 3) {
			volume.gain.setValueAtTime(0.06, sound.currentTime + second);
			volume.gain.setValueAtTime(0, sound.currentTime + second + 0.9);
		}
		tone.connect(volume).connect(sound.destination);
		tone.start();
	}
}
