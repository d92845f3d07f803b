/* json_scan: what is well-formed, and what comes out of it. */
#include "core/json_scan.h"

#include "core/buf.h"

#include "jansson_beside.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

static enum err check(const char *text)
{
	return json_check(str_of(text), NULL);
}

static void well_formed(void **state)
{
	(void)state;
	static const char *const good[] = {"0", "-0", "-1", "1e0", "1E+5", "1e-5", "1.10", "0.0",
		"18446744073709551616", "1e400", "-1.5e-400", "\"\"", "\"a\"", "\"\\u0000\"",
		"\"\\ud800\"", "\"\\udc00\\ud800\"", "\"\\ud83d\\ude00\"",
		"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\x7f\"",
		"\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"", "true", "false", "null", "[]", "{}",
		" [ ] ", "\t{\r\n}\n", "[1,2,[3,{}]]", "{\"a\":1,\"a\":2}", "{\"\":{\"\":[]}}",
		"[true,false,null,\"\",0]", "\"12345678\"", "\"1234567\\u00e41234567\"",
		"{ \"a\" : [ 1 , 2 ] , \"b\" : { } }"};
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		if (check(good[i]) != ERR_OK)
			fail_msg("refused: %s", good[i]);
}

static void malformed(void **state)
{
	(void)state;
	static const char *const bad[] = {"", " ", "\n", "tru", "True", "nul", "nulll", "falsey",
		"NaN", "Infinity", "-", "+1", "01", "-01", "1.", ".5", "1e", "1e+", "1.e5", "0x10",
		"1 2", "--1", "\"", "\"a", "\"\\\"", "\"\\", "\"\\x\"", "\"\\u\"", "\"\\u12\"",
		"\"\\u123g\"", "\"\\U0041\"", "\"\n\"", "\"\t\"", "\"\x01\"", "'a'", "a", "[", "]",
		"{", "}", "[1", "[1,", "[1,]", "[,1]", "[,]", "[1 2]", "[1}", "{1}", "{]",
		"{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{,}", "{\"a\":1 \"b\":2}", "{\"a\" 1}",
		"{a:1}", "{\"a\":1]", "{\"a\":1}}", "[1]]", "[1],", "/**/1", "1//", "[1]x",
		"\xef\xbb\xbf{}", "\"\xff\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"",
		"\"\xf4\x90\x80\x80\"", "\"\xc3\"", "\"\xe2\x82\"", "\"1234567\xff\"", "\xc3\xa4",
		"[\xc2\xa0]", "\"\x80\"", "\"\xf8\x88\x80\x80\x80\""};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (check(bad[i]) != ERR_PARSE)
			fail_msg("accepted: %s", bad[i]);
	assert_int_equal(json_check((struct str){"\"a\0b\"", 5}, NULL), ERR_PARSE);
	assert_int_equal(json_check((struct str){"1\0", 2}, NULL), ERR_PARSE);
	assert_int_equal(json_check((struct str){NULL, 0}, NULL), ERR_PARSE);
}

static void says_where(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		size_t at;
	} rows[] = {{"", 0}, {"[1,x]", 3}, {"[1,2", 4}, {"{\"a\" 1}", 5}, {"1 2", 2},
		{"\"abc\\x\"", 4}, {"\"12345678\n\"", 9}, {"\"ab\xff\"", 3}, {"[1]]", 3}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		size_t at = 999;
		assert_int_equal(json_check(str_of(rows[i].text), &at), ERR_PARSE);
		assert_int_equal(at, rows[i].at);
	}
	size_t untouched = 999;
	assert_int_equal(json_check(STR("[1]"), &untouched), ERR_OK);
	assert_int_equal(untouched, 999);
}

/* depth brackets, of both kinds, around a number. */
static struct buf nest(size_t depth)
{
	struct buf b = BUF_INIT(1 << 20);
	for (size_t i = 0; i < depth; i++)
		buf_adds(&b, i % 3 ? STR("[") : STR("{\"\":"));
	buf_addc(&b, '1');
	for (size_t i = depth; i-- > 0;)
		buf_addc(&b, i % 3 ? ']' : '}');
	return b;
}

