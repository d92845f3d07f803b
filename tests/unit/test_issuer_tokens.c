/* What can be done with the issuer's tokens: taken back, asked about, shown to userinfo; and how a
 * device gets one. */
#include "issuer_tokens.h"

static char secret_id[64], secret[64], other_id[64], other_secret[64];

static void add_client(const char *grants, char *ret_id, char *ret_secret)
{
	char params[512];
	snprintf(params, sizeof(params),
		"{\"name\":\"x\",\"grants\":[%s],\"redirect_uris\":[\"" DEMO_URI "\"]}", grants);
	assert_int_equal(run_method("client.add", params), ERR_OK);
	snprintf(ret_id, 64, "%s", member("client_id"));
	snprintf(ret_secret, 64, "%s", member("client_secret"));
}

static int begin_tokens(void **state)
{
	if (begin_tests(state))
		return -1;
	assert_int_equal(
		run_method("user.add", "{\"name\":\"ann\",\"display_name\":\"Ann \\\"A\\\"\"}"),
		ERR_OK);
	add_client("\"authorization_code\",\"refresh_token\",\"client_credentials\","
		   "\"device_code\"",
		secret_id, secret);
	add_client("\"client_credentials\",\"device_code\"", other_id, other_secret);
	return 0;
}

/* Sends a token to an endpoint, as a client with a secret (NULL: a public one). */
static int show(const char *path, const char *id, const char *with, const char *token)
{
	char more[256];
	snprintf(more, sizeof(more), "client_id=%s%s%s", id, with ? "&client_secret=" : "",
		with ? with : "");
	return post_form(path, more, "token", token);
}

static bool is_active(const char *token)
{
	assert_int_equal(show("/oauth/introspect", secret_id, secret, token), 200);
	bool active = strcmp(member("active"), "true") == 0;
	if (!active)
		assert_string_equal(reply.body, "{\"active\":false}");
	return active;
}

struct pair {
	char refresh[REFRESH_TOKEN_TEXT + 1], access[TOKEN_MAX_BYTES], id[TOKEN_MAX_BYTES];
};

static void sign_in(const char *id, const char *with, const char *scope, struct pair *ret_pair)
{
	char code[SECRET_TEXT + 1], more[512];
	make_code(id, "ann", scope, code);
	snprintf(more, sizeof(more),
		"grant_type=authorization_code&client_id=%s&code_verifier=" VERIFIER
		"&redirect_uri=" DEMO_URI "%s%s",
		id, with ? "&client_secret=" : "", with ? with : "");
	assert_int_equal(post_form("/oauth/token", more, "code", code), 200);
	snprintf(ret_pair->refresh, sizeof(ret_pair->refresh), "%s", member("refresh_token"));
	snprintf(ret_pair->access, sizeof(ret_pair->access), "%s", member("access_token"));
	snprintf(ret_pair->id, sizeof(ret_pair->id), "%s", member("id_token"));
}

static void the_documents_say_what_can_be_done(void **state)
{
	(void)state;
	assert_int_equal(get("/.well-known/openid-configuration", NULL), 200);
	assert_string_equal(member("grant_types_supported"),
		"[\"authorization_code\",\"refresh_token\",\"client_credentials\","
		"\"urn:ietf:params:oauth:grant-type:device_code\"]");
	assert_string_equal(
		member("id_token_signing_alg_values_supported"), "[\"ES256\",\"RS256\"]");
	assert_string_equal(member("introspection_endpoint_auth_methods_supported"),
		"[\"client_secret_basic\",\"client_secret_post\",\"private_key_jwt\"]");
	assert_null(strstr(member("token_endpoint_auth_signing_alg_values_supported"), "HS256"));
}

/* ---- the first moment of a new store ---- */

/* Takes place and its files away again. */
static void end_new_store(const char *usual)
{
	static const char *const ends[] = {"", "-wal", "-shm"};
	char path[600];
	stop_issuer();
	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
		snprintf(path, sizeof(path), "%s%s", place, ends[i]);
		unlink(path);
	}
	snprintf(place, sizeof(place), "%s", usual);
	start_issuer(true, NULL);
}

