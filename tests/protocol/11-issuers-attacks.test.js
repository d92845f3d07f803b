// Tokens as attackers make them, one test each: by the handshake, by session.open and over HTTP the answer
// is the same refusal, and nothing of it is told to who sent it.
import assert from "node:assert/strict";
import { createHmac, createPrivateKey, createPublicKey, generateKeyPairSync, sign } from "node:crypto";
import { after, test } from "node:test";
import { exportJWK, generateKeyPair } from "jose";
import { connect } from "../support/client.mjs";
import { Issuer } from "../support/issuer.mjs";
import { bearer, request, upgrade } from "../support/raw.mjs";
import { anyNumber, startServer } from "../support/server.mjs";

const SAME = "same"; // a kid that both issuers have
const P256_ORDER = BigInt("0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");

const one = await new Issuer("one").listen();
const two = await new Issuer("two").listen();
after(() => Promise.all([one.close(), two.close()]));
const ec = await one.addKey("ES256", SAME);
const rsa = await one.addKey("RS256");
const twos = await two.addKey("ES256", SAME);

// jose's key is none of node:crypto's: it is remade from its JWK
{
	const { privateKey } = await generateKeyPair("ES256", { extractable: true });
	one.pem = createPrivateKey({ key: await exportJWK(privateKey), format: "jwk" });
	const jwk = { ...(await exportJWK(privateKey)), kid: "own", alg: "ES256", use: "sig" };
	delete jwk.d;
	one.keys.push({ alg: "ES256", kid: "own", privateKey, jwk });
}
const config = { limits: anyNumber, issuers: [one.config({ algorithms: ["RS256", "ES256", "ES384"] }), two.config({ allow_typ_jwt: true })] };
const server = await startServer({ clock: true, config });
after(() => server.stop());

