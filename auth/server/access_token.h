/* access_token.h: an access token that this issuer made, for its own endpoints that are shown one
 * (userinfo, introspect, revoke). What other services do with it is auth/bearer.h.
 *
 * Any thread; about 30 KiB, its holder's. */
#pragma once

#include "auth/jws.h"

struct access_token {
	struct str sub, client, scope, jti, sid; /* sid: empty when nobody signed in for it */
	struct str audience;                     /* JSON, as it stands there */
	bool of_client;                          /* it speaks for the client itself */
	int64_t issued_at, expires_at;
	struct jws jws;
	size_t used;
	char text[B64URL_BYTES(JWS_MAX)];
};

/* ERR_UNAUTHENTICATED: it is none of ours, has run out or was withdrawn. */
enum err access_token_read(struct str text, int64_t now, struct access_token **ret_token);
void access_token_free(struct access_token **token);

/* Whether it was made for this issuer's own endpoints and service. */
bool access_token_is_for_us(const struct access_token *token);
