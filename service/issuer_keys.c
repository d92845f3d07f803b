#include "service/issuer_keys.h"

#include "auth/discovery.h"
#include "auth/keyring.h"
#include "core/fetch.h"
#include "core/log.h"
#include "core/mem.h"
#include "service/introspection.h"
#include "service/issuers.h"

#include <stdio.h>
#include <time.h>

enum { TICK_MS = 5000, DOCUMENT_TTL = 60 * 60 };

/* One issuer as worker 0 keeps it. */
struct source {
	struct keyring ring;
	struct fetch fetch;
	int place;  /* which of the places of its document is being asked */
	bool known; /* `found` is what the document said, at `found_at` */
	bool told;  /* the document was fetched from another machine */
	int64_t found_at;
	struct discovery found;
	char url[DISCOVERY_URL_MAX + 1]; /* what is being fetched, for the log */
	bool in_use;                     /* the workers have keys of it */
};

static struct source sources[BEARER_ISSUERS_MAX];
static void (*tell_worker)(const struct issuer_news *news);
static long timeout_ms;
static _Thread_local bool draining;
static _Thread_local uv_timer_t ticker; /* worker 0's */

void issuer_keys_configure(void (*tell)(const struct issuer_news *news), long timeout)
{
	tell_worker = tell;
	timeout_ms = timeout;
}

static int64_t now_s(void)
{
	return (int64_t)time(NULL);
}

/* ---- telling ---- */

struct news_post {
	struct post post;
	struct issuer_news news; /* with a reference to the set */
};

static void run_news(struct post *p)
{
	struct news_post *n = (struct news_post *)p;
	if (!draining)
		tell_worker(&n->news);
	jwk_set_unref(&n->news.set);
	free(n);
}

static void tell(int worker, const struct source *s, struct jwk_set *set)
{
	struct news_post *n = mem_new(struct news_post);
	n->post.run = run_news;
	n->news = (struct issuer_news){.issuer = (size_t)(s - sources),
		.set = set ? jwk_set_ref(set) : NULL,
		.has_keys = keyring_keys(&s->ring, now_s()) != NULL,
		.quiet_until = s->ring.tried_at + KEYRING_COOLDOWN};
	worker_post(worker_at(worker), &n->post);
}

static void tell_all(const struct source *s, struct jwk_set *set)
{
	for (int w = 0; w < workers_count(); w++)
		tell(w, s, set);
}

/* ---- fetching ---- */

static void failed(struct source *s, const char *why)
{
	s->known = false; /* the next time begins with the document again */
	keyring_failed(&s->ring, now_s());
	tell_all(s, NULL);
	log_warn("an issuer's keys could not be fetched",
		LOG_STR("issuer", issuers_rules()[s - sources].issuer), LOG_TEXT("url", s->url),
		LOG_TEXT("why", why));
}

static void ask(struct source *s, const char *url, size_t bytes, bool told,
	void (*done)(struct fetch *f, enum err err, struct str body, const char *why))
{
	struct fetch_request r = {
		.url = s->url, .told = told, .bytes = bytes, .timeout_ms = timeout_ms};
	snprintf(s->url, sizeof(s->url), "%s", url);
	s->fetch.done = done;
	if (fetch_start(&s->fetch, &r))
		failed(s,
			"this is no address that may be asked: https, and on this machine only if "
			"the issuer is");
}

static struct source *source_of(struct fetch *f)
{
	return (struct source *)(void *)((char *)f - offsetof(struct source, fetch));
}

static void on_keys(struct fetch *f, enum err err, struct str body, const char *why)
{
	struct source *s = source_of(f);
	struct jwk_set *set = NULL;
	if (!err)
		err = jwk_set_parse(body, &set, &why);
	if (err) {
		failed(s, why);
		return;
	}
	bool differ = keyring_arrived(&s->ring, set, now_s());
	s->in_use = true;
	tell_all(s, set);
	if (differ)
		log_info("an issuer's keys have changed", LOG_TEXT("url", s->url),
			LOG_INT("keys", jwk_set_count(set)));
	jwk_set_unref(&set);
}

static void ask_for_keys(struct source *s)
{
	const struct issuer *i = issuers_at((size_t)(s - sources));
	if (*i->keys_url)
		ask(s, i->keys_url, JWKS_MAX, false, on_keys);
	else if (s->found.jwks_uri[0])
		ask(s, s->found.jwks_uri, JWKS_MAX, s->told, on_keys);
	else
		failed(s, "its discovery document has no jwks_uri");
}

