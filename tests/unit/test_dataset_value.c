/* Cells: what SQLite holds comes out as JSON that reads back as the same, by other readers of JSON, too; and
 * nothing that is no cell comes in. */
#include "dataset/value.h"

#include "core/json_scan.h"

#include "jansson_beside.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

static unsigned long long seed;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static struct value whole(int64_t n)
{
	return (struct value){.kind = VALUE_INT, .number = n};
}

static struct value real(double d)
{
	return (struct value){.kind = VALUE_REAL, .real = d};
}

static struct value text(struct str s)
{
	return (struct value){.kind = VALUE_TEXT, .bytes = s};
}

static struct value blob(struct str s)
{
	return (struct value){.kind = VALUE_BLOB, .bytes = s};
}

static void writes(struct value v, const char *json)
{
	struct buf b = BUF_INIT(1 << 20);
	value_write(&b, v);
	assert_int_equal(b.err, ERR_OK);
	assert_string_equal(b.p, json);
	buf_free(&b);
}

/* The same value, whichever way it comes back; jansson finds the text well-formed. */
static void comes_back(struct value v)
{
	struct buf b = BUF_INIT(1 << 20);
	value_write(&b, v);
	struct str json = buf_str(&b);
	assert_int_equal(json_check(json, NULL), ERR_OK);
	json_t *other = json_loadb(json.p, json.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	assert_non_null(other);
	if (json_is_integer(other))
		assert_int_equal(json_integer_value(other), v.number);
	if (json_is_real(other))
		assert_true(value_eq(real(json_real_value(other)), v));
	json_decref(other);
	char *arena = malloc(json.n);
	struct value again;
	const char *why;
	if (value_read(json, arena, &again, &why) != ERR_OK)
		fail_msg("%s %s", json.p, why);
	if (!value_eq(v, again))
		fail_msg("another value: %s", json.p);
	free(arena);
	buf_free(&b);
}

static void numbers(void **state)
{
	(void)state;
	writes((struct value){0}, "null");
	writes(real(NAN), "null");
	writes(whole(0), "0");
	writes(whole(9007199254740992), "9007199254740992");
	writes(whole(-9007199254740992), "-9007199254740992");
	writes(whole(9007199254740993), "{\"$i\":\"9007199254740993\"}");
	writes(whole(INT64_MAX), "{\"$i\":\"9223372036854775807\"}");
	writes(whole(INT64_MIN), "{\"$i\":\"-9223372036854775808\"}");
	writes(real(0.0), "0.0");
	writes(real(-0.0), "-0.0");
	writes(real(1.0), "1.0");
	writes(real(-3.0), "-3.0");
	writes(real(0.1), "0.1");
	writes(real(0.1 + 0.2), "0.30000000000000004");
	writes(real(1e15), "1e+15");
	writes(real(123456789012345678.0), "1.2345678901234568e+17");
	writes(real(999999999999999.0), "999999999999999.0");
	writes(real(9007199254740993.0), "9007199254740992.0");
	writes(real(1e22), "1e+22");
	writes(real(1e308), "1e+308");
	writes(real(DBL_MAX), "1.7976931348623157e+308");
	writes(real(DBL_MIN), "2.2250738585072014e-308");
	writes(real(5e-324), "5e-324");
	writes(real(1e-310), "1e-310");
	writes(real(HUGE_VAL), "{\"$r\":\"Inf\"}");
	writes(real(-HUGE_VAL), "{\"$r\":\"-Inf\"}");
	static const double edges[] = {0.0, -0.0, 1.0, 5e-324, -5e-324, 1e-310, DBL_MIN, DBL_MAX,
		DBL_EPSILON, 1e15, 1e15 + 1, 1e16, 1e22, 1e23, 9007199254740993.0, HUGE_VAL,
		-HUGE_VAL};
	for (size_t i = 0; i < sizeof(edges) / sizeof(*edges); i++)
		comes_back(real(edges[i]));
}

static void bytes(void **state)
{
	(void)state;
	writes(text(STR("")), "\"\"");
	writes(text((struct str){NULL, 0}), "\"\"");
	writes(text(STR("a\"\\\n\x01\x7f \xc3\xa4\xf0\x9f\x98\x80")),
		"\"a\\\"\\\\\\n\\u0001\\u007f \xc3\xa4\xf0\x9f\x98\x80\"");
	writes(text(STR("a\0b")), "\"a\\u0000b\"");
	writes(text(STR("\xff")), "{\"$t\":\"/w==\"}");
	writes(text(STR("a\xc3")), "{\"$t\":\"YcM=\"}");
	writes(text(STR("\xed\xa0\x80")), "{\"$t\":\"7aCA\"}"); /* a surrogate */
	writes(blob(STR("")), "{\"$b\":\"\"}");
	writes(blob((struct str){NULL, 0}), "{\"$b\":\"\"}");
	writes(blob(STR("\0\xff\xfe")), "{\"$b\":\"AP/+\"}");
}

/* Bits of every kind; digits that are few; strings of all bytes. */
static struct value any_value(char *room, size_t max)
{
	uint64_t r = next_random();
	struct value v = {0};
	size_t n = next_random() % max;
	switch (r % 6) {
	case 0:
		return whole((int64_t)(next_random() >> (next_random() % 64)));
	case 1:
		r = next_random();
		memcpy(&v.real, &r, sizeof(v.real));
		return isnan(v.real) ? whole(INT64_MIN) : real(v.real);
	case 2:
		return real((double)(int64_t)(next_random() % 2000001 - 1000000) /
			pow(10, (double)(next_random() % 30)));
	case 3:
		return real((double)(int64_t)next_random());
	default:
		for (size_t i = 0; i < n; i++)
			room[i] = (char)(r & 8 ? next_random() % 128 : next_random());
		return r & 16 ? text((struct str){room, n}) : blob((struct str){room, n});
	}
}

static void all_come_back(void **state)
{
	(void)state;
	char room[64];
	for (int i = 0; i < 30000; i++)
		comes_back(any_value(room, sizeof(room)));
}

/* No text of fewer digits means the same double. */
static void reals_are_short(void **state)
{
	(void)state;
	for (int i = 0; i < 20000; i++) {
		uint64_t bits = next_random();
		double d;
		if (i % 4 == 0)
			bits &= 0x800fffffffffffff; /* subnormal */
		memcpy(&d, &bits, sizeof(d));
		if (isnan(d) || isinf(d))
			continue;
		struct buf b = BUF_INIT(64);
		value_write(&b, real(d));
		size_t digits = 0;
		for (const char *p = b.p; *p && *p != 'e'; p++)
			digits += *p >= '0' && *p <= '9' && (digits || *p != '0');
		char shorter[40];
		if (digits > 1 && fabs(d) > 0) {
			snprintf(shorter, sizeof(shorter), "%.*g", (int)digits - 1, d);
			if (strtod(shorter, NULL) == d && !strstr(b.p, ".0"))
				fail_msg("%s says what %s does", shorter, b.p);
		}
		buf_free(&b);
	}
}

static void through_sqlite(void **state)
{
	(void)state;
	sqlite3 *db;
	sqlite3_stmt *put, *get;
	char room[64];
	assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
	sqlite3_exec(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)", NULL, NULL, NULL);
	sqlite3_prepare_v2(db, "REPLACE INTO t VALUES(1, ?)", -1, &put, NULL);
	sqlite3_prepare_v2(db, "SELECT v FROM t", -1, &get, NULL);
	for (int i = 0; i < 20000; i++) {
		struct value v = any_value(room, sizeof(room));
		assert_int_equal(value_bind(put, 1, v), ERR_OK);
		assert_int_equal(sqlite3_step(put), SQLITE_DONE);
		sqlite3_reset(put);
		assert_int_equal(sqlite3_step(get), SQLITE_ROW);
		struct value have = value_of(get, 0);
		if (v.kind == VALUE_REAL && v.real == 0)
			assert_true(have.real == 0); /* SQLite keeps no -0.0 in a table */
		else
			assert_true(value_eq(v, have));
		comes_back(have);
		sqlite3_reset(get);
	}
	assert_int_equal(value_bind(put, 1, real(NAN)), ERR_OK);
	sqlite3_step(put);
	sqlite3_reset(put);
	sqlite3_step(get);
	assert_int_equal(value_of(get, 0).kind, VALUE_NULL);
	sqlite3_finalize(put);
	sqlite3_finalize(get);
	sqlite3_close(db);
}

static void reads(const char *json, struct value v)
{
	char arena[4096];
	struct value have;
	const char *why = "";
	if (value_read(str_of(json), arena, &have, &why) != ERR_OK || !value_eq(v, have))
		fail_msg("%s: %s", json, why);
}

static void what_clients_say(void **state)
{
	(void)state;
	reads(" null ", (struct value){0});
	reads("-0", whole(0));
	reads("1e2", real(100));
	reads("1.0", real(1));
	reads("9223372036854775807", whole(INT64_MAX));
	reads("9223372036854775808", real(9223372036854775808.0));
	reads("100000000000000000000", real(1e20));
	reads("1e-400", real(0));
	reads("{ \"$i\" : \"5\" }", whole(5));
	reads("{\"$\\u0069\":\"-9223372036854775808\"}", whole(INT64_MIN));
	reads("\"a\\u0000b\"", text(STR("a\0b")));
	reads("{\"$b\":\"AP\\/+\"}", blob(STR("\0\xff\xfe")));
	reads("{\"$t\":\"\"}", text(STR("")));
	reads("{\"$t\":\"YQ==\"}", text(STR("a")));
}

static void what_is_no_cell(void **state)
{
	(void)state;
	static const char *const bad[] = {"true", "false", "[]", "[1]", "{}", "{\"a\":1}",
		"{\"$b\":1}", "{\"$b\":null}", "{\"$b\":\"A\"}", "{\"$b\":\"AA\"}",
		"{\"$b\":\"AA=\"}", "{\"$b\":\"AB==\"}", "{\"$b\":\"A===\"}", "{\"$b\":\"====\"}",
		"{\"$b\":\"AA==AAAA\"}", "{\"$b\":\"AP_-\"}", "{\"$b\":\"AA =\"}",
		"{\"$b\":\"AP/+\",\"$t\":\"\"}", "{\"$i\":5}", "{\"$i\":\"\"}", "{\"$i\":\"+5\"}",
		"{\"$i\":\"05\"}", "{\"$i\":\"-0\"}", "{\"$i\":\"5.0\"}", "{\"$i\":\" 5\"}",
		"{\"$i\":\"9223372036854775808\"}", "{\"$i\":\"null\"}", "{\"$r\":\"NaN\"}",
		"{\"$r\":\"inf\"}", "{\"$r\":\"1.5\"}", "{\"$big\":5}", "{\"$x\":\"\"}",
		"\"\\ud800\"", "{\"$b\":\"\\ud800\"}", "1e400", "-1e400"};
	char arena[4096];
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct value v = whole(77);
		const char *why = NULL;
		if (value_read(str_of(bad[i]), arena, &v, &why) != ERR_PARAMS)
			fail_msg("taken for a cell: %s", bad[i]);
		assert_non_null(why);
		assert_int_equal(v.number, 77);
	}
	char digits[CELL_NUMBER_MAX + 2] = {0};
	memset(digits, '9', CELL_NUMBER_MAX + 1);
	struct value v;
	const char *why;
	assert_int_equal(value_read(str_of(digits), arena, &v, &why), ERR_PARAMS);
	memset(digits, '0', sizeof(digits) - 1);
	memcpy(digits, "0.", 2);
	digits[CELL_NUMBER_MAX] = 0;
	assert_int_equal(value_read(str_of(digits), arena, &v, &why), ERR_OK);
}

