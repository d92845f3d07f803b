/* resource.h: /.well-known/oauth-protected-resource (RFC 9728): whose tokens this service takes, for
 * clients that know nothing but its address.
 *
 * Thread: made and freed by main without workers, the issuers (service/issuers.h) being known;
 * otherwise read-only. */
#pragma once

#include "core/http.h"

/* url: the address that this service is reached by. */
void resource_configure(struct str url);
void resource_finish(void);

extern const struct http_route resource_routes[];
