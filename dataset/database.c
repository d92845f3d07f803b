#include "dataset/database.h"

#include "core/clock.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/metrics.h"
#include "core/pool.h"
#include "dataset/attached.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>

/* The registry of databases, and what workers ask of one. A database is made with the first dataset that is attached
 * to its file; its watching thread ends it when the last one has gone, jobs and all. */

enum { POOL_QUEUE_MAX = 4096, BUSY_TRIES = 4, END_S = 5 };

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct database *registry, *ended; /* behind the lock */
static struct database_options options = {.keep_ms = 7LL * 24 * 3600 * 1000,
	.keep_bytes = 256 << 20,
	.lag_max = 1000000,
	.hold_bytes = 1 << 30,
	.poll_ms = 250,
	.readers = 2};
static struct pool *pool;    /* steps of readers */
static struct pool *queries; /* what is asked once: so many of them keep no reader from going on */
static pthread_cond_t one_has_ended = PTHREAD_COND_INITIALIZER; /* of the registry's lock */
static atomic_bool abandoned;

void databases_configure(const struct database_options *o)
{
	pthread_mutex_lock(&registry_lock);
	options = *o;
	pthread_mutex_unlock(&registry_lock);
}

struct database_options database_options(void)
{
	pthread_mutex_lock(&registry_lock);
	struct database_options now = options;
	pthread_mutex_unlock(&registry_lock);
	return now;
}

enum err databases_start(void)
{
	pool = pool_new("dataset-read", database_options().readers, POOL_QUEUE_MAX);
	queries = pool_new("dataset-query", database_options().readers, POOL_QUEUE_MAX);
	return pool && queries ? ERR_OK : ERR_INTERNAL;
}

/* ---- databases ---- */

static void wake_tail(void *context)
{
	struct database *db = context;
	watch_wake(db->watch);
}

/* Its threads have ended, or never began. */
static void database_free(struct database *db)
{
	assert(!db->reading_count && !db->attached_count && !db->writer);
	tail_free(&db->tail);
	watch_free(&db->watch);
	inbox_finish(&db->inbox);
	pthread_mutex_destroy(&db->lock);
	free((char *)(uintptr_t)db->key.p);
	free(db->path);
	free(db);
}

/* NULL: what it needs of the system is not to be had (logged). */
static struct database *database_new(char *key, struct str path)
{
	struct database *db = mem_new(struct database);
	db->key = str_of(key);
	db->path = mem_copy(path);
	pthread_mutex_init(&db->lock, NULL);
	inbox_init(&db->inbox, 0, wake_tail, db);
	db->watch = watch_new(db->path);
	db->tail = tail_new(db);
	db->writer = db->watch ? writer_start(db) : NULL;
	if (db->writer && pthread_create(&db->thread, NULL, tail_main, db) == 0)
		return db;
	log_error("a database cannot be attached", LOG_STR("database", path));
	writer_stop(&db->writer);
	database_free(db);
	return NULL;
}

/* Two names of one file are one database. A file that is not there yet is known by where it will be. */
static char *real_path(struct str path)
{
	char real[PATH_MAX], *name = mem_copy(path);
	if (realpath(name, real)) {
		free(name);
		return mem_copy(str_of(real));
	}
	char *slash = strrchr(name, '/');
	if (!slash)
		return name;
	*slash = 0;
	char *at = realpath(slash == name ? "/" : name, real);
	*slash = '/';
	if (!at)
		return name;
	struct buf b = BUF_INIT(2 * PATH_MAX);
	buf_addf(&b, "%s%s", at[1] ? at : "", slash);
	free(name);
	return buf_take(&b);
}

static struct database *find(const char *key)
{
	struct database *db = registry;
	while (db && !str_is(db->key, key))
		db = db->next;
	return db;
}

bool database_ends(struct database *db)
{
	pthread_mutex_lock(&registry_lock);
	bool ends = !db->attached_count;
	if (ends) {
		struct database **at = &registry;
		while (*at != db)
			at = &(*at)->next;
		*at = db->next;
		db->next = ended;
		ended = db;
		pthread_cond_signal(&one_has_ended);
	}
	pthread_mutex_unlock(&registry_lock);
	return ends;
}

