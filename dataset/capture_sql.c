#include "dataset/capture_parts.h"

#include "core/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <strings.h>

/* The triggers. What they must stand:
 *
 * - REPLACE deletes the rows in its way, and with recursive_triggers off (the default) no trigger is told. So BEFORE
 *   an insert or update whoever might be deleted is *staged* in _sb_pN, and AFTER it those of them that are gone are
 *   logged as deleted, before the row itself. What is staged is at all times a row as it is: whatever a trigger sees
 *   change or go is taken out (its key is set to NULL there; deleting the rest is what logs it). So it does no harm
 *   that some stay, because an insert was ignored or became the update of an upsert; only the last few are kept.
 * - Triggers of others may change the same rows before ours come to it: which comes first cannot be chosen (temporary
 *   ones always do). So the new image is not what the trigger was called for, but the row as it is then, and a row that
 *   is gone by then is a 'D'. Whoever applies the log in its order ends with the table's rows, and sees every image
 *   that others may have seen go.
 * - Writers trust schemas or not, and have old versions: no functions but a few old ones, no windows, no row values.
 * - The conflict clause of the writer's statement overrides ours: none of our statements can meet a conflict.
 * - Names: all columns are qualified, all tables but ours have an alias, so that nothing of theirs is mistaken. */

enum { STAGED_MAX = 8 }; /* rows that stay staged, beside one for each index */

/* Where a column is meant: the table's row, the trigger's rows, the staged row. */
enum side { ROW, NEW_ROW, OLD_ROW, STAGED };

struct writer {
	const struct captured *c;
	const struct layout *l;
	struct buf *b;
	int64_t id;
};

static void add(struct writer *w, const char *text)
{
	buf_adds(w->b, str_of(text));
}

static void add_column(struct writer *w, enum side side, size_t column)
{
	static const char *const of[] = {[ROW] = "r.", [NEW_ROW] = "NEW.", [OLD_ROW] = "OLD."};
	if (side == STAGED) {
		buf_addf(w->b, "_sb_p%" PRId64 ".o%zu", w->id, column + 1);
		return;
	}
	add(w, of[side]);
	sql_name(w->b, w->l->columns[column].name);
}

static void add_columns(struct writer *w, enum side side)
{
	for (size_t i = 0; i < w->l->count; i++) {
		add(w, ", ");
		add_column(w, side, i);
	}
}

static void add_images(struct writer *w, char image, const char *first)
{
	for (size_t i = 0; i < w->l->count; i++)
		buf_addf(w->b, "%s%c%zu", i ? ", " : first, image, i + 1);
}

static void add_table(struct writer *w)
{
	sql_name(w->b, w->l->table);
	add(w, " AS r");
}

/* ---- conditions ---- */

/* By which the table's own index tells keys apart: it may differ from the column's. */
static const char *key_collation(const struct writer *w, size_t column)
{
	const struct unique *key = &w->c->uniques[0];
	for (size_t i = 0; i < key->count; i++)
		if (key->parts[i].column == column)
			return key->parts[i].collation;
	return "BINARY";
}

/* The same row for the table: what its key allows once. */
static void add_same_key(struct writer *w, enum side a, enum side b)
{
	for (size_t i = 0; i < w->l->key_count; i++) {
		if (i)
			add(w, " AND ");
		add_column(w, a, w->l->key[i]);
		add(w, " = ");
		add_column(w, b, w->l->key[i]);
		buf_addf(w->b, " COLLATE %s", key_collation(w, w->l->key[i]));
	}
}

/* The very same bytes. */
static void add_key_is(struct writer *w, enum side a, enum side b)
{
	for (size_t i = 0; i < w->l->key_count; i++) {
		if (i)
			add(w, " AND ");
		add_column(w, a, w->l->key[i]);
		add(w, " IS ");
		add_column(w, b, w->l->key[i]);
		add(w, " COLLATE BINARY");
	}
}

static void add_key_null(struct writer *w, enum side side, bool null)
{
	add(w, "(");
	for (size_t i = 0; i < w->l->key_count; i++) {
		if (i)
			add(w, null ? " OR " : " AND ");
		add_column(w, side, w->l->key[i]);
		add(w, null ? " IS NULL" : " IS NOT NULL");
	}
	add(w, ")");
}

/* What the new row will have there. Where NULL is not allowed, REPLACE takes the default instead. */
static void add_new_value(struct writer *w, size_t column)
{
	if (w->c->defaults[column])
		add(w, "coalesce(");
	add_column(w, NEW_ROW, column);
	if (w->c->defaults[column])
		buf_addf(w->b, ", (%s))", w->c->defaults[column]);
}

