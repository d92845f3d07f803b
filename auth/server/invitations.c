/* invitation.add, invitation.list, invitation.remove. */
#include "auth/server/admin.h"
#include "auth/server/invitations.h"
#include "auth/server/issuer.h"
#include "core/mem.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <time.h>

enum { ID_DIGITS = 12, LIFETIME = 7 * 24 * 3600, PURGE_AFTER = 30 * 24 * 3600 };

/* While the store works. */
struct inviting {
	char id[ID_DIGITS + 1], code[SECRET_TEXT + 1];
	int64_t expires_at;
};

void invitation_hash(struct str code, unsigned char out[SECRET_HASH])
{
	secret_hash(code, out);
}

static void added(struct store_op *op)
{
	struct call *c = op->context;
	struct inviting *i = c->state;
	char address[1200];
	c->state = NULL;
	if (op->err) {
		call_refuse(c, op->err);
	} else {
		struct json_out *o = call_result(c);
		int n = snprintf(address, sizeof(address),
			STR_FMT "/oauth/signup?page=account&invitation=%s", STR_ARG(issuer->url),
			i->code);
		json_open(o, NULL, '{');
		json_text(o, "invitation", i->id);
		json_text(o, "code", i->code);
		json_str(o, "url", (struct str){address, (size_t)n});
		json_int(o, "expires_at", i->expires_at);
		json_close(o, '}');
		call_reply(c);
	}
	OPENSSL_cleanse(address, sizeof(address));
	OPENSSL_cleanse(i, sizeof(*i));
	free(i);
}

void invitation_add_run(struct call *c)
{
	const struct invitation_add *p = c->params;
	struct inviting *i = mem_new(struct inviting);
	unsigned char hash[SECRET_HASH];
	int64_t now = time(NULL);
	secret_make_hex(i->id, ID_DIGITS);
	secret_make(i->code);
	invitation_hash(str_of(i->code), hash);
	i->expires_at = now + (p->expires.given ? p->expires.n : LIFETIME);
	c->state = i;
	store_ask(STORE_INVITATION_ADD, added, c, STORE_TEXT(str_of(i->id)), STORE_HASH(hash),
		STORE_TEXT(p->note), STORE_INT(p->uses.given ? p->uses.n : 1), STORE_INT(now),
		STORE_INT(i->expires_at), STORE_INT(now - PURGE_AFTER), STORE_END);
}

static void write_invitation(struct json_out *o, const struct store_op *op, size_t row)
{
	json_open(o, NULL, '{');
	json_str(o, "invitation", store_str(op, row, 0));
	json_str(o, "note", store_str(op, row, 1));
	json_int(o, "uses_left", store_int(op, row, 2));
	json_int(o, "created_at", store_int(op, row, 3));
	json_int(o, "expires_at", store_int(op, row, 4));
	json_close(o, '}');
}

static void listed(struct store_op *op)
{
	admin_reply_list(op, "invitations", write_invitation);
}

void invitation_list_run(struct call *c)
{
	admin_list(c, STORE_INVITATION_LIST, listed);
}

static void removed(struct store_op *op)
{
	struct call *c = op->context;
	if (!call_refused(c, op->err, .message = "There is no invitation of this id."))
		call_reply_empty(c);
}

void invitation_remove_run(struct call *c)
{
	const struct invitation_remove *p = c->params;
	store_ask(STORE_INVITATION_REMOVE, removed, c, STORE_TEXT(p->invitation), STORE_END);
}
