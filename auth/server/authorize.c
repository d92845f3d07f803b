#include "auth/server/authorize.h"

#include "auth/audit.h"
#include "auth/server/issuer.h"
#include "auth/server/pages.h"
#include "auth/server/signin.h"
#include "core/form.h"
#include "core/json_scan.h"
#include "core/mem.h"
#include "store/store.h"

#include <openssl/crypto.h>
#include <time.h>

enum { QUERY_MAX = 6 * 1024, VALUE_MAX = 1024, LOCATION_MAX = 8 * 1024 };

struct http_exchange *authorize_leave(struct authorize **ret_a)
{
	struct authorize *a = *ret_a;
	struct http_exchange *x = a->x;
	*ret_a = NULL;
	if (a->form)
		OPENSSL_cleanse(a->form, a->form_n);
	OPENSSL_cleanse(a->login, sizeof(a->login));
	free(a->form);
	free(a->text);
	client_free(&a->client);
	free(a);
	return x;
}

/* ---- going back to the client ---- */

static void go_back(struct authorize *a, struct buf *answer)
{
	struct buf location = BUF_INIT(LOCATION_MAX);
	if (a->state.n)
		form_add(answer, "state", a->state);
	form_add(answer, "iss", issuer->url);
	buf_adds(&location, a->redirect_uri);
	buf_addc(&location, memchr(a->redirect_uri.p, '?', a->redirect_uri.n) ? '&' : '?');
	buf_adds(&location, buf_str(answer));
	struct http_exchange *x = authorize_leave(&a);
	if (location.err || answer->err)
		page_error(x, 400, "Bad request", "The program that sent you here sent too much.");
	else
		http_redirect(x, buf_str(&location));
	buf_free(&location);
	buf_free(answer);
}

void authorize_refuse(struct authorize *a, const char *error, const char *description)
{
	struct buf answer = BUF_INIT(LOCATION_MAX);
	form_add(&answer, "error", str_of(error));
	form_add(&answer, "error_description", str_of(description));
	go_back(a, &answer);
}

void authorize_fail(struct authorize *a)
{
	if (a->x->in.verb == HTTP_POST)
		show_form_again(a);
	else if (a->prompt_none)
		authorize_refuse(
			a, "temporarily_unavailable", "The service cannot do this just now.");
	else
		page_failed(authorize_leave(&a));
}

/* The code is only written down as a hash, so it waits here. */
struct granting {
	struct authorize *a;
	char code[SECRET_TEXT + 1];
};

static void granted(struct store_op *op)
{
	struct granting *g = op->context;
	struct authorize *a = g->a;
	if (op->err == ERR_NOT_FOUND) {
		authorize_refuse(a, "access_denied", "The account is disabled.");
	} else if (op->err) {
		authorize_fail(a);
	} else {
		struct buf answer = BUF_INIT(LOCATION_MAX);
		char scope[SCOPE_SET_TEXT_MAX];
		audit_add(.action = "authorize", .actor = str_of(a->user), .user = str_of(a->user),
			.client = a->client->id, .address = a->x->in.peer,
			.detail = scope_set_text(a->scope, scope));
		form_add(&answer, "code", str_of(g->code));
		go_back(a, &answer);
	}
	OPENSSL_cleanse(g, sizeof(*g));
	free(g);
}

/* What the browser calls itself, as much as a list shows of it. */
struct str browser_words(const struct http_exchange *x)
{
	struct str agent = x->in.user_agent;
	if (agent.n > AGENT_MAX)
		agent.n = AGENT_MAX;
	return str_utf8_valid(agent) && !str_has_control(agent) ? agent : STR("");
}

