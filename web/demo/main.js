import { Signalbox } from "/sdk/signalbox.js";
import { completeSignIn, signIn, signOut, token } from "/sdk/signin.js";
import { $, notify, problem, show } from "./dom.js";
import { Lobby } from "./lobby.js";
import { RoomView } from "./room-view.js";
import { watchStatus } from "./status.js";

const CLIENT = { clientId: "demo", scope: "openid profile offline_access rooms:join rooms:create" };
const SIGNED_OUT = "signalbox.demo.signed-out";

let issuer = "";
let box = null;
let view = null;
let entering = false;

// What a test or a curious person may look at.
window.signalboxDemo = {
	get box() {
		return box;
	},
	get room() {
		return view?.room ?? null;
	},
	get call() {
		return view?.room.activeCall ?? null;
	},
};

const lobby = new Lobby({ join: (name, wanted) => enterRoom(name, wanted) });

/* ---- the way in ---- */

async function start() {
	issuer = await findIssuer();
	const there = new URL(issuer);
	if (there.origin !== location.origin) {
		goElsewhere(there);
		return;
	}
	let who = null;
	try {
		who = await completeSignIn();
	} catch (error) {
		welcome(error);
		return;
	}
	if (who) await enter();
	else welcome();
}

async function findIssuer() {
	const response = await fetch("/.well-known/openid-configuration").catch(() => null);
	if (!response?.ok) {
		throw new Error("This service does not say where to sign in. Look whether it runs, then reload the page.");
	}
	return (await response.json()).issuer;
}

/** Signing in works only where the issuer is: the same service under the name it calls itself. */
function goElsewhere(there) {
	const loopback = ["localhost", "127.0.0.1", "[::1]"];
	const href = there.origin + location.pathname + location.hash;
	const here = loopback.includes(location.hostname) && there.port === location.port;
	if (here && loopback.includes(there.hostname)) {
		location.replace(href);
		return;
	}
	welcome(`This service calls itself ${there.origin}, and signing in works only there.`);
	$("welcome-actions").hidden = true;
	$("elsewhere").hidden = false;
	$("elsewhere").href = href;
	$("elsewhere").textContent = `Go to ${there.host}`;
}

function welcome(error = null) {
	document.title = "Signalbox";
	$("who").hidden = true;
	$("status").hidden = true;
	problem($("welcome-problem"), error);
	show("welcome");
}

async function goSignIn(prompt) {
	const again = sessionStorage.getItem(SIGNED_OUT) ? "login" : undefined;
	try {
		await signIn({ issuer, ...CLIENT, redirectUri: `${location.origin}/`, prompt: prompt ?? again });
		sessionStorage.removeItem(SIGNED_OUT);
	} catch (error) {
		problem($("welcome-problem"), error);
	}
}

async function enter() {
	show("loading");
	$("loading-text").textContent = "Connecting…";
	box = new Signalbox({ url: location.origin, token, client: { name: "signalbox-demo", version: "0.1.0" } });
	watchStatus(box);
	box.on("closed", ended);
	box.on("error", (error) => {
		if (error.reason === "expiring") notify(error, { action: { label: "Sign in", run: () => goSignIn() } });
		else if (box) notify(error); // else ended() has said it
	});
	try {
		await box.connect();
	} catch {
		return; // "closed" has told it
	}
	$("who").hidden = false;
	$("who-name").textContent = box.user.name;
	await route();
}

function ended({ reason, message }) {
	leaveView();
	const lost = box;
	box = null;
	if (reason === "page_gone" || lost?.leaving) return; // signing out may be faster than the goodbye
	if (reason === "unauthenticated" || reason === "expired") {
		signOut();
		welcome(message);
		return;
	}
	$("ended-text").textContent = message;
	show("loading");
	$("loading-text").textContent = "Disconnected.";
	$("ended-dialog").showModal();
}

/* ---- rooms ---- */

function roomInAddress() {
	const match = /^#room=(.+)$/.exec(location.hash);
	try {
		return match ? decodeURIComponent(match[1]) : null;
	} catch {
		return null;
	}
}

/** Shows what the address says. */
async function route() {
	if (box?.state === undefined || box.state === "closed") return;
	const name = roomInAddress();
	if (name === (view?.room.name ?? null) && view) return;
	leaveView();
	if (name) await enterRoom(name, lobby.wanted());
	else showLobby();
}

function showLobby(error = null) {
	document.title = "Signalbox";
	if (location.hash) history.replaceState(null, "", location.pathname);
	show("lobby");
	lobby.open(box, error);
}

async function enterRoom(name, wanted) {
	const current = box;
	if (entering) return;
	entering = true;
	try {
		const room = await current.join(name);
		const address = `#room=${encodeURIComponent(name)}`;
		if (location.hash !== address) history.pushState(null, "", address);
		view?.close();
		view = new RoomView(room, box.user, wanted, (why) => {
			view = null;
			if (box) showLobby(why);
		});
		document.title = `${name} · Signalbox`;
		show("room");
	} catch (error) {
		if (box === current && current.state !== "closed") showLobby(error);
	} finally {
		entering = false;
	}
}

function leaveView() {
	const leaving = view;
	view = null;
	leaving?.close();
}

/* ---- wiring ---- */

function leaveSession() {
	if (!box) return;
	box.leaving = true;
	box.close();
}

$("sign-in").onclick = () => goSignIn();
$("sign-in-other").onclick = () => goSignIn("login");
$("sign-up").onclick = () => goSignIn("create");
$("sign-out").onclick = () => {
	leaveSession();
	signOut();
	sessionStorage.setItem(SIGNED_OUT, "yes");
	if (location.hash) history.replaceState(null, "", location.pathname);
	welcome();
};
$("home").onclick = (event) => {
	event.preventDefault();
	if (!view) return;
	history.pushState(null, "", location.pathname);
	void route();
};
$("ended-dialog").onclose = () => {
	if ($("ended-dialog").returnValue === "again") void enter();
	else welcome();
};
for (const button of document.querySelectorAll("[data-close]")) {
	button.onclick = () => button.closest("dialog").close();
}
window.addEventListener("hashchange", () => void route());
// The library ends the session of a page that is gone. One that the browser only puts aside ends it,
// too, so as not to hang in the room, and begins anew when it is taken out again.
window.addEventListener("pagehide", (event) => event.persisted && leaveSession());
window.addEventListener("pageshow", (event) => event.persisted && location.reload());

start().catch(welcome);
