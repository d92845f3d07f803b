/* database: what other processes write comes as tidings, in order and without a hole; whoever joins does it between two
 * of them; our own writes have one queue; detaching waits for what is under way, and leaves no trace where it is to. */
#include "database_fixture.h"

enum { JOINS = 2000, ROUNDS = 60 };

/* ---- tidings ---- */

static void foreign_writes_come_as_tidings(const char *pragmas)
{
	make_file(pragmas);
	foreign_sql("INSERT INTO t VALUES (1, 10), (2, 20)");
	struct subject *s = subject_attach("todos", "t");
	wait_until(s->count[TIDINGS_LIVE] == 1);
	assert_int_equal(status_of(s).state, DATASET_LIVE);
	assert_int_equal(subject_now(s).columns, 2);
	begin_readers(s, 2, "[\">\",\"v\",15]", all_hear);
	wait_until(all_are_there());
	foreign_sql("INSERT INTO t VALUES (3, 30)");
	wait_until(readers[0].ops == 1 && readers[1].ops == 1);
	foreign_sql("UPDATE t SET v = 5 WHERE id = 2");
	foreign_sql("BEGIN; DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (4, 1); COMMIT");
	wait_until(readers[0].ops == 4 && readers[1].ops == 2);
	assert_true(view_is_right(&readers[0], "1"));
	assert_true(view_is_right(&readers[1], "v > 15"));
	assert_int_equal(subject_now(s).at, number("SELECT seq FROM _sb_ctx"));
	assert_int_equal(
		subject_now(s).count[TIDINGS_LEAP] + subject_now(s).count[TIDINGS_TROUBLE], 0);
	nothing_is_wrong();
	subject_end(&s, false);
	end_readers();
	assert_int_equal(number("SELECT count(*) FROM sqlite_schema WHERE name = '_sb_ctx'"), 1);
}

static void foreign_writes_come_from_a_log(void **state)
{
	(void)state;
	foreign_writes_come_as_tidings("PRAGMA journal_mode = WAL");
}

static void foreign_writes_come_from_behind_a_journal(void **state)
{
	(void)state;
	foreign_writes_come_as_tidings("PRAGMA journal_mode = DELETE");
}

/* ---- joins and writes at once ---- */

static atomic_bool stop;
static size_t joins;

static void *write_on(void *context)
{
	struct foreign_writer *w = context;
	char text[300];
	for (int i = 0; !atomic_load(&stop); i++) {
		snprintf(text, sizeof(text),
			"BEGIN IMMEDIATE; INSERT INTO t VALUES (%d, %d) ON CONFLICT(id) DO UPDATE "
			"SET v "
			"= v + 1;"
			"DELETE FROM t WHERE id = %d; %s",
			(i * 7919) % IDS, i % 100, (i * 104729) % IDS,
			i % 5 ? "COMMIT" : "ROLLBACK");
		expect(foreign_run(w, text) == 0);
	}
	return NULL;
}

/* Joined, it hears some tidings, leaves, and comes again: from where it is, or from nothing. */
static void come_and_go(struct subject *s, const struct tidings *t)
{
	static unsigned turn;
	for (size_t i = 0; i < READERS; i++) {
		struct reader *r = &readers[i];
		if (r->live && !r->resting && ++turn % 3 == 0) {
			joins++;
			r->resting = joins >= JOINS; /* until it is told what the others are */
			reader_hears(r, t);
			if (r->resting)
				continue;
			reader_leave(r);
			if (turn % 16 == 0)
				reader_anew(r);
			reader_go_on(r);
		} else {
			reader_hears(r, t);
		}
	}
	(void)s;
}

static bool all_are_at(int64_t seq)
{
	bool there = all_are_there();
	for (size_t i = 0; i < READERS; i++)
		there &= readers[i].seq == seq;
	return there;
}

static void set_quiet(void *context)
{
	struct subject *s = context;
	pthread_mutex_lock(&seen_lock);
	s->heard = all_hear;
	for (size_t i = 0; i < READERS; i++) {
		readers[i].resting = false;
		reader_go_on(&readers[i]);
	}
	pthread_mutex_unlock(&seen_lock);
}

