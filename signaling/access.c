#include "signaling/access.h"

static const struct {
	enum err err;
	const char *reason, *message;
} denials[] = {{ERR_OK, NULL, NULL},
#define DENIAL(name, error, reason, message) {ERR_##error, reason, message},
	DENIALS(DENIAL)
#undef DENIAL
};

void deny(struct call *c, enum denial why, size_t limit)
{
	call_refuse(c, denials[why].err, .reason = denials[why].reason,
		.message = denials[why].message, .limit = (int64_t)limit);
}

void deny_too_large(struct call *c, const char *field, size_t limit)
{
	call_refuse(c, ERR_TOO_LARGE, .field = str_of(field), .limit = (int64_t)limit);
}

void deny_param(struct call *c, const char *field, const char *message)
{
	call_refuse(c, ERR_PARAMS, .field = str_of(field), .message = message);
}

enum role access_role(const struct place *p, const struct principal *who)
{
	return rules_role(p->rules, p->name, who);
}

enum denial access_look(const struct place *p, const struct principal *who)
{
	if (!principal_sees_room(who, p->name))
		return DENIAL_NOT_IN_TOKEN;
	if (!p->room)
		return DENIAL_NO_ROOM;
	enum role role = access_role(p, who);
	return role == ROLE_BANNED  ? DENIAL_BANNED
		: role == ROLE_NONE ? DENIAL_PRIVATE
				    : DENIAL_NONE;
}

enum denial access_moderate(const struct place *p, const struct principal *who)
{
	enum denial why = access_look(p, who);
	return why || access_role(p, who) >= ROLE_MODERATOR ? why : DENIAL_NOT_MODERATOR;
}

enum denial access_use(const struct place *p)
{
	return p->rules && p->rules->archived_at ? DENIAL_ARCHIVED : DENIAL_NONE;
}

struct member *access_member(const struct place *p, const struct call *c)
{
	return p->room ? room_by_endpoint(p->room, c->from) : NULL;
}

/* The first peer of this user that is no viewer, or NULL. */
static const struct member *present(const struct room *room, struct str user)
{
	const struct member *m = room_by_user(room, user);
	while (m && m->role == ROLE_VIEWER)
		m = m->next_of_user;
	return m;
}

/* A member may; who is none (a backend, say) only for a user that is in the room, or as its owner or
 * moderator. */
enum denial access_publish(const struct place *p, const struct call *c)
{
	const struct member *m = access_member(p, c);
	if (m)
		return m->role == ROLE_VIEWER ? DENIAL_VIEWER : DENIAL_NONE;
	enum denial why = access_look(p, c->who);
	why = why ? why : access_use(p);
	if (why)
		return why;
	enum role role = access_role(p, c->who);
	if (role == ROLE_VIEWER)
		return DENIAL_VIEWER;
	return role >= ROLE_MODERATOR || present(p->room, c->who->user) ? DENIAL_NONE
									: DENIAL_NOT_PRESENT;
}
