/* Readers of tables that others write to: what each has is what its query on the table gives, whenever it is up to date,
 * and it is told of no row that it could never see. By steps, and in step with each commit; for shapes that wait for one
 * value, for those that do not, for rules that look into other tables. */
#include "dataset_readers.h"

static const struct wish wishes[] = {
	{.table = "todos", .read = "1", .user = "ann", .oracle = "1"},
	{.table = "todos", .read = "owner = :user", .user = "ANN", .oracle = "owner = 'ANN'"},
	{.table = "todos", .read = "owner = :user", .user = "bob", .oracle = "owner = 'bob'"},
	{.table = "todos", .read = "owner = :user", .user = "5", .oracle = "owner = '5'"},
	{.table = "todos",
		.read = "1",
		.user = "x",
		.where = "[\"=\",\"owner\",5]",
		.oracle = "owner = 5"},
	{.table = "todos",
		.read = "1",
		.user = "x",
		.where = "[\"=\",\"n\",\"5\"]",
		.oracle = "n = '5'"},
	{.table = "todos",
		.read = "1",
		.user = "x",
		.where = "[\"=\",\"x\",5]",
		.columns = "[\"x\"]",
		.oracle = "x = 5"},
	{.table = "todos",
		.read = "1",
		.user = "x",
		.where = "[\"=\",\"v\",\"5\"]",
		.oracle = "v = '5'"},
	{.table = "todos",
		.read = "owner = :user AND n > 0",
		.user = "bob",
		.where = "[\"or\",[\"is-null\",\"v\"],[\"in\",\"v\",[1,\"5\"]]]",
		.columns = "[\"v\",\"n\"]",
		.oracle = "owner = 'bob' AND n > 0 AND (v IS NULL OR v IN (1, '5'))"},
	{.table = "pairs", .read = "1", .user = "ann", .oracle = "1"},
	{.table = "pairs", .read = "a = :user", .user = "A", .oracle = "a = 'A'"},
	{.table = "pairs",
		.read = "1",
		.user = "x",
		.where = "[\"=\",\"v\",\"5\"]",
		.columns = "[\"v\"]",
		.oracle = "v = '5'"},
	/* memberships */
	{.table = "todos",
		.read = "EXISTS (SELECT 1 FROM members m WHERE m.list = todos.list AND m.user = "
			":user)",
		.user = "ANN",
		.depend = "members",
		.oracle = "EXISTS (SELECT 1 FROM members m WHERE m.list = todos.list AND m.user = "
			  "'ANN')"},
	{.table = "todos",
		.read = "list IN (SELECT list FROM members WHERE user = :user AND role = "
			"'owner') OR owner = :user",
		.user = "bob",
		.depend = "members",
		.where = "[\"!=\",\"n\",1]",
		.oracle = "(list IN (SELECT list FROM members WHERE user = 'bob' AND role = "
			  "'owner') OR owner = 'bob') AND n <> 1"},
	{.table = "todos",
		.read = "EXISTS (SELECT 1 FROM members m WHERE m.list = todos.list) AND list IN "
			"(SELECT list FROM members WHERE user = :user)",
		.user = "eve",
		.depend = "members",
		.oracle = "list IN (SELECT list FROM members WHERE user = 'eve')"},
	{.table = "members",
		.read = "list IN (SELECT m.list FROM members m WHERE m.user = :user)",
		.user = "ann",
		.depend = "members",
		.oracle = "list IN (SELECT m.list FROM members m WHERE m.user = 'ann')"},
};
enum { WISHES = sizeof(wishes) / sizeof(*wishes) };

static void steps_lead_to_what_is_there(void **state)
{
	(void)state;
	by_steps(wishes, WISHES, 150);
}

static void each_commit_is_told(void **state)
{
	(void)state;
	by_live_feed(wishes, WISHES, 120);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(steps_lead_to_what_is_there),
		test(each_commit_is_told),
	};
	return cmocka_run_group_tests_name("steps", tests, group_set_up, group_tear_down);
}
