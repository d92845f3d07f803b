/* grant_type=urn:ietf:params:oauth:grant-type:device_code (RFC 8628 sections 3.4 and 3.5). */
#include "auth/server/device.h"
#include "auth/server/token_give.h"

static void refuse(struct client_request *r)
{
	client_request_refuse(r, 400, "invalid_grant",
		"The device code is unknown, used, or was given to another client.");
}

static void used(struct store_op *op)
{
	struct client_request *r = op->context;
	if (op->err == ERR_NOT_FOUND)
		refuse(r); /* another question was faster, or the account is disabled */
	else if (op->err)
		client_request_failed(r);
	else
		token_give(r, op, STR(""));
}

/* Columns: state, whether it did not wait, whether the code lives. */
static void asked(struct store_op *op)
{
	struct client_request *r = op->context;
	unsigned char hash[SECRET_HASH];
	if (op->err == ERR_NOT_FOUND)
		refuse(r);
	else if (op->err)
		client_request_failed(r);
	else if (!store_int(op, 0, 2))
		client_request_refuse(
			r, 400, "expired_token", "Nobody said yes in time. Begin again.");
	else if (store_int(op, 0, 1))
		client_request_refuse(r, 400, "slow_down",
			"Wait between two questions, five seconds longer than before.");
	else if (str_is(store_str(op, 0, 0), "denied"))
		client_request_refuse(r, 400, "access_denied", "The person said no.");
	else if (str_is(store_str(op, 0, 0), "pending"))
		client_request_refuse(
			r, 400, "authorization_pending", "Nobody has said yes or no so far.");
	else
		store_ask(STORE_DEVICE_USE, used, r, token_hash(r->code, hash),
			STORE_TEXT(r->client->id), STORE_INT(r->now), token_lifetime(),
			token_idle(), token_absolute(), STORE_END);
}

void grant_by_device(struct client_request *r)
{
	unsigned char hash[SECRET_HASH];
	r->code = client_request_field(r, "device_code");
	if (!r->code.n || r->fields.broken)
		client_request_refuse(r, 400, "invalid_request", "device_code is needed, once.");
	else
		store_ask(STORE_DEVICE_ASK, asked, r, token_hash(r->code, hash),
			STORE_TEXT(r->client->id), STORE_INT(r->now), STORE_END);
}
