/* recent.h: the idempotency keys that a room has seen last, and the offset each of them got, so that
 * a publish sent twice is published once. Keys of different users are different.
 * Bounded: past RECENT_MAX the oldest is forgotten. Thread: its room's. */
#pragma once

#include "core/map.h"

enum { RECENT_MAX = 1024 };

struct recent {
	struct map by_key;
	struct recent_key *oldest, *newest;
};

void recent_finish(struct recent *r);

/* The offset that this user's key got, or 0. */
uint64_t recent_find(const struct recent *r, struct str user, struct str key);

/* The key is not there yet. */
void recent_add(struct recent *r, struct str user, struct str key, uint64_t offset);

/* Walks all of them, the oldest first; at begins as NULL. False: there are no more. */
struct recent_entry {
	struct str user, key;
	uint64_t offset;
};
bool recent_next(const struct recent *r, const struct recent_key **at, struct recent_entry *ret);
