#include "dataset/harmless.h"

#include "core/mem.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>

/* SQLite's own function is asked on a connection that has nothing else. */

enum { ARGS_MAX = 8, SQL_MAX = 128, PATTERN_MAX = 256 };

struct harmless {
	const char *call; /* its name */
	bool infix;       /* an operator */
	sqlite3 *own;     /* from the first call on */
	sqlite3_stmt *by_count[ARGS_MAX + 1];
};

static void write_call(const struct harmless *h, int count, char *sql)
{
	size_t n = 0;
	if (h->infix) {
		snprintf(sql, SQL_MAX, "SELECT ?1 %s ?2", h->call);
		return;
	}
	n = (size_t)snprintf(sql, SQL_MAX, "SELECT %s(", h->call);
	for (int i = 1; i <= count; i++)
		n += (size_t)snprintf(sql + n, SQL_MAX - n, "%s?%d", i > 1 ? ", " : "", i);
	snprintf(sql + n, SQL_MAX - n, ")");
}

static sqlite3_stmt *statement(struct harmless *h, int count)
{
	char sql[SQL_MAX];
	if (count > ARGS_MAX)
		return NULL;
	if (!h->own) {
		sqlite3_open_v2(":memory:", &h->own,
			SQLITE_OPEN_READWRITE | SQLITE_OPEN_MEMORY | SQLITE_OPEN_NOMUTEX, NULL);
		sqlite3_limit(h->own, SQLITE_LIMIT_LIKE_PATTERN_LENGTH, PATTERN_MAX);
	}
	if (!h->by_count[count]) {
		write_call(h, count, sql);
		sqlite3_prepare_v3(
			h->own, sql, -1, SQLITE_PREPARE_PERSISTENT, &h->by_count[count], NULL);
	}
	return h->by_count[count];
}

static void ask(sqlite3_context *context, int count, sqlite3_value **args)
{
	sqlite3_stmt *stmt = statement(sqlite3_user_data(context), count);
	if (!stmt) {
		sqlite3_result_null(context);
		return;
	}
	for (int i = 0; i < count; i++)
		sqlite3_bind_value(stmt, i + 1, args[i]);
	if (sqlite3_step(stmt) == SQLITE_ROW)
		sqlite3_result_value(context, sqlite3_column_value(stmt, 0));
	else
		sqlite3_result_null(context);
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
}

static void free_harmless(void *context)
{
	struct harmless *h = context;
	for (int i = 0; i <= ARGS_MAX; i++)
		sqlite3_finalize(h->by_count[i]);
	int rc = sqlite3_close(h->own);
	assert(rc == SQLITE_OK);
	(void)rc;
	free(h);
}

int harmless_functions(sqlite3 *db)
{
	static const struct {
		const char *name;
		int count;
		bool infix;
	} rows[] = {{"abs", 1, false}, {"json_extract", -1, false}, {"json_array_length", 1, false},
		{"json_array_length", 2, false}, {"->", 2, true}, {"->>", 2, true},
		{"like", 2, false}, {"like", 3, false}, {"glob", 2, false}};
	int rc = SQLITE_OK;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows) && rc == SQLITE_OK; i++) {
		struct harmless *h = mem_new(struct harmless);
		h->call = rows[i].name;
		h->infix = rows[i].infix;
		rc = sqlite3_create_function_v2(db, h->call, rows[i].count,
			SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS, h, ask, NULL, NULL,
			free_harmless);
	}
	return rc;
}
