#include "signaling/invitations.h"

#include "auth/withdrawal.h"
#include "core/mem.h"
#include "signaling/access.h"
#include "signaling/act.h"
#include "signaling/methods.h"
#include "signaling/signaling.h"
#include "store/page.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <time.h>

enum { NOTE_MAX = 255, USES_MAX = 10000, LIFETIME = 7 * 24 * 3600, LIST_PAGE = 50 };

struct invitation invitation_of_row(const struct store_op *op)
{
	return (struct invitation){.room = store_str(op, 0, 0),
		.title = store_str(op, 0, 1),
		.role = store_str(op, 0, 2),
		.guests = store_int(op, 0, 3) != 0,
		.expires_at = store_int(op, 0, 4),
		.uses_left = store_int(op, 0, 5),
		.mine = store_str(op, 0, 6),
		.banned = store_int(op, 0, 7) != 0,
		.kept = store_int(op, 0, 8) != 0,
		.roles = store_int(op, 0, 9)};
}

struct str invitation_sid(struct str id, char *out)
{
	int n = snprintf(out, INVITATION_SID_MAX, "invitation:" STR_FMT, STR_ARG(id));
	return (struct str){out, (size_t)n};
}

/* ---- room.invite ---- */

struct invite_params {
	struct str room, role, note;
	struct param_int uses, expires_in;
	struct param_bool guests;
	/* the handler's own */
	char id[INVITATION_ID_DIGITS + 1], token[SECRET_TEXT + 1];
	int64_t expires_at;
};

static const struct field invite_fields[] = {
	FIELD(struct invite_params, room, STRING, true, 1, NAME_MAX_BYTES),
	FIELD(struct invite_params, role, STRING, false, 0, NAME_MAX_BYTES),
	FIELD(struct invite_params, uses, INT, false, 1, USES_MAX),
	FIELD(struct invite_params, expires_in, INT, false, 60, 366 * 24 * 3600),
	FIELD(struct invite_params, guests, BOOL, false, 0, 0),
	FIELD(struct invite_params, note, STRING, false, 0, NOTE_MAX),
	{0},
};

static enum role role_asked(const struct invite_params *in)
{
	return in->role.p ? role_parse(in->role) : ROLE_MEMBER;
}

static int64_t uses_asked(const struct invite_params *in)
{
	return in->uses.given ? in->uses.n : 1;
}

static void invited(struct store_op *op)
{
	struct call *c = op->context;
	struct invite_params *in = c->params;
	rooms_asked_store(-1);
	if (op->err == ERR_NOT_FOUND) {
		deny(c, DENIAL_TOO_MANY_INVITATIONS, INVITATIONS_MAX);
	} else if (op->err == ERR_CONFLICT) { /* the room has been deleted meanwhile */
		deny(c, DENIAL_NO_ROOM, 0);
	} else if (op->err) {
		call_refuse(c, op->err);
	} else {
		act_audit(c, in->room, STR(""), "invitation", str_of(in->id));
		struct json_out *o = call_result(c);
		json_open(o, NULL, '{');
		json_text(o, "invitation", in->id);
		json_text(o, "token", in->token);
		json_int(o, "expires_at", in->expires_at);
		json_int(o, "uses", uses_asked(in));
		json_close(o, '}');
		OPENSSL_cleanse(in->token, sizeof(in->token));
		call_reply(c);
	}
}

static void invite(const struct place *p, struct call *c)
{
	struct invite_params *in = c->params;
	unsigned char hash[SECRET_HASH];
	int64_t now = time(NULL);
	secret_make_hex(in->id, INVITATION_ID_DIGITS);
	secret_make(in->token);
	secret_hash(str_of(in->token), hash);
	in->expires_at = now + (in->expires_in.given ? in->expires_in.n : LIFETIME);
	rooms_asked_store(1);
	store_ask(STORE_ROOM_INVITATION_ADD, invited, c, STORE_TEXT(str_of(in->id)),
		STORE_INT(p->rules->id), STORE_HASH(hash),
		STORE_TEXT(str_of(role_word(role_asked(in)))), STORE_INT(in->guests.yes),
		STORE_TEXT(in->note), STORE_TEXT(c->who->user), STORE_INT(now),
		STORE_INT(uses_asked(in)), STORE_INT(in->expires_at), STORE_INT(INVITATIONS_MAX),
		STORE_END);
}

static void invite_visit(struct place *p, struct call *c)
{
	const struct invite_params *in = c->params;
	enum denial why = access_moderate(p, c->who);
	if (!why && role_asked(in) == ROLE_MODERATOR && access_role(p, c->who) < ROLE_OWNER)
		why = DENIAL_NOT_OWNER;
	if (!why && p->kind != PLACE_STORED)
		why = DENIAL_NOT_KEPT;
	if (why)
		deny(c, why, 0);
	else
		invite(p, c);
}

