#include "auth/server/keys.h"

#include "auth/b64url.h"
#include "auth/server/secret.h"
#include "core/log.h"
#include "core/mem.h"
#include "store/store.h"

#include <assert.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <time.h>

enum { KEYS_MAX = 16, RSA_BITS = 2048, EC_BYTES = 32, JWK_MAX_BYTES = 2048 };

static struct {
	struct signing_key list[KEYS_MAX]; /* the newest first */
	size_t count;
} own;

static const char *const algorithms[] = {"ES256", "RS256"};

/* One number of a public key; n 0: its own length. */
static void add_number(struct buf *b, EVP_PKEY *pkey, const char *name, size_t n)
{
	unsigned char bytes[RSA_BITS / 8 + 8];
	BIGNUM *number = NULL;
	if (EVP_PKEY_get_bn_param(pkey, name, &number) == 1) {
		size_t size = n ? n : (size_t)BN_num_bytes(number);
		if (size <= sizeof(bytes) && BN_bn2binpad(number, bytes, (int)size) >= 0)
			b64url_add(b, bytes, size);
		BN_free(number);
	}
}

/* The members that make the key, in the order of RFC 7638 and without spaces. */
static void add_required(struct buf *b, const struct signing_key *key)
{
	if (strcmp(key->alg, "ES256") == 0) {
		buf_addf(b, "\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"");
		add_number(b, key->pkey, OSSL_PKEY_PARAM_EC_PUB_X, EC_BYTES);
		buf_addf(b, "\",\"y\":\"");
		add_number(b, key->pkey, OSSL_PKEY_PARAM_EC_PUB_Y, EC_BYTES);
	} else {
		buf_addf(b, "\"e\":\"");
		add_number(b, key->pkey, OSSL_PKEY_PARAM_RSA_E, 0);
		buf_addf(b, "\",\"kty\":\"RSA\",\"n\":\"");
		add_number(b, key->pkey, OSSL_PKEY_PARAM_RSA_N, 0);
	}
	buf_addf(b, "\"");
}

static void name_key(struct signing_key *key)
{
	struct buf b = BUF_INIT(JWK_MAX_BYTES);
	buf_addc(&b, '{');
	add_required(&b, key);
	buf_addc(&b, '}');
	secret_challenge(buf_str(&b), key->kid);
	buf_free(&b);
}

void keys_write(struct json_out *o)
{
	json_open(o, NULL, '{');
	json_open(o, "keys", '[');
	for (size_t i = 0; i < own.count; i++) {
		struct buf b = BUF_INIT(JWK_MAX_BYTES);
		buf_addf(&b, "{\"kid\":\"%s\",\"use\":\"sig\",\"alg\":\"%s\",", own.list[i].kid,
			own.list[i].alg);
		add_required(&b, &own.list[i]);
		buf_addc(&b, '}');
		json_raw(o, NULL, buf_str(&b));
		buf_free(&b);
	}
	json_close(o, ']');
	json_close(o, '}');
}

static void free_key(struct signing_key *key)
{
	EVP_PKEY_free(key->pkey);
	if (key->pem)
		OPENSSL_cleanse(key->pem, strlen(key->pem));
	free(key->pem);
	*key = (struct signing_key){0};
}

static const char *known_algorithm(struct str alg)
{
	for (size_t i = 0; i < sizeof(algorithms) / sizeof(*algorithms); i++)
		if (str_is(alg, algorithms[i]))
			return algorithms[i];
	return NULL;
}

static bool fits(const struct signing_key *key)
{
	return key->pkey && EVP_PKEY_is_a(key->pkey, *key->alg == 'E' ? "EC" : "RSA");
}

static enum err read_key(struct str alg, struct str pem, struct signing_key *ret_key)
{
	struct signing_key key = {.alg = known_algorithm(alg)};
	if (!key.alg)
		return ERR_INTERNAL;
	key.pem = mem_copy(pem);
	BIO *bio = BIO_new_mem_buf(key.pem, (int)pem.n);
	key.pkey = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
	BIO_free(bio);
	if (!fits(&key)) {
		free_key(&key);
		return ERR_INTERNAL;
	}
	name_key(&key);
	*ret_key = key;
	return ERR_OK;
}

static char *write_pem(EVP_PKEY *pkey)
{
	char *bytes, *copy = NULL;
	BIO *bio = BIO_new(BIO_s_secmem());
	if (bio && PEM_write_bio_PKCS8PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL) == 1) {
		long n = BIO_get_mem_data(bio, &bytes);
		copy = mem_copy((struct str){bytes, (size_t)n});
	}
	BIO_free(bio);
	return copy;
}

