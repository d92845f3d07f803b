/* http_bearer.h: who makes an HTTP request, by its bearer token, and refusals in the words of
 * JSON-RPC: an error response with id null under the status that says the same.
 *
 * Thread: the request's worker. */
#pragma once

#include "core/call.h"
#include "core/http.h"
#include "service/authn.h"

/* One check under way; embedded in whoever waits for it. */
struct http_bearer {
	struct authn check;
	struct http_exchange *x;
	/* who: a reference the callee owns, or NULL: the request is answered. Once, perhaps before
	 * http_bearer_check() returns. */
	void (*done)(struct http_bearer *b, struct principal *who);
};

void http_bearer_check(struct http_bearer *b);

/* Answers, with WWW-Authenticate or Retry-After where they belong. */
#define http_refuse(x, err, ...) http_refuse_why(x, err, &(struct refusal){__VA_ARGS__})
void http_refuse_why(struct http_exchange *x, enum err err, const struct refusal *why);
