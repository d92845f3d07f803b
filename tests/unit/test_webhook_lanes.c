/* webhook_lanes against a model: whatever comes, is refused and is left in the store, each key's events go
 * out in order, one at a time, each of them taken once, none forgotten; and one key's trouble is its own. */
#include "service/webhook_lanes.h"

#include "core/mem.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

enum { KEYS = 40, EVENTS = 4000, PAGE = 50, FIRST_MS = 100, LAST_MS = 1000 };

static unsigned state;

static unsigned below(unsigned n)
{
	state = state * 1103515245u + 12345u;
	return (state >> 8) % n;
}

/* What the store has: the key of each event, and whether it was taken. */
static struct {
	unsigned key;
	bool taken, out;
} store[EVENTS + 1];

static struct lane_row row_of(int64_t sequence, char name[16])
{
	int n = snprintf(name, 16, "k%u", store[sequence].key);
	return (struct lane_row){.sequence = sequence,
		.id = {"id", 2},
		.type = {"type", 4},
		.key = {name, (size_t)n},
		.data = {"{}", 2}};
}

/* As service/webhooks.c asks for the next of all. */
static void fill(struct lanes *l)
{
	char name[16];
	int given = 0;
	int64_t at = l->cursor;
	while (!lanes_full(l) && at < EVENTS && given < PAGE) {
		if (store[++at].taken)
			continue;
		struct lane_row row = row_of(at, name);
		lanes_put(l, &row, false);
		given++;
	}
	lanes_put_end(l);
}

static void fill_lacking(struct lanes *l)
{
	char name[16];
	struct lane *lane;
	while ((lane = lanes_lacking(l))) {
		unsigned key = (unsigned)strtoul(lane->key.p + 1, NULL, 10);
		int given = 0;
		for (int64_t at = lane->top + 1; at <= EVENTS && given < LANE_HELD_MAX; at++) {
			if (store[at].taken || store[at].key != key)
				continue;
			struct lane_row row = row_of(at, name);
			lanes_put(l, &row, true);
			given++;
		}
		snprintf(name, sizeof(name), "k%u", key);
		lanes_asked(l, (struct str){name, strlen(name)}, given == LANE_HELD_MAX);
	}
}

static void check_sent(const struct lane_event *e)
{
	assert_false(store[e->sequence].taken || store[e->sequence].out);
	for (int64_t at = 1; at < e->sequence; at++)
		if (store[at].key == store[e->sequence].key)
			assert_true(store[at].taken);
	store[e->sequence].out = true;
}

static void each_key_in_order_each_event_once(void **context)
{
	(void)context;
	struct lanes l;
	struct lane_event *out[16];
	size_t count = 0, taken = 0;
	uint64_t now = 1;
	state = (unsigned)time(NULL);
	print_message("seed %u\n", state);
	lanes_init(&l, FIRST_MS, LAST_MS);
	memset(store, 0, sizeof(store));
	for (int i = 1; i <= EVENTS; i++)
		store[i].key = below(4) ? below(3) : below(KEYS); /* three busy ones */
	for (unsigned step = 0; taken < EVENTS; step++, now += below(20)) {
		struct lane_event *e;
		assert_true(step < 1000000);
		fill(&l);
		fill_lacking(&l);
		while (count < 16 && (e = lanes_take(&l, now))) {
			check_sent(e);
			out[count++] = e;
		}
		if (!count)
			continue;
		size_t i = below((unsigned)count);
		e = out[i];
		out[i] = out[--count];
		store[e->sequence].out = false;
		bool outage = step % 1000 > 900;
		if (outage || below(10) == 0) {
			lanes_refused(&l, e, now, below(65536));
			continue;
		}
		store[e->sequence].taken = true;
		taken++;
		lanes_taken(&l, e);
		free(e);
	}
	assert_int_equal(l.held, 0);
	assert_int_equal(l.bytes, 0);
	lanes_free(&l);
}

static void put(struct lanes *l, int64_t sequence, const char *key)
{
	struct lane_row row = {.sequence = sequence, .key = str_of(key), .data = STR("{}")};
	lanes_put(l, &row, false);
}

static void one_keys_trouble_is_its_own(void **context)
{
	(void)context;
	struct lanes l;
	lanes_init(&l, FIRST_MS, LAST_MS);
	put(&l, 1, "bad");
	put(&l, 2, "bad");
	put(&l, 3, "good");
	struct lane_event *bad = lanes_take(&l, 1), *good = lanes_take(&l, 1);
	assert_int_equal(bad->sequence, 1);
	assert_int_equal(good->sequence, 3);
	lanes_refused(&l, bad, 1, 65535);
	assert_null(lanes_take(&l, 1));
	assert_true(lanes_due(&l) > 1 && lanes_due(&l) <= 1 + FIRST_MS);
	lanes_taken(&l, good);
	free(good);
	put(&l, 4, "good");
	good = lanes_take(&l, 2);
	assert_int_equal(good->sequence, 4);
	bad = lanes_take(&l, 1 + FIRST_MS);
	assert_int_equal(bad->sequence, 1); /* and not its second */
	lanes_taken(&l, bad);
	free(bad);
	lanes_taken(&l, good);
	free(good);
	lanes_free(&l);
}

/* While it is down one at a time is tried; one that is taken lets all go on. */
static void down_and_up_again(void **context)
{
	(void)context;
	struct lanes l;
	struct lane_event *e[4];
	lanes_init(&l, FIRST_MS, LAST_MS);
	for (int i = 0; i < 4; i++) {
		char key[2] = {(char)('a' + i), 0};
		put(&l, i + 1, key);
	}
	for (int i = 0; i < 4; i++)
		e[i] = lanes_take(&l, 1);
	for (int i = 0; i < 4; i++)
		lanes_refused(&l, e[i], 1, 65535);
	assert_true(lanes_down(&l));
	assert_null(lanes_take(&l, lanes_due(&l) - 1));
	uint64_t due = lanes_due(&l);
	assert_non_null(e[0] = lanes_take(&l, due));
	assert_null(lanes_take(&l, due)); /* one at a time */
	lanes_taken(&l, e[0]);
	free(e[0]);
	assert_false(lanes_down(&l));
	for (int i = 1; i < 4; i++)
		assert_non_null(e[i] = lanes_take(&l, due));
	for (int i = 1; i < 4; i++) {
		lanes_taken(&l, e[i]);
		free(e[i]);
	}
	lanes_free(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_key_in_order_each_event_once),
		cmocka_unit_test(one_keys_trouble_is_its_own),
		cmocka_unit_test(down_and_up_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
