/*
 * The names and numbers of the protocol `signalbox.v1`, as data.
 */

/**
 * @typedef {{epoch: string, offset: number}} Position
 * @typedef {"owner"|"moderator"|"member"|"viewer"|"banned"} Role
 * @typedef {{
 *   peer: string, user: string, name: string, role: Role,
 *   state: any, connected: boolean, polite: boolean, muted?: boolean,
 * }} Member
 * @typedef {{
 *   epoch: string, offset: number, from: {peer: string | null, user: string}, data: any, time: any,
 *   edited_at?: number, redacted?: boolean, edits?: number, redacts?: number,
 * }} Message a message's `peer` is null when it came from no member, as from a backend; `edits` and
 *   `redacts` name the offset of the message that this one changes
 * @typedef {{from: {peer: string, user: string, name: string}, type: string, data: any}} Signal
 * @typedef {{urls: string | string[], username?: string, credential?: string}} IceServer
 * @typedef {{
 *   session: string, resumed: boolean, received: number, user: {id: string, name: string},
 *   scopes: string[], expires_at: number, resume_window: number, ping_interval: number,
 *   limits: Record<string, number>, server: {name: string, version: string},
 * }} SessionResult
 * @typedef {{
 *   room: string, peer: string, role: Role, members: Member[], members_cursor?: string,
 *   epoch: string, offset: number, recovered: boolean, messages: Message[],
 *   ice_servers: IceServer[], muted?: boolean,
 * }} JoinResult
 * @typedef {{
 *   room: string, title?: string | null, owner?: string | null, visibility?: "public"|"private",
 *   max_members?: number, locked?: boolean, lobby?: boolean, archived?: boolean, metadata?: any,
 *   history?: {messages: number, age: number, durable: boolean}, persistent?: boolean, role?: Role,
 *   member_count?: number, created_at?: number, updated_at?: number,
 * } & Record<string, any>} RoomInfo
 * @typedef {{room: string, member_count: number, user_count: number}} Occupancy
 * @typedef {{
 *   room: string, title: string | null, role: Role, guests: boolean, expires_at: number,
 * }} InvitationInfo
 */

export const SUBPROTOCOL = "signalbox.v1";

/** The largest message the server takes, in bytes. */
export const MAX_MESSAGE = 128 * 1024;

/** What a side keeps until the other has acknowledged it; the server's numbers. */
export const KEPT = { messages: 1024, bytes: 1024 * 1024 };

/** An acknowledgement goes out at the latest after this much; the contract says 64, 64 KiB, 5 s. */
export const ACK = { messages: 64, bytes: 64 * 1024, ms: 4000 };

/** Messages with these methods, and the replies to them, are not counted. */
export const UNCOUNTED = new Set(["session.open", "session.ack", "session.ping"]);

/** @type {Record<number, string>} */
export const REASON_OF_CODE = {
	[-32700]: "parse_error",
	[-32600]: "invalid_request",
	[-32601]: "unknown_method",
	[-32602]: "invalid_params",
	[-32603]: "internal",
	[-32001]: "unauthenticated",
	[-32003]: "forbidden",
	[-32004]: "not_found",
	[-32008]: "timeout",
	[-32009]: "conflict",
	[-32010]: "gone",
	[-32013]: "too_large",
	[-32023]: "full",
	[-32029]: "rate_limited",
	[-32030]: "overloaded",
};

/**
 * What a person can do about an error, by its reason.
 * @type {Record<string, string>}
 */
