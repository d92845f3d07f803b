/* ring: held against a list that never forgets, and asked what is still there. */
#include "signaling/ring.h"

#include "core/mem.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

enum { STEPS = 20000, TEXT_MAX = 400 };

/* Every message ever put in, and how many of them the ring may have forgotten by its limits. */
struct model {
	struct {
		struct str text;
		uint64_t at_ms;
	} all[STEPS + 1];
	size_t count, forgotten;
};

static struct model model;

static size_t bytes_after(size_t offset)
{
	size_t n = 0;
	for (size_t i = offset; i < model.count; i++)
		n += model.all[i].text.n;
	return n;
}

static void model_forget(const struct ring_limits *limits, uint64_t now)
{
	while (model.forgotten < model.count &&
		(model.count - model.forgotten > limits->messages ||
			bytes_after(model.forgotten) > limits->bytes ||
			now - model.all[model.forgotten].at_ms >= limits->age_ms))
		model.forgotten++;
}

static struct str random_message(void)
{
	size_t n = (size_t)rand() % 20 ? (size_t)rand() % 40 : (size_t)rand() % TEXT_MAX;
	char bytes[TEXT_MAX];
	for (size_t i = 0; i < n; i++)
		bytes[i] = (char)('a' + rand() % 26);
	return (struct str){mem_copy((struct str){bytes, n}), n};
}

static void compare(const struct ring *r)
{
	assert_int_equal(r->top, model.count);
	for (int i = 0; i < 4; i++) {
		size_t offset = (size_t)rand() % (model.count + 3);
		if (rand() % 2 && model.count)
			offset = model.count -
				(size_t)rand() % (model.count < 12 ? model.count : 12);
		size_t max = rand() % 2 ? SIZE_MAX : (size_t)rand() % 600;
		bool complete = offset <= model.count && offset >= model.forgotten &&
			bytes_after(offset) <= max;
		assert_int_equal(ring_holds_after(r, offset, max), complete);
		for (size_t at = offset; complete && at < model.count; at++)
			assert_true(str_eq(ring_at(r, at + 1), model.all[at].text));
	}
}

/* Another text for one of those that it holds. */
static void replace_one(struct ring *r)
{
	size_t at = (size_t)rand() % (model.count + 1);
	bool held = at < model.count && at >= model.count - r->count;
	assert_int_equal(ring_has(r, at + 1), held);
	if (!held)
		return;
	free((char *)(uintptr_t)model.all[at].text.p);
	model.all[at].text = random_message();
	ring_replace(r, at + 1, model.all[at].text);
}

static void run(struct ring_limits limits, int steps)
{
	struct ring r = ring_new(limits);
	uint64_t now = 1000;
	model = (struct model){0};
	for (int i = 0; i < steps; i++) {
		now += (uint64_t)(rand() % 10 ? rand() % 5 : rand() % 200);
		if (rand() % 5) {
			struct str text = random_message();
			model.all[model.count].text = text;
			model.all[model.count++].at_ms = now;
			ring_put(&r, text, now);
		} else {
			ring_expire(&r, now);
			if (rand() % 2)
				replace_one(&r);
		}
		model_forget(&limits, now);
		compare(&r);
	}
	ring_finish(&r);
	for (size_t i = 0; i < model.count; i++)
		free((char *)(uintptr_t)model.all[i].text.p);
}

static void against_the_model(void **state)
{
	(void)state;
	run((struct ring_limits){100, 1024 * 1024, 3600000}, STEPS / 20);
	run((struct ring_limits){7, 1024 * 1024, 3600000}, STEPS / 20);
	run((struct ring_limits){100, 300, 3600000}, STEPS / 20);
	run((struct ring_limits){100, 1024 * 1024, 50}, STEPS / 20);
	run((struct ring_limits){10, 200, 100}, STEPS / 4);
	run((struct ring_limits){1, 1024, 3600000}, STEPS / 20);
	run((struct ring_limits){0, 1024, 3600000}, STEPS / 20);
}

static void one_that_seems_to_be_from_later_is_not_old(void **state)
{
	(void)state;
	struct ring r = ring_new((struct ring_limits){10, 1000, 1000});
	ring_put(&r, STR("one"), 5000);
	ring_put(&r, STR("two"), 4999);
	assert_int_equal(r.count, 2);
	ring_expire(&r, 5998);
	assert_int_equal(r.count, 2);
	ring_expire(&r, 6000);
	assert_int_equal(r.count, 0);
	ring_finish(&r);
}

static void a_message_too_large_to_keep_leaves_no_hole(void **state)
{
	(void)state;
	struct ring r = ring_new((struct ring_limits){10, 10, 1000});
	ring_put(&r, STR("one"), 0);
	ring_put(&r, STR("longer than all"), 0);
	assert_int_equal(r.count, 0);
	assert_false(ring_holds_after(&r, 0, SIZE_MAX));
	assert_false(ring_holds_after(&r, 1, SIZE_MAX));
	assert_true(ring_holds_after(&r, 2, 0));
	ring_put(&r, STR("three"), 0);
	assert_true(ring_holds_after(&r, 2, SIZE_MAX));
	assert_false(ring_holds_after(&r, 1, SIZE_MAX));
	assert_true(str_is(ring_at(&r, 3), "three"));
	ring_finish(&r);
}

static void fewer_are_held_once_the_limits_say_so(void **state)
{
	(void)state;
	struct ring r = ring_new((struct ring_limits){10, 1000, 1000});
	for (int i = 0; i < 5; i++)
		ring_put(&r, STR("one"), 0);
	r.limits.messages = 2;
	ring_expire(&r, 0);
	assert_int_equal(r.count, 2);
	assert_true(ring_has(&r, 4) && !ring_has(&r, 3));
	r.limits.messages = 0;
	ring_expire(&r, 0);
	assert_int_equal(r.count, 0);
	assert_int_equal(r.top, 5);
	ring_finish(&r);
}

int main(void)
{
	const char *given = getenv("SEED");
	unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
	printf("SEED=%u\n", seed);
	srand(seed);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(against_the_model),
		cmocka_unit_test(one_that_seems_to_be_from_later_is_not_old),
		cmocka_unit_test(a_message_too_large_to_keep_leaves_no_hole),
		cmocka_unit_test(fewer_are_held_once_the_limits_say_so),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
