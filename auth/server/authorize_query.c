/* The query of an authorization request, read and checked. */
#include "auth/server/authorize.h"

#include "auth/server/hint.h"
#include "auth/server/issuer.h"
#include "auth/server/pages.h"
#include "core/form.h"
#include "core/json_scan.h"
#include "core/mem.h"

enum { QUERY_MAX = 6 * 1024, VALUE_MAX = 1024 };

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
	if (text.n && (json_decode_int(text, &a->max_age) || a->max_age < 0))
		return false;
	if (a->max_age == 0)
		a->prompt |= PROMPT_LOGIN;
	return true;
}

/* A word that is not known might have meant that somebody has to be asked: so it is no request. */
static bool read_prompt(struct authorize *a, struct str words)
{
	static const struct {
		const char *word;
		enum prompt prompt;
	} prompts[] = {{"none", PROMPT_NONE}, {"login", PROMPT_LOGIN}, {"consent", PROMPT_CONSENT},
		{"select_account", PROMPT_SELECT}, {"create", PROMPT_CREATE}};
	struct str word;
	while ((word = word_next(&words)).n) {
		unsigned found = 0;
		for (size_t i = 0; i < sizeof(prompts) / sizeof(*prompts); i++)
			if (str_is(word, prompts[i].word))
				found = prompts[i].prompt;
		if (!found)
			return false;
		a->prompt |= found;
	}
	return !(a->prompt & PROMPT_NONE) || a->prompt == PROMPT_NONE;
}

/* One that is too old to say who is meant is none, but for a client that nobody is to see: it might get
 * somebody else. NULL: all is right. */
static const char *read_hint(struct authorize *a, struct str token, const char **ret_error)
{
	struct id_hint hint;
	if (!token.n)
		return NULL;
	if (!id_hint_read(token, &hint) || !str_is(a->client->id, hint.client))
		return "id_token_hint is no ID token that was given to this client.";
	if (!hint.proven && (a->prompt & PROMPT_NONE)) {
		*ret_error = "login_required";
		return "id_token_hint is too old to say who is meant.";
	}
	a->wants_user = hint.proven;
	if (hint.proven)
		memcpy(a->wanted, hint.user, sizeof(a->wanted));
	return NULL;
}

/* What OpenID Connect knows and this issuer does not. */
static const char *unsupported(struct form_fields *r, const char **ret_error)
{
	static const struct {
		const char *name, *error;
	} rows[] = {{"request", "request_not_supported"},
		{"request_uri", "request_uri_not_supported"},
		{"registration", "registration_not_supported"}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (form_take(r, rows[i].name).n) {
			*ret_error = rows[i].error;
			return "Request objects and registration by request are not supported.";
		}
	return NULL;
}

/* What is wrong with the rest of the request, in the order in which a developer meets it. NULL: all
 * is right. */
static const char *read_rest(struct authorize *a, struct form_fields *r, const char **ret_error)
{
	*ret_error = "invalid_request";
	const char *wrong = unsupported(r, ret_error);
	if (wrong)
		return wrong;
	struct str type = form_take(r, "response_type"), mode = form_take(r, "response_mode");
	struct str method = form_take(r, "code_challenge_method"), scope = form_take(r, "scope");
	struct str prompt = form_take(r, "prompt"), max_age = form_take(r, "max_age");
	struct str hint = form_take(r, "id_token_hint");
	a->nonce = form_take(r, "nonce");
	a->challenge = form_take(r, "code_challenge");
	a->login_hint = form_take(r, "login_hint");
	a->invitation = form_take(r, "invitation");
	if (r->broken || a->nonce.n > VALUE_MAX)
		return "A parameter is there twice, too long, or badly encoded.";
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
	wrong = read_hint(a, hint, ret_error);
	if (wrong)
		return wrong;
	*ret_error = "invalid_scope";
	a->scope = client_grant(a->client, scope);
	return scope_set_empty(a->scope) ? "None of these scopes is open to this client." : NULL;
}

static void check_rest(struct authorize *a)
{
	struct form_fields r = {a->x->in.query, a->text, false};
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

/* ---- pages of our own ---- */

static const struct {
	const char *word, *path;
} own_pages[OWN_PAGES] = {
	[OWN_PAGE_ACCOUNT] = {"account", "/oauth/account"},
	[OWN_PAGE_PASSWORD] = {"password", "/oauth/account/password"},
	[OWN_PAGE_FACTOR] = {"factor", "/oauth/account/factor"},
	[OWN_PAGE_RECOVERY] = {"recovery", "/oauth/account/recovery"},
	[OWN_PAGE_DEVICE] = {"device", "/oauth/device"},
};

const char *own_page_word(enum own_page page)
{
	return own_pages[page].word;
}

const char *own_page_path(enum own_page page)
{
	return own_pages[page].path;
}

/* A sign-in to one of them. */
static void begin_own_page(struct authorize *a, struct form_fields *r, struct str page)
{
	a->user_code = form_take(r, "user_code");
	a->max_age = -1;
	a->login_hint = form_take(r, "login_hint");
	a->invitation = form_take(r, "invitation");
	for (enum own_page i = OWN_PAGE_NONE + 1; i < OWN_PAGES; i++)
		if (str_is(page, own_pages[i].word))
			a->page = i;
	if (a->page && !r->broken)
		a->next(a);
	else
		page_error(authorize_leave(&a), 400, "Bad request",
			"There is no such page to sign in to. Go back to where you came from.");
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
	struct form_fields r = {x->in.query, a->text, false};
	struct str page = form_take(&r, "page");
	if (page.n) {
		begin_own_page(a, &r, page);
		return;
	}
	a->client_id = form_take(&r, "client_id");
	a->redirect_uri = form_take(&r, "redirect_uri");
	a->state = form_take(&r, "state");
	if (r.broken || !a->client_id.n || !a->redirect_uri.n || a->state.n > VALUE_MAX)
		page_error(authorize_leave(&a), 400, "Bad request",
			"This address needs one client_id and one redirect_uri. Go back to the "
			"program that you came from and sign in from there.");
	else
		client_get(a->client_id, got_client, a);
}