export const ADVICE = {
	unauthenticated: "Sign in again.",
	forbidden: "Ask an owner or moderator for access, or sign in as somebody who has it.",
	not_found: "Check the name, or create it first.",
	timeout: "Check the connection and try again.",
	conflict: "Somebody was faster or the name is taken: reload and try again.",
	gone: "This history is no longer held: fetch the current state instead.",
	too_large: "Send less at once.",
	full: "Wait until somebody leaves, or raise the limit.",
	rate_limited: "Wait a moment and try again.",
	overloaded: "The server cannot do this just now: wait a moment and try again.",
	invalid_params: "Correct the named field.",
	unknown_method: "The server is of another version: update the client or the server.",
	internal: "Try again; if it stays, look into the server's log.",
	lost: "Look whether it took effect, and try again if not.",
	closed: "Connect again first.",
	no_such_room: "Check the name, or create the room first.",
	not_served: "Nobody offers this just now: try again later.",
	backend_lost: "Look whether it took effect, and try again if not.",
	backends_busy: "Wait a moment and try again.",
	no_such_peer: "They have left; there is nothing to do.",
	no_such_user: "Wait until they are here.",
	room_exists: "Choose another name, or join that room.",
	room_full: "Wait until somebody leaves.",
	room_private: "Ask the room's owner to let you in.",
	room_locked: "Ask somebody inside to unlock it.",
	banned: "Ask the room's owner.",
	kicked: "You can join again in a minute.",
	muted: "Ask a moderator to let you speak again.",
	not_moderator: "Ask a moderator or the owner of the room.",
	outranked: "Only somebody of a higher role can do that.",
	not_owner: "Ask the room's owner.",
	lobby: "Knock, and wait until somebody lets you in.",
	knock_denied: "Wait a minute before you knock again.",
	no_such_knock: "They have gone, or another moderator has answered.",
	reserved_name: "Choose another name: those that begin with call: belong to calls.",
	room_not_kept: "Create the room first; one that was only joined keeps nothing.",
	not_banned: "Nothing needs to be taken back.",
	too_many_roles: "Take a role from somebody else first.",
	too_many_sanctions: "Lift a ban from somebody else first.",
	too_many_invitations: "Take another invitation back first.",
	presence_hidden: "The operator shows it to nobody here.",
	calling_too_often: "Wait a minute before you call again.",
	too_many_knocks: "Too many wait at this door: try again in a while.",
	room_archived: "Ask the room's owner to open it again.",
	template_forbids: "Choose a name of another kind, or ask the operator.",
	no_such_invitation: "It was used up, taken back or is over: ask for another one.",
	guests_off: "This server takes no guests: sign in.",
	guest: "Sign in with an account for that.",
	not_yours: "Only who wrote it can do that.",
	no_such_message: "It is no longer kept.",
	history_gone: "It is no longer kept.",
	no_such_call: "It has ended.",
	answered_elsewhere: "You took this call on another device.",
	too_many_calls: "End one of the calls that ring.",
	too_many_watched: "Stop watching others first.",
	refused_by_backend: "Ask whoever runs this application.",
	backend_unavailable: "Try again in a moment.",
	no_such_dataset: "Check the name; perhaps it is not for this account.",
	no_such_column: "Check the name; the dataset's columns are in its schema.",
	no_such_sub: "Subscribe again.",
	dataset_unavailable: "The server tries again by itself; its operator sees the reason in the list of datasets.",
	not_readable: "Ask whoever runs this application for access.",
	rule_forbids: "Change what is yours, or ask whoever runs this application for access.",
	no_such_row: "It was deleted, or is not for this account.",
	mutation_used: "Give another change another mutation.",
	constraint: "Correct the named columns.",
	too_many_subscriptions: "Close a list that is not looked at.",
	filter_too_long: "Ask for less in one filter.",
	pruned: "It is no longer kept: take a snapshot.",
	query_too_slow: "Ask for less, or have the operator add an index.",
	signed_out: "Sign in again: what was not sent is still kept for you on this device.",
	not_a_member: "Join the room first.",
	viewer: "Ask the room's owner for another role.",
	too_many_rooms: "Leave another room first.",
	too_many_sessions: "Close it in another tab, window or device.",
	too_many_connections: "Close some of them; behind a proxy, tell the server whom to trust.",
	too_many_unopened: "Wait a moment; behind a proxy, tell the server whom to trust.",
	too_many_handshakes: "Wait a moment.",
	too_many_failures: "Wait a minute, then sign in again.",
	too_many_requests: "Wait a moment and try again.",
	too_many_joins: "Wait a moment and try again.",
	too_many_in_flight: "Wait for the answers before asking more.",
};

/** No code of the server: its stream began, and nothing came through. */
export const HELD_BACK = 4900;

/**
 * What to do after a close code. `resume` keeps the session, `fresh` begins a new one,
 * `token` fetches a new token and resumes, `stop` ends.
 * @typedef {"resume"|"fresh"|"token"|"stop"} Next
 * @type {Record<number, {next: Next, reason: string, message: string}>}
 */
export const CLOSE = {
	1000: { next: "stop", reason: "done", message: "The session ended. Connect again to go on." },
	1001: {
		next: "resume",
		reason: "going_away",
		message: "The server is restarting. There is nothing to do.",
	},
	1006: {
		next: "resume",
		reason: "lost",
		message: "The connection was lost. Check the network if it takes long.",
	},
	1002: fresh("protocol", "broke the protocol"),
	1003: fresh("unsupported", "used a kind of frame that is refused"),
	1007: fresh("invalid_utf8", "sent text that is not UTF-8"),
	1008: fresh("policy", "broke a rule of the server"),
	1009: fresh("too_large", "sent a message that is too large"),
	3000: {
		next: "token",
		reason: "unauthenticated",
		message: "The server did not accept the sign-in. Fetching a new one; sign in again if asked.",
	},
	3003: {
		next: "stop",
		reason: "forbidden",
		message: "This account may not use this server. Sign in as somebody who may.",
	},
	3008: {
		next: "resume",
		reason: "open_timeout",
		message: "Signing in to the server took too long. Check the network.",
	},
	4001: {
		next: "token",
		reason: "expired",
		message: "The sign-in has run out. Fetching a new one; sign in again if asked.",
	},
	4002: {
		next: "resume",
		reason: "slow_consumer",
		message: "This client could not keep up and was cut off.",
	},
	4003: {
		next: "stop",
		reason: "resumed_elsewhere",
		message: "This session was taken over elsewhere. Close the other one, or reload here.",
	},
	4500: {
		next: "stop",
		reason: "put_out",
		message: "You were put out of this server. Ask its operator.",
	},
	4501: {
		next: "stop",
		reason: "account_disabled",
		message: "The account was disabled or its sign-in revoked. Sign in again or ask the operator.",
	},
	[HELD_BACK]: {
		next: "resume",
		reason: "held_back",
		message: "Something on the way holds back what the server says. " +
			"Ask whoever runs this network, or use another one.",
	},
};

/** @param {number} code */
export function closing(code) {
	return CLOSE[code] ?? { ...CLOSE[1006], reason: `closed_${code}` };
}

/**
 * @param {string} reason
 * @param {string} what
 * @returns {{next: Next, reason: string, message: string}}
 */
function fresh(reason, what) {
	return {
		next: "fresh",
		reason,
		message: `The server ended the session: this client ${what}. Starting a new one.`,
	};
}
