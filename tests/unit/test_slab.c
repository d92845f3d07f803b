/* slab: the lists themselves, which a build with a sanitizer does without, against what was taken. */
#undef SIGNALBOX_SANITIZE
#include "core/slab.c"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

enum { OPERATIONS = 20000, TAKEN_MAX = 300 };

static unsigned seed = 20267;

static unsigned chance(unsigned below)
{
	return (unsigned)rand_r(&seed) % below;
}

static struct {
	unsigned char *block;
	size_t n;
	unsigned char filled;
} taken[TAKEN_MAX];

static void take(unsigned i)
{
	taken[i].n = chance(10) ? chance(700) : chance(3 * SLAB_MOST_BYTES);
	taken[i].block = slab_take(taken[i].n);
	taken[i].filled = (unsigned char)chance(256);
	memset(taken[i].block, taken[i].filled, taken[i].n);
}

static void give(unsigned i)
{
	for (size_t k = 0; k < taken[i].n; k++)
		assert_int_equal(taken[i].block[k], taken[i].filled);
	slab_give(taken[i].block, taken[i].n);
	taken[i].block = NULL;
}

static void no_block_is_two_peoples(void **state)
{
	(void)state;
	slab_thread_start();
	for (int i = 0; i < OPERATIONS; i++) {
		unsigned at = chance(TAKEN_MAX);
		if (taken[at].block)
			give(at);
		else
			take(at);
	}
	for (unsigned i = 0; i < TAKEN_MAX; i++)
		if (taken[i].block)
			give(i);
	slab_thread_stop();
}

static void what_is_given_is_taken_again(void **state)
{
	(void)state;
	slab_thread_start();
	for (size_t n = 1; n <= SLAB_MOST_BYTES; n = n * 2 + 1) {
		void *block = slab_take(n);
		slab_give(block, n);
		assert_ptr_equal(slab_take(n), block);
		void *another = slab_take(n);
		assert_ptr_not_equal(another, block);
		slab_give(another, n);
		slab_give(block, n);
	}
	slab_thread_stop();
}

/* Counted where they lie: what is past the bound went to free(). */
static void each_size_has_its_bound(void **state)
{
	(void)state;
	enum { MANY = 3 * SLAB_KEPT_BYTES / SLAB_LEAST_BYTES };
	static void *all[MANY];
	slab_thread_start();
	for (size_t n = SLAB_LEAST_BYTES; n <= SLAB_MOST_BYTES; n *= 2) {
		size_t bound = SLAB_KEPT_BYTES / n, kept = 0;
		for (size_t i = 0; i < bound + 10; i++)
			all[i] = slab_take(n);
		for (size_t i = 0; i < bound + 10; i++)
			slab_give(all[i], n);
		for (struct block *b = sizes[size_of(n)].first; b; b = b->next)
			kept++;
		assert_int_equal(kept, bound);
		assert_int_equal(sizes[size_of(n)].room, 0);
	}
	slab_thread_stop();
}

static void a_size_holds_what_it_is_for(void **state)
{
	(void)state;
	for (size_t n = 0; n <= SLAB_MOST_BYTES; n++) {
		assert_true(n <= (size_t)SLAB_LEAST_BYTES << size_of(n));
		assert_true(!size_of(n) || n > (size_t)SLAB_LEAST_BYTES << (size_of(n) - 1));
	}
}

static void *give_all(void *blocks)
{
	for (void **b = blocks; *b; b++)
		slab_give(*b, 100);
	return NULL;
}

/* The one that ends has not started it: it keeps nothing that would be lost with it. */
static void another_thread_may_give(void **state)
{
	(void)state;
	slab_thread_start();
	void *blocks[9] = {0};
	for (int i = 0; i < 8; i++)
		blocks[i] = slab_take(100);
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, give_all, blocks), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_null(sizes[size_of(100)].first);
	slab_thread_stop();
	slab_give(slab_take(100), 100);
	assert_null(sizes[size_of(100)].first);
	slab_give(NULL, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(no_block_is_two_peoples),
		cmocka_unit_test(what_is_given_is_taken_again),
		cmocka_unit_test(each_size_has_its_bound),
		cmocka_unit_test(a_size_holds_what_it_is_for),
		cmocka_unit_test(another_thread_may_give)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
