/* session.h: one client, across as many connections as it needs. Knows who it is, what has been
 * received and sent (counted, docs/PROTOCOL.md "Counting") and what may come next. A lost connection
 * leaves it away: it goes on, keeps what it would send, and waits for the client to resume it.
 *
 * Thread: the worker it was opened on, also when its connection is on another. Nothing ends a
 * session on the spot: it is marked, and swept at the end of the loop turn, or when very many end, of
 * one that follows at once; meanwhile nothing comes from it or to it. */
#pragma once

#include "auth/withdrawal.h"
#include "core/call.h"
#include "core/worker.h"
#include "service/carrier.h"

struct session_options {
	size_t kept_messages, kept_bytes;
	int64_t resume_window_ms, ping_interval_s;
	int64_t drain_spread_ms; /* at the end, clients are told to come back at times within this */
	/* told to the client */
	size_t message_bytes, data_bytes, batch, rooms;
	unsigned in_flight;
};

void session_configure(const struct session_options *options); /* by serve_configure() */

/* A session's id is known to its client alone. Whoever else speaks of it (the log, administrators,
 * what one process leaves for the next) uses its handle: a hash, with the number of the worker before
 * it as in the id. */
enum { SESSION_ID_MAX = 40, SESSION_HANDLE_MAX = 40 };

/* What session.open asked for. */
struct session_request {
	struct str
		id; /* of the message, own copy; n 0: no message asked, the answer is the bare result */
	bool batch;
	bool resumes;
	char session[SESSION_ID_MAX];
	uint64_t received;
	uint64_t born_ns; /* when the connection was accepted that asks (uv_hrtime) */
	char *text;       /* of the params; the token lies in it */
};

/* The id that answers will carry. */
void session_request_name(struct session_request *r, struct str id);
/* Reads the params of session.open; *ret_token is a copy that lives until the next call or free.
 * ERR_PARAMS, ERR_TOO_LARGE with *ret_problem. */
enum err session_request_read(struct session_request *r, struct str params, struct str *ret_token,
	struct params_problem *ret_problem);
/* It asks for this session, of whose messages so many have been received. */
void session_request_resume(struct session_request *r, struct str session, uint64_t received);
void session_request_free(struct session_request *r);
struct session_request session_request_copy(const struct session_request *from);

/* Where the session of that id or handle lives, if it does. */
struct worker *session_home(const char *id);

/* On that worker: whether the request can resume its session: it lives, is of the same issuer and
 * subject, and still keeps what the client has not received. One that is the caller's and can not
 * be resumed ends at once; of another's nothing is said or done.
 *
 * RESUME_SUPERSEDED: an attempt that its client has given up and that the network brings only now. A
 * client tries one connection after the other, so who asks on an older one than that which carries
 * the session does not take it away, nor ends it by what had been received then. */
enum resume { RESUME_YES, RESUME_NO, RESUME_SUPERSEDED };
enum resume session_can_resume(const struct session_request *r, const struct principal *who);

/* On that worker: gives the carrier to the session; when it cannot be resumed (any more), to a new
 * one, when it is superseded, to none. Each answers the request. Takes over the carrier. */
void session_resume(
	struct carrier *carrier, struct principal *who, const struct session_request *r);

/* The same with a new session. */
void session_begin(struct carrier *carrier, struct principal *who, const struct session_request *r);

/* Tells the carrier that RESUME_SUPERSEDED was the answer, and closes it. */
void session_refuse_superseded(struct carrier *carrier, const struct session_request *r);

/* Says why session.open is refused, to the carrier that will be closed for it. */
void session_refuse(
	struct carrier *carrier, struct str id, enum err err, const struct refusal *why);

/* On that worker: a message that came by itself, not on the session's connection. sent: how many
 * counted messages the client had sent before it; what of it the session has already is skipped.
 * ERR_NOT_FOUND: the caller has no such session. ERR_CONFLICT: nothing was handled, because what
 * stands before it is missing, or the session has a connection that carries both ways; then
 * *ret_received tells what it has. ERR_OVERLOADED: the service is stopping, nothing was handled. */
enum err session_take(const char *id, const struct principal *who, uint64_t sent, struct str text,
	uint64_t *ret_received);

/* Ends all sessions of the user, wherever they live. Any worker; the reason is a literal. */
void sessions_end(struct str user, uint16_t code, const char *reason);

/* Ends this worker's sessions whose tokens are withdrawn by that (auth/withdrawal.h), with 4501. */
void sessions_withdraw(enum withdrawal_kind kind, struct str value);

/* ---- from one process to the next (service/hand_over.h); on each worker, as rounds ---- */

/* Who had an address in the process before, and has which here. */
struct session_moved {
	struct addr old, now;
	const struct principal *who; /* the session's */
};

/* At the end, behind a drain: this worker's sessions as records, those that fit and have no answer
 * outstanding; how many are not among them. From then on nothing changes them any more. */
size_t sessions_save(struct buf *out);

/* Ends what carries them, with 1001. The sessions stay until the worker stops, and nobody is told. */
void sessions_leave(struct worker *w, void *context);

/* At the start, before anybody is let in: those of the records that live on this worker now. They are
 * away until their clients come back. The list is the caller's to free. Records are read like foreign
 * bytes: ERR_PARSE when one is damaged (those before it are there). */
enum err sessions_load(struct str records, struct session_moved **ret_list, size_t *ret_count);

/* The handles of this worker's, as elements of an array (outbox_begin() of store/outbox.h). */
void sessions_live(struct json_out *o);

/* Then, on each worker: from now on sessions end when their time is over. */
void sessions_begin(void);

extern const struct method session_methods[];
extern const struct worker_part session_part;
