/* The account at a glance, and the end of what is signed in. */
#include "auth/server/account.h"

#include "auth/server/factor.h"
#include "auth/server/logout.h"
#include "auth/server/pages.h"
#include "auth/server/visit.h"
#include "core/mem.h"
#include "store/store.h"

#include <time.h>

/* The columns of STORE_ACCOUNT_OVERVIEW: what a row is about, and what it says of it. */
enum { KIND, ID, AT, ADDRESS, WORDS, OWN };

static bool is(const struct store_op *op, size_t row, const char *kind)
{
	return str_is(store_str(op, row, KIND), kind);
}

/* ---- the page ---- */

static void add_time(struct buf *b, const char *before, int64_t at)
{
	struct tm tm;
	char text[32];
	time_t when = (time_t)at;
	gmtime_r(&when, &tm);
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M", &tm);
	buf_addf(b, "%s %s UTC", before, text);
}

/* "Firefox on Linux" out of what a browser says of itself; these words come in this order because
 * most browsers also name those that they want to be taken for. */
static void add_browser(struct buf *b, struct str agent)
{
	static const char *const browsers[][2] = {{"Edg/", "Edge"}, {"OPR/", "Opera"},
		{"Firefox/", "Firefox"}, {"Chrom", "Chrome"}, {"Safari/", "Safari"}};
	static const char *const systems[][2] = {{"Android", "Android"}, {"iPhone", "iPhone"},
		{"iPad", "iPad"}, {"Windows", "Windows"}, {"Mac OS X", "Mac"}, {"Linux", "Linux"}};
	const char *browser = "A browser", *system = NULL;
	for (size_t i = 0; i < sizeof(browsers) / sizeof(*browsers); i++)
		if (agent.n && memmem(agent.p, agent.n, browsers[i][0], strlen(browsers[i][0]))) {
			browser = browsers[i][1];
			break;
		}
	for (size_t i = 0; !system && i < sizeof(systems) / sizeof(*systems); i++)
		if (agent.n && memmem(agent.p, agent.n, systems[i][0], strlen(systems[i][0])))
			system = systems[i][1];
	buf_addf(b, "%s%s%s", browser, system ? " on " : "", system ? system : "");
}

static void add_end(
	struct visit *v, struct buf *b, const struct store_op *op, size_t row, const char *button)
{
	visit_form(v, b, "/oauth/account/end");
	page_hidden(b, "kind", store_str(op, row, KIND));
	page_hidden(b, "id", store_str(op, row, ID));
	buf_addf(b, "<button type=\"submit\" class=\"quiet\">%s</button>\n</form>\n", button);
}

static void add_login(struct visit *v, struct buf *b, const struct store_op *op, size_t row)
{
	bool own = store_int(op, row, OWN) != 0;
	buf_addf(b, "<li><p><strong>");
	add_browser(b, store_str(op, row, WORDS));
	buf_addf(b, "</strong>%s</p>\n<p class=\"hint\">", own ? " (this browser)" : "");
	add_time(b, "since", store_int(op, row, AT));
	if (store_str(op, row, ADDRESS).n) {
		buf_addf(b, ", from ");
		html_add(b, store_str(op, row, ADDRESS));
	}
	buf_addf(b, "</p>\n");
	if (!own)
		add_end(v, b, op, row, "Sign out there");
	buf_addf(b, "</li>\n");
}

static void add_client(struct visit *v, struct buf *b, const struct store_op *op, size_t row)
{
	struct str name = store_str(op, row, WORDS);
	buf_addf(b, "<li><p><strong>");
	html_add(b, name.n ? name : store_str(op, row, ID));
	buf_addf(b, "</strong></p>\n<p class=\"hint\">");
	add_time(b, "last used", store_int(op, row, AT));
	if (store_str(op, row, ADDRESS).n) {
		buf_addf(b, ", from ");
		html_add(b, store_str(op, row, ADDRESS));
	}
	buf_addf(b, "</p>\n");
	add_end(v, b, op, row, "Take its access away");
	buf_addf(b, "</li>\n");
}

