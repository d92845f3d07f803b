/* where.h: a client's filter (docs/PROTOCOL.md, "Filters"): JSON into SQL over the layout's own names with named
 * parameters. Nothing of what a client sends becomes SQL.
 *
 * Two steps: first it is checked and brought into one form, in which filters that differ only in spacing, spelling of
 * values and the order of what AND, OR and IN list are the same text; then that form is compiled.
 *
 * Any thread. */
#pragma once

#include "core/buf.h"
#include "core/err.h"
#include "core/refusal.h"
#include "dataset/layout.h"
#include "dataset/value.h"

enum {
	WHERE_BYTES_MAX = 8192, /* of JSON */
	WHERE_DEPTH_MAX = 16,
	WHERE_TERMS_MAX = 256,  /* operators */
	WHERE_VALUES_MAX = 200, /* parameters */
	WHERE_LIKE_MAX = 256,   /* bytes of a pattern */
	FIELD_PATH_MAX = 96,
	WHERE_MESSAGE_MAX = 160,
};

/* What is wrong with something that a client sent: `why` points into the rest, so it stays where it is. */
struct wish_problem {
	struct refusal why;
	char field[FIELD_PATH_MAX]; /* "where[2][1]" */
	char message[WHERE_MESSAGE_MAX];
};
enum err wish_refuse(struct wish_problem *p, enum err err, const char *reason, const char *field,
	const char *format, ...) __attribute__((format(printf, 5, 6)));

/* JSON that has been checked, n 0: none, which becomes an empty text. visible: a place for each column.
 * ERR_PARAMS, ERR_TOO_LARGE with *ret_problem filled. */
enum err where_canon(struct str json, const struct layout *l, const bool *visible,
	struct buf *canon, struct wish_problem *ret_problem);

/* What where_canon() gave, as SQL in brackets with :w1, :w2 … for its values in that order; the table is called by its
 * name. value() is told each; what it gets lies in arena, which has room for as many bytes as the text has. */
struct where_equal {
	size_t column; /* SIZE_MAX: none is known */
	struct value value;
};
void where_sql(struct str canon, const struct layout *l, struct buf *sql, char *arena,
	struct value *values, size_t *ret_count, struct where_equal *ret_equal);
