/**
 * @typedef {"permission-denied"|"no-device"|"device-busy"|"device-ended"|"insecure-page"
 *   |"media-failed"} MediaReason
 * @typedef {{
 *   reason: MediaReason, kind: "audio"|"video"|"screen", message: string, error?: unknown,
 * }} MediaProblem
 * @typedef {boolean | MediaTrackConstraints} Wanted
 */

/**
 * Opens microphone and camera, and takes what it can get: what failed stands in `problems`.
 * @param {{audio?: Wanted, video?: Wanted}} wanted
 * @returns {Promise<{tracks: MediaStreamTrack[], problems: MediaProblem[]}>}
 */
export async function openMedia({ audio = false, video = false }) {
	if (!audio && !video) return { tracks: [], problems: [] };
	if (!navigator.mediaDevices?.getUserMedia) {
		return { tracks: [], problems: [problem("insecure-page", video ? "video" : "audio")] };
	}
	try {
		const stream = await navigator.mediaDevices.getUserMedia({ audio, video });
		return { tracks: stream.getTracks(), problems: [] };
	} catch (error) {
		if (!audio || !video) {
			return { tracks: [], problems: [describeMediaError(error, audio ? "audio" : "video")] };
		}
	}
	// One of the two is missing or refused: the other alone is better than nothing.
	const first = await openMedia({ audio });
	const second = await openMedia({ video });
	return {
		tracks: [...first.tracks, ...second.tracks],
		problems: [...first.problems, ...second.problems],
	};
}

/**
 * What a failed getUserMedia or getDisplayMedia means for the person.
 * @param {unknown} error
 * @param {"audio"|"video"|"screen"} kind
 * @returns {MediaProblem}
 */
export function describeMediaError(error, kind) {
	const name = error instanceof Error ? error.name : "";
	return problem(REASON[name] ?? "media-failed", kind, error);
}

/** @param {MediaReason} reason @param {"audio"|"video"|"screen"} kind @param {unknown} [error] */
export function problem(reason, kind, error) {
	const message = SENTENCE[reason](WORD[kind]);
	return { reason, kind, message, error };
}

/** @type {Record<string, MediaReason>} */
const REASON = {
	NotAllowedError: "permission-denied",
	SecurityError: "permission-denied",
	NotFoundError: "no-device",
	OverconstrainedError: "no-device",
	NotReadableError: "device-busy",
	AbortError: "device-busy",
};

const WORD = { audio: "microphone", video: "camera", screen: "screen" };

/** @type {Record<MediaReason, (device: string) => string>} */
const SENTENCE = {
	"permission-denied": (device) =>
		`The browser may not use the ${device}. Allow it in the address bar, then switch it on again.`,
	"no-device": (device) =>
		`No ${device} was found. Connect one and switch it on; until then you can see and hear the others.`,
	"device-busy": (device) =>
		`The ${device} is in use by another program. Close that one, then switch it on again.`,
	"device-ended": (device) =>
		`The ${device} was unplugged or stopped. Plug it in and switch it on again.`,
	"insecure-page": (device) =>
		`Browsers give the ${device} only to secure pages. Open this page by https or as localhost.`,
	"media-failed": (device) => `The ${device} could not be started. Try again, or choose another one.`,
};
