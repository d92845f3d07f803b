// A reader of datasets that does to the letter what docs/PROTOCOL.md says, and holds each message against it: every
// change begins where the last has ended, and nothing stands outside of its range. A View is one subscription; a
// ViewSession has several, on one session that may lose its connection, its session, its patience.
import assert from "node:assert/strict";
import { ResumingClient } from "./resuming.mjs";

const CREDIT = 64; // to begin with, and as much again with each acknowledgement
const ACK_EVERY = 24;

/** Rows as one text, whatever order they have come in: what two sides are compared by. */
export function textOf(rows) {
	return [...rows].map(([key, row]) => `${key} ${row}`).sort().join("\n");
}

export class View {
	rows = new Map(); // key → row, both as JSON
	at = null; // the position
	whole = false; // every row has come
	held = false; // gives no credit
	#parts = null;
	#heard = 0; // messages of this subscription
	#acked = 0;

	/** wish: as dataset.subscribe takes it. keys: the names of the key's columns. */
	constructor(wish, keys) {
		Object.assign(this, { wish, keys });
	}

	/** With what to subscribe: where it was, when it was anywhere. */
	get params() {
		const { epoch, shape, at } = this;
		return { ...this.wish, ...(this.whole && { resume: { epoch, shape, seq: at } }) };
	}

