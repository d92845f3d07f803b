/* Any bytes as a JWK Set: what is taken keeps to the limits. */
#include "auth/jwk.h"

#include <openssl/evp.h>
#include <stdlib.h>

#define MUST(what) \
	do { \
		if (!(what)) \
			abort(); \
	} while (0)

static void check_key(const struct jwk_set *set, const struct jwk *key)
{
	MUST(key->pkey && !key->secret.p && key->kind != JWK_OCT);
	MUST(key->algs && !(key->algs & ~jwa_of_kind(key->kind)));
	MUST(key->kid.n <= JWK_KID_MAX && !str_has_control(key->kid));
	if (key->kid.n)
		MUST(jwk_set_find(set, key->kid) == key); /* so no other has it */
	if (key->kind != JWK_RSA)
		return;
	int bits = EVP_PKEY_get_bits(key->pkey);
	MUST(bits >= JWK_RSA_BITS_MIN && bits <= JWK_RSA_BITS_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct jwk_set *set = NULL;
	const char *why = NULL;
	enum err err = jwk_set_parse((struct str){(const char *)data, size}, &set, &why);
	if (err) {
		MUST(why && !set);
		return 0;
	}
	MUST(jwk_set_count(set) + jwk_set_skipped(set) <= JWK_SET_MAX && jwk_set_same(set, set));
	for (size_t i = 0; i < jwk_set_count(set); i++)
		check_key(set, jwk_set_at(set, i));
	jwk_set_unref(&set);
	return 0;
}