/* An expression of the table's columns, with those of the new row. */
static void add_new_expression(struct writer *w, const char *expression)
{
	buf_addf(w->b, "(SELECT %s FROM (SELECT ", expression);
	for (size_t i = 0; i < w->l->count; i++) {
		if (i)
			add(w, ", ");
		add_new_value(w, i);
		add(w, " AS ");
		sql_name(w->b, w->l->columns[i].name);
	}
	add(w, "))");
}

static void add_part(struct writer *w, const struct unique_part *p)
{
	switch (p->kind) {
	case UNIQUE_COLUMN:
		add_column(w, ROW, p->column);
		add(w, " = ");
		add_new_value(w, p->column);
		break;
	case UNIQUE_ROWID:
		buf_addf(w->b, "r.%s = NEW.%s", w->c->rowid, w->c->rowid);
		return;
	case UNIQUE_EXPRESSION:
		buf_addf(w->b, "(%s)", p->expression);
		buf_addf(w->b, " COLLATE %s = ", p->collation);
		add_new_expression(w, p->expression);
		return;
	}
	buf_addf(w->b, " COLLATE %s", p->collation);
}

/* Row r stands in the way of the new row in this index. */
static void add_in_way(struct writer *w, const struct unique *u, bool update)
{
	for (size_t i = 0; i < u->count; i++) {
		if (i)
			add(w, " AND ");
		add_part(w, &u->parts[i]);
	}
	if (u->where)
		buf_addf(w->b, " AND (%s)", u->where);
	if (update) {
		add(w, " AND NOT (");
		add_key_is(w, ROW, OLD_ROW);
		add(w, ")");
	}
}

/* Only an update that changes what the index has can bring anybody into its way. */
static void add_moves(struct writer *w, const struct unique *u)
{
	bool always = u->where != NULL;
	for (size_t i = 0; i < u->count; i++)
		always = always || u->parts[i].kind == UNIQUE_EXPRESSION;
	if (always) {
		add(w, "1");
		return;
	}
	add(w, "(");
	for (size_t i = 0; i < u->count; i++) {
		if (i)
			add(w, " OR ");
		if (u->parts[i].kind == UNIQUE_ROWID) {
			buf_addf(w->b, "NEW.%s IS NOT OLD.%s", w->c->rowid, w->c->rowid);
			continue;
		}
		add_column(w, NEW_ROW, u->parts[i].column);
		add(w, " IS NOT ");
		add_column(w, OLD_ROW, u->parts[i].column);
		add(w, " COLLATE BINARY");
	}
	add(w, ")");
}

/* ---- statements ---- */

static void add_count(struct writer *w, const char *by)
{
	buf_addf(w->b, " UPDATE _sb_ctx SET seq = seq + %s WHERE one = 1;", by);
}

/* INSERT INTO _sb_cN(…, o…, n…) SELECT c.seq + 1, c.txn, c.actor, */
static void add_log(struct writer *w, bool old, bool new)
{
	buf_addf(w->b, " INSERT INTO _sb_c%" PRId64 "(seq, txn, actor, op", w->id);
	if (old)
		add_images(w, 'o', ", ");
	if (new)
		add_images(w, 'n', ", ");
	add(w, ") SELECT c.seq + 1, c.txn, c.actor, ");
}

static void add_stage(struct writer *w, const struct unique *u, bool update)
{
	buf_addf(w->b, " INSERT INTO _sb_p%" PRId64 "(", w->id);
	add_images(w, 'o', "");
	add(w, ") SELECT ");
	for (size_t i = 0; i < w->l->count; i++) {
		add(w, i ? ", " : "");
		add_column(w, ROW, i);
	}
	add(w, " FROM ");
	add_table(w);
	add(w, " WHERE ");
	if (update) {
		add_moves(w, u);
		add(w, " AND ");
	}
	add_in_way(w, u, update);
	if (w->c->null_keys) {
		add(w, " AND ");
		add_key_null(w, ROW, false);
	}
	buf_addf(w->b, " AND NOT EXISTS(SELECT 1 FROM _sb_p%" PRId64 " WHERE ", w->id);
	add_key_is(w, STAGED, ROW);
	add(w, ");");
}

/* The row that is staged, and not one that has taken its place already. */
static void add_unstage(struct writer *w)
{
	buf_addf(w->b, " UPDATE _sb_p%" PRId64 " SET o%zu = NULL WHERE ", w->id, w->l->key[0] + 1);
	add_key_is(w, STAGED, OLD_ROW);
	for (size_t i = 0; i < w->l->count; i++) {
		if (w->l->columns[i].key)
			continue;
		add(w, " AND ");
		add_column(w, STAGED, i);
		add(w, " IS ");
		add_column(w, OLD_ROW, i);
		add(w, " COLLATE BINARY");
	}
	add(w, ";");
}

