/* Consent: whether the person who is signed in wants this client to have what it asks for. It is
 * remembered for the client, and asked again when it wants more. Clients that the operator trusts ask
 * nobody. */
#include "auth/audit.h"
#include "auth/server/authorize.h"
#include "auth/server/consent.h"
#include "auth/server/issuer.h"
#include "auth/server/pages.h"
#include "auth/server/redirect.h"
#include "auth/server/signin.h"
#include "store/store.h"

#include <time.h>

/* ---- the page ---- */

static void add_line(struct buf *b, bool wanted, const char *sentence)
{
	if (wanted)
		buf_addf(b, "<li>%s</li>\n", sentence);
}

void scope_set_describe(struct buf *b, struct scope_set s)
{
	static const struct {
		enum scope scope;
		const char *sentence;
	} rows[] = {{SCOPE_ROOMS_JOIN, "Join rooms, call and write there in your name"},
		{SCOPE_ROOMS_CREATE, "Open rooms in your name"},
		{SCOPE_ROOMS_MODERATE, "Moderate rooms: put others out, lock and change rooms"},
		{SCOPE_DATASETS_READ, "Read the data that you may read"},
		{SCOPE_DATASETS_WRITE, "Change the data that you may change"},
		{SCOPE_RPC_CALL, "Call the services behind this server in your name"},
		{SCOPE_RPC_SERVE, "Answer others as a service of this server"},
		{SCOPE_ADMIN, "Administer this whole server"}};
	buf_addf(b, "<ul class=\"scopes\">\n");
	add_line(b, s.openid || s.profile,
		s.profile ? "Know your name and the name that others see" : "Know your name");
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		add_line(b, s.scopes & rows[i].scope, rows[i].sentence);
	add_line(b, s.offline, "Stay connected while you are away");
	buf_addf(b, "</ul>\n");
}

static void add_who(struct buf *b, const struct authorize *a, const char *before)
{
	buf_addf(b, "<p class=\"hint\">%s <strong>", before);
	html_add(b, str_of(a->user));
	buf_addf(b, "</strong></p>\n");
}

static void add_client(struct buf *b, const struct authorize *a)
{
	buf_addf(b, "<p><strong>");
	html_add(b, a->client->name);
	buf_addf(b, "</strong> at <span class=\"place\">");
	struct buf place = BUF_INIT(REDIRECT_MAX);
	redirect_add_source(&place, a->redirect_uri);
	html_add(b, buf_str(&place));
	buf_free(&place);
	buf_addf(b, "</span> would like to:</p>\n");
}

/* ask: for consent; else only which account it shall be. */
static void show(struct authorize *a, int status, bool ask, const char *problem)
{
	struct buf b = BUF_INIT(PAGE_MAX_BYTES);
	char csrf[CSRF_TEXT];
	page_begin(&b, ask ? "Allow access?" : "Continue?");
	add_who(&b, a, "You are signed in as");
	page_problem(&b, problem);
	if (ask) {
		add_client(&b, a);
		scope_set_describe(&b, a->scope);
	} else {
		buf_addf(&b, "<p>to continue to <strong>");
		html_add(&b, a->client->name);
		buf_addf(&b, "</strong></p>\n");
	}
	page_form(&b, "/oauth/consent", a->x->in.query, page_csrf(a->x, csrf));
	buf_addf(&b,
		"<button type=\"submit\" name=\"decision\" value=\"allow\">%s</button>\n"
		"<button type=\"submit\" class=\"quiet\" name=\"decision\" "
		"value=\"deny\">%s</button>\n"
		"</form>\n",
		ask ? "Allow" : "Continue", ask ? "Deny" : "Cancel");
	page_link(&b, "/oauth/login", a->x->in.query, "Use another account");
	page_end(a->x, status, &b, a->redirect_uri);
	a->x = NULL; /* answered; the page's texts were the request's */
	authorize_leave(&a);
}

/* ---- whether it has to be asked ---- */

/* A program on somebody's own machine that keeps no secret can be anybody who knows its client_id, so
 * what was allowed to it once is not allowed to whoever comes next (RFC 8252 section 8.6). */
static bool remembers(const struct authorize *a)
{
	return a->client->confidential || str_starts(a->redirect_uri, STR("https://"));
}

