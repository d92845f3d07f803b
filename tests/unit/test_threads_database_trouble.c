/* database: a file that is not there yet, locked, replaced, put back from a copy, or whose table is gone: its datasets
 * say so, and are live again when it is over, without a gap or with a new beginning; nothing else waits for them. */
#include "database_fixture.h"

/* ---- the file ---- */

static void a_file_may_come_later(void **state)
{
	(void)state;
	struct subject *s = subject_attach("todos", "t");
	wait_until(s->count[TIDINGS_TROUBLE] == 1);
	struct dataset_status status = status_of(s);
	assert_int_equal(status.state, DATASET_TROUBLE);
	assert_string_equal(status.what, "there is no such file");
	make_file("PRAGMA journal_mode = WAL");
	wait_until(s->count[TIDINGS_LIVE] == 1);
	status = status_of(s);
	assert_int_equal(status.state, DATASET_LIVE);
	assert_string_equal(status.what, "");
	foreign_sql("INSERT INTO t VALUES (1, 1)");
	wait_until(s->at == 1);
	assert_int_equal(subject_now(s).count[TIDINGS_RESET], 0);
	nothing_is_wrong();
	subject_end(&s, false);
}

static void a_file_that_is_none_is_a_trouble(void **state)
{
	(void)state;
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, "this is no database, whatever its name says", 43), 43);
	close(fd);
	struct subject *s = subject_attach("todos", "t");
	wait_until(s->count[TIDINGS_TROUBLE] == 1);
	struct dataset_status status = status_of(s);
	assert_string_equal(status.what, "the database is damaged");
	assert_int_equal(unlink(path), 0);
	make_file("PRAGMA journal_mode = WAL");
	wait_until(s->count[TIDINGS_LIVE] == 1);
	nothing_is_wrong();
	subject_end(&s, false);
}

/* Nobody can read it: readers stay where they are, and go on from there. A write waits as long as it may. */
static void try_write(struct write_job *j, sqlite3 *db, const struct layout *layout)
{
	(void)layout;
	int rc = sqlite3_exec(db, "INSERT INTO t VALUES (300, 1)", NULL, NULL, NULL);
	j->err = (rc & 0xff) == SQLITE_BUSY ? ERR_OVERLOADED : rc ? ERR_INTERNAL : ERR_OK;
}

static sem_t tried;

static void is_tried(struct write_job *j)
{
	(void)j;
	sem_post(&tried);
}

static void write_at_home(void *context)
{
	expect(database_write(context) == ERR_OK);
}

static void a_locked_file_is_waited_for(void **state)
{
	(void)state;
	make_file("PRAGMA journal_mode = DELETE");
	sem_init(&tried, 0, 0);
	struct subject *s = subject_attach("todos", "t");
	wait_until(s->count[TIDINGS_LIVE] == 1);
	begin_readers(s, 1, "", all_hear);
	wait_until(all_are_there());
	struct write_job job = {.attached = s->attached, .run = try_write, .done = is_tried};
	foreign_sql("BEGIN EXCLUSIVE");
	foreign_sql("INSERT INTO t VALUES (1, 1)");
	at_home(write_at_home, &job);
	wait_until(s->count[TIDINGS_TROUBLE] == 1);
	assert_string_equal(status_of(s).what, "another program has locked the database");
	sem_wait(&tried);
	assert_int_equal(job.err, ERR_OVERLOADED);
	at_home(write_at_home, &job);
	sem_wait(&tried);
	assert_int_equal(job.err, ERR_OVERLOADED); /* at once: it is in trouble */
	foreign_sql("COMMIT");
	wait_until(s->count[TIDINGS_LIVE] == 2 && all_are_there());
	at_home(write_at_home, &job);
	sem_wait(&tried);
	assert_int_equal(job.err, ERR_OK);
	wait_until(readers[0].ops == 2 && s->count[TIDINGS_RESET] + readers[0].resets == 0);
	assert_true(view_is_right(&readers[0], "1"));
	nothing_is_wrong();
	subject_end(&s, false);
	end_readers();
	sem_destroy(&tried);
}

