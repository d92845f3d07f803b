#include "auth/server/signin.h"

#include "auth/audit.h"
#include "auth/password.h"
#include "auth/server/issuer.h"
#include "auth/server/pages.h"
#include "auth/server/signin_pages.h"

#include <stdio.h>
#include <time.h>

/* ---- pages ---- */

static struct form_page form_page(struct authorize *a, int status, const char *problem, char *csrf)
{
	return (struct form_page){
		.status = status,
		.query = a->x->in.query,
		.redirect_uri = a->client ? a->redirect_uri : STR(""), /* proven, or not */
		.client_name = a->client             ? a->client->name
			: a->page == OWN_PAGE_DEVICE ? STR("your device")
						     : STR("your account"),
		.csrf = page_csrf(a->x, csrf),
		.name = a->name.n         ? a->name
			: a->login_hint.n ? a->login_hint
					  : str_of(a->wanted),
		.display_name = a->display_name,
		.problem = problem,
		.field = problem ? a->field : NULL,
		.sign_up = issuer->sign_up != ISSUER_SIGN_UP_CLOSED,
		.by_invitation = issuer->sign_up == ISSUER_SIGN_UP_INVITATION,
		.invitation = a->invitation,
	};
}

/* The page is written before the request is freed that its texts belong to; only the exchange
 * outlives it. */
static void show(struct authorize *a, int status, const char *problem,
	void (*page)(struct http_exchange *, const struct form_page *))
{
	char csrf[CSRF_TEXT];
	struct form_page p = form_page(a, status, problem, csrf);
	page(a->x, &p);
	a->x = NULL;
	authorize_leave(&a);
}

void show_sign_in(struct authorize *a, int status, const char *problem)
{
	show(a, status, problem, page_sign_in);
}

void show_sign_up(struct authorize *a, int status, const char *problem)
{
	show(a, status, problem, page_sign_up);
}

/* ---- reading a form ---- */

bool sign_in_read_form(struct authorize *a)
{
	static const char *const names[] = {"name", "display_name", "password", "invitation", NULL};
	struct str fields[4];
	bool ours = posted_read(&a->posted, a->x, names, fields);
	a->name = fields[0];
	a->display_name = fields[1];
	a->password = fields[2];
	if (fields[3].n)
		a->invitation = fields[3];
	return ours;
}

/* Whoever has just signed up is not to do it again: the name would be taken, by themselves. */
void show_form_again(struct authorize *a)
{
	if (!a->posted.text && !str_is(a->x->in.path, "/oauth/second"))
		sign_in_read_form(a);
	http_header(a->x, "Retry-After", STR("5"));
	if (a->signed_up)
		show_sign_in(a, 503,
			"Your account has been made, but the service could not sign you in. Wait a "
			"few seconds, then sign in with your name and password.");
	else if (str_is(a->x->in.path, "/oauth/second"))
		show_second_again(a);
	else if (str_is(a->x->in.path, "/oauth/signup"))
		show_sign_up(a, 503, page_cannot_now);
	else
		show_sign_in(a, 503, page_cannot_now);
}

struct str sign_in_client(const struct authorize *a)
{
	return a->client ? a->client->id : STR("");
}

const char sign_in_changed[] = "Something about your account was changed meanwhile. Sign in again.";

struct store_value sign_in_fitted(const struct authorize *a)
{
	return *a->fitted ? STORE_TEXT(str_of(a->fitted)) : STORE_NULL;
}

/* ---- what both end in: a new login of this browser, then back to the client ---- */

static void login_added(struct store_op *op)
{
	struct authorize *a = op->context;
	if (op->err == ERR_NOT_FOUND) {
		audit_add(.action = "sign-in", .outcome = err_info(ERR_UNAUTHENTICATED)->reason,
			.user = str_of(a->user), .client = sign_in_client(a),
			.address = a->x->in.peer);
		show_sign_in(a, 403, sign_in_changed);
		return;
	}
	if (op->err) {
		authorize_fail(a);
		return;
	}
	a->has_login = a->entered = true;
	page_set_login_cookie(a->x, str_of(a->login));
	if (!a->signed_up)
		audit_add(.action = "sign-in", .actor = str_of(a->user), .user = str_of(a->user),
			.client = sign_in_client(a), .address = a->x->in.peer);
	authorize_settle(a);
}

