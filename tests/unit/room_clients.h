/* room_clients.h: clients of rooms for tests: endpoints on real workers, driven from the test's own
 * thread, that keep what they hear in the order they hear it. For tests/unit/test_*rooms*.c. */
#pragma once

#include "signaling/people.h"
#include "signaling/signaling.h"
#include "store/fault.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/metrics.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

enum { PATIENCE_S = 20, ALL_SCOPES_BUT_SPECIAL = SCOPES_DEFAULT };

struct heard {
	struct heard *next;
	bool is_answer;
	uint64_t tag; /* of an answer */
	struct str text;
};

struct client {
	struct endpoint endpoint;
	int worker;
	struct principal *who;
	uint64_t last_tag; /* the test's thread only */
	bool ended;
	/* shared */
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct heard *first, **last;
};

/* ---- running something on a worker, and waiting for it ---- */

struct errand {
	struct post post;
	void (*run)(void *context);
	void *context;
	uv_sem_t done;
};

static inline void run_errand(struct post *p)
{
	struct errand *e = (struct errand *)p;
	e->run(e->context);
	uv_sem_post(&e->done);
}

static inline void on_worker(int index, void (*run)(void *), void *context)
{
	struct errand e = {.post.run = run_errand, .run = run, .context = context};
	uv_sem_init(&e.done, 0);
	worker_post(worker_at(index), &e.post);
	uv_sem_wait(&e.done);
	uv_sem_destroy(&e.done);
}

static inline void nothing(void *context)
{
	(void)context;
}

/* Until all that was on its way has arrived, and what that caused: a call, its events, its answer,
 * a place given back. What the store has not answered is not waited for. */
static inline void let_all_arrive(void)
{
	for (int round = 0; round < 5; round++)
		for (int i = 0; i < workers_count(); i++)
			on_worker(i, nothing, NULL);
}

static inline void settle_here(void *context)
{
	(void)context;
	signaling_settle();
}

/* Until everybody has heard of all that has happened, also of what was gathered to be told later. */
static inline void let_all_be_told(void)
{
	let_all_arrive();
	for (int i = 0; i < workers_count(); i++)
		on_worker(i, settle_here, NULL);
	let_all_arrive();
}

/* ---- hearing ---- */

static inline void hear(struct client *k, bool is_answer, uint64_t tag, struct str text)
{
	struct heard *h = mem_new(struct heard);
	*h = (struct heard){NULL, is_answer, tag, {mem_copy(text), text.n}};
	pthread_mutex_lock(&k->lock);
	*k->last = h;
	k->last = &h->next;
	pthread_cond_broadcast(&k->more);
	pthread_mutex_unlock(&k->lock);
}

static inline void hear_event(struct endpoint *e, struct frame *f)
{
	hear((struct client *)e, false, 0, frame_str(f));
	frame_unref(&f);
}

static inline void hear_answer(struct endpoint *e, struct call *c)
{
	if (c->answer)
		hear((struct client *)e, true, c->tag, frame_str(c->answer));
	call_free(&c);
}

static const struct endpoint_ops hearing = {.event = hear_event, .answer = hear_answer};

static inline struct heard *find_heard(struct client *k, bool answer, uint64_t tag, bool take)
{
	for (struct heard **h = &k->first; *h; h = &(*h)->next) {
		struct heard *it = *h;
		if (it->is_answer != answer || (answer && it->tag != tag))
			continue;
		if (take) {
			*h = it->next;
			if (!it->next)
				k->last = h;
		}
		return it;
	}
	return NULL;
}

static inline struct heard *take_heard(struct client *k, bool answer, uint64_t tag)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PATIENCE_S;
	struct heard *h;
	int rc = 0;
	pthread_mutex_lock(&k->lock);
	while (!(h = find_heard(k, answer, tag, true)) && !rc)
		rc = pthread_cond_timedwait(&k->more, &k->lock, &until);
	pthread_mutex_unlock(&k->lock);
	return h;
}

/* Texts handed out live until the test ends. */
static char *kept_texts[65536];
static size_t kept_count;

static inline struct str keep_text(struct heard *h)
{
	assert_true(kept_count < sizeof(kept_texts) / sizeof(*kept_texts));
	struct str text = h->text;
	kept_texts[kept_count++] = (char *)(uintptr_t)text.p;
	free(h);
	return text;
}

/* ---- clients ---- */

static inline void register_client(void *context)
{
	struct client *k = context;
	addr_register(&k->endpoint, &hearing);
}

