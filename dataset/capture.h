/* capture.h: what is put into the user's database so that every change is known, whoever makes it: a counter, a log for
 * each captured table, and triggers. All of it is called _sb_…; dropping leaves nothing behind.
 *
 *   _sb_ctx(one, epoch, seq, floor, txn, actor, …)      one row
 *   _sb_tables(id, name, version, since, columns)       the captured tables; since: the seq before the first of this log
 *   _sb_cN(seq, txn, actor, op, o…, n…)                 the log of table N: old and new image, native values, untyped
 *   _sb_pN(n, o…)                                       rows that a REPLACE may delete, while one statement runs
 *   _sb_mutations(…)                                    answers to writes, for a day (write.h)
 *
 * op: 'I' has a new image, 'D' an old one, 'U' both, also when the key changes. The images are exact: equal keys are
 * equal bytes of the same type. Rows with a NULL in the key (SQLite allows it) are no part of a dataset, and not logged.
 *
 * Thread: whoever has the connection; functions that write want no transaction open, and make their own
 * (BEGIN IMMEDIATE). */
#pragma once

#include "core/err.h"
#include "dataset/layout.h"

#include <sqlite3.h>

enum { CAPTURE_WHY_MAX = 512 };

/* Reads how a table or view looks. key: of a view. ERR_NOT_FOUND: no such table; ERR_PARAMS: it cannot be captured (no
 * key, a virtual table, …) and why says so. */
enum err capture_layout(sqlite3 *db, struct str table, const struct str *key, size_t key_count,
	struct layout **ret_layout, char *ret_why);

/* Makes sure that the tables are captured as they are now, in one transaction: what is missing is made, what does not
 * stand as it was made, or was made for other columns, is made anew. Then the version of that table is another one,
 * which no table in this file has had before, also not one of the same name that was dropped: changes may have been
 * missed, and no position from before is of use (ret_changed). What captures other tables stays as it is. A new epoch is
 * begun where there is none, or one is wanted (new_epoch). As capture_layout(), and ERR_OVERLOADED when the file is in
 * trouble (trouble_of() of the connection): then nothing is changed. */
enum err capture_ensure(sqlite3 *db, const struct str *tables, size_t count, bool new_epoch,
	bool *ret_changed, char *ret_why);

/* Takes out what captures these tables; with the last one that is captured everything of ours. */
enum err capture_drop(sqlite3 *db, const struct str *tables, size_t count, char *ret_why);

/* How large the logs are: an estimate from a sample, cheap. */
enum err capture_size(sqlite3 *db, int64_t *ret_rows, int64_t *ret_bytes);

/* In the transaction that is open: whether all that capture_ensure() made for these tables still stands. Cheap: compares
 * texts; the caller asks only when PRAGMA schema_version has changed. */
bool capture_stands(sqlite3 *db, const struct str *tables, size_t count);

/* Deletes at most `slice` rows of the logs up to cut, raising the floor first. ret_more: there is more to delete. */
enum err capture_prune(sqlite3 *db, int64_t cut, unsigned slice, bool *ret_more);

/* Replays the log and holds it against the table's rows: every key's newest image is the row, each old image is the one
 * before it. In the transaction that is open, or one of its own. ERR_CONFLICT: they differ, and why says where. */
enum err capture_verify(
	sqlite3 *db, struct str table, int64_t *ret_changes, int64_t *ret_rows, char *ret_why);

/* "o3" and "n3" name the images of column 3 (from 1) in _sb_cN. Names quoted for SQL are written by: */
struct buf;
void sql_name(struct buf *b, struct str name);