static enum err make_key(const char *alg, struct signing_key *ret_key)
{
	struct signing_key key = {.alg = alg};
	key.pkey = *alg == 'E' ? EVP_EC_gen("P-256") : EVP_RSA_gen(RSA_BITS);
	key.pem = key.pkey ? write_pem(key.pkey) : NULL;
	if (!key.pem) {
		free_key(&key);
		return ERR_INTERNAL;
	}
	name_key(&key);
	struct store_op *op = store_ask_now(STORE_SIGNING_KEY_ADD, STORE_TEXT(str_of(key.kid)),
		STORE_TEXT(str_of(alg)), STORE_TEXT(str_of(key.pem)), STORE_INT(time(NULL)),
		STORE_TEXT(STR("active")), STORE_END);
	enum err err = op->err;
	store_op_free(&op);
	if (err) {
		free_key(&key);
		return err;
	}
	log_info("signing key made", LOG_TEXT("alg", alg), LOG_TEXT("kid", key.kid));
	*ret_key = key;
	return ERR_OK;
}

static enum err read_all(void)
{
	struct store_op *op = store_ask_now(STORE_SIGNING_KEYS, STORE_END);
	enum err err = op->err;
	for (size_t i = 0; !err && i < op->rows && own.count < KEYS_MAX; i++) {
		err = read_key(store_str(op, i, 1), store_str(op, i, 2), &own.list[own.count]);
		if (err)
			log_error("signing key unusable", LOG_STR("kid", store_str(op, i, 0)));
		else
			own.count++;
	}
	store_op_free(&op);
	return err;
}

static const struct signing_key *find(const char *alg)
{
	for (size_t i = 0; i < own.count; i++)
		if (strcmp(own.list[i].alg, alg) == 0)
			return &own.list[i];
	return NULL;
}

enum err keys_start(void)
{
	enum err err = read_all();
	for (size_t i = 0; !err && i < sizeof(algorithms) / sizeof(*algorithms); i++)
		if (!find(algorithms[i])) {
			err = own.count < KEYS_MAX ? make_key(algorithms[i], &own.list[own.count])
						   : ERR_INTERNAL;
			own.count += !err;
		}
	if (err)
		keys_stop();
	return err;
}

void keys_stop(void)
{
	while (own.count)
		free_key(&own.list[--own.count]);
}

const struct signing_key *key_for(const char *alg)
{
	const struct signing_key *key = find(alg);
	assert(key); /* keys_start() has seen to it */
	return key;
}

/* OpenSSL writes ECDSA signatures as DER, JWS wants the two numbers. */
static enum err raw_signature(const unsigned char *der, size_t n, unsigned char *out)
{
	ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long)n);
	if (!pair)
		return ERR_INTERNAL;
	int r = BN_bn2binpad(ECDSA_SIG_get0_r(pair), out, EC_BYTES);
	int s = BN_bn2binpad(ECDSA_SIG_get0_s(pair), out + EC_BYTES, EC_BYTES);
	ECDSA_SIG_free(pair);
	return r == EC_BYTES && s == EC_BYTES ? ERR_OK : ERR_INTERNAL;
}

enum err key_sign_es256(const struct signing_key *key, struct buf *token)
{
	unsigned char der[128], raw[ES256_SIGNATURE];
	size_t n = sizeof(der);
	if (token->err)
		return token->err;
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool ok = context &&
		EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key->pkey) == 1 &&
		EVP_DigestSign(context, der, &n, (const unsigned char *)token->p, token->n) == 1;
	EVP_MD_CTX_free(context);
	if (!ok || raw_signature(der, n, raw))
		return ERR_INTERNAL;
	buf_addc(token, '.');
	b64url_add(token, raw, sizeof(raw));
	return token->err;
}
