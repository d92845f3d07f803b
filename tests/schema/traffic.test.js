// What the stages before have recorded is what schema/openrpc.json describes.
import assert from "node:assert/strict";
import test from "node:test";
import { checkFolder } from "../support/check-traffic.mjs";

test("every recorded message is as described", (t) => {
	const folder = process.env.SIGNALBOX_TRAFFIC;
	const { files, seen } = checkFolder(folder);
	assert.ok(files > 0, `nothing is recorded in ${folder}; run ./dev test protocol first`);
	t.diagnostic(`${seen.messages} messages in ${files} files`);
});