/* A row never passes its maximum, and only the largest cells are left out, none without need. */
static void rows(void **state)
{
	(void)state;
	static char room[300 * 1024];
	struct value cells[4] = {whole(1), text(STR("a"))};
	struct buf b = BUF_INIT(8 << 20);
	value_write_row(&b, cells, 2);
	assert_string_equal(b.p, "[1,\"a\"]");
	buf_cut(&b, 0);
	value_write_row(&b, cells, 0);
	assert_string_equal(b.p, "[]");
	memset(room, 'x', sizeof(room));
	cells[2] = text((struct str){room, 100 * 1024});
	cells[3] = text((struct str){room, 101 * 1024});
	buf_cut(&b, 0);
	value_write_row(&b, cells, 4);
	assert_true(b.n > 100 * 1024 && b.n <= CELL_BYTES_MAX);
	assert_non_null(strstr(b.p, "x\",{\"$big\":103424}]"));
	cells[3] = text((struct str){room, 92 * 1024 - 100});
	buf_cut(&b, 0);
	value_write_row(&b, cells, 4);
	assert_true(b.n > 190 * 1024 && b.n <= CELL_BYTES_MAX);
	assert_null(strstr(b.p, "$big"));
	memset(room, 1, sizeof(room)); /* six characters each */
	buf_cut(&b, 0);
	value_write_row(&b, cells, 4);
	assert_string_equal(b.p, "[1,\"a\",{\"$big\":102400},{\"$big\":94108}]");
	for (int i = 0; i < 200; i++) {
		struct value wide[CELLS_MAX];
		size_t count = 1 + next_random() % CELLS_MAX;
		for (size_t j = 0; j < count; j++)
			wide[j] = any_value(room + next_random() % 1000,
				next_random() % 3 ? 2000 : 1 + next_random() % 200000);
		buf_cut(&b, 0);
		value_write_row(&b, wide, count);
		assert_int_equal(b.err, ERR_OK);
		assert_true(b.n <= CELL_BYTES_MAX);
		assert_int_equal(json_check(buf_str(&b), NULL), ERR_OK);
	}
	buf_free(&b);
}

static void positions(void **state)
{
	(void)state;
	int64_t seq = -1;
	assert_true(value_read_seq(STR("0"), &seq) && seq == 0);
	assert_true(value_read_seq(STR("9223372036854775807"), &seq) && seq == INT64_MAX);
	static const char *const wrong[] = {
		"", "-1", "01", "1 ", " 1", "1.0", "1e3", "9223372036854775808", "a", "+1", "1\t"};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_false(value_read_seq(str_of(wrong[i]), &seq));
	assert_true(seq == INT64_MAX);
}

int main(void)
{
	const char *given = getenv("SEED");
	seed = given ? strtoull(given, NULL, 10) : (unsigned long long)time(NULL);
	print_message("SEED=%llu\n", seed);
	seed = seed * 0x9e3779b97f4a7c15 + 1;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers),
		cmocka_unit_test(bytes),
		cmocka_unit_test(all_come_back),
		cmocka_unit_test(reals_are_short),
		cmocka_unit_test(through_sqlite),
		cmocka_unit_test(what_clients_say),
		cmocka_unit_test(what_is_no_cell),
		cmocka_unit_test(rows),
		cmocka_unit_test(positions),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
