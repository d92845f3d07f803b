#include "auth/server/admin.h"

#include "auth/keypair.h"
#include "auth/password.h"
#include "auth/server/key_rotation.h"
#include "auth/server/server.h"
#include "store/page.h"
#include "store/users.h"

enum { INVITATION_NOTE_MAX = 128, INVITATION_USES_MAX = 10000, INVITATION_ID_MAX = 64 };
enum { AUDIENCE_MAX = 512, CLAIM_MAX = 4096 };

static const struct field user_add_fields[] = {
	FIELD(struct user_add, name, STRING, true, 1, USER_NAME_MAX),
	FIELD(struct user_add, password, STRING, false, PASSWORD_MIN, PASSWORD_MAX),
	FIELD(struct user_add, display_name, STRING, false, 1, USER_DISPLAY_NAME_MAX),
	{0},
};

static const struct field user_list_fields[] = {
	FIELD(struct admin_list, cursor, STRING, false, 0, USER_NAME_MAX),
	FIELD(struct admin_list, limit, INT, false, 1, PAGE_ROWS_MAX),
	{0},
};

static const struct field user_factor_off_fields[] = {
	FIELD(struct user_name, name, STRING, true, 1, USER_NAME_MAX),
	{0},
};

static const struct field user_passwd_fields[] = {
	FIELD(struct user_passwd, name, STRING, true, 1, USER_NAME_MAX),
	FIELD(struct user_passwd, password, STRING, false, PASSWORD_MIN, PASSWORD_MAX),
	{0},
};

static const struct field invitation_add_fields[] = {
	FIELD(struct invitation_add, note, STRING, false, 0, INVITATION_NOTE_MAX),
	FIELD(struct invitation_add, uses, INT, false, 1, INVITATION_USES_MAX),
	FIELD(struct invitation_add, expires, INT, false, 60, EXPIRES_MAX),
	{0},
};

static const struct field invitation_list_fields[] = {
	FIELD(struct admin_list, cursor, STRING, false, 0, INVITATION_ID_MAX),
	FIELD(struct admin_list, limit, INT, false, 1, PAGE_ROWS_MAX),
	{0},
};

static const struct field invitation_remove_fields[] = {
	FIELD(struct invitation_remove, invitation, STRING, true, 1, INVITATION_ID_MAX),
	{0},
};

static const struct field client_add_fields[] = {
	FIELD(struct client_add, name, STRING, true, 1, CLIENT_NAME_MAX),
	FIELD(struct client_add, grants, ARRAY, true, 0, 256),
	FIELD(struct client_add, redirect_uris, ARRAY, false, 0, CLIENT_URIS_MAX),
	FIELD(struct client_add, scope, STRING, false, 0, SCOPE_SET_TEXT_MAX),
	FIELD(struct client_add, post_logout_redirect_uris, ARRAY, false, 0, CLIENT_URIS_MAX),
	FIELD(struct client_add, public, BOOL, false, 0, 0),
	FIELD(struct client_add, trusted, BOOL, false, 0, 0),
	FIELD(struct client_add, jwks, OBJECT, false, 0, CLIENT_JWKS_MAX),
	FIELD(struct client_add, id_token_alg, STRING, false, 1, 16),
	{0},
};

static const struct field client_list_fields[] = {
	FIELD(struct admin_list, cursor, STRING, false, 0, CLIENT_ID_MAX),
	FIELD(struct admin_list, limit, INT, false, 1, PAGE_ROWS_MAX),
	{0},
};

static const struct field client_remove_fields[] = {
	FIELD(struct client_remove, client_id, STRING, true, 1, CLIENT_ID_MAX),
	{0},
};

