#include "dataset/write_parts.h"

#include "core/clock.h"
#include "core/mem.h"

enum { PROGRESS_STEPS = 1000 };

/* ---- what client's data may do ----
 *
 * The SQL is all ours, and its values are bound. This is the second fence: a statement names this table first; what else
 * it writes, triggers and foreign keys of the table's owner write. */

static bool is_ours(const char *table)
{
	return table && sqlite3_strnicmp(table, "_sb_", 4) == 0;
}

static int allow_write(struct write *w, const char *table, const char *trigger)
{
	if (trigger)
		return SQLITE_OK;
	struct str name = w->layout->table;
	bool same = table && strlen(table) == name.n &&
		sqlite3_strnicmp(table, name.p, (int)name.n) == 0;
	if (!table || (!w->named && !same))
		return SQLITE_DENY;
	if (strcmp(table, "sqlite_master") == 0) /* a table-valued function says its columns */
		return SQLITE_OK;
	w->named = true; /* what comes now without a trigger's name is a foreign key's */
	return is_ours(table) || sqlite3_strnicmp(table, "sqlite_", 7) == 0 ? SQLITE_DENY
									    : SQLITE_OK;
}

/* What full text and other indexes that triggers keep ask their own file. */
static bool is_asked_by_modules(const char *pragma, const char *value)
{
	return !value && (!strcmp(pragma, "data_version") || !strcmp(pragma, "page_size"));
}

static int authorize(void *context, int action, const char *a, const char *b, const char *database,
	const char *trigger)
{
	(void)database;
	struct write *w = context;
	switch (action) {
	case SQLITE_READ:
	case SQLITE_SELECT:
	case SQLITE_RECURSIVE:
		return SQLITE_OK;
	case SQLITE_FUNCTION:
		return b && sqlite3_stricmp(b, "load_extension") == 0 ? SQLITE_DENY : SQLITE_OK;
	case SQLITE_INSERT:
	case SQLITE_UPDATE:
	case SQLITE_DELETE:
		return allow_write(w, a, trigger);
	case SQLITE_SAVEPOINT:
		return SQLITE_OK;
	case SQLITE_PRAGMA:
		return is_asked_by_modules(a, b) ? SQLITE_OK : SQLITE_DENY;
	default:
		return SQLITE_DENY;
	}
}

static int too_long(void *context)
{
	const struct write *w = context;
	return clock_steady_ms() > w->deadline_ms;
}

void write_guard(struct write *w, bool on)
{
	sqlite3_set_authorizer(w->db, on ? authorize : NULL, w);
	sqlite3_progress_handler(w->db, PROGRESS_STEPS, on ? too_long : NULL, w);
}

/* ---- statements ---- */

static void forget(struct write_statement *s)
{
	sqlite3_finalize(s->stmt);
	free(s->sql);
	*s = (struct write_statement){0};
}

/* The oldest in use gives way: ops of one batch mostly look alike. */
sqlite3_stmt *write_statement(struct write *w, const char *sql)
{
	struct write_statement *oldest = w->statements;
	for (size_t i = 0; i < WRITE_STATEMENTS; i++) {
		struct write_statement *s = &w->statements[i];
		if (s->sql && strcmp(s->sql, sql) == 0) {
			s->used = ++w->statement_uses;
			sqlite3_reset(s->stmt);
			return s->stmt;
		}
		if (s->used < oldest->used)
			oldest = s;
	}
	forget(oldest);
	w->named = false;
	if (sqlite3_prepare_v2(w->db, sql, -1, &oldest->stmt, NULL) != SQLITE_OK) {
		write_refuse_sqlite(w);
		return NULL;
	}
	oldest->sql = mem_copy(str_of(sql));
	oldest->used = ++w->statement_uses;
	return oldest->stmt;
}

void write_finalize(struct write *w)
{
	for (size_t i = 0; i < WRITE_STATEMENTS; i++)
		forget(&w->statements[i]);
}

enum err write_exec(struct write *w, const char *sql)
{
	if (sqlite3_exec(w->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return write_refuse_sqlite(w);
	return ERR_OK;
}

enum err write_bind_cells(struct write *w, sqlite3_stmt *stmt, const struct value *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (value_bind(stmt, (int)i + 1, v[i]))
			return write_refuse_sqlite(w);
	return ERR_OK;
}

enum err write_bind_ruling(struct write *w, sqlite3_stmt *stmt, const struct ruling *ruling)
{
	if (ruling && shape_bind(stmt, ruling->params, ruling->param_count))
		return write_refuse_sqlite(w);
	return ERR_OK;
}

enum err write_step(struct write *w, sqlite3_stmt *stmt, bool *ret_row)
{
	int rc = sqlite3_step(stmt);
	*ret_row = rc == SQLITE_ROW;
	if (rc == SQLITE_ROW || rc == SQLITE_DONE)
		return ERR_OK;
	enum err err =
		(rc & 0xff) == SQLITE_ERROR ? write_refuse_values(w) : write_refuse_sqlite(w);
	sqlite3_reset(stmt);
	return err;
}

enum err write_head(struct write *w, int64_t *ret_seq, int64_t *ret_floor)
{
	bool row = false;
	sqlite3_stmt *stmt = write_statement(w, "SELECT seq, floor FROM _sb_ctx");
	if (!stmt)
		return w->out->err;
	enum err err = write_step(w, stmt, &row);
	if (err)
		return err;
	if (!row)
		return write_refuse(
			w, ERR_OVERLOADED, "dataset_unavailable", "Nothing captures this table.");
	*ret_seq = sqlite3_column_int64(stmt, 0);
	*ret_floor = sqlite3_column_int64(stmt, 1);
	sqlite3_reset(stmt);
	return ERR_OK;
}
