/* history.h: by what a log is known again: a fingerprint of its last changes. A file that was put back from a copy and
 * then written past the place where it had been has a counter that looks right, and other changes at that place.
 *
 * What was deleted from the log meanwhile cannot be compared; but a copy's log begins no later than the one that it
 * was made of, so that this is no way for one to go unnoticed.
 *
 * Thread: whoever has the connection, in its transaction. */
#pragma once

#include "core/err.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

enum { HISTORY_HASH_BYTES = 32, HISTORY_TEXT_BYTES = 128 };

/* All 0: of no change, which every log has. */
struct history {
	int64_t begins;   /* what is up to here was not in the log any more */
	int64_t from, at; /* it is of the changes behind from, up to at */
	unsigned char hash[HISTORY_HASH_BYTES];
};

/* Of the changes up to `at`. With an error *ret stays. */
enum err history_take(sqlite3 *db, int64_t at, struct history *ret);
/* Whether the log has them, as far as it can be told. */
enum err history_holds(sqlite3 *db, const struct history *h, bool *ret_holds);

/* As text, and from it; what cannot be read is of no change. */
void history_write(const struct history *h, char ret_text[HISTORY_TEXT_BYTES]);
void history_read(struct history *h, const char *text);