/* ---- another history ---- */

static void copy_file(void)
{
	char text[PATH_BYTES + 20];
	snprintf(text, sizeof(text), "VACUUM INTO '%s'", copy_path);
	foreign_sql(text);
}

static void put_copy_back(void)
{
	char log[PATH_BYTES + 8];
	foreign_sql("close");
	snprintf(log, sizeof(log), "%s-wal", path);
	unlink(log);
	snprintf(log, sizeof(log), "%s-shm", path);
	unlink(log);
	assert_int_equal(rename(copy_path, path), 0);
}

/* A dataset that is live, and the epoch that it has. */
static struct subject *begin_with(char ret_epoch[EPOCH_BYTES + 1])
{
	make_file("PRAGMA journal_mode = WAL");
	struct subject *s = subject_attach("todos", "t");
	wait_until(s->count[TIDINGS_LIVE] == 1);
	memcpy(ret_epoch, subject_now(s).epoch, EPOCH_BYTES + 1);
	return s;
}

static void is_another_epoch(struct subject *s, const char *before, size_t lives)
{
	wait_until(s->count[TIDINGS_LIVE] == lives);
	assert_string_not_equal(subject_now(s).epoch, before);
	char epoch[EPOCH_BYTES + 1];
	memcpy(epoch, subject_now(s).epoch, sizeof(epoch));
	assert_int_equal(number("SELECT count(*) FROM _sb_ctx"), 1);
	assert_string_equal(status_of(s).epoch, epoch);
}

static void an_older_copy_is_another_epoch(void **state)
{
	(void)state;
	char before[EPOCH_BYTES + 1];
	struct subject *s = begin_with(before);
	begin_readers(s, 2, "[\">\",\"v\",1]", all_hear);
	wait_until(all_are_there());
	foreign_sql("INSERT INTO t VALUES (1, 1), (2, 2)");
	wait_until(readers[0].ops == 2 && readers[1].ops == 1);
	copy_file();
	foreign_sql("INSERT INTO t VALUES (3, 3)");
	wait_until(readers[0].ops == 3 && readers[1].ops == 2);
	put_copy_back();
	is_another_epoch(s, before, 2);
	assert_int_equal(subject_now(s).count[TIDINGS_RESET], 1);
	assert_int_equal(subject_now(s).reset, RESET_EPOCH);
	wait_until(all_are_there());
	assert_true(view_is_right(&readers[0], "1"));
	assert_true(view_is_right(&readers[1], "v > 1"));
	assert_int_equal(foreign_open(&foreign, path), 0);
	foreign_sql("INSERT INTO t VALUES (4, 4)");
	wait_until(readers[0].view[4] && readers[1].view[4]);
	nothing_is_wrong();
	subject_end(&s, false);
	end_readers();
}

/* The same, while nobody looked. */
static void an_older_copy_is_found_out_later(void **state)
{
	(void)state;
	char before[EPOCH_BYTES + 1];
	struct subject *s = begin_with(before);
	copy_file();
	foreign_sql("INSERT INTO t VALUES (1, 1)");
	wait_until(s->at == 1);
	subject_end(&s, false);
	put_copy_back();
	s = subject_attach("todos", "t");
	is_another_epoch(s, before, 1);
	memcpy(before, subject_now(s).epoch, sizeof(before));
	subject_end(&s, false);
	s = subject_attach("todos", "t"); /* nothing has happened */
	wait_until(s->count[TIDINGS_LIVE] == 1);
	assert_string_equal(subject_now(s).epoch, before);
	nothing_is_wrong();
	subject_end(&s, false);
}

