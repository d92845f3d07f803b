/* database_fixture.h: a file with a table t(id INTEGER PRIMARY KEY, v INTEGER) in a folder of its own, another process that
 * writes to it, datasets that are attached to it, and readers of them as a feed would have them. For
 * tests/unit/test_threads_database*.c. All listeners are on worker 0. */
#pragma once

#include "dataset/database.h"
#include "dataset/heads.h"

#include "core/log.h"
#include "core/mem.h"

#include "foreign_writer.h"

#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

enum { WORKERS = 2, SUBJECTS_MAX = 4, IDS = 400, PATH_BYTES = 400, WAIT_S = 30 };

/* One attached dataset, and what has come home of it. */
struct subject {
	struct attached *attached;
	struct definition *definition;
	struct layout *layout;
	size_t count[TIDINGS_TROUBLE + 1];
	enum tidings_kind last;
	enum step_reset reset;
	char epoch[EPOCH_BYTES + 1];
	int64_t at, version;     /* of the layout */
	size_t columns, changes; /* shapes that were told something */
	bool detached;
	void (*heard)(struct subject *s, const struct tidings *t);
};

static struct foreign_writer foreign, foreign2;
static char folder[256], path[PATH_BYTES], copy_path[PATH_BYTES];
static pthread_mutex_t seen_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t seen = PTHREAD_COND_INITIALIZER;
static struct subject *subjects[SUBJECTS_MAX];
static atomic_int wrong;
static char first_wrong[200];

static inline void expect_at(bool right, const char *what, int line)
{
	if (!right && atomic_fetch_add(&wrong, 1) == 0)
		snprintf(first_wrong, sizeof(first_wrong), "line %d: %s", line, what);
}
#define expect(right) expect_at((right), #right, __LINE__)

static inline void nothing_is_wrong(void)
{
	if (atomic_load(&wrong))
		fail_msg("%s", first_wrong);
}

/* ---- the other process, and what is in the file ---- */

static inline void foreign_sql(const char *text)
{
	int rc = foreign_run(&foreign, text);
	if (rc)
		fail_msg("%s: SQLite %d", text, rc);
}

static inline int64_t number_in(const char *file, const char *text)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *stmt = NULL;
	int64_t n = -1;
	if (sqlite3_open_v2(file, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK &&
		sqlite3_busy_timeout(db, 5000) == SQLITE_OK &&
		sqlite3_prepare_v2(db, text, -1, &stmt, NULL) == SQLITE_OK &&
		sqlite3_step(stmt) == SQLITE_ROW)
		n = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	return n;
}

static inline int64_t number(const char *text)
{
	return number_in(path, text);
}

static inline void make_file(const char *pragmas)
{
	assert_int_equal(foreign_open(&foreign, path), 0);
	foreign_sql(pragmas);
	foreign_sql("CREATE TABLE t(id INTEGER PRIMARY KEY, v INTEGER)");
}

/* ---- workers ---- */

struct errand {
	struct post post;
	void (*run)(void *context);
	void *context;
	sem_t done;
};

static inline void run_errand(struct post *p)
{
	struct errand *e = (struct errand *)p;
	e->run(e->context);
	sem_post(&e->done);
}

static inline void at_home(void (*run)(void *context), void *context)
{
	struct errand e = {.post.run = run_errand, .run = run, .context = context};
	sem_init(&e.done, 0, 0);
	worker_post(worker_at(0), &e.post);
	sem_wait(&e.done);
	sem_destroy(&e.done);
}

/* ---- datasets ---- */

static inline struct subject *subject_of(const struct definition *d)
{
	for (size_t i = 0; i < SUBJECTS_MAX; i++)
		if (subjects[i] && subjects[i]->definition == d)
			return subjects[i];
	abort();
}

static inline void hear(struct post *p)
{
	struct tidings *t = (struct tidings *)p;
	struct subject *s = subject_of(t->definition);
	expect(worker_self()->index == 0);
	expect(!s->detached);
	pthread_mutex_lock(&seen_lock);
	s->count[t->kind]++;
	s->last = t->kind;
	if (t->kind == TIDINGS_STEP || t->kind == TIDINGS_LEAP)
		expect(t->at >= s->at);
	if (t->kind == TIDINGS_STEP || t->kind == TIDINGS_LEAP || t->kind == TIDINGS_LIVE)
		s->at = t->at;
	if (t->kind == TIDINGS_RESET)
		s->reset = t->reset;
	if (t->kind == TIDINGS_LIVE) {
		memcpy(s->epoch, t->epoch, sizeof(s->epoch));
		layout_unref(&s->layout);
		s->layout = layout_ref(t->layout);
		s->version = t->layout->version;
		s->columns = t->layout->count;
	}
	s->changes += t->told_count;
	if (s->heard)
		s->heard(s, t);
	tidings_free(&t);
	pthread_cond_broadcast(&seen);
	pthread_mutex_unlock(&seen_lock);
}

