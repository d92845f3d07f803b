/* The second factor: set up, taken off, and its recovery codes. All of it wants a fresh sign-in. */
#include "auth/b64url.h"
#include "auth/server/account.h"
#include "auth/server/factor.h"
#include "auth/server/issuer.h"
#include "auth/server/pages.h"
#include "auth/server/seal.h"
#include "auth/server/totp.h"
#include "auth/server/visit.h"
#include "core/mem.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <time.h>

enum { SEALED = TOTP_SECRET + SEAL_MORE, PURPOSE_MAX = USER_NAME_MAX + 8 };
enum { ACTION, CODE, SECRET, PASSWORD };
static const char *const fields[] = {"action", "code", "secret", "password", NULL};

static const char code_input[] = "type=\"text\" inputmode=\"numeric\" "
				 "autocomplete=\"one-time-code\" autocapitalize=\"none\" "
				 "spellcheck=\"false\" maxlength=\"32\" required";
static const char code_input_wrong[] =
	"type=\"text\" inputmode=\"numeric\" autocomplete=\"one-time-code\" "
	"autocapitalize=\"none\" "
	"spellcheck=\"false\" maxlength=\"32\" required autofocus aria-invalid=\"true\" "
	"aria-describedby=\"problem\"";

/* What a secret is sealed for: only the account's own form may bring it back. */
static struct str purpose_of(const struct visit *v, const char *word, char out[PURPOSE_MAX])
{
	snprintf(out, PURPOSE_MAX, "%s %s", word, v->user);
	return str_of(out);
}

/* ---- recovery codes ---- */

struct showing {
	struct visit *v;
	char codes[RECOVERY_CODES][RECOVERY_TEXT + 1];
};

static void show_codes(struct visit *v, char codes[][RECOVERY_TEXT + 1])
{
	struct buf b = BUF_INIT(PAGE_MAX_BYTES);
	page_begin(&b, "Your recovery codes");
	buf_addf(&b,
		"<p>Write these down or print them now: they are shown this once. Each signs you "
		"in one time, in the place of the code from your telephone.</p>\n"
		"<ol class=\"codes\">\n");
	for (size_t i = 0; i < RECOVERY_CODES; i++)
		buf_addf(&b, "<li><code>%s</code></li>\n", codes[i]);
	buf_addf(&b, "</ol>\n");
	page_link(&b, "/oauth/account", STR(""), "I have them: back to the account");
	visit_end(v, 200, &b);
}

static void codes_made(struct store_op *op)
{
	struct showing *s = op->context;
	if (op->err == ERR_NOT_FOUND) {
		http_redirect(visit_leave(&s->v), STR("/oauth/account/factor"));
	} else if (op->err) {
		visit_fail(s->v);
	} else {
		visit_audit(s->v, "recovery.new", NULL, STR(""));
		show_codes(s->v, s->codes);
	}
	OPENSSL_cleanse(s, sizeof(*s));
	free(s);
}

static void make_codes(struct visit *v)
{
	struct showing *s = mem_new(struct showing);
	s->v = v;
	recovery_make(str_of(v->user), s->codes, codes_made, s);
}

static void recovery(struct visit *v)
{
	struct buf b = BUF_INIT(PAGE_MAX_BYTES);
	if (!visit_is_fresh(v))
		return;
	if (v->x->in.verb == HTTP_POST && v->ours) {
		make_codes(v);
		return;
	}
	int status = v->x->in.verb == HTTP_POST ? 403 : 200;
	page_begin(&b, "Recovery codes");
	page_problem(&b, status == 403 ? posted_expired : NULL);
	buf_addf(&b,
		"<p>They sign you in when your telephone is lost. New ones take the place of "
		"all that you have.</p>\n");
	visit_form(v, &b, "/oauth/account/recovery");
	buf_addf(&b, "<button type=\"submit\">Make new recovery codes</button>\n</form>\n");
	page_link(&b, "/oauth/account", STR(""), "Back to your account");
	visit_end(v, status, &b);
}

