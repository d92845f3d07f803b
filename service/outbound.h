/* outbound.h: the messages that wait to be written on one connection. The cap is whoever owns it:
 * limits.outbound_queue against outbound.bytes, then the client is a slow consumer.
 *
 * Thread: the connection's. */
#pragma once

#include "core/frame.h"

struct outbound_entry {
	struct frame *frame;
	uint64_t
		count; /* the session's number of counted messages after it; 0: it is not counted */
	bool alone;    /* not to be joined with others */
};

struct outbound {
	struct outbound_entry *ring; /* room entries, a power of two */
	uint32_t room, head, count;
	size_t bytes;
	bool batching; /* two or more may become one array */
};

/* Takes over the entry's reference. */
void outbound_add(struct outbound *q, struct outbound_entry entry);

/* From the head on, i < count. */
struct outbound_entry *outbound_at(struct outbound *q, uint32_t i);

/* Takes the first one out; the caller owns its reference. */
struct outbound_entry outbound_take(struct outbound *q);

/* How many from the head on make the next message: 1, or with batching as many as fit together. */
uint32_t outbound_next(struct outbound *q);

/* Takes out that many and appends them as one message: as it is, or an array of them. Returns the
 * count after the last counted one; 0: none is. */
uint64_t outbound_join(struct outbound *q, uint32_t n, struct buf *to);

void outbound_clear(struct outbound *q);
