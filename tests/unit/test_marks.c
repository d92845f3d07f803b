/* marks: what is too old is told from what is not, within a part of the time that is kept, and also after a restart. */
#include "dataset/marks.h"

#include "dataset/heads.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { KEEP = 24000, DAY = 86400000 };

static void what_is_old_is_told(void **state)
{
	(void)state;
	struct marks m = {0};
	int64_t now = 1000000, cut = 0, at[2000] = {0};
	for (int64_t seq = 1; seq < 2000; seq++) {
		now += 50;
		at[seq] = now;
		marks_add(&m, now, seq, KEEP);
		cut = marks_older(&m, now - KEEP);
		assert_true(cut == 0 || at[cut] <= now - KEEP);
		if (at[1] < now - KEEP - 2 * KEEP / 24)
			assert_true(at[cut + 2 * KEEP / 24 / 50] > now - KEEP - KEEP / 24);
	}
	assert_true(cut > 0);
	assert_true(m.count < MARKS_MAX);
}

static void nothing_is_old_that_nobody_has_seen(void **state)
{
	(void)state;
	struct marks m = {0};
	assert_int_equal(marks_older(&m, INT64_MAX), 0);
	marks_add(&m, 5000, 7, KEEP);
	assert_int_equal(marks_older(&m, 4999), 0);
	assert_int_equal(marks_older(&m, 5000), 7);
	marks_add(&m, 9000, 7, KEEP); /* nothing has happened */
	assert_int_equal(m.count, 1);
}

/* A clock that stood wrong for a while and was set right. */
static void a_mark_of_the_future_is_none(void **state)
{
	(void)state;
	struct marks m = {0};
	marks_add(&m, 5000, 7, KEEP);
	marks_add(&m, 5000 + 10 * DAY, 8, KEEP);
	marks_add(&m, 9000, 9, KEEP);
	assert_int_equal(marks_older(&m, 8999), 7);
	assert_int_equal(marks_older(&m, 9000), 9);
}

static void marks_outlive_a_restart(void **state)
{
	(void)state;
	struct marks m = {0}, back = {0};
	char text[HEAD_MARKS_BYTES];
	for (int64_t i = 0; i < 2 * MARKS_MAX; i++)
		marks_add(&m, 1795000000000 + i * DAY, INT64_MAX - 100 + i, KEEP);
	marks_write(&m, text, sizeof(text));
	assert_true(strlen(text) < sizeof(text) - 1);
	marks_read(&back, text);
	assert_int_equal(back.count, m.count);
	assert_memory_equal(back.list, m.list, m.count * sizeof(*m.list));
	marks_read(&back, "5:7 nonsense");
	assert_int_equal(back.count, 1);
	marks_read(&back, "");
	assert_int_equal(back.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_old_is_told),
		cmocka_unit_test(nothing_is_old_that_nobody_has_seen),
		cmocka_unit_test(a_mark_of_the_future_is_none),
		cmocka_unit_test(marks_outlive_a_restart),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
