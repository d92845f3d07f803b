/* jwk.h: a set of keys that signatures are checked with (JWK Set, RFC 7517 section 5).
 * Thread: any; a set is immutable once made and its references are counted atomically.
 * Limits: JWKS_MAX bytes, JWK_SET_MAX keys, RSA of 2048 to 8192 bits, kid of JWK_KID_MAX bytes. */
#pragma once

#include "auth/jwa.h"
#include "core/err.h"
#include "core/str.h"

#include <openssl/types.h>

enum {
	JWKS_MAX = 256 * 1024,
	JWK_SET_MAX = 100,
	JWK_KID_MAX = 256,
	JWK_RSA_BITS_MIN = 2048,
	JWK_RSA_BITS_MAX = 8192,
};

struct jwk {
	struct str kid; /* empty: it has none */
	enum jwk_kind kind;
	uint32_t algs;  /* what it may verify: by its kind and curve, and by its own `alg` */
	EVP_PKEY *pkey; /* the public key; NULL for JWK_OCT */
	/* of curves: what a check of an ECDSA signature begins with. Any thread may copy it; nobody changes it */
	EVP_PKEY_CTX *ready;
	struct str secret; /* JWK_OCT only */
};

struct jwk_set;

/* Reads a JWK Set as an issuer publishes it. Keys of no use here (other kinds, curves and sizes,
 * `use` of encryption, shared secrets, members that make no sense) are passed over and counted.
 * The whole set is refused for what no careful issuer publishes: a private key, two usable keys of
 * one kid, a doubled member. ERR_PARSE, ERR_PARAMS, ERR_TOO_LARGE, each with a sentence in
 * *ret_why; ERR_NOMEM. On ERR_OK the caller has one reference. */
enum err jwk_set_parse(struct str json, struct jwk_set **ret_set, const char **ret_why);

/* The set of one shared secret, for an issuer that is configured with one: matches any kid. The
 * bytes are copied, and wiped at the end. ERR_PARAMS: shorter than any HMAC allows (32 bytes). */
enum err jwk_set_of_secret(struct str secret, struct jwk_set **ret_set);

struct jwk_set *jwk_set_ref(struct jwk_set *set);
void jwk_set_unref(struct jwk_set **set);

size_t jwk_set_count(const struct jwk_set *set);   /* usable keys */
size_t jwk_set_skipped(const struct jwk_set *set); /* keys passed over */
const struct jwk *jwk_set_at(const struct jwk_set *set, size_t i);

/* Whether both were made from the same bytes. Either may be NULL. */
bool jwk_set_same(const struct jwk_set *a, const struct jwk_set *b);

/* The key of this kid, or NULL. */
const struct jwk *jwk_set_find(const struct jwk_set *set, struct str kid);

/* The only key that may verify this algorithm, for tokens that name none; NULL when there is none,
 * or a choice. */
const struct jwk *jwk_set_only(const struct jwk_set *set, enum jwa alg);