static const struct field token_mint_fields[] = {
	FIELD(struct token_mint, user, STRING, false, 1, USER_NAME_MAX),
	FIELD(struct token_mint, client, STRING, false, 1, CLIENT_ID_MAX),
	FIELD(struct token_mint, scope, STRING, false, 0, SCOPE_SET_TEXT_MAX),
	FIELD(struct token_mint, audience, STRING, false, 1, AUDIENCE_MAX),
	FIELD(struct token_mint, claim, OBJECT, false, 0, CLAIM_MAX),
	FIELD(struct token_mint, expires, INT, false, 1, EXPIRES_MAX),
	{0},
};

static const struct field key_list_fields[] = {{0}};

static const struct field key_rotate_fields[] = {
	FIELD(struct key_rotate, now, BOOL, false, 0, 0),
	{0},
};

static const struct field key_remove_fields[] = {
	FIELD(struct key_remove, kid, STRING, true, 1, KEYPAIR_KID_MAX - 1),
	{0},
};

static const struct field client_update_fields[] = {
	FIELD(struct client_update, client_id, STRING, true, 1, CLIENT_ID_MAX),
	FIELD(struct client_update, name, STRING, false, 1, CLIENT_NAME_MAX),
	FIELD(struct client_update, redirect_uris, ARRAY, false, 0, CLIENT_URIS_MAX),
	FIELD(struct client_update, post_logout_redirect_uris, ARRAY, false, 0, CLIENT_URIS_MAX),
	FIELD(struct client_update, scope, STRING, false, 0, SCOPE_SET_TEXT_MAX),
	FIELD(struct client_update, trusted, BOOL, false, 0, 0),
	{0},
};

/* These name one, and say no more. */
#define user_get_fields user_factor_off_fields
#define client_get_fields client_remove_fields
#define client_secret_fields client_remove_fields

#define ADMIN(name, type, run, ...) \
	{ \
		name, SCOPE_ADMIN, HOME_CALLER, 0 __VA_ARGS__, run##_fields, sizeof(struct type), \
			run##_run \
	}

const struct method issuer_methods[] = {
	ADMIN("user.add", user_add, user_add),
	ADMIN("user.list", admin_list, user_list, | METHOD_READS),
	ADMIN("user.get", user_name, user_get, | METHOD_READS),
	ADMIN("user.passwd", user_passwd, user_passwd),
	ADMIN("user.factor_off", user_name, user_factor_off),
	ADMIN("invitation.add", invitation_add, invitation_add),
	ADMIN("invitation.list", admin_list, invitation_list, | METHOD_READS),
	ADMIN("invitation.remove", invitation_remove, invitation_remove),
	ADMIN("client.add", client_add, client_add),
	ADMIN("client.list", admin_list, client_list, | METHOD_READS),
	ADMIN("client.remove", client_remove, client_remove),
	ADMIN("client.get", client_remove, client_get, | METHOD_READS),
	ADMIN("client.update", client_update, client_update),
	ADMIN("client.secret", client_remove, client_secret),
	{"key.list", SCOPE_ADMIN, HOME_CALLER, METHOD_READS, key_list_fields, 0, key_list_run},
	ADMIN("key.rotate", key_rotate, key_rotate),
	ADMIN("key.remove", key_remove, key_remove),
	ADMIN("token.mint", token_mint, token_mint),
	{0},
};

bool scopes_known(struct str words)
{
	struct str word;
	while ((word = word_next(&words)).n)
		if (scope_set_empty(scope_set_parse(word)))
			return false;
	return true;
}

void admin_list(struct call *c, enum store_verb verb, void (*done)(struct store_op *op))
{
	const struct admin_list *p = c->params;
	store_ask(verb, done, c, STORE_TEXT(p->cursor), STORE_INT(page_rows(p->limit) + 1),
		STORE_END);
}

void admin_reply_list(struct store_op *op, const char *key,
	void (*write_row)(struct json_out *o, const struct store_op *op, size_t row))
{
	const struct call *c = op->context;
	const struct admin_list *p = c->params;
	page_reply(op, page_rows(p->limit), key, write_row);
}
