/**
 * @typedef {{
 *   at: number, packetsIn: Counts, lostIn: Counts, bytesIn: number, bytesOut: number,
 *   fractionLost: number | null, rtt: number | null, framesDecoded: number, relayed: boolean,
 * }} Sample
 * @typedef {{audio: number, video: number}} Counts
 *
 * @typedef {{
 *   loss: number, lossIn: number, lossOut: number, rtt: number | null,
 *   bitrateIn: number, bitrateOut: number, framesDecoded: number, relayed: boolean,
 *   level: "good"|"fair"|"poor",
 * }} Quality `loss*` in per cent, `rtt` in ms, `bitrate*` in bits a second
 */

/**
 * Picks what matters out of a stats report.
 * @param {Iterable<any>} stats the report's values
 * @param {number} [now] ms
 * @returns {Sample}
 */
export function sample(stats, now = Date.now()) {
	/** @type {Sample} */
	const s = {
		at: now, packetsIn: { audio: 0, video: 0 }, lostIn: { audio: 0, video: 0 }, bytesIn: 0,
		bytesOut: 0, fractionLost: null, rtt: null, framesDecoded: 0, relayed: false,
	};
	const byId = new Map([...stats].map((entry) => [entry.id, entry]));
	for (const entry of byId.values()) {
		if (entry.type === "inbound-rtp") {
			const kind = entry.kind === "audio" ? "audio" : "video";
			s.packetsIn[kind] += entry.packetsReceived ?? 0;
			s.lostIn[kind] += entry.packetsLost ?? 0;
			s.bytesIn += entry.bytesReceived ?? 0;
			s.framesDecoded += entry.framesDecoded ?? 0;
		} else if (entry.type === "outbound-rtp") {
			s.bytesOut += entry.bytesSent ?? 0;
		} else if (entry.type === "remote-inbound-rtp") {
			s.fractionLost = Math.max(s.fractionLost ?? 0, entry.fractionLost ?? 0);
			s.rtt ??= seconds(entry.roundTripTime);
		} else if (entry.type === "transport") {
			const pair = byId.get(entry.selectedCandidatePairId);
			s.rtt = seconds(pair?.currentRoundTripTime) ?? s.rtt;
			s.relayed = byId.get(pair?.localCandidateId)?.candidateType === "relay";
		}
	}
	return s;
}

/**
 * The quality between two samples.
 * @param {Sample} before
 * @param {Sample} now
 * @returns {Quality}
 */
export function quality(before, now) {
	const span = Math.max(0.001, (now.at - before.at) / 1000);
	const lossIn = Math.max(lossOf("audio", before, now), lossOf("video", before, now));
	const lossOut = (now.fractionLost ?? 0) * 100;
	const loss = Math.max(lossIn, lossOut);
	return {
		loss: round(loss),
		lossIn: round(lossIn),
		lossOut: round(lossOut),
		rtt: now.rtt === null ? null : Math.round(now.rtt),
		bitrateIn: Math.max(0, Math.round(((now.bytesIn - before.bytesIn) * 8) / span)),
		bitrateOut: Math.max(0, Math.round(((now.bytesOut - before.bytesOut) * 8) / span)),
		framesDecoded: now.framesDecoded,
		relayed: now.relayed,
		level: level(loss, now.rtt ?? 0),
	};
}

/** @param {number} loss @param {number} rtt */
function level(loss, rtt) {
	if (loss > 8 || rtt > 600) return "poor";
	if (loss > 2 || rtt > 250) return "fair";
	return "good";
}

/** @param {"audio"|"video"} kind @param {Sample} before @param {Sample} now */
function lossOf(kind, before, now) {
	// Late and resent packets can make the lost ones fewer than before.
	const lost = Math.max(0, now.lostIn[kind] - before.lostIn[kind]);
	const received = Math.max(0, now.packetsIn[kind] - before.packetsIn[kind]);
	return lost === 0 ? 0 : (lost / (lost + received)) * 100;
}

/** @param {unknown} value */
function seconds(value) {
	return typeof value === "number" ? value * 1000 : null;
}

/** @param {number} value */
function round(value) {
	return Math.round(value * 10) / 10;
}