static void ask_for_document(struct source *s);

static void on_document(struct fetch *f, enum err err, struct str body, const char *why)
{
	struct source *s = source_of(f);
	size_t index = (size_t)(s - sources);
	bool local = false;
	if (err && s->place == 0 && !*issuers_at(index)->document_url) {
		s->place = 1;
		ask_for_document(s);
		return;
	}
	if (!err)
		err = discovery_read(body, issuers_rules()[index].issuer, &s->found, &why);
	if (err) {
		failed(s, why);
		return;
	}
	s->known = true;
	s->found_at = now_s();
	s->told = !fetch_allowed(s->url, &local) || !local;
	if (issuers_asked() == (int)index) /* before anybody is told that keys are there */
		introspection_found(s->found.introspection_endpoint, s->told);
	ask_for_keys(s);
}

static void ask_for_document(struct source *s)
{
	size_t index = (size_t)(s - sources);
	const struct issuer *i = issuers_at(index);
	char url[DISCOVERY_URL_MAX + 1] = "";
	if (*i->document_url)
		snprintf(url, sizeof(url), "%s", i->document_url);
	else
		discovery_address(issuers_rules()[index].issuer, s->place, url);
	ask(s, url, DISCOVERY_MAX, false, on_document);
}

static void begin(struct source *s)
{
	bool discovered = issuer_is_discovered(issuers_at((size_t)(s - sources)));
	s->place = 0;
	if (discovered && (!s->known || now_s() >= s->found_at + DOCUMENT_TTL))
		ask_for_document(s);
	else
		ask_for_keys(s);
}

/* ---- when ---- */

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
	struct source *s = &sources[w->issuer];
	enum keyring_step step = KEYRING_WAIT; /* in a drain that worker settles by itself */
	if (!draining)
		step = keyring_unknown(&s->ring, (struct str){w->kid, w->kid_n}, now_s());
	if (step == KEYRING_FETCH)
		begin(s);
	else if (step == KEYRING_REFUSE)
		tell(w->worker, s, NULL);
	free(w);
}

void issuer_keys_want(size_t issuer, struct str kid)
{
	struct want_post *w = mem_new(struct want_post);
	*w = (struct want_post){.post = {.run = run_want},
		.issuer = issuer,
		.worker = worker_self()->index,
		.kid_n = kid.n};
	memcpy(w->kid, kid.p, kid.n);
	worker_post(worker_at(0), &w->post);
}

/* Keys that are too old (the issuer has been down for a day) are taken from the workers. */
static void retire_keys(struct source *s, int64_t now)
{
	if (!s->in_use || keyring_keys(&s->ring, now))
		return;
	log_error("an issuer's keys are too old to be used",
		LOG_STR("issuer", issuers_rules()[s - sources].issuer));
	s->in_use = false;
	tell_all(s, NULL);
}

static void on_tick(uv_timer_t *timer)
{
	(void)timer;
	int64_t now = now_s();
	for (size_t i = 0; i < issuers_count(); i++) {
		if (!issuer_is_fetched(issuers_at(i)))
			continue;
		if (keyring_tick(&sources[i].ring, now) == KEYRING_FETCH)
			begin(&sources[i]);
		retire_keys(&sources[i], now);
	}
}

/* ---- the worker's part ---- */

static enum err start(struct worker *w)
{
	if (w->index)
		return ERR_OK;
	for (size_t i = 0; i < issuers_count(); i++)
		sources[i] = (struct source){0};
	uv_timer_init(&w->loop, &ticker);
	uv_timer_start(&ticker, on_tick, 0, TICK_MS);
	return ERR_OK;
}

static void drain(struct worker *w)
{
	draining = true;
	if (w->index)
		return;
	uv_timer_stop(&ticker);
	for (size_t i = 0; i < issuers_count(); i++)
		fetch_cancel(&sources[i].fetch);
}

static void stop(struct worker *w)
{
	if (w->index)
		return;
	for (size_t i = 0; i < issuers_count(); i++) {
		fetch_cancel(&sources[i].fetch);
		keyring_finish(&sources[i].ring);
	}
	uv_close((uv_handle_t *)&ticker, NULL);
}

const struct worker_part issuer_keys_part = {
	.name = "issuer keys", .start = start, .drain = drain, .stop = stop};
