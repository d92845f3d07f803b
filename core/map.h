/* map.h: a hash table from byte strings to pointers, with a seed of its own for each process, so
 * that nobody can choose keys that collide. Keys are not copied: they live as long as their entry,
 * usually inside the value. Thread: its owner's. */
#pragma once

#include "core/str.h"

#include <stdint.h>

struct map_slot {
	struct str key;
	void *value; /* NULL: free */
	uint64_t hash;
};

struct map {
	struct map_slot *slots;
	size_t count;
	size_t mask; /* slots - 1, or 0 with no slots */
};

void map_free(struct map *m); /* must be empty: asserted */
void *map_get(const struct map *m, struct str key);
void map_put(struct map *m, struct str key, void *value); /* replaces; value is not NULL */
void *map_remove(struct map *m, struct str key);          /* what was there, or NULL */

/* Walks all entries: for (size_t i = 0; (value = map_next(&m, &i));). No put or remove meanwhile. */
void *map_next(const struct map *m, size_t *i);
