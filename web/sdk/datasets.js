import { Dataset } from "./dataset.js";
import { SignalboxError } from "./errors.js";
import { Kept, forgetKept, openKept } from "./kept.js";

/**
 * @typedef {import("./connection.js").Connection<any>} Connection
 * @typedef {{dataset: string, may: string[], state: "starting"|"live"|"trouble", trouble?: {what: string, remedy: string}}} DatasetInfo
 */

/** The datasets of a server, and what of them is kept on this device for the user who is signed in. */
export class Datasets {
	#connection;
	#server;
	#keep;
	/** @type {Map<string, Dataset>} */
	#all = new Map();
	/** @type {Map<string, import("./feed.js").Feed>} */
	#subs = new Map();
	/** @type {Kept | null} */
	#kept = null;
	/** Whose it is. @type {string | null} */
	#user;
	#turn = 0;
	#begun = false;
	#wasOpen = false;

	/**
	 * @param {Connection} connection
	 * @param {{url: string, user?: string, keep?: boolean}} options
	 */
	constructor(connection, { url, user, keep = true }) {
		this.#connection = connection;
		this.#server = new URL(url, globalThis.location?.href).host;
		this.#keep = keep;
		this.#user = user ?? null;
		connection.on("open", ({ resumed }) => this.#opened(resumed));
		connection.on("status", () => this.#each((dataset) => dataset.connection()));
	}

	/** @param {string} name @param {import("./dataset.js").DatasetOptions} [options] @returns {Dataset} */
	get(name, options = {}) {
		let dataset = this.#all.get(name);
		if (!dataset) {
			dataset = new Dataset({
				isOpen: () => this.#isOpen,
				wasOpen: () => this.#wasOpen,
				kept: () => this.#kept,
				subs: this.#subs,
				request: (method, params, how) => this.#connection.request(method, params, how),
				notify: (method, params) => this.#connection.notify(method, params),
			}, name);
			this.#all.set(name, dataset);
			if (this.#kept) void dataset.begin(this.#kept);
			else this.#begin();
		}
		dataset.configure(options);
		return dataset;
	}

	/** Those that this user may see. @returns {Promise<DatasetInfo[]>} */
	async list() {
		const all = [];
		let cursor;
		do {
			const page = await this.#connection.request("dataset.list", cursor ? { cursor } : {});
			all.push(...page.datasets);
			cursor = page.cursor;
		} while (cursor);
		return all;
	}

	/** How many changes wait for the server, of all datasets that this page has asked for. */
	get pending() {
		let pending = 0;
		this.#each((dataset) => (pending += dataset.pending));
		return pending;
	}

	/** Takes away what is kept on this device for this user, also what has not been sent. For a sign-out. */
	async forget() {
		const user = this.#user;
		this.#end("What was not sent has been taken away from this device.");
		if (user !== null) await forgetKept(this.#server, user);
	}

	/** @param {string} method @param {any} params */
	notified(method, params) {
		if (method === "dataset.schema") this.#all.get(params.dataset)?.schemaChanged(params);
		else this.#subs.get(params.sub)?.receive(method, params);
	}

	get #isOpen() {
		const { state, user } = this.#connection;
		return state === "open" && this.#kept !== null && user?.id === this.#user;
	}

	/** @param {boolean} resumed */
	#opened(resumed) {
		const user = /** @type {{id: string}} */ (this.#connection.user).id;
		if (user !== this.#user) {
			if (this.#user !== null) this.#end(`Somebody else has signed in. What was not sent is ${this.#kept?.durable ? "kept for who wrote it" : "lost"}.`);
			this.#user = user;
		}
		this.#wasOpen = true;
		if (this.#kept) this.#each((dataset) => dataset.opened(resumed));
		else if (this.#all.size) this.#begin();
	}

	/** Opens what is kept; then all datasets begin. */
	async #begin() {
		const user = this.#user;
		if (user === null || this.#begun) return;
		this.#begun = true;
		const turn = this.#turn;
		const kept = this.#keep ? await openKept(this.#server, user) : new Kept(this.#server, user);
		if (turn !== this.#turn) {
			kept.close();
			return;
		}
		this.#kept = kept;
		globalThis.document?.addEventListener("visibilitychange", this.#hidden);
		kept.heard = (message) => this.#each((dataset) => dataset.heard(message));
		this.#each((dataset) => void dataset.begin(kept));
	}

	/** @param {string} message what becomes of what was not sent */
	#end(message) {
		this.#turn++;
		this.#begun = false;
		this.#user = null;
		this.#each((dataset) => dataset.end(new SignalboxError("signed_out", message)));
		this.#subs.clear();
		this.#kept?.close();
		this.#kept = null;
		globalThis.document?.removeEventListener("visibilitychange", this.#hidden);
	}

	/** The page may be gone next. */
	#hidden = () => {
		if (document.visibilityState === "hidden") this.#each((dataset) => dataset.flush());
	};

	/** @param {(dataset: Dataset) => void} work */
	#each(work) {
		for (const dataset of this.#all.values()) work(dataset);
	}
}
