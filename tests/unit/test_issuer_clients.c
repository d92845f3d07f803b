/* How clients prove themselves at the embedded issuer: by a key of their own (RFC 7523), and by nothing
 * that only looks like one. */
#include "auth/b64url.h"
#include "auth/jws.h"
#include "auth/server/device.h"
#include "auth/server/secret.h"

#include "issuer_fixture.h"

#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <time.h>

#define ASSERTION_TYPE "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

static struct keypair own_key, other_key;
static char client_id[64], other_id[64], secret_id[64], secret[64];

static void add_client(const struct keypair *pair, const char *grants, char *ret_id)
{
	struct buf params = BUF_INIT(8192);
	struct json_out o = JSON_OUT(&params);
	json_open(&o, NULL, '{');
	json_text(&o, "name", "signer");
	json_raw(&o, "grants", str_of(grants));
	if (pair) {
		json_open(&o, "jwks", '{');
		json_open(&o, "keys", '[');
		assert_int_equal(keypair_publish(pair, &o), ERR_OK);
		json_close(&o, ']');
		json_close(&o, '}');
	}
	json_close(&o, '}');
	assert_int_equal(run_method("client.add", params.p), ERR_OK);
	buf_free(&params);
	snprintf(ret_id, 64, "%s", member("client_id"));
}

static int begin_clients(void **state)
{
	if (begin_tests(state))
		return -1;
	assert_int_equal(keypair_generate(JWA_ES256, &own_key), ERR_OK);
	assert_int_equal(keypair_generate(JWA_RS256, &other_key), ERR_OK);
	add_client(&own_key, "[\"client_credentials\",\"device_code\"]", client_id);
	assert_null(strstr(reply.body, "client_secret"));
	add_client(&other_key, "[\"client_credentials\"]", other_id);
	add_client(NULL, "[\"client_credentials\"]", secret_id);
	snprintf(secret, sizeof(secret), "%s", member("client_secret"));
	return 0;
}

static int end_clients(void **state)
{
	keypair_finish(&own_key);
	keypair_finish(&other_key);
	return end_tests(state);
}

/* ---- assertions ---- */

/* What is wrong with an assertion, piece by piece; the rest is right. */
struct wishes {
	const char *iss, *sub, *aud, *jti; /* aud: as JSON */
	int64_t exp, nbf, iat;
	bool without_exp, without_jti;
	const struct keypair *key;
};

static int made; /* so that each jti is a new one */

static void write_claims(const struct wishes *w, struct buf *b)
{
	struct json_out o = JSON_OUT(b);
	char jti[32];
	snprintf(jti, sizeof(jti), "jti %d", ++made);
	json_open(&o, NULL, '{');
	json_text(&o, "iss", w->iss ? w->iss : client_id);
	json_text(&o, "sub", w->sub ? w->sub : client_id);
	json_raw(&o, "aud", str_of(w->aud ? w->aud : "\"" ISSUER_URL "\""));
	if (!w->without_jti)
		json_text(&o, "jti", w->jti ? w->jti : jti);
	if (!w->without_exp)
		json_int(&o, "exp", time(NULL) + (w->exp ? w->exp : 60));
	if (w->nbf)
		json_int(&o, "nbf", time(NULL) + w->nbf);
	json_int(&o, "iat", time(NULL) + w->iat);
	json_close(&o, '}');
}

static const char *assertion(const struct wishes *w)
{
	static char text[JWS_MAX + 1];
	struct buf payload = BUF_INIT(4096), token = BUF_INIT(JWS_MAX);
	write_claims(w, &payload);
	assert_int_equal(jws_sign(w->key ? w->key : &own_key, "JWT", buf_str(&payload), &token), 0);
	memcpy(text, token.p, token.n);
	text[token.n] = 0;
	buf_free(&payload);
	buf_free(&token);
	return text;
}

static int prove(const char *path, const char *text, const char *more)
{
	struct buf b = BUF_INIT(2 * JWS_MAX);
	buf_addf(&b,
		"grant_type=client_credentials&client_assertion_type=" ASSERTION_TYPE
		"&client_assertion=%s%s",
		text, more);
	int status = send_request(HTTP_POST, path, .body = b.p);
	buf_free(&b);
	return status;
}

