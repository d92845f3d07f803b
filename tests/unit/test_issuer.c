/* The embedded issuer from the outside: pages, codes, tokens; what is refused, and how. */
#include "auth/bearer.h"
#include "auth/server/secret.h"

#include "issuer_fixture.h"

#include <openssl/evp.h>
#include <time.h>

#define VERIFIER "abcdefghijklmnopqrstuvwxyz0123456789-._~ABCDEF"
#define DEMO_URI "http://localhost:8080/"

/* ---- steps ---- */

static void challenge_of(const char *verifier, char out[SECRET_TEXT + 1])
{
	secret_challenge(str_of(verifier), out);
}

/* The query of an authorization request; more is appended as it stands. */
static const char *query_for(const char *client, const char *uri, const char *more)
{
	static char query[4096];
	char challenge[SECRET_TEXT + 1];
	struct buf b = BUF_INIT(sizeof(query) - 1);
	challenge_of(VERIFIER, challenge);
	form_add(&b, "client_id", str_of(client));
	form_add(&b, "redirect_uri", str_of(uri));
	form_add(&b, "response_type", STR("code"));
	form_add(&b, "code_challenge", str_of(challenge));
	form_add(&b, "code_challenge_method", STR("S256"));
	form_add(&b, "state", STR("s t&=1"));
	buf_addf(&b, "%s", more);
	memcpy(query, b.p, b.n + 1);
	buf_free(&b);
	return query;
}

static int authorize(const char *query)
{
	return get("/oauth/authorize", query);
}

/* A form that was filled in, sent with the browser's token. */
static int post(const char *path, const char *query, const char *name, const char *password)
{
	struct buf b = BUF_INIT(4096);
	form_add(&b, "csrf", str_of(jar.form));
	form_add(&b, "name", str_of(name));
	form_add(&b, "password", str_of(password));
	int status = send_request(HTTP_POST, path, .query = query, .body = b.p);
	buf_free(&b);
	return status;
}

/* Signs up and keeps the code. */
static void sign_up(const char *query, const char *name, char *ret_code)
{
	forget_cookies();
	assert_int_equal(get("/oauth/signup", query), 200);
	assert_int_equal(post("/oauth/signup", query, name, "correct horse"), 303);
	snprintf(ret_code, 64, "%s", redirected("code"));
	assert_int_equal(strlen(ret_code), SECRET_TEXT);
}

static int redeem(const char *client, const char *uri, const char *code, const char *verifier)
{
	struct buf b = BUF_INIT(4096);
	form_add(&b, "grant_type", STR("authorization_code"));
	form_add(&b, "client_id", str_of(client));
	form_add(&b, "redirect_uri", str_of(uri));
	form_add(&b, "code", str_of(code));
	form_add(&b, "code_verifier", str_of(verifier));
	int status = send_request(HTTP_POST, "/oauth/token", .body = b.p);
	buf_free(&b);
	return status;
}

/* The whole check that the service makes of a token. */
static struct principal *check(const char *token)
{
	static const struct str audiences[] = {STR(ISSUER_URL)};
	static const struct issuer_rule rule = {.issuer = STR(ISSUER_URL),
		.audiences = audiences,
		.audience_count = 1,
		.algs = JWA_BIT(JWA_ES256) | JWA_BIT(JWA_RS256)};
	struct bearer *bearer = bearer_new(&rule, 1, 0);
	struct bearer_fail failed;
	struct principal *who = NULL;
	struct jwk_set *set;
	const char *why;
	assert_int_equal(jwk_set_parse(issuer_jwks(), &set, &why), ERR_OK);
	bearer_set_keys(bearer, 0, set);
	jwk_set_unref(&set);
	if (bearer_check(bearer, str_of(token), time(NULL), &who, &failed))
		fail_msg("%s", failed.why);
	bearer_free(&bearer);
	return who;
}

/* The payload of a token whose signature is right. */
static const char *payload_of(const char *token)
{
	static char text[8192];
	struct jws *jws = mem_new(struct jws);
	struct jwk_set *set;
	const char *why;
	assert_int_equal(jwk_set_parse(issuer_jwks(), &set, &why), ERR_OK);
	assert_int_equal(jws_parse(str_of(token), jws, &why), ERR_OK);
	assert_int_equal(jws_verify(jws, set, JWA_BIT(JWA_ES256), &why), ERR_OK);
	snprintf(text, sizeof(text), "%.*s", STR_ARG(jws->payload));
	jwk_set_unref(&set);
	free(jws);
	return text;
}

static bool on_page(const char *text)
{
	return strstr(reply.body, text) != NULL;
}

/* ---- documents ---- */

