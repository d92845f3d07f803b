/* One shape and all who read it: the steps that they take, together where they stand at the same place, and
 * the live feed of those who are in step. */
#include "core/mem.h"
#include "core/metrics.h"
#include "dataset/feed_parts.h"

#include <assert.h>

/* A step under way, and who waits for it. */
struct stepping {
	struct step_job job; /* first */
	struct flow *flow;
	struct shape *shape;
	struct standing_at at; /* own copy */
	bool join, over;
	struct reader *first; /* linked by next_stepping */
	struct stepping *next, **back;
};

static _Thread_local size_t steps_under_way;
static _Thread_local bool resting; /* no step begins any more */

size_t flows_under_way(void)
{
	return steps_under_way;
}

void flows_rest(void)
{
	resting = true;
}

struct flow *flow_for(struct feed *f, const struct shape *s, const struct shape_wish *wish)
{
	struct flow *w = map_get(&f->flows, str_of(s->id));
	if (w)
		return w;
	w = mem_new(struct flow);
	w->feed = f;
	w->shape = shape_ref(s);
	w->wish = wish_copy(wish);
	map_put(&f->flows, str_of(w->shape->id), w);
	return w;
}

/* Nobody is live: the database need not look at it any more. */
static void part(struct flow *w)
{
	assert(!w->live_count);
	if (w->joined && w->feed->attached)
		database_leave(w->feed->attached, w->shape);
	w->joined = false;
	window_drop(&w->have);
}

void flow_free_if_unused(struct flow *w)
{
	if (w->readers || w->steps || w->busy)
		return;
	part(w);
	map_remove(&w->feed->flows, str_of(w->shape->id));
	audience_unref(&w->audience);
	feed_free_if_unused(w->feed);
	shape_unref(&w->shape);
	wish_free(&w->wish);
	free(w);
}

/* ---- in step ---- */

void flow_left(struct flow *w)
{
	w->live_count--;
	audience_unref(&w->audience);
	if (!w->live_count)
		part(w);
}

/* Who cannot be sent so much at once falls behind. */
static void thin_out(struct flow *w, size_t messages, size_t bytes)
{
	for (struct reader *r = w->readers, *next; r; r = next) {
		next = r->next;
		if (r->state == READER_LIVE && !reader_may(r, messages, bytes))
			reader_behind(r);
	}
}

static struct audience *audience_of(struct reader *const *list, size_t count)
{
	struct addr *to = mem_alloc((count + 1) * sizeof(*to));
	for (size_t i = 0; i < count; i++)
		to[i] = list[i]->outlet->addr;
	struct audience *a = audience_new(to, count);
	free(to);
	return a;
}

static void make_audience(struct flow *w)
{
	size_t count = 0;
	if (w->audience)
		return;
	struct reader **live = mem_alloc(w->live_count * sizeof(struct reader *));
	for (struct reader *r = w->readers; r; r = r->next)
		if (r->state == READER_LIVE)
			live[count++] = r;
	w->audience = audience_of(live, count);
	free(live);
}

/* To all that are live; counted once all of it has been sent. */
static size_t tell(struct flow *w, struct frame *f)
{
	size_t bytes = f->size;
	make_audience(w);
	audience_send(w->audience, (struct addr){0}, f);
	return bytes;
}

static void count(struct flow *w, size_t messages, size_t bytes)
{
	for (struct reader *r = w->readers; r; r = r->next)
		if (r->state == READER_LIVE)
			reader_sent(r, messages, bytes);
	metric_add(METRIC_DATASET_MESSAGES, (int64_t)(messages * w->live_count));
}

static void keep_window(struct flow *w, const struct window *have)
{
	if (have)
		window_ref(have);
	window_drop(&w->have);
	w->have = have;
}

static void enter(struct flow *w)
{
	w->busy++;
}

static void leave(struct flow *w)
{
	w->busy--;
	flow_free_if_unused(w);
}

static size_t bytes_of(const struct told *told)
{
	size_t bytes = 0;
	for (size_t i = 0; i < told->part_count; i++)
		bytes += told->parts[i].n;
	return bytes;
}

/* All that are live. */
static void all_behind(struct flow *w)
{
	for (struct reader *r = w->readers, *next; r; r = next) {
		next = r->next;
		if (r->state == READER_LIVE)
			reader_behind(r);
	}
}

/* Of a window that is too slow for the live feed: only that there is something. */
static bool is_slow(const struct flow *w, const struct told *told)
{
	return w->have && !told->have;
}

