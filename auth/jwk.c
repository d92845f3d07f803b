#include "auth/jwk.h"

#include "auth/b64url.h"
#include "core/json_scan.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/sha.h>
#include <stdatomic.h>
#include <stdlib.h>

/* A key and where its kid's bytes are. */
struct slot {
	struct jwk jwk;
	char kid[JWK_KID_MAX];
};

struct jwk_set {
	atomic_int refs;
	bool any_kid;
	size_t count, skipped;
	unsigned char digest[SHA256_DIGEST_LENGTH]; /* of what it was made from */
	struct slot slots[];
};

/* What reading one key says besides the errors: it is of no use here. */
#define UNUSABLE ERR_NOT_FOUND

static enum err refuse(enum err err, const char *why, const char **ret_why)
{
	*ret_why = why;
	return err;
}

/* After OpenSSL did not make something: was it memory? Its queue of errors is empty afterwards. */
static enum err openssl_said(void)
{
	unsigned long code;
	enum err err = UNUSABLE;
	while ((code = ERR_get_error()))
		if (ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE)
			err = ERR_NOMEM;
	return err;
}

/* A string member as it stands between its quotes. */
static bool member(struct str key, const char *name, struct str *ret_inner)
{
	struct str value;
	if (!json_get(key, name, &value) || json_kind(value) != JSON_STRING)
		return false;
	*ret_inner = (struct str){value.p + 1, value.n - 2};
	return true;
}

static bool member_is(struct str key, const char *name, const char *text)
{
	struct str inner;
	return member(key, name, &inner) && json_string_is(inner, text);
}

static bool has(struct str key, const char *name)
{
	struct str value;
	return json_get(key, name, &value);
}

/* The bytes of a base64url member, at most max. */
static bool member_bytes(
	struct str key, const char *name, unsigned char *out, size_t max, size_t *n)
{
	struct str inner;
	return member(key, name, &inner) && inner.n && B64URL_BYTES(inner.n) <= max + 2 &&
		!b64url_decode(inner, out, n) && *n <= max;
}

static enum err from_params(const char *type, OSSL_PARAM *params, EVP_PKEY **ret_pkey)
{
	EVP_PKEY *pkey = NULL;
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	bool made = ctx && EVP_PKEY_fromdata_init(ctx) == 1 &&
		EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) == 1;
	EVP_PKEY_CTX_free(ctx);
	if (!made) {
		EVP_PKEY_free(pkey);
		return openssl_said();
	}
	*ret_pkey = pkey;
	return ERR_OK;
}

/* Odd, and of a size that is neither weak nor a burden; the exponent is odd, 3 to 2^64. */
static bool rsa_in_bounds(const BIGNUM *n, const BIGNUM *e)
{
	int bits = BN_num_bits(n);
	return bits >= JWK_RSA_BITS_MIN && bits <= JWK_RSA_BITS_MAX && BN_is_odd(n) &&
		BN_is_odd(e) && !BN_is_one(e) && BN_num_bits(e) <= 64;
}

static enum err rsa_from_numbers(const BIGNUM *n, const BIGNUM *e, EVP_PKEY **ret_pkey)
{
	if (!rsa_in_bounds(n, e))
		return UNUSABLE;
	enum err err = ERR_NOMEM;
	OSSL_PARAM *params = NULL;
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	if (build && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) &&
		OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e))
		params = OSSL_PARAM_BLD_to_param(build);
	if (params)
		err = from_params("RSA", params, ret_pkey);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(build);
	return err;
}

static enum err read_rsa(struct str key, struct jwk *jwk)
{
	enum { BYTES = JWK_RSA_BITS_MAX / 8 + 1 }; /* some write a zero in front */
	unsigned char n[BYTES + 2], e[BYTES + 2];
	size_t n_size, e_size;
	jwk->kind = JWK_RSA;
	if (!member_bytes(key, "n", n, BYTES, &n_size) ||
		!member_bytes(key, "e", e, BYTES, &e_size))
		return UNUSABLE;
	BIGNUM *bn_n = BN_bin2bn(n, (int)n_size, NULL), *bn_e = BN_bin2bn(e, (int)e_size, NULL);
	enum err err = bn_n && bn_e ? rsa_from_numbers(bn_n, bn_e, &jwk->pkey) : ERR_NOMEM;
	BN_free(bn_n);
	BN_free(bn_e);
	return err;
}

/* A key for ECDSA: what each check would have to find out again is found once. */
static enum err make_ready(struct jwk *jwk)
{
	jwk->ready = EVP_PKEY_CTX_new(jwk->pkey, NULL);
	return jwk->ready && EVP_PKEY_verify_init(jwk->ready) == 1 ? ERR_OK : openssl_said();
}

/* Both coordinates have exactly the field's size (RFC 7518 section 6.2.1.2); that the point is on
 * the curve is checked when the key is made of it. */
