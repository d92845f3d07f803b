/* token.mint: a token out of the operator's hand, for a user or for a client itself. */
#include "auth/server/admin.h"
#include "auth/server/issuer.h"
#include "auth/server/keys.h"
#include "store/users.h"

#include <time.h>

static void key_kept(struct store_op *op)
{
	struct call *c = op->context;
	if (op->err)
		call_refuse(c, op->err);
	else
		call_reply(c);
}

/* A key goes when the ordinary life of its tokens is over: of one that lives longer it has to know. */
static void answer(struct call *c, const struct signing_key *key, int64_t expires_at)
{
	if (expires_at <= time(NULL) + KEY_TOKEN_LIFE)
		call_reply(c);
	else
		store_ask(STORE_SIGNING_KEY_NEEDED, key_kept, c, STORE_TEXT(str_of(key->pair.kid)),
			STORE_INT(expires_at), STORE_END);
}

static void mint(struct call *c, struct mint_request r)
{
	const struct token_mint *p = c->params;
	struct buf token = BUF_INIT(TOKEN_MAX_BYTES);
	char usual[SCOPE_SET_TEXT_MAX];
	struct scope_set scope = {.scopes = SCOPES_DEFAULT};
	r.scope = p->scope.n ? p->scope : scope_set_text(scope, usual);
	r.audience = p->audience;
	r.claims = p->claim;
	r.issued_at = time(NULL);
	r.lifetime = p->expires.given ? p->expires.n : issuer->access_token_lifetime;
	enum err err = issuer_mint(&r, &token);
	const struct signing_key *key = key_for(JWA_ES256);
	if (err == ERR_PARAMS) {
		call_refuse(c, err, .field = STR("claim"),
			.message =
				"The claims hold one twice, or one that the issuer sets itself.");
	} else if (err) {
		call_refuse(c, err);
	} else {
		struct json_out *o = call_result(c);
		json_open(o, NULL, '{');
		json_str(o, "token", buf_str(&token));
		json_int(o, "expires_at", r.issued_at + r.lifetime);
		json_close(o, '}');
		answer(c, key, r.issued_at + r.lifetime);
	}
	buf_free(&token);
}

static void got_user(struct store_op *op)
{
	struct call *c = op->context;
	if (call_refused(
		    c, op->err, .field = STR("user"), .message = "There is no user of this name."))
		return;
	struct user_record user = user_record_of(op, 0);
	if (user.disabled_at)
		call_refuse(
			c, ERR_FORBIDDEN, .field = STR("user"), .message = "The user is disabled.");
	else
		mint(c,
			(struct mint_request){.user = user.name,
				.name = user.display_name,
				.client = STR(CLIENT_OPERATOR)});
}

static void got_client(void *context, enum err err, struct client *client)
{
	struct call *c = context;
	if (!call_refused(
		    c, err, .field = STR("client"), .message = "There is no client of this id."))
		mint(c, (struct mint_request){.client = client->id, .name = client->name});
	client_free(&client);
}

void token_mint_run(struct call *c)
{
	const struct token_mint *p = c->params;
	if (!p->user.n == !p->client.n)
		call_refuse(c, ERR_PARAMS, .field = STR("user"),
			.message = "Say whom the token is for: either user or client.");
	else if (!scopes_known(p->scope))
		call_refuse(c, ERR_PARAMS, .field = STR("scope"),
			.message = "One of these words is not a scope.");
	else if (p->user.n)
		store_ask(STORE_USER_GET, got_user, c, STORE_TEXT(p->user), STORE_END);
	else
		client_get(p->client, got_client, c);
}
