/* page.h: a list that is asked for by the page, as the answer to a call: {KEY: [row…], cursor?}. The
 * cursor is the first column of a page's last row, as text, and is there while more comes behind it.
 *
 * Thread: the call's worker. Limits: PAGE_ROWS_MAX rows. */
#pragma once

#include "core/call.h"
#include "store/store.h"

enum { PAGE_ROWS_MAX = 100 };

/* How many rows the page may have, by what was asked for. Whoever asks the store asks for one more:
 * that says whether there are more. */
static inline size_t page_rows(struct param_int limit)
{
	return limit.given ? (size_t)limit.n : PAGE_ROWS_MAX;
}

/* Answers the call, which is the operation's context; refuses it when the store did. */
void page_reply(struct store_op *op, size_t rows_max, const char *key,
	void (*write_row)(struct json_out *o, const struct store_op *op, size_t row));
