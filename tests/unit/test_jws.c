/* jws, b64url, jwa: what is signed and how, and the attacks on it. */
#include "core/json_scan.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <jwt.h>
#include <pthread.h>
#include <cmocka.h>

#include "tests/unit/token_made.h"

static struct keypair pairs[JWA_COUNT]; /* one each, those of HS empty; all of RSA are one key */
static struct jwk_set *set;             /* all of them */
static struct jws jws;
static const char *why;

static const struct str payload = {"{\"sub\":\"ann\"}", 13};

static int make_keys(void **state)
{
	(void)state;
	const struct keypair *three[5];
	size_t n = 0;
	static const enum jwa makes[] = {JWA_RS256, JWA_ES256, JWA_ES384, JWA_ES512, JWA_EdDSA};
	for (size_t i = 0; i < COUNT(makes); i++) {
		assert_int_equal(keypair_generate(makes[i], &pairs[makes[i]]), ERR_OK);
		three[n++] = &pairs[makes[i]];
	}
	for (unsigned i = 0; i < JWA_HS256; i++) {
		if (pairs[i].pkey)
			continue;
		pairs[i] = pairs[jwa_info((enum jwa)i)->kind == JWK_RSA ? JWA_RS256 : JWA_EdDSA];
		EVP_PKEY_up_ref(pairs[i].pkey);
		pairs[i].alg = (enum jwa)i;
	}
	/* published without alg, so that the RSA key serves all of its kind */
	struct buf text = made_jwks(three, n), bare = BUF_INIT(JWKS_MAX);
	const char *from = text.p, *alg;
	while ((alg = strstr(from, ",\"alg\":"))) {
		buf_add(&bare, from, (size_t)(alg - from));
		from = strstr(alg, ",\"use\"");
	}
	buf_adds(&bare, str_of(from));
	assert_int_equal(jwk_set_parse(buf_str(&bare), &set, &why), ERR_OK);
	assert_int_equal(jwk_set_count(set), 5);
	buf_free(&text);
	buf_free(&bare);
	return 0;
}

static int free_keys(void **state)
{
	(void)state;
	for (unsigned i = 0; i < JWA_COUNT; i++)
		keypair_finish(&pairs[i]);
	jwk_set_unref(&set);
	return 0;
}

static enum err check(struct str token, const struct jwk_set *keys, uint32_t allowed)
{
	why = NULL;
	enum err err = jws_parse(token, &jws, &why);
	err = err ? err : jws_verify(&jws, keys, allowed, &why);
	assert_true(err == ERR_OK || why);
	return err;
}

/* Checks with all keys and all algorithms, and frees the token. */
static enum err verdict(struct buf token)
{
	enum err err = check(buf_str(&token), set, jwa_default());
	buf_free(&token);
	return err;
}

static struct buf signed_by(enum jwa alg, const char *header_alg)
{
	struct buf header = made_header(header_alg, "at+jwt", pairs[alg].kid);
	struct buf token = made_token(buf_str(&header), payload, pairs[alg].pkey, alg);
	buf_free(&header);
	return token;
}

static struct buf with_header(const char *header)
{
	return made_token(str_of(header), payload, pairs[JWA_ES256].pkey, JWA_ES256);
}

static void b64url_round_trip(void **state)
{
	(void)state;
	for (size_t n = 0; n < 300; n++) {
		unsigned char bytes[300], back[B64URL_BYTES(400)];
		size_t back_n = 999;
		struct buf b = BUF_INIT(1000);
		for (size_t i = 0; i < n; i++)
			bytes[i] = (unsigned char)random();
		b64url_add(&b, bytes, n);
		assert_int_equal(b64url_decode(buf_str(&b), back, &back_n), ERR_OK);
		assert_true(B64URL_BYTES(b.n) >= n);
		assert_int_equal(back_n, n);
		assert_memory_equal(back, bytes, n);
		buf_free(&b);
	}
}

