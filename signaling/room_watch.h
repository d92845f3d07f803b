/* room_watch.h: sessions that watch how many are in rooms: room.watch and its event room.occupancy.
 *
 * A room's home knows who watches it, also while there is no such room. What has changed there is told
 * to the sessions' workers a moment later, and each session is told by its own, of many rooms at once: at
 * once, and then not again for a second. Whoever may not look is told nothing; of a room that was
 * shown and has ended, that nobody is in it.
 *
 * Thread: watchers_* on the room's worker, all else on the session's. Limit: ROOMS_WATCHED_MAX rooms a
 * session. */
#pragma once

#include "core/addr.h"
#include "core/buf.h"
#include "core/principal.h"
#include "core/worker.h"

struct chapter_lookup;

enum { ROOMS_WATCHED_MAX = 100, ROOM_WATCH_PAUSE_MS = 1000, ROOM_WATCH_GATHER_MS = 50 };

/* ---- on the room's worker ---- */

/* shown: whether it has been shown to them. */
void watchers_add(struct str room, struct addr session, const struct principal *who, bool shown);
void watchers_remove(struct str room, struct addr session);
/* Somebody came or went. Costs nothing while nobody watches. */
void watchers_changed(struct str room);
/* The session has ended, or may do other things from now on. */
void watchers_gone(struct addr session);
void watchers_granted(struct addr session, const struct principal *who);

void watchers_start(struct worker *w);
void watchers_stop(void);

/* ---- on the session's worker ---- */

/* How many are in it now, as a home says. */
void room_watch_heard(struct addr session, struct str room, size_t members, size_t users);

/* From one process to the next; see signaling.h. */
void room_watch_save(struct buf *out);
void room_watch_load(struct record_reader *one, const struct chapter_lookup *lookup);