/* Those that have ended: their threads have nothing more to do. */
static void reap(void)
{
	pthread_mutex_lock(&registry_lock);
	struct database *all = ended;
	ended = NULL;
	pthread_mutex_unlock(&registry_lock);
	for (struct database *next; all; all = next) {
		next = all->next;
		pthread_join(all->thread, NULL);
		database_free(all);
	}
}

/* A disk that does not answer may keep a thread for ever: the process then ends without it, and nobody is told of what
 * it would have had to say. */
void databases_stop(void)
{
	struct timespec until;
	pool_free(&pool);
	pool_free(&queries);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += END_S;
	pthread_mutex_lock(&registry_lock);
	int rc = 0;
	while (registry && !rc)
		rc = pthread_cond_timedwait(&one_has_ended, &registry_lock, &until);
	if (registry) {
		atomic_store(&abandoned, true);
		log_error("a database does not end", LOG_STR("database", registry->key));
	}
	pthread_mutex_unlock(&registry_lock);
	reap();
}

void post_home(struct worker *home, struct post *p)
{
	if (!atomic_load(&abandoned))
		worker_post(home, p);
}

/* ---- attaching ---- */

void attached_ref(struct attached *a)
{
	atomic_fetch_add(&a->refs, 1);
}

static void detached_home(struct post *p)
{
	struct attached *a = (struct attached *)((char *)p - offsetof(struct attached, post));
	void (*done)(void *) = a->detached;
	void *context = a->context;
	definition_unref(&a->definition);
	layout_unref(&a->layout);
	free(a);
	if (done)
		done(context);
}

void attached_unref(struct attached *a)
{
	if (atomic_fetch_sub(&a->refs, 1) != 1)
		return;
	pthread_mutex_lock(&registry_lock);
	a->database->attached_count--;
	watch_wake(a->database->watch); /* within the lock: it may end behind it */
	pthread_mutex_unlock(&registry_lock);
	a->post.run = detached_home;
	post_home(a->home, &a->post);
}

size_t attached_tables(const struct attached *a, struct str ret[ATTACHED_TABLES_MAX])
{
	const struct definition *d = a->definition;
	size_t n = 0;
	if (!d->key_count) /* a view is not captured: what it is made of is */
		ret[n++] = d->table;
	for (size_t i = 0; i < d->depend_count && n < ATTACHED_TABLES_MAX; i++)
		ret[n++] = d->depends[i];
	return n;
}

struct attached *database_attach(
	const struct definition *d, struct worker *home, void (*run)(struct post *tidings))
{
	reap();
	char *key = real_path(d->database);
	pthread_mutex_lock(&registry_lock);
	struct database *db = find(key);
	if (db) {
		free(key);
	} else if ((db = database_new(key, d->database))) {
		db->next = registry;
		registry = db;
	}
	if (db)
		db->attached_count++;
	pthread_mutex_unlock(&registry_lock);
	if (!db)
		return NULL;
	struct attached *a = mem_new(struct attached);
	a->database = db;
	a->definition = definition_ref(d);
	a->home = home;
	a->run = run;
	atomic_init(&a->refs, 1);
	atomic_init(&a->slowest, INT64_MAX);
	a->post.run = tail_attach;
	inbox_post(&db->inbox, &a->post);
	return a;
}

struct detaching {
	struct post post;
	struct attached *attached;
};

static void detach_now(struct post *p)
{
	struct detaching *d = (struct detaching *)p;
	tail_detach(d->attached);
	free(d);
}

void database_detach(struct attached **ret_a, bool drop, void (*done)(void *context), void *context)
{
	struct attached *a = *ret_a;
	*ret_a = NULL;
	a->drop = drop;
	a->detached = done;
	a->context = context;
	struct detaching *d = mem_new(struct detaching);
	d->attached = a;
	d->post.run = detach_now;
	inbox_post(&a->database->inbox, &d->post);
}

/* ---- what is known of it ---- */

