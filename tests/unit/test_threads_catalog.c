/* catalog: a process that has no threads or open files left has datasets in trouble, and no other harm; of a file with
 * many datasets nothing is taken out that one of them needs. */
#include "database_fixture.h"

#include "dataset/capture.h"
#include "dataset/catalog.h"
#include "dataset/feed.h"
#include "dataset/leftovers.h"
#include "dataset/past.h"

#include <sys/resource.h>
#include <unistd.h>

static rlim_t limit_files(rlim_t count)
{
	struct rlimit limit;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	rlim_t before = limit.rlim_cur;
	limit.rlim_cur = count;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	return before;
}

/* As many as there are, and not one more. */
static rlim_t take_all_files(void)
{
	int next = dup(0);
	assert_true(next > 0);
	close(next);
	return limit_files((rlim_t)next);
}

static void until_state(enum dataset_state state, struct dataset_status *ret)
{
	struct listed l;
	do {
		sched_yield();
		assert_true(catalog_listed(STR("todos"), &l));
		*ret = l.status;
		definition_unref(&l.definition);
	} while (ret->state != state);
}

static int start_workers(void **state)
{
	(void)state;
	static const struct worker_part *const parts[] = {
		&catalog_part, &past_part, &feed_part, NULL};
	snprintf(folder, sizeof(folder), "/tmp/signalbox-catalog-XXXXXX");
	if (!mkdtemp(folder))
		return 1;
	snprintf(path, sizeof(path), "%s/it.db", folder);
	return databases_start() ||
		workers_start(&(struct workers_options){
			.count = WORKERS, .calls_max = 1000, .parts = parts});
}

static int stop_workers(void **state)
{
	(void)state;
	foreign_run(&foreign, "close");
	workers_drain(5000);
	catalog_end();
	databases_stop();
	workers_stop();
	catalog_finish();
	heads_finish();
	remove_folder();
	return 0;
}

static struct definition *configure(void)
{
	struct definition *d = definition_new(&(struct definition){.name = STR("todos"),
		.database = str_of(path),
		.table = STR("t"),
		.configured = true,
		.rules[RULE_READ] = STR("1")});
	catalog_configure(&d, 1);
	return d;
}

static void one_that_cannot_be_attached_is_in_trouble_until_it_can(void **state)
{
	(void)state;
	struct dataset_status status;
	make_file("PRAGMA journal_mode = WAL");
	struct definition *d = configure();
	rlim_t before = take_all_files();
	catalog_begin(true);
	until_state(DATASET_TROUBLE, &status);
	limit_files(before);
	assert_non_null(strstr(status.what, "open files"));
	until_state(DATASET_LIVE, &status);
	definition_unref(&d);
}

static void one_that_cannot_be_attached_can_be_taken_away(void **state)
{
	(void)state;
	struct dataset_status status;
	struct listed l;
	make_file("PRAGMA journal_mode = WAL");
	struct definition *d = configure();
	rlim_t before = take_all_files();
	catalog_begin(true);
	until_state(DATASET_TROUBLE, &status);
	catalog_configure(NULL, 0);
	while (catalog_listed(STR("todos"), &l))
		definition_unref(&l.definition);
	limit_files(before);
	definition_unref(&d);
}

static void capture(const char *table)
{
	sqlite3 *db = NULL;
	struct str name = str_of(table);
	bool changed = false;
	char why[CAPTURE_WHY_MAX];
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(capture_ensure(db, &name, 1, false, &changed, why), ERR_OK);
	sqlite3_close(db);
}

static void what_many_need_stays(void **state)
{
	(void)state;
	enum { MANY = 300 };
	struct definition *list[MANY];
	char why[LEFTOVERS_WHY_MAX], name[16];
	make_file("PRAGMA journal_mode = WAL");
	foreign_sql("CREATE TABLE u(id INTEGER PRIMARY KEY)");
	foreign_sql("CREATE TABLE gone(id INTEGER PRIMARY KEY)");
	capture("t");
	capture("u");
	capture("gone");
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "d%03d", i);
		list[i] = definition_new(&(struct definition){.name = str_of(name),
			.database = str_of(path),
			.table = i + 1 < MANY ? STR("t") : STR("u"),
			.configured = true,
			.rules[RULE_READ] = STR("1")});
	}
	catalog_configure(list, MANY);
	assert_true(leftovers_take(str_of(path), why));
	assert_int_equal(number("SELECT count(*) FROM _sb_tables"), 2);
	assert_int_equal(number("SELECT count(*) FROM _sb_tables WHERE name IN ('t', 'u')"), 2);
	for (int i = 0; i < MANY; i++)
		definition_unref(&list[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_many_need_stays, start_workers, stop_workers),
		cmocka_unit_test_setup_teardown(
			one_that_cannot_be_attached_is_in_trouble_until_it_can, start_workers,
			stop_workers),
		cmocka_unit_test_setup_teardown(
			one_that_cannot_be_attached_can_be_taken_away, start_workers, stop_workers),
	};
	return run_database_tests(tests, sizeof(tests) / sizeof(*tests));
}
