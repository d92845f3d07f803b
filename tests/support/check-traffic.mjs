// Holds messages against schema/openrpc.json.
//   check-traffic.mjs [FOLDER]   every message in the folder's files (see traffic.mjs): build/traffic
// What the server sent must be described, whatever it is; what a client sent, when it was answered
// with a result. The first message that is not ends it.
import Ajv from "ajv";
import { globSync, readFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "../..");

export const description = JSON.parse(readFileSync(join(root, "schema/openrpc.json"), "utf8"));

const bytes = (text) => Buffer.byteLength(text);

/** What the description says, as functions that return what is wrong with a value, or undefined. */
function compile(doc) {
	const ajv = new Ajv.default({ strict: true, strictTypes: false, validateFormats: false });
	// Of values that are no strings the text is not known any more.
	const limit = (keyword, holds) =>
		ajv.addKeyword({
			keyword,
			schemaType: "number",
			validate: (max, value) => typeof value !== "string" || holds(bytes(value), max),
		});
	limit("x-max-bytes", (n, max) => n <= max);
	limit("x-min-bytes", (n, min) => n >= min);
	ajv.addVocabulary(Object.keys(doc)); // it is no schema itself, but holds them
	ajv.addSchema(doc, "openrpc");
	const checked = (schema, name) => {
		const valid = ajv.compile(schema);
		return (value) =>
			valid(value) ? undefined : ajv.errorsText(valid.errors, { dataVar: name });
	};
	const at = (...path) => ({ $ref: `openrpc#/${path.join("/")}` });
	const params = (method, i) => ({
		type: "object",
		properties: Object.fromEntries(
			method.params.map(({ name }, k) => [name, at("methods", i, "params", k, "schema")]),
		),
		required: method.params.filter(({ required }) => required).map(({ name }) => name),
		additionalProperties: false,
	});
	return {
		methods: new Map(
			doc.methods.map((method, i) => [
				method.name,
				{
					params: checked(params(method, i), "params"),
					result: checked(at("methods", i, "result", "schema"), "result"),
					reasons: new Set([...doc["x-common-reasons"], ...(method["x-reasons"] ?? [])]),
					passesErrors: method["x-passes-errors"] ?? false,
				},
			]),
		),
		events: new Map(
			Object.entries(doc["x-events"]).map(([name, event]) => [
				name,
				{ params: checked(at("x-events", name, "params"), "params"), asks: event["x-request"] ?? false },
			]),
		),
		errorData: checked(at("components", "schemas", "ErrorData"), "error.data"),
	};
}

const hasOnly = (object, names) => Object.keys(object).find((name) => !names.includes(name));

/** One server's or file's messages, in the order they were seen. */
export class Checker {
	#schema;
	#codes; // reason → code
	#asked = new Map(); // connection and id → requests without an answer

	/** What was seen, for who wants to know what was not. */
	methods = new Set();
	events = new Set();
	reasons = new Set();
	messages = 0;

