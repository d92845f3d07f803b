/* worker.h: the threads that everything runs on. A worker is one thread with one libuv loop, one
 * libwebsockets context and one inbox; all state of a session, a room or a connection belongs to
 * exactly one worker and is touched by no other thread.
 *
 * There is one set of workers in the process, started, waited for and stopped by its main thread. */
#pragma once

#include "core/addr.h"
#include "core/inbox.h"

#include <uv.h>

struct lws_context;
struct principal;

enum { WORKERS_MAX = 64 };

struct worker {
	int index;
	uv_loop_t loop;
	struct lws_context *lws;
	struct inbox inbox;
	struct worker_private *own;
};

/* What a module keeps on each worker. All functions run on the worker's thread; state goes into a
 * _Thread_local of the module. Any may be NULL. */
struct worker_part {
	const char *name;
	enum err (*start)(struct worker *w);
	void (*drain)(struct worker *w);   /* take nothing more in, end what can be ended */
	bool (*drained)(struct worker *w); /* asked at the end of each turn until true */
	void (*stop)(struct worker *w);    /* free everything; reverse order of start */
	void (*turn)(struct worker *w);    /* the end of each loop turn, before it waits */
	/* An endpoint has lost its connection and may come back, or has. */
	void (*connected)(struct addr endpoint, bool yes);
	/* An endpoint may do other things from now on, behind all of its calls to this worker so far:
	 * what it has and may not have any more ends. */
	void (*granted)(struct addr endpoint, const struct principal *who);
	/* An endpoint ended (clean: because it wanted to); behind all of its calls to this worker. */
	void (*gone)(struct addr endpoint, bool clean);
};

struct workers_options {
	int count;
	size_t calls_max; /* bound of each inbox */
	bool sockets;     /* with a libwebsockets context each; tests may do without */
	const struct worker_part *const *parts; /* in order of start, ends with NULL */
};

/* Starts all; on failure none runs. */
enum err workers_start(const struct workers_options *options);

/* Runs fn on every worker, behind all that has been posted there, and waits until it has run on all.
 * What a round posts to other workers has been delivered when the next round is over. */
void workers_each(void (*fn)(struct worker *w, void *context), void *context);

/* Waits until done() was true on every worker at the end of a turn, grace_ms at the longest. False:
 * it took too long. */
bool workers_wait(bool (*done)(struct worker *w), unsigned grace_ms);

/* Stops all workers between two of their posts, until workers_resume(): the main thread may then change
 * what they only read. Nothing that waits for a worker may be done meanwhile. */
void workers_pause(void);
void workers_resume(void);

/* Tells all parts to drain and waits until they are done with it, grace_ms at the longest. */
bool workers_drain(unsigned grace_ms);

/* Stops and frees all. What is still posted runs first. */
void workers_stop(void);

int workers_count(void);
struct worker *worker_at(int index);
struct worker *worker_self(void);                       /* NULL on other threads */
struct worker *worker_home(struct str name);            /* where the state of that name lives */
struct worker *worker_of_hash(unsigned long long hash); /* the same, by str_hash() of the name */

/* When this turn of its loop began: milliseconds since some moment, steady. On a worker only. */
static inline uint64_t worker_now_ms(void)
{
	return uv_now(&worker_self()->loop);
}

/* Any thread. What a worker posts may wait for the end of its turn, so it does not wait for that itself. */
void worker_post(struct worker *w, struct post *p);
enum err worker_post_call(struct worker *w, struct post *p); /* ERR_OVERLOADED: untouched */

/* Another worker has not begun with what was posted to it. */
bool workers_behind(void);

/* For core/addr.c: tells every part of this worker. */
void worker_gone(struct worker *w, struct addr endpoint, bool clean);
void worker_connected(struct worker *w, struct addr endpoint, bool yes);
void worker_granted(struct worker *w, struct addr endpoint, const struct principal *who);
