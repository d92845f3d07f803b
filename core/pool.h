/* pool.h: for work that is slow or blocks (password hashing, large reads): threads of lower
 * priority than the workers, with a bounded queue. One pool does one kind of work.
 *
 * Thread: pool_run() on any worker; run() on a thread of the pool; done() on that worker again. */
#pragma once

#include "core/err.h"
#include "core/inbox.h"

struct pool;

struct job {
	struct post post;
	void (*run)(struct job *j);  /* on the pool */
	void (*done)(struct job *j); /* on the worker; owns the job */
	int worker;
};

/* NULL when the threads cannot be started (logged). */
struct pool *pool_new(const char *name, int threads, size_t queue_max);
/* Waits for what is queued; its done() is still posted: before workers_stop(). */
void pool_free(struct pool **pool);
/* ERR_OVERLOADED when queue_max jobs wait: the job is untouched. */
enum err pool_run(struct pool *pool, struct job *j);
