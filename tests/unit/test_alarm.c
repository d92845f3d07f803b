/* Alarms against a list of when each is due: they ring in order, each once, never early. */
#include "core/alarm.h"
#include "core/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

enum { MANY = 200, STEPS = 4000, SPAN_MS = 40, CHANGES_MAX = 20 };

struct one {
	struct alarm alarm;
	uint64_t due_ms; /* as the model has it; 0: not set */
	unsigned rings;
};

static struct one all[MANY];
static struct alarms alarms;
static uint64_t rang_last;
static unsigned seed, left;
static uv_sem_t done;

static unsigned roll(unsigned below)
{
	return (unsigned)rand_r(&seed) % below;
}

static void set_one(struct one *o)
{
	o->due_ms = worker_now_ms() + 1 + roll(SPAN_MS);
	alarm_set(&alarms, &o->alarm, o->due_ms);
	assert_true(alarm_is_set(&o->alarm));
}

static uint64_t next_due(void)
{
	uint64_t due = 0;
	for (int i = 0; i < MANY; i++)
		if (all[i].due_ms && (!due || all[i].due_ms < due))
			due = all[i].due_ms;
	return due;
}

static void change_some(void)
{
	for (unsigned n = 1 + roll(CHANGES_MAX); n && left; n--, left--) {
		struct one *o = &all[roll(MANY)];
		if (roll(4)) {
			set_one(o);
			continue;
		}
		alarm_clear(&alarms, &o->alarm);
		o->due_ms = 0;
	}
	if (!next_due() && left)
		set_one(&all[0]);
}

static void ring(struct alarm *a)
{
	struct one *o = (struct one *)(void *)a;
	assert_false(alarm_is_set(a));
	assert_true(o->due_ms && o->due_ms == next_due());
	assert_true(o->due_ms <= worker_now_ms());
	o->due_ms = 0;
	o->rings++;
	rang_last = worker_now_ms();
	change_some();
	if (!next_due())
		uv_sem_post(&done);
}

static enum err start(struct worker *w)
{
	alarms_start(&alarms, w, ring);
	return ERR_OK;
}

static void stop(struct worker *w)
{
	(void)w;
	alarms_stop(&alarms);
}

static void begin(struct worker *w, void *context)
{
	(void)w, (void)context;
	left = STEPS;
	change_some();
}

static void they_ring_in_order_once_and_not_early(void **state)
{
	(void)state;
	static const struct worker_part part = {.name = "alarms", .start = start, .stop = stop};
	static const struct worker_part *const parts[] = {&part, NULL};
	uv_sem_init(&done, 0);
	assert_int_equal(workers_start(&(struct workers_options){
				 .count = 1, .calls_max = 1, .parts = parts}),
		ERR_OK);
	workers_each(begin, NULL);
	uv_sem_wait(&done);
	workers_stop();
	uv_sem_destroy(&done);
	unsigned rings = 0;
	for (int i = 0; i < MANY; i++)
		rings += all[i].rings;
	/* all changes but the first few were made by rings, each at most CHANGES_MAX */
	assert_true(rings >= STEPS / CHANGES_MAX - 1);
}

int main(void)
{
	const char *given = getenv("SEED");
	seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
	printf("SEED=%u\n", seed);
	const struct CMUnitTest tests[] = {cmocka_unit_test(they_ring_in_order_once_and_not_early)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
