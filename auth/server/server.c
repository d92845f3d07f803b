#include "auth/server/server.h"

#include "auth/guesses.h"
#include "auth/password.h"
#include "auth/server/account.h"
#include "auth/server/authorize.h"
#include "auth/server/device.h"
#include "auth/server/issuer.h"
#include "auth/server/key_wait.h"
#include "auth/server/keys.h"
#include "auth/server/logout.h"
#include "auth/server/pages.h"
#include "auth/server/redirect.h"
#include "auth/server/refresh_token.h"
#include "auth/server/seal.h"
#include "auth/server/signin.h"
#include "auth/server/token.h"
#include "auth/server/token_endpoints.h"
#include "core/json_out.h"
#include "core/mem.h"

#include <assert.h>
#include <stdio.h>

enum { DOCUMENT_MAX = 64 * 1024, FORM_MAX = 16 * 1024 };

static struct issuer own;
const struct issuer *const issuer = &own;

/* What is served as it is: written once, at the start. */
static struct {
	char *openid;
} documents;

/* ---- discovery ---- */

static void write_list(struct json_out *o, const char *key, const char *const *items)
{
	json_open(o, key, '[');
	while (*items)
		json_text(o, NULL, *items++);
	json_close(o, ']');
}
#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static void write_address(struct json_out *o, const char *key, const char *path)
{
	char text[1024];
	int n = snprintf(text, sizeof(text), STR_FMT "%s", STR_ARG(own.url), path);
	json_str(o, key, (struct str){text, (size_t)n});
}

static void write_scopes(struct json_out *o)
{
	json_open(o, "scopes_supported", '[');
	json_text(o, NULL, "openid");
	json_text(o, NULL, "profile");
	json_text(o, NULL, "offline_access");
	for (unsigned i = 0; i < SCOPE_BITS; i++)
		json_text(o, NULL, scope_word((enum scope)(1u << i)));
	json_close(o, ']');
}

static void write_auth(struct json_out *o, const char *endpoint, bool public_too)
{
	char key[80];
	static const char *const some[] = {
		"client_secret_basic", "client_secret_post", "private_key_jwt", NULL};
	static const char *const all[] = {
		"client_secret_basic", "client_secret_post", "private_key_jwt", "none", NULL};
	snprintf(key, sizeof(key), "%s_auth_methods_supported", endpoint);
	write_list(o, key, public_too ? all : some);
	snprintf(key, sizeof(key), "%s_auth_signing_alg_values_supported", endpoint);
	json_open(o, key, '[');
	for (unsigned alg = 0; alg < JWA_COUNT; alg++)
		if (jwa_default() & JWA_BIT(alg))
			json_text(o, NULL, jwa_info((enum jwa)alg)->word);
	json_close(o, ']');
}

static void write_prompts(struct json_out *o)
{
	if (own.sign_up != ISSUER_SIGN_UP_CLOSED)
		write_list(o, "prompt_values_supported",
			LIST("none", "login", "consent", "select_account", "create"));
	else
		write_list(o, "prompt_values_supported",
			LIST("none", "login", "consent", "select_account"));
}

/* Exactly what is there. One document answers for OpenID Connect and for RFC 8414. */
static void write_openid(struct json_out *o)
{
	json_open(o, NULL, '{');
	json_str(o, "issuer", own.url);
	write_address(o, "authorization_endpoint", "/oauth/authorize");
	write_address(o, "token_endpoint", "/oauth/token");
	write_address(o, "jwks_uri", "/oauth/jwks");
	write_address(o, "end_session_endpoint", "/oauth/logout");
	write_address(o, "userinfo_endpoint", "/oauth/userinfo");
	write_address(o, "revocation_endpoint", "/oauth/revoke");
	write_address(o, "introspection_endpoint", "/oauth/introspect");
	write_address(o, "device_authorization_endpoint", "/oauth/device_authorization");
	write_scopes(o);
	write_list(o, "response_types_supported", LIST("code"));
	write_list(o, "response_modes_supported", LIST("query"));
	write_list(o, "grant_types_supported",
		LIST("authorization_code", "refresh_token", "client_credentials",
			"urn:ietf:params:oauth:grant-type:device_code"));
	write_auth(o, "token_endpoint", true);
	write_auth(o, "revocation_endpoint", true);
	write_auth(o, "introspection_endpoint", false);
	write_list(o, "code_challenge_methods_supported", LIST("S256"));
	write_list(o, "subject_types_supported", LIST("public"));
	write_list(o, "id_token_signing_alg_values_supported", LIST("ES256", "RS256"));
	write_list(o, "claims_supported",
		LIST("iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "at_hash", "name",
			"preferred_username"));
	write_prompts(o);
	json_bool(o, "authorization_response_iss_parameter_supported", true);
	json_bool(o, "claims_parameter_supported", false);
	json_bool(o, "request_parameter_supported", false);
	json_bool(o, "request_uri_parameter_supported", false);
	json_close(o, '}');
}

static char *document(void (*write)(struct json_out *o))
{
	struct buf b = BUF_INIT(DOCUMENT_MAX);
	struct json_out o = JSON_OUT(&b);
	write(&o);
	return buf_take(&b);
}

static void serve_document(struct http_exchange *x, const char *text)
{
	http_header(x, "Cache-Control", STR("public, max-age=300"));
	http_reply(x, 200, "application/json", str_of(text));
}

static void serve_openid(struct http_exchange *x)
{
	serve_document(x, documents.openid);
}

static void serve_key_set(struct http_exchange *x)
{
	serve_document(x, keys_now()->jwks);
}

static void serve_jwks(struct http_exchange *x)
{
	keys_needed(x, serve_key_set);
}

