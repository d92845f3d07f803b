#include "dataset/live.h"

#include "core/map.h"
#include "core/mem.h"
#include "dataset/live_parts.h"

#include <assert.h>

struct live {
	struct reading *r;
	struct map shapes; /* by id */
	struct source *sources;
	struct watch **numbered; /* by number; NULL: free */
	size_t numbers, lowest;  /* below it none is free */
	int64_t equals_made;
	uint64_t generation; /* of the reading, when the indexes were made */
	struct slots seen;
	struct live_shape *concerned;
};

struct live *live_new(struct reading *r)
{
	struct live *l = mem_new(struct live);
	l->r = r;
	l->generation = reading_generation(r);
	return l;
}

/* ---- sources ---- */

static struct source *own_source(struct live *l, const struct layout *layout)
{
	struct source *s = l->sources;
	while (s && (s->of_depend || !images_serve(s->layout, layout)))
		s = s->next;
	if (s)
		return s;
	s = mem_new(struct source);
	s->layout = layout_ref(layout);
	s->next = l->sources;
	l->sources = s;
	return s;
}

static struct source *depend_source(struct live *l, struct str depend)
{
	struct source *s = l->sources;
	while (s && !(s->of_depend && str_eq(s->depend, depend)))
		s = s->next;
	if (s)
		return s;
	s = mem_new(struct source);
	s->of_depend = true;
	s->depend = (struct str){mem_copy(depend), depend.n};
	s->next = l->sources;
	l->sources = s;
	return s;
}

static enum err source_images(struct live *l, const struct source *s, struct images **ret)
{
	return s->of_depend ? images_of_depend(l->r, s->depend, ret)
			    : images_of(l->r, s->layout, ret);
}

static void forget_step(struct source *s)
{
	if (s->merged)
		merging_free(&s->merging);
	changes_free(&s->changes);
	s->any = s->merged = false;
	for (struct encoder *e = s->encoders; e; e = e->next) {
		buf_free(&e->text);
		free(e->rows);
		e->rows = NULL;
	}
}

static void drop_source(struct live *l, struct source *s)
{
	struct source **at = &l->sources;
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	while (s->equals) {
		struct equals *e = s->equals;
		s->equals = e->next;
		equals_unmake(l->r, e);
		equals_free(&e);
	}
	forget_step(s);
	struct layout *layout = (struct layout *)(uintptr_t)s->layout;
	layout_unref(&layout);
	free((void *)(uintptr_t)s->depend.p);
	free(s);
}

/* ---- watches ---- */

static int64_t take_number(struct live *l, struct watch *w)
{
	size_t n = l->lowest;
	while (n < l->numbers && l->numbered[n])
		n++;
	if (n == l->numbers) {
		l->numbers = l->numbers ? l->numbers * 2 : 64;
		l->numbered = mem_resize(l->numbered, l->numbers, sizeof(struct watch *));
		memset(l->numbered + n, 0, (l->numbers - n) * sizeof(struct watch *));
	}
	l->numbered[n] = w;
	l->lowest = n + 1;
	return (int64_t)n;
}

static struct value *value_of_watch(const struct watch *w)
{
	struct shape *s = (struct shape *)(uintptr_t)w->shape->s;
	return w->which == WATCH_OWN ? &s->equal.value : &s->deltas[w->which].value;
}

/* The column whose value it waits for, or SIZE_MAX. */
static size_t column_of_watch(const struct watch *w, const struct layout *layout)
{
	if (w->which == WATCH_OWN)
		return w->shape->s->equal.column;
	if (w->which == WATCH_VIEW || !w->shape->s->deltas[w->which].column.n)
		return SIZE_MAX;
	return layout_find(layout, w->shape->s->deltas[w->which].column);
}

static enum err equals_for(struct live *l, struct source *s, const struct images *i, size_t column,
	struct equals **ret)
{
	for (struct equals *e = s->equals; e; e = e->next)
		if (e->column == column) {
			*ret = e;
			return ERR_OK;
		}
	struct equals *e = equals_new(i, column, ++l->equals_made);
	enum err err = equals_make(l->r, e);
	if (err) {
		equals_free(&e);
		return err;
	}
	e->next = s->equals;
	s->equals = e;
	*ret = e;
	return ERR_OK;
}

static void make_plain(struct watch *w)
{
	w->next = w->source->plain;
	if (w->next)
		w->next->prev = w;
	w->source->plain = w;
}

