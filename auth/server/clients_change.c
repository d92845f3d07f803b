/* client.get, client.update, client.secret. */
#include "auth/server/admin.h"
#include "core/mem.h"

#include <openssl/crypto.h>

static bool refused(struct call *c, enum err err)
{
	return call_refused(
		c, err, .field = STR("client_id"), .message = "There is no client of this id.");
}

static void answer(struct store_op *op)
{
	struct call *c = op->context;
	if (!refused(c, op->err)) {
		client_write(call_result(c), op, 0);
		call_reply(c);
	}
}

void client_get_run(struct call *c)
{
	const struct client_remove *p = c->params;
	store_ask(STORE_CLIENT_SHOW, answer, c, STORE_TEXT(p->client_id), STORE_END);
}

/* ---- update: what is not given stays as it is ---- */

static struct store_value given(bool yes, struct str text)
{
	return yes ? STORE_TEXT(text) : STORE_NULL;
}

/* scope: a NULL when it stays. The URIs have been looked at. */
static void update(struct call *c, struct store_value scope)
{
	const struct client_update *p = c->params;
	struct buf uris = BUF_INIT(CLIENT_URIS_MAX), logout_uris = BUF_INIT(CLIENT_URIS_MAX);
	struct store_value trusted = STORE_NULL;
	if (p->trusted.given)
		trusted = STORE_INT(p->trusted.yes);
	client_join_uris(p->redirect_uris, &uris);
	client_join_uris(p->post_logout_redirect_uris, &logout_uris);
	store_ask(STORE_CLIENT_UPDATE, answer, c, STORE_TEXT(p->client_id),
		given(p->name.n, p->name), given(uris.n, buf_str(&uris)),
		given(p->post_logout_redirect_uris.n, buf_str(&logout_uris)), scope, trusted,
		STORE_END);
	buf_free(&uris);
	buf_free(&logout_uris);
}

/* Its grants say what its scopes are, beside what is given. */
static void got_client(void *context, enum err err, struct client *client)
{
	struct call *c = context;
	const struct client_update *p = c->params;
	char scope[SCOPE_SET_TEXT_MAX];
	if (!refused(c, err))
		update(c,
			STORE_TEXT(scope_set_text(client_scope(p->scope, client->grants), scope)));
	client_free(&client);
}

static bool uris_fit(struct str array, bool may_be_none)
{
	struct buf words = BUF_INIT(CLIENT_URIS_MAX);
	bool fit = client_join_uris(array, &words) && (!array.n || words.n || may_be_none);
	buf_free(&words);
	return fit;
}

void client_update_run(struct call *c)
{
	const struct client_update *p = c->params;
	if (!uris_fit(p->redirect_uris, false))
		call_refuse(
			c, ERR_PARAMS, .field = STR("redirect_uris"), .message = client_uri_rule);
	else if (!uris_fit(p->post_logout_redirect_uris, true))
		call_refuse(c, ERR_PARAMS, .field = STR("post_logout_redirect_uris"),
			.message = client_uri_rule);
	else if (!scopes_known(p->scope))
		call_refuse(c, ERR_PARAMS, .field = STR("scope"),
			.message = "One of these words is not a scope.");
	else if (p->scope.n)
		client_get(p->client_id, got_client, c);
	else
		update(c, STORE_NULL);
}

/* ---- secret: another one; the one before ends ---- */

struct renewing {
	char secret[SECRET_TEXT + 1];
};

static void renewed(struct store_op *op)
{
	struct call *c = op->context;
	struct renewing *r = c->state;
	const struct client_remove *p = c->params;
	c->state = NULL;
	if (!call_refused(c, op->err, .field = STR("client_id"),
		    .message = "There is no client of this id that has a secret.")) {
		struct json_out *o = call_result(c);
		json_open(o, NULL, '{');
		json_str(o, "client_id", p->client_id);
		json_text(o, "client_secret", r->secret);
		json_close(o, '}');
		call_reply(c);
	}
	OPENSSL_cleanse(r, sizeof(*r));
	free(r);
}

void client_secret_run(struct call *c)
{
	const struct client_remove *p = c->params;
	struct renewing *r = mem_new(struct renewing);
	unsigned char hash[SECRET_HASH];
	secret_make(r->secret);
	secret_hash(str_of(r->secret), hash);
	c->state = r;
	store_ask(STORE_CLIENT_SECRET, renewed, c, STORE_TEXT(p->client_id), STORE_HASH(hash),
		STORE_END);
}
