/* The second step of a sign-in, for those who have set up a second factor: a code after the password.
 * Who was right about the password gets a word that says so and is good for some minutes; it stands in
 * the form, and is no login. */
#include "auth/audit.h"
#include "auth/server/factor.h"
#include "auth/server/pages.h"
#include "auth/server/signin.h"

#include <time.h>

enum { HALF_LIFETIME = 300 };

static void show(struct authorize *a, int status, const char *problem)
{
	struct buf b = BUF_INIT(PAGE_MAX_BYTES);
	char csrf[CSRF_TEXT];
	page_begin(&b, "One more step");
	page_problem(&b, problem);
	page_form(&b, "/oauth/second", a->x->in.query, page_csrf(a->x, csrf));
	page_hidden(&b, "half", a->half);
	page_input(&b, "code", "Code", STR(""),
		problem ? "type=\"text\" inputmode=\"numeric\" autocomplete=\"one-time-code\" "
			  "autocapitalize=\"none\" spellcheck=\"false\" maxlength=\"32\" required "
			  "autofocus aria-invalid=\"true\" aria-describedby=\"problem code-hint\""
			: "type=\"text\" inputmode=\"numeric\" autocomplete=\"one-time-code\" "
			  "autocapitalize=\"none\" spellcheck=\"false\" maxlength=\"32\" required "
			  "autofocus aria-describedby=\"code-hint\"");
	buf_addf(&b,
		"<p class=\"hint\" id=\"code-hint\">The six digits that your authenticator app "
		"shows, or one of your recovery codes.</p>\n"
		"<button type=\"submit\">Sign in</button>\n</form>\n");
	page_link(&b, "/oauth/login", a->x->in.query, "Start again");
	page_end(a->x, status, &b, a->client ? a->redirect_uri : STR(""));
	a->x = NULL; /* answered; the page's texts were the request's */
	authorize_leave(&a);
}

void show_second_again(struct authorize *a)
{
	show(a, 503, page_cannot_now);
}

static void half_added(struct store_op *op)
{
	struct authorize *a = op->context;
	if (op->err == ERR_NOT_FOUND)
		show_sign_in(a, 403, sign_in_changed);
	else if (op->err)
		authorize_fail(a);
	else
		show(a, 200, NULL);
}

void sign_in_second(struct authorize *a)
{
	unsigned char hash[SECRET_HASH];
	int64_t now = time(NULL);
	secret_make(a->half_made);
	a->half = str_of(a->half_made);
	secret_hash(a->half, hash);
	store_ask(STORE_HALF_ADD, half_added, a, STORE_HASH(hash), STORE_TEXT(str_of(a->user)),
		STORE_INT(now + HALF_LIFETIME), STORE_INT(now), sign_in_fitted(a), STORE_END);
}

static void checked(void *context, const struct factor_outcome *outcome)
{
	struct authorize *a = context;
	enum err err = outcome->err;
	char wait[PAGE_WAIT_TEXT];
	if (err == ERR_OK || err == ERR_UNAUTHENTICATED || err == ERR_RATE_LIMITED)
		audit_add(.action = outcome->recovery ? "recovery" : "second-factor",
			.outcome = err ? err_info(err)->reason : NULL,
			.actor = err ? STR("") : str_of(a->user), .user = str_of(a->user),
			.client = a->client ? a->client->id : STR(""), .address = a->x->in.peer);
	if (err == ERR_OK)
		sign_in_let_in(a);
	else if (err == ERR_RATE_LIMITED)
		show(a, 429, page_wait(a->x, outcome->retry_after, wait));
	else if (err == ERR_UNAUTHENTICATED)
		show(a, 403,
			"This code is wrong, or was used already. Wait for the next one and try "
			"again.");
	else if (err == ERR_NOT_FOUND) /* it was taken off meanwhile */
		show_sign_in(a, 200, NULL);
	else
		authorize_fail(a);
}

static void got_half(struct store_op *op)
{
	struct authorize *a = op->context;
	struct str user = op->err ? STR("") : store_str(op, 0, 0);
	if (op->err == ERR_NOT_FOUND) {
		show_sign_in(a, 403, "This took too long. Sign in again.");
	} else if (op->err || user.n >= sizeof(a->user)) {
		authorize_fail(a);
	} else {
		memcpy(a->user, user.p, user.n);
		factor_check(user, a->code, a->x->in.peer, checked, a);
	}
}

static void second_posted(struct authorize *a)
{
	static const char *const names[] = {"half", "code", NULL};
	struct str fields[2];
	unsigned char hash[SECRET_HASH];
	bool ours = posted_read(&a->posted, a->x, names, fields);
	a->half = fields[0];
	a->code = fields[1];
	secret_hash(a->half, hash);
	if (ours)
		store_ask(STORE_HALF_GET, got_half, a, STORE_HASH(hash), STORE_INT(time(NULL)),
			STORE_END);
	else
		show(a, 403, posted_expired);
}

void serve_second(struct http_exchange *x)
{
	authorize_begin(x, second_posted);
}
