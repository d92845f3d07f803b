#include "dataset/definition_check.h"

#include "core/mem.h"
#include "core/nearest.h"
#include "dataset/rule.h"
#include "store/migrate.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUSY_MS = 2000, LOOK_EVERY = 10000 /* instructions of SQLite's machine */ };

static atomic_bool stopped;

void definition_checks_stop(bool yes)
{
	atomic_store(&stopped, yes);
}

static int is_stopped(void *context)
{
	(void)context;
	return atomic_load_explicit(&stopped, memory_order_relaxed);
}

__attribute__((format(printf, 3, 4))) static enum err refuse(
	struct definition_problem *p, const char *field, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(p->why, sizeof(p->why), format, args);
	va_end(args);
	p->field = field;
	return ERR_PARAMS;
}

/* ---- the file ---- */

static enum err check_file(const char *path, struct definition_problem *p)
{
	struct stat st;
	if (stat(path, &st))
		return refuse(p, "database",
			"%s: %s. The file has to be there, and this service to "
			"reach it as the user that it runs as.",
			path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return refuse(p, "database", "%s is no file.", path);
	if (access(path, R_OK | W_OK))
		return refuse(p, "database",
			"%s: %s. This service reads it and writes its log into it: give the user "
			"that it runs as both rights.",
			path, strerror(errno));
	return ERR_OK;
}

static bool may_make_files(const char *path)
{
	char *folder = mem_copy(str_of(path));
	char *slash = strrchr(folder, '/');
	slash[slash == folder] = 0;
	bool may = access(folder, W_OK | X_OK) == 0;
	free(folder);
	return may;
}

static enum err open_file(const char *path, sqlite3 **ret_db, struct definition_problem *p)
{
	sqlite3 *db = NULL;
	int code = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
	sqlite3_busy_timeout(db, BUSY_MS);
	sqlite3_progress_handler(db, LOOK_EVERY, is_stopped, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_exec(db, "SELECT count(*) FROM sqlite_schema", NULL, NULL, NULL);
	if (code == SQLITE_OK) {
		*ret_db = db;
		return ERR_OK;
	}
	if (code == SQLITE_NOTADB)
		refuse(p, "database", "%s is no SQLite database.", path);
	else
		refuse(p, "database", "%s cannot be read: %s.", path, sqlite3_errmsg(db));
	sqlite3_close(db);
	return ERR_PARAMS;
}

/* Whoever may add datasets could read in it what nobody is to read; the same of a copy of it. */
static enum err check_application(sqlite3 *db, const char *path, struct definition_problem *p)
{
	sqlite3_stmt *s = NULL;
	bool own = !sqlite3_prepare_v2(db, "PRAGMA application_id", -1, &s, NULL) &&
		sqlite3_step(s) == SQLITE_ROW && sqlite3_column_int(s, 0) == MIGRATE_APPLICATION_ID;
	sqlite3_finalize(s);
	return own ? refuse(p, "database", "%s is a database of Signalbox itself.", path) : ERR_OK;
}

/* ---- what is in it ---- */

/* "; did you mean `todos`?", or nothing. */
static void nearest_table(sqlite3 *db, struct str wrong, struct buf *b)
{
	sqlite3_stmt *s = NULL;
	struct nearest n = nearest_to(wrong);
	char word[NEAREST_MAX + 1] = "";
	sqlite3_prepare_v2(db,
		"SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE "
		"'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE '\\_sb\\_%' ESCAPE '\\'",
		-1, &s, NULL);
	while (s && sqlite3_step(s) == SQLITE_ROW) {
		struct str name = str_of((const char *)sqlite3_column_text(s, 0));
		n.word = STR("");
		nearest_try(&n, name);
		if (n.word.n)
			snprintf(word, sizeof(word), STR_FMT, STR_ARG(name));
	}
	sqlite3_finalize(s);
	if (word[0])
		buf_addf(b, "; did you mean `%s`?", word);
}

static enum err no_table(sqlite3 *db, const struct definition *d, struct str table,
	const char *field, struct definition_problem *p)
{
	struct buf near = BUF_INIT(256);
	nearest_table(db, table, &near);
	refuse(p, field, "There is no table `" STR_FMT "` in " STR_FMT "%s", STR_ARG(table),
		STR_ARG(d->database), near.n ? near.p : ".");
	buf_free(&near);
	return ERR_PARAMS;
}

/* A table that is to be captured. */
static enum err layout_of(sqlite3 *db, const struct definition *d, struct str table,
	const char *field, struct layout **ret_layout, struct definition_problem *p)
{
	char why[CAPTURE_WHY_MAX] = "";
	bool own = strcmp(field, "table") == 0;
	enum err err = capture_layout(
		db, table, own ? d->key : NULL, own ? d->key_count : 0, ret_layout, why);
	if (err == ERR_NOT_FOUND)
		return no_table(db, d, table, field, p);
	struct layout *without = NULL;
	char other[CAPTURE_WHY_MAX];
	if (err && own && d->key_count && !capture_layout(db, table, NULL, 0, &without, other))
		field = "key"; /* it would do without */
	layout_unref(&without);
	if (err)
		return refuse(p, field, "%s", why[0] ? why : sqlite3_errmsg(db));
	return ERR_OK;
}

static enum err check_columns(
	const struct definition *d, const struct layout *l, struct definition_problem *p)
{
	for (size_t i = 0; i < d->hidden_count; i++) {
		struct str name = d->hidden[i].column;
		size_t at = layout_find(l, name);
		if (at == SIZE_MAX) {
			struct nearest n = nearest_to(name);
			for (size_t k = 0; k < l->count; k++)
				nearest_try(&n, l->columns[k].name);
			return refuse(p, "hide", "There is no column `" STR_FMT "`%s" STR_FMT "%s",
				STR_ARG(name), n.word.n ? "; did you mean `" : "", STR_ARG(n.word),
				n.word.n ? "`?" : ".");
		}
		if (l->columns[at].key)
			return refuse(p, "hide",
				"The column `" STR_FMT
				"` is of the key, by which clients know a row: it cannot be "
				"hidden.",
				STR_ARG(name));
	}
	return ERR_OK;
}

static enum err check_depends(sqlite3 *db, const struct definition *d, struct definition_problem *p)
{
	enum err err = ERR_OK;
	for (size_t i = 0; i < d->depend_count && !err; i++) {
		struct layout *l = NULL;
		err = layout_of(db, d, d->depends[i], "depends", &l, p);
		if (!err && l->view)
			err = refuse(p, "depends",
				"`" STR_FMT "` is a view: name the tables that it reads.",
				STR_ARG(d->depends[i]));
		layout_unref(&l);
	}
	return err;
}

static enum err check_rules(sqlite3 *db, const struct definition *d, const struct layout *l,
	struct definition_problem *p)
{
	static const char *const fields[] = {
		"read", "insert", "update", "delete", "hide", "depends", "key", "table"};
	char why[RULE_WHY_MAX] = "";
	struct str field = STR("");
	if (!rules_check(d, db, l, &field, why))
		return ERR_OK;
	const char *known = "table";
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		if (str_is(field, fields[i]))
			known = fields[i];
	return refuse(p, known, "%s", why);
}

enum err definition_check(const struct definition *d, struct definition_problem *p)
{
	char *path = mem_copy(d->database);
	struct layout *l = NULL;
	sqlite3 *db = NULL;
	enum err err = check_file(path, p);
	err = err ? err : open_file(path, &db, p);
	err = err ? err : check_application(db, path, p);
	if (!err && !may_make_files(path))
		err = refuse(p, "database",
			"SQLite makes files beside %s: give the user that this service runs as the "
			"right to write in its folder.",
			path);
	err = err ? err : layout_of(db, d, d->table, "table", &l, p);
	err = err ? err : check_columns(d, l, p);
	err = err ? err : check_depends(db, d, p);
	err = err ? err : check_rules(db, d, l, p);
	layout_unref(&l);
	sqlite3_close(db);
	free(path);
	return err;
}

enum err definition_verify(const struct definition *d, int64_t *ret_changes, int64_t *ret_rows,
	char ret_why[CAPTURE_WHY_MAX])
{
	struct definition_problem p;
	char *path = mem_copy(d->database);
	sqlite3 *db = NULL;
	enum err err = check_file(path, &p);
	err = err ? err : open_file(path, &db, &p);
	if (err) {
		snprintf(ret_why, CAPTURE_WHY_MAX, "%s", p.why);
		err = ERR_OVERLOADED;
	}
	err = err ? err : capture_verify(db, d->table, ret_changes, ret_rows, ret_why);
	sqlite3_close(db);
	free(path);
	return err;
}
