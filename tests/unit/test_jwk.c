/* jwk, keypair: which keys are taken, which are passed over, and which spoil the whole set. Built
 * with jwk.c inside, so that each of its allocations can be made to fail. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <pthread.h>
#include <cmocka.h>

static long allocations_left = -1; /* the one after so many fails; -1: none */

static bool fails_now(void)
{
	return allocations_left >= 0 && allocations_left-- == 0;
}

static void *failing_malloc(size_t n)
{
	return fails_now() ? NULL : malloc(n);
}

static void *failing_calloc(size_t count, size_t n)
{
	return fails_now() ? NULL : calloc(count, n);
}

#define malloc failing_malloc
#define calloc failing_calloc
#include "auth/jwk.c"
#undef malloc
#undef calloc

#include "tests/unit/token_made.h"

static const char *why;

static enum err parse(struct str json, struct jwk_set **ret)
{
	why = NULL;
	enum err err = jwk_set_parse(json, ret, &why);
	assert_true(err == ERR_OK || why);
	return err;
}

/* What becomes of {"keys":[KEYS]}: usable and skipped, as "2/1", or the error. */
static enum err counts(const char *keys, size_t usable, size_t skipped)
{
	struct jwk_set *set = NULL;
	struct buf b = BUF_INIT(JWKS_MAX * 2);
	buf_addf(&b, "{\"keys\":[%s]}", keys);
	enum err err = parse(buf_str(&b), &set);
	if (!err && (jwk_set_count(set) != usable || jwk_set_skipped(set) != skipped))
		fail_msg("%zu/%zu: %s", jwk_set_count(set), jwk_set_skipped(set), keys);
	if (err)
		assert_null(set);
	buf_free(&b);
	jwk_set_unref(&set);
	return err;
}

/* RFC 7517 appendix A.1, RFC 8037 appendix A.2 */
#define EC_X "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4"
#define EC_Y "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"
#define EC_XY "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" EC_X "\",\"y\":\"" EC_Y "\""
#define RSA_N \
	"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_" \
	"BJECP" \
	"ebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_" \
	"FDW2QvzqY" \
	"368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-" \
	"bFTWhAI4vMQFh6WeZu0f" \
	"M4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
#define RSA_NE "\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"AQAB\""
#define ED_X \
	"\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_" \
	"7TyWQHOg7hcvPapiMlrwIaaPcHURo\""

static void published_keys(void **state)
{
	(void)state;
	struct jwk_set *set;
	struct str text =
		STR(" {\"keys\": [ {" EC_XY ",\"use\":\"enc\",\"kid\":\"1\"},"
		    "{" EC_XY ",\"kid\":\"ec\",\"key_ops\":[\"verify\"],\"x5c\":[\"MII\"]},"
		    "{" RSA_NE ",\"alg\":\"RS256\",\"kid\":\"2011-04-29\",\"use\":\"sig\"},"
		    "{" ED_X ",\"alg\":\"Ed25519\"}],\"more\":{\"keys\":1}} ");
	assert_int_equal(parse(text, &set), ERR_OK);
	assert_int_equal(jwk_set_count(set), 3);
	assert_int_equal(jwk_set_skipped(set), 1);
	const struct jwk *ec = jwk_set_find(set, STR("ec"));
	assert_true(ec && ec->kind == JWK_P256 && ec->algs == JWA_BIT(JWA_ES256));
	const struct jwk *rsa = jwk_set_find(set, STR("2011-04-29"));
	assert_true(rsa && rsa->kind == JWK_RSA && rsa->algs == JWA_BIT(JWA_RS256));
	assert_int_equal(EVP_PKEY_get_bits(rsa->pkey), 2048);
	assert_null(jwk_set_find(set, STR("1")));
	assert_null(jwk_set_find(set, STR("")));
	assert_ptr_equal(jwk_set_only(set, JWA_ES256), ec);
	assert_null(jwk_set_only(set, JWA_PS256));
	assert_int_equal(
		jwk_set_only(set, JWA_EdDSA)->algs, JWA_BIT(JWA_EdDSA) | JWA_BIT(JWA_Ed25519));
	struct jwk_set *same, *again = jwk_set_ref(set);
	jwk_set_unref(&set);
	assert_null(set);
	assert_int_equal(parse(text, &same), ERR_OK);
	assert_true(jwk_set_same(again, same) && !jwk_set_same(again, NULL));
	jwk_set_unref(&same);
	jwk_set_unref(&again);
	jwk_set_unref(&again);
}

