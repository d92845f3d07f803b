/* The feed over a database that is a few lines of C: readers that come, go, are away, grant little, while rows
 * change and the database leaps or is in trouble. Each reader's view is held against the rows whenever it is told that it
 * is up to date, and what it is told has no hole. SEED=N repeats the choices. */
#include "core/mem.h"
#include "core/worker.h"
#include "dataset/catalog.h"
#include "dataset/columns.h"
#include "dataset/feed.h"
#include "dataset/feed_parts.h"
#include "dataset/subscriptions.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

enum { KEYS = 12, PAGE = 3, CLIENTS = 12, SHAPES = 3, LOG_MAX = 100000, ROUNDS = 4000 };

/* ---- the database: keys with numbers, and a log of what changed ---- */

static struct {
	int64_t seq;
	int values[KEYS];  /* 0: no row */
	int log[LOG_MAX];  /* the key that change i changed */
	int past[LOG_MAX]; /* and to what */
	int joined[SHAPES];
	bool live;
	struct post *steps; /* that wait for the pool */
	size_t step_count;
} db;

static struct definition definition = {.name = {"d", 1}};
static struct column columns[] = {{.name = {"k", 1}, .key = 1}, {.name = {"v", 1}}};
static struct layout layout = {.version = 1, .count = 2, .columns = columns};
static size_t two[] = {0, 1};
/* all rows, those with odd keys, and only word of any */
static struct shape shapes[SHAPES] = {
	{.id = "all", .column_count = 2, .columns = two, .layout = &layout},
	{.id = "odd", .column_count = 2, .columns = two, .layout = &layout},
	{.id = "word", .column_count = 2, .columns = two, .layout = &layout, .notify = true}};

static bool shows(int shape, int key)
{
	return shape != 1 || key % 2;
}

static int number_of(const struct shape *s)
{
	return (int)(s - shapes);
}

struct definition *catalog_find(struct str name, struct attached **ret_attached)
{
	*ret_attached = (struct attached *)&db;
	return str_is(name, "d") ? &definition : NULL;
}

struct definition *definition_ref(const struct definition *d)
{
	return (struct definition *)(uintptr_t)d;
}

void definition_unref(struct definition **d)
{
	*d = NULL;
}

struct layout *layout_ref(const struct layout *l)
{
	return (struct layout *)(uintptr_t)l;
}

void layout_unref(struct layout **l)
{
	*l = NULL;
}

enum err shape_new(const struct shape_wish *wish, const struct definition *d,
	const struct layout *l, const struct principal *who, struct shape **ret_shape,
	struct wish_problem *ret_problem)
{
	(void)d, (void)l, (void)ret_problem;
	*ret_shape = wish->notify ? &shapes[2] : wish->where.n ? &shapes[1] : &shapes[0];
	return str_is(who->user, "nobody") ? ERR_FORBIDDEN : ERR_OK;
}

struct shape *shape_ref(const struct shape *s)
{
	return (struct shape *)(uintptr_t)s;
}

void shape_unref(struct shape **s)
{
	*s = NULL;
}

struct window *window_ref(const struct window *w)
{
	return (struct window *)(uintptr_t)w;
}

void window_unref(struct window **w)
{
	*w = NULL;
}

bool window_is_slow(const struct window *w)
{
	(void)w;
	return false;
}

void columns_write(struct json_out *o, const struct definition *d, const struct layout *l,
	const struct principal *who)
{
	(void)d, (void)l, (void)who;
	json_open(o, "columns", '[');
	json_close(o, ']');
}

void tidings_free(struct tidings **t)
{
	for (size_t i = 0; i < (*t)->told_count; i++) {
		for (size_t k = 0; k < (*t)->told[i].part_count; k++)
			free((char *)(uintptr_t)(*t)->told[i].parts[k].p);
		free((*t)->told[i].parts);
	}
	free((*t)->told);
	free(*t);
	*t = NULL;
}

struct step_result *step_result_ref(struct step_result *r)
{
	r->refs++;
	return r;
}

void step_result_unref(struct step_result **r)
{
	struct step_result *it = *r;
	*r = NULL;
	if (!it || --it->refs)
		return;
	for (size_t i = 0; i < it->count; i++)
		free((char *)(uintptr_t)it->messages[i].body.p);
	free(it->messages);
	free((char *)(uintptr_t)it->next.cursor.p);
	free(it);
}

