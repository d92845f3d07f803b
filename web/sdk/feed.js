import { Backoff } from "./backoff.js";
import { keyText } from "./cells.js";
import { SignalboxError } from "./errors.js";
import { Saving } from "./saving.js";
import { View } from "./rows.js";

/**
 * @typedef {import("./rows.js").Change} Change
 * @typedef {import("./rows.js").Op} Op
 * @typedef {import("./cells.js").WireCell} WireCell
 * @typedef {"live"|"catching up"|"offline"|"stale"} LiveStatus
 * @typedef {{
 *   dataset: string, where?: any[], columns?: string[], order?: string[], limit?: number, notify?: boolean,
 * }} Wish as it goes over the wire
 *
 * @typedef {{
 *   change: Change, uptodate: {seq: string}, status: {status: LiveStatus, message: string}, error: SignalboxError,
 *   ready: {stale: boolean},
 * }} FeedEvents
 *
 * @typedef {{
 *   tell: <K extends keyof FeedEvents>(name: K, detail: FeedEvents[K]) => void,
 *   follow: (feed: Feed) => void,
 * }} Reader
 *
 * @typedef {{
 *   isOpen: () => boolean, wasOpen: () => boolean,
 *   request: (method: string, params: object, options?: {apply?: (result: any) => void}) => Promise<any>,
 *   notify: (method: string, params: object) => void,
 *   schema: () => Promise<{schema_version: any, columns: any[]}>, forgetSchema: () => void,
 *   schemaNow: () => {columns: any[]} | null,
 *   kept: () => import("./kept.js").Kept | null,
 *   subs: Map<string, Feed>,
 *   effects: (shown: string | null) => import("./rows.js").Effect[],
 *   holds: () => boolean, moved: (anew?: boolean) => void,
 * }} FeedOwner
 */

/** Messages that the server may send without hearing of us. */
const CREDIT = 128;
/** @type {Record<LiveStatus, string>} */
const SENTENCES = {
	live: "Up to date.",
	"catching up": "Fetching what has changed…",
	offline: "Not connected. What you change is kept and sent later.",
	stale: "What stands here is from before.",
};
/** No use in asking again. */
const FINAL = new Set(["forbidden", "not_found", "invalid_params", "too_large", "unknown_method"]);
/** The rows are not for this user. */
const NOT_FOR_US = new Set(["forbidden", "not_found"]);

/**
 * One subscription and the rows that it brings. Starts from what is kept on this device, goes on from there, and
 * takes a snapshot where the server cannot: the old rows stay until the whole of it is there.
 */
export class Feed {
	view;
	/** @type {LiveStatus} */
	status = "stale";
	/** @type {SignalboxError | null} */
	error = null;
	/** There were rows, or the knowledge that there are none. */
	ready = false;
	/** All up to this one has been told. @type {string | null} */
	position = null;
	/** The rows are of this one, also while others are on their way. @type {string | null} */
	shown = null;
	epoch = "";
	/** @type {Set<Reader>} */
	readers = new Set();

	#owner;
	#wish;
	#shape = "";
	#shownEpoch = "";
	#sub = "";
	#phase = /** @type {"away"|"asking"|"reading"|"live"|"waiting"|"refused"} */ ("away");
	/** Goes up whenever what is under way is not wanted any more. */
	#turn = 0;
	/** A snapshot that is not complete. @type {Map<string, WireCell[]> | null} */
	#snapshot = null;
	/** @type {{columns: string[], key: string[]}} */
	#look = { columns: [], key: [] };
	/** @type {{from: string, ops: Op[]} | null} */
	#parts = null;
	/** @type {{method: string, params: any}[]} */
	#held = [];
	#messages = 0;
	#credit = 0;
	#backoff = new Backoff();
	#saving;
	/** @type {any} */
	#timer = 0;

	/**
	 * @param {FeedOwner} owner
	 * @param {Wish} wish
	 * @param {{order?: import("./rows.js").OrderTerm[], where?: import("./filter.js").Where}} how
	 */
	constructor(owner, wish, how) {
		this.#owner = owner;
		this.#wish = wish;
		this.view = new View({ ...how, limit: wish.limit });
		this.#saving = new Saving(JSON.stringify(wish), wish.dataset, this.view);
	}