static void passed_over(void **state)
{
	(void)state;
	static const char *const keys[] = {"1", "null", "\"x\"", "[]", "{}", "{\"kty\":1}",
		"{\"kty\":\"RSA\"}", "{\"kty\":\"oct\",\"k\":\"AAAA\",\"alg\":\"HS256\"}",
		"{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"" EC_X "\",\"y\":\"" EC_Y "\"}",
		"{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"" EC_X "\",\"y\":\"" EC_Y "\"}",
		"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" EC_X "\"}",
		/* not on the curve */
		"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" EC_Y "\",\"y\":\"" EC_X "\"}",
		/* padded, one byte short or long */
		"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" EC_X "=\",\"y\":\"" EC_Y "\"}",
		"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"" EC_Y "\"}",
		"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA" EC_X "\",\"y\":\"" EC_Y "\"}",
		"{\"kty\":\"ec\",\"crv\":\"P-256\",\"x\":\"" EC_X "\",\"y\":\"" EC_Y "\"}",
		"{" EC_XY ",\"use\":\"enc\"}", "{" EC_XY ",\"use\":1}",
		"{" EC_XY ",\"key_ops\":[]}", "{" EC_XY ",\"key_ops\":[\"sign\"]}",
		"{" EC_XY ",\"key_ops\":{\"verify\":\"verify\"}}", "{" EC_XY ",\"alg\":\"ES384\"}",
		"{" EC_XY ",\"alg\":\"RS256\"}", "{" EC_XY ",\"alg\":\"ECDH-ES\"}",
		"{" EC_XY ",\"alg\":null}", "{" EC_XY ",\"kid\":7}",
		"{" EC_XY ",\"kid\":\"a\\u0000b\"}", "{" RSA_NE ",\"alg\":\"HS256\"}",
		"{" RSA_NE ",\"alg\":\"RSA-OAEP\"}", "{\"kty\":\"RSA\",\"n\":\"" RSA_N "\"}",
		"{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"\"}",
		"{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"AA\"}", /* 0 */
		"{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"AQ\"}", /* 1 */
		"{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"Ag\"}", /* 2 */
		"{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"" RSA_N "\"}",
		"{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}",
		"{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"" EC_X "\"}",
		"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AA\"}",
		"{" ED_X ",\"alg\":\"ES256\"}"};
	for (size_t i = 0; i < COUNT(keys); i++)
		assert_int_equal(counts(keys[i], 0, 1), ERR_OK);
	assert_int_equal(counts("", 0, 0), ERR_OK);
	assert_int_equal(counts("{" EC_XY "},{" EC_XY "},1", 2, 1), ERR_OK); /* none has a kid */
	/* keys of no use do not count as doubles */
	assert_int_equal(
		counts("{" EC_XY ",\"kid\":\"a\"},{" RSA_NE ",\"kid\":\"a\",\"use\":\"enc\"}", 1,
			1),
		ERR_OK);
}

static void refused(void **state)
{
	(void)state;
	static const char *const keys[] = {"{" EC_XY ",\"kid\":\"a\"},{" RSA_NE ",\"kid\":\"a\"}",
		"{" EC_XY ",\"kid\":\"a\"},{" EC_XY ",\"kid\":\"\\u0061\"}",
		"{" EC_XY ",\"d\":\"AA\"}", "{" RSA_NE ",\"p\":\"AA\"}",
		"{" RSA_NE ",\"\\u0064\":1}", "{\"kty\":\"unknown\",\"d\":\"AA\"}",
		"{" ED_X ",\"d\":\"AA\"}", "{" EC_XY ",\"x\":\"" EC_X "\"}",
		"{\"kty\":\"oct\"," EC_XY "}", "{" EC_XY ",\"kid\":\"a\",\"k\\u0069d\":\"b\"}"};
	for (size_t i = 0; i < COUNT(keys); i++)
		assert_int_equal(counts(keys[i], 0, 0), ERR_PARAMS);
	static const char *const sets[] = {"", "{", "[]", "\"keys\"", "null", "{\"keys\":[]}x",
		"{\"keys\":[],}", "\xef\xbb\xbf{\"keys\":[]}"};
	struct jwk_set *set;
	for (size_t i = 0; i < COUNT(sets); i++)
		assert_int_equal(parse(str_of(sets[i]), &set), ERR_PARSE);
	static const char *const no_keys[] = {"{}", "{\"keys\":{}}", "{\"keys\":null}",
		"{\"KEYS\":[]}", "{\"keys\":[],\"keys\":[]}", "{\"keys\":[],\"k\\u0065ys\":[]}"};
	for (size_t i = 0; i < COUNT(no_keys); i++)
		assert_int_equal(parse(str_of(no_keys[i]), &set), ERR_PARAMS);
}

