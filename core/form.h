/* form.h: application/x-www-form-urlencoded texts: query strings, form bodies (WHATWG URL, section
 * 5.1) and cookies. Any thread. */
#pragma once

#include "core/buf.h"

/* Whether a Content-Type says that the body is one, with parameters or without (RFC 9110, section 8.3.1). */
bool form_is(struct str content_type);

/* The value of a name, decoded into out (room for form.n bytes). ERR_OK; ERR_NOT_FOUND; ERR_PARAMS
 * when it is there twice, badly escaped, not UTF-8, or holds a NUL. *ret_value points into out. */
enum err form_get(struct str form, const char *name, char *out, struct str *ret_value);

/* Fields taken one after another, each asked for once. */
struct form_fields {
	struct str form;
	char *at;    /* where the next value is decoded to; there is room for form.n bytes in all */
	bool broken; /* one was there twice, or badly escaped */
};
/* n 0: it is not there. */
struct str form_take(struct form_fields *f, const char *name);

/* Whether it has no other names than these (the list ends with NULL); *ret_other is the first other
 * one, as it came. */
bool form_has_only(struct str form, const char *const *names, struct str *ret_other);

/* Appends name=value, escaped, with & before it when the buffer is not empty. */
void form_add(struct buf *b, const char *name, struct str value);

/* The value of a cookie in a Cookie header (RFC 6265 section 4.2.1); n 0 when absent. */
struct str cookie_get(struct str header, const char *name);