void serve_account_recovery(struct http_exchange *x)
{
	visit_begin(x, OWN_PAGE_RECOVERY, fields, recovery);
}

/* ---- setting it up ---- */

/* The secret waits in the form until a code has shown that the app has it. */
static void show_set_up(
	struct visit *v, int status, const unsigned char secret[TOTP_SECRET], const char *problem)
{
	struct buf b = BUF_INIT(PAGE_MAX_BYTES), kept = BUF_INIT(128);
	unsigned char sealed[SEALED];
	char text[TOTP_TEXT + 1], purpose[PURPOSE_MAX];
	struct str raw = {(const char *)secret, TOTP_SECRET}, place = issuer->url;
	size_t scheme = str_starts(place, STR("https://")) ? 8 : 7;
	place = (struct str){place.p + scheme, place.n - scheme};
	seal_close(raw, purpose_of(v, "set-up", purpose), sealed);
	b64url_add(&kept, sealed, sizeof(sealed));
	totp_text(secret, text);
	page_begin(&b, "Set up a second factor");
	page_problem(&b, problem);
	buf_addf(&b,
		"<p>1. Take this picture with an authenticator app, or type the letters below "
		"into it.</p>\n");
	totp_add_picture(&b, secret, str_of(v->user), place);
	buf_addf(&b, "<p class=\"secret\"><code>");
	for (size_t i = 0; i < TOTP_TEXT; i += 4)
		buf_addf(&b, "%s%.4s", i ? " " : "", text + i);
	buf_addf(&b, "</code></p>\n<p>2. Type the six digits that the app shows.</p>\n");
	visit_form(v, &b, "/oauth/account/factor");
	page_hidden(&b, "action", STR("on"));
	page_hidden(&b, "secret", buf_str(&kept));
	page_input(&b, "code", "Code", STR(""), problem ? code_input_wrong : code_input);
	buf_addf(&b, "<button type=\"submit\">Turn it on</button>\n</form>\n");
	page_link(&b, "/oauth/account", STR(""), "Back to your account");
	OPENSSL_cleanse(text, sizeof(text));
	buf_free(&kept);
	visit_end(v, status, &b);
}

static void show_new(struct visit *v, int status, const char *problem)
{
	unsigned char secret[TOTP_SECRET];
	totp_make(secret);
	show_set_up(v, status, secret, problem);
	OPENSSL_cleanse(secret, sizeof(secret));
}

static void turned_on(struct store_op *op)
{
	struct visit *v = op->context;
	if (op->err == ERR_CONFLICT) {
		http_redirect(visit_leave(&v), STR("/oauth/account/factor"));
	} else if (op->err) {
		visit_fail(v);
	} else {
		visit_audit(v, "factor.on", NULL, STR(""));
		make_codes(v);
	}
}

static void turn_on(struct visit *v)
{
	unsigned char sealed[2 * SEALED], secret[SEALED], kept[SEALED];
	char purpose[PURPOSE_MAX], code[TOTP_DIGITS + 1];
	struct str raw, text;
	size_t n = 0;
	bool fine = v->fields[SECRET].n <= sizeof(sealed) &&
		b64url_decode(v->fields[SECRET], sealed, &n) == ERR_OK && n == SEALED;
	raw = (struct str){(const char *)sealed, n};
	fine = fine && seal_open(raw, purpose_of(v, "set-up", purpose), secret, &text);
	int64_t step = 0;
	if (fine && totp_form(v->fields[CODE], code))
		step = totp_step(secret, str_of(code), time(NULL), 0);
	if (!fine)
		show_new(v, 400, posted_expired);
	else if (!step)
		show_set_up(v, 403, secret,
			"This is not the code that the app should show now. Check that the "
			"telephone's clock is right.");
	else
		store_ask(STORE_TOTP_ADD, turned_on, v, STORE_TEXT(str_of(v->user)),
			STORE_BLOB(seal_close((struct str){(const char *)secret, TOTP_SECRET},
				purpose_of(v, "totp", purpose), kept)),
			STORE_INT(time(NULL)), STORE_INT(step), STORE_END);
	OPENSSL_cleanse(secret, sizeof(secret));
}

