/* posted.h: a form that a page of ours sent back, decoded. It may hold a password: the body is wiped
 * once it is read, the decoded values at the end.
 * Thread: the exchange's worker. */
#pragma once

#include "core/http.h"

struct posted {
	char *text; /* the decoded values lie here */
	size_t n;
};

/* Reads the fields of these names (the list ends with NULL) into ret_fields, absent ones empty, and
 * wipes the body. False: it is no form of ours (a field is there twice, or badly encoded), or the
 * browser's token does not fit. A second call finds nothing. */
bool posted_read(struct posted *p, struct http_exchange *x, const char *const *names,
	struct str *ret_fields);
/* Wipes and frees; a cleared one is fine. */
void posted_finish(struct posted *p);

/* What to say when it was none of ours. */
extern const char posted_expired[];
