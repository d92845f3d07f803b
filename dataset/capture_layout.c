#include "dataset/capture_parts.h"

#include "core/mem.h"

#include <assert.h>
#include <stdio.h>
#include <strings.h>

/* How a table looks, as SQLite says it. What cannot be captured, or not told of, is refused here with a sentence. */

/* ---- what it is ---- */

static enum err refuse(char *ret_why, struct str table, const char *what)
{
	snprintf(ret_why, CAPTURE_WHY_MAX, STR_FMT " %s", STR_ARG(table), what);
	return ERR_PARAMS;
}

static enum err check_kind(const char *kind, struct str table, char *ret_why)
{
	if (sqlite3_strnicmp(table.p, "_sb_", 4) == 0 ||
		sqlite3_strnicmp(table.p, "sqlite_", 7) == 0)
		return refuse(ret_why, table, "is no table of an application");
	if (strcmp(kind, "virtual") == 0 || strcmp(kind, "shadow") == 0)
		return refuse(ret_why, table,
			"is a virtual table or belongs to one: no trigger sees its changes");
	return ERR_OK;
}

/* The name as the database has it goes into l->table (the caller frees it). */
static enum err read_kind(sqlite3 *db, struct str table, struct layout *l, char *ret_why)
{
	sqlite3_stmt *s = sql_ask(db,
		"SELECT name, type, wr FROM pragma_table_list WHERE schema = 'main' "
		"AND name = ?1 COLLATE NOCASE",
		table, ret_why);
	if (!s)
		return ERR_INTERNAL;
	enum err err = ERR_OK;
	int rc = sqlite3_step(s);
	if (rc == SQLITE_ROW) {
		const char *kind = (const char *)sqlite3_column_text(s, 1);
		err = check_kind(kind, text_of(s, 0), ret_why);
		l->view = strcmp(kind, "view") == 0;
		l->without_rowid = sqlite3_column_int(s, 2) != 0;
		if (!err) {
			l->table.n = (size_t)sqlite3_column_bytes(s, 0);
			l->table.p = mem_copy(text_of(s, 0));
		}
	} else if (rc == SQLITE_DONE) {
		snprintf(ret_why, CAPTURE_WHY_MAX, "there is no table " STR_FMT, STR_ARG(table));
		err = ERR_NOT_FOUND;
	} else {
		err = sql_failed(db, ret_why);
	}
	sqlite3_finalize(s);
	return err;
}

/* ---- its columns ---- */

static bool collation_known(const char *name)
{
	return strcasecmp(name, "BINARY") == 0 || strcasecmp(name, "NOCASE") == 0 ||
		strcasecmp(name, "RTRIM") == 0;
}

static enum err read_collation(
	sqlite3 *db, const struct layout *l, struct column *column, char *ret_why)
{
	const char *collation = "BINARY";
	if (!l->view &&
		sqlite3_table_column_metadata(db, "main", l->table.p, column->name.p, NULL,
			&collation, NULL, NULL, NULL) != SQLITE_OK)
		return sql_failed(db, ret_why);
	if (!collation_known(collation)) {
		snprintf(ret_why, CAPTURE_WHY_MAX,
			STR_FMT "." STR_FMT
				" has the collation %s, which only its own program knows",
			STR_ARG(l->table), STR_ARG(column->name), collation);
		return ERR_PARAMS;
	}
	column->collation = str_of(mem_copy(str_of(collation)));
	return ERR_OK;
}

enum { INFO_NAME, INFO_TYPE, INFO_NOT_NULL, INFO_DEFAULT, INFO_KEY, INFO_HIDDEN };

static bool has_default(sqlite3_stmt *s)
{
	return sqlite3_column_type(s, INFO_DEFAULT) != SQLITE_NULL &&
		strcasecmp(text_of(s, INFO_DEFAULT).p, "NULL") != 0;
}

