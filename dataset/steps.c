#include "dataset/steps.h"

#include "core/clock.h"
#include "core/mem.h"
#include "core/record.h"
#include "dataset/capture.h"
#include "dataset/window.h"

#include <assert.h>
#include <inttypes.h>

enum {
	SQL_MAX = 256 * 1024,
	PAGE_ROWS = 1000,
	BODY_MAX = 512 * 1024, /* of one message: a part or page and what is around it */
	CURSOR_MAX = 1 << 20,
	WALK_MS = 300,
};

/* One step while it is taken. */
struct step {
	struct reading *r;
	const struct shape *s;
	const struct standing_at *at;
	int64_t upto;
	struct step_result *result;
	bool touched; /* a table that the rule looks into has changed in the range */
};

/* ---- results ---- */

struct step_result *step_result_ref(struct step_result *r)
{
	__atomic_fetch_add(&r->refs, 1, __ATOMIC_RELAXED);
	return r;
}

void step_result_unref(struct step_result **ret)
{
	struct step_result *r = *ret;
	*ret = NULL;
	if (!r || __atomic_fetch_sub(&r->refs, 1, __ATOMIC_ACQ_REL) > 1)
		return;
	for (size_t i = 0; i < r->count; i++)
		free((void *)(uintptr_t)r->messages[i].body.p);
	free(r->messages);
	free((void *)(uintptr_t)r->next.cursor.p);
	struct window *have = (struct window *)(uintptr_t)r->next.have;
	window_unref(&have);
	free(r);
}

static void add_message(struct step_result *r, enum step_kind kind, struct buf *body)
{
	r->messages = mem_resize(r->messages, r->count + 1, sizeof(*r->messages));
	struct step_message *m = &r->messages[r->count++];
	m->kind = kind;
	assert(!body->err);
	m->body.n = body->n;
	m->body.p = buf_take(body);
}

static void add_page(struct step *st, struct str rows, bool last)
{
	struct buf b = BUF_INIT(BODY_MAX);
	buf_addf(&b, "\"as_of\":\"%" PRId64 "\",\"rows\":[", st->upto);
	buf_adds(&b, rows);
	buf_addf(&b, "],\"last\":%s", last ? "true" : "false");
	add_message(st->result, STEP_PAGE, &b);
}

/* Also when there is nothing in it: the next change goes on where this one ends. */
static void add_change(struct step *st, const struct ops *ops)
{
	size_t parts = ops->part_count ? ops->part_count : 1;
	for (size_t i = 0; i < parts; i++) {
		struct buf b = BUF_INIT(BODY_MAX);
		buf_addf(&b,
			"\"from\":\"%" PRId64 "\",\"to\":\"%" PRId64
			"\",\"part\":%zu,\"last\":%s,\"ops\":[",
			st->at->seq, st->upto, i, i + 1 == parts ? "true" : "false");
		if (ops->part_count)
			buf_adds(&b, ops_part(ops, i));
		buf_addc(&b, ']');
		add_message(st->result, STEP_CHANGE, &b);
	}
}

/* ---- what has changed ---- */

/* The images of the tables that the rule looks into. */
static enum err fill_depends(struct step *st, bool *touched)
{
	enum err err = ERR_OK;
	for (size_t i = 0; i < st->s->delta_count && !err; i++) {
		struct images *images = NULL;
		err = images_of_depend(st->r, st->s->deltas[i].depend, &images);
		if (!err)
			err = images_fill_depend(st->r, images, st->at->seq, st->upto,
				STEP_CHANGES_MAX, &touched[i]);
		st->touched = st->touched || (!err && touched[i]);
	}
	return err;
}

/* They may be many, and nobody looks at them before the next step. */
static enum err clear_depends(struct step *st)
{
	enum err err = ERR_OK;
	for (size_t i = 0; i < st->s->delta_count && !err; i++) {
		struct images *images = NULL;
		err = images_of_depend(st->r, st->s->deltas[i].depend, &images);
		if (!err)
			err = images_clear(st->r, images);
	}
	return err;
}

