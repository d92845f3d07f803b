/* POST /oauth/token (RFC 6749 sections 3.2, 4.4 and 5): which grant, and what is answered. */
#include "auth/server/token.h"

#include "auth/audit.h"
#include "auth/server/issuer.h"
#include "auth/server/key_wait.h"
#include "auth/server/refresh_token.h"
#include "auth/server/token_give.h"
#include "core/log.h"

#include <openssl/crypto.h>

enum { ANSWER_MAX = 4 * TOKEN_MAX_BYTES };

struct store_value token_lifetime(void)
{
	return STORE_INT(issuer->access_token_lifetime);
}

struct store_value token_idle(void)
{
	return STORE_INT(issuer->refresh_token_idle);
}

struct store_value token_absolute(void)
{
	return STORE_INT(issuer->refresh_token_lifetime);
}

struct store_value token_hash(struct str secret, unsigned char out[SECRET_HASH])
{
	secret_hash(secret, out);
	return STORE_HASH(out);
}

/* ---- what is answered ---- */

/* What is given beside the access token. */
struct gifts {
	struct id_token_request *id; /* NULL: no ID token */
	const char *refresh;         /* NULL: none */
};

static enum err write_answer(struct json_out *o, const struct mint_request *mint,
	const struct gifts *gifts, struct str access)
{
	struct buf id_token = BUF_INIT(TOKEN_MAX_BYTES);
	enum err err = ERR_OK;
	json_open(o, NULL, '{');
	json_str(o, "access_token", access);
	json_text(o, "token_type", "Bearer");
	json_int(o, "expires_in", issuer->access_token_lifetime);
	json_str(o, "scope", mint->scope);
	if (gifts->refresh)
		json_text(o, "refresh_token", gifts->refresh);
	if (gifts->id) {
		gifts->id->access_token = access;
		err = issuer_mint_id(gifts->id, &id_token);
		json_str(o, "id_token", buf_str(&id_token));
	}
	json_close(o, '}');
	buf_free(&id_token);
	return err ? err : o->b->err;
}

static void give(
	struct client_request *r, const struct mint_request *mint, const struct gifts *gifts)
{
	struct buf access = BUF_INIT(TOKEN_MAX_BYTES), b = BUF_INIT(ANSWER_MAX);
	struct json_out o = JSON_OUT(&b);
	enum err err = issuer_mint(mint, &access);
	if (!err)
		err = write_answer(&o, mint, gifts, buf_str(&access));
	buf_free(&access);
	if (err) {
		log_error("token not signed", LOG_TEXT("why", err_info(err)->reason));
		buf_free(&b);
		client_request_failed(r);
		return;
	}
	audit_add(.action = "token", .actor = mint->user, .user = mint->user,
		.client = mint->client, .address = r->x->in.peer, .detail = mint->scope);
	http_reply_json(client_request_leave(&r), 200, &b);
}

void token_give(struct client_request *r, const struct store_op *op, struct str scope)
{
	char text[SCOPE_SET_TEXT_MAX];
	struct scope_set given = scope_set_common(
		r->client->scope, scope_set_parse(scope.n ? scope : store_str(op, 0, 2)));
	struct str sid = store_str(op, 0, 4);
	int64_t generation = store_int(op, 0, 5);
	char refresh[REFRESH_TOKEN_TEXT + 1];
	struct mint_request mint = {.user = store_str(op, 0, 0),
		.name = store_str(op, 0, 1),
		.client = r->client->id,
		.scope = scope_set_text(given, text),
		.sid = sid,
		.seen = r->seen,
		.issued_at = r->now};
	struct id_token_request id = {.user = mint.user,
		.name = mint.name,
		.client = mint.client,
		.nonce = store_str(op, 0, 6),
		.profile = words_have(mint.scope, "profile"),
		.auth_time = store_int(op, 0, 3),
		.issued_at = r->now,
		.alg = r->client->id_token_alg};
	if (scope_set_empty(given)) {
		client_request_refuse(r, 400, "invalid_scope",
			"None of these scopes is open to this client any more.");
		return;
	}
	struct gifts gifts = {words_have(mint.scope, "openid") ? &id : NULL, NULL};
	if (generation) {
		refresh_token_make(sid, generation, refresh);
		gifts.refresh = refresh;
	}
	give(r, &mint, &gifts);
	OPENSSL_cleanse(refresh, sizeof(refresh));
}

/* ---- client_credentials ---- */

static void grant_by_client(struct client_request *r)
{
	char text[SCOPE_SET_TEXT_MAX];
	struct scope_set scope = client_grant(r->client, client_request_field(r, "scope"));
	scope.openid = scope.profile = scope.offline = false; /* nobody signed in */
	if (r->fields.broken) {
		client_request_refuse(r, 400, "invalid_request", "scope is there twice.");
		return;
	}
	if (scope_set_empty(scope)) {
		client_request_refuse(
			r, 400, "invalid_scope", "None of these scopes is open to this client.");
		return;
	}
	struct mint_request mint = {.name = r->client->name,
		.client = r->client->id,
		.scope = scope_set_text(scope, text),
		.seen = r->seen};
	give(r, &mint, &(struct gifts){NULL, NULL});
}

/* ---- which grant ---- */

static const struct {
	const char *type, *registered;
	void (*run)(struct client_request *r);
} grants[] = {
	{"authorization_code", "authorization_code", grant_by_code},
	{"refresh_token", "refresh_token", grant_by_refresh},
	{"client_credentials", "client_credentials", grant_by_client},
	{"urn:ietf:params:oauth:grant-type:device_code", "device_code", grant_by_device},
};

static void run_grant(struct client_request *r)
{
	struct str type = client_request_field(r, "grant_type");
	if (!type.n) {
		client_request_refuse(
			r, 400, "invalid_request", "grant_type is missing, or there twice.");
		return;
	}
	for (size_t i = 0; i < sizeof(grants) / sizeof(*grants); i++) {
		if (!str_is(type, grants[i].type))
			continue;
		if (client_may(r->client, grants[i].registered))
			grants[i].run(r);
		else
			client_request_refuse(r, 400, "unauthorized_client",
				"This client is not registered for this grant.");
		return;
	}
	client_request_refuse(r, 400, "unsupported_grant_type",
		"grant_type is one of grant_types_supported in the discovery document.");
}

static void begin_request(struct http_exchange *x)
{
	client_request_begin(x, run_grant);
}

void serve_token(struct http_exchange *x)
{
	keys_needed(x, begin_request); /* an ID token may be among what is given */
}
