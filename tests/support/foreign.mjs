// An issuer that is not ours, whose keys are in a file: tokens are signed here.
//   const corp = await foreignIssuer("corp");   startServer({ config: { issuers: [corp.config] } })
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { ownDirectory } from "./server.mjs";

const AUDIENCE = "https://calls.example";

export async function foreignIssuer(alias) {
	const { privateKey, publicKey } = await generateKeyPair("ES256");
	const file = join(ownDirectory(), "jwks.json");
	const issuer = `https://${alias}.example`;
	writeFileSync(file, JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: "k", alg: "ES256", use: "sig" }] }));
	return {
		config: { issuer, alias, audiences: [AUDIENCE], jwks_file: file },
		token(sub, claims = {}) {
			const now = Math.floor(Date.now() / 1000);
			const scope = "rooms:join rooms:create";
			return new SignJWT({ iss: issuer, aud: AUDIENCE, sub, iat: now, exp: now + 3600, scope, ...claims })
				.setProtectedHeader({ alg: "ES256", kid: "k", typ: "at+jwt" })
				.sign(privateKey);
		},
	};
}
