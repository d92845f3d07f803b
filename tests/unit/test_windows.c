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

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(steps_move_windows),
		test(each_commit_moves_windows),
	};
	return cmocka_run_group_tests_name("windows", tests, group_set_up, group_tear_down);
}
