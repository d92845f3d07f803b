import { listDevices } from "/sdk/signalbox.js";
import { $, busy, h, icon, notify } from "./dom.js";

const PICKERS = [["audio", "pick-audio"], ["video", "pick-video"], ["speaker", "pick-speaker"]];

/** The buttons under the call. */
export class Controls {
	#call;
	#abort = new AbortController();

	/** @param {any} call a Call of the SDK @param {() => void} leave */
	constructor(call, leave) {
		this.#call = call;
		this.show({ audio: false, video: false, screen: null });
		$("mic").onclick = () => busy($("mic"), () => call.setAudio(!call.audio));
		$("camera").onclick = () => busy($("camera"), () => call.setVideo(!call.video));
		$("screen").onclick = () => busy($("screen"), async () => {
			if (call.screen) call.stopScreen();
			else await call.shareScreen();
		});
		$("screen").hidden = !navigator.mediaDevices?.getDisplayMedia;
		$("settings").onclick = () => busy($("settings"), () => this.#openDevices());
		$("leave").onclick = leave;
		document.addEventListener("keydown", (event) => this.#key(event), { signal: this.#abort.signal });
	}

	close() {
		this.#abort.abort();
	}

	/** @param {{audio: boolean, video: boolean, screen: unknown}} local */
	show({ audio, video, screen }) {
		face($("mic"), audio, audio ? "mic" : "mic-off", audio ? "Mute (M)" : "Unmute (M)");
		face($("camera"), video, video ? "camera" : "camera-off", video ? "Camera off (V)" : "Camera on (V)");
		face($("screen"), screen !== null, "screen", screen ? "Stop showing the screen" : "Show the screen");
	}

	/** @param {KeyboardEvent} event */
	#key(event) {
		if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
		if (event.target.closest("input, textarea, select, dialog")) return;
		if (event.key === "m") $("mic").click();
		if (event.key === "v") $("camera").click();
	}

	async #openDevices() {
		this.#show(await listDevices());
		$("devices-hint").textContent = this.#call.stream.getTracks().length
			? ""
			: "Names appear once the browser may use a microphone or camera.";
		const off = this.#call.on("devices", ({ devices }) => this.#show(devices));
		$("devices-dialog").onclose = off;
		$("devices-dialog").showModal();
	}

	#show(devices) {
		for (const [kind, id] of PICKERS) this.#fill($(id), kind, devices.filter((device) => device.kind === kind));
		$("speakers").hidden = !devices.some(({ kind }) => kind === "speaker");
	}

	#fill(select, kind, devices) {
		const used = kind === "speaker"
			? this.#call.speaker
			: this.#call.stream.getTracks().find((track) => track.kind === kind)?.getSettings().deviceId;
		const options = devices.map(({ id, label }) => h("option", { value: id, textContent: label, selected: id === used }));
		select.replaceChildren(...options);
		select.disabled = options.length === 0;
		if (options.length === 0) select.append(h("option", { textContent: "None found" }));
		select.onchange = () => this.#call.useDevice(kind, select.value).catch(notify);
	}
}

function face(button, on, name, label) {
	button.setAttribute("aria-pressed", String(on));
	button.setAttribute("aria-label", label);
	button.title = label;
	button.replaceChildren(icon(name));
}
