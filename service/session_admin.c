/* session.list, session.end. */
#include "service/session_admin.h"

#include "core/mem.h"
#include "service/session_parts.h"
#include "service/withdrawn.h"
#include "store/page.h"

#include <time.h>

static const char put_out[] = "put out by an administrator";

/* ---- session.list ---- */

struct list_params {
	struct str user, cursor;
	struct param_int limit;
};

static const struct field list_fields[] = {
	FIELD(struct list_params, user, STRING, false, 1, WITHDRAWAL_VALUE_MAX),
	FIELD(struct list_params, cursor, STRING, false, 1, SESSION_HANDLE_MAX - 1),
	FIELD(struct list_params, limit, INT, false, 1, PAGE_ROWS_MAX),
	{0},
};

/* Goes from worker to worker, in their order, until the page is full, and home again with it. A cursor
 * is the handle of a page's last session; what is behind it comes next, also when that one has ended. */
struct list {
	struct post post;
	struct call *call;
	struct json_out *out;
	struct worker *from;
	int at;
	bool begun; /* this worker's from the cursor on; later ones' all */
	size_t left;
	bool more;
	char last[SESSION_HANDLE_MAX];
};

static void write_session(struct json_out *o, const struct session *s)
{
	const struct principal *who = s->caller.who;
	char scopes[SCOPES_TEXT_MAX];
	json_open(o, NULL, '{');
	json_text(o, "session", s->handle);
	json_str(o, "user", who->user);
	json_str(o, "name", who->name);
	json_str(o, "client", who->client);
	json_str(o, "jti", who->jti);
	if (who->sid.n)
		json_str(o, "sid", who->sid);
	json_str(o, "scope", scopes_text(who->scopes, scopes));
	json_bool(o, "connected", s->carrier != NULL);
	json_text(o, "transport", s->posts ? "events" : "websocket");
	json_str(o, "address", s->carrier ? s->carrier->peer : STR(""));
	json_int(o, "opened_at", s->opened_at);
	json_int(o, "expires_at", who->expires_at);
	json_close(o, '}');
}

static int by_handle(const void *a, const void *b)
{
	const struct session *const *x = a, *const *y = b;
	return strcmp((*x)->handle, (*y)->handle);
}

static void list_here(struct list *l)
{
	const struct list_params *p = l->call->params;
	size_t count = 0, room = 0;
	const struct session **found = NULL;
	for (const struct session *s = sessions_first(); s; s = s->next) {
		if ((p->user.n && !str_eq(p->user, s->caller.who->user)) ||
			(l->begun && strcmp(s->handle, l->last) <= 0))
			continue;
		if (count == room) {
			room = room ? room * 2 : 64;
			found = mem_resize(found, room, sizeof(struct session *));
		}
		found[count++] = s;
	}
	if (count)
		qsort(found, count, sizeof(struct session *), by_handle);
	l->more = count > l->left;
	for (size_t i = 0; i < count && l->left; i++, l->left--) {
		write_session(l->out, found[i]);
		memcpy(l->last, found[i]->handle, sizeof(l->last));
	}
	free(found);
}

static void finish_list(struct post *post)
{
	struct list *l = (struct list *)post;
	json_close(l->out, ']');
	if (l->more)
		json_text(l->out, "cursor", l->last);
	json_close(l->out, '}');
	l->call->state = NULL;
	call_reply(l->call);
	free(l);
}

static void visit(struct post *post)
{
	struct list *l = (struct list *)post;
	list_here(l);
	l->begun = false;
	bool over = l->more || ++l->at == workers_count();
	l->post.run = over ? finish_list : visit;
	worker_post(over ? l->from : worker_at(l->at), &l->post);
}

static void run_list(struct call *c)
{
	const struct list_params *p = c->params;
	struct list *l = mem_new(struct list);
	if (p->cursor.n) {
		memcpy(l->last, p->cursor.p, p->cursor.n);
		struct worker *w = session_home(l->last);
		l->begun = true;
		l->at = w ? w->index : -1;
	}
	if (l->at < 0) {
		free(l);
		call_refuse(c, ERR_PARAMS, .field = STR("cursor"),
			.message = "This cursor comes from no list.");
		return;
	}
	l->call = c;
	l->from = worker_self();
	l->left = page_rows(p->limit);
	l->out = call_result(c);
	c->state = l;
	json_open(l->out, NULL, '{');
	json_open(l->out, "sessions", '[');
	l->post.run = visit;
	worker_post(worker_at(l->at), &l->post);
}

