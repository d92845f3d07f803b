#include "service/authn.h"

#include "auth/bearer.h"
#include "auth/keyring.h"
#include "core/fetch.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/metrics.h"
#include "service/config.h"
#include "service/quota.h"

#include <stdio.h>
#include <time.h>

enum { TICK_MS = 5000 };

/* One issuer whose tokens count. Everything but the keyring is made before the workers start. */
struct issuer {
	const char *keys_url; /* NULL: its keys are fixed */
	struct jwk_set *fixed;
	struct str *audiences;
	/* worker 0's: */
	struct keyring ring;
	struct fetch fetch;
	uint64_t asked_by; /* bit i: worker i waits for the end of the fetch */
	bool in_use;       /* the workers have keys of it */
};

static struct issuer issuers[BEARER_ISSUERS_MAX];
static struct issuer_rule rules[BEARER_ISSUERS_MAX];
static size_t issuer_count;
static size_t cache_size;
static long keys_timeout_ms;

static _Thread_local struct bearer *bearer;
static _Thread_local struct authn *waiting[BEARER_ISSUERS_MAX];
static _Thread_local bool draining;     /* nobody waits any more, nothing is fetched */
static _Thread_local uv_timer_t ticker; /* worker 0's */

/* ---- configuration ---- */

static uint32_t algorithms(const struct config_list *list)
{
	uint32_t bits = 0;
	enum jwa alg;
	for (size_t i = 0; i < list->count; i++)
		if (jwa_find(str_of(list->items[i]), &alg))
			bits |= JWA_BIT(alg);
	return bits;
}

static uint32_t scopes_of(const struct config_list *list)
{
	uint32_t bits = 0;
	for (size_t i = 0; i < list->count; i++)
		bits |= scopes_parse(str_of(list->items[i]));
	return bits;
}

static enum err parse_keys(
	struct str text, const char *where, struct jwk_set **ret, struct buf *why)
{
	const char *reason = "";
	enum err err = jwk_set_parse(text, ret, &reason);
	if (err)
		buf_addf(why, "%s holds no usable JWK set: %s\n", where, reason);
	return err;
}

static enum err load_keys(const char *path, struct jwk_set **ret, struct buf *why)
{
	FILE *file = fopen(path, "rb");
	if (!file) {
		buf_addf(why, "cannot read the keys in %s: %m\n", path);
		return ERR_NOT_FOUND;
	}
	struct buf text = BUF_INIT(JWKS_MAX);
	buf_add_stream(&text, file);
	fclose(file);
	enum err err = text.err;
	if (err)
		buf_addf(why, "the keys in %s are too large\n", path);
	else
		err = parse_keys(buf_str(&text), path, ret, why);
	buf_free(&text);
	return err;
}

static enum err add_configured(const struct config_issuer *c, struct buf *why)
{
	struct issuer *i = &issuers[issuer_count];
	*i = (struct issuer){.audiences = config_spans(&c->audiences)};
	rules[issuer_count++] = (struct issuer_rule){.issuer = str_of(c->issuer),
		.alias = str_of(c->alias),
		.audiences = i->audiences,
		.audience_count = c->audiences.count,
		.algs = algorithms(&c->algorithms),
		.typ_jwt = c->allow_typ_jwt,
		.default_scopes = scopes_of(&c->default_scopes)};
	if (c->jwks_file[0])
		return load_keys(c->jwks_file, &i->fixed, why);
	i->keys_url = c->jwks_url;
	return ERR_OK;
}

static enum err add_embedded(const struct authn_embedded *e, struct buf *why)
{
	struct issuer *i = &issuers[issuer_count];
	*i = (struct issuer){.audiences = mem_new(struct str)};
	i->audiences[0] = e->audience;
	rules[issuer_count++] = (struct issuer_rule){.issuer = e->url,
		.audiences = i->audiences,
		.audience_count = 1,
		.algs = jwa_default()};
	return parse_keys(e->jwks, "the embedded issuer", &i->fixed, why);
}