void database_status(struct attached *a, struct dataset_status *ret)
{
	(void)a;
	*ret = (struct dataset_status){.seq = db.seq};
}

void database_slowest(struct attached *a, int64_t seq)
{
	(void)a, (void)seq;
}

static void add(struct step_result *r, enum step_kind kind, struct buf *body)
{
	size_t n = body->n;
	r->messages = mem_resize(r->messages, r->count + 1, sizeof(*r->messages));
	r->messages[r->count++] = (struct step_message){kind, {buf_take(body), n}};
}

static void put_op(struct buf *b, bool *comma, int key, int value)
{
	buf_addf(b, "%s{\"k\":%d,\"v\":%d}", *comma ? "," : "", key, value);
	*comma = true;
}

/* The last of what has changed of each key; in two parts when it is much. */
static void add_changes(struct step_result *r, int shape, int64_t from)
{
	bool changed[KEYS] = {0}, comma = false;
	int count = 0;
	for (int64_t i = from + 1; i <= db.seq; i++)
		if (!changed[db.log[i]] && shows(shape, db.log[i])) {
			changed[db.log[i]] = true;
			count++;
		}
	struct buf b = BUF_INIT(4096);
	int part = 0, told = 0;
	for (int key = 0; key < KEYS; key++) {
		if (!told)
			buf_addf(&b,
				"\"from\":\"%lld\",\"to\":\"%lld\",\"part\":%d,\"last\":%s,\"ops\":"
				"[",
				(long long)from, (long long)db.seq, part,
				part || count < 6 ? "true" : "false");
		told = 1;
		if (changed[key])
			put_op(&b, &comma, key, db.values[key]);
		if (key == KEYS / 2 && count >= 6 && !part) {
			buf_adds(&b, STR("]"));
			add(r, STEP_CHANGE, &b);
			b = BUF_INIT(4096);
			part++;
			told = 0;
			comma = false;
		}
	}
	buf_adds(&b, STR("]"));
	add(r, STEP_CHANGE, &b);
}

static void add_page(struct step_result *r, int shape, int after)
{
	struct buf b = BUF_INIT(4096);
	bool comma = false;
	int key = after + 1, count = 0;
	buf_addf(&b, "\"as_of\":\"%lld\",\"rows\":[", (long long)db.seq);
	for (; key < KEYS && count < PAGE; key++)
		if (shows(shape, key) && db.values[key]) {
			put_op(&b, &comma, key, db.values[key]);
			count++;
		}
	r->next.whole = key == KEYS;
	char at[2] = {(char)(key - 1), 0};
	if (!r->next.whole)
		r->next.cursor = (struct str){mem_copy((struct str){at, 1}), 1};
	buf_addf(&b, "],\"last\":%s", r->next.whole ? "true" : "false");
	add(r, STEP_PAGE, &b);
}

static void take_step(struct step_job *s)
{
	int shape = number_of(s->shape);
	struct step_result *r = mem_new(struct step_result);
	r->refs = 1;
	r->next = (struct standing_at){.seq = db.seq, .whole = true};
	bool notify = s->shape->notify;
	if (s->at.seq >= 0 && (notify ? s->at.seq < db.seq : s->at.seq < db.seq))
		add_changes(r, shape, s->at.seq);
	if (!s->at.whole && !notify)
		add_page(r, shape, s->at.cursor.n ? s->at.cursor.p[0] : -1);
	r->at_head = r->next.whole;
	s->result = r;
}

enum err database_step(struct step_job *s)
{
	if (db.step_count > 5)
		return ERR_OVERLOADED;
	s->job.post.next = db.steps;
	db.steps = &s->job.post;
	db.step_count++;
	return ERR_OK;
}

/* One of those that wait, by chance. */
static void run_step(void)
{
	struct post **at = &db.steps;
	for (long n = db.step_count ? rand() % (long)db.step_count : 0; n > 0; n--)
		at = &(*at)->next;
	struct step_job *s = (struct step_job *)*at;
	if (!s)
		return;
	*at = s->job.post.next;
	db.step_count--;
	if (db.live)
		take_step(s);
	else
		s->err = ERR_OVERLOADED;
	s->done(s);
}

