#include "auth/server/logout.h"

#include "auth/audit.h"
#include "auth/server/clients.h"
#include "auth/server/hint.h"
#include "auth/server/issuer.h"
#include "auth/server/login.h"
#include "auth/server/pages.h"
#include "auth/server/posted.h"
#include "core/form.h"
#include "core/mem.h"
#include "store/store.h"

#include <time.h>

enum { QUERY_MAX = 6 * 1024, LOCATION_MAX = 8 * 1024 };

struct logout {
	struct http_exchange *x;
	char *text; /* the decoded values lie here */
	struct str client_id, uri, state;
	bool hinted; /* hint says whose client it is; when it is proven, also who */
	struct id_hint hint;
	struct client *client; /* NULL: none was named */
	struct posted posted;
	bool confirmed, signed_in;
	char user[USER_NAME_MAX + 1];
	unsigned char login[SECRET_HASH];
};

static struct http_exchange *leave(struct logout **ret_l)
{
	struct logout *l = *ret_l;
	struct http_exchange *x = l->x;
	*ret_l = NULL;
	posted_finish(&l->posted);
	client_free(&l->client);
	free(l->text);
	free(l);
	return x;
}

/* ---- the answers ---- */

static void refuse(struct logout *l, const char *sentence)
{
	page_error(leave(&l), 400, "Bad request", sentence);
}

/* Back to the client, whose address is proven, or to a page that says what has happened. */
static void answer_done(struct logout *l)
{
	struct buf query = BUF_INIT(LOCATION_MAX), location = BUF_INIT(LOCATION_MAX);
	if (!l->uri.n) {
		page_notice(leave(&l), "Signed out",
			"You are signed out in this browser. You can close this page.");
		return;
	}
	if (l->state.n)
		form_add(&query, "state", l->state);
	buf_adds(&location, l->uri);
	if (query.n)
		buf_addc(&location, memchr(l->uri.p, '?', l->uri.n) ? '&' : '?');
	buf_adds(&location, buf_str(&query));
	http_redirect(leave(&l), buf_str(&location));
	buf_free(&query);
	buf_free(&location);
}

static void ask(struct logout *l, int status, const char *problem)
{
	struct buf b = BUF_INIT(PAGE_MAX_BYTES);
	char csrf[CSRF_TEXT];
	page_begin(&b, "Sign out?");
	buf_addf(&b, "<p class=\"hint\">You are signed in as <strong>");
	html_add(&b, str_of(l->user));
	buf_addf(&b, "</strong></p>\n");
	page_problem(&b, problem);
	buf_addf(&b,
		"<p>Signing out ends this browser's sign-in, and what programs got by it.</p>\n");
	page_form(&b, "/oauth/logout", l->x->in.query, page_csrf(l->x, csrf));
	buf_addf(&b,
		"<button type=\"submit\" name=\"decision\" value=\"yes\">Sign out</button>\n"
		"</form>\n");
	page_link(&b, "/oauth/account", STR(""), "Stay signed in");
	page_end(l->x, status, &b, l->uri);
	l->x = NULL; /* answered; the page's texts were the request's */
	leave(&l);
}

/* ---- the end of a login ---- */

void grants_ended(const struct store_op *op, size_t at)
{
	for (size_t i = 0; !op->err && i < op->rows; i++)
		issuer_withdrawn(WITHDRAWN_GRANT, store_str(op, i, 0), op->args[at].number, 0);
}

static void ended(struct store_op *op)
{
	struct logout *l = op->context;
	if (op->err) {
		page_failed(leave(&l));
		return;
	}
	grants_ended(op, 1);
	audit_add(.action = "sign-out", .actor = str_of(l->user), .user = str_of(l->user),
		.client = l->client ? l->client->id : STR(""), .address = l->x->in.peer);
	page_set_login_cookie(l->x, STR(""));
	answer_done(l);
}

