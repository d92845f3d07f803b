/* session_parts.h: what a session is made of, for session.c, session_methods.c and session_hand_over.c;
 * everybody else knows session.h. Thread: the session's worker. */
#pragma once

#include "service/dispatch.h"
#include "service/kept.h"
#include "service/session.h"

struct session {
	struct caller caller; /* first: a session is found by its address */
	struct carrier_owner owner;
	struct session *next, **back;
	struct carrier *carrier; /* NULL: away */
	uint64_t born_ns;        /* when the connection was accepted that carries it, or did last */
	bool posts;          /* the last one was a stream: what the client sends comes by POST */
	uint64_t lost_at_ms; /* of the loop; when nobody has come back by then */
	bool closing;        /* ends when all calls are answered */
	bool ending;         /* swept at the end of this turn */
	char id[SESSION_ID_MAX]; /* "" after a hand-over, until its client has said it */
	char handle[SESSION_HANDLE_MAX];
	int64_t opened_at; /* Unix seconds */

	/* counting */
	uint64_t received, received_told; /* of those, how many the client knows of */
	size_t received_bytes;            /* since then */
	uint64_t received_at_ms;          /* when the first of them came */
	uint64_t sent;
	struct kept kept;
	struct receipt *receipts; /* who asks what has been received, in the order sent */

	/* events that wait for an answer that must precede them */
	struct frame **held;
	size_t held_count, held_room, held_bytes;

	struct pace pace;
	struct refresh *refreshing; /* session_methods.c's: while a new token is looked at */
	bool told_expiring;

	/* the end */
	bool clean;
	uint16_t code;
	const char *reason;
};

const struct session_options *session_limits(void);

/* What a session is called: by its client, and by everybody else. */
struct session_name {
	char id[SESSION_ID_MAX], handle[SESSION_HANDLE_MAX];
};

/* A new session of this name, which has its place in its user's quota: takes over the carrier and answers
 * the request. */
void session_admit(struct carrier *carrier, struct principal *who, const struct session_request *r,
	const struct session_name *name);

/* A session of somebody: registered, without a handle, a connection or anything counted. */
struct session *session_new(struct principal *who);
/* It can be found by its id from now on. The handle is nobody else's. */
void session_enter(struct session *s);
/* One that is in no list (any more). */
void session_free(struct session *s, bool clean);

/* The one of that handle, or NULL. */
struct session *session_find_handle(const char *handle);

/* It has this token of the same user from now on (a reference is taken). What is sent from now on
 * may do what it allows; rooms that it does not allow are left. */
void session_grant(struct session *s, struct principal *who);

/* Ends it at the end of the turn. */
void session_end(struct session *s, uint16_t code, const char *reason);

/* Its client has so many of the counted messages: they are kept no longer, and who asked is told. */
void session_acknowledged(struct session *s, uint64_t received);

/* All of this worker's that have not ended, linked by next. */
struct session *sessions_first(void);

/* From now on nothing changes any session: what still comes for them is dropped. */
void sessions_seal(void);

/* It ends: what asked for a refresh is told so (session_methods.c). */
void session_refresh_drop(struct session *s);

/* The result of session.open (session_methods.c). */
void session_write_opened(struct json_out *o, const struct session *s, bool resumed);
