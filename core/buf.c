#include "core/buf.h"

#include <stdio.h>
#include <stdlib.h>

void buf_free(struct buf *b)
{
	free(b->p);
	*b = BUF_INIT(b->max);
}

void buf_cut(struct buf *b, size_t n)
{
	b->n = n;
	b->err = ERR_OK;
	if (b->p)
		b->p[n] = 0;
}

bool buf_grow(struct buf *b, size_t n)
{
	if (b->err)
		return false;
	if (n > b->max || b->n > b->max - n) {
		b->err = ERR_TOO_LARGE;
		return false;
	}
	size_t need = b->n + n + 1;
	if (need <= b->cap)
		return true;
	size_t cap = b->cap ? b->cap * 2 : 128;
	while (cap < need)
		cap *= 2;
	if (cap > b->max + 1)
		cap = b->max + 1;
	char *p = realloc(b->p, cap);
	if (!p) {
		b->err = ERR_NOMEM;
		return false;
	}
	b->p = p;
	b->cap = cap;
	return true;
}

void buf_addn(struct buf *b, int64_t n)
{
	char digits[24], *first = digits + sizeof(digits);
	uint64_t left = n < 0 ? -(uint64_t)n : (uint64_t)n;
	do
		*--first = (char)('0' + left % 10);
	while (left /= 10);
	if (n < 0)
		*--first = '-';
	buf_add(b, first, (size_t)(digits + sizeof(digits) - first));
}

void buf_addvf(struct buf *b, const char *format, va_list args)
{
	va_list again;
	va_copy(again, args);
	int n = vsnprintf(NULL, 0, format, args);
	if (n >= 0 && buf_grow(b, (size_t)n)) {
		vsnprintf(b->p + b->n, (size_t)n + 1, format, again);
		b->n += (size_t)n;
	}
	va_end(again);
}

void buf_addf(struct buf *b, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	buf_addvf(b, format, args);
	va_end(args);
}

void buf_add_stream(struct buf *b, FILE *stream)
{
	char part[4096];
	size_t n;
	while (!b->err && (n = fread(part, 1, sizeof(part), stream)))
		buf_add(b, part, n);
}

char *buf_take(struct buf *b)
{
	if (!b->p)
		buf_add(b, "", 0);
	char *p = b->err ? NULL : b->p;
	if (b->err)
		free(b->p);
	*b = BUF_INIT(b->max);
	return p;
}
