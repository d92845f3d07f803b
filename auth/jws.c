#include "auth/jws.h"

#include "core/json_out.h"
#include "core/json_scan.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>
#include <pthread.h>

/* The digests, fetched once: looking one up costs as much as a small digest. */
static EVP_MD *sha256, *sha384, *sha512;
static pthread_once_t fetched = PTHREAD_ONCE_INIT;

static void fetch(void)
{
	sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	sha384 = EVP_MD_fetch(NULL, "SHA384", NULL);
	sha512 = EVP_MD_fetch(NULL, "SHA512", NULL);
}

/* NULL for EdDSA, which has its own. */
static const EVP_MD *digest_of(const struct jwa_info *alg)
{
	pthread_once(&fetched, fetch);
	switch (alg->digest_bits) {
	case 256:
		return sha256;
	case 384:
		return sha384;
	case 512:
		return sha512;
	default:
		return NULL;
	}
}

static enum err refuse(const char *why, const char **ret_why)
{
	*ret_why = why;
	return ERR_UNAUTHENTICATED;
}

/* Step 1: the form. */

/* The three segments; none is empty, and there is no fourth. */
static bool split(struct str token, struct str segment[3])
{
	for (int i = 0; i < 3; i++) {
		const char *dot = token.n ? memchr(token.p, '.', token.n) : NULL;
		if ((dot != NULL) != (i < 2))
			return false;
		segment[i] = (struct str){token.p, dot ? (size_t)(dot - token.p) : token.n};
		if (!segment[i].n)
			return false;
		token.p += segment[i].n + (i < 2);
		token.n -= segment[i].n + (i < 2);
	}
	return true;
}

bool jws_form(struct str token)
{
	struct str segment[3];
	return split(token, segment);
}

/* Step 2: the header. */

/* A string member of the header: absent is fine, but otherwise it is a string without control
 * characters and of at most max bytes, and goes to out. */
static bool take_text(
	struct str header, const char *name, char *out, size_t max, struct str *ret_text)
{
	struct str value;
	char text[JWK_KID_MAX * 6 + 2];
	size_t n;
	*ret_text = (struct str){out, 0};
	if (!json_get(header, name, &value))
		return true;
	if (json_kind(value) != JSON_STRING || value.n > sizeof(text) ||
		json_decode(value, text, &n) || n > max)
		return false;
	memcpy(out, text, n);
	ret_text->n = n;
	return !str_has_control(*ret_text);
}

static bool take_alg(struct str header, enum jwa *ret_alg)
{
	struct str value;
	if (!json_get(header, "alg", &value) || json_kind(value) != JSON_STRING)
		return false;
	for (unsigned i = 0; i < JWA_COUNT; i++) {
		*ret_alg = (enum jwa)i;
		if (json_string_is(
			    (struct str){value.p + 1, value.n - 2}, jwa_info(*ret_alg)->word))
			return true;
	}
	return false;
}

static enum err read_header(struct str header, struct jws *jws, const char **ret_why)
{
	struct str value;
	if (json_check(header, NULL) || json_kind(header) != JSON_OBJECT)
		return refuse("the header is not a JSON object", ret_why);
	if (json_once(header))
		return refuse("the header has a doubled member, or too many members", ret_why);
	if (!take_alg(header, &jws->alg))
		return refuse("the header's alg is none that signs, or is not known", ret_why);
	if (json_get(header, "crit", &value))
		return refuse("the header has crit: an extension that is not known", ret_why);
	jws->has_kid = json_get(header, "kid", &value);
	if (!take_text(header, "kid", jws->kid_text, sizeof(jws->kid_text), &jws->kid) ||
		(jws->has_kid && !jws->kid.n))
		return refuse("the header's kid is no string of 1 to 256 bytes", ret_why);
	if (!take_text(header, "typ", jws->typ_text, sizeof(jws->typ_text), &jws->typ))
		return refuse("the header's typ is no string of at most 64 bytes", ret_why);
	return ERR_OK;
}

enum err jws_parse(struct str token, struct jws *ret_jws, const char **ret_why)
{
	struct str segment[3];
	unsigned char header[B64URL_BYTES(JWS_MAX)];
	size_t header_n, payload_n, signature_n;
	if (token.n > JWS_MAX)
		return refuse("the token is larger than 8 KiB", ret_why);
	if (!split(token, segment))
		return refuse("the token is not three segments with dots between them", ret_why);
	if (b64url_decode(segment[0], header, &header_n) ||
		b64url_decode(segment[1], ret_jws->payload_bytes, &payload_n) ||
		b64url_decode(segment[2], ret_jws->signature_bytes, &signature_n))
		return refuse("a segment of the token is not strict base64url", ret_why);
	ret_jws->payload = (struct str){(char *)ret_jws->payload_bytes, payload_n};
	ret_jws->signature = (struct str){(char *)ret_jws->signature_bytes, signature_n};
	ret_jws->signed_part = (struct str){token.p, segment[0].n + 1 + segment[1].n};
	return read_header((struct str){(char *)header, header_n}, ret_jws, ret_why);
}