void authorize_grant(struct authorize *a)
{
	struct granting *g = mem_new(struct granting);
	unsigned char hash[SECRET_HASH];
	char scope[SCOPE_SET_TEXT_MAX], sid[SID_DIGITS + 1];
	struct store_value login = STORE_NULL;
	g->a = a;
	secret_make(g->code);
	secret_hash(str_of(g->code), hash);
	secret_make_hex(sid, SID_DIGITS);
	if (a->has_login)
		login = STORE_BLOB(((struct str){(char *)a->login_hash, SECRET_HASH}));
	store_ask(STORE_CODE_ADD, granted, g,
		STORE_BLOB(((struct str){(char *)hash, sizeof(hash)})), STORE_TEXT(a->client->id),
		STORE_TEXT(str_of(a->user)), STORE_TEXT(a->redirect_uri),
		STORE_TEXT(scope_set_text(a->scope, scope)), STORE_TEXT(a->nonce),
		STORE_TEXT(a->challenge), STORE_INT(a->auth_time), STORE_INT(time(NULL)),
		STORE_TEXT(str_of(sid)), login, STORE_TEXT(a->x->in.peer),
		STORE_TEXT(browser_words(a->x)), STORE_INT(issuer->access_token_lifetime),
		STORE_END);
}

/* ---- reading the request ---- */

/* Where values are decoded to, one behind the other: each is no longer than it was escaped. */
struct reading {
	struct str query;
	char *at;
	bool broken;
};

static struct str read_one(struct reading *r, const char *name)
{
	struct str value = {"", 0};
	enum err err = form_get(r->query, name, r->at, &value);
	if (err == ERR_OK)
		r->at += value.n;
	else if (err != ERR_NOT_FOUND)
		r->broken = true;
	return value;
}

static bool is_challenge(struct str s)
{
	if (s.n != SECRET_TEXT)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
			    s.p[i]))
			return false;
	return true;
}

static bool read_max_age(struct authorize *a, struct str text)
{
	a->max_age = -1;
	return !text.n || (json_decode_int(text, &a->max_age) == ERR_OK && a->max_age >= 0);
}

static bool read_prompt(struct authorize *a, struct str words)
{
	a->prompt_none = words_have(words, "none");
	a->prompt_create = words_have(words, "create");
	a->prompt_login = words_have(words, "login") || words_have(words, "select_account");
	return !a->prompt_none || str_is(words, "none");
}

/* What is wrong with the rest of the request, in the order in which a developer meets it. NULL: all
 * is right. */
static const char *read_rest(struct authorize *a, struct reading *r, const char **ret_error)
{
	*ret_error = "invalid_request";
	struct str type = read_one(r, "response_type"), mode = read_one(r, "response_mode");
	struct str method = read_one(r, "code_challenge_method"), scope = read_one(r, "scope");
	struct str request = read_one(r, "request"), request_uri = read_one(r, "request_uri");
	struct str prompt = read_one(r, "prompt"), max_age = read_one(r, "max_age");
	a->nonce = read_one(r, "nonce");
	a->challenge = read_one(r, "code_challenge");
	a->login_hint = read_one(r, "login_hint");
	if (r->broken || a->nonce.n > VALUE_MAX)
		return "A parameter is there twice, too long, or badly encoded.";
	if (request.n || request_uri.n) {
		*ret_error = request.n ? "request_not_supported" : "request_uri_not_supported";
		return "Request objects are not supported.";
	}
	if (type.n && !str_is(type, "code"))
		*ret_error = "unsupported_response_type";
	if (!str_is(type, "code"))
		return "response_type must be code.";
	if (mode.n && !str_is(mode, "query"))
		return "response_mode must be query.";
	if (!is_challenge(a->challenge) || !str_is(method, "S256"))
		return "PKCE is needed: code_challenge with code_challenge_method S256.";
	if (!read_prompt(a, prompt) || !read_max_age(a, max_age))
		return "prompt or max_age makes no sense.";
	*ret_error = "invalid_scope";
	a->scope = client_grant(a->client, scope);
	return scope_set_empty(a->scope) ? "None of these scopes is open to this client." : NULL;
}

