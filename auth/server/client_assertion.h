/* client_assertion.h: what a client has signed to say who it is (private_key_jwt: RFC 7523 section 3,
 * OpenID Connect Core section 9). Asymmetric algorithms only; made for this issuer; short-lived; with a
 * jti, so that it is good once: who checks it remembers jti_hash until expires_at.
 *
 * Any thread; about 30 KiB, its holder's. Errors come with words for the operator in *ret_why. */
#pragma once

#include "auth/jws.h"
#include "auth/server/clients.h"

enum { ASSERTION_LIFETIME_MAX = 3600 }; /* seconds */

struct client_assertion {
	struct str client; /* who it says has signed: not to be believed before the check */
	unsigned char jti_hash[SECRET_HASH];
	int64_t expires_at;
	struct jws jws;
	char client_text[CLIENT_ID_MAX];
};

/* Takes it apart as far as is needed to find the client. ERR_UNAUTHENTICATED: it is none. */
enum err client_assertion_read(
	struct str text, struct client_assertion **ret_assertion, const char **ret_why);
void client_assertion_free(struct client_assertion **assertion);

/* The signature by one of the client's keys, then the claims: path is that of the endpoint, whose
 * address is an audience as well. Fills jti_hash and expires_at. ERR_UNAUTHENTICATED, ERR_NOMEM. */
enum err client_assertion_check(struct client_assertion *assertion, const struct client *client,
	struct str path, int64_t now, const char **ret_why);
