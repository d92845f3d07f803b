/* watch: commits of another process are seen soon, in whatever mode the file is, and so is another file of its name. */
#include "dataset/watch.h"

#include "foreign_writer.h"

#include "core/clock.h"

#include <fcntl.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

enum { COMMITS = 24, LATE_MS = 10, POLL_MS = 5000, PATH_BYTES = 300 };

static struct foreign_writer writer;
static char folder[256], path[PATH_BYTES], other[PATH_BYTES];

static void run(const char *sql)
{
	int rc = foreign_run(&writer, sql);
	if (rc)
		fail_msg("%s: SQLite %d", sql, rc);
}

static void make_file(const char *at, const char *pragmas)
{
	assert_int_equal(foreign_open(&writer, at), 0);
	run(pragmas);
	run("CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
}

static struct watch *opened(void)
{
	const struct store_trouble *trouble = NULL;
	struct watch *w = watch_new(path);
	assert_non_null(w);
	assert_int_equal(watch_open(w, &trouble), ERR_OK);
	return w;
}

/* Nothing more is behind what has been written. */
static void settle(struct watch *w)
{
	while (watch_wait(w, 5))
		;
}

static int set_up(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/signalbox-watch-XXXXXX");
	if (!mkdtemp(folder))
		return 1;
	snprintf(path, sizeof(path), "%s/it.db", folder);
	snprintf(other, sizeof(other), "%s/new.db", folder);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	char command[PATH_BYTES];
	foreign_run(&writer, "close");
	snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command) != 0;
}

/* ---- commits ---- */

/* The median: a machine that is busy otherwise may let one of them wait. */
static void commits_are_seen(const char *pragmas)
{
	make_file(path, pragmas);
	struct watch *w = opened();
	int late = 0;
	for (int i = 0; i < COMMITS; i++) {
		settle(w);
		run("INSERT INTO t(v) VALUES (1)");
		int64_t begin = clock_steady_ms();
		unsigned what = 0;
		while (!((what |= watch_wait(w, POLL_MS)) & WATCH_CHANGED))
			assert_int_equal(what & WATCH_REPLACED, 0);
		late += clock_steady_ms() - begin > LATE_MS;
	}
	assert_true(late < COMMITS / 4);
	watch_free(&w);
	assert_null(w);
}

static void commits_are_seen_in_a_log(void **state)
{
	(void)state;
	commits_are_seen("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL");
}

static void commits_are_seen_in_a_log_that_is_synced(void **state)
{
	(void)state;
	commits_are_seen("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL");
}

static void commits_are_seen_behind_a_journal(void **state)
{
	(void)state;
	commits_are_seen("PRAGMA journal_mode=DELETE");
}

static void commits_are_seen_behind_a_journal_that_stays(void **state)
{
	(void)state;
	commits_are_seen("PRAGMA journal_mode=PERSIST");
}

static void commits_are_seen_behind_a_journal_that_is_emptied(void **state)
{
	(void)state;
	commits_are_seen("PRAGMA journal_mode=TRUNCATE");
}

/* A writer that fills its cache and has not committed is none, and its lock is left alone. */
static void what_is_not_committed_is_no_change(void **state)
{
	(void)state;
	make_file(path, "PRAGMA journal_mode=DELETE; PRAGMA cache_size=5");
	struct watch *w = opened();
	settle(w);
	run("BEGIN; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) "
	    "INSERT INTO t(v) SELECT zeroblob(500) FROM n");
	for (int i = 0; i < 20; i++)
		assert_int_equal(watch_wait(w, 5), 0);
	run("COMMIT");
	unsigned what = 0;
	while (!what)
		what = watch_wait(w, POLL_MS);
	assert_int_equal(what, WATCH_CHANGED);
	watch_free(&w);
}

static void a_wake_ends_the_wait(void **state)
{
	(void)state;
	make_file(path, "PRAGMA journal_mode=WAL");
	struct watch *w = opened();
	settle(w);
	assert_int_equal(watch_wait(w, 1), 0);
	watch_wake(w);
	watch_wake(w);
	assert_int_equal(watch_wait(w, POLL_MS), WATCH_WOKEN);
	assert_int_equal(watch_wait(w, 1), 0);
	watch_free(&w);
}

/* ---- the file ---- */

static void a_file_that_comes_later_is_seen(void **state)
{
	(void)state;
	const struct store_trouble *trouble = NULL;
	struct watch *w = watch_new(path);
	assert_int_equal(watch_open(w, &trouble), ERR_NOT_FOUND);
	assert_int_equal(watch_wait(w, 1), 0);
	make_file(path, "PRAGMA journal_mode=WAL");
	assert_int_equal(watch_wait(w, POLL_MS), WATCH_REPLACED);
	assert_int_equal(watch_open(w, &trouble), ERR_OK);
	watch_free(&w);
}

static void another_file_of_the_name_is_seen(void **state)
{
	(void)state;
	const struct store_trouble *trouble = NULL;
	make_file(path, "PRAGMA journal_mode=DELETE");
	run("close");
	make_file(other, "PRAGMA journal_mode=DELETE");
	struct watch *w = opened();
	unsigned long long inode = watch_inode(w);
	settle(w);
	assert_int_equal(rename(other, path), 0);
	assert_int_equal(watch_wait(w, POLL_MS), WATCH_REPLACED);
	assert_int_equal(watch_open(w, &trouble), ERR_OK);
	assert_true(watch_inode(w) != inode);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(watch_wait(w, POLL_MS), WATCH_REPLACED);
	assert_int_equal(watch_open(w, &trouble), ERR_NOT_FOUND);
	watch_free(&w);
}

/* Its log is beside the file that the link leads to. */
static void a_link_is_watched_where_it_leads(void **state)
{
	(void)state;
	char real[PATH_BYTES + 20];
	snprintf(real, sizeof(real), "%s/real", folder);
	assert_int_equal(mkdir(real, 0700), 0);
	snprintf(real, sizeof(real), "%s/real/that.db", folder);
	make_file(real, "PRAGMA journal_mode=WAL");
	assert_int_equal(symlink(real, path), 0);
	struct watch *w = opened();
	settle(w);
	run("INSERT INTO t(v) VALUES (1)");
	assert_int_equal(watch_wait(w, POLL_MS), WATCH_CHANGED);
	watch_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(commits_are_seen_in_a_log, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			commits_are_seen_in_a_log_that_is_synced, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			commits_are_seen_behind_a_journal, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			commits_are_seen_behind_a_journal_that_stays, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			commits_are_seen_behind_a_journal_that_is_emptied, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			what_is_not_committed_is_no_change, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_wake_ends_the_wait, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_file_that_comes_later_is_seen, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			another_file_of_the_name_is_seen, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_link_is_watched_where_it_leads, set_up, tear_down),
	};
	if (!foreign_start(&writer))
		return 1;
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	foreign_stop(&writer);
	return failed;
}
