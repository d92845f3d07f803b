#include "dataset/leftovers.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/worker.h"
#include "dataset/capture.h"
#include "dataset/catalog.h"
#include "dataset/heads.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

enum { BUSY_MS = 1000, SHOWN_BYTES = 512 };

/* Names of tables in one file, each once, and an allocation of its own. */
struct names {
	struct str *items;
	size_t count;
};

static void free_names(struct names *n)
{
	for (size_t i = 0; i < n->count; i++)
		free((void *)(uintptr_t)n->items[i].p);
	free(n->items);
	*n = (struct names){0};
}

static bool has(const struct names *n, struct str name)
{
	for (size_t i = 0; i < n->count; i++)
		if (n->items[i].n == name.n &&
			sqlite3_strnicmp(n->items[i].p, name.p, (int)name.n) == 0)
			return true;
	return false;
}

static void add(struct names *n, struct str name)
{
	if (has(n, name))
		return;
	if ((n->count & (n->count - 1)) == 0) /* full at each power of two */
		n->items = mem_resize(n->items, n->count ? 2 * n->count : 1, sizeof(*n->items));
	n->items[n->count++] = (struct str){mem_copy(name), name.n};
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

static enum err captured(sqlite3 *db, struct names *ret)
{
	sqlite3_stmt *s = NULL;
	int code = sqlite3_prepare_v2(
		db, "SELECT 1 FROM main.sqlite_schema WHERE name = '_sb_tables'", -1, &s, NULL);
	bool any = code == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW;
	code = sqlite3_finalize(s);
	if (code || !any)
		return code ? ERR_OVERLOADED : ERR_OK;
	sqlite3_prepare_v2(db, "SELECT name FROM main._sb_tables", -1, &s, NULL);
	while (s && sqlite3_step(s) == SQLITE_ROW)
		add(ret, str_of((const char *)sqlite3_column_text(s, 0)));
	return sqlite3_finalize(s) ? ERR_OVERLOADED : ERR_OK;
}

/* What is captured and not wanted: *ret_taken has it then. */
static enum err take_out(
	sqlite3 *db, const struct names *wanted, struct names *ret_taken, char *ret_why)
{
	struct names there = {.count = 0};
	enum err err = captured(db, &there);
	if (err)
		snprintf(ret_why, LEFTOVERS_WHY_MAX, "%s", sqlite3_errmsg(db));
	for (size_t i = 0; i < there.count; i++)
		if (!has(wanted, there.items[i]))
			add(ret_taken, there.items[i]);
	if (!err && ret_taken->count)
		err = capture_drop(db, ret_taken->items, ret_taken->count, ret_why);
	free_names(&there);
	return err;
}

/* Whoever did not mean this is to see it. */
static void tell_taken(const char *path, const struct names *taken)
{
	char text[SHOWN_BYTES] = "";
	size_t n = 0;
	for (size_t i = 0; i < taken->count && n < sizeof(text); i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s" STR_FMT, i ? ", " : "",
			STR_ARG(taken->items[i]));
	log_warn("tables are no datasets any more, neither by the configuration nor by a command: "
		 "what captured them was taken out, with their log",
		LOG_TEXT("database", path), LOG_TEXT("tables", text));
}

/* A real path. It is known as long as something may be in it. */
static bool look_at(const char *path, const struct names *wanted, char *ret_why)
{
	sqlite3 *db = NULL;
	struct names taken = {.count = 0};
	enum err err = ERR_OK;
	if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL)) {
		err = ERR_OVERLOADED;
		snprintf(ret_why, LEFTOVERS_WHY_MAX, "%s", sqlite3_errmsg(db));
	} else {
		sqlite3_busy_timeout(db, BUSY_MS);
		err = take_out(db, wanted, &taken, ret_why);
	}
	sqlite3_close(db);
	struct known_head known = {.seq = 0};
	if (err)
		log_warn(
			"what captures tables that are no datasets any more is still in a database",
			LOG_TEXT("database", path), LOG_TEXT("why", ret_why));
	else if (taken.count)
		tell_taken(path, &taken);
	free_names(&taken);
	if (!err && !wanted->count)
		heads_forget(str_of(path));
	else if (err && !heads_known(str_of(path), &known))
		heads_learn(str_of(path), &known);
	return !err;
}

bool leftovers_take(struct str database, char ret_why[LEFTOVERS_WHY_MAX])
{
	char real[PATH_MAX];
	char *path = mem_copy(database);
	struct names wanted = {.count = 0};
	bool gone = true;
	if (realpath(path, real)) {
		needed(real, &wanted);
		gone = look_at(real, &wanted, ret_why);
	} else if (errno != ENOENT && errno != ENOTDIR) {
		snprintf(ret_why, LEFTOVERS_WHY_MAX, "%s", strerror(errno));
		gone = false;
	}
	free_names(&wanted);
	free(path);
	return gone;
}

static void run(struct job *j)
{
	char *path;
	(void)j;
	for (size_t i = 0; (path = heads_next(&i));) {
		char why[LEFTOVERS_WHY_MAX] = "";
		leftovers_take(str_of(path), why);
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
