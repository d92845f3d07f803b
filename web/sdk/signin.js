/*
 * Signing in with OAuth 2: authorization code with PKCE, by the issuer's discovery document.
 *
 *     if (!(await completeSignIn())) button.onclick = () => signIn({ issuer, clientId });
 *     const box = new Signalbox({ url, token });
 *
 * Tokens are kept in sessionStorage: they live as long as the tab. A tab that was duplicated has a copy of
 * them, and a refresh token is good for one renewal: so the tabs that share a sign-in renew it one after
 * the other (Web Locks), and tell each other what they got.
 */
import { SignalboxError } from "./errors.js";

/**
 * @typedef {{
 *   issuer: string, clientId: string, redirectUri?: string, scope?: string, prompt?: string,
 * }} SignInOptions
 * @typedef {{
 *   issuer: string, authorization_endpoint: string, token_endpoint: string,
 *   authorization_response_iss_parameter_supported?: boolean,
 *   code_challenge_methods_supported?: string[], end_session_endpoint?: string,
 *   revocation_endpoint?: string,
 * }} Metadata
 * @typedef {{
 *   issuer: string, clientId: string, redirectUri: string, scope: string,
 *   state: string, nonce: string, verifier: string, hash: string, issRequired: boolean,
 *   revocation?: string,
 * }} Pending
 * @typedef {{
 *   issuer: string, clientId: string, redirectUri: string, scope: string,
 *   accessToken: string, refreshToken?: string, idToken?: string, expiresAt: number,
 *   user: {id: string, name: string} | null,
 *   id: string, renewals: number, revocation?: string,
 * }} SignedIn
 */

const PENDING = "signalbox.signin.pending";
const TOKENS = "signalbox.signin.tokens";
/** A token that has less than this left is renewed before it is used. */
const RENEW_MS = 90_000;
const ANSWER_PARAMETERS = [
	"code", "state", "iss", "error", "error_description", "error_uri", "session_state",
];

/**
 * Sends the person to the issuer. The page comes back to `redirectUri`: call `completeSignIn()`.
 * @param {SignInOptions} options
 */
export async function signIn(options) {
	const metadata = await discover(options.issuer);
	const pending = newPending(options, metadata);
	write(PENDING, pending);
	location.assign(await authorizationUrl(metadata, pending, options.prompt));
}

/**
 * Takes the answer of the issuer out of the page's address, if there is one.
 * @returns {Promise<SignedIn | null>} who is signed in now, from before or from this answer
 */
export async function completeSignIn() {
	const answer = new URL(location.href).searchParams;
	if (!answer.has("state") || !(answer.has("code") || answer.has("error"))) return signedIn();
	const pending = /** @type {Pending | null} */ (read(PENDING));
	sessionStorage.removeItem(PENDING);
	cleanAddress(pending?.hash ?? "");
	if (!pending || pending.state !== answer.get("state")) {
		// A reload or an old bookmark of the answer; who is signed in already stays so.
		const before = signedIn();
		if (before) return before;
		throw new SignalboxError("signin_state",
			"This sign-in was not begun in this tab, or was finished before. Sign in again.");
	}
	return redeem(await discover(pending.issuer), pending, answer);
}

/** Who is signed in in this tab, if anybody. @returns {SignedIn | null} */
export function signedIn() {
	return /** @type {SignedIn | null} */ (read(TOKENS));
}

/**
 * Forgets the tokens, here and in the tabs that have a copy, and tells the issuer that nobody will use
 * them any more (RFC 7009). The first is done at once, the second when this resolves, as far as it can be.
 */
export async function signOut() {
	const tokens = signedIn();
	forget();
	if (!tokens) return;
	tabs?.postMessage({ out: tokens.id });
	if (!tokens.revocation) return;
	const body = new URLSearchParams({
		client_id: tokens.clientId,
		token: tokens.refreshToken ?? tokens.accessToken,
		token_type_hint: tokens.refreshToken ? "refresh_token" : "access_token",
	});
	// the page may be on its way elsewhere; and what cannot be revoked runs out by itself
	await fetch(tokens.revocation, { method: "POST", body, keepalive: true }).catch(() => {});
}

