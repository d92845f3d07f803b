// The description of the protocol and the program say the same: the program lists its own tables by
// rpc.methods, and what it does is held against every limit that schema/openrpc.json names.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test, { after, before } from "node:test";
import { Checker, description } from "../support/check-traffic.mjs";
import { connect } from "../support/client.mjs";
import { post } from "../support/rooms.mjs";
import { ownDirectory, startServer } from "../support/server.mjs";
import { sqlite } from "../support/sqlite.mjs";
import { turnOnFactor } from "../support/totp.mjs";

const FILE_MAX = 200 * 1024;
const text = readFileSync(join(import.meta.dirname, "../../schema/openrpc.json"), "utf8");

// Credentials that last as short as they can: they are renewed by the time the last test asks for it.
const config = {
	issuer: { sign_up: "open" },
	ice: { credential_lifetime: "10s" },
	ice_servers: [{ urls: ["turn:turn.test"], secret: "north" }],
};

let server, ann, ida;
before(async () => {
	server = await startServer({ config });
	ida = await connect(server, { user: "ida" });
	await ida.call("room.join", { room: "ida" });
	ann = await connect(server, { user: "ann", scope: "rooms:join rooms:create datasets:read rpc:serve rpc:call admin" });
});
after(() => server.stop());

const resolved = (schema) =>
	schema.$ref ? schema.$ref.slice(2).split("/").reduce((at, key) => at[key], description) : schema;

async function outcome(method, params) {
	const described = description.methods.find(({ name }) => name === method);
	const asked = described["x-session"] ? ann.call(method, params) : server.rpc(method, params);
	return asked.then(
		(result) => ({ result }),
		({ code, data, text: own, message }) => ({ code, data, message: own ?? message }),
	);
}

test("rpc.discover answers the file, over every way in, to everybody", async () => {
	assert.ok(Buffer.byteLength(text) <= FILE_MAX);
	assert.equal(description.info.version, ann.session.server.version);
	const bob = await connect(server, { user: "bob", scope: "rooms:join" });
	assert.deepEqual(await bob.call("rpc.discover"), description);
	assert.ok(bob.frames.at(-1).includes(text.trim()), "not the file's own bytes");
	assert.deepEqual(await server.rpc("rpc.discover"), description);
	const token = await server.mint("bob", { scope: "rooms:join" });
	assert.deepEqual(await post(server, token, "rpc.discover", {}), description);
	await assert.rejects(bob.call("rpc.methods"), { code: -32003, reason: "insufficient_scope" });
	await bob.close();
});

// A field of the program's table as the description would name it.
function asTable({ name, required = false, schema }) {
	const s = resolved(schema);
	const type = s["x-max-bytes"] === undefined || s.type ? (s.type ?? "json") : "json";
	const longest = s.enum && Math.max(...s.enum.map((word) => word.length));
	const [min, max] = {
		integer: [s.minimum, s.maximum],
		string: [s["x-min-bytes"] ?? s.minLength ?? 0, longest ?? s["x-max-bytes"]],
		boolean: [0, 0],
	}[type] ?? [0, s["x-max-bytes"]];
	return { name, type, required, min, max };
}

test("code and description name the same methods, fields, required flags and limits", async () => {
	const byName = (a, b) => (a.name < b.name ? -1 : 1);
	const { methods } = await server.rpc("rpc.methods");
	const described = description.methods.map((method) => ({
		name: method.name,
		scope: method["x-scope"],
		session: method["x-session"],
		counted: method["x-counted"] ?? true,
		params: method.params.map(asTable),
	}));
	for (const method of methods)
		for (const field of method.params) {
			const of = description.methods.find(({ name }) => name === method.name);
			const { schema } = of?.params.find(({ name }) => name === field.name) ?? {};
			// words that are listed need no other limit; what only a 64-bit number limits is told as none
			if (schema && resolved(schema).enum) field.max = asTable({ schema }).max;
			if (field.max > Number.MAX_SAFE_INTEGER) field.max = undefined;
		}
	assert.deepEqual(described.sort(byName), methods.sort(byName));
});

