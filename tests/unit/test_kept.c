/* kept: what a session keeps for its client, held against a plain list of numbers. */
#include "service/kept.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { OPERATIONS = 20000, MESSAGES_MAX = 100, BYTES_MAX = 2000 };

static unsigned seed = 20270;

static unsigned chance(unsigned below)
{
	return (unsigned)rand_r(&seed) % below;
}

/* The message of that number: its length is told by it. */
static size_t size_of(uint64_t number)
{
	return 1 + (size_t)(number * 7 % 41);
}

static struct frame *frame_of(uint64_t number)
{
	struct buf b = frame_buf();
	for (size_t i = 0; i < size_of(number); i++)
		buf_addc(&b, (char)('a' + number % 26));
	return frame_take(&b);
}

struct model {
	uint64_t first, sent; /* kept are first to sent */
};

static size_t bytes_of(const struct model *m)
{
	size_t bytes = 0;
	for (uint64_t i = m->first; i <= m->sent; i++)
		bytes += size_of(i);
	return bytes;
}

static void add(struct kept *k, struct model *m)
{
	struct frame *f = frame_of(++m->sent);
	uint64_t first = m->first;
	while (m->sent - m->first + 1 > MESSAGES_MAX || bytes_of(m) > BYTES_MAX)
		m->first++;
	assert_int_equal(kept_add(k, f, MESSAGES_MAX, BYTES_MAX), first == m->first);
	frame_unref(&f);
}

static void check(const struct kept *k, const struct model *m)
{
	assert_int_equal(k->count, m->sent + 1 - m->first);
	assert_int_equal(k->bytes, bytes_of(m));
	for (uint32_t i = 0; i < k->count; i++) {
		struct str text = frame_str(kept_at(k, i));
		assert_int_equal(text.n, size_of(m->first + i));
		assert_int_equal(text.p[0], 'a' + (m->first + i) % 26);
	}
	for (uint64_t had = m->first > 3 ? m->first - 3 : 0; had <= m->sent; had++)
		assert_int_equal(
			kept_reaches(k, m->sent, had), had == m->sent || had + 1 >= m->first);
}

static void keeps_what_a_list_keeps(void **state)
{
	(void)state;
	struct kept k = {0};
	struct model m = {.first = 1};
	for (int i = 0; i < OPERATIONS; i++) {
		if (chance(10)) {
			add(&k, &m);
		} else { /* some, all, or once more what is acknowledged already */
			uint64_t received = m.first - 1 + chance((unsigned)(m.sent + 2 - m.first));
			kept_ack(&k, received);
			m.first = received + 1 > m.first ? received + 1 : m.first;
		}
		check(&k, &m);
	}
	kept_ack(&k, m.sent);
	assert_null(k.ring); /* a quiet session costs nothing */
	add(&k, &m);
	kept_free(&k);
	assert_null(k.ring);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(keeps_what_a_list_keeps)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