static void invite_run(struct call *c)
{
	const struct invite_params *in = c->params;
	enum role role = role_asked(in);
	if (role != ROLE_MEMBER && role != ROLE_VIEWER && role != ROLE_MODERATOR)
		deny_param(c, "role", "role must be \"member\", \"viewer\" or \"moderator\".");
	else if (role == ROLE_MODERATOR && in->guests.yes)
		deny_param(c, "role", "A guest cannot be a moderator.");
	else
		rooms_visit(c, VISIT_LOADED, invite_visit);
}

/* ---- room.invitations ---- */

struct invitations_params {
	struct str room, cursor;
	struct param_int limit;
};

static const struct field invitations_fields[] = {
	FIELD(struct invitations_params, room, STRING, true, 1, NAME_MAX_BYTES),
	FIELD(struct invitations_params, cursor, STRING, false, 0, NAME_MAX_BYTES),
	FIELD(struct invitations_params, limit, INT, false, 1, PAGE_ROWS_MAX),
	{0},
};

static size_t rows_asked(const struct invitations_params *in)
{
	return in->limit.given ? (size_t)in->limit.n : LIST_PAGE;
}

static void write_invitation(struct json_out *o, const struct store_op *op, size_t row)
{
	json_open(o, NULL, '{');
	json_str(o, "invitation", store_str(op, row, 0));
	json_str(o, "role", store_str(op, row, 1));
	json_int(o, "uses_left", store_int(op, row, 2));
	json_bool(o, "guests", store_int(op, row, 3) != 0);
	json_str(o, "note", store_str(op, row, 4));
	json_str(o, "by", store_str(op, row, 5));
	json_int(o, "created_at", store_int(op, row, 6));
	json_int(o, "expires_at", store_int(op, row, 7));
	json_close(o, '}');
}

static void listed(struct store_op *op)
{
	const struct call *c = op->context;
	const struct invitations_params *in = c->params;
	rooms_asked_store(-1);
	page_reply(op, rows_asked(in), "invitations", write_invitation);
}

static void invitations_visit(struct place *p, struct call *c)
{
	const struct invitations_params *in = c->params;
	enum denial why = access_moderate(p, c->who);
	if (why || p->kind != PLACE_STORED) {
		deny(c, why ? why : DENIAL_NOT_KEPT, 0);
		return;
	}
	rooms_asked_store(1);
	store_ask(STORE_ROOM_INVITATION_LIST, listed, c, STORE_INT(p->rules->id),
		STORE_TEXT(in->cursor), STORE_INT(rows_asked(in) + 1), STORE_INT(time(NULL)),
		STORE_END);
}

static void invitations_run(struct call *c)
{
	rooms_visit(c, VISIT_LOADED, invitations_visit);
}

/* ---- room.uninvite ---- */

struct uninvite_params {
	struct str room, invitation;
	struct param_bool guests;
};

static const struct field uninvite_fields[] = {
	FIELD(struct uninvite_params, room, STRING, true, 1, NAME_MAX_BYTES),
	FIELD(struct uninvite_params, invitation, STRING, true, 1, NAME_MAX_BYTES),
	FIELD(struct uninvite_params, guests, BOOL, false, 0, 0),
	{0},
};

/* Columns: until when a guest of it can be there. */
static void ended(struct store_op *op)
{
	struct call *c = op->context;
	const struct uninvite_params *in = c->params;
	char sid[INVITATION_SID_MAX];
	rooms_asked_store(-1);
	if (op->err == ERR_NOT_FOUND) {
		deny(c, DENIAL_NO_INVITATION, 0);
		return;
	}
	if (op->err) {
		call_refuse(c, op->err);
		return;
	}
	int64_t now = time(NULL), until = store_int(op, 0, 0);
	if (in->guests.yes && until > now)
		withdrawals_take(
			WITHDRAWN_GRANT, invitation_sid(op->args[1].bytes, sid), now, until);
	act_audit(c, in->room, STR(""), "invitation", in->invitation);
	call_reply_empty(c);
}

static void uninvite_visit(struct place *p, struct call *c)
{
	const struct uninvite_params *in = c->params;
	enum denial why = access_moderate(p, c->who);
	if (why || p->kind != PLACE_STORED) {
		deny(c, why ? why : DENIAL_NOT_KEPT, 0);
		return;
	}
	rooms_asked_store(1);
	store_ask(STORE_ROOM_INVITATION_END, ended, c, STORE_INT(p->rules->id),
		STORE_TEXT(in->invitation), STORE_INT(time(NULL)), STORE_INT(in->guests.yes),
		STORE_END);
}

static void uninvite_run(struct call *c)
{
	rooms_visit(c, VISIT_LOADED, uninvite_visit);
}

#define ROW(name, home, flags, type, run) \
	{ \
		"room." name, SCOPE_ROOMS_JOIN, HOME_##home, flags, type##_fields, \
			sizeof(struct type##_params), run \
	}

const struct method room_invitation_methods[] = {
	ROW("invite", NAME, 0, invite, invite_run),
	ROW("invitations", NAME, METHOD_READS, invitations, invitations_run),
	ROW("uninvite", NAME, 0, uninvite, uninvite_run),
	{0},
};
