#include "dataset/feed_records.h"

#include "core/mem.h"
#include "dataset/feed_parts.h"
#include "dataset/subscriptions.h"

enum {
	RECORD_MAX_BYTES = 512 * 1024,
	PART_MAX_BYTES = 64 * 1024,
	CURSOR_MAX_BYTES = 256 * 1024,
};

struct wish_text wish_copy(const struct shape_wish *wish)
{
	struct wish_text w = {.wish = *wish};
	char *at = w.text = mem_alloc(wish->where.n + wish->columns.n + wish->order.n + 1);
	w.wish.where = str_put(&at, wish->where);
	w.wish.columns = str_put(&at, wish->columns);
	w.wish.order = str_put(&at, wish->order);
	return w;
}

void wish_free(struct wish_text *w)
{
	free(w->text);
	*w = (struct wish_text){0};
}

/* ---- saving ---- */

struct saving {
	const struct feed *feed;
	struct buf *out;
};

/* A position of -1 is written as 0. */
static void put(void *context, struct addr session, const struct restored *r)
{
	const struct saving *s = context;
	struct buf b = BUF_INIT(RECORD_MAX_BYTES);
	addr_put(&b, session);
	record_put_str(&b, s->feed->name);
	record_put_str(&b, r->wish.wish.where);
	record_put_str(&b, r->wish.wish.columns);
	record_put_str(&b, r->wish.wish.order);
	record_put_int(&b, (uint64_t)r->wish.wish.limit);
	record_put_int(&b, r->wish.wish.notify);
	record_put_str(&b, str_of(r->shape));
	record_put_str(&b, str_of(r->epoch));
	record_put_int(&b, (uint64_t)(r->at.seq + 1));
	record_put_int(&b, r->at.whole);
	record_put_str(&b, r->at.cursor);
	record_put_int(&b, r->credit);
	record_put_int(&b, r->sent);
	record_put_int(&b, r->snapshot);
	if (!b.err)
		record_put_str(s->out, buf_str(&b));
	buf_free(&b);
}

/* What waited to be sent is not written down: the step is taken again, from where the reader stands. */
static void put_reader(struct saving *s, const struct reader *r)
{
	const struct flow *w = r->flow;
	struct restored it = {.wish = w->wish,
		.at = r->at,
		.credit = r->credit,
		.sent = r->sent,
		.snapshot = r->snapshot};
	memcpy(it.shape, w->shape->id, sizeof(it.shape));
	memcpy(it.epoch, w->feed->epoch, sizeof(it.epoch));
	if (r->state == READER_LIVE)
		it.at = (struct standing_at){.seq = w->told, .whole = true};
	put(s, r->outlet->addr, &it);
}

void feed_records_save(const struct feed *f, struct buf *out)
{
	struct saving s = {f, out};
	const struct flow *w;
	for (size_t i = 0; (w = map_next(&f->flows, &i));)
		for (const struct reader *r = w->readers; r; r = r->next)
			put_reader(&s, r);
	wanted_each(f, put, &s);
}

/* ---- loading ---- */

static void read_wish(struct record_reader *r, struct shape_wish *ret)
{
	ret->where = record_str(r, PART_MAX_BYTES);
	ret->columns = record_str(r, PART_MAX_BYTES);
	ret->order = record_str(r, PART_MAX_BYTES);
	ret->limit = (int64_t)record_int(r, SHAPE_LIMIT_MAX);
	ret->notify = record_int(r, 1);
}

static void read_restored(struct record_reader *r, struct restored *ret)
{
	read_wish(r, &ret->wish.wish);
	record_text(r, ret->shape, sizeof(ret->shape));
	record_text(r, ret->epoch, sizeof(ret->epoch));
	ret->at.seq = (int64_t)record_int(r, INT64_MAX) - 1;
	ret->at.whole = record_int(r, 1);
	ret->at.cursor = record_str(r, CURSOR_MAX_BYTES);
	ret->credit = record_int(r, INT64_MAX);
	ret->sent = record_int(r, INT64_MAX);
	ret->snapshot = record_int(r, 1);
}

void feed_records_load(struct record_reader *one, const struct chapter_lookup *lookup)
{
	struct addr now, old = addr_read(one);
	struct str dataset = record_str(one, DATASET_NAME_MAX);
	struct restored r = {0};
	const struct principal *who = NULL;
	read_restored(one, &r);
	if (one->bad || !lookup->find(lookup->context, old, &now, &who))
		return;
	if (now.worker == worker_self()->index)
		subscriptions_put(now, dataset, str_of(r.shape));
	if (worker_home(dataset) != worker_self())
		return;
	r.wish = wish_copy(&r.wish.wish);
	r.at = standing_copy(&r.at);
	outlet_for(now, who)->away = true;
	feed_restore(dataset, now, &r);
}