/* Whoever asks for the keys waits for all of them; when one cannot be made, they hear so and may ask again. */
static void nobody_is_given_half_of_the_keys(void **state)
{
	(void)state;
	/* the first key and the first two readings are the start's */
	static const char *const plans[] = {
		"SIGNING_KEY_ADD:2:internal", "SIGNING_KEYS:3:internal"};
	char usual[sizeof(place)];
	memcpy(usual, place, sizeof(usual));
	for (size_t i = 0; i < sizeof(plans) / sizeof(*plans); i++) {
		stop_issuer();
		snprintf(place, sizeof(place), "%s/new.db", folder);
		start_issuer(true, plans[i]);
		assert_null(strstr(issuer_jwks().p, "RS256"));
		size_t before = reply.count;
		begin_it(&(struct sent){.verb = HTTP_GET, .path = "/oauth/jwks"});
		assert_int_equal(reply.count, before);
		log_configure(LOG_ERROR + 1, false, 2);
		lone_run_until(&reply.count, before + 1);
		log_configure(LOG_ERROR, false, 2);
		assert_int_equal(reply.status, 503);
		assert_string_equal(header("Retry-After"), "5");
		assert_int_equal(get("/oauth/jwks", NULL), 200);
		assert_non_null(strstr(reply.body, "ES256"));
		const char *made = strstr(reply.body, "RS256");
		assert_non_null(made);
		assert_null(strstr(made + 1, "RS256")); /* nor is one made again that is there */
		end_new_store(usual);
	}
}

/* ---- introspect ---- */

static void what_a_token_is(void **state)
{
	(void)state;
	struct pair p;
	sign_in("demo", NULL, "openid offline_access rooms:join", &p);
	assert_true(is_active(p.access));
	assert_string_equal(member("sub"), "ann");
	assert_string_equal(member("username"), "ann");
	assert_string_equal(member("client_id"), "demo");
	assert_string_equal(member("scope"), "openid offline_access rooms:join");
	assert_string_equal(member("iss"), ISSUER_URL);
	assert_string_equal(member("aud"), ISSUER_URL);
	assert_string_equal(member("token_type"), "Bearer");
	assert_int_equal(strtol(member("exp"), NULL, 10), time(NULL) + 3600);
	assert_int_equal(strlen(member("jti")), 32);
	assert_int_equal(strlen(member("sid")), 32);
	assert_false(is_active(p.refresh)); /* another client's refresh token */
	assert_false(is_active(p.id));
	assert_false(is_active("nonsense"));
	p.access[strlen(p.access) - 2] ^= 1;
	assert_false(is_active(p.access));
	sign_in(secret_id, secret, "offline_access rooms:join", &p);
	assert_true(is_active(p.refresh));
	assert_string_equal(member("username"), "ann");
	assert_int_equal(strtol(member("exp"), NULL, 10), time(NULL) + REFRESH_TOKEN_IDLE);
	ahead += 3600;
	assert_false(is_active(p.access));
	assert_true(is_active(p.refresh));
	ahead += REFRESH_TOKEN_IDLE;
	assert_false(is_active(p.refresh));
}

static void only_a_proven_client_may_ask(void **state)
{
	(void)state;
	struct pair p;
	sign_in("demo", NULL, "openid", &p);
	assert_int_equal(show("/oauth/introspect", "demo", NULL, p.access), 401);
	assert_int_equal(show("/oauth/introspect", secret_id, NULL, p.access), 401);
	assert_int_equal(show("/oauth/introspect", secret_id, other_secret, p.access), 401);
	assert_int_equal(show("/oauth/introspect", "_nobody", "x", p.access), 401);
	assert_string_equal(member("error"), "invalid_client");
	assert_int_equal(show("/oauth/introspect", secret_id, secret, ""), 400);
}

static void a_rotated_token_is_active_as_long_as_it_works(void **state)
{
	(void)state;
	struct pair p;
	char more[128], next[REFRESH_TOKEN_TEXT + 1];
	snprintf(more, sizeof(more), "&client_secret=%s", secret);
	sign_in(secret_id, secret, "offline_access rooms:join", &p);
	assert_int_equal(refresh(secret_id, p.refresh, more), 200);
	snprintf(next, sizeof(next), "%s", member("refresh_token"));
	assert_true(is_active(next));
	assert_true(is_active(p.refresh));
	ahead += REFRESH_GRACE + 1;
	assert_false(is_active(p.refresh));
	assert_true(is_active(next)); /* asking is no use */
}

/* ---- revoke ---- */

static void revoking_a_refresh_token_ends_the_sign_in(void **state)
{
	(void)state;
	struct pair p;
	sign_in("demo", NULL, "openid offline_access", &p);
	assert_int_equal(userinfo(p.access), 200);
	assert_int_equal(show("/oauth/revoke", "demo", NULL, p.refresh), 200);
	assert_string_equal(reply.body, "");
	assert_int_equal(userinfo(p.access), 401);
	assert_false(is_active(p.access));
	assert_int_equal(refresh("demo", p.refresh, ""), 400);
	assert_int_equal(show("/oauth/revoke", "demo", NULL, p.refresh), 200); /* again */
}

