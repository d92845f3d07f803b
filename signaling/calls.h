/* calls.h: ringing somebody on all devices, and what becomes of it (docs/PROTOCOL.md, "Calls").
 *
 * Four workers have to do with a call, some of which may be the same:
 *
 * - the home of the callee (worker_home of the user's string): the call itself lives here (live_call, a
 *   state machine of dialog.h, with its timer), beside the callee's sessions (people.h). A call's id says
 *   which worker that is.
 * - the home of the caller: that the call is there, so that nobody rings too many, and both see when two
 *   ring each other (line.h).
 * - the home of the room: that the two will meet there, and then do (meeting.h).
 * - the workers of the two sessions.
 *
 * call.invite travels from its session to the room's home (may the caller come in? from now on its end is
 * known there), the caller's home (not too many? is the callee ringing the caller just now?) and the
 * callee's home, where it is written down, rings and is answered. call.accept travels to the callee's home
 * (is it the first?), back to its session (does it live?), and to the room's home, where both come into
 * the room and it is answered; then the outcome comes to the callee's home. The way by the session's own
 * worker makes sure that its end is always behind the join. All others travel to the callee's home and are
 * answered there. The rest is news (call_news.h).
 *
 * Two who ring each other at the same moment: each invitation sees the other one's at the home of its
 * callee, and the one with the larger id goes back to its own home, where by then the other one rings (both
 * came from there in this order). There it accepts that.
 *
 * Thread: as said for each. */
#pragma once

#include "core/call.h"
#include "signaling/by_addr.h"
#include "signaling/call_news.h"
#include "signaling/dialog.h"
#include "signaling/methods.h"
#include "signaling/people.h"
#include "signaling/room.h"

#define CALL_ROOM_PREFIX "call:"

enum { CALL_DATA_CEILING = 16384, CALL_USER_MAX = 1024 };

enum call_word { CALL_INVITE, CALL_ACCEPT, CALL_DECLINE, CALL_CANCEL, CALL_HANGUP };

/* Of all of them. */
struct call_params {
	struct str room; /* first: a call finds its room by it */
	struct str call, to, data;
	struct param_int timeout;
	/* the handlers' own */
	enum call_word word;
	struct str user; /* whom it rings */
	bool own_room;   /* it is the call's own, and ends with it */
	bool has_place;  /* among the rooms of its session */
	bool counted;    /* at the caller's line */
	bool crossed;    /* an invitation that accepts another */
	bool asked;      /* the backend, whether its user may join */
	char id[CALL_ID_CHARS + 1];
	char room_name[NAME_MAX_BYTES + 1]; /* room, where the client did not say it */
	char peers[2][PEER_CHARS + 1];      /* of both, when they come in */
};

/* A call at its home. Its record is written when it begins, is answered and ends (call_records.h). */
struct live_call {
	struct dialog d;
	char id[CALL_ID_CHARS + 1];
	struct str room, data, caller, caller_name, callee; /* own copies */
	struct str callee_name;                             /* once it was answered */
	bool own_room;
	unsigned timeout_s;
	int64_t started_at, expires_at, answered_at, ended_at; /* Unix s; 0: not yet */
	/* calls.c's own */
	struct addr_link caller_link, callee_link;
	uv_timer_t timer;
	struct call *inviting;          /* until it is written down */
	struct post *waiting, **behind; /* requests that wait for another state */
	struct live_call *next, **back; /* of those of the same callee; or that are over */
};

/* Whether rooms of this name are calls' own. */
static inline bool call_owns_room(struct str room)
{
	return str_starts(room, STR(CALL_ROOM_PREFIX));
}

/* Where the call of that id lives. NULL: there is no such id. Any worker. */
struct worker *call_home(struct str id);

/* Steps of a request on its way; the post is a struct call with call_params. */
void calls_place(struct post *p); /* an invitation, at the caller's home */
void calls_ask(struct post *p);   /* anything else, at the call's home */

/* News from the home of the room. Any worker. */
void calls_answered(const char *id, enum dialog_outcome outcome, struct str callee_name);
void calls_left(const char *id, struct addr session);

/* For call_hand_over.c: a call from before, for those of its homes that are here; the strings are copied. It
 * rings for late_ms from now. A session that is nobody's any more (generation 0) has ended. */
void calls_adopt(const struct live_call *from, uint64_t late_ms);
struct live_call *calls_next(size_t *i);

extern const struct people_listener calls_listener;
extern const struct method call_methods[];
extern const struct worker_part calls_part;
