// People in front of Chromium, each with a browser, a profile, a camera and a microphone of their own.
//   const server = await serve(t, { workers: 4 });
//   const [ann, bob] = await people(t, server, ["ann", "bob"]);      signed in through the real pages, in the lobby
//   await Promise.all([ann.join("tea"), bob.join("tea")]);
//   await ann.sees("bob");                                          his video is decoded and his voice heard, now
// A person whose page wrote an error into its console, or asked anything of another origin, fails the test.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";
import { assertAlone } from "./network.mjs";
import { startServer } from "./server.mjs";
import { nameConnection, record } from "./traffic.mjs";
import { openWay } from "./way.mjs";

const WAIT_MS = 30_000;
const POLL_MS = 100;
const PASSWORD = "correct horse battery";

export const CHROMIUM = "/usr/bin/chromium";
const ARGUMENTS = [
	...["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
	...["--disable-background-networking", "--disable-component-update", "--disable-sync"],
	"--allow-loopback-in-peer-connection",
	"--disable-features=WebRtcHideLocalIpsWithMdns",
];
/** What the browser's own question for camera and microphone is answered with. */
const ANSWERS = {
	allow: ["--use-fake-ui-for-media-stream"],
	deny: ["--use-fake-ui-for-media-stream=deny"],
};
const CAMERAS = {
	fake: ["--use-fake-device-for-media-stream"],
	none: ["--use-fake-device-for-media-stream=device-count=0"],
};

// ---- what a test starts ----

const endings = new WeakMap();

/** Does this when the test ends, and what came later before it: people go home before their server stops. */
export function atEnd(t, work) {
	const works = endings.get(t) ?? [];
	works.push(work);
	if (works.length > 1) return;
	endings.set(t, works);
	t.after(async () => {
		const failures = [];
		for (const one of works.reverse()) await Promise.resolve(one()).catch((error) => failures.push(error));
		if (failures.length) throw failures[0];
	});
}

/** A server for the length of a test; options as for startServer. */
export async function serve(t, options) {
	const server = await startServer(options);
	atEnd(t, () => server.stop());
	return server;
}

// As the servers' logs: a failed file shows what the pages wrote.
const everybody = [];
process.on("exit", (code) => {
	if (!code && !process.exitCode) return;
	for (const { name, console: lines } of everybody)
		if (lines.length) process.stderr.write(`\n---- the console of ${name}\n${lines.slice(-40).join("\n")}\n`);
});

/** Several people, signed in, in the lobby. Options as for `arrive`, and `site`, the address they take. */
export async function people(t, server, names, { site = siteOf(server), ...options } = {}) {
	return Promise.all(
		names.map(async (name) => {
			const person = await arrive(t, name, options);
			await person.open(site);
			await person.signUp();
			return person;
		}),
	);
}

/** Where people find a server: at the name that its issuer gives itself. */
export function siteOf(server) {
	return `http://localhost:${server.port}/`;
}

/** A browser for who needs nothing of a Person. Whoever launches it closes it. */
export function launch(args = [], executablePath = CHROMIUM) {
	return chromium.launch({ executablePath, args: [...ARGUMENTS, ...args] });
}

/**
 * Somebody with a fresh browser, nowhere yet.
 * camera: "fake" or "none"; answer: "allow" or "deny"; args: more for Chromium; chromium: the program;
 * page: viewport and the like, for the page; expected: console errors that are no fault.
 */
export async function arrive(t, name, options = {}) {
	const { camera = "fake", answer = "allow", args = [], page = {}, expected = [] } = options;
	const browser = await launch([...CAMERAS[camera], ...ANSWERS[answer], ...args], options.chromium);
	const person = new Person(name, browser, [...expected]);
	everybody.push(person);
	atEnd(t, () => person.go());
	await person.sitDown(page);
	return person;
}

/** Waits until `look` comes to something true, and returns that; `describe` says what is there instead. */
export async function until(what, look, { ms = WAIT_MS, describe = () => "" } = {}) {
	const end = Date.now() + ms;
	let last;
	for (;;) {
		try {
			last = await look();
			if (last) return last;
		} catch (error) {
			if (error instanceof assert.AssertionError) throw error;
			last = error.message;
		}
		if (Date.now() > end) break;
		await new Promise((done) => setTimeout(done, POLL_MS));
	}
	throw new Error(`waited ${ms} ms for ${what}; last: ${JSON.stringify(last)}\n${await describe()}`);
}

export class Person {
	/** What the page wrote into its console. */
	console = [];
	/** What was asked for, of whom. */
	requests = [];
	/** Whom it may ask, in this order; left out: the site it opens. */
	sites;
	#browser;
	#expected;
	#faults = [];
	#recordAs = nameConnection(); // one for all: a resumed session answers on another connection

	constructor(name, browser, expected) {
		this.name = name;
		this.#browser = browser;
		this.#expected = expected;
	}

	async sitDown(options) {
		this.context = await this.#browser.newContext({ viewport: { width: 1000, height: 700 }, ...options });
		await this.context.addInitScript(holdable);
		this.page = await this.context.newPage();
		this.page.setDefaultTimeout(WAIT_MS);
		this.page.on("console", (message) => this.#wrote(message.type(), message.text()));
		this.page.on("pageerror", (error) => this.#wrote("error", `uncaught: ${error.stack ?? error}`));
		this.page.on("crash", () => this.#wrote("error", "the page crashed"));
		this.context.on("request", (request) => this.requests.push(request.url()));
		this.page.on("websocket", (socket) => this.#watch(socket));
	}

	#wrote(type, text) {
		this.console.push(`${type}: ${text}`);
		const fine = this.#expected.some((pattern) => pattern.test(text));
		if (type === "error" && !fine) this.#faults.push(text);
	}

	#watch(socket) {
		this.requests.push(socket.url());
		const name = this.#recordAs;
		socket.on("framesent", ({ payload }) => record("out", String(payload), "ws", name));
		socket.on("framereceived", ({ payload }) => record("in", String(payload), "ws", name));
	}

	/** From now on such an error in the console is no fault. */
	expect(...patterns) {
		this.#expected.push(...patterns);
	}

	/** Closes the browser, and judges what the page did. */
	async go() {
		await this.#browser.close();
		assert.deepEqual(this.#faults, [], `errors in the console of ${this.name}`);
		const origins = this.requests
			.filter((url) => !/^(data|blob|about):/.test(url))
			.map((url) => new URL(url).origin.replace(/^ws/, "http"));
		const allowed = (this.sites ?? [this.site]).filter(Boolean).map((site) => new URL(site).origin);
		assert.deepEqual([...new Set(origins)], allowed, `whom ${this.name} asked`);
	}

	/** What a failure should show of the page. */
	async describe() {
		const text = await this.page.evaluate(() => document.body.innerText).catch(String);
		const stats = await this.stats().catch((error) => error.message);
		return [
			`---- ${this.name} at ${this.page.url()}`,
			text.replace(/^/gm, "  | "),
			`  ${JSON.stringify(stats)}`,
		].join("\n");
	}

	/** Waits until `look`, run in the page with `argument`, comes to something true. */
	async until(what, look, argument, ms) {
		return until(`${this.name}: ${what}`, () => this.page.evaluate(look, argument), {
			ms,
			describe: () => this.describe(),
		});
	}

	/** Like until(), but the page cannot take it for something the person did, such as a click. */
	async untilQuietly(what, expression) {
		const asked = { expression, returnByValue: true, userGesture: false };
		const devtools = await this.context.newCDPSession(this.page);
		const look = async () => (await devtools.send("Runtime.evaluate", asked)).result.value;
		await until(`${this.name}: ${what}`, look, { describe: () => this.describe() });
		await devtools.detach();
	}

	/** The element of the demo with this data-testid. */
	the(id, more = "") {
		return this.page.locator(`[data-testid="${id}"]${more}`);
	}

	/** Waits for an element, and returns its text. */
	async shown(locator, what = String(locator)) {
		try {
			await locator.first().waitFor({ state: "visible" });
			return await locator.first().innerText();
		} catch (error) {
			throw new Error(`${this.name} does not see ${what}: ${error.message}\n${await this.describe()}`);
		}
	}

	/** In time means: told by the service, not found out when nothing came any more. */
	async gone(locator, what = String(locator), timeout = 5_000) {
		try {
			await locator.first().waitFor({ state: "hidden", timeout });
		} catch (error) {
			throw new Error(`${this.name} still sees ${what}: ${error.message}\n${await this.describe()}`);
		}
	}

	// ---- the way in ----

	async open(site) {
		this.site = site;
		await this.page.goto(site);
		await this.shown(this.the("sign-in"), "the welcome page");
	}

	/** Makes an account with the issuer's form. */
	async signUp() {
		await this.the("sign-up").click();
		await this.page.waitForURL("**/oauth/**");
		await this.page.fill("[name=name]", this.name);
		await this.page.fill("[name=display_name]", this.displayName);
		await this.page.fill("[name=password]", PASSWORD);
		await this.page.click("button[type=submit]");
		await this.inLobby();
	}

	/** Signs in to an account that is there. */
	async signIn(password = PASSWORD) {
		await this.the("sign-in").click();
		await this.page.fill("[name=name]", this.name);
		await this.page.fill("[name=password]", password);
		await this.page.click("button[type=submit]");
		await this.inLobby();
	}

	get displayName() {
		return this.name[0].toUpperCase() + this.name.slice(1);
	}

	async inLobby() {
		await this.shown(this.the("room-name"), "the lobby");
		await this.until("a session", () => window.signalboxDemo.box?.state === "open");
	}

	/** The worker that has this person's session: its ids begin with the worker's number. */
	async worker() {
		const session = await this.page.evaluate(() => window.signalboxDemo.box.session.session);
		const number = Number(session.split(".")[0]);
		assert.ok(Number.isInteger(number), `the session id ${session} begins with the worker's number`);
		return number;
	}

	async join(room) {
		await this.the("room-name").fill(room);
		await this.the("join").click();
		await this.shown(this.the("room-view"), `the room ${room}`);
	}

	async leave() {
		await this.the("leave").click();
		await this.shown(this.the("room-name"), "the lobby");
	}

	/** Comes back with new sessions until the worker is none of these. */
	async moveFrom(...workers) {
		for (let worker = await this.worker(); workers.includes(worker); worker = await this.worker()) {
			await this.page.reload();
			await this.inLobby();
		}
	}

	/** Keeps back what the page sends to the service, until release(). */
	async hold() {
		await this.page.evaluate(() => (window.held = []));
	}

	async holds(words) {
		await this.until(`"${words}" is about to be sent`, (text) =>
			window.held.some((one) => one.text.includes(text)), words);
	}

	async release() {
		await this.page.evaluate(() => {
			const { held } = window;
			window.held = undefined;
			for (const { send } of held) send();
		});
	}

	tile(user) {
		return this.the("tile", `[data-user="${user}"]`);
	}

	// ---- what is in a call ----

	/** The call's connections, as getStats tells: {user: {...}}. */
	stats() {
		return this.page.evaluate(callStats);
	}

	/**
	 * Waits until this person decodes, from now on, so many videos of the other, and hears sound.
	 * Proved by counters that rise.
	 */
	async sees(user, { videos = 1, audio = true } = {}) {
		let before;
		await until(
			`${this.name} decodes ${videos} video(s) of ${user}${audio ? " and hears" : ""}`,
			async () => {
				const now = (await this.stats())[user];
				if (!now) return false;
				if (before?.connection !== now.connection) before = now;
				const rising = now.videos.filter(({ id, frames }) => {
					const first = before.videos.find((video) => video.id === id);
					if (!first) before.videos.push({ id, frames });
					return first && frames >= first.frames + 5;
				});
				const heard =
					now.samples > before.samples && now.energy > before.energy && now.audioBytes > before.audioBytes;
				return rising.length >= videos && (heard || !audio);
			},
			{ describe: () => this.describe() },
		);
	}

	/** Sends to everybody's data channel; returns to how many. */
	async sends(data) {
		return this.page.evaluate((text) => window.signalboxDemo.call.send(text), data);
	}

	/** From now on the messages of the data channels are kept in the page. */
	async listen() {
		await this.page.evaluate(() => {
			window.heard = [];
			window.signalboxDemo.call.on("data", ({ peer, data }) => {
				const user = window.signalboxDemo.call.peers.get(peer)?.user;
				window.heard.push({ user, data });
			});
		});
	}

	async hears(user, data) {
		await this.until(`"${data}" of ${user} over the data channel`, ([from, text]) =>
			window.heard.some((one) => one.user === from && one.data === text), [user, data]);
	}

	async channelOpen(user) {
		await this.until(`the data channel to ${user} is open`, (name) =>
			[...window.signalboxDemo.call.peers.values()].some(
				(peer) => peer.user === name && peer.channel.readyState === "open",
			), user);
	}
}

/** Runs in each page before its own scripts. */
function holdable() {
	const { send } = WebSocket.prototype;
	WebSocket.prototype.send = function (text) {
		if (window.held) window.held.push({ text, send: () => send.call(this, text) });
		else send.call(this, text);
	};
}

/** Runs in the page. */
async function callStats() {
	const result = {};
	for (const peer of window.signalboxDemo?.room?.activeCall?.peers.values() ?? []) {
		const entries = [...(await peer.pc.getStats()).values()];
		const byId = new Map(entries.map((entry) => [entry.id, entry]));
		const inbound = (kind) => entries.filter((entry) => entry.type === "inbound-rtp" && entry.kind === kind);
		const sum = (list, key) => list.reduce((total, entry) => total + (entry[key] ?? 0), 0);
		const transport = entries.find((entry) => entry.type === "transport");
		const pair = byId.get(transport?.selectedCandidatePairId);
		peer.pc.named ??= Math.random();
		result[peer.user] = {
			connection: peer.pc.named,
			state: peer.pc.connectionState,
			videos: inbound("video").map((entry) => ({ id: entry.id, frames: entry.framesDecoded ?? 0 })),
			samples: sum(inbound("audio"), "totalSamplesReceived"),
			energy: sum(inbound("audio"), "totalAudioEnergy"),
			audioBytes: sum(inbound("audio"), "bytesReceived"),
			local: byId.get(pair?.localCandidateId)?.candidateType,
			remote: byId.get(pair?.remoteCandidateId)?.candidateType,
			pair: pair?.id,
			ufrag: transport?.iceLocalUsernameFragment,
		};
	}
	return result;
}

// ---- the network ----

/** A way to the server (see way.mjs), gone when the test ends. */
export async function startWay(t) {
	const way = await openWay();
	atEnd(t, () => way.close());
	return way;
}

/**
 * Drops so many of 100 UDP packets from now on; end() ends it, and so does the end of the test.
 * Only in a network of the test's own: the rules then touch nobody else.
 */
export function dropUdp(t, percent) {
	assertAlone();
	nft("add table inet lossy");
	nft("add chain inet lossy input { type filter hook input priority 0; }");
	const some = percent < 100 ? `numgen random mod 100 < ${percent}` : "";
	nft(`add rule inet lossy input meta l4proto udp ${some} drop`);
	let ended = false;
	const end = () => {
		if (!ended) nft("delete table inet lossy");
		ended = true;
	};
	atEnd(t, async () => end());
	return end;
}

function nft(words) {
	execFileSync(["/usr/sbin/nft", "/sbin/nft"].find(existsSync) ?? "nft", [words]);
}
