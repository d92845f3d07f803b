/* What a feed does at its limits: rows and transactions that are large, tables that are, readers that come too late,
 * statements that may not be, or take too long. */
#include "dataset_readers.h"

static const struct wish all_todos = {.table = "todos", .read = "1", .user = "x", .oracle = "1"};

static void step(struct reading *reading, struct reader *r)
{
	begin(reading);
	take_step(r, reading);
	reading_end(reading);
}

static void note(struct reader *r)
{
	note_visible(&r, 1);
	note_end(&r, 1, true);
}

/* ---- large ---- */

static void tell_sizes(void *context, const struct shape *s, const struct str *parts,
	size_t part_count, const struct window *have)
{
	(void)s;
	(void)have;
	size_t *told = context;
	for (size_t i = 0; i < part_count; i++) {
		assert_true(parts[i].n < 250 * 1024);
		told[0] += parts[i].n;
		told[1] += strstr(parts[i].p, "\"$big\"") != NULL;
	}
}

static void a_large_row_has_large_cells_apart(void **state)
{
	(void)state;
	struct reading *reading = open_reading();
	struct live *live = live_new(reading);
	struct reader *r = new_reader(&all_todos, 0);
	step(reading, r);
	int64_t from = begin(reading).seq;
	assert_int_equal(live_add(live, r->s, NULL), ERR_OK);
	reading_end(reading);
	run("INSERT INTO todos(id, title, v) VALUES(1, hex(zeroblob(70000)), zeroblob(100000))");
	note(r);
	step(reading, r);
	compare(r);
	size_t told[2] = {0};
	bool leap = true;
	int64_t upto = begin(reading).seq;
	assert_int_equal(live_step(live, from, upto, tell_sizes, told, &leap), ERR_OK);
	reading_end(reading);
	assert_false(leap);
	assert_true(told[0] > 100000 && told[1] == 1);
	start_anew(r);
	step(reading, r);
	compare(r);
	free_reader(r);
	live_free(&live);
	reading_close(&reading);
}

static void a_large_transaction_is_merged(void **state)
{
	(void)state;
	struct reading *reading = open_reading();
	struct live *live = live_new(reading);
	struct reader *r = new_reader(&all_todos, 0);
	run("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) "
	    "INSERT INTO todos(id, owner, n) SELECT i, 'ann', 0 FROM n");
	step(reading, r);
	int64_t from = begin(reading).seq;
	assert_int_equal(live_add(live, r->s, NULL), ERR_OK);
	reading_end(reading);
	note(r);
	run("BEGIN");
	for (int i = 0; i < 100; i++)
		run("UPDATE todos SET n = n + 1");
	run("DELETE FROM todos WHERE id > 400; COMMIT");
	bool leap = false;
	size_t told[2] = {0};
	int64_t upto = begin(reading).seq;
	assert_true(upto - from > 50000);
	assert_int_equal(live_step(live, from, upto, tell_sizes, told, &leap), ERR_OK);
	reading_end(reading);
	assert_true(leap && told[0] == 0);
	step(reading, r);
	compare(r);
	assert_int_equal(r->resets, 0);
	assert_true(r->result->count < 3);
	for (int i = 0; i < 300; i++)
		run("UPDATE todos SET n = n + 1");
	step(reading, r);
	assert_int_equal(r->resets, 1);
	free_reader(r);
	live_free(&live);
	reading_close(&reading);
}

/* Rows as they were and as they are lie in memory while it is looked who sees them: not more than some. */
static void images_have_a_limit(void **state)
{
	(void)state;
	struct reading *reading = open_reading();
	struct live *live = live_new(reading);
	const struct wish wish = {
		.table = "todos", .read = "n = 7", .user = "x", .oracle = "n = 7"};
	struct reader *r = new_reader(&wish, 0);
	run("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30) "
	    "INSERT INTO todos(id, n, v) SELECT i, 0, zeroblob(1000000) FROM n");
	note(r);
	step(reading, r);
	int64_t from = begin(reading).seq;
	assert_int_equal(live_add(live, r->s, NULL), ERR_OK);
	reading_end(reading);
	run("UPDATE todos SET n = 1");
	sqlite3_memory_highwater(1);
	int64_t before = sqlite3_memory_used();
	bool leap = false;
	size_t told[2] = {0};
	int64_t upto = begin(reading).seq;
	assert_int_equal(live_step(live, from, upto, tell_sizes, told, &leap), ERR_OK);
	reading_end(reading);
	assert_true(leap);
	step(reading, r);
	assert_int_equal(r->resets, 1);
	assert_true(sqlite3_memory_highwater(0) - before < 16 << 20);
	step(reading, r);
	run("UPDATE todos SET n = 2 WHERE id = 1");
	for (int i = 0; i < 30; i++) /* of one row only the first and the last */
		run("UPDATE todos SET n = n + 1 WHERE id = 1");
	step(reading, r);
	assert_int_equal(r->resets, 1);
	free_reader(r);
	live_free(&live);
	reading_close(&reading);
}

