/* alarm.h: many deadlines on one timer of a worker, each inside whatever it is the deadline of. They ring in
 * the order that they are due, each once, in the loop's timers, never before its time.
 *
 * Thread: the worker's. Setting, moving and clearing cost the logarithm of how many are set. */
#pragma once

#include "core/worker.h"

/* All zero: not set. It must be cleared before what it is in is freed. */
struct alarm {
	uint64_t due_ms; /* by worker_now_ms() */
	size_t at;       /* alarm.c's: its place, from 1 */
};

struct alarms {
	void (*ring)(struct alarm *a); /* not set any more by then; it may set any, also this one */
	/* alarm.c's */
	uv_timer_t timer;
	struct alarm **heap;
	size_t count, size;
};

void alarms_start(struct alarms *s, struct worker *w, void (*ring)(struct alarm *a));
/* At the worker's end: those that are still set never ring. */
void alarms_stop(struct alarms *s);

/* One that is set already rings at this time and no other. */
void alarm_set(struct alarms *s, struct alarm *a, uint64_t due_ms);
void alarm_clear(struct alarms *s, struct alarm *a);

static inline bool alarm_is_set(const struct alarm *a)
{
	return a->at > 0;
}