static void limits(void **state)
{
	(void)state;
	struct buf b = BUF_INIT(JWKS_MAX * 2);
	struct jwk_set *set;
	for (size_t n = JWK_SET_MAX; n <= JWK_SET_MAX + 1; n++) {
		buf_free(&b);
		for (size_t i = 0; i < n; i++)
			buf_addf(&b, "%s{" EC_XY ",\"kid\":\"%zu\"}", i ? "," : "", i);
		assert_int_equal(counts(b.p, n, 0), n > JWK_SET_MAX ? ERR_TOO_LARGE : ERR_OK);
	}
	for (size_t over = 0; over < 2; over++) {
		buf_free(&b);
		buf_addf(&b, "{\"keys\":[]%*s}", (int)(JWKS_MAX - 11 - 1 + over + 1), "");
		assert_int_equal(b.n, JWKS_MAX + over);
		assert_int_equal(parse(buf_str(&b), &set), over ? ERR_TOO_LARGE : ERR_OK);
		if (!over)
			jwk_set_unref(&set);
	}
	/* deep, and wide */
	buf_free(&b);
	for (int i = 0; i < 100000; i++)
		buf_addc(&b, '[');
	assert_int_equal(parse(buf_str(&b), &set), ERR_PARSE);
	buf_free(&b);
	for (int i = 0; i < 200; i++)
		buf_addf(&b, "%s\"m%d\":1", i ? "," : "{", i);
	buf_addc(&b, '}');
	assert_int_equal(counts(b.p, 0, 0), ERR_TOO_LARGE);
	/* kids */
	for (int size = JWK_KID_MAX; size <= JWK_KID_MAX + 1; size++) {
		buf_free(&b);
		buf_addf(&b, "{" EC_XY ",\"kid\":\"%0*d\"}", size, 1);
		assert_int_equal(counts(b.p, size == JWK_KID_MAX, size > JWK_KID_MAX), ERR_OK);
	}
	buf_free(&b);
}

/* RSA of too few and too many bits, and both ends of what is allowed. */
static void rsa_sizes(void **state)
{
	(void)state;
	static const int bits[] = {1024, 2047, 2048, 8192, 8193, 16384};
	for (size_t i = 0; i < COUNT(bits); i++) {
		BIGNUM *n = BN_new();
		unsigned char bytes[2048];
		struct buf b = BUF_INIT(JWKS_MAX);
		assert_int_equal(BN_rand(n, bits[i], BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD), 1);
		size_t size = (size_t)BN_bn2bin(n, bytes);
		buf_adds(&b, STR("{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\""));
		b64url_add(&b, bytes, size);
		buf_adds(&b, STR("\"}"));
		bool good = bits[i] >= JWK_RSA_BITS_MIN && bits[i] <= JWK_RSA_BITS_MAX;
		assert_int_equal(counts(b.p, good, !good), ERR_OK);
		buf_free(&b);
		/* a zero in front does no harm; an even one is none */
		bytes[size - 1] &= 0xfe;
		buf_adds(&b, STR("{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\""));
		b64url_add(&b, bytes, size);
		buf_adds(&b, STR("\"}"));
		assert_int_equal(counts(b.p, 0, 1), ERR_OK);
		buf_free(&b);
		BN_free(n);
	}
}

