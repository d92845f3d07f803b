#include "dataset/images.h"

#include "core/mem.h"
#include "dataset/capture.h"

#include <assert.h>
#include <inttypes.h>

void sql_dotted(struct buf *sql, struct str table, struct str column)
{
	sql_name(sql, table);
	buf_addc(sql, '.');
	sql_name(sql, column);
}

/* ---- affinities ---- */

static bool holds(struct str type, const char *word)
{
	size_t n = strlen(word);
	for (size_t i = 0; i + n <= type.n; i++)
		if (sqlite3_strnicmp(type.p + i, word, (int)n) == 0)
			return true;
	return false;
}

/* A type that has the affinity of a declared one (SQLite: "Datatypes", section 3.1): the declared text itself may be
 * anything. ANY keeps what it is given, but only in a STRICT table. */
static const char *type_of(struct str declared, bool strict)
{
	static const struct {
		const char *word, *type;
	} rows[] = {{"INT", "INTEGER"}, {"CHAR", "TEXT"}, {"CLOB", "TEXT"}, {"TEXT", "TEXT"},
		{"BLOB", "BLOB"}, {"REAL", "REAL"}, {"FLOA", "REAL"}, {"DOUB", "REAL"}};
	if (declared.n == 0 || (strict && declared.n == 3 && holds(declared, "ANY")))
		return "BLOB";
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (holds(declared, rows[i].word))
			return rows[i].type;
	return "NUMERIC";
}

static enum err is_strict(struct reading *r, const struct layout *l, bool *ret)
{
	sqlite3_stmt *stmt = NULL;
	enum err err = reading_statement(r,
		STR("SELECT strict FROM pragma_table_list WHERE schema = 'main' AND name = @t"),
		&stmt);
	if (err)
		return err;
	sqlite3_bind_text(stmt, 1, l->table.p, (int)l->table.n, SQLITE_STATIC);
	int rc = sqlite3_step(stmt);
	*ret = rc == SQLITE_ROW && sqlite3_column_int(stmt, 0);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		err = reading_failed(r);
	reading_release(stmt);
	return err;
}

/* ---- making them ---- */

static struct str taken(struct buf *b)
{
	size_t n = b->n;
	return (struct str){buf_take(b), n};
}

static void add_names(struct buf *b, const struct layout *l)
{
	for (size_t i = 0; i < l->count; i++) {
		buf_adds(b, i ? STR(", ") : STR(""));
		sql_name(b, l->columns[i].name);
	}
}

static void add_images(struct buf *b, const struct layout *l, char side)
{
	for (size_t i = 1; i <= l->count; i++)
		buf_addf(b, "%s%c%zu", i > 1 ? ", " : "", side, i);
}

/* INSERT … SELECT … of one side, with `where` behind it. */
static struct str insert_sql(const struct images *i, char side, const char *slot, const char *where)
{
	struct buf b = BUF_INIT(IMAGES_SQL_MAX);
	buf_addf(&b, "INSERT INTO " STR_FMT " (", STR_ARG(i->name));
	add_names(&b, i->layout);
	buf_addf(&b, ", \"_sb_slot\") SELECT ");
	add_images(&b, i->layout, side);
	buf_addf(&b, ", %s FROM " STR_FMT " WHERE %s", slot, STR_ARG(i->log), where);
	return taken(&b);
}

static void write_statements(struct images *i)
{
	struct buf b = BUF_INIT(IMAGES_SQL_MAX);
	buf_addf(&b, "DELETE FROM " STR_FMT, STR_ARG(i->name));
	i->clear = taken(&b);
	i->fill_old =
		insert_sql(i, 'o', "(seq - @f - 1) * 2", "seq > @f AND seq <= @u AND op <> 'I'");
	i->fill_new =
		insert_sql(i, 'n', "(seq - @f) * 2 - 1", "seq > @f AND seq <= @u AND op <> 'D'");
	i->put_old = insert_sql(i, 'o', "@s", "seq = @q");
	i->put_new = insert_sql(i, 'n', "@s", "seq = @q");
	buf_addf(&b, "SELECT 1 FROM " STR_FMT " WHERE seq > @f AND seq <= @u LIMIT 1",
		STR_ARG(i->log));
	i->any = taken(&b);
}

void images_column(struct buf *sql, const struct images *i, size_t column)
{
	const struct column *c = &i->layout->columns[column];
	buf_addf(sql, "%s COLLATE ", type_of(c->type, i->strict));
	sql_name(sql, c->collation.n ? c->collation : STR("BINARY"));
}

static void create_table(struct buf *b, const struct images *i)
{
	buf_addf(b, "DROP TABLE IF EXISTS " STR_FMT "; CREATE TEMP TABLE ", STR_ARG(i->name));
	buf_add(b, i->name.p + strlen("temp."), i->name.n - strlen("temp."));
	buf_addc(b, '(');
	for (size_t c = 0; c < i->layout->count; c++) {
		sql_name(b, i->layout->columns[c].name);
		buf_addc(b, ' ');
		images_column(b, i, c);
		buf_adds(b, STR(", "));
	}
	buf_adds(b, STR("\"_sb_slot\" INTEGER PRIMARY KEY);"));
}

