// A telephone joins from the same network: it reads the address off the terminal, is shown the
// certificate whose fingerprint stands there, signs up and is in the call.
import assert from "node:assert/strict";
import { X509Certificate, createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { test } from "node:test";
import { connect } from "node:tls";
import jsQR from "jsqr";
import { arrive, serve } from "../support/browser.mjs";
import { plugIn } from "../support/network.mjs";

const ADDRESS = "10.8.0.1"; // of the card that is plugged in
const SCALE = 4;

/** What a camera reads off a terminal: half blocks, light on dark. */
function readCode(text) {
	const lines = text.split("\n").filter((line) => /^ {4}[█▀▄ ]{20,}$/.test(line)).map((line) => [...line.slice(4)]);
	const size = lines[0].length * SCALE;
	const pixels = new Uint8ClampedArray(size * lines.length * 2 * SCALE * 4);
	const light = (x, y) => (y % 2 ? "█▄" : "█▀").includes(lines[Math.floor(y / 2)][x]);
	for (let i = 0; i < pixels.length / 4; i++) {
		const value = light(Math.floor((i % size) / SCALE), Math.floor(i / size / SCALE)) ? 255 : 0;
		pixels.set([value, value, value, 255], i * 4);
	}
	return jsQR(pixels, size, lines.length * 2 * SCALE)?.data;
}

/** The fingerprint of the certificate that is shown there. */
async function shownBy(host, port) {
	const socket = connect({ host, port, rejectUnauthorized: false });
	await new Promise((done, failed) => socket.once("secureConnect", done).once("error", failed));
	const { fingerprint256 } = socket.getPeerCertificate();
	socket.destroy();
	return fingerprint256;
}

const printed = (log) => log.match(/^ {4}((?:[0-9A-F]{2}:){16})\n {4}((?:[0-9A-F]{2}:){15}[0-9A-F]{2})$/m).slice(1).join("");

function keyOf(server) {
	const { publicKey } = new X509Certificate(readFileSync(`${server.data}/lan-${ADDRESS}.pem`));
	return createHash("sha256").update(publicKey.export({ type: "spki", format: "der" })).digest("base64");
}

test("serve --lan: a telephone reads the code, knows the certificate, and joins", async (t) => {
	plugIn();
	const server = await serve(t, { listen: null, args: ["--lan"] });
	await server.logged("Ctrl+C ends it");
	const address = readCode(server.log);
	assert.equal(address, `https://${ADDRESS}:8443`);
	assert.equal(await shownBy(ADDRESS, 8443), printed(server.log));
	assert.equal(statSync(`${server.data}/lan-${ADDRESS}.pem`).mode & 0o777, 0o600);

	const phone = { viewport: { width: 375, height: 667 }, isMobile: true, hasTouch: true };
	const args = [`--ignore-certificate-errors-spki-list=${keyOf(server)}`]; // its owner has said yes to this one
	const [ann, tim] = await Promise.all([arrive(t, "ann", { args }), arrive(t, "tim", { args, page: phone })]);
	await Promise.all(
		[ann, tim].map(async (one) => {
			await one.open(`${address}/`);
			await one.signUp();
			await one.join("tea");
		}),
	);
	await Promise.all([ann.sees("tim"), tim.sees("ann")]);
});

test("the certificate is the same the next time", async (t) => {
	const first = await serve(t, { listen: null, args: [`--lan=${ADDRESS}:8444`] });
	await first.logged("Ctrl+C ends it");
	const [file, fingerprint] = [`${first.data}/lan-${ADDRESS}.pem`, printed(first.log)];
	const before = readFileSync(file, "utf8");
	const second = await first.successor({ args: [`--lan=${ADDRESS}:8444`], listen: null });
	t.after(() => second.stop());
	await second.logged("Ctrl+C ends it");
	assert.equal(printed(second.log), fingerprint);
	assert.equal(await shownBy(ADDRESS, 8444), fingerprint);
	assert.equal(readFileSync(file, "utf8"), before);
});
