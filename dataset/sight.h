/* sight.h: what a shape sees: which images of a range (images.h), and which rows of its table as they are now; and rows
 * as JSON.
 *
 * Thread: the reading's, between reading_begin() and reading_end(). */
#pragma once

#include "core/buf.h"
#include "dataset/changes.h"
#include "dataset/images.h"
#include "dataset/ops.h"
#include "dataset/shape.h"

/* A set of slots. */
struct slots {
	size_t size;
	uint64_t *bits;
	size_t count; /* that are in it */
};

void slots_reset(struct slots *s, size_t size); /* empty, for slots below size */
void slots_free(struct slots *s);

static inline bool slots_have(const struct slots *s, size_t slot)
{
	return s->bits[slot / 64] >> (slot % 64) & 1;
}

/* The statements about images, made once for a shape. */
struct sight {
	struct str images, images_then; /* slots that it sees */
	struct str row;                 /* its columns of one slot */
};
void sight_make(struct sight *t, const struct shape *s, const struct images *i);
void sight_free(struct sight *t);

/* Adds the slots that the shape sees. then: of old images under the tables that the rule looks into as they were before
 * the range; else under these tables as they are, like the new ones. */
enum err sight_images(struct reading *r, const struct shape *s, const struct sight *t, bool then,
	struct slots *seen);
/* Appends the row of this slot. */
enum err sight_row(struct reading *r, const struct sight *t, int64_t slot, struct buf *b);

/* Rows of the table that have not changed, but that a change of the table behind the rule's place `which` has brought into
 * sight (I with the row), or taken out of it (X). changed: the keys that have. */
enum err sight_again(struct reading *r, const struct shape *s, size_t which,
	const struct merging *changed, int64_t seq, size_t bytes_max, struct ops *ops);

/* Appends SELECT key, columns FROM the table WHERE the shape sees the row; AND may follow. */
void sight_select(struct buf *sql, const struct shape *s);
/* The same of all rows, with a last column that says whether it sees them. */
void sight_select_all(struct buf *sql, const struct shape *s);
bool sight_sees(const struct shape *s, sqlite3_stmt *stmt);
/* Cells of the row of such a statement. */
struct str sight_key(struct buf *b, const struct shape *s, sqlite3_stmt *stmt);
void sight_cells(struct buf *b, const struct shape *s, sqlite3_stmt *stmt);
