#include "service/outbound.h"

#include "core/slab.h"

enum { ROOM_FIRST = 2 };

static void give_ring(struct outbound *q)
{
	slab_give(q->ring, q->room * sizeof(*q->ring));
	q->ring = NULL;
	q->room = q->head = 0;
}

static void grow(struct outbound *q)
{
	uint32_t room = q->room ? q->room * 2 : ROOM_FIRST;
	struct outgoing *ring = slab_take(room * sizeof(*ring));
	for (uint32_t i = 0; i < q->count; i++)
		ring[i] = *outbound_at(q, i);
	give_ring(q);
	q->ring = ring;
	q->room = room;
}

static size_t weight(struct outgoing m)
{
	return m.again ? 0 : m.frame->size;
}

void outbound_add(struct outbound *q, struct outgoing m)
{
	if (q->count == q->room)
		grow(q);
	q->bytes += weight(m);
	*outbound_at(q, q->count++) = m;
}

static void go_past(struct outbound *q, uint32_t n)
{
	q->head = (q->head + n) & (q->room - 1);
	q->count -= n;
	if (!q->count) /* an idle connection keeps no queue */
		give_ring(q);
}

struct outgoing outbound_take(struct outbound *q)
{
	struct outgoing first = *outbound_at(q, 0);
	q->bytes -= weight(first);
	go_past(q, 1);
	return first;
}

void outbound_drop(struct outbound *q, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		struct outgoing *m = outbound_at(q, i);
		q->bytes -= weight(*m);
		frame_unref(&m->frame);
	}
	go_past(q, n);
}

uint32_t outbound_next(struct outbound *q)
{
	size_t bytes = 1;
	uint32_t n = 0;
	while (q->batching && n < q->count && !outbound_at(q, n)->alone) {
		bytes += outbound_at(q, n)->frame->size + 1u;
		if (bytes > FRAME_MAX_BYTES)
			break;
		n++;
	}
	return n ? n : 1;
}

uint64_t outbound_join(struct outbound *q, uint32_t n, struct buf *to)
{
	uint64_t count = 0;
	for (uint32_t i = 0; i < n; i++) {
		struct outgoing e = outbound_take(q);
		if (n > 1)
			buf_addc(to, i ? ',' : '[');
		buf_adds(to, frame_str(e.frame));
		frame_unref(&e.frame);
		if (e.count)
			count = e.count;
	}
	if (n > 1)
		buf_addc(to, ']');
	return count;
}

void outbound_clear(struct outbound *q)
{
	outbound_drop(q, q->count);
}