static void b64url_is_strict(void **state)
{
	(void)state;
	static const char *const bad[] = {"A", "AAAAA", "AA==", "AAA=", "AAA=AAAA", "AA\n", "A A",
		" AA", "AA ", "A+AA", "A/AA", "A.AA", "AB", "AP", "AAB", "AAD", "\xc3\xa4",
		"AA\r\n", "AAAAAB"};
	unsigned char out[32];
	size_t n = 99;
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_int_equal(b64url_decode(str_of(bad[i]), out, &n), ERR_PARSE);
	assert_int_equal(b64url_decode(STR("AA\0A"), out, &n), ERR_PARSE);
	assert_int_equal(n, 99);
	assert_int_equal(b64url_decode(STR("_-A"), out, &n), ERR_OK);
	assert_int_equal(n, 2);
	assert_memory_equal(out, "\xff\xe0", 2);
	assert_int_equal(b64url_decode(STR(""), out, &n), ERR_OK);
	assert_int_equal(n, 0);
}

static void algorithms(void **state)
{
	(void)state;
	static const char *const none[] = {"none", "None", "NONE", "rs256", "RS2566", "RS25", "",
		"ES256K", "dir", "A128KW", "RSA-OAEP", "RS1", "HS1"};
	enum jwa alg;
	for (size_t i = 0; i < COUNT(none); i++)
		assert_false(jwa_find(str_of(none[i]), &alg));
	assert_false(jwa_find(STR("RS256\0"), &alg));
	for (unsigned i = 0; i < JWA_COUNT; i++)
		assert_true(jwa_find(str_of(jwa_info((enum jwa)i)->word), &alg) && alg == i);
	assert_int_equal(jwa_default() & jwa_of_kind(JWK_OCT), 0);
	assert_int_equal(jwa_default() | jwa_of_kind(JWK_OCT), JWA_BIT(JWA_COUNT) - 1);
}

/* Made by EVP, checked here; and made here, checked here. */
static void each_algorithm(void **state)
{
	(void)state;
	for (unsigned i = 0; i < JWA_HS256; i++) {
		enum jwa alg = (enum jwa)i;
		struct buf token = signed_by(alg, jwa_info(alg)->word), own = BUF_INIT(JWS_MAX);
		assert_int_equal(check(buf_str(&token), set, JWA_BIT(i)), ERR_OK);
		assert_int_equal(jws.alg, alg);
		assert_true(str_eq(jws.payload, payload) && str_is(jws.typ, "at+jwt"));
		assert_true(jws.has_kid && str_is(jws.kid, pairs[i].kid));
		assert_int_equal(check(buf_str(&token), set, jwa_default() & ~JWA_BIT(i)),
			ERR_UNAUTHENTICATED);
		token.p[token.n - 20] ^= 1;
		assert_int_equal(check(buf_str(&token), set, jwa_default()), ERR_UNAUTHENTICATED);
		for (int twice = 0; twice < 40; twice++) { /* r and s of all lengths */
			own.n = 0;
			assert_int_equal(jws_sign(&pairs[i], "at+jwt", payload, &own), ERR_OK);
			assert_int_equal(check(buf_str(&own), set, JWA_BIT(i)), ERR_OK);
		}
		buf_free(&token);
		buf_free(&own);
	}
}

static void secrets(void **state)
{
	(void)state;
	static const char text[65] =
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde";
	struct jwk_set *keys;
	assert_int_equal(jwk_set_of_secret((struct str){text, 31}, &keys), ERR_PARAMS);
	for (size_t size = 32; size <= 64; size += 16) {
		assert_int_equal(jwk_set_of_secret((struct str){text, size}, &keys), ERR_OK);
		for (unsigned i = JWA_HS256; i <= JWA_HS512; i++) {
			struct buf header = made_header(jwa_info((enum jwa)i)->word, "JWT", "any");
			struct buf token = made_hmac_token(buf_str(&header), payload,
				(struct str){text, size}, made_digest((enum jwa)i));
			bool fits = size * 8 >= jwa_info((enum jwa)i)->digest_bits;
			assert_int_equal(check(buf_str(&token), keys, JWA_BIT(i)),
				fits ? ERR_OK : ERR_UNAUTHENTICATED);
			assert_int_equal(
				check(buf_str(&token), keys, jwa_default()), ERR_UNAUTHENTICATED);
			token.p[token.n - 3] ^= 1;
			assert_int_equal(
				check(buf_str(&token), keys, JWA_BIT(i)), ERR_UNAUTHENTICATED);
			buf_free(&header);
			buf_free(&token);
		}
		jwk_set_unref(&keys);
	}
}

