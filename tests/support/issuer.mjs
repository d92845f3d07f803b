// An issuer for tests: keys of its own, tokens signed by jose, and a real HTTP server for its key set,
// its discovery document and its answers about tokens that only it can read.
//   const issuer = await new Issuer("corp").listen();
//   await issuer.addKey("ES256");
//   startServer({ config: { issuers: [issuer.config()] } });
import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { exportJWK, generateKeyPair, SignJWT } from "jose";

export const AUDIENCE = "https://calls.example";

const json = (response, value) => response.setHeader("content-type", "application/json").end(JSON.stringify(value));

export class Issuer {
	keys = [];
	opaque = new Map(); // token: what is said of it
	requests = 0; // of any kind
	questions = []; // the tokens asked about
	questioned = new Promise((done) => (this.onQuestion = done)); // resolves with the first
	client = { id: "signal box", secret: "s:e%c/r+e t" };

	constructor(name) {
		this.issuer = `https://${name}.example`;
		this.alias = name;
	}

	async addKey(alg, kid = `${alg}-${this.keys.length}`, parameters = {}) {
		const { privateKey, publicKey } = await generateKeyPair(alg);
		const jwk = { ...(await exportJWK(publicKey)), kid, alg, use: "sig", ...parameters };
		this.keys.push({ alg, kid, privateKey, jwk });
		return this.keys.at(-1);
	}

	get jwks() {
		return JSON.stringify({ keys: this.keys.map(({ jwk }) => jwk) });
	}

	get url() {
		return `http://127.0.0.1:${this.port}`;
	}

	async listen(port = 0) {
		this.http = createServer((request, response) => {
			this.requests++;
			if (this.answer) this.answer(request, response);
			else this.#respond(request, response);
		});
		await new Promise((done) => this.http.listen(port, "127.0.0.1", done));
		this.port = this.http.address().port;
		return this;
	}

	/** From here on its name is its address with this path, so that it can be discovered. */
	discovered(path = "") {
		this.issuer = `${this.url}${path}`;
		return this;
	}

	/** What its discovery document says. */
	get document() {
		return { issuer: this.issuer, jwks_uri: `${this.url}/jwks`, introspection_endpoint: `${this.url}/introspect` };
	}

	#respond(request, response) {
		if (request.url.includes("/.well-known/")) {
			const path = new URL(this.issuer).pathname.replace(/\/$/, "");
			const oidc = `${path}/.well-known/openid-configuration`;
			const oauth = `/.well-known/oauth-authorization-server${path}`;
			if (request.url === (this.only === "oauth" ? oauth : oidc)) json(response, this.document);
			else response.writeHead(404).end();
		} else if (request.url === "/introspect") {
			this.#introspect(request, response);
		} else {
			response.setHeader("content-type", "application/json").end(this.jwks);
		}
	}

	/** RFC 7662, with client_secret_basic as RFC 6749 section 2.3.1 has it. */
	#introspect(request, response) {
		let body = "";
		request.setEncoding("utf8").on("data", (text) => (body += text));
		request.on("end", async () => {
			const [scheme, credentials = ""] = (request.headers.authorization ?? "").split(" ");
			const [id, secret] = Buffer.from(credentials, "base64").toString().split(":").map(decodeURIComponent);
			const form = new URLSearchParams(body);
			if (scheme !== "Basic" || id !== this.client.id || secret !== this.client.secret || request.method !== "POST")
				return response.writeHead(401).end();
			this.questions.push(form.get("token"));
			this.onQuestion();
			await this.hold;
			json(response, this.opaque.get(form.get("token")) ?? { active: false });
		});
	}

	async close() {
		this.http.closeAllConnections();
		await new Promise((done) => this.http.close(done));
	}

	claims(more = {}) {
		const now = Math.floor(Date.now() / 1000);
		return { iss: this.issuer, aud: AUDIENCE, sub: "sam", iat: now, exp: now + 3600, ...more };
	}

	token(claims = {}, { key = this.keys[0], header = {}, sign = key.privateKey } = {}) {
		return new SignJWT(this.claims(claims))
			.setProtectedHeader({ alg: key.alg, kid: key.kid, typ: "at+jwt", ...header })
			.sign(sign);
	}

	/** A token that only it can read. */
	opaqueToken(claims = {}) {
		const token = randomBytes(24).toString("base64url");
		this.opaque.set(token, { active: true, token_type: "Bearer", ...this.claims(claims) });
		return token;
	}

	config(more = {}) {
		return {
			issuer: this.issuer,
			alias: this.alias,
			audiences: [AUDIENCE],
			...(this.port && !this.issuer.startsWith(this.url) ? { jwks_url: `${this.url}/jwks` } : {}),
			...more,
		};
	}

	/** The same with what it takes to be asked about tokens. */
	asked(more = {}) {
		return this.config({ client_id: this.client.id, client_secret: this.client.secret, ...more });
	}
}