static void depth(void **state)
{
	(void)state;
	static const struct {
		size_t depth;
		enum err err;
	} rows[] = {{1, ERR_OK}, {63, ERR_OK}, {JSON_DEPTH_MAX, ERR_OK},
		{JSON_DEPTH_MAX + 1, ERR_PARSE}, {100000, ERR_PARSE}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct buf text = nest(rows[i].depth);
		assert_int_equal(json_check(buf_str(&text), NULL), rows[i].err);
		buf_free(&text);
	}
}

static void kinds(void **state)
{
	(void)state;
	assert_int_equal(json_kind(STR(" {}")), JSON_OBJECT);
	assert_int_equal(json_kind(STR("[]")), JSON_ARRAY);
	assert_int_equal(json_kind(STR("\"\"")), JSON_STRING);
	assert_int_equal(json_kind(STR("-1")), JSON_NUMBER);
	assert_int_equal(json_kind(STR("7")), JSON_NUMBER);
	assert_int_equal(json_kind(STR("true")), JSON_TRUE);
	assert_int_equal(json_kind(STR("false")), JSON_FALSE);
	assert_int_equal(json_kind(STR("null")), JSON_NULL);
	assert_int_equal(json_kind(STR("")), JSON_NONE);
	assert_true(str_is(json_trim(STR(" \t[1 ]\r\n")), "[1 ]"));
	assert_int_equal(json_trim(STR(" \n")).n, 0);
}

static void walks(void **state)
{
	(void)state;
	struct str text =
		STR(" { \"a\" : 1e0 ,\"b\\\"\\\\\":[1, \"]\\\"\", {\"}\":2}] , \"a\":\"x\" , "
		    "\"n\":null,\"\":18446744073709551616 } ");
	static const char *const keys[] = {"a", "b\\\"\\\\", "a", "n", ""};
	static const char *const values[] = {
		"1e0", "[1, \"]\\\"\", {\"}\":2}]", "\"x\"", "null", "18446744073709551616"};
	assert_int_equal(json_check(text, NULL), ERR_OK);
	struct json_walk w = json_walk(text);
	struct str key, value;
	for (size_t i = 0; i < 5; i++) {
		assert_true(json_next(&w, &key, &value));
		assert_true(str_is(key, keys[i]));
		assert_true(str_is(value, values[i]));
	}
	assert_false(json_next(&w, &key, &value));
	assert_true(json_get(text, "b\"\\", &value));
	w = json_walk(value);
	assert_true(json_next(&w, &key, &value) && str_is(value, "1") && key.n == 0);
	assert_true(json_next(&w, NULL, &value) && str_is(value, "\"]\\\"\""));
	assert_true(json_next(&w, NULL, &value) && str_is(value, "{\"}\":2}"));
	assert_false(json_next(&w, NULL, &value));
	w = json_walk(text);
	assert_true(json_next(&w, NULL, NULL) && json_next(&w, &key, NULL) && key.n == 5);
}

static void walks_nothing(void **state)
{
	(void)state;
	static const char *const texts[] = {"[]", "{}", " [ ] ", "{ }", "1", "\"a\"", "null", ""};
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		struct str value;
		struct json_walk w = json_walk(str_of(texts[i]));
		assert_false(json_next(&w, NULL, &value));
	}
	struct str value;
	assert_true(json_get(STR("{\"a\":1,\"a\":2}"), "a", &value) && str_is(value, "1"));
	assert_false(json_get(STR("{\"a\":{\"b\":1}}"), "b", &value));
	assert_false(json_get(STR("[\"b\",1]"), "b", &value));
}

