/* room.knock, room.knocks, room.admit and room.deny. */
#include "signaling/access.h"
#include "signaling/act.h"
#include "signaling/methods.h"
#include "signaling/signaling.h"

/* ---- room.knock ---- */

struct knock_params {
	struct str room, message;
};

static const struct field knock_fields[] = {
	FIELD(struct knock_params, room, STRING, true, 1, NAME_MAX_BYTES),
	FIELD(struct knock_params, message, STRING, false, 0, KNOCK_MESSAGE_MAX),
	{0},
};

/* Whether there is a door, and nobody has sent the user away from it of late. */
static enum denial may_knock(const struct place *p, const struct call *c)
{
	enum denial why = access_member(p, c) ? DENIAL_NONE : access_enter(p, c->who);
	const struct standing *standing = standing_of(&p->standings, c->who->user);
	if (!why)
		return DENIAL_NO_NEED;
	if (why != DENIAL_LOBBY)
		return why;
	if (standing && standing->denied_until > worker_now_ms())
		return DENIAL_KNOCK_DENIED;
	return access_use(p);
}

static void knock_visit(struct place *p, struct call *c)
{
	const struct knock_params *in = c->params;
	enum denial why = may_knock(p, c);
	if (why) {
		deny_for_now(p, c, why, 0);
		return;
	}
	struct knock *k = lobby_by_endpoint(&p->lobby, c->from);
	if (!k && p->lobby.count < KNOCKS_MAX)
		k = lobby_add(p, c->from, c->who, in->message);
	if (!k) {
		deny(c, DENIAL_TOO_MANY_KNOCKS,
			p->lobby.count < KNOCKS_MAX ? KNOCKS_EACH : KNOCKS_MAX);
		return;
	}
	struct json_out *o = call_result(c);
	json_open(o, NULL, '{');
	json_text(o, "knock", k->id);
	json_close(o, '}');
	call_reply(c);
}

static void knock_run(struct call *c)
{
	rooms_visit(c, VISIT_LOADED, knock_visit);
}

/* ---- room.knocks ---- */

struct knocks_params {
	struct str room;
};

static const struct field knocks_fields[] = {
	FIELD(struct knocks_params, room, STRING, true, 1, NAME_MAX_BYTES),
	{0},
};

static void knocks_visit(struct place *p, struct call *c)
{
	enum denial why = access_moderate(p, c->who);
	if (why) {
		deny(c, why, 0);
		return;
	}
	struct json_out *o = call_result(c);
	json_open(o, NULL, '{');
	json_open(o, "knocks", '[');
	for (const struct knock *k = p->lobby.first; k; k = k->next) {
		json_open(o, NULL, '{');
		knock_write(o, k);
		json_close(o, '}');
	}
	json_close(o, ']');
	json_close(o, '}');
	call_reply(c);
}

static void knocks_run(struct call *c)
{
	rooms_visit(c, VISIT_LOADED, knocks_visit);
}

/* ---- room.admit and room.deny ---- */

struct answer_params {
	struct str room, knock;
	struct param_bool remember;
};

static const struct field admit_fields[] = {
	FIELD(struct answer_params, room, STRING, true, 1, NAME_MAX_BYTES),
	FIELD(struct answer_params, knock, STRING, true, 1, NAME_MAX_BYTES),
	FIELD(struct answer_params, remember, BOOL, false, 0, 0),
	{0},
};

static const struct field deny_fields[] = {
	FIELD(struct answer_params, room, STRING, true, 1, NAME_MAX_BYTES),
	FIELD(struct answer_params, knock, STRING, true, 1, NAME_MAX_BYTES),
	{0},
};

/* The knock that is meant, when the caller may answer it; else the call is refused. */
static struct knock *asked_for(const struct place *p, struct call *c)
{
	const struct answer_params *in = c->params;
	enum denial why = access_moderate(p, c->who);
	struct knock *k = why ? NULL : lobby_by_id(&p->lobby, in->knock);
	if (!k)
		deny(c, why ? why : DENIAL_NO_KNOCK, 0);
	return k;
}

static void reply(struct call *c, const struct principal *who)
{
	struct json_out *o = call_result(c);
	json_open(o, NULL, '{');
	json_str(o, "user", who->user);
	json_close(o, '}');
	call_reply(c);
}

/* All that this user knocks with: with one device they are let in with all. */
static void admit(struct place *p, struct call *c, const struct knock *k)
{
	const struct answer_params *in = c->params;
	struct principal *who = principal_ref(k->who);
	struct standing *standing = standing_put(&p->standings, who->user, false);
	if (!standing) {
		deny(c, DENIAL_TOO_MANY_SANCTIONS, STANDINGS_MAX);
	} else {
		standing->admitted = true;
		if (in->remember.yes)
			rules_put_role(rooms_rules(p), who->user, ROLE_MEMBER);
		lobby_end_user(p, who->user, KNOCK_ADMITTED);
		act_audit(c, p->name, who->user, NULL, STR(""));
		reply(c, who);
	}
	principal_unref(&who);
}

/* Meanwhile nobody else was here, but who knocked may have gone. */
static void remembered(struct store_op *op)
{
	struct call *c = op->context;
	struct place *p = c->state;
	const struct answer_params *in = c->params;
	struct knock *k = lobby_by_id(&p->lobby, in->knock);
	c->state = NULL;
	if (op->err)
		call_refuse(c, op->err);
	else if (!k)
		deny(c, DENIAL_NO_KNOCK, 0);
	else
		admit(p, c, k);
	rooms_release(p);
}

static void admit_visit(struct place *p, struct call *c)
{
	const struct answer_params *in = c->params;
	const struct knock *k = asked_for(p, c);
	if (!k)
		return;
	if (in->remember.yes && rules_are_full(p->rules, k->who->user)) {
		deny(c, DENIAL_TOO_MANY_ROLES, ROLES_MAX);
	} else if (in->remember.yes && p->kind == PLACE_STORED) {
		c->state = p;
		rooms_hold(p);
		store_ask(STORE_ROOM_GRANT, remembered, c, STORE_INT(p->rules->id),
			STORE_TEXT(k->who->user), STORE_TEXT(str_of(role_word(ROLE_MEMBER))),
			STORE_END);
	} else {
		admit(p, c, k);
	}
}

static void admit_run(struct call *c)
{
	rooms_visit(c, VISIT_LOADED, admit_visit);
}

static void deny_visit(struct place *p, struct call *c)
{
	struct knock *k = asked_for(p, c);
	if (!k)
		return;
	struct principal *who = principal_ref(k->who);
	struct standing *standing = standing_put(&p->standings, who->user, false);
	if (standing) /* else they may knock again at once */
		standing_deny(&p->standings, standing, worker_now_ms() + DENY_SECONDS * 1000);
	lobby_end_user(p, who->user, KNOCK_DENIED);
	act_audit(c, p->name, who->user, NULL, STR(""));
	reply(c, who);
	principal_unref(&who);
}

static void deny_run(struct call *c)
{
	rooms_visit(c, VISIT_LOADED, deny_visit);
}

#define ROW(name, flags, type) \
	{ \
		"room." #name, SCOPE_ROOMS_JOIN, HOME_NAME, flags, name##_fields, \
			sizeof(struct type##_params), name##_run \
	}

const struct method knock_methods[] = {
	ROW(knock, METHOD_SESSION, knock),
	ROW(knocks, METHOD_READS, knocks),
	ROW(admit, 0, answer),
	ROW(deny, 0, answer),
	{0},
};