/* Copied over the file while nobody looked, and written until its counter looks right. */
static void an_older_copy_that_went_on_is_found_out_later(void **state)
{
	(void)state;
	char before[EPOCH_BYTES + 1], command[2 * PATH_BYTES + 20];
	struct subject *s = begin_with(before);
	foreign_sql("INSERT INTO t VALUES (1, 1)");
	copy_file();
	foreign_sql("INSERT INTO t VALUES (2, 2)");
	wait_until(s->at == 2);
	subject_end(&s, false);
	foreign_sql("INSERT INTO t VALUES (3, 3)");
	s = subject_attach("todos", "t");
	wait_until(s->count[TIDINGS_LIVE] == 1 && s->at == 3);
	assert_string_equal(subject_now(s).epoch, before);
	subject_end(&s, false);
	databases_stop(); /* nobody has the file open any more */
	assert_int_equal(databases_start(), ERR_OK);
	foreign_sql("close");
	snprintf(command, sizeof(command), "cat %s > %s", copy_path, path);
	assert_int_equal(system(command), 0);
	assert_int_equal(foreign_open(&foreign, path), 0);
	foreign_sql("INSERT INTO t VALUES (7, 7), (8, 8), (9, 9)");
	assert_int_equal(number("SELECT seq FROM _sb_ctx"), 4);
	s = subject_attach("todos", "t");
	is_another_epoch(s, before, 1);
	nothing_is_wrong();
	subject_end(&s, false);
}

/* The same under the eyes of the service, between two looks. */
static void a_history_that_is_another_is_another_epoch(void **state)
{
	(void)state;
	char before[EPOCH_BYTES + 1];
	struct known_head known;
	struct subject *s = begin_with(before);
	foreign_sql("INSERT INTO t VALUES (1, 1), (2, 2)");
	while (!heads_known(str_of(path), &known) || known.seq < 2)
		sched_yield();
	foreign_sql("BEGIN; DELETE FROM t WHERE id = 2; DELETE FROM _sb_c1 WHERE seq > 1; "
		    "UPDATE _sb_ctx SET seq = 1; INSERT INTO t VALUES (7, 7), (8, 8); COMMIT");
	is_another_epoch(s, before, 2);
	assert_int_equal(subject_now(s).reset, RESET_EPOCH);
	nothing_is_wrong();
	subject_end(&s, false);
}

/* Restored into the same file. */
static void a_head_that_goes_back_is_another_epoch(void **state)
{
	(void)state;
	char before[EPOCH_BYTES + 1];
	struct subject *s = begin_with(before);
	foreign_sql("INSERT INTO t VALUES (1, 1), (2, 2)");
	wait_until(s->at == 2);
	foreign_sql("BEGIN; DELETE FROM t WHERE id = 2; DELETE FROM _sb_c1 WHERE seq > 1; UPDATE "
		    "_sb_ctx "
		    "SET seq = 1; COMMIT");
	is_another_epoch(s, before, 2);
	assert_int_equal(subject_now(s).reset, RESET_EPOCH);
	nothing_is_wrong();
	subject_end(&s, false);
}

/* ---- the table ---- */

static void a_dropped_table_is_its_own_trouble(void **state)
{
	(void)state;
	make_file("PRAGMA journal_mode = WAL");
	foreign_sql("CREATE TABLE u(id INTEGER PRIMARY KEY, v INTEGER)");
	struct subject *s = subject_attach("todos", "t"), *other = subject_attach("others", "u");
	wait_until(s->count[TIDINGS_LIVE] == 1 && other->count[TIDINGS_LIVE] == 1);
	int64_t version = subject_now(s).version;
	foreign_sql("DROP TABLE t");
	wait_until(s->count[TIDINGS_TROUBLE] == 1);
	assert_int_equal(status_of(s).state, DATASET_TROUBLE);
	int64_t at = subject_now(other).at;
	foreign_sql("INSERT INTO u VALUES (1, 1)");
	wait_until(other->at > at);
	foreign_sql("CREATE TABLE t(id INTEGER PRIMARY KEY, v INTEGER)");
	wait_until(s->count[TIDINGS_LIVE] == 2);
	assert_int_equal(subject_now(s).count[TIDINGS_RESET], 1);
	assert_int_equal(subject_now(s).reset, RESET_SCHEMA);
	assert_true(subject_now(s).version != version);
	at = subject_now(s).at;
	foreign_sql("INSERT INTO t VALUES (7, 7)");
	wait_until(s->at > at);
	assert_int_equal(
		subject_now(other).count[TIDINGS_TROUBLE] + subject_now(other).count[TIDINGS_RESET],
		0);
	nothing_is_wrong();
	subject_end(&s, true);
	subject_end(&other, true);
}

