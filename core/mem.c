#include "core/mem.h"

#include <stdint.h>
#include <stdio.h>

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
