#include "dataset/capture_parts.h"

#include "core/mem.h"

#include <inttypes.h>
#include <stdio.h>

/* The logs of a file: keeping them short, and how long they are. */

enum {
	SAMPLE = 200, /* changes at each end of the logs that are looked at */
	CELL = 3      /* about what any cell takes beside its bytes */
};

enum err log_ids(sqlite3 *db, int64_t **ret_ids, size_t *ret_count, char *ret_why)
{
	sqlite3_stmt *s = sql_ask(db, "SELECT id FROM main._sb_tables", (struct str){0}, ret_why);
	if (!s)
		return ERR_INTERNAL;
	int64_t *ids = NULL;
	size_t count = 0;
	int rc;
	while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
		ids = mem_resize(ids, count + 1, sizeof(*ids));
		ids[count++] = sqlite3_column_int64(s, 0);
	}
	enum err err = rc == SQLITE_DONE ? ERR_OK : sql_failed(db, ret_why);
	sqlite3_finalize(s);
	if (err) {
		free(ids);
		return err;
	}
	*ret_ids = ids;
	*ret_count = count;
	return ERR_OK;
}

/* ---- pruning ---- */

static enum err prune_log(sqlite3 *db, int64_t id, int64_t cut, int64_t *left, char *why)
{
	struct buf b = BUF_INIT(SQL_BYTES_MAX);
	buf_addf(&b,
		"DELETE FROM main._sb_c%" PRId64 " WHERE seq IN (SELECT seq FROM main._sb_c%" PRId64
		" WHERE seq <= %" PRId64 " ORDER BY seq LIMIT %" PRId64 ")",
		id, id, cut, *left);
	enum err err = sql_run_buf(db, &b, why);
	if (!err)
		*left -= sqlite3_changes64(db);
	return err;
}

static enum err prune_all(sqlite3 *db, int64_t cut, int64_t *left, char *why)
{
	int64_t *ids = NULL;
	size_t count = 0;
	struct buf b = BUF_INIT(SQL_BYTES_MAX);
	buf_addf(&b, "UPDATE main._sb_ctx SET floor = max(floor, min(seq, %" PRId64 "))", cut);
	enum err err = sql_run_buf(db, &b, why);
	if (!err)
		err = log_ids(db, &ids, &count, why);
	for (size_t i = 0; i < count && *left && !err; i++)
		err = prune_log(db, ids[i], cut, left, why);
	free(ids);
	return err;
}

enum err capture_prune(sqlite3 *db, int64_t cut, unsigned slice, bool *ret_more)
{
	char why[CAPTURE_WHY_MAX];
	int64_t left = slice;
	enum err err = capture_begin(db, why);
	if (!err)
		err = prune_all(db, cut, &left, why);
	err = capture_end(db, err, why);
	if (!err)
		*ret_more = !left;
	return err;
}

/* ---- how long they are ---- */

/* Adds the bytes of the oldest and the newest rows of one log, and how many those are. */
static enum err sample(
	sqlite3 *db, int64_t id, int64_t floor, int64_t seq, int64_t total[2], char *why)
{
	struct buf b = BUF_INIT(SQL_BYTES_MAX);
	buf_addf(&b,
		"SELECT * FROM main._sb_c%" PRId64 " WHERE (seq > %" PRId64 " AND seq <= %" PRId64
		") OR seq > %" PRId64,
		id, floor, floor + SAMPLE, seq - SAMPLE);
	sqlite3_stmt *s = sql_ask(db, b.p, (struct str){0}, why);
	buf_free(&b);
	if (!s)
		return ERR_INTERNAL;
	int rc;
	while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
		total[0]++;
		for (int i = 0; i < sqlite3_column_count(s); i++)
			total[1] += CELL +
				(sqlite3_column_type(s, i) >= SQLITE_TEXT
						? sqlite3_column_bytes(s, i)
						: 0);
	}
	enum err err = rc == SQLITE_DONE ? ERR_OK : sql_failed(db, why);
	sqlite3_finalize(s);
	return err;
}

enum err capture_size(sqlite3 *db, int64_t *ret_rows, int64_t *ret_bytes)
{
	char why[CAPTURE_WHY_MAX];
	int64_t seq = 0, floor = 0, total[2] = {0};
	int64_t *ids = NULL;
	size_t count = 0;
	enum err err = sql_number(db, "SELECT seq FROM main._sb_ctx", 0, &seq, why);
	if (!err)
		err = sql_number(db, "SELECT floor FROM main._sb_ctx", 0, &floor, why);
	if (!err)
		err = log_ids(db, &ids, &count, why);
	for (size_t i = 0; i < count && !err; i++)
		err = sample(db, ids[i], floor, seq, total, why);
	free(ids);
	if (err)
		return err;
	*ret_rows = seq - floor;
	*ret_bytes = total[0]
		? (int64_t)((double)(seq - floor) / (double)total[0] * (double)total[1])
		: 0;
	return ERR_OK;
}
