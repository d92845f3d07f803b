/* What one worker sends to another that does not get to run: bounded in bytes, told to those it was
 * for, and over when that worker goes on. */
#include "core/worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <semaphore.h>
#include <stdatomic.h>

enum { FRAME_BYTES = 128 * 1024, FRAMES = EVENT_BYTES_MAX / FRAME_BYTES };

static struct endpoint endpoint; /* lives on worker 1 */
static struct addr its_addr;
static atomic_size_t delivered, dropped;
static sem_t stuck, released, done;

static void on_event(struct endpoint *e, struct frame *f)
{
	(void)e;
	frame_unref(&f);
	atomic_fetch_add(&delivered, 1);
}

static void on_overflow(struct endpoint *e)
{
	(void)e;
	atomic_fetch_add(&dropped, 1);
}

static struct receipt *asked;
static size_t delivered_when_asked;

static void on_asked(struct endpoint *e, struct receipt *r)
{
	(void)e;
	delivered_when_asked = atomic_load(&delivered);
	asked = r;
}

static const struct endpoint_ops ops = {
	.event = on_event, .overflow = on_overflow, .asked = on_asked};

static void run_register(struct post *p)
{
	(void)p;
	addr_register(&endpoint, &ops);
	its_addr = endpoint.addr;
	sem_post(&done);
}

static void run_release(struct post *p)
{
	(void)p;
	addr_release(&endpoint, true);
	sem_post(&done);
}

static void run_stick(struct post *p)
{
	(void)p;
	sem_post(&stuck);
	sem_wait(&released);
}

static struct frame *frame_of(size_t n)
{
	static const char zeros[FRAME_BYTES];
	struct buf b = frame_buf();
	buf_add(&b, zeros, n);
	return frame_take(&b);
}

/* As many as are allowed to one address, then one too many to it and to an audience with it. */
static void run_flood(struct post *p)
{
	(void)p;
	struct audience *a = audience_new(&its_addr, 1);
	for (size_t i = 0; i < FRAMES; i++)
		addr_send(its_addr, frame_of(FRAME_BYTES));
	addr_send(its_addr, frame_of(1));
	audience_send(a, (struct addr){0}, frame_of(1));
	audience_unref(&a);
	sem_post(&done);
}

static void run_one(struct post *p)
{
	(void)p;
	addr_send(its_addr, frame_of(1));
	sem_post(&done);
}

static void run_nothing(struct post *p)
{
	(void)p;
	sem_post(&done);
}

static void on_worker(int worker, void (*run)(struct post *p), sem_t *until)
{
	struct post p = {.run = run};
	worker_post(worker_at(worker), &p);
	sem_wait(until);
}

static void a_stuck_worker_costs_only_so_much(void **state)
{
	(void)state;
	static const struct worker_part *const parts[] = {NULL};
	struct workers_options options = {.count = 2, .calls_max = 16, .parts = parts};
	static struct post stick = {.run = run_stick};
	sem_init(&stuck, 0, 0);
	sem_init(&released, 0, 0);
	sem_init(&done, 0, 0);
	assert_int_equal(workers_start(&options), ERR_OK);
	on_worker(1, run_register, &done);
	worker_post(worker_at(1), &stick);
	sem_wait(&stuck);
	on_worker(0, run_flood, &done);
	assert_int_equal(atomic_load(&delivered), 0);
	sem_post(&released);
	on_worker(1, run_nothing, &done);
	assert_int_equal(atomic_load(&delivered), FRAMES);
	assert_int_equal(atomic_load(&dropped), 2);
	on_worker(0, run_one, &done);
	on_worker(1, run_nothing, &done);
	assert_int_equal(atomic_load(&delivered), FRAMES + 1);
	assert_int_equal(atomic_load(&dropped), 2);
	on_worker(1, run_release, &done);
	workers_drain(1000);
	workers_stop();
}

static struct receipt receipt;
static int told;

static void run_told(struct post *p)
{
	assert_ptr_equal(p, &receipt.post);
	assert_int_equal(worker_self()->index, 0);
	told = receipt.gone ? 2 : 1;
	sem_post(&done);
}

static void run_ask(struct post *p)
{
	(void)p;
	receipt = (struct receipt){.post.run = run_told};
	for (int i = 0; i < 3; i++)
		addr_send(its_addr, frame_of(1));
	addr_ask(its_addr, &receipt);
}

static void run_answer(struct post *p)
{
	(void)p;
	receipt_answer(asked, false);
}

static void a_question_comes_behind_what_was_sent(void **state)
{
	(void)state;
	static const struct worker_part *const parts[] = {NULL};
	struct workers_options options = {.count = 2, .calls_max = 16, .parts = parts};
	static struct post ask = {.run = run_ask};
	sem_init(&done, 0, 0);
	atomic_store(&delivered, 0);
	assert_int_equal(workers_start(&options), ERR_OK);
	on_worker(1, run_register, &done);
	worker_post(worker_at(0), &ask);
	on_worker(0, run_nothing, &done);
	on_worker(1, run_nothing, &done);
	assert_int_equal(delivered_when_asked, 3);
	on_worker(0, run_nothing, &done);
	assert_int_equal(told, 0); /* not before the client has them */
	on_worker(1, run_answer, &done);
	assert_int_equal(told, 1);
	on_worker(1, run_release, &done);
	on_worker(0, run_ask, &done);
	assert_int_equal(told, 2); /* nobody is there any more */
	workers_drain(1000);
	workers_stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(a_stuck_worker_costs_only_so_much),
		cmocka_unit_test(a_question_comes_behind_what_was_sent)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