static enum err add_visible(struct step *st, const struct sight *sight, const struct merging *m,
	const struct slots *seen, struct ops *ops)
{
	struct buf row = BUF_INIT(BODY_MAX);
	enum err err = ERR_OK;
	for (size_t i = 0; i < m->count && !err; i++) {
		if (!slots_have(seen, i * 2 + 1))
			continue;
		const struct merged *one = &m->list[i];
		buf_cut(&row, 0);
		if (!st->s->notify)
			err = sight_row(st->r, sight, (int64_t)i * 2 + 1, &row);
		if (!err)
			ops_add(ops, one->seq, one->txn, slots_have(seen, i * 2) ? 'U' : 'I',
				one->key, buf_str(&row));
		if (ops->bytes > STEP_GROUP_BYTES)
			err = ERR_TOO_LARGE;
	}
	buf_free(&row);
	return err;
}

/* What goes stands before what comes: where a reader's language takes two keys for one (1 and 1.0), what is there in
 * the end is. */
static enum err add_ops(struct step *st, const struct sight *sight, const struct merging *m,
	const struct slots *seen, struct ops *ops)
{
	for (size_t i = 0; i < m->count; i++) {
		const struct merged *one = &m->list[i];
		if (slots_have(seen, i * 2) && !slots_have(seen, i * 2 + 1))
			ops_add(ops, one->seq, one->txn, one->behind ? 'X' : 'D', one->key,
				(struct str){0});
		if (ops->bytes > STEP_GROUP_BYTES)
			return ERR_TOO_LARGE;
	}
	return add_visible(st, sight, m, seen, ops);
}

static enum err ops_of_rows(struct step *st, const struct merging *m, struct ops *ops)
{
	struct images *images = NULL;
	struct sight sight = {0};
	struct slots seen = {0};
	enum err err = images_of(st->r, st->s->layout, &images);
	if (err)
		return err;
	sight_make(&sight, st->s, images);
	slots_reset(&seen, m->count * 2);
	err = images_put(st->r, images, m);
	if (!err)
		err = sight_images(st->r, st->s, &sight, st->touched, &seen);
	if (!err)
		err = add_ops(st, &sight, m, &seen, ops);
	if (!err)
		err = images_clear(st->r, images);
	slots_free(&seen);
	sight_free(&sight);
	return err;
}

static enum err ops_of_depends(
	struct step *st, const bool *touched, const struct merging *m, struct ops *ops)
{
	enum err err = ERR_OK;
	for (size_t i = 0; i < st->s->delta_count && !err; i++)
		if (touched[i])
			err = sight_again(st->r, st->s, i, m, st->upto, STEP_GROUP_BYTES, ops);
	return err;
}

static enum err read_changes(struct step *st, struct changes *changes, struct merging *merging)
{
	enum err err = changes_read(
		st->r, st->s->layout, st->at->seq, st->upto, STEP_CHANGES_MAX, changes);
	if (!err)
		merging_of(changes, merging);
	return err;
}

/* ERR_TOO_LARGE: more than a step may tell. */
static enum err tell_changes(struct step *st)
{
	struct changes changes = {0};
	struct merging merging = {0};
	struct ops ops = {0};
	bool touched[DEPENDS_MAX * 4] = {false};
	if (st->at->seq == st->upto)
		return ERR_OK;
	assert(st->s->delta_count <= sizeof(touched));
	enum err err = read_changes(st, &changes, &merging);
	if (!err)
		err = fill_depends(st, touched);
	if (!err && merging.count)
		err = ops_of_rows(st, &merging, &ops);
	if (!err && st->touched)
		err = ops_of_depends(st, touched, &merging, &ops);
	if (!err)
		err = clear_depends(st);
	if (!err && (!st->s->notify || ops.count)) {
		if (st->s->notify)
			ops_free(&ops);
		add_change(st, &ops);
	}
	ops_free(&ops);
	merging_free(&merging);
	changes_free(&changes);
	return err;
}

/* ---- pages ---- */

static void key_list(struct buf *sql, const struct layout *l)
{
	for (size_t i = 0; i < l->key_count; i++) {
		buf_adds(sql, i ? STR(", ") : STR(""));
		sql_dotted(sql, l->table, l->columns[l->key[i]].name);
	}
}

/* A page while it is read. Where SQLite does not find a page of rows that the shape sees in the time there is, the table
 * is walked through row by row, as far as the time goes: the next page goes on from there, whether any was seen or not.
 * The cursor remembers how. */
