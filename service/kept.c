#include "service/kept.h"

#include "core/slab.h"

enum { ROOM_FIRST = 8 };

static void drop_first(struct kept *k)
{
	struct frame **f = &k->ring[k->head];
	k->bytes -= (*f)->size;
	frame_unref(f);
	k->head = (k->head + 1) & (k->room - 1);
	k->count--;
	k->first++;
}

static void give_ring(struct kept *k)
{
	slab_give(k->ring, k->room * sizeof(*k->ring));
	k->ring = NULL;
	k->room = k->head = 0;
}

static void grow(struct kept *k)
{
	uint32_t room = k->room ? k->room * 2 : ROOM_FIRST;
	struct frame **ring = slab_take(room * sizeof(struct frame *));
	for (uint32_t i = 0; i < k->count; i++)
		ring[i] = k->ring[(k->head + i) & (k->room - 1)];
	give_ring(k);
	k->ring = ring;
	k->room = room;
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
	if (!k->count) /* a quiet session keeps no ring */
		give_ring(k);
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
	give_ring(k);
	*k = (struct kept){0};
}
