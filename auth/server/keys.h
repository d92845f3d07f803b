/* keys.h: the issuer's signing keys: one for ES256, one for RS256, made at first start and kept in
 * the store.
 *
 * Thread: keys_start() and keys_stop() on the main thread while no worker runs; the rest on any
 * thread, for the keys do not change in between. */
#pragma once

#include "auth/keypair.h"

struct signing_key {
	struct keypair pair;
	char *pem; /* the private key, as libjwt wants it */
};

/* Reads the keys, or makes them. ERR_INTERNAL: the store failed, or holds what is no key. */
enum err keys_start(void);
void keys_stop(void);

/* The one that signs now. */
const struct signing_key *key_for(enum jwa alg);

/* The public keys as a JWK set (RFC 7517). */
void keys_write(struct json_out *o);
