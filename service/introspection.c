#include "service/introspection.h"

#include "core/fetch.h"
#include "core/form.h"
#include "core/log.h"
#include "core/map.h"
#include "core/mem.h"
#include "core/metrics.h"
#include "service/issuers.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

enum { LOG_EVERY_MS = 10000 };

/* One token at its home: asked about, or answered. Answered ones are in a ring of their kind, the one
 * used last in front. */
struct lookup {
	struct lookup *before, *behind;
	struct fetch fetch;
	uint64_t waiting; /* bit i: worker i is to be told */
	int64_t until;    /* when the answer is over */
	struct introspection_answer answer;
};

struct ring {
	struct lookup ends; /* no lookup: what is behind it is newest */
	size_t count, max;
};

static struct introspection_options options;
static _Thread_local struct map lookups;
static _Thread_local struct ring good, refused;
static _Thread_local struct ring asked;
static _Thread_local bool draining;
static _Thread_local uint64_t logged_ms;

struct answers_at {
	char url[DISCOVERY_URL_MAX + 1]; /* "": not known yet */
	bool told;
};
static struct answers_at found; /* behind the lock */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void introspection_configure(const struct introspection_options *o)
{
	options = *o;
}

bool introspection_digest(struct str token, unsigned char ret_digest[TOKEN_DIGEST])
{
	for (size_t i = 0; i < token.n; i++)
		if (token.p[i] <= ' ' || token.p[i] >= 0x7f)
			return false;
	SHA256((const unsigned char *)token.p, token.n, ret_digest);
	return token.n > 0;
}

void introspection_found(const char *url, bool told)
{
	pthread_mutex_lock(&lock);
	snprintf(found.url, sizeof(found.url), "%s", url);
	found.told = told;
	pthread_mutex_unlock(&lock);
}

static struct answers_at answers_now(void)
{
	struct answers_at e = {.told = false};
	const char *configured = issuers_at((size_t)issuers_asked())->answers_url;
	if (*configured) {
		snprintf(e.url, sizeof(e.url), "%s", configured);
		return e;
	}
	pthread_mutex_lock(&lock);
	e = found;
	pthread_mutex_unlock(&lock);
	return e;
}

bool introspection_ready(void)
{
	return answers_now().url[0] != 0;
}

/* ---- what is known ---- */

static struct str key_of(const struct lookup *l)
{
	return (struct str){(const char *)l->answer.digest, TOKEN_DIGEST};
}

static void take_out(struct ring *r, struct lookup *l)
{
	l->before->behind = l->behind;
	l->behind->before = l->before;
	r->count--;
}

static void put_in(struct ring *r, struct lookup *l)
{
	l->before = &r->ends;
	l->behind = r->ends.behind;
	l->before->behind = l->behind->before = l;
	r->count++;
}

static struct ring *ring_of(const struct lookup *l)
{
	return l->fetch.own ? &asked : l->answer.err ? &refused : &good;
}

/* Whose fetch is not under way. */
static void drop(struct ring *r, struct lookup *l)
{
	take_out(r, l);
	map_remove(&lookups, key_of(l));
	principal_unref(&l->answer.who);
	free(l);
}

static void init_ring(struct ring *r, size_t max)
{
	r->ends.before = r->ends.behind = &r->ends;
	r->count = 0;
	r->max = max;
}

size_t introspection_forget(enum bearer_match match, struct str value)
{
	struct lookup *next;
	size_t count = 0;
	for (struct lookup *l = good.ends.behind; l != &good.ends; l = next) {
		next = l->behind;
		if (!bearer_matches(l->answer.who, match, value))
			continue;
		drop(&good, l);
		count++;
	}
	return count;
}

/* ---- telling ---- */

struct answer_post {
	struct post post;
	struct introspection_answer answer; /* with a reference */
};

static void run_answer(struct post *p)
{
	struct answer_post *a = (struct answer_post *)p;
	if (!draining)
		options.answered(&a->answer);
	principal_unref(&a->answer.who);
	free(a);
}

static void tell(int worker, const struct introspection_answer *answer)
{
	struct answer_post *a = mem_new(struct answer_post);
	*a = (struct answer_post){.post = {.run = run_answer}, .answer = *answer};
	a->answer.who = answer->who ? principal_ref(answer->who) : NULL;
	worker_post(worker_at(worker), &a->post);
}

static void tell_waiting(struct lookup *l)
{
	for (int w = 0; w < workers_count(); w++)
		if (l->waiting & UINT64_C(1) << w)
			tell(w, &l->answer);
	l->waiting = 0;
}

/* ---- asking ---- */

/* Nothing is known of the token: who waits tries again, and so does the next one. */
static void fail_lookup(struct lookup *l, const char *why)
{
	uint64_t now = worker_now_ms();
	l->answer.err = ERR_OVERLOADED;
	l->answer.why = "the issuer could not be asked about the token";
	l->answer.step = CHECK_ACTIVE;
	tell_waiting(l);
	drop(&asked, l);
	metric_add(METRIC_INTROSPECTIONS_FAILED, 1);
	if (logged_ms && now - logged_ms < LOG_EVERY_MS)
		return;
	logged_ms = now;
	log_warn("an issuer could not be asked about a token",
		LOG_STR("issuer", issuers_rules()[issuers_asked()].issuer), LOG_TEXT("why", why));
}

/* The answer is kept, in the place of the oldest of its kind where there is no more room. */
static void keep(struct lookup *l, int64_t until)
{
	struct ring *r = l->answer.err ? &refused : &good;
	l->until = until;
	take_out(&asked, l);
	if (r->count && r->count >= r->max)
		drop(r, r->ends.before);
	put_in(r, l);
	if (!r->max)
		drop(r, l);
}

