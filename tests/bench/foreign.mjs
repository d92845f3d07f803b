// A foreign issuer whose keys are in a file, and as many of its tokens as a crowd needs: each another user's. They are made
// by the plainest means, because ten thousand of them are wanted before each round.
import { generateKeyPairSync, sign } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

const ISSUER = "https://bench.example";
const AUDIENCE = "bench";
const LIFETIME = 4 * 3600; // longer than any run
const KINDS = {
	ES256: ["ec", { namedCurve: "P-256" }],
	RS256: ["rsa", { modulusLength: 2048 }],
};
const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

export class Foreign {
	#keys = {};
	#made = 0;

	/** Writes its keys, and a configuration of the service that trusts it (`config`), into the folder. */
	constructor(folder) {
		const keys = [];
		for (const [alg, [kind, options]] of Object.entries(KINDS)) {
			const pair = generateKeyPairSync(kind, options);
			this.#keys[alg] = pair.privateKey;
			keys.push({ ...pair.publicKey.export({ format: "jwk" }), kid: alg, alg, use: "sig" });
		}
		const jwks = join(folder, "jwks.json");
		writeFileSync(jwks, JSON.stringify({ keys }));
		this.config = join(folder, "issuers.yaml");
		const issuers = [{ issuer: ISSUER, alias: "bench", audiences: [AUDIENCE], jwks_file: jwks }];
		writeFileSync(this.config, JSON.stringify({ issuers }));
	}

	/** So many tokens of as many users, none of which was there before. */
	tokens(count, alg = "ES256") {
		const now = Math.floor(Date.now() / 1000);
		const head = part({ alg, kid: alg, typ: "at+jwt" });
		const key = { key: this.#keys[alg], dsaEncoding: "ieee-p1363" };
		return Array.from({ length: count }, (_, i) => {
			const id = `${this.#made++}`;
			const claims = { iss: ISSUER, aud: AUDIENCE, sub: `u${i}`, jti: id, scope: "rooms:join rooms:create", iat: now, exp: now + LIFETIME };
			const text = `${head}.${part(claims)}`;
			return `${text}.${sign("sha256", text, key).toString("base64url")}`;
		});
	}
}
