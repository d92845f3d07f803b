#include "auth/password.h"

#include "auth/throttle.h"
#include "core/client_address.h"
#include "core/clock.h"
#include "core/mem.h"
#include "core/metrics.h"
#include "core/pool.h"

#include <argon2.h>
#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdatomic.h>

enum {
	PASSES = 2,
	MEMORY_KIB = 19 * 1024,
	LANES = 1,
	SALT_BYTES = 16,
	HASH_BYTES = 32,
	ACCOUNT_MAX = 64,
	ADDRESS_MAX = 16,
	PAIR_MAX = ACCOUNT_MAX + ADDRESS_MAX,
	ACCOUNT_FREE = 10, /* an account's wait stays short, or anybody could lock anybody out */
	ACCOUNT_WAIT_MAX = 60,
	ADDRESS_FREE = 50, /* behind one address may be a whole school */
	ADDRESS_WAIT_MAX = 900,
};

/* What a password is compared with when there is no such account: nobody knows one that fits, and
 * it would not be let in. */
static const char nobody[] = "$argon2id$v=19$m=19456,t=2,p=1$c2lnbmFsYm94LW5vYm9keQ$"
			     "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

struct password_job {
	struct job job;
	password_done *done;
	void *context;
	struct password_outcome outcome;
	bool known; /* there is such an account */
	size_t password_n, account_n, address_n;
	char hash[PASSWORD_HASH_MAX];
	char password[PASSWORD_MAX];
	char account[ACCOUNT_MAX];
	char address[ADDRESS_MAX];
};

/* One thread has to stay one: the throttles belong to it. */
static struct {
	pthread_mutex_t lock; /* around pool: it ends while workers run */
	struct pool *pool;
	struct throttle *accounts, *addresses;
	/* accounts where they have signed in before: who tries them elsewhere keeps nobody out there */
	struct throttle *at_home;
} own = {.lock = PTHREAD_MUTEX_INITIALIZER};

void password_start(void)
{
	own.accounts = throttle_new(ACCOUNT_FREE, ACCOUNT_WAIT_MAX);
	own.addresses = throttle_new(ADDRESS_FREE, ADDRESS_WAIT_MAX);
	own.at_home = throttle_new(ACCOUNT_FREE, ACCOUNT_WAIT_MAX);
	own.pool = pool_new("passwords", 1, PASSWORD_QUEUE_MAX);
}

void password_stop(void)
{
	pthread_mutex_lock(&own.lock);
	struct pool *pool = own.pool;
	own.pool = NULL;
	pthread_mutex_unlock(&own.lock);
	pool_free(&pool);
	throttle_free(&own.accounts);
	throttle_free(&own.addresses);
	throttle_free(&own.at_home);
}

enum err password_fit(struct str password)
{
	bool fits = password.n >= PASSWORD_MIN && password.n <= PASSWORD_MAX &&
		str_utf8_valid(password) && !memchr(password.p, 0, password.n);
	return fits ? ERR_OK : ERR_PARAMS;
}

static atomic_int hashing, hashing_most;

/* Around each hash, wherever it is computed: what the metrics say is what happened. */
static void begin_hash(void)
{
	int now = atomic_fetch_add(&hashing, 1) + 1, most = atomic_load(&hashing_most);
	metric_add(METRIC_PASSWORDS_HASHING, 1);
	while (now > most && !atomic_compare_exchange_weak(&hashing_most, &most, now)) {
	}
	if (now > most)
		metric_add(METRIC_PASSWORDS_HASHING_MOST, now - most);
}

static void end_hash(void)
{
	atomic_fetch_sub(&hashing, 1);
	metric_add(METRIC_PASSWORDS_HASHING, -1);
	metric_add(METRIC_PASSWORDS_HASHED, 1);
}

static void run_hash(struct job *job)
{
	struct password_job *j = (struct password_job *)job;
	unsigned char salt[SALT_BYTES];
	j->outcome.err = ERR_INTERNAL;
	begin_hash();
	if (RAND_bytes(salt, sizeof(salt)) == 1 &&
		argon2id_hash_encoded(PASSES, MEMORY_KIB, LANES, j->password, j->password_n, salt,
			sizeof(salt), HASH_BYTES, j->hash, sizeof(j->hash)) == ARGON2_OK)
		j->outcome.err = ERR_OK;
	j->outcome.hash = str_of(j->hash);
	end_hash();
}