enum err authn_configure(
	const struct config *config, const struct authn_embedded *embedded, struct buf *why)
{
	cache_size = config->auth.cached_tokens;
	keys_timeout_ms = (long)config->auth.jwks_timeout;
	if (config->issuers.count + 1 > BEARER_ISSUERS_MAX) {
		buf_addf(why, "at most %d issuers are possible\n", BEARER_ISSUERS_MAX - 1);
		return ERR_TOO_LARGE;
	}
	enum err err = embedded->url.n ? add_embedded(embedded, why) : ERR_OK;
	for (size_t i = 0; !err && i < config->issuers.count; i++)
		err = add_configured(&config->issuers.items[i], why);
	return err;
}

void authn_finish(void)
{
	while (issuer_count > 0) {
		struct issuer *i = &issuers[--issuer_count];
		jwk_set_unref(&i->fixed);
		free(i->audiences);
	}
}

/* ---- checks ---- */

static const char stopping[] = "the service is stopping";

static void stop_waiting(struct authn *a)
{
	*a->back = a->next;
	if (a->next)
		a->next->back = a->back;
	a->back = NULL;
	free(a->token);
	a->token = NULL;
}

void authn_cancel(struct authn *a)
{
	if (a->back)
		stop_waiting(a);
}

static void ask_for_keys(size_t issuer, const struct bearer_fail *fail);

static void start_waiting(struct authn *a, struct str token, const struct bearer_fail *fail)
{
	struct authn **list = &waiting[fail->issuer];
	a->token = mem_copy(token);
	a->back = list;
	a->next = *list;
	if (a->next)
		a->next->back = &a->next;
	*list = a;
	ask_for_keys((size_t)fail->issuer, fail);
}

static void say(const struct bearer_fail *fail)
{
	if (fail->issuer >= 0)
		log_info("token refused", LOG_TEXT("why", fail->why),
			LOG_STR("issuer", rules[fail->issuer].issuer),
			LOG_STR("kid", ((struct str){fail->kid, fail->kid_n})));
}

void authn_forget(enum withdrawal_kind kind, struct str value)
{
	static const enum bearer_match matches[WITHDRAWAL_KINDS] = {[WITHDRAWN_TOKEN] = BEARER_JTI,
		[WITHDRAWN_GRANT] = BEARER_SID,
		[WITHDRAWN_USER] = BEARER_USER,
		[WITHDRAWN_CLIENT] = BEARER_CLIENT};
	const char *bar = value.n ? memchr(value.p, '|', value.n) : NULL;
	if (bar && kind != WITHDRAWN_USER) { /* the alias is not in what the token says */
		value.n -= (size_t)(bar + 1 - value.p);
		value.p = bar + 1;
	}
	bearer_forget(bearer, matches[kind], value);
}

/* The token by itself, be it cached or not, then what has happened since it was made. */
static enum err check(struct str token, struct principal **ret_who, struct bearer_fail *ret_fail)
{
	struct principal *who = NULL;
	enum err err = bearer_check(bearer, token, (int64_t)time(NULL), &who, ret_fail);
	enum withdrawal_kind kind;
	if (!err && withdrawals_fit(who, &kind)) {
		principal_unref(&who);
		*ret_fail = (struct bearer_fail){.issuer = -1, .why = withdrawal_reason(kind)};
		err = ERR_UNAUTHENTICATED;
	}
	if (!err)
		*ret_who = who;
	return err;
}

/* The token was looked at and is not valid. */
static void fail_check(struct authn *a, const struct bearer_fail *fail)
{
	say(fail);
	metric_add(METRIC_AUTH_FAILED, 1);
	if (a->peer[0])
		quota_token_failed(str_of(a->peer));
	a->done(a, ERR_UNAUTHENTICATED, NULL, fail->why);
}

void authn_check(struct authn *a, struct str token, struct str peer)
{
	struct refusal none;
	size_t n = peer.n < sizeof(a->peer) ? peer.n : 0;
	memcpy(a->peer, peer.p, n);
	a->peer[n] = 0;
	if (n && quota_token(peer, &none)) {
		metric_add(METRIC_AUTH_LIMITED, 1);
		a->done(a, ERR_RATE_LIMITED, NULL, "too many tokens of this address were wrong");
		return;
	}
	struct bearer_fail fail = {0};
	struct principal *who = NULL;
	enum err err = check(token, &who, &fail);
	bool later = fail.wants_keys && fail.issuer >= 0 && issuers[fail.issuer].keys_url;
	if (!err) {
		a->done(a, ERR_OK, who, "");
	} else if (later && draining) {
		a->done(a, ERR_OVERLOADED, NULL, stopping);
	} else if (later) {
		start_waiting(a, token, &fail);
	} else {
		fail_check(a, &fail);
	}
}

