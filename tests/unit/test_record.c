/* What is written comes back; what is damaged is noticed and never read past. */
#include "core/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

enum { VALUES = 64, ROUNDS = 2000, TEXT_MAX = 300 };

struct value {
	bool is_text;
	uint64_t n;
	size_t size;
	char text[TEXT_MAX];
};

static unsigned seed = 20260;

static unsigned chance(unsigned below)
{
	return (unsigned)rand_r(&seed) % below;
}

static struct value any_value(void)
{
	struct value v = {.is_text = chance(2)};
	uint64_t bits =
		(uint64_t)chance(1 << 30) << 34 ^ (uint64_t)chance(1 << 30) << 10 ^ chance(1024);
	v.n = chance(8) ? bits >> chance(64) : UINT64_MAX;
	v.size = chance(TEXT_MAX);
	for (size_t i = 0; i < v.size; i++)
		v.text[i] = (char)chance(256);
	return v;
}

static void put(struct buf *b, const struct value *v)
{
	if (v->is_text)
		record_put_str(b, (struct str){v->text, v->size});
	else
		record_put_int(b, v->n);
}

/* Whether the value that is read is this one. */
static bool same(struct record_reader *r, const struct value *v)
{
	if (v->is_text)
		return str_eq(record_str(r, TEXT_MAX), (struct str){v->text, v->size}) && !r->bad;
	return record_int(r, UINT64_MAX) == v->n && !r->bad;
}

static void what_is_written_comes_back(void **state)
{
	(void)state;
	static struct value values[VALUES];
	for (int round = 0; round < ROUNDS; round++) {
		struct buf b = BUF_INIT(1 << 20);
		unsigned count = chance(VALUES);
		for (unsigned i = 0; i < count; i++) {
			values[i] = any_value();
			put(&b, &values[i]);
		}
		struct record_reader r = record_of(buf_str(&b));
		for (unsigned i = 0; i < count; i++) {
			assert_true(record_more(&r));
			assert_true(same(&r, &values[i]));
		}
		assert_false(record_more(&r));
		assert_false(r.bad);
		buf_free(&b);
	}
}

/* In a block of exactly its size, so that a sanitizer sees a byte read behind it. */
static void a_cut_is_noticed(void **state)
{
	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		struct buf b = BUF_INIT(1 << 20);
		struct value v = any_value();
		put(&b, &v);
		size_t n = chance((unsigned)b.n);
		char *cut = malloc(n + 1);
		memcpy(cut, b.p, n);
		cut = realloc(cut, n ? n : 1);
		struct record_reader r = record_of((struct str){cut, n});
		assert_false(same(&r, &v));
		assert_true(r.bad);
		assert_false(record_more(&r));
		assert_int_equal(record_int(&r, UINT64_MAX), 0);
		assert_int_equal(record_str(&r, TEXT_MAX).n, 0);
		free(cut);
		buf_free(&b);
	}
}

static bool is_bad(struct str bytes, uint64_t max)
{
	struct record_reader r = record_of(bytes);
	return record_int(&r, max) == 0 && r.bad;
}

static void what_is_out_of_range_is_bad(void **state)
{
	(void)state;
	assert_true(is_bad(STR(""), 9));
	assert_true(is_bad(STR("\x0a"), 9));
	assert_true(
		is_bad(STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), UINT64_MAX)); /* 65 bits */
	assert_true(is_bad(STR("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"), UINT64_MAX));
	struct record_reader r = record_of(STR("\x05hello\x05hello\x03"
					       "a\0b"));
	char text[6];
	record_text(&r, text, sizeof(text));
	assert_string_equal(text, "hello");
	assert_false(r.bad);
	record_text(&r, text, sizeof(text) - 1); /* no room for the NUL */
	assert_string_equal(text, "");
	assert_true(r.bad);
	r = record_of(STR("\x03"
			  "a\0b"));
	record_text(&r, text, sizeof(text));
	assert_string_equal(text, "");
	assert_true(r.bad);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_comes_back),
		cmocka_unit_test(a_cut_is_noticed),
		cmocka_unit_test(what_is_out_of_range_is_bad),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
