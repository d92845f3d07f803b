import { forgetGuest, guest, joinAsGuest, lookAtInvitation } from "/sdk/guest.js";
import { Signalbox } from "/sdk/signalbox.js";
import { completeSignIn, signIn, signOut, signedIn, token } from "/sdk/signin.js";
import { $, notify, problem, show } from "./dom.js";
import { Door, askGuest } from "./knock.js";
import { Lobby } from "./lobby.js";
import { Ringing } from "./ringing.js";
import { RoomView } from "./room-view.js";
import { watchStatus } from "./status.js";

const CLIENT = { clientId: "demo", scope: "openid profile offline_access rooms:join rooms:create datasets:read datasets:write" };
const PROGRAM = { name: "signalbox-demo", version: "0.1.0" };
const SIGNED_OUT = "signalbox.demo.signed-out";

let issuer = "";
let box = null;
let view = null;
/** The room that is being entered. @type {{name: string} | null} */
let entering = null;

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

const lobby = new Lobby({
	join: (name, wanted) => enterRoom(name, wanted),
	ring: (user, name) => ringing.call(box, user, name, lobby.wanted()),
});
const ringing = new Ringing({ talk });
const door = new Door({ back: () => showLobby() });

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
	if (who) await enter(who);
	else if (inAddress("invitation")) await invited(inAddress("invitation"));
	else if (guest()) await enterAsGuest({});
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

async function enter(who = signedIn()) {
	show("loading");
	$("loading-text").textContent = "Connecting…";
	begin(new Signalbox({ url: location.origin, token, client: PROGRAM, user: who?.user?.id }));
	ringing.begin(box);
	try {
		await box.connect();
	} catch {
		return; // "closed" has told it
	}
	$("who").hidden = false;
	$("who-name").textContent = box.user.name;
	lobby.contacts.begin(box);
	await route();
}

function begin(fresh) {
	box = fresh;
	watchStatus(box);
	box.on("closed", ended);
	box.on("error", (error) => {
		if (error.reason === "expiring") notify(error, { action: { label: "Sign in", run: () => goSignIn() } });
		else if (box) notify(error); // else ended() has said it
	});
}

/* ---- guests ---- */

/** By an invitation, and not signed in. */
async function invited(invitation) {
	const where = { url: location.origin, invitation };
	try {
		const found = await lookAtInvitation(where);
		const name = await askGuest({ found, signIn: () => goSignIn() });
		await enterAsGuest({ invitation, name });
	} catch (error) {
		history.replaceState(null, "", location.pathname);
		welcome(error);
	}
}

/** For one room, and nothing else. */
async function enterAsGuest({ invitation, name }) {
	const form = document.body.dataset.view === "guest";
	try {
		const { box: fresh, room } = await joinAsGuest({ url: location.origin, client: PROGRAM, invitation, name });
		begin(fresh);
		// Told of before anybody listened.
		$("status").hidden = false;
		$("status").dataset.state = "open";
		$("status-word").textContent = "Connected";
		$("who").hidden = false;
		$("who-name").textContent = `${fresh.user.name} (guest)`;
		showRoom(room, lobby.wanted());
	} catch (error) {
		forgetGuest();
		if (!form) throw error;
		welcome(error);
	}
}

function ended({ reason, message }) {
	leaveView();
	const lost = box;
	box = null;
	if (reason === "page_gone" || lost?.leaving) return; // signing out may be faster than the goodbye
	if (guest()) {
		forgetGuest();
		welcome(message);
		return;
	}
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

/** What stands in the address behind "#key=". */
function inAddress(key) {
	const match = new RegExp(`^#${key}=(.+)$`).exec(location.hash);
	try {
		return match ? decodeURIComponent(match[1]) : null;
	} catch {
		return null;
	}
}

/** Shows what the address says. */
async function route() {
	if (box?.state === undefined || box.state === "closed") return;
	const invitation = inAddress("invitation");
	if (invitation) {
		await acceptInvitation(invitation);
		return;
	}
	const name = inAddress("room");
	if (name === (view?.room.name ?? null) && view) return;
	leaveView();
	if (name) await enterRoom(name, lobby.wanted());
	else showLobby();
}

async function acceptInvitation(invitation) {
	leaveView();
	history.replaceState(null, "", location.pathname);
	try {
		const { room } = await box.rooms.accept(invitation);
		await enterRoom(room, lobby.wanted());
	} catch (error) {
		showLobby(error);
	}
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
	const turn = (entering = { name });
	try {
		const room = await current.join(name).catch((error) => {
			if (error.reason !== "lobby") throw error;
			return door.knock(current, name);
		});
		if (room && entering === turn) showRoom(room, wanted);
		else if (entering?.name !== name && view?.room !== room) await room?.leave(); // they went elsewhere
	} catch (error) {
		if (entering === turn && box === current && current.state !== "closed") showLobby(error);
	} finally {
		if (entering === turn) entering = null;
	}
}

/** @param {any} room @param {{audio: boolean, video: boolean}} wanted @param {any} [ring] the call it belongs to */
function showRoom(room, wanted, ring = null) {
	const address = `#room=${encodeURIComponent(room.name)}`;
	if (!ring && location.hash !== address) history.pushState(null, "", address);
	if (view?.room !== room) view?.close();
	lobby.close();
	const met = (people) => guest() || lobby.contacts.met(people); // guests have nobody to call
	view = new RoomView(room, { me: box.user, box, wanted, ring, met }, left);
	document.title = `${view.title} · Signalbox`;
	show("room");
}

/** Out of a room. @param {string | null} why */
function left(why) {
	view = null;
	if (!box || box.state === "closed") return; // ended() says it
	if (guest()) leaveGuest(why);
	else showLobby(why);
}

function leaveGuest(why = null) {
	leaveSession();
	forgetGuest();
	if (location.hash) history.replaceState(null, "", location.pathname);
	welcome(why);
}

/** Somebody took the call, or it was taken here. */
function talk(ring, wanted) {
	leaveView();
	showRoom(ring.room, wanted, ring);
}

function leaveView() {
	door.leave();
	entering = null;
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
	if (guest()) {
		leaveView();
		leaveGuest();
		return;
	}
	const waits = box?.datasets.pending;
	if (waits && !confirm(`${waits === 1 ? "One change of a board has" : `${waits} changes of boards have`} not been sent yet, and will be lost. Sign out all the same?`)) return;
	void box?.datasets.forget(); // the next one at this device finds nothing
	leaveSession();
	signOut();
	sessionStorage.setItem(SIGNED_OUT, "yes");
	if (location.hash) history.replaceState(null, "", location.pathname);
	welcome();
};
$("home").onclick = (event) => {
	event.preventDefault();
	if (!view || guest()) return;
	if (view.ring) {
		void view.leave();
		return;
	}
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