	constructor(doc = description) {
		this.#schema = compile(doc);
		this.#codes = new Map(
			Object.values(doc.components.errors).flatMap(({ code, data }) =>
				data.reasons.map((reason) => [reason, code]),
			),
		);
	}

	/** What is wrong with a message, or undefined. */
	look({ dir, text, on, over }) {
		let message;
		try {
			message = JSON.parse(text);
		} catch {
			return dir === "in" ? "it is not JSON" : undefined;
		}
		for (const one of Array.isArray(message) ? message : [message]) {
			this.messages++;
			const wrong = dir === "out" ? this.#sent(one, on) : this.#came(one, on, over);
			if (wrong) return wrong;
		}
		if (dir === "in" && bytes(text) > 256 * 1024) return "it is larger than 256 KiB";
		if (dir === "in" && Array.isArray(message) && message.length === 0) return "it is empty";
	}

	#sent(message, on) {
		if (typeof message !== "object" || message === null || message.id === undefined) return;
		if (message.method === undefined && ("result" in message || "error" in message)) return; // a reply
		const key = JSON.stringify([on, message.id]);
		this.#asked.set(key, [...(this.#asked.get(key) ?? []), message]);
	}

	#came(message, on, over) {
		if (message.jsonrpc !== "2.0") return 'it has no "jsonrpc": "2.0"';
		return message.method === undefined ? this.#answer(message, on, over) : this.#event(message);
	}

	#event({ method, params, ...rest }) {
		const check = this.#schema.events.get(method);
		if (!check) return `the event ${method} is not described`;
		this.events.add(method);
		const extra = hasOnly(rest, check.asks ? ["jsonrpc", "id"] : ["jsonrpc"]);
		if (extra) return `it has a member ${extra}`;
		if (check.asks && typeof rest.id !== "string") return `${method} has no id`;
		return check.params(params);
	}

	#answer(message, on, over) {
		const extra = hasOnly(message, ["jsonrpc", "id", "error" in message ? "error" : "result"]);
		if (extra) return `it has a member ${extra}`;
		if (message.id === null) return this.#error(message.error);
		const key = JSON.stringify([on, message.id]);
		const asked = this.#asked.get(key) ?? [];
		// Two requests may have had the same id, and then either may be meant.
		let wrong = "nothing was asked with this id";
		for (const request of asked) {
			wrong = message.error
				? this.#error(message.error, request.method)
				: this.#success(message.result, request);
			if (wrong) continue;
			// It does not count, so a POST of it that comes twice is answered twice.
			if (request.method !== "session.ping" || over !== "http") asked.splice(asked.indexOf(request), 1);
			if (asked.length === 0) this.#asked.delete(key);
			return;
		}
		return wrong;
	}

	#success(result, { method, params = {} }) {
		const check = this.#schema.methods.get(method);
		if (!check) return `the method ${method} is not described`;
		const wrong = check.params(params);
		if (wrong) return `its request ${method} was not as described: ${wrong}`;
		this.methods.add(method);
		return check.result(result);
	}

	#error(error, method) {
		const extra = hasOnly(error ?? {}, ["code", "message", "data"]);
		if (extra) return `the error has a member ${extra}`;
		// A backend's error has any code and data; where it has none of our reasons it is the backend's.
		const reasons = this.#schema.methods.get(method);
		if (reasons?.passesErrors && !reasons.reasons.has(error?.data?.reason))
			return Number.isInteger(error?.code) && typeof error.message === "string" ? undefined : "it is no error";
		const wrong = this.#schema.errorData(error?.data);
		if (wrong) return wrong;
		const { reason } = error.data;
		this.reasons.add(reason);
		if (this.#codes.get(reason) !== error.code)
			return `the reason ${reason} is not described for the code ${error.code}`;
		if (typeof error.message !== "string" || !error.message) return "the error has no message";
		const described = this.#schema.methods.get(method);
		if (described && !described.reasons.has(reason))
			return `the reason ${reason} is not described for ${method}`;
	}
}

/** All that a folder's files hold. Throws at the first message that is not described. */
export function checkFolder(folder) {
	const files = globSync(join(folder, "*.jsonl")).sort();
	const seen = new Checker();
	for (const file of files) {
		const checker = new Checker();
		for (const line of readFileSync(file, "utf8").split("\n")) {
			if (!line) continue;
			const record = JSON.parse(line);
			const wrong = checker.look(record);
			if (wrong) throw new Error(`${basename(file)}: ${wrong}\n${record.text.slice(0, 4000)}`);
		}
		for (const set of ["methods", "events", "reasons"])
			for (const name of checker[set]) seen[set].add(name);
		seen.messages += checker.messages;
	}
	return { files: files.length, seen };
}

if (import.meta.filename === process.argv[1]) {
	const { files, seen } = checkFolder(process.argv[2] ?? join(root, "build/traffic"));
	console.log(`${seen.messages} messages in ${files} files are as described`);
}
