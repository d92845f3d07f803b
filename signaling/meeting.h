/* meeting.h: that two will meet in a room because one rings the other, at the home of the room. From the
 * invitation on it knows whether the caller's session still lives; when the call is accepted both come into
 * the room at once, or neither does. It stays until the call is over.
 *
 * In a room of the call's own only the two users may be; it is made when they meet, and ends with the call.
 * Into another room a member lets the callee in: past a lobby and where it is private, but not past a ban;
 * past a lock only a moderator does, and a viewer lets nobody in. Who came in so only leaves with the call.
 *
 * Thread: the worker's own, but what says otherwise. */
#pragma once

#include "core/buf.h"
#include "core/call.h"
#include "signaling/room.h"
#include "signaling/signaling.h"

/* Steps of a call on its way; the post is a struct call with call_params. On its session's worker: */
void meeting_invite(struct call *c); /* goes to the room's home, and on to the caller's */
void meeting_enter(struct post *p);  /* goes to the room's home, and is answered there */

/* The call is over. Any worker. */
void meeting_over(struct str room, const char *id);

/* One whose `calls` is not 0 is about to leave its room. */
void meeting_left(const struct member *m);

void meetings_save(struct buf *out);
void meetings_load(struct record_reader *one, const struct chapter_lookup *lookup);

extern const struct worker_part meetings_part;
