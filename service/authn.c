#include "service/authn.h"

#include "auth/explain.h"
#include "core/fetch.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/metrics.h"
#include "service/config.h"
#include "service/introspection.h"
#include "service/issuer_keys.h"
#include "service/issuers.h"
#include "service/quota.h"

#include <time.h>

enum { SAID_EVERY_MS = 10000 };

static size_t cache_size;

static _Thread_local struct bearer *bearer;
static _Thread_local struct authn *waiting[BEARER_ISSUERS_MAX]; /* for keys */
static _Thread_local struct authn *asking;                      /* for an answer */
static _Thread_local int64_t quiet_until[BEARER_ISSUERS_MAX];   /* no keys are fetched before */
static _Thread_local uint64_t said_ms; /* when the log was told of one that failed for now */
static _Thread_local bool draining;    /* nobody waits any more, nothing is fetched */

void authn_embedded_keys(struct jwk_set *keys)
{
	bearer_set_keys(bearer, 0, keys); /* it is the first issuer */
}

/* ---- waiting ---- */

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

static void start_waiting(struct authn *a, struct authn **list)
{
	a->back = list;
	a->next = *list;
	if (a->next)
		a->next->back = &a->next;
	*list = a;
}

/* All that wait in the list, in one of the function's own: what is done for one may start or end
 * others. */
static void take_all(struct authn **list, struct authn **ret_all)
{
	*ret_all = *list;
	*list = NULL;
	if (*ret_all)
		(*ret_all)->back = ret_all;
}

/* ---- the outcome ---- */

static struct str named_issuer(const struct bearer_fail *fail)
{
	if (fail->issuer >= 0)
		return issuers_rules()[fail->issuer].issuer;
	return (struct str){fail->iss, fail->iss_n};
}

/* The one line that a refused token has in the log: whose it says it is and which rule it broke, and
 * nothing of the token itself. */
static void say(const struct authn *a, const struct bearer_fail *fail)
{
	log_info("token refused", LOG_TEXT("rule", check_step_word(fail->step)),
		LOG_TEXT("why", fail->why), LOG_STR("issuer", named_issuer(fail)),
		LOG_STR("kid", ((struct str){fail->kid, fail->kid_n})),
		LOG_TEXT("address", a->peer));
}

static void finish(struct authn *a, enum err err, struct principal *who,
	const struct bearer_fail *fail, const char *why)
{
	a->step = fail->step;
	a->issuer = fail->issuer;
	a->done(a, err, who, why);
}

/* The token was looked at and is not valid. */
static void fail_check(struct authn *a, const struct bearer_fail *fail)
{
	say(a, fail);
	metric_add(METRIC_AUTH_FAILED, 1);
	if (a->peer[0])
		quota_token_failed(str_of(a->peer));
	finish(a, ERR_UNAUTHENTICATED, NULL, fail, fail->why);
}

/* Nothing is held against who sends the token, so that anybody may send it as often as they can. */
static void fail_for_now(struct authn *a, const struct bearer_fail *fail)
{
	uint64_t now = worker_now_ms();
	if (!said_ms || now - said_ms >= SAID_EVERY_MS) {
		say(a, fail);
		said_ms = now;
	}
	finish(a, ERR_OVERLOADED, NULL, fail, fail->why);
}

/* ---- checks ---- */

/* What has happened since the token was made; the reference is given up when it is refused. */
static enum err welcome(struct principal **who, struct bearer_fail *fail)
{
	enum withdrawal_kind kind;
	if (!withdrawals_fit(*who, &kind))
		return ERR_OK;
	principal_unref(who);
	fail->why = withdrawal_reason(kind);
	fail->step = CHECK_WITHDRAWN;
	return ERR_UNAUTHENTICATED;
}

