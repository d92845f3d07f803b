/* Any bytes as a filter: what is taken has one form that stays as it is, and becomes SQL that compiles, has a parameter
 * for each value, and nothing of the client's in it. */
#include "core/json_scan.h"
#include "dataset/where.h"

#include <sqlite3.h>
#include <stdlib.h>

#define MUST(what) \
	do { \
		if (!(what)) \
			abort(); \
	} while (0)

enum { COLUMNS = 5 };

static sqlite3 *db;
static struct layout *l;
static const bool visible[COLUMNS] = {true, true, true, true, false};

static void begin(void)
{
	static size_t key[] = {0};
	static struct column columns[COLUMNS] = {{.name = {"id", 2}, .key = 1}, {.name = {"t", 1}},
		{.name = {"a \"q\"", 5}}, {.name = {"\xc3\xa4", 2}}, {.name = {"hidden", 6}}};
	l = layout_new(&(struct layout){.table = STR("rows"),
		.count = COLUMNS,
		.key_count = 1,
		.columns = columns,
		.key = key});
	MUST(sqlite3_open(":memory:", &db) == SQLITE_OK);
	MUST(sqlite3_exec(db,
		     "CREATE TABLE rows(id INTEGER PRIMARY KEY, t TEXT COLLATE NOCASE, \"a "
		     "\"\"q\"\"\" BLOB, "
		     "\xc3\xa4 REAL, hidden);"
		     "INSERT INTO rows VALUES(1, 'a', x'00', 1.5, 2), (2, NULL, 'b', 2, NULL)",
		     NULL, NULL, NULL) == SQLITE_OK);
}

static void run(struct str canon)
{
	struct buf b = BUF_INIT(1 << 20);
	struct value values[WHERE_VALUES_MAX];
	struct where_equal equal;
	sqlite3_stmt *s;
	size_t count = 0;
	char *arena = malloc(canon.n);
	buf_adds(&b, STR("SELECT id FROM main.rows AS rows WHERE "));
	where_sql(canon, l, &b, arena, values, &count, &equal);
	MUST(!b.err && count <= WHERE_VALUES_MAX && !memchr(b.p, '\'', b.n));
	MUST(!strstr(b.p, "hidden") && (equal.column == SIZE_MAX || visible[equal.column]));
	MUST(sqlite3_prepare_v2(db, b.p, -1, &s, NULL) == SQLITE_OK);
	MUST(sqlite3_bind_parameter_count(s) == (int)count);
	for (size_t i = 0; i < count; i++)
		MUST(value_bind(s, (int)i + 1, values[i]) == ERR_OK);
	while (sqlite3_step(s) == SQLITE_ROW)
		;
	sqlite3_finalize(s);
	free(arena);
	buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str json = {(const char *)data, size};
	struct buf canon = BUF_INIT(1 << 20), again = BUF_INIT(1 << 20);
	struct wish_problem problem = {0};
	if (!db)
		begin();
	if (!size || json_check(json, NULL) != ERR_OK)
		return 0;
	enum err err = where_canon(json, l, visible, &canon, &problem);
	if (err) {
		MUST((err == ERR_PARAMS || err == ERR_TOO_LARGE) && *problem.message);
		MUST(str_starts(problem.why.field, STR("where")));
	} else {
		MUST(json_check(buf_str(&canon), NULL) == ERR_OK);
		if (canon.n <= WHERE_BYTES_MAX) {
			MUST(where_canon(buf_str(&canon), l, visible, &again, &problem) == ERR_OK);
			MUST(str_eq(buf_str(&canon), buf_str(&again)));
		}
		run(buf_str(&canon));
	}
	buf_free(&again);
	buf_free(&canon);
	return 0;
}
