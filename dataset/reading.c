#include "dataset/reading.h"

#include "core/clock.h"
#include "core/log.h"
#include "core/map.h"
#include "core/mem.h"
#include "dataset/harmless.h"
#include "dataset/images.h"
#include "dataset/rule.h"
#include "store/trouble.h"

#include <assert.h>
#include <stdio.h>

/* A file of somebody else's: it is read under its locks, with short waits, and by statements of ours alone. The
 * connection is not opened read-only, or nobody could roll back what a killed writer left in a journal; that nothing
 * is written is the authorizer's matter. */

enum {
	BUSY_MS = 100, /* the caller tries again */
	PROGRESS_STEPS =
		1000, /* of SQLite's machine between two looks at the clock: below 0.1 ms */
};

enum control { BEGIN, COMMIT, ROLLBACK, HEAD, COOKIE, CONTROLS };

static const char *const control_sql[CONTROLS] = {
	[BEGIN] = "BEGIN",
	[COMMIT] = "COMMIT",
	[ROLLBACK] = "ROLLBACK",
	[HEAD] = "SELECT epoch, seq, floor FROM main._sb_ctx",
	[COOKIE] = "PRAGMA main.schema_version",
};

/* A statement that is kept: in the map by its text, and in a list, the one used last in front. */
struct kept {
	struct kept *newer, *older;
	sqlite3_stmt *stmt;
	struct str sql;
	char text[];
};

struct reading_private {
	sqlite3_stmt *controls[CONTROLS];
	struct map statements;
	struct kept *newest, *oldest;
	struct head head;
	struct images *images;
	const struct store_trouble *trouble;
	int64_t deadline_ms;
	uint64_t generation;
	bool making, writing;
};

/* ---- what it may do ---- */

static bool starts(const char *name, const char *with)
{
	return name && strncmp(name, with, strlen(with)) == 0;
}

/* Writing goes to our own temporary tables; while they are made or dropped, to SQLite's list of them as well. */
static bool may_write(const struct reading_private *own, const char *table, const char *database)
{
	if (!database || strcmp(database, "temp") != 0)
		return false;
	return starts(table, "_sb_") || (own->making && starts(table, "sqlite_temp_"));
}

/* What is written in a view was written by whoever owns the file, and is not ours to judge. */
static bool may_call(const char *function, const char *inside)
{
	return inside || strcmp(function, "count") == 0 || rule_function(str_of(function));
}

static bool may_ask(const char *pragma)
{
	static const char *const allowed[] = {"schema_version", "data_version", "table_list",
		"table_xinfo", "table_info", "index_list", "index_xinfo", "index_info"};
	for (size_t i = 0; i < sizeof(allowed) / sizeof(*allowed); i++)
		if (strcmp(pragma, allowed[i]) == 0)
			return true;
	return false;
}

static int authorize(void *context, int action, const char *first, const char *second,
	const char *database, const char *inside)
{
	const struct reading_private *own = context;
	bool may = false;
	switch (action) {
	case SQLITE_SELECT:
	case SQLITE_READ:
	case SQLITE_TRANSACTION:
		may = true;
		break;
	case SQLITE_FUNCTION:
		may = may_call(second, inside);
		break;
	case SQLITE_PRAGMA: /* with a value it would be set */
		may = may_ask(first) && (!second || strstr(first, "_version") == NULL);
		break;
	case SQLITE_INSERT:
	case SQLITE_DELETE:
	case SQLITE_UPDATE:
		may = may_write(own, first, database);
		break;
	case SQLITE_CREATE_TEMP_TABLE:
	case SQLITE_CREATE_TEMP_VIEW:
	case SQLITE_CREATE_TEMP_INDEX:
	case SQLITE_DROP_TEMP_TABLE:
	case SQLITE_DROP_TEMP_VIEW:
	case SQLITE_DROP_TEMP_INDEX:
	case SQLITE_REINDEX:
		may = own->making && starts(first, "_sb_");
		break;
	default:
		break;
	}
	return may ? SQLITE_OK : SQLITE_DENY;
}

static int look_at_clock(void *context)
{
	const struct reading_private *own = context;
	return own->deadline_ms && !own->writing && clock_steady_ms() >= own->deadline_ms;
}

/* ---- failures ---- */

enum err reading_failed(struct reading *r)
{
	int code = sqlite3_errcode(r->handle) & 0xff;
	r->own->trouble = NULL;
	if (code == SQLITE_INTERRUPT)
		return ERR_TIMEOUT;
	if (code == SQLITE_AUTH) /* our own authorizer: nothing is wrong with the file */
		return ERR_INTERNAL;
	r->own->trouble = trouble_of(r->handle);
	return r->own->trouble ? ERR_OVERLOADED : ERR_INTERNAL;
}