static bool covers(struct scope_set given, struct scope_set asked)
{
	struct scope_set common = scope_set_common(given, asked);
	return common.scopes == asked.scopes && common.openid == asked.openid &&
		common.profile == asked.profile && common.offline == asked.offline;
}

static void got_consent(struct store_op *op)
{
	struct authorize *a = op->context;
	if (op->err && op->err != ERR_NOT_FOUND) {
		authorize_fail(a);
		return;
	}
	bool given = a->client->trusted ||
		(!op->err && remembers(a) &&
			covers(scope_set_parse(store_str(op, 0, 0)), a->scope));
	bool ask = !given || (a->prompt & PROMPT_CONSENT);
	bool choose = (a->prompt & PROMPT_SELECT) && !a->entered;
	if (!ask && !choose)
		authorize_grant(a);
	else if (a->prompt & PROMPT_NONE)
		authorize_refuse(a, "consent_required", "The account has not allowed this yet.");
	else
		show(a, 200, ask, NULL);
}

static void look_for_consent(struct authorize *a, void (*done)(struct store_op *op))
{
	store_ask(STORE_CONSENT_GET, done, a, STORE_TEXT(str_of(a->user)),
		STORE_TEXT(a->client->id), STORE_END);
}

void authorize_settle(struct authorize *a)
{
	bool other = a->wants_user && strcmp(a->user, a->wanted) != 0;
	if (a->page ||
		(!other && a->client->trusted && !(a->prompt & (PROMPT_CONSENT | PROMPT_SELECT))))
		authorize_grant(a);
	else if (other)
		authorize_refuse(a, "login_required", "Somebody else has signed in.");
	else
		look_for_consent(a, got_consent);
}

/* ---- the answer ---- */

static void kept(struct store_op *op)
{
	struct authorize *a = op->context;
	if (op->err)
		authorize_fail(a);
	else
		authorize_grant(a);
}

/* What was allowed before stays allowed. */
static void keep(struct store_op *op)
{
	struct authorize *a = op->context;
	char text[SCOPE_SET_TEXT_MAX];
	struct scope_set all = a->scope;
	if (op->err && op->err != ERR_NOT_FOUND) {
		authorize_fail(a);
		return;
	}
	if (!op->err)
		all = scope_set_both(all, scope_set_parse(store_str(op, 0, 0)));
	store_ask(STORE_CONSENT_PUT, kept, a, STORE_TEXT(str_of(a->user)),
		STORE_TEXT(a->client->id), STORE_TEXT(scope_set_text(all, text)),
		STORE_INT(time(NULL)), STORE_END);
}

static void decided(struct authorize *a, bool allowed)
{
	char text[SCOPE_SET_TEXT_MAX];
	audit_add(.action = "consent", .outcome = allowed ? NULL : "access_denied",
		.actor = str_of(a->user), .user = str_of(a->user), .client = a->client->id,
		.address = a->x->in.peer, .detail = scope_set_text(a->scope, text));
	if (allowed)
		look_for_consent(a, keep);
	else
		authorize_refuse(a, "access_denied", "The account's owner said no.");
}

/* Of a login that was asked for anew the form may not make an old one good; but the time that the
 * page was looked at does not count. */
static bool may_decide(const struct authorize *a)
{
	int64_t age = time(NULL) - a->auth_time;
	bool fresh = !(a->prompt & PROMPT_LOGIN) || age <= LOGIN_FRESH;
	if (a->max_age >= 0 && age > a->max_age && age > LOGIN_FRESH)
		fresh = false;
	return a->has_login && fresh && (!a->wants_user || strcmp(a->user, a->wanted) == 0);
}

static void with_login(struct authorize *a)
{
	static const char *const names[] = {"decision", NULL};
	struct str decision;
	bool ours = posted_read(&a->posted, a->x, names, &decision);
	bool allow = str_is(decision, "allow");
	if (!may_decide(a))
		show_sign_in(a, 200, NULL);
	else if (!ours || (!allow && !str_is(decision, "deny")))
		show(a, 403, true, posted_expired);
	else
		decided(a, allow);
}

static void consent_posted(struct authorize *a)
{
	if (a->page || (a->prompt & PROMPT_NONE))
		page_error(authorize_leave(&a), 400, "Bad request",
			"Nothing was asked here. Go back to where you came from.");
	else
		authorize_find_login(a, with_login);
}

void serve_consent(struct http_exchange *x)
{
	authorize_begin(x, consent_posted);
}
