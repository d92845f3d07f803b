/* occupancy.h: how many are in a room, as an element of an answer or event.
 * Thread: the asking session's worker. */
#pragma once

#include "core/json_out.h"
#include "signaling/headcount.h"

void occupancy_write(struct json_out *o, struct str room, size_t members, size_t users);

/* For room.watch (room_watch.c): the session watches these rooms and no others; sets h->watch, unless it
 * has ended. Then headcount_ask(), and when that is answered room_watch_answered(). */
void room_watch_begin(struct headcounts *h, struct addr session);
void room_watch_answered(struct addr session, const struct headcounts *h);