/* Step 3: the key. */

static enum err choose_key(const struct jws *jws, const struct jwk_set *set, uint32_t allowed,
	const struct jwk **ret_key, const char **ret_why)
{
	if (!(allowed & JWA_BIT(jws->alg)))
		return refuse("the header's alg is not allowed for this issuer", ret_why);
	const struct jwk *key =
		jws->has_kid ? jwk_set_find(set, jws->kid) : jwk_set_only(set, jws->alg);
	if (!key && !jws->has_kid)
		return refuse("the token names no key, and not exactly one would fit", ret_why);
	if (!key) {
		*ret_why = "the issuer has no key of this kid";
		return ERR_NOT_FOUND;
	}
	if (!(key->algs & JWA_BIT(jws->alg)))
		return refuse("the key is not for the header's alg", ret_why);
	*ret_key = key;
	return ERR_OK;
}

/* Step 4: the signature. */

/* An INTEGER of DER (X.690) out of big-endian bytes: as short as can be, and not negative. */
static size_t der_integer(const unsigned char *p, size_t n, unsigned char *out)
{
	while (n > 1 && !*p) {
		p++;
		n--;
	}
	size_t zero = *p >> 7;
	out[0] = 2;
	out[1] = (unsigned char)(n + zero);
	out[2] = 0;
	memcpy(out + 2 + zero, p, n);
	return 2 + zero + n;
}

enum { DER_MAX = 3 + 2 * (3 + 66) };

/* r and s side by side (RFC 7518 section 3.4) as OpenSSL wants them. */
static size_t der_signature(const unsigned char *raw, size_t field, unsigned char out[DER_MAX])
{
	unsigned char body[DER_MAX];
	size_t n = der_integer(raw, field, body);
	n += der_integer(raw + field, field, body + n);
	size_t head = 2;
	out[0] = 0x30;
	out[1] = (unsigned char)n;
	if (n > 127) {
		out[1] = 0x81;
		out[2] = (unsigned char)n;
		head = 3;
	}
	memcpy(out + head, body, n);
	return head + n;
}

static size_t field_of(enum jwk_kind kind)
{
	return kind == JWK_P256 ? 32 : kind == JWK_P384 ? 48 : 66;
}

static bool use_pss(EVP_PKEY_CTX *ctx)
{
	return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
		EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1;
}

static enum err verify_with(const struct jws *jws, EVP_PKEY *pkey, const char **ret_why)
{
	const struct jwa_info *alg = jwa_info(jws->alg);
	EVP_PKEY_CTX *pkey_ctx; /* belongs to ctx */
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	enum err err = ERR_NOMEM;
	*ret_why = "OpenSSL could not begin to check the signature";
	if (ctx && EVP_DigestVerifyInit(ctx, &pkey_ctx, digest_of(alg), NULL, pkey) == 1 &&
		(alg->scheme != JWA_PSS || use_pss(pkey_ctx)))
		err = EVP_DigestVerify(ctx, jws->signature_bytes, jws->signature.n,
			      (const unsigned char *)jws->signed_part.p, jws->signed_part.n) == 1
			? ERR_OK
			: refuse("the signature is wrong", ret_why);
	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	return err;
}

/* With a copy of what the key keeps ready: to begin anew, OpenSSL would look up each part by its name. */
static enum err verify_ecdsa(const struct jws *jws, const struct jwk *key, const char **ret_why)
{
	unsigned char der[DER_MAX], digest[EVP_MAX_MD_SIZE];
	unsigned digest_n;
	size_t field = field_of(key->kind);
	if (jws->signature.n != 2 * field)
		return refuse("the signature has not the size that its alg has", ret_why);
	size_t n = der_signature(jws->signature_bytes, field, der);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_dup(key->ready);
	enum err err = ERR_NOMEM;
	*ret_why = "OpenSSL could not begin to check the signature";
	if (ctx &&
		EVP_Digest(jws->signed_part.p, jws->signed_part.n, digest, &digest_n,
			digest_of(jwa_info(jws->alg)), NULL) == 1)
		err = EVP_PKEY_verify(ctx, der, n, digest, digest_n) == 1
			? ERR_OK
			: refuse("the signature is wrong", ret_why);
	EVP_PKEY_CTX_free(ctx);
	ERR_clear_error();
	return err;
}

