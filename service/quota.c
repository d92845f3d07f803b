#include "service/quota.h"

#include "core/bucket.h"
#include "core/client_address.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/map.h"
#include "core/mem.h"
#include "core/metrics.h"
#include "service/forwarded.h"

#include <assert.h>
#include <pthread.h>

enum {
	SECOND_MS = 1000,
	MINUTE_MS = 60 * SECOND_MS,
	BURST = 10, /* handshakes at once, times those a second: a whole office after a cut */
	CROWDED_RETRY_S = 5,
	SAY_MS = 10 * SECOND_MS,
};

struct entry {
	struct entry *next, **back;
	struct map *in;
	unsigned connections, openings, sessions;
	struct bucket handshakes, failures, requests;
	size_t n;
	char key[];
};

static struct quota_limits limits;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct map addresses, users;
static struct entry *all;
static int64_t swept_ms;

void quota_configure(const struct quota_limits *l)
{
	limits = *l;
	client_addresses_configure(l->addresses, forwarded_trusts);
}

static struct bucket_size handshakes_size(void)
{
	return (struct bucket_size){
		limits.handshakes_per_second, SECOND_MS, limits.handshakes_per_second * BURST};
}

static struct bucket_size failures_size(void)
{
	unsigned n = limits.failed_authentications_per_minute;
	return (struct bucket_size){n, MINUTE_MS, n};
}

static struct bucket_size requests_size(void)
{
	return (struct bucket_size){
		limits.http_requests_per_second, SECOND_MS, limits.http_requests_per_second};
}

/* ---- entries ---- */

static bool idle(const struct entry *e, int64_t now)
{
	return !e->connections && !e->openings && !e->sessions &&
		bucket_full(&e->handshakes, handshakes_size(), now) &&
		bucket_full(&e->failures, failures_size(), now) &&
		bucket_full(&e->requests, requests_size(), now);
}

static void forget(struct entry *e)
{
	map_remove(e->in, (struct str){e->key, e->n});
	*e->back = e->next;
	if (e->next)
		e->next->back = e->back;
	free(e);
}

static bool has_room(void)
{
	return addresses.count + users.count < QUOTA_REMEMBERED;
}

/* Entries become idle by themselves, with time: they are looked for once a minute, and when there
 * are many. */
static void sweep(int64_t now)
{
	int64_t pause = has_room() ? MINUTE_MS : SECOND_MS;
	if (now - swept_ms < pause)
		return;
	swept_ms = now;
	for (struct entry *e = all, *next; e; e = next) {
		next = e->next;
		if (idle(e, now))
			forget(e);
	}
}

/* The entry, made when there is none. */
static struct entry *need(struct map *in, struct str key)
{
	struct entry *e = map_get(in, key);
	if (e)
		return e;
	sweep(clock_steady_ms());
	e = mem_alloc(sizeof(*e) + key.n);
	e->in = in;
	e->n = key.n;
	memcpy(e->key, key.p, key.n);
	e->back = &all;
	e->next = all;
	if (all)
		all->back = &e->next;
	all = e;
	map_put(in, (struct str){e->key, e->n}, e);
	return e;
}

/* The same for what only comes back with time: NULL when no more are remembered. */
static struct entry *remember(struct map *in, struct str key)
{
	struct entry *e = map_get(in, key);
	if (e)
		return e;
	sweep(clock_steady_ms());
	if (has_room())
		return need(in, key);
	metric_add(METRIC_QUOTA_FORGOTTEN, 1);
	return NULL;
}

static struct str key_str(const struct client_address *k)
{
	return (struct str){(const char *)k->bytes, k->n};
}

static int64_t seconds(int64_t ms)
{
	return (ms + SECOND_MS - 1) / SECOND_MS;
}

/* Says whom a limit refuses, each limit once in SAY_MS: who is refused once is often refused a thousand
 * times, and the metrics count them all. */
