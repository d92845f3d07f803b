// The charts of the bench: where ticks, points and names go.
import assert from "node:assert/strict";
import test from "node:test";
import { figure, markdown, median, percentile } from "./numbers.mjs";
import { apart, chart, ticks } from "./plot.mjs";

test("ticks span the values, by 1, 2 and 5", () => {
	assert.deepEqual(ticks([10, 1000]), [10, 20, 50, 100, 200, 500, 1000]);
	assert.deepEqual(ticks([0.3, 7]), [0.2, 0.5, 1, 2, 5, 10]);
	assert.deepEqual(ticks([3]), [2, 5]);
	assert.deepEqual(ticks([5]), [2, 5, 10], "one value on a tick still has an axis around it");
	assert.throws(() => ticks([0, 1]), /no place for 0/);
});

test("names keep their distance and their order", () => {
	const places = apart([100, 101, 300, 99], 17);
	const sorted = [3, 0, 1, 2].map((i) => places[i]);
	for (let i = 1; i < sorted.length; i++) assert.ok(sorted[i] - sorted[i - 1] >= 16.9, String(sorted));
	assert.equal(places[2], 300, "whoever has room stays");
});

const picture = (lines, title = "t") => chart({ title, x: { label: "members" }, y: { label: "µs" }, lines });
const points = (svg) => [...svg.matchAll(/<circle class="dot" cx="([\d.]+)" cy="([\d.]+)"/g)].map(([, x, y]) => [Number(x), Number(y)]);

test("equal factors are equal distances, more is right and up", () => {
	const [a, b, c] = points(picture([{ name: "ours", points: [[10, 1], [100, 10], [1000, 100]] }]));
	assert.ok(Math.abs(b[0] - a[0] - (c[0] - b[0])) < 0.2 && b[0] > a[0]);
	assert.ok(Math.abs(a[1] - b[1] - (b[1] - c[1])) < 0.2 && b[1] < a[1]);
});

test("the same numbers are the same text, and colours follow the page", () => {
	const lines = [{ name: "a", points: [[1, 2], [3, 4]] }, { name: "f", kind: "floor", points: [[1, 1], [3, 2]] }];
	const svg = picture(lines);
	assert.equal(svg, picture(structuredClone(lines)));
	assert.match(svg, /prefers-color-scheme: dark/);
	assert.match(svg, /class="c0"><polyline class="line floor"/);
});

test("no name can break the picture", () => {
	const svg = picture([{ name: '<b>"&', points: [[1, 1], [2, 2]] }], "a < b");
	assert.doesNotMatch(svg, /<b>|a < b/);
	assert.match(svg, /&#60;b&#62;&#34;&#38;/);
});

test("numbers for people", () => {
	assert.deepEqual([1234567, 123.4, 12.345, 1.2345, 0.12345, 0.01234, 0].map(figure), ["1,234,567", "123", "12.3", "1.23", "0.123", "0.0123", "0"]);
	assert.equal(median([3, 1, 2]), 2);
	assert.equal(percentile([5, 1, 4, 2, 3], 0.99), 5);
	assert.throws(() => median([]), /no number/);
	assert.equal(markdown(["a", "b"], [["x", 1]]), "| a | b |\n| --- | ---: |\n| x | 1 |");
});
