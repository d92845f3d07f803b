/* keys.h: the issuer's signing keys: one for ES256, one for RS256, made at first start and kept in
 * the store.
 *
 * Thread: keys_start() and keys_stop() on the main thread while no worker runs; the rest on any
 * thread, for the keys do not change in between. */
#pragma once

#include "core/json_out.h"

#include <openssl/evp.h>

enum { KID_TEXT = 43, ES256_SIGNATURE = 64 };

struct signing_key {
	char kid[KID_TEXT + 1]; /* RFC 7638 thumbprint */
	const char *alg;        /* "ES256", "RS256" */
	char *pem;              /* the private key */
	EVP_PKEY *pkey;
};

/* Reads the keys, or makes them. ERR_INTERNAL: the store failed, or holds what is no key. */
enum err keys_start(void);
void keys_stop(void);

/* The one that signs now. */
const struct signing_key *key_for(const char *alg);

/* The public keys as a JWK set (RFC 7517). */
void keys_write(struct json_out *o);

/* Appends the base64url signature of the bytes so far. ERR_INTERNAL, ERR_TOO_LARGE. */
enum err key_sign_es256(const struct signing_key *key, struct buf *token);
