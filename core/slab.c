#include "core/slab.h"

#include "core/mem.h"

#ifdef SIGNALBOX_SANITIZE

void *slab_take(size_t n)
{
	return mem_resize(NULL, n, 1);
}

void slab_give(void *block, size_t n)
{
	(void)n;
	free(block);
}

void slab_thread_start(void)
{
}

void slab_thread_stop(void)
{
}

#else

struct block {
	struct block *next;
};

/* room: how many more of this size are kept; 0 on a thread that has not started. */
static _Thread_local struct {
	struct block *first;
	unsigned room;
} sizes[SLAB_SIZES];

/* The least size that n fits into: 64 bytes are of size 0, 65 of size 1. */
static unsigned size_of(size_t n)
{
	return n <= SLAB_LEAST_BYTES
		? 0
		: (unsigned)(__builtin_clzl(SLAB_LEAST_BYTES - 1) - __builtin_clzl(n - 1));
}

void *slab_take(size_t n)
{
	if (n > SLAB_MOST_BYTES)
		return mem_resize(NULL, n, 1);
	unsigned size = size_of(n);
	struct block *b = sizes[size].first;
	if (!b)
		return mem_resize(NULL, (size_t)SLAB_LEAST_BYTES << size, 1);
	sizes[size].first = b->next;
	sizes[size].room++;
	return b;
}

void slab_give(void *block, size_t n)
{
	unsigned size = n > SLAB_MOST_BYTES ? 0 : size_of(n);
	if (!block || n > SLAB_MOST_BYTES || !sizes[size].room) {
		free(block);
		return;
	}
	struct block *b = block;
	b->next = sizes[size].first;
	sizes[size].first = b;
	sizes[size].room--;
}

void slab_thread_start(void)
{
	for (unsigned size = 0; size < SLAB_SIZES; size++)
		sizes[size].room = (unsigned)SLAB_KEPT_BYTES / ((unsigned)SLAB_LEAST_BYTES << size);
}

void slab_thread_stop(void)
{
	for (unsigned size = 0; size < SLAB_SIZES; size++) {
		while (sizes[size].first) {
			struct block *b = sizes[size].first;
			sizes[size].first = b->next;
			free(b);
		}
		sizes[size].room = 0;
	}
}

#endif