	/* ---- its life ---- */

	/** The user is known, and with it what is kept for them. */
	async begin() {
		const kept = this.#owner.kept();
		const turn = ++this.#turn;
		const before = kept && !this.#wish.notify ? await this.#saving.begin(kept).catch(() => null) : null;
		if (turn !== this.#turn) return;
		if (before && !this.ready) {
			const { feed, rows } = before;
			this.view.look(feed.columns, feed.key);
			this.#look = { columns: feed.columns, key: feed.key };
			this.#shape = feed.shape;
			this.epoch = feed.epoch;
			this.position = this.shown = feed.seq;
			this.#shownEpoch = feed.epoch;
			this.#show(this.view.restart(rows));
			this.#overlay();
			this.#nowReady(true);
		}
		this.opened(false);
	}

	/** A session is open. @param {boolean} resumed nothing was lost */
	opened(resumed) {
		if (!this.#owner.isOpen()) return this.#tellStatus();
		if (!resumed || this.#phase === "away" || (this.#phase === "waiting" && !this.#timer)) {
			this.#owner.subs.delete(this.#sub);
			void this.#subscribe();
		}
		this.#tellStatus();
	}

	/** The connection is away, or here again. */
	connection() {
		this.#tellStatus();
	}

	/** The page is being left: what is not saved yet is saved now. */
	flush() {
		this.#saving.flush();
	}

	/** Somebody else is here: nothing of this is for them. */
	forget() {
		this.#stop();
		this.#saving.end();
		this.ready = false;
		this.position = this.shown = null;
		this.#shape = this.epoch = this.#shownEpoch = "";
		this.#overlay();
		this.#show(this.view.restart([]));
	}

	/** Nobody reads it any more. */
	close() {
		const sub = this.#sub;
		this.#stop();
		this.#saving.end();
		if (sub && this.#owner.isOpen()) this.#owner.request("dataset.unsubscribe", { sub }).catch(() => {});
	}

	#stop() {
		this.#turn++;
		clearTimeout(this.#timer);
		this.#timer = 0;
		if (this.#owner.subs.get(this.#sub) === this) this.#owner.subs.delete(this.#sub);
		this.#sub = "";
		this.#phase = "away";
		this.#snapshot = this.#parts = null;
		this.#held = [];
	}

	/* ---- subscribing ---- */

	async #subscribe() {
		this.#stop();
		const turn = this.#turn;
		this.#phase = "asking";
		this.#tellStatus();
		try {
			const schema = await this.#owner.schema();
			if (turn !== this.#turn) return;
			await this.#owner.request("dataset.subscribe", this.#asked(schema), {
				// at once, because what it brings may stand in the same frame
				apply: (result) => {
					if (turn === this.#turn) this.#subscribed(result, schema);
					else if (this.#phase === "away" && !this.#owner.subs.has(result.sub)) {
						this.#owner.request("dataset.unsubscribe", { sub: result.sub }).catch(() => {});
					}
				},
			});
		} catch (cause) {
			if (turn !== this.#turn) return;
			this.#refused(cause instanceof SignalboxError ? cause : new SignalboxError("internal", String(cause), { cause }));
		}
	}

	/** Those that are asked for, with the key's and the order's. @param {{columns: any[]}} schema */
	#columns(schema) {
		const { columns, order = [] } = this.#wish;
		return columns && [...new Set([...columns, ...keyOf(schema), ...order.map((term) => term.replace(/^-/, ""))])];
	}

	/** @param {{columns: any[]}} schema */
	#asked(schema) {
		const all = this.#columns(schema);
		const known = this.position !== null && this.#shape;
		return {
			...this.#wish,
			...(all && { columns: all }),
			credit: CREDIT,
			...(known && { resume: { epoch: this.epoch, shape: this.#shape, seq: this.position } }),
		};
	}

	/** @param {any} result @param {{schema_version: any, columns: any[]}} schema */
	#subscribed(result, schema) {
		const there = this.#owner.subs.get(result.sub);
		if (there && there !== this) {
			this.#phase = "away";
			for (const reader of [...this.readers]) reader.follow(there);
			return;
		}
		const look = { columns: result.columns.map(nameOf), key: keyOf(schema) };
		if (result.schema_version !== schema.schema_version) {
			this.#owner.forgetSchema();
			if (!look.key.every((column) => look.columns.includes(column))) return this.#anew(true);
		}
		this.#sub = result.sub;
		this.#owner.subs.set(result.sub, this);
		this.#messages = 0;
		this.#credit = CREDIT;
		this.#phase = "reading";
		if (result.epoch !== this.epoch) this.epoch = result.epoch;
		this.#shape = result.shape;
		this.error = null;
		if (result.mode === "tail" && this.position !== null) return;
		this.#look = look;
		this.position = null;
		this.#snapshot = new Map();
	}

	/** @param {SignalboxError} error */
	#refused(error) {
		const final = FINAL.has(error.kind);
		const told = final || error.kind === "overloaded";
		this.error = told ? error : null;
		this.#phase = final ? "refused" : "waiting";
		if (NOT_FOR_US.has(error.kind)) {
			this.#saving.drop();
			this.position = this.shown = null;
			this.#show(this.view.restart([]));
		}
		if (!final) this.#later(error.retryAfter);
		this.#tellStatus();
		if (told) this.#tell("error", error);
	}

	/** @param {number} seconds */
	#later(seconds) {
		clearTimeout(this.#timer);
		const wait = seconds * 1000 * (1 + Math.random() / 4) + this.#backoff.next();
		this.#timer = setTimeout(() => {
			this.#timer = 0;
			if (this.#owner.isOpen()) void this.#subscribe();
		}, wait);
	}

	/** What came does not fit to what we have. @param {boolean} whole nor can we go on from there */
	#anew(whole) {
		if (whole || this.#snapshot) this.position = null;
		const sub = this.#sub;
		this.#stop();
		if (sub) this.#owner.request("dataset.unsubscribe", { sub }).catch(() => {});
		this.#phase = "waiting";
		this.#later(0);
		this.#tellStatus();
	}

	/* ---- what the server says ---- */

	/** @param {string} method @param {any} params */
	receive(method, params) {
		if (this.#held.length || this.#owner.holds()) this.#held.push({ method, params });
		else this.#handle(method, params);
	}

	/** What was held back may be handled. */
	release() {
		while (this.#held.length && !this.#owner.holds()) {
			const [{ method, params }] = this.#held.splice(0, 1);
			this.#handle(method, params);
		}
	}

	/** @param {string} method @param {any} params */
	#handle(method, params) {
		if (params.sub !== this.#sub) return;
		if (method === "dataset.reset") return this.#reset(params);
		this.#messages++;
		if (method === "dataset.page") this.#page(params);
		else if (method === "dataset.change") this.#change(params);
		else if (method === "dataset.uptodate") this.#uptodate(params);
		if (this.#sub && this.#credit - this.#messages <= CREDIT / 2) {
			this.#credit = this.#messages + CREDIT;
			this.#owner.notify("dataset.ack", { sub: this.#sub, seq: this.position ?? "0", credit: this.#credit });
		}
	}

	/** @param {{as_of: string, rows: WireCell[][], last: boolean}} page */
	#page({ as_of, rows, last }) {
		const snapshot = this.#snapshot;
		if (!snapshot) return this.#anew(true);
		const key = this.#look.key.map((column) => this.#look.columns.indexOf(column));
		for (const row of rows) snapshot.set(keyText(key.map((at) => row[at])), row);
		this.position = as_of;
		if (!last) return;
		this.#snapshot = null;
		this.view.look(this.#look.columns, this.#look.key);
		const change = this.view.restart(snapshot.values());
		const anew = this.#shownEpoch !== "" && this.#shownEpoch !== this.epoch;
		this.#shownEpoch = this.epoch;
		this.#saving.whole(this.#here());
		this.#show(change);
		this.#moved(anew);
		this.#nowReady(false);
	}

	/** @param {{from: string, to: string, part: number, last: boolean, ops: Op[]}} change */
	#change({ from, to, part, last, ops }) {
		if (part === 0) this.#parts = null; // the others of an unfinished one come no more
		const parts = (this.#parts ??= { from, ops: [] });
		if (parts.from !== from || (this.position !== null && from !== this.position)) return this.#anew(false);
		parts.ops.push(...ops);
		if (!last) return;
		this.#parts = null;
		this.position = to;
		if (this.#snapshot) {
			for (const { op, key, row } of parts.ops) {
				if (row && (op === "I" || op === "U")) this.#snapshot.set(keyText(key), row);
				else this.#snapshot.delete(keyText(key));
			}
			return;
		}
		if (parts.ops.length) {
			const change = this.view.apply(parts.ops);
			this.#saving.changed(parts.ops.map(({ key }) => keyText(key)), this.#here());
			this.#show(change);
		}
		this.#moved();
	}

	/** @param {{seq: string}} uptodate */
	#uptodate({ seq }) {
		if (!this.#snapshot || this.#wish.notify) {
			this.#snapshot = null;
			this.position = seq;
			this.#backoff.reset();
			this.#phase = "live";
			this.#saving.moved(this.#here());
			this.#moved();
			this.#nowReady(false);
			this.#tellStatus();
		}
		this.#tell("uptodate", { seq });
	}

	/** @param {{reason: string, retry_after?: number}} reset */
	#reset({ reason, retry_after = 0 }) {
		this.#stop();
		this.position = null; // what we have is no place to go on from
		if (reason === "schema" || reason === "auth") this.#owner.forgetSchema();
		this.#phase = "waiting";
		this.#later(Number(retry_after) || 0);
		this.#tellStatus();
	}

	/* ---- telling ---- */

	/** What this client has written, over it. */
	overlay() {
		this.#overlay();
		this.release();
	}

	#overlay() {
		if (this.#wish.notify || !this.#looks()) return;
		this.#show(this.view.overlay(this.#owner.effects(this.shown)));
	}

	/** Whether it is known what rows look like: where nothing has come yet, from the schema. */
	#looks() {
		if (this.view.columns.length) return true;
		const schema = this.#owner.schemaNow();
		if (schema) this.view.look(this.#columns(schema) ?? schema.columns.map(nameOf), keyOf(schema));
		return schema !== null;
	}

	/** The rows are of where we are. @param {boolean} [anew] */
	#moved(anew) {
		this.shown = this.position;
		this.#overlay();
		this.#owner.moved(anew);
	}