static void strings(void **state)
{
	(void)state;
	assert_true(json_string_is(STR("abc"), "abc"));
	assert_true(json_string_is(STR("\\u0061b\\u0063"), "abc"));
	assert_true(json_string_is(STR("\\ud83d\\ude00\\/"), "\xf0\x9f\x98\x80/"));
	assert_true(json_string_is(STR(""), ""));
	assert_false(json_string_is(STR("abc"), "ab"));
	assert_false(json_string_is(STR("ab"), "abc"));
	assert_false(json_string_is(STR("ab\\u0000"), "ab"));
	assert_false(json_string_is(STR("ab\\ud800"), "ab"));
	assert_true(json_string_eq(STR("a\\u0062"), STR("\\u0061b")));
	assert_true(json_string_eq(STR("\xc3\xa4"), STR("\\u00E4")));
	assert_true(json_string_eq(STR("\\ud800"), STR("\\uD800")));
	assert_false(json_string_eq(STR("\\ud800"), STR("\\ud801")));
	assert_false(json_string_eq(STR("\\ud800"), STR("\\ud800\\ud800")));
	assert_false(json_string_eq(STR("a"), STR("ab")));
	assert_false(json_string_eq(STR("a"), STR("a\\u0000")));
}

static void doubled(void **state)
{
	(void)state;
	assert_int_equal(json_once(STR("{\"a\":1,\"b\":{\"a\":1,\"a\":2},\"\":0}")), ERR_OK);
	assert_int_equal(json_once(STR("{\"alg\":1,\"b\":2,\"\\u0061lg\":1}")), ERR_PARAMS);
	assert_int_equal(json_once(STR("{\"a\":1,\"a\":1}")), ERR_PARAMS);
	assert_int_equal(json_once(STR("[1,1]")), ERR_OK);
	for (size_t members = JSON_ONCE_MAX; members <= JSON_ONCE_MAX + 1; members++) {
		struct buf b = BUF_INIT(1 << 16);
		for (size_t i = 0; i < members; i++)
			buf_addf(&b, "%c\"%zu\":1", i ? ',' : '{', i);
		buf_addc(&b, '}');
		assert_int_equal(
			json_once(buf_str(&b)), members > JSON_ONCE_MAX ? ERR_TOO_LARGE : ERR_OK);
		buf_free(&b);
	}
}

static void decodes(void **state)
{
	(void)state;
	static const struct {
		struct str in, out;
	} rows[] = {{STR("\"\""), STR("")}, {STR(""), STR("")},
		{STR("\"a\\u00e4b\""),
			STR("a\xc3\xa4"
			    "b")},
		{STR("a\\n\\t\\\"\\\\\\/"), STR("a\n\t\"\\/")}, {STR("\"\\u0000\""), STR("\0")},
		{STR("\"\\u20ac\\ud83d\\ude00\""), STR("\xe2\x82\xac\xf0\x9f\x98\x80")},
		{STR("\"\\uDBFF\\uDFFF\""), STR("\xf4\x8f\xbf\xbf")},
		{STR("\\b\\f\\r"), STR("\b\f\r")}};
	char out[64];
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		size_t n = 99;
		assert_int_equal(json_decode(rows[i].in, out, &n), ERR_OK);
		assert_true(str_eq((struct str){out, n}, rows[i].out));
	}
	char place[] = "\"a\\u00e4b\\n\"";
	size_t n = 99;
	assert_int_equal(json_decode(str_of(place), place, &n), ERR_OK);
	assert_true(str_is((struct str){place, n},
		"a\xc3\xa4"
		"b\n"));
	n = 99;
	static const char *const lone[] = {"\"\\ud800\"", "\"\\udc00\\ud800\"", "\\ud800x",
		"\\ud800\\u0041", "\\udfff", "\\ud800\\ud800\\udc00"};
	for (size_t i = 0; i < sizeof(lone) / sizeof(*lone); i++)
		assert_int_equal(json_decode(str_of(lone[i]), out, &n), ERR_PARAMS);
	assert_int_equal(n, 99);
}