static void run_join(struct post *p)
{
	struct step_job *s = (struct step_job *)p;
	if (db.live && !s->err) {
		take_step(s);
		db.joined[number_of(s->shape)]++;
	} else {
		s->err = ERR_OVERLOADED;
	}
	s->done(s);
}

void database_join(struct step_job *s)
{
	s->job.post.run = run_join;
	worker_post(worker_self(), &s->job.post);
}

void database_leave(struct attached *a, const struct shape *shape)
{
	assert_ptr_equal(a, &db);
	assert_true(db.joined[number_of(shape)]-- > 0);
}

/* ---- clients ---- */

struct client {
	struct endpoint endpoint; /* first */
	struct principal *who;
	struct receipt *asked;
	bool away;
	struct view {
		bool there, whole;
		int64_t to, sent, credit;
		int values[KEYS], coming[KEYS];
		bool changed[KEYS];
	} views[SHAPES];
	size_t kept; /* messages that it has not acknowledged */
};

static struct client clients[CLIENTS];
static size_t uptodates, resets, refused;

static struct str member(struct str object, const char *name)
{
	struct str value;
	assert_true(json_get(object, name, &value));
	return value;
}

static int64_t number(struct str object, const char *name)
{
	int64_t n;
	assert_int_equal(json_decode_int(member(object, name), &n), ERR_OK);
	return n;
}

static int64_t seq_of(struct str params, const char *name)
{
	return strtoll(member(params, name).p + 1, NULL, 10);
}

static void take_rows(struct view *v, struct str list, int *values, bool *changed)
{
	struct str key, row;
	(void)v;
	for (struct json_walk w = json_walk(list); json_next(&w, &key, &row);) {
		int64_t k = number(row, "k");
		assert_true(k >= 0 && k < KEYS);
		values[k] = (int)number(row, "v");
		if (changed)
			changed[k] = true;
	}
}

static void take_change(struct view *v, struct str params)
{
	assert_int_equal(seq_of(params, "from"), v->to);
	if (member(params, "part").p[0] == '0')
		memset(v->changed, 0, sizeof(v->changed));
	take_rows(v, member(params, "ops"), v->coming, v->changed);
	if (!str_is(member(params, "last"), "true"))
		return;
	for (int i = 0; i < KEYS; i++)
		if (v->changed[i])
			v->values[i] = v->coming[i];
	memset(v->changed, 0, sizeof(v->changed));
	v->to = seq_of(params, "to");
}

static void check_view(const struct view *v, int shape, int64_t at)
{
	int then[KEYS] = {0};
	for (int64_t i = 1; i <= at; i++)
		then[db.log[i]] = db.past[i];
	for (int key = 0; key < KEYS; key++)
		assert_int_equal(v->values[key], shows(shape, key) ? then[key] : 0);
}

static void on_event(struct endpoint *e, struct frame *f)
{
	struct client *c = (struct client *)e;
	struct str text = frame_str(f), params = member(text, "params"),
		   sub = member(params, "sub");
	int shape = sub.p[1] == 'a' ? 0 : sub.p[1] == 'o' ? 1 : 2;
	struct view *v = &c->views[shape];
	const char *what = member(text, "method").p + 9;
	assert_true(v->there);
	c->kept++;
	assert_true(c->kept <= 256 + 8);
	if (*what == 'r') { /* reset */
		*v = (struct view){0};
		resets++;
		frame_unref(&f);
		return;
	}
	assert_true(++v->sent <= v->credit);
	if (*what == 'p') {
		v->to = seq_of(params, "as_of");
		take_rows(v, member(params, "rows"), v->values, NULL);
	} else if (*what == 'c') {
		take_change(v, params);
	} else if (shape == 2) {
		v->to = seq_of(params, "seq");
	} else {
		assert_int_equal(seq_of(params, "seq"), v->to);
		check_view(v, shape, v->to);
		v->whole = true;
		uptodates++;
	}
	frame_unref(&f);
}