/* How often a password was wrong, of the account and of the address. */
struct counts {
	struct throttle *accounts;
	struct str account, address; /* n 0: not limited */
};

static struct counts counts_of(const struct password_job *j, struct str pair)
{
	struct counts c = {own.accounts, {j->account, j->account_n}, {j->address, j->address_n}};
	if (j->address_n && throttle_knows(own.at_home, pair)) {
		c.accounts = own.at_home;
		c.account = pair;
	}
	return c;
}

static int64_t must_wait(const struct counts *c, int64_t now)
{
	int64_t one = throttle_wait(c->accounts, c->account, now);
	int64_t other = c->address.n ? throttle_wait(own.addresses, c->address, now) : 0;
	return one > other ? one : other;
}

static void count(const struct counts *c, struct str pair, bool right, int64_t now)
{
	if (right) {
		throttle_forget(c->accounts, c->account);
		if (c->address.n)
			throttle_enter(own.at_home, pair, now);
		return;
	}
	throttle_failed(c->accounts, c->account, now);
	if (c->address.n)
		throttle_failed(own.addresses, c->address, now);
}

static void run_check(struct job *job)
{
	struct password_job *j = (struct password_job *)job;
	char text[PAIR_MAX];
	struct str pair = {text, j->address_n + j->account_n};
	memcpy(text, j->address, j->address_n);
	memcpy(text + j->address_n, j->account, j->account_n);
	struct counts c = counts_of(j, pair);
	int64_t now = clock_steady_ms();
	j->outcome.retry_after = must_wait(&c, now);
	if (j->outcome.retry_after) {
		j->outcome.err = ERR_RATE_LIMITED;
		return;
	}
	begin_hash();
	bool right = argon2id_verify(j->hash, j->password, j->password_n) == ARGON2_OK && j->known;
	end_hash();
	count(&c, pair, right, now);
	j->outcome.err = right ? ERR_OK : ERR_UNAUTHENTICATED;
}

static void come_back(struct job *job)
{
	struct password_job *j = (struct password_job *)job;
	OPENSSL_cleanse(j->password, sizeof(j->password));
	j->done(j->context, &j->outcome);
	free(j);
}

static size_t put(char *out, size_t room, struct str s)
{
	size_t n = s.n < room ? s.n : room;
	if (n)
		memcpy(out, s.p, n);
	return n;
}

static enum err submit(struct password_job *j)
{
	j->job.done = come_back;
	pthread_mutex_lock(&own.lock);
	enum err err = own.pool ? pool_run(own.pool, &j->job) : ERR_OVERLOADED;
	pthread_mutex_unlock(&own.lock);
	if (err) {
		OPENSSL_cleanse(j->password, sizeof(j->password));
		free(j);
	}
	return err;
}

enum err password_hash(struct str password, password_done *done, void *context)
{
	assert(password_fit(password) == ERR_OK);
	struct password_job *j = mem_new(struct password_job);
	j->job.run = run_hash;
	j->done = done;
	j->context = context;
	j->password_n = put(j->password, sizeof(j->password), password);
	return submit(j);
}

/* The account counts under one name however it was typed. */
static void put_account(struct password_job *j, struct str typed)
{
	j->account_n = put(j->account, sizeof(j->account), typed);
	for (size_t i = 0; i < j->account_n; i++)
		if (j->account[i] >= 'A' && j->account[i] <= 'Z')
			j->account[i] = (char)(j->account[i] - 'A' + 'a');
}

static void put_address(struct password_job *j, struct str text)
{
	struct client_address address = client_address_of(text);
	j->address_n = put(j->address, sizeof(j->address), client_address_limited(&address));
}

enum err password_check(const struct password_attempt *a, password_done *done, void *context)
{
	struct password_job *j = mem_new(struct password_job);
	j->job.run = run_check;
	j->done = done;
	j->context = context;
	j->known = a->hash.n && a->hash.n < sizeof(j->hash) && !password_fit(a->password);
	j->password_n = put(j->password, sizeof(j->password), a->password);
	put(j->hash, sizeof(j->hash) - 1, j->known ? a->hash : str_of(nobody));
	put_account(j, a->account);
	put_address(j, a->address);
	return submit(j);
}
