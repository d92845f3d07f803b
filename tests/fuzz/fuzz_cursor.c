/* Any bytes as a cursor: what is taken is a position of that shape, comes back the same when it is written, and becomes a
 * condition that compiles and takes all of its values. */
#include "auth/b64url.h"
#include "dataset/query_parts.h"

#include <stdlib.h>

#define MUST(what) \
	do { \
		if (!(what)) \
			abort(); \
	} while (0)

static sqlite3 *db;
static struct shape *shape;

static void begin(void)
{
	static size_t key[] = {0, 1};
	static struct column columns[] = {{.name = {"a", 1}, .collation = {"NOCASE", 6}, .key = 1},
		{.name = {"b", 1}, .collation = {"BINARY", 6}, .key = 2},
		{.name = {"c", 1}, .collation = {"BINARY", 6}}};
	struct layout *l = layout_new(&(struct layout){
		.table = STR("t"), .count = 3, .key_count = 2, .columns = columns, .key = key});
	struct definition *d = definition_new(&(struct definition){
		.name = STR("d"), .table = STR("t"), .rules = {[RULE_READ] = STR("1")}});
	struct principal who = {.user = STR("ann")};
	struct shape_wish wish = {.order = STR("[\"-c\",\"b\"]")};
	struct wish_problem problem;
	MUST(shape_new(&wish, d, l, &who, &shape, &problem) == ERR_OK);
	definition_unref(&d);
	layout_unref(&l);
	MUST(sqlite3_open(":memory:", &db) == SQLITE_OK);
	MUST(sqlite3_exec(db,
		     "CREATE TABLE t(a TEXT COLLATE NOCASE, b, c, PRIMARY KEY(a, b)) WITHOUT ROWID;"
		     "INSERT INTO t VALUES('a', 1, NULL), ('B', x'00', 1.5)",
		     NULL, NULL, NULL) == SQLITE_OK);
}

static void run(const struct position *at)
{
	struct buf sql = BUF_INIT(1 << 16);
	sqlite3_stmt *s;
	buf_adds(&sql, STR("SELECT a FROM main.t AS t WHERE "));
	position_sql(&sql, shape, at);
	shape_order_sql(&sql, shape);
	MUST(!sql.err && sqlite3_prepare_v2(db, sql.p, -1, &s, NULL) == SQLITE_OK);
	MUST(position_bind(s, at) == ERR_OK);
	while (sqlite3_step(s) == SQLITE_ROW)
		;
	MUST(sqlite3_finalize(s) == SQLITE_OK);
	buf_free(&sql);
}

static void comes_back(const struct position *at)
{
	struct buf b = BUF_INIT(QUERY_CURSOR_MAX);
	struct position again;
	if (cursor_write(&b, shape, at) ==
		ERR_OK) { /* what was spelled more briefly may be too long */
		char *room = malloc(b.n);
		MUST(cursor_read(buf_str(&b), shape, room, &again) == ERR_OK);
		MUST(again.count == at->count);
		for (size_t i = 0; i < at->count; i++)
			MUST(value_eq(again.values[i], at->values[i]));
		free(room);
	}
	buf_free(&b);
}

static void check(struct str text)
{
	struct position at;
	char *room = malloc(text.n + 1);
	if (cursor_read(text, shape, room, &at) == ERR_OK) {
		MUST(at.count == 3);
		comes_back(&at);
		run(&at);
	}
	free(room);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!db)
		begin();
	check((struct str){(const char *)data, size});
	/* and as the values of a cursor of this shape */
	struct buf b = BUF_INIT(size * 2 + 128);
	struct buf record = BUF_INIT(size + 64);
	record_put_int(&record, 1);
	record_put_str(&record, str_of(shape->id));
	buf_add(&record, data, size);
	b64url_add(&b, record.p, record.n);
	check(buf_str(&b));
	buf_free(&record);
	buf_free(&b);
	return 0;
}
