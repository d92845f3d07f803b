#include "core/mem.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>

#if defined(__SANITIZE_ADDRESS__)

/* gcc's headers do not name these. */
size_t __sanitizer_get_heap_size(void);
size_t __sanitizer_get_current_allocated_bytes(void);
void __sanitizer_purge_allocator(void);

enum { IDLE_BYTES = 32 << 20 };

/* Freed blocks that are still watched for a late use count as allocated: they stay watched. */
void mem_settle(void)
{
	if (__sanitizer_get_heap_size() > __sanitizer_get_current_allocated_bytes() + IDLE_BYTES)
		__sanitizer_purge_allocator();
}

#elif defined(SIGNALBOX_SANITIZE)

void mem_settle(void)
{
}

#else

#include <jemalloc/jemalloc.h>

/* jemalloc, because it keeps sizes apart: what lasts (sessions, members) does not end up between messages that
 * go when they are acknowledged, which would keep whole pages from being given back. Pages that
 * nothing is on go back when they were not needed for so long. */
const char *malloc_conf = "dirty_decay_ms:3000,muzzy_decay_ms:0";

/* It looks at its clock only while it is used: this is for a process where nothing happens any more. */
void mem_settle(void)
{
	static_assert(MALLCTL_ARENAS_ALL == 4096, "all of its arenas");
	mallctl("arena.4096.decay", NULL, NULL, NULL, 0);
}

#endif

static void *must(void *block, size_t size)
{
	if (!block) {
		fprintf(stderr, "signalbox: out of memory (%zu bytes wanted)\n", size);
		abort();
	}
	return block;
}

void *mem_alloc(size_t size)
{
	return must(calloc(1, size ? size : 1), size);
}

void *mem_resize(void *block, size_t count, size_t each)
{
	size_t size = 0;
	if (__builtin_mul_overflow(count, each, &size))
		must(NULL, SIZE_MAX);
	return must(realloc(block, size ? size : 1), size);
}

char *mem_copy(struct str s)
{
	char *copy = must(malloc(s.n + 1), s.n + 1);
	if (s.n)
		memcpy(copy, s.p, s.n);
	copy[s.n] = 0;
	return copy;
}
