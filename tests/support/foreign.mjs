// An issuer that is not ours, whose keys are in a file: nothing has to listen.
//   const corp = await foreignIssuer("corp");   startServer({ config: { issuers: [corp.config] } })
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Issuer } from "./issuer.mjs";
import { ownDirectory } from "./server.mjs";

export async function foreignIssuer(alias) {
	const issuer = new Issuer(alias);
	await issuer.addKey("ES256");
	const file = join(ownDirectory(), "jwks.json");
	writeFileSync(file, issuer.jwks);
	return {
		config: issuer.config({ jwks_file: file }),
		/** Of a user who may use rooms. */
		token: (sub, claims) => issuer.token({ sub, scope: "rooms:join rooms:create", ...claims }),
	};
}