/* Without a hint that names who is signed in anybody could have sent the browser here. */
static void decide(struct logout *l)
{
	bool meant = l->hinted && l->hint.proven && strcmp(l->hint.user, l->user) == 0;
	if (!l->signed_in) {
		page_set_login_cookie(l->x, STR(""));
		answer_done(l);
	} else if (l->confirmed || meant) {
		store_ask(STORE_LOGIN_END, ended, l, STORE_HASH(l->login), STORE_INT(time(NULL)),
			STORE_END);
	} else {
		ask(l, l->posted.text ? 403 : 200, l->posted.text ? posted_expired : NULL);
	}
}

static void got_login(struct store_op *op)
{
	struct logout *l = op->context;
	int64_t since;
	if (op->err && op->err != ERR_NOT_FOUND) {
		page_failed(leave(&l));
		return;
	}
	l->signed_in = login_found(op, l->user, &since);
	decide(l);
}

static void look_for_login(struct logout *l)
{
	if (!login_find(l->x, l->login, got_login, l))
		decide(l);
}

/* ---- the request ---- */

static void got_client(void *context, enum err err, struct client *client)
{
	struct logout *l = context;
	l->client = client;
	if (err && err != ERR_NOT_FOUND)
		page_failed(leave(&l));
	else if (err)
		refuse(l, "The program that sent you here is not registered.");
	else if (l->uri.n && !client_logs_out_to(client, l->uri))
		refuse(l,
			"The program that sent you here asked to get you back at an address that "
			"is not registered for it. If it is yours, register exactly this "
			"post_logout_redirect_uri. Nobody was signed out.");
	else
		look_for_login(l);
}

static void begin(struct logout *l)
{
	l->text = mem_alloc(2 * l->x->in.query.n + 1);
	struct form_fields fields = {l->x->in.query, l->text, false};
	l->client_id = form_take(&fields, "client_id");
	l->uri = form_take(&fields, "post_logout_redirect_uri");
	l->state = form_take(&fields, "state");
	struct str token = form_take(&fields, "id_token_hint");
	l->hinted = token.n && id_hint_read(token, &l->hint);
	bool other = l->hinted && l->client_id.n && !str_is(l->client_id, l->hint.client);
	if (l->hinted)
		l->client_id = str_of(l->hint.client);
	if (fields.broken || other || (token.n && !l->hinted))
		refuse(l,
			"The program that sent you here sent something that makes no sense. "
			"Nobody was signed out.");
	else if (l->client_id.n)
		client_get(l->client_id, got_client, l);
	else if (l->uri.n)
		refuse(l,
			"The program that sent you here did not say who it is (client_id or "
			"id_token_hint). Nobody was signed out.");
	else
		look_for_login(l);
}

/* A client may send its request as a form, too (section 2): then without the browser's cookies, for
 * they are SameSite. The browser brings them when it comes again by itself. */
static bool comes_from_client(const struct http_exchange *x)
{
	char text[1024];
	struct str token;
	return x->in.body.n > sizeof(text) || form_get(x->in.body, "csrf", text, &token) != ERR_OK;
}

static void come_again(struct http_exchange *x)
{
	struct buf location = BUF_INIT(LOCATION_MAX);
	buf_addf(&location, "/oauth/logout?");
	buf_adds(&location, x->in.body);
	if (x->in.body.n > QUERY_MAX || str_has_control(x->in.body) || !str_utf8_valid(x->in.body))
		page_error(x, 400, "Bad request", "The program that sent you here sent too much.");
	else
		http_redirect(x, buf_str(&location));
	buf_free(&location);
}

void serve_logout(struct http_exchange *x)
{
	static const char *const names[] = {"decision", NULL};
	struct str decision;
	if (x->in.query.n > QUERY_MAX) {
		page_error(x, 400, "Bad request", "The program that sent you here sent too much.");
		return;
	}
	if (x->in.verb == HTTP_POST && comes_from_client(x)) {
		come_again(x);
		return;
	}
	struct logout *l = mem_new(struct logout);
	l->x = x;
	if (x->in.verb == HTTP_POST)
		l->confirmed =
			posted_read(&l->posted, x, names, &decision) && str_is(decision, "yes");
	begin(l);
}
