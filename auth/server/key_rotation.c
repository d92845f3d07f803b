#include "auth/server/key_rotation.h"

#include "auth/audit.h"
#include "auth/server/key_wait.h"
#include "auth/server/keys.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/pool.h"
#include "store/page.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

enum { TICK_MS = 1000, RETRY_MS = 5000 };

/* What a call wants done, on its way to worker 0 and back. */
struct wish {
	struct post post;
	struct wish *next;
	struct call *call;
	int worker; /* the call's */
	enum wish_kind { ROTATE, ROTATE_NOW, REMOVE } what;
	bool open[KEYS_ALGORITHMS]; /* not done yet; of REMOVE the first */
	char kid[KEYPAIR_KID_MAX];
	enum err err;
};

static int64_t rotation; /* seconds; 0: never by itself */
static void (*on_changed)(struct jwk_set *keys);

static struct {
	pthread_mutex_t lock; /* around pool: it ends while workers run */
	struct pool *pool;
} making = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Worker 0's. One step at a time: busy until all workers have what came of it. */
static _Thread_local struct {
	uv_timer_t timer;
	bool running, busy;
	bool wanted;           /* somebody waits for a key that was never there */
	int64_t not_before_ms; /* behind a failure */
	int to_tell;           /* workers that do not have the newest set yet */
	struct signing_key *made;
	struct wish *wishes, **last;
} here;

static void step(void);

/* ---- home again ---- */

static void write_key(struct json_out *o, const struct store_op *op, size_t row)
{
	json_open(o, NULL, '{');
	json_str(o, "kid", store_str(op, row, 0));
	json_str(o, "alg", store_str(op, row, 1));
	json_str(o, "state", store_str(op, row, 2));
	json_int(o, "created_at", store_int(op, row, 3));
	json_int(o, "active_at", store_int(op, row, 4));
	if (str_is(store_str(op, row, 2), "old"))
		json_int(o, "gone_at", store_int(op, row, 5));
	json_close(o, '}');
}

static void listed(struct store_op *op)
{
	page_reply(op, op->rows, "keys", write_key);
}

void key_list_run(struct call *c)
{
	store_ask(STORE_SIGNING_KEY_LIST, listed, c, STORE_END);
}

static void run_home(struct post *p)
{
	struct wish *w = (struct wish *)p;
	struct call *c = w->call;
	c->state = NULL;
	if (w->err == ERR_NOT_FOUND)
		call_refuse(c, w->err, .field = STR("kid"),
			.message =
				"There is no old key of this kid. One that signs, or will, goes by "
				"being replaced: signalbox key rotate --now, then remove it.");
	else if (w->err == ERR_FULL)
		call_refuse(c, w->err,
			.message =
				"There are too many keys. Wait until old ones have gone, or remove "
				"them: signalbox key list, signalbox key remove KID.");
	else if (w->err)
		call_refuse(c, w->err);
	else
		key_list_run(c);
	free(w);
}

/* The first of those that wait is over. */
static void settle(enum err err)
{
	struct wish *w = here.wishes;
	here.wishes = w->next;
	if (!here.wishes)
		here.last = &here.wishes;
	w->err = err;
	w->post = (struct post){.run = run_home};
	worker_post(worker_at(w->worker), &w->post);
}

static void run_give_up(struct post *p)
{
	free(p);
	key_waiters_refuse();
}

static void fail(const char *what, enum err err)
{
	log_error("signing keys cannot be made or rotated", LOG_TEXT("step", what),
		LOG_TEXT("why", err_info(err)->reason));
	signing_key_unref(&here.made);
	here.busy = here.wanted = false;
	for (int i = 0; i < workers_count(); i++) {
		struct post *p = mem_new(struct post);
		*p = (struct post){.run = run_give_up};
		worker_post(worker_at(i), p);
	}
	here.not_before_ms = (int64_t)worker_now_ms() + RETRY_MS;
	if (here.wishes)
		settle(err);
}

/* ---- all workers have the keys that the store has ---- */

struct notice {
	struct post post;
	struct key_set *set;
};

static void told(struct post *p)
{
	struct notice *n = (struct notice *)(void *)p;
	free(n);
	if (--here.to_tell)
		return;
	here.busy = false;
	step();
}

static void run_notice(struct post *p)
{
	struct notice *n = (struct notice *)(void *)p;
	keys_use(n->set); /* the notice's reference */
	if (on_changed)
		on_changed(n->set->public);
	key_waiters_settle();
	n->post = (struct post){.run = told};
	worker_post(worker_at(0), &n->post);
}

static void reread(struct store_op *op)
{
	struct key_set *set = NULL;
	enum err err = key_set_read(op, keys_now(), here.made, &set);
	signing_key_unref(&here.made);
	if (err) {
		fail("read", err);
		return;
	}
	here.to_tell = workers_count();
	for (int i = 0; i < workers_count(); i++) {
		struct notice *n = mem_new(struct notice);
		*n = (struct notice){.post = {.run = run_notice}, .set = key_set_ref(set)};
		worker_post(worker_at(i), &n->post);
	}
	key_set_unref(&set);
}

