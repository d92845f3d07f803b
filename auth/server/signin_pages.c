#include "auth/server/signin_pages.h"

#include "auth/password.h"
#include "auth/server/pages.h"
#include "store/users.h"

#include <stdio.h>

static void begin_form(struct buf *b, const struct form_page *p, const char *action)
{
	if (p->client_name.n) {
		buf_addf(b, "<p class=\"hint\">to continue to <strong>");
		html_add(b, p->client_name);
		buf_addf(b, "</strong></p>\n");
	}
	page_problem(b, p->problem);
	page_form(b, action, p->query, p->csrf);
}

/* A field that something is wrong with says so to who cannot see it, and has the focus. */
static void add_input(struct buf *b, const struct form_page *p, const char *id, const char *label,
	struct str value, const char *attributes, const char *hint, bool focus)
{
	bool wrong = p->field && strcmp(p->field, id) == 0;
	char all[512];
	snprintf(all, sizeof(all), "%s%s%s%s%s%s%s%s", attributes,
		hint || wrong ? " aria-describedby=\"" : "", hint ? hint : "",
		hint && wrong ? " " : "", wrong ? "problem" : "", hint || wrong ? "\"" : "",
		wrong ? " aria-invalid=\"true\"" : "",
		wrong || (focus && !p->field) ? " autofocus" : "");
	page_input(b, id, label, value, all);
}

void page_sign_in(struct http_exchange *x, const struct form_page *p)
{
	struct buf b = BUF_INIT(PAGE_MAX_BYTES);
	page_begin(&b, "Sign in");
	begin_form(&b, p, "/oauth/login");
	add_input(&b, p, "name", "Name", p->name,
		"type=\"text\" autocomplete=\"username\" autocapitalize=\"none\" "
		"spellcheck=\"false\" maxlength=\"64\" required",
		NULL, !p->name.n);
	add_input(&b, p, "password", "Password", STR(""),
		"type=\"password\" autocomplete=\"current-password\" maxlength=\"256\" required",
		NULL, p->name.n > 0);
	buf_addf(&b, "<button type=\"submit\">Sign in</button>\n</form>\n");
	if (p->sign_up)
		page_link(&b, "/oauth/signup", p->query,
			p->by_invitation ? "Invited? Sign up" : "No account yet? Sign up");
	page_end(x, p->status, &b, p->redirect_uri);
}

void page_sign_up(struct http_exchange *x, const struct form_page *p)
{
	struct buf b = BUF_INIT(PAGE_MAX_BYTES);
	page_begin(&b, "Sign up");
	begin_form(&b, p, "/oauth/signup");
	if (p->by_invitation)
		add_input(&b, p, "invitation", "Your invitation", p->invitation,
			"type=\"text\" autocomplete=\"off\" autocapitalize=\"none\" "
			"spellcheck=\"false\" maxlength=\"64\" required",
			NULL, !p->invitation.n);
	add_input(&b, p, "name", "Name", p->name,
		"type=\"text\" autocomplete=\"username\" autocapitalize=\"none\" "
		"spellcheck=\"false\" maxlength=\"64\" pattern=\"[A-Za-z0-9][A-Za-z0-9._\\-]*\" "
		"required",
		"name-hint", !p->by_invitation || p->invitation.n);
	buf_addf(&b,
		"<p class=\"hint\" id=\"name-hint\">Up to %d letters, digits, dots, _ and -. "
		"It stays the same for ever.</p>\n",
		USER_NAME_MAX);
	add_input(&b, p, "display_name", "Name that others see (optional)", p->display_name,
		"type=\"text\" autocomplete=\"nickname\" maxlength=\"128\"", NULL, false);
	add_input(&b, p, "password", "Password", STR(""),
		"type=\"password\" autocomplete=\"new-password\" minlength=\"8\" "
		"maxlength=\"256\" required",
		"password-hint", false);
	buf_addf(&b, "<p class=\"hint\" id=\"password-hint\">At least %d characters.</p>\n",
		PASSWORD_MIN);
	buf_addf(&b, "<button type=\"submit\">Sign up</button>\n</form>\n");
	page_link(&b, "/oauth/login", p->query, "You have an account? Sign in");
	page_end(x, p->status, &b, p->redirect_uri);
}