void sign_in_let_in(struct authorize *a)
{
	struct str before = page_login_cookie(a->x);
	unsigned char old[SECRET_HASH], half_hash[SECRET_HASH];
	struct store_value replaced = STORE_NULL, half = STORE_NULL;
	secret_make(a->login);
	secret_hash(str_of(a->login), a->login_hash);
	if (before.n) {
		secret_hash(before, old);
		replaced = STORE_HASH(old);
	}
	if (a->half.n) {
		secret_hash(a->half, half_hash);
		half = STORE_HASH(half_hash);
	}
	a->auth_time = time(NULL);
	store_ask(STORE_LOGIN_ADD, login_added, a, STORE_HASH(a->login_hash),
		STORE_TEXT(str_of(a->user)), STORE_INT(a->auth_time + LOGIN_LIFETIME),
		STORE_INT(a->auth_time), replaced, STORE_TEXT(a->x->in.peer),
		STORE_TEXT(browser_words(a->x)), sign_in_fitted(a), half, STORE_END);
}

void sign_in_set_user(struct authorize *a, struct str name)
{
	size_t n = name.n < sizeof(a->user) ? name.n : sizeof(a->user) - 1;
	memcpy(a->user, name.p, n);
	a->user[n] = 0;
}

/* ---- signing in ---- */

static void checked(void *context, const struct password_outcome *outcome)
{
	struct authorize *a = context;
	char wait[PAGE_WAIT_TEXT];
	a->field = "password";
	if (outcome->err == ERR_OK && a->has_factor) {
		sign_in_second(a);
		return;
	}
	if (outcome->err == ERR_OK) {
		sign_in_let_in(a);
		return;
	}
	/* only an account's name: what was typed there may be a password */
	audit_add(.action = "sign-in", .outcome = err_info(outcome->err)->reason,
		.user = str_of(a->user), .client = sign_in_client(a), .address = a->x->in.peer);
	if (outcome->err == ERR_RATE_LIMITED)
		show_sign_in(a, 429, page_wait(a->x, outcome->retry_after, wait));
	else if (outcome->err == ERR_UNAUTHENTICATED)
		show_sign_in(
			a, 403, "The name or the password is wrong. Check both and try again.");
	else
		authorize_fail(a);
}

/* An account that is unknown, disabled or without a password looks like one whose password is
 * wrong, and takes as long. */
static void got_user(struct store_op *op)
{
	struct authorize *a = op->context;
	struct password_attempt attempt = {
		.password = a->password, .account = a->name, .address = a->x->in.peer};
	enum err err = op->err == ERR_NOT_FOUND ? ERR_OK : op->err;
	if (!op->err) {
		struct user_record user = user_record_of(op, 0);
		sign_in_set_user(a, user.name);
		a->has_factor = user.second_factor;
		if (!user.disabled_at)
			attempt.hash = user.password;
		if (user.password.n < sizeof(a->fitted))
			memcpy(a->fitted, user.password.p, user.password.n);
	}
	if (!err)
		err = password_check(&attempt, checked, a);
	if (err)
		authorize_fail(a);
}

static void login_posted(struct authorize *a)
{
	if (!sign_in_read_form(a)) {
		show_sign_in(a, 403, posted_expired);
		return;
	}
	if (a->name.n > USER_NAME_MAX) /* there is no such account; the question costs the same */
		a->name.n = USER_NAME_MAX;
	store_ask(STORE_USER_GET, got_user, a, STORE_TEXT(a->name), STORE_END);
}

static void login_asked(struct authorize *a)
{
	show_sign_in(a, 200, NULL);
}

void serve_login(struct http_exchange *x)
{
	authorize_begin(x, x->in.verb == HTTP_POST ? login_posted : login_asked);
}