static void on_answer(struct fetch *f, enum err err, struct str body, const char *why)
{
	struct lookup *l = (struct lookup *)(void *)((char *)f - offsetof(struct lookup, fetch));
	const struct issuer_rule *rule = &issuers_rules()[issuers_asked()];
	int64_t now = (int64_t)time(NULL);
	struct claims claims;
	if (!err) {
		err = claims_read_answer(body, rule, now, &claims, &why);
		if (err && claims.step != CHECK_CLAIMS) { /* it did answer */
			l->answer.err = err;
			l->answer.why = why;
			l->answer.step = claims.step;
			tell_waiting(l);
			keep(l, now + INTROSPECTION_REFUSED_S);
			return;
		}
	}
	if (err) {
		fail_lookup(l, why);
		return;
	}
	char jti[BEARER_JTI_MADE];
	if (!claims.jti.n)
		claims.jti = bearer_made_jti(l->answer.digest, jti);
	l->answer.who = claims_principal(&claims, rule);
	tell_waiting(l);
	int64_t until = now + options.max_age_s;
	keep(l, until < claims.exp ? until : claims.exp);
}

/* False: *ret_why says why it cannot be asked. */
static bool ask(struct lookup *l, struct str token, const char **ret_why)
{
	const struct issuer *i = issuers_at((size_t)issuers_asked());
	struct answers_at at = answers_now();
	struct buf body = BUF_INIT(4 * JWS_MAX);
	form_add(&body, "token", token);
	form_add(&body, "token_type_hint", STR("access_token"));
	struct fetch_request r = {.url = at.url,
		.user = i->client_id,
		.password = i->client_secret,
		.content_type = "application/x-www-form-urlencoded",
		.body = buf_str(&body),
		.told = at.told,
		.bytes = INTROSPECTION_MAX,
		.timeout_ms = options.timeout_ms};
	l->fetch.done = on_answer;
	*ret_why =
		"its introspection_endpoint may not be asked: https, and on this machine only if "
		"the issuer is";
	bool begun = !body.err && !fetch_start(&l->fetch, &r);
	OPENSSL_cleanse(body.p, body.n);
	buf_free(&body);
	return begun;
}

static struct lookup *lookup_new(const unsigned char digest[TOKEN_DIGEST])
{
	struct lookup *l = mem_new(struct lookup);
	memcpy(l->answer.digest, digest, TOKEN_DIGEST);
	map_put(&lookups, key_of(l), l);
	put_in(&asked, l);
	return l;
}

/* ---- a token comes home ---- */

struct question {
	struct post post;
	int worker;
	unsigned char digest[TOKEN_DIGEST];
	size_t n;
	char token[];
};

static void refuse_question(const struct question *q, const char *why)
{
	struct introspection_answer a = {.err = ERR_OVERLOADED, .why = why, .step = CHECK_ACTIVE};
	memcpy(a.digest, q->digest, TOKEN_DIGEST);
	tell(q->worker, &a);
}

static void look_up(const struct question *q)
{
	struct lookup *l = map_get(&lookups, (struct str){(const char *)q->digest, TOKEN_DIGEST});
	uint64_t who = UINT64_C(1) << q->worker;
	const char *why = "";
	if (l && !l->fetch.own && time(NULL) >= l->until) {
		drop(ring_of(l), l);
		l = NULL;
	}
	if (l && l->fetch.own) {
		l->waiting |= who;
	} else if (l) {
		struct ring *r = ring_of(l);
		take_out(r, l);
		put_in(r, l);
		tell(q->worker, &l->answer);
		metric_add(METRIC_INTROSPECTIONS_KNOWN, 1);
	} else if (asked.count >= asked.max) {
		refuse_question(q, "too many tokens are being asked about");
	} else {
		metric_add(METRIC_INTROSPECTIONS, 1);
		l = lookup_new(q->digest);
		l->waiting = who;
		if (!ask(l, (struct str){q->token, q->n}, &why))
			fail_lookup(l, why);
	}
}

static void run_question(struct post *p)
{
	struct question *q = (struct question *)p;
	if (!draining) /* else the other worker settles it */
		look_up(q);
	OPENSSL_cleanse(q->token, q->n);
	free(q);
}

void introspection_ask(struct str token, const unsigned char digest[TOKEN_DIGEST])
{
	struct question *q = mem_alloc(sizeof(*q) + token.n);
	q->post.run = run_question;
	q->worker = worker_self()->index;
	q->n = token.n;
	memcpy(q->digest, digest, TOKEN_DIGEST);
	memcpy(q->token, token.p, token.n);
	int home = (int)(((unsigned)digest[0] << 8 | digest[1]) % (unsigned)workers_count());
	worker_post(worker_at(home), &q->post);
}

/* ---- the worker's part ---- */

static enum err start(struct worker *w)
{
	(void)w;
	init_ring(&good, options.cache);
	init_ring(&refused, INTROSPECTION_REFUSED_MAX);
	init_ring(&asked, INTROSPECTION_ASKED_MAX);
	return ERR_OK;
}

static void end_asked(void)
{
	while (asked.count) {
		struct lookup *l = asked.ends.behind;
		fetch_cancel(&l->fetch);
		drop(&asked, l);
	}
}

static void drain(struct worker *w)
{
	(void)w;
	draining = true;
	end_asked();
}

static void stop(struct worker *w)
{
	(void)w;
	end_asked();
	while (good.count)
		drop(&good, good.ends.behind);
	while (refused.count)
		drop(&refused, refused.ends.behind);
	map_free(&lookups);
}

const struct worker_part introspection_part = {
	.name = "introspection", .start = start, .drain = drain, .stop = stop};