static void a_key_proves_a_client(void **state)
{
	(void)state;
	static const char *const audiences[] = {"\"" ISSUER_URL "\"",
		"\"" ISSUER_URL "/oauth/token\"", "[\"" ISSUER_URL "\"]",
		"[\"" ISSUER_URL "\",\"" ISSUER_URL "/oauth/token\"]"};
	char more[100];
	for (size_t i = 0; i < sizeof(audiences) / sizeof(*audiences); i++) {
		const char *text = assertion(&(struct wishes){.aud = audiences[i]});
		if (prove("/oauth/token", text, "") != 200)
			fail_msg("%s: %s", audiences[i], reply.body);
	}
	snprintf(more, sizeof(more), "&client_id=%s", client_id);
	assert_int_equal(prove("/oauth/token", assertion(&(struct wishes){0}), more), 200);
	struct wishes rs = {.iss = other_id, .sub = other_id, .key = &other_key};
	assert_int_equal(prove("/oauth/token", assertion(&rs), ""), 200);
	/* the address of the endpoint that is asked is an audience, that of another one is not */
	struct wishes device = {.aud = "\"" ISSUER_URL "/oauth/device_authorization\""};
	assert_int_equal(prove("/oauth/device_authorization", assertion(&device), ""), 200);
	assert_int_equal(prove("/oauth/token", assertion(&device), ""), 401);
}

static void an_assertion_is_good_once(void **state)
{
	(void)state;
	char text[JWS_MAX + 1];
	snprintf(text, sizeof(text), "%s", assertion(&(struct wishes){0}));
	assert_int_equal(prove("/oauth/token", text, ""), 200);
	assert_int_equal(prove("/oauth/token", text, ""), 401);
	assert_int_equal(prove("/oauth/device_authorization", text, ""), 401);
	/* nor is its jti under another signature; but another client may have the same */
	assert_int_equal(
		prove("/oauth/token", assertion(&(struct wishes){.jti = "same"}), ""), 200);
	assert_int_equal(
		prove("/oauth/token", assertion(&(struct wishes){.jti = "same"}), ""), 401);
	struct wishes other = {.iss = other_id, .sub = other_id, .key = &other_key, .jti = "same"};
	assert_int_equal(prove("/oauth/token", assertion(&other), ""), 200);
	stop_issuer();
	start_issuer(true, NULL);
	assert_int_equal(prove("/oauth/token", text, ""), 401); /* not after a restart, either */
}