/* ---- session.end ---- */

struct end_params {
	struct str session, user;
	struct param_bool revoke;
};

static const struct field end_fields[] = {
	FIELD(struct end_params, session, STRING, false, 1, SESSION_HANDLE_MAX - 1),
	FIELD(struct end_params, user, STRING, false, 1, WITHDRAWAL_VALUE_MAX),
	FIELD(struct end_params, revoke, BOOL, false, 0, 0),
	{0},
};

/* To the session's worker, and home again. */
struct end {
	struct post post;
	struct call *call;
	struct worker *from;
	enum err outcome;
	enum withdrawal_kind kind;
	char handle[SESSION_HANDLE_MAX];
};

static void finish_end(struct post *post)
{
	struct end *e = (struct end *)post;
	struct call *c = e->call;
	c->state = NULL;
	if (e->outcome == ERR_NOT_FOUND)
		call_refuse(c, ERR_NOT_FOUND, .field = STR("session"),
			.message = "There is no such session (any more).");
	else if (e->outcome)
		call_refuse(c, e->outcome);
	else
		call_reply_empty(c);
	free(e);
}

static void go_home(struct end *e)
{
	e->post.run = finish_end;
	worker_post(e->from, &e->post);
}

static void revoked(struct store_op *op)
{
	struct end *e = op->context;
	e->outcome = op->err;
	if (!op->err)
		withdrawn_at(
			e->kind, store_str(op, 0, 0), store_int(op, 0, 1), store_int(op, 0, 2));
	go_home(e);
}

/* What brought it here goes with it: its sign-in, or where there is none, its token. */
static void revoke_session(struct end *e, const struct principal *who)
{
	char text[WITHDRAWAL_VALUE_MAX];
	int64_t now = (int64_t)time(NULL);
	e->kind = who->sid.n ? WITHDRAWN_GRANT : WITHDRAWN_TOKEN;
	struct str value = who->sid.n ? who->sid : withdrawal_jti(who, text);
	store_ask(STORE_WITHDRAW, revoked, e, STORE_TEXT(str_of(withdrawal_word(e->kind))),
		STORE_TEXT(value), STORE_INT(now),
		STORE_INT(who->sid.n ? withdrawal_until(e->kind, value, now) : who->expires_at),
		STORE_END);
}

static void run_at_session(struct post *post)
{
	struct end *e = (struct end *)post;
	const struct end_params *p = e->call->params;
	struct session *s = session_find_handle(e->handle);
	if (s && p->revoke.yes) {
		revoke_session(e, s->caller.who);
		return;
	}
	if (s)
		session_end(s, 4500, put_out);
	else
		e->outcome = ERR_NOT_FOUND;
	go_home(e);
}

static void end_one(struct call *c, struct str handle)
{
	struct end *e = mem_new(struct end);
	e->call = c;
	e->from = worker_self();
	memcpy(e->handle, handle.p, handle.n);
	struct worker *home = session_home(e->handle);
	c->state = e;
	if (!home)
		e->outcome = ERR_NOT_FOUND;
	e->post.run = home ? run_at_session : finish_end;
	worker_post(home ? home : e->from, &e->post);
}

static void run_end(struct call *c)
{
	const struct end_params *p = c->params;
	if (!p->session.n == !p->user.n) {
		call_refuse(c, ERR_PARAMS, .field = STR("session"),
			.message = "Say whose: either session or user.");
	} else if (p->session.n) {
		end_one(c, p->session);
	} else if (p->revoke.yes) {
		call_refuse(c, ERR_PARAMS, .field = STR("revoke"),
			.message = "token.revoke takes a user's tokens back, and ends the "
				   "sessions.");
	} else {
		sessions_end(p->user, 4500, put_out);
		call_reply_empty(c);
	}
}

const struct method session_admin_methods[] = {
	{"session.list", SCOPE_ADMIN, HOME_CALLER, METHOD_READS, list_fields,
		sizeof(struct list_params), run_list},
	{"session.end", SCOPE_ADMIN, HOME_CALLER, 0, end_fields, sizeof(struct end_params),
		run_end},
	{0},
};