static enum err verify_hmac(const struct jws *jws, const struct jwk *key, const char **ret_why)
{
	unsigned char tag[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	if (!HMAC(digest_of(jwa_info(jws->alg)), key->secret.p, (int)key->secret.n,
		    (const unsigned char *)jws->signed_part.p, jws->signed_part.n, tag, &n)) {
		*ret_why = "OpenSSL could not make the tag";
		ERR_clear_error();
		return ERR_NOMEM;
	}
	bool right = str_eq_secret((struct str){(char *)tag, n}, jws->signature);
	OPENSSL_cleanse(tag, sizeof(tag));
	return right ? ERR_OK : refuse("the signature is wrong", ret_why);
}

enum err jws_verify(
	const struct jws *jws, const struct jwk_set *set, uint32_t allowed, const char **ret_why)
{
	const struct jwk *key;
	enum err err = choose_key(jws, set, allowed, &key, ret_why);
	if (err)
		return err;
	switch (jwa_info(jws->alg)->scheme) {
	case JWA_ECDSA:
		return verify_ecdsa(jws, key, ret_why);
	case JWA_HMAC:
		return verify_hmac(jws, key, ret_why);
	default:
		return verify_with(jws, key->pkey, ret_why);
	}
}

/* Signing. */

/* The signature in out (JWS_SIGNATURE_MAX), ECDSA as DER. */
static enum err sign_with(
	const struct keypair *pair, struct str text, unsigned char *out, size_t *n)
{
	const struct jwa_info *alg = jwa_info(pair->alg);
	EVP_PKEY_CTX *pkey_ctx;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	*n = JWS_SIGNATURE_MAX;
	bool ok = ctx &&
		EVP_DigestSignInit(ctx, &pkey_ctx, digest_of(alg), NULL, pair->pkey) == 1 &&
		(alg->scheme != JWA_PSS || use_pss(pkey_ctx)) &&
		EVP_DigestSign(ctx, out, n, (const unsigned char *)text.p, text.n) == 1;
	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	return ok ? ERR_OK : ERR_INTERNAL;
}

/* The INTEGER at *p, which OpenSSL wrote, into exactly size bytes, and over it. */
static void raw_integer(const unsigned char **p, unsigned char *out, size_t size)
{
	size_t n = (*p)[1];
	const unsigned char *bytes = *p + 2;
	*p = bytes + n;
	while (n > size) { /* the zero that keeps it from being negative */
		bytes++;
		n--;
	}
	memset(out, 0, size - n);
	memcpy(out + size - n, bytes, n);
}

static size_t raw_signature(unsigned char *signature, size_t field)
{
	unsigned char raw[2 * 66];
	const unsigned char *p = signature + (signature[1] & 0x80 ? 3 : 2);
	raw_integer(&p, raw, field);
	raw_integer(&p, raw + field, field);
	memcpy(signature, raw, 2 * field);
	return 2 * field;
}

static void add_header(const struct keypair *pair, const char *typ, struct buf *out)
{
	struct buf header = BUF_INIT(512);
	struct json_out o = JSON_OUT(&header);
	json_open(&o, NULL, '{');
	json_text(&o, "alg", jwa_info(pair->alg)->word);
	json_text(&o, "typ", typ);
	json_text(&o, "kid", pair->kid);
	json_close(&o, '}');
	b64url_add(out, header.p, header.n);
	if (header.err)
		out->err = header.err;
	buf_free(&header);
}

enum err jws_sign(const struct keypair *pair, const char *typ, struct str payload, struct buf *out)
{
	const struct jwa_info *alg = jwa_info(pair->alg);
	unsigned char signature[JWS_SIGNATURE_MAX];
	size_t from = out->n, n;
	add_header(pair, typ, out);
	buf_addc(out, '.');
	b64url_add(out, payload.p, payload.n);
	if (out->err)
		return out->err;
	enum err err = sign_with(pair, (struct str){out->p + from, out->n - from}, signature, &n);
	if (err)
		return err;
	if (alg->scheme == JWA_ECDSA)
		n = raw_signature(signature, field_of(alg->kind));
	buf_addc(out, '.');
	b64url_add(out, signature, n);
	if (!out->err && out->n - from > JWS_MAX)
		out->err = ERR_TOO_LARGE;
	return out->err;
}