void database_status(struct attached *a, struct dataset_status *ret)
{
	const struct store_trouble *trouble = atomic_load(&a->step_trouble);
	pthread_mutex_lock(&a->database->lock);
	*ret = a->status;
	pthread_mutex_unlock(&a->database->lock);
	ret->log_rows = ret->seq - ret->floor;
	ret->log_bytes = ret->log_rows * atomic_load(&a->database->row_bytes);
	if (ret->state != DATASET_LIVE || !trouble)
		return;
	ret->state = DATASET_TROUBLE;
	snprintf(ret->what, sizeof(ret->what), "%s", trouble->what);
	snprintf(ret->remedy, sizeof(ret->remedy), "%s", trouble->remedy);
}

struct layout *database_layout(struct attached *a)
{
	pthread_mutex_lock(&a->database->lock);
	struct layout *l = a->layout ? layout_ref(a->layout) : NULL;
	pthread_mutex_unlock(&a->database->lock);
	return l;
}

void database_slowest(struct attached *a, int64_t seq)
{
	atomic_store(&a->slowest, seq);
}

/* ---- tidings ---- */

void tidings_free(struct tidings **ret_t)
{
	struct tidings *t = *ret_t;
	*ret_t = NULL;
	if (!t)
		return;
	for (size_t i = 0; i < t->told_count; i++) {
		struct told *told = &t->told[i];
		for (size_t k = 0; k < told->part_count; k++)
			free((char *)(uintptr_t)told->parts[k].p);
		free(told->parts);
		shape_unref((struct shape **)&told->shape);
		window_unref(&told->have);
	}
	free(t->told);
	layout_unref((struct layout **)&t->layout);
	tail_received(t->attached, t->bytes);
	free(t);
}

/* ---- jobs in the pool ---- */

/* Whether what is asked with this layout can be answered from what the transaction sees: nothing has been captured
 * anew since. The schema's cookie says so at once, as long as nobody changes the schema. */
static bool fits(struct attached *a, struct reading *r, const struct head *head, int64_t version)
{
	char why[CAPTURE_WHY_MAX];
	struct layout *now = NULL;
	pthread_mutex_lock(&a->database->lock);
	bool known = a->layout && a->layout->version == version && a->cookie == head->schema_cookie;
	pthread_mutex_unlock(&a->database->lock);
	if (known)
		return true;
	struct str tables[ATTACHED_TABLES_MAX];
	const struct definition *d = a->definition;
	if (!capture_stands(r->handle, tables, attached_tables(a, tables)) ||
		capture_layout(r->handle, d->table, d->key, d->key_count, &now, why))
		return false;
	bool same = now->version == version;
	layout_unref(&now);
	return same;
}

static bool is_busy(const struct reading *r)
{
	return (sqlite3_errcode(r->handle) & 0xff) == SQLITE_BUSY;
}

static enum err begin(struct reading *r, int tries, struct head *ret_head)
{
	enum err err = ERR_OVERLOADED;
	while (tries-- && (err = reading_begin(r, READING_LIMIT_MS, ret_head)) && is_busy(r))
		;
	return err == ERR_NOT_FOUND ? ERR_OVERLOADED : err;
}

/* What the file itself says no to is a trouble of whoever reads it, until something can be read again. */
static void note(
	struct attached *a, struct reading *r, enum err err, const struct store_trouble *trouble)
{
	if (!err)
		atomic_store(&a->step_trouble, (const struct store_trouble *)NULL);
	else if (trouble && !(r && is_busy(r)))
		atomic_store(&a->step_trouble, trouble);
}

static void finish(struct attached *a, struct reading *r, unsigned file, enum err err)
{
	const struct store_trouble *trouble = r && err ? reading_trouble(r) : NULL;
	note(a, r, err, trouble);
	readings_give(a->database, r, file, !trouble || is_busy(r));
}