/* The public key, in each form an attacker may guess, as the secret of an HMAC. */
static void hmac_with_public_key(void **state)
{
	(void)state;
	static const enum jwa whose[] = {JWA_RS256, JWA_ES256};
	for (size_t i = 0; i < COUNT(whose); i++) {
		const struct keypair *pair = &pairs[whose[i]], *one[] = {pair};
		struct buf header = made_header("HS256", "at+jwt", pair->kid);
		struct buf jwk = made_jwks(one, 1);
		BIO *pem = BIO_new(BIO_s_mem());
		unsigned char *der = NULL;
		char *pem_text;
		PEM_write_bio_PUBKEY(pem, pair->pkey);
		long pem_n = BIO_get_mem_data(pem, &pem_text);
		int der_n = i2d_PUBKEY(pair->pkey, &der);
		struct str guesses[] = {{pem_text, (size_t)pem_n}, {(char *)der, (size_t)der_n},
			{jwk.p + 9, jwk.n - 11}, buf_str(&jwk), STR("")};
		for (size_t g = 0; g < COUNT(guesses); g++) {
			struct buf token = made_hmac_token(
				buf_str(&header), payload, guesses[g], EVP_sha256());
			/* even where the issuer allows HS */
			assert_int_equal(
				check(buf_str(&token), set, UINT32_MAX), ERR_UNAUTHENTICATED);
			buf_free(&token);
		}
		OPENSSL_free(der);
		BIO_free(pem);
		buf_free(&jwk);
		buf_free(&header);
	}
}

static void unsigned_tokens(void **state)
{
	(void)state;
	static const char *const words[] = {"none", "None", "NONE", "nOnE", "", "HS256"};
	for (size_t i = 0; i < COUNT(words); i++) {
		struct buf header = made_header(words[i], "at+jwt", pairs[JWA_ES256].kid);
		struct buf token = made_unsigned(buf_str(&header), payload);
		assert_int_equal(check(buf_str(&token), set, UINT32_MAX), ERR_UNAUTHENTICATED);
		buf_addc(&token, '.');
		assert_int_equal(check(buf_str(&token), set, UINT32_MAX), ERR_UNAUTHENTICATED);
		buf_adds(&token, STR("AA"));
		assert_int_equal(check(buf_str(&token), set, UINT32_MAX), ERR_UNAUTHENTICATED);
		buf_free(&header);
		buf_free(&token);
	}
}

static void malformed(void **state)
{
	(void)state;
	struct buf good = signed_by(JWA_ES256, "ES256");
	static const char *const bad[] = {"", ".", "..", "...", ".e30.AA", "e30..AA", "e30.e30.",
		"e30.e30", "e30", "e30.e30.AA", "e30.e30.AA.AA", "e30.e30.AA.", "a.b.c.d.e", "\n",
		"bnVsbA.e30.AA", "W10.e30.AA", "IiI.e30.AA", "e30=.e30.AA"};
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_int_equal(check(str_of(bad[i]), set, UINT32_MAX), ERR_UNAUTHENTICATED);
	assert_int_equal(check((struct str){NULL, 0}, set, UINT32_MAX), ERR_UNAUTHENTICATED);
	/* the good one with something before, behind or amid */
	for (size_t at = 0; at <= good.n; at++) {
		static const char *const odd[] = {" ", "=", ".", "\n", "A", "+"};
		for (size_t i = 0; i < COUNT(odd); i++) {
			struct buf b = BUF_INIT(JWS_MAX);
			buf_add(&b, good.p, at);
			buf_adds(&b, str_of(odd[i]));
			buf_add(&b, good.p + at, good.n - at);
			assert_int_equal(check(buf_str(&b), set, jwa_default()) == ERR_OK, false);
			buf_free(&b);
		}
	}
	/* and cut short */
	for (size_t n = 0; n < good.n; n++)
		assert_true(check((struct str){good.p, n}, set, jwa_default()) != ERR_OK);
	assert_int_equal(verdict(good), ERR_OK);
}

/* Every digit of a signed token changed: none passes. */
static void each_digit_counts(void **state)
{
	(void)state;
	struct buf good = signed_by(JWA_ES256, "ES256");
	for (size_t i = 0; i < good.n; i++) {
		char was = good.p[i];
		good.p[i] = was == 'A' ? 'B' : 'A';
		assert_true(check(buf_str(&good), set, jwa_default()) != ERR_OK);
		good.p[i] = was;
	}
	assert_int_equal(verdict(good), ERR_OK);
}

