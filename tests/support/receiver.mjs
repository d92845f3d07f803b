// A backend for tests: a real HTTP server that is told events (webhooks) and asked questions (authorize),
// and verifies each with the library that receivers use.
//   const receiver = await new Receiver().listen(t);
//   startServer({ config: { webhooks: [receiver.webhook({ events: ["room.*"] })] } });
//   await receiver.got((all) => all.some(({ type }) => type === "room.joined"));
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";
import { within } from "./within.mjs";

const WAIT_MS = 20_000;

export const newSecret = () => `whsec_${randomBytes(32).toString("base64")}`;

export class Receiver {
	secret = newSecret();
	attempts = []; // all that was posted and verified, also what was not answered with 2xx
	events = []; // what was answered with 2xx, doubles too
	questions = [];
	open = 0; // requests that are not answered yet
	most = 0; // at the same time
	problems = [];
	#watchers = new Set();

	/** What it answers to an event: a status, or what does it all itself with (response, event). */
	answer = () => 204;
	/** What it answers to a question: an object, or a status. */
	decide = () => ({ allow: true });

	async listen(t, port = 0) {
		this.http = createServer((request, response) => {
			const chunks = [];
			request.on("error", () => {});
			request.on("data", (chunk) => chunks.push(chunk));
			request.on("end", () => this.#take(request, response, Buffer.concat(chunks).toString()));
		});
		await new Promise((done, failed) => this.http.once("error", failed).listen(port, "127.0.0.1", done));
		this.port = this.http.address().port;
		t?.after(() => this.close());
		return this;
	}

	get url() {
		return `http://127.0.0.1:${this.port}/hook`;
	}

	webhook(more = {}) {
		return { url: this.url, secret: this.secret, ...more };
	}

	async #take(request, response, body) {
		this.most = Math.max(this.most, ++this.open);
		response.on("close", () => this.open--);
		let content;
		try {
			assert.equal(request.method, "POST");
			assert.equal(request.headers["content-type"], "application/json");
			content = new Webhook(this.secret).verify(body, request.headers);
			if (content.id) assert.equal(content.id, request.headers["webhook-id"]);
		} catch (problem) {
			this.problems.push(problem);
			response.writeHead(400).end();
			return;
		}
		if (content.sequence === undefined) await this.#decide(response, content);
		else await this.#event(response, content);
		for (const watch of this.#watchers) watch();
	}

	async #decide(response, question) {
		this.questions.push(question);
		for (const watch of this.#watchers) watch();
		const word = await this.decide(question, response);
		if (typeof word === "number") response.writeHead(word).end();
		else if (word) response.setHeader("content-type", "application/json").end(JSON.stringify(word));
	}

	async #event(response, event) {
		this.attempts.push(event);
		for (const watch of this.#watchers) watch();
		const status = await this.answer(event, response);
		if (typeof status !== "number") return;
		if (status >= 200 && status < 300) this.events.push(event);
		response.writeHead(status).end();
	}

	/** Resolves once the condition holds for what has been taken. */
	async got(condition, what = "the events", timeout = WAIT_MS) {
		let watch;
		const there = new Promise((done) => {
			watch = () => condition(this.events, this) && done();
			this.#watchers.add(watch);
			watch();
		});
		await within(there, timeout, what).catch((error) => {
			throw new Error(`${error.message}: ${JSON.stringify(this.events.map(brief)).slice(0, 3000)} ${this.problems}`);
		});
		this.#watchers.delete(watch);
	}

	/** Its events each once, in the order that they first came. */
	get unique() {
		return [...new Map(this.events.map((event) => [event.id, event])).values()];
	}

	async close() {
		if (!this.http?.listening) return;
		this.http.closeAllConnections();
		await new Promise((done) => this.http.close(done));
	}
}

export const brief = ({ type, data }) =>
	[type, data.room ?? data.user, data.user ?? data.data, data.reason].filter((one) => one !== undefined).join(" ");