/* What the staged rows' own trigger logs: those in whose place the new row is, and those that are nowhere. */
static void add_gone(struct writer *w)
{
	buf_addf(w->b, " DELETE FROM _sb_p%" PRId64 " WHERE ", w->id);
	add_same_key(w, STAGED, NEW_ROW);
	add(w, " OR NOT EXISTS(SELECT 1 FROM ");
	add_table(w);
	add(w, " WHERE ");
	add_same_key(w, ROW, STAGED);
	add(w, ");");
}

/* The new row as it is now, if it is. */
static void add_inserted(struct writer *w)
{
	add_gone(w);
	add_log(w, false, true);
	add(w, "'I'");
	add_columns(w, ROW);
	add(w, " FROM _sb_ctx AS c CROSS JOIN ");
	add_table(w);
	add(w, " WHERE c.one = 1 AND ");
	add_same_key(w, ROW, NEW_ROW);
	add(w, ";");
	add_count(w, "changes()");
}

/* The old row, and what is there now, if anything, under the key of that side. */
static void add_changed(struct writer *w, enum side side)
{
	add_log(w, true, true);
	add(w, "CASE WHEN ");
	add_column(w, ROW, w->l->key[0]);
	add(w, " IS NULL THEN 'D' ELSE 'U' END");
	add_columns(w, OLD_ROW);
	add_columns(w, ROW);
	add(w, " FROM _sb_ctx AS c LEFT JOIN ");
	add_table(w);
	add(w, " ON ");
	add_same_key(w, ROW, side);
	add(w, " WHERE c.one = 1;");
	add_count(w, "1");
}

/* ---- triggers ---- */

static struct writer object(
	const struct captured *c, struct objects *o, const char *name, const char *kind)
{
	assert(o->count < OBJECTS_MAX);
	struct object *new = &o->list[o->count++];
	snprintf(new->name, sizeof(new->name), name, c->layout->id);
	new->sql = BUF_INIT(SQL_BYTES_MAX);
	buf_addf(&new->sql, "CREATE %s %s", kind, new->name);
	return (struct writer){c, c->layout, &new->sql, c->layout->id};
}

static void on_table(struct writer *w, const char *when)
{
	buf_addf(w->b, " %s ON ", when);
	sql_name(w->b, w->l->table);
}

static void trigger_before(struct objects *o, const struct captured *c, bool update)
{
	struct writer w =
		object(c, o, update ? "_sb_c%" PRId64 "_bu" : "_sb_c%" PRId64 "_bi", "TRIGGER");
	on_table(&w, update ? "BEFORE UPDATE" : "BEFORE INSERT");
	add(&w, " WHEN ");
	if (update)
		add_moves(&w, &c->uniques[0]);
	for (size_t i = 0; i < c->unique_count; i++) {
		add(&w, i || update ? " OR " : "");
		if (update) {
			add_moves(&w, &c->uniques[i]);
			add(&w, " AND ");
		}
		add(&w, "EXISTS(SELECT 1 FROM ");
		add_table(&w);
		add(&w, " WHERE ");
		add_in_way(&w, &c->uniques[i], update);
		add(&w, ")");
	}
	add(&w, " BEGIN");
	if (update)
		add_unstage(&w);
	buf_addf(w.b,
		" UPDATE _sb_p%" PRId64 " SET o%zu = NULL WHERE n <= (SELECT max(n) FROM "
		"_sb_p%" PRId64 ") - %zu; DELETE FROM _sb_p%" PRId64 " WHERE o%zu IS NULL;",
		w.id, w.l->key[0] + 1, w.id, STAGED_MAX + c->unique_count, w.id, w.l->key[0] + 1);
	for (size_t i = 0; i < c->unique_count; i++)
		add_stage(&w, &c->uniques[i], update);
	add(&w, " END");
}

static void trigger_inserted(struct objects *o, const struct captured *c)
{
	struct writer w = object(c, o, "_sb_c%" PRId64 "_ai", "TRIGGER");
	on_table(&w, "AFTER INSERT");
	add(&w, " BEGIN");
	add_inserted(&w);
	add(&w, " END");
}

