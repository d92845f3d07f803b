#include "signaling/access.h"

#include <time.h>

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

/* Seconds, rounded up. */
static int64_t seconds_until(uint64_t ms)
{
	uint64_t now = worker_now_ms();
	return ms > now ? (int64_t)((ms - now + 999) / 1000) : 0;
}

void deny_for_now(const struct place *p, struct call *c, enum denial why, size_t limit)
{
	const struct standing *standing = standing_of(&p->standings, c->who->user);
	int64_t wait = 0;
	if (standing && why == DENIAL_KICKED)
		wait = seconds_until(standing->kicked_until);
	else if (standing && why == DENIAL_KNOCK_DENIED)
		wait = seconds_until(standing->denied_until);
	else if (standing && why == DENIAL_BANNED && standing->ban.expires_at)
		wait = standing->ban.expires_at - (int64_t)time(NULL);
	call_refuse(c, denials[why].err, .reason = denials[why].reason,
		.message = denials[why].message, .limit = (int64_t)limit, .retry_after = wait);
}

/* In a room with a lobby nobody is a member for nothing, but by having been let in: by a moderator, or for a
 * call. */
enum role access_role(const struct place *p, const struct principal *who)
{
	const struct standing *standing = standing_of(&p->standings, who->user);
	enum role role = rules_role(p->rules, p->name, who);
	if (!standing)
		return role;
	if (standing->banned)
		return ROLE_BANNED;
	bool let_in = standing->called || (standing->admitted && p->rules && p->rules->lobby);
	if (role == ROLE_NONE && let_in)
		return ROLE_MEMBER;
	return role;
}

enum denial access_look(const struct place *p, const struct principal *who)
{
	if (!principal_sees_room(who, p->name))
		return DENIAL_NOT_IN_TOKEN;
	if (!p->room)
		return DENIAL_NO_ROOM;
	enum role role = access_role(p, who);
	if (role == ROLE_BANNED)
		return DENIAL_BANNED;
	return role == ROLE_NONE && p->rules->private ? DENIAL_PRIVATE : DENIAL_NONE;
}

enum denial access_read(const struct place *p, const struct principal *who)
{
	enum denial why = access_look(p, who);
	return why || access_role(p, who) > ROLE_BANNED ? why : DENIAL_LOBBY;
}

static bool is_kicked(const struct place *p, const struct principal *who)
{
	return standing_is_kicked(standing_of(&p->standings, who->user), worker_now_ms());
}

enum denial access_enter(const struct place *p, const struct principal *who)
{
	enum denial why = access_look(p, who);
	if (why && why != DENIAL_PRIVATE)
		return why;
	if (is_kicked(p, who))
		return DENIAL_KICKED;
	if (access_role(p, who) == ROLE_NONE)
		return p->rules->lobby ? DENIAL_LOBBY : DENIAL_PRIVATE;
	if (p->rules && p->rules->locked && access_role(p, who) < ROLE_MODERATOR)
		return DENIAL_LOCKED;
	return DENIAL_NONE;
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
		return m->role == ROLE_VIEWER ? DENIAL_VIEWER
			: m->muted            ? DENIAL_MUTED
					      : DENIAL_NONE;
	enum denial why = access_look(p, c->who);
	why = why ? why : access_use(p);
	if (why)
		return why;
	const struct standing *standing = standing_of(&p->standings, c->who->user);
	if (standing_is_kicked(standing, worker_now_ms()))
		return DENIAL_KICKED;
	enum role role = access_role(p, c->who);
	if (role == ROLE_VIEWER)
		return DENIAL_VIEWER;
	if (standing && standing->muted)
		return DENIAL_MUTED;
	return role >= ROLE_MODERATOR || present(p->room, c->who->user) ? DENIAL_NONE
									: DENIAL_NOT_PRESENT;
}
