/* Any bytes as a cell that a client sent, and as a value that SQLite holds: what is taken comes out as JSON that reads
 * back as the same, also by way of SQLite. */
#include "core/json_scan.h"
#include "dataset/value.h"

#include <math.h>
#include <stdlib.h>

#define MUST(what) \
	do { \
		if (!(what)) \
			abort(); \
	} while (0)

static sqlite3_stmt *echo(void)
{
	static sqlite3 *db;
	static sqlite3_stmt *s;
	if (!s) {
		MUST(sqlite3_open(":memory:", &db) == SQLITE_OK);
		MUST(sqlite3_prepare_v2(db, "SELECT ?", -1, &s, NULL) == SQLITE_OK);
	}
	return s;
}

static void through_sqlite(struct value v)
{
	sqlite3_stmt *s = echo();
	MUST(value_bind(s, 1, v) == ERR_OK && sqlite3_step(s) == SQLITE_ROW);
	MUST(value_eq(value_of(s, 0), v));
	sqlite3_reset(s);
}

static void comes_back(struct value v)
{
	struct buf b = BUF_INIT(16 << 20), again = BUF_INIT(16 << 20);
	struct value have;
	const char *why;
	value_write(&b, v);
	MUST(!b.err && json_check(buf_str(&b), NULL) == ERR_OK);
	char *arena = malloc(b.n);
	MUST(value_read(buf_str(&b), arena, &have, &why) == ERR_OK && value_eq(v, have));
	value_write(&again, have);
	MUST(str_eq(buf_str(&b), buf_str(&again)));
	through_sqlite(v);
	free(arena);
	buf_free(&again);
	buf_free(&b);
}

static void row(const uint8_t *data, size_t size)
{
	struct value cells[CELLS_MAX] = {0};
	struct buf b = BUF_INIT(1 << 20);
	size_t count = size ? data[0] : 0;
	for (size_t i = 0; i < count; i++)
		cells[i] = (struct value){.kind = i % 2 ? VALUE_TEXT : VALUE_BLOB,
			.bytes = {(const char *)data, size * (i % 3 == 0)}};
	value_write_row(&b, cells, count);
	MUST(!b.err && b.n <= CELL_BYTES_MAX && json_check(buf_str(&b), NULL) == ERR_OK);
	buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = {(const char *)data, size};
	struct value v = {0};
	const char *why = NULL;
	if (json_check(text, NULL) == ERR_OK) {
		char *arena = malloc(size);
		if (value_read(text, arena, &v, &why) == ERR_OK)
			comes_back(v);
		else
			MUST(why);
		free(arena);
	}
	comes_back((struct value){.kind = VALUE_TEXT, .bytes = text});
	comes_back((struct value){.kind = VALUE_BLOB, .bytes = text});
	if (size >= sizeof(double)) {
		v = (struct value){.kind = VALUE_REAL};
		memcpy(&v.real, data, sizeof(v.real));
		if (!isnan(v.real))
			comes_back(v);
		v = (struct value){.kind = VALUE_INT};
		memcpy(&v.number, data, sizeof(v.number));
		comes_back(v);
	}
	row(data, size);
	return 0;
}
