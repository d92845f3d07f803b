/* One-off pages: whatever the order, the filter and the size of a page, all pages together are what one statement of the
 * test's own gives; cursors go on only where they came from; and what is large stays within its maximum. */
#include "capture_fixture.h"
#include "dataset_fixture.h"

#include "core/frame.h"
#include "core/json_scan.h"
#include "dataset/query_parts.h"

static struct layout *kinds, *pairs;
static struct reading *reading;
static struct definition *d;
static sqlite3 *theirs;

static int begin(void **state)
{
	bool changed;
	const struct store_trouble *trouble;
	set_up(state);
	theirs = open_file();
	sql(theirs, "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF");
	sql(theirs, KINDS_TABLE);
	sql(theirs,
		"CREATE TABLE pairs(a TEXT COLLATE NOCASE, b, c, PRIMARY KEY(a, b)) WITHOUT ROWID");
	assert_int_equal(capture_ensure(theirs, (struct str[]){STR("kinds"), STR("pairs")}, 2,
				 false, &changed, why),
		ERR_OK);
	assert_int_equal(capture_layout(theirs, STR("kinds"), NULL, 0, &kinds, why), ERR_OK);
	assert_int_equal(capture_layout(theirs, STR("pairs"), NULL, 0, &pairs, why), ERR_OK);
	assert_int_equal(reading_open(place, &reading, &trouble), ERR_OK);
	struct definition said = kinds_definition("1");
	d = definition_new(&said);
	return 0;
}

static int end(void **state)
{
	reading_close(&reading);
	definition_unref(&d);
	layout_unref(&kinds);
	layout_unref(&pairs);
	close_file(&theirs);
	return tear_down(state);
}

static enum err ask_for(const struct layout *l, struct query_wish wish, struct query_answer *ret)
{
	struct principal ann = fixture_ann();
	struct head head;
	*ret = (struct query_answer){0};
	if (!wish.limit)
		wish.limit = QUERY_ROWS;
	assert_int_equal(reading_begin(reading, READING_LIMIT_MS, &head), ERR_OK);
	enum err err = query_run(reading, d, l, &ann, &wish, ret);
	reading_end(reading);
	return err;
}

static struct str member(const struct query_answer *a, const char *name)
{
	struct str value = {0};
	assert_int_equal(json_check(buf_str(&a->result), NULL), ERR_OK);
	assert_true(a->result.n < FRAME_MAX_BYTES);
	json_get(buf_str(&a->result), name, &value);
	return value;
}

/* All rows, a line each, page by page; and how many pages. */
static char *all_pages(const struct layout *l, struct query_wish wish, size_t *ret_pages)
{
	struct buf rows = BUF_INIT(1 << 24);
	char cursor[QUERY_CURSOR_MAX];
	*ret_pages = 0;
	for (;;) {
		struct query_answer a;
		struct str row, next;
		int64_t count = 0;
		if (ask_for(l, wish, &a))
			fail_msg("%s", a.problem.message);
		struct json_walk w = json_walk(member(&a, "rows"));
		for (; json_next(&w, NULL, &row); count++)
			buf_addf(&rows, STR_FMT "\n", STR_ARG(row));
		assert_true(count <= wish.limit);
		++*ret_pages;
		next = member(&a, "cursor");
		if (str_is(next, "null")) {
			buf_free(&a.result);
			break;
		}
		assert_int_equal(count, wish.limit);
		memcpy(cursor, next.p + 1, next.n - 2);
		wish.cursor = (struct str){cursor, next.n - 2};
		buf_free(&a.result);
	}
	return rows.p ? buf_take(&rows) : mem_copy(STR(""));
}

static void fill_at_random(size_t rows)
{
	static const char *const values[] = {"NULL", "NULL", "0", "1", "2", "2.5", "-1", "1e300",
		"9e999", "9007199254740993", "9007199254740992.0", "'a'", "'A'", "'b'", "''", "'5'",
		"'\xc3\xa4'", "x''", "x'61'", "x'ff00'", "CAST(x'ff' AS TEXT)",
		"'a' || char(0) || 'b'"};
	const size_t count = sizeof(values) / sizeof(*values);
	struct buf b = BUF_INIT(1 << 16);
	sql(theirs, "BEGIN; DELETE FROM kinds; DELETE FROM pairs");
	for (size_t i = 0; i < rows; i++) {
		buf_cut(&b, 0);
		buf_addf(&b, "INSERT INTO kinds VALUES(%d", (int)random_number(100000) - 50000);
		for (size_t j = 1; j < KINDS; j++)
			buf_addf(&b, ", %s", values[random_number(count)]);
		buf_adds(&b, STR(") ON CONFLICT DO NOTHING"));
		sql(theirs, b.p);
		buf_cut(&b, 0);
		buf_addf(&b, "INSERT INTO pairs VALUES(%s, %s, %s) ON CONFLICT DO NOTHING",
			values[2 + random_number(count - 2)], values[2 + random_number(count - 2)],
			values[random_number(count)]);
		sql(theirs, b.p);
	}
	sql(theirs, "COMMIT");
	buf_free(&b);
}

