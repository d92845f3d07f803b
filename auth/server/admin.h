/* admin.h: the methods that administer accounts, clients and tokens: their params, and the handlers
 * behind issuer_methods[] (admin.c). The command line and /v1/rpc send them as calls.
 *
 * Thread: the caller's worker. Each answers its call once, after the store has committed. */
#pragma once

#include "auth/server/clients.h"
#include "core/call.h"
#include "store/store.h"

/* A page of a list (store/page.h): what comes behind the cursor. */
struct admin_list {
	struct str cursor;
	struct param_int limit;
};
void admin_list(struct call *c, enum store_verb verb, void (*done)(struct store_op *op));
void admin_reply_list(struct store_op *op, const char *key,
	void (*write_row)(struct json_out *o, const struct store_op *op, size_t row));

/* accounts.c */
struct user_add {
	struct str name, password, display_name;
};
struct user_name {
	struct str name;
};
struct user_passwd {
	struct str name, password;
};
void user_add_run(struct call *c);
void user_list_run(struct call *c);
void user_get_run(struct call *c);
void user_passwd_run(struct call *c);
void user_factor_off_run(struct call *c);

/* invitations.c */
struct invitation_add {
	struct str note;
	struct param_int uses, expires;
};
struct invitation_remove {
	struct str invitation;
};
void invitation_add_run(struct call *c);
void invitation_list_run(struct call *c);
void invitation_remove_run(struct call *c);

/* clients_admin.c */
struct client_add {
	struct str name, grants, redirect_uris, post_logout_redirect_uris, scope, jwks,
		id_token_alg;
	struct param_bool public, trusted;
};
struct client_remove {
	struct str client_id;
};
void client_add_run(struct call *c);
void client_list_run(struct call *c);
void client_remove_run(struct call *c);
/* Words of an array of redirect URIs; n 0: none. False: one of them is none, or there are too many. */
bool client_join_uris(struct str array, struct buf *words);
/* What a client may ask for that is registered for these scopes (none: the usual ones) and grants: openid
 * and profile say who somebody is, so any client that signs people in may. */
struct scope_set client_scope(struct str words, struct str grant_words);
extern const char client_uri_rule[];
/* A client as the list has it. */
void client_write(struct json_out *o, const struct store_op *op, size_t row);

/* clients_change.c; client.get and client.secret have the params of client.remove */
struct client_update {
	struct str client_id, name, redirect_uris, post_logout_redirect_uris, scope;
	struct param_bool trusted;
};
void client_get_run(struct call *c);
void client_update_run(struct call *c);
void client_secret_run(struct call *c);

/* token_mint.c */
struct token_mint {
	struct str user, client, scope, audience, claim;
	struct param_int expires;
};
void token_mint_run(struct call *c);

/* Whether every word is a scope: a typing mistake would otherwise be found much later. */
bool scopes_known(struct str words);