static void whole_numbers(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t n;
	} good[] = {{"0", 0}, {"-0", 0}, {" 7 ", 7}, {"-12", -12},
		{"9223372036854775807", INT64_MAX}, {"-9223372036854775808", INT64_MIN}};
	static const char *const bad[] = {"1e0", "1.0", "1.10", "9223372036854775808",
		"-9223372036854775809", "18446744073709551616", "1e400", "\"1\"", "", "-", "null",
		"[]", "true"};
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		int64_t n = 99;
		assert_int_equal(json_decode_int(str_of(good[i].text), &n), ERR_OK);
		assert_true(n == good[i].n);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		int64_t n = 99;
		assert_int_equal(json_decode_int(str_of(bad[i]), &n), ERR_PARAMS);
		assert_true(n == 99);
	}
}

/* jansson differs on purpose: it refuses lone surrogates and \u0000 in keys, of which the pieces
 * hold none, and numbers that do not fit, which are not compared. */
static void random_text(struct buf *out)
{
	static const char *const pieces[] = {"{", "}", "[", "]", ",", ":", "\"", "\"a\"",
		"\"b\":", "1", "-", "0", ".5", "e1", "true", "null", "false", " ", "\n", "\\n",
		"\\u00e4", "\xc3\xa4", "\xc3", "\"12345678\"", "{\"a\":", "\x1f", "[1,", "[]", "{}",
		"x"};
	for (long i = random() % 8; i >= 0; i--)
		buf_adds(
			out, str_of(pieces[(size_t)random() % (sizeof(pieces) / sizeof(*pieces))]));
}

static void random_value(struct buf *out, int depth)
{
	static const char *const leaves[] = {"1", "-2.5e3", "\"x\\u00e4\\n\"", "true", "null",
		"\"\"", "\"12345678\xe2\x82\xac\"", "0"};
	long pick = random() % (depth > 4 ? 3 : 6);
	if (pick < 3) {
		buf_adds(out, str_of(leaves[random() % 8]));
		return;
	}
	buf_addc(out, pick == 3 ? '{' : '[');
	for (long i = 0, count = random() % 4; i < count; i++) {
		if (i)
			buf_addc(out, ',');
		if (pick == 3)
			buf_addf(out, "\"k%ld\" : ", i);
		random_value(out, depth + 1);
	}
	buf_addc(out, pick == 3 ? '}' : ']');
}

