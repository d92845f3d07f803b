#include "dataset/live_parts.h"

#include "core/mem.h"

/* ---- rows, once for all who have the same columns ---- */

enum { ROWS_BYTES_MAX = 16 << 20 };

struct encoder *encoder_for(struct source *source, const struct shape *s)
{
	size_t bytes = s->column_count * sizeof(*s->columns);
	struct encoder *e = source->encoders;
	while (e &&
		(e->column_count != s->column_count || memcmp(e->columns, s->columns, bytes) != 0))
		e = e->next;
	if (!e) {
		e = mem_new(struct encoder);
		e->column_count = s->column_count;
		e->columns = mem_alloc(bytes + 1);
		memcpy(e->columns, s->columns, bytes);
		e->text = BUF_INIT(ROWS_BYTES_MAX);
		e->next = source->encoders;
		source->encoders = e;
	}
	e->shapes++;
	return e;
}

void encoder_leave(struct source *source, struct encoder *e)
{
	if (--e->shapes)
		return;
	struct encoder **at = &source->encoders;
	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	buf_free(&e->text);
	free(e->rows);
	free(e->columns);
	free(e);
}

static enum err row_of(
	struct reading *r, struct live_shape *shape, size_t slot, size_t slots, struct str *ret)
{
	struct encoder *e = shape->encoder;
	if (!e->rows) {
		e->rows = mem_alloc(slots * sizeof(*e->rows));
		e->row_count = slots;
	}
	struct cut *row = &e->rows[slot];
	if (!row->n) {
		size_t start = e->text.n;
		enum err err = sight_row(r, &shape->sight, (int64_t)slot, &e->text);
		if (err)
			return err;
		*row = (struct cut){start, e->text.n - start};
	}
	*ret = (struct str){e->text.p + row->start, row->n};
	return ERR_OK;
}

static void merge(struct source *own)
{
	if (!own->merged)
		merging_of(&own->changes, &own->merging);
	own->merged = true;
}

/* ---- plain shapes ---- */

struct telling {
	struct reading *r;
	struct live_shape *shape;
	const struct slots *seen;
	int64_t from;
	size_t slots;
};

static enum err tell_row(
	struct telling *t, const struct change *c, char op, struct str key, size_t slot)
{
	struct str row = {0};
	enum err err = key.n ? row_of(t->r, t->shape, slot, t->slots, &row) : ERR_OK;
	if (!err && key.n)
		ops_add(&t->shape->ops, c->seq, c->txn, op, key, row);
	return err;
}

static void tell_gone(struct telling *t, const struct change *c, char op)
{
	if (c->old_key.n)
		ops_add(&t->shape->ops, c->seq, c->txn, op, c->old_key, (struct str){0});
}

static size_t slot_of(const struct telling *t, int64_t seq)
{
	return (size_t)(seq - t->from - 1) * 2;
}

static enum err tell_change(struct telling *t, const struct change *c)
{
	size_t slot = slot_of(t, c->seq);
	bool old_seen = slots_have(t->seen, slot), new_seen = slots_have(t->seen, slot + 1);
	bool moves = change_moves(c);
	if (old_seen && (moves || !new_seen))
		tell_gone(t, c, c->op == 'D' || (moves && new_seen) ? 'D' : 'X');
	if (!new_seen)
		return ERR_OK;
	return tell_row(t, c, old_seen && !moves ? 'U' : 'I', c->new_key, slot + 1);
}

static enum err tell_changes(struct telling *t)
{
	const struct changes *changes = &t->shape->own->changes;
	enum err err = ERR_OK;
	for (size_t i = 0; i < changes->count && !err; i++) {
		err = tell_change(t, &changes->list[i]);
		if (t->shape->ops.bytes > LIVE_BYTES_MAX)
			err = ERR_TOO_LARGE;
	}
	return err;
}

/* Where the tables that the rule looks into have changed as well, what was there for a moment was not seen by those who
 * see it under these tables as they are now: only what was before and what is behind it all is told. */
static enum err tell_merged(struct telling *t)
{
	const struct merging *m = &t->shape->own->merging;
	enum err err = ERR_OK;
	for (size_t i = 0; i < m->count && !err; i++) {
		const struct merged *one = &m->list[i];
		bool was = one->before && slots_have(t->seen, slot_of(t, one->before));
		bool is = one->behind && slots_have(t->seen, slot_of(t, one->behind) + 1);
		struct change c = {.seq = one->seq, .txn = one->txn, .old_key = one->key};
		if (is)
			err = tell_row(
				t, &c, was ? 'U' : 'I', one->key, slot_of(t, one->behind) + 1);
		else if (was)
			tell_gone(t, &c, one->behind ? 'X' : 'D');
		if (t->shape->ops.bytes > LIVE_BYTES_MAX)
			err = ERR_TOO_LARGE;
	}
	return err;
}

static enum err tell_again(struct reading *r, struct live_shape *shape, int64_t upto)
{
	enum err err = ERR_OK;
	for (size_t i = 0; i < shape->s->delta_count && !err; i++)
		if (shape->touched >> i & 1)
			err = sight_again(r, shape->s, i, &shape->own->merging, upto,
				LIVE_BYTES_MAX, &shape->ops);
	return err;
}

/* ---- windows ---- */

static enum err tell_window(struct reading *r, struct live_shape *shape, int64_t upto)
{
	struct fresh now = {0};
	struct source *own = shape->own;
	enum err err = window_read(r, shape->s, &now);
	if (err)
		return err;
	if (own)
		merge(own);
	window_diff(shape->have, &now, own ? &own->merging : NULL, upto, &shape->ops);
	shape->now = window_ref(now.window);
	shape->told = shape->ops.count > 0;
	fresh_free(&now);
	return ERR_OK;
}

/* ---- any ---- */

enum err live_tell(
	struct reading *r, struct live_shape *shape, int64_t from, int64_t upto, struct slots *seen)
{
	const struct shape *s = shape->s;
	size_t slots = (size_t)(upto - from) * 2;
	enum err err = ERR_OK;
	bool window = window_is(s);
	if (window && !shape->have)
		return ERR_OK; /* its readers take steps */
	slots_reset(seen, slots);
	if (shape->own && shape->own->any)
		err = sight_images(r, s, &shape->sight, shape->touched != 0, seen);
	if (err)
		return err;
	if (s->notify || window) {
		if (!seen->count && !shape->touched)
			return ERR_OK;
		shape->parted = window && window_is_slow(shape->have);
		shape->told = s->notify || shape->parted;
		return window && !shape->parted ? tell_window(r, shape, upto) : ERR_OK;
	}
	struct telling t = {r, shape, seen, from, slots};
	if (shape->touched)
		merge(shape->own);
	if (seen->count)
		err = shape->touched ? tell_merged(&t) : tell_changes(&t);
	if (!err && shape->touched)
		err = tell_again(r, shape, upto);
	shape->told = shape->ops.count > 0;
	return err;
}
