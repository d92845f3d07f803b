/* dialog.h: one call between two users, from the invitation to its end: what state it is in, and what
 * becomes of it by whatever happens. It knows no thread, no store and no client; calls.h has those.
 *
 *     WRITING ──► RINGING ◄──► ANSWERING ──► TALKING
 *        └───────────┴─────────────┴────────────┴──► OVER, once, for one reason
 *
 * Who has a call are sessions: the one that invited, those of the callee while it rings there, and then
 * the one of them that accepted. Of two that accept one is first; the other one's request waits until it is
 * known whether the first has come into the room, because when it vanishes on the way the call rings on.
 * So do all requests that come meanwhile.
 *
 * Thread: its owner's. Nothing here fails or allocates. Times are milliseconds of its owner's clock. */
#pragma once

#include "core/addr.h"

enum dialog_state {
	DIALOG_WRITING,   /* the invitation is being written down; nobody has heard of it */
	DIALOG_RINGING,   /* until the deadline */
	DIALOG_ANSWERING, /* a session has accepted, and is on its way into the room */
	DIALOG_TALKING,   /* both are in the room */
	DIALOG_OVER,
};

/* DIALOG_END(name, word) */
#define DIALOG_ENDS(DIALOG_END) \
	DIALOG_END(DECLINED, "declined") \
	DIALOG_END(CANCELLED, "cancelled") \
	DIALOG_END(TIMEOUT, "timeout") \
	DIALOG_END(UNREACHABLE, "unreachable") \
	DIALOG_END(BUSY, "busy") \
	DIALOG_END(HANGUP, "hangup")

enum dialog_end {
	DIALOG_END_NONE,
#define DIALOG_END(name, word) DIALOG_END_##name,
	DIALOG_ENDS(DIALOG_END)
#undef DIALOG_END
};

const char *dialog_end_word(enum dialog_end end);

struct dialog {
	enum dialog_state state;
	enum dialog_end end;
	struct addr caller;
	struct addr callee; /* the session that has accepted */
	bool caller_gone;
	uint64_t deadline_ms; /* of the ringing */
};

/* WRITING. */
struct dialog dialog_new(struct addr caller);

/* It has been written down, and rings until the deadline; a reason other than NONE: it cannot. */
void dialog_written(struct dialog *d, enum dialog_end cannot, uint64_t deadline_ms);

/* What a session asks, and whether it may. */
enum dialog_verdict {
	DIALOG_DONE,
	DIALOG_WAIT,      /* to be asked again once the state is another one */
	DIALOG_UNKNOWN,   /* the session does not have the call */
	DIALOG_ELSEWHERE, /* another session of the callee has it */
};

enum dialog_side { SIDE_NONE, SIDE_CALLER, SIDE_CALLEE };

/* A session of the callee accepts: ANSWERING. */
enum dialog_verdict dialog_accept(struct dialog *d, enum dialog_side side, struct addr session);

/* What has come of it. */
enum dialog_outcome {
	OUTCOME_JOINED,
	OUTCOME_VANISHED, /* the session that accepted ended before */
	OUTCOME_ALONE,    /* the one that invited did */
	OUTCOME_REFUSED,  /* the room let one of them not in */
};
void dialog_answered(struct dialog *d, enum dialog_outcome outcome, uint64_t now_ms);

/* A session that has it wants it to end; how it ends depends on whose it is, and on the state. */
enum dialog_verdict dialog_stop(struct dialog *d, enum dialog_side side, struct addr session);

/* A session has ended, or has left the room. */
void dialog_gone(struct dialog *d, struct addr session);

/* The deadline has come: it is over, unless it is being answered or does not ring any more. */
void dialog_late(struct dialog *d, uint64_t now_ms);

/* Whether somebody was rung for nothing. */
bool dialog_missed(const struct dialog *d);
