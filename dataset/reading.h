/* reading.h: a connection that only reads one database, with temporary tables of its own in which images of rows are
 * looked at under the table's declared types and collations. It may do nothing but read (authorizer), and nothing
 * long (progress handler).
 *
 * Thread: one at a time. */
#pragma once

#include "core/err.h"
#include "dataset/layout.h"
#include "store/store.h"

#include <sqlite3.h>

enum { EPOCH_BYTES = 22, READING_LIMIT_MS = 2000 };

struct reading {
	sqlite3 *handle;
	uint64_t deadline_ns;
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
/* Pins a snapshot. limit_ms: what is read until reading_end() may take so long. ERR_NOT_FOUND: nothing captures here. */
enum err reading_begin(struct reading *r, unsigned limit_ms, struct head *ret_head);
void reading_end(struct reading *r);
const struct store_trouble *reading_trouble(
	struct reading *r); /* of the last failure; NULL: none of the database's */
