#include "auth/server/clients.h"

#include "auth/server/issuer.h"
#include "auth/server/redirect.h"
#include "core/mem.h"
#include "store/store.h"

#include <openssl/crypto.h>

/* The record and behind it its bytes. */
struct record {
	struct client client;
	char bytes[];
};

struct lookup {
	client_done *done;
	void *context;
};

static struct str put(char **at, struct str s)
{
	struct str copy = {*at, s.n};
	if (s.n)
		memcpy(*at, s.p, s.n);
	*at += s.n;
	return copy;
}

static struct client *client_new(struct client from)
{
	struct record *r = mem_alloc(sizeof(*r) + from.id.n + from.name.n + from.jwks.n +
		from.grants.n + from.redirect_uris.n + from.post_logout_uris.n);
	char *at = r->bytes;
	r->client = from;
	r->client.id = put(&at, from.id);
	r->client.name = put(&at, from.name);
	r->client.jwks = put(&at, from.jwks);
	r->client.grants = put(&at, from.grants);
	r->client.redirect_uris = put(&at, from.redirect_uris);
	r->client.post_logout_uris = put(&at, from.post_logout_uris);
	return &r->client;
}

void client_free(struct client **client)
{
	free(*client); /* the first member of its record */
	*client = NULL;
}

/* The client of the demo is no row: it is what it is in this version of the program. */
static struct client *demo_client(void)
{
	struct buf uris = BUF_INIT(CLIENT_URIS_MAX);
	buf_adds(&uris, issuer->url);
	buf_addf(&uris, "/ http://localhost/ http://127.0.0.1/ http://[::1]/");
	struct client *client = client_new((struct client){
		.id = STR(CLIENT_DEMO),
		.name = STR("the demo"),
		.id_token_alg = JWA_ES256,
		.grants = STR("authorization_code refresh_token"),
		.redirect_uris = buf_str(&uris),
		.post_logout_uris = buf_str(&uris),
		.trusted = true,
		.scope = {SCOPES_DEFAULT, true, true, true},
	});
	buf_free(&uris);
	return client;
}

static void got_row(struct store_op *op)
{
	struct lookup l = *(struct lookup *)op->context;
	free(op->context);
	if (op->err) {
		l.done(l.context, op->err, NULL);
		return;
	}
	struct client found = {
		.id = store_str(op, 0, 0),
		.name = store_str(op, 0, 1),
		.jwks = store_str(op, 0, 8),
		.id_token_alg = str_is(store_str(op, 0, 9), "RS256") ? JWA_RS256 : JWA_ES256,
		.grants = store_str(op, 0, 3),
		.redirect_uris = store_str(op, 0, 4),
		.scope = scope_set_parse(store_str(op, 0, 5)),
		.trusted = store_int(op, 0, 6) != 0,
		.post_logout_uris = store_str(op, 0, 7),
	};
	struct str secret = store_str(op, 0, 2);
	found.confidential = secret.n == sizeof(found.secret);
	if (found.confidential)
		memcpy(found.secret, secret.p, secret.n);
	l.done(l.context, ERR_OK, client_new(found));
}

void client_get(struct str id, client_done *done, void *context)
{
	if (issuer->demo_client && str_is(id, CLIENT_DEMO)) {
		done(context, ERR_OK, demo_client());
		return;
	}
	if (!id.n || id.n > CLIENT_ID_MAX) {
		done(context, ERR_NOT_FOUND, NULL);
		return;
	}
	struct lookup *l = mem_new(struct lookup);
	*l = (struct lookup){done, context};
	store_ask(STORE_CLIENT_GET, got_row, l, STORE_TEXT(id), STORE_END);
}

bool client_reserves_name(struct str user)
{
	return user.n == strlen(CLIENT_DEMO) && strncasecmp(user.p, CLIENT_DEMO, user.n) == 0;
}

bool client_may(const struct client *client, const char *grant)
{
	return words_have(client->grants, grant);
}

static bool matches_one(struct str registered, struct str uri)
{
	struct str one;
	while ((one = word_next(&registered)).n)
		if (redirect_matches(one, uri))
			return true;
	return false;
}

bool client_redirects_to(const struct client *client, struct str uri)
{
	return matches_one(client->redirect_uris, uri);
}

bool client_logs_out_to(const struct client *client, struct str uri)
{
	return matches_one(client->post_logout_uris, uri);
}

bool client_secret_is(const struct client *client, struct str secret)
{
	unsigned char hash[SECRET_HASH];
	secret_hash(secret, hash);
	return client->confidential && CRYPTO_memcmp(hash, client->secret, sizeof(hash)) == 0;
}

struct scope_set client_grant(const struct client *client, struct str asked)
{
	struct scope_set usual = {.scopes = SCOPES_DEFAULT};
	struct str rest = asked;
	bool any = word_next(&rest).n > 0;
	return scope_set_common(client->scope, any ? scope_set_parse(asked) : usual);
}