/* RFC 7638 section 3.1 */
static void thumbprint(void **state)
{
	(void)state;
	struct jwk_set *set;
	assert_int_equal(parse(STR("{\"keys\":[{" RSA_NE "}]}"), &set), ERR_OK);
	BIO *pem = BIO_new(BIO_s_mem());
	assert_int_equal(PEM_write_bio_PUBKEY(pem, jwk_set_at(set, 0)->pkey), 1);
	BIO_free(pem);
	struct keypair pair = {.pkey = jwk_set_at(set, 0)->pkey, .alg = JWA_RS256};
	struct buf b = BUF_INIT(4096);
	struct json_out o = JSON_OUT(&b);
	assert_int_equal(keypair_publish(&pair, &o), ERR_OK);
	assert_non_null(strstr(b.p, "{\"e\":\"AQAB\",\"kty\":\"RSA\",\"n\":\"" RSA_N "\","));
	struct str bare = {b.p, (size_t)(strstr(b.p, ",\"kid\"") - b.p)};
	struct buf text = BUF_INIT(4096), kid = BUF_INIT(64);
	unsigned char digest[32];
	buf_adds(&text, bare);
	buf_addc(&text, '}');
	SHA256((unsigned char *)text.p, text.n, digest);
	b64url_add(&kid, digest, 32);
	assert_string_equal(kid.p, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
	buf_free(&b);
	buf_free(&text);
	buf_free(&kid);
	jwk_set_unref(&set);
}

static void keypairs(void **state)
{
	(void)state;
	static const enum jwa algs[] = {
		JWA_ES256, JWA_ES384, JWA_ES512, JWA_RS256, JWA_PS256, JWA_EdDSA, JWA_Ed25519};
	struct keypair pair, back, other;
	assert_int_equal(keypair_generate(JWA_HS256, &pair), ERR_PARAMS);
	for (size_t i = 0; i < COUNT(algs); i++) {
		struct buf pem = BUF_INIT(1 << 14);
		assert_int_equal(keypair_generate(algs[i], &pair), ERR_OK);
		assert_int_equal(strlen(pair.kid), 43);
		assert_int_equal(keypair_to_pem(&pair, &pem), ERR_OK);
		assert_true(str_starts(buf_str(&pem), STR("-----BEGIN PRIVATE KEY-----\n")));
		assert_int_equal(keypair_from_pem(buf_str(&pem), algs[i], &back), ERR_OK);
		assert_string_equal(back.kid, pair.kid);
		assert_int_equal(EVP_PKEY_eq(back.pkey, pair.pkey), 1);
		for (unsigned alg = 0; alg < JWA_COUNT; alg++) {
			enum err err = keypair_from_pem(buf_str(&pem), (enum jwa)alg, &other);
			bool fits = jwa_info((enum jwa)alg)->kind == jwa_info(algs[i])->kind;
			assert_int_equal(err, fits ? ERR_OK : ERR_PARAMS);
			if (!err)
				keypair_finish(&other);
		}
		const struct keypair *one[] = {&pair};
		struct jwk_set *set = made_set(one, 1);
		const struct jwk *jwk = jwk_set_find(set, str_of(pair.kid));
		assert_true(jwk && EVP_PKEY_eq(jwk->pkey, pair.pkey) == 1);
		jwk_set_unref(&set);
		buf_free(&pem);
		keypair_finish(&pair);
		keypair_finish(&back);
		keypair_finish(&back);
	}
}

static void bad_pem(void **state)
{
	(void)state;
	struct keypair pair;
	static const char *const bad[] = {"", "x", "-----BEGIN PRIVATE KEY-----\n",
		"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE "
		 "KEY-----\n")};
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_int_equal(keypair_from_pem(str_of(bad[i]), JWA_ES256, &pair), ERR_PARAMS);
	/* one with a passphrase: refused, and nobody is asked for it */
	struct keypair good;
	assert_int_equal(keypair_generate(JWA_ES256, &good), ERR_OK);
	BIO *bio = BIO_new(BIO_s_mem());
	char *text, word[] = "word";
	PEM_write_bio_PKCS8PrivateKey(bio, good.pkey, EVP_aes_128_cbc(), word, 4, NULL, NULL);
	long n = BIO_get_mem_data(bio, &text);
	assert_int_equal(
		keypair_from_pem((struct str){text, (size_t)n}, JWA_ES256, &pair), ERR_PARAMS);
	BIO_free(bio);
	/* RSA of 1024 bits */
	EVP_PKEY *small = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)1024);
	struct buf pem = BUF_INIT(1 << 14);
	assert_int_equal(keypair_to_pem(&(struct keypair){.pkey = small}, &pem), ERR_OK);
	assert_int_equal(keypair_from_pem(buf_str(&pem), JWA_RS256, &pair), ERR_PARAMS);
	buf_free(&pem);
	EVP_PKEY_free(small);
	/* no room for the text */
	pem = BUF_INIT(20);
	assert_int_equal(keypair_to_pem(&good, &pem), ERR_TOO_LARGE);
	buf_free(&pem);
	keypair_finish(&good);
}

