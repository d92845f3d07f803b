// Everything that administers, in both ways in: as the operator does at the control socket (and the command line by
// it), and over /v1/rpc by a token with the scope admin. It takes effect in the service that runs.
import assert from "node:assert/strict";
import { createConnection } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { request } from "../support/raw.mjs";
import { run, startServer } from "../support/server.mjs";

const PASSWORD = "correct horse battery";
const server = await startServer({ workers: 2 });
after(() => server.stop());

const cli = async (...words) => {
	const { code, stdout, stderr } = await run([...words, "--data", server.data]);
	return { code, stdout, stderr, json: () => JSON.parse(stdout) };
};

async function overHttp(token, method, params = {}) {
	const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
	const answer = JSON.parse((await request(server, "POST /v1/rpc", { Authorization: `Bearer ${token}` }, body)).body);
	if (answer.error) throw Object.assign(new Error(answer.error.message), answer.error);
	return answer.result;
}

const admin = await server.mint("root", { scope: "admin" });
const ways = { operator: (method, params) => server.rpc(method, params), admin: (...call) => overHttp(admin, ...call) };

async function token(client, secret) {
	const form = { grant_type: "client_credentials", client_id: client, client_secret: secret };
	return (await fetch(`${server.url}/oauth/token`, { method: "POST", body: new URLSearchParams(form) })).status;
}

for (const [way, call] of Object.entries(ways))
	describe(`by the ${way}`, () => {
		const user = `user-${way}`;
		const shape = { client: {} };

		// what is asked, and what has to come of it
		const table = [
			["user.add", () => ({ name: user, password: PASSWORD }), ({ name }) => assert.equal(name, user)],
			["user.get", () => ({ name: user.toUpperCase() }), (u) => assert.deepEqual([u.name, u.disabled, u.password, u.second_factor], [user, false, true, false])],
			["user.list", () => ({}), ({ users }) => assert.ok(users.some(({ name }) => name === user))],
			["user.passwd", () => ({ name: user }), ({ password }) => assert.ok(password.length >= 20)],
			["user.disable", () => ({ name: user }), () => {}],
			["user.get", () => ({ name: user }), ({ disabled }) => assert.equal(disabled, true)],
			["user.enable", () => ({ name: user }), () => {}],
			["token.mint", () => ({ user }), ({ token: minted }) => (shape.token = minted)],
			["token.verify", () => ({ token: shape.token }), ({ user: of }) => assert.equal(of, user)],
			["token.revoke", () => ({ user }), () => {}],
			["client.add", () => ({ name: way, grants: ["client_credentials"] }), (made) => (shape.client = made)],
			["client.get", () => ({ client_id: shape.client.client_id }), (c) => assert.deepEqual([c.name, c.trusted, c.public], [way, false, false])],
			["client.update", () => ({ client_id: shape.client.client_id, name: "Renamed", scope: "rooms:join", trusted: true }), (c) => assert.deepEqual([c.name, c.scope, c.trusted], ["Renamed", "rooms:join", true])],
			["client.update", () => ({ client_id: shape.client.client_id, redirect_uris: ["https://a.example/cb"], trusted: false }), (c) => assert.deepEqual([c.name, c.scope, c.trusted, c.redirect_uris], ["Renamed", "rooms:join", false, ["https://a.example/cb"]])],
			["client.secret", () => ({ client_id: shape.client.client_id }), async ({ client_secret }) => {
				assert.equal(await token(shape.client.client_id, shape.client.client_secret), 401, "the old one");
				assert.equal(await token(shape.client.client_id, client_secret), 200);
			}],
			["client.list", () => ({}), ({ clients }) => assert.ok(clients.some(({ name }) => name === "Renamed"))],
			["client.remove", () => ({ client_id: shape.client.client_id }), () => {}],
			["key.list", () => ({}), ({ keys }) => assert.ok(keys.length >= 2)],
			["key.rotate", () => ({}), ({ keys }) => assert.ok(keys.some(({ state }) => state === "next"))],
			["session.list", () => ({}), ({ sessions }) => assert.deepEqual(sessions, [])],
			["revocation.list", () => ({}), ({ revoked }) => assert.ok(revoked.length >= 1)],
			["audit.list", () => ({ user }), ({ entries }) => assert.ok(entries.some(({ action }) => action === "user.disable"))],
		];

		test("each takes effect", async () => {
			for (const [method, params, check] of table) {
				const result = await call(method, params()).catch((error) => assert.fail(`${method}: ${error.message}`));
				await check(result);
			}
		});

		test("what is not there is said to be not there", async () => {
			for (const [method, params] of [
				["user.get", { name: "nobody" }],
				["user.passwd", { name: "nobody", password: PASSWORD }],
				["client.get", { client_id: "_nobody" }],
				["client.update", { client_id: "_nobody", name: "x" }],
				["client.secret", { client_id: "_nobody" }],
				["client.remove", { client_id: "_nobody" }],
				["key.remove", { kid: "none" }],
			])
				await assert.rejects(call(method, params), (error) => error.code === -32004 && /^There is no /.test(error.message), method);
			const { client_id } = await call("client.add", { name: "page", grants: ["authorization_code"], redirect_uris: ["https://a.example/"], public: true });
			await assert.rejects(call("client.secret", { client_id }), { code: -32004 });
			for (const wrong of [{ scope: "no-scope" }, { redirect_uris: ["http://a.example/"] }, { redirect_uris: [] }])
				await assert.rejects(call("client.update", { client_id, ...wrong }), { code: -32602 }, JSON.stringify(wrong));
		});
	});