struct str issuer_jwks(void)
{
	return str_of(keys_now()->jwks);
}

/* ---- routes ---- */

#define DOCUMENT(path_, serve_) \
	{ \
		.path = path_, .verbs = HTTP_GET, .serve = serve_, .cors = HTTP_CORS_ANY \
	}
#define PAGE(path_, serve_) \
	{ \
		.path = path_, .verbs = HTTP_GET | HTTP_POST, .serve = serve_, \
		.body_max = FORM_MAX \
	}

/* What clients ask themselves, those that are pages as well. */
#define CLIENT(path_, serve_) \
	{ \
		.path = path_, .verbs = HTTP_POST, .serve = serve_, .body_max = FORM_MAX, \
		.cors = HTTP_CORS_LISTED \
	}

const struct http_route issuer_routes[] = {
	DOCUMENT("/.well-known/openid-configuration", serve_openid),
	DOCUMENT("/.well-known/oauth-authorization-server", serve_openid),
	DOCUMENT("/oauth/jwks", serve_jwks),
	PAGE("/oauth/authorize", serve_authorize),
	PAGE("/oauth/login", serve_login),
	PAGE("/oauth/signup", serve_signup),
	{.path = "/oauth/consent",
		.verbs = HTTP_POST,
		.serve = serve_consent,
		.body_max = FORM_MAX},
	PAGE("/oauth/logout", serve_logout),
	{.path = "/oauth/second", .verbs = HTTP_POST, .serve = serve_second, .body_max = FORM_MAX},
	{.path = "/oauth/account", .verbs = HTTP_GET, .serve = serve_account},
	{.path = "/oauth/account/end",
		.verbs = HTTP_POST,
		.serve = serve_account_end,
		.body_max = FORM_MAX},
	PAGE("/oauth/account/password", serve_account_password),
	PAGE("/oauth/account/factor", serve_account_factor),
	PAGE("/oauth/account/recovery", serve_account_recovery),
	PAGE("/oauth/device", serve_device),
	{.path = "/oauth/pages.css", .verbs = HTTP_GET, .serve = serve_style},
	{.path = "/oauth/colours.css", .verbs = HTTP_GET, .serve = serve_style},
	CLIENT("/oauth/token", serve_token),
	CLIENT("/oauth/device_authorization", serve_device_authorization),
	CLIENT("/oauth/revoke", serve_revoke),
	CLIENT("/oauth/introspect", serve_introspect),
	{.path = "/oauth/userinfo",
		.verbs = HTTP_GET | HTTP_POST,
		.serve = serve_userinfo,
		.body_max = FORM_MAX,
		.cors = HTTP_CORS_LISTED},
	{0},
};

/* ---- start and stop ---- */

/* Scheme, host, perhaps a port, and nothing behind: clients compare it byte for byte. */
static bool is_origin(struct str url)
{
	size_t scheme = str_starts(url, STR("https://")) ? 8 : 7;
	if (scheme == 7 && !str_starts(url, STR("http://")))
		return false;
	for (size_t i = scheme; i < url.n; i++)
		if (url.p[i] <= ' ' || url.p[i] >= 0x7f || strchr("/?#@\\\"<>", url.p[i]))
			return false;
	return url.n > scheme && url.n <= REDIRECT_MAX;
}

static void forget(void)
{
	free((char *)(uintptr_t)own.url.p);
	free((char *)(uintptr_t)own.audience.p);
	free(documents.openid);
	own = (struct issuer){0};
	memset(&documents, 0, sizeof(documents));
}

static struct str keep(struct str s)
{
	return (struct str){mem_copy(s), s.n};
}

enum err issuer_start(const struct issuer_options *options, char *ret_why)
{
	struct str origin = options->url;
	assert(!own.url.p);
	if (!is_origin(origin)) {
		snprintf(ret_why, ISSUER_WHY_MAX,
			"the issuer must be an address like https://chat.example, with nothing "
			"behind the host and port, not even a slash");
		return ERR_PARAMS;
	}
	enum err err = keys_start(options->key_rotation, options->on_keys);
	if (err) {
		snprintf(ret_why, ISSUER_WHY_MAX,
			"the issuer's signing keys cannot be read or made; the log says more");
		return err;
	}
	err = seal_start(options->key_file, ret_why);
	if (!err) {
		err = refresh_tokens_start();
		if (err)
			snprintf(ret_why, ISSUER_WHY_MAX,
				"the secret of the refresh tokens cannot be read or made; the log "
				"says "
				"more");
	}
	if (err) {
		seal_stop();
		keys_stop();
		return err;
	}
	own = (struct issuer){
		.url = keep(origin),
		.audience = keep(options->audience.n ? options->audience : origin),
		.secure = str_starts(origin, STR("https://")),
		.sign_up = options->sign_up,
		.demo_client = options->demo_client,
		.access_token_lifetime = options->access_token_lifetime
			? options->access_token_lifetime
			: ACCESS_TOKEN_LIFETIME,
		.refresh_token_lifetime = options->refresh_token_lifetime
			? options->refresh_token_lifetime
			: REFRESH_TOKEN_LIFETIME,
		.refresh_token_idle = options->refresh_token_idle ? options->refresh_token_idle
								  : REFRESH_TOKEN_IDLE,
		.on_withdrawn = options->on_withdrawn,
	};
	documents.openid = document(write_openid);
	guesses_start();
	password_start();
	return ERR_OK;
}

void issuer_drain(void)
{
	password_stop();
	keys_drain();
}

void issuer_stop(void)
{
	if (!own.url.p)
		return;
	password_stop();
	guesses_stop();
	seal_stop();
	keys_stop();
	refresh_tokens_stop();
	forget();
}