static void trigger_updated(struct objects *o, const struct captured *c)
{
	struct writer w = object(c, o, "_sb_c%" PRId64 "_au", "TRIGGER");
	on_table(&w, "AFTER UPDATE");
	if (c->null_keys) {
		add(&w, " WHEN ");
		add_key_null(&w, OLD_ROW, false);
	}
	add(&w, " BEGIN");
	add_unstage(&w);
	add_gone(&w);
	add_changed(&w, NEW_ROW);
	add(&w, " END");
}

/* A row whose key had a NULL in it is new when it has none any more. */
static void trigger_keyed(struct objects *o, const struct captured *c)
{
	struct writer w = object(c, o, "_sb_c%" PRId64 "_ak", "TRIGGER");
	on_table(&w, "AFTER UPDATE");
	add(&w, " WHEN ");
	add_key_null(&w, OLD_ROW, true);
	add(&w, " BEGIN");
	add_inserted(&w);
	add(&w, " END");
}

/* Before it is gone, because changes that cascade come before the trigger behind it, and would find it gone. The same
 * is done when an update changes the key. */
static void trigger_deleting(struct objects *o, const struct captured *c)
{
	struct writer w = object(c, o, "_sb_c%" PRId64 "_bd", "TRIGGER");
	on_table(&w, "BEFORE DELETE");
	add(&w, " BEGIN");
	add_unstage(&w);
	add(&w, " END");
}

static void trigger_deleted(struct objects *o, const struct captured *c)
{
	struct writer w = object(c, o, "_sb_c%" PRId64 "_ad", "TRIGGER");
	on_table(&w, "AFTER DELETE");
	if (c->null_keys) {
		add(&w, " WHEN ");
		add_key_null(&w, OLD_ROW, false);
	}
	add(&w, " BEGIN");
	add_changed(&w, OLD_ROW);
	add(&w, " END");
}

/* Whoever is taken from the staged rows with its key has been replaced. */
static void trigger_replaced(struct objects *o, const struct captured *c)
{
	struct writer w = object(c, o, "_sb_p%" PRId64 "_ad", "TRIGGER");
	buf_addf(w.b, " AFTER DELETE ON _sb_p%" PRId64 " WHEN OLD.o%zu IS NOT NULL BEGIN", w.id,
		w.l->key[0] + 1);
	add_log(&w, true, false);
	add(&w, "'D'");
	for (size_t i = 0; i < c->layout->count; i++)
		buf_addf(w.b, ", OLD.o%zu", i + 1);
	add(&w, " FROM _sb_ctx AS c WHERE c.one = 1;");
	add_count(&w, "1");
	add(&w, " END");
}

/* ---- tables ---- */

static void add_log_columns(struct writer *w, bool key)
{
	for (size_t i = 0; i < w->l->count; i++)
		if ((w->l->columns[i].key != 0) == key)
			buf_addf(w->b, ", o%zu, n%zu", i + 1, i + 1);
}

/* Nothing has a type, so that no image is changed, and nothing has to be looked at; the keys come first, where they are
 * found without reading what is long. */
static void table_log(struct objects *o, const struct captured *c)
{
	struct writer w = object(c, o, "_sb_c%" PRId64, "TABLE");
	add(&w, "(seq INTEGER PRIMARY KEY, txn, actor, op");
	add_log_columns(&w, true);
	add_log_columns(&w, false);
	add(&w, ")");
}

static void table_staged(struct objects *o, const struct captured *c)
{
	struct writer w = object(c, o, "_sb_p%" PRId64, "TABLE");
	add(&w, "(n INTEGER PRIMARY KEY");
	add_images(&w, 'o', ", ");
	add(&w, ")");
}

void objects_make(const struct captured *c, struct objects *ret)
{
	ret->count = 0;
	table_log(ret, c);
	table_staged(ret, c);
	trigger_replaced(ret, c);
	trigger_before(ret, c, false);
	trigger_before(ret, c, true);
	trigger_inserted(ret, c);
	trigger_updated(ret, c);
	if (c->null_keys)
		trigger_keyed(ret, c);
	trigger_deleting(ret, c);
	trigger_deleted(ret, c);
}

void objects_free(struct objects *o)
{
	while (o->count)
		buf_free(&o->list[--o->count].sql);
}

void columns_describe(const struct captured *c, struct buf *b)
{
	for (size_t i = 0; i < c->layout->count; i++) {
		const struct column *column = &c->layout->columns[i];
		sql_name(b, column->name);
		buf_addf(b, " " STR_FMT " " STR_FMT " %d%s%s\n", STR_ARG(column->type),
			STR_ARG(column->collation), column->key,
			column->required ? " required" : "", column->generated ? " generated" : "");
	}
}