static void same_as_jansson(void **state)
{
	(void)state;
	unsigned seed = (unsigned)time(NULL);
	print_message("seed %u\n", seed);
	srandom(seed);
	int accepted = 0;
	for (int i = 0; i < 60000; i++) {
		struct buf text = BUF_INIT(1 << 20);
		if (i % 2)
			random_text(&text);
		else
			random_value(&text, 0);
		if (i % 6 == 0)
			text.p[(size_t)random() % text.n] = "{}[],:\"1 x"[random() % 10];
		json_error_t error;
		json_t *tree = json_loadb(text.p, text.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
		enum err err = json_check(buf_str(&text), NULL);
		bool beyond = !tree && json_error_code(&error) == json_error_numeric_overflow;
		if ((err == ERR_OK) != (tree != NULL || beyond))
			fail_msg("ours %d, jansson %d: %s", err, tree != NULL, text.p);
		accepted += err == ERR_OK;
		json_decref(tree);
		buf_free(&text);
	}
	assert_true(accepted > 1000);
}

/* Each element found by walking is what jansson found, read again on its own. */
static void walk_matches_jansson(void **state)
{
	(void)state;
	for (int i = 0; i < 3000; i++) {
		struct buf text = BUF_INIT(1 << 20);
		random_value(&text, 0);
		json_t *tree = json_loadb(text.p, text.n, JSON_DECODE_ANY, NULL);
		struct json_walk w = json_walk(buf_str(&text));
		struct str key, value;
		size_t count = 0;
		while (json_next(&w, &key, &value)) {
			json_t *twin = *text.p == '[' ? json_array_get(tree, count)
						      : json_object_getn(tree, key.p, key.n);
			json_t *again = json_loadb(value.p, value.n, JSON_DECODE_ANY, NULL);
			assert_true(twin && again && json_equal(twin, again));
			json_decref(again);
			count++;
		}
		assert_int_equal(count, json_array_size(tree) + json_object_size(tree));
		json_decref(tree);
		buf_free(&text);
	}
}

static void same_members(struct json_walk known, struct json_walk walked)
{
	struct str key, value, other_key, other_value;
	while (json_next(&walked, &key, &value)) {
		assert_true(json_next(&known, &other_key, &other_value));
		assert_true(key.p == other_key.p && key.n == other_key.n);
		assert_true(value.p == other_value.p && value.n == other_value.n);
	}
	assert_false(json_next(&known, &other_key, &other_value));
}

/* What a check notes is what walks find, of the text and of a copy. */
static void outline_matches_walk(void **state)
{
	(void)state;
	unsigned noted = 0;
	for (int i = 0; i < 6000; i++) {
		struct buf text = BUF_INIT(1 << 20);
		buf_adds(&text, STR(" {\"a\" : "));
		random_value(&text, 0);
		buf_adds(&text, STR("\n,\"b\":{} , \"c\":{\"d\":"));
		random_value(&text, 0);
		buf_adds(&text, STR(" }\t} "));
		struct json_outline o;
		assert_int_equal(json_check_outline(buf_str(&text), NULL, &o), ERR_OK);
		char *copy = malloc(text.n);
		memcpy(copy, text.p, text.n);
		struct json_walk w = json_walk_outline(&o);
		struct str value;
		if (o.count)
			same_members(w, json_walk(buf_str(&text)));
		for (; o.count && json_next(&w, NULL, &value); noted++) {
			struct json_walk inside = json_walk_inside(&w);
			struct str moved = {copy + (value.p - text.p), value.n};
			if (json_kind(value) == JSON_OBJECT) {
				same_members(inside, json_walk(value));
				same_members(
					json_walk_moved(inside, text.p, copy), json_walk(moved));
				same_members(json_walk_moved(json_walk(value), text.p, copy),
					json_walk(moved));
			} else {
				assert_false(json_next(&inside, NULL, NULL));
			}
		}
		free(copy);
		buf_free(&text);
	}
	assert_true(noted > 6000);
}

static void outline_ends(void **state)
{
	(void)state;
	struct json_outline o;
	static const char *const none[] = {"[]", "[{\"a\":1}]", "1", "{}", "\"a\""};
	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++) {
		assert_int_equal(json_check_outline(str_of(none[i]), NULL, &o), ERR_OK);
		assert_int_equal(o.count, 0);
	}
	struct buf text = BUF_INIT(1 << 20);
	for (unsigned n = 1; n < 2 * JSON_OUTLINE_MAX; n++) {
		buf_cut(&text, 0);
		for (unsigned i = 0; i < n; i++)
			buf_addf(&text, "%c\"k%u\":[{\"no\":1}]", i ? ',' : '{', i);
		buf_addc(&text, '}');
		assert_int_equal(json_check_outline(buf_str(&text), NULL, &o), ERR_OK);
		assert_int_equal(o.count, n <= JSON_OUTLINE_MAX ? n : 0);
	}
	buf_free(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(well_formed),
		cmocka_unit_test(malformed),
		cmocka_unit_test(says_where),
		cmocka_unit_test(depth),
		cmocka_unit_test(kinds),
		cmocka_unit_test(walks),
		cmocka_unit_test(walks_nothing),
		cmocka_unit_test(strings),
		cmocka_unit_test(doubled),
		cmocka_unit_test(decodes),
		cmocka_unit_test(whole_numbers),
		cmocka_unit_test(same_as_jansson),
		cmocka_unit_test(walk_matches_jansson),
		cmocka_unit_test(outline_matches_walk),
		cmocka_unit_test(outline_ends),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