/* The token by itself, be it cached or not, then the rest. */
static enum err check(struct str token, struct principal **ret_who, struct bearer_fail *ret_fail)
{
	struct principal *who = NULL;
	enum err err = bearer_check(bearer, token, (int64_t)time(NULL), &who, ret_fail);
	err = err ? err : welcome(&who, ret_fail);
	if (!err)
		*ret_who = who;
	return err;
}

/* Whether keys for the token can still come, so that waiting for them makes sense. */
static bool keys_may_come(const struct bearer_fail *fail)
{
	return fail->wants_keys && issuer_is_fetched(issuers_at((size_t)fail->issuer)) &&
		time(NULL) >= quiet_until[fail->issuer];
}

/* Whether it is not known what the token is worth, because its issuer has never answered. */
static bool has_no_keys(const struct bearer_fail *fail)
{
	return fail->wants_keys && issuer_is_fetched(issuers_at((size_t)fail->issuer)) &&
		!bearer_keys(bearer, (size_t)fail->issuer);
}

static void wait_for_keys(struct authn *a, struct str token, const struct bearer_fail *fail)
{
	a->token = mem_copy(token);
	start_waiting(a, &waiting[fail->issuer]);
	issuer_keys_want((size_t)fail->issuer, (struct str){fail->kid, fail->kid_n});
}

static void wait_for_answer(struct authn *a, struct str token)
{
	start_waiting(a, &asking);
	introspection_ask(token, a->digest);
}

static bool can_be_asked(struct authn *a, struct str token, struct bearer_fail *fail)
{
	if (!fail->no_jwt || issuers_asked() < 0 || !introspection_digest(token, a->digest))
		return false;
	fail->issuer = issuers_asked();
	return true;
}

/* Where a token is to be asked about may have to be found out first. */
static void ask_issuer(
	struct authn *a, struct str token, const struct bearer_fail *fail, bool again)
{
	bool may_come = !again && time(NULL) >= quiet_until[fail->issuer];
	if (introspection_ready())
		wait_for_answer(a, token);
	else if (may_come)
		wait_for_keys(a, token, fail);
	else
		fail_for_now(a,
			&(struct bearer_fail){.issuer = fail->issuer,
				.step = CHECK_ACTIVE,
				.why = "where to ask the issuer about the token is not known"});
}

/* again: it has waited for keys already. */
static void check_now(struct authn *a, struct str token, bool again)
{
	struct bearer_fail fail = {0};
	struct principal *who = NULL;
	enum err err = check(token, &who, &fail);
	bool asked = err && can_be_asked(a, token, &fail);
	if (!err)
		finish(a, ERR_OK, who, &fail, "");
	else if (draining && (asked || fail.wants_keys))
		finish(a, ERR_OVERLOADED, NULL, &fail, stopping);
	else if (asked)
		ask_issuer(a, token, &fail, again);
	else if (!again && keys_may_come(&fail))
		wait_for_keys(a, token, &fail);
	else if (has_no_keys(&fail))
		fail_for_now(a, &fail);
	else
		fail_check(a, &fail);
}

void authn_check(struct authn *a, struct str token, struct str peer)
{
	struct refusal none;
	size_t n = peer.n < sizeof(a->peer) ? peer.n : 0;
	memcpy(a->peer, peer.p, n);
	a->peer[n] = 0;
	if (n && quota_token(peer, &none)) {
		metric_add(METRIC_AUTH_LIMITED, 1);
		finish(a, ERR_RATE_LIMITED, NULL, &(struct bearer_fail){.issuer = -1},
			"too many tokens of this address were wrong");
		return;
	}
	check_now(a, token, false);
}

/* ---- news of issuers ---- */

/* The keys are what they are now: whoever waited for them gets an answer. */
static void settle_keys(size_t issuer)
{
	struct authn *all, *a;
	take_all(&waiting[issuer], &all);
	while ((a = all)) {
		char *token = a->token;
		a->token = NULL;
		stop_waiting(a);
		check_now(a, str_of(token), true);
		free(token);
	}
}