/* What it has heard so far: it may hear more meanwhile, with a new layout. */
static inline struct subject subject_now(const struct subject *s)
{
	pthread_mutex_lock(&seen_lock);
	struct subject now = *s;
	pthread_mutex_unlock(&seen_lock);
	now.layout = NULL;
	return now;
}

static inline void attach_at_home(void *context)
{
	struct subject *s = context;
	size_t i = 0;
	while (subjects[i])
		i++;
	subjects[i] = s;
	s->attached = database_attach(s->definition, worker_at(0), hear);
}

static inline struct subject *subject_attach(const char *name, const char *table)
{
	struct subject *s = mem_new(struct subject);
	s->definition = definition_new(&(struct definition){.name = str_of(name),
		.database = str_of(path),
		.table = str_of(table),
		.rules[RULE_READ] = STR("1")});
	at_home(attach_at_home, s);
	assert_non_null(s->attached);
	return s;
}

/* Until it is so; somebody tells whenever something has changed. */
#define wait_until(condition) \
	do { \
		struct timespec wait_end; \
		clock_gettime(CLOCK_REALTIME, &wait_end); \
		wait_end.tv_sec += WAIT_S; \
		int wait_rc = 0; \
		pthread_mutex_lock(&seen_lock); \
		while (!(condition) && wait_rc == 0) \
			wait_rc = pthread_cond_timedwait(&seen, &seen_lock, &wait_end); \
		pthread_mutex_unlock(&seen_lock); \
		if (wait_rc) \
			fail_msg("line %d: in vain: %s", __LINE__, #condition); \
	} while (0)

static inline void is_detached(void *context)
{
	struct subject *s = context;
	expect(worker_self()->index == 0);
	for (size_t i = 0; i < SUBJECTS_MAX; i++)
		if (subjects[i] == s)
			subjects[i] = NULL;
	pthread_mutex_lock(&seen_lock);
	s->detached = true;
	pthread_cond_broadcast(&seen);
	pthread_mutex_unlock(&seen_lock);
}

static inline void detach_at_home(void *context)
{
	struct subject *s = context;
	database_detach(&s->attached, false, is_detached, s);
}

static inline void drop_at_home(void *context)
{
	struct subject *s = context;
	database_detach(&s->attached, true, is_detached, s);
}

static inline void subject_free(struct subject *s)
{
	definition_unref(&s->definition);
	layout_unref(&s->layout);
	free(s);
}

static inline void subject_end(struct subject **s, bool drop)
{
	at_home(drop ? drop_at_home : detach_at_home, *s);
	wait_until((*s)->detached);
	subject_free(*s);
	*s = NULL;
}

static inline struct dataset_status status_of(struct subject *s)
{
	struct dataset_status status;
	database_status(s->attached, &status);
	return status;
}

/* ---- readers, on worker 0 ---- */

struct reader {
	struct subject *subject;
	struct shape *shape;
	struct step_result *held; /* what at's bytes lie in */
	struct standing_at at;
	bool sees_all, live, busy, resting, near;
	int64_t seq;
	int64_t view[IDS]; /* v + 1 by id; 0: no such row */
	size_t joins, refused, ops, resets;
};

static void reader_go_on(struct reader *r);

static inline struct shape *shape_in(struct subject *s, const char *where)
{
	static const struct principal nobody;
	struct wish_problem problem;
	struct shape *shape = NULL;
	struct shape_wish wish = {.where = str_of(where)};
	if (shape_new(&wish, s->definition, s->layout, &nobody, &shape, &problem) != ERR_OK)
		abort();
	return shape;
}

static inline void put_row(struct reader *r, const char *row)
{
	long id = -1, v = -1;
	expect(sscanf(row, "[%ld,%ld]", &id, &v) == 2 && id >= 0 && id < IDS);
	if (id >= 0 && id < IDS)
		r->view[id] = v + 1;
}

/* Ops of one message. live: in the order that they happened; a reader that sees all rows sees them all. */
static inline void put_ops(struct reader *r, struct str text, int64_t from, int64_t to, bool live)
{
	char *ops = mem_copy(text);
	int64_t last = from;
	for (const char *at = ops; (at = strstr(at, "{\"seq\":\"")); at++) {
		long seq = strtol(at + 8, NULL, 10);
		const char *op = strstr(at, "\"op\":\""), *key = strstr(at, "\"key\":[");
		const char *row = strstr(at, "\"row\":");
		long id = strtol(key + 7, NULL, 10);
		expect(seq > (live ? last : from) && seq <= to);
		expect(!live || !r->sees_all || seq == last + 1);
		last = seq;
		r->ops++;
		if (op[6] == 'D' || op[6] == 'X')
			r->view[id] = 0;
		else
			put_row(r, row + 6);
	}
	expect(!live || !r->sees_all || last == to);
	free(ops);
}

static inline void put_page(struct reader *r, struct str body)
{
	char *text = mem_copy(body);
	const char *at = strstr(text, "\"rows\":[");
	expect(at != NULL);
	for (at = at ? at + 8 : ""; *at == '[' || *at == ',';) {
		at += *at == ',';
		put_row(r, at);
		at = strchr(at, ']') + 1;
	}
	free(text);
}

static inline int64_t number_of(struct str body, const char *member)
{
	char *text = mem_copy(body);
	const char *at = strstr(text, member);
	int64_t n = at ? strtol(at + strlen(member), NULL, 10) : -1;
	free(text);
	return n;
}

static inline void put_change(struct reader *r, struct str body)
{
	int64_t from = number_of(body, "\"from\":\""), to = number_of(body, "\"to\":\"");
	expect(from == r->seq);
	expect(to >= from);
	put_ops(r, body, from, to, false);
	r->seq = to;
}

static inline void reader_anew(struct reader *r)
{
	memset(r->view, 0, sizeof(r->view));
	r->at = (struct standing_at){.seq = -1};
	r->seq = -1;
	r->near = false;
}

static inline void reader_stepped(struct step_job *s)
{
	struct reader *r = s->context;
	pthread_mutex_lock(&seen_lock);
	r->busy = false;
	if (s->err) {
		expect(!s->result);
		r->refused++;
	} else if (s->result->reset != RESET_NONE) {
		r->resets++;
		reader_anew(r);
		step_result_unref(&s->result);
	} else {
		for (size_t i = 0; i < s->result->count; i++) {
			struct str body = s->result->messages[i].body;
			if (s->result->messages[i].kind == STEP_PAGE)
				put_page(r, body);
			else
				put_change(r, body);
		}
		step_result_unref(&r->held);
		r->held = s->result;
		r->at = r->held->next;
		if (r->seq < 0 || !r->at.whole)
			r->seq = r->at.seq;
		expect(r->seq == r->at.seq);
		r->live = r->near && s->result->at_head;
		r->joins += r->live;
		r->near = r->at.whole;
	}
	free(s);
	reader_go_on(r);
	pthread_cond_broadcast(&seen);
	pthread_mutex_unlock(&seen_lock);
}

static inline void reader_go_on(struct reader *r)
{
	if (r->live || r->busy || r->resting || !r->subject->attached ||
		r->subject->last == TIDINGS_TROUBLE || r->subject->last == TIDINGS_RESET)
		return;
	struct step_job *s = mem_new(struct step_job);
	s->attached = r->subject->attached;
	s->shape = r->shape;
	s->at = r->at;
	s->done = reader_stepped;
	s->context = r;
	r->busy = true;
	if (r->near) {
		database_join(s);
	} else if (database_step(s)) {
		r->busy = false;
		r->refused++;
		free(s);
	}
}

/* What tidings mean to a reader. */
static inline void reader_hears(struct reader *r, const struct tidings *t)
{
	for (size_t i = 0; r->live && i < t->told_count; i++) {
		if (strcmp(t->told[i].shape->id, r->shape->id) != 0)
			continue;
		expect(t->told[i].part_count == 1);
		put_ops(r, t->told[i].parts[0], r->seq, t->at, true);
	}
	if (r->live && t->kind == TIDINGS_STEP)
		r->seq = r->at.seq = t->at;
	if (t->kind != TIDINGS_STEP) {
		r->live = r->near = false;
		if (t->kind == TIDINGS_RESET)
			reader_anew(r);
	}
	reader_go_on(r);
}

static inline void reader_leave(struct reader *r)
{
	if (r->live)
		database_leave(r->subject->attached, r->shape);
	r->live = r->near = false;
}

static inline void reader_free(struct reader *r)
{
	step_result_unref(&r->held);
	shape_unref(&r->shape);
}

/* ---- some of them ---- */

enum { READERS = 6 };

static struct reader readers[READERS];

static inline void all_hear(struct subject *s, const struct tidings *t)
{
	for (size_t i = 0; i < READERS; i++)
		if (readers[i].subject == s)
			reader_hears(&readers[i], t);
}

static inline void reader_begin(void *context)
{
	struct reader *r = context;
	pthread_mutex_lock(&seen_lock);
	r->resting = false;
	reader_anew(r);
	reader_go_on(r);
	pthread_mutex_unlock(&seen_lock);
}

static inline void begin_readers(struct subject *s, size_t count, const char *second_where,
	void (*heard)(struct subject *s, const struct tidings *t))
{
	pthread_mutex_lock(&seen_lock);
	s->heard = heard;
	for (size_t i = 0; i < count; i++)
		readers[i] = (struct reader){.subject = s,
			.shape = shape_in(s, i % 2 ? second_where : ""),
			.sees_all = i % 2 == 0,
			.resting = true};
	pthread_mutex_unlock(&seen_lock);
	for (size_t i = 0; i < count; i++)
		at_home(reader_begin, &readers[i]);
}

static inline void end_readers(void)
{
	for (size_t i = 0; i < READERS; i++)
		if (readers[i].subject)
			reader_free(&readers[i]);
	memset(readers, 0, sizeof(readers));
}

static inline bool view_is_right(const struct reader *r, const char *where)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *stmt = NULL;
	char text[200];
	bool right = true;
	size_t rows = 0, have = 0;
	snprintf(text, sizeof(text), "SELECT id, v FROM t WHERE %s", where);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, text, -1, &stmt, NULL), SQLITE_OK);
	pthread_mutex_lock(&seen_lock);
	while (sqlite3_step(stmt) == SQLITE_ROW) {
		rows++;
		right &= r->view[sqlite3_column_int(stmt, 0)] == sqlite3_column_int64(stmt, 1) + 1;
	}
	for (size_t i = 0; i < IDS; i++)
		have += r->view[i] != 0;
	pthread_mutex_unlock(&seen_lock);
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	return right && rows == have;
}

