/* joined.h: two or more waiting messages of a connection as one array, for clients that asked for
 * batches. What waits for the members of a room is mostly the same list of frames: their array is made
 * once a worker and turn, and written again and again.
 *
 * Two lists are the same when they are the same frames one behind the other. Those of an array that is
 * remembered are held: no other frame can come to lie where one of them was.
 *
 * Thread: any; each remembers its own. */
#pragma once

#include "service/outbound.h"

/* Takes the first n (two or more, as outbound_next() has it) out of the queue. The array has
 * FRAME_HEADROOM in front, which the caller may write into; it lies there until the next call. */
struct str joined_take(struct outbound *q, uint32_t n);

/* The end of a turn: lets go of all frames. */
void joined_forget(void);
void joined_thread_stop(void);
