import { avatar, h, icon } from "./dom.js";

const WORD = {
	new: "Connecting…",
	connecting: "Connecting…",
	disconnected: "Connection lost, trying again…",
	failed: "No connection. Check the network of both sides.",
};

/** The pictures of a call: one tile for each person, one more for each screen. */
export class Tiles {
	#root;
	#call;
	/** @type {Map<string, HTMLElement>} */
	#tiles = new Map();
	#mine = "";
	#resize = new ResizeObserver(() => this.#arrange());

	constructor(root, call) {
		this.#root = root;
		this.#call = call;
		this.#resize.observe(root);
	}

	addMine(peer, me) {
		this.#mine = peer;
		this.#make(peer, peer, { user: me.id, name: `${me.name} (you)`, mine: true });
	}

	/** This client came back under another id. */
	renameMine(peer) {
		for (const suffix of ["", "/screen"]) {
			const tile = this.#tiles.get(this.#mine + suffix);
			if (!tile) continue;
			this.#tiles.delete(this.#mine + suffix);
			this.#tiles.set(peer + suffix, tile);
			tile.dataset.peer = peer;
		}
		this.#mine = peer;
	}

	mine({ stream, audio, video, screen }) {
		const tile = this.#tiles.get(this.#mine);
		if (!tile) return;
		this.#attach(tile, stream);
		tile.dataset.audio = String(audio);
		tile.dataset.video = String(video);
		if (screen) this.#showScreen(this.#mine, screen, "Your screen", true);
		else this.#drop(`${this.#mine}/screen`);
	}

	add(peer) {
		const tile = this.#make(peer.peer, peer.peer, { user: peer.user, name: peer.name });
		this.state(peer.peer, peer.state);
		tile.dataset.audio = "true";
		tile.dataset.video = "false";
	}

	remove(peer) {
		this.#drop(peer);
		this.#drop(`${peer}/screen`);
	}

	/** What a member says of itself decides between picture and initials. */
	presence({ peer, state, connected, muted }) {
		const tile = this.#tiles.get(peer);
		if (!tile) return;
		// Whoever is muted is not heard here, whatever their page does.
		tile.querySelector("video").muted = muted === true;
		tile.dataset.audio = String(state?.audio !== false && !muted);
		tile.dataset.video = String(state?.video === true);
		tile.dataset.connected = String(connected !== false);
	}

	stream({ peer, stream, purpose }) {
		const tile = this.#tiles.get(peer);
		if (!tile) return;
		const name = tile.querySelector(".tile-name").textContent;
		if (purpose === "screen") this.#showScreen(peer, stream, `${name}: screen`, false);
		else if (purpose === "camera") this.#attach(tile, stream);
	}

	streamEnded({ peer, stream, purpose }) {
		if (purpose === "screen") this.#drop(`${peer}/screen`);
		const video = this.#tiles.get(peer)?.querySelector("video");
		if (video?.srcObject === stream) video.srcObject = null;
	}

	state(peer, state) {
		const tile = this.#tiles.get(peer);
		if (!tile) return;
		tile.dataset.state = state;
		tile.querySelector(".tile-state").textContent = WORD[state] ?? "";
	}

	quality({ peer, loss, rtt, bitrateIn, bitrateOut, level, relayed }) {
		const badge = this.#tiles.get(peer)?.querySelector(".quality");
		if (!badge) return;
		Object.assign(badge.dataset, { level, loss, rtt: rtt ?? "", bitrate: bitrateIn, bitrateOut });
		const trip = `${rtt ?? "?"} ms`;
		const text = `${loss} % lost · ${trip} · ${rate(bitrateIn)}`;
		badge.querySelector(".quality-text").textContent = text;
		badge.title = `Lost ${loss} %, round trip ${trip}, in ${rate(bitrateIn)}, ` +
			`out ${rate(bitrateOut)}${relayed ? ", by a relay" : ""}`;
		badge.hidden = false;
	}

	clear() {
		for (const key of [...this.#tiles.keys()]) this.#drop(key);
		this.#resize.disconnect();
	}

	#make(key, peer, { user, name, mine = false, screen = false }) {
		this.#drop(key);
		const testid = screen ? "screen-tile" : mine ? "own-tile" : "tile";
		const state = mine ? "connected" : "new";
		const label = h("span", { className: "tile-label" },
			muted(),
			h("span", { className: "tile-name" }, name),
			h("span", { className: "away-mark" }, "reconnecting…"));
		const tile = h("article", {
			className: ["tile", mine && "mine", screen && "screen"].filter(Boolean).join(" "),
			data: { testid, peer, user, state, video: String(screen), audio: "true", connected: "true" },
			aria: { label: name },
		},
			// One's own voice is not to be heard.
			h("video", { autoplay: true, playsInline: true, muted: mine }),
			avatar(user, name),
			h("span", { className: "tile-state", role: "status" }),
			label);
		if (!mine && !screen) tile.append(badge());
		this.#tiles.set(key, tile);
		this.#root.append(tile);
		this.#arrange();
		return tile;
	}

	#attach(tile, stream) {
		const video = tile.querySelector("video");
		void this.#call.play(video, stream);
	}

	#showScreen(peer, stream, name, mine) {
		const key = `${peer}/screen`;
		const user = this.#tiles.get(peer)?.dataset.user ?? "";
		const known = this.#tiles.get(key);
		const tile = known ?? this.#make(key, peer, { user, name, mine, screen: true });
		this.#attach(tile, stream);
	}

	#drop(key) {
		const tile = this.#tiles.get(key);
		if (!tile) return;
		tile.querySelector("video").srcObject = null;
		tile.remove();
		this.#tiles.delete(key);
		this.#arrange();
	}

	/** As many columns as make the tiles largest; a screen gets the first row for itself. */
	#arrange() {
		const { clientWidth: width, clientHeight: height } = this.#root;
		const screens = [...this.#tiles.keys()].filter((key) => key.endsWith("/screen")).length;
		const count = this.#tiles.size - screens;
		if (!width || !height || !count) return;
		const room = screens ? height * 0.35 : height;
		let best = { columns: 1, size: 0 };
		for (let columns = 1; columns <= count; columns++) {
			const rows = Math.ceil(count / columns);
			const size = Math.min(width / columns, (room / rows) * (4 / 3));
			if (size > best.size) best = { columns, size };
		}
		// A face in a tall narrow tile would be mostly cut off.
		this.#root.style.setProperty("--tallest", `${Math.round((width / best.columns) * 0.9)}px`);
		this.#root.style.setProperty("--columns", String(best.columns));
		this.#root.style.setProperty("--rows", String(Math.ceil(count / best.columns)));
		this.#root.style.setProperty("--screens", String(screens));
		this.#root.classList.toggle("has-screen", screens > 0);
	}
}

function muted() {
	const span = h("span", { className: "muted-mark", role: "img", aria: { label: "muted" } });
	span.append(icon("mic-off"));
	return span;
}

function badge() {
	const bars = h("span", { className: "bars", aria: { hidden: "true" } }, h("i"), h("i"), h("i"));
	const text = h("span", { className: "quality-text" });
	return h("span", { className: "quality", data: { testid: "quality" }, hidden: true }, bars, text);
}

function rate(bits) {
	return bits >= 1_000_000 ? `${(bits / 1_000_000).toFixed(1)} Mb/s` : `${Math.round(bits / 1000)} kb/s`;
}
