/* query.h: one page of a dataset as it is now, for whoever does not subscribe (docs/PROTOCOL.md, dataset.query).
 *
 * A cursor is the position behind a page's last row: its values of the order and of the key, as a record in base64url. It
 * carries the id of the shape, so it goes on only where it came from; what a client makes of it can lead it anywhere
 * among the rows that it sees, and nowhere else. */
#pragma once

#include "core/call.h"
#include "dataset/reading.h"
#include "dataset/shape.h"

enum {
	QUERY_ROWS = 100, /* of a page, where nothing is said */
	QUERY_ROWS_MAX = 1000,
	QUERY_PAGE_BYTES = 128 * 1024,  /* of rows, unless the first alone is longer */
	QUERY_RANGE_BYTES = 128 * 1024, /* of all ranges of a row together */
	QUERY_CURSOR_MAX = 8192,        /* characters */
};

extern const struct method query_methods[]; /* dataset.query */

struct query_wish {
	struct shape_wish shape; /* without limit and notify */
	struct str cursor, ranges;
	int64_t limit;
	bool count;
};

struct query_answer {
	struct wish_problem problem; /* with any error */
	struct buf result;
};

/* Between reading_begin() and reading_end(), of a table that looks like l. */
enum err query_run(struct reading *r, const struct definition *d, const struct layout *l,
	const struct principal *who, const struct query_wish *wish, struct query_answer *ret);
