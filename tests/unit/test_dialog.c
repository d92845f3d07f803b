/* dialog: one call between two users: each race by itself, and then everything that can happen in any
 * order, against what must hold of it. */
#include "signaling/dialog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

static const struct addr ann = {0, 1, 1}, bob = {1, 1, 1}, bobs_other = {2, 1, 1};

static struct dialog ringing(void)
{
	struct dialog d = dialog_new(ann);
	dialog_written(&d, DIALOG_END_NONE, 1000);
	assert_int_equal(d.state, DIALOG_RINGING);
	return d;
}

static struct dialog answering(void)
{
	struct dialog d = ringing();
	assert_int_equal(dialog_accept(&d, SIDE_CALLEE, bob), DIALOG_DONE);
	return d;
}

static struct dialog talking(void)
{
	struct dialog d = answering();
	dialog_answered(&d, OUTCOME_JOINED, 10);
	assert_int_equal(d.state, DIALOG_TALKING);
	return d;
}

static void expect_over(const struct dialog *d, const char *word, bool missed)
{
	assert_int_equal(d->state, DIALOG_OVER);
	assert_string_equal(dialog_end_word(d->end), word);
	assert_int_equal(dialog_missed(d), missed);
}

static void who_may_end_it_while_it_rings(void **state)
{
	(void)state;
	struct dialog d = ringing();
	assert_int_equal(dialog_stop(&d, SIDE_NONE, ann), DIALOG_UNKNOWN);
	assert_int_equal(dialog_accept(&d, SIDE_CALLER, ann), DIALOG_UNKNOWN);
	assert_int_equal(dialog_stop(&d, SIDE_CALLEE, bobs_other), DIALOG_DONE);
	expect_over(&d, "declined", false);
	assert_int_equal(dialog_stop(&d, SIDE_CALLER, ann), DIALOG_UNKNOWN);
	assert_int_equal(dialog_accept(&d, SIDE_CALLEE, bob), DIALOG_UNKNOWN);
	d = ringing();
	assert_int_equal(dialog_stop(&d, SIDE_CALLER, ann), DIALOG_DONE);
	expect_over(&d, "cancelled", true);
}

static void of_two_that_accept_one_is_first(void **state)
{
	(void)state;
	struct dialog d = answering();
	assert_int_equal(dialog_accept(&d, SIDE_CALLEE, bobs_other), DIALOG_WAIT);
	dialog_answered(&d, OUTCOME_JOINED, 10);
	assert_int_equal(dialog_accept(&d, SIDE_CALLEE, bobs_other), DIALOG_ELSEWHERE);
	assert_int_equal(dialog_stop(&d, SIDE_CALLEE, bobs_other), DIALOG_ELSEWHERE);
	assert_int_equal(dialog_stop(&d, SIDE_CALLEE, bob), DIALOG_DONE);
	expect_over(&d, "hangup", false);
}

static void when_the_first_vanishes_it_rings_on(void **state)
{
	(void)state;
	struct dialog d = answering();
	dialog_gone(&d, bob);
	assert_int_equal(d.state, DIALOG_ANSWERING); /* it may have come in before its end */
	dialog_answered(&d, OUTCOME_VANISHED, 10);
	assert_int_equal(d.state, DIALOG_RINGING);
	assert_int_equal(dialog_accept(&d, SIDE_CALLEE, bobs_other), DIALOG_DONE);
	dialog_answered(&d, OUTCOME_VANISHED, 1000); /* but not past the deadline */
	expect_over(&d, "timeout", true);
}

static void cancelled_while_it_is_answered(void **state)
{
	(void)state;
	struct dialog d = answering();
	assert_int_equal(dialog_stop(&d, SIDE_CALLER, ann), DIALOG_WAIT);
	dialog_answered(&d, OUTCOME_JOINED, 10);
	assert_int_equal(dialog_stop(&d, SIDE_CALLER, ann), DIALOG_DONE);
	expect_over(&d, "hangup", false);
	d = answering();
	dialog_gone(&d, ann);
	dialog_answered(&d, OUTCOME_JOINED, 10);
	expect_over(&d, "hangup", false);
	d = answering();
	dialog_gone(&d, ann);
	dialog_answered(&d, OUTCOME_VANISHED, 10);
	expect_over(&d, "cancelled", true);
	d = answering();
	dialog_answered(&d, OUTCOME_ALONE, 10);
	expect_over(&d, "cancelled", true);
}

static void what_the_room_refuses_is_over(void **state)
{
	(void)state;
	struct dialog d = answering();
	dialog_answered(&d, OUTCOME_REFUSED, 10);
	expect_over(&d, "unreachable", true);
}

static void the_deadline_is_of_ringing_alone(void **state)
{
	(void)state;
	struct dialog d = ringing();
	dialog_late(&d, 999);
	assert_int_equal(d.state, DIALOG_RINGING);
	dialog_late(&d, 1000);
	expect_over(&d, "timeout", true);
	dialog_late(&d, 2000);
	d = answering();
	dialog_late(&d, 2000);
	assert_int_equal(d.state, DIALOG_ANSWERING);
	d = talking();
	dialog_late(&d, 2000);
	assert_int_equal(d.state, DIALOG_TALKING);
}