static void revoking_an_access_token_ends_that_alone(void **state)
{
	(void)state;
	struct pair p;
	char second[TOKEN_MAX_BYTES];
	sign_in("demo", NULL, "openid offline_access", &p);
	assert_int_equal(refresh("demo", p.refresh, ""), 200);
	snprintf(second, sizeof(second), "%s", member("access_token"));
	assert_int_equal(show("/oauth/revoke", "demo", NULL, p.access), 200);
	assert_int_equal(userinfo(p.access), 401);
	assert_int_equal(userinfo(second), 200);
	assert_int_equal(refresh("demo", p.refresh, ""), 200);
}

static void nobody_revokes_what_is_another_clients(void **state)
{
	(void)state;
	struct pair p;
	sign_in("demo", NULL, "openid offline_access", &p);
	assert_int_equal(show("/oauth/revoke", secret_id, secret, p.refresh), 400);
	assert_string_equal(member("error"), "unauthorized_client");
	assert_int_equal(show("/oauth/revoke", secret_id, secret, p.access), 400);
	assert_int_equal(show("/oauth/revoke", secret_id, NULL, p.access), 401);
	assert_int_equal(show("/oauth/revoke", "demo", NULL, "unknown"), 200);
	assert_int_equal(show("/oauth/revoke", "demo", NULL, ""), 400);
	assert_int_equal(userinfo(p.access), 200);
	assert_int_equal(refresh("demo", p.refresh, ""), 200);
}

/* ---- userinfo ---- */

static void who_somebody_is(void **state)
{
	(void)state;
	struct pair p;
	char text[TOKEN_MAX_BYTES + 16];
	sign_in("demo", NULL, "openid", &p);
	assert_int_equal(userinfo(p.access), 200);
	assert_string_equal(reply.body, "{\"sub\":\"ann\"}");
	sign_in("demo", NULL, "openid profile", &p);
	assert_int_equal(userinfo(p.access), 200);
	assert_string_equal(member("name"), "Ann \"A\"");
	assert_string_equal(member("preferred_username"), "ann");
	assert_int_equal(post_form("/oauth/userinfo", "", "access_token", p.access), 200);
	assert_string_equal(member("sub"), "ann");
	assert_int_equal(userinfo(p.id), 401);
	assert_non_null(strstr(header("WWW-Authenticate"), "error=\"invalid_token\""));
	assert_int_equal(get("/oauth/userinfo", ""), 401);
	assert_null(strstr(header("WWW-Authenticate"), "error"));
	snprintf(text, sizeof(text), "access_token=%s", p.access);
	assert_int_equal(get("/oauth/userinfo", text), 401); /* never out of an address */
	snprintf(text, sizeof(text), "Bearer %s", p.access);
	assert_int_equal(send_request(HTTP_POST, "/oauth/userinfo", .authorization = text,
				 .body = "access_token=x"),
		400);
	sign_in("demo", NULL, "profile rooms:join", &p);
	assert_int_equal(userinfo(p.access), 403);
	assert_non_null(strstr(header("WWW-Authenticate"), "error=\"insufficient_scope\""));
}

static void a_token_for_elsewhere_tells_nothing_here(void **state)
{
	(void)state;
	assert_int_equal(run_method("token.mint",
				 "{\"user\":\"ann\",\"scope\":\"openid\","
				 "\"audience\":\"https://elsewhere.example\"}"),
		ERR_OK);
	assert_int_equal(userinfo(member("token")), 401);
	assert_int_equal(
		run_method("token.mint", "{\"user\":\"ann\",\"scope\":\"openid\"}"), ERR_OK);
	assert_int_equal(userinfo(member("token")), 200);
}