static void documents_say_what_is_there(void **state)
{
	(void)state;
	assert_int_equal(get("/.well-known/openid-configuration", NULL), 200);
	assert_string_equal(reply.type, "application/json");
	assert_string_equal(member("issuer"), ISSUER_URL);
	assert_string_equal(member("token_endpoint"), ISSUER_URL "/oauth/token");
	assert_string_equal(member("code_challenge_methods_supported"), "[\"S256\"]");
	assert_string_equal(member("request_uri_parameter_supported"), "false");
	static const char *const endpoints[] = {"authorization_endpoint", "token_endpoint",
		"jwks_uri", "end_session_endpoint", "userinfo_endpoint", "revocation_endpoint",
		"introspection_endpoint", "device_authorization_endpoint"};
	for (size_t i = 0; i < sizeof(endpoints) / sizeof(*endpoints); i++)
		route_of(member(endpoints[i]) + strlen(ISSUER_URL));
	assert_int_equal(get("/.well-known/oauth-authorization-server", NULL), 200);
	assert_string_equal(member("issuer"), ISSUER_URL);
	assert_int_equal(get("/oauth/jwks", NULL), 200);
	assert_null(strstr(reply.body, "\"d\""));
	struct jwk_set *set;
	const char *why;
	assert_int_equal(jwk_set_parse(str_of(reply.body), &set, &why), ERR_OK);
	assert_int_equal(jwk_set_count(set), 2);
	jwk_set_unref(&set);
}

static void keys_outlive_a_restart(void **state)
{
	(void)state;
	char *before = mem_copy(issuer_jwks());
	stop_issuer();
	start_issuer(true, NULL);
	assert_true(str_is(issuer_jwks(), before));
	free(before);
}

/* ---- what comes before anybody is sent anywhere ---- */