const b64 = (value) => Buffer.from(Buffer.isBuffer(value) || typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");
const header = (more = {}) => ({ alg: "ES256", kid: SAME, typ: "at+jwt", ...more });
const good = await one.token();
const payload = good.split(".")[1];
const stranger = generateKeyPairSync("ec", { namedCurve: "P-256" });
const raw = (bits) => Buffer.from(bits.toString(16).padStart(64, "0"), "hex");

/** Header and payload, as text or as values, signed by the key `own`: only what they say is wrong. */
function signedRight(head, claims) {
	const text = `${b64(head)}.${b64(claims)}`;
	return `${text}.${sign("sha256", Buffer.from(text), { key: one.pem, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
}

const own = (more = {}) => header({ kid: "own", ...more });
const claimsOf = (more) => one.claims(more);
const textOf = (more) => JSON.stringify(claimsOf()).slice(0, -1) + more;

function hmac(secret) {
	const text = `${b64(header({ alg: "HS256", kid: rsa.kid }))}.${payload}`;
	return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
}
const publicKey = (key) => createPublicKey({ key: key.jwk, format: "jwk" });
const pem = (key) => publicKey(key).export({ type: "spki", format: "pem" });
const der = (key) => publicKey(key).export({ type: "spki", format: "der" });
const forged = (head) => `${b64(head)}.${payload}.${sign("sha256", Buffer.from(`${b64(head)}.${payload}`), { key: stranger.privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
const withSignature = (bytes) => `${good.slice(0, good.lastIndexOf("."))}.${bytes.toString("base64url")}`;
const now = Math.floor(Date.now() / 1000);

// "the rule that refuses it: what it is"
const attacks = {
	"form: alg none": `${b64(header({ alg: "none" }))}.${payload}.`,
	"header: alg None with a signature": `${b64(header({ alg: "None" }))}.${payload}.AA`,
	"algorithm: HS256 with the RSA public key as PEM": hmac(pem(rsa)),
	"algorithm: HS256 with the RSA public key as DER": hmac(der(rsa)),
	"algorithm: HS256 with the RSA public key as JWK": hmac(JSON.stringify(rsa.jwk)),
	"algorithm: HS256 with the EC public key as PEM": hmac(pem(ec)),
	"algorithm: HS256 with the EC public key as DER": hmac(der(ec)),
	"algorithm: HS256 with the EC public key as JWK": hmac(JSON.stringify(ec.jwk)),
	"algorithm: HS256 with an empty key": hmac(""),
	"signature: a signature of r = s = 0": withSignature(Buffer.alloc(64)),
	"signature: a signature of r = s = 1": withSignature(Buffer.concat([raw(1n), raw(1n)])),
	"signature: a signature of r = s = n - 1": withSignature(Buffer.concat([raw(P256_ORDER - 1n), raw(P256_ORDER - 1n)])),
	"signature: a signature of r = s = n": withSignature(Buffer.concat([raw(P256_ORDER), raw(P256_ORDER)])),
	"signature: a signature as DER": (() => {
		const text = `${b64(own())}.${payload}`;
		return `${text}.${sign("sha256", Buffer.from(text), { key: one.pem }).toString("base64url")}`;
	})(),
	"signature: alg of another curve": signedRight(own({ alg: "ES384" }), claimsOf()),
	"signature: alg of another kind of key": signedRight(own({ alg: "RS256" }), claimsOf()),
	"header: crit": signedRight(own({ crit: ["exp"] }), claimsOf()),
	"header: alg twice": signedRight(`{"alg":"ES256","alg":"ES256","kid":"own","typ":"at+jwt"}`, claimsOf()),
	"claims: sub twice": signedRight(own(), textOf(',"sub":"bob"}')),
	"subject: NUL in sub": signedRight(own(), claimsOf({ sub: "sam\0" })),
	"header: NUL in kid": signedRight(own({ kid: "own\0" }), claimsOf()),
	"times: exp that was, with a fraction": signedRight(own(), claimsOf({ exp: now - 0.5 })),
	"times: exp negative": signedRight(own(), claimsOf({ exp: -1 })),
	"times: exp huge": signedRight(own(), claimsOf({ exp: 1e300 })),
	"times: exp as text": signedRight(own(), claimsOf({ exp: `${now + 60}` })),
	"key: kid as a path": forged(header({ kid: "../../../../dev/null" })),
	"key: kid as SQL": forged(header({ kid: "' UNION SELECT 'x' --" })),
	"header: kid as an array": forged(header({ kid: [SAME] })),
	"signature: jwk in the header": forged(header({ jwk: stranger.publicKey.export({ format: "jwk" }) })),
	"signature: jku in the header": forged(header({ jku: `${two.url}/jwks` })),
	"signature: x5u in the header": forged(header({ x5u: `${two.url}/jwks` })),
	"form: a JWE": `${b64({ alg: "dir", enc: "A128GCM" })}..${b64("iv")}.${b64("text")}.${b64("tag")}`,
	"type: an ID token": await two.token({ nonce: "n", at_hash: "h" }, { header: { typ: "JWT" } }),
	"audience: another aud": signedRight(own(), claimsOf({ aud: "https://elsewhere.example" })),
	"issuer: another iss": signedRight(own(), claimsOf({ iss: "https://elsewhere.example" })),
	"signature: the other issuer's key of the same kid": await one.token({}, { sign: twos.privateKey }),
	"binding: bound to a key (cnf)": signedRight(own(), claimsOf({ cnf: { jkt: "x" } })),
	"issuer: deep JSON": signedRight(own(), textOf(`,"x":${"[".repeat(1000)}${"]".repeat(1000)}}`)),
	"claims: many claims": signedRight(own(), claimsOf(Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`c${i}`, i])))),
	"form: .e30.AA": ".e30.AA",
};

async function handshake(token) {
	const response = await upgrade(server, bearer(token));
	if (response.status !== 101) return response;
	const c = await connect(server, { headers: bearer(token), open: false }); // its issuer is being asked
	return { status: (await c.closed).code };
}

for (const [what, token] of Object.entries(attacks))
	test(`refused: ${what}`, async () => {
		const response = await handshake(token);
		assert.ok([401, 3000].includes(response.status), `${response.status}`);
		if (response.status === 401) assert.equal(response.headers["www-authenticate"], 'Bearer error="invalid_token"');
		const c = await connect(server, { open: false });
		const before = server.log.length;
		await assert.rejects(c.call("session.open", { token }), { code: -32001, reason: "invalid_token" });
		assert.equal((await c.closed).code, 3000);
		const lines = server.log.slice(before).match(/^.*refused.*$/gm); // one, and no more
		assert.equal(lines.length, 1, lines.join("\n"));
		assert.ok(lines[0].includes(`"token refused" rule=${what.split(":")[0]} `), lines[0]);
		const posted = await request(server, "POST /v1/rpc", bearer(token), "[]");
		assert.equal(posted.status, 401);
		assert.doesNotMatch(posted.body.toString(), /alg|kid|aud|signature|issuer/);
	});

test("refused: kid of a megabyte, and 300 KB of token, wherever they come in", async () => {
	for (const token of [forged(header({ kid: "k".repeat(1 << 20) })), `${"A".repeat(300 * 1024)}.e30.AA`]) {
		const upgraded = await upgrade(server, bearer(token)).catch(() => {}); // it may just be closed
		assert.ok([undefined, 400, 401, 413, 431].includes(upgraded?.status), `${upgraded?.status}`);
		const c = await connect(server, { open: false });
		c.call("session.open", { token }).catch(() => {});
		assert.equal((await c.closed).code, 1009);
	}
});

test("refused: cached, but over", async () => {
	const exp = Math.floor(Date.now() / 1000) + 20;
	const token = signedRight(own(), claimsOf({ exp }));
	const open = async () => (await connect(server, { token })).close();
	await open();
	await open();
	server.ahead(21);
	await assert.rejects(open, { reason: "invalid_token" });
});

test("taken, after all that: what both issuers sign", async () => {
	for (const token of [good, await two.token(), signedRight(own(), claimsOf())]) await (await connect(server, { token })).close();
	assert.equal(two.requests, 1, "nobody was asked for what a header names");
});
