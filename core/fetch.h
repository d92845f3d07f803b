/* fetch.h: one HTTP request on a worker's loop, by libcurl's multi interface: a GET, or a POST of a
 * body. https, or http to this machine; no redirects; an answer of 200 within the limits, or a
 * sentence that says why not. With `status_only` any 2xx will do, and what the answer says is not read.
 *
 * What is asked for a name from outside may not lie on this machine: the address is looked at after
 * it was resolved and before it is connected to, so a name that means something else each time it
 * is asked for (DNS rebinding) gains nothing. An address that another machine told us (`told`) may
 * not even say that it lies here. With `guarded` addresses of private networks (RFC 6890, and those of
 * IPv6) are refused in the same way, but for the networks that were given.
 *
 * Thread: a worker; done() on the same one, never before fetch_start() returns. */
#pragma once

#include "core/err.h"
#include "core/ip.h"
#include "core/str.h"
#include "core/worker.h"

struct fetch {
	void (*done)(struct fetch *f, enum err err, struct str body, const char *why);
	struct fetch_private *own; /* NULL: nothing under way */
};

/* What to ask. Everything is copied. */
struct fetch_request {
	const char *url;
	const char *user, *password; /* for Basic authentication, percent-encoded on the way as RFC
				      * 6749 section 2.3.1 wants it; NULL: none */
	const char *content_type;    /* of the body; NULL: a GET */
	struct str body;
	const char *const
		*headers; /* "Name: value", beside the usual ones; ends with NULL. NULL: none */
	bool told;        /* the url comes from another machine */
	bool status_only;
	bool guarded;
	const struct network *networks; /* whose addresses may be asked although they are private or
					 * this machine's; not copied, outlives the request */
	size_t network_count;
	size_t bytes; /* the most that is taken of the answer */
	long timeout_ms;
};

/* Whether the url may be asked at all, and (ret_local, may be NULL) whether it names this machine. */
bool fetch_allowed(const char *url, bool *ret_local);

/* ERR_PARAMS: no address that may be asked; done is not called. */
enum err fetch_start(struct fetch *f, const struct fetch_request *request);
void fetch_cancel(struct fetch *f); /* also when nothing is under way */

/* Before the workers start: the file of certificates (PEM) that servers are checked against; NULL:
 * the system's. Kept, not copied. */
void fetch_trust(const char *path);

extern const struct worker_part fetch_part;
