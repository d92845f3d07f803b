/* room.ban, room.unban and room.bans. */
#include "core/mem.h"
#include "signaling/access.h"
#include "signaling/act.h"
#include "signaling/methods.h"
#include "signaling/signaling.h"

#include <time.h>

enum { BANS_PAGE = 50, BANS_PAGE_BYTES = 160 * 1024, BAN_LONGEST = 100 * 366 * 24 * 3600ll };

/* ---- room.ban ---- */

static const struct field ban_fields[] = {
	FIELD(struct act_params, room, STRING, true, 1, NAME_MAX_BYTES),
	FIELD(struct act_params, user, STRING, true, 1, USER_MAX_BYTES),
	FIELD(struct act_params, reason, STRING, false, 0, REASON_MAX_BYTES),
	FIELD(struct act_params, expires_in, INT, false, 1, BAN_LONGEST),
	{0},
};

/* Columns: whether an invitation went with it. */
static void set_banned(struct place *p, struct call *c, const struct store_op *op)
{
	const struct act_params *in = c->params;
	struct standing *standing = standing_put(&p->standings, in->user, p->kind == PLACE_STORED);
	if (!standing) {
		act_refuse_full(c);
		return;
	}
	standing_ban(standing, &in->ban);
	act_put_out(p, in->user, "banned");
	act_done(p, c, in->reason);
	struct json_out *o = call_result(c);
	json_open(o, NULL, '{');
	json_str(o, "room", p->name);
	json_str(o, "user", in->user);
	json_int_if(o, "expires_at", in->ban.expires_at);
	if (op && op->verb == STORE_ROOM_BAN && store_int(op, 0, 0))
		json_bool(o, "invitation_revoked", true);
	json_close(o, '}');
	call_reply(c);
}

static void ban(struct place *p, struct call *c)
{
	struct act_params *in = c->params;
	int64_t now = time(NULL);
	in->word = "ban";
	in->ban = (struct ban){.reason = in->reason,
		.by = c->who->user,
		.created_at = now,
		.expires_at = in->expires_in.given ? now + in->expires_in.n : 0};
	if (p->kind == PLACE_EPHEMERAL)
		act_now(p, c, set_banned);
	else
		act_keep(p, c, set_banned, STORE_ROOM_BAN, STORE_INT(p->rules->id),
			STORE_TEXT(in->user), STORE_TEXT(in->reason), STORE_TEXT(c->who->user),
			STORE_INT(now), STORE_INT(in->ban.expires_at), STORE_INT(STANDINGS_MAX),
			STORE_END);
}

static void ban_visit(struct place *p, struct call *c)
{
	act_find(p, c, ban);
}

static void ban_run(struct call *c)
{
	rooms_visit(c, VISIT_LOADED, ban_visit);
}

/* ---- room.unban ---- */

static const struct field unban_fields[] = {
	FIELD(struct act_params, room, STRING, true, 1, NAME_MAX_BYTES),
	FIELD(struct act_params, user, STRING, true, 1, USER_MAX_BYTES),
	{0},
};

static void set_unbanned(struct place *p, struct call *c, const struct store_op *op)
{
	const struct act_params *in = c->params;
	struct standing *standing = standing_put(&p->standings, in->user, true);
	(void)op;
	standing_unban(standing);
	standing_settle(&p->standings, standing);
	act_done(p, c, STR(""));
	call_reply_empty(c);
}

static void unban_visit(struct place *p, struct call *c)
{
	struct act_params *in = c->params;
	enum denial why = access_moderate(p, c->who);
	const struct standing *standing = why ? NULL : standing_of(&p->standings, in->user);
	in->word = "unban";
	if (why)
		deny(c, why, 0);
	else if (!standing || !standing->banned)
		deny(c, DENIAL_NOT_BANNED, 0);
	else if (p->kind == PLACE_EPHEMERAL)
		act_now(p, c, set_unbanned);
	else
		act_keep(p, c, set_unbanned, STORE_ROOM_UNBAN, STORE_INT(p->rules->id),
			STORE_TEXT(in->user), STORE_END);
}

static void unban_run(struct call *c)
{
	rooms_visit(c, VISIT_LOADED, unban_visit);
}

/* ---- room.bans: out of memory, where all of them are ---- */

struct bans_params {
	struct str room, cursor;
	struct param_int limit;
};

static const struct field bans_fields[] = {
	FIELD(struct bans_params, room, STRING, true, 1, NAME_MAX_BYTES),
	FIELD(struct bans_params, cursor, STRING, false, 0, USER_MAX_BYTES),
	FIELD(struct bans_params, limit, INT, false, 1, 100),
	{0},
};

static int by_user(const void *a, const void *b)
{
	const struct standing *const *one = a, *const *other = b;
	return str_order((*one)->user, (*other)->user);
}

/* Those behind the cursor, sorted by user; the caller frees the list. */
static const struct standing **bans_behind(
	const struct place *p, struct str cursor, size_t *ret_count)
{
	const struct standing **list =
		mem_alloc((p->standings.by_user.count + 1) * sizeof(struct standing *));
	const struct standing *standing;
	size_t count = 0;
	for (size_t i = 0; (standing = standings_next(&p->standings, &i));)
		if (standing_of(&p->standings, standing->user) && standing->banned &&
			(!cursor.n || str_order(standing->user, cursor) > 0))
			list[count++] = standing;
	qsort(list, count, sizeof(struct standing *), by_user);
	*ret_count = count;
	return list;
}

static void write_ban(struct json_out *o, const struct standing *standing)
{
	json_open(o, NULL, '{');
	json_str(o, "user", standing->user);
	json_str_if(o, "reason", standing->ban.reason);
	json_str(o, "by", standing->ban.by);
	json_int(o, "created_at", standing->ban.created_at);
	json_int_if(o, "expires_at", standing->ban.expires_at);
	json_close(o, '}');
}

static void bans_visit(struct place *p, struct call *c)
{
	const struct bans_params *in = c->params;
	size_t limit = in->limit.given ? (size_t)in->limit.n : BANS_PAGE, count, i;
	enum denial why = access_moderate(p, c->who);
	if (why) {
		deny(c, why, 0);
		return;
	}
	const struct standing **list = bans_behind(p, in->cursor, &count);
	struct json_out *o = call_result(c);
	json_open(o, NULL, '{');
	json_open(o, "bans", '[');
	for (i = 0; i < count && i < limit && c->out.n < BANS_PAGE_BYTES; i++)
		write_ban(o, list[i]);
	json_close(o, ']');
	if (i < count)
		json_str(o, "cursor", list[i - 1]->user);
	json_close(o, '}');
	free(list);
	call_reply(c);
}

static void bans_run(struct call *c)
{
	rooms_visit(c, VISIT_LOADED, bans_visit);
}

#define ROW(name, flags, fields, type, run) \
	{ \
		name, SCOPE_ROOMS_JOIN, HOME_NAME, flags, fields, sizeof(struct type), run \
	}

const struct method ban_methods[] = {
	ROW("room.ban", 0, ban_fields, act_params, ban_run),
	ROW("room.unban", 0, unban_fields, act_params, unban_run),
	ROW("room.bans", METHOD_READS, bans_fields, bans_params, bans_run),
	{0},
};
