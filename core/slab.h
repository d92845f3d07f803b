/* slab.h: memory for what is made and gone again with each message: calls, posts, rings of queues. A
 * thread keeps what is given back, in a few sizes and up to a bound, and hands it out again: a few
 * instructions instead of a malloc().
 *
 * Thread: any; a block may be given back by another thread than took it. Threads that have not
 * started it keep nothing and have malloc(). Like core/mem.h it does not fail.
 * Built with a sanitizer it is malloc() and free(), so that their faults are still seen. */
#pragma once

#include <stddef.h>

enum {
	SLAB_LEAST_BYTES = 64, /* of the smallest size; each next one is twice as large */
	SLAB_SIZES = 8,
	SLAB_MOST_BYTES = SLAB_LEAST_BYTES << (SLAB_SIZES - 1), /* larger blocks are not kept */
	SLAB_KEPT_BYTES = 128 << 10,                            /* of each size, by each thread */
};

void *slab_take(size_t n); /* not zeroed */
/* n: as it was taken. NULL is nothing. */
void slab_give(void *block, size_t n);

void slab_thread_start(void);
void slab_thread_stop(void); /* frees what is kept; from then on nothing is */
