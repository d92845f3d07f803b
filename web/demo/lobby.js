import { Contacts } from "./contacts.js";
import { $, busy, problem } from "./dom.js";
import { RoomsList } from "./rooms-list.js";

/** Where one goes from: a room by its name, the rooms there are, the people one knows. */
export class Lobby {
	#join;
	#rooms = new RoomsList({ enter: (name, button) => this.#enter(name, button) });
	contacts;

	/**
	 * @param {{
	 *   join: (name: string, wanted: {audio: boolean, video: boolean}) => Promise<void>,
	 *   ring: (user: string, name: string) => Promise<void>,
	 * }} actions
	 */
	constructor({ join, ring }) {
		this.#join = join;
		this.contacts = new Contacts({ ring });
		$("join-form").onsubmit = (event) => {
			event.preventDefault();
			this.#enter($("room-name").value.trim(), event.submitter ?? $("join-form").querySelector("button"));
		};
		for (const [id, key] of [["with-mic", "mic"], ["with-camera", "camera"]]) {
			$(id).checked = localStorage.getItem(`signalbox.demo.${key}`) !== "off";
			$(id).onchange = () => localStorage.setItem(`signalbox.demo.${key}`, $(id).checked ? "on" : "off");
		}
	}

	/** What to join with. */
	wanted() {
		return { audio: $("with-mic").checked, video: $("with-camera").checked };
	}

	open(box, error) {
		problem($("lobby-problem"), error);
		this.#rooms.open(box);
		this.contacts.open(box);
	}

	close() {
		this.#rooms.close();
	}

	#enter(name, button) {
		if (!name) return;
		problem($("lobby-problem"), null);
		void busy(button, () => this.#join(name, this.wanted()), (error) => problem($("lobby-problem"), error));
	}
}