test("the description is whole in itself", () => {
	new Checker(); // every schema compiles, every reference leads somewhere
	const codes = Object.values(description.components.errors);
	const reasons = codes.flatMap(({ data }) => data.reasons);
	assert.equal(new Set(reasons).size, reasons.length, "a reason stands under two codes");
	assert.equal(new Set(codes.map(({ code }) => code)).size, codes.length);
	for (const { name, paramStructure, errors = [], ...method } of description.methods) {
		assert.equal(paramStructure, "by-name", name);
		const listed = errors.flatMap((error) => resolved(error).data.reasons);
		for (const reason of method["x-reasons"] ?? []) assert.ok(listed.includes(reason), `${name}: ${reason}`);
	}
	for (const reason of description["x-common-reasons"]) assert.ok(reasons.includes(reason), reason);
});

test("a member of params that is not described is refused by name", async () => {
	for (const { name } of description.methods) {
		const { code, data } = await outcome(name, { undescribed: 1 });
		assert.deepEqual({ code, field: data?.field }, { code: -32602, field: "undescribed" }, name);
	}
});

test("a required member that is missing is refused by name", async () => {
	for (const { name, params } of description.methods) {
		const [first] = params.filter(({ required }) => required);
		if (!first) continue;
		const { code, data } = await outcome(name, {});
		assert.deepEqual({ code, field: data?.field }, { code: -32602, field: first.name }, name);
	}
});

// A value of the type that is as long or large as it says, and one that is past it.
function atLimit(schema) {
	const { max, min, type } = asTable({ schema });
	if (resolved(schema).enum) return { good: [], bad: [7] }; // the words themselves: 40-rooms
	switch (type) {
		case "string":
			return { good: [pad(max), pad(min || 1)], bad: [pad(max + 1), ...(min ? [pad(min - 1)] : []), 7] };
		case "integer":
			return { good: [min], bad: [min - 1, ...(max ? [max + 1] : []), min + 0.5, "1"] };
		case "boolean":
			return { good: [true], bad: ["true", 1, null] };
		case "array":
			return { good: [], bad: [Array(Math.ceil(max / 2)).fill(1), {}, "a"] }; // [1,1,…]: a byte more
		case "object":
			return { good: [], bad: [{ a: pad(max) }, [], "a"] };
		case "json":
			return { good: [pad(max - 2)], bad: [pad(max - 1)] };
	}
}
const pad = (n) => "x".repeat(n);

test("the limits that are described are those that hold", async () => {
	// What the tables refuse begins so; methods may have more to say, about words and cursors.
	const judge = async (name, field, value) => {
		const { code, data, message } = await outcome(name, { [field]: value });
		const byTable = [-32602, -32013].includes(code) && /^The parameter /.test(message);
		const refused = byTable && data.field === field;
		return { refused, message: `${name} ${field}=${JSON.stringify(value).slice(0, 60)}: ${message}` };
	};
	for (const { name, params } of description.methods)
		for (const { name: field, schema } of params) {
			const { good, bad } = atLimit(schema);
			for (const value of bad) {
				const { refused, message } = await judge(name, field, value);
				assert.ok(refused, `not refused: ${message}`);
			}
			for (const value of good) {
				const { refused, message } = await judge(name, field, value);
				assert.ok(!refused, `refused: ${message}`);
			}
		}
});

test("what is too short is told so, with the limit", async () => {
	const { message, data } = await outcome("user.add", { name: "gus", password: "seven77" });
	assert.equal(message, "The parameter is too short.");
	assert.deepEqual(data, { reason: "invalid_params", field: "password", limit: 8 });
});