static inline struct client *client_of(int worker, const struct principal *who)
{
	struct client *k = mem_new(struct client);
	k->worker = worker;
	k->who = principal_new(who);
	k->last = &k->first;
	pthread_mutex_init(&k->lock, NULL);
	pthread_cond_init(&k->more, NULL);
	on_worker(worker, register_client, k);
	return k;
}

static inline struct client *client_new(int worker, const char *user)
{
	struct principal who = {
		.user = str_of(user), .name = str_of(user), .scopes = ALL_SCOPES_BUT_SPECIAL};
	return client_of(worker, &who);
}

static inline void release_clean(void *context)
{
	struct client *k = context;
	addr_release(&k->endpoint, true);
}

static inline void release_lost(void *context)
{
	struct client *k = context;
	addr_release(&k->endpoint, false);
}

static inline void client_end(struct client *k, bool clean)
{
	if (!k->ended)
		on_worker(k->worker, clean ? release_clean : release_lost, k);
	k->ended = true;
}

static inline void client_free(struct client *k)
{
	client_end(k, true);
	for (struct heard *h = k->first, *next; h; h = next) {
		next = h->next;
		free((char *)(uintptr_t)h->text.p);
		free(h);
	}
	principal_unref(&k->who);
	pthread_mutex_destroy(&k->lock);
	pthread_cond_destroy(&k->more);
	free(k);
}

/* ---- calling ---- */

static inline const struct method *method_named(const char *name)
{
	static const struct method *const tables[] = {signaling_methods, room_update_methods,
		room_roles_methods, presence_methods, occupancy_methods};
	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++)
		for (const struct method *m = tables[i]; m->name; m++)
			if (strcmp(m->name, name) == 0)
				return m;
	fail_msg("no method %s", name);
	return NULL;
}

struct call_post {
	struct post post;
	struct client *from;
	const struct method *method;
	uint64_t tag;
	char params[];
};

static inline void run_call(struct post *p)
{
	struct call_post *it = (struct call_post *)p;
	struct call *c = NULL;
	struct params_problem problem = {0};
	struct str params = str_of(it->params);
	enum err err = json_check(params, NULL);
	if (!err)
		err = call_new(it->method, it->from->who, STR("1"), params, &c, &problem);
	if (err) {
		char text[256];
		int n = snprintf(text, sizeof(text),
			"{\"error\":{\"data\":{\"reason\":\"%s\","
			"\"field\":\"" STR_FMT "\"}}}",
			err_info(err)->reason, STR_ARG(problem.field));
		hear(it->from, true, it->tag, (struct str){text, (size_t)n});
	} else {
		c->tag = it->tag;
		call_send(c, &it->from->endpoint);
	}
	free(it);
}

/* Sends a call and goes on; returns its tag. */
static inline uint64_t client_send(
	struct client *k, const char *method, const char *format, va_list args)
{
	struct buf b = BUF_INIT(1024 * 1024);
	buf_addvf(&b, format, args);
	assert_true(!b.err);
	struct call_post *it = mem_alloc(sizeof(*it) + b.n + 1);
	it->post.run = run_call;
	it->from = k;
	it->method = method_named(method);
	it->tag = ++k->last_tag;
	memcpy(it->params, b.p, b.n + 1);
	buf_free(&b);
	worker_post(worker_at(k->worker), &it->post);
	return k->last_tag;
}

__attribute__((format(printf, 3, 4))) static inline uint64_t send_call(
	struct client *k, const char *method, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	uint64_t tag = client_send(k, method, format, args);
	va_end(args);
	return tag;
}

static inline struct str answer_to(struct client *k, uint64_t tag)
{
	struct heard *h = take_heard(k, true, tag);
	if (!h)
		fail_msg("no answer came");
	return keep_text(h);
}

/* Sends a call and waits for its answer. */
__attribute__((format(printf, 3, 4))) static inline struct str ask(
	struct client *k, const char *method, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	uint64_t tag = client_send(k, method, format, args);
	va_end(args);
	return answer_to(k, tag);
}

/* ---- looking at what was heard ---- */

/* The value at a path of members and indexes ("result.members.0.peer"); n 0 when there is none. */
static inline struct str value_at(struct str text, const char *path)
{
	struct str v = text;
	while (*path) {
		char step[64];
		size_t n = strcspn(path, ".");
		assert_true(n < sizeof(step));
		memcpy(step, path, n);
		step[n] = 0;
		path += path[n] ? n + 1 : n;
		if (json_kind(v) == JSON_ARRAY) {
			long at = strtol(step, NULL, 10);
			struct json_walk w = json_walk(v);
			bool there = true;
			for (long i = 0; i <= at && there; i++)
				there = json_next(&w, NULL, &v);
			if (!there)
				return STR("");
		} else if (!json_get(v, step, &v)) {
			return STR("");
		}
	}
	return json_trim(v);
}