static void no_redirect_before_client_and_address_are_proven(void **state)
{
	(void)state;
	static const struct {
		const char *client, *uri, *more, *says;
	} rows[] = {
		{"nobody", DEMO_URI, "", "Unknown client"},
		{"", DEMO_URI, "", "needs one client_id"},
		{"demo", "", "", "needs one client_id"},
		{"demo", "https://evil.example/", "", "Wrong return address"},
		{"demo", DEMO_URI "x", "", "Wrong return address"},
		{"demo", "http://localhost:8080", "", "Wrong return address"},
		{"demo", "http://localhost:8080.evil.example/", "", "Wrong return address"},
		{"demo", "http://localhost@evil.example/", "", "Wrong return address"},
		{"demo", "http://127.0.0.1:0/", "", "Wrong return address"},
		{"demo", "http://[::1]:99999/", "", "Wrong return address"},
		{"demo", "javascript:alert(1)", "", "Wrong return address"},
		{"demo", DEMO_URI, "&client_id=demo", "needs one client_id"},
		{"demo", DEMO_URI, "&redirect_uri=http://localhost/", "needs one client_id"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		int status = authorize(query_for(rows[i].client, rows[i].uri, rows[i].more));
		if (status != 400 || *header("Location") || !on_page(rows[i].says))
			fail_msg("row %zu: %d %s", i, status, reply.body);
	}
}

static void loopback_ports_are_free(void **state)
{
	(void)state;
	static const char *const uris[] = {"http://localhost:8080/", "http://localhost/",
		"http://127.0.0.1:3000/", "http://[::1]:65535/", "http://localhost:1/"};
	for (size_t i = 0; i < sizeof(uris) / sizeof(*uris); i++)
		assert_int_equal(authorize(query_for("demo", uris[i], "")), 200);
}

static void other_errors_go_back_to_the_client(void **state)
{
	(void)state;
	static const struct {
		const char *query, *error;
	} rows[] = {
		{"response_type=code", "invalid_request"},
		{"response_type=code&code_challenge=abc&code_challenge_method=S256",
			"invalid_request"},
		{"response_type=code&code_challenge_method=plain&code_challenge="
		 "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ",
			"invalid_request"},
		{"response_type=code&code_challenge="
		 "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ",
			"invalid_request"},
		{"response_type=token", "unsupported_response_type"},
		{"nothing=", "invalid_request"},
		{"response_type=code&response_mode=fragment", "invalid_request"},
		{"response_type=code&request=x", "request_not_supported"},
		{"response_type=code&scope=openid&scope=openid", "invalid_request"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char query[1024];
		snprintf(query, sizeof(query),
			"client_id=demo&redirect_uri=http%%3A%%2F%%2Flocalhost%%3A8080%%2F&state=x+"
			"y&%s",
			rows[i].query);
		assert_int_equal(authorize(query), 303);
		if (strcmp(redirected("error"), rows[i].error) != 0)
			fail_msg("row %zu: %s", i, header("Location"));
		assert_string_equal(redirected("state"), "x y");
		assert_string_equal(redirected("iss"), ISSUER_URL);
	}
	assert_int_equal(authorize(query_for("demo", DEMO_URI, "&scope=admin")), 303);
	assert_string_equal(redirected("error"), "invalid_scope");
	forget_cookies();
	assert_int_equal(authorize(query_for("demo", DEMO_URI, "&prompt=none")), 303);
	assert_string_equal(redirected("error"), "login_required");
	assert_int_equal(authorize(query_for("demo", DEMO_URI, "&prompt=none+login")), 303);
	assert_string_equal(redirected("error"), "invalid_request");
}

static void pages_are_closed_in(void **state)
{
	(void)state;
	forget_cookies();
	assert_int_equal(authorize(query_for("demo", "http://127.0.0.1:3000/",
				 "&login_hint=%22%3E%3Cscript%3E&x=%22%3E%3Cb%3E")),
		200);
	assert_string_equal(header("Content-Security-Policy"),
		"default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
		"form-action 'self' http://127.0.0.1:3000");
	assert_false(on_page("\"><b>"));
	assert_false(on_page("<script"));
	assert_true(on_page("value=\"&quot;&gt;&lt;script&gt;\""));
	assert_true(on_page("/oauth/pages.css"));
	assert_int_equal(authorize(query_for("demo", "http://[::1]:3000/", "")), 200);
	assert_non_null(strstr(header("Content-Security-Policy"), "form-action 'self' http:"));
	assert_int_equal(authorize("client_id=nobody&redirect_uri=x"), 400);
	assert_non_null(strstr(header("Content-Security-Policy"), "form-action 'self'"));
}

/* ---- a sign-in, whole ---- */

static void from_sign_up_to_tokens(void **state)
{
	(void)state;
	char code[64];
	const char *query = query_for("demo", DEMO_URI,
		"&nonce=n-1&scope=openid+profile+rooms:join+rooms:create+admin+rooms:moderate+"
		"nonsense");
	sign_up(query, "Ann", code);
	assert_string_equal(redirected("state"), "s t&=1");
	assert_string_equal(redirected("iss"), ISSUER_URL);
	assert_int_equal(strlen(jar.login), SECRET_TEXT);
	assert_non_null(strstr(reply.headers, "; Path=/; HttpOnly; SameSite=Lax; Max-Age="));
	assert_int_equal(redeem("demo", DEMO_URI, code, VERIFIER), 200);
	assert_string_equal(member("token_type"), "Bearer");
	assert_string_equal(member("expires_in"), "3600");
	assert_string_equal(member("scope"), "openid profile rooms:join rooms:create");
	const char *id_token = member("id_token"), *access = member("access_token");
	struct principal *who = check(access);
	assert_true(str_is(who->user, "Ann"));
	assert_true(str_is(who->name, "Ann"));
	assert_true(str_is(who->client, "demo"));
	assert_int_equal(who->scopes, SCOPE_ROOMS_JOIN | SCOPE_ROOMS_CREATE);
	assert_int_equal(who->jti.n, 32);
	principal_unref(&who);
	const char *payload = payload_of(id_token);
	assert_non_null(strstr(payload, "\"nonce\":\"n-1\""));
	assert_non_null(strstr(payload, "\"aud\":\"demo\""));
	assert_non_null(strstr(payload, "\"preferred_username\":\"Ann\""));
	assert_non_null(strstr(payload, "\"at_hash\":\""));
}

static void codes_work_once(void **state)
{
	(void)state;
	char code[64];
	sign_up(query_for("demo", DEMO_URI, ""), "bea", code);
	assert_int_equal(redeem("demo", DEMO_URI, code, VERIFIER), 200);
	assert_string_equal(member("id_token"), ""); /* openid was not asked for */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(redeem("demo", DEMO_URI, code, VERIFIER), 400);
		assert_string_equal(member("error"), "invalid_grant");
	}
	assert_int_equal(redeem("demo", DEMO_URI, "never given", VERIFIER), 400);
	assert_string_equal(member("error"), "invalid_grant");
}

static void codes_are_bound(void **state)
{
	(void)state;
	const char *query = query_for("demo", DEMO_URI, "");
	static const struct {
		const char *client, *uri, *verifier;
	} rows[] = {
		{"demo", DEMO_URI, "abcdefghijklmnopqrstuvwxyz0123456789-._~ABCDEG"},
		{"demo", "http://localhost:8081/", VERIFIER},
	};
	assert_int_equal(authorize(query), 303); /* bea is still signed in */
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char code[64];
		assert_int_equal(authorize(query_for("demo", DEMO_URI, "")), 303);
		snprintf(code, sizeof(code), "%s", redirected("code"));
		assert_int_equal(redeem(rows[i].client, rows[i].uri, code, rows[i].verifier), 400);
		assert_string_equal(member("error"), "invalid_grant");
		assert_int_equal(redeem("demo", DEMO_URI, code, VERIFIER), 400); /* one try */
	}
	char code[64];
	assert_int_equal(authorize(query_for("demo", DEMO_URI, "")), 303);
	snprintf(code, sizeof(code), "%s", redirected("code"));
	assert_int_equal(redeem("demo", DEMO_URI, code, "short"), 400);
	assert_string_equal(member("error"), "invalid_request");
	assert_int_equal(redeem("demo", DEMO_URI, code, VERIFIER), 200);
}

