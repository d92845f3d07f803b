/* token_endpoints.h: what can be done with tokens that were given: take them back (RFC 7009), ask what
 * they are (RFC 7662), and whose (OpenID Connect Core section 5.3).
 * Thread: the exchange's worker. */
#pragma once

#include "core/http.h"

/* POST /oauth/revoke: by the client that it was given to. 200 for a token that is unknown. A refresh
 * token ends its grant with all that came from it, an access token itself. */
void serve_revoke(struct http_exchange *x);

/* POST /oauth/introspect: by a client that proves itself. Access tokens of any client, refresh tokens of
 * its own. */
void serve_introspect(struct http_exchange *x);

/* GET and POST /oauth/userinfo: with an access token that has the scope openid. */
void serve_userinfo(struct http_exchange *x);