static void a_new_column_is_a_new_beginning(void **state)
{
	(void)state;
	make_file("PRAGMA journal_mode = WAL");
	struct subject *s = subject_attach("todos", "t");
	wait_until(s->count[TIDINGS_LIVE] == 1);
	foreign_sql("ALTER TABLE t ADD COLUMN w TEXT");
	wait_until(s->count[TIDINGS_LIVE] == 2);
	assert_int_equal(subject_now(s).count[TIDINGS_RESET], 1);
	assert_int_equal(subject_now(s).reset, RESET_SCHEMA);
	assert_int_equal(subject_now(s).columns, 3);
	foreign_sql("CREATE TABLE something(else_ TEXT)"); /* which concerns nobody */
	foreign_sql("INSERT INTO t VALUES (1, 1, 'a')");
	wait_until(s->at == 1);
	assert_int_equal(subject_now(s).count[TIDINGS_RESET], 1);
	nothing_is_wrong();
	subject_end(&s, false);
}

/* Somebody has taken out what captures: what they then write is missed, so readers begin anew. */
static void a_capture_that_is_gone_is_made_again(void **state)
{
	(void)state;
	make_file("PRAGMA journal_mode = WAL");
	struct subject *s = subject_attach("todos", "t");
	wait_until(s->count[TIDINGS_LIVE] == 1);
	begin_readers(s, 1, "", all_hear);
	wait_until(all_are_there());
	foreign_sql("BEGIN; DROP TRIGGER _sb_c1_ai; INSERT INTO t VALUES (1, 1); COMMIT");
	wait_until(s->count[TIDINGS_LIVE] == 2);
	assert_int_equal(subject_now(s).reset, RESET_SCHEMA);
	assert_int_equal(number("SELECT count(*) FROM sqlite_schema WHERE name = '_sb_c1_ai'"), 1);
	nothing_is_wrong();
	subject_end(&s, false);
	end_readers();
}

/* ---- pruning ---- */

static void prune(int64_t keep_ms, int64_t keep_bytes, int64_t lag_max, int64_t hold_bytes)
{
	databases_configure(&(struct database_options){.keep_ms = keep_ms,
		.keep_bytes = keep_bytes,
		.lag_max = lag_max,
		.hold_bytes = hold_bytes,
		.poll_ms = 250,
		.readers = 2});
}

static void write_many(int count)
{
	char text[200];
	snprintf(text, sizeof(text),
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) "
		"INSERT OR REPLACE INTO t SELECT i %% %d, i FROM n",
		count, IDS);
	foreign_sql(text);
}

static void a_log_that_is_too_long_is_pruned(void **state)
{
	(void)state;
	make_file("PRAGMA journal_mode = WAL");
	prune(1LL << 40, 4000, 1 << 30, 1 << 30);
	struct subject *s = subject_attach("todos", "t");
	wait_until(s->count[TIDINGS_LIVE] == 1);
	database_slowest(s->attached, 100); /* somebody is still there */
	write_many(6000);
	int64_t head = number("SELECT seq FROM _sb_ctx");
	wait_until(s->at == head);
	while (number("SELECT floor FROM _sb_ctx") < 100)
		sched_yield();
	assert_int_equal(number("SELECT floor FROM _sb_ctx"), 100);
	database_slowest(s->attached, INT64_MAX);
	while (number("SELECT floor FROM _sb_ctx") == 100 ||
		number("SELECT count(*) - (SELECT seq - floor FROM _sb_ctx) FROM _sb_c1"))
		sched_yield();
	assert_true(number("SELECT floor FROM _sb_ctx") < head);
	assert_true(number("SELECT count(*) FROM _sb_c1") < 400);
	while (status_of(s).floor != number("SELECT floor FROM _sb_ctx"))
		sched_yield();
	assert_true(status_of(s).log_bytes < 20000);
	nothing_is_wrong();
	subject_end(&s, false);
}

