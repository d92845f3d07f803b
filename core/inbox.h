/* inbox.h: how work reaches a thread. Many senders, one reader: the reader detaches everything
 * under the lock and runs it unlocked, in the order it came.
 *
 * Only calls are counted and can be refused; replies, events and control never are. A reply needs no
 * place of its own: there is at most one for each call that somebody may have in flight. Events are
 * bounded in bytes where they are sent (core/addr.h). */
#pragma once

#include "core/err.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/* One piece of work, inside whatever it works on. run() owns the post from then on. */
struct post {
	struct post *next;
	void (*run)(struct post *p);
	unsigned char is_call; /* set by inbox_post_call */
};

struct inbox {
	pthread_mutex_t lock;
	struct post *first, **last;
	size_t calls; /* waiting now */
	size_t calls_max;
	/* Any thread; runs unlocked when the inbox was empty. NULL: whoever posts wakes the reader. */
	void (*wake)(void *context);
	void *context;
};

void inbox_init(struct inbox *in, size_t calls_max, void (*wake)(void *), void *context);
void inbox_finish(struct inbox *in); /* must be empty: asserted */

/* Any thread. Never refused. */
void inbox_post(struct inbox *in, struct post *p);

/* Any thread. ERR_OVERLOADED when calls_max calls wait already; the post is then untouched. */
enum err inbox_post_call(struct inbox *in, struct post *p);

/* Any thread. There is something that has not been taken; it may have been by now. */
bool inbox_waits(struct inbox *in);

/* The reader: takes all there is, linked by next; NULL when empty. */
struct post *inbox_take(struct inbox *in);
