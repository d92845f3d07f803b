/* outbound.h: the messages that wait to be written on one connection. Whoever owns it holds
 * limits.outbound_queue against outbound.bytes: past it the client is a slow consumer. What is sent
 * again after a resume is not in it (what a session keeps has a limit of its own): it comes all at
 * once, and a client that could never get it could never go on.
 *
 * Thread: the connection's. */
#pragma once

#include "core/frame.h"

/* One message on its way to a client. */
struct outgoing {
	struct frame *frame;
	uint64_t
		count; /* the session's number of counted messages after it; 0: it is not counted */
	bool alone;    /* not to be joined with others */
	bool again;    /* it was sent before, on another connection */
	bool patient;  /* it may go with what comes next */
};

struct outbound {
	struct outgoing *ring; /* room entries, a power of two; NULL when it is empty */
	uint32_t room, head, count;
	size_t bytes;  /* without what is sent again */
	bool batching; /* two or more may become one array */
};

/* Takes over the frame's reference. */
void outbound_add(struct outbound *q, struct outgoing m);

/* From the head on, i < count. */
static inline struct outgoing *outbound_at(struct outbound *q, uint32_t i)
{
	return &q->ring[(q->head + i) & (q->room - 1)];
}

/* Takes the first one out; the caller owns its reference. */
struct outgoing outbound_take(struct outbound *q);

/* How many from the head on make the next message: 1, or with batching as many as fit together. */
uint32_t outbound_next(struct outbound *q);

/* Takes out that many and appends them as one message: as it is, or an array of them. Returns the
 * count after the last counted one; 0: none is. */
uint64_t outbound_join(struct outbound *q, uint32_t n, struct buf *to);

/* Takes out that many, for nobody. */
void outbound_drop(struct outbound *q, uint32_t n);
void outbound_clear(struct outbound *q);
