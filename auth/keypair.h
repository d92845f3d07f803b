/* keypair.h: a signing key of our own, for the embedded issuer. Kept as PEM (PKCS #8), published as
 * a JWK; its kid is the JWK's SHA-256 thumbprint (RFC 7638).
 * Thread: any, while nobody frees it: signing only reads. Making one takes up to a second: not on
 * a worker. */
#pragma once

#include "auth/jwa.h"
#include "core/json_out.h"

#include <openssl/types.h>

enum { KEYPAIR_KID_MAX = 44 }; /* 43 digits and the NUL */

struct keypair {
	EVP_PKEY *pkey;
	enum jwa alg;
	char kid[KEYPAIR_KID_MAX];
};

/* A new one: RSA has 2048 bits. ERR_PARAMS: not for HS. ERR_NOMEM, ERR_INTERNAL: OpenSSL failed. */
enum err keypair_generate(enum jwa alg, struct keypair *ret_pair);

/* Reads one back. ERR_PARAMS: no private key in it, or not of the kind that alg wants. Never asks
 * for a passphrase. */
enum err keypair_from_pem(struct str pem, enum jwa alg, struct keypair *ret_pair);

/* Appends the private key as PEM: a secret. */
enum err keypair_to_pem(const struct keypair *pair, struct buf *out);

/* Writes the public half as a JWK with kid, alg and use. */
enum err keypair_publish(const struct keypair *pair, struct json_out *o);

/* Frees what is in it and clears it; a cleared one is fine. */
void keypair_finish(struct keypair *pair);
