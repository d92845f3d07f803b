/* chore.h: what the first worker does again and again, for the whole process: pruning, writing down.
 *
 * Thread: the functions are called on every worker and do nothing but on the first; a chore belongs to it. */
#pragma once

#include "core/worker.h"

struct chore {
	void (*run)(void);
	unsigned first_ms, every_ms;
	/* chore.c's */
	uv_timer_t timer;
	bool on;
};

void chore_start(struct chore *c, struct worker *w);
void chore_drain(struct chore *c, const struct worker *w); /* it does not run any more */
void chore_stop(struct chore *c, const struct worker *w);

/* The next time is in so long, then again every_ms later. On the first worker; nothing behind a drain. */
void chore_again(struct chore *c, unsigned ms);