static void joins_and_writes_have_no_hole(void **state)
{
	(void)state;
	pthread_t threads[2];
	make_file("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF");
	assert_int_equal(foreign_open(&foreign2, path), 0);
	struct subject *s = subject_attach("todos", "t");
	wait_until(s->count[TIDINGS_LIVE] == 1);
	joins = 0;
	begin_readers(s, READERS, "[\"<\",\"v\",50]", come_and_go);
	atomic_store(&stop, false);
	pthread_create(&threads[0], NULL, write_on, &foreign);
	pthread_create(&threads[1], NULL, write_on, &foreign2);
	wait_until(joins >= JOINS);
	atomic_store(&stop, true);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	at_home(set_quiet, s);
	int64_t head = number("SELECT seq FROM _sb_ctx");
	wait_until(all_are_at(head));
	for (size_t i = 0; i < READERS; i++)
		assert_true(view_is_right(&readers[i], i % 2 ? "v < 50" : "1"));
	nothing_is_wrong();
	subject_end(&s, true);
	end_readers();
}

/* ---- our own writes ---- */

struct mine {
	struct write_job job;
	int64_t id;
	sem_t *answered;
	int rc;
};

static void write_row(struct write_job *j, sqlite3 *db, const struct layout *layout)
{
	struct mine *m = (struct mine *)j;
	char text[100];
	expect(worker_self() == NULL && layout->count == 2);
	snprintf(text, sizeof(text), "INSERT INTO t VALUES (%d, 1)", (int)m->id);
	m->rc = sqlite3_exec(db, text, NULL, NULL, NULL);
	j->err = m->rc ? ERR_OVERLOADED : ERR_OK;
}

static void is_written(struct write_job *j)
{
	struct mine *m = (struct mine *)j;
	expect(worker_self()->index == 0);
	sem_post(m->answered);
}

static void write_at_home(void *context)
{
	struct mine *m = context;
	expect(database_write(&m->job) == ERR_OK);
}

static void own_writes_wake_at_once(void **state)
{
	(void)state;
	struct mine all[ROUNDS];
	sem_t answered;
	sem_init(&answered, 0, 0);
	make_file("PRAGMA journal_mode = WAL");
	struct subject *s = subject_attach("todos", "t");
	wait_until(s->count[TIDINGS_LIVE] == 1);
	begin_readers(s, 1, "", all_hear);
	wait_until(all_are_there());
	for (int i = 0; i < ROUNDS; i++) {
		all[i] = (struct mine){
			.job = {.attached = s->attached, .run = write_row, .done = is_written},
			.id = i,
			.answered = &answered};
		at_home(write_at_home, &all[i]);
	}
	for (int i = 0; i < ROUNDS; i++)
		sem_wait(&answered);
	for (int i = 0; i < ROUNDS; i++)
		assert_int_equal(all[i].job.err, ERR_OK);
	wait_until(readers[0].ops == ROUNDS);
	assert_true(view_is_right(&readers[0], "1"));
	assert_int_equal(number("SELECT count(*) FROM t"), ROUNDS);
	nothing_is_wrong();
	subject_end(&s, false);
	end_readers();
	sem_destroy(&answered);
}

/* ---- detaching ---- */

static atomic_int under_way;

static void count_rows(struct read_job *j, struct reading *r)
{
	sqlite3_stmt *stmt = NULL;
	if (sqlite3_prepare_v2(r->handle, "SELECT count(*) FROM t", -1, &stmt, NULL) != SQLITE_OK ||
		sqlite3_step(stmt) != SQLITE_ROW)
		j->err = ERR_INTERNAL;
	sqlite3_finalize(stmt);
}

static void is_counted(struct read_job *j)
{
	expect(j->err == ERR_OK || j->err == ERR_OVERLOADED);
	atomic_fetch_sub(&under_way, 1);
	free(j);
}

static void is_stepped(struct step_job *j)
{
	expect(j->err == ERR_OK || j->err == ERR_OVERLOADED);
	step_result_unref(&j->result);
	shape_unref((struct shape **)&j->shape);
	atomic_fetch_sub(&under_way, 1);
	free(j);
}

static void is_tried(struct write_job *j)
{
	atomic_fetch_sub(&under_way, 1);
	free(j);
}