static inline size_t length_at(struct str text, const char *path)
{
	size_t n = 0;
	struct str item;
	for (struct json_walk w = json_walk(value_at(text, path)); json_next(&w, NULL, &item);)
		n++;
	return n;
}

/* A string's text between its quotes, as a C string that lives until the test ends. */
static inline const char *text_at(struct str text, const char *path)
{
	struct str v = value_at(text, path);
	if (v.n < 2 || *v.p != '"')
		fail_msg("no string at %s of " STR_FMT, path, STR_ARG(text));
	char *copy = mem_copy((struct str){v.p + 1, v.n - 2});
	kept_texts[kept_count++] = copy;
	return copy;
}

static inline void expect_at(struct str text, const char *path, const char *json)
{
	struct str v = value_at(text, path);
	if (!str_is(v, json))
		fail_msg("%s is " STR_FMT " and not %s in " STR_FMT, path, STR_ARG(v), json,
			STR_ARG(text));
}

static inline void expect_reason(struct str answer, const char *reason)
{
	char quoted[64];
	snprintf(quoted, sizeof(quoted), "\"%s\"", reason);
	expect_at(answer, "error.data.reason", quoted);
}

static inline void expect_result(struct str answer)
{
	if (!value_at(answer, "result").n)
		fail_msg("refused: " STR_FMT, STR_ARG(answer));
}

/* The next event, which must be of this method. */
static inline struct str event_of(struct client *k, const char *method)
{
	struct heard *h = take_heard(k, false, 0);
	if (!h)
		fail_msg("no %s came", method);
	struct str text = keep_text(h);
	char quoted[64];
	snprintf(quoted, sizeof(quoted), "\"%s\"", method);
	expect_at(text, "method", quoted);
	return text;
}

static inline void expect_silence(struct client *k)
{
	let_all_be_told();
	pthread_mutex_lock(&k->lock);
	struct heard *h = find_heard(k, false, 0, false);
	pthread_mutex_unlock(&k->lock);
	if (h)
		fail_msg("heard " STR_FMT, STR_ARG(h->text));
}

static inline struct str joined(struct client *k, const char *room)
{
	struct str answer = ask(k, "room.join", "{\"room\":\"%s\"}", room);
	expect_result(answer);
	return answer;
}

/* ---- the service around them ---- */

static char test_folder[256], test_db[320];

static inline void remove_db(void)
{
	static const char *const ends[] = {"", "-wal", "-shm"};
	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
		char path[400];
		snprintf(path, sizeof(path), "%s%s", test_db, ends[i]);
		unlink(path);
	}
}

static inline void make_folder(void)
{
	const char *tmp = getenv("TMPDIR");
	snprintf(test_folder, sizeof(test_folder), "%s/test_rooms.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(test_folder))
		fail_msg("no folder");
	snprintf(test_db, sizeof(test_db), "%s/signalbox.db", test_folder);
	log_configure(LOG_ERROR + 1, false, 2); /* failures are wanted here */
}

static inline void remove_folder(void)
{
	remove_db();
	rmdir(test_folder);
}

/* For groups of tests that keep their stores in one folder. */
static inline int folder_setup(void **state)
{
	(void)state;
	make_folder();
	return 0;
}

static inline int folder_teardown(void **state)
{
	(void)state;
	remove_folder();
	return 0;
}

static size_t service_calls_max = 100000;

/* plan: of store/fault.h, or NULL. */
static inline void start_service(
	const struct signaling_options *options, int workers, const char *plan)
{
	static const struct worker_part *const parts[] = {
		&people_part, &presence_part, &room_watch_part, &signaling_part, NULL};
	char why[STORE_WHY_MAX];
	const struct store_driver *driver =
		plan ? store_fault(&store_sqlite, plan, why) : &store_sqlite;
	if (!driver || store_open(driver, test_db, 10000, why))
		fail_msg("%s", why);
	signaling_configure(options);
	struct workers_options w = {
		.count = workers, .calls_max = service_calls_max, .parts = parts};
	assert_int_equal(workers_start(&w), ERR_OK);
}

static inline void stop_service(void)
{
	workers_drain(10000);
	store_close();
	workers_stop();
	while (kept_count)
		free(kept_texts[--kept_count]);
	assert_int_equal(metric_read(METRIC_MEMBERS), 0);
	assert_int_equal(metric_read(METRIC_ROOMS), 0);
}