function forget() {
	sessionStorage.removeItem(TOKENS);
	sessionStorage.removeItem(PENDING);
}

/* ---- other tabs with the same sign-in ---- */

const ASK_MS = 100;
const tabs = globalThis.document && globalThis.BroadcastChannel ? new BroadcastChannel("signalbox.signin") : null;
if (tabs) tabs.onmessage = ({ data }) => hear(data);

/** @param {{tokens?: SignedIn, out?: string, ask?: {id: string, renewals: number}}} message */
function hear({ tokens, out, ask }) {
	const own = signedIn();
	if (!own) return;
	if (tokens?.id === own.id && tokens.renewals > own.renewals) write(TOKENS, tokens);
	if (out === own.id) forget();
	if (ask?.id === own.id && own.renewals > ask.renewals) tabs?.postMessage({ tokens: own });
}

/**
 * The newest tokens of this sign-in that any open tab has.
 * @param {SignedIn} tokens
 */
async function newest({ id, renewals }) {
	if (tabs) {
		tabs.postMessage({ ask: { id, renewals } });
		await new Promise((done) => setTimeout(done, ASK_MS));
	}
	const own = signedIn();
	if (own?.id !== id) throw SignalboxError.signInNeeded();
	return own;
}

/**
 * One tab at a time.
 * @template T
 * @param {string} name @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
async function alone(name, work) {
	return await (globalThis.navigator?.locks ? navigator.locks.request(name, work) : work());
}

/** @type {Promise<SignedIn> | null} */
let renewing = null;

/**
 * The access token: the `token` callback of a Signalbox. Renewed when it runs out, by the
 * refresh token, or without one by asking an issuer of the same origin silently.
 * @param {{fresh?: boolean}} [why]
 * @returns {Promise<string>}
 */
export async function token({ fresh = false } = {}) {
	const tokens = signedIn();
	if (!tokens) throw SignalboxError.signInNeeded();
	const left = tokens.expiresAt - Date.now();
	if (!fresh && left > RENEW_MS) return tokens.accessToken;
	try {
		renewing ??= alone(`signalbox.signin ${tokens.id}`, () => renew(tokens)).finally(() => (renewing = null));
		return (await renewing).accessToken;
	} catch (error) {
		if (!fresh && left > 5_000) return tokens.accessToken;
		throw error;
	}
}

/* ---- the issuer ---- */

/**
 * Reads an issuer's discovery document.
 * @param {string} issuer
 * @returns {Promise<Metadata>}
 */