/* However large the table is, a step reads and holds one page of it. */
static void a_large_table_comes_in_pages(void **state)
{
	(void)state;
	enum { ROWS = 200000 };
	run("CREATE TABLE large(id INTEGER PRIMARY KEY, text TEXT, n INTEGER)");
	run("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) "
	    "INSERT INTO large SELECT i, 'row ' || i, i % 7 FROM n");
	char why[CAPTURE_WHY_MAX] = "";
	bool changed = false;
	const struct str table = STR("large");
	assert_int_equal(capture_ensure(db, &table, 1, false, &changed, why), ERR_OK);
	const struct wish wish = {
		.table = "large", .read = "n < 6", .user = "x", .oracle = "n < 6"};
	struct reading *reading = open_reading();
	struct shape *s = make_shape(&wish, 0);
	struct step_result *last = NULL, *result = NULL;
	struct standing_at at = {.seq = -1};
	size_t pages = 0, rows = 0;
	sqlite3_memory_highwater(1);
	int64_t before = sqlite3_memory_used();
	while (!at.whole) {
		begin(reading);
		assert_int_equal(step_take(reading, s, &at, &result), ERR_OK);
		reading_end(reading);
		assert_int_equal(result->count, 1);
		assert_true(result->messages[0].body.n < 66 * 1024);
		for (const char *p = result->messages[0].body.p; (p = strstr(p, "\"row ")); p++)
			rows++;
		step_result_unref(&last);
		last = result;
		at = result->next;
		pages++;
	}
	assert_int_equal(rows, ROWS - ROWS / 7);
	assert_true(pages > 100);
	assert_true(sqlite3_memory_highwater(0) - before < 4 << 20);
	step_result_unref(&last);
	shape_unref(&s);
	reading_close(&reading);
}

/* A rule for which no page of rows is found in time: the table is walked through, some of it with each step. */
static void a_slow_rule_comes_to_its_end(void **state)
{
	(void)state;
	run("CREATE TABLE large(id INTEGER PRIMARY KEY, text TEXT)");
	run("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) "
	    "INSERT INTO large SELECT i, '{\"a\":' || (i / 200000) || '}' FROM n");
	char why[CAPTURE_WHY_MAX] = "";
	bool changed = false;
	const struct str table = STR("large");
	assert_int_equal(capture_ensure(db, &table, 1, false, &changed, why), ERR_OK);
	const struct wish wish = {.table = "large",
		.read = "json_extract(text, '$.a') = 1",
		.user = "x",
		.oracle = "id = 200000"};
	struct reading *reading = open_reading();
	struct reader *r = new_reader(&wish, 0);
	struct head head;
	note(r);
	size_t steps = 0;
	for (; !r->at.whole; steps++) {
		assert_int_equal(reading_begin(reading, 10, &head), ERR_OK);
		take_step(r, reading);
		reading_end(reading);
		run("UPDATE large SET text = text WHERE id < 3");
	}
	assert_true(steps > 1);
	compare(r);
	free_reader(r);
	reading_close(&reading);
}

/* ---- too late ---- */

static enum step_reset reset_of(struct reading *reading, struct reader *r)
{
	struct step_result *result = NULL;
	begin(reading);
	assert_int_equal(step_take(reading, r->s, &r->at, &result), ERR_OK);
	reading_end(reading);
	enum step_reset reset = result->reset;
	assert_true(!reset || (result->count == 0 && !result->at_head && result->next.seq < 0));
	step_result_unref(&result);
	return reset;
}

static void who_comes_too_late_begins_anew(void **state)
{
	(void)state;
	struct reading *reading = open_reading();
	struct reader *r = new_reader(&all_todos, 0);
	run("INSERT INTO todos(id) VALUES(1), (2), (3)");
	step(reading, r);
	run("DELETE FROM todos");
	int64_t head = head_seq();
	bool more = true;
	assert_int_equal(reset_of(reading, r), RESET_NONE);
	while (more)
		assert_int_equal(capture_prune(db, head, 1000, &more), ERR_OK);
	assert_int_equal(reset_of(reading, r), RESET_PRUNED);
	r->at.seq = head;
	assert_int_equal(reset_of(reading, r), RESET_NONE);
	r->at.seq = head + 1;
	assert_int_equal(reset_of(reading, r), RESET_EPOCH);
	r->at.seq = head;
	run("ALTER TABLE todos ADD COLUMN more");
	char why[CAPTURE_WHY_MAX] = "";
	bool changed = false;
	const struct str table = STR("todos");
	assert_int_equal(capture_ensure(db, &table, 1, false, &changed, why), ERR_OK);
	assert_int_equal(reset_of(reading, r), RESET_SCHEMA);
	free_reader(r);
	reading_close(&reading);
}

