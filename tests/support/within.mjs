/** A promise that fails after a while, with what was waited for. */
export function within(promise, ms, what) {
	let timer;
	const late = new Promise((_, failed) => {
		timer = setTimeout(() => failed(new Error(`waited ${ms} ms for ${what}`)), ms);
	});
	return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