static enum err add_watch(
	struct live *l, struct live_shape *shape, struct source *source, int which)
{
	struct watch *w = &shape->watches[shape->watch_count];
	struct images *images = NULL;
	*w = (struct watch){.shape = shape, .source = source, .which = which, .number = -1};
	source->watches++;
	shape->watch_count++;
	enum err err = source_images(l, source, &images);
	size_t column = err ? SIZE_MAX : column_of_watch(w, images->layout);
	if (err || column == SIZE_MAX) {
		make_plain(w);
		return err;
	}
	struct equals *e = NULL;
	err = equals_for(l, source, images, column, &e);
	if (err) {
		make_plain(w);
		return err;
	}
	w->equals = e;
	w->number = take_number(l, w);
	e->count++;
	return equals_put(l->r, e, w->number, *value_of_watch(w));
}

/* An index that could not be written to is made anew with the next step. */
static void remove_watch(struct live *l, struct watch *w)
{
	struct source *source = w->source;
	if (w->equals) {
		if (equals_drop(l->r, w->equals, w->number))
			l->generation = UINT64_MAX;
		w->equals->count--;
		l->numbered[w->number] = NULL;
		if ((size_t)w->number < l->lowest)
			l->lowest = (size_t)w->number;
	} else {
		*(w->prev ? &w->prev->next : &source->plain) = w->next;
		if (w->next)
			w->next->prev = w->prev;
	}
	if (--source->watches == 0)
		drop_source(l, source);
}

/* ---- shapes ---- */

static enum err watch_all(struct live *l, struct live_shape *shape)
{
	const struct shape *s = shape->s;
	enum err err = ERR_OK;
	if (s->layout->view) {
		for (size_t i = 0; i < s->definition->depend_count && !err; i++)
			err = add_watch(
				l, shape, depend_source(l, s->definition->depends[i]), WATCH_VIEW);
		return err;
	}
	struct images *images = NULL;
	shape->own = own_source(l, s->layout);
	err = add_watch(l, shape, shape->own, WATCH_OWN);
	if (!err)
		err = images_of(l->r, s->layout, &images);
	if (!err) {
		shape->encoder = encoder_for(shape->own, s);
		sight_make(&shape->sight, s, images);
	}
	for (size_t i = 0; i < s->delta_count && !err; i++)
		err = add_watch(l, shape, depend_source(l, s->deltas[i].depend), (int)i);
	return err;
}

static void drop_shape(struct live *l, struct live_shape *shape)
{
	if (shape->encoder)
		encoder_leave(shape->own, shape->encoder);
	for (size_t i = 0; i < shape->watch_count; i++)
		remove_watch(l, &shape->watches[i]);
	sight_free(&shape->sight);
	window_unref(&shape->have);
	struct shape *s = (struct shape *)(uintptr_t)shape->s;
	shape_unref(&s);
	free(shape);
}

/* Temporary tables may be gone, or were made for columns that were others: all indexes anew. */
static enum err mend(struct live *l)
{
	if (l->generation == reading_generation(l->r))
		return ERR_OK;
	enum err err = ERR_OK;
	for (struct source *s = l->sources; s && !err; s = s->next) {
		struct images *images = NULL;
		err = source_images(l, s, &images);
		for (struct equals *e = s->equals; e && !err; e = e->next)
			err = equals_make(l->r, e);
	}
	for (size_t i = 0; i < l->numbers && !err; i++) {
		const struct watch *w = l->numbered[i];
		if (w)
			err = equals_put(l->r, w->equals, w->number, *value_of_watch(w));
	}
	if (!err)
		l->generation = reading_generation(l->r);
	return err;
}

static struct str id_of(const struct shape *s)
{
	return str_of(s->id);
}

static enum err add_new(struct live *l, const struct shape *s, struct live_shape **ret)
{
	struct live_shape *shape = mem_new(struct live_shape);
	shape->s = shape_ref(s);
	enum err err = watch_all(l, shape);
	if (err) {
		drop_shape(l, shape);
		return err;
	}
	map_put(&l->shapes, id_of(shape->s), shape);
	*ret = shape;
	return ERR_OK;
}

enum err live_add(struct live *l, const struct shape *s, const struct window *have)
{
	assert(s->delta_count < WATCHES_MAX && s->definition->depend_count < WATCHES_MAX);
	enum err err = mend(l);
	struct live_shape *shape = map_get(&l->shapes, id_of(s));
	if (!err && !shape)
		err = add_new(l, s, &shape);
	if (err)
		return err;
	shape->readers++;
	if (!shape->have)
		shape->have = window_ref(have);
	return ERR_OK;
}

void live_remove(struct live *l, const struct shape *s)
{
	struct live_shape *shape = map_get(&l->shapes, id_of(s));
	if (!shape || --shape->readers)
		return;
	map_remove(&l->shapes, id_of(s));
	drop_shape(l, shape);
}

void live_free(struct live **ret)
{
	struct live *l = *ret;
	*ret = NULL;
	if (!l)
		return;
	struct live_shape *shape;
	for (size_t i = 0; (shape = map_next(&l->shapes, &i)); i = 0) {
		map_remove(&l->shapes, id_of(shape->s));
		drop_shape(l, shape);
	}
	map_free(&l->shapes);
	slots_free(&l->seen);
	free(l->numbered);
	free(l);
}