static void codes_expire(void **state)
{
	(void)state;
	static const int64_t ages[] = {58, 61};
	for (size_t i = 0; i < 2; i++) {
		char code[16], challenge[SECRET_TEXT + 1];
		unsigned char hash[SECRET_HASH];
		snprintf(code, sizeof(code), "made %zu", i);
		secret_hash(str_of(code), hash);
		challenge_of(VERIFIER, challenge);
		struct store_op *op = store_ask_now(STORE_CODE_ADD,
			STORE_BLOB(((struct str){(char *)hash, sizeof(hash)})),
			STORE_TEXT(STR("demo")), STORE_TEXT(STR("bea")), STORE_TEXT(STR(DEMO_URI)),
			STORE_TEXT(STR("rooms:join")), STORE_TEXT(STR("")),
			STORE_TEXT(str_of(challenge)), STORE_INT(time(NULL)),
			STORE_INT(time(NULL) - ages[i]), STORE_TEXT(str_of(code)), STORE_NULL,
			STORE_TEXT(STR("")), STORE_TEXT(STR("")), STORE_INT(900), STORE_END);
		assert_int_equal(op->err, ERR_OK);
		store_op_free(&op);
		assert_int_equal(
			redeem("demo", DEMO_URI, code, VERIFIER), ages[i] < 60 ? 200 : 400);
	}
	assert_string_equal(member("error"), "invalid_grant");
}

static void a_code_is_of_no_use_to_another_client(void **state)
{
	(void)state;
	char code[64], other[64];
	assert_int_equal(run_method("client.add",
				 "{\"name\":\"other\",\"grants\":[\"authorization_code\"],"
				 "\"redirect_uris\":[\"http://localhost/\"],\"public\":true}"),
		ERR_OK);
	assert_string_equal(member("client_secret"), "");
	snprintf(other, sizeof(other), "%s", member("client_id"));
	assert_int_equal(authorize(query_for("demo", DEMO_URI, "")), 303);
	snprintf(code, sizeof(code), "%s", redirected("code"));
	assert_int_equal(redeem(other, DEMO_URI, code, VERIFIER), 400);
	assert_string_equal(member("error"), "invalid_grant");
	assert_int_equal(redeem("demo", DEMO_URI, code, VERIFIER), 200);
}

static void a_browser_stays_signed_in(void **state)
{
	(void)state;
	char code[64], before[64];
	sign_up(query_for("demo", DEMO_URI, ""), "cleo", code);
	snprintf(before, sizeof(before), "%s", jar.login);
	assert_int_equal(authorize(query_for("demo", DEMO_URI, "&prompt=none")), 303);
	assert_int_equal(strlen(redirected("code")), SECRET_TEXT);
	assert_int_equal(authorize(query_for("demo", DEMO_URI, "&max_age=3600")), 303);
	assert_int_equal(authorize(query_for("demo", DEMO_URI, "&prompt=login")), 200);
	assert_true(on_page("Sign in"));
	const char *query = query_for("demo", DEMO_URI, "&prompt=login");
	assert_int_equal(post("/oauth/login", query, "CLEO", "correct horse"), 303);
	assert_string_not_equal(jar.login, before); /* a new one, and the old one is dead */
	snprintf(code, sizeof(code), "%s", redirected("code"));
	assert_int_equal(redeem("demo", DEMO_URI, code, VERIFIER), 200);
	struct principal *who = check(member("access_token"));
	assert_true(str_is(who->user, "cleo"));
	principal_unref(&who);
	snprintf(jar.login, sizeof(jar.login), "%s", before);
	assert_int_equal(authorize(query_for("demo", DEMO_URI, "&prompt=none")), 303);
	assert_string_equal(redirected("error"), "login_required");
}

/* ---- forms ---- */

