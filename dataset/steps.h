/* steps.h: how one reader comes from nothing, or from where it was, to the present: by steps. Each is one short read
 * transaction: what has changed since the last (merged: the last state of each row), and, while it has not seen the
 * whole table, one page more. Behind the last one it stands at a position from which the live feed (live.h) goes on.
 *
 * The log is the buffer: a reader that falls behind costs a position, no memory.
 *
 * Pure work over one connection, no thread of its own: in the pool, or on the database's thread. */
#pragma once

#include "core/buf.h"
#include "dataset/reading.h"
#include "dataset/shape.h"

enum {
	STEP_PAGE_BYTES = 64 * 1024, /* about this much JSON of rows in a page, 1000 rows at most */
	STEP_PART_BYTES = 64 * 1024, /* the same of ops in a part */
	STEP_GROUP_BYTES = 4 << 20,  /* of ops in one group; past it: reset, overflow */
	STEP_CHANGES_MAX = 100000,   /* rows of the log that one step looks at; the same */
};

/* What a window's reader has: keys with hashes of their rows. Immutable, counted, any thread. */
struct window;
struct window *window_ref(const struct window *w);
void window_unref(struct window **w);
/* It takes so long to read that the live feed does not wait for it: its readers take steps. NULL: no. */
bool window_is_slow(const struct window *w);

enum step_reset { RESET_NONE, RESET_PRUNED, RESET_EPOCH, RESET_SCHEMA, RESET_AUTH, RESET_OVERFLOW };

/* Where a reader is. Two with equal bytes get the same result: whoever runs steps may run one for both. */
struct standing_at {
	int64_t seq; /* has seen all up to this one; -1: nothing yet */
	bool whole;  /* has seen every page */
	struct str
		cursor; /* the key of the last row of the last page, as a record (values); n 0: none; own bytes */
	const struct window *have; /* of a window */
};

/* Bodies of messages, from the first member behind `sub` on, without the braces:
 *   page:   "as_of":"7","rows":[…],"last":false
 *   change: "from":"7","to":"9","part":0,"last":true,"ops":[…]
 * Immutable, counted, any thread. */
struct step_result {
	int refs; /* atomic */
	enum step_reset reset;
	struct standing_at next;
	bool at_head;   /* nothing was left to read when it was read */
	size_t holders; /* readers that keep it to be sent; their home's */
	size_t count;
	struct step_message {
		enum step_kind { STEP_PAGE, STEP_CHANGE } kind;
		struct str body;
	} * messages;
};
struct step_result *step_result_ref(struct step_result *r);
void step_result_unref(struct step_result **r);

/* Of all bodies. */
static inline size_t step_result_bytes(const struct step_result *r)
{
	size_t bytes = 0;
	for (size_t i = 0; i < r->count; i++)
		bytes += r->messages[i].body.n;
	return bytes;
}

/* Between reading_begin() and reading_end(). ERR_OK with a result (also for a reset). ERR_OVERLOADED: the database is in
 * trouble (reading_trouble()), or it took longer than it may. ERR_TOO_LARGE, which is final: a view with more rows than a
 * window may have, or a window of more than STEP_GROUP_BYTES.
 *
 * Each step that moves the position has a change, if need be without ops: the next one's `from` is its `to`. A shape with
 * notify has pages of nothing and is whole at once; its changes have no ops, and there is one only where something that
 * it sees has changed. */
enum err step_take(struct reading *r, const struct shape *s, const struct standing_at *at,
	struct step_result **ret);