static enum err read_column(void *captured, sqlite3_stmt *s, char *ret_why)
{
	struct captured *c = captured;
	struct layout *l = c->layout;
	if (l->count == LAYOUT_COLUMNS_MAX)
		return refuse(ret_why, l->table, "has more than 256 columns");
	struct column *column = &l->columns[l->count++];
	bool not_null = sqlite3_column_int(s, INFO_NOT_NULL) != 0;
	column->name = str_of(mem_copy(text_of(s, INFO_NAME)));
	column->type = str_of(mem_copy(text_of(s, INFO_TYPE)));
	column->key = sqlite3_column_int(s, INFO_KEY);
	column->generated = sqlite3_column_int(s, INFO_HIDDEN) > 1;
	column->required =
		(not_null || column->key) && !column->generated && !has_default(s) && !l->view;
	if (not_null && has_default(s))
		c->defaults[l->count - 1] = mem_copy(text_of(s, INFO_DEFAULT));
	if (column->key > KEY_COLUMNS_MAX)
		return refuse(ret_why, l->table, "has more than 16 columns in its key");
	if (column->key && !not_null)
		c->null_keys = true;
	if (column->key)
		l->key_count++;
	return read_collation(sqlite3_db_handle(s), l, column, ret_why);
}

static enum err read_columns(sqlite3 *db, struct captured *c, char *ret_why)
{
	return sql_each(db,
		"SELECT name, type, \"notnull\", dflt_value, pk, hidden "
		"FROM pragma_table_xinfo(?1, 'main') ORDER BY cid",
		c->layout->table, read_column, c, ret_why);
}

/* ---- its key ---- */

static enum err take_view_key(
	struct layout *l, const struct str *key, size_t key_count, char *ret_why)
{
	if (!key_count)
		return refuse(ret_why, l->table,
			"is a view: say which of its columns are the key of a row");
	if (key_count > KEY_COLUMNS_MAX)
		return refuse(ret_why, l->table, "has more than 16 columns in its key");
	for (size_t i = 0; i < key_count; i++) {
		size_t at = layout_find(l, key[i]);
		if (at == SIZE_MAX || l->columns[at].key) {
			snprintf(ret_why, CAPTURE_WHY_MAX,
				STR_FMT " has no column " STR_FMT " for its key, or twice",
				STR_ARG(l->table), STR_ARG(key[i]));
			return ERR_PARAMS;
		}
		l->columns[at].key = (int)i + 1;
		l->key[i] = at;
	}
	l->key_count = key_count;
	return ERR_OK;
}

/* An INTEGER PRIMARY KEY is the rowid itself, and has no index. */
static enum err find_rowid_key(sqlite3 *db, struct captured *c, char *ret_why)
{
	struct layout *l = c->layout;
	sqlite3_stmt *s =
		sql_ask(db, "SELECT 1 FROM pragma_index_list(?1, 'main') WHERE origin = 'pk'",
			l->table, ret_why);
	if (!s)
		return ERR_INTERNAL;
	int rc = sqlite3_step(s);
	sqlite3_finalize(s);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return sql_failed(db, ret_why);
	l->key_is_rowid = rc == SQLITE_DONE && !l->without_rowid;
	if (l->key_is_rowid) {
		l->columns[l->key[0]].required = false;
		c->null_keys = false;
	}
	l->null_keys = c->null_keys;
	return ERR_OK;
}

static enum err take_key(sqlite3 *db, struct captured *c, char *ret_why)
{
	struct layout *l = c->layout;
	if (!l->key_count)
		return refuse(ret_why, l->table,
			"has no PRIMARY KEY, and rowids may change: give it one");
	for (size_t i = 0; i < l->count; i++)
		if (l->columns[i].key)
			l->key[l->columns[i].key - 1] = i;
	return find_rowid_key(db, c, ret_why);
}

/* ---- all of it ---- */

/* What SQLite calls the rowid, unless the table has given all three names to columns. */
static const char *rowid_name(const struct layout *l)
{
	static const char *const names[] = {"rowid", "_rowid_", "oid"};
	if (l->without_rowid || l->view)
		return NULL;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (layout_find(l, str_of(names[i])) == SIZE_MAX)
			return names[i];
	return NULL;
}