static enum err read_ec(struct str key, struct jwk *jwk)
{
	static const struct {
		const char *crv, *group;
		enum jwk_kind kind;
		size_t field;
	} curves[] = {{"P-256", "P-256", JWK_P256, 32}, {"P-384", "P-384", JWK_P384, 48},
		{"P-521", "P-521", JWK_P521, 66}};
	unsigned char point[1 + 2 * 66 + 2] = {4};
	for (size_t i = 0; i < sizeof(curves) / sizeof(*curves); i++) {
		size_t field = curves[i].field, x, y;
		if (!member_is(key, "crv", curves[i].crv))
			continue;
		if (!member_bytes(key, "x", point + 1, field, &x) || x != field ||
			!member_bytes(key, "y", point + 1 + field, field, &y) || y != field)
			return UNUSABLE;
		jwk->kind = curves[i].kind;
		OSSL_PARAM params[] = {
			OSSL_PARAM_construct_utf8_string(
				OSSL_PKEY_PARAM_GROUP_NAME, (char *)(uintptr_t)curves[i].group, 0),
			OSSL_PARAM_construct_octet_string(
				OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * field),
			OSSL_PARAM_construct_end(),
		};
		enum err err = from_params("EC", params, &jwk->pkey);
		return err ? err : make_ready(jwk);
	}
	return UNUSABLE;
}

static enum err read_okp(struct str key, struct jwk *jwk)
{
	unsigned char x[32 + 2];
	size_t n;
	jwk->kind = JWK_ED25519;
	if (!member_is(key, "crv", "Ed25519") || !member_bytes(key, "x", x, 32, &n) || n != 32)
		return UNUSABLE;
	jwk->pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x, n);
	return jwk->pkey ? ERR_OK : openssl_said();
}

/* `use` and `key_ops`, where they stand, allow checking signatures. */
static bool may_verify(struct str key)
{
	struct str value, item;
	if (has(key, "use") && !member_is(key, "use", "sig"))
		return false;
	if (!json_get(key, "key_ops", &value))
		return true;
	struct json_walk w = json_walk(value);
	while (!w.object && json_next(&w, NULL, &item))
		if (str_is(item, "\"verify\""))
			return true;
	return false;
}

/* What the key may verify: all of its kind, or what its `alg` says (EdDSA has two names). */
static uint32_t allowed(struct str key, enum jwk_kind kind)
{
	uint32_t algs = jwa_of_kind(kind);
	if (!has(key, "alg"))
		return algs;
	for (unsigned i = 0; i < JWA_COUNT; i++)
		if ((algs & JWA_BIT(i)) && member_is(key, "alg", jwa_info((enum jwa)i)->word))
			return kind == JWK_ED25519 ? algs : JWA_BIT(i);
	return 0;
}

static enum err read_kid(struct str key, struct slot *slot)
{
	struct str value;
	char text[JWK_KID_MAX * 6 + 2]; /* the longest way to write one is all \u */
	if (!json_get(key, "kid", &value))
		return ERR_OK;
	if (json_kind(value) != JSON_STRING || value.n > sizeof(text) ||
		json_decode(value, text, &slot->jwk.kid.n) || slot->jwk.kid.n > JWK_KID_MAX)
		return UNUSABLE;
	memcpy(slot->kid, text, slot->jwk.kid.n);
	slot->jwk.kid.p = slot->kid;
	return str_has_control(slot->jwk.kid) ? UNUSABLE : ERR_OK;
}

/* Into slot, which is zeroed. What it holds after a failure is freed by the caller. */
static enum err read_key(struct str key, struct slot *slot)
{
	enum err err = UNUSABLE;
	if (!may_verify(key))
		return UNUSABLE;
	if (member_is(key, "kty", "RSA"))
		err = read_rsa(key, &slot->jwk);
	else if (member_is(key, "kty", "EC"))
		err = read_ec(key, &slot->jwk);
	else if (member_is(key, "kty", "OKP"))
		err = read_okp(key, &slot->jwk);
	if (err)
		return err;
	slot->jwk.algs = allowed(key, slot->jwk.kind);
	return slot->jwk.algs ? read_kid(key, slot) : UNUSABLE;
}

static void drop_key(struct slot *slot)
{
	EVP_PKEY_CTX_free(slot->jwk.ready);
	EVP_PKEY_free(slot->jwk.pkey);
	if (slot->jwk.secret.p)
		OPENSSL_cleanse((char *)(uintptr_t)slot->jwk.secret.p, slot->jwk.secret.n);
	free((char *)(uintptr_t)slot->jwk.secret.p);
	memset(slot, 0, sizeof(*slot));
}

static bool is_private(struct str key)
{
	static const char *const members[] = {"d", "p", "q", "dp", "dq", "qi", "oth"};
	for (size_t i = 0; i < sizeof(members) / sizeof(*members); i++)
		if (has(key, members[i]))
			return true;
	return false;
}