struct page {
	bool walk, more;
	size_t count;
	int64_t until_ms; /* of a walk */
	struct buf rows, cursor, key;
};

static void page_sql(struct buf *sql, const struct shape *s, bool first, bool walk)
{
	const struct layout *l = s->layout;
	if (walk)
		sight_select_all(sql, s);
	else
		sight_select(sql, s);
	if (!first) {
		buf_adds(sql, STR(" AND ("));
		key_list(sql, l);
		buf_adds(sql, STR(") > ("));
		for (size_t i = 0; i < l->key_count; i++)
			buf_addf(sql, "%s@k%zu", i ? ", " : "", i);
		buf_addc(sql, ')');
	}
	buf_adds(sql, STR(" ORDER BY "));
	key_list(sql, l);
	if (!walk)
		buf_addf(sql, " LIMIT %d", PAGE_ROWS + 1);
}

static enum err bind_cursor(sqlite3_stmt *stmt, struct str cursor)
{
	struct record_reader from = record_of(cursor);
	enum err err = ERR_OK;
	record_int(&from, 1);
	for (int i = 0; record_more(&from) && !err; i++) {
		char name[16];
		snprintf(name, sizeof(name), "@k%d", i);
		struct value v = value_get(&from, CURSOR_MAX);
		int index = sqlite3_bind_parameter_index(stmt, name);
		if (from.bad || !index)
			return ERR_INTERNAL;
		err = value_bind(stmt, index, v);
	}
	return err;
}

static bool cursor_walks(struct str cursor)
{
	struct record_reader from = record_of(cursor);
	return record_int(&from, 1) == 1;
}

static void move_cursor(struct step *st, struct page *p, sqlite3_stmt *stmt)
{
	buf_cut(&p->cursor, 0);
	record_put_int(&p->cursor, p->walk);
	for (size_t i = 0; i < st->s->layout->key_count; i++)
		value_put(&p->cursor, value_of(stmt, (int)i));
}

/* One that has no room any more is read again with the next page. */
static void page_row(struct step *st, struct page *p, sqlite3_stmt *stmt)
{
	size_t before = p->rows.n;
	if (p->count++ == PAGE_ROWS) {
		p->more = true;
		return;
	}
	buf_cut(&p->key, 0);
	if (sight_key(&p->key, st->s, stmt).n) {
		buf_adds(&p->rows, before ? STR(",") : STR(""));
		sight_cells(&p->rows, st->s, stmt);
	}
	if (before && p->rows.n > STEP_PAGE_BYTES) {
		buf_cut(&p->rows, before);
		p->more = true;
	} else {
		move_cursor(st, p, stmt);
	}
}

static enum err page_rows(struct step *st, struct page *p, sqlite3_stmt *stmt)
{
	int rc = SQLITE_DONE;
	while (!p->more && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		if (!p->walk || sight_sees(st->s, stmt)) {
			page_row(st, p, stmt);
		} else {
			move_cursor(st, p, stmt);
			p->more = clock_steady_ms() >= p->until_ms;
		}
	}
	if (!p->more && rc != SQLITE_DONE)
		return reading_failed(st->r);
	return p->cursor.err || p->rows.err ? ERR_TOO_LARGE : ERR_OK;
}

static enum err read_page(struct step *st, struct page *p)
{
	struct buf sql = BUF_INIT(SQL_MAX);
	sqlite3_stmt *stmt = NULL;
	page_sql(&sql, st->s, st->at->cursor.n == 0, p->walk);
	enum err err = sql.err ? sql.err : reading_statement(st->r, buf_str(&sql), &stmt);
	if (!err)
		err = shape_bind(stmt, st->s->params, st->s->param_count);
	if (!err && st->at->cursor.n)
		err = bind_cursor(stmt, st->at->cursor);
	if (!err)
		err = page_rows(st, p, stmt);
	reading_release(stmt);
	buf_free(&sql);
	return err;
}

static enum err walk_page(struct step *st, struct page *p)
{
	buf_cut(&p->rows, 0);
	buf_cut(&p->cursor, 0);
	p->walk = true;
	p->more = false;
	p->count = 0;
	p->until_ms = clock_steady_ms() + WALK_MS;
	reading_extend(st->r, READING_LIMIT_MS);
	return read_page(st, p);
}