static void changed(struct store_op *op)
{
	if (op->verb == STORE_SIGNING_KEY_ADD)
		OPENSSL_cleanse((char *)(uintptr_t)op->args[2].bytes.p, op->args[2].bytes.n);
	if (op->err && op->err != ERR_NOT_FOUND) {
		fail("write", op->err);
		return;
	}
	if (op->err && here.wishes && here.wishes->what == REMOVE && !here.wishes->open[0])
		settle(op->err);
	store_ask(STORE_SIGNING_KEYS, reread, NULL, STORE_END);
}

/* ---- the steps ---- */

struct making {
	struct job job;
	enum jwa alg;
	const char *state; /* "next"; the first one is "active", for nobody has a token yet */
	int64_t ahead;     /* seconds from when it is made until it signs */
	struct signing_key *key;
};

static void run_make(struct job *job)
{
	struct making *m = (struct making *)job;
	m->key = key_make(m->alg);
}

static void has_made(struct job *job)
{
	struct making *m = (struct making *)job;
	const char *alg = jwa_info(m->alg)->word;
	int64_t now = time(NULL);
	here.made = m->key;
	if (m->key) {
		log_info("signing key made", LOG_TEXT("alg", alg),
			LOG_TEXT("kid", m->key->pair.kid), LOG_INT("active_at", now + m->ahead));
		store_ask(STORE_SIGNING_KEY_ADD, changed, NULL,
			STORE_TEXT(str_of(m->key->pair.kid)), STORE_TEXT(str_of(alg)),
			STORE_TEXT(str_of(m->key->pem)), STORE_INT(now),
			STORE_TEXT(str_of(m->state)), STORE_INT(now + m->ahead), STORE_END);
	} else {
		fail("make", ERR_INTERNAL);
	}
	free(m);
}

static void make(enum jwa alg, const char *state, int64_t ahead)
{
	enum err err = ERR_FULL;
	here.busy = true;
	if (keys_now()->count < KEYS_MAX) {
		struct making *m = mem_new(struct making);
		*m = (struct making){.job = {.run = run_make, .done = has_made},
			.alg = alg,
			.state = state,
			.ahead = ahead};
		pthread_mutex_lock(&making.lock);
		err = making.pool ? pool_run(making.pool, &m->job) : ERR_OVERLOADED;
		pthread_mutex_unlock(&making.lock);
		if (err)
			free(m);
	}
	if (err)
		fail("make", err);
}

/* What a new store has not got yet; it is there before anything else is done with keys. */
static bool make_missing(void)
{
	for (size_t i = 0; i < KEYS_ALGORITHMS; i++) {
		if (key_find(keys_now(), key_algorithms[i], KEY_ACTIVE))
			continue;
		make(key_algorithms[i], "active", 0);
		return true;
	}
	here.wanted = false;
	return false;
}

static void activate(const struct key_entry *next, int64_t now)
{
	const struct keypair *pair = &next->key->pair;
	const char *alg = jwa_info(pair->alg)->word;
	here.busy = true;
	log_info("signing key in use", LOG_TEXT("alg", alg), LOG_TEXT("kid", pair->kid));
	if (!here.wishes) /* else it is administration, which the audit has by itself */
		audit_add(.action = "key.rotate", .actor = STR("schedule"),
			.detail = str_of(pair->kid));
	store_ask(STORE_SIGNING_KEY_ACTIVATE, changed, NULL, STORE_TEXT(str_of(pair->kid)),
		STORE_TEXT(str_of(alg)), STORE_INT(now), STORE_INT(now + KEY_TOKEN_LIFE),
		STORE_END);
}

static void bring_forward(const struct key_entry *next, int64_t when)
{
	here.busy = true;
	store_ask(STORE_SIGNING_KEY_DUE, changed, NULL, STORE_TEXT(str_of(next->key->pair.kid)),
		STORE_INT(when), STORE_END);
}

/* One step for one algorithm. False: nothing is left to do. */
static bool rotate(struct wish *w, size_t i, int64_t now)
{
	const struct key_entry *next = key_find(keys_now(), key_algorithms[i], KEY_NEXT);
	bool at_once = w->what == ROTATE_NOW;
	int64_t ahead = at_once ? 0 : KEY_PUBLISHED;
	if (!w->open[i])
		return false;
	if (!next) {
		w->open[i] = at_once; /* then it has to be activated, too */
		make(key_algorithms[i], "next", ahead);
		return true;
	}
	w->open[i] = false;
	if (at_once)
		activate(next, now);
	else if (next->active_at > now + ahead)
		bring_forward(next, now + ahead);
	else
		return false;
	return true;
}

