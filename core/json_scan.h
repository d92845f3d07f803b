/* json_scan.h: reads JSON (RFC 8259) where it lies: checks it, finds values in it, copies nothing.
 * Any thread; allocates nothing; no recursion, so depth costs no stack.
 *
 * json_check() once, then the rest may assume well-formed text and must only be used on it. */
#pragma once

#include "core/err.h"
#include "core/str.h"

#include <stdint.h>

enum json_kind {
	JSON_NONE,
	JSON_OBJECT,
	JSON_ARRAY,
	JSON_STRING,
	JSON_NUMBER,
	JSON_TRUE,
	JSON_FALSE,
	JSON_NULL,
};

enum { JSON_DEPTH_MAX = 64 };

/* Checks that text is exactly one JSON value with white space around it: UTF-8, at most
 * JSON_DEPTH_MAX deep, no bytes behind. Escaped lone surrogates, doubled members and numbers of any
 * size are well-formed. ERR_PARSE, and where (a byte's index) in *ret_at when it is not NULL. */
enum err json_check(struct str text, size_t *ret_at);

/* The same, and notes the members that it passes of the outermost object and, behind each of them, of an
 * object that is its value: whoever reads them need not look for them again. count 0: the text is no
 * object, or has more of them than fit, and is to be walked. */
struct json_member {
	struct str key, value; /* as json_next() gives them */
	unsigned own;          /* so many of those behind it are its value's */
};
enum { JSON_OUTLINE_MAX = 24 };
struct json_outline {
	unsigned count;
	struct json_member members[JSON_OUTLINE_MAX];
};
enum err json_check_outline(struct str text, size_t *ret_at, struct json_outline *ret_outline);

/* White space around the value taken off. */
struct str json_trim(struct str text);

/* What the value (white space before it allowed) is, by its first byte. */
enum json_kind json_kind(struct str value);

/* Walks the members of an object, or the elements of an array (key is then empty). The key comes as
 * it stands between its quotes, escapes and all; the value without white space around it.
 *   struct json_walk w = json_walk(value);
 *   while (json_next(&w, &key, &item)) …
 * Either may be NULL. What is no container has nothing in it. */
struct json_walk {
	const char *p, *end;
	bool object;
	/* of an outline: those that are to come, up to last; which came; how far the text has moved since */
	const struct json_member *known, *last, *came;
	ptrdiff_t moved;
};
struct json_walk json_walk(struct str container);
/* Walks the outermost object without looking at its text. */
struct json_walk json_walk_outline(const struct json_outline *o);
/* On the walk of an outline: the members of the value that came last, if it is an object. */
struct json_walk json_walk_inside(const struct json_walk *w);
/* The same walk through a copy of its text. */
struct json_walk json_walk_moved(struct json_walk w, const char *from, const char *to);
bool json_next(struct json_walk *w, struct str *ret_key, struct str *ret_value);

/* The object's first member of this name. False when it has none, or the value is no object. */
bool json_get(struct str object, const char *name, struct str *ret_value);

/* Whether an object's own members each stand there once (escapes resolved). ERR_PARAMS: one is
 * doubled; ERR_TOO_LARGE: more than JSON_ONCE_MAX members, which would cost too much to compare. */
enum { JSON_ONCE_MAX = 128 };
enum err json_once(struct str object);

/* Whether a key or string, as it stands between its quotes, means this text (escapes resolved). */
bool json_string_means(struct str inner, const char *text);

static inline bool json_string_is(struct str inner, const char *text)
{
	bool other = inner.n && *inner.p != '\\' && *inner.p != *text; /* most are, at once */
	return !other && json_string_means(inner, text);
}

/* Whether two of them mean the same text. */
bool json_string_eq(struct str a, struct str b);

/* Decodes a string value (with its quotes) or what stands between the quotes into out, which has
 * room for value.n bytes and may be where the value is. \u0000 comes out as a NUL byte: who makes a
 * C string of it looks first. ERR_PARAMS when it holds a lone surrogate, which has no UTF-8. */
enum err json_decode(struct str value, char *out, size_t *ret_n);

/* A number that is a whole one without fraction or exponent and fits. ERR_PARAMS otherwise. */
enum err json_decode_int(struct str value, int64_t *ret_n);
