/* capture_fixture.h: files of other programs in a folder of its own, and what becomes of their tables when only the log
 * of a capture is read. For tests/unit/test_capture*.c. */
#pragma once

#include "core/buf.h"
#include "core/log.h"
#include "core/mem.h"
#include "dataset/capture.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

static char folder[256], place[320], why[CAPTURE_WHY_MAX];

static inline int set_up(void **state)
{
	(void)state;
	const char *tmp = getenv("TMPDIR");
	snprintf(folder, sizeof(folder), "%s/test_capture.XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(folder));
	snprintf(place, sizeof(place), "%s/their.db", folder);
	return 0;
}

static inline int tear_down(void **state)
{
	(void)state;
	static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
	char path[512];
	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
		snprintf(path, sizeof(path), "%s%s", place, ends[i]);
		unlink(path);
	}
	return rmdir(folder);
}

static inline sqlite3 *open_file(void)
{
	sqlite3 *db = NULL;
	assert_int_equal(sqlite3_open(place, &db), SQLITE_OK);
	sqlite3_busy_timeout(db, 5000);
	return db;
}

static inline void close_file(sqlite3 **db)
{
	assert_int_equal(sqlite3_close(*db), SQLITE_OK);
	*db = NULL;
}

static inline void must(sqlite3 *db, const char *sql)
{
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sqlite3_errmsg(db), sql);
}

/* All cells of the first row, each as SQL would write it, with bars between. */
static inline char *row_text(sqlite3_stmt *s, int first, int count)
{
	struct buf b = BUF_INIT(1 << 20);
	for (int i = first; i < first + count; i++) {
		sqlite3_value *v = sqlite3_column_value(s, i);
		int type = sqlite3_value_type(v);
		if (i > first)
			buf_addc(&b, '|');
		if (type == SQLITE_INTEGER)
			buf_addf(&b, "%lld", (long long)sqlite3_value_int64(v));
		else if (type == SQLITE_FLOAT)
			buf_addf(&b, "%a", sqlite3_value_double(v));
		else if (type == SQLITE_NULL)
			buf_addf(&b, "NULL");
		else
			buf_addc(&b, type == SQLITE_TEXT ? '\'' : 'x');
		const unsigned char *bytes =
			type == SQLITE_TEXT || type == SQLITE_BLOB ? sqlite3_value_blob(v) : NULL;
		for (int k = 0; bytes && k < sqlite3_value_bytes(v); k++)
			buf_addf(
				&b, bytes[k] < 0x20 || bytes[k] > 0x7e ? "\\%02x" : "%c", bytes[k]);
	}
	return b.p ? buf_take(&b) : mem_copy(STR(""));
}

static inline char *one(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *s = NULL;
	if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sqlite3_errmsg(db), sql);
	char *text = sqlite3_step(s) == SQLITE_ROW ? row_text(s, 0, sqlite3_column_count(s))
						   : mem_copy(STR("nothing"));
	sqlite3_finalize(s);
	return text;
}

static inline void expect(sqlite3 *db, const char *sql, const char *wanted)
{
	char *got = one(db, sql);
	if (strcmp(got, wanted) != 0)
		fail_msg("%s: '%s' and not '%s'", sql, got, wanted);
	free(got);
}

/* ---- a table as the log tells it ---- */

enum { ROWS_MAX = 400 };

struct told {
	struct layout *layout;
	int64_t seq;
	size_t count;
	struct told_row {
		char *key, *image;
	} rows[ROWS_MAX];
	bool exact; /* each old image is what the row was before */
};

static inline size_t told_find(const struct told *t, const char *key)
{
	for (size_t i = 0; i < t->count; i++)
		if (strcmp(t->rows[i].key, key) == 0)
			return i;
	return t->count;
}

static inline void told_remove(struct told *t, size_t at)
{
	free(t->rows[at].key);
	free(t->rows[at].image);
	t->rows[at] = t->rows[--t->count];
}

static inline void told_put(struct told *t, char *key, char *image)
{
	size_t at = told_find(t, key);
	if (at < t->count)
		told_remove(t, at);
	assert_true(t->count < ROWS_MAX);
	t->rows[t->count++] = (struct told_row){key, image};
}

