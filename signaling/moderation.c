/* room.lock, room.mute and room.kick. */
#include "signaling/access.h"
#include "signaling/act.h"
#include "signaling/announce.h"
#include "signaling/methods.h"
#include "signaling/signaling.h"

#include <time.h>

enum { SIGNALS_MAX = 32 };

/* ---- room.lock ---- */

static const struct field lock_fields[] = {
	FIELD(struct act_params, room, STRING, true, 1, NAME_MAX_BYTES),
	FIELD(struct act_params, locked, BOOL, true, 0, 0),
	{0},
};

static void set_locked(struct place *p, struct call *c, const struct store_op *op)
{
	const struct act_params *in = c->params;
	(void)op;
	rooms_rules(p)->locked = in->locked.yes;
	announce_before(p->room);
	struct event e;
	event_begin(&e, "room.updated");
	json_str(&e.params, "room", p->name);
	json_open(&e.params, "changes", '{');
	json_bool(&e.params, "locked", in->locked.yes);
	json_close(&e.params, '}');
	room_tell(p->room, (struct addr){0}, event_take(&e));
	act_done(p, c, in->locked.yes ? STR("locked") : STR("unlocked"));
	call_reply_empty(c);
}

static void lock_visit(struct place *p, struct call *c)
{
	struct act_params *in = c->params;
	enum denial why = access_moderate(p, c->who);
	in->word = in->locked.yes ? "lock" : "unlock";
	if (why)
		deny(c, why, 0);
	else if ((p->rules && p->rules->locked) == in->locked.yes)
		call_reply_empty(c);
	else if (p->kind == PLACE_EPHEMERAL)
		act_now(p, c, set_locked);
	else
		act_keep(p, c, set_locked, STORE_ROOM_LOCK, STORE_INT(p->rules->id),
			STORE_INT(in->locked.yes), STORE_INT(time(NULL)), STORE_END);
}

static void lock_run(struct call *c)
{
	rooms_visit(c, VISIT_LOADED, lock_visit);
}

/* ---- room.mute ---- */

static const struct field mute_fields[] = {
	FIELD(struct act_params, room, STRING, true, 1, NAME_MAX_BYTES),
	FIELD(struct act_params, user, STRING, false, 1, USER_MAX_BYTES),
	FIELD(struct act_params, peer, STRING, false, 1, NAME_MAX_BYTES),
	FIELD(struct act_params, muted, BOOL, true, 0, 0),
	FIELD(struct act_params, signals, RAW, false, 0, SIGNALS_MAX_BYTES),
	{0},
};

/* Makes the words of a standing out of the array, where it stands: they are never longer. False: they
 * are none. */
static bool read_signals(struct act_params *in)
{
	char *out = (char *)(uintptr_t)in->signals.p;
	struct str item;
	size_t count = 0, n = 0;
	if (str_eq(in->signals, STR("\"all\""))) {
		in->words = STR("*");
		return true;
	}
	if (in->signals.p && json_kind(in->signals) != JSON_ARRAY)
		return false;
	for (struct json_walk w = json_walk(in->signals); json_next(&w, NULL, &item); count++) {
		struct str word = {item.p + 1, item.n - 2};
		if (count == SIGNALS_MAX || json_kind(item) != JSON_STRING || !signal_is_type(word))
			return false;
		if (!n)
			out[n++] = ' ';
		memmove(out + n, word.p, word.n);
		n += word.n;
		out[n++] = ' ';
	}
	in->words = (struct str){out, n};
	return true;
}

/* All their peers here; who joins later finds the standing. */
static void tell_muted(struct place *p, struct str user, bool muted)
{
	struct member *m = room_by_user(p->room, user);
	for (; m; m = m->next_of_user) {
		if (m->muted == muted)
			continue;
		announce_before(p->room);
		m->muted = muted;
		announce_muted(m);
	}
}

static void set_muted(struct place *p, struct call *c, const struct store_op *op)
{
	const struct act_params *in = c->params;
	bool always = p->kind == PLACE_STORED || !in->muted.yes;
	struct standing *standing = standing_put(&p->standings, in->user, always);
	(void)op;
	if (!standing) {
		act_refuse_full(c);
		return;
	}
	if (in->muted.yes)
		standing_mute(standing, in->words);
	else
		standing_unmute(standing);
	standing_settle(&p->standings, standing);
	tell_muted(p, in->user, in->muted.yes);
	act_done(p, c, in->muted.yes ? STR("muted") : STR("unmuted"));
	struct json_out *o = call_result(c);
	json_open(o, NULL, '{');
	json_str(o, "user", in->user);
	json_bool(o, "muted", in->muted.yes);
	json_close(o, '}');
	call_reply(c);
}

static void mute(struct place *p, struct call *c)
{
	struct act_params *in = c->params;
	in->word = in->muted.yes ? "mute" : "unmute";
	if (p->kind == PLACE_EPHEMERAL)
		act_now(p, c, set_muted);
	else if (in->muted.yes)
		act_keep(p, c, set_muted, STORE_ROOM_MUTE, STORE_INT(p->rules->id),
			STORE_TEXT(in->user), STORE_TEXT(in->words), STORE_TEXT(c->who->user),
			STORE_INT(time(NULL)), STORE_INT(STANDINGS_MAX), STORE_END);
	else
		act_keep(p, c, set_muted, STORE_ROOM_UNMUTE, STORE_INT(p->rules->id),
			STORE_TEXT(in->user), STORE_END);
}

static void mute_visit(struct place *p, struct call *c)
{
	act_find(p, c, mute);
}

static void mute_run(struct call *c)
{
	if (!read_signals(c->params))
		deny_param(c, "signals",
			"signals must be \"all\", or an array of at most 32 signal types.");
	else if (act_is_about_one(c))
		rooms_visit(c, VISIT_LOADED, mute_visit);
}

/* ---- room.kick ---- */

static const struct field kick_fields[] = {
	FIELD(struct act_params, room, STRING, true, 1, NAME_MAX_BYTES),
	FIELD(struct act_params, user, STRING, false, 1, USER_MAX_BYTES),
	FIELD(struct act_params, peer, STRING, false, 1, NAME_MAX_BYTES),
	FIELD(struct act_params, reason, STRING, false, 0, REASON_MAX_BYTES),
	{0},
};

static void put_out(struct place *p, struct call *c, const struct store_op *op)
{
	const struct act_params *in = c->params;
	struct standing *standing = standing_put(&p->standings, in->user, false);
	(void)op;
	if (!standing) {
		act_refuse_full(c);
		return;
	}
	standing_kick(&p->standings, standing, worker_now_ms() + KICK_SECONDS * 1000);
	size_t peers = act_put_out(p, in->user, "kicked");
	act_done(p, c, in->reason);
	struct json_out *o = call_result(c);
	json_open(o, NULL, '{');
	json_str(o, "user", in->user);
	json_int(o, "peers", (int64_t)peers);
	json_close(o, '}');
	call_reply(c);
}

static void kick(struct place *p, struct call *c)
{
	struct act_params *in = c->params;
	in->word = "kick";
	act_now(p, c, put_out);
}

static void kick_visit(struct place *p, struct call *c)
{
	act_find(p, c, kick);
}

static void kick_run(struct call *c)
{
	if (act_is_about_one(c))
		rooms_visit(c, VISIT_LOADED, kick_visit);
}

#define ROW(name) \
	{ \
		"room." #name, SCOPE_ROOMS_JOIN, HOME_NAME, 0, name##_fields, \
			sizeof(struct act_params), name##_run \
	}

const struct method moderation_methods[] = {ROW(lock), ROW(mute), ROW(kick), {0}};
