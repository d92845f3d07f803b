/* attendance.h: what a worker knows of each endpoint: its memberships of rooms that live here, and,
 * where the endpoint itself lives, in how many rooms it is anywhere.
 *
 * A session may be in so many rooms, and rooms live on different workers: so a join takes a place at
 * the endpoint's own worker before it travels to the room's, and the place is given back by a message
 * when there was no join or the membership has ended. */
#pragma once

#include "signaling/room.h"

/* On the room's worker: one more membership, one less. */
void attendance_add(struct member *m);
void attendance_remove(struct member *m);
/* Then m->next_of_endpoint. NULL: in no room here. */
struct member *attendance_first(struct addr endpoint);

/* On the endpoint's worker: false when it is in max rooms already. */
bool attendance_take_place(struct addr endpoint, size_t max);
bool attendance_has_place(struct addr endpoint); /* it is in a room, or about to be */
/* On any worker. */
void attendance_give_back(struct addr endpoint);
/* The same for a membership from before, which has its place whatever the limit is now. */
void attendance_keep_place(struct addr endpoint);
/* On the endpoint's worker, when it is gone: all of its places. */
void attendance_forget(struct addr endpoint);

/* The worker is stopping; no membership is left. */
void attendance_stop(void);
