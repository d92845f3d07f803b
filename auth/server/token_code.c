/* grant_type=authorization_code (RFC 6749 section 4.1.3, RFC 7636 section 4.5, RFC 9700 section 4.13). */
#include "auth/audit.h"
#include "auth/server/issuer.h"
#include "auth/server/token_give.h"

#include <time.h>

enum { VERIFIER_MIN = 43, VERIFIER_MAX = 128 };

static void refuse(struct client_request *r)
{
	client_request_refuse(r, 400, "invalid_grant",
		"The code is unknown, used, expired, or was given for another client, "
		"redirect_uri or code_verifier. Sign in again.");
}

static void looked_for_reuse(struct store_op *op)
{
	struct client_request *r = op->context;
	if (!op->err) {
		issuer_withdrawn(WITHDRAWN_GRANT, store_str(op, 0, 2), time(NULL), 0);
		audit_add(.action = "code.reuse", .outcome = "invalid_grant",
			.user = store_str(op, 0, 1), .client = store_str(op, 0, 0),
			.address = r->x->in.peer);
	}
	if (op->err && op->err != ERR_NOT_FOUND)
		client_request_failed(r);
	else
		refuse(r);
}

static bool fits(const struct client_request *r, struct str redirect_uri, struct str challenge)
{
	char computed[SECRET_TEXT + 1];
	secret_challenge(r->verifier, computed);
	return str_eq(r->redirect_uri, redirect_uri) && str_eq_secret(str_of(computed), challenge);
}

static void redeemed(struct store_op *op)
{
	struct client_request *r = op->context;
	unsigned char hash[SECRET_HASH];
	if (op->err == ERR_NOT_FOUND)
		store_ask(STORE_CODE_USED, looked_for_reuse, r, token_hash(r->code, hash),
			STORE_TEXT(r->client->id), STORE_INT(time(NULL)), STORE_END);
	else if (op->err)
		client_request_failed(r);
	else if (!fits(r, store_str(op, 0, 7), store_str(op, 0, 8)))
		refuse(r); /* the code is spent all the same: whoever guesses has one try */
	else
		token_give(r, op, STR(""));
}

void grant_by_code(struct client_request *r)
{
	unsigned char hash[SECRET_HASH];
	char challenge[SECRET_TEXT + 1];
	r->code = client_request_field(r, "code");
	r->redirect_uri = client_request_field(r, "redirect_uri");
	r->verifier = client_request_field(r, "code_verifier");
	if (!r->code.n || !r->redirect_uri.n || r->fields.broken) {
		client_request_refuse(
			r, 400, "invalid_request", "code and redirect_uri are needed, once each.");
		return;
	}
	if (r->verifier.n < VERIFIER_MIN || r->verifier.n > VERIFIER_MAX) {
		client_request_refuse(r, 400, "invalid_request",
			"code_verifier (43 to 128 characters) is needed: PKCE is never optional.");
		return;
	}
	secret_challenge(r->verifier, challenge);
	store_ask(STORE_CODE_USE, redeemed, r, token_hash(r->code, hash), STORE_TEXT(r->client->id),
		STORE_INT(r->now), STORE_TEXT(str_of(challenge)), STORE_TEXT(r->redirect_uri),
		token_lifetime(), token_idle(), token_absolute(), STORE_END);
}
