/* json_out.h: writes JSON into a buf, front to back, without building a tree. The buf's cap and
 * err hold for it. A key of NULL means: an element of an array, or the value at the top;
 * others are words of the program's own, of letters that need no escape.
 * Strings that are not UTF-8 come out with U+FFFD in place of what is wrong. */
#pragma once

#include "core/buf.h"

#include <stdint.h>

struct json_out {
	struct buf *b;
	bool comma; /* something stands before in this object or array */
};

#define JSON_OUT(buf_) ((struct json_out){.b = (buf_)})

void json_open(struct json_out *o, const char *key, char bracket);  /* '{' or '[' */
void json_close(struct json_out *o, char bracket);                  /* '}' or ']' */
void json_str(struct json_out *o, const char *key, struct str s);   /* escaped */
void json_text(struct json_out *o, const char *key, const char *s); /* same; NULL gives null */
void json_raw(struct json_out *o, const char *key, struct str s);   /* already JSON */
void json_int(struct json_out *o, const char *key, int64_t n);
void json_bool(struct json_out *o, const char *key, bool yes);
void json_nothing(struct json_out *o, const char *key);
/* null where there is none: an empty string, 0. */
void json_str_if(struct json_out *o, const char *key, struct str s);
void json_int_if(struct json_out *o, const char *key, int64_t n);

/* Appends one JSON string with its quotes. */
void json_add_string(struct buf *b, struct str s);
