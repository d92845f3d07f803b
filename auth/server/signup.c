/* Signing up: for everybody, or for who has an invitation. */
#include "auth/audit.h"
#include "auth/guesses.h"
#include "auth/password.h"
#include "auth/server/invitations.h"
#include "auth/server/issuer.h"
#include "auth/server/pages.h"
#include "auth/server/signin.h"

#include <time.h>

static const char taken[] = "This name is taken. Choose another one.";
static const char uninvited[] =
	"This invitation is not known, was used, or is too old. Ask for another "
	"one.";

static void refuse(struct authorize *a, int status, const char *field, const char *problem)
{
	a->field = field;
	show_sign_up(a, status, problem);
}

static void audit(const struct authorize *a, const char *outcome)
{
	audit_add(.action = "sign-up", .outcome = outcome, .actor = str_of(outcome ? "" : a->user),
		.user = str_of(a->user), .client = sign_in_client(a), .address = a->x->in.peer);
}

static void user_added(struct store_op *op)
{
	struct authorize *a = op->context;
	bool invited = op->verb == STORE_USER_ADD_INVITED;
	a->signed_up = !op->err;
	if (op->err == ERR_CONFLICT) {
		audit(a, "name_taken");
		refuse(a, 409, "name", taken);
	} else if (op->err == ERR_NOT_FOUND && invited) { /* somebody was faster */
		audit(a, "no_invitation");
		refuse(a, 403, "invitation", uninvited);
	} else if (op->err) {
		authorize_fail(a);
	} else {
		audit(a, NULL);
		sign_in_let_in(a);
	}
}

static void hashed(void *context, const struct password_outcome *outcome)
{
	struct authorize *a = context;
	unsigned char hash[SECRET_HASH];
	bool invited = issuer->sign_up == ISSUER_SIGN_UP_INVITATION;
	if (outcome->err) {
		authorize_fail(a);
		return;
	}
	sign_in_set_user(a, a->name);
	invitation_hash(a->invitation, hash);
	store_ask(invited ? STORE_USER_ADD_INVITED : STORE_USER_ADD, user_added, a,
		STORE_TEXT(a->name), STORE_TEXT(a->display_name.n ? a->display_name : a->name),
		STORE_TEXT(outcome->hash), STORE_INT(time(NULL)),
		invited ? STORE_HASH(hash) : STORE_END, STORE_END);
}

static void make(struct authorize *a)
{
	char text[PAGE_WAIT_TEXT];
	int64_t wait = issuer->sign_up == ISSUER_SIGN_UP_OPEN ? sign_up_take(a->x->in.peer) : 0;
	if (wait) {
		audit(a, err_info(ERR_RATE_LIMITED)->reason);
		refuse(a, 429, NULL,
			page_wait_for(a->x, "Too many accounts were made from your address.", wait,
				text));
	} else if (password_hash(a->password, hashed, a))
		authorize_fail(a);
}

/* ---- invitations ---- */

static void got_invitation(struct store_op *op)
{
	struct authorize *a = op->context;
	if (op->err == ERR_NOT_FOUND) {
		audit(a, "no_invitation");
		refuse(a, 403, "invitation", uninvited);
	} else if (op->err) {
		authorize_fail(a);
	} else {
		guess_right(STR(""), a->x->in.peer);
		make(a);
	}
}

/* Before the password is hashed: a stranger is to cost nothing. */
static void look_for_invitation(struct authorize *a)
{
	unsigned char hash[SECRET_HASH];
	char wait[PAGE_WAIT_TEXT];
	int64_t seconds = guess_take(STR(""), a->x->in.peer);
	if (seconds) {
		refuse(a, 429, "invitation", page_wait(a->x, seconds, wait));
		return;
	}
	invitation_hash(a->invitation, hash);
	store_ask(STORE_INVITATION_GET, got_invitation, a, STORE_HASH(hash), STORE_INT(time(NULL)),
		STORE_END);
}

/* ---- the form ---- */

static const char *wrong_with(struct authorize *a)
{
	a->field = "name";
	if (!user_name_valid(a->name))
		return USER_NAME_RULE;
	a->field = "display_name";
	if (a->display_name.n && !user_display_name_valid(a->display_name))
		return USER_DISPLAY_NAME_RULE;
	a->field = "password";
	if (password_fit(a->password))
		return "A password has 8 to 256 characters. Choose another one.";
	a->field = NULL;
	return NULL;
}

static void signup_posted(struct authorize *a)
{
	bool ours = sign_in_read_form(a);
	const char *wrong = ours ? wrong_with(a) : posted_expired;
	if (wrong)
		show_sign_up(a, ours ? 400 : 403, wrong);
	else if (client_reserves_name(a->name))
		refuse(a, 409, "name", taken);
	else if (issuer->sign_up == ISSUER_SIGN_UP_INVITATION)
		look_for_invitation(a);
	else
		make(a);
}

static void signup_asked(struct authorize *a)
{
	show_sign_up(a, 200, NULL);
}

void serve_signup(struct http_exchange *x)
{
	if (issuer->sign_up != ISSUER_SIGN_UP_CLOSED)
		authorize_begin(x, x->in.verb == HTTP_POST ? signup_posted : signup_asked);
	else
		page_error(x, 403, "Sign-up is closed",
			"Accounts are made by the operator here. Ask them for one, then go back "
			"and sign in.");
}