static void too_large(void **state)
{
	(void)state;
	static const size_t sizes[] = {JWS_MAX, JWS_MAX + 1, 300 * 1024, 1 << 20};
	for (size_t i = 0; i < COUNT(sizes); i++) {
		char *text = malloc(sizes[i]);
		memset(text, 'A', sizes[i]);
		text[4] = text[8] = '.';
		assert_int_equal(
			check((struct str){text, sizes[i]}, set, UINT32_MAX), ERR_UNAUTHENTICATED);
		memset(text, '.', sizes[i]);
		assert_int_equal(
			check((struct str){text, sizes[i]}, set, UINT32_MAX), ERR_UNAUTHENTICATED);
		free(text);
	}
	/* the largest there may be */
	struct buf header = made_header("ES256", "at+jwt", pairs[JWA_ES256].kid);
	size_t room = (JWS_MAX - (header.n + 2) / 3 * 4 - 88) / 4 * 3 - 3;
	char *text = malloc(room);
	memset(text, ' ', room);
	struct buf token = made_token(
		buf_str(&header), (struct str){text, room}, pairs[JWA_ES256].pkey, JWA_ES256);
	assert_in_range(token.n, JWS_MAX - 8, JWS_MAX);
	assert_int_equal(verdict(token), ERR_OK);
	struct buf own = BUF_INIT(1 << 20);
	assert_int_equal(
		jws_sign(&pairs[JWA_ES256], "at+jwt", (struct str){text, room}, &own), ERR_OK);
	struct buf over = BUF_INIT(1 << 20);
	buf_add(&over, text, room);
	buf_addf(&over, "%20s", "");
	own.n = 0;
	assert_int_equal(
		jws_sign(&pairs[JWA_ES256], "at+jwt", buf_str(&over), &own), ERR_TOO_LARGE);
	buf_free(&over);
	buf_free(&own);
	buf_free(&header);
	free(text);
}

static void headers(void **state)
{
	(void)state;
	const char *kid = pairs[JWA_ES256].kid;
	static const struct {
		const char *format; /* %s is the kid */
		enum err err;
	} rows[] = {
		{"{\"alg\":\"ES256\",\"kid\":\"%s\"}", ERR_OK},
		{"{\"alg\":\"\\u0045S256\",\"kid\":\"%s\",\"x\":{\"a\":[1]}}", ERR_OK},
		{" {\"alg\" : \"ES256\"\n,\"kid\":\"%s\" } ", ERR_OK},
		/* pointers to other keys are not looked at */
		{"{\"alg\":\"ES256\",\"kid\":\"%s\",\"jku\":\"https://evil.example/jwks\",\"x5u\":"
		 "\"https://"
		 "evil.example\",\"jwk\":{\"kty\":\"oct\",\"k\":\"AA\"},\"x5c\":[\"MII\"]}",
			ERR_OK},
		{"{\"alg\":\"ES256\",\"kid\":\"%s\",\"crit\":[\"exp\"]}", ERR_UNAUTHENTICATED},
		{"{\"alg\":\"ES256\",\"kid\":\"%s\",\"crit\":[]}", ERR_UNAUTHENTICATED},
		{"{\"alg\":\"ES256\",\"kid\":\"%s\",\"crit\":[\"b64\"],\"b64\":false}",
			ERR_UNAUTHENTICATED},
		{"{\"alg\":\"ES256\",\"kid\":\"%s\",\"cr\\u0069t\":null}", ERR_UNAUTHENTICATED},
		{"{\"alg\":\"ES256\",\"alg\":\"ES256\",\"kid\":\"%s\"}", ERR_UNAUTHENTICATED},
		{"{\"alg\":\"ES256\",\"a\\u006cg\":\"none\",\"kid\":\"%s\"}", ERR_UNAUTHENTICATED},
		{"{\"alg\":\"ES256\",\"kid\":\"x\",\"kid\":\"%s\"}", ERR_UNAUTHENTICATED},
		{"{\"alg\":\"es256\",\"kid\":\"%s\"}", ERR_UNAUTHENTICATED},
		{"{\"alg\":\"ES256 \",\"kid\":\"%s\"}", ERR_UNAUTHENTICATED},
		{"{\"alg\":\"ES256\\u0000\",\"kid\":\"%s\"}", ERR_UNAUTHENTICATED},
		{"{\"alg\":[\"ES256\"],\"kid\":\"%s\"}", ERR_UNAUTHENTICATED},
		{"{\"alg\":null,\"kid\":\"%s\"}", ERR_UNAUTHENTICATED},
		{"{\"kid\":\"%s\"}", ERR_UNAUTHENTICATED},
		{"{\"alg\":\"ES256\",\"kid\":\"%s\"}x", ERR_UNAUTHENTICATED},
		{"{\"alg\":\"ES256\",\"kid\":\"%s\",}", ERR_UNAUTHENTICATED},
		{"[\"alg\",\"ES256\",\"kid\",\"%s\"]", ERR_UNAUTHENTICATED},
		{"{\"alg\":\"ES256\",\"kid\":\"%s\",\"typ\":7}", ERR_UNAUTHENTICATED},
		{"{\"alg\":\"ES256\",\"kid\":\"%s\",\"typ\":\"a\\nb\"}", ERR_UNAUTHENTICATED},
		{"{\"alg\":\"ES256\",\"kid\":\"%s\",\"typ\":\"\xff\"}", ERR_UNAUTHENTICATED},
		{"{\"alg\":\"dir\",\"enc\":\"A128GCM\",\"kid\":\"%s\"}", ERR_UNAUTHENTICATED},
	};
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct buf header = BUF_INIT(4096);
		const char *at = strstr(rows[i].format, "%s");
		buf_add(&header, rows[i].format, (size_t)(at - rows[i].format));
		buf_adds(&header, str_of(kid));
		buf_adds(&header, str_of(at + 2));
		if (verdict(with_header(header.p)) != rows[i].err)
			fail_msg("%s: %s", header.p, why ? why : "passed");
		buf_free(&header);
	}
}

