#include "signaling/by_addr.h"

void addr_link_put(struct map *m, struct addr_link *l, struct addr addr)
{
	*l = (struct addr_link){.addr = addr, .next = addr_link_first(m, addr)};
	if (l->next)
		l->next->previous = l;
	map_put(m, addr_key(addr, l->key), l); /* the key is the first one's */
}

void addr_link_remove(struct map *m, struct addr_link *l)
{
	if (!l->addr.generation)
		return;
	if (l->next)
		l->next->previous = l->previous;
	if (l->previous)
		l->previous->next = l->next;
	else if (l->next)
		map_put(m, (struct str){l->next->key, ADDR_KEY_BYTES}, l->next);
	else
		map_remove(m, (struct str){l->key, ADDR_KEY_BYTES});
	*l = (struct addr_link){0};
}

struct addr_link *addr_link_first(const struct map *m, struct addr addr)
{
	char key[ADDR_KEY_BYTES];
	return map_get(m, addr_key(addr, key));
}