const struct store_trouble *reading_trouble(struct reading *r)
{
	return r->own->trouble;
}

/* ---- statements ---- */

static void unlink_kept(struct reading_private *own, struct kept *k)
{
	*(k->newer ? &k->newer->older : &own->newest) = k->older;
	*(k->older ? &k->older->newer : &own->oldest) = k->newer;
}

static void link_newest(struct reading_private *own, struct kept *k)
{
	k->newer = NULL;
	k->older = own->newest;
	*(own->newest ? &own->newest->newer : &own->oldest) = k;
	own->newest = k;
}

static void forget(struct reading_private *own, struct kept *k)
{
	unlink_kept(own, k);
	map_remove(&own->statements, k->sql);
	sqlite3_finalize(k->stmt);
	free(k);
}

/* One that is being stepped is never among the oldest: there are not so many at a time. */
static void make_room(struct reading_private *own)
{
	if (own->statements.count >= READING_STATEMENTS_MAX &&
		!sqlite3_stmt_busy(own->oldest->stmt))
		forget(own, own->oldest);
}

static enum err keep(struct reading *r, struct str sql, struct kept **ret)
{
	make_room(r->own);
	struct kept *k = mem_alloc(sizeof(*k) + sql.n + 1);
	memcpy(k->text, sql.p, sql.n);
	k->sql = (struct str){k->text, sql.n};
	if (sqlite3_prepare_v3(r->handle, k->text, (int)sql.n, SQLITE_PREPARE_PERSISTENT, &k->stmt,
		    NULL) != SQLITE_OK) {
		enum err err = reading_failed(r);
		if (err == ERR_INTERNAL) {
			err = ERR_NOT_FOUND;
			log_debug("a statement does not fit its tables",
				LOG_TEXT("why", sqlite3_errmsg(r->handle)));
		}
		free(k);
		return err;
	}
	map_put(&r->own->statements, k->sql, k);
	link_newest(r->own, k);
	*ret = k;
	return ERR_OK;
}

enum err reading_statement(struct reading *r, struct str sql, sqlite3_stmt **ret)
{
	struct kept *k = map_get(&r->own->statements, sql);
	if (k && r->own->newest != k) {
		unlink_kept(r->own, k);
		link_newest(r->own, k);
	}
	enum err err = k ? ERR_OK : keep(r, sql, &k);
	if (!err)
		*ret = k->stmt;
	return err;
}

void reading_release(sqlite3_stmt *stmt)
{
	if (!stmt)
		return;
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
}

enum err reading_make(struct reading *r, struct str sql)
{
	char *text = mem_copy(sql);
	r->own->making = r->own->writing = true;
	int rc = sqlite3_exec(r->handle, text, NULL, NULL, NULL);
	r->own->making = r->own->writing = false;
	free(text);
	return rc == SQLITE_OK ? ERR_OK : reading_failed(r);
}

enum err reading_write(struct reading *r, sqlite3_stmt *stmt)
{
	r->own->writing = true;
	int rc = sqlite3_step(stmt);
	r->own->writing = false;
	return rc == SQLITE_DONE ? ERR_OK : reading_failed(r);
}

uint64_t reading_generation(const struct reading *r)
{
	return r->own->generation;
}

struct images **reading_images(struct reading *r)
{
	return &r->own->images;
}

/* ---- transactions ---- */