static void try_write(struct write_job *j, sqlite3 *db, const struct layout *layout)
{
	(void)layout;
	sqlite3_exec(db, "INSERT OR REPLACE INTO t VALUES (1, 1)", NULL, NULL, NULL);
	j->err = ERR_OK;
}

static void ask_step(struct subject *s, bool join)
{
	struct step_job *j = mem_new(struct step_job);
	*j = (struct step_job){.attached = s->attached,
		.shape = shape_in(s, ""),
		.at = {.seq = -1},
		.done = is_stepped};
	atomic_fetch_add(&under_way, 1);
	if (join) {
		database_join(j);
	} else if (database_step(j)) {
		j->err = ERR_OVERLOADED;
		is_stepped(j);
	}
}

static void ask_much_and_detach(void *context)
{
	static unsigned drops;
	struct subject *s = context;
	if (!s->layout) /* is not live yet */
		s->layout = layout_new(&(struct layout){.table = STR("t"),
			.count = 1,
			.key_count = 1,
			.columns = &(struct column){.name = STR("id"), .key = 1},
			.key = &(size_t){0}});
	for (int i = 0; i < 4; i++) {
		ask_step(s, false);
		ask_step(s, true);
		struct read_job *r = mem_new(struct read_job);
		*r = (struct read_job){
			.attached = s->attached, .run = count_rows, .done = is_counted};
		struct write_job *w = mem_new(struct write_job);
		*w = (struct write_job){
			.attached = s->attached, .run = try_write, .done = is_tried};
		atomic_fetch_add(&under_way, 2);
		if (database_read(r)) {
			r->err = ERR_OVERLOADED;
			is_counted(r);
		}
		if (database_write(w))
			is_tried(w);
	}
	database_detach(&s->attached, drops++ % 2, is_detached, s);
}

static void detaching_waits_for_what_is_under_way(void **state)
{
	(void)state;
	make_file("PRAGMA journal_mode = WAL");
	for (int i = 0; i < ROUNDS; i++) {
		struct subject *s = subject_attach("todos", "t");
		if (i % 4)
			wait_until(s->count[TIDINGS_LIVE] == 1);
		at_home(ask_much_and_detach, s);
		wait_until(s->detached);
		assert_int_equal(atomic_load(&under_way), 0);
		subject_free(s);
	}
	nothing_is_wrong();
}

static void detaching_leaves_no_trace(void **state)
{
	(void)state;
	const char *ours =
		"SELECT count(*) FROM sqlite_schema WHERE name LIKE '\\_sb\\_%' ESCAPE '\\' "
		"OR sql LIKE '%\\_sb\\_%' ESCAPE '\\'";
	make_file("PRAGMA journal_mode = WAL");
	foreign_sql("CREATE TABLE u(id INTEGER PRIMARY KEY, v INTEGER)");
	struct subject *s = subject_attach("todos", "t"), *same = subject_attach("again", "t");
	struct subject *other = subject_attach("others", "u");
	wait_until(s->count[TIDINGS_LIVE] == 1 && other->count[TIDINGS_LIVE] == 1 &&
		same->count[TIDINGS_LIVE] == 1);
	assert_true(number(ours) > 0);
	subject_end(&s, true);
	foreign_sql("INSERT INTO t VALUES (1, 1)"); /* which another dataset still has captured */
	wait_until(same->at == 1 && other->at == 1);
	subject_end(&same, true);
	foreign_sql("INSERT INTO t VALUES (2, 1)");
	foreign_sql("INSERT INTO u VALUES (1, 1)");
	wait_until(other->at == 2);
	assert_int_equal(subject_now(other).count[TIDINGS_RESET], 0);
	subject_end(&other, true);
	assert_int_equal(number(ours), 0);
	foreign_sql("INSERT INTO t VALUES (3, 1)");
	nothing_is_wrong();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		database_test(foreign_writes_come_from_a_log),
		database_test(foreign_writes_come_from_behind_a_journal),
		database_test(joins_and_writes_have_no_hole),
		database_test(own_writes_wake_at_once),
		database_test(detaching_waits_for_what_is_under_way),
		database_test(detaching_leaves_no_trace),
	};
	return run_database_tests(tests, sizeof(tests) / sizeof(*tests));
}
