/* driver.h: what a driver of the store works with beside struct store_driver (store/store.h): the
 * table of verbs, and the rows of an answer.
 *
 * Thread: the store's own; an op is touched by one at a time. */
#pragma once

#include "store/store.h"

enum store_kind {
	STORE_KIND_READ,
	STORE_KIND_READ_ONE,
	STORE_KIND_WRITE,
	STORE_KIND_WRITE_ANY,
};

struct store_verb_row {
	const char *name; /* "USER_ADD" */
	enum store_kind kind;
	const char *sql;
};

extern const struct store_verb_row store_verbs[STORE_VERBS];

static inline bool store_verb_writes(enum store_verb verb)
{
	return store_verbs[verb].kind >= STORE_KIND_WRITE;
}

/* Starts the rows of a statement; those of an earlier one are dropped. */
void store_rows_begin(struct store_op *op, size_t columns);

/* Adds one row of so many columns; its bytes are copied. They may be read once run() is over.
 * ERR_TOO_LARGE past STORE_ROWS_MAX rows or STORE_BYTES_MAX bytes. */
enum err store_rows_add(struct store_op *op, const struct store_value *row);
