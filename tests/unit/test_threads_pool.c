/* pool: work of all workers runs there, less urgently, and comes home; no more waits than may. */
#include "core/log.h"
#include "core/mem.h"
#include "core/pool.h"
#include "core/worker.h"

#include <stdarg.h>
#include <setjmp.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cmocka.h>

enum { WORKERS = 3, THREADS = 2, QUEUE_MAX = 50, JOBS = 2000 };

struct sum {
	struct job job;
	int worker, input, output;
};

static struct pool *pool;
static sem_t progress, gate;
static atomic_int wrong, refused, running;

static void expect(bool right)
{
	if (!right)
		atomic_fetch_add(&wrong, 1);
}

static int niceness(void)
{
	return getpriority(PRIO_PROCESS, (id_t)gettid());
}

static void on_worker(int index, void (*run)(struct post *))
{
	struct post *p = mem_new(struct post);
	p->run = run;
	worker_post(worker_at(index), p);
}

/* ---- much work ---- */

static _Thread_local int next_input;

static void ask_for_more(struct post *p);

static void compute(struct job *j)
{
	struct sum *s = (struct sum *)j;
	expect(worker_self() == NULL);
	expect(niceness() == 19);
	s->output = 2 * s->input;
}

static void computed(struct job *j)
{
	struct sum *s = (struct sum *)j;
	expect(worker_self()->index == s->worker);
	expect(s->output == 2 * s->input);
	free(s);
	sem_post(&progress);
}

static void give_some(void)
{
	while (next_input < JOBS) {
		struct sum *s = mem_new(struct sum);
		*s = (struct sum){.job = {.run = compute, .done = computed},
			.worker = worker_self()->index,
			.input = next_input};
		if (pool_run(pool, &s->job)) {
			atomic_fetch_add(&refused, 1);
			free(s); /* it was left to us */
			on_worker(worker_self()->index, ask_for_more);
			return;
		}
		next_input++;
	}
}

static void ask_for_more(struct post *p)
{
	free(p);
	give_some();
}

static void all_work_is_done_and_comes_home(void **state)
{
	(void)state;
	for (int i = 0; i < WORKERS; i++)
		on_worker(i, ask_for_more);
	for (int i = 0; i < WORKERS * JOBS; i++)
		sem_wait(&progress);
	assert_int_equal(atomic_load(&wrong), 0);
}

/* ---- the bound and the end ---- */

static void hold(struct job *j)
{
	(void)j;
	atomic_fetch_add(&running, 1);
	sem_wait(&gate);
}

static void held(struct job *j)
{
	free(j);
	sem_post(&progress);
}

static enum err give_held(void)
{
	struct job *j = mem_new(struct job);
	*j = (struct job){.run = hold, .done = held};
	enum err err = pool_run(pool, j);
	if (err)
		free(j);
	return err;
}

static void fill(struct post *p)
{
	free(p);
	for (int i = 0; i < THREADS; i++)
		expect(give_held() == ERR_OK);
	while (atomic_load(&running) < THREADS)
		usleep(1000);
	for (int i = 0; i < QUEUE_MAX; i++)
		expect(give_held() == ERR_OK);
	for (int i = 0; i < 3; i++)
		expect(give_held() == ERR_OVERLOADED);
	sem_post(&progress);
}

static void the_queue_has_a_bound_and_is_emptied(void **state)
{
	(void)state;
	on_worker(0, fill);
	sem_wait(&progress);
	for (int i = 0; i < THREADS + QUEUE_MAX; i++)
		sem_post(&gate);
	pool_free(&pool);
	assert_null(pool);
	for (int i = 0; i < THREADS + QUEUE_MAX; i++)
		sem_wait(&progress);
	assert_int_equal(atomic_load(&wrong), 0);
	assert_int_equal(atomic_load(&running), THREADS + QUEUE_MAX);
	pool_free(&pool);
}

static int set_up(void **state)
{
	(void)state;
	static const struct worker_part *const no_parts[] = {NULL};
	const struct workers_options options = {
		.count = WORKERS, .calls_max = 1000, .parts = no_parts};
	sem_init(&progress, 0, 0);
	sem_init(&gate, 0, 0);
	pool = pool_new("test", THREADS, QUEUE_MAX);
	return !pool || workers_start(&options);
}

static int tear_down(void **state)
{
	(void)state;
	workers_stop();
	sem_destroy(&progress);
	sem_destroy(&gate);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_work_is_done_and_comes_home),
		cmocka_unit_test(the_queue_has_a_bound_and_is_emptied),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
