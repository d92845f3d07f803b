/* grant_type=refresh_token (RFC 6749 section 6; RFC 9700 section 4.14). Each use makes the next generation
 * of the grant's token. The one before the newest gets the newest again for REFRESH_GRACE seconds, so
 * that a client whose answer was lost can ask again; an older one is in two hands, and nobody can say
 * which are the right ones: the grant is over, with all that came from it. */
#include "auth/audit.h"
#include "auth/server/issuer.h"
#include "auth/server/refresh_token.h"
#include "auth/server/token_give.h"

#include <time.h>

static void refuse(struct client_request *r)
{
	client_request_refuse(r, 400, "invalid_grant",
		"The refresh token is unknown, used, expired, withdrawn, or was given to another "
		"client. Sign in again.");
}

static void looked_for_reuse(struct store_op *op)
{
	struct client_request *r = op->context;
	if (!op->err) {
		issuer_withdrawn(WITHDRAWN_GRANT, store_str(op, 0, 0), time(NULL), 0);
		audit_add(.action = "refresh.reuse", .outcome = "invalid_grant",
			.user = store_str(op, 0, 1), .client = r->client->id,
			.address = r->x->in.peer, .detail = store_str(op, 0, 0));
	}
	if (op->err && op->err != ERR_NOT_FOUND)
		client_request_failed(r);
	else
		refuse(r);
}

static void refreshed(struct store_op *op)
{
	struct client_request *r = op->context;
	char sid[2 * SID_BYTES + 1], scope[SCOPE_SET_TEXT_MAX];
	int64_t generation;
	if (op->err == ERR_NOT_FOUND && refresh_token_read(r->refresh, sid, &generation))
		store_ask(STORE_GRANT_END, looked_for_reuse, r, STORE_TEXT(str_of(sid)),
			STORE_TEXT(r->client->id), STORE_INT(time(NULL)), STORE_INT(generation),
			STORE_END);
	else if (op->err)
		client_request_failed(r);
	else
		token_give(r, op, scope_set_text(scope_set_parse(r->scope), scope));
}

static void rotate(struct client_request *r)
{
	char sid[2 * SID_BYTES + 1];
	int64_t generation;
	if (!refresh_token_read(r->refresh, sid, &generation))
		refuse(r);
	else
		store_ask(STORE_GRANT_REFRESH, refreshed, r, STORE_TEXT(str_of(sid)),
			STORE_TEXT(r->client->id), STORE_INT(r->now), token_lifetime(),
			STORE_INT(generation), token_idle(), token_absolute(),
			STORE_INT(REFRESH_GRACE), STORE_END);
}

/* Less may be asked for, never more. */
static bool narrows(struct str scope, struct str granted)
{
	struct str word;
	char text[SCOPE_SET_TEXT_MAX];
	while ((word = word_next(&scope)).n) {
		if (word.n >= sizeof(text))
			return false;
		memcpy(text, word.p, word.n);
		text[word.n] = 0;
		if (!words_have(granted, text))
			return false;
	}
	return true;
}

/* The scope is looked at before the token is used: a mistake in it costs nothing. */
static void got_grant(struct store_op *op)
{
	struct client_request *r = op->context;
	bool own = !op->err && str_eq(store_str(op, 0, 3), r->client->id);
	if (op->err && op->err != ERR_NOT_FOUND)
		client_request_failed(r);
	else if (!own)
		refuse(r);
	else if (!narrows(r->scope, store_str(op, 0, 2)))
		client_request_refuse(r, 400, "invalid_scope",
			"A refresh can give less than the sign-in did, never more.");
	else
		rotate(r);
}

void grant_by_refresh(struct client_request *r)
{
	char sid[2 * SID_BYTES + 1];
	int64_t generation;
	r->refresh = client_request_field(r, "refresh_token");
	r->scope = client_request_field(r, "scope");
	while (r->scope.n && *r->scope.p == ' ')
		r->scope = (struct str){r->scope.p + 1, r->scope.n - 1};
	if (!r->refresh.n || r->fields.broken)
		client_request_refuse(r, 400, "invalid_request", "refresh_token is needed, once.");
	else if (!r->scope.n || !refresh_token_read(r->refresh, sid, &generation))
		rotate(r);
	else
		store_ask(STORE_GRANT_GET, got_grant, r, STORE_TEXT(str_of(sid)), STORE_END);
}