static void id_tokens_are_signed_as_registered(void **state)
{
	(void)state;
	struct pair p;
	struct jws jws;
	const char *why;
	char id[64];
	assert_int_equal(run_method("client.add",
				 "{\"name\":\"x\",\"grants\":[\"authorization_code\"],\"public\":"
				 "true,\"redirect_uris\":[\"" DEMO_URI "\"],\"id_token_alg\":"
				 "\"RS256\"}"),
		ERR_OK);
	snprintf(id, sizeof(id), "%s", member("client_id"));
	struct jwk_set *keys;
	assert_int_equal(jwk_set_parse(issuer_jwks(), &keys, &why), ERR_OK);
	sign_in(id, NULL, "openid", &p);
	assert_int_equal(jws_parse(str_of(p.id), &jws, &why), ERR_OK);
	assert_int_equal(jws.alg, JWA_RS256);
	assert_int_equal(jws_verify(&jws, keys, JWA_BIT(JWA_RS256), &why), ERR_OK);
	sign_in("demo", NULL, "openid", &p);
	assert_int_equal(jws_parse(str_of(p.id), &jws, &why), ERR_OK);
	assert_int_equal(jws.alg, JWA_ES256);
	assert_int_equal(jws_verify(&jws, keys, JWA_BIT(JWA_ES256), &why), ERR_OK);
	jwk_set_unref(&keys);
}

/* ---- devices ---- */

static char device_code[64], user_code[16];

static int begin_device(const char *id, const char *with, const char *more)
{
	char fields[256];
	snprintf(fields, sizeof(fields), "client_secret=%s%s", with, more);
	int status = post_form("/oauth/device_authorization", fields, "client_id", id);
	if (status == 200) {
		snprintf(device_code, sizeof(device_code), "%s", member("device_code"));
		snprintf(user_code, sizeof(user_code), "%s", member("user_code"));
	}
	return status;
}

static const char *ask(const char *id, const char *with)
{
	char more[256];
	snprintf(more, sizeof(more),
		"grant_type=urn:ietf:params:oauth:grant-type:device_code&client_id=%s"
		"&client_secret=%s",
		id, with);
	int status = post_form("/oauth/token", more, "device_code", device_code);
	return status == 200 ? "" : member("error");
}

static enum err decide(bool yes)
{
	char letters[USER_CODE_LETTERS + 1];
	unsigned char hash[SECRET_HASH];
	assert_true(user_code_read(str_of(user_code), letters));
	user_code_hash(letters, hash);
	struct store_value code = STORE_BLOB(((struct str){(char *)hash, sizeof(hash)}));
	struct store_op *op = yes
		? store_ask_now(STORE_DEVICE_APPROVE, code, STORE_TEXT(STR("ann")),
			  STORE_TEXT(STR("0123456789abcdef0123456789abcdef")),
			  STORE_TEXT(STR("openid offline_access rooms:join")),
			  STORE_INT(time(NULL)), STORE_NULL, STORE_INT(time(NULL)),
			  STORE_TEXT(STR("")), STORE_TEXT(STR("")), STORE_INT(3600), STORE_END)
		: store_ask_now(STORE_DEVICE_DENY, code, STORE_INT(time(NULL)), STORE_END);
	enum err err = op->err;
	store_op_free(&op);
	return err;
}

static void a_device_waits_for_a_person(void **state)
{
	(void)state;
	assert_int_equal(begin_device(secret_id, secret, "&scope=openid+offline_access"), 200);
	assert_string_equal(member("verification_uri"), ISSUER_URL "/oauth/device");
	assert_string_equal(member("interval"), "5");
	assert_string_equal(member("expires_in"), "600");
	assert_int_equal(strlen(user_code), USER_CODE_SHOWN);
	assert_non_null(strstr(member("verification_uri_complete"), user_code));
	assert_string_equal(ask(secret_id, secret), "authorization_pending");
	assert_string_equal(ask(secret_id, secret), "slow_down");
	ahead += 6; /* it would have been enough before */
	assert_string_equal(ask(secret_id, secret), "slow_down");
	ahead += 15;
	assert_string_equal(ask(secret_id, secret), "authorization_pending");
	assert_string_equal(ask(other_id, other_secret), "invalid_grant"); /* not its code */
	assert_int_equal(decide(true), ERR_OK);
	assert_int_equal(decide(false), ERR_NOT_FOUND); /* once */
	ahead += 15;
	assert_string_equal(ask(other_id, other_secret), "invalid_grant");
	assert_string_equal(ask(secret_id, secret), "");
	assert_true(*member("refresh_token"));
	assert_true(*member("id_token"));
	assert_int_equal(userinfo(member("access_token")), 200);
	ahead += 15;
	assert_string_equal(ask(secret_id, secret), "invalid_grant"); /* once */
}

