/* map.h: a hash table from byte strings to pointers, with a seed of its own for each process, so
 * that nobody can choose keys that collide. Keys are not copied: they live as long as their entry,
 * usually inside the value. Thread: its owner's. */
#pragma once

#include "core/str.h"

#include <stdint.h>

/* Small: there are several for each session. */
struct map_slot {
	const char *key;
	void *value; /* NULL: free */
	uint32_t key_n;
	uint32_t hash; /* half of it is enough: nobody has as many entries */
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
