#include "service/kept.h"

#include "core/mem.h"

static void drop_first(struct kept *k)
{
	struct frame **f = &k->ring[k->head];
	k->bytes -= (*f)->size;
	frame_unref(f);
	k->head = (k->head + 1) & (k->room - 1);
	k->count--;
	k->first++;
}

static void grow(struct kept *k)
{
	uint32_t room = k->room ? k->room * 2 : 8;
	struct frame **ring = mem_alloc(room * sizeof(struct frame *));
	for (uint32_t i = 0; i < k->count; i++)
		ring[i] = k->ring[(k->head + i) & (k->room - 1)];
	free(k->ring);
	k->ring = ring;
	k->room = room;
	k->head = 0;
}

bool kept_add(struct kept *k, struct frame *f, size_t messages_max, size_t bytes_max)
{
	if (!k->first)
		k->first = 1;
	if (k->count == k->room)
		grow(k);
	k->ring[(k->head + k->count++) & (k->room - 1)] = frame_ref(f);
	k->bytes += f->size;
	bool all = true;
	while (k->count > messages_max || k->bytes > bytes_max) {
		drop_first(k);
		all = false;
	}
	return all;
}

void kept_ack(struct kept *k, uint64_t received)
{
	while (k->count && k->first <= received)
		drop_first(k);
	if (!k->count && k->room > 8) { /* a quiet session keeps no ring */
		free(k->ring);
		k->ring = NULL;
		k->room = k->head = 0;
	}
}

bool kept_reaches(const struct kept *k, uint64_t sent, uint64_t received)
{
	return received == sent || (k->count && k->first <= received + 1);
}

struct frame *kept_at(const struct kept *k, uint32_t i)
{
	return k->ring[(k->head + i) & (k->room - 1)];
}

void kept_free(struct kept *k)
{
	while (k->count)
		drop_first(k);
	free(k->ring);
	*k = (struct kept){0};
}
