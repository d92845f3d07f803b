#include "auth/throttle.h"

#include "core/mem.h"

#include <assert.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

enum { WAYS = 4, SETS = THROTTLE_KEYS / WAYS, FORGIVEN_AFTER_MS = 60000, DOUBLINGS_MAX = 20 };

struct entry {
	uint64_t id; /* 0: free */
	int64_t last;
	int64_t failures; /* at that time */
};

struct throttle {
	int64_t free, wait_max;
	unsigned char seed[16];
	struct entry sets[SETS][WAYS];
};

struct throttle *throttle_new(int free, int wait_max)
{
	struct throttle *t = mem_new(struct throttle);
	t->free = free;
	t->wait_max = wait_max;
	if (RAND_bytes(t->seed, sizeof(t->seed)) != 1)
		abort();
	return t;
}

void throttle_free(struct throttle **t)
{
	free(*t);
	*t = NULL;
}

static uint64_t id_of(const struct throttle *t, struct str key)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	uint64_t id;
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	int ok = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) &&
		EVP_DigestUpdate(context, t->seed, sizeof(t->seed)) &&
		EVP_DigestUpdate(context, key.p, key.n) &&
		EVP_DigestFinal_ex(context, digest, NULL);
	EVP_MD_CTX_free(context);
	assert(ok);
	(void)ok;
	memcpy(&id, digest, sizeof(id));
	return id ? id : 1;
}

static struct entry *find(const struct throttle *t, uint64_t id)
{
	const struct entry *set = t->sets[id % SETS];
	for (int i = 0; i < WAYS; i++)
		if (set[i].id == id)
			return (struct entry *)(uintptr_t)&set[i];
	return NULL;
}

static int64_t failures_now(const struct entry *e, int64_t now)
{
	int64_t forgiven = (now - e->last) / FORGIVEN_AFTER_MS;
	return forgiven < e->failures ? e->failures - forgiven : 0;
}

int64_t throttle_wait(const struct throttle *t, struct str key, int64_t now)
{
	const struct entry *e = find(t, id_of(t, key));
	if (!e || e->failures < t->free)
		return 0;
	int64_t doublings = e->failures - t->free;
	int64_t wait = doublings < DOUBLINGS_MAX ? INT64_C(1) << doublings : t->wait_max;
	if (wait > t->wait_max)
		wait = t->wait_max;
	int64_t left = e->last + wait * 1000 - now;
	return left > 0 ? (left + 999) / 1000 : 0;
}

/* The entry, made in the place of the one that was used least lately. */
static struct entry *need(struct throttle *t, struct str key)
{
	uint64_t id = id_of(t, key);
	struct entry *e = find(t, id);
	if (!e) {
		struct entry *set = t->sets[id % SETS];
		e = &set[0];
		for (int i = 1; i < WAYS; i++)
			if (e->id && (!set[i].id || set[i].last < e->last))
				e = &set[i];
		*e = (struct entry){.id = id};
	}
	return e;
}

void throttle_failed(struct throttle *t, struct str key, int64_t now)
{
	struct entry *e = need(t, key);
	e->failures = failures_now(e, now) + 1;
	e->last = now;
}

void throttle_enter(struct throttle *t, struct str key, int64_t now)
{
	struct entry *e = need(t, key);
	e->failures = 0;
	e->last = now;
}

bool throttle_knows(const struct throttle *t, struct str key)
{
	return find(t, id_of(t, key)) != NULL;
}

void throttle_undo(struct throttle *t, struct str key)
{
	struct entry *e = find(t, id_of(t, key));
	if (e && e->failures)
		e->failures--;
}

void throttle_forget(struct throttle *t, struct str key)
{
	struct entry *e = find(t, id_of(t, key));
	if (e)
		*e = (struct entry){0};
}
