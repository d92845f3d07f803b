import { Backoff } from "./backoff.js";
import { decodeCell, keyText, rowOf } from "./cells.js";
import { SignalboxError } from "./errors.js";

/**
 * @typedef {import("./kept.js").Kept} Kept
 * @typedef {import("./kept.js").KeptWrite} KeptWrite
 * @typedef {import("./kept.js").WireOp} WireOp
 * @typedef {import("./rows.js").Effect} Effect
 * @typedef {import("./cells.js").Row} Row
 * @typedef {{
 *   mutation: string, seq: string, txn: string | null, columns: string[],
 *   rows: ({key: any[] | null, seq?: string, row?: any[] | null, error?: any})[],
 * }} WriteAnswer
 * @typedef {{answer: WriteAnswer} | {error: SignalboxError}} Outcome
 * @typedef {{key: any[], seq: string, current: Row | null}} Conflict `current`: the row as it is, null where it is gone
 *
 * @typedef {{
 *   write: KeptWrite, answer: WriteAnswer | null, sent: boolean,
 *   resolve: (answer: any) => void, reject: (error: Error) => void, promise: Promise<any>,
 * }} Pending
 *
 * @typedef {{
 *   name: string, isOpen: () => boolean, keyColumns: () => string[] | null,
 *   request: (method: string, params: object) => Promise<any>,
 *   changed: () => void,
 *   conflict: (conflicts: Conflict[], write: KeptWrite, error: SignalboxError) => Promise<WireOp[] | null>,
 *   failed: (error: SignalboxError) => void,
 *   told: (seq: string) => boolean,
 * }} Owner what the queue asks of its dataset; `told`: everybody here has been told of all up to there
 */

/** Writes that wait; more are refused. */
const MOST = 1000;
/** These are over by themselves: the write stays in the queue. */
const LATER = new Set(["lost", "closed", "timeout", "overloaded", "rate_limited", "unauthenticated"]);
/** So long the server knows a repetition; a little less, as clocks differ. */
const KNOWN_MS = 23 * 3600_000;
/** So often a write is tried that fails on the server, or is put off by it until that is told, or is replaced by what a page makes of a conflict. */
const MOST_TRIES = 5;

/**
 * What this user has written to one dataset and the server has not answered: in order, one after the other,
 * whatever the connection does meanwhile. Each has a `mutation`, by which the server knows a repetition.
 */
export class Writes {
	#owner;
	/** @type {Kept | null} */
	#kept = null;
	/** @type {Map<string, Pending>} */
	#pending = new Map();
	/** Answered, and still kept, because this device let nothing be changed. @type {Set<string>} */
	#done = new Set();
	#sending = false;
	#again = false;
	#tries = 0;
	#refusals = 0;
	#backoff = new Backoff();
	/** @type {any} */
	#timer = 0;
	#last = 0;

	/** @param {Owner} owner */
	constructor(owner) {
		this.#owner = owner;
	}

