// Line charts as SVG text: logarithmic axes, readable on a light and on a dark page, the same text for the same numbers.
//   chart({title, x: {label}, y: {label}, lines: [{name, points: [[x, y], …], kind}]})
// kind: "ours" (thick), "floor" (dashed, in the colour of the line before it) or nothing. Names stand at the ends of their lines.

const WIDTH = 760;
const HEIGHT = 440;
const PLOT = { left: 94, right: WIDTH - 190, top: 52, bottom: HEIGHT - 58 };
const LABEL_GAP = 17; // least distance of two names
const STYLE = `
svg { font: 13px system-ui, "DejaVu Sans", sans-serif; }
.page { fill: #ffffff; } text { fill: #24292f; } .title { font-size: 16px; font-weight: 600; }
.grid { stroke: #d8dee4; stroke-width: 1; } .line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.ours { stroke-width: 3.5; } .floor { stroke-dasharray: 7 5; }
.c0 { --c: #0060b0; } .c1 { --c: #c2410c; } .c2 { --c: #00795a; } .c3 { --c: #a2377c; } .c4 { --c: #8a6100; } .c5 { --c: #4b5fd1; }
.line { stroke: var(--c); } .dot, .name { fill: var(--c); }
@media (prefers-color-scheme: dark) {
.page { fill: #0d1117; } text { fill: #e6edf3; } .grid { stroke: #30363d; }
.c0 { --c: #58b0ff; } .c1 { --c: #ff9257; } .c2 { --c: #3fd0a2; } .c3 { --c: #f08ac8; } .c4 { --c: #e8b93c; } .c5 { --c: #a5b1ff; }
}`;

const escaped = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
const round = (value) => Number(value.toFixed(1));

/** 1, 2 and 5 of each power of ten that the values span, and one to each side of them. */
export function ticks(values) {
	const [least, most] = [Math.min(...values), Math.max(...values)];
	if (!(least > 0)) throw new Error(`a logarithmic axis has no place for ${least}`);
	const all = [];
	for (let power = Math.floor(Math.log10(least)) - 1; power <= Math.ceil(Math.log10(most)) + 1; power++)
		for (const digit of [1, 2, 5]) all.push(Number(`${digit}e${power}`));
	const from = all.findLastIndex((tick) => tick <= least);
	const to = all.findIndex((tick) => tick >= most);
	return from === to ? all.slice(from - 1, to + 2) : all.slice(from, to + 1);
}

const short = (value) => (value >= 1000 ? value.toLocaleString("en") : String(value));

function axis(marks, begin, end) {
	const [low, high] = [Math.log10(marks[0]), Math.log10(marks.at(-1))];
	return { marks, at: (value) => round(begin + ((Math.log10(value) - low) / (high - low)) * (end - begin)) };
}

/** Where the names go: each as near to its line's end as those above it allow. */
export function apart(wanted, gap) {
	const order = wanted.map((y, i) => ({ y, i })).sort((a, b) => a.y - b.y || a.i - b.i);
	for (let moved = true, turn = 0; moved && turn < 200; turn++) {
		moved = false;
		for (let k = 1; k < order.length; k++) {
			const lacking = gap - (order[k].y - order[k - 1].y);
			if (lacking <= 0.01) continue;
			order[k - 1].y -= lacking / 2;
			order[k].y += lacking / 2;
			moved = true;
		}
	}
	const places = [];
	for (const { y, i } of order) places[i] = round(y);
	return places;
}

const colours = (lines) => {
	let at = -1;
	return lines.map(({ kind }) => `c${(kind === "floor" ? Math.max(at, 0) : ++at) % 6}`);
};

export function chart({ title, x, y, lines }) {
	const points = lines.flatMap((line) => line.points);
	const measuredAt = [...new Set(points.map(([value]) => value))].sort((a, b) => a - b);
	const across = axis(measuredAt, PLOT.left, PLOT.right);
	const up = axis(ticks(points.map(([, value]) => value)), PLOT.bottom, PLOT.top);
	const grid = [
		...across.marks.map((tick) => {
			const at = across.at(tick);
			return `<line class="grid" x1="${at}" y1="${PLOT.top}" x2="${at}" y2="${PLOT.bottom}"/><text x="${at}" y="${PLOT.bottom + 20}" text-anchor="middle">${short(tick)}</text>`;
		}),
		...up.marks.map((tick) => {
			const at = up.at(tick);
			return `<line class="grid" x1="${PLOT.left}" y1="${at}" x2="${PLOT.right}" y2="${at}"/><text x="${PLOT.left - 9}" y="${at + 4}" text-anchor="end">${short(tick)}</text>`;
		}),
	];
	const colour = colours(lines);
	const ends = apart(lines.map((line) => up.at(line.points.at(-1)[1])), LABEL_GAP);
	const drawn = lines.map((line, i) => {
		const path = line.points.map(([a, b]) => `${across.at(a)},${up.at(b)}`);
		const dots = line.points.map(([a, b]) => `<circle class="dot" cx="${across.at(a)}" cy="${up.at(b)}" r="3.5"/>`).join("");
		return `<g class="${colour[i]}"><polyline class="line ${line.kind ?? ""}" points="${path.join(" ")}"/>${dots}<text class="name" x="${across.at(line.points.at(-1)[0]) + 10}" y="${ends[i] + 4}">${escaped(line.name)}</text></g>`;
	});
	const middle = { x: (PLOT.left + PLOT.right) / 2, y: (PLOT.top + PLOT.bottom) / 2 };
	return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img" aria-label="${escaped(title)}">
<style>${STYLE}
</style>
<rect class="page" width="${WIDTH}" height="${HEIGHT}"/>
<text class="title" x="${PLOT.left}" y="28">${escaped(title)}</text>
${grid.join("\n")}
<text x="${middle.x}" y="${HEIGHT - 14}" text-anchor="middle">${escaped(x.label)}</text>
<text transform="translate(18 ${middle.y}) rotate(-90)" text-anchor="middle">${escaped(y.label)}</text>
${drawn.join("\n")}
</svg>
`;
}