/* Leaves the statement at its row, or gives ERR_NOT_FOUND where there is none. */
static enum err control(struct reading *r, enum control which)
{
	sqlite3_stmt **stmt = &r->own->controls[which];
	int rc = SQLITE_OK;
	if (!*stmt)
		rc = sqlite3_prepare_v3(
			r->handle, control_sql[which], -1, SQLITE_PREPARE_PERSISTENT, stmt, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(*stmt);
	if (rc == SQLITE_ROW || (rc == SQLITE_DONE && which <= ROLLBACK))
		return ERR_OK;
	return rc == SQLITE_DONE ? ERR_NOT_FOUND : reading_failed(r);
}

static enum err simply(struct reading *r, enum control which)
{
	enum err err = control(r, which);
	sqlite3_reset(r->own->controls[which]);
	return err;
}

/* A statement that no table is there for cannot be prepared: then nothing captures here. */
static enum err read_head(struct reading *r, struct head *ret)
{
	enum err err = control(r, HEAD);
	sqlite3_stmt *head = r->own->controls[HEAD];
	if (!err) {
		const char *epoch = (const char *)sqlite3_column_text(head, 0);
		snprintf(ret->epoch, sizeof(ret->epoch), "%s", epoch ? epoch : "");
		ret->seq = sqlite3_column_int64(head, 1);
		ret->floor = sqlite3_column_int64(head, 2);
	}
	sqlite3_reset(head);
	if (err)
		return err == ERR_INTERNAL ? ERR_NOT_FOUND : err;
	err = control(r, COOKIE);
	if (!err)
		ret->schema_cookie = sqlite3_column_int64(r->own->controls[COOKIE], 0);
	sqlite3_reset(r->own->controls[COOKIE]);
	return err;
}

static void forget_all(struct reading_private *own)
{
	while (own->oldest)
		forget(own, own->oldest);
	images_forget(&own->images);
	own->generation++;
}

enum err reading_begin(struct reading *r, unsigned limit_ms, struct head *ret_head)
{
	struct reading_private *own = r->own;
	struct head head = {0};
	own->trouble = NULL;
	own->deadline_ms = clock_steady_ms() + limit_ms;
	enum err err = simply(r, BEGIN);
	if (!err)
		err = read_head(r, &head);
	if (err) {
		if (!sqlite3_get_autocommit(r->handle))
			simply(r, ROLLBACK);
		own->deadline_ms = 0;
		return err == ERR_NOT_FOUND ? err : ERR_OVERLOADED;
	}
	if (head.schema_cookie != own->head.schema_cookie)
		forget_all(own);
	own->head = head;
	*ret_head = head;
	return ERR_OK;
}

/* Committed, because the temporary tables stay. Where SQLite has rolled back by itself (out of memory, a failing disk)
 * nobody knows which of them are there. */
void reading_end(struct reading *r)
{
	r->own->deadline_ms = 0;
	if (!sqlite3_get_autocommit(r->handle)) {
		if (!simply(r, COMMIT))
			return;
		simply(r, ROLLBACK);
	}
	forget_all(r->own);
}

void reading_extend(struct reading *r, unsigned limit_ms)
{
	r->own->deadline_ms = clock_steady_ms() + limit_ms;
}

const struct head *reading_head(const struct reading *r)
{
	return &r->own->head;
}

/* ---- opening and closing ---- */

/* Nothing in the temporary tables is ever rolled back: without a journal, and without overwriting what is deleted,
 * they cost a third. The pragmas that are read as tables are there from their first use on: that looks to an
 * authorizer as if the list of tables were written to. */
static const char set_up_sql[] =
	"PRAGMA temp_store = MEMORY; PRAGMA temp.journal_mode = OFF; PRAGMA temp.secure_delete = "
	"OFF; "
	"SELECT 1 FROM pragma_table_list LIMIT 0; "
	"SELECT 1 FROM pragma_table_xinfo('x'), pragma_index_list('x'), pragma_index_xinfo('x')";

static enum err set_up(struct reading *r, const char *path)
{
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
	if (sqlite3_open_v2(path, &r->handle, flags, NULL) != SQLITE_OK)
		return reading_failed(r);
	sqlite3_busy_timeout(r->handle, BUSY_MS);
	/* The file's schema is trusted: else CHECK(json_valid(x)) of any table would make all of it unreadable. What it can
	 * call are SQLite's own functions; the authorizer sees to the rest. */
	sqlite3_db_config(r->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 1, NULL);
	sqlite3_db_config(r->handle, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
	sqlite3_db_config(r->handle, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
	if (sqlite3_exec(r->handle, set_up_sql, NULL, NULL, NULL) != SQLITE_OK ||
		harmless_functions(r->handle) != SQLITE_OK)
		return reading_failed(r);
	sqlite3_db_config(r->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_set_authorizer(r->handle, authorize, r->own);
	sqlite3_progress_handler(r->handle, PROGRESS_STEPS, look_at_clock, r->own);
	return ERR_OK;
}

enum err reading_open(
	const char *path, struct reading **ret, const struct store_trouble **ret_trouble)
{
	struct reading *r = mem_new(struct reading);
	r->own = mem_new(struct reading_private);
	r->own->head.schema_cookie = -1;
	enum err err = set_up(r, path);
	if (err) {
		*ret_trouble = r->own->trouble;
		reading_close(&r);
		return err;
	}
	*ret = r;
	return ERR_OK;
}

void reading_close(struct reading **ret)
{
	struct reading *r = *ret;
	*ret = NULL;
	if (!r)
		return;
	forget_all(r->own);
	map_free(&r->own->statements);
	for (size_t i = 0; i < CONTROLS; i++)
		sqlite3_finalize(r->own->controls[i]);
	int rc = sqlite3_close(r->handle);
	assert(rc == SQLITE_OK);
	(void)rc;
	free(r->own);
	free(r);
}
