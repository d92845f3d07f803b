#include "dataset/feed.h"

#include "core/mem.h"
#include "dataset/catalog.h"
#include "dataset/feed_parts.h"
#include "dataset/feed_records.h"
#include "dataset/subscriptions.h"

enum {
	BEAT_MS = 1000,
	BEATS_MOVED = 10, /* who is in step is told a position without ops each so many */
};

static _Thread_local struct {
	struct map feeds;
	struct alarms retries, beats;
	bool draining;
	bool sealed; /* all has been written down: what comes now comes too late */
} here;

void feed_configure(const struct feed_options *o)
{
	subscriptions_configure(o->subscriptions);
	outlets_configure(o->kept_messages, o->kept_bytes);
}

/* ---- the feeds ---- */

static struct feed *find(struct str dataset)
{
	return map_get(&here.feeds, dataset);
}

struct feed *feed_for(struct str dataset)
{
	struct feed *f = find(dataset);
	if (f)
		return f;
	f = mem_new(struct feed);
	f->name = (struct str){mem_copy(dataset), dataset.n};
	f->slowest = INT64_MAX;
	map_put(&here.feeds, f->name, f);
	return f;
}

static void free_feed(struct feed *f)
{
	map_remove(&here.feeds, f->name);
	alarm_clear(&here.retries, &f->retry);
	alarm_clear(&here.beats, &f->beat);
	definition_unref(&f->definition);
	layout_unref(&f->layout);
	map_free(&f->flows);
	free(f->changed);
	free((char *)(uintptr_t)f->name.p);
	free(f);
}

void feed_free_if_unused(struct feed *f)
{
	if (!f->definition && !f->flows.count && !f->wanted)
		free_feed(f);
}

void feed_retry_soon(struct feed *f)
{
	if (!alarm_is_set(&f->retry))
		alarm_set(&here.retries, &f->retry, worker_now_ms() + RETRY_MS);
}

/* All flows, one after the other; each may be the last thing that it does. */
static void each_flow(struct feed *f, void (*fn)(struct flow *w, void *context), void *context)
{
	size_t count = f->flows.count, at = 0;
	struct flow **list = mem_alloc((count + 1) * sizeof(struct flow *)), *w;
	for (size_t i = 0; (w = map_next(&f->flows, &i));) {
		w->busy++;
		list[at++] = w;
	}
	for (at = 0; at < count; at++) {
		fn(list[at], context);
		list[at]->busy--;
		flow_free_if_unused(list[at]);
	}
	free(list);
}

static void go(struct flow *w, void *context)
{
	(void)context;
	flow_go(w);
}

static void part(struct flow *w, void *context)
{
	(void)context;
	flow_parted(w);
}

static void moved(struct flow *w, void *context)
{
	(void)context;
	flow_moved(w);
}

static void reset(struct flow *w, void *context)
{
	flow_reset(w, *(const enum step_reset *)context);
}

/* ---- time ---- */

static struct feed *of_retry(struct alarm *a)
{
	return (struct feed *)(void *)((char *)a - offsetof(struct feed, retry));
}

static void ring_retry(struct alarm *a)
{
	each_flow(of_retry(a), go, NULL);
}

/* Where the farthest reader stands that is not in step. */
static int64_t slowest(const struct feed *f)
{
	int64_t least = INT64_MAX;
	const struct flow *w;
	for (size_t i = 0; (w = map_next(&f->flows, &i));)
		for (const struct reader *r = w->readers; r; r = r->next)
			if (r->state != READER_LIVE && r->at.seq >= 0 && r->at.seq < least)
				least = r->at.seq;
	return least;
}

static void tell_slowest(struct feed *f)
{
	int64_t least = slowest(f);
	if (f->attached && least != f->slowest)
		database_slowest(f->attached, least);
	f->slowest = least;
}

static void ring_beat(struct alarm *a)
{
	struct feed *f = (struct feed *)(void *)((char *)a - offsetof(struct feed, beat));
	if (here.draining)
		return;
	tell_slowest(f);
	if (!f->flows.count)
		return;
	alarm_set(&here.beats, &f->beat, worker_now_ms() + BEAT_MS);
	if (f->state == FEED_LIVE && ++f->beats % BEATS_MOVED == 0)
		each_flow(f, moved, NULL);
}

void feed_is_read(struct feed *f)
{
	if (!alarm_is_set(&f->beat))
		alarm_set(&here.beats, &f->beat, worker_now_ms() + BEAT_MS);
}

/* ---- tidings ---- */

/* Who reads it, each once, to be told what its columns are then. */
static void note_changed(struct feed *f)
{
	size_t count = 0;
	const struct flow *w;
	for (size_t i = 0; (w = map_next(&f->flows, &i));)
		count += w->count;
	f->changed = mem_resize(f->changed, f->changed_count + count + 1, sizeof(*f->changed));
	for (size_t i = 0; (w = map_next(&f->flows, &i));)
		for (const struct reader *r = w->readers; r; r = r->next) {
			if (!r->outlet->noted)
				f->changed[f->changed_count++] = r->outlet->addr;
			r->outlet->noted = true;
		}
	for (size_t i = 0; (w = map_next(&f->flows, &i));)
		for (const struct reader *r = w->readers; r; r = r->next)
			r->outlet->noted = false;
}

