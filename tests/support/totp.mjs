// An authenticator app: one-time codes by time (RFC 6238) out of the letters that a page shows.
import { createHmac } from "node:crypto";
import { Browser } from "./page.mjs";

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** The code that the app shows at that time (Unix seconds). */
export function totp(secret, time = Date.now() / 1000) {
	const bits = [...secret.replaceAll(" ", "")].map((c) => LETTERS.indexOf(c).toString(2).padStart(5, "0")).join("");
	const key = Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
	const step = Buffer.alloc(8);
	step.writeBigUInt64BE(BigInt(Math.floor(time / 30)));
	const mac = createHmac("sha1", key).update(step).digest();
	const at = mac[19] & 15;
	return String((mac.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}

/** Signs in to the account page and turns the second factor on; returns the app's letters. */
export async function turnOnFactor(base, name, password) {
	const browser = await new Browser().open(new URL("/oauth/login?page=factor", base));
	await browser.submit({ name, password });
	await browser.open(new URL(browser.location, base));
	const secret = /<p class="secret"><code>([A-Z2-7 ]+)</.exec(browser.html)[1];
	await browser.submit({ code: totp(secret) });
	return secret;
}