static enum err tell_page(struct step *st)
{
	struct page p = {.rows = BUF_INIT(BODY_MAX),
		.cursor = BUF_INIT(CURSOR_MAX),
		.key = BUF_INIT(2 * KEY_JSON_MAX)};
	enum err err = cursor_walks(st->at->cursor) ? ERR_TIMEOUT : read_page(st, &p);
	if (err == ERR_TIMEOUT)
		err = walk_page(st, &p);
	if (!err) {
		add_page(st, buf_str(&p.rows), !p.more);
		st->result->next.whole = !p.more;
		if (p.more) {
			st->result->next.cursor.n = p.cursor.n;
			st->result->next.cursor.p = buf_take(&p.cursor);
		}
	}
	buf_free(&p.rows);
	buf_free(&p.cursor);
	buf_free(&p.key);
	return err;
}

/* ---- windows ---- */

static void tell_window(struct step *st, const struct fresh *now)
{
	struct buf rows = BUF_INIT(BODY_MAX);
	for (size_t i = 0; i < now->count; i++) {
		struct str row = fresh_row(now, i);
		if (rows.n && rows.n + row.n > STEP_PAGE_BYTES) {
			add_page(st, buf_str(&rows), false);
			buf_cut(&rows, 0);
		}
		buf_adds(&rows, rows.n ? STR(",") : STR(""));
		buf_adds(&rows, row);
	}
	add_page(st, buf_str(&rows), true);
	buf_free(&rows);
}

/* A view has no log: it is as the tables are that it was said to stand on. */
static enum err view_touched(struct step *st, bool *ret)
{
	const struct definition *d = st->s->definition;
	enum err err = ERR_OK;
	bool any = false;
	for (size_t i = 0; i < d->depend_count && !err && !any; i++) {
		struct images *images = NULL;
		err = images_of_depend(st->r, d->depends[i], &images);
		if (!err)
			err = images_any(st->r, images, st->at->seq, st->upto, &any);
	}
	*ret = any;
	return err;
}

static enum err depends_touched(struct step *st, bool *ret)
{
	enum err err = ERR_OK;
	bool any = false;
	for (size_t i = 0; i < st->s->delta_count && !err && !any; i++) {
		struct images *images = NULL;
		err = images_of_depend(st->r, st->s->deltas[i].depend, &images);
		if (!err)
			err = images_any(st->r, images, st->at->seq, st->upto, &any);
	}
	*ret = any;
	return err;
}

static enum err tell_difference(
	struct step *st, const struct merging *merging, bool touched, struct ops *ops)
{
	struct fresh now = {0};
	if (!touched) {
		st->result->next.have = window_ref(st->at->have);
		return ERR_OK;
	}
	enum err err = window_read(st->r, st->s, &now);
	if (err)
		return err;
	window_diff(st->at->have, &now, merging, st->upto, ops);
	st->result->next.have = window_ref(now.window);
	fresh_free(&now);
	return ERR_OK;
}

static enum err move_window(struct step *st)
{
	struct changes changes = {0};
	struct merging merging = {0};
	struct ops ops = {0};
	bool view = st->s->layout->view, touched = false;
	enum err err = view ? view_touched(st, &touched) : depends_touched(st, &touched);
	if (!err && !view)
		err = read_changes(st, &changes, &merging);
	if (err == ERR_TOO_LARGE) { /* then nobody knows which of them moved what */
		touched = true;
		err = ERR_OK;
	}
	if (!err)
		err = tell_difference(
			st, view ? NULL : &merging, touched || merging.count > 0, &ops);
	if (!err && st->at->seq != st->upto)
		add_change(st, &ops);
	ops_free(&ops);
	merging_free(&merging);
	changes_free(&changes);
	return err;
}

static enum err take_window(struct step *st)
{
	struct fresh now = {0};
	st->result->next.whole = true;
	if (st->at->whole && st->at->have)
		return move_window(st);
	enum err err = window_read(st->r, st->s, &now);
	if (err)
		return err;
	tell_window(st, &now);
	st->result->next.have = window_ref(now.window);
	fresh_free(&now);
	return ERR_OK;
}

/* ---- a step ---- */

/* A view on which nothing can be told but that something may have changed. */
static enum err take_notice_of_view(struct step *st)
{
	bool touched = false;
	enum err err = st->at->seq < 0 ? ERR_OK : view_touched(st, &touched);
	if (!err && touched)
		add_change(st, &(struct ops){0});
	return err;
}