/* ---- only that something has changed ---- */

static void tell_notice(void *context, const struct shape *s, const struct str *parts,
	size_t part_count, const struct window *have)
{
	(void)parts;
	assert_true(s->notify && part_count == 0 && !have);
	(*(size_t *)context)++;
}

static void who_wants_no_rows_gets_none(void **state)
{
	(void)state;
	const struct wish wish = {.table = "todos",
		.read = "owner = :user",
		.user = "ann",
		.notify = true,
		.oracle = "1"};
	struct reading *reading = open_reading();
	struct live *live = live_new(reading);
	struct reader *r = new_reader(&wish, 0);
	step(reading, r);
	assert_true(r->at.whole && r->notices == 0);
	int64_t from = begin(reading).seq;
	assert_int_equal(live_add(live, r->s, NULL), ERR_OK);
	reading_end(reading);
	static const char *const changes[] = {"INSERT INTO todos(id, owner) VALUES(1, 'bob')",
		"INSERT INTO todos(id, owner) VALUES(2, 'ANN')", "DELETE FROM todos WHERE id = 1",
		"UPDATE todos SET owner = 'bob' WHERE id = 2"};
	size_t notices = 0, told = 0;
	for (size_t i = 0; i < 4; i++) {
		run(changes[i]);
		step(reading, r);
		bool leap = true;
		int64_t upto = begin(reading).seq;
		assert_int_equal(live_step(live, from, upto, tell_notice, &told, &leap), ERR_OK);
		reading_end(reading);
		from = upto;
		notices += i % 2;
		assert_int_equal(r->notices, notices);
		assert_int_equal(told, notices);
	}
	free_reader(r);
	live_free(&live);
	reading_close(&reading);
}

/* ---- what stays ---- */

