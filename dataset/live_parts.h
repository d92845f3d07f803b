/* live_parts.h: what live.c (who watches what) and live_tell.c (what a shape is told) share. Nobody else's.
 *
 * A source is a table whose changes matter: of a dataset, or one that rules look into. On it stand watches: of a shape
 * on its own table, on the tables behind its rule's places, or, of a view, on what the view stands on. A watch that
 * waits for one value of a column is in the source's index for that column, the others are looked at with each change. */
#pragma once

#include "dataset/equals.h"
#include "dataset/live.h"
#include "dataset/sight.h"
#include "dataset/window.h"

enum { WATCH_OWN = -1, WATCH_VIEW = -2, WATCHES_MAX = 24 /* of one shape */ };

struct watch {
	struct watch *next, *prev; /* in the source's plain ones */
	struct live_shape *shape;
	struct source *source;
	struct equals *equals; /* NULL: plain */
	int which;             /* delta, or WATCH_… */
	int64_t number;
};

/* Rows of a step as JSON, for all shapes with these columns. */
struct encoder {
	struct encoder *next;
	size_t shapes;
	size_t column_count, *columns;
	struct buf text;
	struct cut {
		size_t start, n;
	} * rows; /* of each slot; n 0: not written yet */
	size_t row_count;
};

struct source {
	struct source *next;
	bool of_depend;
	const struct layout *layout; /* of a dataset's own table */
	struct str depend;           /* own bytes */
	size_t watches;
	struct watch *plain;
	struct equals *equals;
	struct encoder *encoders;
	/* of the step */
	bool any;
	bool merged;
	struct changes changes;
	struct merging merging;
};

struct live_shape {
	const struct shape *s;
	size_t readers;
	struct source *own; /* NULL: of a view */
	struct encoder *encoder;
	struct sight sight;
	struct window *have; /* NULL: unknown */
	size_t watch_count;
	struct watch watches[WATCHES_MAX];
	/* of the step */
	struct live_shape *next_concerned;
	bool concerned;
	uint32_t touched; /* deltas */
	struct window *now;
	struct ops ops;
	bool told, parted; /* parted: a slow window, which is not read */
};

/* What a step means to the shape: into its ops, `now` and `told`. ERR_TOO_LARGE: too much. */
enum err live_tell(struct reading *r, struct live_shape *shape, int64_t from, int64_t upto,
	struct slots *seen);

struct encoder *encoder_for(struct source *source, const struct shape *s);
void encoder_leave(struct source *source, struct encoder *e);