test("without the scope admin every one of them is refused", async () => {
	const other = await server.mint("mallory", { scope: "rooms:join rooms:create rooms:moderate" });
	const { methods } = await server.rpc("rpc.methods");
	for (const { name } of methods.filter(({ scope }) => scope === "admin"))
		await assert.rejects(overHttp(other, name), { code: -32003 }, name);
});

test("at the command line: readable, and JSON for programs", async () => {
	const { client_id, client_secret } = (await cli("client", "add", "Shop", "--grant", "client_credentials", "--json")).json();
	assert.match((await cli("client", "show", client_id)).stdout, /^client_id: _\w+\nname: Shop\n(.+\n)*grants: client_credentials\n/);
	assert.match((await cli("client", "update", client_id, "--name", "Shop 2", "--trusted")).stdout, /\nname: Shop 2\n/);
	assert.equal((await cli("client", "update", client_id, "--not-trusted", "--json")).json().trusted, false);
	const renewed = (await cli("client", "secret", client_id, "--json")).json();
	assert.notEqual(renewed.client_secret, client_secret);
	assert.match((await cli("user", "show", "root")).stdout, /^name: root\n(.+\n)*second_factor: false\n$/);
	const { code, stderr } = await cli("user", "show", "nobody");
	assert.deepEqual([code, stderr], [1, "signalbox: There is no user of this name.\n"]);
	const help = (await run(["help"])).stdout;
	for (const line of help.split("\n").filter((text) => /^ {2}\w/.test(text)))
		assert.match(line, /^ {2}[\w -]{18} \S/, `not in a column: ${line}`);
});

test("an operator who asks much and reads nothing is no longer heard, and has every answer when reading again", async () => {
	const asked = 300; // of 150 KB each
	const socket = createConnection(join(server.data, "control.sock"));
	const before = (await server.metrics()).signalbox_calls_total;
	const request = (id) => `${JSON.stringify({ jsonrpc: "2.0", id, method: "rpc.discover", params: {} })}\n`;
	socket.write(Array.from({ length: asked }, (_, id) => request(id)).join(""));
	let answered = 0;
	for (let last = -1; !answered || answered !== last; await pause(100)) [last, answered] = [answered, (await server.metrics()).signalbox_calls_total - before];
	assert.ok(answered < 40, `${answered} answers wait`);
	const ids = [];
	for await (const line of createInterface({ input: socket })) {
		ids.push(JSON.parse(line).id);
		if (ids.length === asked) break;
	}
	assert.deepEqual(ids, Array.from({ length: asked }, (_, id) => id));
	socket.destroy();
});