void flow_told(struct flow *w, const struct told *told, int64_t at)
{
	bool notify = w->shape->notify;
	size_t messages = notify ? 1 : told->part_count, bytes = 0;
	enter(w);
	if (is_slow(w, told)) {
		all_behind(w);
		flow_go(w);
		leave(w);
		return;
	}
	thin_out(w, messages, bytes_of(told));
	if (w->live_count && notify)
		bytes = tell(w, frame_of_uptodate(w, at));
	for (size_t i = 0; w->live_count && !notify && i < told->part_count; i++)
		bytes += tell(w,
			frame_of_ops(w, w->told, at, i, i + 1 == told->part_count, told->parts[i]));
	count(w, messages, bytes);
	w->told = at;
	keep_window(w, told->have);
	flow_go(w);
	leave(w);
}

/* No ops, but the next message begins there. */
static void skip_to(struct flow *w, int64_t at)
{
	thin_out(w, 2, 0);
	if (w->live_count)
		count(w, 1, tell(w, frame_of_ops(w, w->told, at, 0, true, STR(""))));
	w->told = at;
}

void flow_moved(struct flow *w)
{
	int64_t at = w->feed->at;
	if (!w->live_count || w->told >= at)
		return;
	enter(w);
	if (w->shape->notify) {
		w->told = at; /* who is only told of changes is told of none */
	} else {
		skip_to(w, at);
		if (w->live_count)
			count(w, 1, tell(w, frame_of_uptodate(w, at)));
	}
	leave(w);
}

void flow_parted(struct flow *w)
{
	w->joined = false;
	enter(w);
	all_behind(w);
	leave(w);
}

void flow_go(struct flow *w)
{
	enter(w);
	for (struct reader *r = w->readers, *next; r; r = next) {
		next = r->next;
		reader_go(r);
	}
	leave(w);
}

void flow_reset(struct flow *w, enum step_reset why)
{
	enter(w);
	for (struct reader *r = w->readers, *next; r; r = next) {
		next = r->next;
		reader_reset(r, why);
	}
	leave(w);
}

/* ---- steps ---- */

static bool same_place(const struct standing_at *a, const struct standing_at *b)
{
	return a->seq == b->seq && a->whole == b->whole && a->have == b->have &&
		str_eq(a->cursor, b->cursor);
}

static void wait_for(struct stepping *s, struct reader *r)
{
	r->state = READER_STEPPING;
	r->stepping = s;
	r->next_stepping = s->first;
	s->first = r;
}

void flow_step_without(struct reader *r)
{
	struct reader **at = &r->stepping->first;
	while (*at != r)
		at = &(*at)->next_stepping;
	*at = r->next_stepping;
	r->stepping = NULL;
}

static void unlink_stepping(struct stepping *s)
{
	struct flow *w = s->flow;
	*s->back = s->next;
	if (s->next)
		s->next->back = s->back;
	standing_free(&s->at);
	shape_unref(&s->shape);
	step_result_unref(&s->job.result);
	free(s);
	flow_free_if_unused(w);
}

static void step_done(struct step_job *job);

static struct stepping *stepping_new(struct flow *w, const struct standing_at *at, bool join)
{
	struct stepping *s = mem_new(struct stepping);
	s->flow = w;
	s->join = join;
	s->at = standing_copy(at);
	s->job.attached = w->feed->attached;
	s->job.shape = s->shape = shape_ref(w->shape);
	s->job.at = s->at;
	s->job.done = step_done;
	s->next = w->steps;
	s->back = &w->steps;
	if (s->next)
		s->next->back = &s->next;
	w->steps = s;
	return s;
}

/* False: not now. */
static bool begin(struct stepping *s)
{
	if (s->join)
		database_join(&s->job);
	else if (database_step(&s->job))
		return false;
	steps_under_way++;
	return true;
}

void flow_step(struct reader *r)
{
	struct flow *w = r->flow;
	if (resting || w->feed->state != FEED_LIVE)
		return;
	int64_t most = window_is_slow(r->at.have) ? 0 : JOIN_CHANGES_MAX;
	bool join = r->at.whole && w->feed->at - r->at.seq <= most;
	struct stepping *s = w->steps;
	while (s && (s->over || s->join != join || !same_place(&s->at, &r->at)))
		s = s->next;
	if (!s) {
		s = stepping_new(w, &r->at, join);
		if (!begin(s)) {
			feed_retry_soon(w->feed);
			unlink_stepping(s);
			return;
		}
	}
	wait_for(s, r);
}

/* The readers that a step was for: those who can be sent all of it at once come first in the list. */
struct party {
	struct reader **list;
	size_t count, able;
};

static struct party party_of(struct stepping *s, size_t messages, size_t bytes)
{
	struct party p = {.list = mem_alloc((s->flow->count + 1) * sizeof(struct reader *))};
	for (struct reader *r = s->first; r; r = r->next_stepping)
		p.list[p.count++] = r;
	s->first = NULL;
	for (size_t i = 0; i < p.count; i++) {
		struct reader *r = p.list[i];
		r->state = READER_FAR;
		r->stepping = NULL;
		if (!reader_may(r, messages, bytes))
			continue;
		p.list[i] = p.list[p.able];
		p.list[p.able++] = r;
	}
	return p;
}

