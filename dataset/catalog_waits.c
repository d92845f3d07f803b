/* Calls that wait until a dataset, or all of them, have come to something. Thread: each worker's own. */
#include "dataset/catalog_parts.h"

#include "core/alarm.h"
#include "core/mem.h"
#include "dataset/definition_check.h"

#include <assert.h>

enum { SETTLE_MS = 5000, LATER_MS = 1000 };

struct wait {
	struct wait *next;
	struct alarm alarm;
	struct call *call;
	void (*then)(struct call *c);
	size_t n; /* 0: for all */
	char name[DATASET_NAME_MAX];
};

static _Thread_local struct wait *waits;
static _Thread_local struct alarm later;
static _Thread_local struct alarms alarms;

static void end_wait(struct wait **at)
{
	struct wait *w = *at;
	*at = w->next;
	alarm_clear(&alarms, &w->alarm);
	w->then(w->call);
	free(w);
}

/* What is asked for may begin to wait itself: in front of all that are looked at. */
static void look(bool all)
{
	for (struct wait **at = &waits; *at;) {
		if (all || catalog_settled((struct str){(*at)->name, (*at)->n}))
			end_wait(at);
		else
			at = &(*at)->next;
	}
}

void catalog_look_at_waits(void)
{
	look(false);
}

void catalog_settle_later(void)
{
	alarm_set(&alarms, &later, worker_now_ms() + LATER_MS);
}

static void on_alarm(struct alarm *a)
{
	if (a == &later) {
		catalog_settle_here(worker_self(), NULL);
		return;
	}
	struct wait **at = &waits;
	while (&(*at)->alarm != a)
		at = &(*at)->next;
	end_wait(at);
}

void catalog_when_settled(struct call *c, struct str name, void (*then)(struct call *c))
{
	assert(name.n <= DATASET_NAME_MAX);
	if (catalog_settled(name)) {
		then(c);
		return;
	}
	struct wait *w = mem_new(struct wait);
	*w = (struct wait){.next = waits, .call = c, .then = then, .n = name.n};
	if (name.n)
		memcpy(w->name, name.p, name.n);
	waits = w;
	alarm_set(&alarms, &w->alarm, worker_now_ms() + SETTLE_MS);
}

static enum err start(struct worker *w)
{
	alarms_start(&alarms, w, on_alarm);
	return ERR_OK;
}

/* Who waits is answered with how it is now. */
static void drain(struct worker *w)
{
	(void)w;
	definition_checks_stop(true);
	look(true);
}

static void stop(struct worker *w)
{
	(void)w;
	look(true);
	alarms_stop(&alarms);
}

const struct worker_part catalog_part = {
	.name = "catalog",
	.start = start,
	.drain = drain,
	.stop = stop,
};
