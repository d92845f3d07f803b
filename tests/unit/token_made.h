/* token_made.h: tokens and key sets for the tests, signed here by EVP and not by what is tested.
 * Include it after <cmocka.h>. */
#pragma once

#include "auth/b64url.h"
#include "auth/jws.h"
#include "auth/keypair.h"
#include "core/json_out.h"

#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static inline const EVP_MD *made_digest(enum jwa alg)
{
	switch (jwa_info(alg)->digest_bits) {
	case 256:
		return EVP_sha256();
	case 384:
		return EVP_sha384();
	case 512:
		return EVP_sha512();
	default:
		return NULL;
	}
}

/* What the signature is over. */
static inline struct buf made_unsigned(struct str header, struct str payload)
{
	struct buf b = BUF_INIT(1 << 20);
	b64url_add(&b, header.p, header.n);
	buf_addc(&b, '.');
	b64url_add(&b, payload.p, payload.n);
	return b;
}

static inline size_t made_raw_ecdsa(unsigned char *signature, size_t n, int field)
{
	const unsigned char *p = signature;
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)n);
	assert_non_null(sig);
	assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(sig), signature, field), field);
	assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(sig), signature + field, field), field);
	ECDSA_SIG_free(sig);
	return 2 * (size_t)field;
}

/* Signs text with the scheme and digest of alg, whatever key that is. */
static inline size_t made_signature(
	EVP_PKEY *pkey, enum jwa alg, struct str text, unsigned char out[1024])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx;
	size_t n = 1024;
	assert_int_equal(EVP_DigestSignInit(ctx, &pctx, made_digest(alg), NULL, pkey), 1);
	if (jwa_info(alg)->scheme == JWA_PSS) {
		EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING);
		EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST);
	}
	assert_int_equal(EVP_DigestSign(ctx, out, &n, (const unsigned char *)text.p, text.n), 1);
	EVP_MD_CTX_free(ctx);
	if (jwa_info(alg)->scheme == JWA_ECDSA)
		n = made_raw_ecdsa(out, n, (EVP_PKEY_get_bits(pkey) + 7) / 8);
	return n;
}

static inline void made_append(struct buf *token, const void *signature, size_t n)
{
	buf_addc(token, '.');
	b64url_add(token, signature, n);
}

/* header.payload.signature, with any header. */
static inline struct buf made_token(
	struct str header, struct str payload, EVP_PKEY *pkey, enum jwa alg)
{
	unsigned char signature[1024];
	struct buf b = made_unsigned(header, payload);
	size_t n = made_signature(pkey, alg, buf_str(&b), signature);
	made_append(&b, signature, n);
	return b;
}

static inline struct buf made_hmac_token(
	struct str header, struct str payload, struct str secret, const EVP_MD *digest)
{
	unsigned char tag[EVP_MAX_MD_SIZE];
	unsigned n;
	struct buf b = made_unsigned(header, payload);
	HMAC(digest, secret.p, (int)secret.n, (unsigned char *)b.p, b.n, tag, &n);
	made_append(&b, tag, n);
	return b;
}

/* {"alg":…,"typ":…,"kid":…} as text; the buf is the caller's. */
static inline struct buf made_header(const char *alg, const char *typ, const char *kid)
{
	struct buf b = BUF_INIT(4096);
	struct json_out o = JSON_OUT(&b);
	json_open(&o, NULL, '{');
	json_text(&o, "alg", alg);
	if (typ)
		json_text(&o, "typ", typ);
	if (kid)
		json_text(&o, "kid", kid);
	json_close(&o, '}');
	return b;
}

/* A JWK Set of the pairs' public halves, as text. */
static inline struct buf made_jwks(const struct keypair *const *pairs, size_t count)
{
	struct buf b = BUF_INIT(JWKS_MAX);
	struct json_out o = JSON_OUT(&b);
	json_open(&o, NULL, '{');
	json_open(&o, "keys", '[');
	for (size_t i = 0; i < count; i++)
		assert_int_equal(keypair_publish(pairs[i], &o), ERR_OK);
	json_close(&o, ']');
	json_close(&o, '}');
	assert_int_equal(b.err, ERR_OK);
	return b;
}

static inline struct jwk_set *made_set(const struct keypair *const *pairs, size_t count)
{
	struct jwk_set *set = NULL;
	const char *why = NULL;
	struct buf text = made_jwks(pairs, count);
	assert_int_equal(jwk_set_parse(buf_str(&text), &set, &why), ERR_OK);
	assert_int_equal(jwk_set_count(set), count);
	buf_free(&text);
	return set;
}
