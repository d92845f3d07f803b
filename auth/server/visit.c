#include "auth/server/visit.h"

#include "auth/audit.h"
#include "auth/server/login.h"
#include "auth/server/pages.h"
#include "core/form.h"
#include "core/mem.h"
#include "store/store.h"

#include <openssl/crypto.h>
#include <string.h>
#include <time.h>

struct http_exchange *visit_leave(struct visit **ret_v)
{
	struct visit *v = *ret_v;
	struct http_exchange *x = v->x;
	*ret_v = NULL;
	posted_finish(&v->posted);
	if (v->kept)
		OPENSSL_cleanse(v->kept, strlen(v->kept));
	free(v->kept);
	free(v);
	return x;
}

void visit_end(struct visit *v, int status, struct buf *b)
{
	page_end(v->x, status, b, STR(""));
	v->x = NULL; /* answered; the page's texts were the request's */
	visit_leave(&v);
}

void visit_fail(struct visit *v)
{
	page_failed(visit_leave(&v));
}

static void got_password(struct store_op *op)
{
	struct visit *v = op->context;
	if (op->err) {
		visit_fail(v);
		return;
	}
	struct password_attempt attempt = {.password = v->password,
		.hash = user_record_of(op, 0).password,
		.account = str_of(v->user),
		.address = v->x->in.peer};
	if (password_check(&attempt, v->password_checked, v))
		visit_fail(v);
}

void visit_check_password(struct visit *v, struct str password, password_done *done)
{
	v->password = password;
	v->password_checked = done;
	store_ask(STORE_USER_GET, got_password, v, STORE_TEXT(str_of(v->user)), STORE_END);
}

void visit_form(struct visit *v, struct buf *b, const char *action)
{
	char csrf[CSRF_TEXT];
	page_form(b, action, STR(""), page_csrf(v->x, csrf));
}

struct store_value visit_login(const struct visit *v)
{
	return STORE_HASH(v->login);
}

void visit_audit(const struct visit *v, const char *action, const char *outcome, struct str detail)
{
	audit_add(.action = action, .outcome = outcome, .actor = str_of(v->user),
		.user = str_of(v->user), .address = v->x->in.peer, .detail = detail);
}

void visit_audit_client(
	const struct visit *v, const char *action, const char *outcome, struct str client)
{
	audit_add(.action = action, .outcome = outcome, .actor = str_of(v->user),
		.user = str_of(v->user), .client = client, .address = v->x->in.peer);
}

/* A device's code goes along, so that nobody types it twice. */
static void send_to_sign_in(struct visit *v)
{
	struct buf query = BUF_INIT(2048), location = BUF_INIT(2048);
	char text[256];
	struct str code = {"", 0};
	form_add(&query, "page", str_of(own_page_word(v->page)));
	if (v->page == OWN_PAGE_DEVICE && v->x->in.query.n < sizeof(text) &&
		form_get(v->x->in.query, "user_code", text, &code) == ERR_OK)
		form_add(&query, "user_code", code);
	form_add(&query, "login_hint", str_of(v->user));
	buf_addf(&location, "/oauth/login?");
	buf_adds(&location, buf_str(&query));
	http_redirect(visit_leave(&v), buf_str(&location));
	buf_free(&query);
	buf_free(&location);
}

bool visit_is_fresh(struct visit *v)
{
	if (time(NULL) - v->auth_time <= LOGIN_FRESH)
		return true;
	send_to_sign_in(v);
	return false;
}

static void got_login(struct store_op *op)
{
	struct visit *v = op->context;
	if (op->err && op->err != ERR_NOT_FOUND)
		visit_fail(v);
	else if (login_found(op, v->user, &v->auth_time))
		v->next(v);
	else
		send_to_sign_in(v);
}

void visit_begin(struct http_exchange *x, enum own_page page, const char *const *fields,
	void (*next)(struct visit *v))
{
	struct visit *v = mem_new(struct visit);
	static const char *const none[] = {NULL};
	v->x = x;
	v->page = page;
	v->next = next;
	if (x->in.verb == HTTP_POST)
		v->ours = posted_read(&v->posted, x, fields ? fields : none, v->fields);
	if (!login_find(x, v->login, got_login, v))
		send_to_sign_in(v);
}
