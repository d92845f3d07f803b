/* str.h: a span of bytes that somebody else owns. Not terminated; may hold NUL bytes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct str {
	const char *p;
	size_t n;
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
#define STR_FMT "%.*s"
#define STR_ARG(s) (int)(s).n, (s).p

static inline struct str str_of(const char *text)
{
	return (struct str){text, text ? strlen(text) : 0};
}

static inline bool str_eq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool str_is(struct str a, const char *text)
{
	return str_eq(a, str_of(text));
}

/* <0, 0, >0: by bytes; what is a beginning of the other comes first. */
static inline int str_order(struct str a, struct str b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int order = n ? memcmp(a.p, b.p, n) : 0;
	return order ? order : (a.n > b.n) - (a.n < b.n);
}

static inline bool str_starts(struct str a, struct str prefix)
{
	return a.n >= prefix.n && memcmp(a.p, prefix.p, prefix.n) == 0;
}

/* Compares without stopping at the first difference, for secrets. Lengths are not secret. */
bool str_eq_secret(struct str a, struct str b);

/* True when the bytes are well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool str_utf8_valid(struct str s);

/* How many bytes from the first on are ASCII that stands in a JSON string as it is: printable, and
 * neither quote nor backslash. */
size_t str_plain(struct str s);

/* True when the bytes hold a control character (U+0000-001F, 007F; UTF-8 C1 controls too). */
bool str_has_control(struct str s);

/* Glob with '*' only ("team-*"), as grants use it. */
bool str_glob(struct str pattern, struct str s);

/* Copies the bytes to *at, which moves behind them: how what has many texts becomes one block. */
static inline struct str str_put(char **at, struct str s)
{
	struct str copy = {*at, s.n};
	if (s.n)
		memcpy(*at, s.p, s.n);
	*at += s.n;
	return copy;
}

/* FNV-1a with a final mix: for hash tables and homes. Stable across runs. */
unsigned long long str_hash(struct str s);