static void on_news(const struct issuer_news *news)
{
	if (news->set || !news->has_keys)
		bearer_set_keys(bearer, news->issuer, news->set);
	quiet_until[news->issuer] = news->quiet_until;
	settle_keys(news->issuer);
}

static void settle_answer(struct authn *a, const struct introspection_answer *answer)
{
	struct bearer_fail fail = {
		.why = answer->why, .step = answer->step, .issuer = issuers_asked()};
	struct principal *who = answer->who ? principal_ref(answer->who) : NULL;
	enum err err = answer->err ? answer->err : welcome(&who, &fail);
	if (!err)
		finish(a, ERR_OK, who, &fail, "");
	else if (err == ERR_UNAUTHENTICATED)
		fail_check(a, &fail);
	else
		fail_for_now(a, &fail);
}

static void on_answered(const struct introspection_answer *answer)
{
	struct authn *all, *a;
	take_all(&asking, &all);
	while ((a = all)) {
		stop_waiting(a);
		if (memcmp(a->digest, answer->digest, sizeof(a->digest)) == 0)
			settle_answer(a, answer);
		else
			start_waiting(a, &asking);
	}
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
	introspection_forget(matches[kind], value);
}

void authn_explain(const struct authn *a, struct str token, enum err err,
	const struct principal *who, const char *why, const char *key, struct json_out *o)
{
	struct explained e = {.token = token,
		.rules = issuers_rules(),
		.rule_count = issuers_count(),
		.issuer = a->issuer,
		.set = a->issuer < 0 ? NULL : bearer_keys(bearer, (size_t)a->issuer),
		.err = err,
		.step = a->step,
		.why = why,
		.who = who,
		.now = (int64_t)time(NULL)};
	explain(&e, key, o);
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
	if (!token.n || memchr(token.p, ' ', token.n) || memchr(token.p, ',', token.n))
		return ERR_PARAMS; /* several headers come joined */
	*ret_token = token;
	return ERR_OK;
}

/* ---- the worker's part ---- */

enum err authn_configure(
	const struct config *config, const struct authn_embedded *embedded, struct buf *why)
{
	long timeout_ms = (long)config->auth.jwks_timeout;
	cache_size = config->auth.cached_tokens;
	fetch_trust(config->auth.authorities[0] ? config->auth.authorities : NULL);
	issuer_keys_configure(on_news, timeout_ms);
	introspection_configure(&(struct introspection_options){.cache = cache_size,
		.max_age_s = config->auth.introspection_max_age / 1000,
		.timeout_ms = timeout_ms,
		.answered = on_answered});
	return issuers_configure(config, embedded, why);
}

void authn_finish(void)
{
	issuers_finish();
}

static enum err start(struct worker *w)
{
	(void)w;
	bearer = bearer_new(issuers_rules(), issuers_count(), cache_size);
	for (size_t i = 0; i < issuers_count(); i++)
		if (issuers_at(i)->fixed)
			bearer_set_keys(bearer, i, issuers_at(i)->fixed);
	return ERR_OK;
}

static void refuse_waiting(struct authn **list)
{
	struct authn *a;
	while ((a = *list)) {
		stop_waiting(a);
		finish(a, ERR_OVERLOADED, NULL, &(struct bearer_fail){.issuer = -1}, stopping);
	}
}

static void drain(struct worker *w)
{
	(void)w;
	draining = true;
	for (size_t i = 0; i < issuers_count(); i++)
		refuse_waiting(&waiting[i]);
	refuse_waiting(&asking);
}

static void stop(struct worker *w)
{
	(void)w;
	for (size_t i = 0; i < issuers_count(); i++)
		while (waiting[i])
			stop_waiting(waiting[i]);
	while (asking)
		stop_waiting(asking);
	bearer_free(&bearer);
}

const struct worker_part authn_part = {
	.name = "tokens", .start = start, .drain = drain, .stop = stop};
