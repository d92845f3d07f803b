/* equals.h: many who each wait for one value of a column of a table, and which of them the images of a range concern:
 * SQLite itself joins both, so that values are the same where the column's affinity and collation make them so.
 *
 * Thread: the reading's. equals_match() between reading_begin() and reading_end(). */
#pragma once

#include "dataset/images.h"
#include "dataset/value.h"

struct equals {
	struct equals *next;
	size_t column; /* of the images' layout */
	size_t count;
	int64_t number;                    /* its tables are temp._sb_eN */
	struct str make, put, drop, match; /* statements */
};

struct equals *equals_new(const struct images *i, size_t column, int64_t number);
void equals_free(struct equals **e);
enum err equals_make(struct reading *r, const struct equals *e); /* its table, empty */
void equals_unmake(struct reading *r, const struct equals *e);   /* nobody waits any more */
enum err equals_put(struct reading *r, const struct equals *e, int64_t who, struct value v);
enum err equals_drop(struct reading *r, const struct equals *e, int64_t who);
enum err equals_match(struct reading *r, const struct equals *e,
	void (*found)(void *context, int64_t who), void *context);