/* The keys are what they are now: whoever waited for them gets an answer. */
static void settle(size_t issuer, bool has_keys)
{
	struct authn *all = waiting[issuer];
	waiting[issuer] = NULL;
	if (all)
		all->back = &all;
	while (all) {
		struct authn *a = all;
		struct bearer_fail fail = {0};
		struct principal *who = NULL;
		enum err err = check(str_of(a->token), &who, &fail);
		stop_waiting(a);
		if (!err) {
			a->done(a, ERR_OK, who, "");
		} else if (has_keys) {
			fail_check(a, &fail);
		} else {
			say(&fail);
			a->done(a, ERR_OVERLOADED, NULL, fail.why);
		}
	}
}

/* ---- keys: worker 0 fetches, all use ---- */

struct keys_post {
	struct post post;
	size_t issuer;
	struct jwk_set *set; /* a reference, or NULL: as before, or none any more */
	bool has_keys;
};

static void run_keys(struct post *p)
{
	struct keys_post *k = (struct keys_post *)p;
	if (k->set || !k->has_keys)
		bearer_set_keys(bearer, k->issuer, k->set);
	settle(k->issuer, k->has_keys);
	jwk_set_unref(&k->set);
	free(k);
}

static void tell(int worker, size_t issuer, struct jwk_set *set)
{
	struct keys_post *k = mem_new(struct keys_post);
	*k = (struct keys_post){.post = {.run = run_keys},
		.issuer = issuer,
		.set = set ? jwk_set_ref(set) : NULL,
		.has_keys = keyring_keys(&issuers[issuer].ring, (int64_t)time(NULL)) != NULL};
	worker_post(worker_at(worker), &k->post);
}

static void fetch_ended(struct issuer *i, struct jwk_set *set)
{
	size_t index = (size_t)(i - issuers);
	for (int w = 0; w < workers_count(); w++)
		if (set || i->asked_by & UINT64_C(1) << w)
			tell(w, index, set);
	i->asked_by = 0;
}

static void on_fetched(struct fetch *f, enum err err, struct str body, const char *why)
{
	struct issuer *i = (struct issuer *)(void *)((char *)f - offsetof(struct issuer, fetch));
	int64_t now = (int64_t)time(NULL);
	struct jwk_set *set = NULL;
	if (!err)
		err = jwk_set_parse(body, &set, &why);
	if (err) {
		log_warn("an issuer's keys could not be fetched", LOG_TEXT("url", i->keys_url),
			LOG_TEXT("why", why));
		keyring_failed(&i->ring, now);
		fetch_ended(i, NULL);
		return;
	}
	if (keyring_arrived(&i->ring, set, now))
		log_info("an issuer's keys have changed", LOG_TEXT("url", i->keys_url),
			LOG_INT("keys", jwk_set_count(set)));
	i->in_use = true;
	fetch_ended(i, set);
	jwk_set_unref(&set);
}

static void begin_fetch(struct issuer *i)
{
	struct fetch_limits limits = {.bytes = JWKS_MAX, .timeout_ms = keys_timeout_ms};
	i->fetch.done = on_fetched;
	if (fetch_start(&i->fetch, i->keys_url, &limits)) {
		keyring_failed(&i->ring, (int64_t)time(NULL));
		fetch_ended(i, NULL);
	}
}

struct want_post {
	struct post post;
	size_t issuer;
	int worker;
	size_t kid_n;
	char kid[JWK_KID_MAX];
};

