#include "core/alarm.h"

#include "core/mem.h"

/* A binary heap, the next due on top: the children of place n (from 1) are 2n and 2n + 1. */

static void put(struct alarms *s, struct alarm *a, size_t place)
{
	s->heap[place - 1] = a;
	a->at = place;
}

static struct alarm *in(const struct alarms *s, size_t place)
{
	return s->heap[place - 1];
}

static void rise(struct alarms *s, struct alarm *a)
{
	size_t place = a->at;
	for (; place > 1 && in(s, place / 2)->due_ms > a->due_ms; place /= 2)
		put(s, in(s, place / 2), place);
	put(s, a, place);
}

static void sink(struct alarms *s, struct alarm *a)
{
	size_t place = a->at, below;
	for (; (below = place * 2) <= s->count; place = below) {
		if (below < s->count && in(s, below + 1)->due_ms < in(s, below)->due_ms)
			below++;
		if (in(s, below)->due_ms >= a->due_ms)
			break;
		put(s, in(s, below), place);
	}
	put(s, a, place);
}

static void settle(struct alarms *s, struct alarm *a)
{
	rise(s, a);
	sink(s, a);
}

static void on_timer(uv_timer_t *timer);

static void wind(struct alarms *s)
{
	if (!s->count) {
		uv_timer_stop(&s->timer);
		return;
	}
	uint64_t now = worker_now_ms(), due = in(s, 1)->due_ms;
	uv_timer_start(&s->timer, on_timer, due > now ? due - now : 0, 0);
}

static void take_out(struct alarms *s, struct alarm *a)
{
	struct alarm *last = in(s, s->count--);
	if (last != a) {
		put(s, last, a->at);
		settle(s, last);
	}
	a->at = 0;
}

/* What is set meanwhile rings in a later turn, even when it is due: so the loop goes on. */
static void on_timer(uv_timer_t *timer)
{
	struct alarms *s = timer->data;
	uint64_t now = worker_now_ms();
	for (size_t most = s->count; most && s->count && in(s, 1)->due_ms <= now; most--) {
		struct alarm *a = in(s, 1);
		take_out(s, a);
		s->ring(a);
	}
	wind(s);
}

void alarm_set(struct alarms *s, struct alarm *a, uint64_t due_ms)
{
	const struct alarm *first = s->count ? in(s, 1) : NULL;
	a->due_ms = due_ms;
	if (!a->at) {
		if (s->count == s->size) {
			s->size = s->size ? s->size * 2 : 16;
			s->heap = mem_resize(s->heap, s->size, sizeof(*s->heap));
		}
		put(s, a, ++s->count);
	}
	settle(s, a);
	if (in(s, 1) != first || first == a)
		wind(s);
}

void alarm_clear(struct alarms *s, struct alarm *a)
{
	if (!a->at)
		return;
	take_out(s, a);
	if (!s->count)
		wind(s);
}

void alarms_start(struct alarms *s, struct worker *w, void (*ring)(struct alarm *a))
{
	*s = (struct alarms){.ring = ring};
	uv_timer_init(&w->loop, &s->timer);
	s->timer.data = s;
}

void alarms_stop(struct alarms *s)
{
	uv_close((uv_handle_t *)&s->timer, NULL);
	free(s->heap);
	s->heap = NULL;
	s->count = s->size = 0;
}
