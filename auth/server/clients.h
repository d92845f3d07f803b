/* clients.h: the programs that may ask for tokens, as they are registered here (RFC 6749 section 2).
 * Their administration is the client.* methods of issuer_methods[] (clients_admin.c).
 *
 * Thread: any worker; a client record is its holder's. */
#pragma once

#include "auth/jwa.h"
#include "auth/server/scope_set.h"
#include "auth/server/secret.h"
#include "core/err.h"

struct client {
	struct str id, name;
	bool confidential; /* it has a secret */
	bool trusted;      /* the operator's own: nobody is asked whether it may */
	unsigned char secret[SECRET_HASH];
	struct str jwks; /* its public keys: it proves itself by them, and has no secret */
	enum jwa id_token_alg;
	struct str grants, redirect_uris, post_logout_uris; /* words */
	struct scope_set scope;                             /* what it may be given */
};

/* A token's sub is a user's name, or the client's own id: so no id may be a name. Ids begin with '_',
 * with which no name does; of the built-in one, "demo", the name is reserved. */
#define CLIENT_DEMO "demo"
#define CLIENT_OPERATOR "_signalbox" /* stands in tokens that no client asked for */
#define CLIENT_GUESTS "_guests"      /* and in those of guests (POST /v1/guests) */
enum {
	CLIENT_ID_DIGITS = 20,
	CLIENT_ID_MAX = 64,
	CLIENT_NAME_MAX = 64,
	CLIENT_URIS_MAX = 2048,
	CLIENT_JWKS_MAX = 16384
};

/* Finds it and calls done(), perhaps before this returns. err: OK, and the client is the
 * callee's; NOT_FOUND; or what the store says. */
typedef void client_done(void *context, enum err err, struct client *client);
void client_get(struct str id, client_done *done, void *context);
void client_free(struct client **client);

/* Whether a user may not be called so. */
bool client_reserves_name(struct str user);

bool client_may(const struct client *client, const char *grant);
bool client_redirects_to(const struct client *client, struct str uri);
bool client_logs_out_to(const struct client *client, struct str uri);
bool client_secret_is(const struct client *client, struct str secret);

/* What is given of what is asked for; for nothing asked, the usual. */
struct scope_set client_grant(const struct client *client, struct str asked);