static void run_step(struct job *j)
{
	struct step_job *s = (struct step_job *)j;
	struct attached *a = s->attached;
	const struct store_trouble *trouble = NULL;
	unsigned file = atomic_load(&a->database->file);
	struct reading *r = NULL;
	struct head head;
	s->err = readings_take(a->database, &r, &trouble);
	if (s->err) {
		note(a, NULL, s->err, trouble);
		return;
	}
	s->err = begin(r, 1, &head);
	if (!s->err) {
		bool right = strcmp(head.epoch, s->epoch) == 0 &&
			fits(a, r, &head, s->shape->layout->version);
		metric_add(METRIC_DATASET_STEPS, 1);
		s->err = right ? step_take(r, s->shape, &s->at, &s->result) : ERR_OVERLOADED;
		reading_end(r);
	}
	finish(a, r, file, s->err);
}

static void step_done(struct job *j)
{
	step_home(&j->post);
}

void step_home(struct post *p)
{
	struct step_job *s = (struct step_job *)p;
	struct attached *a = s->attached;
	s->done(s);
	attached_unref(a);
}

/* What came home last is what the asker knows. */
static void stamp(struct step_job *s)
{
	const struct attached *a = s->attached;
	s->err = ERR_OK;
	s->result = NULL;
	s->life = a->heard_life;
	memcpy(s->epoch, a->heard_epoch, sizeof(s->epoch));
}

enum err database_step(struct step_job *s)
{
	struct attached *a = s->attached;
	assert(worker_self() == a->home);
	if (!a->heard_live)
		return ERR_OVERLOADED;
	stamp(s);
	s->job.run = run_step;
	s->job.done = step_done;
	attached_ref(a);
	enum err err = pool_run(pool, &s->job);
	if (err)
		attached_unref(a);
	return err;
}

void database_join(struct step_job *s)
{
	struct attached *a = s->attached;
	assert(worker_self() == a->home);
	stamp(s);
	attached_ref(a);
	s->job.worker = a->home->index;
	s->job.post.run = tail_join;
	inbox_post(&a->database->inbox, &s->job.post);
}

static void run_read(struct job *job)
{
	struct read_job *j = (struct read_job *)job;
	struct attached *a = j->attached;
	const struct store_trouble *trouble = NULL;
	unsigned file = atomic_load(&a->database->file);
	struct reading *r = NULL;
	j->err = readings_take(a->database, &r, &trouble);
	if (j->err) {
		note(a, NULL, j->err, trouble);
		return;
	}
	j->err = begin(r, BUSY_TRIES, &j->head);
	if (!j->err) {
		if (fits(a, r, &j->head, j->layout->version))
			j->run(j, r);
		else
			j->err = ERR_OVERLOADED;
		reading_end(r);
	}
	finish(a, r, file, j->err);
}

static void read_done(struct job *job)
{
	struct read_job *j = (struct read_job *)job;
	struct attached *a = j->attached;
	struct layout *l = (struct layout *)(uintptr_t)j->layout;
	j->done(j);
	layout_unref(&l);
	attached_unref(a);
}

enum err database_read(struct read_job *j)
{
	struct attached *a = j->attached;
	j->layout = database_layout(a);
	if (!j->layout)
		return ERR_OVERLOADED;
	j->err = ERR_OK;
	j->job.run = run_read;
	j->job.done = read_done;
	attached_ref(a);
	enum err err = pool_run(queries, &j->job);
	if (!err)
		return ERR_OK;
	layout_unref((struct layout **)&j->layout);
	attached_unref(a);
	return err;
}

/* ---- writing ---- */

void write_home(struct post *p)
{
	struct write_job *j = (struct write_job *)p;
	struct attached *a = j->attached;
	j->done(j);
	attached_unref(a);
}

enum err database_write(struct write_job *j)
{
	struct attached *a = j->attached;
	assert(worker_self());
	j->worker = worker_self()->index;
	j->err = ERR_OK;
	j->asked_at = clock_steady_ms();
	attached_ref(a);
	enum err err = writer_ask(a->database->writer, j);
	if (err)
		attached_unref(a);
	return err;
}

void database_leave(struct attached *a, const struct shape *shape)
{
	assert(worker_self() == a->home);
	tail_leave(a, shape);
}
