/* One reader: what it is sent, and what it does next. */
#include "core/mem.h"
#include "core/metrics.h"
#include "dataset/feed_parts.h"
#include "dataset/subscriptions.h"

#include <assert.h>

enum { HELD_BYTES_MAX = 64 << 20 };

struct standing_at standing_copy(const struct standing_at *at)
{
	struct standing_at copy = *at;
	copy.cursor = (struct str){0};
	if (at->cursor.n)
		copy.cursor = (struct str){mem_copy(at->cursor), at->cursor.n};
	if (at->have)
		copy.have = window_ref(at->have);
	return copy;
}

void standing_free(struct standing_at *at)
{
	free((char *)(uintptr_t)at->cursor.p);
	window_drop(&at->have);
	*at = (struct standing_at){.seq = -1};
}

void reader_stand(struct reader *r, const struct standing_at *at)
{
	struct standing_at old = r->at;
	r->at = standing_copy(at);
	standing_free(&old);
}

struct reader *reader_new(struct flow *w, struct outlet *o, const struct standing_at *at)
{
	struct reader *r = mem_new(struct reader);
	r->flow = w;
	r->outlet = o;
	r->credit = CREDIT_TO_BEGIN;
	reader_stand(r, at);
	r->next = w->readers;
	r->back = &w->readers;
	if (r->next)
		r->next->back = &r->next;
	w->readers = r;
	w->count++;
	r->next_of_outlet = o->readers;
	r->back_of_outlet = &o->readers;
	if (r->next_of_outlet)
		r->next_of_outlet->back_of_outlet = &r->next_of_outlet;
	o->readers = r;
	metric_add(METRIC_DATASET_READERS, 1);
	return r;
}

/* The results that readers of this worker hold, each counted once however many hold it. */
static _Thread_local size_t all_held;

static void let_go(struct reader *r)
{
	if (r->held && --r->held->holders == 0)
		all_held -= step_result_bytes(r->held);
	r->held_next = 0;
	step_result_unref(&r->held);
}

void reader_free(struct reader **reader)
{
	struct reader *r = *reader;
	struct flow *w = r->flow;
	*reader = NULL;
	if (r->state == READER_LIVE)
		flow_left(w);
	else if (r->state == READER_STEPPING)
		flow_step_without(r);
	*r->back = r->next;
	if (r->next)
		r->next->back = r->back;
	*r->back_of_outlet = r->next_of_outlet;
	if (r->next_of_outlet)
		r->next_of_outlet->back_of_outlet = r->back_of_outlet;
	w->count--;
	let_go(r);
	standing_free(&r->at);
	free(r);
	metric_add(METRIC_DATASET_READERS, -1);
	flow_free_if_unused(w);
}

struct reader *reader_find(const struct outlet *o, struct str sub)
{
	struct reader *r = o->readers;
	while (r && !str_is(sub, r->flow->shape->id))
		r = r->next_of_outlet;
	return r;
}

bool reader_may(const struct reader *r, size_t messages, size_t bytes)
{
	return r->credit >= r->sent + messages && outlet_takes(r->outlet, messages, bytes);
}

void reader_sent(struct reader *r, size_t messages, size_t bytes)
{
	r->sent += messages;
	outlet_sent(r->outlet, messages, bytes);
}

/* ---- what waits ---- */

bool reader_hold(struct reader *r, struct step_result *result)
{
	size_t bytes = result->holders ? 0 : step_result_bytes(result);
	if (all_held + bytes > HELD_BYTES_MAX) {
		reader_reset(r, RESET_OVERFLOW);
		return false;
	}
	r->held = step_result_ref(result);
	r->held_next = 0;
	result->holders++;
	all_held += bytes;
	r->state = READER_HOLDING;
	return true;
}

/* Its session is away: it takes the step again when it is back, from where it stands. Not so where a window's first pages
 * have been sent: the others have to be of the same moment. */
void reader_put_down(struct reader *r)
{
	bool begun = r->at.seq < 0 && r->held_next > 0;
	if (r->state != READER_HOLDING || begun)
		return;
	let_go(r);
	r->state = READER_FAR;
}

/* All changes of the step are told: the position has moved, and a page that follows is one of then. */
static void group_told(struct reader *r)
{
	struct standing_at at = r->at;
	at.seq = r->held->next.seq;
	reader_stand(r, &at);
}

static void send_held(struct reader *r)
{
	const struct step_result *held = r->held;
	while (r->held_next < held->count && reader_may(r, 1, 0)) {
		size_t i = r->held_next++;
		bool change = held->messages[i].kind == STEP_CHANGE;
		struct frame *f = frame_of_step(r->flow, &held->messages[i]);
		size_t bytes = f->size;
		addr_send(r->outlet->addr, f);
		reader_sent(r, 1, bytes);
		metric_add(METRIC_DATASET_MESSAGES, 1);
		if (change && (i + 1 == held->count || held->messages[i + 1].kind != STEP_CHANGE))
			group_told(r);
	}
	if (r->held_next < held->count)
		return;
	reader_stand(r, &held->next);
	let_go(r);
	r->state = READER_FAR;
}

void reader_go(struct reader *r)
{
	if (r->state == READER_HOLDING)
		send_held(r);
	if (r->state == READER_FAR && r->flow->feed->state == FEED_LIVE && reader_may(r, 1, 0))
		flow_step(r);
}

void reader_behind(struct reader *r)
{
	struct flow *w = r->flow;
	assert(r->state == READER_LIVE);
	metric_add(METRIC_DATASET_BEHIND, 1);
	r->state = READER_FAR;
	reader_stand(r, &(struct standing_at){.seq = w->told, .whole = true, .have = w->have});
	flow_left(w);
}

/* ---- the end ---- */

void reader_reset(struct reader *r, enum step_reset why)
{
	metric_add((enum metric)(METRIC_DATASET_RESETS_PRUNED + (why - RESET_PRUNED)), 1);
	addr_send(r->outlet->addr, frame_of_reset(r->flow->shape->id, why, r->flow->count));
	subscription_ended(r->outlet->addr, str_of(r->flow->shape->id));
	reader_free(&r);
}