static enum err take(struct step *st)
{
	const struct shape *s = st->s;
	if (window_is(s))
		return take_window(st);
	st->result->next.whole = st->at->whole || s->notify;
	if (s->layout->view)
		return take_notice_of_view(st);
	enum err err = st->at->seq < 0 ? ERR_OK : tell_changes(st);
	if (!err && !st->result->next.whole)
		err = tell_page(st);
	return err;
}

/* A row of _sb_tables. ERR_NOT_FOUND: not captured. */
static enum err captured(
	struct reading *r, const struct layout *l, int64_t *version, int64_t *since)
{
	sqlite3_stmt *stmt = NULL;
	enum err err = reading_statement(
		r, STR("SELECT version, since FROM main._sb_tables WHERE id = @i"), &stmt);
	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, l->id);
	int rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW) {
		*version = sqlite3_column_int64(stmt, 0);
		*since = sqlite3_column_int64(stmt, 1);
	} else {
		err = rc == SQLITE_DONE ? ERR_NOT_FOUND : reading_failed(r);
	}
	reading_release(stmt);
	return err;
}

/* The columns that the shape was made for are those that are captured. ERR_NOT_FOUND: they are not. */
static enum err layout_stands(struct reading *r, const struct layout *l)
{
	int64_t version = 0, since = 0;
	if (l->view)
		return ERR_OK;
	enum err err = captured(r, l, &version, &since);
	return !err && version != l->version ? ERR_NOT_FOUND : err;
}

/* All that has happened since in a table that the rule looks into, or a view stands on, is in its log. ERR_NOT_FOUND: it
 * may not be. */
static enum err depend_stands(struct step *st, struct str depend)
{
	struct images *images = NULL;
	int64_t version = 0, since = 0;
	enum err err = images_of_depend(st->r, depend, &images);
	if (!err)
		err = captured(st->r, images->layout, &version, &since);
	return !err && st->at->seq >= 0 && since > st->at->seq ? ERR_NOT_FOUND : err;
}

static enum err depends_stand(struct step *st)
{
	const struct shape *s = st->s;
	enum err err = ERR_OK;
	for (size_t i = 0; i < s->delta_count && !err; i++)
		err = depend_stands(st, s->deltas[i].depend);
	for (size_t i = 0; s->layout->view && i < s->definition->depend_count && !err; i++)
		err = depend_stands(st, s->definition->depends[i]);
	return err;
}

static enum err must_reset(struct step *st, enum step_reset *ret)
{
	const struct head *head = reading_head(st->r);
	enum err err = layout_stands(st->r, st->s->layout);
	if (!err)
		err = depends_stand(st);
	if (st->at->seq > head->seq)
		*ret = RESET_EPOCH;
	else if (st->at->seq >= 0 && st->at->seq < head->floor)
		*ret = RESET_PRUNED;
	return err;
}

static struct step_result *new_result(int64_t seq)
{
	struct step_result *result = mem_new(struct step_result);
	result->refs = 1;
	result->next.seq = seq;
	return result;
}

static enum err finish(struct step *st, enum err err, enum step_reset reset)
{
	if (err == ERR_NOT_FOUND)
		reset = RESET_SCHEMA;
	else if (err == ERR_TOO_LARGE && !window_is(st->s))
		reset = RESET_OVERFLOW;
	else if (err)
		return err == ERR_TOO_LARGE ? err : ERR_OVERLOADED;
	if (reset) {
		step_result_unref(&st->result);
		st->result = new_result(-1);
		st->result->reset = reset;
	}
	st->result->at_head = !reset && st->result->next.whole;
	return ERR_OK;
}

enum err step_take(struct reading *r, const struct shape *s, const struct standing_at *at,
	struct step_result **ret)
{
	struct step st = {.r = r, .s = s, .at = at, .upto = reading_head(r)->seq};
	enum step_reset reset = RESET_NONE;
	st.result = new_result(st.upto);
	enum err err = must_reset(&st, &reset);
	if (!err && !reset)
		err = take(&st);
	err = finish(&st, err, reset);
	if (err)
		step_result_unref(&st.result);
	else
		*ret = st.result;
	return err;
}