static void forms_need_their_token(void **state)
{
	(void)state;
	const char *query = query_for("demo", DEMO_URI, "");
	const char *body = "csrf=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
			   "&name=dora&password=correct+horse";
	forget_cookies();
	assert_int_equal(send_request(HTTP_POST, "/oauth/signup", .query = query, .body = body,
				 .cookie = ""),
		403);
	assert_true(on_page("send the form again"));
	assert_int_equal(
		send_request(HTTP_POST, "/oauth/signup", .query = query, .body = body), 403);
	assert_int_equal(
		send_request(HTTP_POST, "/oauth/login", .query = query, .body = body), 403);
	assert_true(on_page("send the form again"));
	char none[128] = "name=dora&password=correct+horse&csrf=";
	assert_int_equal(
		send_request(HTTP_POST, "/oauth/signup", .query = query, .body = none), 403);
	assert_int_equal(send_request(HTTP_POST, "/oauth/signup", .query = query, .body = body,
				 .cookie = "signalbox-form="),
		403);
	assert_string_equal(jar.login, "");
	/* and the query goes through the same checks as ever */
	assert_int_equal(post("/oauth/signup", query_for("demo", "https://evil.example/", ""),
				 "dora", "correct horse"),
		400);
	assert_int_equal(*header("Location"), 0);
}

static void wrong_names_and_passwords_get_a_sentence(void **state)
{
	(void)state;
	const char *query = query_for("demo", DEMO_URI, "");
	forget_cookies();
	authorize(query);
	assert_int_equal(post("/oauth/signup", query, "a b", "correct horse"), 400);
	assert_true(on_page("A name has"));
	assert_int_equal(post("/oauth/signup", query, "ed", "short"), 400);
	assert_true(on_page("8 to 256"));
	assert_int_equal(post("/oauth/signup", query, "ANN", "correct horse"), 409);
	assert_true(on_page("taken"));
	assert_int_equal(post("/oauth/signup", query, "Demo", "correct horse"), 409);
	assert_int_equal(post("/oauth/login", query, "ann", "wrong horse"), 403);
	assert_true(on_page("The name or the password is wrong"));
	assert_int_equal(post("/oauth/login", query, "nobody", "wrong horse"), 403);
	assert_true(on_page("The name or the password is wrong"));
	assert_string_equal(jar.login, "");
}

static void attempts_are_throttled(void **state)
{
	(void)state;
	const char *query = query_for("demo", DEMO_URI, "");
	forget_cookies();
	authorize(query);
	for (int i = 0; i < 10; i++)
		assert_int_equal(post("/oauth/login", query, "frida", "wrong horse"), 403);
	assert_int_equal(post("/oauth/login", query, "FRIDA", "wrong horse"), 429);
	assert_true(strtol(header("Retry-After"), NULL, 10) >= 1);
	assert_true(on_page("Wait"));
	/* another account is free, from the same address */
	assert_int_equal(post("/oauth/login", query, "ann", "correct horse"), 303);
}

/* More at once than may wait for the password thread: each is answered once, the rest with a page
 * that says to wait. */
static void a_crowd_is_answered(void **state)
{
	(void)state;
	enum { CROWD = 200 };
	const char *query = query_for("demo", DEMO_URI, "");
	struct buf b = BUF_INIT(4096);
	forget_cookies();
	authorize(query);
	form_add(&b, "csrf", str_of(jar.form));
	buf_addf(&b, "&name=ann&password=correct+horse");
	memset(reply.with, 0, sizeof(reply.with));
	size_t before = reply.count;
	for (int i = 0; i < CROWD; i++)
		begin_it(&(struct sent){
			.verb = HTTP_POST, .path = "/oauth/login", .query = query, .body = b.p});
	buf_free(&b);
	lone_run_until(&reply.count, before + CROWD);
	assert_int_equal(reply.count, before + CROWD);
	assert_true(reply.with[303] >= 64 && reply.with[503] > 0);
	assert_int_equal(reply.with[303] + reply.with[503], CROWD);
}

static void sign_up_can_be_closed(void **state)
{
	(void)state;
	stop_issuer();
	start_issuer(false, NULL);
	const char *query = query_for("demo", DEMO_URI, "");
	forget_cookies();
	assert_int_equal(authorize(query), 200);
	assert_false(on_page("/oauth/signup"));
	assert_int_equal(get("/oauth/signup", query), 403);
	assert_int_equal(post("/oauth/signup", query, "gina", "correct horse"), 403);
	assert_true(on_page("closed"));
	assert_int_equal(post("/oauth/login", query, "gina", "correct horse"), 403);
	stop_issuer();
	start_issuer(true, NULL);
}

