/* Compression alone: random messages go there and back through every window, against zlib itself;
 * what is broken or too large is refused, and nothing is more than it may be. */
#include "service/deflate.h"

#include "core/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <zlib.h>
#include <cmocka.h>

enum { LARGEST = FRAME_MAX_BYTES };

static char message[LARGEST], expected[LARGEST + 1];

/* Words of a few letters, so that there is something to find; the more letters, the less. */
static struct str random_message(size_t n, unsigned letters)
{
	for (size_t i = 0; i < n; i++)
		message[i] = (char)('a' + rand() % (int)letters);
	return (struct str){message, n};
}

/* The plain way: zlib with exactly that window, on a stream of its own. */
static struct str inflated_by_zlib(struct str packed, int bits)
{
	z_stream z = {.next_out = (unsigned char *)expected, .avail_out = sizeof(expected)};
	assert_int_equal(inflateInit2(&z, -bits), Z_OK);
	z.next_in = (unsigned char *)(uintptr_t)packed.p;
	z.avail_in = (unsigned)packed.n;
	assert_int_equal(inflate(&z, Z_NO_FLUSH), Z_OK);
	unsigned char tail[] = {0, 0, 0xff, 0xff};
	z.next_in = tail;
	z.avail_in = sizeof(tail);
	inflate(&z, Z_SYNC_FLUSH);
	assert_int_equal(z.avail_in, 0);
	struct str all = {expected, sizeof(expected) - z.avail_out};
	inflateEnd(&z);
	return all;
}

static void there_and_back(void **state)
{
	(void)state;
	unsigned seed = (unsigned)time(NULL);
	print_message("seed %u\n", seed);
	srand(seed);
	size_t smaller = 0;
	for (int i = 0; i < 2000; i++) {
		size_t n = (size_t)rand() % ((size_t)1 << (1 + rand() % 19));
		if (n > LARGEST || i == 0)
			n = LARGEST;
		struct str text = random_message(n, 1 + (unsigned)rand() % 26), back;
		uint8_t bits = (uint8_t)(9 + rand() % 7);
		struct str packed = deflate_message(text, bits);
		if (n < DEFLATE_MIN_BYTES)
			assert_int_equal(packed.n, 0);
		if (!packed.n)
			continue;
		smaller++;
		assert_true(packed.n < n);
		assert_true(str_eq(inflated_by_zlib(packed, bits), text));
		assert_int_equal(inflate_message(packed, n, &back), ERR_OK);
		assert_true(str_eq(back, text));
		assert_int_equal(inflate_message(packed, n - 1, &back), ERR_TOO_LARGE);
		if (rand() % 4 == 0)
			deflate_forget();
	}
	assert_true(smaller > 500);
	deflate_thread_stop();
}

/* The second time the same bytes are not compressed again: the answer lies at the same place. */
static void remembers_for_a_turn(void **state)
{
	(void)state;
	struct str one = random_message(5000, 3), first = deflate_message(one, 15);
	assert_true(first.n > 0);
	assert_ptr_equal(deflate_message(one, 15).p, first.p);
	assert_ptr_not_equal(deflate_message(one, 9).p, first.p); /* another window */
	static char other[5000];
	memcpy(other, one.p, sizeof(other));
	assert_ptr_equal(deflate_message((struct str){other, sizeof(other)}, 15).p, first.p);
	other[4999]++;
	struct str differs = deflate_message((struct str){other, sizeof(other)}, 15);
	assert_ptr_not_equal(differs.p, first.p);
	assert_true(str_eq(inflated_by_zlib(differs, 15), (struct str){other, sizeof(other)}));
	deflate_thread_stop();
}

static void refuses(void **state)
{
	(void)state;
	static const struct {
		struct str packed;
		enum err err;
	} rows[] = {
		{STR("\0"), ERR_OK}, /* the empty message (RFC 7692, section 7.2.3.6) */
		{STR("\xf2\x48\xcd\xc9\xc9\x07\0"),
			ERR_OK}, /* "Hello", and again as a last block */
		{STR("\xf3\x48\xcd\xc9\xc9\x07\0\0"), ERR_OK},
		{STR("\xf2\x48\x05\0\0\0\xff\xff\xca\xc9\xc9\x07\0"), ERR_OK},
		{STR("\xf3\x48\xcd\xc9\xc9\x07\0"), ERR_PARSE}, /* nothing behind the last block */
		{STR(""), ERR_PARSE},
		{STR("\xf2\x48\xcd\xc9"), ERR_PARSE},
		{STR("\xf2\0\x11\0\0"), ERR_PARSE}, /* refers to the message before */
		{STR("\xff"), ERR_PARSE},
		{STR("\x06\0"), ERR_PARSE},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct str text = STR("untouched");
		enum err err = inflate_message(rows[i].packed, 100, &text);
		if (err != rows[i].err)
			fail_msg("row %zu: %d instead of %d", i, err, rows[i].err);
		if (err)
			assert_true(str_is(text, "untouched"));
		else
			assert_true(i == 0 ? text.n == 0 : str_is(text, "Hello"));
	}
	struct str text;
	assert_int_equal(inflate_message(rows[1].packed, 5, &text), ERR_OK);
	assert_int_equal(inflate_message(rows[1].packed, 4, &text), ERR_TOO_LARGE);
	assert_int_equal(inflate_message(rows[1].packed, 0, &text), ERR_TOO_LARGE);
	deflate_thread_stop();
}

/* Each broken message is a case of its own: none changes what the next one comes to. */
static void broken_at_random(void **state)
{
	(void)state;
	for (int i = 0; i < 5000; i++) {
		struct str text = random_message(300 + (size_t)rand() % 5000, 4), back;
		struct str packed = deflate_message(text, 15);
		static char bent[8192];
		memcpy(bent, packed.p, packed.n);
		bent[(size_t)rand() % packed.n] ^= (char)(1 << rand() % 8);
		if (inflate_message((struct str){bent, packed.n}, 4000, &back) == ERR_OK)
			assert_true(back.n <= 4000);
		assert_int_equal(inflate_message(packed, text.n, &back), ERR_OK);
		assert_true(str_eq(back, text));
		deflate_forget();
	}
	deflate_thread_stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(remembers_for_a_turn),
		cmocka_unit_test(refuses),
		cmocka_unit_test(broken_at_random),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
