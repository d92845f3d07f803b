/* kept.h: the counted messages sent on a session that its client has not acknowledged yet, so that
 * they can be sent again. Bounded in messages and bytes: past it the oldest go, and a resume from
 * before them is refused. Thread: the session's worker. */
#pragma once

#include "core/frame.h"

struct kept {
	struct frame **ring; /* room entries, a power of two; NULL when all are acknowledged */
	uint32_t room, head, count;
	size_t bytes;
	uint64_t first; /* the number of the oldest one kept; sent messages count from 1 */
};

void kept_free(struct kept *k);
/* Takes a reference of its own. False: the oldest had to go. */
bool kept_add(struct kept *k, struct frame *f, size_t messages_max, size_t bytes_max);
/* The client has received all up to and with this number. */
void kept_ack(struct kept *k, uint64_t received);
/* Whether all that came after this number is still kept; sent is how many there were in all. */
bool kept_reaches(const struct kept *k, uint64_t sent, uint64_t received);
struct frame *kept_at(const struct kept *k, uint32_t i); /* from the oldest on; i < count */
