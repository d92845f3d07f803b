/* token.revoke, revocation.list, user.disable, user.enable. */
#include "service/withdrawn_methods.h"

#include "core/mem.h"
#include "service/authn.h"
#include "service/withdrawn.h"
#include "store/page.h"

#include <time.h>

enum { TOKEN_MAX = 16384, SID_MAX = 255, CURSOR_MAX = 8 + WITHDRAWAL_VALUE_MAX };

/* What another issuer, or no account, is behind: it need not be known here. */
static bool is_stranger(struct str user)
{
	return memchr(user.p, '|', user.n) || str_starts(user, STR("client:")) ||
		str_starts(user, STR("guest:"));
}

/* ---- token.revoke ---- */

struct revoke_params {
	struct str token, jti, sid, user, client;
};

static const struct field revoke_fields[] = {
	FIELD(struct revoke_params, token, STRING, false, 1, TOKEN_MAX),
	FIELD(struct revoke_params, jti, STRING, false, 1, WITHDRAWAL_VALUE_MAX),
	FIELD(struct revoke_params, sid, STRING, false, 1, SID_MAX),
	FIELD(struct revoke_params, user, STRING, false, 1, WITHDRAWAL_VALUE_MAX),
	FIELD(struct revoke_params, client, STRING, false, 1, WITHDRAWAL_VALUE_MAX),
	{0},
};

/* A revocation on its way. */
struct revoking {
	struct authn check; /* first; of a token that is given itself */
	struct call *call;
	enum withdrawal_kind kind;
};

static void revoked(struct store_op *op)
{
	struct revoking *r = op->context;
	struct call *c = r->call;
	c->state = NULL;
	if (op->err) {
		call_refuse(c, op->err);
	} else {
		struct str value = store_str(op, 0, 0);
		withdrawn_at(r->kind, value, store_int(op, 0, 1), store_int(op, 0, 2));
		struct json_out *o = call_result(c);
		json_open(o, NULL, '{');
		json_text(o, "kind", withdrawal_word(r->kind));
		json_str(o, "value", value);
		json_close(o, '}');
		call_reply(c);
	}
	free(r);
}

static void begin(struct revoking *r, struct str value, int64_t until)
{
	int64_t now = (int64_t)time(NULL);
	store_ask(STORE_WITHDRAW, revoked, r, STORE_TEXT(str_of(withdrawal_word(r->kind))),
		STORE_TEXT(value), STORE_INT(now),
		STORE_INT(until ? until : withdrawal_until(r->kind, value, now)), STORE_END);
}

/* One token is over with its own end. */
static void on_checked(struct authn *a, enum err err, struct principal *who, const char *why)
{
	struct revoking *r = (struct revoking *)a;
	if (err) {
		r->call->state = NULL;
		call_refuse(r->call, err == ERR_UNAUTHENTICATED ? ERR_PARAMS : err,
			.field = STR("token"), .message = why);
		free(r);
		return;
	}
	char text[WITHDRAWAL_VALUE_MAX];
	begin(r, withdrawal_jti(who, text), who->expires_at);
	principal_unref(&who);
}

static void run_revoke(struct call *c)
{
	const struct revoke_params *p = c->params;
	const struct {
		struct str value;
		enum withdrawal_kind kind;
	} ways[] = {{p->token, WITHDRAWN_TOKEN}, {p->jti, WITHDRAWN_TOKEN},
		{p->sid, WITHDRAWN_GRANT}, {p->user, WITHDRAWN_USER},
		{p->client, WITHDRAWN_CLIENT}};
	enum { WAYS = sizeof(ways) / sizeof(*ways) };
	unsigned given = 0, way = 0;
	for (unsigned i = 0; i < WAYS; i++)
		if (ways[i].value.n) {
			given++;
			way = i;
		}
	if (given != 1) {
		call_refuse(c, ERR_PARAMS, .field = STR("token"),
			.message = "Say what is to be revoked: one of token, jti, sid, user and "
				   "client.");
		return;
	}
	struct revoking *r = mem_new(struct revoking);
	r->call = c;
	r->kind = ways[way].kind;
	r->check.done = on_checked;
	c->state = r;
	if (p->token.n)
		authn_check(&r->check, p->token, STR(""));
	else
		begin(r, ways[way].value, 0);
}

/* ---- user.disable, user.enable ---- */

