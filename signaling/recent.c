#include "signaling/recent.h"

#include "core/mem.h"

#include <assert.h>

enum { KEY_BYTES_MAX = 1024 };

struct recent_key {
	struct recent_key *newer;
	uint64_t offset;
	size_t n;
	char bytes[];
};

/* User and key with a control character between them, which neither may hold. False: too long to be
 * remembered, which the limits of both rule out. */
static bool join_key(char *out, struct str user, struct str key, struct str *ret)
{
	if (user.n + 1 + key.n > KEY_BYTES_MAX)
		return false;
	if (user.n)
		memcpy(out, user.p, user.n);
	out[user.n] = '\n';
	memcpy(out + user.n + 1, key.p, key.n);
	*ret = (struct str){out, user.n + 1 + key.n};
	return true;
}

static void forget_oldest(struct recent *r)
{
	struct recent_key *k = r->oldest;
	r->oldest = k->newer;
	if (!r->oldest)
		r->newest = NULL;
	map_remove(&r->by_key, (struct str){k->bytes, k->n});
	free(k);
}

void recent_finish(struct recent *r)
{
	while (r->oldest)
		forget_oldest(r);
	map_free(&r->by_key);
}

uint64_t recent_find(const struct recent *r, struct str user, struct str key)
{
	char bytes[KEY_BYTES_MAX];
	struct str both;
	if (!join_key(bytes, user, key, &both))
		return 0;
	const struct recent_key *k = map_get(&r->by_key, both);
	return k ? k->offset : 0;
}

void recent_add(struct recent *r, struct str user, struct str key, uint64_t offset)
{
	char bytes[KEY_BYTES_MAX];
	struct str both;
	if (!join_key(bytes, user, key, &both))
		return;
	assert(!map_get(&r->by_key, both));
	if (r->by_key.count == RECENT_MAX)
		forget_oldest(r);
	struct recent_key *k = mem_alloc(sizeof(*k) + both.n);
	k->offset = offset;
	k->n = both.n;
	memcpy(k->bytes, both.p, both.n);
	map_put(&r->by_key, (struct str){k->bytes, k->n}, k);
	if (r->newest)
		r->newest->newer = k;
	else
		r->oldest = k;
	r->newest = k;
}

bool recent_next(const struct recent *r, const struct recent_key **at, struct recent_entry *ret)
{
	*at = *at ? (*at)->newer : r->oldest;
	if (!*at)
		return false;
	const char *end = memchr((*at)->bytes, '\n', (*at)->n);
	size_t user = (size_t)(end - (*at)->bytes);
	*ret = (struct recent_entry){
		{(*at)->bytes, user}, {end + 1, (*at)->n - user - 1}, (*at)->offset};
	return true;
}