static void a_failing_store_gets_a_sentence(void **state)
{
	(void)state;
	static const struct {
		const char *plan, *path;
		int status;
	} rows[] = {
		{"CLIENT_GET:*:internal", "/oauth/authorize", 503},
		{"USER_GET:*:internal", "/oauth/login", 503},
		{"LOGIN_ADD:*:internal", "/oauth/login", 503},
		{"CODE_ADD:*:internal", "/oauth/login", 503},
		{"commit:*:internal", "/oauth/login", 503},
		{"USER_ADD:*:internal", "/oauth/signup", 503},
		{"USER_ADD:*:overloaded", "/oauth/signup", 503},
		{"CODE_USE:*:internal", "/oauth/token", 503},
		{"CLIENT_GET:*:internal", "/oauth/token", 503},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		bool token = strcmp(rows[i].path, "/oauth/token") == 0;
		const char *client = strncmp(rows[i].plan, "CLIENT", 6) == 0 ? "other" : "demo";
		const char *query = query_for(client, DEMO_URI, "");
		stop_issuer();
		start_issuer(true, rows[i].plan);
		forget_cookies();
		int status = authorize(query);
		if (token)
			status = redeem(client, DEMO_URI, "a code", VERIFIER);
		else if (strcmp(rows[i].path, "/oauth/authorize") != 0)
			status = post(rows[i].path, query,
				strcmp(rows[i].path, "/oauth/login") == 0 ? "ann" : "hanna",
				"correct horse");
		if (status != rows[i].status || *header("Location"))
			fail_msg("row %zu: %d %s", i, status, reply.body);
		assert_true(token ? on_page("temporarily_unavailable") : on_page("role=\"alert\""));
	}
	stop_issuer();
	start_issuer(true, NULL);
}

/* The account is there: nobody is to be told that nothing was changed, and to sign up again. */
static void an_account_made_is_said_to_be_made(void **state)
{
	(void)state;
	static const char *const plans[] = {
		"LOGIN_ADD:1:internal", "LOGIN_ADD:1:overloaded", "CODE_ADD:1:internal"};
	static const char *const names[] = {"made-1", "made-2", "made-3"};
	const char *query = query_for("demo", DEMO_URI, "");
	for (size_t i = 0; i < sizeof(plans) / sizeof(*plans); i++) {
		stop_issuer();
		start_issuer(true, plans[i]);
		forget_cookies();
		assert_int_equal(get("/oauth/signup", query), 200);
		assert_int_equal(post("/oauth/signup", query, names[i], "correct horse"), 503);
		assert_true(on_page("Your account has been made"));
		assert_true(on_page("sign in with your name and password"));
		assert_false(on_page("nothing was changed"));
		forget_cookies();
		assert_int_equal(get("/oauth/login", query), 200);
		assert_int_equal(post("/oauth/login", query, names[i], "correct horse"), 303);
	}
	forget_cookies();
	stop_issuer();
	start_issuer(true, NULL);
}

/* ---- clients ---- */

static void clients_prove_themselves(void **state)
{
	(void)state;
	char id[64], secret[64], body[512], basic[512];
	assert_int_equal(run_method("client.add",
				 "{\"name\":\"robot\",\"grants\":[\"client_credentials\"],"
				 "\"scope\":\"rpc:serve rooms:join\"}"),
		ERR_OK);
	snprintf(id, sizeof(id), "%s", member("client_id"));
	snprintf(secret, sizeof(secret), "%s", member("client_secret"));
	snprintf(body, sizeof(body), "grant_type=client_credentials&client_id=%s&client_secret=%s",
		id, secret);
	assert_int_equal(send_request(HTTP_POST, "/oauth/token", .body = body), 200);
	assert_string_equal(member("scope"), "rooms:join"); /* the usual, of what it may */
	struct principal *who = check(member("access_token"));
	char user[80];
	snprintf(user, sizeof(user), "client:%s", id);
	assert_true(str_is(who->user, user));
	principal_unref(&who);

	struct buf b = BUF_INIT(256);
	buf_addf(&b, "%s:%s", id, secret);
	size_t n = (size_t)snprintf(basic, sizeof(basic), "Basic ");
	EVP_EncodeBlock((unsigned char *)basic + n, (unsigned char *)b.p, (int)b.n);
	buf_free(&b);
	const char *grant = "grant_type=client_credentials&scope=rpc:serve";
	assert_int_equal(
		send_request(HTTP_POST, "/oauth/token", .body = grant, .authorization = basic),
		200);
	assert_string_equal(member("scope"), "rpc:serve");

	assert_int_equal(
		send_request(HTTP_POST, "/oauth/token", .body = body, .authorization = basic), 400);
	assert_string_equal(member("error"), "invalid_request"); /* two ways at once */
	body[strlen(body) - 1] ^= 1;
	assert_int_equal(send_request(HTTP_POST, "/oauth/token", .body = body), 401);
	assert_string_equal(member("error"), "invalid_client");
}

