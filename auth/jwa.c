#include "auth/jwa.h"

static const struct jwa_info table[JWA_COUNT] = {
#define JWA(word, scheme, kind, bits) {#word, JWA_##scheme, JWK_##kind, bits},
	JWAS(JWA)
#undef JWA
};

const struct jwa_info *jwa_info(enum jwa alg)
{
	return &table[alg];
}

bool jwa_find(struct str word, enum jwa *ret_alg)
{
	for (unsigned i = 0; i < JWA_COUNT; i++) {
		if (str_is(word, table[i].word)) {
			*ret_alg = (enum jwa)i;
			return true;
		}
	}
	return false;
}

uint32_t jwa_of_kind(enum jwk_kind kind)
{
	uint32_t algs = 0;
	for (unsigned i = 0; i < JWA_COUNT; i++)
		if (table[i].kind == kind)
			algs |= JWA_BIT(i);
	return algs;
}

uint32_t jwa_default(void)
{
	return (JWA_BIT(JWA_COUNT) - 1) & ~jwa_of_kind(JWK_OCT);
}
