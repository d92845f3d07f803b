/* changes.h: what the log of a captured table says has happened in a range, change by change; and the same merged: of
 * each key only what it was before the range and what it is behind it. Keys are JSON arrays, which are exact
 * (value.h), so two are the same where their texts are.
 *
 * Thread: the reading's, between reading_begin() and reading_end(). */
#pragma once

#include "core/buf.h"
#include "core/map.h"
#include "dataset/reading.h"

enum {
	KEY_JSON_MAX =
		32 * 1024, /* a row with a longer key, or with NULL in it, is told to nobody */
	CHANGES_KEYS_MAX = 32 << 20 /* bytes of all keys of a range */
};

struct change {
	int64_t seq;
	int64_t txn;                  /* of a write of ours; 0: somebody else's */
	char op;                      /* I, U, D */
	struct str old_key, new_key;  /* n 0: none */
	int64_t old_bytes, new_bytes; /* of the images, about */
};

struct changes {
	size_t count;
	struct change *list;
	int64_t bytes; /* of all images */
	struct buf keys;
};

/* ERR_TOO_LARGE: there are more than max. Freed by changes_free(). */
enum err changes_read(struct reading *r, const struct layout *l, int64_t from, int64_t upto,
	size_t max, struct changes *ret);
void changes_free(struct changes *c);

/* Whether this change gave the row another key. */
static inline bool change_moves(const struct change *c)
{
	return c->op == 'U' && !str_eq(c->old_key, c->new_key);
}

struct merged {
	struct str key; /* lies in the changes */
	int64_t before,
		behind; /* the changes with the old image of then, and the new one of now; 0: no row */
	int64_t seq, txn; /* of the last change */
	int64_t before_bytes, behind_bytes;
};

struct merging {
	size_t count;
	struct merged *list; /* in the order in which keys came first */
	struct map by_key;
};

void merging_of(const struct changes *c, struct merging *ret);
const struct merged *merging_find(
	const struct merging *m, struct str key); /* NULL: not among them */
void merging_free(struct merging *m);

/* Appends the key whose cells are `count` columns of the row from `first` on; n 0 when it is none that can be told. */
struct str key_write(struct buf *b, sqlite3_stmt *stmt, int first, size_t count);
