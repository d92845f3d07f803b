/* live.h: all shapes that have readers who are up to date, and what a change means to each of them: evaluated once a
 * shape, encoded once for the shapes with the same columns, and not at all for those whose `column = value` it cannot
 * concern.
 *
 * Thread: the database's. */
#pragma once

#include "dataset/steps.h"

enum {
	LIVE_CHANGES_MAX = 5000,
	LIVE_BYTES_MAX = 4 << 20
}; /* of one step; past it readers catch up by steps of their own */

struct live;
struct live *live_new(struct reading *r);
void live_free(struct live **l);

/* Between reading_begin() and reading_end(), behind a step (steps.h) that came to the head: the shape is among them from
 * there on. have: what its readers have (of a window). Any error: it is not among them. Adding one that is there only
 * counts. */
enum err live_add(struct live *l, const struct shape *s, const struct window *have);
void live_remove(struct live *l, const struct shape *s); /* one that is not there: nothing */

/* The changes of (from, upto] in the transaction that is open. told() is called for each shape that they concern, with
 * the ops of its message ("{…},{…}"; several parts when they are large; no part for notify), and, of a window, what its
 * readers have behind them: NULL for a slow one, which is not read here; what it has
 * is unknown then, and its readers are no longer in step. ret_leap: too much at once, or it took too long, or one of the shapes cannot be read (any
 * more); nothing was told, readers catch up by steps, each for itself, and what windows have is unknown until live_add()
 * says it anew. ERR_OVERLOADED: the database is in trouble; nothing was told, the same range can be tried again. */
enum err live_step(struct live *l, int64_t from, int64_t upto,
	void (*told)(void *context, const struct shape *s, const struct str *parts,
		size_t part_count, const struct window *have),
	void *context, bool *ret_leap);