/* SELECT <before> keys, columns FROM … : key columns as `image`N, all columns the same. */
static inline void add_cells(struct buf *b, const struct layout *l, char image)
{
	for (size_t i = 0; i < l->key_count + l->count; i++) {
		size_t column = i < l->key_count ? l->key[i] : i - l->key_count;
		buf_adds(b, i ? STR(", ") : STR(""));
		if (image)
			buf_addf(b, "%c%zu", image, column + 1);
		else
			sql_name(b, l->columns[column].name);
	}
}

static inline sqlite3_stmt *ask(sqlite3 *db, struct buf *b)
{
	sqlite3_stmt *s = NULL;
	if (sqlite3_prepare_v2(db, b->p, -1, &s, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sqlite3_errmsg(db), b->p);
	buf_free(b);
	return s;
}

/* The rows of the table itself, but those without a key. */
static inline void told_from_table(sqlite3 *db, struct told *t)
{
	const struct layout *l = t->layout;
	int keys = (int)l->key_count;
	struct buf b = BUF_INIT(1 << 16);
	buf_adds(&b, STR("SELECT "));
	add_cells(&b, l, 0);
	buf_adds(&b, STR(" FROM "));
	sql_name(&b, l->table);
	for (size_t i = 0; i < l->key_count; i++) {
		buf_adds(&b, i ? STR(" AND ") : STR(" WHERE "));
		sql_name(&b, l->columns[l->key[i]].name);
		buf_adds(&b, STR(" IS NOT NULL"));
	}
	sqlite3_stmt *s = ask(db, &b);
	while (sqlite3_step(s) == SQLITE_ROW)
		told_put(t, row_text(s, 0, keys), row_text(s, keys, (int)l->count));
	assert_int_equal(sqlite3_finalize(s), SQLITE_OK);
}

static inline void told_change(struct told *t, const char *op, sqlite3_stmt *s)
{
	int keys = (int)t->layout->key_count, columns = (int)t->layout->count;
	if (*op != 'I') {
		char *key = row_text(s, 2, keys), *image = row_text(s, 2 + keys, columns);
		size_t at = told_find(t, key);
		if (t->exact && (at == t->count || strcmp(t->rows[at].image, image) != 0))
			fail_msg("%" PRId64 " %s: the row before was %s and not %s", t->seq, op,
				at < t->count ? t->rows[at].image : "none", image);
		if (at < t->count)
			told_remove(t, at);
		free(key);
		free(image);
	}
	if (*op != 'D') {
		char *key = row_text(s, 2 + keys + columns, keys);
		if (t->exact && told_find(t, key) < t->count)
			fail_msg("%" PRId64 " %s: there is %s already", t->seq, op, key);
		told_put(t, key, row_text(s, 2 + 2 * keys + columns, columns));
	}
}

/* What the log has beyond what was told. */
static inline void told_read(sqlite3 *db, struct told *t)
{
	struct buf b = BUF_INIT(1 << 16);
	buf_adds(&b, STR("SELECT seq, op, "));
	add_cells(&b, t->layout, 'o');
	buf_adds(&b, STR(", "));
	add_cells(&b, t->layout, 'n');
	buf_addf(&b, " FROM _sb_c%" PRId64 " WHERE seq > %" PRId64 " ORDER BY seq", t->layout->id,
		t->seq);
	sqlite3_stmt *s = ask(db, &b);
	while (sqlite3_step(s) == SQLITE_ROW) {
		t->seq = sqlite3_column_int64(s, 0);
		told_change(t, (const char *)sqlite3_column_text(s, 1), s);
	}
	assert_int_equal(sqlite3_finalize(s), SQLITE_OK);
}

static inline void told_free(struct told *t)
{
	while (t->count)
		told_remove(t, t->count - 1);
	layout_unref(&t->layout);
}

/* The table has exactly the rows that were told. */
static inline void told_is_table(sqlite3 *db, const struct told *t)
{
	struct told now = {.layout = layout_ref(t->layout)};
	told_from_table(db, &now);
	for (size_t i = 0; i < now.count; i++) {
		size_t at = told_find(t, now.rows[i].key);
		if (at == t->count || strcmp(t->rows[at].image, now.rows[i].image) != 0)
			fail_msg(STR_FMT " has %s, told was %s", STR_ARG(t->layout->table),
				now.rows[i].image, at < t->count ? t->rows[at].image : "nothing");
	}
	if (now.count != t->count)
		fail_msg(STR_FMT " has %zu rows, told were %zu", STR_ARG(t->layout->table),
			now.count, t->count);
	told_free(&now);
}
