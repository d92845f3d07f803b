/* recovery.h: what came while a member was away, for the answer to its join: all of it or nothing.
 * Out of the ring; in rooms whose history is kept also out of the store, where the ring does not reach.
 *
 * Thread: the room's own worker. Limits: RECOVERY_MAX_BYTES of messages. */
#pragma once

#include "signaling/methods.h"
#include "signaling/rooms.h"

enum { RECOVERY_MAX_BYTES = 128 * 1024 };

/* False: the store has to be asked, and the call will come to visit once more, with an error in
 * in->missed when that has failed. */
bool recovery_ready(struct place *p, struct call *c, place_visit *visit);

/* The last of the answer: the member is in the room already, so it must not become too large. in NULL:
 * nothing is asked for. */
void recovery_write(struct json_out *o, struct room *room, struct join_params *in);

/* Frees what was read. */
void recovery_drop(struct join_params *in);