static void kids(void **state)
{
	(void)state;
	static const struct {
		const char *kid; /* as JSON */
		enum err err;
	} rows[] = {{"\"../../../../dev/null\"", ERR_NOT_FOUND},
		{"\"' UNION SELECT 'x'; --\"", ERR_NOT_FOUND}, {"\"%s%n\"", ERR_NOT_FOUND},
		{"\"\"", ERR_UNAUTHENTICATED}, {"null", ERR_UNAUTHENTICATED},
		{"0", ERR_UNAUTHENTICATED}, {"[\"a\"]", ERR_UNAUTHENTICATED},
		{"{}", ERR_UNAUTHENTICATED}, {"\"a\\u0000\"", ERR_UNAUTHENTICATED},
		{"\"a\\n\"", ERR_UNAUTHENTICATED}, {"\"\\ud800\"", ERR_UNAUTHENTICATED}};
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct buf header = BUF_INIT(4096);
		buf_addf(&header, "{\"alg\":\"ES256\",\"kid\":%s}", rows[i].kid);
		assert_int_equal(verdict(with_header(header.p)), rows[i].err);
		buf_free(&header);
	}
	/* the real kid with a NUL and more behind it */
	struct buf header = BUF_INIT(1 << 21);
	buf_addf(&header, "{\"alg\":\"ES256\",\"kid\":\"%s\\u0000x\"}", pairs[JWA_ES256].kid);
	assert_int_equal(verdict(with_header(header.p)), ERR_UNAUTHENTICATED);
	/* long ones */
	static const size_t sizes[] = {256, 257, 4000, 1 << 20};
	for (size_t i = 0; i < COUNT(sizes); i++) {
		buf_free(&header);
		buf_addf(&header, "{\"alg\":\"ES256\",\"kid\":\"%0*d\"}", (int)sizes[i], 7);
		assert_int_equal(verdict(with_header(header.p)),
			sizes[i] <= 256 ? ERR_NOT_FOUND : ERR_UNAUTHENTICATED);
	}
	buf_free(&header);
}

/* A token that names no key: fine only where there is no choice. */
static void no_kid(void **state)
{
	(void)state;
	struct keypair other;
	assert_int_equal(keypair_generate(JWA_ES256, &other), ERR_OK);
	const struct keypair *two[] = {&pairs[JWA_ES256], &other};
	struct jwk_set *both = made_set(two, 2), *empty = made_set(two, 0);
	struct buf token = with_header("{\"alg\":\"ES256\"}");
	assert_int_equal(check(buf_str(&token), set, jwa_default()), ERR_OK);
	assert_int_equal(check(buf_str(&token), both, jwa_default()), ERR_UNAUTHENTICATED);
	assert_int_equal(check(buf_str(&token), empty, jwa_default()), ERR_UNAUTHENTICATED);
	buf_free(&token);
	jwk_set_unref(&both);
	jwk_set_unref(&empty);
	keypair_finish(&other);
}