/* An order of both kinds at random, and the same as SQL. */
static void random_order(
	const char *const *names, size_t count, const char *key, struct buf *json, struct buf *text)
{
	size_t used[16] = {0}, terms = random_number(count < 4 ? count + 1 : 5);
	buf_addc(json, '[');
	for (size_t i = 0; i < terms; i++) {
		size_t column = random_number(count);
		if (used[column]++)
			continue;
		bool down = random_number(2);
		buf_addf(
			json, "%s\"%s%s\"", json->n > 1 ? "," : "", down ? "-" : "", names[column]);
		buf_addf(text, "%s COLLATE BINARY%s, ", names[column], down ? " DESC" : "");
	}
	buf_addc(json, ']');
	buf_adds(text, str_of(key));
}

static char *expected(const char *what, const struct buf *order)
{
	struct buf b = BUF_INIT(1 << 24), rows = BUF_INIT(1 << 24);
	buf_addf(&b, "SELECT %s ORDER BY %s", what, order->p);
	sqlite3_stmt *s = ask(theirs, &b);
	while (sqlite3_step(s) == SQLITE_ROW) {
		struct value cells[4];
		size_t count = (size_t)sqlite3_column_count(s);
		for (size_t i = 0; i < count; i++)
			cells[i] = value_of(s, (int)i);
		value_write_row(&rows, cells, count);
		buf_addc(&rows, '\n');
	}
	sqlite3_finalize(s);
	return rows.p ? buf_take(&rows) : mem_copy(STR(""));
}

static void compare(
	const struct layout *l, const char *what, struct query_wish wish, const struct buf *order)
{
	size_t pages;
	char *have = all_pages(l, wish, &pages), *want = expected(what, order);
	if (strcmp(have, want) != 0)
		fail_msg("%s by %s, pages of %d:\n%s\nand not\n%s", what, order->p, (int)wish.limit,
			have, want);
	assert_true(pages > 1 || strlen(want) < 4000);
	free(have);
	free(want);
}

static void pages_at_random(void **state)
{
	(void)state;
	static const char *const of_kinds[] = {"id", "n", "r", "t", "nc", "b", "x", "v"};
	static const char *const of_pairs[] = {"a", "b", "c"};
	for (int i = 0; i < 100; i++) {
		struct buf json = BUF_INIT(1 << 12), text = BUF_INIT(1 << 12);
		struct query_wish wish = {.limit = 1 + (int64_t)random_number(40)};
		if (i % 50 == 0)
			fill_at_random(200);
		bool two = i % 2;
		random_order(two ? of_pairs : of_kinds, two ? 3 : 8,
			two ? "a COLLATE BINARY, b" : "id", &json, &text);
		wish.shape.order = buf_str(&json);
		wish.shape.columns = two ? STR("[\"a\",\"b\"]") : STR("[\"id\"]");
		if (!two && i % 3 == 0) {
			wish.shape.where = STR("[\"or\",[\"<\",\"t\",\"b\"],[\"is-null\",\"n\"]]");
			compare(kinds, "id FROM kinds WHERE t < 'b' OR n IS NULL", wish, &text);
		} else {
			compare(two ? pairs : kinds, two ? "a, b FROM pairs" : "id FROM kinds",
				wish, &text);
		}
		buf_free(&json);
		buf_free(&text);
	}
}

