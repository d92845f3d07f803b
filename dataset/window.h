/* window.h: the first rows of a shape in its order: read anew when something has changed, and held against what its
 * readers have.
 *
 * Thread: the reading's, between reading_begin() and reading_end(); struct window: any. */
#pragma once

#include "dataset/sight.h"
#include "dataset/steps.h"

/* Whether the shape is read as a window: with a limit, and all views, which have no log. */
bool window_is(const struct shape *s);

/* A window with its rows, just read. */
struct fresh {
	struct window *window;
	size_t count;
	size_t *ends;    /* of each row in rows */
	struct buf rows; /* JSON of each, one behind the other */
};

/* ERR_TOO_LARGE: more rows than a window may have (of a view), or more than STEP_GROUP_BYTES. */
enum err window_read(struct reading *r, const struct shape *s, struct fresh *ret);
struct str fresh_row(const struct fresh *f, size_t i);
void fresh_free(struct fresh *f);

/* What takes readers from one to the other. changed: what the log says of the table, NULL: of a view; what no change of
 * its own has moved has the number seq. */
void window_diff(const struct window *have, const struct fresh *now, const struct merging *changed,
	int64_t seq, struct ops *ops);
