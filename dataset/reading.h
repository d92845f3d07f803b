/* reading.h: a connection that only reads one database, with temporary tables of its own in which images of rows are
 * looked at under the table's declared types and collations (images.h). It may do nothing but read (authorizer), and
 * nothing long (progress handler). What it prepares it keeps, by its text.
 *
 * Thread: one at a time. */
#pragma once

#include "core/err.h"
#include "dataset/layout.h"
#include "store/store.h"

#include <sqlite3.h>

enum {
	EPOCH_BYTES = 22,
	READING_LIMIT_MS = 2000,
	READING_STATEMENTS_MAX = 256, /* kept; those used last */
};

struct reading {
	sqlite3 *handle;
	struct reading_private *own;
};

/* The state of the capture in the file, as a transaction sees it. */
struct head {
	char epoch[EPOCH_BYTES + 1];
	int64_t seq, floor;    /* the log holds (floor, seq] */
	int64_t schema_cookie; /* PRAGMA schema_version */
};

enum err reading_open(
	const char *path, struct reading **ret, const struct store_trouble **ret_trouble);
void reading_close(struct reading **r);
/* Pins a snapshot. limit_ms: what is read until reading_end() may take so long. ERR_NOT_FOUND: nothing captures here;
 * ERR_OVERLOADED: the database is in trouble. With any but ERR_OK nothing has begun. */
enum err reading_begin(struct reading *r, unsigned limit_ms, struct head *ret_head);
void reading_end(struct reading *r);
void reading_extend(struct reading *r, unsigned limit_ms); /* so long from now on */
const struct head *reading_head(
	const struct reading *r); /* of the transaction that is open; until its end */
const struct store_trouble *reading_trouble(
	struct reading *r); /* of the last failure; NULL: none of the database's */

/* The statement of this text, with nothing bound, until reading_release(). ERR_NOT_FOUND: it does not fit the tables as
 * they are; else as reading_failed(). */
enum err reading_statement(struct reading *r, struct str sql, sqlite3_stmt **ret);
void reading_release(sqlite3_stmt *stmt); /* takes NULL */
/* What a step that gave neither SQLITE_ROW nor SQLITE_DONE is about. ERR_OVERLOADED: the database is in trouble;
 * ERR_TIMEOUT: it took too long; ERR_INTERNAL: the values do not suit the statement ("integer overflow"). */
enum err reading_failed(struct reading *r);

/* For images.h alone. Makes or drops temporary tables, whose names begin with _sb_. */
enum err reading_make(struct reading *r, struct str sql);
/* Runs a statement that writes to them: it is not stopped, because that would undo the whole transaction. */
enum err reading_write(struct reading *r, sqlite3_stmt *stmt);
/* Differs from before: temporary tables may be gone, or the file's tables may have changed. */
uint64_t reading_generation(const struct reading *r);
struct images;
struct images **reading_images(struct reading *r); /* those that are made */
