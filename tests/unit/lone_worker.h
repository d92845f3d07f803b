/* lone_worker.h: one worker without a thread: the test itself, which runs what was posted when it
 * says so. For tests that want to know what has happened and what has not; it takes the place of
 * core/worker.c, so a test that includes it can use neither that nor what stands on it. */
#pragma once

#include "core/worker.h"

#include <semaphore.h>

static struct worker lone;
static sem_t lone_woken;

struct worker *worker_self(void)
{
	return &lone;
}

void worker_post(struct worker *w, struct post *p)
{
	inbox_post(&w->inbox, p);
}

static inline void lone_wake(void *context)
{
	sem_post(context);
}

static inline void lone_start(void)
{
	sem_init(&lone_woken, 0, 0);
	inbox_init(&lone.inbox, 0, lone_wake, &lone_woken);
}

static inline void lone_run(void)
{
	for (struct post *p = inbox_take(&lone.inbox), *next; p; p = next) {
		next = p->next;
		p->run(p);
	}
}

/* Until the count, which what is posted adds to, is as wanted. */
static inline void lone_run_until(const size_t *count, size_t want)
{
	for (lone_run(); *count < want; lone_run())
		sem_wait(&lone_woken);
}

static inline void lone_stop(void)
{
	lone_run();
	inbox_finish(&lone.inbox);
	sem_destroy(&lone_woken);
}