static void what_cannot_ring_is_over_at_once(void **state)
{
	(void)state;
	struct dialog d = dialog_new(ann);
	dialog_written(&d, DIALOG_END_BUSY, 0);
	expect_over(&d, "busy", true);
	d = dialog_new(ann);
	dialog_gone(&d, ann);
	assert_int_equal(d.state, DIALOG_WRITING);
	dialog_written(&d, DIALOG_END_NONE, 1000);
	expect_over(&d, "cancelled", true);
}

static void either_one_that_goes_ends_it(void **state)
{
	(void)state;
	struct dialog d = talking();
	dialog_gone(&d, bobs_other);
	assert_int_equal(d.state, DIALOG_TALKING);
	dialog_gone(&d, bob);
	expect_over(&d, "hangup", false);
	d = talking();
	dialog_gone(&d, ann);
	expect_over(&d, "hangup", false);
	d = ringing();
	dialog_gone(&d, bob);
	assert_int_equal(d.state, DIALOG_RINGING);
	dialog_gone(&d, ann);
	expect_over(&d, "cancelled", true);
}

/* ---- everything in any order ---- */

static unsigned below(unsigned n)
{
	return (unsigned)rand() % n;
}

/* One thing happens; returns what was asked of it, DIALOG_DONE when nothing was. */
static enum dialog_verdict something(struct dialog *d, uint64_t now)
{
	static const struct addr all[] = {{0, 1, 1}, {1, 1, 1}, {2, 1, 1}, {3, 9, 9}};
	static const enum dialog_side sides[] = {SIDE_CALLER, SIDE_CALLEE, SIDE_CALLEE, SIDE_NONE};
	unsigned who = below(4);
	switch (below(6)) {
	case 0:
		if (d->state == DIALOG_WRITING)
			dialog_written(d, below(4) ? DIALOG_END_NONE : DIALOG_END_BUSY, now + 8);
		return DIALOG_DONE;
	case 1:
		if (d->state == DIALOG_ANSWERING)
			dialog_answered(d, (enum dialog_outcome)below(4), now);
		return DIALOG_DONE;
	case 2:
		dialog_late(d, now);
		return DIALOG_DONE;
	case 3:
		if (!below(8))
			dialog_gone(d, all[who]);
		return DIALOG_DONE;
	case 4:
		return below(4) ? DIALOG_DONE : dialog_stop(d, sides[who], all[who]);
	default:
		return dialog_accept(d, sides[who], all[who]);
	}
}

static void expect_sound(
	const struct dialog *before, const struct dialog *d, enum dialog_verdict v, uint64_t now)
{
	static const bool follows[5][5] = {
		[DIALOG_WRITING] = {[DIALOG_RINGING] = true, [DIALOG_OVER] = true},
		[DIALOG_RINGING] = {[DIALOG_ANSWERING] = true, [DIALOG_OVER] = true},
		[DIALOG_ANSWERING] =
			{[DIALOG_RINGING] = true, [DIALOG_TALKING] = true, [DIALOG_OVER] = true},
		[DIALOG_TALKING] = {[DIALOG_OVER] = true},
	};
	assert_true(before->state == d->state || follows[before->state][d->state]);
	assert_int_equal(d->state == DIALOG_OVER, d->end != DIALOG_END_NONE);
	if (before->state == DIALOG_OVER)
		assert_memory_equal(before, d, sizeof(*d)); /* once, for one reason */
	if (v != DIALOG_DONE)
		assert_memory_equal(before, d, sizeof(*d)); /* who is refused changes nothing */
	if (v == DIALOG_WAIT)
		assert_true(d->state == DIALOG_WRITING || d->state == DIALOG_ANSWERING);
	if (d->state == DIALOG_ANSWERING || d->state == DIALOG_TALKING)
		assert_true(d->callee.generation);
	if (d->end == DIALOG_END_TIMEOUT)
		assert_true(now >= d->deadline_ms || before->end);
	if (d->end == DIALOG_END_HANGUP)
		assert_false(dialog_missed(d));
	/* who has ended does not ring or talk */
	if (d->caller_gone)
		assert_true(d->state == DIALOG_WRITING || d->state == DIALOG_ANSWERING ||
			d->state == DIALOG_OVER);
}

static void anything_in_any_order(void **state)
{
	(void)state;
	unsigned seed =
		getenv("SEED") ? (unsigned)strtoul(getenv("SEED"), NULL, 10) : (unsigned)time(NULL);
	unsigned ends[8] = {0};
	print_message("seed %u\n", seed);
	srand(seed);
	for (int i = 0; i < 20000; i++) {
		struct dialog d = dialog_new(ann);
		for (uint64_t now = 0; now < 40; now++) {
			struct dialog before = d;
			enum dialog_verdict v = something(&d, now);
			expect_sound(&before, &d, v, now);
		}
		ends[d.end]++;
	}
	for (unsigned end = DIALOG_END_DECLINED; end <= DIALOG_END_HANGUP; end++)
		assert_true(ends[end] > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_may_end_it_while_it_rings),
		cmocka_unit_test(of_two_that_accept_one_is_first),
		cmocka_unit_test(when_the_first_vanishes_it_rings_on),
		cmocka_unit_test(cancelled_while_it_is_answered),
		cmocka_unit_test(what_the_room_refuses_is_over),
		cmocka_unit_test(the_deadline_is_of_ringing_alone),
		cmocka_unit_test(what_cannot_ring_is_over_at_once),
		cmocka_unit_test(either_one_that_goes_ends_it),
		cmocka_unit_test(anything_in_any_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
