#include "auth/keypair.h"

#include "auth/b64url.h"
#include "auth/jwk.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>

enum { PEM_MAX = 64 * 1024, RSA_BITS = 2048 };

/* What OpenSSL and RFC 7517 call each kind, and the size of its numbers. */
static const struct kind_names {
	const char *type, *group, *kty, *crv;
	int field;
} kinds[] = {
	[JWK_RSA] = {"RSA", NULL, "RSA", NULL, 0},
	[JWK_P256] = {"EC", "prime256v1", "EC", "P-256", 32},
	[JWK_P384] = {"EC", "secp384r1", "EC", "P-384", 48},
	[JWK_P521] = {"EC", "secp521r1", "EC", "P-521", 66},
	[JWK_ED25519] = {"ED25519", NULL, "OKP", "Ed25519", 32},
};

static enum err failed(enum err err)
{
	ERR_clear_error();
	return err;
}

static void write_bytes(struct json_out *o, const char *name, const unsigned char *p, size_t n)
{
	struct buf digits = BUF_INIT(2048);
	b64url_add(&digits, p, n);
	if (digits.err)
		o->b->err = digits.err;
	json_str(o, name, buf_str(&digits));
	buf_free(&digits);
}

/* One of the key's numbers, as many bytes as size says, or as it needs when size is 0. */
static bool write_number(
	struct json_out *o, const char *name, EVP_PKEY *pkey, const char *param, int size)
{
	unsigned char bytes[1024];
	BIGNUM *number = NULL;
	int n = -1;
	if (EVP_PKEY_get_bn_param(pkey, param, &number) == 1 &&
		BN_num_bytes(number) <= (int)sizeof(bytes))
		n = BN_bn2binpad(number, bytes, size ? size : BN_num_bytes(number));
	BN_free(number);
	if (n > 0)
		write_bytes(o, name, bytes, (size_t)n);
	return n > 0;
}

static bool write_raw(struct json_out *o, const char *name, EVP_PKEY *pkey)
{
	unsigned char bytes[32];
	size_t n = sizeof(bytes);
	if (EVP_PKEY_get_raw_public_key(pkey, bytes, &n) != 1)
		return false;
	write_bytes(o, name, bytes, n);
	return true;
}

/* The members that make the key, in the order that the thumbprint wants (RFC 7638 section 3). */
static enum err write_members(const struct keypair *pair, struct json_out *o)
{
	const struct kind_names *kind = &kinds[jwa_info(pair->alg)->kind];
	bool ok = true;
	if (kind->crv)
		json_text(o, "crv", kind->crv);
	else
		ok = write_number(o, "e", pair->pkey, OSSL_PKEY_PARAM_RSA_E, 0);
	json_text(o, "kty", kind->kty);
	if (!kind->crv)
		ok = ok && write_number(o, "n", pair->pkey, OSSL_PKEY_PARAM_RSA_N, 0);
	else if (!kind->group)
		ok = write_raw(o, "x", pair->pkey);
	else
		ok = write_number(o, "x", pair->pkey, OSSL_PKEY_PARAM_EC_PUB_X, kind->field) &&
			write_number(o, "y", pair->pkey, OSSL_PKEY_PARAM_EC_PUB_Y, kind->field);
	return ok ? o->b->err : failed(ERR_INTERNAL);
}

/* RFC 7638: the digest of the members alone, without white space. */
static enum err make_kid(struct keypair *pair)
{
	struct buf text = BUF_INIT(4096), kid = BUF_INIT(KEYPAIR_KID_MAX);
	struct json_out o = JSON_OUT(&text);
	unsigned char digest[SHA256_DIGEST_LENGTH];
	json_open(&o, NULL, '{');
	enum err err = write_members(pair, &o);
	json_close(&o, '}');
	err = err ? err : text.err;
	if (!err) {
		SHA256((const unsigned char *)text.p, text.n, digest);
		b64url_add(&kid, digest, sizeof(digest));
		err = kid.err;
	}
	if (!err)
		memcpy(pair->kid, kid.p, kid.n + 1);
	buf_free(&text);
	buf_free(&kid);
	return err;
}

enum err keypair_generate(enum jwa alg, struct keypair *ret_pair)
{
	struct keypair pair = {.alg = alg};
	enum jwk_kind kind = jwa_info(alg)->kind;
	if (kind == JWK_OCT)
		return ERR_PARAMS;
	if (kind == JWK_RSA)
		pair.pkey = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)RSA_BITS);
	else if (kinds[kind].group)
		pair.pkey = EVP_PKEY_Q_keygen(NULL, NULL, "EC", kinds[kind].group);
	else
		pair.pkey = EVP_PKEY_Q_keygen(NULL, NULL, kinds[kind].type);
	enum err err = pair.pkey ? make_kid(&pair) : failed(ERR_INTERNAL);
	if (err)
		keypair_finish(&pair);
	else
		*ret_pair = pair;
	return err;
}

/* Whether the key is one that this algorithm signs with. */
static bool fits(EVP_PKEY *pkey, enum jwa alg)
{
	const struct kind_names *kind = &kinds[jwa_info(alg)->kind];
	char group[32];
	size_t n;
	int bits = EVP_PKEY_get_bits(pkey);
	if (!EVP_PKEY_is_a(pkey, kind->type))
		return false;
	if (!kind->crv)
		return bits >= JWK_RSA_BITS_MIN && bits <= JWK_RSA_BITS_MAX;
	return !kind->group ||
		(EVP_PKEY_get_group_name(pkey, group, sizeof(group), &n) == 1 &&
			strcmp(group, kind->group) == 0);
}

static int no_passphrase(char *out, int size, int writing, void *arg)
{
	(void)out, (void)size, (void)writing, (void)arg;
	return -1;
}

enum err keypair_from_pem(struct str pem, enum jwa alg, struct keypair *ret_pair)
{
	struct keypair pair = {.alg = alg};
	if (pem.n > PEM_MAX || jwa_info(alg)->kind == JWK_OCT)
		return ERR_PARAMS;
	BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
	if (!bio)
		return failed(ERR_NOMEM);
	pair.pkey = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	BIO_free(bio);
	enum err err = pair.pkey && fits(pair.pkey, alg) ? make_kid(&pair) : failed(ERR_PARAMS);
	if (err)
		keypair_finish(&pair);
	else
		*ret_pair = pair;
	return err;
}

enum err keypair_to_pem(const struct keypair *pair, struct buf *out)
{
	BIO *bio = BIO_new(BIO_s_secmem());
	char *text = NULL;
	enum err err = ERR_INTERNAL;
	if (bio && PEM_write_bio_PKCS8PrivateKey(bio, pair->pkey, NULL, NULL, 0, NULL, NULL) == 1) {
		long n = BIO_get_mem_data(bio, &text);
		buf_add(out, text, (size_t)n);
		err = out->err;
	}
	BIO_free(bio); /* wipes what it held */
	return err ? failed(err) : ERR_OK;
}

enum err keypair_publish(const struct keypair *pair, struct json_out *o)
{
	json_open(o, NULL, '{');
	enum err err = write_members(pair, o);
	json_text(o, "kid", pair->kid);
	json_text(o, "alg", jwa_info(pair->alg)->word);
	json_text(o, "use", "sig");
	json_close(o, '}');
	return err ? err : o->b->err;
}

void keypair_finish(struct keypair *pair)
{
	EVP_PKEY_free(pair->pkey);
	*pair = (struct keypair){0};
}