/* ---- taking it off ---- */

static void show_off(struct visit *v, int status, const char *problem)
{
	struct buf b = BUF_INIT(PAGE_MAX_BYTES);
	page_begin(&b, "Second factor");
	buf_addf(&b, "<p class=\"hint\">It is on: a code is asked for after the password.</p>\n");
	page_problem(&b, problem);
	visit_form(v, &b, "/oauth/account/factor");
	page_hidden(&b, "action", STR("off"));
	page_input(&b, "password", "Password", STR(""),
		"type=\"password\" autocomplete=\"current-password\" maxlength=\"256\" required");
	page_input(&b, "code", "Code, or a recovery code", STR(""), code_input);
	buf_addf(&b, "<button type=\"submit\">Turn it off</button>\n</form>\n");
	page_link(&b, "/oauth/account", STR(""), "Back to your account");
	visit_end(v, status, &b);
}

static void turned_off(struct store_op *op)
{
	struct visit *v = op->context;
	if (op->err && op->err != ERR_NOT_FOUND) {
		visit_fail(v);
		return;
	}
	visit_audit(v, "factor.off", NULL, STR(""));
	page_notice(visit_leave(&v), "Second factor is off",
		"The password alone signs you in again. <a href=\"/oauth/account\">Back to your "
		"account</a>");
}

static void refuse_off(struct visit *v, enum err err, int64_t retry_after)
{
	char wait[PAGE_WAIT_TEXT];
	visit_audit(v, "factor.off", err_info(err)->reason, STR(""));
	if (err == ERR_RATE_LIMITED)
		show_off(v, 429, page_wait(v->x, retry_after, wait));
	else if (err == ERR_UNAUTHENTICATED)
		show_off(
			v, 403, "The password or the code is wrong, or the code was used already.");
	else
		visit_fail(v);
}

static void code_checked(void *context, const struct factor_outcome *outcome)
{
	struct visit *v = context;
	if (outcome->err)
		refuse_off(v, outcome->err, outcome->retry_after);
	else
		store_ask(STORE_TOTP_REMOVE, turned_off, v, STORE_TEXT(str_of(v->user)), STORE_END);
}

static void password_checked(void *context, const struct password_outcome *outcome)
{
	struct visit *v = context;
	if (outcome->err)
		refuse_off(v, outcome->err, outcome->retry_after);
	else
		factor_check(str_of(v->user), v->fields[CODE], v->x->in.peer, code_checked, v);
}

/* ---- which of the two ---- */

static void got_state(struct store_op *op)
{
	struct visit *v = op->context;
	bool on = !op->err, post = v->x->in.verb == HTTP_POST;
	if (op->err && op->err != ERR_NOT_FOUND)
		visit_fail(v);
	else if (on && post && v->ours && str_is(v->fields[ACTION], "off"))
		visit_check_password(v, v->fields[PASSWORD], password_checked);
	else if (on)
		show_off(v, post ? 403 : 200, post ? posted_expired : NULL);
	else if (post && v->ours && str_is(v->fields[ACTION], "on"))
		turn_on(v);
	else
		show_new(v, post ? 403 : 200, post ? posted_expired : NULL);
}

static void look(struct visit *v)
{
	if (visit_is_fresh(v))
		store_ask(STORE_TOTP_GET, got_state, v, STORE_TEXT(str_of(v->user)), STORE_END);
}

void serve_account_factor(struct http_exchange *x)
{
	visit_begin(x, OWN_PAGE_FACTOR, fields, look);
}