static void token_requests_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *body, *authorization, *type, *error;
		int status;
	} rows[] = {
		{"grant_type=client_credentials", "Basic bm9ib2R5OnNlY3JldA==", NULL,
			"invalid_client", 401},
		{"grant_type=client_credentials", "Basic !!!!", NULL, "invalid_client", 401},
		{"grant_type=client_credentials", "Bearer x", NULL, "invalid_client", 401},
		{"grant_type=client_credentials&client_id=demo", NULL, NULL, "unauthorized_client",
			400},
		{"grant_type=client_credentials&client_id=demo&client_secret=x", NULL, NULL,
			"invalid_client", 401},
		{"grant_type=password&client_id=demo", NULL, NULL, "unsupported_grant_type", 400},
		{"client_id=demo", NULL, NULL, "invalid_request", 400},
		{"grant_type=client_credentials&grant_type=x&client_id=demo", NULL, NULL,
			"invalid_request", 400},
		{"{}", NULL, "application/json", "invalid_request", 400},
		{"", NULL, NULL, "invalid_request", 400},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		int status = send_request(HTTP_POST, "/oauth/token", .body = rows[i].body,
			.authorization = rows[i].authorization, .content_type = rows[i].type);
		if (status != rows[i].status || strcmp(member("error"), rows[i].error) != 0)
			fail_msg("row %zu: %d %s", i, status, reply.body);
	}
}