static void a_log_that_is_too_old_is_pruned(void **state)
{
	(void)state;
	make_file("PRAGMA journal_mode = WAL");
	prune(50, 1LL << 40, 1000, 1LL << 40);
	struct subject *s = subject_attach("todos", "t");
	wait_until(s->count[TIDINGS_LIVE] == 1);
	database_slowest(s->attached, 0); /* so far behind that it is not waited for */
	write_many(3000);
	int64_t head = number("SELECT seq FROM _sb_ctx");
	while (number("SELECT floor FROM _sb_ctx") < head - 1000)
		sched_yield();
	assert_int_equal(number("SELECT floor FROM _sb_ctx"), head - 1000);
	nothing_is_wrong();
	subject_end(&s, false);
	prune(7LL * 24 * 3600 * 1000, 256 << 20, 1000000, 1 << 30);
}

/* A reader that stands still does not fill the disk. */
static void a_log_is_held_back_for_so_many_bytes(void **state)
{
	(void)state;
	make_file("PRAGMA journal_mode = WAL");
	prune(1LL << 40, 4000, 1 << 30, 40000);
	struct subject *s = subject_attach("todos", "t");
	wait_until(s->count[TIDINGS_LIVE] == 1);
	database_slowest(s->attached, 0);
	write_many(6000);
	while (number("SELECT floor FROM _sb_ctx") < 100)
		sched_yield();
	assert_true(number("SELECT seq - floor FROM _sb_ctx") > 1000);
	nothing_is_wrong();
	subject_end(&s, false);
	prune(7LL * 24 * 3600 * 1000, 256 << 20, 1000000, 1 << 30);
}

/* The floor is raised first: a process that ended behind that leaves the rest to the next. */
static void a_pruning_is_ended_by_the_next_process(void **state)
{
	(void)state;
	make_file("PRAGMA journal_mode = WAL");
	struct subject *s = subject_attach("todos", "t");
	wait_until(s->count[TIDINGS_LIVE] == 1);
	write_many(3000);
	subject_end(&s, false);
	foreign_sql("UPDATE _sb_ctx SET floor = seq - 100");
	s = subject_attach("todos", "t");
	wait_until(s->count[TIDINGS_LIVE] == 1);
	while (number("SELECT count(*) FROM _sb_c1") != 100)
		sched_yield();
	nothing_is_wrong();
	subject_end(&s, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		database_test(a_file_may_come_later),
		database_test(a_file_that_is_none_is_a_trouble),
		database_test(a_locked_file_is_waited_for),
		database_test(an_older_copy_is_another_epoch),
		database_test(an_older_copy_is_found_out_later),
		database_test(an_older_copy_that_went_on_is_found_out_later),
		database_test(a_history_that_is_another_is_another_epoch),
		database_test(a_head_that_goes_back_is_another_epoch),
		database_test(a_dropped_table_is_its_own_trouble),
		database_test(a_new_column_is_a_new_beginning),
		database_test(a_capture_that_is_gone_is_made_again),
		database_test(a_log_that_is_too_long_is_pruned),
		database_test(a_log_that_is_too_old_is_pruned),
		database_test(a_log_is_held_back_for_so_many_bytes),
		database_test(a_pruning_is_ended_by_the_next_process),
	};
	return run_database_tests(tests, sizeof(tests) / sizeof(*tests));
}
