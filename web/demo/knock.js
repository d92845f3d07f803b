import { $, problem, show } from "./dom.js";

/** In front of a room whose members want to be asked first. */
export class Door {
	#back;
	/** The room in front of which the person stands, and how that ends. */
	#at = null;

	/** @param {{back: () => void}} actions */
	constructor({ back }) {
		this.#back = back;
	}

	/**
	 * Waits until somebody opens.
	 * @returns {Promise<any>} the Room, or null when the person went away again
	 */
	knock(box, name) {
		show("knock");
		document.title = `${name} · Signalbox`;
		$("knock-room").textContent = name;
		this.#waits(false, "Somebody inside has to let you in.");
		return new Promise((done, failed) => {
			this.#at = { name, done, failed };
			$("knock-back").onclick = () => {
				this.leave();
				this.#back();
			};
			$("knock-form").onsubmit = (event) => {
				event.preventDefault();
				this.#waits(true, "You have knocked. Wait until somebody opens.");
				void this.#wait(box, name);
			};
		});
	}

	/** The person goes elsewhere. */
	leave() {
		this.#at?.done(null);
		this.#at = null;
	}

	/** Whoever went away and came back knocks twice, and both are told. */
	async #wait(box, name) {
		const here = () => (this.#at?.name === name ? this.#at : null);
		try {
			const room = await box.knock(name, { message: $("knock-message").value.trim() });
			if (here()) here().done(room);
			else await room.leave();
		} catch (error) {
			here()?.failed(error);
		}
	}

	#waits(yes, text) {
		$("knock-form").hidden = yes;
		$("knock-spinner").hidden = !yes;
		$("knock-text").textContent = text;
	}
}

/** By an invitation: as a guest, or with an account. */
export function askGuest({ found, signIn }) {
	$("guest-room").textContent = `to the room ${found.title || found.room}`;
	$("guest-form").hidden = !found.guests;
	$("guest-sign-in").classList.toggle("primary", !found.guests);
	$("guest-sign-in").textContent = found.guests ? "I have an account" : "Sign in and join";
	$("guest-sign-in").onclick = signIn;
	problem($("guest-problem"), null);
	show("guest");
	return new Promise((done) => {
		$("guest-form").onsubmit = (event) => {
			event.preventDefault();
			done($("guest-name").value.trim());
		};
	});
}
