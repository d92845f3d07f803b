/* The queue of a connection, held against a plain list. */
#include "core/mem.h"
#include "service/outbound.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { OPERATIONS = 20000, WAITING_MAX = 200 };

struct model {
	struct {
		size_t size;
		char first; /* every byte of it */
		uint64_t count;
		bool alone, again;
	} all[WAITING_MAX];
	uint32_t n;
};

static unsigned seed = 20261;

static unsigned chance(unsigned below)
{
	return (unsigned)rand_r(&seed) % below;
}

static struct frame *frame_of(char byte, size_t size)
{
	struct buf b = frame_buf();
	for (size_t i = 0; i < size; i++)
		buf_addc(&b, byte);
	struct frame *f = frame_take(&b);
	assert_non_null(f);
	return f;
}

static size_t any_size(void)
{
	return chance(50) ? 1 + chance(30) : FRAME_MAX_BYTES / (1 + chance(4)) - chance(3);
}

static void add(struct outbound *q, struct model *m)
{
	if (m->n == WAITING_MAX)
		return;
	uint32_t i = m->n++;
	m->all[i].size = any_size();
	m->all[i].first = (char)('a' + chance(26));
	m->all[i].count = chance(3) ? 1 + chance(1000) : 0;
	m->all[i].alone = !chance(10);
	m->all[i].again = !chance(5);
	outbound_add(q,
		(struct outgoing){.frame = frame_of(m->all[i].first, m->all[i].size),
			.count = m->all[i].count,
			.alone = m->all[i].alone,
			.again = m->all[i].again});
}

static void drop(struct model *m, uint32_t n)
{
	m->n -= n;
	memmove(m->all, m->all + n, m->n * sizeof(*m->all));
}

/* How many fit into one array with its brackets and commas. */
static uint32_t fitting(const struct model *m, bool batching)
{
	size_t bytes = 1;
	uint32_t n = 0;
	while (batching && n < m->n && !m->all[n].alone &&
		bytes + m->all[n].size + 1 <= FRAME_MAX_BYTES)
		bytes += m->all[n++].size + 1;
	return n ? n : 1;
}

static void join(struct outbound *q, struct model *m)
{
	if (!m->n)
		return;
	uint32_t n = outbound_next(q);
	assert_int_equal(n, fitting(m, q->batching));
	struct buf got = BUF_INIT(FRAME_MAX_BYTES), expected = BUF_INIT(FRAME_MAX_BYTES);
	uint64_t count = 0;
	for (uint32_t i = 0; i < n; i++) {
		if (n > 1)
			buf_addc(&expected, i ? ',' : '[');
		for (size_t k = 0; k < m->all[i].size; k++)
			buf_addc(&expected, m->all[i].first);
		if (m->all[i].count)
			count = m->all[i].count;
	}
	if (n > 1)
		buf_addc(&expected, ']');
	assert_int_equal(outbound_join(q, n, &got), count);
	assert_false(got.err || expected.err);
	assert_true(str_eq(buf_str(&got), buf_str(&expected)));
	buf_free(&got);
	buf_free(&expected);
	drop(m, n);
}

static void take(struct outbound *q, struct model *m)
{
	if (!m->n)
		return;
	struct outgoing first = outbound_take(q);
	assert_int_equal(first.frame->size, m->all[0].size);
	assert_int_equal(frame_str(first.frame).p[0], m->all[0].first);
	assert_int_equal(first.count, m->all[0].count);
	frame_unref(&first.frame);
	drop(m, 1);
}

static void check(struct outbound *q, const struct model *m)
{
	size_t bytes = 0;
	for (uint32_t i = 0; i < m->n; i++)
		bytes += m->all[i].again ? 0 : m->all[i].size;
	assert_int_equal(q->count, m->n);
	assert_int_equal(q->bytes, bytes);
	for (uint32_t i = 0; i < m->n; i++)
		assert_int_equal(outbound_at(q, i)->frame->size, m->all[i].size);
}

static void holds_what_a_list_holds(void **state)
{
	(void)state;
	struct outbound q = {0};
	struct model m = {0};
	for (int i = 0; i < OPERATIONS; i++) {
		if (!chance(300))
			q.batching = !q.batching;
		unsigned what = chance(100);
		if (what < 55)
			add(&q, &m);
		else if (what < 80)
			take(&q, &m);
		else if (what < 99)
			join(&q, &m);
		else {
			outbound_clear(&q);
			m.n = 0;
		}
		check(&q, &m);
	}
	outbound_clear(&q);
	assert_null(q.ring);
	assert_int_equal(q.bytes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(holds_what_a_list_holds)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
