/* room.grant and room.roles: what users are in a room, whoever they are and wherever they come from. */
#include "core/mem.h"
#include "signaling/access.h"
#include "signaling/act.h"
#include "signaling/methods.h"
#include "signaling/signaling.h"
#include "signaling/spelling.h"
#include "store/page.h"

enum { ROLE_WORD_MAX = 16 };

struct grant_params {
	struct str room, user, role;
	/* the handler's own */
	enum role as;
};

static const struct field grant_fields[] = {
	FIELD(struct grant_params, room, STRING, true, 1, NAME_MAX_BYTES),
	FIELD(struct grant_params, user, STRING, true, 1, USER_MAX_BYTES),
	FIELD(struct grant_params, role, STRING, true, 1, ROLE_WORD_MAX),
	{0},
};

struct roles_params {
	struct str room, cursor;
	struct param_int limit;
};

static const struct field roles_fields[] = {
	FIELD(struct roles_params, room, STRING, true, 1, NAME_MAX_BYTES),
	FIELD(struct roles_params, cursor, STRING, false, 1, USER_MAX_BYTES),
	FIELD(struct roles_params, limit, INT, false, 1, PAGE_ROWS_MAX),
	{0},
};

/* ---- room.grant ---- */

/* The owner gives all that can be given; a moderator what is below them, to those who are. */
static enum denial may_grant(const struct place *p, const struct call *c)
{
	const struct grant_params *in = c->params;
	struct str user = in->user;
	enum role caller = access_role(p, c->who);
	enum role now = rules_granted(p->rules, user);
	if (p->rules && str_eq(p->rules->owner, user))
		return DENIAL_OUTRANKED;
	if (caller < ROLE_OWNER && in->as >= ROLE_MODERATOR)
		return DENIAL_NOT_OWNER;
	if (caller < ROLE_OWNER && now >= ROLE_MODERATOR)
		return DENIAL_OUTRANKED;
	bool full = in->as != ROLE_NONE && rules_are_full(p->rules, user);
	return full ? DENIAL_TOO_MANY_ROLES : DENIAL_NONE;
}

static void apply(struct place *p, struct call *c)
{
	const struct grant_params *in = c->params;
	struct str user = in->user;
	act_audit(c, p->name, user, "role", str_of(role_word(in->as)));
	rules_put_role(rooms_rules(p), user, in->as);
	if (in->as == ROLE_NONE)
		standing_turn_away(&p->standings, user);
	rooms_meet_rules(p, user);
	struct json_out *o = call_result(c);
	json_open(o, NULL, '{');
	json_str(o, "room", p->name);
	json_str(o, "user", user);
	json_text(o, "role", role_word(in->as));
	json_close(o, '}');
	call_reply(c);
}

static void kept(struct store_op *op)
{
	struct call *c = op->context;
	struct place *p = c->state;
	c->state = NULL;
	if (op->err)
		call_refused(c, op->err, .reason = "no_such_room");
	else
		apply(p, c);
	rooms_release(p);
}

static void grant(struct place *p, struct call *c)
{
	const struct grant_params *in = c->params;
	enum denial why = may_grant(p, c);
	if (why) {
		deny(c, why, why == DENIAL_TOO_MANY_ROLES ? ROLES_MAX : 0);
	} else if (p->kind == PLACE_STORED) {
		c->state = p;
		rooms_hold(p);
		store_ask(in->as == ROLE_NONE ? STORE_ROOM_UNGRANT : STORE_ROOM_GRANT, kept, c,
			STORE_INT(p->rules->id), STORE_TEXT(in->user),
			STORE_TEXT(str_of(role_word(in->as))), STORE_END);
	} else {
		apply(p, c);
	}
}

static void grant_visit(struct place *p, struct call *c)
{
	const struct grant_params *in = c->params;
	enum denial why = access_moderate(p, c->who);
	if (why)
		deny(c, why, 0);
	else
		spell_user(p, c, in->user, grant);
}

static void grant_run(struct call *c)
{
	struct grant_params *in = c->params;
	in->as = role_parse(in->role);
	if (in->as == ROLE_OWNER)
		deny_param(c, "role", "A room is handed over by room.update with an owner.");
	else if (in->as == ROLE_BANNED)
		deny_param(c, "role", "A user is banned by room.ban.");
	else if (in->as == ROLE_NONE && !str_is(in->role, role_word(ROLE_NONE)))
		deny_param(c, "role", "role must be moderator, member, viewer or none.");
	else
		rooms_visit(c, VISIT_LOADED, grant_visit);
}

/* ---- room.roles ---- */

static int by_name(const void *a, const void *b)
{
	const struct str *one = a, *other = b;
	return str_order(*one, *other);
}

/* The users with a role, sorted; the caller frees the list, and what is in it is the rules'. */
static struct str *sorted_users(const struct rules *rules, size_t *ret_count)
{
	struct str *list = mem_alloc(rules->roles.count * sizeof(*list) + 1);
	struct str user;
	enum role role = ROLE_NONE;
	size_t count = 0;
	for (size_t i = 0; (user = rules_next_role(rules, &i, &role)).p;)
		if (role > ROLE_BANNED)
			list[count++] = user;
	qsort(list, count, sizeof(*list), by_name);
	*ret_count = count;
	return list;
}

static void write_roles(
	struct json_out *o, const struct rules *rules, const struct roles_params *in)
{
	size_t count = 0, written = 0, at = 0;
	struct str *users = sorted_users(rules, &count);
	while (in->cursor.p && at < count && str_order(users[at], in->cursor) <= 0)
		at++;
	json_open(o, "roles", '[');
	for (; at < count && written < page_rows(in->limit); at++, written++) {
		json_open(o, NULL, '{');
		json_str(o, "user", users[at]);
		json_text(o, "role", role_word(rules_granted(rules, users[at])));
		json_close(o, '}');
	}
	json_close(o, ']');
	if (at < count && written)
		json_str(o, "cursor", users[at - 1]);
	free(users);
}

static void roles_visit(struct place *p, struct call *c)
{
	enum denial why = access_moderate(p, c->who);
	if (why) {
		deny(c, why, 0);
		return;
	}
	struct json_out *o = call_result(c);
	json_open(o, NULL, '{');
	write_roles(o, rooms_rules(p), c->params);
	json_close(o, '}');
	call_reply(c);
}

static void roles_run(struct call *c)
{
	rooms_visit(c, VISIT_LOADED, roles_visit);
}

const struct method room_roles_methods[] = {
	{"room.grant", SCOPE_ROOMS_JOIN, HOME_NAME, 0, grant_fields, sizeof(struct grant_params),
		grant_run},
	{"room.roles", SCOPE_ROOMS_JOIN, HOME_NAME, 0, roles_fields, sizeof(struct roles_params),
		roles_run},
	{0},
};
