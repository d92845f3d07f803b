#include "auth/keyring.h"

#include <assert.h>

void keyring_init(struct keyring *k)
{
	memset(k, 0, sizeof(*k));
}

void keyring_finish(struct keyring *k)
{
	jwk_set_unref(&k->set);
}

struct jwk_set *keyring_keys(const struct keyring *k, int64_t now)
{
	return k->set && now < k->fetched_at + KEYRING_STALE ? k->set : NULL;
}

static bool cooling(const struct keyring *k, int64_t now)
{
	return k->tried && now < k->tried_at + KEYRING_COOLDOWN;
}

static enum keyring_step begin(struct keyring *k, int64_t now)
{
	if (k->fetching)
		return KEYRING_WAIT;
	if (cooling(k, now))
		return KEYRING_REFUSE;
	k->fetching = k->tried = true;
	k->tried_at = now;
	return KEYRING_FETCH;
}

static struct keyring_unknown *find(struct keyring *k, struct str kid)
{
	for (size_t i = 0; i < KEYRING_UNKNOWN_MAX; i++)
		if (k->unknown[i].n &&
			str_eq((struct str){k->unknown[i].kid, k->unknown[i].n}, kid))
			return &k->unknown[i];
	return NULL;
}

/* What the fetch under way is about. */
static void remember(struct keyring *k, struct str kid)
{
	if (!kid.n || kid.n > JWK_KID_MAX)
		return;
	struct keyring_unknown *place = find(k, kid);
	if (!place) { /* a made-up kid may push out another: that one only asks again */
		place = &k->unknown[k->next];
		k->next = (k->next + 1) % KEYRING_UNKNOWN_MAX;
	}
	memcpy(place->kid, kid.p, kid.n);
	place->n = kid.n;
	place->asked = true;
}

/* What the end of a fetch (with a set, or NULL) says of a kid. */
static void settle(struct keyring_unknown *u, const struct jwk_set *set, bool differs, int64_t now)
{
	if (u->asked && set && !jwk_set_find(set, (struct str){u->kid, u->n}))
		u->until = now + KEYRING_UNKNOWN_TIME;
	else if (u->asked || differs)
		u->n = 0;
	u->asked = false;
}

static void end(struct keyring *k, const struct jwk_set *set, bool differs, int64_t now)
{
	assert(k->fetching);
	k->fetching = false;
	k->tried_at = now;
	for (size_t i = 0; i < KEYRING_UNKNOWN_MAX; i++)
		settle(&k->unknown[i], set, differs, now);
}

enum keyring_step keyring_unknown(struct keyring *k, struct str kid, int64_t now)
{
	const struct keyring_unknown *known = find(k, kid);
	if (known && !known->asked && now < known->until)
		return KEYRING_REFUSE;
	enum keyring_step step = begin(k, now);
	if (step != KEYRING_REFUSE)
		remember(k, kid);
	return step;
}

enum keyring_step keyring_tick(struct keyring *k, int64_t now)
{
	if (k->fetching || cooling(k, now) || (k->set && now < k->fetched_at + KEYRING_TTL))
		return KEYRING_IDLE;
	return begin(k, now);
}

bool keyring_arrived(struct keyring *k, struct jwk_set *set, int64_t now)
{
	bool differs = !jwk_set_same(k->set, set);
	struct jwk_set *old = k->set;
	end(k, set, differs, now);
	k->set = jwk_set_ref(set);
	k->fetched_at = now;
	jwk_set_unref(&old);
	return differs;
}

void keyring_failed(struct keyring *k, int64_t now)
{
	end(k, NULL, false, now);
}
