/* joined: what each queue gets is what waited in it, however much its list is like another's. */
#include "core/mem.h"
#include "service/joined.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { QUEUES = 40, FRAMES = 6, OPERATIONS = 20000 };

static unsigned seed = 20269;

static unsigned chance(unsigned below)
{
	return (unsigned)rand_r(&seed) % below;
}

static struct frame *frame_of(unsigned number)
{
	struct buf b = frame_buf();
	buf_addf(&b, "{\"n\":%u}", number);
	return frame_take(&b);
}

static void add(struct outbound *q, struct frame *f)
{
	outbound_add(q, (struct outgoing){.frame = frame_ref(f)});
}

/* Takes all of the queue and holds it against its frames, read one by one before. */
static const char *take_all(struct outbound *q)
{
	struct buf expected = BUF_INIT(FRAME_MAX_BYTES);
	uint32_t n = q->count;
	for (uint32_t i = 0; i < n; i++) {
		buf_addc(&expected, i ? ',' : '[');
		buf_adds(&expected, frame_str(outbound_at(q, i)->frame));
	}
	buf_addc(&expected, ']');
	struct str got = joined_take(q, n);
	assert_true(str_eq(got, buf_str(&expected)));
	assert_int_equal(q->count, 0);
	assert_int_equal(q->bytes, 0);
	/* as libwebsockets does with its headers */
	memset((char *)(uintptr_t)got.p - FRAME_HEADROOM, '#', FRAME_HEADROOM);
	buf_free(&expected);
	return got.p;
}

static void frames_begin(struct frame **all)
{
	for (unsigned i = 0; i < FRAMES; i++)
		all[i] = frame_of(i);
}

static void frames_end(struct frame **all)
{
	joined_thread_stop();
	for (unsigned i = 0; i < FRAMES; i++) {
		assert_int_equal(all[i]->refs, 1); /* nobody holds it any more */
		frame_unref(&all[i]);
	}
}

/* Few frames and short lists: many are the same, and many nearly so. */
static void each_gets_what_waited_for_it(void **state)
{
	(void)state;
	static struct outbound queues[QUEUES];
	struct frame *all[FRAMES];
	frames_begin(all);
	for (int i = 0; i < OPERATIONS; i++) {
		struct outbound *q = &queues[chance(QUEUES)];
		if (q->count < 2 || chance(3))
			add(q, all[chance(chance(2) ? FRAMES : 2)]);
		else
			take_all(q);
		if (!chance(50))
			joined_forget();
		if (!chance(20)) { /* a message nobody had before */
			unsigned at = chance(FRAMES);
			frame_unref(&all[at]);
			all[at] = frame_of((unsigned)i + FRAMES);
		}
	}
	for (int i = 0; i < QUEUES; i++)
		outbound_clear(&queues[i]);
	frames_end(all);
}

static void the_same_list_is_made_once(void **state)
{
	(void)state;
	struct frame *all[FRAMES];
	frames_begin(all);
	struct outbound q = {0};
	const char *before[2] = {NULL, NULL};
	for (int round = 0; round < 6; round++) { /* two lists by turns */
		for (int i = 0; i < 3; i++)
			add(&q, all[round % 2 + i]);
		const char *now = take_all(&q);
		assert_true(round < 2 || now == before[round % 2]);
		before[round % 2] = now;
	}
	assert_ptr_not_equal(before[0], before[1]);
	frames_end(all);
}

/* Else another frame could be made where one of them was, and be taken for it. */
static void frames_that_are_remembered_are_held(void **state)
{
	(void)state;
	struct frame *all[FRAMES];
	frames_begin(all);
	struct outbound q = {0};
	add(&q, all[0]);
	add(&q, all[1]);
	take_all(&q);
	assert_int_equal(all[0]->refs, 2);
	assert_int_equal(all[1]->refs, 2);
	joined_forget();
	assert_int_equal(all[0]->refs, 1);
	assert_int_equal(all[1]->refs, 1);
	frames_end(all);
}

static void more_lists_than_are_remembered(void **state)
{
	(void)state;
	struct frame *all[FRAMES];
	frames_begin(all);
	struct outbound q = {0};
	for (unsigned round = 0; round < 3 * FRAMES; round++) {
		for (unsigned i = 0; i < 2 + round % 4; i++)
			add(&q, all[(round + i) % FRAMES]);
		take_all(&q);
	}
	frames_end(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(each_gets_what_waited_for_it),
		cmocka_unit_test(the_same_list_is_made_once),
		cmocka_unit_test(frames_that_are_remembered_are_held),
		cmocka_unit_test(more_lists_than_are_remembered)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
