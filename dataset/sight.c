#include "dataset/sight.h"

#include "core/mem.h"
#include "dataset/capture.h"

#include <assert.h>

enum { ROW_MAX = 2 * CELL_BYTES_MAX };

/* ---- slots ---- */

void slots_reset(struct slots *s, size_t size)
{
	size_t words = size / 64 + 1;
	if (size > s->size || !s->bits) {
		free(s->bits);
		s->bits = mem_alloc(words * sizeof(*s->bits));
		s->size = size;
	} else {
		memset(s->bits, 0, words * sizeof(*s->bits));
	}
	s->count = 0;
}

void slots_free(struct slots *s)
{
	free(s->bits);
	*s = (struct slots){0};
}

static void put(struct slots *s, size_t slot)
{
	s->bits[slot / 64] |= 1ULL << (slot % 64);
	s->count++;
}

/* ---- images ---- */

static void images_sql(
	struct buf *b, const struct images *i, struct str predicate, const char *which)
{
	buf_addf(b, "SELECT \"_sb_slot\" FROM " STR_FMT " AS ", STR_ARG(i->name));
	sql_name(b, i->layout->table);
	buf_addf(b, " WHERE %s(" STR_FMT ")", which, STR_ARG(predicate));
}

static struct str taken(struct buf *b)
{
	size_t n = b->n;
	return (struct str){buf_take(b), n};
}

void sight_make(struct sight *t, const struct shape *s, const struct images *i)
{
	struct buf b = BUF_INIT(IMAGES_SQL_MAX);
	images_sql(&b, i, s->predicate, "");
	t->images = taken(&b);
	images_sql(&b, i, s->predicate_wide, "\"_sb_slot\" & 1 = 0 AND ");
	t->images_then = taken(&b);
	buf_adds(&b, STR("SELECT "));
	for (size_t c = 0; c < s->column_count; c++) {
		buf_adds(&b, c ? STR(", ") : STR(""));
		sql_name(&b, s->layout->columns[s->columns[c]].name);
	}
	buf_addf(&b, " FROM " STR_FMT " WHERE \"_sb_slot\" = @s", STR_ARG(i->name));
	t->row = taken(&b);
}

void sight_free(struct sight *t)
{
	free((void *)(uintptr_t)t->images.p);
	free((void *)(uintptr_t)t->images_then.p);
	free((void *)(uintptr_t)t->row.p);
	*t = (struct sight){0};
}

/* sides: 1 old, 2 new, 3 both */
static enum err look(struct reading *r, const struct shape *s, struct str sql, unsigned sides,
	struct slots *seen)
{
	sqlite3_stmt *stmt = NULL;
	enum err err = reading_statement(r, sql, &stmt);
	if (!err)
		err = shape_bind(stmt, s->params, s->param_count);
	int rc = SQLITE_DONE;
	while (!err && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		size_t slot = (size_t)sqlite3_column_int64(stmt, 0);
		assert(slot < seen->size);
		if (sides >> (slot & 1) & 1)
			put(seen, slot);
	}
	if (!err && rc != SQLITE_DONE)
		err = reading_failed(r);
	reading_release(stmt);
	return err;
}

enum err sight_images(struct reading *r, const struct shape *s, const struct sight *t, bool then,
	struct slots *seen)
{
	if (!then)
		return look(r, s, t->images, 3, seen);
	enum err err = images_as(r, false);
	if (!err)
		err = look(r, s, t->images_then, 1, seen);
	return err ? err : look(r, s, t->images, 2, seen);
}

static void write_cells(struct buf *b, sqlite3_stmt *stmt, size_t first, size_t count)
{
	struct value cells[LAYOUT_COLUMNS_MAX];
	for (size_t i = 0; i < count; i++)
		cells[i] = value_of(stmt, (int)(first + i));
	value_write_row(b, cells, count);
}

enum err sight_row(struct reading *r, const struct sight *t, int64_t slot, struct buf *b)
{
	sqlite3_stmt *stmt = NULL;
	enum err err = reading_statement(r, t->row, &stmt);
	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, slot);
	if (sqlite3_step(stmt) == SQLITE_ROW)
		write_cells(b, stmt, 0, (size_t)sqlite3_column_count(stmt));
	else
		err = reading_failed(r);
	reading_release(stmt);
	return err ? err : b->err;
}

/* ---- rows as they are now ---- */

