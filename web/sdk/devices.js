/**
 * @typedef {{
 *   id: string, label: string, kind: "audio"|"video"|"speaker",
 * }} Device
 */

const KINDS = /** @type {const} */ ({ audioinput: "audio", videoinput: "video", audiooutput: "speaker" });
const WORD = { audio: "Microphone", video: "Camera", speaker: "Speaker" };

/** Whether this browser lets a page choose where its sound comes out. */
export function canChooseSpeaker() {
	return typeof HTMLMediaElement !== "undefined" && "setSinkId" in HTMLMediaElement.prototype;
}

/**
 * Microphones, cameras and, where the browser lets a page choose among them, speakers. Browsers tell
 * real names only once the page may use a microphone or camera; until then they are numbered.
 * @returns {Promise<Device[]>}
 */
export async function listDevices() {
	const found = (await globalThis.navigator?.mediaDevices?.enumerateDevices?.()) ?? [];
	const count = { audio: 0, video: 0, speaker: 0 };
	return found
		.map(({ deviceId, label, kind }) => ({ id: deviceId, label, kind: KINDS[kind] }))
		.filter(({ kind }) => kind && (kind !== "speaker" || canChooseSpeaker()))
		.map((device) => ({ ...device, label: device.label || `${WORD[device.kind]} ${++count[device.kind]}` }));
}
