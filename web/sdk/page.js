/**
 * What the page and the device tell about the network; nothing outside of a browser.
 *
 * @typedef {{
 *   online: () => void, offline: () => void, changed: () => void, shown: () => void, gone: () => void,
 * }} Watcher `changed`: another kind of network; `shown`: the page is looked at again; `gone`: it is closed
 */

/** The browser sees no network. (That of this very device, where a server may be, it does not count.) */
export function isOffline() {
	return globalThis.navigator?.onLine === false;
}

/**
 * Tells from now on. Returns what ends it.
 * @param {Watcher} watcher
 * @returns {() => void}
 */
export function watchPage({ online, offline, changed, shown, gone }) {
	if (typeof window === "undefined") return () => {};
	const over = new AbortController();
	const { signal } = over;
	window.addEventListener("online", online, { signal });
	window.addEventListener("offline", offline, { signal });
	window.addEventListener("pagehide", (event) => !event.persisted && gone(), { signal });
	document.addEventListener("visibilitychange", () => {
		if (document.visibilityState === "visible") shown();
	}, { signal });
	watchKind(changed, signal);
	return () => over.abort();
}

/**
 * From Wi-Fi to a mobile network, where the browser tells (on phones). It also reports each new
 * estimate of the speed: these are no change of network.
 * @param {() => void} changed
 * @param {AbortSignal} signal
 */
function watchKind(changed, signal) {
	const { connection } = /** @type {{connection?: EventTarget & {type?: string}}} */ (navigator);
	if (!connection?.addEventListener) return;
	let kind = connection.type;
	connection.addEventListener("change", () => {
		const before = kind;
		kind = connection.type;
		if (kind !== before && kind !== "none") changed();
	}, { signal });
}