// Answers all that there is, once, and holds it against the description then and there.
test("every method and every event is seen as described", async () => {
	const checker = new Checker();
	const seen = (dir, text, on) => {
		const wrong = checker.look({ dir, text, on });
		assert.equal(wrong, undefined, text);
	};
	const dan = await connect(server, { user: "dan", open: false });
	const hal = await connect(server, { user: "hal", open: false });
	const eve = await connect(server, { user: "eve", open: false });
	const watched = (socket, name) => {
		const request = socket.request.bind(socket);
		socket.request = (...args) => {
			const made = request(...args);
			seen("out", JSON.stringify(made.request), name);
			return made;
		};
		socket.socket.on("message", (bytes) => seen("in", bytes.toString(), name));
	};
	watched(dan, "dan");
	watched(eve, "eve");
	watched(hal, "hal");
	await dan.call("session.open", { token: await server.mint("dan"), client: { name: "tests" } });
	// a token that ends soon: the server says so by itself
	await eve.call("session.open", { token: await server.mint("eve", { expires: 30 }) });
	await eve.next("session.expiring");
	await eve.call("session.refresh", { token: await server.mint("eve") });
	await eve.call("session.ping");
	await eve.call("session.ack", { received: 1 });

	await dan.call("room.create", { room: "all", title: "All", metadata: { a: [1] }, max_members: 9 });
	await dan.call("room.get", { room: "all" });
	await dan.call("room.list", { limit: 1 });
	await dan.call("room.join", { room: "all", state: { muted: true } });
	const { peer } = await eve.call("room.join", { room: "all" });
	await dan.next("room.joined");
	await eve.call("room.state", { room: "all", state: null });
	await dan.next("room.updated");
	await eve.call("room.publish", { room: "all", data: "x" });
	await dan.next("room.message");
	await eve.call("room.edit", { room: "all", offset: 1, data: "y" });
	await eve.call("room.redact", { room: "all", offset: 1 });
	await dan.call("room.history", { room: "all" });
	await dan.call("signal.send", { room: "all", to: { peer }, type: "offer", data: {} });
	await eve.next("signal.received");
	await dan.call("room.presence", { room: "all" });
	await dan.call("presence.watch", { users: ["eve", "nobody"] });
	await eve.call("presence.set", { status: "away", note: [1] });
	await dan.next("presence.changed");
	await dan.call("presence.get", { users: ["dan"] });
	await dan.call("presence.unwatch");
	await dan.call("room.create", { room: "door", lobby: true });
	await dan.call("room.join", { room: "door" });
	for (const method of ["room.deny", "room.admit"]) {
		const visitor = await connect(server, { user: method.slice(5) });
		watched(visitor, method);
		const { knock } = await visitor.call("room.knock", { room: "door", message: "me" });
		await dan.next("room.knocked");
		await dan.call("room.knocks", { room: "door" });
		await dan.call(method, { room: "door", knock });
		await dan.next("room.knock_ended");
		await visitor.next(method === "room.deny" ? "room.denied" : "room.admitted");
		await visitor.close();
	}
	await dan.call("room.leave", { room: "door" });
	await dan.call("room.lock", { room: "all", locked: true });
	await dan.call("room.mute", { room: "all", user: "eve", muted: true, signals: ["offer"] });
	await dan.call("room.kick", { room: "all", user: "gus", reason: "noise" });
	await dan.call("room.ban", { room: "all", user: "gus", reason: "noise", expires_in: 60 });
	await dan.call("room.bans", { room: "all", limit: 1 });
	await dan.call("room.unban", { room: "all", user: "gus" });
	const invited = await dan.call("room.invite", { room: "all", uses: 2, expires_in: 60, note: "for eve" });
	await dan.call("room.invitations", { room: "all" });
	await eve.call("invitation.look", { token: invited.token });
	await eve.call("invitation.accept", { token: invited.token });
	await dan.call("room.uninvite", { room: "all", invitation: invited.invitation });
	const ring = async () => (await dan.call("call.invite", { to: { user: "eve" }, data: 1 })).call;
	const call = await ring();
	await eve.next("call.incoming");
	await eve.call("call.accept", { call });
	await dan.next("call.accepted");
	await eve.call("call.hangup", { call });
	await dan.next("call.ended");
	await eve.call("call.decline", { call: await ring() });
	await dan.call("call.cancel", { call: await ring() });
	await eve.next("call.missed");
	await eve.call("call.history", { limit: 2 });
	await eve.call("call.seen", { all: true });
	await dan.call("ice.servers");
	await dan.call("rpc.discover");
	await hal.call("session.open", { token: await server.mint("hal", { scope: "rpc:serve" }) });
	await hal.serve(["hal.*"], ({ params }) => params);
	await dan.call("rpc.call", { method: "hal.says", params: [1], timeout: 5 });
	await hal.close();
	await dan.call("room.update", { room: "all", title: null, history: { messages: 9 } });
	await dan.call("room.grant", { room: "all", user: "eve", role: "viewer" });
	await dan.call("room.roles", { room: "all" });
	await dan.call("room.occupancy", { rooms: ["all"] });
	await dan.call("room.watch", { rooms: ["all"] });
	await eve.call("room.leave", { room: "all" });
	await dan.next("room.left");
	await dan.next("room.occupancy");
	for (let i = 0; i < 64; i++) eve.notify("room.leave", { room: "all" });
	await eve.next("session.ack");
	await eve.call("session.close");
	await dan.call("room.delete", { room: "all" });
	await dan.close();
	const brief = await startServer({ workers: 1 });
	const fred = await connect(brief, { user: "fred" });
	watched(fred, "fred");
	await brief.stop();
	await fred.next("session.closing");

	const admin = async (method, params) => {
		const request = { jsonrpc: "2.0", id: method, method, params };
		const result = await server.rpc(method, params);
		seen("out", JSON.stringify(request), "admin");
		seen("in", JSON.stringify({ jsonrpc: "2.0", id: method, result }), "admin");
		return result;
	};
	await admin("rpc.methods", {});
	await admin("user.add", { name: "fay", display_name: "Fay" });
	const { password } = await admin("user.passwd", { name: "fay" });
	await turnOnFactor(`http://localhost:${server.port}`, "fay", password);
	await admin("user.factor_off", { name: "fay" });
	const { invitation } = await admin("invitation.add", { note: "for gil", uses: 2, expires: 60 });
	await admin("invitation.list", {});
	await admin("invitation.remove", { invitation });
	await admin("user.list", { limit: 1 });
	await admin("audit.list", { limit: 1 });
	await admin("key.list");
	await admin("key.rotate", { now: true });
	const { keys } = await admin("key.list");
	await admin("key.remove", { kid: keys.find(({ state }) => state === "old").kid });
	const { token } = await admin("token.mint", { user: "fay", expires: 60 });
	await admin("token.verify", { token });
	await admin("token.revoke", { token });
	await admin("revocation.list", {});
	await admin("user.disable", { name: "fay" });
	await admin("user.enable", { name: "fay" });
	await admin("session.list", {});
	await admin("session.end", { user: "fay" });
	const { client_id } = await admin("client.add", { name: "Page", grants: ["client_credentials"] });
	await admin("client.list", {});
	await admin("client.get", { client_id });
	await admin("client.update", { client_id, name: "Another", trusted: true });
	await admin("client.secret", { client_id });
	await admin("user.get", { name: "fay" });
	await admin("client.remove", { client_id });

	const database = join(ownDirectory(), "app.db");
	sqlite(database, "CREATE TABLE todos (id INTEGER PRIMARY KEY, title TEXT NOT NULL)");
	await admin("dataset.add", { dataset: "todos", database, table: "todos", read: "1", hide: ["title"] });
	await admin("dataset.show", { dataset: "todos" });
	await admin("dataset.list", { limit: 1 });
	await admin("dataset.schema", { dataset: "todos" });
	await admin("dataset.verify", { dataset: "todos" });
	await admin("dataset.query", { dataset: "todos" });
	sqlite(database, "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)");
	await admin("dataset.add", { dataset: "notes", database, table: "notes", read: "1", insert: "1", delete: "1" });
	const ops = [{ op: "insert", set: { text: "x" } }, { op: "delete", key: [1], if: { old: { text: "x" } } }, { op: "delete", key: [2] }];
	await admin("dataset.write", { dataset: "notes", mutation: "m1", atomic: false, ops });
	await admin("dataset.drop", { dataset: "notes" });
	const rea = await connect(server, { user: "rea", open: false });
	watched(rea, "rea");
	await rea.call("session.open", { token: await server.mint("rea") });
	const { sub } = await rea.call("dataset.subscribe", { dataset: "todos", where: [">", "id", 0], credit: 9 });
	await rea.next("dataset.page");
	await rea.next("dataset.uptodate");
	sqlite(database, "INSERT INTO todos (title) VALUES ('one')");
	await rea.next("dataset.change");
	await rea.call("dataset.ack", { sub, seq: "1", credit: 64 });
	await admin("dataset.changes", { dataset: "todos", since: "0" });
	sqlite(database, "ALTER TABLE todos ADD COLUMN due TEXT"); // the log begins anew
	await rea.next("dataset.reset");
	await rea.next("dataset.schema");
	const other = await rea.call("dataset.subscribe", { dataset: "todos" });
	await rea.call("dataset.unsubscribe", { sub: other.sub });
	await rea.close();
	await admin("dataset.drop", { dataset: "todos" });

	seen("in", JSON.stringify(await ida.next("ice.changed")), "ida");
	const missing = (all, some) => all.filter((name) => !some.has(name));
	assert.deepEqual(missing(Object.keys(description["x-events"]), checker.events), []);
	assert.deepEqual(missing(description.methods.map(({ name }) => name), checker.methods), []);
});
