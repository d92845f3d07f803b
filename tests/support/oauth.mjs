// What the tests of the embedded issuer say to it, beside what a browser does (page.mjs).
import { createHash } from "node:crypto";

/** Its name, which is the address that all of its others begin with. */
export async function issuerOf(server) {
	return (await (await fetch(`${server.url}/.well-known/openid-configuration`)).json()).issuer;
}

/** RFC 7636: S256. */
export const challengeOf = (verifier) => createHash("sha256").update(verifier).digest("base64url");

/** Where a client sends somebody to sign in. Fields that are undefined are left out. */
export function authorizeUrl(issuer, { verifier, ...fields }) {
	const url = new URL(`${issuer}/oauth/authorize`);
	const all = {
		response_type: "code",
		code_challenge: challengeOf(verifier ?? "v".repeat(43)),
		code_challenge_method: "S256",
		...fields,
	};
	for (const [name, value] of Object.entries(all)) if (value !== undefined) url.searchParams.set(name, value);
	return url;
}

/** The header by which a client proves itself: client_secret_basic, with what needs no escaping. */
export const basic = ({ client_id, client_secret }) => ({
	authorization: `Basic ${Buffer.from(`${client_id}:${client_secret}`).toString("base64")}`,
});