/* One element of "keys" into the set. */
static enum err add_key(struct jwk_set *set, struct str key, const char **ret_why)
{
	enum err err = json_once(key);
	if (err)
		return refuse(err, "a key has a doubled member, or too many members", ret_why);
	if (is_private(key))
		return refuse(
			ERR_PARAMS, "a key is a private key; publish public ones only", ret_why);
	struct slot *slot = &set->slots[set->count];
	err = read_key(key, slot);
	if (err) {
		drop_key(slot);
		if (err != UNUSABLE)
			return refuse(err, "out of memory", ret_why);
		set->skipped++;
		return ERR_OK;
	}
	bool doubled = slot->jwk.kid.n && jwk_set_find(set, slot->jwk.kid);
	set->count++; /* from here on it is the set's, to be freed with it */
	return doubled ? refuse(ERR_PARAMS, "two keys have the same kid", ret_why) : ERR_OK;
}

static enum err set_new(struct str from, size_t slots, struct jwk_set **ret_set)
{
	struct jwk_set *set = calloc(1, sizeof(*set) + slots * sizeof(struct slot));
	if (!set)
		return ERR_NOMEM;
	atomic_init(&set->refs, 1);
	SHA256((const unsigned char *)from.p, from.n, set->digest);
	*ret_set = set;
	return ERR_OK;
}

/* The value of "keys", and how many there are. */
static enum err find_keys(
	struct str json, struct str *ret_keys, size_t *ret_n, const char **ret_why)
{
	if (json.n > JWKS_MAX)
		return refuse(ERR_TOO_LARGE, "the key set is larger than 256 KiB", ret_why);
	if (json_check(json, NULL) || json_kind(json) != JSON_OBJECT)
		return refuse(ERR_PARSE, "the key set is not a JSON object", ret_why);
	enum err err = json_once(json);
	if (err)
		return refuse(err, "the key set has a doubled member, or too many", ret_why);
	if (!json_get(json, "keys", ret_keys) || json_kind(*ret_keys) != JSON_ARRAY)
		return refuse(ERR_PARAMS, "the key set has no array \"keys\"", ret_why);
	struct str item;
	struct json_walk w = json_walk(*ret_keys);
	for (*ret_n = 0; json_next(&w, NULL, &item); ++*ret_n)
		if (*ret_n == JWK_SET_MAX)
			return refuse(ERR_TOO_LARGE, "the key set has more than 100 keys", ret_why);
	return ERR_OK;
}

enum err jwk_set_parse(struct str json, struct jwk_set **ret_set, const char **ret_why)
{
	struct str keys, item;
	size_t n;
	struct jwk_set *set;
	enum err err = find_keys(json, &keys, &n, ret_why);
	if (err)
		return err;
	if (set_new(json, n, &set))
		return refuse(ERR_NOMEM, "out of memory", ret_why);
	struct json_walk w = json_walk(keys);
	while (!err && json_next(&w, NULL, &item))
		err = add_key(set, item, ret_why);
	if (err)
		jwk_set_unref(&set);
	else
		*ret_set = set;
	return err;
}

enum err jwk_set_of_secret(struct str secret, struct jwk_set **ret_set)
{
	struct jwk_set *set;
	if (secret.n < 32)
		return ERR_PARAMS;
	enum err err = set_new(secret, 1, &set);
	if (err)
		return err;
	char *copy = malloc(secret.n);
	if (!copy) {
		jwk_set_unref(&set);
		return ERR_NOMEM;
	}
	memcpy(copy, secret.p, secret.n);
	struct jwk *jwk = &set->slots[0].jwk;
	jwk->kind = JWK_OCT;
	jwk->secret = (struct str){copy, secret.n};
	for (unsigned i = JWA_HS256; i <= JWA_HS512; i++)
		if (secret.n * 8 >= jwa_info((enum jwa)i)->digest_bits)
			jwk->algs |= JWA_BIT(i);
	set->any_kid = true;
	set->count = 1;
	*ret_set = set;
	return ERR_OK;
}

struct jwk_set *jwk_set_ref(struct jwk_set *set)
{
	atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
	return set;
}

void jwk_set_unref(struct jwk_set **set)
{
	struct jwk_set *s = *set;
	*set = NULL;
	if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < s->count; i++)
		drop_key(&s->slots[i]);
	free(s);
}

size_t jwk_set_count(const struct jwk_set *set)
{
	return set->count;
}

size_t jwk_set_skipped(const struct jwk_set *set)
{
	return set->skipped;
}

const struct jwk *jwk_set_at(const struct jwk_set *set, size_t i)
{
	return &set->slots[i].jwk;
}

bool jwk_set_same(const struct jwk_set *a, const struct jwk_set *b)
{
	return a && b && a->any_kid == b->any_kid &&
		memcmp(a->digest, b->digest, sizeof(a->digest)) == 0;
}

const struct jwk *jwk_set_find(const struct jwk_set *set, struct str kid)
{
	for (size_t i = 0; i < set->count; i++)
		if (set->any_kid || (kid.n && str_eq(set->slots[i].jwk.kid, kid)))
			return &set->slots[i].jwk;
	return NULL;
}

const struct jwk *jwk_set_only(const struct jwk_set *set, enum jwa alg)
{
	const struct jwk *only = NULL;
	for (size_t i = 0; i < set->count; i++) {
		if (!(set->slots[i].jwk.algs & JWA_BIT(alg)))
			continue;
		if (only)
			return NULL;
		only = &set->slots[i].jwk;
	}
	return only;
}