/* Each algorithm's signature under the name of each other. */
static void alg_confusion(void **state)
{
	(void)state;
	for (unsigned made = 0; made < JWA_HS256; made++) {
		for (unsigned said = 0; said < JWA_COUNT; said++) {
			bool same = made == said ||
				(jwa_info((enum jwa)made)->kind == JWK_ED25519 &&
					jwa_info((enum jwa)said)->kind == JWK_ED25519);
			struct buf token =
				signed_by((enum jwa)made, jwa_info((enum jwa)said)->word);
			enum err err = check(buf_str(&token), set, UINT32_MAX);
			assert_int_equal(err, same ? ERR_OK : ERR_UNAUTHENTICATED);
			buf_free(&token);
		}
	}
}

/* A key whose JWK names its alg does nothing else: RS256 is not PS256. */
static void key_bound_to_alg(void **state)
{
	(void)state;
	const struct keypair *one[] = {&pairs[JWA_RS256]};
	struct jwk_set *keys = made_set(one, 1);
	for (unsigned i = JWA_RS256; i <= JWA_PS512; i++) {
		struct buf token = signed_by((enum jwa)i, jwa_info((enum jwa)i)->word);
		assert_int_equal(check(buf_str(&token), keys, jwa_default()),
			i == JWA_RS256 ? ERR_OK : ERR_UNAUTHENTICATED);
		buf_free(&token);
	}
	jwk_set_unref(&keys);
}

/* r and s of 0, 1, n-1 and n, and signatures of other sizes and forms. */
static void ecdsa_edges(void **state)
{
	(void)state;
	static const char *const order =
		"FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551";
	struct buf header = made_header("ES256", "at+jwt", pairs[JWA_ES256].kid);
	unsigned char numbers[6][32] = {{0}}, der[1024];
	BIGNUM *n = NULL;
	BN_hex2bn(&n, order);
	numbers[1][31] = 1;
	BN_bn2binpad(n, numbers[3], 32);
	memcpy(numbers[2], numbers[3], 32);
	numbers[2][31]--;
	memcpy(numbers[4], numbers[3], 32);
	numbers[4][31]++;
	memset(numbers[5], 0xff, 32);
	BN_free(n);
	for (size_t i = 0; i < 36; i++) {
		struct buf token = made_unsigned(buf_str(&header), payload);
		unsigned char raw[64];
		memcpy(raw, numbers[i / 6], 32);
		memcpy(raw + 32, numbers[i % 6], 32);
		made_append(&token, raw, 64);
		assert_int_equal(verdict(token), ERR_UNAUTHENTICATED);
	}
	struct buf text = made_unsigned(buf_str(&header), payload);
	size_t der_n = sizeof(der);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, pairs[JWA_ES256].pkey);
	EVP_DigestSign(ctx, der, &der_n, (unsigned char *)text.p, text.n);
	EVP_MD_CTX_free(ctx);
	struct buf token = made_unsigned(buf_str(&header), payload);
	made_append(&token, der, der_n);
	assert_int_equal(verdict(token), ERR_UNAUTHENTICATED);
	size_t raw_n = made_raw_ecdsa(der, der_n, 32);
	memset(der + raw_n, 0, 64);
	for (size_t size = 1; size < 128; size++) {
		token = made_unsigned(buf_str(&header), payload);
		made_append(&token, der, size);
		assert_int_equal(verdict(token), size == 64 ? ERR_OK : ERR_UNAUTHENTICATED);
	}
	buf_free(&text);
	buf_free(&header);
}

/* PSS with any salt but the digest's size. */
static void pss_salts(void **state)
{
	(void)state;
	static const int salts[] = {0, 20, 31, 32, 33, 64, RSA_PSS_SALTLEN_MAX};
	struct buf header = made_header("PS256", "at+jwt", pairs[JWA_PS256].kid);
	for (size_t i = 0; i < COUNT(salts); i++) {
		struct buf token = made_unsigned(buf_str(&header), payload);
		unsigned char signature[1024];
		size_t n = sizeof(signature);
		EVP_PKEY_CTX *pctx;
		EVP_MD_CTX *ctx = EVP_MD_CTX_new();
		EVP_DigestSignInit(ctx, &pctx, EVP_sha256(), NULL, pairs[JWA_PS256].pkey);
		EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING);
		EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, salts[i]);
		EVP_DigestSign(ctx, signature, &n, (unsigned char *)token.p, token.n);
		EVP_MD_CTX_free(ctx);
		made_append(&token, signature, n);
		assert_int_equal(verdict(token), salts[i] == 32 ? ERR_OK : ERR_UNAUTHENTICATED);
	}
	buf_free(&header);
}

