/* client.get, client.update, client.secret. */
#include "auth/server/admin.h"
#include "core/mem.h"

#include <openssl/crypto.h>

static void answer(struct store_op *op)
{
	struct call *c = op->context;
	if (!call_refused(c, op->err, .field = STR("client_id"),
		    .message = "There is no client of this id.")) {
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

static void update(struct call *c, struct str uris, struct str logout_uris)
{
	const struct client_update *p = c->params;
	char scope[SCOPE_SET_TEXT_MAX];
	struct store_value trusted = STORE_NULL;
	if (p->trusted.given)
		trusted = STORE_INT(p->trusted.yes);
	store_ask(STORE_CLIENT_UPDATE, answer, c, STORE_TEXT(p->client_id),
		given(p->name.n, p->name), given(uris.n, uris),
		given(p->post_logout_redirect_uris.n, logout_uris),
		given(p->scope.n, scope_set_text(scope_set_parse(p->scope), scope)), trusted,
		STORE_END);
}

void client_update_run(struct call *c)
{
	const struct client_update *p = c->params;
	struct buf uris = BUF_INIT(CLIENT_URIS_MAX), logout_uris = BUF_INIT(CLIENT_URIS_MAX);
	if (!client_join_uris(p->redirect_uris, &uris) || (p->redirect_uris.n && !uris.n))
		call_refuse(
			c, ERR_PARAMS, .field = STR("redirect_uris"), .message = client_uri_rule);
	else if (!client_join_uris(p->post_logout_redirect_uris, &logout_uris))
		call_refuse(c, ERR_PARAMS, .field = STR("post_logout_redirect_uris"),
			.message = client_uri_rule);
	else if (!scopes_known(p->scope))
		call_refuse(c, ERR_PARAMS, .field = STR("scope"),
			.message = "One of these words is not a scope.");
	else
		update(c, buf_str(&uris), buf_str(&logout_uris));
	buf_free(&uris);
	buf_free(&logout_uris);
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
	store_ask(STORE_CLIENT_SECRET, renewed, c, STORE_TEXT(p->client_id),
		STORE_BLOB(((struct str){(char *)hash, sizeof(hash)})), STORE_END);
}