	answered({ sub, columns, epoch, shape, schema_version: version, mode, head }) {
		this.note("subscribed", { mode, head, was: this.at });
		assert.ok(mode === "snapshot" || mode === "tail", mode);
		assert.equal(sub, shape);
		if (mode === "tail") {
			assert.ok(this.whole, "a tail of what was not whole");
			assert.deepEqual([epoch, shape, version], [this.epoch, this.shape, this.version], "a tail of another feed");
			assert.deepEqual(columns, this.columns);
		} else {
			this.rows.clear();
			this.at = null;
		}
		Object.assign(this, { sub, columns, epoch, shape, version, mode, whole: mode === "tail" });
		this.#places = this.keys.map((name) => {
			assert.ok(columns.includes(name), `the key's ${name} is not among ${columns}`);
			return columns.indexOf(name);
		});
		this.#parts = null;
		this.#heard = this.#acked = 0;
		this.begun?.(this);
	}

	#places;

	/** The last that happened to it, for who looks why something went wrong. */
	note(what, facts) {
		this.journal.push(`${Math.round(performance.now())} ${what} ${JSON.stringify(facts)}`.slice(0, 600));
		if (this.journal.length > 24) this.journal.shift();
	}

	journal = [];

	/** One event. */
	take(method, params) {
		this.#heard++;
		this.note(method, params);
		this[method.slice("dataset.".length)](params);
	}

	/** What to send now, or undefined. */
	ack() {
		if (this.held || this.at === null || this.#heard - this.#acked < ACK_EVERY) return undefined;
		this.#acked = this.#heard;
		this.note("ack", this.#heard);
		return { sub: this.sub, seq: this.at, credit: this.#heard + CREDIT };
	}

	/** For who was held: whatever it has heard is acknowledged now. */
	release() {
		this.held = false;
		if (this.at === null) return undefined;
		this.#acked = this.#heard;
		return { sub: this.sub, seq: this.at, credit: this.#heard + CREDIT };
	}

	page({ as_of, rows }) {
		assert.ok(!this.whole, "a page behind the last one");
		assert.equal(this.#parts, null, "a page within a group");
		if (this.at === null) this.at = as_of;
		assert.equal(as_of, this.at, "a page of another moment");
		for (const row of rows) {
			assert.equal(row.length, this.columns.length);
			this.rows.set(JSON.stringify(this.#places.map((place) => row[place])), JSON.stringify(row));
		}
	}

	change({ from, to, part, last, ops }) {
		assert.equal(from, this.at, "a change that does not begin where the last has ended");
		if (part === 0) this.#parts = []; // also anew, when a group was left unfinished
		assert.equal(part, this.#parts?.length, "parts in order");
		this.#parts.push(ops);
		if (!last) return;
		const range = [BigInt(from), BigInt(to)];
		assert.ok(range[0] <= range[1], `${from} to ${to}`);
		for (const op of this.#parts.flat()) this.#apply(op, range);
		this.#parts = null;
		this.at = to;
		if (this.whole) this.moved?.(this);
	}

	#apply({ seq, op, key, row }, [from, to]) {
		const at = BigInt(seq);
		assert.ok(from < at && at <= to, `an op of ${seq} in a change of (${from}, ${to}]`);
		const text = JSON.stringify(key);
		if (op === "D" || op === "X") return this.rows.delete(text);
		assert.ok(op === "I" || op === "U", op);
		assert.deepEqual(this.#places.map((place) => row[place]), key, "the key of the row");
		return this.rows.set(text, JSON.stringify(row));
	}

	uptodate({ seq }) {
		if (this.wish.notify) this.at = seq;
		assert.equal(seq, this.at, "up to date with another position");
		assert.equal(this.#parts, null, "up to date within a group");
		this.whole = true;
		this.told = (this.told ?? 0) + 1;
		this.moved?.(this);
	}

	reset({ reason, retry_after }) {
		this.whole = false;
		this.lost = { reason, retry_after };
	}
}

/**
 * One client with views. over: what carries it (resuming.mjs). heard: called with the text of each message.
 * It connects anew by itself when its connection ends.
 */
export class ViewSession {
	#calls = new Map();
	#bySub = new Map();
	#left = false;
	#failed;
	#connecting = Promise.resolve();
	resets = [];

	constructor(server, token, views, { over, heard }) {
		Object.assign(this, { views, heard });
		this.failed = new Promise((_, failed) => (this.#failed = failed));
		this.failed.catch(() => {});
		this.client = new ResumingClient(server, token, { over, heard: (message) => this.#guard(() => this.#heard(message)) });
	}

	#guard(act) {
		try {
			act();
		} catch (error) {
			error.stack += `\n-- the session's last messages:\n${this.journal.join("\n")}`;
			this.error ??= error;
			this.#failed(error);
		}
	}

	journal = [];

	/** The last that was said, for who looks why something went wrong. */
	#note(what) {
		this.journal.push(`${Math.round(performance.now())} ${JSON.stringify(what).slice(0, 180)}`);
		if (this.journal.length > 40) this.journal.shift();
	}

	/** Connects, with the session that it has or (anew) another one, until it succeeds. */
	connect(anew = false) {
		this.#connecting = this.#connecting.then(() => this.#connect(anew));
		return this.#connecting;
	}

	async #connect(anew) {
		const { client } = this;
		for (let wait = 20; !this.#left; wait = Math.min(2 * wait, 500)) {
			try {
				await (anew ? client.connect(null) : client.connect());
				break;
			} catch (error) {
				if (error.code < 0 && error.code !== -32030 && error.code !== -32010) return this.#failed(error);
				await new Promise((done) => setTimeout(done, wait)); // the service is away: nothing tells when it is back
			}
		}
		if (this.#left) return;
		const carrier = client.carrier;
		client.closed.then(() => {
			if (!this.#left && client.carrier === carrier) this.connect();
		});
		this.#note(["connected", client.opened.session, client.opened.resumed]);
		if (client.opened.resumed) return;
		for (const { failed } of this.#calls.values()) failed(new Error("the session is another one"));
		this.#calls.clear();
		this.#bySub.clear();
		for (const view of this.views) this.subscribe(view);
	}

	/** Loses its connection, and comes back to its session, or (anew) to another one. */
	cut(anew) {
		this.client.cut();
		return this.connect(anew);
	}

	call(method, params) {
		return new Promise((done, failed) => {
			const [id] = this.client.batch([[method, params]]);
			this.#note([id, method, params]);
			this.#calls.set(id, { done, failed, method });
		});
	}

	notify(method, params) {
		if (this.client.carrier) this.client.batch([[method, params, true]]);
	}

	/** Subscribes until it is answered; the service may not have the table just now. */
	async subscribe(view) {
		const { session } = this.client.opened;
		view.asking = true; // and what it has may be all that is there, but it is told nothing
		view.whole = view.whole && !view.lost; // behind a reset it begins anew
		view.lost = undefined;
		const again = (ms) => setTimeout(() => this.client.opened.session === session && !this.#left && this.subscribe(view), ms);
		try {
			// the answer is handled where it comes, before the event behind it
			const id = this.client.batch([["dataset.subscribe", view.params]])[0];
			this.#note([id, "dataset.subscribe", view.params]);
			await new Promise((done, failed) =>
				this.#calls.set(id, {
					method: "dataset.subscribe",
					failed,
					done: (result) => {
						view.asking = false;
						view.answered(result);
						assert.equal(this.#bySub.get(view.sub) ?? view, view, "two views with one sub");
						this.#bySub.set(view.sub, view);
						done();
					},
				}),
			);
		} catch (error) {
			if (/another one/.test(error.message)) return;
			if (error.code === -32030) again(200 * (error.data?.retry_after ?? 1) * Math.random());
			else this.#guard(() => { throw error; });
		}
	}

	async unsubscribe(view) {
		const { sub } = view;
		if (this.#bySub.get(sub) !== view) return;
		try {
			await this.call("dataset.unsubscribe", { sub });
		} catch (error) {
			// it may have been reset on the way
			if (!/another one/.test(error.message) && error.data?.reason !== "no_such_sub") this.#guard(() => { throw error; });
			return;
		}
		if (this.#bySub.get(sub) !== view) return;
		this.#bySub.delete(sub);
		await this.subscribe(view);
	}

	#heard(message) {
		this.heard?.(message);
		this.#note(message.method ? [message.method, message.params] : message);
		if (message.method === undefined) return this.#answered(message);
		if (!message.method.startsWith("dataset.") || message.method === "dataset.schema") return undefined;
		const view = this.#bySub.get(message.params.sub);
		assert.ok(view, `${message.method} of a sub that is none: ${JSON.stringify(message.params).slice(0, 200)}`);
		view.take(message.method, message.params);
		if (message.method === "dataset.reset") {
			this.resets.push(message.params.reason);
			this.#bySub.delete(view.sub);
			const { retry_after = 0 } = message.params;
			const { session } = this.client.opened;
			setTimeout(() => this.client.opened.session === session && !this.#left && this.subscribe(view), 100 * retry_after * Math.random());
			return undefined;
		}
		const ack = view.ack();
		return ack && this.notify("dataset.ack", ack);
	}

	#answered({ id, result, error }) {
		const call = this.#calls.get(id);
		assert.ok(call, `an answer to ${id}, which nobody has asked`);
		this.#calls.delete(id);
		if (error) call.failed(Object.assign(new Error(`${call.method}: ${error.message} ${JSON.stringify(error.data)}`), error));
		else call.done(result);
	}

	/** Gives a view that was held its credit again. */
	release(view) {
		const ack = view.release();
		if (ack && this.#bySub.get(view.sub) === view) this.notify("dataset.ack", ack);
	}

	/** Behind everything that the dataset has told this session so far. */
	barrier(dataset) {
		return this.call("dataset.schema", { dataset });
	}

	leave() {
		this.#left = true;
		this.client.cut();
	}
}