static void on_answer(struct endpoint *e, struct call *call)
{
	struct client *c = (struct client *)e;
	refused += call->outcome != ERR_OK;
	if (!call->outcome && call->tag < SHAPES) {
		struct view *v = &c->views[call->tag];
		bool tail = memmem(call->answer->bytes, call->answer->size, "\"tail\"", 6);
		struct view fresh = {.there = true, .credit = v->there ? v->credit : 64};
		if (!v->there && !tail)
			*v = fresh;
		v->there = true;
		if (v->credit < 64)
			v->credit = 64;
	} else if (!call->outcome && call->tag < 2 * SHAPES) {
		c->views[call->tag - SHAPES] = (struct view){0};
	}
	call_free(&call);
}

static void on_asked(struct endpoint *e, struct receipt *r)
{
	struct client *c = (struct client *)e;
	assert_null(c->asked);
	c->asked = r;
}

static const struct endpoint_ops client_ops = {
	.event = on_event, .answer = on_answer, .asked = on_asked};

static void call(struct client *c, const char *name, uint64_t tag, const char *params)
{
	const struct method *m = feed_methods;
	struct call *it = NULL;
	struct params_problem problem;
	while (strcmp(m->name, name) != 0)
		m++;
	assert_int_equal(call_new(m, c->who, STR("1"), str_of(params), &it, &problem), ERR_OK);
	it->tag = tag;
	call_send(it, &c->endpoint);
}

static void subscribe(struct client *c, int shape)
{
	static const char *const params[SHAPES] = {"{\"dataset\":\"d\"}",
		"{\"dataset\":\"d\",\"where\":[\"odd\"]}", "{\"dataset\":\"d\",\"notify\":true}"};
	call(c, "dataset.subscribe", (uint64_t)shape, params[shape]);
}

static void grant(struct client *c, int shape, int64_t more)
{
	struct view *v = &c->views[shape];
	char params[128];
	if (!v->there)
		return;
	v->credit = v->sent + more > v->credit ? v->sent + more : v->credit;
	snprintf(params, sizeof(params), "{\"sub\":\"%s\",\"seq\":\"%lld\",\"credit\":%lld}",
		shapes[shape].id, (long long)v->to, (long long)v->credit);
	call(c, "dataset.ack", 99, params);
}

static void acknowledge(struct client *c)
{
	struct receipt *r = c->asked;
	c->asked = NULL;
	if (!r)
		return;
	c->kept = 0;
	receipt_answer(r, false);
}

/* ---- what happens ---- */

static struct tidings *news(enum tidings_kind kind)
{
	struct tidings *t = mem_new(struct tidings);
	t->kind = kind;
	t->definition = &definition;
	t->layout = &layout;
	t->at = db.seq;
	memcpy(t->epoch, "e", 2);
	return t;
}

static void go_live(void)
{
	db.live = true;
	feed_tidings(&news(TIDINGS_LIVE)->post);
}

static void forget_joined(void)
{
	memset(db.joined, 0, sizeof(db.joined));
}

static void change(void)
{
	int key = rand() % KEYS;
	assert_true(db.seq + 1 < LOG_MAX);
	db.seq++;
	db.values[key] = rand() % 4 ? rand() % 1000 + 1 : 0;
	db.log[db.seq] = key;
	db.past[db.seq] = db.values[key];
}

static void tell_shape(struct tidings *t, int shape, int64_t from)
{
	struct buf b = BUF_INIT(4096);
	bool comma = false;
	for (int64_t i = from + 1; i <= db.seq; i++)
		if (shows(shape, db.log[i]))
			put_op(&b, &comma, db.log[i], db.past[i]);
	if (comma) {
		struct told *told = &t->told[t->told_count++];
		told->shape = &shapes[shape];
		told->part_count = shape != 2;
		told->parts = mem_new(struct str);
		size_t n = b.n;
		if (told->part_count)
			told->parts[0] = (struct str){buf_take(&b), n};
	}
	buf_free(&b);
}

static void commit(void)
{
	int64_t from = db.seq;
	for (int n = rand() % 3 + 1; n > 0; n--)
		change();
	if (!db.live)
		return;
	if (rand() % 20 == 0) {
		forget_joined();
		feed_tidings(&news(TIDINGS_LEAP)->post);
		return;
	}
	struct tidings *t = news(TIDINGS_STEP);
	t->told = mem_alloc(SHAPES * sizeof(*t->told));
	for (int i = 0; i < SHAPES; i++)
		if (db.joined[i])
			tell_shape(t, i, from);
	feed_tidings(&t->post);
}

