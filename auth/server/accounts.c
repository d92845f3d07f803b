/* user.add, user.list, user.get, user.passwd, user.factor_off. */
#include "auth/password.h"
#include "auth/server/admin.h"
#include "auth/server/issuer.h"
#include "auth/server/logout.h"
#include "core/mem.h"
#include "store/users.h"

#include <openssl/crypto.h>
#include <time.h>

/* A password on its way into the store. */
struct entering {
	struct call *call;
	bool made; /* by us: the answer says it */
	char password[SECRET_TEXT + 1];
};

enum { MADE_PASSWORD = 20 };

static void forget(struct entering **e)
{
	OPENSSL_cleanse(*e, sizeof(**e));
	free(*e);
	*e = NULL;
}

/* The text of the call lies in the call, and with it the password. */
static void wipe(struct str password)
{
	if (password.n)
		OPENSSL_cleanse((char *)(uintptr_t)password.p, password.n);
}

static void stored(struct store_op *op, const char *conflict)
{
	struct entering *e = op->context;
	struct call *c = e->call;
	c->state = NULL;
	if (op->err == ERR_CONFLICT) {
		call_refuse(c, op->err, .reason = "name_taken", .message = conflict);
	} else if (!call_refused(c, op->err, .message = "There is no user of this name.")) {
		struct json_out *o = call_result(c);
		json_open(o, NULL, '{');
		json_str(o, "name", *(struct str *)c->params);
		if (e->made)
			json_text(o, "password", e->password);
		json_close(o, '}');
		call_reply(c);
	}
	forget(&e);
}

/* Hashes the given password, or one made here, then done(). */
static void enter(struct call *c, struct str given, password_done *done)
{
	struct entering *e = mem_new(struct entering);
	struct str password = given;
	e->call = c;
	if (!given.n) {
		e->made = true;
		secret_make(e->password);
		e->password[MADE_PASSWORD] = 0;
		password = str_of(e->password);
	}
	c->state = e;
	enum err err = password_fit(password);
	if (!err)
		err = password_hash(password, done, e);
	wipe(given);
	if (!err)
		return;
	c->state = NULL;
	forget(&e);
	call_refuse(c, err, .field = err == ERR_PARAMS ? STR("password") : STR(""));
}

static void not_hashed(struct entering *e, enum err err)
{
	e->call->state = NULL;
	call_refuse(e->call, err);
	forget(&e);
}

/* ---- add ---- */

static void user_added(struct store_op *op)
{
	stored(op, "There is a user of this name already (upper and lower case are the same).");
}

static void user_hashed(void *context, const struct password_outcome *outcome)
{
	struct entering *e = context;
	const struct user_add *p = e->call->params;
	if (outcome->err) {
		not_hashed(e, outcome->err);
		return;
	}
	store_ask(STORE_USER_ADD, user_added, e, STORE_TEXT(p->name),
		STORE_TEXT(p->display_name.n ? p->display_name : p->name),
		STORE_TEXT(outcome->hash), STORE_INT(time(NULL)), STORE_END);
}

void user_add_run(struct call *c)
{
	const struct user_add *p = c->params;
	if (!user_name_valid(p->name))
		call_refuse(c, ERR_PARAMS, .field = STR("name"), .message = USER_NAME_RULE);
	else if (client_reserves_name(p->name))
		call_refuse(c, ERR_CONFLICT, .reason = "name_taken",
			.message = "This name is reserved.");
	else if (p->display_name.n && !user_display_name_valid(p->display_name))
		call_refuse(c, ERR_PARAMS, .field = STR("display_name"),
			.message = USER_DISPLAY_NAME_RULE);
	else
		enter(c, p->password, user_hashed);
}

/* ---- passwd ---- */

static void passwd_stored(struct store_op *op)
{
	grants_ended(op, 2);
	stored(op, NULL);
}

static void passwd_hashed(void *context, const struct password_outcome *outcome)
{
	struct entering *e = context;
	const struct user_passwd *p = e->call->params;
	if (outcome->err) {
		not_hashed(e, outcome->err);
		return;
	}
	store_ask(STORE_ACCOUNT_PASSWORD, passwd_stored, e, STORE_TEXT(p->name),
		STORE_TEXT(outcome->hash), STORE_INT(time(NULL)), STORE_NULL, STORE_END);
}

void user_passwd_run(struct call *c)
{
	const struct user_passwd *p = c->params;
	enter(c, p->password, passwd_hashed);
}

/* ---- the second factor, for who has lost it ---- */

static void factor_off(struct store_op *op)
{
	struct call *c = op->context;
	if (!call_refused(
		    c, op->err, .message = "There is no user of this name with a second factor."))
		call_reply_empty(c);
}

void user_factor_off_run(struct call *c)
{
	const struct user_name *p = c->params;
	store_ask(STORE_TOTP_REMOVE, factor_off, c, STORE_TEXT(p->name), STORE_END);
}

/* ---- get ---- */

static void got(struct store_op *op)
{
	struct call *c = op->context;
	if (!call_refused(c, op->err, .message = "There is no user of this name.")) {
		struct user_record user = user_record_of(op, 0);
		struct json_out *o = call_result(c);
		json_open(o, NULL, '{');
		json_str(o, "name", user.name);
		json_str(o, "display_name", user.display_name);
		json_int(o, "created_at", user.created_at);
		json_bool(o, "disabled", user.disabled_at != 0);
		json_bool(o, "password", user.password.n != 0);
		json_bool(o, "second_factor", store_int(op, 0, 5) != 0);
		json_close(o, '}');
		call_reply(c);
	}
}

void user_get_run(struct call *c)
{
	const struct user_name *p = c->params;
	store_ask(STORE_USER_GET, got, c, STORE_TEXT(p->name), STORE_END);
}

/* ---- list ---- */

static void write_user(struct json_out *o, const struct store_op *op, size_t row)
{
	struct user_record user = user_record_of(op, row);
	json_open(o, NULL, '{');
	json_str(o, "name", user.name);
	json_str(o, "display_name", user.display_name);
	json_int(o, "created_at", user.created_at);
	json_bool(o, "disabled", user.disabled_at != 0);
	json_close(o, '}');
}

static void listed(struct store_op *op)
{
	admin_reply_list(op, "users", write_user);
}

void user_list_run(struct call *c)
{
	admin_list(c, STORE_USER_LIST, listed);
}
