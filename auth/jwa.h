/* jwa.h: the signature algorithms (RFC 7518 section 3, RFC 8037, RFC 9864) as one table: each is
 * bound to one kind of key and one digest. Read-only, any thread. */
#pragma once

#include "core/str.h"

#include <stdint.h>

/* The kinds of keys that can verify something. */
enum jwk_kind { JWK_RSA, JWK_P256, JWK_P384, JWK_P521, JWK_ED25519, JWK_OCT };

enum jwa_scheme { JWA_PKCS1, JWA_PSS, JWA_ECDSA, JWA_EDDSA, JWA_HMAC };

/* JWA(word, scheme, kind of key, digest's bits or 0) */
#define JWAS(JWA) \
	JWA(RS256, PKCS1, RSA, 256) \
	JWA(RS384, PKCS1, RSA, 384) \
	JWA(RS512, PKCS1, RSA, 512) \
	JWA(PS256, PSS, RSA, 256) \
	JWA(PS384, PSS, RSA, 384) \
	JWA(PS512, PSS, RSA, 512) \
	JWA(ES256, ECDSA, P256, 256) \
	JWA(ES384, ECDSA, P384, 384) \
	JWA(ES512, ECDSA, P521, 512) \
	JWA(EdDSA, EDDSA, ED25519, 0) \
	JWA(Ed25519, EDDSA, ED25519, 0) \
	JWA(HS256, HMAC, OCT, 256) \
	JWA(HS384, HMAC, OCT, 384) \
	JWA(HS512, HMAC, OCT, 512)

enum jwa {
#define JWA(word, scheme, kind, bits) JWA_##word,
	JWAS(JWA)
#undef JWA
		JWA_COUNT
};

struct jwa_info {
	const char *word; /* as `alg` says it, exactly */
	enum jwa_scheme scheme;
	enum jwk_kind kind;
	unsigned digest_bits;
};

const struct jwa_info *jwa_info(enum jwa alg);

/* Finds the algorithm by its word, case and all. False: there is none such ("none" is none). */
bool jwa_find(struct str word, enum jwa *ret_alg);

/* Sets of algorithms, a bit each. */
#define JWA_BIT(alg) (UINT32_C(1) << (alg))
uint32_t jwa_of_kind(enum jwk_kind kind);

/* What an issuer may use unless it is configured otherwise: all that need no shared secret. */
uint32_t jwa_default(void);