static int64_t temporary(struct reading *reading)
{
	sqlite3_stmt *stmt = NULL;
	begin(reading);
	assert_int_equal(
		reading_statement(reading, STR("SELECT count(*) FROM sqlite_temp_schema"), &stmt),
		ERR_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	int64_t n = sqlite3_column_int64(stmt, 0);
	reading_release(stmt);
	reading_end(reading);
	return n;
}

/* Each time that the first comes there is an index for it, which goes with the last. */
static void who_has_gone_leaves_no_index(void **state)
{
	(void)state;
	const struct wish wish = {.table = "todos",
		.read = "owner = :user",
		.user = "ann",
		.oracle = "owner = 'ann'"};
	struct reading *reading = open_reading();
	struct live *live = live_new(reading);
	struct shape *s = make_shape(&wish, 0);
	int64_t first = 0;
	for (int i = 0; i < 20; i++) {
		begin(reading);
		assert_int_equal(live_add(live, s, NULL), ERR_OK);
		reading_end(reading);
		live_remove(live, s);
		first = first ? first : temporary(reading);
	}
	assert_int_equal(temporary(reading), first);
	shape_unref(&s);
	live_free(&live);
	reading_close(&reading);
}

/* ---- what may not be ---- */

static void nothing_but_reading_is_allowed(void **state)
{
	(void)state;
	static const char *const no[] = {"DELETE FROM main.todos", "UPDATE main.todos SET n = 1",
		"INSERT INTO main.members VALUES(1, 'x', 'y')", "DROP TABLE main.todos",
		"CREATE TABLE main.x(a)", "CREATE TEMP TABLE x(a)", "ATTACH 'x' AS x",
		"PRAGMA main.user_version = 5", "PRAGMA schema_version = 5",
		"PRAGMA journal_mode = DELETE", "SELECT load_extension('x')", "SELECT random()",
		"SELECT zeroblob(1000000000)", "DELETE FROM main._sb_ctx",
		"CREATE TEMP TRIGGER t AFTER INSERT ON main.todos BEGIN SELECT 1; END"};
	static const char *const yes[] = {
		"SELECT upper(owner) FROM main.todos", "SELECT count(*) FROM main.counts"};
	struct reading *reading = open_reading();
	sqlite3_stmt *stmt = NULL;
	begin(reading);
	for (size_t i = 0; i < sizeof(no) / sizeof(*no); i++)
		if (reading_statement(reading, str_of(no[i]), &stmt) != ERR_NOT_FOUND)
			fail_msg("%s", no[i]);
	for (size_t i = 0; i < sizeof(yes) / sizeof(*yes); i++) {
		if (reading_statement(reading, str_of(yes[i]), &stmt) != ERR_OK)
			fail_msg("%s: %s", yes[i], sqlite3_errmsg(reading->handle));
		reading_release(stmt);
	}
	reading_end(reading);
	reading_close(&reading);
}

/* The step is given up, everything else goes on; what is live catches up by steps then. */
static void what_takes_too_long_is_stopped(void **state)
{
	(void)state;
	const struct wish wish = {.table = "todos",
		.read = "EXISTS (SELECT 1 FROM members a, members b, members c, members d WHERE "
			"a.list + b.list + c.list + d.list = todos.n)",
		.user = "x",
		.depend = "members",
		.oracle = "1"};
	struct reading *reading = open_reading();
	struct live *live = live_new(reading);
	struct shape *s = make_shape(&wish, 0);
	struct head head;
	struct step_result *result = NULL;
	run("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) "
	    "INSERT INTO members SELECT i, 'ann', NULL FROM n");
	run("INSERT INTO todos(id, n) VALUES(1, 0)");
	assert_int_equal(reading_begin(reading, 50, &head), ERR_OK);
	struct standing_at at = {.seq = -1};
	assert_int_equal(step_take(reading, s, &at, &result), ERR_OVERLOADED);
	assert_null(reading_trouble(reading));
	reading_end(reading);
	struct head now = begin(reading);
	assert_int_equal(live_add(live, s, NULL), ERR_OK);
	reading_end(reading);
	run("UPDATE todos SET v = 1");
	bool leap = false;
	size_t told[2] = {0};
	assert_int_equal(reading_begin(reading, 50, &head), ERR_OK);
	assert_int_equal(live_step(live, now.seq, head.seq, tell_sizes, told, &leap), ERR_OK);
	reading_end(reading);
	assert_true(leap);
	shape_unref(&s);
	live_free(&live);
	reading_close(&reading);
}

/* Whoever can write a row cannot keep others from reading: a rule that fails for it is not fulfilled. */
static void a_row_that_a_rule_fails_for_is_not_seen(void **state)
{
	(void)state;
	const struct wish wish = {.table = "todos",
		.read = "json_extract(title, '$.owner') = :user OR title ->> 'all' OR abs(n) = 1 "
			"OR "
			"'x' LIKE title OR 'x' GLOB title",
		.user = "ann",
		.oracle = "CASE WHEN json_valid(title) THEN title ->> 'owner' = 'ann' OR title ->> "
			  "'all' "
			  "END OR n = -1 OR (length(title) < 257 AND 'x' LIKE title)"};
	struct reading *reading = open_reading();
	struct live *live = live_new(reading);
	struct reader *r = new_reader(&wish, 0);
	run("INSERT INTO todos(id, title) VALUES(1, '{\"owner\":\"ann\"}'), (2, 'no json'), "
	    "(3, '{\"owner\":\"bob\"}'), (4, '{\"all\":1}')");
	run("INSERT INTO todos(id, n) VALUES(5, -9223372036854775808), (6, -1)");
	run("INSERT INTO todos(id, title) VALUES(7, hex(zeroblob(200))), (8, 'X')");
	note(r);
	step(reading, r);
	compare(r);
	int64_t from = begin(reading).seq;
	assert_int_equal(live_add(live, r->s, NULL), ERR_OK);
	reading_end(reading);
	run("UPDATE todos SET title = '{', n = -9223372036854775808 WHERE id = 1");
	step(reading, r);
	compare(r);
	size_t told[2] = {0};
	bool leap = true;
	int64_t upto = begin(reading).seq;
	assert_int_equal(live_step(live, from, upto, tell_sizes, told, &leap), ERR_OK);
	reading_end(reading);
	assert_true(!leap && told[0] > 0);
	free_reader(r);
	live_free(&live);
	reading_close(&reading);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_large_row_has_large_cells_apart),
		test(a_large_transaction_is_merged),
		test(images_have_a_limit),
		test(a_large_table_comes_in_pages),
		test(a_slow_rule_comes_to_its_end),
		test(who_comes_too_late_begins_anew),
		test(who_wants_no_rows_gets_none),
		test(who_has_gone_leaves_no_index),
		test(nothing_but_reading_is_allowed),
		test(what_takes_too_long_is_stopped),
		test(a_row_that_a_rule_fails_for_is_not_seen),
	};
	return cmocka_run_group_tests_name("limits", tests, group_set_up, group_tear_down);
}
