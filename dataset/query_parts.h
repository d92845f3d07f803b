/* query_parts.h: what query_run.c and query_cursor.c share. */
#pragma once

#include "dataset/query.h"

/* A position in a shape's order: a value for each of its terms. */
struct position {
	size_t count; /* 0: the beginning */
	struct value values[SHAPE_TERMS_MAX];
};

/* Appends the cursor. ERR_TOO_LARGE: its values are too long for one. */
enum err cursor_write(struct buf *b, const struct shape *s, const struct position *at);
/* Reads one; bytes of values lie in room, of at least as many bytes as the text has. ERR_PARAMS: it is none of this
 * shape's. */
enum err cursor_read(struct str text, const struct shape *s, char *room, struct position *ret);

/* Appends a condition for what comes behind, in the order of shape_order_sql(); parameters are :k1, :k2 … */
void position_sql(struct buf *b, const struct shape *s, const struct position *at);
enum err position_bind(sqlite3_stmt *stmt, const struct position *at);
