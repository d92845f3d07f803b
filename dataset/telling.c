#include "dataset/tail_parts.h"

#include "core/clock.h"
#include "core/log.h"
#include "core/mem.h"

#include <stdio.h>

/* What is told to the home of a dataset. How much of it is under way is counted over the whole file: past FLIGHT_MAX
 * there are no looks until some of it has been taken. */

enum { SILENT_MS = 250 }; /* between tidings that tell nothing but a position */

static void come_home(struct post *p)
{
	struct tidings *t = (struct tidings *)p;
	struct attached *a = t->attached;
	a->heard_life = t->life;
	a->heard_live = t->kind != TIDINGS_RESET && t->kind != TIDINGS_TROUBLE;
	memcpy(a->heard_epoch, t->epoch, sizeof(a->heard_epoch));
	a->run(p);
}

static struct tidings *tidings_new(struct attached *a, enum tidings_kind kind)
{
	struct tidings *t = mem_new(struct tidings);
	t->kind = kind;
	t->definition = a->definition;
	t->attached = a;
	t->bytes = sizeof(*t);
	memcpy(t->epoch, a->epoch, sizeof(t->epoch));
	attached_ref(a);
	return t;
}

static void tell(struct tidings *t)
{
	struct attached *a = t->attached;
	t->life = a->life;
	t->post.run = come_home;
	atomic_fetch_add(&a->database->flight, (int64_t)t->bytes);
	post_home(a->home, &t->post);
}

void tail_received(struct attached *a, size_t bytes)
{
	struct database *db = a->database;
	int64_t before = atomic_fetch_sub(&db->flight, (int64_t)bytes);
	if (before > FLIGHT_MAX && before - (int64_t)bytes <= FLIGHT_MAX)
		watch_wake(db->watch);
	attached_unref(a);
}

/* ---- a step ---- */

void told(void *context, const struct shape *shape, const struct str *parts, size_t part_count,
	const struct window *have)
{
	struct tail *t = context;
	struct attached *a = joined_to(t, shape);
	if (!a)
		return;
	if (!a->step)
		a->step = tidings_new(a, TIDINGS_STEP);
	struct tidings *s = a->step;
	if ((s->told_count & (s->told_count - 1)) == 0) /* full at each power of two */
		s->told = mem_resize(
			s->told, s->told_count ? 2 * s->told_count : 1, sizeof(*s->told));
	struct told *one = &s->told[s->told_count++];
	*one = (struct told){.shape = shape_ref(shape), .part_count = part_count};
	one->have = have ? window_ref(have) : NULL;
	one->parts = mem_alloc((part_count + 1) * sizeof(*one->parts));
	s->bytes += sizeof(*one);
	for (size_t i = 0; i < part_count; i++) {
		one->parts[i] = (struct str){mem_copy(parts[i]), parts[i].n};
		s->bytes += sizeof(*one->parts) + parts[i].n;
	}
}

static void tell_step(struct attached *a, int64_t at, int64_t now)
{
	if (!a->step)
		a->step = tidings_new(a, TIDINGS_STEP);
	a->step->at = at;
	a->told_at = now;
	a->told_seq = at;
	tell(a->step);
	a->step = NULL;
}

/* A position that nothing comes with is not urgent. */
void tell_steps(struct tail *t, int64_t at)
{
	int64_t now = clock_steady_ms();
	for (struct attached *a = t->first; a; a = a->next)
		if (a->step || (a->live && a->told_seq != at && now - a->told_at >= SILENT_MS))
			tell_step(a, at, now);
}

void tell_leap(struct tail *t, int64_t at)
{
	for (struct attached *a = t->first; a; a = a->next) {
		if (a->step)
			a->step->bytes = 0; /* not under way */
		tidings_free(&a->step);
		if (!a->live)
			continue;
		end_life(t, a);
		struct tidings *tidings = tidings_new(a, TIDINGS_LEAP);
		tidings->at = a->told_seq = at;
		tell(tidings);
	}
}

/* ---- live, and in trouble ---- */

static void announce_reset(struct tail *t, struct attached *a, enum step_reset reset)
{
	end_life(t, a);
	struct tidings *tidings = tidings_new(a, TIDINGS_RESET);
	tidings->reset = reset;
	tell(tidings);
}

void announce(struct tail *t, struct attached *a, const struct head *head)
{
	struct layout *made = a->made;
	enum step_reset reset = RESET_NONE;
	a->made = NULL;
	if (a->epoch[0] && strcmp(a->epoch, head->epoch) != 0)
		reset = RESET_EPOCH;
	else if (a->epoch[0] && a->version != made->version)
		reset = RESET_SCHEMA;
	if (a->live && reset == RESET_NONE) {
		layout_unref(&made);
		return;
	}
	memcpy(a->epoch, head->epoch, sizeof(a->epoch));
	a->version = made->version;
	a->told_seq = head->seq;
	pthread_mutex_lock(&t->db->lock);
	layout_unref(&a->layout);
	a->layout = layout_ref(made);
	a->cookie = head->schema_cookie;
	a->status.state = DATASET_LIVE;
	a->status.what[0] = a->status.remedy[0] = 0;
	pthread_mutex_unlock(&t->db->lock);
	if (reset != RESET_NONE)
		announce_reset(t, a, reset);
	a->live = true;
	a->life++;
	struct tidings *tidings = tidings_new(a, TIDINGS_LIVE);
	tidings->at = head->seq;
	tidings->layout = made;
	tell(tidings);
	log_info("dataset live", LOG_STR("dataset", a->definition->name),
		LOG_TEXT("epoch", head->epoch), LOG_INT("seq", head->seq));
}

void dataset_fails(struct tail *t, struct attached *a, const char *what, const char *remedy)
{
	struct database *db = t->db;
	pthread_mutex_lock(&db->lock);
	bool before = a->status.state == DATASET_TROUBLE;
	bool same = before && strcmp(a->status.what, what) == 0;
	a->status.state = DATASET_TROUBLE;
	snprintf(a->status.what, sizeof(a->status.what), "%s", what);
	snprintf(a->status.remedy, sizeof(a->status.remedy), "%s", remedy);
	layout_unref(&a->layout);
	pthread_mutex_unlock(&db->lock);
	layout_unref(&a->made);
	a->live = false;
	if (!same)
		log_warn("dataset in trouble", LOG_STR("dataset", a->definition->name),
			LOG_STR("database", db->key), LOG_TEXT("why", what),
			LOG_TEXT("do", remedy));
	if (before)
		return;
	end_life(t, a);
	tell(tidings_new(a, TIDINGS_TROUBLE));
}