static void a_person_can_say_no_or_nothing(void **state)
{
	(void)state;
	assert_int_equal(begin_device(secret_id, secret, ""), 200);
	assert_int_equal(decide(false), ERR_OK);
	assert_int_equal(decide(true), ERR_NOT_FOUND);
	assert_string_equal(ask(secret_id, secret), "access_denied");
	assert_int_equal(begin_device(secret_id, secret, ""), 200);
	ahead += DEVICE_CODE_LIFETIME;
	assert_string_equal(ask(secret_id, secret), "expired_token");
	assert_int_equal(decide(true), ERR_NOT_FOUND);
}

static void device_requests_are_refused(void **state)
{
	(void)state;
	assert_int_equal(begin_device(secret_id, secret, "&scope=admin"), 400);
	assert_string_equal(member("error"), "invalid_scope");
	assert_int_equal(begin_device("demo", "", ""), 400);
	assert_string_equal(member("error"), "unauthorized_client");
	assert_int_equal(begin_device(secret_id, "x", ""), 401);
	ahead += 3600;
	for (int i = 0; i < DEVICE_WAITING_MAX; i++)
		assert_int_equal(begin_device(secret_id, secret, ""), 200);
	assert_int_equal(begin_device(secret_id, secret, ""), 429);
	ahead += DEVICE_CODE_LIFETIME;
	assert_int_equal(begin_device(secret_id, secret, ""), 200);
}

/* ---- trouble ---- */

/* What is asked while the store cannot answer is refused as a passing thing, and nothing is lost by it. */
static void a_failing_store_costs_nobody_a_sign_in(void **state)
{
	(void)state;
	static const char *const plans[] = {"GRANT_REFRESH:1:internal", "commit:1:internal",
		"GRANT_REFRESH:1:commit", "CLIENT_GET:1:overloaded"};
	struct pair p;
	char more[128], token[REFRESH_TOKEN_TEXT + 1];
	snprintf(more, sizeof(more), "&client_secret=%s", secret);
	sign_in(secret_id, secret, "openid offline_access", &p);
	snprintf(token, sizeof(token), "%s", p.refresh);
	for (size_t i = 0; i < sizeof(plans) / sizeof(*plans); i++) {
		stop_issuer();
		start_issuer(true, plans[i]);
		if (refresh(secret_id, token, more) != 503)
			fail_msg("%s: %d %s", plans[i], reply.status, reply.body);
		assert_string_equal(member("error"), "temporarily_unavailable");
		assert_string_equal(header("Retry-After"), "2");
		ahead += 60;
		assert_int_equal(refresh(secret_id, token, more), 200);
		snprintf(token, sizeof(token), "%s", member("refresh_token"));
	}
	static const struct {
		const char *plan, *path;
	} rows[] = {{"GRANT_GET:*:internal", "/oauth/introspect"},
		{"GRANT_GET:*:internal", "/oauth/revoke"},
		{"GRANT_END:*:internal", "/oauth/revoke"}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		stop_issuer();
		start_issuer(true, rows[i].plan);
		assert_int_equal(show(rows[i].path, secret_id, secret, token), 503);
	}
	stop_issuer();
	start_issuer(true, "WITHDRAW:*:internal,USER_GET:*:internal,DEVICE_ADD:*:internal");
	sign_in(secret_id, secret, "openid", &p);
	assert_int_equal(show("/oauth/revoke", secret_id, secret, p.access), 503);
	assert_int_equal(userinfo(p.access), 503);
	assert_int_equal(begin_device(secret_id, secret, ""), 503);
	stop_issuer();
	start_issuer(true, NULL);
	assert_int_equal(userinfo(p.access), 200);
	assert_true(is_active(token));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_documents_say_what_can_be_done),
		cmocka_unit_test(nobody_is_given_half_of_the_keys),
		cmocka_unit_test(what_a_token_is),
		cmocka_unit_test(only_a_proven_client_may_ask),
		cmocka_unit_test(a_rotated_token_is_active_as_long_as_it_works),
		cmocka_unit_test(revoking_a_refresh_token_ends_the_sign_in),
		cmocka_unit_test(revoking_an_access_token_ends_that_alone),
		cmocka_unit_test(nobody_revokes_what_is_another_clients),
		cmocka_unit_test(who_somebody_is),
		cmocka_unit_test(a_token_for_elsewhere_tells_nothing_here),
		cmocka_unit_test(id_tokens_are_signed_as_registered),
		cmocka_unit_test(a_device_waits_for_a_person),
		cmocka_unit_test(a_person_can_say_no_or_nothing),
		cmocka_unit_test(device_requests_are_refused),
		cmocka_unit_test(a_failing_store_costs_nobody_a_sign_in),
	};
	return cmocka_run_group_tests_name("issuer: tokens", tests, begin_tokens, end_tests);
}
