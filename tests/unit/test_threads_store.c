/* store and workers: all workers ask at once, each is answered on its own thread and in its order,
 * and sees what it has written. Under the thread sanitizer, too. */
#include "core/log.h"
#include "core/mem.h"
#include "core/metrics.h"
#include "core/worker.h"
#include "store/store.h"

#include <stdarg.h>
#include <setjmp.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

enum { WORKERS = 4, CHAINS = 100, STEPS = 40, QUEUE_MAX = 4 * CHAINS };

/* One of many things that happen on a worker at once: it writes a number, reads it back, and goes on
 * with the next. */
struct chain {
	char name[32];
	int worker, step;
};

static char folder[256], place[300];
static sem_t finished;
static atomic_int wrong;
static _Thread_local int unfinished;

static void write_next(struct chain *c);

/* cmocka's own asserts are for the main thread. */
static void expect(bool right)
{
	if (!right)
		atomic_fetch_add(&wrong, 1);
}

static void has_read(struct store_op *op)
{
	struct chain *c = op->context;
	expect(worker_self()->index == c->worker);
	expect(op->err == ERR_OK && store_int(op, 0, 0) == c->step);
	c->step++;
	write_next(c);
}

static void has_written(struct store_op *op)
{
	struct chain *c = op->context;
	expect(worker_self()->index == c->worker);
	expect(op->err == ERR_OK);
	store_ask(STORE_SETTING_GET, has_read, c, STORE_TEXT(str_of(c->name)), STORE_END);
}

static void write_next(struct chain *c)
{
	if (c->step < STEPS) {
		store_ask(STORE_SETTING_PUT, has_written, c, STORE_TEXT(str_of(c->name)),
			STORE_INT(c->step), STORE_END);
		return;
	}
	free(c);
	if (--unfinished == 0)
		sem_post(&finished);
}

static void begin(struct post *p)
{
	free(p);
	unfinished = CHAINS;
	for (int i = 0; i < CHAINS; i++) {
		struct chain *c = mem_new(struct chain);
		c->worker = worker_self()->index;
		snprintf(c->name, sizeof(c->name), "%d.%d", c->worker, i);
		write_next(c);
	}
}

static void on_all_workers(void (*run)(struct post *))
{
	for (int i = 0; i < workers_count(); i++) {
		struct post *p = mem_new(struct post);
		p->run = run;
		worker_post(worker_at(i), p);
	}
}

static double seconds_since(const struct timespec *start)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

static void all_workers_ask_at_once(void **state)
{
	(void)state;
	struct timespec start;
	int64_t writes = metric_read(METRIC_STORE_WRITES);
	int64_t commits = metric_read(METRIC_STORE_COMMITS);
	clock_gettime(CLOCK_MONOTONIC, &start);
	on_all_workers(begin);
	for (int i = 0; i < WORKERS; i++)
		sem_wait(&finished);
	double seconds = seconds_since(&start);
	writes = metric_read(METRIC_STORE_WRITES) - writes;
	commits = metric_read(METRIC_STORE_COMMITS) - commits;
	print_message("%.0f writes and as many reads a second, %.1f writes a commit\n",
		(double)writes / seconds, (double)writes / (double)commits);
	assert_int_equal(atomic_load(&wrong), 0);
	assert_int_equal(writes, WORKERS * CHAINS * STEPS);
	assert_true(commits < writes / 2);
}

/* ---- the end, in the middle of it ---- */

enum { FLOOD = 3000 };

static atomic_int asked, answered, refused, kept;

static void flood_answered(struct store_op *op)
{
	if (op->err == ERR_OK)
		atomic_fetch_add(&kept, 1);
	else if (op->err == ERR_OVERLOADED)
		atomic_fetch_add(&refused, 1);
	if (atomic_fetch_add(&answered, 1) + 1 == WORKERS * FLOOD)
		sem_post(&finished);
}

static void flood(struct post *p)
{
	char name[32];
	free(p);
	for (int i = 0; i < FLOOD; i++) {
		snprintf(name, sizeof(name), "flood%d.%d", worker_self()->index, i);
		store_ask(STORE_USER_ADD, flood_answered, NULL, STORE_TEXT(str_of(name)),
			STORE_TEXT(STR("")), STORE_NULL, STORE_INT(1), STORE_END);
		atomic_fetch_add(&asked, 1);
	}
}

static size_t count_users(void)
{
	struct store_op *op = store_ask_now(
		STORE_USER_LIST, STORE_TEXT(STR("flood")), STORE_INT(10000), STORE_END);
	size_t count = op->rows;
	assert_int_equal(op->err, ERR_OK);
	store_op_free(&op);
	return count;
}

static void closing_while_workers_ask(void **state)
{
	(void)state;
	char why[STORE_WHY_MAX];
	on_all_workers(flood);
	while (atomic_load(&asked) < FLOOD)
		usleep(100);
	store_close();
	sem_wait(&finished);
	assert_int_equal(atomic_load(&answered), WORKERS * FLOOD);
	assert_int_equal(atomic_load(&kept) + atomic_load(&refused), WORKERS * FLOOD);
	assert_int_equal(store_open(&store_sqlite, place, QUEUE_MAX, why), ERR_OK);
	assert_int_equal(count_users(), atomic_load(&kept));
}

static int set_up(void **state)
{
	(void)state;
	static const struct worker_part *const no_parts[] = {NULL};
	const struct workers_options options = {
		.count = WORKERS, .calls_max = 1000, .parts = no_parts};
	const char *tmp = getenv("TMPDIR");
	char why[STORE_WHY_MAX];
	log_configure(LOG_WARN, false, 2);
	snprintf(folder, sizeof(folder), "%s/test_threads_store.XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(folder));
	snprintf(place, sizeof(place), "%s/signalbox.db", folder);
	sem_init(&finished, 0, 0);
	return workers_start(&options) || store_open(&store_sqlite, place, QUEUE_MAX, why);
}

static int tear_down(void **state)
{
	(void)state;
	store_close();
	workers_stop();
	sem_destroy(&finished);
	unlink(place);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_workers_ask_at_once),
		cmocka_unit_test(closing_while_workers_ask),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
