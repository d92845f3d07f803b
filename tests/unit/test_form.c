/* Forms and cookies: what is read, what is refused, and that what form_add writes comes back. */
#include "core/form.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

static void reads(void **state)
{
	(void)state;
	static const struct {
		struct str form;
		const char *name;
		enum err err;
		struct str value;
	} rows[] = {
		{STR("a=1&b=2"), "b", ERR_OK, STR("2")},
		{STR("a=1&b=2"), "c", ERR_NOT_FOUND, STR("")},
		{STR(""), "a", ERR_NOT_FOUND, STR("")},
		{STR("a"), "a", ERR_OK, STR("")},
		{STR("a="), "a", ERR_OK, STR("")},
		{STR("a=b=c"), "a", ERR_OK, STR("b=c")},
		{STR("&&a=1&"), "a", ERR_OK, STR("1")},
		{STR("a=x+y%20z%2b"), "a", ERR_OK, STR("x y z+")},
		{STR("%61b=1"), "ab", ERR_OK, STR("1")},
		{STR("a=%c3%A4"), "a", ERR_OK, STR("\xc3\xa4")},
		{STR("aa=1&a=2"), "a", ERR_OK, STR("2")},
		{STR("a=1&a=2"), "a", ERR_PARAMS, STR("")},
		{STR("a=1&%61=1"), "a", ERR_PARAMS, STR("")},
		{STR("a=%"), "a", ERR_PARAMS, STR("")},
		{STR("a=%4"), "a", ERR_PARAMS, STR("")},
		{STR("a=%4g"), "a", ERR_PARAMS, STR("")},
		{STR("a=%00"), "a", ERR_PARAMS, STR("")},
		{STR("a=x\0y"), "a", ERR_PARAMS, STR("")},
		{STR("a=%c3"), "a", ERR_PARAMS, STR("")},
		{STR("a=%ed%a0%80"), "a", ERR_PARAMS, STR("")},
		{STR("a%=1&a=2"), "a", ERR_OK, STR("2")},
		{STR("b=%zz&a=2"), "a", ERR_OK, STR("2")},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char out[64];
		struct str value = STR("untouched");
		enum err err = form_get(rows[i].form, rows[i].name, out, &value);
		if (err != rows[i].err)
			fail_msg("row %zu: %d instead of %d", i, err, rows[i].err);
		if (err)
			assert_true(str_is(value, "untouched"));
		else
			assert_true(str_eq(value, rows[i].value));
	}
}

static void writes(void **state)
{
	(void)state;
	struct buf b = BUF_INIT(256);
	form_add(&b, "state", STR("a b&c=d"));
	form_add(&b, "iss", STR("http://localhost:8080"));
	form_add(&b, "x", STR("\xc3\xa4~*-._\r\n"));
	assert_true(str_is(buf_str(&b),
		"state=a+b%26c%3Dd&iss=http%3A%2F%2Flocalhost%3A8080"
		"&x=%C3%A4%7E*-._%0D%0A"));
	buf_free(&b);
}

static void comes_back(void **state)
{
	(void)state;
	unsigned seed = (unsigned)time(NULL);
	print_message("seed %u\n", seed);
	srandom(seed);
	for (int round = 0; round < 5000; round++) {
		char first[24], second[24], out[400];
		size_t n = (size_t)random() % sizeof(first);
		for (size_t i = 0; i < n; i++) {
			first[i] = (char)(random() % 127 + 1);
			second[i] = "&=%+; a"[random() % 7];
		}
		struct buf b = BUF_INIT(sizeof(out));
		form_add(&b, "one=", (struct str){first, n});
		form_add(&b, "two&", (struct str){second, n});
		struct str value;
		assert_int_equal(form_get(buf_str(&b), "one=", out, &value), ERR_OK);
		assert_true(str_eq(value, (struct str){first, n}));
		assert_int_equal(form_get(buf_str(&b), "two&", out, &value), ERR_OK);
		assert_true(str_eq(value, (struct str){second, n}));
		buf_free(&b);
	}
}

static void one_after_another(void **state)
{
	(void)state;
	char out[64];
	struct form_fields f = {STR("b=2+2&a=%31&c=&d=x&d=y"), out, false};
	struct str a = form_take(&f, "a"), b = form_take(&f, "b"), c = form_take(&f, "c");
	assert_int_equal(form_take(&f, "e").n, 0);
	assert_false(f.broken);
	assert_int_equal(form_take(&f, "d").n, 0);
	assert_true(f.broken); /* and stays so */
	assert_int_equal(form_take(&f, "f").n, 0);
	assert_true(f.broken);
	assert_true(str_is(a, "1") && str_is(b, "2 2") && c.n == 0);
}

static void cookies(void **state)
{
	(void)state;
	assert_true(str_is(cookie_get(STR("a=1; b=2"), "b"), "2"));
	assert_true(str_is(cookie_get(STR("a=1;b=2"), "b"), "2"));
	assert_true(str_is(cookie_get(STR(" a = 1 "), "a"), "1"));
	assert_true(str_is(cookie_get(STR("a=1; a=2"), "a"), "1"));
	assert_true(str_is(cookie_get(STR("xa=1; a=x=y"), "a"), "x=y"));
	assert_int_equal(cookie_get(STR("xa=1"), "a").n, 0);
	assert_int_equal(cookie_get(STR(""), "a").n, 0);
	assert_int_equal(cookie_get((struct str){0}, "a").n, 0);
	assert_int_equal(cookie_get(STR("a"), "a").n, 0);
}

static void a_content_type_is_compared_whole(void **state)
{
	(void)state;
	assert_true(form_is(STR("application/x-www-form-urlencoded")));
	assert_true(form_is(STR("Application/X-WWW-Form-Urlencoded")));
	assert_true(form_is(STR("application/x-www-form-urlencoded;charset=UTF-8")));
	assert_true(form_is(STR("application/x-www-form-urlencoded ; charset=UTF-8")));
	assert_true(form_is(STR("application/x-www-form-urlencoded \t")));
	assert_false(form_is(STR("application/x-www-form-urlencoded2")));
	assert_false(form_is(STR("application/x-www-form-urlencoded 2")));
	assert_false(form_is(STR("application/x-www-form-urlencode")));
	assert_false(form_is(STR("text/plain; application/x-www-form-urlencoded")));
	assert_false(form_is((struct str){0}));
}

static void only_known_names(void **state)
{
	(void)state;
	static const char *const names[] = {"batch", "a b", NULL};
	struct str other = STR("untouched");
	assert_true(form_has_only(STR(""), names, &other));
	assert_true(form_has_only(STR("batch=1&a+b=2&batch&%62atch"), names, &other));
	assert_true(str_is(other, "untouched"));
	static const struct {
		const char *form, *other;
	} rows[] = {{"x=1", "x"}, {"batch=1&y%20=2&z", "y%20"}, {"batch=&&", ""}, {"=1", ""},
		{"batc=1", "batc"}, {"batchx=1", "batchx"}, {"batch%=1", "batch%"}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		assert_false(form_has_only(str_of(rows[i].form), names, &other));
		assert_true(str_is(other, rows[i].other));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads),
		cmocka_unit_test(writes),
		cmocka_unit_test(comes_back),
		cmocka_unit_test(one_after_another),
		cmocka_unit_test(cookies),
		cmocka_unit_test(a_content_type_is_compared_whole),
		cmocka_unit_test(only_known_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