static void clients_are_administered(void **state)
{
	(void)state;
	static const struct {
		const char *params;
		enum err err;
	} rows[] = {
		{"{\"name\":\"x\",\"grants\":[]}", ERR_PARAMS},
		{"{\"name\":\"x\",\"grants\":[\"password\"]}", ERR_PARAMS},
		{"{\"name\":\"x\",\"grants\":[1]}", ERR_PARAMS},
		{"{\"name\":\"x\",\"grants\":[\"authorization_code\"]}", ERR_PARAMS},
		{"{\"name\":\"x\",\"grants\":[\"client_credentials\"],\"public\":true}",
			ERR_PARAMS},
		{"{\"name\":\"x\",\"grants\":[\"client_credentials\"],\"scope\":\"rooms:fly\"}",
			ERR_PARAMS},
		{"{\"name\":\"x\",\"grants\":[\"authorization_code\"],"
		 "\"redirect_uris\":[\"http://a.example/\"]}",
			ERR_PARAMS},
		{"{\"name\":\"x\",\"grants\":[\"authorization_code\"],"
		 "\"redirect_uris\":[\"https://a.example/cb\"],\"trusted\":true}",
			ERR_OK},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (run_method("client.add", rows[i].params) != rows[i].err)
			fail_msg("row %zu: %s", i, reply.body);
	char id[64], params[128];
	snprintf(id, sizeof(id), "%s", member("client_id"));
	assert_int_equal(authorize(query_for(id, "https://a.example/cb", "")), 200);
	assert_non_null(
		strstr(header("Content-Security-Policy"), "form-action 'self' https://a.example"));
	assert_int_equal(post("/oauth/login", query_for(id, "https://a.example/cb", ""), "ann",
				 "correct horse"),
		303);
	assert_int_equal(authorize(query_for(id, "https://a.example/cb/", "")), 400);
	assert_int_equal(run_method("client.list", "{}"), ERR_OK);
	assert_non_null(strstr(reply.body, id));
	assert_null(strstr(reply.body, "secret"));
	snprintf(params, sizeof(params), "{\"client_id\":\"%s\"}", id);
	assert_int_equal(run_method("client.remove", params), ERR_OK);
	assert_int_equal(run_method("client.remove", params), ERR_NOT_FOUND);
	assert_int_equal(authorize(query_for(id, "https://a.example/cb", "")), 400);
}

/* ---- accounts, and tokens out of hand ---- */

static void accounts_are_administered(void **state)
{
	(void)state;
	char password[64];
	const char *query = query_for("demo", DEMO_URI, "");
	assert_int_equal(run_method("user.add", "{\"name\":\"ida\"}"), ERR_OK);
	snprintf(password, sizeof(password), "%s", member("password"));
	assert_true(strlen(password) >= 16);
	assert_int_equal(run_method("user.add", "{\"name\":\"IDA\"}"), ERR_CONFLICT);
	assert_int_equal(run_method("user.add", "{\"name\":\"-ida\"}"), ERR_PARAMS);
	assert_int_equal(
		run_method("user.add", "{\"name\":\"jo\",\"password\":\"short\"}"), ERR_PARAMS);
	forget_cookies();
	authorize(query);
	assert_int_equal(post("/oauth/login", query, "ida", password), 303);
	assert_int_equal(
		run_method("user.passwd", "{\"name\":\"Ida\",\"password\":\"new horses\"}"),
		ERR_OK);
	assert_string_equal(member("password"), "");
	assert_int_equal(authorize(query), 200); /* signed out by that */
	assert_int_equal(post("/oauth/login", query, "ida", password), 403);
	assert_int_equal(post("/oauth/login", query, "ida", "new horses"), 303);
	char code[64];
	snprintf(code, sizeof(code), "%s", redirected("code"));
	assert_int_equal(disable("IDA"), ERR_OK);
	assert_int_equal(redeem("demo", DEMO_URI, code, VERIFIER), 400);
	assert_int_equal(authorize(query), 200);
	assert_int_equal(post("/oauth/login", query, "ida", "new horses"), 403);
	assert_true(on_page("The name or the password is wrong"));
	assert_int_equal(disable("nobody"), ERR_NOT_FOUND);
	assert_int_equal(run_method("user.passwd", "{\"name\":\"nobody\"}"), ERR_NOT_FOUND);
	assert_int_equal(run_method("user.list", "{\"limit\":2}"), ERR_OK);
	assert_string_not_equal(member("cursor"), "");
	assert_int_equal(run_method("user.list", "{\"cursor\":\"i\"}"), ERR_OK);
	assert_non_null(strstr(reply.body, "\"name\":\"ida\""));
	assert_non_null(strstr(reply.body, "\"disabled\":true"));
}

static void tokens_are_minted(void **state)
{
	(void)state;
	static const struct {
		const char *params;
		enum err err;
	} rows[] = {
		{"{}", ERR_PARAMS},
		{"{\"user\":\"ann\",\"client\":\"demo\"}", ERR_PARAMS},
		{"{\"user\":\"nobody\"}", ERR_NOT_FOUND},
		{"{\"user\":\"ida\"}", ERR_FORBIDDEN},
		{"{\"client\":\"nobody\"}", ERR_NOT_FOUND},
		{"{\"user\":\"ann\",\"scope\":\"rooms:fly\"}", ERR_PARAMS},
		{"{\"user\":\"ann\",\"claim\":{\"sub\":\"root\"}}", ERR_PARAMS},
		{"{\"user\":\"ann\",\"claim\":{\"s\\u0075b\":\"root\"}}", ERR_PARAMS},
		{"{\"user\":\"ann\",\"claim\":{\"a\":1,\"a\":2}}", ERR_PARAMS},
		{"{\"user\":\"ann\",\"expires\":0}", ERR_PARAMS},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (run_method("token.mint", rows[i].params) != rows[i].err)
			fail_msg("row %zu: %s", i, reply.body);
	assert_int_equal(run_method("token.mint", "{\"user\":\"ANN\"}"), ERR_OK);
	struct principal *who = check(member("token"));
	assert_true(str_is(who->user, "Ann"));
	assert_int_equal(who->scopes, SCOPES_DEFAULT);
	assert_false(who->rooms_limited);
	principal_unref(&who);
	assert_int_equal(run_method("token.mint",
				 "{\"user\":\"ann\",\"scope\":\"admin\",\"expires\":60,"
				 "\"claim\":{\"signalbox\":{\"rooms\":[\"team-*\"]}}}"),
		ERR_OK);
	who = check(member("token"));
	assert_int_equal(who->scopes, SCOPE_ADMIN);
	assert_true(who->rooms_limited && str_is(who->rooms[0], "team-*"));
	assert_true(who->expires_at <= time(NULL) + 60);
	assert_true(who->expires_at == strtoll(member("expires_at"), NULL, 10));
	principal_unref(&who);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(documents_say_what_is_there),
		cmocka_unit_test(keys_outlive_a_restart),
		cmocka_unit_test(no_redirect_before_client_and_address_are_proven),
		cmocka_unit_test(loopback_ports_are_free),
		cmocka_unit_test(other_errors_go_back_to_the_client),
		cmocka_unit_test(pages_are_closed_in),
		cmocka_unit_test(from_sign_up_to_tokens),
		cmocka_unit_test(codes_work_once),
		cmocka_unit_test(codes_are_bound),
		cmocka_unit_test(codes_expire),
		cmocka_unit_test(a_code_is_of_no_use_to_another_client),
		cmocka_unit_test(a_browser_stays_signed_in),
		cmocka_unit_test(forms_need_their_token),
		cmocka_unit_test(wrong_names_and_passwords_get_a_sentence),
		cmocka_unit_test(attempts_are_throttled),
		cmocka_unit_test(a_crowd_is_answered),
		cmocka_unit_test(sign_up_can_be_closed),
		cmocka_unit_test(a_failing_store_gets_a_sentence),
		cmocka_unit_test(an_account_made_is_said_to_be_made),
		cmocka_unit_test(clients_prove_themselves),
		cmocka_unit_test(token_requests_are_refused),
		cmocka_unit_test(clients_are_administered),
		cmocka_unit_test(accounts_are_administered),
		cmocka_unit_test(tokens_are_minted),
	};
	return cmocka_run_group_tests(tests, begin_tests, end_tests);
}
