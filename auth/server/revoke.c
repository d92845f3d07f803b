#include "auth/audit.h"
#include "auth/server/access_token.h"
#include "auth/server/client_request.h"
#include "auth/server/issuer.h"
#include "auth/server/refresh_token.h"
#include "auth/server/token_endpoints.h"
#include "store/store.h"

#include <time.h>

static void answer(struct client_request *r)
{
	http_header(r->x, "Cache-Control", STR("no-store"));
	http_reply(client_request_leave(&r), 200, NULL, STR(""));
}

static void refuse(struct client_request *r)
{
	client_request_refuse(
		r, 400, "unauthorized_client", "The token was given to another client.");
}

static void written(struct client_request *r, struct str user, struct str detail)
{
	audit_add(.action = "token.revoke", .actor = user, .user = user, .client = r->client->id,
		.address = r->x->in.peer, .detail = detail);
	answer(r);
}

/* ---- an access token ---- */

/* Columns: when. */
static void token_withdrawn(struct store_op *op)
{
	struct client_request *r = op->context;
	if (op->err) {
		client_request_failed(r);
		return;
	}
	issuer_withdrawn(
		WITHDRAWN_TOKEN, op->args[1].bytes, store_int(op, 0, 1), store_int(op, 0, 2));
	written(r, STR(""), op->args[1].bytes);
}

static void revoke_access(struct client_request *r, struct str text)
{
	struct access_token *token = NULL;
	if (access_token_read(text, r->now, &token))
		answer(r); /* whatever it is, it is good for nothing */
	else if (!str_eq(token->client, r->client->id))
		refuse(r);
	else
		store_ask(STORE_WITHDRAW, token_withdrawn, r, STORE_TEXT(STR("token")),
			STORE_TEXT(token->jti), STORE_INT(r->now), STORE_INT(token->expires_at),
			STORE_END);
	access_token_free(&token);
}

/* ---- a refresh token, and all that came from its grant ---- */

static void grant_ended(struct store_op *op)
{
	struct client_request *r = op->context;
	if (op->err == ERR_NOT_FOUND) {
		answer(r); /* somebody else was faster */
	} else if (op->err) {
		client_request_failed(r);
	} else {
		issuer_withdrawn(WITHDRAWN_GRANT, store_str(op, 0, 0), time(NULL), 0);
		written(r, store_str(op, 0, 1), store_str(op, 0, 0));
	}
}

static void got_grant(struct store_op *op)
{
	struct client_request *r = op->context;
	if (op->err == ERR_NOT_FOUND)
		answer(r);
	else if (op->err)
		client_request_failed(r);
	else if (!str_eq(store_str(op, 0, 3), r->client->id))
		refuse(r);
	else
		store_ask(STORE_GRANT_END, grant_ended, r, STORE_TEXT(op->args[0].bytes),
			STORE_TEXT(r->client->id), STORE_INT(r->now), STORE_INT(-1), STORE_END);
}

/* token_type_hint is not needed to tell them apart. */
static void begin(struct client_request *r)
{
	struct str text = client_request_field(r, "token");
	char sid[2 * SID_BYTES + 1];
	int64_t generation;
	if (!text.n || r->fields.broken)
		client_request_refuse(r, 400, "invalid_request", "token is needed, once.");
	else if (refresh_token_read(text, sid, &generation))
		store_ask(STORE_GRANT_GET, got_grant, r, STORE_TEXT(str_of(sid)), STORE_END);
	else
		revoke_access(r, text);
}

void serve_revoke(struct http_exchange *x)
{
	client_request_begin(x, begin);
}
