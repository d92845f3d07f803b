// What a dump of callgrind says: instructions of each function, of its own and with what it calls. Of libraries the names
// say which one; functions without a name are one for each library.
import { basename } from "node:path";

// Not counted: what it does hangs on the processor.
const LEFT = /^libcrypto\.so/;
// Names of the C library's functions for some processors alone.
const FOR_SOME = /_(avx\d*|avx512\w*|evex\w*|erms|ssse3\w*|sse4\w*)(_|$)/;

export class Profile {
	total = 0;
	own = new Map();
	all = new Map();
	#names = { ob: new Map(), fn: new Map() };

	constructor(text, program) {
		let object = "";
		let name = "";
		let called = false; // the next line is what the callee has cost
		for (const line of text.split("\n")) {
			const [, word, value] = /^(c?ob|c?fn|calls)=(.*)$/.exec(line) ?? [];
			if (word === "ob") object = basename(this.#name("ob", value));
			else if (word === "cob") this.#name("ob", value);
			else if (word === "cfn") this.#name("fn", value);
			else if (word === "fn") name = this.#name("fn", value).replace(/'\d+$/, "");
			else if (word === "calls") called = true;
			else {
				const cost = /^[+*-]?\d* (\d+)$/.exec(line)?.[1];
				if (!cost) continue;
				if (!LEFT.test(object)) this.#count(object === program ? name : inLibrary(name, object), Number(cost), called);
				called = false;
			}
		}
	}

	// "(3) name" the first time, "(3)" from then on
	#name(kind, text) {
		const [, id, name] = /^\((\d+)\)(?: (.*))?$/.exec(text);
		if (name !== undefined) this.#names[kind].set(id, name);
		return this.#names[kind].get(id);
	}

	#count(name, cost, called) {
		if (FOR_SOME.test(name.replace(/ \(.*/, ""))) throw new Error(`${name} was counted, which not every processor has`);
		this.all.set(name, (this.all.get(name) ?? 0) + cost);
		if (called) return;
		this.own.set(name, (this.own.get(name) ?? 0) + cost);
		this.total += cost;
	}
}

function inLibrary(name, object) {
	const library = object.replace(/\.so.*/, "");
	return name.startsWith("0x") ? `(${library})` : `${name} (${library})`;
}