	#here() {
		return { shape: this.#shape, epoch: this.epoch, seq: this.position ?? "0" };
	}

	/** @param {Change | null} change */
	#show(change) {
		if (change) this.#tell("change", change);
	}

	/** @param {boolean} stale */
	#nowReady(stale) {
		if (this.ready) return;
		this.ready = true;
		this.#tell("ready", { stale });
	}

	#tellStatus() {
		const status = this.#state();
		if (status === this.status) return;
		this.status = status;
		this.#tell("status", { status, message: this.message });
	}

	/** What to say of its status. */
	get message() {
		return this.error?.message ?? SENTENCES[this.status];
	}

	/** @returns {LiveStatus} */
	#state() {
		if (!this.#owner.isOpen()) return this.#owner.wasOpen() ? "offline" : "stale";
		if (this.#phase === "live") return "live";
		return this.#phase === "asking" || this.#phase === "reading" ? "catching up" : "stale";
	}

	/** @template {keyof FeedEvents} K @param {K} name @param {FeedEvents[K]} detail */
	#tell(name, detail) {
		for (const reader of [...this.readers]) reader.tell(name, detail);
	}
}

/** @param {any} column */
function nameOf(column) {
	return typeof column === "string" ? column : column.name;
}

/** The columns of the key, in its order. @param {{columns: {name: string, key: any}[]}} schema */
export function keyOf({ columns }) {
	return columns.filter(({ key }) => key).sort((a, b) => Number(a.key) - Number(b.key)).map(({ name }) => name);
}
