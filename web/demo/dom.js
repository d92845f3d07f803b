// The few things of the page that everything here uses.

/** @param {string} id @returns {any} */
export const $ = (id) => document.getElementById(id);

/** An element with properties and children; `data` and `aria` are objects of attributes. */
export function h(tag, { data = {}, aria = {}, ...props } = {}, ...children) {
	const element = Object.assign(document.createElement(tag), props);
	for (const [name, value] of Object.entries(data)) element.dataset[name] = value;
	for (const [name, value] of Object.entries(aria)) element.setAttribute(`aria-${name}`, value);
	element.append(...children);
	return element;
}

export function icon(name) {
	const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
	const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
	svg.setAttribute("aria-hidden", "true");
	use.setAttribute("href", `#i-${name}`);
	svg.append(use);
	return svg;
}

export function show(view) {
	for (const section of document.querySelectorAll(".view")) section.hidden = section.id !== `view-${view}`;
	document.body.dataset.view = view;
	document.querySelector(`#view-${view} h1`)?.focus({ preventScroll: true });
}

/** Shows or clears the sentence in a form or view that says what is wrong. */
export function problem(element, error) {
	element.hidden = !error;
	element.textContent = error ? sentence(error) : "";
}

export function sentence(error) {
	if (typeof error === "string") return error;
	return error?.message ?? "Something went wrong. Reload the page and try again.";
}

/** A sentence at the edge of the page, with a button where one helps. Equal ones stand once. */
export function notify(error, { kind = "trouble", action } = {}) {
	const text = sentence(error);
	for (const other of $("notices").children) if (other.dataset.text === text) other.remove();
	const notice = h("div", { className: `notice ${kind}`, data: { text, testid: "notice" } },
		h("span", {}, text));
	if (action) {
		notice.append(h("button", { type: "button", textContent: action.label, onclick: () => {
			notice.remove();
			action.run();
		} }));
	}
	notice.append(h("button", {
		type: "button",
		className: "control small quiet",
		onclick: () => notice.remove(),
		aria: { label: "Dismiss" },
	}, icon("close")));
	$("notices").append(notice);
	setTimeout(() => notice.remove(), kind === "trouble" ? 15_000 : 5_000);
	return notice;
}

/** Says something to those who listen to the page. */
export function announce(text) {
	$("announcer").textContent = text;
}

/** Runs what a button does: it cannot be pressed twice meanwhile, and a failure is shown. */
export async function busy(button, work, failed = notify) {
	if (button.getAttribute("aria-busy") === "true") return;
	button.setAttribute("aria-busy", "true");
	try {
		await work();
	} catch (error) {
		failed(error);
	} finally {
		button.removeAttribute("aria-busy");
	}
}

/** A round mark for a person: initials, in one of eight colours that is the same everywhere. */
export function avatar(user, name, size = "") {
	const data = { tint: tint(user) };
	return h("span", { className: `avatar ${size}`, data, aria: { hidden: "true" } }, initials(name));
}

function initials(name) {
	const words = name.replace(/ \(you\)$/, "").trim().split(/[\s._-]+/).filter(Boolean);
	const first = [...(words[0] ?? "?")];
	const letters = words.length > 1 ? [first[0], [...words.at(-1)][0]] : first.slice(0, 2);
	return letters.join("").toUpperCase();
}

function tint(user) {
	let sum = 0;
	for (const char of user) sum = (sum * 31 + char.codePointAt(0)) >>> 0;
	return String(sum % 8);
}