static void draft_free(struct layout *l)
{
	for (size_t i = 0; i < l->count; i++) {
		free((char *)(uintptr_t)l->columns[i].name.p);
		free((char *)(uintptr_t)l->columns[i].type.p);
		free((char *)(uintptr_t)l->columns[i].collation.p);
	}
	free((char *)(uintptr_t)l->table.p);
	free(l->columns);
	free(l->key);
	free(l);
}

static struct layout *draft_new(void)
{
	struct layout *l = mem_new(struct layout);
	l->columns = mem_alloc(LAYOUT_COLUMNS_MAX * sizeof(*l->columns));
	l->key = mem_alloc(KEY_COLUMNS_MAX * sizeof(*l->key));
	return l;
}

/* A view has no triggers of ours: where its columns differ, so does this number. */
static int64_t view_version(const struct captured *c)
{
	struct buf b = BUF_INIT(SQL_BYTES_MAX);
	columns_describe(c, &b);
	int64_t version = (int64_t)(str_hash(buf_str(&b)) & 0x7fffffff);
	buf_free(&b);
	return version;
}

static enum err read_made(sqlite3 *db, struct layout *l, char *ret_why)
{
	int64_t there = 0;
	enum err err =
		sql_number(db, "SELECT count(*) FROM main.sqlite_master WHERE name = '_sb_tables'",
			0, &there, ret_why);
	if (err || !there)
		return err;
	sqlite3_stmt *s = sql_ask(db,
		"SELECT id, version FROM main._sb_tables WHERE name = ?1 COLLATE NOCASE", l->table,
		ret_why);
	if (!s)
		return ERR_INTERNAL;
	int rc = sqlite3_step(s);
	if (rc == SQLITE_ROW) {
		l->id = sqlite3_column_int64(s, 0);
		l->version = sqlite3_column_int64(s, 1);
	} else if (rc != SQLITE_DONE) {
		err = sql_failed(db, ret_why);
	}
	sqlite3_finalize(s);
	return err;
}

static enum err read_all(sqlite3 *db, struct str table, const struct str *key, size_t key_count,
	struct captured *c, char *ret_why)
{
	struct layout *l = c->layout;
	enum err err = read_kind(db, table, l, ret_why);
	if (!err)
		err = read_columns(db, c, ret_why);
	if (!err && l->view)
		err = take_view_key(l, key, key_count, ret_why);
	if (!err && !l->view && key_count)
		err = refuse(ret_why, l->table, "is a table, which has a key of its own");
	if (!err && !l->view)
		err = take_key(db, c, ret_why);
	c->rowid = rowid_name(l);
	if (!err && !l->view)
		err = uniques_read(db, c, ret_why);
	if (!err && !l->view)
		err = read_made(db, l, ret_why);
	if (!err && l->view)
		l->version = view_version(c);
	return err;
}

static enum err read_captured(sqlite3 *db, struct str table, const struct str *key,
	size_t key_count, struct captured **ret, char *ret_why)
{
	struct captured *c = mem_new(struct captured);
	struct layout *draft = c->layout = draft_new();
	enum err err = read_all(db, table, key, key_count, c, ret_why);
	c->layout = err ? NULL : layout_new(draft);
	draft_free(draft);
	if (err)
		captured_free(&c);
	else
		*ret = c;
	return err;
}

enum err captured_read(sqlite3 *db, struct str table, struct captured **ret, char *ret_why)
{
	struct captured *c = NULL;
	enum err err = read_captured(db, table, NULL, 0, &c, ret_why);
	if (err)
		return err;
	*ret = c;
	return ERR_OK;
}

void captured_free(struct captured **ret_c)
{
	struct captured *c = *ret_c;
	*ret_c = NULL;
	if (!c)
		return;
	uniques_free(c);
	for (size_t i = 0; i < LAYOUT_COLUMNS_MAX; i++)
		free(c->defaults[i]);
	layout_unref(&c->layout);
	free(c);
}

enum err capture_layout(sqlite3 *db, struct str table, const struct str *key, size_t key_count,
	struct layout **ret_layout, char *ret_why)
{
	struct captured *c = NULL;
	enum err err = read_captured(db, table, key, key_count, &c, ret_why);
	if (err)
		return err;
	*ret_layout = layout_ref(c->layout);
	captured_free(&c);
	return ERR_OK;
}
