#include "service/ticket.h"

#include "auth/b64url.h"
#include "auth/withdrawal.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/map.h"
#include "core/mem.h"
#include "core/metrics.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <time.h>

enum { RANDOM = 32 };

struct owner {
	size_t count, n;
	char user[]; /* the map's key */
};

/* Those that wait are in a ring, the oldest behind `ring`. */
struct ticket {
	struct ticket *before, *behind;
	struct principal *who;
	struct owner *owner;
	int64_t born_ms;
	unsigned char digest[SHA256_DIGEST_LENGTH]; /* the map's key */
	size_t origin_n;
	char origin[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct map tickets, owners;
static struct ticket ring = {.before = &ring, .behind = &ring};

/* ---- the table; the lock is held ---- */

static struct str key_of(const unsigned char *digest)
{
	return (struct str){(const char *)digest, SHA256_DIGEST_LENGTH};
}

static struct owner *owner_of(struct str user)
{
	struct owner *o = map_get(&owners, user);
	if (o)
		return o;
	o = mem_alloc(sizeof(*o) + user.n);
	o->n = user.n;
	memcpy(o->user, user.p, user.n);
	map_put(&owners, (struct str){o->user, o->n}, o);
	return o;
}

static void leave_owner(struct owner *o)
{
	if (o->count)
		return;
	map_remove(&owners, (struct str){o->user, o->n});
	free(o);
}

/* It is nobody's any more; the caller frees it. */
static void take_out(struct ticket *t)
{
	map_remove(&tickets, key_of(t->digest));
	t->before->behind = t->behind;
	t->behind->before = t->before;
	t->owner->count--;
	leave_owner(t->owner);
}

static void free_ticket(struct ticket *t)
{
	principal_unref(&t->who);
	free(t);
}

static bool is_old(const struct ticket *t, int64_t now_ms)
{
	return now_ms - t->born_ms >= TICKET_S * 1000;
}

static void drop_old(int64_t now_ms)
{
	while (ring.behind != &ring && is_old(ring.behind, now_ms)) {
		struct ticket *t = ring.behind;
		take_out(t);
		free_ticket(t);
	}
}

/* ---- issue ---- */

static enum err put(struct ticket *t, struct refusal *ret_why)
{
	drop_old(t->born_ms);
	if (tickets.count >= TICKETS_MAX) {
		ret_why->retry_after = TICKET_S;
		return ERR_OVERLOADED;
	}
	t->owner = owner_of(t->who->user);
	if (t->owner->count >= TICKETS_OF_A_USER) {
		*ret_why = (struct refusal){.reason = "too_many_tickets",
			.retry_after = TICKET_S,
			.limit = TICKETS_OF_A_USER};
		return ERR_RATE_LIMITED;
	}
	t->owner->count++;
	t->behind = &ring;
	t->before = ring.before;
	t->before->behind = ring.before = t;
	map_put(&tickets, key_of(t->digest), t);
	return ERR_OK;
}

enum err ticket_issue(const struct principal *who, struct str origin, char *ret_ticket,
	unsigned *ret_expires_in, struct refusal *ret_why)
{
	unsigned char random[RANDOM];
	struct buf text = BUF_INIT(TICKET_TEXT + 1);
	if (RAND_bytes(random, sizeof(random)) != 1)
		abort();
	b64url_add(&text, random, sizeof(random));
	struct ticket *t = mem_alloc(sizeof(*t) + origin.n);
	*t = (struct ticket){
		.who = principal_ref(who), .born_ms = clock_steady_ms(), .origin_n = origin.n};
	if (origin.n)
		memcpy(t->origin, origin.p, origin.n);
	SHA256((const unsigned char *)text.p, text.n, t->digest);
	pthread_mutex_lock(&lock);
	enum err err = put(t, ret_why);
	pthread_mutex_unlock(&lock);
	if (err) {
		free_ticket(t);
		metric_add(METRIC_TICKETS_REFUSED, 1);
	} else {
		int64_t left = who->expires_at - (int64_t)time(NULL);
		memcpy(ret_ticket, text.p, TICKET_TEXT);
		ret_ticket[TICKET_TEXT] = 0;
		*ret_expires_in = left < TICKET_S ? (unsigned)(left > 0 ? left : 0) : TICKET_S;
		metric_add(METRIC_TICKETS_ISSUED, 1);
	}
	OPENSSL_cleanse(random, sizeof(random));
	OPENSSL_cleanse(text.p, text.n);
	buf_free(&text);
	return err;
}

/* ---- use ---- */

/* What is wrong with it, or NULL. */
static const char *fault(const struct ticket *t, struct str origin)
{
	enum withdrawal_kind kind;
	if (!t)
		return "the ticket is not known: never issued, used already, or too old";
	if (is_old(t, clock_steady_ms()))
		return "the ticket is too old";
	if (!str_eq((struct str){t->origin, t->origin_n}, origin))
		return "the ticket was made for another Origin";
	if ((int64_t)time(NULL) >= t->who->expires_at)
		return "the token that the ticket was made with has expired";
	if (withdrawals_fit(t->who, &kind))
		return withdrawal_reason(kind);
	return NULL;
}

struct principal *ticket_use(struct str ticket, struct str origin, struct str address)
{
	unsigned char digest[SHA256_DIGEST_LENGTH];
	SHA256((const unsigned char *)ticket.p, ticket.n, digest);
	pthread_mutex_lock(&lock);
	struct ticket *t = map_get(&tickets, key_of(digest));
	if (t)
		take_out(t);
	pthread_mutex_unlock(&lock);
	const char *wrong = fault(t, origin);
	struct principal *who = t && !wrong ? principal_ref(t->who) : NULL;
	if (wrong)
		log_warn("ticket refused", LOG_TEXT("why", wrong), LOG_STR("address", address),
			LOG_STR("user", t ? t->who->user : STR("")));
	metric_add(wrong ? METRIC_TICKETS_REFUSED : METRIC_TICKETS_USED, 1);
	if (t)
		free_ticket(t);
	return who;
}

void tickets_finish(void)
{
	drop_old(INT64_MAX);
	map_free(&tickets);
	map_free(&owners);
}
