// What an operation may cost: budget.json, and what is said of a count that is held against it.
//   a result: {name, instructions, own: Map(function: instructions), …}
export const ALLOWED = 0.05;
const KEPT = 0.005; // a function with less of the whole is not in the budget
const GROWN = 10;

export const number = (n) => Math.round(n).toLocaleString("en");
export const most = (costs, count) => [...costs].sort((a, b) => b[1] - a[1]).slice(0, count);
export const table = (costs) => costs.map(([of, cost]) => `${number(cost).padStart(12)}  ${of}`);

const percent = (ratio) => `${ratio < 0 ? "-" : "+"}${Math.abs(ratio * 100).toFixed(1)} %`;
const update = (name) => `tests/bench/guard --update ${name} "REASON"`;

/** The lines to print, the last of which is "ok …" or "not ok …" but for advice, and whether it holds. */
export function judge({ name, instructions, own }, budget) {
	if (!budget) return { held: false, lines: [`it has no budget: ${update(name)}`, `not ok ${name}`] };
	const growth = instructions / budget.instructions - 1;
	const row = `${name.padEnd(24)} ${number(instructions).padStart(10)} instructions, ${percent(growth)} of ${number(budget.instructions)}`;
	if (growth > ALLOWED) {
		const atMost = KEPT * budget.instructions; // of those that are not in it
		const grown = [...own].map(([of, cost]) => [of, cost - (budget.functions[of] ?? atMost)]).filter(([, by]) => by > 0);
		return {
			held: false,
			lines: [`${name} costs more than its budget. By so much these functions grew most:`, ...table(most(grown, GROWN)), `not ok ${row}`],
		};
	}
	const less = growth < -ALLOWED ? [`   it costs less than its budget; so that it stays so: ${update(name)}`] : [];
	return { held: true, lines: [`ok ${row}`, ...less] };
}

/** The text of budget.json with this result in it. */
export function kept(budgets, { name, instructions, own }, why) {
	const functions = most(own, Infinity).filter(([, cost]) => cost >= instructions * KEPT);
	const lists = [];
	const all = { ...budgets, [name]: { instructions, why, functions: Object.fromEntries(functions.map(([of, cost]) => [of, Math.round(cost)])) } };
	const text = JSON.stringify(all, (key, value) => (key === "functions" ? lists.push(JSON.stringify(value)) : value), "\t");
	return `${text.replace(/"functions": (\d+)/g, (_, nth) => `"functions": ${lists[nth - 1]}`)}\n`; // a line each
}