static void add_prefixed(struct buf *b, const char *prefix, struct str table)
{
	struct buf name = BUF_INIT(IMAGES_SQL_MAX);
	buf_addf(&name, "%s" STR_FMT, prefix, STR_ARG(table));
	sql_name(b, buf_str(&name));
	buf_free(&name);
}

static void create_view(struct buf *b, const char *prefix, const struct layout *l)
{
	buf_adds(b, STR("DROP VIEW IF EXISTS temp."));
	add_prefixed(b, prefix, l->table);
	buf_adds(b, STR("; CREATE TEMP VIEW "));
	add_prefixed(b, prefix, l->table);
	buf_adds(b, STR(" AS SELECT "));
}

/* The images of the side that is looked at. */
static void add_changed(struct buf *b, const struct images *i)
{
	add_names(b, i->layout);
	buf_addf(b, " FROM " STR_FMT " WHERE \"_sb_slot\" & 1 = (SELECT now FROM temp._sb_as);",
		STR_ARG(i->name));
}

static void add_same_key(struct buf *b, const struct layout *l)
{
	for (size_t k = 0; k < l->key_count; k++) {
		struct str column = l->columns[l->key[k]].name;
		buf_adds(b, k ? STR(" AND _sb_c.") : STR("_sb_c."));
		sql_name(b, column);
		buf_adds(b, STR(" = _sb_t."));
		sql_name(b, column);
	}
}

/* The whole: what has not changed stands in the table itself. */
static void create_views(struct buf *b, const struct images *i)
{
	const struct layout *l = i->layout;
	buf_adds(b, STR("CREATE INDEX temp."));
	add_prefixed(b, "_sb_k", l->table);
	buf_adds(b, STR(" ON "));
	buf_add(b, i->name.p + strlen("temp."), i->name.n - strlen("temp."));
	for (size_t k = 0; k < l->key_count; k++) {
		buf_addc(b, k ? ',' : '(');
		sql_name(b, l->columns[l->key[k]].name);
	}
	buf_adds(b,
		STR("); CREATE TEMP TABLE IF NOT EXISTS _sb_as(now INTEGER); "
		    "DELETE FROM temp._sb_as; INSERT INTO temp._sb_as VALUES (0); "));
	create_view(b, "_sb_w", l);
	add_names(b, l);
	buf_adds(b, STR(" FROM main."));
	sql_name(b, l->table);
	buf_addf(b, " AS _sb_t WHERE NOT EXISTS (SELECT 1 FROM " STR_FMT " AS _sb_c WHERE ",
		STR_ARG(i->name));
	add_same_key(b, l);
	buf_adds(b, STR(") UNION ALL SELECT "));
	add_changed(b, i);
	create_view(b, "_sb_d", l);
	add_changed(b, i);
}

static struct str own_name(const struct layout *l)
{
	struct buf b = BUF_INIT(IMAGES_SQL_MAX);
	buf_addf(&b, "temp.\"_sb_i%" PRId64 "\"", l->id);
	return taken(&b);
}

static struct str depend_name(const struct layout *l)
{
	struct buf b = BUF_INIT(IMAGES_SQL_MAX);
	buf_adds(&b, STR("temp."));
	add_prefixed(&b, "_sb_o", l->table);
	return taken(&b);
}

static void free_images(struct images *i)
{
	const struct str *texts[] = {&i->name, &i->clear, &i->fill_old, &i->fill_new, &i->put_old,
		&i->put_new, &i->any, &i->log};
	for (size_t k = 0; k < sizeof(texts) / sizeof(*texts); k++)
		free((void *)(uintptr_t)texts[k]->p);
	struct layout *layout = (struct layout *)(uintptr_t)i->layout;
	layout_unref(&layout);
	free(i);
}

void images_forget(struct images **list)
{
	while (*list) {
		struct images *i = *list;
		*list = i->next;
		free_images(i);
	}
}

static enum err make(struct reading *r, const struct layout *l, bool of_depend, struct images **ret)
{
	bool strict = false;
	enum err err = is_strict(r, l, &strict);
	if (err)
		return err;
	struct images *i = mem_new(struct images);
	i->layout = layout_ref(l);
	i->of_depend = of_depend;
	i->strict = strict;
	i->name = of_depend ? depend_name(l) : own_name(l);
	struct buf b = BUF_INIT(IMAGES_SQL_MAX);
	buf_addf(&b, "main.\"_sb_c%" PRId64 "\"", l->id);
	i->log = taken(&b);
	write_statements(i);
	create_table(&b, i);
	if (of_depend)
		create_views(&b, i);
	err = b.err ? b.err : reading_make(r, buf_str(&b));
	buf_free(&b);
	if (err) {
		free_images(i);
		return err;
	}
	i->next = *reading_images(r);
	*reading_images(r) = i;
	*ret = i;
	return ERR_OK;
}