export async function discover(issuer) {
	const url = `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
	const metadata = /** @type {Metadata} */ (await fetchJson(url, {}));
	if (metadata.issuer.replace(/\/$/, "") !== issuer.replace(/\/$/, "")) {
		throw new SignalboxError("signin_issuer",
			`${issuer} calls itself ${metadata.issuer}. Use that address for signing in.`);
	}
	return metadata;
}

/** @param {SignInOptions} options @param {Metadata} metadata @returns {Pending} */
function newPending(options, metadata) {
	return {
		issuer: metadata.issuer,
		clientId: options.clientId,
		redirectUri: options.redirectUri ?? location.origin + location.pathname,
		scope: options.scope ?? "openid profile rooms:join",
		state: randomText(),
		nonce: randomText(),
		verifier: randomText(),
		hash: location.hash,
		issRequired: metadata.authorization_response_iss_parameter_supported === true,
		revocation: metadata.revocation_endpoint,
	};
}

/** @param {Metadata} metadata @param {Pending} pending @param {string} [prompt] */
async function authorizationUrl(metadata, pending, prompt) {
	const url = new URL(metadata.authorization_endpoint);
	const parameters = {
		response_type: "code",
		client_id: pending.clientId,
		redirect_uri: pending.redirectUri,
		scope: pending.scope,
		state: pending.state,
		nonce: pending.nonce,
		code_challenge: await challengeOf(pending.verifier),
		code_challenge_method: "S256",
		...(prompt && { prompt }),
	};
	for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
	return url.href;
}

/**
 * Turns the issuer's answer into tokens.
 * @param {Metadata} metadata @param {Pending} pending @param {URLSearchParams} answer
 */
async function redeem(metadata, pending, answer) {
	checkAnswer(pending, answer);
	const tokens = await fetchTokens(metadata, pending, {
		grant_type: "authorization_code",
		code: answer.get("code") ?? "",
		redirect_uri: pending.redirectUri,
		code_verifier: pending.verifier,
	});
	return keep(pending, tokens, pending.nonce);
}

/**
 * Refuses an answer that is not the one to this question (RFC 9207 for `iss`).
 * @param {Pick<Pending, "state"|"issuer"|"issRequired">} pending
 * @param {URLSearchParams} answer
 */
export function checkAnswer(pending, answer) {
	const iss = answer.get("iss");
	if (answer.get("state") !== pending.state || (iss === null ? pending.issRequired : iss !== pending.issuer)) {
		throw new SignalboxError("signin_mixed_up",
			"The answer to the sign-in came from another place than asked. Sign in again from here.");
	}
	const error = answer.get("error");
	if (error === null) return;
	const said = answer.get("error_description") ?? error;
	if (error === "access_denied") {
		throw new SignalboxError(error, `The sign-in was declined (${said}). Sign in again to go on.`);
	}
	if (error.endsWith("_required")) throw SignalboxError.signInNeeded("Sign in again to go on.");
	throw new SignalboxError(error, `Signing in failed: ${said}. Try again, or tell the operator.`);
}

/**
 * @param {Metadata} metadata
 * @param {{clientId: string}} client
 * @param {Record<string, string>} parameters
 */
function fetchTokens(metadata, client, parameters) {
	return fetchJson(metadata.token_endpoint, {
		method: "POST",
		body: new URLSearchParams({ client_id: client.clientId, ...parameters }),
	});
}

/**
 * @param {Pick<SignedIn, "issuer"|"clientId"|"redirectUri"|"scope"|"revocation"> & Partial<SignedIn>} who
 * @param {any} answer
 * @param {string | null} nonce
 * @returns {SignedIn}
 */
function keep(who, answer, nonce) {
	if (typeof answer.access_token !== "string") {
		throw new SignalboxError("signin_failed",
			"The issuer answered without a token. Try again, or tell the operator.");
	}
	const claims = answer.id_token ? checkIdToken(answer.id_token, who, nonce) : null;
	const { issuer, clientId, redirectUri } = who;
	/** @type {SignedIn} */
	const tokens = {
		issuer, clientId, redirectUri,
		scope: who.scope,
		accessToken: answer.access_token,
		refreshToken: answer.refresh_token ?? who.refreshToken,
		idToken: answer.id_token ?? who.idToken,
		expiresAt: Date.now() + (Number(answer.expires_in) || 300) * 1000,
		user: claims
			? { id: claims.sub, name: claims.name ?? claims.preferred_username ?? claims.sub }
			: who.user ?? null,
		id: who.id ?? randomText(),
		renewals: (who.renewals ?? 0) + 1,
		revocation: who.revocation,
	};
	write(TOKENS, tokens);
	tabs?.postMessage({ tokens });
	return tokens;
}

/**
 * The claims of an ID token that came straight from the token endpoint: its signature need not be
 * checked then (OpenID Connect Core 3.1.3.7, 6), everything else must.
 * @param {string} idToken
 * @param {{issuer: string, clientId: string}} expected
 * @param {string | null} nonce null: not asked for
 * @returns {any}
 */
export function checkIdToken(idToken, expected, nonce) {
	const claims = JSON.parse(new TextDecoder().decode(fromBase64url(idToken.split(".")[1] ?? "")));
	const audiences = [claims.aud].flat();
	const fits = claims.iss === expected.issuer && audiences.includes(expected.clientId) &&
		(audiences.length === 1 || claims.azp === expected.clientId) &&
		(nonce === null || claims.nonce === nonce) && claims.exp * 1000 > Date.now() - 300_000;
	if (fits) return claims;
	throw new SignalboxError("signin_id_token",
		"The issuer's ID token is not for this sign-in. Check this device's clock and sign in again.");
}

/* ---- renewing ---- */

/** @param {SignedIn} before @returns {Promise<SignedIn>} */
async function renew(before) {
	const tokens = await newest(before);
	if (tokens.renewals > before.renewals) return tokens; // another tab was faster
	const metadata = await discover(tokens.issuer);
	if (!tokens.refreshToken) return renewSilently(metadata, tokens);
	try {
		const parameters = { grant_type: "refresh_token", refresh_token: tokens.refreshToken };
		return keep(tokens, await fetchTokens(metadata, tokens, parameters), null);
	} catch (error) {
		if (!(error instanceof SignalboxError) || error.reason !== "invalid_grant") throw error;
		throw SignalboxError.signInNeeded("The sign-in has run out. Sign in again.");
	}
}

/**
 * The issuer's own cookie may still know the person: ask with `prompt=none`. Only an issuer of this
 * page's origin lets a page read where it was sent.
 * @param {Metadata} metadata @param {SignedIn} tokens
 */
async function renewSilently(metadata, tokens) {
	const ranOut = SignalboxError.signInNeeded("The sign-in has run out. Sign in again.");
	if (new URL(metadata.authorization_endpoint).origin !== location.origin) throw ranOut;
	const pending = newPending(tokens, metadata);
	const response = await reach(await authorizationUrl(metadata, pending, "none"), {});
	const answer = new URL(response.url).searchParams;
	if (!answer.has("state")) throw ranOut;
	const renewed = await redeem(metadata, pending, answer);
	if (tokens.user && renewed.user && tokens.user.id !== renewed.user.id) {
		write(TOKENS, tokens);
		throw SignalboxError.signInNeeded("Somebody else signed in meanwhile. Sign in again.");
	}
	return renewed;
}

/* ---- small things ---- */

/** @param {string} url @param {RequestInit} init */
async function reach(url, init) {
	try {
		return await fetch(url, init);
	} catch (cause) {
		throw new SignalboxError("unreachable",
			`${new URL(url).origin} cannot be reached. Check the network and try again.`, { cause });
	}
}

/** @param {string} url @param {RequestInit} init @returns {Promise<any>} */
async function fetchJson(url, init) {
	const response = await reach(url, init);
	const body = await response.json().catch(() => null);
	if (response.ok && body) return body;
	const said = body?.error_description ?? body?.error ?? `HTTP ${response.status}`;
	throw new SignalboxError(body?.error ?? "signin_failed",
		`Signing in failed at ${new URL(url).pathname}: ${said}. Try again, or tell the operator.`,
		{ code: response.status });
}

/** Keeps the rest of the address, and brings back the fragment from before. @param {string} hash */
function cleanAddress(hash) {
	const url = new URL(location.href);
	for (const name of ANSWER_PARAMETERS) url.searchParams.delete(name);
	if (hash) url.hash = hash;
	history.replaceState(history.state, "", url);
}

/** The S256 challenge of a PKCE verifier (RFC 7636). @param {string} verifier */
export async function challengeOf(verifier) {
	if (!globalThis.crypto?.subtle) {
		throw new SignalboxError("insecure-page",
			"Signing in needs a secure page. Open it by https or as localhost.");
	}
	const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
	return base64url(new Uint8Array(digest));
}

function randomText() {
	return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

/** @param {Uint8Array} bytes */
function base64url(bytes) {
	const text = btoa(String.fromCharCode(...bytes));
	return text.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** @param {string} text */
function fromBase64url(text) {
	const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
	return Uint8Array.from(binary, (char) => char.charCodeAt(0));
}

/** @param {string} key */
function read(key) {
	try {
		return JSON.parse(sessionStorage.getItem(key) ?? "null");
	} catch {
		return null;
	}
}

/** @param {string} key @param {object} value */
function write(key, value) {
	sessionStorage.setItem(key, JSON.stringify(value));
}