static void answers(void **state)
{
	(void)state;
	struct query_answer a;
	sql(theirs,
		"DELETE FROM kinds; INSERT INTO kinds(id, n, t, secret) VALUES(1, 5, 'a', 's'), "
		"(2, 6, 'b', 's'), (3, 7, 'c', 's')");
	assert_int_equal(ask_for(kinds,
				 (struct query_wish){.shape = {.columns = STR("[\"t\",\"n\"]"),
							     .where = STR("[\">\",\"n\",5]")},
					 .limit = 1,
					 .count = true},
				 &a),
		ERR_OK);
	assert_true(str_is(member(&a, "columns"), "[\"t\",\"n\",\"id\"]"));
	assert_true(str_is(member(&a, "rows"), "[[\"b\",6,2]]"));
	assert_true(str_is(member(&a, "count"), "2"));
	assert_int_equal(json_kind(member(&a, "cursor")), JSON_STRING);
	assert_int_equal(json_kind(member(&a, "epoch")), JSON_STRING);
	assert_int_equal(json_kind(member(&a, "schema_version")), JSON_NUMBER);
	char *seq = one(theirs, "SELECT seq FROM _sb_ctx");
	assert_int_equal(strtoll(member(&a, "as_of").p + 1, NULL, 10), strtoll(seq, NULL, 10));
	free(seq);
	buf_free(&a.result);
	assert_int_equal(ask_for(kinds, (struct query_wish){0}, &a), ERR_OK);
	assert_int_equal(member(&a, "count").n, 0);
	assert_null(strstr(a.result.p, "secret"));
	assert_null(strstr(a.result.p, "\"s\""));
	buf_free(&a.result);
}

static void wrong(struct query_wish wish, enum err err, const char *field)
{
	struct query_answer a;
	assert_int_equal(ask_for(kinds, wish, &a), err);
	assert_true(str_is(a.problem.why.field, field));
	assert_null(a.result.p);
}

/* A cursor leads on with the same words alone, and nothing that was made up is one. */
static void cursors(void **state)
{
	(void)state;
	struct query_answer a;
	char text[QUERY_CURSOR_MAX];
	sql(theirs, "DELETE FROM kinds; INSERT INTO kinds(id, n) VALUES(1, 5), (2, 6), (3, 7)");
	assert_int_equal(
		ask_for(kinds, (struct query_wish){.shape = {.order = STR("[\"n\"]")}, .limit = 1},
			&a),
		ERR_OK);
	struct str cursor = member(&a, "cursor");
	cursor = (struct str){memcpy(text, cursor.p + 1, cursor.n - 2), cursor.n - 2};
	buf_free(&a.result);
	wrong((struct query_wish){.cursor = cursor}, ERR_PARAMS, "cursor");
	wrong((struct query_wish){.shape = {.order = STR("[\"-n\"]")}, .cursor = cursor},
		ERR_PARAMS, "cursor");
	wrong((struct query_wish){.shape = {.order = STR("[\"n\"]"), .where = STR("[\"and\"]")},
		      .cursor = cursor},
		ERR_PARAMS, "cursor");
	size_t taken = 0;
	for (size_t i = 0; i < cursor.n * 2; i++) {
		char was = text[i / 2];
		text[i / 2] = "Aq"[i % 2];
		struct query_wish wish = {.shape = {.order = STR("[\"n\"]")}, .cursor = cursor};
		enum err err = ask_for(kinds, wish, &a);
		assert_true(err == ERR_OK || err == ERR_PARAMS);
		taken += err == ERR_OK;
		if (!err)
			buf_free(&a.result);
		text[i / 2] = was;
		wish.cursor.n = i / 2;
		if (wish.cursor.n)
			wrong(wish, ERR_PARAMS, "cursor");
	}
	assert_true(taken < cursor.n / 2); /* other positions, or the same */
	for (int i = 0; i < 3000; i++) {
		size_t n = 1 + random_number(60);
		for (size_t j = 0; j < n; j++)
			text[j] = "ABCDabcd0189-_"[random_number(14)];
		wrong((struct query_wish){.cursor = {text, n}}, ERR_PARAMS, "cursor");
	}
}

static void large_rows(void **state)
{
	(void)state;
	struct query_answer a;
	size_t pages;
	sql(theirs,
		"DELETE FROM kinds; WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c "
		"WHERE "
		"i < 20) INSERT INTO kinds(id, t) SELECT i, hex(zeroblob(20000)) FROM c");
	/* three rows of 40000 bytes are a page */
	struct query_wish wish = {.shape = {.columns = STR("[\"t\"]")}, .limit = 3};
	char *rows = all_pages(kinds, wish, &pages);
	assert_int_equal(pages, 7);
	free(rows);
	wish.limit = 10;
	assert_int_equal(ask_for(kinds, wish, &a), ERR_OK);
	assert_true(member(&a, "rows").n > 100000 && member(&a, "rows").n <= QUERY_PAGE_BYTES + 2);
	buf_free(&a.result);
	/* by a value that does not go into a cursor */
	wish.shape.order = STR("[\"t\"]");
	wrong(wish, ERR_TOO_LARGE, "order");
	wish.limit = 1000;
	wish.shape.where = STR("[\"=\",\"id\",7]");
	assert_int_equal(ask_for(kinds, wish, &a), ERR_OK);
	buf_free(&a.result);
	/* one row that is longer than a page, and a cell that is told as its size */
	sql(theirs, "UPDATE kinds SET t = hex(zeroblob(80000)), b = zeroblob(300000) WHERE id = 7");
	wish = (struct query_wish){
		.shape = {.columns = STR("[\"t\",\"b\"]"), .where = wish.shape.where}};
	assert_int_equal(ask_for(kinds, wish, &a), ERR_OK);
	assert_true(member(&a, "rows").n > 160000);
	assert_non_null(strstr(a.result.p, "{\"$big\":300000}"));
	buf_free(&a.result);
}

