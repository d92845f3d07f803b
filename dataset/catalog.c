#include "dataset/catalog_parts.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/metrics.h"
#include "core/pool.h"
#include "dataset/definition_check.h"
#include "dataset/feed.h"
#include "dataset/leftovers.h"
#include "dataset/past.h"
#include "dataset/rule_claims.h"
#include "store/store.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

enum { PAGE = 100, END_MS = 5000, POOL_QUEUE = 64 };

struct entry {
	struct definition *configured, *stored; /* what is wanted: the first that there is */
	struct definition *current; /* what is attached, or was until its detaching is done */
	struct attached *attached;
	enum dataset_state state;
	bool adding; /* a command is about to */
	bool moving; /* it is being detached */
	size_t n;
	char name[DATASET_NAME_MAX];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct entry *entries[DATASETS_MAX]; /* behind the lock, in the order of names */
static size_t count;
static atomic_bool running, awake, ending;
static struct pool *pool;

/* ---- the table; the lock is held ---- */

static struct str name_of(const struct entry *e)
{
	return (struct str){e->name, e->n};
}

/* Where it is, or would be. */
static size_t place_of(struct str name)
{
	size_t low = 0, high = count;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (str_order(name_of(entries[middle]), name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct entry *find(struct str name)
{
	size_t at = place_of(name);
	return at < count && str_eq(name_of(entries[at]), name) ? entries[at] : NULL;
}

static struct entry *enter(struct str name)
{
	size_t at = place_of(name);
	struct entry *e = find(name);
	if (e || count == DATASETS_MAX || name.n > DATASET_NAME_MAX)
		return e;
	e = mem_new(struct entry);
	e->n = name.n;
	memcpy(e->name, name.p, name.n);
	memmove(entries + at + 1, entries + at, (count - at) * sizeof(*entries));
	entries[at] = e;
	count++;
	metric_add(METRIC_DATASETS, 1);
	return e;
}

static struct definition *wanted(const struct entry *e)
{
	return e->configured ? e->configured : e->stored;
}

static void count_state(enum dataset_state state, int64_t n)
{
	if (state == DATASET_LIVE)
		metric_add(METRIC_DATASETS_LIVE, n);
	if (state == DATASET_TROUBLE)
		metric_add(METRIC_DATASETS_TROUBLE, n);
}

static void set_state(struct entry *e, enum dataset_state state)
{
	count_state(e->state, -1);
	e->state = state;
	count_state(state, 1);
}

static void free_entry(struct entry *e)
{
	set_state(e, DATASET_STARTING);
	definition_unref(&e->configured);
	definition_unref(&e->stored);
	definition_unref(&e->current);
	free(e);
	metric_add(METRIC_DATASETS, -1);
}

/* Takes it out if there is nothing left that it stands for. */
static void forget_if_empty(struct entry *e)
{
	if (wanted(e) || e->current || e->adding)
		return;
	size_t at = place_of(name_of(e));
	memmove(entries + at, entries + at + 1, (count - at - 1) * sizeof(*entries));
	count--;
	free_entry(e);
}

/* ---- claims ---- */

/* more: one that is not there yet; NULL: none. */
static void gather(struct rule_claims *c, const struct definition *more)
{
	*c = (struct rule_claims){0};
	for (size_t i = 0; i < count; i++)
		if (wanted(entries[i]))
			rule_claims_add(c, wanted(entries[i]));
	if (more)
		rule_claims_add(c, more);
}

static void keep_claims(void)
{
	struct rule_claims c;
	gather(&c, NULL);
	if (c.too_many)
		log_warn("rules of datasets name more claims than are kept; those of the last "
			 "datasets are NULL",
			LOG_INT("kept", CLAIMS_KEPT_MAX));
	claims_keep(c.names, c.count);
}

bool catalog_too_many_claims(const struct definition *d)
{
	struct rule_claims c;
	pthread_mutex_lock(&lock);
	gather(&c, d);
	pthread_mutex_unlock(&lock);
	return c.too_many;
}

/* ---- from what is attached to what is wanted, at the home ---- */

static void settle(struct str name);

static bool same_tables(const struct definition *a, const struct definition *b)
{
	bool same = str_eq(a->database, b->database) && str_eq(a->table, b->table) &&
		a->depend_count == b->depend_count;
	for (size_t i = 0; same && i < a->depend_count; i++)
		same = str_eq(a->depends[i], b->depends[i]);
	return same;
}

static void on_tidings(struct post *p)
{
	const struct tidings *t = (const struct tidings *)(const void *)p;
	bool told = t->kind == TIDINGS_LIVE || t->kind == TIDINGS_TROUBLE;
	pthread_mutex_lock(&lock);
	struct entry *e = told ? find(t->definition->name) : NULL;
	if (e && e->attached)
		set_state(e, t->kind == TIDINGS_LIVE ? DATASET_LIVE : DATASET_TROUBLE);
	pthread_mutex_unlock(&lock);
	past_moved(t->definition->name);
	feed_tidings(p);
	if (told)
		catalog_look_at_waits();
}

static void on_detached(void *context)
{
	char *text = context;
	struct str name = str_of(text);
	pthread_mutex_lock(&lock);
	struct entry *e = find(name);
	assert(e && e->moving);
	e->moving = false;
	definition_unref(&e->current);
	forget_if_empty(e);
	pthread_mutex_unlock(&lock);
	settle(name);
	catalog_look_at_waits();
	free(text);
}

/* The lock is held, and let go of. */
static void detach(struct entry *e)
{
	const struct definition *next = wanted(e);
	struct attached *attached = e->attached;
	bool drop = !ending && (!next || !same_tables(e->current, next));
	char *name = mem_copy(name_of(e));
	e->attached = NULL;
	e->moving = true;
	set_state(e, DATASET_STARTING);
	pthread_mutex_unlock(&lock);
	if (ending) {
		feed_let_go(str_of(name));
	} else {
		feed_dropped(str_of(name));
		past_moved(str_of(name));
	}
	database_detach(&attached, drop, on_detached, name);
}

/* The lock is held. What the system has not got now it may have later. */
static void attach(struct entry *e, struct definition *d)
{
	e->attached = database_attach(d, worker_self(), on_tidings);
	if (e->attached)
		e->current = definition_ref(d);
	else
		catalog_settle_later();
	set_state(e, e->attached ? DATASET_STARTING : DATASET_TROUBLE);
}

static void settle(struct str name)
{
	pthread_mutex_lock(&lock);
	struct entry *e = find(name);
	struct definition *want = e && !ending ? wanted(e) : NULL;
	if (e && !e->moving && e->current && e->current != want) {
		detach(e);
		return;
	}
	if (e && !e->moving && !e->current && want && awake)
		attach(e, want);
	if (e && !e->moving && !e->current)
		forget_if_empty(e);
	pthread_mutex_unlock(&lock);
}

struct settle_post {
	struct post post;
	size_t n;
	char name[DATASET_NAME_MAX];
};

static void run_settle(struct post *p)
{
	struct settle_post *s = (struct settle_post *)(void *)p;
	settle((struct str){s->name, s->n});
	free(s);
}

static void settle_all(void)
{
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < count; i++) {
		struct settle_post *s = mem_new(struct settle_post);
		s->post.run = run_settle;
		s->n = entries[i]->n;
		memcpy(s->name, entries[i]->name, s->n);
		worker_post(worker_home(name_of(entries[i])), &s->post);
	}
	pthread_mutex_unlock(&lock);
}

bool catalog_awake(void)
{
	return awake;
}

void catalog_wake(void)
{
	if (!atomic_exchange(&awake, true))
		settle_all();
}

/* The lock is held. */
static bool is_settled(const struct entry *e)
{
	bool moves = e && (e->moving || (e->current && e->current != wanted(e)));
	return !e || (!moves && e->state != DATASET_STARTING);
}

bool catalog_settled(struct str name)
{
	bool yes = true;
	pthread_mutex_lock(&lock);
	if (name.n)
		yes = is_settled(find(name));
	for (size_t i = 0; i < count && !name.n && yes; i++)
		yes = entries[i]->adding || is_settled(entries[i]);
	pthread_mutex_unlock(&lock);
	return yes;
}

/* ---- finding ---- */

struct definition *catalog_find(struct str name, struct attached **ret_attached)
{
	struct definition *d = NULL;
	pthread_mutex_lock(&lock);
	const struct entry *e = find(name);
	if (e && wanted(e)) {
		d = definition_ref(wanted(e));
		*ret_attached = e->current == d ? e->attached : NULL;
	}
	pthread_mutex_unlock(&lock);
	return d;
}

void catalog_unavailable(struct call *c)
{
	call_refuse(c, ERR_OVERLOADED, .reason = "dataset_unavailable",
		.message = "The dataset is not there just now; its operator can see why.",
		.retry_after = OVERLOADED_RETRY_S);
}

enum err catalog_named(struct call *c, struct str name, struct definition **ret_definition,
	struct attached **ret_attached)
{
	struct attached *attached = NULL;
	struct definition *d =
		principal_sees_dataset(c->who, name) ? catalog_find(name, &attached) : NULL;
	if (!d) {
		call_refuse(c, ERR_NOT_FOUND, .reason = "no_such_dataset",
			.message = "There is no such dataset.", .field = STR("dataset"));
		return ERR_NOT_FOUND;
	}
	if (!attached) {
		definition_unref(&d);
		catalog_unavailable(c);
		return ERR_OVERLOADED;
	}
	*ret_definition = d;
	*ret_attached = attached;
	return ERR_OK;
}

/* The lock is held. */
static struct listed list(const struct entry *e)
{
	struct listed l = {.definition = definition_ref(wanted(e))};
	if (e->attached) {
		database_status(e->attached, &l.status);
	} else if (e->state == DATASET_TROUBLE) {
		l.status.state = DATASET_TROUBLE;
		snprintf(l.status.what, sizeof(l.status.what),
			"there are no threads or open files left for it");
		snprintf(l.status.remedy, sizeof(l.status.remedy),
			"raise the limits of the service: LimitNOFILE, TasksMax");
	}
	return l;
}

bool catalog_listed(struct str name, struct listed *ret)
{
	pthread_mutex_lock(&lock);
	const struct entry *e = find(name);
	bool there = e && wanted(e);
	if (there)
		*ret = list(e);
	pthread_mutex_unlock(&lock);
	return there;
}

size_t catalog_list(struct str after, struct listed *ret_list, size_t max)
{
	size_t n = 0;
	pthread_mutex_lock(&lock);
	size_t at = place_of(after);
	if (after.n && at < count && str_eq(name_of(entries[at]), after))
		at++;
	for (; at < count && n < max; at++)
		if (wanted(entries[at]))
			ret_list[n++] = list(entries[at]);
	pthread_mutex_unlock(&lock);
	return n;
}

bool catalog_kinds(struct str name, bool *ret_configured, bool *ret_stored)
{
	pthread_mutex_lock(&lock);
	const struct entry *e = find(name);
	*ret_configured = e && e->configured;
	*ret_stored = e && e->stored;
	pthread_mutex_unlock(&lock);
	return *ret_configured || *ret_stored;
}

/* ---- what is wanted ---- */

enum err catalog_reserve(struct str name)
{
	enum err err = ERR_OK;
	pthread_mutex_lock(&lock);
	struct entry *e = find(name);
	if (e && (wanted(e) || e->adding || e->current))
		err = ERR_CONFLICT;
	else if (!(e = enter(name)))
		err = ERR_FULL;
	else
		e->adding = true;
	pthread_mutex_unlock(&lock);
	return err;
}

void catalog_put(struct str name, struct definition **d)
{
	pthread_mutex_lock(&lock);
	struct entry *e = find(name);
	assert(e);
	e->adding = false;
	definition_unref(&e->stored);
	e->stored = *d;
	*d = NULL;
	keep_claims();
	pthread_mutex_unlock(&lock);
	settle(name);
}

static void configure_one(struct definition *d)
{
	struct entry *e = enter(d->name);
	if (!e) {
		log_error("there are too many datasets", LOG_STR("dataset", d->name));
		return;
	}
	if (e->stored && !e->configured)
		log_warn("the dataset of the configuration takes the place of one that was added",
			LOG_STR("dataset", d->name));
	if (e->configured && definition_same(e->configured, d))
		return;
	definition_unref(&e->configured);
	e->configured = definition_ref(d);
}

static bool is_among(const struct entry *e, struct definition *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(list[i]->name, name_of(e)))
			return true;
	return false;
}

static void unconfigure(struct entry *e)
{
	if (!e->stored)
		log_warn("the configuration does not name a dataset any more: what captures its "
			 "table is taken out, with its log",
			LOG_STR("dataset", name_of(e)),
			LOG_STR("database", e->configured->database));
	definition_unref(&e->configured);
}

void catalog_configure(struct definition *const *list, size_t n)
{
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < count; i++)
		if (entries[i]->configured && !is_among(entries[i], list, n))
			unconfigure(entries[i]);
	for (size_t i = 0; i < n; i++)
		configure_one(list[i]);
	keep_claims();
	pthread_mutex_unlock(&lock);
	if (running)
		settle_all();
}

/* ---- start and end ---- */

static void load_row(struct str name, struct str json)
{
	static const struct field fields[] = {DEFINITION_FIELDS, {0}};
	char *text = mem_copy(json); /* is decoded where it stands */
	struct definition_words words = {0};
	struct params_problem wrong;
	struct definition_problem problem = {.field = "definition"};
	struct definition *d = NULL;
	struct str all = {text, json.n};
	if (json_check(all, NULL) || params_decode(all, fields, &words, &wrong) ||
		definition_read(&words, &d, &problem)) {
		log_error("a dataset in the store cannot be understood", LOG_STR("dataset", name),
			LOG_TEXT("why", problem.why));
	} else {
		struct entry *e = enter(name);
		if (e)
			e->stored = definition_ref(d);
	}
	definition_unref(&d);
	free(text);
}

enum err catalog_load(struct buf *why)
{
	char *after = mem_copy(STR(""));
	enum err err = ERR_OK;
	for (size_t rows = PAGE; rows == PAGE && !err;) {
		struct store_op *op = store_ask_now(
			STORE_DATASET_LIST, STORE_TEXT(str_of(after)), STORE_INT(PAGE), STORE_END);
		err = op->err;
		rows = op->rows;
		for (size_t i = 0; i < rows; i++)
			load_row(store_str(op, i, 0), store_str(op, i, 1));
		free(after);
		after = mem_copy(rows ? store_str(op, rows - 1, 0) : STR(""));
		store_op_free(&op);
	}
	free(after);
	if (err)
		buf_addf(why, "the store does not say which datasets were added\n");
	return err;
}

void catalog_begin(bool all)
{
	definition_checks_stop(false);
	pool = pool_new("datasets", 1, POOL_QUEUE);
	running = true;
	if (!all)
		return;
	if (pool)
		leftovers_look(pool);
	catalog_wake();
}

struct pool *catalog_pool(void)
{
	return pool;
}

void catalog_settle_here(struct worker *w, void *context)
{
	(void)context;
	for (size_t i = 0;; i++) {
		char name[DATASET_NAME_MAX];
		size_t n = 0;
		pthread_mutex_lock(&lock);
		bool more = i < count;
		if (more && worker_home(name_of(entries[i])) == w) {
			n = entries[i]->n;
			memcpy(name, entries[i]->name, n);
		}
		pthread_mutex_unlock(&lock);
		if (!more)
			return;
		if (n)
			settle((struct str){name, n});
	}
}

static bool all_detached(struct worker *w)
{
	bool yes = true;
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < count && yes; i++)
		yes = !entries[i]->current || worker_home(name_of(entries[i])) != w;
	pthread_mutex_unlock(&lock);
	return yes;
}

void catalog_end(void)
{
	running = false;
	ending = true;
	workers_each(catalog_settle_here, NULL);
	if (!workers_wait(all_detached, END_MS))
		log_error("a database of datasets did not let go in time");
	pool_free(&pool);
}

void catalog_finish(void)
{
	for (size_t i = 0; i < count; i++)
		free_entry(entries[i]);
	count = 0;
	running = awake = ending = false;
	claims_keep(NULL, 0);
}
