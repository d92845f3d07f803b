/* /oauth/device (RFC 8628 section 3.3): somebody types the code that their device shows, or comes with
 * it, sees what would get access to what, and says yes or no. Nothing is allowed by a link alone. */
#include "auth/guesses.h"
#include "auth/server/account.h"
#include "auth/server/consent.h"
#include "auth/server/device.h"
#include "auth/server/issuer.h"
#include "auth/server/pages.h"
#include "auth/server/visit.h"
#include "core/form.h"
#include "core/mem.h"
#include "store/store.h"

#include <time.h>

enum { USER_CODE, DECISION };
static const char *const fields[] = {"user_code", "decision", NULL};

/* ---- pages ---- */

static void show_form(struct visit *v, int status, struct str typed, const char *problem)
{
	struct buf b = BUF_INIT(PAGE_MAX_BYTES);
	page_begin(&b, "Connect a device");
	buf_addf(&b, "<p class=\"hint\">You are signed in as <strong>");
	html_add(&b, str_of(v->user));
	buf_addf(&b, "</strong></p>\n");
	page_problem(&b, problem);
	visit_form(v, &b, "/oauth/device");
	page_input(&b, "user_code", "The code that the device shows", typed,
		problem ? "type=\"text\" autocomplete=\"off\" autocapitalize=\"characters\" "
			  "spellcheck=\"false\" maxlength=\"20\" required autofocus "
			  "aria-invalid=\"true\" aria-describedby=\"problem\""
			: "type=\"text\" autocomplete=\"off\" autocapitalize=\"characters\" "
			  "spellcheck=\"false\" maxlength=\"20\" required autofocus");
	buf_addf(&b, "<button type=\"submit\">Go on</button>\n</form>\n");
	page_link(&b, "/oauth/login?page=device", STR(""), "Use another account");
	visit_end(v, status, &b);
}

static void show_question(struct visit *v, const struct store_op *op, const char *letters)
{
	struct buf b = BUF_INIT(PAGE_MAX_BYTES);
	struct str name = store_str(op, 0, 3);
	char code[USER_CODE_SHOWN + 1];
	user_code_show(letters, code);
	page_begin(&b, "Connect this device?");
	buf_addf(&b, "<p class=\"hint\">You are signed in as <strong>");
	html_add(&b, str_of(v->user));
	buf_addf(&b,
		"</strong></p>\n<p>A device shows this code:</p>\n"
		"<p class=\"big\"><strong>%s</strong></p>\n<p><strong>",
		code);
	html_add(&b, name.n ? name : store_str(op, 0, 0));
	buf_addf(&b, "</strong> on it, at the address ");
	html_add(&b, store_str(op, 0, 2));
	buf_addf(&b, ", would like to:</p>\n");
	scope_set_describe(&b, scope_set_parse(store_str(op, 0, 1)));
	buf_addf(&b,
		"<p>Say yes only if the device is yours, is before you, and shows this code. If "
		"somebody sent you the code or a link, say no.</p>\n");
	visit_form(v, &b, "/oauth/device");
	page_hidden(&b, "user_code", str_of(code));
	buf_addf(&b,
		"<button type=\"submit\" name=\"decision\" value=\"allow\">Yes, connect "
		"it</button>\n"
		"<button type=\"submit\" class=\"quiet\" name=\"decision\" "
		"value=\"deny\">No</button>\n"
		"</form>\n");
	visit_end(v, 200, &b);
}

static void show_unknown(struct visit *v)
{
	show_form(v, 404, STR(""),
		"There is no device with this code, or it has waited too long. Type the code that "
		"it "
		"shows now.");
}

/* ---- the answer ---- */

static void decided(struct store_op *op)
{
	struct visit *v = op->context;
	bool allowed = op->verb == STORE_DEVICE_APPROVE;
	if (op->err == ERR_NOT_FOUND) {
		show_unknown(v);
		return;
	}
	if (op->err) {
		visit_fail(v);
		return;
	}
	visit_audit_client(v, "device", allowed ? NULL : "access_denied", store_str(op, 0, 0));
	if (allowed)
		page_notice(visit_leave(&v), "Device connected",
			"Go on at the device. You can close this page.");
	else
		page_notice(visit_leave(&v), "Device refused",
			"It has got nothing. You can close this page.");
}

static struct store_value hash_of(const char *letters, unsigned char out[SECRET_HASH])
{
	user_code_hash(letters, out);
	return STORE_HASH(out);
}

/* The grant is the device's: it outlives the sign-in of this browser. */
static void allow(struct visit *v, const struct store_op *found, const char *letters)
{
	unsigned char hash[SECRET_HASH];
	char sid[SID_DIGITS + 1];
	secret_make_hex(sid, SID_DIGITS);
	store_ask(STORE_DEVICE_APPROVE, decided, v, hash_of(letters, hash),
		STORE_TEXT(str_of(v->user)), STORE_TEXT(str_of(sid)),
		STORE_TEXT(store_str(found, 0, 1)), STORE_INT(v->auth_time), STORE_NULL,
		STORE_INT(time(NULL)), STORE_TEXT(store_str(found, 0, 2)), STORE_TEXT(STR("")),
		STORE_INT(issuer->access_token_lifetime), STORE_END);
}

static void found(struct store_op *op)
{
	struct visit *v = op->context;
	unsigned char hash[SECRET_HASH];
	const char *letters = v->kept;
	if (!op->err)
		guess_right(str_of(v->user), v->x->in.peer);
	if (op->err == ERR_NOT_FOUND)
		show_unknown(v);
	else if (op->err)
		visit_fail(v);
	else if (str_is(v->fields[DECISION], "allow"))
		allow(v, op, letters);
	else if (str_is(v->fields[DECISION], "deny"))
		store_ask(STORE_DEVICE_DENY, decided, v, hash_of(letters, hash),
			STORE_INT(time(NULL)), STORE_END);
	else
		show_question(v, op, letters);
}

/* ---- the code ---- */

static void look_up(struct visit *v, struct str typed)
{
	char letters[USER_CODE_LETTERS + 1], wait[PAGE_WAIT_TEXT];
	unsigned char hash[SECRET_HASH];
	if (!user_code_read(typed, letters)) {
		show_form(v, 400, typed, "The code has eight letters, such as BCDF-GHJK.");
		return;
	}
	int64_t seconds = guess_take(str_of(v->user), v->x->in.peer);
	if (seconds) {
		show_form(v, 429, typed, page_wait(v->x, seconds, wait));
		return;
	}
	v->kept = mem_copy(str_of(letters));
	store_ask(STORE_DEVICE_FIND, found, v, hash_of(letters, hash), STORE_INT(time(NULL)),
		STORE_END);
}

/* A link says which code is meant, and decides nothing. */
static void by_link(struct visit *v)
{
	char text[64];
	struct str typed = {"", 0};
	if (v->x->in.query.n < sizeof(text))
		form_get(v->x->in.query, "user_code", text, &typed);
	if (typed.n)
		look_up(v, typed);
	else
		show_form(v, 200, STR(""), NULL);
}

static void signed_in(struct visit *v)
{
	if (v->x->in.verb != HTTP_POST)
		by_link(v);
	else if (!v->ours)
		show_form(v, 403, v->fields[USER_CODE], posted_expired);
	else
		look_up(v, v->fields[USER_CODE]);
}

void serve_device(struct http_exchange *x)
{
	visit_begin(x, OWN_PAGE_DEVICE, fields, signed_in);
}
