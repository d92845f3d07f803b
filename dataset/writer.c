#include "dataset/attached.h"

#include "core/clock.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/metrics.h"
#include "dataset/rule.h"
#include "store/trouble.h"

#include <assert.h>
#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <time.h>

/* The thread that writes to one file: the one queue that our own writes wait in, and the one connection that has the
 * lock when it is our turn. Pruning is done in between, in slices so small that nobody waits long for one.
 *
 * The connection is as the file's other users have theirs: the journal's mode stays what it is, `synchronous` is
 * SQLite's own default. Only foreign keys are always looked at. */

enum {
	JOBS_MAX = 1024,
	SLICE = 1000,         /* rows of the log that one transaction prunes */
	SLICE_PAUSE_MS = 10,  /* for others, between two of them */
	SLICE_AGAIN_MS = 100, /* behind one that was not possible */
	PRUNE_BUSY_MS = 50,
	MEASURE_ROWS = 1000, /* of the log, until it is measured again */
};

struct writer {
	struct database *db;
	pthread_t thread;
	struct inbox inbox;
	sem_t work;
	bool ending;
	sqlite3 *handle;
	unsigned file; /* which of that name is open */
	/* pruning: */
	int64_t cut;      /* up to where is being deleted; 0: nothing is */
	bool begun;       /* what was below the floor of this file has been looked at */
	bool refused;     /* the last slice */
	int64_t measured; /* the head, then */
	int64_t row_bytes;
};

static void writer_close(struct writer *w)
{
	int rc = sqlite3_close(w->handle);
	assert(rc == SQLITE_OK);
	(void)rc;
	w->handle = NULL;
	w->cut = 0;
	w->begun = false;
}

