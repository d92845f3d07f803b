#include "signaling/act.h"

#include "auth/audit.h"
#include "signaling/access.h"
#include "signaling/spelling.h"

enum { DETAIL_MAX_BYTES = 1024 };

/* ---- whom it is about ---- */

bool act_is_about_one(struct call *c)
{
	const struct act_params *in = c->params;
	if (!in->user.p != !in->peer.p)
		return true;
	deny_param(c, "user", "Say who is meant: either user or peer.");
	return false;
}

/* Roles, and one above them. */
static int rank(enum role role, const struct principal *who)
{
	return who->scopes & SCOPE_ADMIN && role > ROLE_BANNED ? ROLE_OWNER + 1 : (int)role;
}

/* By what the room says of the user, and by what each of their tokens does. */
static int rank_of(const struct place *p, struct str user)
{
	const struct principal anybody = {.user = user};
	int most = (int)rules_role(p->rules, p->name, &anybody);
	for (const struct member *m = room_by_user(p->room, user); m; m = m->next_of_user) {
		int his = rank(rules_role(p->rules, p->name, m->who), m->who);
		most = his > most ? his : most;
	}
	return most;
}

/* Nobody acts for or against themselves: what their other tokens make of them is not known while these are
 * not in the room. The spelling is copied: whose it was may be gone when the act is done. */
static void is_found(struct place *p, struct call *c, struct str user)
{
	struct act_params *in = c->params;
	if (str_eq(user, c->who->user) ||
		rank(access_role(p, c->who), c->who) <= rank_of(p, user)) {
		deny(c, DENIAL_OUTRANKED, 0);
		return;
	}
	memcpy(in->text, user.p, user.n);
	in->user = (struct str){in->text, user.n};
	in->found(p, c);
}

static void is_spelled(struct place *p, struct call *c)
{
	const struct act_params *in = c->params;
	is_found(p, c, in->user);
}

static bool is_known(const struct place *p, struct str user)
{
	return room_by_user(p->room, user) || standing_of(&p->standings, user) ||
		(p->rules && str_eq(p->rules->owner, user));
}

void act_find(struct place *p, struct call *c, place_visit *found)
{
	struct act_params *in = c->params;
	enum denial why = access_moderate(p, c->who);
	const struct member *m = in->peer.p && !why ? room_by_peer(p->room, in->peer) : NULL;
	in->found = found;
	if (why) {
		deny(c, why, 0);
	} else if (in->peer.p && !m) {
		deny(c, DENIAL_NO_PEER, 0);
	} else if (m || is_known(p, in->user)) {
		is_found(p, c, m ? m->who->user : in->user);
	} else {
		spell_user(p, c, in->user, is_spelled);
	}
}

/* ---- writing it down ---- */

static void write_hook(struct hooks *told, const struct place *p, const struct call *c)
{
	const struct act_params *in = c->params;
	struct str reason = in->reason;
	if (!hook_wanted(HOOK_ROOM_MODERATED))
		return;
	struct json_out *o = hook_begin(told, HOOK_ROOM_MODERATED, "room", p->name);
	json_str(o, "room", p->name);
	json_text(o, "act", in->word);
	json_str(o, "by", c->who->user);
	if (in->user.n)
		json_str(o, "user", in->user);
	if (reason.n)
		json_str(o, "reason", reason);
	if (in->ban.expires_at)
		json_int(o, "expires_at", in->ban.expires_at);
	hook_end(told);
}

static void kept(struct store_op *op)
{
	struct call *c = op->context;
	struct place *p = c->state;
	const struct act_params *in = c->params;
	c->state = NULL;
	if (op->err == ERR_NOT_FOUND)
		act_refuse_full(c);
	else if (op->err)
		call_refuse(c, op->err);
	else
		in->apply(p, c, op);
	rooms_release(p);
}

static void wait_for_store(struct place *p, struct call *c, act_apply *apply)
{
	struct act_params *in = c->params;
	in->apply = apply;
	c->state = p;
	rooms_hold(p);
}

void act_submit(struct place *p, struct call *c, act_apply *apply, enum store_verb verb,
	const struct store_value *args)
{
	struct hooks told = {0};
	write_hook(&told, p, c);
	wait_for_store(p, c, apply);
	hook_submit(&told, verb, kept, c, args);
}

void act_now(struct place *p, struct call *c, act_apply *apply)
{
	struct hooks told = {0};
	write_hook(&told, p, c);
	if (told.first) {
		wait_for_store(p, c, apply);
		hook_keep(&told, kept, c);
	} else {
		apply(p, c, NULL);
	}
}

void act_audit(
	const struct call *c, struct str room, struct str user, const char *key, struct str value)
{
	struct buf detail = BUF_INIT(DETAIL_MAX_BYTES);
	buf_addf(&detail, "room=" STR_FMT, STR_ARG(room));
	if (value.n)
		buf_addf(&detail, " %s%s" STR_FMT, key ? key : "", key ? "=" : "", STR_ARG(value));
	audit_add(.action = c->method->name, .actor = c->who->user, .user = user,
		.detail = buf_str(&detail));
	buf_free(&detail);
}

void act_done(const struct place *p, const struct call *c, struct str more)
{
	const struct act_params *in = c->params;
	act_audit(c, p->name, in->user, NULL, more);
}

void act_refuse_full(struct call *c)
{
	deny(c, DENIAL_TOO_MANY_SANCTIONS, STANDINGS_MAX);
}

size_t act_put_out(struct place *p, struct str user, const char *reason)
{
	size_t count = 0;
	struct member *m;
	for (; (m = room_by_user(p->room, user)); count++)
		rooms_put_out(m, reason);
	lobby_end_user(p, user, KNOCK_DENIED);
	return count;
}