static struct buf pem_of(EVP_PKEY *pkey, bool private)
{
	struct buf b = BUF_INIT(1 << 16);
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	if (private)
		PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL);
	else
		PEM_write_bio_PUBKEY(bio, pkey);
	buf_add(&b, text, (size_t)BIO_get_mem_data(bio, &text));
	BIO_free(bio);
	return b;
}

/* libjwt signs, we check; we sign, libjwt checks. It takes no typ but JWT. */
static void libjwt_agrees(void **state)
{
	(void)state;
	static const struct {
		enum jwa alg;
		jwt_alg_t theirs;
	} rows[] = {{JWA_RS256, JWT_ALG_RS256}, {JWA_RS384, JWT_ALG_RS384},
		{JWA_RS512, JWT_ALG_RS512}, {JWA_ES256, JWT_ALG_ES256}, {JWA_ES384, JWT_ALG_ES384},
		{JWA_ES512, JWT_ALG_ES512}};
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct keypair *pair = &pairs[rows[i].alg];
		struct buf private = pem_of(pair->pkey, true), public = pem_of(pair->pkey, false);
		jwt_t *jwt;
		assert_int_equal(jwt_new(&jwt), 0);
		jwt_set_alg(jwt, rows[i].theirs, (unsigned char *)private.p, (int)private.n);
		jwt_add_grant(jwt, "sub", "ann");
		jwt_add_header(jwt, "kid", pair->kid);
		char *text = jwt_encode_str(jwt);
		assert_non_null(text);
		assert_int_equal(check(str_of(text), set, JWA_BIT(rows[i].alg)), ERR_OK);
		assert_true(str_is(jws.typ, "JWT"));
		free(text);
		jwt_free(jwt);
		struct buf own = BUF_INIT(JWS_MAX);
		assert_int_equal(jws_sign(pair, "JWT", payload, &own), ERR_OK);
		assert_int_equal(
			jwt_decode(&jwt, own.p, (unsigned char *)public.p, (int)public.n), 0);
		assert_string_equal(jwt_get_grant(jwt, "sub"), "ann");
		jwt_free(jwt);
		buf_free(&own);
		buf_free(&private);
		buf_free(&public);
	}
}

/* On a stack as small as a thread may have here. */
static void *on_small_stack(void *arg)
{
	struct jws *own = malloc(sizeof(*own));
	struct buf *token = arg;
	enum err err = jws_parse(buf_str(token), own, &why);
	err = err ? err : jws_verify(own, set, jwa_default(), &why);
	free(own);
	return err ? arg : NULL;
}

static void small_stack(void **state)
{
	(void)state;
	struct buf token = signed_by(JWA_RS256, "RS256");
	pthread_attr_t attr;
	pthread_t thread;
	void *failed;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 * 1024);
	assert_int_equal(pthread_create(&thread, &attr, on_small_stack, &token), 0);
	pthread_join(thread, &failed);
	assert_null(failed);
	pthread_attr_destroy(&attr);
	buf_free(&token);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(b64url_round_trip),
		cmocka_unit_test(b64url_is_strict),
		cmocka_unit_test(algorithms),
		cmocka_unit_test(each_algorithm),
		cmocka_unit_test(secrets),
		cmocka_unit_test(hmac_with_public_key),
		cmocka_unit_test(unsigned_tokens),
		cmocka_unit_test(malformed),
		cmocka_unit_test(each_digit_counts),
		cmocka_unit_test(too_large),
		cmocka_unit_test(headers),
		cmocka_unit_test(kids),
		cmocka_unit_test(no_kid),
		cmocka_unit_test(alg_confusion),
		cmocka_unit_test(key_bound_to_alg),
		cmocka_unit_test(ecdsa_edges),
		cmocka_unit_test(pss_salts),
		cmocka_unit_test(libjwt_agrees),
		cmocka_unit_test(small_stack),
	};
	return cmocka_run_group_tests(tests, make_keys, free_keys);
}