static bool fulfil(struct wish *w, int64_t now)
{
	if (w->what == REMOVE) {
		bool open = w->open[0];
		w->open[0] = false;
		here.busy |= open;
		if (open)
			store_ask(STORE_SIGNING_KEY_REMOVE, changed, NULL,
				STORE_TEXT(str_of(w->kid)), STORE_END);
		return open;
	}
	for (size_t i = 0; i < KEYS_ALGORITHMS; i++)
		if (rotate(w, i, now))
			return true;
	return false;
}

/* What the clock wants. */
static bool keep_time(enum jwa alg, int64_t now)
{
	const struct key_entry *next = key_find(keys_now(), alg, KEY_NEXT);
	const struct key_entry *active = key_find(keys_now(), alg, KEY_ACTIVE);
	int64_t ahead = rotation / 2 < KEY_AHEAD ? rotation / 2 : KEY_AHEAD;
	if (next && next->active_at <= now) {
		activate(next, now);
		return true;
	}
	if (next || !rotation || now < active->active_at + rotation - ahead)
		return false;
	int64_t wait = active->active_at + rotation - now;
	make(alg, "next", wait < KEY_PUBLISHED ? KEY_PUBLISHED : wait);
	return true;
}

static bool forget_old(int64_t now)
{
	for (size_t i = 0; i < keys_now()->count; i++) {
		const struct key_entry *e = &keys_now()->list[i];
		if (e->state != KEY_OLD || e->needed_until >= now)
			continue;
		log_info("signing key gone", LOG_TEXT("kid", e->key->pair.kid));
		here.busy = true;
		store_ask(STORE_SIGNING_KEY_REMOVE, changed, NULL,
			STORE_TEXT(str_of(e->key->pair.kid)), STORE_END);
		return true;
	}
	return false;
}

static void step(void)
{
	int64_t now = time(NULL);
	bool rests = !here.running || (int64_t)worker_now_ms() < here.not_before_ms;
	if (!here.busy && (here.wishes || here.wanted || !rests) && make_missing())
		return;
	while (here.wishes && !here.busy) {
		if (fulfil(here.wishes, now))
			return;
		settle(ERR_OK);
	}
	if (here.busy || rests)
		return;
	for (size_t i = 0; i < KEYS_ALGORITHMS; i++)
		if (keep_time(key_algorithms[i], now))
			return;
	forget_old(now);
}

/* ---- wishes ---- */

static void run_wish(struct post *p)
{
	struct wish *w = (struct wish *)p;
	w->next = NULL;
	if (!here.wishes)
		here.last = &here.wishes;
	*here.last = w;
	here.last = &w->next;
	step();
}

static void ask(struct call *c, enum wish_kind what, struct str kid)
{
	struct wish *w = mem_new(struct wish);
	*w = (struct wish){.post = {.run = run_wish},
		.call = c,
		.worker = worker_self()->index,
		.what = what,
		.open = {true, true}};
	memcpy(w->kid, kid.p, kid.n < sizeof(w->kid) ? kid.n : sizeof(w->kid) - 1);
	c->state = w;
	worker_post(worker_at(0), &w->post);
}

static void run_wanted(struct post *p)
{
	free(p);
	here.wanted = true;
	step();
}

void rotation_wanted(void)
{
	struct post *p = mem_new(struct post);
	*p = (struct post){.run = run_wanted};
	worker_post(worker_at(0), p);
}

void key_rotate_run(struct call *c)
{
	const struct key_rotate *p = c->params;
	ask(c, p->now.yes ? ROTATE_NOW : ROTATE, STR(""));
}

void key_remove_run(struct call *c)
{
	const struct key_remove *p = c->params;
	ask(c, REMOVE, p->kid);
}

/* ---- the worker's part ---- */

void rotation_start(int64_t seconds, void (*hook)(struct jwk_set *keys))
{
	rotation = seconds;
	on_changed = hook;
	making.pool = pool_new("signing keys", 1, 1);
}

void rotation_drain(void)
{
	pthread_mutex_lock(&making.lock);
	struct pool *pool = making.pool;
	making.pool = NULL;
	pthread_mutex_unlock(&making.lock);
	pool_free(&pool);
}

static void on_tick(uv_timer_t *timer)
{
	(void)timer;
	if (keys_now())
		step();
}

static enum err start(struct worker *w)
{
	if (w->index)
		return ERR_OK;
	here.last = &here.wishes;
	return uv_timer_init(&w->loop, &here.timer) ? ERR_INTERNAL : ERR_OK;
}

void keys_begin(struct worker *w)
{
	if (w->index)
		return;
	here.running = true;
	uv_timer_start(&here.timer, on_tick, TICK_MS, TICK_MS);
}

static void drain(struct worker *w)
{
	key_waiters_drain();
	if (w->index)
		return;
	here.running = false;
	uv_timer_stop(&here.timer);
}

static void stop(struct worker *w)
{
	keys_use(NULL);
	if (w->index)
		return;
	signing_key_unref(&here.made);
	uv_close((uv_handle_t *)&here.timer, NULL);
}

const struct worker_part keys_part = {
	.name = "signing keys", .start = start, .drain = drain, .stop = stop};
