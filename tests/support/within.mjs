/** A promise that fails after a while, with what was waited for. */
export function within(promise, ms, what) {
	let timer;
	const late = new Promise((_, failed) => {
		timer = setTimeout(() => failed(new Error(`waited ${ms} ms for ${what}`)), ms);
	});
	return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Waits so long for events of what the JavaScript library has: emitter, name, and which one is meant. */
export const events = (ms) => (emitter, name, is = () => true) =>
	within(
		new Promise((done) => {
			const off = emitter.on(name, (value) => {
				if (!is(value)) return;
				off?.(); // it may be there at once
				done(value);
			});
		}),
		ms,
		name,
	);
