/* What the main thread has the workers do: rounds, which are delivered one behind the other, waiting
 * for a state, and pausing. */
#include "core/mem.h"
#include "core/worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <semaphore.h>
#include <stdatomic.h>

enum { WORKERS = 4, ROUNDS = 500, POSTS = 20 };

static int received[WORKERS]; /* of posts from other workers: each its worker's own */
static _Thread_local int turns;

static void run_receive(struct post *p)
{
	received[worker_self()->index]++;
	free(p);
}

static void post_to_all(struct worker *w, void *context)
{
	(void)w, (void)context;
	for (int i = 0; i < POSTS; i++)
		for (int to = 0; to < WORKERS; to++) {
			struct post *p = mem_new(struct post);
			p->run = run_receive;
			worker_post(worker_at(to), p);
		}
}

static void nothing(struct worker *w, void *context)
{
	(void)w, (void)context;
}

static void start(void)
{
	static const struct worker_part *const parts[] = {NULL};
	struct workers_options options = {.count = WORKERS, .calls_max = 16, .parts = parts};
	assert_int_equal(workers_start(&options), ERR_OK);
}

static void a_round_is_delivered_when_the_next_is_over(void **state)
{
	(void)state;
	start();
	for (int round = 1; round <= ROUNDS; round++) {
		workers_each(post_to_all, NULL);
		workers_each(nothing, NULL);
		for (int i = 0; i < WORKERS; i++)
			assert_int_equal(received[i], round * WORKERS * POSTS);
	}
	workers_stop();
}

/* True at its worker's tenth turn; each turn brings the next. */
static bool tenth_turn(struct worker *w)
{
	struct post *p = mem_new(struct post);
	p->run = run_receive;
	worker_post(w, p);
	return ++turns == 10;
}

static bool never_on_the_last(struct worker *w)
{
	return w->index != WORKERS - 1;
}

static void a_wait_ends_with_its_state_or_its_time(void **state)
{
	(void)state;
	start();
	assert_true(workers_wait(tenth_turn, 60000));
	assert_false(workers_wait(never_on_the_last, 20));
	assert_true(workers_drain(60000));
	workers_stop();
}

/* Two halves that are always equal, without a lock: only ever changed while the workers pause. */
static struct {
	int one, other;
} halves;
static bool busy;

static void run_look(struct post *p)
{
	assert_true(halves.one == halves.other);
	received[worker_self()->index]++;
	if (busy)
		worker_post(worker_at((worker_self()->index + 1) % WORKERS), p);
	else
		free(p);
}

static void look(struct worker *w, void *context)
{
	(void)w, (void)context;
	struct post *p = mem_new(struct post);
	p->run = run_look;
	worker_post(worker_self(), p);
}

static void nobody_runs_in_a_pause(void **state)
{
	(void)state;
	start();
	busy = true;
	workers_each(look, NULL);
	for (int pause = 0; pause < ROUNDS; pause++) {
		workers_pause();
		int before[WORKERS];
		memcpy(before, received, sizeof(before));
		halves.one++;
		for (volatile int i = 0; i < 1000; i++)
			;
		halves.other++;
		assert_memory_equal(before, received, sizeof(before));
		busy = pause < ROUNDS - 1;
		workers_resume();
	}
	workers_stop();
}

/* ---- wakes ---- */

enum { PARTS = 5, PART_MS = 5 };

static struct {
	struct post post;
	int turn; /* of its worker when it ran */
} part_of_turn[PARTS];
static sem_t posted, ran;
static _Thread_local int ended_turns;

static void count_turn(struct worker *w)
{
	(void)w;
	ended_turns++;
}

static void start_counting(void)
{
	static const struct worker_part counting = {.name = "turns", .turn = count_turn};
	static const struct worker_part *const parts[] = {&counting, NULL};
	struct workers_options options = {.count = 2, .calls_max = 16, .parts = parts};
	assert_int_equal(workers_start(&options), ERR_OK);
	workers_each(nothing, NULL);
	sem_init(&posted, 0, 0);
	sem_init(&ran, 0, 0);
}

static void run_part(struct post *p)
{
	for (int i = 0; i < PARTS; i++)
		if (p == &part_of_turn[i].post)
			part_of_turn[i].turn = ended_turns;
	sem_post(&ran);
}

static void run_parts_slowly(struct post *p)
{
	(void)p;
	for (int i = 0; i < PARTS; i++) {
		part_of_turn[i].post.run = run_part;
		worker_post(worker_at(1), &part_of_turn[i].post);
		uv_sleep(PART_MS);
	}
}

static void what_a_turn_posts_is_run_in_one(void **state)
{
	(void)state;
	struct post slowly = {.run = run_parts_slowly};
	start_counting();
	worker_post(worker_at(0), &slowly);
	for (int i = 0; i < PARTS; i++)
		sem_wait(&ran);
	for (int i = 1; i < PARTS; i++)
		assert_int_equal(part_of_turn[i].turn, part_of_turn[0].turn);
	workers_stop();
}

/* Posts one, and does not come to the end of its turn before the other worker has run two. */
static void run_post_and_stick(struct post *p)
{
	(void)p;
	part_of_turn[0].post.run = run_part;
	worker_post(worker_at(1), &part_of_turn[0].post);
	sem_post(&posted);
	sem_wait(&ran);
	sem_wait(&ran);
	sem_post(&posted);
}

static void other_threads_wake_at_once(void **state)
{
	(void)state;
	struct post stick = {.run = run_post_and_stick};
	start_counting();
	worker_post(worker_at(0), &stick);
	sem_wait(&posted);
	part_of_turn[1].post.run = run_part;
	worker_post(worker_at(1), &part_of_turn[1].post);
	sem_wait(&posted);
	workers_stop();
}

static void a_worker_is_behind_with_what_it_has_not_taken(void **state)
{
	(void)state;
	struct post stick = {.run = run_post_and_stick};
	start_counting();
	assert_false(workers_behind());
	worker_post(worker_at(0), &stick);
	sem_wait(&posted);
	assert_true(workers_behind());
	part_of_turn[1].post.run = run_part;
	worker_post(worker_at(1), &part_of_turn[1].post);
	sem_wait(&posted);
	assert_false(workers_behind());
	workers_stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_round_is_delivered_when_the_next_is_over),
		cmocka_unit_test(a_wait_ends_with_its_state_or_its_time),
		cmocka_unit_test(nobody_runs_in_a_pause),
		cmocka_unit_test(what_a_turn_posts_is_run_in_one),
		cmocka_unit_test(other_threads_wake_at_once),
		cmocka_unit_test(a_worker_is_behind_with_what_it_has_not_taken),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
