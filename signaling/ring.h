/* ring.h: the last messages of a room. Each has an offset, counted from 1 without holes; those too
 * old, too many or too large for the ring are forgotten from the front, and the ring knows it:
 * what it holds after an offset is all there was after it, or it says that it is not.
 *
 * Time is in milliseconds of a clock that does not go back, and comes from the caller.
 * Thread: its room's. */
#pragma once

#include "core/str.h"

#include <stdint.h>

struct ring_limits {
	size_t messages; /* 0: nothing is kept, only counted */
	size_t bytes;    /* of the texts */
	uint64_t age_ms;
};

struct ring_item {
	struct str text; /* the ring's own copy */
	uint64_t at_ms;
};

struct ring {
	struct ring_limits limits;
	struct ring_item *items; /* a circle of size places, the oldest at first */
	size_t size, first, count;
	size_t bytes;
	uint64_t top; /* offset of the newest message ever put in; 0: none yet */
};

struct ring ring_new(struct ring_limits limits);
void ring_finish(struct ring *r);

/* Puts in the message of offset top + 1; the text is copied. */
void ring_put(struct ring *r, struct str text, uint64_t now_ms);

/* Another text for the message of this offset, which it holds. A longer one may make it forget more. */
void ring_replace(struct ring *r, uint64_t offset, struct str text);

/* Forgets all, and goes on behind this offset. */
void ring_restart(struct ring *r, uint64_t top);

/* Whether it holds the message of this offset itself. */
static inline bool ring_has(const struct ring *r, uint64_t offset)
{
	return offset && offset <= r->top && r->top - offset < r->count;
}

/* Forgets what is too old, or too much since the limits are others. */
void ring_expire(struct ring *r, uint64_t now_ms);

/* Whether it still holds every message after this offset (true when there was none), and these have
 * no more than max bytes together. An offset that was never given is not held. */
bool ring_holds_after(const struct ring *r, uint64_t offset, size_t max);

/* What it holds of an offset that it holds; its text alone. */
struct ring_item ring_item_at(const struct ring *r, uint64_t offset);
struct str ring_at(const struct ring *r, uint64_t offset);