static void check_rest(struct authorize *a)
{
	struct reading r = {a->x->in.query, a->text, false};
	const char *error;
	/* client_id, redirect_uri and state lie at the front of the text already */
	r.at += a->client_id.n + a->redirect_uri.n + a->state.n;
	const char *wrong = read_rest(a, &r, &error);
	if (!wrong && !client_may(a->client, "authorization_code")) {
		error = "unauthorized_client";
		wrong = "This client may not sign people in.";
	}
	if (wrong)
		authorize_refuse(a, error, wrong);
	else
		a->next(a);
}

static void got_client(void *context, enum err err, struct client *client)
{
	struct authorize *a = context;
	a->client = client;
	if (err == ERR_NOT_FOUND)
		page_error(authorize_leave(&a), 400, "Unknown client",
			"The program that sent you here is not registered. If it is yours, "
			"register it with \"signalbox client add\" and use the client_id that "
			"this prints.");
	else if (err)
		authorize_fail(a);
	else if (!client_redirects_to(client, a->redirect_uri))
		page_error(authorize_leave(&a), 400, "Wrong return address",
			"The program that sent you here asked to get you back at an address that "
			"is not registered for it. If it is yours, register exactly this "
			"redirect_uri.");
	else
		check_rest(a);
}

void authorize_begin(struct http_exchange *x, void (*next)(struct authorize *a))
{
	if (x->in.query.n > QUERY_MAX) {
		page_error(x, 400, "Bad request", "The program that sent you here sent too much.");
		return;
	}
	struct authorize *a = mem_new(struct authorize);
	a->x = x;
	a->next = next;
	a->text = mem_alloc(2 * x->in.query.n + 1);
	struct reading r = {x->in.query, a->text, false};
	a->client_id = read_one(&r, "client_id");
	a->redirect_uri = read_one(&r, "redirect_uri");
	a->state = read_one(&r, "state");
	if (r.broken || !a->client_id.n || !a->redirect_uri.n || a->state.n > VALUE_MAX)
		page_error(authorize_leave(&a), 400, "Bad request",
			"This address needs one client_id and one redirect_uri. Go back to the "
			"program that you came from and sign in from there.");
	else
		client_get(a->client_id, got_client, a);
}

/* ---- GET /oauth/authorize ---- */

static void decide(struct authorize *a, bool signed_in)
{
	if (signed_in)
		authorize_grant(a);
	else if (a->prompt_none)
		authorize_refuse(a, "login_required", "Nobody is signed in.");
	else if (a->prompt_create && issuer->sign_up_open)
		show_sign_up(a, 200, NULL);
	else
		show_sign_in(a, 200, NULL);
}

static void got_login(struct store_op *op)
{
	struct authorize *a = op->context;
	if (op->err && op->err != ERR_NOT_FOUND) {
		authorize_fail(a);
		return;
	}
	if (op->err) {
		decide(a, false);
		return;
	}
	struct str user = store_str(op, 0, 0);
	a->auth_time = store_int(op, 0, 2);
	a->has_login = true;
	if (user.n < sizeof(a->user))
		memcpy(a->user, user.p, user.n);
	bool fresh = a->max_age < 0 || time(NULL) - a->auth_time <= a->max_age;
	decide(a, *a->user && fresh);
}

static void look_for_login(struct authorize *a)
{
	struct str cookie = page_login_cookie(a->x);
	if (!cookie.n || a->prompt_login || a->prompt_create) {
		decide(a, false);
		return;
	}
	secret_hash(cookie, a->login_hash);
	store_ask(STORE_LOGIN_GET, got_login, a,
		STORE_BLOB(((struct str){(char *)a->login_hash, SECRET_HASH})),
		STORE_INT(time(NULL)), STORE_END);
}

void serve_authorize(struct http_exchange *x)
{
	authorize_begin(x, look_for_login);
}