static inline bool all_are_there(void)
{
	bool there = true;
	for (size_t i = 0; i < READERS; i++)
		there &= !readers[i].subject || readers[i].live;
	return there;
}

/* ---- each test ---- */

static inline void remove_folder(void)
{
	char command[PATH_BYTES];
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	if (system(command))
		abort();
}

static inline int set_up(void **state)
{
	(void)state;
	static const struct worker_part *const no_parts[] = {NULL};
	atomic_store(&wrong, 0);
	snprintf(folder, sizeof(folder), "/tmp/signalbox-database-XXXXXX");
	if (!mkdtemp(folder))
		return 1;
	snprintf(path, sizeof(path), "%s/it.db", folder);
	snprintf(copy_path, sizeof(copy_path), "%s/copy.db", folder);
	return databases_start() ||
		workers_start(&(struct workers_options){
			.count = WORKERS, .calls_max = 1000, .parts = no_parts});
}

/* What a test that failed has left. */
static inline void end_all(void)
{
	foreign_run(&foreign, "COMMIT");
	for (size_t i = 0; i < SUBJECTS_MAX; i++) {
		struct subject *s = subjects[i];
		if (!s)
			continue;
		if (s->attached)
			at_home(detach_at_home, s);
		wait_until(s->detached);
		subject_free(s);
	}
	end_readers();
}

static inline int tear_down(void **state)
{
	(void)state;
	end_all();
	foreign_run(&foreign, "close");
	foreign_run(&foreign2, "close");
	databases_stop();
	workers_stop();
	heads_finish();
	remove_folder();
	return 0;
}

#define database_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static inline int run_database_tests(const struct CMUnitTest *tests, size_t count)
{
	log_configure(LOG_ERROR + 1, false, 2);
	if (!foreign_start(&foreign) || !foreign_start(&foreign2))
		return 1;
	int failed = _cmocka_run_group_tests("database", tests, count, NULL, NULL);
	foreign_stop(&foreign);
	foreign_stop(&foreign2);
	return failed;
}