static void tell_changed(struct feed *f)
{
	for (size_t i = 0; i < f->changed_count; i++) {
		const struct outlet *o = outlet_find(f->changed[i]);
		if (o)
			addr_send(o->addr, frame_of_schema(f, o->who));
	}
	f->changed_count = 0;
}

static void reset_all(struct feed *f, enum step_reset why)
{
	if (why == RESET_SCHEMA)
		note_changed(f);
	each_flow(f, part, NULL);
	each_flow(f, reset, &why);
}

/* What is there differs from what its readers have: said before, or else it is a dataset of other columns. */
static void look_for_changes(struct feed *f, const struct tidings *t)
{
	if (f->epoch[0] && strcmp(f->epoch, t->epoch) != 0)
		reset_all(f, RESET_EPOCH);
	else if (f->layout && f->layout->version != t->layout->version)
		reset_all(f, RESET_SCHEMA);
}

/* False: they are about one that was dropped, or is another now. */
static bool adopt(struct feed *f, const struct definition *d)
{
	struct attached *attached = NULL;
	struct definition *known = catalog_find(f->name, &attached);
	bool same = known == d && attached;
	if (same) {
		definition_unref(&f->definition);
		f->definition = known;
		f->attached = attached;
	} else {
		definition_unref(&known);
	}
	return same;
}

static void live(struct feed *f, const struct tidings *t)
{
	look_for_changes(f, t);
	struct layout *layout = layout_ref(t->layout);
	layout_unref(&f->layout);
	f->layout = layout;
	memcpy(f->epoch, t->epoch, sizeof(f->epoch));
	f->at = t->at;
	f->state = FEED_LIVE;
	tell_changed(f);
	wanted_admit(f);
	each_flow(f, go, NULL);
}

static void step(struct feed *f, const struct tidings *t)
{
	f->at = t->at;
	for (size_t i = 0; i < t->told_count; i++) {
		struct flow *w = map_get(&f->flows, str_of(t->told[i].shape->id));
		if (w && w->joined)
			flow_told(w, &t->told[i], t->at);
	}
}

static void take(struct feed *f, const struct tidings *t)
{
	switch (t->kind) {
	case TIDINGS_LIVE:
		live(f, t);
		break;
	case TIDINGS_STEP:
		step(f, t);
		break;
	case TIDINGS_LEAP:
		f->at = t->at;
		each_flow(f, part, NULL);
		each_flow(f, go, NULL);
		break;
	case TIDINGS_RESET:
		reset_all(f, t->reset);
		f->state = FEED_STARTING;
		break;
	case TIDINGS_TROUBLE:
		f->state = FEED_TROUBLE;
		each_flow(f, part, NULL);
		wanted_refuse(f);
		break;
	}
}

void feed_tidings(struct post *post)
{
	struct tidings *t = (struct tidings *)(void *)post;
	struct feed *f = here.sealed ? NULL : feed_for(t->definition->name);
	if (f && (f->definition == t->definition || adopt(f, t->definition)))
		take(f, t);
	if (f)
		feed_free_if_unused(f);
	tidings_free(&t);
}

void feed_dropped(struct str dataset)
{
	struct feed *f = find(dataset);
	if (!f || here.sealed)
		return;
	f->attached = NULL;
	f->state = FEED_STARTING;
	wanted_refuse(f);
	wanted_forget(f);
	reset_all(f, RESET_AUTH);
	f->changed_count = 0;
	definition_unref(&f->definition);
	layout_unref(&f->layout);
	f->epoch[0] = '\0';
	feed_free_if_unused(f);
}

void feed_let_go(struct str dataset)
{
	struct feed *f = find(dataset);
	if (!f)
		return;
	f->attached = NULL;
	f->state = FEED_STARTING;
}

/* ---- what is asked ---- */

static void no_dataset(struct call *c)
{
	subscription_made(c->from, STR(""));
	call_refuse(c, ERR_NOT_FOUND, .reason = "no_such_dataset",
		.message = "There is no such dataset.");
}

void feed_subscribe(struct post *post)
{
	struct call *c = (struct call *)post;
	const struct subscribe_params *p = c->params;
	struct attached *attached = NULL;
	struct definition *d = catalog_find(p->dataset, &attached);
	if (!d || !principal_sees_dataset(c->who, p->dataset)) {
		definition_unref(&d);
		no_dataset(c);
		return;
	}
	definition_unref(&d);
	outlet_for(c->from, c->who);
	struct feed *f = feed_for(p->dataset);
	if (f->state == FEED_LIVE)
		feed_answer(f, c);
	else if (f->state == FEED_TROUBLE || here.draining)
		feed_refuse_unavailable(c);
	else
		wanted_call(f, c);
}

