/* Windows: the first rows in an order, whoever moves into them and out of them; and views, which are always read so. */
#include "dataset_readers.h"

#define OF_ANN "list IN (SELECT list FROM members WHERE user = 'ann')"

static const struct wish wishes[] = {
	{.table = "todos",
		.read = "1",
		.user = "x",
		.order = "[\"n\"]",
		.limit = 5,
		.oracle = "1",
		.oracle_order = "n COLLATE BINARY, id"},
	{.table = "todos",
		.read = "owner = :user",
		.user = "ann",
		.order = "[\"-v\",\"title\"]",
		.limit = 3,
		.oracle = "owner = 'ann'",
		.oracle_order = "v COLLATE BINARY DESC, title COLLATE BINARY, id"},
	{.table = "todos",
		.read = "1",
		.user = "x",
		.where = "[\">\",\"n\",0]",
		.columns = "[\"owner\"]",
		.order = "[\"owner\"]",
		.limit = 4,
		.oracle = "n > 0",
		.oracle_order = "owner COLLATE BINARY, id"},
	{.table = "todos",
		.read = "list IN (SELECT list FROM members WHERE user = :user)",
		.user = "ann",
		.depend = "members",
		.order = "[\"-id\"]",
		.limit = 6,
		.oracle = OF_ANN,
		.oracle_order = "id DESC"},
	{.table = "pairs",
		.read = "1",
		.user = "x",
		.order = "[\"v\"]",
		.limit = 1000,
		.oracle = "1",
		.oracle_order = "v COLLATE BINARY, a COLLATE BINARY, b"},
	{.table = "counts", .read = "1", .user = "x", .depend = "todos", .oracle = "1"},
	{.table = "counts",
		.read = "most > 0",
		.user = "x",
		.depend = "todos",
		.order = "[\"-most\"]",
		.limit = 2,
		.oracle = "most > 0",
		.oracle_order = "most COLLATE BINARY DESC, list COLLATE BINARY"},
};
enum { WISHES = sizeof(wishes) / sizeof(*wishes) };

static void steps_move_windows(void **state)
{
	(void)state;
	by_steps(wishes, WISHES, 150);
}

static void each_commit_moves_windows(void **state)
{
	(void)state;
	by_live_feed(wishes, WISHES, 120);
}

/* ---- slow ones ---- */

struct heard {
	const struct shape *slow;
	size_t slow_told, others, unknown;
};

static void hear(void *context, const struct shape *s, const struct str *parts, size_t part_count,
	const struct window *have)
{
	struct heard *h = context;
	(void)parts;
	h->slow_told += s == h->slow;
	h->others += s != h->slow && part_count > 0;
	h->unknown += s == h->slow && part_count == 0 && !have;
}

static void live_until_head(
	struct reading *reading, struct live *live, int64_t *from, struct heard *heard)
{
	bool leap = true;
	int64_t upto = begin(reading).seq;
	assert_int_equal(live_step(live, *from, upto, hear, heard, &leap), ERR_OK);
	assert_false(leap);
	reading_end(reading);
	*from = upto;
}

static void add_stepped(struct reading *reading, struct live *live, struct reader *r)
{
	begin(reading);
	do
		take_step(r, reading);
	while (!r->at.whole);
	assert_int_equal(live_add(live, r->s, r->at.have), ERR_OK);
	reading_end(reading);
}

/* Nobody waits for a window that goes through a whole table: its readers hear that it has changed, once, and take steps. */
static void a_slow_window_is_not_read_live(void **state)
{
	(void)state;
	run("CREATE TABLE large(id INTEGER PRIMARY KEY, n INTEGER)");
	run("WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 100000) "
	    "INSERT INTO large SELECT i, i % 1000 FROM c");
	char why[CAPTURE_WHY_MAX] = "";
	bool changed = false;
	const struct str table = STR("large");
	assert_int_equal(capture_ensure(db, &table, 1, false, &changed, why), ERR_OK);
	const struct wish wish = {.table = "large",
		.read = "1",
		.user = "x",
		.order = "[\"-n\"]",
		.limit = 5,
		.oracle = "1",
		.oracle_order = "n DESC, id"};
	struct reading *reading = open_reading();
	struct live *live = live_new(reading);
	struct reader *slow = new_reader(&wish, 0), *fast = new_reader(&wishes[0], 1);
	struct heard heard = {.slow = slow->s};
	note_visible(&slow, 1);
	note_end(&slow, 1, true);
	add_stepped(reading, live, slow);
	add_stepped(reading, live, fast);
	assert_true(window_is_slow(slow->at.have) && !window_is_slow(fast->at.have));
	int64_t from = head_seq();
	run("BEGIN; UPDATE large SET n = 5000 WHERE id = 7; INSERT INTO todos(id) VALUES(1); "
	    "COMMIT");
	live_until_head(reading, live, &from, &heard);
	assert_true(heard.slow_told == 1 && heard.unknown == 1 && heard.others == 1);
	run("BEGIN; UPDATE large SET n = 6000 WHERE id = 8; INSERT INTO todos(id) VALUES(2); "
	    "COMMIT");
	live_until_head(reading, live, &from, &heard);
	assert_true(heard.slow_told == 1 && heard.others == 2);
	note_visible(&slow, 1);
	note_end(&slow, 1, true);
	live_remove(live, slow->s);
	add_stepped(reading, live, slow);
	compare(slow);
	run("DELETE FROM large WHERE id = 8");
	live_until_head(reading, live, &from, &heard);
	assert_true(heard.slow_told == 2 && heard.unknown == 2);
	free_reader(slow);
	free_reader(fast);
	live_free(&live);
	reading_close(&reading);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(steps_move_windows),
		test(each_commit_moves_windows),
		test(a_slow_window_is_not_read_live),
	};
	return cmocka_run_group_tests_name("windows", tests, group_set_up, group_tear_down);
}
