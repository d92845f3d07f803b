/* hand_over.h: what a process leaves in the store for the one that comes after it, so that its clients
 * resume: every session, every room. All of it is written in one transaction and taken out before
 * anybody is let in: so it is there whole or not at all, and is lived on once. A start that dies before
 * that leaves it to the next one, three times at the most.
 *
 * Whatever goes wrong costs the sessions and no more: the process ends, or starts, all the same, and
 * the log says what was lost.
 *
 * Thread: main. Limits: HAND_OVER_BYTES_MAX of sessions and as much of rooms, half of that of
 * published messages; of sessions and messages every worker has an equal part. Sessions that do not
 * fit are left out, rooms forget messages that do not; when the rooms themselves do not fit, nothing
 * is handed over, because a member must not come back to a room that has forgotten it. */
#pragma once

enum { HAND_OVER_BYTES_MAX = 256 << 20 };

/* Behind workers_drain(), with the store open. Nothing changes a session or a room afterwards. */
void hand_over_save(void);

/* With the workers running and the store open, before anybody is let in. */
void hand_over_load(void);