/* Each allocation of our own fails in turn; the sanitizer counts what would be left. */
static void out_of_memory(void **state)
{
	(void)state;
	struct str text = STR("{\"keys\":[{" EC_XY ",\"kid\":\"a\"},{" RSA_NE "},{" ED_X "}]}");
	struct jwk_set *set;
	enum err err = ERR_NOMEM;
	long fails = -1;
	while (err) {
		allocations_left = ++fails;
		set = NULL;
		err = parse(text, &set);
		assert_true(err == ERR_OK || (err == ERR_NOMEM && !set));
	}
	assert_true(fails >= 1);
	jwk_set_unref(&set);
	char secret[32] = "0123456789abcdef0123456789abcde";
	for (fails = -1, err = ERR_NOMEM; err;) {
		allocations_left = ++fails;
		err = jwk_set_of_secret((struct str){secret, 32}, &set);
		assert_true(err == ERR_OK || err == ERR_NOMEM);
	}
	assert_int_equal(fails, 2);
	allocations_left = -1;
	jwk_set_unref(&set);
}

/* OpenSSL's own allocations fail in turn, on the thread under test only. */
static _Thread_local long openssl_left = -1;

static void *openssl_malloc(size_t n, const char *file, int line)
{
	(void)file, (void)line;
	return openssl_left >= 0 && openssl_left-- == 0 ? NULL : malloc(n);
}

static void *openssl_realloc(void *p, size_t n, const char *file, int line)
{
	(void)file, (void)line;
	return openssl_left >= 0 && openssl_left-- == 0 ? NULL : realloc(p, n);
}

static void openssl_free(void *p, const char *file, int line)
{
	(void)file, (void)line;
	free(p);
}

static void openssl_out_of_memory(void **state)
{
	(void)state;
	static const char *const texts[] = {"{\"keys\":[{" EC_XY ",\"kid\":\"a\"}]}",
		"{\"keys\":[{" RSA_NE "}]}", "{\"keys\":[{" ED_X "}]}"};
	for (size_t i = 0; i < COUNT(texts); i++) {
		long fails = 0, lost = 0;
		for (; fails < 5000; fails++) {
			struct jwk_set *set = NULL;
			openssl_left = fails;
			enum err err = parse(str_of(texts[i]), &set);
			bool failed = openssl_left < 0;
			openssl_left = -1;
			assert_true(err == ERR_OK || (err == ERR_NOMEM && !set));
			lost += !err && jwk_set_count(set) == 0;
			jwk_set_unref(&set);
			if (!failed)
				break;
		}
		assert_in_range(fails, 1, 4999);
		print_message("%ld failures, %ld with a key less\n", fails, lost);
	}
}

static void *refs_loop(void *arg)
{
	for (int i = 0; i < 20000; i++) {
		struct jwk_set *ref = jwk_set_ref(arg);
		jwk_set_unref(&ref);
	}
	return NULL;
}

static void counted_by_threads(void **state)
{
	(void)state;
	struct jwk_set *set;
	pthread_t threads[2];
	assert_int_equal(parse(STR("{\"keys\":[{" EC_XY "}]}"), &set), ERR_OK);
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, refs_loop, set);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(jwk_set_count(set), 1);
	jwk_set_unref(&set);
}

int main(void)
{
	CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_keys),
		cmocka_unit_test(passed_over),
		cmocka_unit_test(refused),
		cmocka_unit_test(limits),
		cmocka_unit_test(rsa_sizes),
		cmocka_unit_test(thumbprint),
		cmocka_unit_test(keypairs),
		cmocka_unit_test(bad_pem),
		cmocka_unit_test(out_of_memory),
		cmocka_unit_test(openssl_out_of_memory),
		cmocka_unit_test(counted_by_threads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
