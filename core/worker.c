#include "core/worker.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/metrics.h"
#include "core/slab.h"

#include <assert.h>
#include <libwebsockets.h>
#include <signal.h>
#include <stdatomic.h>

enum { READ_CHUNK_BYTES = 16384, HEADERS_MAX_BYTES = 16384 };

struct worker_private {
	pthread_t thread;
	uv_async_t wake;
	uv_prepare_t turn;
	uv_timer_t deadline;               /* of a wait */
	bool (*awaited)(struct worker *w); /* NULL: the main thread waits for nothing here */
	uint64_t to_wake;                  /* a bit for each that this one has posted to */
};

/* The main thread waits until all workers have come by. */
struct gate {
	atomic_int missing;
	uv_sem_t complete;
};

static struct {
	struct workers_options options;
	struct worker *all;
	uv_barrier_t barrier; /* all workers and the main thread */
	enum err failed;      /* of a start; written before the barrier */
	pthread_mutex_t failed_lock;
	struct gate round, wait; /* of workers_each() and workers_wait() */
	atomic_bool late;
} set = {.failed_lock = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local struct worker *self;

int workers_count(void)
{
	return set.options.count;
}

struct worker *worker_at(int index)
{
	assert(index >= 0 && index < set.options.count);
	return &set.all[index];
}

struct worker *worker_self(void)
{
	return self;
}

struct worker *worker_of_hash(unsigned long long hash)
{
	return &set.all[hash % (unsigned)set.options.count];
}

struct worker *worker_home(struct str name)
{
	return worker_of_hash(str_hash(name));
}

/* A worker wakes others at the end of its turn: what it has for them by then they run together, and one
 * that waits for the same core does not run in between. Other threads wake at once, also where something
 * lies there already: that may be of a worker that is not at its end. */
static void wake(struct worker *w)
{
	if (self)
		self->own->to_wake |= UINT64_C(1) << w->index;
	else
		uv_async_send(&w->own->wake);
}

static void wake_others(struct worker *w)
{
	for (; w->own->to_wake; w->own->to_wake &= w->own->to_wake - 1)
		uv_async_send(&worker_at(__builtin_ctzll(w->own->to_wake))->own->wake);
}

void worker_post(struct worker *w, struct post *p)
{
	inbox_post(&w->inbox, p);
	wake(w);
}

enum err worker_post_call(struct worker *w, struct post *p)
{
	enum err err = inbox_post_call(&w->inbox, p);
	if (err)
		metric_add(METRIC_CALLS_OVERLOADED, 1);
	else
		wake(w);
	return err;
}

bool workers_behind(void)
{
	for (int i = 0; i < set.options.count; i++)
		if (&set.all[i] != self && inbox_waits(&set.all[i].inbox))
			return true;
	return false;
}

void worker_gone(struct worker *w, struct addr endpoint, bool clean)
{
	(void)w;
	for (const struct worker_part *const *part = set.options.parts; *part; part++)
		if ((*part)->gone)
			(*part)->gone(endpoint, clean);
}

void worker_connected(struct worker *w, struct addr endpoint, bool yes)
{
	(void)w;
	for (const struct worker_part *const *part = set.options.parts; *part; part++)
		if ((*part)->connected)
			(*part)->connected(endpoint, yes);
}

void worker_granted(struct worker *w, struct addr endpoint, const struct principal *who)
{
	(void)w;
	for (const struct worker_part *const *part = set.options.parts; *part; part++)
		if ((*part)->granted)
			(*part)->granted(endpoint, who);
}

static void run_inbox(struct worker *w)
{
	for (struct post *p = inbox_take(&w->inbox), *next; p; p = next) {
		next = p->next;
		p->run(p);
	}
}

static void on_wake(uv_async_t *handle)
{
	run_inbox(handle->data);
}

static bool all_drained(struct worker *w)
{
	for (const struct worker_part *const *part = set.options.parts; *part; part++)
		if ((*part)->drained && !(*part)->drained(w))
			return false;
	return true;
}

static void gate_close(struct gate *g)
{
	atomic_store(&g->missing, set.options.count);
	uv_sem_init(&g->complete, 0);
}

static void gate_pass(struct gate *g)
{
	if (atomic_fetch_sub(&g->missing, 1) == 1)
		uv_sem_post(&g->complete);
}

static void gate_wait(struct gate *g)
{
	uv_sem_wait(&g->complete);
	uv_sem_destroy(&g->complete);
}

static void wait_over(struct worker *w)
{
	w->own->awaited = NULL;
	uv_timer_stop(&w->own->deadline);
	gate_pass(&set.wait);
}

static void on_turn(uv_prepare_t *handle)
{
	struct worker *w = handle->data;
	wake_others(w); /* before what the turn has to write, which takes its time */
	for (const struct worker_part *const *part = set.options.parts; *part; part++)
		if ((*part)->turn)
			(*part)->turn(w);
	if (w->own->awaited && w->own->awaited(w))
		wait_over(w);
	wake_others(w);
}

static void on_deadline(uv_timer_t *timer)
{
	atomic_store(&set.late, true);
	wait_over(timer->data);
}

static enum err start_parts(struct worker *w)
{
	const struct worker_part *const *parts = set.options.parts;
	for (int i = 0; parts[i]; i++) {
		enum err err = parts[i]->start ? parts[i]->start(w) : ERR_OK;
		if (!err)
			continue;
		log_error("start failed", LOG_TEXT("part", parts[i]->name));
		while (i-- > 0)
			if (parts[i]->stop)
				parts[i]->stop(w);
		return err;
	}
	return ERR_OK;
}

static void stop_parts(struct worker *w)
{
	int count = 0;
	while (set.options.parts[count])
		count++;
	while (count-- > 0)
		if (set.options.parts[count]->stop)
			set.options.parts[count]->stop(w);
}

static void close_loop(struct worker *w)
{
	if (w->lws)
		lws_context_destroy(
			w->lws); /* on a loop of ours: only begins to close its handles */
	uv_close((uv_handle_t *)&w->own->wake, NULL);
	uv_close((uv_handle_t *)&w->own->turn, NULL);
	uv_close((uv_handle_t *)&w->own->deadline, NULL);
	uv_run(&w->loop, UV_RUN_DEFAULT);
	if (w->lws)
		lws_context_destroy(w->lws); /* they have closed: now it is freed */
	w->lws = NULL;
	int busy = uv_loop_close(&w->loop);
	assert(!busy);
	(void)busy;
}

/* A worker's life. All of them and the main thread meet when started; when their loops have ended,
 * three times, so that what still lies in the inboxes (and what that posts in turn) runs before
 * anything is freed; and when all parts have stopped. */
static void *worker_main(void *argument)
{
	struct worker *w = argument;
	self = w;
	slab_thread_start();
	addr_thread_start();
	enum err err = start_parts(w);
	if (err) {
		pthread_mutex_lock(&set.failed_lock);
		set.failed = err;
		pthread_mutex_unlock(&set.failed_lock);
	}
	uv_barrier_wait(&set.barrier);
	if (!set.failed)
		uv_run(&w->loop, UV_RUN_DEFAULT); /* until stopped */
	for (int round = 0; round < 3; round++) {
		uv_barrier_wait(&set.barrier);
		run_inbox(w);
	}
	uv_barrier_wait(&set.barrier);
	if (!err)
		stop_parts(w);
	uv_barrier_wait(&set.barrier);
	run_inbox(w);
	addr_thread_stop();
	close_loop(w);
	slab_thread_stop();
	return NULL;
}

static enum err init_worker(struct worker *w, int index)
{
	w->index = index;
	w->own = mem_new(struct worker_private);
	inbox_init(&w->inbox, set.options.calls_max, NULL, NULL);
	if (uv_loop_init(&w->loop))
		return ERR_INTERNAL;
	w->loop.data = w;
	w->own->wake.data = w->own->turn.data = w->own->deadline.data = w;
	uv_async_init(&w->loop, &w->own->wake, on_wake);
	uv_prepare_init(&w->loop, &w->own->turn);
	uv_prepare_start(&w->own->turn, on_turn);
	uv_timer_init(&w->loop, &w->own->deadline);
	if (!set.options.sockets)
		return ERR_OK;
	struct lws_context_creation_info info = {
		.port = CONTEXT_PORT_NO_LISTEN,
		.options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
			LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT,
		.foreign_loops = (void *[]){&w->loop},
		.pt_serv_buf_size = READ_CHUNK_BYTES,
		.max_http_header_data2 = HEADERS_MAX_BYTES,
		.gid = -1,
		.uid = -1,
	};
	w->lws = lws_create_context(&info);
	return w->lws ? ERR_OK : ERR_INTERNAL;
}

static void log_lws(int level, const char *line)
{
	struct str text = str_of(line);
	while (text.n && (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == ' '))
		text.n--;
	if (level == LLL_ERR)
		log_error("libwebsockets", LOG_STR("line", text));
	else
		log_warn("libwebsockets", LOG_STR("line", text));
}

enum err workers_start(const struct workers_options *options)
{
	assert(options->count > 0 && options->count <= WORKERS_MAX);
	signal(SIGPIPE, SIG_IGN);
	lws_set_log_level(LLL_ERR | LLL_WARN, log_lws);
	set.options = *options;
	set.failed = ERR_OK;
	set.all = mem_alloc((size_t)options->count * sizeof(*set.all));
	uv_barrier_init(&set.barrier, (unsigned)options->count + 1);
	for (int i = 0; i < options->count; i++)
		if (init_worker(&set.all[i], i)) {
			log_error("a worker cannot start", LOG_INT("worker", i));
			return ERR_INTERNAL; /* the process ends */
		}
	for (int i = 0; i < options->count; i++)
		if (pthread_create(&set.all[i].own->thread, NULL, worker_main, &set.all[i]))
			abort();
	uv_barrier_wait(&set.barrier);
	if (set.failed)
		workers_stop();
	return set.failed;
}

struct round_post {
	struct post post;
	void (*fn)(struct worker *w, void *context);
	void *context;
};

static void run_round(struct post *p)
{
	struct round_post *r = (struct round_post *)p;
	r->fn(self, r->context);
	free(r);
	gate_pass(&set.round);
}

void workers_each(void (*fn)(struct worker *w, void *context), void *context)
{
	gate_close(&set.round);
	for (int i = 0; i < set.options.count; i++) {
		struct round_post *r = mem_new(struct round_post);
		*r = (struct round_post){{.run = run_round}, fn, context};
		worker_post(&set.all[i], &r->post);
	}
	gate_wait(&set.round);
}

/* They meet the main thread twice: when all have stopped, and when all may go on. */
static void run_pause(struct post *p)
{
	free(p);
	uv_barrier_wait(&set.barrier);
	uv_barrier_wait(&set.barrier);
}

void workers_pause(void)
{
	for (int i = 0; i < set.options.count; i++) {
		struct post *p = mem_new(struct post);
		p->run = run_pause;
		worker_post(&set.all[i], p);
	}
	uv_barrier_wait(&set.barrier);
}

void workers_resume(void)
{
	uv_barrier_wait(&set.barrier);
}

struct wait {
	bool (*done)(struct worker *w);
	unsigned grace_ms;
};

static void begin_wait(struct worker *w, void *context)
{
	const struct wait *wait = context;
	w->own->awaited = wait->done;
	uv_timer_start(&w->own->deadline, on_deadline, wait->grace_ms, 0);
}

bool workers_wait(bool (*done)(struct worker *w), unsigned grace_ms)
{
	struct wait wait = {done, grace_ms};
	atomic_store(&set.late, false);
	gate_close(&set.wait);
	workers_each(begin_wait, &wait);
	gate_wait(&set.wait);
	return !atomic_load(&set.late);
}

static void begin_drain(struct worker *w, void *context)
{
	(void)context;
	for (const struct worker_part *const *part = set.options.parts; *part; part++)
		if ((*part)->drain)
			(*part)->drain(w);
}

bool workers_drain(unsigned grace_ms)
{
	workers_each(begin_drain, NULL);
	bool in_time = workers_wait(all_drained, grace_ms);
	if (!in_time)
		log_warn("drain took too long");
	return in_time;
}

static void run_stop(struct post *p)
{
	free(p);
	uv_stop(&self->loop);
}

void workers_stop(void)
{
	if (!set.failed)
		for (int i = 0; i < set.options.count; i++) {
			struct post *p = mem_new(struct post);
			p->run = run_stop;
			worker_post(&set.all[i], p);
		}
	for (int meeting = 0; meeting < 5; meeting++)
		uv_barrier_wait(&set.barrier);
	for (int i = 0; i < set.options.count; i++) {
		pthread_join(set.all[i].own->thread, NULL);
		inbox_finish(&set.all[i].inbox);
		free(set.all[i].own);
	}
	uv_barrier_destroy(&set.barrier);
	free(set.all);
	set.all = NULL;
	set.options.count = 0;
}