static void trouble(void)
{
	if (!db.live)
		return;
	db.live = false;
	forget_joined();
	feed_tidings(&news(TIDINGS_TROUBLE)->post);
}

static void connected(struct client *c, bool yes)
{
	c->away = !yes;
	worker_connected(worker_self(), c->endpoint.addr, yes);
}

static void anything(struct worker *w, void *context)
{
	struct client *c = &clients[rand() % CLIENTS];
	int shape = rand() % SHAPES, what = rand() % 100;
	char params[64];
	(void)w, (void)context;
	if (what < 35) {
		commit();
	} else if (what < 55) {
		run_step();
	} else if (what < 65) {
		if (!c->views[shape].there)
			subscribe(c, shape);
	} else if (what < 67) {
		if (!c->views[shape].there)
			return;
		snprintf(params, sizeof(params), "{\"sub\":\"%s\"}", shapes[shape].id);
		call(c, "dataset.unsubscribe", (uint64_t)(SHAPES + shape), params);
	} else if (what < 80) {
		grant(c, shape, rand() % 2 ? rand() % 4 : 64);
	} else if (what < 94) {
		acknowledge(c);
	} else if (what < 98) {
		connected(c, c->away);
	} else if (what < 99) {
		trouble();
	} else if (!db.live) {
		go_live();
	}
}

static void everybody_on(struct worker *w, void *context)
{
	(void)w, (void)context;
	if (!db.live)
		go_live();
	for (int i = 0; i < CLIENTS; i++) {
		if (clients[i].away)
			connected(&clients[i], true);
		acknowledge(&clients[i]);
		for (int k = 0; k < SHAPES; k++)
			if (clients[i].views[k].there)
				grant(&clients[i], k, 64);
			else
				subscribe(&clients[i], k);
	}
	while (db.steps)
		run_step();
}

static void begin(struct worker *w, void *context)
{
	(void)w, (void)context;
	for (int i = 0; i < CLIENTS; i++) {
		clients[i].who = principal_new(
			&(struct principal){.user = STR("ann"), .scopes = SCOPE_DATASETS_READ});
		addr_register(&clients[i].endpoint, &client_ops);
	}
	subscribe(&clients[0], 0); /* waits until there is something to read */
	assert_false(clients[0].views[0].there);
	go_live();
	assert_true(clients[0].views[0].there);
}

static size_t in_step;

static void check_all(struct worker *w, void *context)
{
	(void)w, (void)context;
	in_step = 0;
	for (int i = 0; i < CLIENTS; i++)
		for (int k = 0; k < 2; k++)
			if (clients[i].views[k].whole) {
				check_view(&clients[i].views[k], k, db.seq);
				in_step++;
			}
}

static void end(struct worker *w, void *context)
{
	(void)context;
	for (int i = 0; i < CLIENTS; i++) {
		if (clients[i].asked)
			receipt_answer(clients[i].asked, true);
		addr_release(&clients[i].endpoint, true);
		principal_unref(&clients[i].who);
	}
	(void)w;
}

static void nobody_joined(struct worker *w, void *context)
{
	(void)w, (void)context;
	for (int i = 0; i < SHAPES; i++)
		assert_int_equal(db.joined[i], 0);
}

static void readers_see_what_is_there(void **state)
{
	(void)state;
	static const struct worker_part *const parts[] = {&feed_part, NULL};
	struct workers_options options = {.count = 1, .calls_max = 1000, .parts = parts};
	const char *given = getenv("SEED");
	unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
	print_message("SEED=%u\n", seed);
	srand(seed);
	feed_configure(&(struct feed_options){64, 1024, 1 << 20});
	assert_int_equal(workers_start(&options), ERR_OK);
	workers_each(begin, NULL);
	for (int i = 0; i < ROUNDS; i++)
		workers_each(anything, NULL);
	for (int i = 0; i < 40; i++)
		workers_each(everybody_on, NULL);
	workers_each(check_all, NULL);
	print_message("%zu in step at the end, %zu times up to date, %zu resets, %zu refused\n",
		in_step, uptodates, resets, refused);
	assert_int_equal(in_step, 2 * CLIENTS);
	assert_true(uptodates > 100);
	workers_each(end, NULL);
	workers_each(nobody_joined, NULL);
	workers_drain(1000);
	workers_stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(readers_see_what_is_there)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
