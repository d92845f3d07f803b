/* buf.h: bytes that grow, up to a mandatory maximum. Past it (or out of memory) the buffer
 * remembers the failure, drops further appends, and says so in buf.err: check once at the end.
 * Thread: its owner's. */
#pragma once

#include "core/err.h"
#include "core/str.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

struct buf {
	char *p; /* NUL-terminated whenever not NULL */
	size_t n;
	size_t cap;
	size_t max;
	enum err err; /* ERR_OK, ERR_TOO_LARGE or ERR_NOMEM */
};

#define BUF_INIT(maximum) ((struct buf){.max = (maximum)})

void buf_free(struct buf *b);            /* frees the bytes; the buffer is empty and usable again */
void buf_addn(struct buf *b, int64_t n); /* in decimal digits */
void buf_addf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_addvf(struct buf *b, const char *format, va_list args)
	__attribute__((format(printf, 2, 0)));

/* Forgets what stands behind the first n bytes, and the failure that it led to. */
void buf_cut(struct buf *b, size_t n);

/* Makes room for n more bytes and the terminator. False: there is none, and b->err says why. */
bool buf_grow(struct buf *b, size_t n);

/* Appends n bytes that the caller writes now; NULL when they do not fit. */
static inline char *buf_more(struct buf *b, size_t n)
{
	if ((b->err || n >= b->cap - b->n) && !buf_grow(b, n))
		return NULL;
	char *at = b->p + b->n;
	b->n += n;
	at[n] = 0;
	return at;
}

static inline void buf_add(struct buf *b, const void *bytes, size_t n)
{
	char *at = buf_more(b, n);
	if (at && n)
		memcpy(at, bytes, n);
}

static inline void buf_addc(struct buf *b, char c)
{
	char *at = buf_more(b, 1);
	if (at)
		*at = c;
}

static inline void buf_adds(struct buf *b, struct str s)
{
	buf_add(b, s.p, s.n);
}

static inline struct str buf_str(const struct buf *b)
{
	return (struct str){b->p ? b->p : "", b->n};
}

/* All that the stream still has, or until the buffer is full. Errors of reading: see ferror(). */
void buf_add_stream(struct buf *b, FILE *stream);

/* Takes the bytes out (caller frees); the buffer is empty afterwards. Never NULL unless err. */
char *buf_take(struct buf *b);