static void range_is(const char *ranges, const char *cells)
{
	struct query_answer a;
	struct query_wish wish = {
		.shape = {.columns = STR("[\"t\",\"b\",\"n\"]")}, .ranges = str_of(ranges)};
	if (ask_for(kinds, wish, &a))
		fail_msg("%s", a.problem.message);
	struct buf b = BUF_INIT(1 << 10);
	buf_addf(&b, "[[%s,1]]", cells);
	if (!str_eq(member(&a, "rows"), buf_str(&b)))
		fail_msg("%s: %.300s", ranges, a.result.p);
	buf_free(&b);
	buf_free(&a.result);
}

static void ranges(void **state)
{
	(void)state;
	struct query_answer a;
	sql(theirs,
		"DELETE FROM kinds; INSERT INTO kinds(id, t, b, n) VALUES(1, 'a\xc3\xa4z', "
		"x'00010203', 5)");
	range_is("{}", "\"a\xc3\xa4z\",{\"$b\":\"AAECAw==\"},5");
	range_is("{\"t\":[1,2]}", "{\"$b\":\"w6Q=\"},{\"$b\":\"AAECAw==\"},5");
	range_is("{\"B\":[2,100],\"n\":[0,1]}", "\"a\xc3\xa4z\",{\"$b\":\"AgM=\"},5");
	range_is("{\"b\":[100,100]}", "\"a\xc3\xa4z\",{\"$b\":\"\"},5");
	static const char *const bad[] = {"{\"t\":1}", "{\"t\":[1]}", "{\"t\":[1,2,3]}",
		"{\"t\":[-1,2]}", "{\"t\":[1,0]}", "{\"t\":[1.5,1]}", "{\"t\":[0,1],\"t\":[0,1]}",
		"{\"secret\":[0,1]}", "{\"nope\":[0,1]}"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		wrong((struct query_wish){.ranges = str_of(bad[i])}, ERR_PARAMS, "ranges");
	wrong((struct query_wish){.ranges = STR("{\"t\":[0,131073]}")}, ERR_TOO_LARGE, "ranges");
	wrong((struct query_wish){.ranges = STR("{\"t\":[0,131072],\"b\":[0,1]}")}, ERR_TOO_LARGE,
		"ranges");
	sql(theirs, "UPDATE kinds SET b = randomblob(1000000), t = hex(zeroblob(60000))");
	/* what was asked for is whole; what it leaves no room for is not */
	assert_int_equal(
		ask_for(kinds, (struct query_wish){.ranges = STR("{\"b\":[868928,131072]}")}, &a),
		ERR_OK);
	assert_non_null(strstr(a.result.p, "{\"$big\":120000}"));
	assert_null(strstr(a.result.p, "{\"$big\":1000000}"));
	assert_true(a.result.n > 131072 / 3 * 4);
	buf_free(&a.result);
}

static void too_slow(void **state)
{
	(void)state;
	struct principal ann = fixture_ann();
	struct head head;
	struct query_answer a = {0};
	sql(theirs,
		"DELETE FROM kinds; WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c "
		"WHERE "
		"i < 30000) INSERT INTO kinds(id, t) SELECT i, hex(zeroblob(50)) FROM c");
	struct query_wish wish = {
		.shape = {.where = STR("[\"like\",\"t\",\"%0%0%0%0%1%\"]")}, .limit = 1};
	assert_int_equal(reading_begin(reading, 1, &head), ERR_OK);
	assert_int_equal(query_run(reading, d, kinds, &ann, &wish, &a), ERR_TIMEOUT);
	assert_string_equal(a.problem.why.reason, "query_too_slow");
	reading_end(reading);
}

int main(void)
{
	random_begin();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_at_random),
		cmocka_unit_test(answers),
		cmocka_unit_test(cursors),
		cmocka_unit_test(large_rows),
		cmocka_unit_test(ranges),
		cmocka_unit_test(too_slow),
	};
	return cmocka_run_group_tests(tests, begin, end);
}
