#include "dataset/capture_parts.h"

#include "store/trouble.h"

#include <stdio.h>

enum err sql_failed(sqlite3 *db, char *ret_why)
{
	bool trouble = trouble_of(db) != NULL;
	snprintf(ret_why, CAPTURE_WHY_MAX, "%s", sqlite3_errmsg(db));
	return trouble ? ERR_OVERLOADED : ERR_INTERNAL;
}

enum err sql_run(sqlite3 *db, const char *sql, char *ret_why)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? ERR_OK
								    : sql_failed(db, ret_why);
}

enum err sql_run_buf(sqlite3 *db, struct buf *b, char *ret_why)
{
	enum err err = b->err;
	if (err)
		snprintf(ret_why, CAPTURE_WHY_MAX, "a statement for it would be too long");
	else
		err = sql_run(db, b->p, ret_why);
	buf_free(b);
	return err;
}

sqlite3_stmt *sql_ask(sqlite3 *db, const char *sql, struct str text, char *ret_why)
{
	sqlite3_stmt *s = NULL;
	if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK &&
		(!text.p ||
			sqlite3_bind_text64(s, 1, text.p, text.n, SQLITE_TRANSIENT, SQLITE_UTF8) ==
				SQLITE_OK))
		return s;
	sql_failed(db, ret_why);
	sqlite3_finalize(s);
	return NULL;
}

enum err sql_each(sqlite3 *db, const char *sql, struct str text,
	enum err (*row)(void *context, sqlite3_stmt *s, char *ret_why), void *context,
	char *ret_why)
{
	sqlite3_stmt *s = sql_ask(db, sql, text, ret_why);
	if (!s)
		return ERR_INTERNAL;
	enum err err = ERR_OK;
	int rc = SQLITE_DONE;
	while (!err && (rc = sqlite3_step(s)) == SQLITE_ROW)
		err = row(context, s, ret_why);
	if (!err && rc != SQLITE_DONE)
		err = sql_failed(db, ret_why);
	sqlite3_finalize(s);
	return err;
}

enum err sql_number(sqlite3 *db, const char *sql, int64_t absent, int64_t *ret, char *ret_why)
{
	sqlite3_stmt *s = sql_ask(db, sql, (struct str){0}, ret_why);
	int rc = s ? sqlite3_step(s) : SQLITE_ERROR;
	enum err err = ERR_OK;
	if (rc == SQLITE_ROW)
		*ret = sqlite3_column_int64(s, 0);
	else if (rc == SQLITE_DONE)
		*ret = absent;
	else
		err = sql_failed(db, ret_why);
	sqlite3_finalize(s);
	return err;
}

struct str text_of(sqlite3_stmt *s, int column)
{
	const char *text = (const char *)sqlite3_column_text(s, column);
	return (struct str){text ? text : "", (size_t)sqlite3_column_bytes(s, column)};
}