static enum err writer_open(struct writer *w, const struct store_trouble **ret_trouble)
{
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
	unsigned file = atomic_load(&w->db->file);
	if (w->handle && w->file == file)
		return ERR_OK;
	writer_close(w);
	if (sqlite3_open_v2(w->db->path, &w->handle, flags, NULL) == SQLITE_OK &&
		sqlite3_exec(w->handle, "PRAGMA foreign_keys = ON", NULL, NULL, NULL) ==
			SQLITE_OK) {
		sqlite3_db_config(w->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
		w->file = file;
		return ERR_OK;
	}
	*ret_trouble = trouble_of(w->handle);
	writer_close(w);
	return ERR_OVERLOADED;
}

/* ---- jobs ---- */

static struct layout *layout_now(struct attached *a)
{
	struct layout *l = database_layout(a);
	if (!l)
		log_debug("a write meets a dataset that is not live",
			LOG_STR("dataset", a->definition->name));
	return l;
}

static void run_write(struct writer *w, struct write_job *j)
{
	const struct store_trouble *trouble = NULL;
	int64_t left = j->asked_at + DATABASE_WAIT_MS - clock_steady_ms();
	struct layout *l = left > 0 ? layout_now(j->attached) : NULL;
	j->err = l ? writer_open(w, &trouble) : ERR_OVERLOADED;
	if (!j->err) {
		sqlite3_busy_timeout(w->handle, (int)left);
		j->run(j, w->handle, l);
		assert(sqlite3_get_autocommit(w->handle));
		watch_wake(w->db->watch);
	}
	layout_unref(&l);
}

static void do_write(struct post *p)
{
	struct write_job *j = (struct write_job *)p;
	struct worker *home = worker_at(j->worker);
	run_write(j->attached->database->writer, j);
	p->run = write_home;
	post_home(home, p);
}

enum err writer_ask(struct writer *w, struct write_job *j)
{
	j->post.run = do_write;
	return inbox_post_call(&w->inbox, &j->post);
}

/* ---- capturing ---- */

void ensuring_free(struct ensuring **ret_e)
{
	struct ensuring *e = *ret_e;
	*ret_e = NULL;
	for (size_t i = 0; i < e->count; i++) {
		layout_unref(&e->list[i].layout);
		attached_unref(e->list[i].attached);
	}
	if (e->dropped)
		attached_unref(e->dropped);
	free(e->drops);
	free(e->list);
	free(e);
}

static enum err look_at_table(sqlite3 *db, struct ensured *one, struct layout **ret)
{
	const struct definition *d = one->attached->definition;
	return capture_layout(db, d->table, d->key, d->key_count, ret, one->why);
}

/* A column that is called otherwise now would not be hidden any more, and a rule may mean another one. */
static enum err look_at_rules(sqlite3 *db, struct ensured *one, const struct layout *l)
{
	struct str field = STR("");
	char why[RULE_WHY_MAX] = "";
	enum err err = rules_check(one->attached->definition, db, l, &field, why);
	if (err)
		snprintf(one->why, sizeof(one->why), "`" STR_FMT "` does not fit the table: %s",
			STR_ARG(field), why);
	return err;
}

/* Everything that it needs is there, and can be captured. */
static enum err look_at_tables(sqlite3 *db, struct ensured *one)
{
	const struct definition *d = one->attached->definition;
	struct layout *l = NULL;
	enum err err = look_at_table(db, one, &l);
	err = err ? err : look_at_rules(db, one, l);
	layout_unref(&l);
	for (size_t i = 0; i < d->depend_count && !err; i++) {
		err = capture_layout(db, d->depends[i], NULL, 0, &l, one->why);
		layout_unref(&l);
	}
	return err;
}

static bool is_among(const struct str *tables, size_t count, struct str table)
{
	for (size_t i = 0; i < count; i++)
		if (tables[i].n == table.n &&
			sqlite3_strnicmp(tables[i].p, table.p, (int)table.n) == 0)
			return true;
	return false;
}

static size_t all_tables(const struct ensuring *e, struct str **ret)
{
	struct str own[ATTACHED_TABLES_MAX];
	size_t n = 0;
	*ret = mem_alloc((e->count + 1) * ATTACHED_TABLES_MAX * sizeof(**ret));
	for (size_t i = 0; i < e->count; i++) {
		if (e->list[i].err)
			continue;
		size_t count = attached_tables(e->list[i].attached, own);
		for (size_t k = 0; k < count; k++)
			if (!is_among(*ret, n, own[k]))
				(*ret)[n++] = own[k];
	}
	return n;
}

/* Of the whole file. why: what capture.h says. */
static void file_fails(struct ensuring *e, struct writer *w, enum err err, const char *why)
{
	const struct store_trouble *trouble = w->handle ? trouble_of(w->handle) : NULL;
	e->err = err;
	if (trouble)
		snprintf(e->what, sizeof(e->what), "%s", trouble->what);
	else
		snprintf(e->what, sizeof(e->what), "%s", why);
	e->remedy = trouble ? trouble->remedy : "the log says more";
}

static void capture_all(struct writer *w, struct ensuring *e)
{
	char why[CAPTURE_WHY_MAX] = "its tables cannot be captured";
	bool wanted = e->mend || e->new_epoch, changed = false;
	for (size_t i = 0; i < e->count; i++) {
		e->list[i].err = look_at_tables(w->handle, &e->list[i]);
		if (e->list[i].err && trouble_of(w->handle)) {
			file_fails(e, w, ERR_OVERLOADED, e->list[i].why);
			return;
		}
		wanted |= !e->list[i].err && !e->list[i].live;
	}
	struct str *tables = NULL;
	size_t count = all_tables(e, &tables);
	enum err err = wanted && count
		? capture_ensure(w->handle, tables, count, e->new_epoch, &changed, why)
		: ERR_OK;
	free(tables);
	if (err)
		file_fails(e, w, err, why);
	for (size_t i = 0; i < e->count && !err; i++)
		if (!e->list[i].err)
			e->list[i].err = look_at_table(w->handle, &e->list[i], &e->list[i].layout);
}

static void drop_all(struct writer *w, struct ensuring *e)
{
	char why[CAPTURE_WHY_MAX] = "";
	if (!e->drop_count || !capture_drop(w->handle, e->drops, e->drop_count, why))
		return;
	log_warn("what captures tables could not be taken out of their database",
		LOG_STR("database", w->db->key), LOG_TEXT("why", why));
}

static void do_ensure(struct post *p)
{
	struct ensuring *e = (struct ensuring *)p;
	struct writer *w = e->database->writer;
	const struct store_trouble *trouble = NULL;
	if (writer_open(w, &trouble)) {
		e->err = ERR_OVERLOADED;
		snprintf(e->what, sizeof(e->what), "%s",
			trouble ? trouble->what : "it cannot be opened for writing");
		e->remedy = trouble ? trouble->remedy : "";
	} else {
		w->cut = e->new_epoch ? 0 : w->cut; /* it was of another log */
		sqlite3_busy_timeout(w->handle, DATABASE_WAIT_MS);
		drop_all(w, e);
		capture_all(w, e);
	}
	p->run = tail_ensured;
	inbox_post(&w->db->inbox, p);
}

void writer_ensure(struct writer *w, struct ensuring *e)
{
	e->post.run = do_ensure;
	inbox_post(&w->inbox, &e->post);
}

/* ---- pruning ---- */

struct pruning {
	struct post post;
	struct writer *writer;
	struct prune_wish wish;
};

/* How many bytes a row of the log takes, by a sample; not with each change. */
static void measure(struct writer *w, const struct prune_wish *wish)
{
	int64_t rows = 0, bytes = 0;
	bool same = wish->seq - w->measured < MEASURE_ROWS && wish->seq >= w->measured;
	if (!(same && w->row_bytes) && !capture_size(w->handle, &rows, &bytes)) {
		w->measured = wish->seq;
		w->row_bytes = rows ? bytes / rows : 0;
	}
	atomic_store(&w->db->row_bytes, w->row_bytes);
}

static int64_t larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* Up to where the log has more than so many bytes. */
static int64_t past(const struct writer *w, const struct prune_wish *wish, int64_t bytes)
{
	return w->row_bytes ? wish->seq - bytes / w->row_bytes : 0;
}

/* The floor is raised before anything is deleted: what was begun goes on, also what another process has begun. */
static void do_prune(struct post *p)
{
	struct pruning *pruning = (struct pruning *)p;
	const struct prune_wish *wish = &pruning->wish;
	struct writer *w = pruning->writer;
	const struct store_trouble *trouble = NULL;
	struct database_options o = database_options();
	if (!writer_open(w, &trouble)) {
		measure(w, wish);
		int64_t cut = larger(wish->aged, past(w, wish, o.keep_bytes));
		int64_t hold = larger(wish->hold, past(w, wish, o.hold_bytes));
		cut = cut < hold ? cut : hold;
		if (cut > wish->floor || !w->begun)
			w->cut = larger(w->cut, larger(cut, wish->floor));
		w->begun = true;
	}
	free(pruning);
}

void writer_prune(struct writer *w, const struct prune_wish *wish)
{
	struct pruning *p = mem_new(struct pruning);
	p->writer = w;
	p->wish = *wish;
	p->post.run = do_prune;
	inbox_post(&w->inbox, &p->post);
}

/* A writer who has the lock goes first, and a disk that is full may have room again. */
static void prune_slice(struct writer *w)
{
	bool more = false;
	sqlite3_busy_timeout(w->handle, PRUNE_BUSY_MS);
	int before = sqlite3_total_changes(w->handle) + 1; /* the floor is raised, too */
	enum err err = capture_prune(w->handle, w->cut, SLICE, &more);
	int pruned = sqlite3_total_changes(w->handle) - before;
	metric_add(METRIC_DATASET_LOG_PRUNED, !err && pruned > 0 ? pruned : 0);
	w->refused = err == ERR_OVERLOADED;
	if (!w->refused && (err || !more))
		w->cut = 0;
	if (!err)
		watch_wake(w->db->watch);
}

/* ---- the thread ---- */

static void wait_for_work(struct writer *w)
{
	struct timespec until;
	if (!w->cut) {
		sem_wait(&w->work);
		return;
	}
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += (w->refused ? SLICE_AGAIN_MS : SLICE_PAUSE_MS) * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	sem_timedwait(&w->work, &until);
}

static void *writer_main(void *context)
{
	struct writer *w = context;
	pthread_setname_np(pthread_self(), "dataset-write");
	while (!w->ending) {
		wait_for_work(w);
		for (struct post *p = inbox_take(&w->inbox), *next; p; p = next) {
			next = p->next;
			p->run(p);
		}
		if (w->cut && w->handle && !w->ending)
			prune_slice(w);
	}
	writer_close(w);
	return NULL;
}

static void wake_writer(void *context)
{
	sem_post(context);
}

struct writer *writer_start(struct database *db)
{
	struct writer *w = mem_new(struct writer);
	w->db = db;
	sem_init(&w->work, 0, 0);
	inbox_init(&w->inbox, JOBS_MAX, wake_writer, &w->work);
	if (pthread_create(&w->thread, NULL, writer_main, w) == 0)
		return w;
	inbox_finish(&w->inbox);
	sem_destroy(&w->work);
	free(w);
	return NULL;
}

struct ending {
	struct post post;
	struct writer *writer;
};

static void do_end(struct post *p)
{
	((struct ending *)p)->writer->ending = true;
}

void writer_stop(struct writer **ret_w)
{
	struct writer *w = *ret_w;
	*ret_w = NULL;
	if (!w)
		return;
	struct ending end = {.post.run = do_end, .writer = w};
	inbox_post(&w->inbox, &end.post);
	pthread_join(w->thread, NULL);
	inbox_finish(&w->inbox);
	sem_destroy(&w->work);
	free(w);
}
