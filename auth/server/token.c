/* POST /oauth/token (RFC 6749 sections 3.2, 4.1.3, 4.4 and 5; RFC 7636 section 4.5). */
#include "auth/server/token.h"

#include "auth/audit.h"
#include "auth/server/client_request.h"
#include "auth/server/issuer.h"
#include "core/log.h"
#include "store/store.h"

#include <time.h>

enum { ANSWER_MAX = 4 * TOKEN_MAX_BYTES };
enum { VERIFIER_MIN = 43, VERIFIER_MAX = 128 };

static void refuse_grant(struct client_request *r)
{
	client_request_refuse(r, 400, "invalid_grant",
		"The code is unknown, used, expired, or was given for another client, "
		"redirect_uri or code_verifier. Sign in again.");
}

static void answer(struct client_request *r, struct mint_request *mint, struct id_token_request *id,
	enum err err, struct buf *access)
{
	struct buf b = BUF_INIT(ANSWER_MAX), id_token = BUF_INIT(TOKEN_MAX_BYTES);
	struct json_out o = JSON_OUT(&b);
	if (!err && id) {
		id->access_token = buf_str(access);
		err = issuer_mint_id(id, &id_token);
	}
	json_open(&o, NULL, '{');
	json_str(&o, "access_token", buf_str(access));
	json_text(&o, "token_type", "Bearer");
	json_int(&o, "expires_in", issuer->access_token_lifetime);
	json_str(&o, "scope", mint->scope);
	if (id)
		json_str(&o, "id_token", buf_str(&id_token));
	json_close(&o, '}');
	if (err) {
		log_error("token not signed", LOG_TEXT("why", err_info(err)->reason));
		buf_free(&b);
		client_request_failed(r);
	} else {
		http_reply_json(client_request_leave(&r), 200, &b);
	}
	buf_free(&id_token);
}

/* id: NULL, or what to say in an ID token. */
static void give(struct client_request *r, struct mint_request *mint, struct id_token_request *id)
{
	struct buf access = BUF_INIT(TOKEN_MAX_BYTES);
	enum err err = issuer_mint(mint, &access);
	if (!err)
		audit_add(.action = "token", .actor = mint->user, .user = mint->user,
			.client = mint->client, .address = r->x->in.peer, .detail = mint->scope);
	answer(r, mint, id, err, &access);
	buf_free(&access);
}

/* ---- authorization_code ---- */

static void looked_for_reuse(struct store_op *op)
{
	struct client_request *r = op->context;
	if (!op->err)
		audit_add(.action = "code.reuse", .outcome = "invalid_grant",
			.user = store_str(op, 0, 1), .client = store_str(op, 0, 0),
			.address = r->x->in.peer);
	if (op->err && op->err != ERR_NOT_FOUND)
		client_request_failed(r);
	else
		refuse_grant(r);
}

static bool fits(const struct client_request *r, struct str redirect_uri, struct str challenge)
{
	char computed[SECRET_TEXT + 1];
	secret_challenge(r->verifier, computed);
	return str_eq(r->redirect_uri, redirect_uri) && str_eq_secret(str_of(computed), challenge);
}

static struct store_value hash_value(struct str code, unsigned char out[SECRET_HASH])
{
	secret_hash(code, out);
	return STORE_BLOB(((struct str){(char *)out, SECRET_HASH}));
}

static void redeemed(struct store_op *op)
{
	struct client_request *r = op->context;
	unsigned char hash[SECRET_HASH];
	if (op->err == ERR_NOT_FOUND) {
		store_ask(
			STORE_CODE_USED, looked_for_reuse, r, hash_value(r->code, hash), STORE_END);
		return;
	}
	if (op->err) {
		client_request_failed(r);
		return;
	}
	if (!fits(r, store_str(op, 0, 2), store_str(op, 0, 5))) {
		refuse_grant(r); /* the code is spent all the same: whoever guesses has one try */
		return;
	}
	struct mint_request mint = {.user = store_str(op, 0, 0),
		.name = store_str(op, 0, 1),
		.client = r->client->id,
		.scope = store_str(op, 0, 3),
		.issued_at = time(NULL)};
	struct id_token_request id = {.user = mint.user,
		.name = mint.name,
		.client = mint.client,
		.nonce = store_str(op, 0, 4),
		.profile = words_have(mint.scope, "profile"),
		.auth_time = store_int(op, 0, 6),
		.issued_at = mint.issued_at,
		.alg = r->client->id_token_alg};
	give(r, &mint, words_have(mint.scope, "openid") ? &id : NULL);
}

static void redeem(struct client_request *r)
{
	unsigned char hash[SECRET_HASH];
	r->code = client_request_field(r, "code");
	r->redirect_uri = client_request_field(r, "redirect_uri");
	r->verifier = client_request_field(r, "code_verifier");
	if (!r->code.n || !r->redirect_uri.n || r->broken)
		client_request_refuse(
			r, 400, "invalid_request", "code and redirect_uri are needed, once each.");
	else if (r->verifier.n < VERIFIER_MIN || r->verifier.n > VERIFIER_MAX)
		client_request_refuse(r, 400, "invalid_request",
			"code_verifier (43 to 128 characters) is needed: PKCE is never optional.");
	else
		store_ask(STORE_CODE_USE, redeemed, r, hash_value(r->code, hash),
			STORE_TEXT(r->client->id), STORE_INT(r->now), STORE_END);
}

/* ---- client_credentials ---- */

static void give_client(struct client_request *r)
{
	char text[SCOPE_SET_TEXT_MAX];
	struct scope_set scope = client_grant(r->client, client_request_field(r, "scope"));
	scope.openid = scope.profile = scope.offline = false; /* nobody signed in */
	if (r->broken) {
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
		.scope = scope_set_text(scope, text)};
	give(r, &mint, NULL);
}

/* ---- which grant ---- */

static const struct {
	const char *name;
	void (*run)(struct client_request *r);
} grants[] = {{"authorization_code", redeem}, {"client_credentials", give_client}};

static void run_grant(struct client_request *r)
{
	struct str grant = client_request_field(r, "grant_type");
	if (!grant.n) {
		client_request_refuse(
			r, 400, "invalid_request", "grant_type is missing, or there twice.");
		return;
	}
	for (size_t i = 0; i < sizeof(grants) / sizeof(*grants); i++) {
		if (!str_is(grant, grants[i].name))
			continue;
		if (client_may(r->client, grants[i].name))
			grants[i].run(r);
		else
			client_request_refuse(r, 400, "unauthorized_client",
				"This client is not registered for this grant.");
		return;
	}
	client_request_refuse(r, 400, "unsupported_grant_type",
		"grant_type is authorization_code or client_credentials.");
}

void serve_token(struct http_exchange *x)
{
	client_request_begin(x, run_grant);
}