/* ---- finding them ---- */

bool images_serve(const struct layout *a, const struct layout *b)
{
	if (a == b)
		return true;
	if (a->id != b->id || a->version != b->version || a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (!str_eq(a->columns[i].name, b->columns[i].name) ||
			!str_eq(a->columns[i].type, b->columns[i].type) ||
			!str_eq(a->columns[i].collation, b->columns[i].collation))
			return false;
	return true;
}

static void drop_from_list(struct reading *r, struct images *gone)
{
	struct images **at = reading_images(r);
	while (*at != gone)
		at = &(*at)->next;
	*at = gone->next;
	free_images(gone);
}

enum err images_of(struct reading *r, const struct layout *l, struct images **ret)
{
	for (struct images *i = *reading_images(r); i; i = i->next) {
		if (i->of_depend || i->layout->id != l->id)
			continue;
		if (images_serve(i->layout, l)) {
			*ret = i;
			return ERR_OK;
		}
		drop_from_list(r, i);
		break;
	}
	return make(r, l, false, ret);
}

/* The list is forgotten when the file's schema changes, so what is in it is as the table is. */
enum err images_of_depend(struct reading *r, struct str table, struct images **ret)
{
	for (struct images *i = *reading_images(r); i; i = i->next)
		if (i->of_depend && i->layout->table.n == table.n &&
			sqlite3_strnicmp(i->layout->table.p, table.p, (int)table.n) == 0) {
			*ret = i;
			return ERR_OK;
		}
	char why[CAPTURE_WHY_MAX];
	struct layout *layout = NULL;
	enum err err = capture_layout(r->handle, table, NULL, 0, &layout, why);
	if (err == ERR_PARAMS || (!err && !layout->id))
		err = ERR_NOT_FOUND;
	if (!err)
		err = make(r, layout, true, ret);
	layout_unref(&layout);
	return err;
}

/* ---- what is in them ---- */

static enum err run(struct reading *r, struct str sql, int64_t first, int64_t second)
{
	sqlite3_stmt *stmt = NULL;
	enum err err = reading_statement(r, sql, &stmt);
	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, first);
	sqlite3_bind_int64(stmt, 2, second);
	err = reading_write(r, stmt);
	reading_release(stmt);
	return err;
}

enum err images_clear(struct reading *r, struct images *i)
{
	if (!i->filled)
		return ERR_OK;
	i->filled = false;
	return run(r, i->clear, 0, 0);
}

enum err images_fill(struct reading *r, struct images *i, int64_t from, int64_t upto,
	const struct changes *changes)
{
	enum err err = images_clear(r, i);
	if (err || !changes->count)
		return err;
	if (changes->bytes > IMAGES_BYTES_MAX)
		return ERR_TOO_LARGE;
	i->filled = true;
	err = run(r, i->fill_old, from, upto);
	return err ? err : run(r, i->fill_new, from, upto);
}

enum err images_put(struct reading *r, struct images *i, const struct merging *m)
{
	int64_t bytes = 0;
	enum err err = images_clear(r, i);
	for (size_t k = 0; k < m->count; k++)
		bytes += m->list[k].before_bytes + m->list[k].behind_bytes;
	if (!err && bytes > IMAGES_BYTES_MAX)
		return ERR_TOO_LARGE;
	i->filled = i->filled || m->count;
	for (size_t k = 0; k < m->count && !err; k++) {
		if (m->list[k].before)
			err = run(r, i->put_old, (int64_t)k * 2, m->list[k].before);
		if (!err && m->list[k].behind)
			err = run(r, i->put_new, (int64_t)k * 2 + 1, m->list[k].behind);
	}
	return err;
}

enum err images_fill_depend(
	struct reading *r, struct images *i, int64_t from, int64_t upto, size_t max, bool *ret_any)
{
	struct changes changes = {0};
	struct merging merging = {0};
	enum err err = images_clear(r, i);
	if (!err)
		err = changes_read(r, i->layout, from, upto, max, &changes);
	if (!err)
		merging_of(&changes, &merging);
	if (!err)
		err = images_put(r, i, &merging);
	if (!err)
		*ret_any = merging.count > 0;
	merging_free(&merging);
	changes_free(&changes);
	return err;
}

enum err images_as(struct reading *r, bool now)
{
	return run(r, STR("UPDATE temp._sb_as SET now = @n"), now, 0);
}

enum err images_any(
	struct reading *r, const struct images *i, int64_t from, int64_t upto, bool *ret_any)
{
	sqlite3_stmt *stmt = NULL;
	enum err err = reading_statement(r, i->any, &stmt);
	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, from);
	sqlite3_bind_int64(stmt, 2, upto);
	int rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW || rc == SQLITE_DONE)
		*ret_any = rc == SQLITE_ROW;
	else
		err = reading_failed(r);
	reading_release(stmt);
	return err;
}