enum said {
	SAID_CONNECTIONS,
	SAID_HANDSHAKES,
	SAID_OPENINGS,
	SAID_TOKENS,
	SAID_SESSIONS,
	SAID_REQUESTS,
	SAIDS
};

static void say(enum said limit, const char *whose, struct str who, const struct refusal *why)
{
	static int64_t next[SAIDS];
	int64_t now = clock_steady_ms();
	pthread_mutex_lock(&lock);
	bool due = now >= next[limit];
	if (due)
		next[limit] = now + SAY_MS;
	pthread_mutex_unlock(&lock);
	if (due)
		log_warn("limit reached", LOG_TEXT("reason", why->reason), LOG_STR(whose, who),
			LOG_INT("limit", why->limit));
}

/* ---- addresses ---- */

struct refusal quota_crowded(void)
{
	return (struct refusal){.reason = "too_many_connections",
		.message = "Too many connections of this address.",
		.retry_after = CROWDED_RETRY_S,
		.limit = limits.connections_per_address};
}

enum quota_room quota_connect(struct str address)
{
	struct client_address k = client_address_of(address);
	unsigned most = limits.connections_per_address;
	enum quota_room room = QUOTA_ROOM;
	pthread_mutex_lock(&lock);
	struct entry *e = need(&addresses, key_str(&k));
	if (k.limited && most && e->connections >= most)
		room = e->connections < most + QUOTA_CROWD ? QUOTA_CROWDED : QUOTA_PACKED;
	if (room != QUOTA_PACKED)
		e->connections++;
	pthread_mutex_unlock(&lock);
	if (room != QUOTA_ROOM) {
		struct refusal why = quota_crowded();
		say(SAID_CONNECTIONS, "address", address, &why);
	}
	return room;
}

/* One less of what is open now. */
static void count_down(struct map *in, struct str key, size_t offset)
{
	pthread_mutex_lock(&lock);
	struct entry *e = map_get(in, key);
	unsigned *count = e ? (unsigned *)(void *)((char *)e + offset) : NULL;
	assert(count && *count);
	--*count;
	if (idle(e, clock_steady_ms()))
		forget(e);
	pthread_mutex_unlock(&lock);
}

void quota_disconnect(struct str address)
{
	struct client_address k = client_address_of(address);
	count_down(&addresses, key_str(&k), offsetof(struct entry, connections));
}

enum err quota_handshake(struct str address, struct refusal *ret_why)
{
	struct client_address k = client_address_of(address);
	if (!k.limited || !limits.handshakes_per_second)
		return ERR_OK;
	pthread_mutex_lock(&lock);
	struct entry *e = remember(&addresses, key_str(&k));
	int64_t wait = e ? bucket_take(&e->handshakes, handshakes_size(), clock_steady_ms(), 1) : 0;
	pthread_mutex_unlock(&lock);
	if (!wait)
		return ERR_OK;
	metric_add(METRIC_HANDSHAKES_LIMITED, 1);
	*ret_why = (struct refusal){.reason = "too_many_handshakes",
		.message = "Too many connections of this address in a short time; wait a little.",
		.retry_after = seconds(wait),
		.limit = limits.handshakes_per_second};
	say(SAID_HANDSHAKES, "address", address, ret_why);
	return ERR_RATE_LIMITED;
}

enum err quota_opening(struct str address, struct refusal *ret_why)
{
	struct client_address k = client_address_of(address);
	if (!k.limited || !limits.unopened_per_address)
		return ERR_OK;
	pthread_mutex_lock(&lock);
	struct entry *e = map_get(&addresses, key_str(&k));
	bool full = e && e->openings >= limits.unopened_per_address;
	pthread_mutex_unlock(&lock);
	if (!full)
		return ERR_OK;
	metric_add(METRIC_OPENINGS_LIMITED, 1);
	*ret_why = (struct refusal){.reason = "too_many_unopened",
		.message = "Too many connections of this address have not said who they are.",
		.retry_after = 1,
		.limit = limits.unopened_per_address};
	say(SAID_OPENINGS, "address", address, ret_why);
	return ERR_RATE_LIMITED;
}

