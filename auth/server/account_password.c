/* Another password, by who knows the old one. Everything else that was signed in with the old one
 * ends. */
#include "auth/password.h"
#include "auth/server/account.h"
#include "auth/server/logout.h"
#include "auth/server/pages.h"
#include "auth/server/visit.h"

#include <time.h>

enum { OLD, NEW };

static void show(struct visit *v, int status, const char *field, const char *problem)
{
	struct buf b = BUF_INIT(PAGE_MAX_BYTES);
	bool old_wrong = field && strcmp(field, "old") == 0;
	bool new_wrong = field && strcmp(field, "password") == 0;
	page_begin(&b, "Change the password");
	page_problem(&b, problem);
	visit_form(v, &b, "/oauth/account/password");
	/* for programs that keep passwords */
	buf_addf(
		&b, "<input type=\"text\" name=\"name\" autocomplete=\"username\" hidden value=\"");
	html_add(&b, str_of(v->user));
	buf_addf(&b, "\">\n");
	page_input(&b, "old", "The password so far", STR(""),
		old_wrong ? "type=\"password\" autocomplete=\"current-password\" maxlength=\"256\" "
			    "required autofocus aria-invalid=\"true\" aria-describedby=\"problem\""
			  : "type=\"password\" autocomplete=\"current-password\" maxlength=\"256\" "
			    "required autofocus");
	page_input(&b, "password", "The new one", STR(""),
		new_wrong ? "type=\"password\" autocomplete=\"new-password\" minlength=\"8\" "
			    "maxlength=\"256\" required aria-invalid=\"true\" "
			    "aria-describedby=\"problem password-hint\""
			  : "type=\"password\" autocomplete=\"new-password\" minlength=\"8\" "
			    "maxlength=\"256\" required aria-describedby=\"password-hint\"");
	buf_addf(&b,
		"<p class=\"hint\" id=\"password-hint\">At least %d characters. You will be signed "
		"out everywhere else.</p>\n"
		"<button type=\"submit\">Change the password</button>\n</form>\n",
		PASSWORD_MIN);
	page_link(&b, "/oauth/account", STR(""), "Back to your account");
	visit_end(v, status, &b);
}

static void stored(struct store_op *op)
{
	struct visit *v = op->context;
	if (op->err == ERR_NOT_FOUND) {
		page_error(visit_leave(&v), 403, "Not done",
			"You were signed out meanwhile, and the password is as it was. Sign in "
			"again.");
		return;
	}
	if (op->err) {
		visit_fail(v);
		return;
	}
	grants_ended(op, 2);
	visit_audit(v, "password", NULL, STR(""));
	page_notice(visit_leave(&v), "Password changed",
		"You are signed out everywhere else. <a href=\"/oauth/account\">Back to your "
		"account</a>");
}

static void hashed(void *context, const struct password_outcome *outcome)
{
	struct visit *v = context;
	if (outcome->err)
		visit_fail(v);
	else
		store_ask(STORE_ACCOUNT_PASSWORD, stored, v, STORE_TEXT(str_of(v->user)),
			STORE_TEXT(outcome->hash), STORE_INT(time(NULL)), visit_login(v),
			STORE_END);
}

static void checked(void *context, const struct password_outcome *outcome)
{
	struct visit *v = context;
	char wait[PAGE_WAIT_TEXT];
	enum err err = outcome->err;
	if (err)
		visit_audit(v, "password", err_info(err)->reason, STR(""));
	if (err == ERR_RATE_LIMITED) {
		show(v, 429, "old", page_wait(v->x, outcome->retry_after, wait));
	} else if (err == ERR_UNAUTHENTICATED) {
		show(v, 403, "old", "The password so far is another one.");
	} else if (err || password_hash(v->fields[NEW], hashed, v)) {
		visit_fail(v);
	}
}

static void change(struct visit *v)
{
	if (v->x->in.verb != HTTP_POST)
		show(v, 200, NULL, NULL);
	else if (!v->ours)
		show(v, 403, NULL, posted_expired);
	else if (password_fit(v->fields[NEW]))
		show(v, 400, "password", "A password has 8 to 256 characters. Choose another one.");
	else
		visit_check_password(v, v->fields[OLD], checked);
}

void serve_account_password(struct http_exchange *x)
{
	static const char *const fields[] = {"old", "password", NULL};
	visit_begin(x, OWN_PAGE_PASSWORD, fields, change);
}