struct user_params {
	struct str name;
};

static const struct field user_fields[] = {
	FIELD(struct user_params, name, STRING, true, 1, WITHDRAWAL_VALUE_MAX),
	{0},
};

static void disabled(struct store_op *op)
{
	struct call *c = op->context;
	if (!call_refused(c, op->err, .message = "There is no user of this name.")) {
		withdrawn_at(WITHDRAWN_USER, store_str(op, 0, 0), WITHDRAWN_FOR_GOOD, 0);
		call_reply_empty(c);
	}
}

static void run_disable(struct call *c)
{
	const struct user_params *p = c->params;
	store_ask(STORE_USER_PUT_OUT, disabled, c, STORE_TEXT(p->name), STORE_INT(time(NULL)),
		STORE_INT(is_stranger(p->name)), STORE_END);
}

/* What was issued before stays withdrawn. */
static void enabled(struct store_op *op)
{
	struct call *c = op->context;
	if (!op->err && !op->rows) {
		call_refuse(c, ERR_NOT_FOUND, .message = "No user of this name is disabled.");
	} else if (op->err) {
		call_refuse(c, op->err);
	} else {
		withdrawals_lift(store_str(op, 0, 0), store_int(op, 0, 1));
		call_reply_empty(c);
	}
}

static void run_enable(struct call *c)
{
	const struct user_params *p = c->params;
	int64_t now = (int64_t)time(NULL);
	store_ask(STORE_USER_LET_IN, enabled, c, STORE_TEXT(p->name), STORE_INT(now),
		STORE_INT(withdrawal_until(WITHDRAWN_USER, p->name, now)), STORE_END);
}

/* ---- revocation.list ---- */

struct revoked_params {
	struct str cursor;
	struct param_int limit;
};

static const struct field revoked_fields[] = {
	FIELD(struct revoked_params, cursor, STRING, false, 0, CURSOR_MAX),
	FIELD(struct revoked_params, limit, INT, false, 1, PAGE_ROWS_MAX),
	{0},
};

static void write_revoked(struct json_out *o, const struct store_op *op, size_t row)
{
	int64_t at = store_int(op, row, 3), until = store_int(op, row, 4);
	json_open(o, NULL, '{');
	json_str(o, "kind", store_str(op, row, 1));
	json_str(o, "value", store_str(op, row, 2));
	json_bool(o, "for_good", at == WITHDRAWN_FOR_GOOD);
	if (at != WITHDRAWN_FOR_GOOD)
		json_int(o, "withdrawn_at", at);
	if (until != WITHDRAWN_FOR_GOOD)
		json_int(o, "expires_at", until);
	json_close(o, '}');
}

static void listed(struct store_op *op)
{
	const struct call *c = op->context;
	const struct revoked_params *p = c->params;
	page_reply(op, page_rows(p->limit), "revoked", write_revoked);
}

/* A cursor is the kind, a space and the value of a page's last row. */
static void run_revoked(struct call *c)
{
	const struct revoked_params *p = c->params;
	struct str kind = {"", 0}, value = {"", 0};
	int64_t now = (int64_t)time(NULL);
	const char *space = p->cursor.n ? memchr(p->cursor.p, ' ', p->cursor.n) : NULL;
	if (space) {
		kind = (struct str){p->cursor.p, (size_t)(space - p->cursor.p)};
		value = (struct str){space + 1, p->cursor.n - kind.n - 1};
	} else if (p->cursor.n) {
		call_refuse(c, ERR_PARAMS, .field = STR("cursor"),
			.message = "This cursor comes from no list.");
		return;
	}
	store_ask(STORE_WITHDRAWALS, listed, c, STORE_INT(now), STORE_TEXT(kind), STORE_TEXT(value),
		STORE_INT(page_rows(p->limit) + 1), STORE_INT(0), STORE_END);
}

#define ADMIN(name, flags, type, run) \
	{ \
		name, SCOPE_ADMIN, HOME_CALLER, flags, type##_fields, \
			sizeof(struct type##_params), run \
	}

const struct method withdrawn_methods[] = {
	ADMIN("token.revoke", 0, revoke, run_revoke),
	ADMIN("revocation.list", METHOD_READS, revoked, run_revoked),
	ADMIN("user.disable", 0, user, run_disable),
	ADMIN("user.enable", 0, user, run_enable),
	{0},
};