static void add_list(struct visit *v, struct buf *b, const struct store_op *op, const char *kind,
	const char *title, const char *nothing,
	void (*add)(struct visit *, struct buf *, const struct store_op *, size_t))
{
	bool any = false;
	buf_addf(b, "<h2>%s</h2>\n", title);
	for (size_t i = 0; i < op->rows; i++) {
		if (!is(op, i, kind))
			continue;
		if (!any)
			buf_addf(b, "<ul class=\"rows\">\n");
		add(v, b, op, i);
		any = true;
	}
	if (any)
		buf_addf(b, "</ul>\n");
	else
		buf_addf(b, "<p class=\"hint\">%s</p>\n", nothing);
}

static void add_factors(struct buf *b, const struct store_op *op)
{
	bool on = false;
	int64_t left = 0;
	for (size_t i = 0; i < op->rows; i++) {
		on |= is(op, i, "totp");
		if (is(op, i, "recovery"))
			left = store_int(op, i, AT);
	}
	buf_addf(b,
		"<h2>Signing in</h2>\n<ul class=\"rows\">\n<li><p><a "
		"href=\"/oauth/account/password\">"
		"Change the password</a></p></li>\n<li><p><a "
		"href=\"/oauth/account/factor\">%s</a></p>"
		"<p class=\"hint\">%s</p></li>\n",
		on ? "Second factor: on" : "Set up a second factor",
		on ? "A code from your telephone is asked for after the password."
		   : "Then nobody signs in with your password alone.");
	if (on)
		buf_addf(b,
			"<li><p><a href=\"/oauth/account/recovery\">Recovery codes</a></p>"
			"<p class=\"hint\">%d of %d are left.</p></li>\n",
			(int)left, RECOVERY_CODES);
	buf_addf(b, "</ul>\n");
}

static void got_overview(struct store_op *op)
{
	struct visit *v = op->context;
	struct buf b = BUF_INIT(PAGE_MAX_BYTES);
	if (op->err) {
		visit_fail(v);
		return;
	}
	page_begin(&b, "Your account");
	buf_addf(&b, "<p class=\"hint\">You are signed in as <strong>");
	html_add(&b, str_of(v->user));
	buf_addf(&b, "</strong></p>\n");
	add_factors(&b, op);
	add_list(v, &b, op, "login", "Where you are signed in", "Nowhere.", add_login);
	add_list(v, &b, op, "client", "What has access", "No program has.", add_client);
	page_link(&b, "/oauth/logout", STR(""), "Sign out");
	visit_end(v, 200, &b);
}

static void show(struct visit *v)
{
	store_ask(STORE_ACCOUNT_OVERVIEW, got_overview, v, STORE_TEXT(str_of(v->user)),
		STORE_INT(time(NULL)), visit_login(v), STORE_END);
}

void serve_account(struct http_exchange *x)
{
	visit_begin(x, OWN_PAGE_ACCOUNT, NULL, show);
}

/* ---- the end of a login elsewhere, or of a client's access ---- */

static void ended(struct store_op *op)
{
	struct visit *v = op->context;
	if (op->err && op->err != ERR_NOT_FOUND) {
		visit_fail(v);
		return;
	}
	grants_ended(op, 1);
	visit_audit(v, "access.end", NULL, v->fields[0]);
	http_redirect(visit_leave(&v), STR("/oauth/account"));
}

static void end(struct visit *v)
{
	struct str kind = v->fields[0], id = v->fields[1];
	if (!v->ours)
		page_error(visit_leave(&v), 403, "Not done", posted_expired);
	else if (str_is(kind, "login"))
		store_ask(STORE_LOGIN_END_OTHER, ended, v, STORE_TEXT(str_of(v->user)),
			STORE_INT(time(NULL)), STORE_TEXT(id), STORE_END);
	else if (str_is(kind, "client"))
		store_ask(STORE_CLIENT_ACCESS_END, ended, v, STORE_TEXT(str_of(v->user)),
			STORE_INT(time(NULL)), STORE_TEXT(id), STORE_END);
	else
		page_error(visit_leave(&v), 400, "Bad request", "There is nothing of this kind.");
}

void serve_account_end(struct http_exchange *x)
{
	static const char *const fields[] = {"kind", "id", NULL};
	visit_begin(x, OWN_PAGE_ACCOUNT, fields, end);
}
