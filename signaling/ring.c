#include "signaling/ring.h"

#include "core/mem.h"

#include <assert.h>

enum { FIRST_SIZE = 8 };

struct ring ring_new(struct ring_limits limits)
{
	return (struct ring){.limits = limits};
}

static struct ring_item *nth(const struct ring *r, size_t n)
{
	return &r->items[(r->first + n) % r->size];
}

static void forget_oldest(struct ring *r)
{
	struct ring_item *oldest = nth(r, 0);
	r->bytes -= oldest->text.n;
	free((char *)(uintptr_t)oldest->text.p);
	r->first = (r->first + 1) % r->size;
	r->count--;
}

void ring_finish(struct ring *r)
{
	while (r->count)
		forget_oldest(r);
	free(r->items);
	*r = (struct ring){0};
}

/* Most rooms publish little: the circle grows with what is in it. */
static void grow(struct ring *r)
{
	size_t size = r->size ? r->size * 2 : FIRST_SIZE;
	if (size > r->limits.messages)
		size = r->limits.messages;
	struct ring_item *items = mem_alloc(size * sizeof(*items));
	for (size_t i = 0; i < r->count; i++)
		items[i] = *nth(r, i);
	free(r->items);
	r->items = items;
	r->size = size;
	r->first = 0;
}

void ring_put(struct ring *r, struct str text, uint64_t now_ms)
{
	r->top++;
	ring_expire(r, now_ms);
	bool fits = r->limits.messages && text.n <= r->limits.bytes;
	/* What does not fit would leave a hole: nothing before it is of use any more. */
	while (r->count &&
		(!fits || r->count >= r->limits.messages || r->bytes + text.n > r->limits.bytes))
		forget_oldest(r);
	if (!fits)
		return;
	if (r->count == r->size)
		grow(r);
	*nth(r, r->count++) = (struct ring_item){{mem_copy(text), text.n}, now_ms};
	r->bytes += text.n;
}

void ring_restart(struct ring *r, uint64_t top)
{
	struct ring_limits limits = r->limits;
	ring_finish(r);
	*r = (struct ring){.limits = limits, .top = top};
}

void ring_replace(struct ring *r, uint64_t offset, struct str text)
{
	assert(ring_has(r, offset));
	struct ring_item *item = nth(r, r->count - 1 - (size_t)(r->top - offset));
	r->bytes = r->bytes - item->text.n + text.n;
	free((char *)(uintptr_t)item->text.p);
	item->text = (struct str){mem_copy(text), text.n};
	while (r->bytes > r->limits.bytes)
		forget_oldest(r);
}

/* Messages from before this process are dated back by its own clock, each a little differently: one may
 * seem to be from later than the next. */
static bool is_too_old(const struct ring *r, const struct ring_item *item, uint64_t now_ms)
{
	return now_ms > item->at_ms && now_ms - item->at_ms >= r->limits.age_ms;
}

void ring_expire(struct ring *r, uint64_t now_ms)
{
	while (r->count && (r->count > r->limits.messages || is_too_old(r, nth(r, 0), now_ms)))
		forget_oldest(r);
	if (!r->count) {
		free(r->items);
		r->items = NULL;
		r->size = r->first = 0;
	}
}

bool ring_holds_after(const struct ring *r, uint64_t offset, size_t max)
{
	if (offset > r->top || r->top - offset > r->count)
		return false;
	size_t bytes = 0;
	for (size_t i = r->count - (size_t)(r->top - offset); i < r->count; i++)
		bytes += nth(r, i)->text.n;
	return bytes <= max;
}

struct ring_item ring_item_at(const struct ring *r, uint64_t offset)
{
	assert(ring_has(r, offset));
	return *nth(r, r->count - 1 - (size_t)(r->top - offset));
}

struct str ring_at(const struct ring *r, uint64_t offset)
{
	return ring_item_at(r, offset).text;
}