static void columns_and_table(struct buf *sql, const struct shape *s)
{
	const struct layout *l = s->layout;
	for (size_t i = 0; i < l->key_count + s->column_count; i++) {
		size_t c = i < l->key_count ? l->key[i] : s->columns[i - l->key_count];
		buf_adds(sql, i ? STR(", ") : STR(""));
		sql_dotted(sql, l->table, l->columns[c].name);
	}
}

static void from_table(struct buf *sql, const struct layout *l)
{
	buf_adds(sql, STR(" FROM main."));
	sql_name(sql, l->table);
	buf_adds(sql, STR(" AS "));
	sql_name(sql, l->table);
}

/* SQLite lets NULL into keys of most tables; such a row has no key that it could be told by. */
static void with_key(struct buf *sql, const struct layout *l)
{
	for (size_t i = 0; i < l->key_count && (l->null_keys || l->view); i++) {
		sql_dotted(sql, l->table, l->columns[l->key[i]].name);
		buf_adds(sql, STR(" IS NOT NULL AND "));
	}
}

void sight_select(struct buf *sql, const struct shape *s)
{
	buf_adds(sql, STR("SELECT "));
	columns_and_table(sql, s);
	from_table(sql, s->layout);
	buf_adds(sql, STR(" WHERE "));
	with_key(sql, s->layout);
	buf_addf(sql, "(" STR_FMT ")", STR_ARG(s->predicate));
}

static void select_judged(struct buf *sql, const struct shape *s, struct str predicate)
{
	buf_adds(sql, STR("SELECT "));
	columns_and_table(sql, s);
	buf_addf(sql, ", (" STR_FMT ")", STR_ARG(s->predicate));
	from_table(sql, s->layout);
	buf_adds(sql, STR(" WHERE "));
	with_key(sql, s->layout);
	buf_addf(sql, "(" STR_FMT ")", STR_ARG(predicate));
}

void sight_select_all(struct buf *sql, const struct shape *s)
{
	select_judged(sql, s, STR("1"));
}

bool sight_sees(const struct shape *s, sqlite3_stmt *stmt)
{
	return sqlite3_column_int(stmt, (int)(s->layout->key_count + s->column_count)) != 0;
}

struct str sight_key(struct buf *b, const struct shape *s, sqlite3_stmt *stmt)
{
	return key_write(b, stmt, 0, s->layout->key_count);
}

void sight_cells(struct buf *b, const struct shape *s, sqlite3_stmt *stmt)
{
	write_cells(b, stmt, s->layout->key_count, s->column_count);
}

/* now: rows that are seen by what has come; else those that were seen by what has gone, and are not any more. */
static enum err again_rows(struct reading *r, const struct shape *s, sqlite3_stmt *stmt, bool now,
	const struct merging *changed, int64_t seq, size_t bytes_max, struct ops *ops)
{
	struct buf key = BUF_INIT(ROW_MAX), row = BUF_INIT(ROW_MAX);
	int rc = SQLITE_DONE;
	while (ops->bytes <= bytes_max && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		buf_cut(&key, 0);
		buf_cut(&row, 0);
		if (sight_sees(s, stmt) != now || sight_key(&key, s, stmt).n == 0 ||
			merging_find(changed, buf_str(&key)))
			continue;
		if (now)
			sight_cells(&row, s, stmt);
		ops_add(ops, seq, 0, now ? 'I' : 'X', buf_str(&key), buf_str(&row));
	}
	buf_free(&key);
	buf_free(&row);
	if (ops->bytes > bytes_max)
		return ERR_TOO_LARGE;
	return rc == SQLITE_DONE ? ERR_OK : reading_failed(r);
}

enum err sight_again(struct reading *r, const struct shape *s, size_t which,
	const struct merging *changed, int64_t seq, size_t bytes_max, struct ops *ops)
{
	struct buf sql = BUF_INIT(IMAGES_SQL_MAX);
	sqlite3_stmt *stmt = NULL;
	select_judged(&sql, s, s->deltas[which].predicate);
	enum err err = sql.err ? sql.err : ERR_OK;
	for (int now = 0; now <= 1 && !err; now++) {
		err = images_as(r, now);
		if (!err)
			err = reading_statement(r, buf_str(&sql), &stmt);
		if (!err)
			err = shape_bind(stmt, s->params, s->param_count);
		if (!err)
			err = again_rows(r, s, stmt, now, changed, seq, bytes_max, ops);
		reading_release(stmt);
		stmt = NULL;
	}
	buf_free(&sql);
	return err;
}