static void wrong_assertions_prove_nothing(void **state)
{
	(void)state;
	const struct wishes rows[] = {
		{.aud = "\"https://elsewhere.example\""},
		{.aud = "[\"" ISSUER_URL "\",\"https://elsewhere.example\"]"},
		{.aud = "\"" ISSUER_URL ".elsewhere.example\""},
		{.aud = "\"" ISSUER_URL "/\""},
		{.aud = "[]"},
		{.aud = "7"},
		{.exp = -1},
		{.exp = 3700},
		{.without_exp = true},
		{.without_jti = true},
		{.jti = ""},
		{.nbf = 40},
		{.iat = 40},
		{.iss = "_nobody", .sub = "_nobody"},
		{.sub = other_id},
		{.iss = other_id},
		{.iss = other_id, .sub = other_id}, /* signed by the wrong client */
		{.key = &other_key},
		{.iss = secret_id, .sub = secret_id}, /* has no keys */
		{.iss = "demo", .sub = "demo"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (prove("/oauth/token", assertion(&rows[i]), "") != 401 ||
			strcmp(member("error"), "invalid_client") != 0)
			fail_msg("row %zu: %d %s", i, reply.status, reply.body);
	char text[JWS_MAX + 1];
	snprintf(text, sizeof(text), "%s", assertion(&(struct wishes){0}));
	text[strlen(text) - 2] ^= 1;
	assert_int_equal(prove("/oauth/token", text, ""), 401);
	assert_int_equal(prove("/oauth/token", "a.b.c", ""), 401);
}

/* header.payload signed with HMAC by what is public about the client's key, or by nothing at all. */
static const char *forged(const char *header, struct str mac_key)
{
	static char text[JWS_MAX + 1];
	struct buf payload = BUF_INIT(4096), b = BUF_INIT(JWS_MAX);
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	write_claims(&(struct wishes){0}, &payload);
	b64url_add(&b, header, strlen(header));
	buf_addc(&b, '.');
	b64url_add(&b, payload.p, payload.n);
	if (mac_key.n)
		HMAC(EVP_sha256(), mac_key.p, (int)mac_key.n, (unsigned char *)b.p, b.n, mac, &n);
	buf_addc(&b, '.');
	b64url_add(&b, mac, n);
	memcpy(text, b.p, b.n);
	text[b.n] = 0;
	buf_free(&payload);
	buf_free(&b);
	return text;
}

static void nobody_chooses_the_algorithm(void **state)
{
	(void)state;
	char *pem = NULL, header[256];
	BIO *memory = BIO_new(BIO_s_mem());
	assert_int_equal(PEM_write_bio_PUBKEY(memory, own_key.pkey), 1);
	long n = BIO_get_mem_data(memory, &pem);
	struct str key = {pem, (size_t)n};
	static const char *const algs[] = {"HS256", "none", "None", "ES256"};
	for (size_t i = 0; i < sizeof(algs) / sizeof(*algs); i++) {
		snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"kid\":\"%s\"}", algs[i],
			own_key.kid);
		struct str none = {"", 0};
		assert_int_equal(prove("/oauth/token", forged(header, key), ""), 401);
		assert_int_equal(prove("/oauth/token", forged(header, none), ""), 401);
		snprintf(header, sizeof(header), "{\"alg\":\"%s\"}", algs[i]);
		assert_int_equal(prove("/oauth/token", forged(header, key), ""), 401);
	}
	BIO_free(memory);
}

static void one_way_only(void **state)
{
	(void)state;
	char more[200], text[JWS_MAX + 1], body[512];
	snprintf(more, sizeof(more), "&client_secret=%s", secret);
	assert_int_equal(prove("/oauth/token", assertion(&(struct wishes){0}), more), 400);
	assert_string_equal(member("error"), "invalid_request");
	snprintf(more, sizeof(more), "&client_id=%s", other_id);
	assert_int_equal(prove("/oauth/token", assertion(&(struct wishes){0}), more), 401);
	snprintf(text, sizeof(text), "%s", assertion(&(struct wishes){0}));
	assert_int_equal(prove("/oauth/token", text, "&client_assertion=x"), 400);
	snprintf(body, sizeof(body), "grant_type=client_credentials&client_id=%s", client_id);
	assert_int_equal(send_request(HTTP_POST, "/oauth/token", .body = body), 401);
	snprintf(body, sizeof(body), "grant_type=client_credentials&client_id=%s&client_secret=%s",
		client_id, secret);
	assert_int_equal(send_request(HTTP_POST, "/oauth/token", .body = body), 401);
	snprintf(body, sizeof(body), "grant_type=client_credentials&client_assertion=x");
	assert_int_equal(send_request(HTTP_POST, "/oauth/token", .body = body), 400);
	snprintf(body, sizeof(body),
		"grant_type=client_credentials&client_id=%s&client_assertion_type=" ASSERTION_TYPE,
		client_id);
	assert_int_equal(send_request(HTTP_POST, "/oauth/token", .body = body), 400);
	assert_int_equal(prove("/oauth/token", text, ""), 200); /* none of that spent it */
}

static void keys_are_looked_at_when_they_are_registered(void **state)
{
	(void)state;
	static const struct {
		const char *params;
		enum err err;
	} rows[] = {
		{"\"jwks\":{}", ERR_PARAMS},
		{"\"jwks\":{\"keys\":[]}", ERR_PARAMS},
		{"\"jwks\":{\"keys\":[{\"kty\":\"oct\",\"k\":"
		 "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]}",
			ERR_PARAMS},
		{"\"jwks\":{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":"
		 "\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\",\"d\":"
		 "\"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\"}]}",
			ERR_PARAMS},
		{"\"jwks\":{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":"
		 "\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]},\"public\":true",
			ERR_PARAMS},
		{"\"jwks\":{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":"
		 "\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}",
			ERR_OK},
		{"\"id_token_alg\":\"HS256\"", ERR_PARAMS},
		{"\"id_token_alg\":\"RS256\"", ERR_OK},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char params[1024];
		snprintf(params, sizeof(params), "{\"name\":\"x\",\"grants\":[\"device_code\"],%s}",
			rows[i].params);
		if (run_method("client.add", params) != rows[i].err)
			fail_msg("row %zu: %s", i, reply.body);
	}
}

/* ---- user codes ---- */

static void user_codes_are_read_as_people_type(void **state)
{
	(void)state;
	static const char *const good[] = {
		"BCDF-GHJK", "bcdfghjk", " bcdf ghjk ", "b.c.d.f.g.h.j.k", "BCDF\xe2\x80\x93GHJK"};
	static const char *const bad[] = {"", "BCDF-GHJ", "BCDF-GHJKL", "ACDF-GHJK", "BCDF-GHJY"};
	char letters[USER_CODE_LETTERS + 1], shown[USER_CODE_SHOWN + 1];
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_true(user_code_read(str_of(good[i]), letters));
		assert_string_equal(letters, "BCDFGHJK");
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(user_code_read(str_of(bad[i]), letters));
	user_code_show("BCDFGHJK", shown);
	assert_string_equal(shown, "BCDF-GHJK");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_key_proves_a_client),
		cmocka_unit_test(an_assertion_is_good_once),
		cmocka_unit_test(wrong_assertions_prove_nothing),
		cmocka_unit_test(nobody_chooses_the_algorithm),
		cmocka_unit_test(one_way_only),
		cmocka_unit_test(keys_are_looked_at_when_they_are_registered),
		cmocka_unit_test(user_codes_are_read_as_people_type),
	};
	return cmocka_run_group_tests_name("issuer: clients", tests, begin_clients, end_clients);
}