void quota_opening_begun(struct str address)
{
	struct client_address k = client_address_of(address);
	pthread_mutex_lock(&lock);
	need(&addresses, key_str(&k))->openings++;
	pthread_mutex_unlock(&lock);
}

void quota_opening_ended(struct str address)
{
	struct client_address k = client_address_of(address);
	count_down(&addresses, key_str(&k), offsetof(struct entry, openings));
}

enum err quota_token(struct str address, struct refusal *ret_why)
{
	struct client_address k = client_address_of(address);
	if (!k.limited || !limits.failed_authentications_per_minute)
		return ERR_OK;
	pthread_mutex_lock(&lock);
	struct entry *e = map_get(&addresses, key_str(&k));
	int64_t wait = e ? bucket_wait(&e->failures, failures_size(), clock_steady_ms(), 1) : 0;
	pthread_mutex_unlock(&lock);
	if (!wait)
		return ERR_OK;
	*ret_why = (struct refusal){.reason = "too_many_failures",
		.message = "Too many tokens from this address were not valid; wait a little.",
		.retry_after = seconds(wait),
		.limit = limits.failed_authentications_per_minute};
	say(SAID_TOKENS, "address", address, ret_why);
	return ERR_RATE_LIMITED;
}

void quota_token_failed(struct str address)
{
	struct client_address k = client_address_of(address);
	pthread_mutex_lock(&lock);
	struct entry *e = k.limited ? remember(&addresses, key_str(&k)) : NULL;
	if (e)
		bucket_spend(&e->failures, failures_size(), clock_steady_ms(), 1);
	pthread_mutex_unlock(&lock);
}

/* ---- users ---- */

enum err quota_session(struct str user, struct refusal *ret_why)
{
	unsigned most = limits.sessions_per_user;
	pthread_mutex_lock(&lock);
	struct entry *e = need(&users, user);
	bool full = most && e->sessions >= most;
	e->sessions += !full;
	pthread_mutex_unlock(&lock);
	if (!full)
		return ERR_OK;
	metric_add(METRIC_SESSIONS_LIMITED, 1);
	*ret_why = (struct refusal){.reason = "too_many_sessions",
		.message = "This user has as many sessions as one may have.",
		.retry_after = 1,
		.limit = most};
	say(SAID_SESSIONS, "user", user, ret_why);
	return ERR_FULL;
}

void quota_session_kept(struct str user)
{
	pthread_mutex_lock(&lock);
	need(&users, user)->sessions++;
	pthread_mutex_unlock(&lock);
}

void quota_session_ended(struct str user)
{
	count_down(&users, user, offsetof(struct entry, sessions));
}

enum err quota_requests(struct str user, unsigned n, struct refusal *ret_why)
{
	if (!limits.http_requests_per_second)
		return ERR_OK;
	pthread_mutex_lock(&lock);
	struct entry *e = remember(&users, user);
	int64_t wait = e ? bucket_take(&e->requests, requests_size(), clock_steady_ms(), n) : 0;
	pthread_mutex_unlock(&lock);
	if (!wait)
		return ERR_OK;
	metric_add(METRIC_HTTP_LIMITED, 1);
	*ret_why = (struct refusal){.reason = "too_many_requests",
		.message = "Too many requests in a short time; wait a little.",
		.retry_after = seconds(wait),
		.limit = limits.http_requests_per_second};
	say(SAID_REQUESTS, "user", user, ret_why);
	return ERR_RATE_LIMITED;
}

void quota_finish(void)
{
	while (all) {
		assert(!all->connections && !all->openings && !all->sessions);
		forget(all);
	}
	map_free(&addresses);
	map_free(&users);
}
