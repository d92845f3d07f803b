/**
 * How a connection is, and what to say of it to a person.
 *
 * @typedef {import("./ways.js").Transport} Transport
 * @typedef {import("./errors.js").SignalboxError} SignalboxError
 * @typedef {"idle"|"connecting"|"open"|"reconnecting"|"offline"|"closed"} State
 * @typedef {{code: number, reason: string, message: string}} Closed
 * @typedef {{
 *   state: State, message: string, transport: Transport, blocked: boolean,
 * } & Record<string, any>} Status `blocked`: HTTP works here and WebSocket does not. With all that the
 *   state's own event says
 * @typedef {{
 *   connecting: {attempt: number, transport: Transport},
 *   open: {
 *     session: string, resumed: boolean, user: {id: string, name: string}, transport: Transport,
 *   },
 *   reconnecting: Closed & {delay: number, attempt: number},
 *   offline: Closed & {delay: number, attempt: number},
 *   closed: Closed,
 *   status: Status,
 *   transport: {transport: Transport, message: string},
 *   closing: {reason: string, delay: number, message: string},
 *   expiring: {expires_at: number, message: string},
 *   error: SignalboxError,
 *   notification: {method: string, params: any},
 * }} ConnectionEvents `delay` in ms, `expires_at` in seconds since 1970
 */

/** What there is to show where the server has said nothing. @type {Record<string, string>} */
export const SENTENCE = {
	idle: "Not connected.",
	connecting: "Connecting…",
	open: "Connected.",
	openByHttp: "Connected over HTTP.",
	blocked: "Connected over HTTP, because WebSocket is blocked here.",
	offline: "This device is offline. It connects again when the network is back.",
	closing: "The server is about to restart. It connects again by itself.",
	expiring: "The sign-in runs out soon and is being renewed.",
};