	/** How many have not been answered. */
	get waiting() {
		let waiting = 0;
		for (const { answer } of this.#pending.values()) waiting += answer ? 0 : 1;
		return waiting;
	}

	/** A row is being made whose key nobody here knows: its change may come before the answer that says so. */
	get awaitsKey() {
		const key = this.#owner.keyColumns();
		return [...this.#pending.values()].some(({ sent, answer, write }) =>
			sent && !answer && write.ops.some((op) => op.op === "insert" && !idOf(op, key)));
	}

	/** @param {WireOp[]} ops @param {boolean} atomic @returns {Promise<WriteAnswer>} */
	add(ops, atomic) {
		if (this.waiting >= MOST) {
			const message = "Too many changes wait to be sent, and this one is not kept. Wait until this device is connected again.";
			const error = new SignalboxError("overloaded", message, { code: -32030 });
			this.#owner.failed(error);
			return Promise.reject(error);
		}
		const at = (this.#last = Math.max(Date.now(), this.#last + 0.001));
		const write = { mutation: word(), dataset: this.#owner.name, at, atomic, ops };
		const { promise } = this.#remember(write);
		if (this.#kept) keep(this.#kept, write);
		this.#owner.changed();
		void this.send();
		return promise;
	}

	/** What was written before this page was there, and what it has written before the user was known. @param {Kept} kept */
	async begin(kept) {
		this.#kept = kept;
		const before = await kept.writes(this.#owner.name).catch(() => []);
		if (this.#kept !== kept) return;
		for (const { write } of this.#pending.values()) keep(kept, write);
		for (const write of before) if (!this.#pending.has(write.mutation)) this.#remember(write);
		this.#owner.changed();
		void this.send();
	}

	/** Somebody else is signed in, or nobody: what is kept stays for whose it is. @param {SignalboxError} why */
	end(why) {
		const { waiting } = this;
		this.#kept = null;
		clearTimeout(this.#timer);
		const pending = [...this.#pending.values()];
		this.#pending.clear();
		this.#done.clear();
		for (const { reject } of pending) reject(why);
		if (waiting) this.#owner.failed(why);
	}

	/** From another tab. @param {{write?: KeptWrite, instead?: string, settled?: string, outcome?: Outcome}} message */
	heard({ write, instead, settled, outcome }) {
		if (write?.dataset === this.#owner.name && !this.#pending.has(write.mutation)) {
			if (instead) this.#replace(instead, write);
			else this.#remember(write);
			this.#owner.changed();
			void this.send(); // that tab may be without a connection
		}
		if (settled && outcome && this.#pending.has(settled)) {
			const error = "error" in outcome ? revive(outcome.error) : null;
			this.#settle(settled, error ? { error } : outcome);
		}
	}

	/** Sends what waits, if there is a connection; another tab may be at it. */
	async send() {
		if (this.#sending) this.#again = true;
		const kept = this.#kept;
		if (this.#sending || !kept || !this.#owner.isOpen() || !this.waiting) return;
		this.#sending = true;
		clearTimeout(this.#timer);
		try {
			do {
				this.#again = false;
				await kept.alone(`writes ${this.#owner.name}`, () => this.#sendAll(kept));
			} while (this.#again && this.#kept === kept && this.#owner.isOpen());
		} catch (error) {
			notKept(error);
		} finally {
			this.#sending = false;
		}
	}

	/** @param {Kept} kept */
	async #sendAll(kept) {
		while (this.#kept === kept && this.#owner.isOpen()) {
			const write = await this.#next(kept);
			if (!write || this.#kept !== kept) return;
			const outcome = this.#isUnknown(write) ? { error: unknown() } : await this.#sendOne(kept, write);
			if (this.#kept !== kept || !outcome) return;
			this.#backoff.reset();
			this.#tries = this.#refusals = 0;
			if ("error" in outcome && (await this.#resolved(kept, write, outcome.error))) continue;
			await this.#drop(kept, write.mutation);
			this.#settle(write.mutation, outcome);
			kept.tell({ settled: write.mutation, outcome: "error" in outcome ? { error: { ...outcome.error, message: outcome.error.message } } : outcome });
		}
	}

	/**
	 * The first that waits: of what is kept, of what could not be kept, and of what another tab has sent and whose answer
	 * has not come here. (The server tells that again.)
	 * @param {Kept} kept
	 */
	async #next(kept) {
		const there = await kept.writes(this.#owner.name).catch(() => []);
		const here = [...this.#pending.values()].map(({ write }) => write);
		const all = new Map([...here, ...there].map((write) => [write.mutation, write]));
		const waits = [...all.values()].filter(({ mutation }) => !this.#done.has(mutation) && !this.#pending.get(mutation)?.answer);
		return waits.sort((a, b) => a.at - b.at)[0];
	}

	/** It is answered. @param {Kept} kept @param {string} mutation */
	#drop(kept, mutation) {
		return kept.dropWrite(mutation).catch(() => void this.#done.add(mutation));
	}

	/** Nobody can say any more whether it was done, and a repetition may make a row twice. @param {KeptWrite} write */
	#isUnknown({ sent, ops }) {
		const key = this.#owner.keyColumns();
		return sent !== undefined && Date.now() - sent > KNOWN_MS && ops.some((op) => op.op === "insert" && !idOf(op, key));
	}

	/** @param {Kept} kept @param {KeptWrite} write @returns {Promise<Outcome | null>} null: later */
	async #sendOne(kept, write) {
		const { mutation, ops, atomic } = write;
		const pending = this.#pending.get(mutation) ?? this.#remember(write);
		pending.sent = true;
		if (!write.sent) {
			write.sent = Date.now();
			kept.saveWrite(write).catch(() => {});
		}
		try {
			const params = { dataset: this.#owner.name, mutation, ops, ...(!atomic && { atomic }) };
			return { answer: await this.#owner.request("dataset.write", params) };
		} catch (cause) {
			const error = cause instanceof SignalboxError ? cause : new SignalboxError("internal", String(cause), { cause });
			const fails = error.kind === "internal" || error.reason === "query_too_slow";
			if (fails ? ++this.#tries >= MOST_TRIES : !LATER.has(error.kind)) return { error };
			// it waits on, but not without a word
			if (error.kind === "overloaded" && ++this.#refusals === MOST_TRIES) this.#owner.failed(error);
			clearTimeout(this.#timer);
			this.#timer = setTimeout(() => void this.send(), error.retryAfter * 1000 + this.#backoff.next());
			pending.sent = false;
			this.#owner.changed();
			return null;
		}
	}

	/** Another one takes its place, and its promise. @param {string} mutation @param {KeptWrite} instead */
	#replace(mutation, instead) {
		const before = this.#pending.get(mutation);
		this.#pending.delete(mutation);
		const now = this.#remember(instead);
		if (before) now.promise.then(before.resolve, before.reject);
	}

	/**
	 * The page may know what to do about a conflict: then that takes the place of the write.
	 * @param {Kept} kept @param {KeptWrite} write @param {SignalboxError} error
	 */
	async #resolved(kept, write, error) {
		const again = (write.again ?? 0) + 1;
		if (error.reason !== "conflict" || again > MOST_TRIES) return false;
		const { columns = [], conflicts = [] } = error.data;
		const told = conflicts.map((/** @type {any} */ { key, seq, current }) => {
			const row = Array.isArray(current) ? rowOf(columns, current) : current && decoded(current);
			return { key: key.map(decodeCell), seq, current: row ?? null };
		});
		const ops = await this.#owner.conflict(told, write, error);
		if (!ops || this.#kept !== kept) return false;
		const instead = { ...write, mutation: word(), ops, again, sent: undefined };
		await kept.saveWrite(instead).catch(notKept);
		await this.#drop(kept, write.mutation);
		this.#replace(write.mutation, instead);
		kept.tell({ write: instead, instead: write.mutation });
		this.#owner.changed();
		return true;
	}

	/** @param {string} mutation @param {Outcome} outcome */
	#settle(mutation, outcome) {
		const pending = this.#pending.get(mutation);
		if (!pending || pending.answer) return;
		if ("error" in outcome) {
			this.#pending.delete(mutation);
			this.#owner.changed();
			this.#owner.failed(outcome.error);
			pending.reject(outcome.error);
			return;
		}
		pending.answer = outcome.answer;
		this.forget();
		this.#owner.changed();
		for (const { error } of outcome.answer.rows ?? []) {
			if (error) this.#owner.failed(SignalboxError.fromReply(error, "dataset.write"));
		}
		pending.resolve(outcome.answer);
	}

	/** What the server has told since is not needed any more. @param {boolean} [all] whatever was answered */
	forget(all = false) {
		let forgotten = false;
		for (const [mutation, { answer }] of this.#pending) {
			if (answer && (all || this.#owner.told(answer.seq))) forgotten = this.#pending.delete(mutation);
		}
		return forgotten;
	}

	/** @param {KeptWrite} write @returns {Pending} */
	#remember(write) {
		let resolve = /** @type {(answer: any) => void} */ (() => {});
		let reject = /** @type {(error: Error) => void} */ (() => {});
		const promise = new Promise((res, rej) => {
			resolve = res;
			reject = rej;
		});
		promise.catch(() => {}); // told as the event "error", too
		const pending = { write, answer: null, sent: false, resolve, reject, promise };
		this.#pending.set(write.mutation, pending);
		this.#last = Math.max(this.#last, write.at);
		return pending;
	}

	/** What all this does to rows that are of this position, in order. @param {string | null} shown @returns {Effect[]} */
	effects(shown) {
		const key = this.#owner.keyColumns();
		if (!key) return [];
		const all = [...this.#pending.values()].filter(({ answer }) => !answer || !reaches(shown, answer.seq));
		all.sort((a, b) => a.write.at - b.write.at);
		return all.flatMap(({ write, answer }) =>
			write.ops.flatMap((op, at) => {
				const id = idOf(op, key) ?? `?${write.mutation}:${at}`;
				const result = answer?.rows?.[at];
				if (result?.error) return [];
				if (answer && result?.key) return answered(id, op, answer.columns, result);
				return [effectOf(op, id)];
			}));
	}
}

/** Whether rows of this position have what was told up to `seq`. @param {string | null} shown @param {string} seq */
export function reaches(shown, seq) {
	return shown !== null && BigInt(shown) >= BigInt(seq);
}

/** @param {WireOp} op @param {string[] | null} columns of the key @returns {string | null} null: the table makes it */
function idOf({ key, set }, columns) {
	if (key) return keyText(key);
	if (!columns || !set || !columns.every((column) => (set[column] ?? null) !== null)) return null;
	return keyText(columns.map((column) => set[column]));
}

/** @param {WireOp} op @param {string} id @returns {Effect} */
function effectOf({ op, set, upsert }, id) {
	if (op === "delete") return { id };
	return { id, set: decoded(set ?? {}), make: op === "insert", over: upsert ?? false };
}

/**
 * @param {string} id @param {WireOp} op @param {string[]} columns @param {{key: any[] | null, row?: any[] | null}} result
 * @returns {Effect[]}
 */
function answered(id, op, columns, { key, row }) {
	const now = keyText(key ?? []);
	const is = op.op !== "delete" && row ? rowOf(columns, row) : null;
	/** @type {Effect[]} */
	const effects = [{ id: now, is }];
	if (now !== id) effects.unshift({ id, is: null });
	return effects;
}

/** @param {Record<string, any>} cells @returns {Record<string, any>} */
function decoded(cells) {
	return Object.fromEntries(Object.entries(cells).map(([name, cell]) => [name, decodeCell(cell)]));
}

/** @param {any} error as it came from another tab */
function revive({ reason, message, code, data }) {
	return new SignalboxError(reason, message, { code, data });
}

function unknown() {
	return new SignalboxError("lost",
		"A new row was sent more than a day ago, and the answer never came. Look whether it is there, and write it again if not.");
}

/** Not to be guessed, not to come twice; also where there is no `crypto.randomUUID`. */
function word() {
	return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** From here on it is there after a reload, and any tab may send it. @param {Kept} kept @param {KeptWrite} write */
function keep(kept, write) {
	kept.saveWrite(write).then(() => kept.tell({ write }), notKept);
}

/** @param {unknown} error */
function notKept(error) {
	console.warn("Signalbox: a change could not be kept on this device; it is lost if this page ends before it is sent", error);
}
