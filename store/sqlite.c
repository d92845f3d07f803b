#include "store/driver.h"
#include "store/fold.h"
#include "store/migrate.h"
#include "store/trouble.h"

#include "core/log.h"
#include "core/mem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* One connection each for writing and reading, on one file in WAL mode. What is answered must survive
 * power loss: synchronous=FULL has the log on disk at each commit; groups make that affordable. */

enum {
	STATEMENTS_MAX = 8,
	COLUMNS_MAX = 32,
	OPEN_BUSY_MS = 5000, /* at the start nobody waits yet */
	BUSY_MS = 250,       /* one try; the store goes on trying while anybody waits */
};

enum control { BEGIN_WRITE, BEGIN_READ, LOOK, COMMIT, ROLLBACK, SAVE, RELEASE, UNDO, CONTROLS };

static const char *const control_sql[CONTROLS] = {
	[BEGIN_WRITE] = "BEGIN IMMEDIATE",
	[BEGIN_READ] = "BEGIN",
	[LOOK] = "SELECT 1 FROM sqlite_schema LIMIT 1",
	[COMMIT] = "COMMIT",
	[ROLLBACK] = "ROLLBACK",
	[SAVE] = "SAVEPOINT op",
	[RELEASE] = "RELEASE op",
	[UNDO] = "ROLLBACK TO op",
};

/* A verb's statements, prepared when it is first asked for. */
struct prepared {
	size_t count; /* 0: not yet */
	sqlite3_stmt *list[STATEMENTS_MAX];
};

struct store_db {
	sqlite3 *handle;
	bool writing;
	bool lost; /* an error made SQLite roll the whole group back: nothing more may run in it */
	const struct store_trouble *trouble; /* the last one, and SQLite's own words for it */
	char detail[STORE_WHY_MAX];
	sqlite3_stmt *controls[CONTROLS];
	struct prepared verbs[STORE_VERBS];
};

/* ---- errors ---- */

/* SQLite's own sentence names tables and columns, never the values that were bound. A trouble is noted
 * only: the store says it once, not at each operation. */
static enum err failed(struct store_db *db, const char *what)
{
	int code = sqlite3_extended_errcode(db->handle);
	const struct store_trouble *trouble = trouble_of(db->handle);
	if (trouble) {
		db->trouble = trouble;
		snprintf(db->detail, sizeof(db->detail), "%s (SQLite %d) at %s",
			sqlite3_errmsg(db->handle), code, what);
		return ERR_OVERLOADED;
	}
	switch (code) {
	case SQLITE_CONSTRAINT_UNIQUE:
	case SQLITE_CONSTRAINT_PRIMARYKEY:
	case SQLITE_CONSTRAINT_ROWID:
	case SQLITE_CONSTRAINT_CHECK:
	case SQLITE_CONSTRAINT_FOREIGNKEY:
	case SQLITE_CONSTRAINT_TRIGGER:
		return ERR_CONFLICT;
	case SQLITE_TOOBIG:
		return ERR_TOO_LARGE;
	default:
		log_error("store failed", LOG_TEXT("doing", what), LOG_INT("sqlite", code),
			LOG_TEXT("why", sqlite3_errmsg(db->handle)));
		return ERR_INTERNAL;
	}
}

/* ---- statements ---- */

