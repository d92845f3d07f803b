#include "dataset/capture_parts.h"

#include "auth/b64url.h"
#include "core/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <openssl/rand.h>
#include <stdio.h>

enum { EPOCH_RANDOM = 16 };

/* whole: from there on no log was thrown away, so that all logs together have no hole.
 * made: how many tables were ever captured here; what a table is captured for the next time has the next number as its
 * version, so that none comes twice as long as the epoch stays. */
static const char tables_sql[] =
	"CREATE TABLE IF NOT EXISTS _sb_ctx(one INTEGER PRIMARY KEY CHECK(one = 1), "
	"epoch TEXT NOT NULL, seq INTEGER NOT NULL, floor INTEGER NOT NULL, txn INTEGER, "
	"actor TEXT, made INTEGER NOT NULL, whole INTEGER NOT NULL);"
	"CREATE TABLE IF NOT EXISTS _sb_tables(id INTEGER PRIMARY KEY, name TEXT NOT NULL, "
	"version INTEGER NOT NULL, since INTEGER NOT NULL, columns TEXT NOT NULL);"
	"CREATE TABLE IF NOT EXISTS _sb_mutations(dataset TEXT NOT NULL, user TEXT NOT NULL, "
	"mutation TEXT NOT NULL, hash BLOB, answer TEXT, at INTEGER NOT NULL, "
	"PRIMARY KEY(dataset, user, mutation)) WITHOUT ROWID;"
	"CREATE INDEX IF NOT EXISTS _sb_mutations_at ON _sb_mutations(at);";

/* ---- transactions ---- */

enum err capture_begin(sqlite3 *db, char *ret_why)
{
	return sql_run(db, "BEGIN IMMEDIATE", ret_why);
}

enum err capture_end(sqlite3 *db, enum err err, char *ret_why)
{
	if (!err)
		err = sql_run(db, "COMMIT", ret_why);
	if (!sqlite3_get_autocommit(db))
		sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return err;
}

/* ---- the counter ---- */

static void make_epoch(struct buf *b)
{
	unsigned char random[EPOCH_RANDOM];
	if (RAND_bytes(random, sizeof(random)) != 1)
		abort(); /* a position of another history would be taken for one of this */
	b64url_add(b, random, sizeof(random));
}

static enum err ensure_counter(sqlite3 *db, bool new_epoch, char *ret_why)
{
	enum err err = sql_run(db, tables_sql, ret_why);
	int64_t there = 0;
	if (!err)
		err = sql_number(db, "SELECT count(*) FROM _sb_ctx", 0, &there, ret_why);
	if (err || (there && !new_epoch))
		return err;
	struct buf b = BUF_INIT(SQL_BYTES_MAX);
	if (there)
		buf_adds(&b, STR("UPDATE _sb_ctx SET txn = NULL, actor = NULL, epoch = '"));
	else
		buf_adds(&b,
			STR("INSERT INTO _sb_ctx(one, seq, floor, made, whole, epoch) "
			    "VALUES(1, 0, 0, 0, 0, '"));
	make_epoch(&b);
	buf_adds(&b, there ? STR("'") : STR("')"));
	return sql_run_buf(db, &b, ret_why);
}

/* ---- whether it stands ---- */

static bool text_is(sqlite3 *db, const char *sql, struct str name, struct str wanted)
{
	char why[CAPTURE_WHY_MAX];
	sqlite3_stmt *s = sql_ask(db, sql, name, why);
	bool same = s && sqlite3_step(s) == SQLITE_ROW && str_eq(text_of(s, 0), wanted);
	sqlite3_finalize(s);
	return same;
}

static bool stands(sqlite3 *db, const struct captured *c)
{
	if (!c->layout->id)
		return false;
	struct buf columns = BUF_INIT(SQL_BYTES_MAX);
	columns_describe(c, &columns);
	bool same = text_is(db, "SELECT columns FROM main._sb_tables WHERE name = ?1",
		c->layout->table, buf_str(&columns));
	buf_free(&columns);
	struct objects o;
	objects_make(c, &o);
	for (size_t i = 0; i < o.count && same; i++)
		same = text_is(db, "SELECT sql FROM main.sqlite_master WHERE name = ?1",
			str_of(o.list[i].name), buf_str(&o.list[i].sql));
	objects_free(&o);
	return same;
}

bool capture_stands(sqlite3 *db, const struct str *tables, size_t count)
{
	char why[CAPTURE_WHY_MAX];
	bool all = true;
	for (size_t i = 0; i < count && all; i++) {
		struct captured *c = NULL;
		all = !captured_read(db, tables[i], &c, why) && stands(db, c);
		captured_free(&c);
	}
	return all;
}

/* ---- making and taking away ---- */

