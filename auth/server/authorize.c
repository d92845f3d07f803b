#include "auth/server/authorize.h"

#include "auth/audit.h"
#include "auth/server/issuer.h"
#include "auth/server/login.h"
#include "auth/server/pages.h"
#include "auth/server/signin.h"
#include "core/form.h"
#include "core/mem.h"
#include "store/store.h"

#include <openssl/crypto.h>
#include <time.h>

enum { LOCATION_MAX = 8 * 1024, QUERY_MAX = 6 * 1024 };

struct http_exchange *authorize_leave(struct authorize **ret_a)
{
	struct authorize *a = *ret_a;
	struct http_exchange *x = a->x;
	*ret_a = NULL;
	posted_finish(&a->posted);
	OPENSSL_cleanse(a->login, sizeof(a->login));
	OPENSSL_cleanse(a->half_made, sizeof(a->half_made));
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
	if (a->x->in.verb == HTTP_POST && !str_is(a->x->in.path, "/oauth/consent"))
		show_form_again(a);
	else if (a->prompt & PROMPT_NONE)
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

static void give_code(struct authorize *a)
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
		login = STORE_HASH(a->login_hash);
	store_ask(STORE_CODE_ADD, granted, g, STORE_HASH(hash), STORE_TEXT(a->client->id),
		STORE_TEXT(str_of(a->user)), STORE_TEXT(a->redirect_uri),
		STORE_TEXT(scope_set_text(a->scope, scope)), STORE_TEXT(a->nonce),
		STORE_TEXT(a->challenge), STORE_INT(a->auth_time), STORE_INT(time(NULL)),
		STORE_TEXT(str_of(sid)), login, STORE_TEXT(a->x->in.peer),
		STORE_TEXT(browser_words(a->x)), STORE_INT(issuer->access_token_lifetime),
		STORE_END);
}

static void go_to_own_page(struct authorize *a)
{
	struct buf query = BUF_INIT(LOCATION_MAX), location = BUF_INIT(LOCATION_MAX);
	buf_addf(&location, "%s", own_page_path(a->page));
	if (a->page == OWN_PAGE_DEVICE && a->user_code.n) {
		form_add(&query, "user_code", a->user_code);
		buf_addc(&location, '?');
		buf_adds(&location, buf_str(&query));
	}
	http_redirect(authorize_leave(&a), buf_str(&location));
	buf_free(&location);
	buf_free(&query);
}

void authorize_grant(struct authorize *a)
{
	if (a->page)
		go_to_own_page(a);
	else
		give_code(a);
}

/* ---- who is signed in ---- */

static void got_login(struct store_op *op)
{
	struct authorize *a = op->context;
	if (op->err && op->err != ERR_NOT_FOUND) {
		authorize_fail(a);
		return;
	}
	if (login_found(op, a->user, &a->auth_time))
		a->has_login = true;
	a->next(a);
}

void authorize_find_login(struct authorize *a, void (*next)(struct authorize *a))
{
	a->next = next;
	if (!login_find(a->x, a->login_hash, got_login, a))
		next(a);
}

/* ---- GET /oauth/authorize ---- */

static bool will_do(const struct authorize *a)
{
	if (!a->has_login || (a->wants_user && strcmp(a->user, a->wanted) != 0))
		return false;
	return a->max_age < 0 || time(NULL) - a->auth_time <= a->max_age;
}

static void decide(struct authorize *a)
{
	if (will_do(a))
		authorize_settle(a);
	else if (a->prompt & PROMPT_NONE)
		authorize_refuse(a, "login_required", "Nobody who would do is signed in.");
	else if ((a->prompt & PROMPT_CREATE) && issuer->sign_up != ISSUER_SIGN_UP_CLOSED)
		show_sign_up(a, 200, NULL);
	else
		show_sign_in(a, 200, NULL);
}

static void look_for_login(struct authorize *a)
{
	if (a->prompt & (PROMPT_LOGIN | PROMPT_CREATE))
		decide(a);
	else
		authorize_find_login(a, decide);
}

/* A client may send its request as a form as well (OpenID Connect Core section 3.1.2.1). It goes on as
 * the address that it would have been: a page of ours has its request in the query. */
static void to_query(struct http_exchange *x)
{
	struct str body = x->in.body;
	bool plain = form_is(x->in.content_type) && body.n && body.n <= QUERY_MAX;
	for (size_t i = 0; plain && i < body.n; i++)
		plain = body.p[i] > ' ' && body.p[i] < 0x7f && body.p[i] != '#';
	if (!plain) {
		page_error(x, 400, "Bad request",
			"The program that sent you here did not send a form, or too much.");
		return;
	}
	struct buf location = BUF_INIT(LOCATION_MAX);
	buf_addf(&location, "/oauth/authorize?" STR_FMT, STR_ARG(body));
	http_redirect(x, buf_str(&location));
	buf_free(&location);
}

void serve_authorize(struct http_exchange *x)
{
	if (x->in.verb == HTTP_POST)
		to_query(x);
	else
		authorize_begin(x, look_for_login);
}
