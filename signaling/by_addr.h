/* by_addr.h: what a module has of an endpoint, found by its address: a list for each, linked through the
 * things themselves. Thread: its owner's. Allocates nothing of its own but the map's slots. */
#pragma once

#include "core/addr.h"
#include "core/map.h"

/* Lies in the thing, zeroed while it is in no list. */
struct addr_link {
	char key[ADDR_KEY_BYTES];
	struct addr addr;
	struct addr_link *next, *previous;
};

void addr_link_put(struct map *m, struct addr_link *l, struct addr addr);
void addr_link_remove(struct map *m, struct addr_link *l); /* one in no list is no fault */
struct addr_link *addr_link_first(const struct map *m, struct addr addr);
