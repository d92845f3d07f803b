/* Where captures stood: in memory at once, in the store behind it, and there again after a start. */
#include "store_fixture.h"

#include "dataset/heads.h"

#include <sqlite3.h>

static struct known_head head(const char *epoch, int64_t seq, int64_t inode)
{
	struct known_head h = {
		.seq = seq, .inode = inode, .marks = "1:2 3:4", .history = "1:2:3:ff"};
	snprintf(h.epoch, sizeof(h.epoch), "%s", epoch);
	return h;
}

static void learn(const char *path, struct known_head h)
{
	heads_learn(str_of(path), &h);
}

static int64_t seq_of(const char *path)
{
	struct known_head h = {.seq = -2};
	return heads_known(str_of(path), &h) ? h.seq : -1;
}

static void load(void)
{
	struct buf problem = BUF_INIT(512);
	assert_int_equal(heads_load(&problem), ERR_OK);
	buf_free(&problem);
}

static void start_again(void)
{
	heads_save();
	heads_finish();
	load();
}

static void they_are_there_after_a_start(void **state)
{
	(void)state;
	open_store(NULL, QUEUE_MAX);
	load();
	assert_int_equal(seq_of("/a"), -1);
	learn("/a", head("first", 7, 11));
	learn("/b", head("other", 1, 12));
	learn("/a", head("second", 9, INT64_MAX));
	assert_int_equal(seq_of("/a"), 9);
	start_again();
	struct known_head h;
	assert_true(heads_known(STR("/a"), &h));
	assert_string_equal(h.epoch, "second");
	assert_string_equal(h.marks, "1:2 3:4");
	assert_string_equal(h.history, "1:2:3:ff");
	assert_true(h.seq == 9 && h.inode == INT64_MAX);
	assert_int_equal(seq_of("/b"), 1);
	heads_forget(STR("/a"));
	heads_forget(STR("/never"));
	assert_int_equal(seq_of("/a"), -1);
	start_again();
	assert_int_equal(seq_of("/a"), -1);
	learn("/a", head("third", 0, 1));
	start_again();
	assert_int_equal(seq_of("/a"), 0);
	size_t met = 0;
	char *path;
	for (size_t i = 0; (path = heads_next(&i)); met++)
		free(path);
	assert_int_equal(met, 2);
	heads_finish();
}

static void run_sql(const char *text)
{
	sqlite3 *db = NULL;
	assert_int_equal(sqlite3_open(place, &db), SQLITE_OK);
	assert_int_equal(sqlite3_busy_timeout(db, 5000), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

/* A file may have lost then what its readers have seen. */
static void a_machine_that_went_down_leaves_no_epoch(void **state)
{
	(void)state;
	struct known_head h;
	open_store(NULL, QUEUE_MAX);
	load();
	learn("/a", head("first", 7, 11));
	heads_save();
	heads_finish();
	run_sql("UPDATE dataset_heads SET boot = 'of another start'");
	load();
	assert_true(heads_known(STR("/a"), &h));
	assert_string_equal(h.epoch, "");
	assert_int_equal(h.seq, 7);
	start_again();
	assert_true(heads_known(STR("/a"), &h));
	assert_string_equal(h.epoch, "");
	learn("/a", head("second", 9, 11));
	start_again();
	assert_true(heads_known(STR("/a"), &h));
	assert_string_equal(h.epoch, "second");
	heads_finish();
}

/* More than one page of them; what is past the most is not remembered, and nothing breaks. */
static void there_is_a_most(void **state)
{
	(void)state;
	char path[32];
	open_store(NULL, QUEUE_MAX);
	load();
	for (int i = 0; i < HEADS_MAX + 10; i++) {
		snprintf(path, sizeof(path), "/%d", i);
		learn(path, head("e", i, i));
	}
	start_again();
	assert_int_equal(seq_of("/1023"), 1023);
	assert_int_equal(seq_of("/0"), 0);
	assert_int_equal(seq_of("/1024"), -1);
	heads_finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(they_are_there_after_a_start),
		test(a_machine_that_went_down_leaves_no_epoch),
		test(there_is_a_most),
	};
	return cmocka_run_group_tests(tests, group_set_up, group_tear_down);
}
