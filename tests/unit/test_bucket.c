/* bucket: against a model that counts in whole units, and the promises that callers build on. */
#include "core/bucket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

static const struct bucket_size ten = {.tokens = 10, .period_ms = 1000, .burst = 3};

static void a_burst_then_the_rate(void **state)
{
	(void)state;
	struct bucket b = {0};
	for (int i = 0; i < 3; i++)
		assert_int_equal(bucket_take(&b, ten, 5000, 1), 0);
	assert_int_equal(bucket_take(&b, ten, 5000, 1), 100);
	assert_int_equal(bucket_take(&b, ten, 5099, 1), 1);
	assert_int_equal(bucket_take(&b, ten, 5100, 1), 0);
	assert_int_equal(bucket_take(&b, ten, 5100, 1), 100);
	assert_int_equal(bucket_take(&b, ten, 999999, 1), 0); /* a long rest gives no more */
	assert_int_equal(bucket_take(&b, ten, 999999, 2), 0);
	assert_int_equal(bucket_take(&b, ten, 999999, 1), 100);
}

static void who_waits_is_served(void **state)
{
	(void)state;
	struct bucket b = {0};
	int64_t now = 1;
	struct bucket_size odd = {.tokens = 7, .period_ms = 60000, .burst = 5};
	for (int i = 0; i < 200; i++) {
		int64_t wait = bucket_take(&b, odd, now, 1);
		if (!wait)
			continue;
		assert_true(bucket_wait(&b, odd, now + wait - 1, 1) > 0);
		assert_int_equal(bucket_take(&b, odd, now + wait, 1), 0);
		now += wait;
	}
}

static void more_than_the_burst_is_owed(void **state)
{
	(void)state;
	struct bucket b = {0};
	assert_int_equal(bucket_take(&b, ten, 0, 13), 0);
	assert_int_equal(bucket_take(&b, ten, 0, 1), 1100); /* 10 owed, and its own */
	assert_int_equal(bucket_take(&b, ten, 1000, 13), 300);
	assert_int_equal(bucket_take(&b, ten, 1300, 13), 0);
}

static void spending_owes_nothing(void **state)
{
	(void)state;
	struct bucket b = {0};
	for (int i = 0; i < 1000; i++)
		bucket_spend(&b, ten, 0, 1);
	assert_int_equal(bucket_wait(&b, ten, 0, 1), 100);
	assert_int_equal(bucket_take(&b, ten, 0, 13), 300);
	b = (struct bucket){0};
	bucket_take(&b, ten, 0, 13);
	bucket_spend(&b, ten, 0, 1); /* forgives nothing either */
	assert_int_equal(bucket_wait(&b, ten, 0, 1), 1100);
}

static void without_a_rate_there_is_no_end(void **state)
{
	(void)state;
	struct bucket b = {0};
	for (int i = 0; i < 1000; i++)
		assert_int_equal(bucket_take(&b, (struct bucket_size){0}, 0, 1000), 0);
	assert_true(bucket_full(&b, (struct bucket_size){0}, 0));
}

static void extremes(void **state)
{
	(void)state;
	struct bucket b = {0};
	uint32_t most = (1u << 30) - 1;
	struct bucket_size vast = {most, most, most / 2};
	assert_int_equal(bucket_take(&b, vast, INT64_MIN / 4, most), 0);
	assert_true(bucket_wait(&b, vast, INT64_MIN / 4, 1) > 0);
	assert_int_equal(bucket_wait(&b, vast, INT64_MAX / 4, 1), 0);
	assert_true(bucket_full(&b, vast, INT64_MAX / 4));
}

/* The model counts in hundredths of a token, a millisecond at a time. */
static void as_the_model(void **state)
{
	(void)state;
	unsigned seed = (unsigned)time(NULL);
	printf("seed %u\n", seed);
	for (int round = 0; round < 200; round++) {
		struct bucket_size size = {.tokens = 1u + (unsigned)rand_r(&seed) % 50,
			.period_ms = 100,
			.burst = 1u + (unsigned)rand_r(&seed) % 20};
		struct bucket b = {0};
		int64_t full = (int64_t)size.burst * 100, there = full, now = rand_r(&seed);
		for (int step = 0; step < 300; step++) {
			for (int ms = rand_r(&seed) % 30; ms > 0; ms--, now++)
				there = there + size.tokens < full ? there + size.tokens : full;
			uint32_t n = 1u + (uint32_t)rand_r(&seed) % (size.burst + 3);
			int64_t need = (int64_t)(n < size.burst ? n : size.burst) * 100;
			bool spend = rand_r(&seed) % 4 == 0;
			assert_int_equal(bucket_full(&b, size, now), there == full);
			if (spend) {
				bucket_spend(&b, size, now, n);
				if (there > 0)
					there = there > n * 100 ? there - n * 100 : 0;
				continue;
			}
			int64_t wait = 0;
			for (int64_t at = there; at < need; at += size.tokens)
				wait++;
			assert_int_equal(bucket_wait(&b, size, now, n), wait);
			assert_int_equal(bucket_take(&b, size, now, n), wait);
			if (!wait)
				there -= (int64_t)n * 100;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_burst_then_the_rate),
		cmocka_unit_test(who_waits_is_served),
		cmocka_unit_test(more_than_the_burst_is_owed),
		cmocka_unit_test(spending_owes_nothing),
		cmocka_unit_test(without_a_rate_there_is_no_end),
		cmocka_unit_test(extremes),
		cmocka_unit_test(as_the_model),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