static void run_want(struct post *p)
{
	struct want_post *w = (struct want_post *)p;
	struct issuer *i = &issuers[w->issuer];
	struct str kid = {w->kid, w->kid_n};
	if (draining) { /* as the other worker does at once, if it has not yet: it settles them */
		free(w);
		return;
	}
	enum keyring_step step = keyring_unknown(&i->ring, kid, (int64_t)time(NULL));
	i->asked_by |= UINT64_C(1) << w->worker;
	if (step == KEYRING_FETCH) {
		begin_fetch(i);
	} else if (step == KEYRING_REFUSE) {
		i->asked_by &= ~(UINT64_C(1) << w->worker);
		tell(w->worker, w->issuer, NULL);
	}
	free(w);
}

static void ask_for_keys(size_t issuer, const struct bearer_fail *fail)
{
	struct want_post *w = mem_new(struct want_post);
	*w = (struct want_post){.post = {.run = run_want},
		.issuer = issuer,
		.worker = worker_self()->index,
		.kid_n = fail->kid_n};
	memcpy(w->kid, fail->kid, fail->kid_n);
	worker_post(worker_at(0), &w->post);
}

/* Keys that are too old (the issuer has been down for a day) are taken from the workers. */
static void retire_keys(struct issuer *i, int64_t now)
{
	if (!i->in_use || keyring_keys(&i->ring, now))
		return;
	log_error("an issuer's keys are too old to be used", LOG_TEXT("url", i->keys_url));
	i->in_use = false;
	for (int w = 0; w < workers_count(); w++)
		tell(w, (size_t)(i - issuers), NULL);
}

static void on_tick(uv_timer_t *timer)
{
	(void)timer;
	int64_t now = (int64_t)time(NULL);
	for (struct issuer *i = issuers; i < issuers + issuer_count; i++) {
		if (!i->keys_url)
			continue;
		if (keyring_tick(&i->ring, now) == KEYRING_FETCH)
			begin_fetch(i);
		retire_keys(i, now);
	}
}

/* ---- the header ---- */

enum err authn_bearer_token(struct str header, struct str *ret_token)
{
	static const char scheme[] = "Bearer ";
	size_t n = sizeof(scheme) - 1;
	if (!header.n)
		return ERR_NOT_FOUND;
	if (header.n <= n || strncasecmp(header.p, scheme, n) != 0)
		return ERR_PARAMS;
	struct str token = {header.p + n, header.n - n};
	while (token.n && *token.p == ' ')
		token.p++, token.n--;
	for (size_t i = 0; i < token.n; i++)
		if (token.p[i] == ' ' || token.p[i] == ',') /* several headers come joined */
			return ERR_PARAMS;
	*ret_token = token;
	return token.n ? ERR_OK : ERR_PARAMS;
}

/* ---- the worker's part ---- */

static enum err start(struct worker *w)
{
	bearer = bearer_new(rules, issuer_count, cache_size);
	for (size_t i = 0; i < issuer_count; i++)
		if (issuers[i].fixed)
			bearer_set_keys(bearer, i, issuers[i].fixed);
	if (w->index)
		return ERR_OK;
	for (size_t i = 0; i < issuer_count; i++)
		keyring_init(&issuers[i].ring);
	uv_timer_init(&w->loop, &ticker);
	uv_timer_start(&ticker, on_tick, 0, TICK_MS);
	return ERR_OK;
}

static void refuse_waiting(size_t issuer)
{
	struct authn *a;
	while ((a = waiting[issuer])) {
		stop_waiting(a);
		a->done(a, ERR_OVERLOADED, NULL, stopping);
	}
}

static void drain(struct worker *w)
{
	draining = true;
	for (size_t i = 0; i < issuer_count; i++)
		refuse_waiting(i);
	if (w->index)
		return;
	uv_timer_stop(&ticker);
	for (size_t i = 0; i < issuer_count; i++)
		fetch_cancel(&issuers[i].fetch);
}

static void stop(struct worker *w)
{
	for (size_t i = 0; i < issuer_count; i++)
		while (waiting[i])
			stop_waiting(waiting[i]);
	bearer_free(&bearer);
	if (w->index)
		return;
	for (size_t i = 0; i < issuer_count; i++) {
		fetch_cancel(&issuers[i].fetch);
		keyring_finish(&issuers[i].ring);
	}
	uv_close((uv_handle_t *)&ticker, NULL);
}

const struct worker_part authn_part = {
	.name = "tokens", .start = start, .drain = drain, .stop = stop};