/* Whatever of ours for table N is there, wherever it has come to. */
static enum err drop_objects(sqlite3 *db, int64_t id, char *ret_why)
{
	static const char *const triggers[] = {"c%" PRId64 "_bi", "c%" PRId64 "_bu",
		"c%" PRId64 "_ai", "c%" PRId64 "_au", "c%" PRId64 "_ak", "c%" PRId64 "_bd",
		"c%" PRId64 "_ad", "p%" PRId64 "_ad"};
	struct buf b = BUF_INIT(SQL_BYTES_MAX);
	char name[32];
	for (size_t i = 0; i < sizeof(triggers) / sizeof(*triggers); i++) {
		snprintf(name, sizeof(name), triggers[i], id);
		buf_addf(&b, "DROP TRIGGER IF EXISTS main._sb_%s;", name);
	}
	buf_addf(&b, "DROP TABLE IF EXISTS main._sb_c%" PRId64 ";", id);
	buf_adds(&b, STR("UPDATE main._sb_ctx SET whole = seq;"));
	buf_addf(&b, "DROP TABLE IF EXISTS main._sb_p%" PRId64 ";", id);
	return sql_run_buf(db, &b, ret_why);
}

static enum err note_table(sqlite3 *db, const struct captured *c, char *ret_why)
{
	const struct layout *l = c->layout;
	struct buf columns = BUF_INIT(SQL_BYTES_MAX);
	columns_describe(c, &columns);
	char *text = sqlite3_mprintf(
		"UPDATE _sb_ctx SET made = made + 1;"
		"INSERT OR REPLACE INTO _sb_tables(id, name, version, since, columns) "
		"SELECT %lld, '%.*q', made, seq, '%.*q' FROM _sb_ctx",
		(long long)l->id, (int)l->table.n, l->table.p, (int)columns.n,
		columns.p ? columns.p : "");
	assert(text); /* as mem.h has it: no memory ends the process */
	buf_free(&columns);
	enum err err = sql_run(db, text, ret_why);
	sqlite3_free(text);
	return err;
}

static enum err make(sqlite3 *db, struct captured *c, char *ret_why)
{
	enum err err = ERR_OK;
	if (!c->layout->id)
		err = sql_number(db, "SELECT coalesce(max(id), 0) + 1 FROM _sb_tables", 1,
			&c->layout->id, ret_why);
	if (!err)
		err = drop_objects(db, c->layout->id, ret_why);
	struct objects o = {0};
	if (!err)
		objects_make(c, &o);
	for (size_t i = 0; i < o.count && !err; i++)
		err = sql_run_buf(db, &o.list[i].sql, ret_why);
	objects_free(&o);
	return err ? err : note_table(db, c, ret_why);
}

static enum err ensure_table(sqlite3 *db, struct str table, bool *mended, char *ret_why)
{
	struct captured *c = NULL;
	enum err err = captured_read(db, table, &c, ret_why);
	if (!err && !stands(db, c)) {
		*mended = *mended || c->layout->id;
		err = make(db, c, ret_why);
	}
	captured_free(&c);
	return err;
}

enum err capture_ensure(sqlite3 *db, const struct str *tables, size_t count, bool new_epoch,
	bool *ret_changed, char *ret_why)
{
	bool mended = false;
	enum err err = capture_begin(db, ret_why);
	if (!err)
		err = ensure_counter(db, new_epoch, ret_why);
	for (size_t i = 0; i < count && !err; i++)
		err = ensure_table(db, tables[i], &mended, ret_why);
	err = capture_end(db, err, ret_why);
	if (!err)
		*ret_changed = mended;
	return err;
}

/* ---- taking away ---- */

static enum err drop_table(sqlite3 *db, struct str table, char *ret_why)
{
	sqlite3_stmt *s = sql_ask(db,
		"DELETE FROM main._sb_tables WHERE name = ?1 COLLATE NOCASE RETURNING id", table,
		ret_why);
	if (!s)
		return ERR_INTERNAL;
	int64_t id = 0;
	int rc = sqlite3_step(s);
	if (rc == SQLITE_ROW) {
		id = sqlite3_column_int64(s, 0);
		rc = sqlite3_step(s);
	}
	enum err err = rc == SQLITE_DONE ? ERR_OK : sql_failed(db, ret_why);
	sqlite3_finalize(s);
	return err || !id ? err : drop_objects(db, id, ret_why);
}

/* With the last table all goes that was never theirs. */
static enum err drop_rest(sqlite3 *db, char *ret_why)
{
	int64_t left = 0;
	enum err err = sql_number(db, "SELECT count(*) FROM main._sb_tables", 0, &left, ret_why);
	if (err || left)
		return err;
	return sql_run(db,
		"DROP TABLE IF EXISTS main._sb_mutations;"
		"DROP TABLE IF EXISTS main._sb_tables;"
		"DROP TABLE IF EXISTS main._sb_ctx;",
		ret_why);
}

enum err capture_drop(sqlite3 *db, const struct str *tables, size_t count, char *ret_why)
{
	int64_t there = 0;
	enum err err = capture_begin(db, ret_why);
	if (!err)
		err = sql_number(db,
			"SELECT count(*) FROM main.sqlite_master WHERE name = '_sb_tables'", 0,
			&there, ret_why);
	for (size_t i = 0; i < count && there && !err; i++)
		err = drop_table(db, tables[i], ret_why);
	if (there && !err)
		err = drop_rest(db, ret_why);
	return capture_end(db, err, ret_why);
}
