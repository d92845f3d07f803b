#include "auth/server/access_token.h"
#include "auth/server/client_request.h"
#include "auth/server/issuer.h"
#include "auth/server/refresh_token.h"
#include "auth/server/token_endpoints.h"
#include "store/store.h"

enum { ANSWER_MAX = 16 * 1024 };

static void answer_inactive(struct client_request *r)
{
	struct buf b = BUF_INIT(64);
	buf_addf(&b, "{\"active\":false}");
	http_reply_json(client_request_leave(&r), 200, &b);
}

static void answer_access(struct client_request *r, const struct access_token *token)
{
	struct buf b = BUF_INIT(ANSWER_MAX);
	struct json_out o = JSON_OUT(&b);
	json_open(&o, NULL, '{');
	json_bool(&o, "active", true);
	json_str(&o, "iss", issuer->url);
	json_str(&o, "sub", token->sub);
	json_raw(&o, "aud", token->audience);
	json_str(&o, "client_id", token->client);
	json_str(&o, "scope", token->scope);
	json_text(&o, "token_type", "Bearer");
	if (!token->of_client)
		json_str(&o, "username", token->sub);
	json_int(&o, "exp", token->expires_at);
	json_int(&o, "iat", token->issued_at);
	json_str(&o, "jti", token->jti);
	if (token->sid.n)
		json_str(&o, "sid", token->sid);
	json_close(&o, '}');
	http_reply_json(client_request_leave(&r), 200, &b);
}

/* The newest, and the one before it while it still gets the newest. */
static bool is_current(const struct client_request *r, const struct store_op *op)
{
	char sid[2 * SID_BYTES + 1];
	int64_t generation, newest = store_int(op, 0, 4);
	if (!refresh_token_read(r->refresh, sid, &generation))
		return false;
	bool alive = store_int(op, 0, 5) > r->now && store_int(op, 0, 7);
	bool grace = generation + 1 == newest && store_int(op, 0, 6) >= r->now - REFRESH_GRACE;
	return alive && (generation == newest || grace) &&
		str_eq(store_str(op, 0, 3), r->client->id);
}

static void got_grant(struct store_op *op)
{
	struct client_request *r = op->context;
	struct buf b = BUF_INIT(ANSWER_MAX);
	struct json_out o = JSON_OUT(&b);
	if (op->err == ERR_NOT_FOUND || (!op->err && !is_current(r, op))) {
		answer_inactive(r);
		return;
	}
	if (op->err) {
		client_request_failed(r);
		return;
	}
	json_open(&o, NULL, '{');
	json_bool(&o, "active", true);
	json_str(&o, "iss", issuer->url);
	json_str(&o, "sub", store_str(op, 0, 0));
	json_str(&o, "client_id", store_str(op, 0, 3));
	json_str(&o, "scope", store_str(op, 0, 2));
	json_str(&o, "username", store_str(op, 0, 0));
	json_int(&o, "exp", store_int(op, 0, 5));
	json_close(&o, '}');
	http_reply_json(client_request_leave(&r), 200, &b);
}

static void introspect_access(struct client_request *r, struct str text)
{
	struct access_token *token = NULL;
	if (access_token_read(text, r->now, &token))
		answer_inactive(r);
	else
		answer_access(r, token);
	access_token_free(&token);
}

static void introspect(struct client_request *r)
{
	char sid[2 * SID_BYTES + 1];
	int64_t generation;
	r->refresh = client_request_field(r, "token");
	if (!r->client->confidential && !r->client->jwks.n)
		client_request_refuse_client(r, "it is public, and asked what a token is");
	else if (!r->refresh.n || r->fields.broken)
		client_request_refuse(r, 400, "invalid_request", "token is needed, once.");
	else if (refresh_token_read(r->refresh, sid, &generation))
		store_ask(STORE_GRANT_GET, got_grant, r, STORE_TEXT(str_of(sid)), STORE_END);
	else
		introspect_access(r, r->refresh);
}

void serve_introspect(struct http_exchange *x)
{
	client_request_begin(x, introspect);
}
