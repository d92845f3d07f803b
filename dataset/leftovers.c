#include "dataset/leftovers.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/worker.h"
#include "dataset/capture.h"
#include "dataset/catalog.h"
#include "dataset/heads.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

enum { TABLES_MAX = 256, BUSY_MS = 1000 };

/* Names of tables in one file, each an allocation of its own. */
struct names {
	struct str items[TABLES_MAX];
	size_t count;
};

static void add(struct names *n, struct str name)
{
	if (n->count < TABLES_MAX)
		n->items[n->count++] = (struct str){mem_copy(name), name.n};
}

static void free_names(struct names *n)
{
	for (size_t i = 0; i < n->count; i++)
		free((void *)(uintptr_t)n->items[i].p);
	n->count = 0;
}

static bool has(const struct names *n, struct str name)
{
	for (size_t i = 0; i < n->count; i++)
		if (n->items[i].n == name.n &&
			sqlite3_strnicmp(n->items[i].p, name.p, (int)name.n) == 0)
			return true;
	return false;
}

static bool is_of(const struct definition *d, const char *path)
{
	char real[PATH_MAX];
	char *database = mem_copy(d->database);
	bool yes = realpath(database, real) && strcmp(real, path) == 0;
	free(database);
	return yes;
}

/* The tables that definitions need captured in this file. */
static void needed(const char *path, struct names *ret)
{
	struct listed l;
	char *after = mem_copy(STR(""));
	while (catalog_list(str_of(after), &l, 1)) {
		const struct definition *d = l.definition;
		if (is_of(d, path)) {
			add(ret, d->table);
			for (size_t i = 0; i < d->depend_count; i++)
				add(ret, d->depends[i]);
		}
		free(after);
		after = mem_copy(d->name);
		definition_unref(&l.definition);
	}
	free(after);
}

static void captured(sqlite3 *db, struct names *ret)
{
	sqlite3_stmt *s = NULL;
	sqlite3_prepare_v2(db, "SELECT name FROM main._sb_tables", -1, &s, NULL);
	while (s && sqlite3_step(s) == SQLITE_ROW)
		add(ret, str_of((const char *)sqlite3_column_text(s, 0)));
	sqlite3_finalize(s);
}

static void take_out(sqlite3 *db, const char *path, const struct names *there,
	const struct names *wanted)
{
	struct str spare[TABLES_MAX];
	char why[CAPTURE_WHY_MAX] = "";
	size_t count = 0;
	for (size_t i = 0; i < there->count; i++)
		if (!has(wanted, there->items[i]))
			spare[count++] = there->items[i];
	enum err err = count ? capture_drop(db, spare, count, why) : ERR_OK;
	if (err)
		log_warn("what captures tables that are no datasets any more is still in a database",
			LOG_TEXT("database", path), LOG_TEXT("why", why));
	else if (count)
		log_info("tables are no datasets any more: what captured them was taken out",
			LOG_TEXT("database", path), LOG_INT("tables", (int64_t)count));
	if (!err && !wanted->count)
		heads_forget(str_of(path));
}

static void look_at(const char *path)
{
	struct names wanted = {.count = 0}, there = {.count = 0};
	sqlite3 *db = NULL;
	needed(path, &wanted);
	if (access(path, F_OK) && errno == ENOENT && !wanted.count)
		heads_forget(str_of(path));
	else if (!sqlite3_open_v2(
			 path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL)) {
		sqlite3_busy_timeout(db, BUSY_MS);
		captured(db, &there);
		take_out(db, path, &there, &wanted);
	}
	sqlite3_close(db);
	free_names(&wanted);
	free_names(&there);
}

static void run(struct job *j)
{
	char *path;
	(void)j;
	for (size_t i = 0; (path = heads_next(&i));) {
		look_at(path);
		free(path);
	}
}

static void done(struct job *j)
{
	free(j);
}

static void begin(struct worker *w, void *context)
{
	if (w->index)
		return;
	struct job *j = mem_new(struct job);
	j->run = run;
	j->done = done;
	if (pool_run(context, j))
		free(j);
}

void leftovers_look(struct pool *pool)
{
	workers_each(begin, pool);
}
