/*
 * Guests: people without an account who come by an invitation, into one room.
 *
 *     const { title } = await lookAtInvitation({ url, invitation });
 *     const { box, room } = await joinAsGuest({ url, invitation, name: "Ann" });
 *
 * The sign-in is kept in sessionStorage, as long as the tab: coming back after a reload takes no other
 * use of the invitation. It cannot be renewed; when it ends, another invitation is needed.
 */
import { SignalboxError } from "./errors.js";
import { Signalbox } from "./signalbox.js";

/**
 * @typedef {import("./connection.js").ConnectionOptions} ConnectionOptions
 * @typedef {import("./room.js").Room} Room
 * @typedef {{url: string, token: string, expiresAt: number, user: string, name: string, room: string}} Guest
 *   `expiresAt` in ms since 1970
 */

const KEPT = "signalbox.guest";

/**
 * What an invitation is for, before anybody says a name.
 * @param {{url: string, invitation: string}} where
 * @returns {Promise<{room: string, title: string | null, guests: boolean}>}
 */
export function lookAtInvitation({ url, invitation }) {
	return ask(url, { invitation, look: true });
}

/**
 * Signs a guest in, connects and joins. Without `invitation`: with the sign-in that this tab has.
 * @param {Omit<ConnectionOptions, "token" | "ticket"> & {invitation?: string, name?: string, state?: any}} options
 * @returns {Promise<{box: Signalbox, room: Room}>}
 */
export async function joinAsGuest({ invitation, name, state, ...options }) {
	const found = invitation ? await signIn(options.url, invitation, name ?? "") : guest();
	if (!found) throw SignalboxError.signInNeeded("This invitation's time is over. Ask for another one.");
	const box = new Signalbox({ ...options, token: () => tokenOf(found) });
	await box.connect();
	try {
		return { box, room: await box.join(found.room, { state }) };
	} catch (error) {
		box.close();
		throw error;
	}
}

/** Who is a guest in this tab, if anybody. @returns {Guest | null} */
export function guest() {
	const kept = globalThis.sessionStorage?.getItem(KEPT);
	const found = kept ? /** @type {Guest} */ (JSON.parse(kept)) : null;
	return found && found.expiresAt > Date.now() ? found : null;
}

/** This tab is nobody's any more. */
export function forgetGuest() {
	globalThis.sessionStorage?.removeItem(KEPT);
}

/** @param {Guest} found */
function tokenOf(found) {
	return found.expiresAt > Date.now() ? found.token : null;
}

/** @param {string} url @param {string} invitation @param {string} name @returns {Promise<Guest>} */
async function signIn(url, invitation, name) {
	const { access_token, expires_in, user, room } = await ask(url, { invitation, name });
	const found = { url, token: access_token, expiresAt: Date.now() + expires_in * 1000, user, name, room };
	globalThis.sessionStorage?.setItem(KEPT, JSON.stringify(found));
	return found;
}

/** @param {string} url @param {object} body */
async function ask(url, body) {
	const address = new URL("/v1/guests", url.replace(/^ws/, "http"));
	const answer = await fetch(address, {
		method: "POST",
		headers: { "Content-Type": "application/json" },
		body: JSON.stringify(body),
	}).catch((cause) => {
		throw new SignalboxError("lost", "The server cannot be reached. Check the network and try again.", { cause });
	});
	const said = await answer.json().catch(() => ({}));
	if (answer.ok) return said;
	throw SignalboxError.fromReply(said.error ?? { code: 0, message: `it answered ${answer.status}` }, "The invitation");
}