/* uptodate: the position that is told behind it; -1: none is. */
static void deliver(
	struct flow *w, const struct party *p, const struct step_result *result, int64_t uptodate)
{
	size_t messages = 0, bytes = 0;
	struct audience *to = audience_of(p->list, p->able);
	for (size_t i = 0; !w->shape->notify && i < result->count; i++) {
		struct frame *f = frame_of_step(w, &result->messages[i]);
		bytes += f->size;
		messages++;
		audience_send(to, (struct addr){0}, f);
	}
	if (uptodate >= 0) {
		struct frame *f = frame_of_uptodate(w, uptodate);
		bytes += f->size;
		messages++;
		audience_send(to, (struct addr){0}, f);
	}
	audience_unref(&to);
	for (size_t i = 0; i < p->able; i++)
		reader_sent(p->list[i], messages, bytes);
	metric_add(METRIC_DATASET_MESSAGES, (int64_t)(messages * p->able));
}

/* Those who can not be sent all of it. A step of notify is nothing but its end. */
static void set_aside(const struct party *p, struct step_result *result)
{
	for (size_t i = p->able; i < p->count; i++) {
		struct reader *r = p->list[i];
		if (r->outlet->away)
			continue; /* it takes the step again when its client is back */
		if (r->flow->shape->notify)
			reader_stand(r, &result->next);
		else if (!reader_hold(r, result))
			continue;
		reader_go(r);
	}
}

/* They are live from result->next.seq on; who was so before hears that the next message begins there. */
static void join(struct flow *w, const struct party *p, const struct step_result *result)
{
	int64_t at = result->next.seq;
	bool others = w->live_count > 0;
	w->live_count += p->able; /* at once: others may fall behind here, and are not the last */
	if (others && w->told < at && !w->shape->notify)
		skip_to(w, at);
	deliver(w, p, result, at);
	w->told = at;
	keep_window(w, result->next.have);
	for (size_t i = 0; i < p->able; i++)
		p->list[i]->state = READER_LIVE;
	audience_unref(&w->audience);
}

static void joined(struct stepping *s)
{
	struct flow *w = s->flow;
	struct feed *f = w->feed;
	struct step_result *result = s->job.result;
	struct party p =
		party_of(s, (w->shape->notify ? 0 : result->count) + 1, step_result_bytes(result));
	if (!f->attached)
		; /* dropped meanwhile: nobody waits for it */
	else if (w->joined)
		database_leave(f->attached, w->shape); /* it was joined by another, too */
	else
		w->joined = true;
	if (f->at < result->next.seq)
		f->at = result->next.seq;
	if (p.able)
		join(w, &p, result);
	else if (!w->live_count)
		part(w);
	set_aside(&p, result);
	free(p.list);
}

static void stepped(struct stepping *s)
{
	struct flow *w = s->flow;
	struct step_result *result = s->job.result;
	/* a slow window may come to nothing but such steps, as long as others write */
	bool now = result->at_head && window_is_slow(result->next.have);
	size_t messages = (w->shape->notify ? 0 : result->count) + now;
	struct party p = party_of(s, messages, step_result_bytes(result));
	if (p.able)
		deliver(w, &p, result, now ? result->next.seq : -1);
	for (size_t i = 0; i < p.able; i++)
		reader_stand(p.list[i], &result->next);
	for (size_t i = 0; i < p.able; i++)
		reader_go(p.list[i]);
	set_aside(&p, result);
	free(p.list);
}

/* Its steps fail although the database is live: what it asks for may be too much each time, and others wait
 * for that. */
static bool is_hopeless(struct flow *w)
{
	uint64_t now = worker_now_ms();
	if (w->feed->state != FEED_LIVE)
		w->failing_ms = 0;
	else if (!w->failing_ms)
		w->failing_ms = now;
	return w->failing_ms && now - w->failing_ms >= GIVE_UP_MS;
}

/* Not now, or never again. */
static void failed(struct stepping *s, enum step_reset reset)
{
	struct party p = party_of(s, 0, 0);
	if (!reset && is_hopeless(s->flow))
		reset = RESET_OVERFLOW;
	for (size_t i = 0; i < p.count; i++)
		if (reset)
			reader_reset(p.list[i], reset);
	if (!reset)
		feed_retry_soon(s->flow->feed);
	free(p.list);
}

static void step_done(struct step_job *job)
{
	struct stepping *s = (struct stepping *)(void *)job;
	steps_under_way--;
	s->over = true;
	if (!job->err)
		s->flow->failing_ms = 0;
	if (job->err)
		failed(s, job->err == ERR_TOO_LARGE ? RESET_OVERFLOW : RESET_NONE);
	else if (job->result->reset)
		failed(s, job->result->reset);
	else if (s->join && job->result->at_head)
		joined(s);
	else
		stepped(s);
	unlink_stepping(s);
}