/* ---- a step ---- */

static void concern(struct live *l, const struct watch *w)
{
	struct live_shape *shape = w->shape;
	if (w->which != WATCH_OWN)
		shape->touched |= w->which == WATCH_VIEW ? 1 : 1u << w->which;
	if (shape->concerned)
		return;
	shape->concerned = true;
	shape->next_concerned = l->concerned;
	l->concerned = shape;
}

static void found(void *context, int64_t who)
{
	struct live *l = context;
	assert(who >= 0 && (size_t)who < l->numbers && l->numbered[who]);
	concern(l, l->numbered[who]);
}

static enum err concern_watches(struct live *l, struct source *s)
{
	enum err err = ERR_OK;
	for (const struct watch *w = s->plain; w; w = w->next)
		concern(l, w);
	for (struct equals *e = s->equals; e && !err; e = e->next)
		if (e->count)
			err = equals_match(l->r, e, found, l);
	return err;
}

static enum err load(struct live *l, struct source *s, int64_t from, int64_t upto)
{
	struct images *images = NULL;
	enum err err = source_images(l, s, &images);
	if (!err && s->of_depend)
		err = images_fill_depend(l->r, images, from, upto, LIVE_CHANGES_MAX, &s->any);
	else if (!err)
		err = changes_read(l->r, s->layout, from, upto, LIVE_CHANGES_MAX, &s->changes);
	if (!err && !s->of_depend) {
		s->any = s->changes.count > 0;
		err = images_fill(l->r, images, from, upto, &s->changes);
	}
	if (!err && s->any)
		err = concern_watches(l, s);
	return err;
}

static enum err tell_concerned(struct live *l, int64_t from, int64_t upto)
{
	size_t bytes = 0;
	enum err err = ERR_OK;
	for (struct live_shape *s = l->concerned; s && !err; s = s->next_concerned) {
		err = live_tell(l->r, s, from, upto, &l->seen);
		bytes += s->ops.bytes;
		if (bytes > LIVE_BYTES_MAX)
			err = ERR_TOO_LARGE;
	}
	return err;
}

static void tell(struct live_shape *s,
	void (*told)(void *context, const struct shape *s, const struct str *parts,
		size_t part_count, const struct window *have),
	void *context)
{
	struct str *parts = mem_alloc((s->ops.part_count + 1) * sizeof(*parts));
	for (size_t i = 0; i < s->ops.part_count; i++)
		parts[i] = ops_part(&s->ops, i);
	const struct window *have = s->now ? s->now : s->have;
	told(context, s->s, parts, s->ops.part_count, s->parted ? NULL : have);
	free(parts);
}

/* good: what was found out holds. */
static void finish_shape(struct live_shape *s, bool good)
{
	if (good && s->now) {
		window_unref(&s->have);
		s->have = s->now;
		s->now = NULL;
	}
	if (good && s->parted)
		window_unref(&s->have);
	window_unref(&s->now);
	ops_free(&s->ops);
	s->concerned = s->told = s->parted = false;
	s->touched = 0;
}

static enum err clear(struct live *l)
{
	enum err err = ERR_OK;
	for (struct source *s = l->sources; s; s = s->next) {
		struct images *images = NULL;
		if (!err && s->any)
			err = source_images(l, s, &images);
		if (!err && s->any)
			err = images_clear(l->r, images);
		forget_step(s);
	}
	return err;
}

static void forget_windows(struct live *l)
{
	struct live_shape *s;
	for (size_t i = 0; (s = map_next(&l->shapes, &i));)
		window_unref(&s->have);
}

static enum err look(struct live *l, int64_t from, int64_t upto)
{
	if (upto - from > LIVE_CHANGES_MAX)
		return ERR_TOO_LARGE;
	enum err err = mend(l);
	for (struct source *s = l->sources; s && !err; s = s->next)
		err = load(l, s, from, upto);
	if (!err)
		err = tell_concerned(l, from, upto);
	return err;
}

enum err live_step(struct live *l, int64_t from, int64_t upto,
	void (*told)(void *context, const struct shape *s, const struct str *parts,
		size_t part_count, const struct window *have),
	void *context, bool *ret_leap)
{
	enum err err = look(l, from, upto);
	bool leap = err && err != ERR_OVERLOADED;
	while (l->concerned) {
		struct live_shape *s = l->concerned;
		l->concerned = s->next_concerned;
		if (!err && s->told)
			tell(s, told, context);
		finish_shape(s, !err);
	}
	enum err cleared = clear(l);
	if (leap)
		forget_windows(l);
	if (err && !leap)
		return err;
	*ret_leap = leap;
	return leap ? ERR_OK : cleared;
}