static enum err control(struct store_db *db, enum control which)
{
	sqlite3_stmt **stmt = &db->controls[which];
	int rc = SQLITE_OK;
	if (!*stmt)
		rc = sqlite3_prepare_v3(
			db->handle, control_sql[which], -1, SQLITE_PREPARE_PERSISTENT, stmt, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(*stmt);
	enum err err =
		rc == SQLITE_DONE || rc == SQLITE_ROW ? ERR_OK : failed(db, control_sql[which]);
	sqlite3_reset(*stmt);
	return err;
}

static void finalize(struct prepared *p)
{
	while (p->count)
		sqlite3_finalize(p->list[--p->count]);
}

static enum err prepare(struct store_db *db, enum store_verb verb)
{
	struct prepared *p = &db->verbs[verb];
	const char *text = store_verbs[verb].sql;
	while (*text) {
		sqlite3_stmt *stmt = NULL;
		if (sqlite3_prepare_v3(db->handle, text, -1, SQLITE_PREPARE_PERSISTENT, &stmt,
			    &text) != SQLITE_OK) {
			finalize(p);
			return failed(db, store_verbs[verb].name);
		}
		if (!stmt) /* only space was left */
			continue;
		assert(p->count < STATEMENTS_MAX && sqlite3_column_count(stmt) <= COLUMNS_MAX);
		p->list[p->count++] = stmt;
	}
	return ERR_OK;
}

static int bind_one(sqlite3_stmt *stmt, int at, const struct store_value *v)
{
	switch (v->kind) {
	case STORE_IS_INT:
		return sqlite3_bind_int64(stmt, at, v->number);
	case STORE_IS_TEXT:
		return sqlite3_bind_text64(
			stmt, at, v->bytes.p, v->bytes.n, SQLITE_STATIC, SQLITE_UTF8);
	case STORE_IS_BLOB:
		return sqlite3_bind_blob64(stmt, at, v->bytes.p, v->bytes.n, SQLITE_STATIC);
	case STORE_IS_NULL:
	case STORE_IS_END:
		break;
	}
	return sqlite3_bind_null(stmt, at);
}

/* All statements of a verb get the same arguments; one may use fewer of them than there are. */
static int bind(sqlite3_stmt *stmt, const struct store_op *op)
{
	int count = sqlite3_bind_parameter_count(stmt), rc = SQLITE_OK;
	assert((size_t)count <= op->arg_count);
	for (int i = 0; i < count && rc == SQLITE_OK; i++)
		rc = bind_one(stmt, i + 1, &op->args[i]);
	return rc;
}

static struct store_value column(sqlite3_stmt *stmt, int at)
{
	switch (sqlite3_column_type(stmt, at)) {
	case SQLITE_NULL:
		return STORE_NULL;
	case SQLITE_INTEGER:
		return STORE_INT(sqlite3_column_int64(stmt, at));
	case SQLITE_BLOB: {
		const char *bytes = sqlite3_column_blob(stmt, at);
		return STORE_BLOB(((struct str){bytes, (size_t)sqlite3_column_bytes(stmt, at)}));
	}
	default: {
		const char *text = (const char *)sqlite3_column_text(stmt, at);
		return STORE_TEXT(((struct str){text, (size_t)sqlite3_column_bytes(stmt, at)}));
	}
	}
}

static enum err take_row(sqlite3_stmt *stmt, struct store_op *op)
{
	struct store_value row[COLUMNS_MAX];
	for (size_t i = 0; i < op->columns; i++)
		row[i] = column(stmt, (int)i);
	return store_rows_add(op, row);
}

/* Runs one statement. *ret_touched: it changed or found a row. */
static enum err run_statement(
	struct store_db *db, sqlite3_stmt *stmt, struct store_op *op, bool *ret_touched)
{
	enum err err = ERR_OK;
	int rc = bind(stmt, op);
	if (sqlite3_column_count(stmt))
		store_rows_begin(op, (size_t)sqlite3_column_count(stmt));
	if (rc == SQLITE_OK)
		while (!err && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
			err = take_row(stmt, op);
	if (!err && rc != SQLITE_DONE)
		err = failed(db, store_verbs[op->verb].name);
	if (!err)
		*ret_touched = sqlite3_stmt_readonly(stmt) ? op->rows > 0
							   : sqlite3_changes64(db->handle) > 0;
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
	return err;
}

static enum err run_verb(struct store_db *db, struct store_op *op)
{
	struct prepared *p = &db->verbs[op->verb];
	enum store_kind kind = store_verbs[op->verb].kind;
	bool touched = false;
	enum err err = p->count ? ERR_OK : prepare(db, op->verb);
	for (size_t i = 0; i < p->count && !err; i++)
		err = run_statement(db, p->list[i], op, &touched);
	if (!err && !touched && (kind == STORE_KIND_WRITE || kind == STORE_KIND_READ_ONE))
		return ERR_NOT_FOUND;
	return err;
}

/* ---- the driver ---- */

static void sqlite_rollback(struct store_db *db)
{
	if (!sqlite3_get_autocommit(db->handle))
		control(db, ROLLBACK);
}

/* A reader's transaction begins with its first look at the file: here, so that whatever may keep it
 * from reading is met once, and not by each of its operations. */
static enum err sqlite_begin(struct store_db *db)
{
	db->lost = false;
	db->trouble = NULL;
	enum err err = control(db, db->writing ? BEGIN_WRITE : BEGIN_READ);
	if (!err && !db->writing)
		err = control(db, LOOK);
	if (!err)
		return ERR_OK;
	bool busy = (sqlite3_errcode(db->handle) & 0xff) == SQLITE_BUSY;
	sqlite_rollback(db);
	return busy ? ERR_TIMEOUT : ERR_OVERLOADED;
}

static enum err sqlite_commit(struct store_db *db)
{
	if (!db->lost && !control(db, COMMIT))
		return ERR_OK;
	sqlite_rollback(db);
	return ERR_OVERLOADED;
}

/* A full disk and the like make SQLite roll back the whole transaction, not just the savepoint. To
 * go on would then run each later op in a transaction of its own, and answer the earlier ones with
 * what is no longer so: the group is lost instead, and its commit says so. */
static enum err sqlite_run(struct store_db *db, struct store_op *op)
{
	if (!store_verb_writes(op->verb))
		return run_verb(db, op);
	if (db->lost)
		return ERR_OVERLOADED;
	enum err err = control(db, SAVE);
	for (struct store_op *part = op; part && !err; part = part->also)
		err = run_verb(db, part);
	if (err && !sqlite3_get_autocommit(db->handle) && control(db, UNDO))
		db->lost = true;
	if (sqlite3_get_autocommit(db->handle) || control(db, RELEASE))
		db->lost = true;
	return db->lost ? ERR_OVERLOADED : err;
}

static const struct store_trouble *sqlite_trouble(struct store_db *db, char *ret_detail)
{
	snprintf(ret_detail, STORE_WHY_MAX, "%s", db->detail);
	return db->trouble;
}

static void sqlite_close(struct store_db **ret_db)
{
	struct store_db *db = *ret_db;
	*ret_db = NULL;
	if (!db)
		return;
	for (size_t i = 0; i < CONTROLS; i++)
		sqlite3_finalize(db->controls[i]);
	for (size_t i = 0; i < STORE_VERBS; i++)
		finalize(&db->verbs[i]);
	int rc = sqlite3_close(db->handle);
	assert(rc == SQLITE_OK);
	(void)rc;
	free(db);
}

/* Nobody but the owner may read the file; SQLite gives its log the same mode. */
static enum err create_file(const char *place, char *ret_why)
{
	int fd = open(place, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0) {
		int error = errno;
		snprintf(ret_why, STORE_WHY_MAX, "%s cannot be opened: %s", place,
			strerrordesc_np(error));
		trouble_advise(ret_why, store_trouble_errno(error));
		return ERR_INTERNAL;
	}
	close(fd);
	return ERR_OK;
}

static enum err say_why(struct store_db *db, const char *place, char *ret_why)
{
	snprintf(ret_why, STORE_WHY_MAX, "%s cannot be opened: %s", place,
		sqlite3_errmsg(db->handle));
	trouble_advise(ret_why, trouble_of(db->handle));
	return ERR_INTERNAL;
}

/* What a hostile or damaged file could do is shut off; double quotes never mean a string. */
static enum err connect_file(struct store_db *db, const char *place, char *ret_why)
{
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
	if (sqlite3_open_v2(place, &db->handle, flags, NULL) != SQLITE_OK)
		return say_why(db, place, ret_why);
	sqlite3_busy_timeout(db->handle, OPEN_BUSY_MS);
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
	return ERR_OK;
}

static bool mode_is_wal(sqlite3 *handle)
{
	sqlite3_stmt *stmt = NULL;
	bool wal = sqlite3_prepare_v2(handle, "PRAGMA journal_mode = WAL", -1, &stmt, NULL) ==
			SQLITE_OK &&
		sqlite3_step(stmt) == SQLITE_ROW &&
		strcmp((const char *)sqlite3_column_text(stmt, 0), "wal") == 0;
	sqlite3_finalize(stmt);
	return wal;
}

static enum err open_writer(struct store_db *db, const char *place, char *ret_why)
{
	int version = 0;
	enum err err = create_file(place, ret_why);
	if (!err)
		err = connect_file(db, place, ret_why);
	if (!err)
		err = migrate_check(db->handle, place, &version, ret_why);
	if (err)
		return err;
	/* a migration that power loss takes back is made again: the disk need not be waited for with each */
	if (!mode_is_wal(db->handle) ||
		sqlite3_exec(db->handle, "PRAGMA synchronous = NORMAL", NULL, NULL, NULL) !=
			SQLITE_OK)
		return say_why(db, place, ret_why);
	err = migrate_apply(db->handle, place, version, ret_why);
	if (err)
		return err;
	if (sqlite3_exec(db->handle, "PRAGMA synchronous = FULL", NULL, NULL, NULL) != SQLITE_OK)
		return say_why(db, place, ret_why);
	/* what is deleted may have been a key: it is not to stay in a page that nobody uses */
	if (sqlite3_exec(db->handle, "PRAGMA secure_delete = ON", NULL, NULL, NULL) != SQLITE_OK)
		return say_why(db, place, ret_why);
	if (sqlite3_exec(db->handle, "PRAGMA foreign_keys = ON", NULL, NULL, NULL) != SQLITE_OK)
		return say_why(db, place, ret_why);
	return ERR_OK;
}

static enum err open_reader(struct store_db *db, const char *place, char *ret_why)
{
	enum err err = connect_file(db, place, ret_why);
	if (!err &&
		(!fold_add(db->handle) ||
			sqlite3_exec(db->handle, "PRAGMA query_only = ON", NULL, NULL, NULL) !=
				SQLITE_OK))
		err = say_why(db, place, ret_why);
	return err;
}

static enum err sqlite_open(
	const char *place, bool for_writing, struct store_db **ret_db, char *ret_why)
{
	struct store_db *db = mem_new(struct store_db);
	db->writing = for_writing;
	enum err err =
		for_writing ? open_writer(db, place, ret_why) : open_reader(db, place, ret_why);
	if (err) {
		sqlite_close(&db);
		return err;
	}
	sqlite3_busy_timeout(db->handle, BUSY_MS);
	*ret_db = db;
	return ERR_OK;
}

const struct store_driver store_sqlite = {
	.name = "sqlite",
	.open = sqlite_open,
	.close = sqlite_close,
	.begin = sqlite_begin,
	.commit = sqlite_commit,
	.rollback = sqlite_rollback,
	.run = sqlite_run,
	.trouble = sqlite_trouble,
};