void feed_unsubscribe(struct post *post)
{
	struct call *c = (struct call *)post;
	const struct sub_params *p = c->params;
	const struct outlet *o = outlet_find(c->from);
	struct reader *r = o ? reader_find(o, p->sub) : NULL;
	bool ended = r != NULL;
	struct feed *f;
	if (r)
		reader_free(&r);
	for (size_t i = 0; !ended && (f = map_next(&here.feeds, &i));)
		ended = wanted_end(f, c->from, p->sub);
	if (ended)
		subscription_ended(c->from, p->sub);
	call_reply_empty(c);
}

void feed_ack(struct post *post)
{
	struct call *c = (struct call *)post;
	const struct sub_params *p = c->params;
	const struct outlet *o = outlet_find(c->from);
	struct reader *r = o ? reader_find(o, p->sub) : NULL;
	struct feed *f;
	if (r && (uint64_t)p->credit.n > r->credit)
		r->credit = (uint64_t)p->credit.n;
	for (size_t i = 0; !r && (f = map_next(&here.feeds, &i));)
		wanted_credit(f, c->from, p->sub, (uint64_t)p->credit.n);
	call_reply_empty(c);
	if (r)
		reader_go(r);
}

/* ---- the worker ---- */

bool feed_allows(const struct feed *f, const struct principal *who)
{
	return who->scopes & SCOPE_DATASETS_READ && principal_sees_dataset(who, f->name);
}

bool feed_sees(const struct feed *f, const struct principal *who, const struct shape_wish *wish,
	const char *shape)
{
	struct shape *s = NULL;
	struct wish_problem why = {0};
	if (!feed_allows(f, who) || shape_new(wish, f->definition, f->layout, who, &s, &why))
		return false;
	bool same = strcmp(s->id, shape) == 0;
	shape_unref(&s);
	return same;
}

static void granted(struct addr session, const struct principal *who)
{
	struct outlet *o = outlet_find(session);
	if (!o)
		return;
	principal_unref(&o->who);
	o->who = principal_ref(who);
	for (struct reader *r = o->readers, *next; r; r = next) {
		const struct flow *w = r->flow;
		next = r->next_of_outlet;
		if (!feed_sees(w->feed, o->who, &w->wish.wish, w->shape->id))
			reader_reset(r, RESET_AUTH);
	}
}

static void gone(struct addr session, bool clean)
{
	struct outlet *o = outlet_find(session);
	struct feed *f;
	(void)clean;
	subscriptions_gone(session);
	for (size_t i = 0; (f = map_next(&here.feeds, &i));)
		wanted_gone(f, session);
	if (o)
		outlet_gone(o);
}

static enum err start(struct worker *w)
{
	alarms_start(&here.retries, w, ring_retry);
	alarms_start(&here.beats, w, ring_beat);
	wanted_start(w);
	return ERR_OK;
}

static void drain(struct worker *w)
{
	struct feed *f;
	(void)w;
	here.draining = true;
	flows_rest();
	for (size_t i = 0; (f = map_next(&here.feeds, &i));)
		wanted_refuse(f);
}

static bool drained(struct worker *w)
{
	(void)w;
	return !flows_under_way();
}

static void stop(struct worker *w)
{
	struct feed *f;
	(void)w;
	here.sealed = true;
	for (size_t i = 0; (f = map_next(&here.feeds, &i));) {
		f->attached = NULL;
		wanted_forget(f);
	}
	outlets_stop();
	for (size_t i = 0; (f = map_next(&here.feeds, &i)); i = 0)
		free_feed(f);
	map_free(&here.feeds);
	alarms_stop(&here.retries);
	alarms_stop(&here.beats);
	wanted_stop();
	subscriptions_stop();
}

const struct worker_part feed_part = {.name = "feed",
	.start = start,
	.drain = drain,
	.drained = drained,
	.stop = stop,
	.connected = outlet_connected,
	.granted = granted,
	.gone = gone};

/* ---- from one process to the next ---- */

/* The databases are let go of behind it. */
static void save(struct buf *out)
{
	struct feed *f;
	for (size_t i = 0; (f = map_next(&here.feeds, &i));) {
		feed_records_save(f, out);
		f->attached = NULL;
	}
	here.sealed = true;
}

void feed_restore(struct str dataset, struct addr session, const struct restored *r)
{
	struct attached *attached = NULL;
	struct definition *d = catalog_find(dataset, &attached);
	struct feed *f = feed_for(dataset);
	wanted_restored(f, session, r);
	if (!d)
		wanted_forget(f);
	else if (f->state == FEED_LIVE)
		wanted_admit(f);
	definition_unref(&d);
	feed_free_if_unused(f);
}

const struct chapter dataset_chapters[] = {{"datasets", save, feed_records_load}, {0}};
