/* jws.h: signed tokens in compact form (RFC 7515 section 7.1; the care of RFC 8725): takes them
 * apart, checks the signature, signs. Nothing here looks at claims.
 * Any thread; a struct jws is the caller's own, about 10 KiB, and holds all that was decoded.
 * Errors come with a sentence for the operator in *ret_why, which never quotes the token.
 * Limits: a token of JWS_MAX bytes, a kid of JWK_KID_MAX, a typ of JWS_TYP_MAX. */
#pragma once

#include "auth/b64url.h"
#include "auth/jwk.h"
#include "auth/keypair.h"

enum { JWS_MAX = 8 * 1024, JWS_TYP_MAX = 64, JWS_SIGNATURE_MAX = 1024 };

struct jws {
	enum jwa alg;
	bool has_kid;
	struct str kid, typ; /* without control characters; empty when absent */
	struct str payload;  /* any bytes; not to be believed before jws_verify() */
	struct str signed_part, signature;
	char kid_text[JWK_KID_MAX], typ_text[JWS_TYP_MAX];
	unsigned char payload_bytes[B64URL_BYTES(JWS_MAX)];
	unsigned char signature_bytes[B64URL_BYTES(JWS_MAX)];
};

/* Whether it has the form of one at all: three segments that are not empty. */
bool jws_form(struct str token);

/* Takes the token apart and checks all but the signature: the form, the header, that alg is one we
 * know (so never "none") and that there is no `crit`. `jku`, `jwk`, `x5u`, `x5c` are not looked at.
 * *ret_jws points into itself and into the token. ERR_UNAUTHENTICATED, *ret_jws is then undefined. */
enum err jws_parse(struct str token, struct jws *ret_jws, const char **ret_why);

/* Checks the signature with the set's key of this kid (or, when the token names none, with the only
 * key that fits), for the algorithms allowed (bits of enum jwa). ERR_NOT_FOUND: the set does not
 * have the key. ERR_UNAUTHENTICATED: no. ERR_NOMEM. */
enum err jws_verify(
	const struct jws *jws, const struct jwk_set *set, uint32_t allowed, const char **ret_why);

/* Appends header.payload.signature, the header being alg, typ and kid of the pair. typ is plain
 * ASCII without quotes, such as "at+jwt". ERR_INTERNAL: OpenSSL failed. ERR_TOO_LARGE, ERR_NOMEM. */
enum err jws_sign(const struct keypair *pair, const char *typ, struct str payload, struct buf *out);
