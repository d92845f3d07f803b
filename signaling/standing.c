#include "signaling/standing.h"

#include "core/mem.h"
#include "core/worker.h"

#include <time.h>

static void keep(struct str *own, struct str s)
{
	char *copy = s.n ? mem_copy(s) : NULL;
	free((char *)(uintptr_t)own->p);
	*own = (struct str){copy, s.n};
}

static void clear_ban(struct standing *standing)
{
	keep(&standing->ban.reason, (struct str){0});
	keep(&standing->ban.by, (struct str){0});
	standing->ban = (struct ban){0};
	standing->banned = false;
}

static void free_standing(struct standing *standing)
{
	clear_ban(standing);
	keep(&standing->signals, (struct str){0});
	keep(&standing->user, (struct str){0});
	free(standing);
}

void standings_free(struct standings *s)
{
	struct standing *standing;
	for (size_t i = 0; (standing = map_next(&s->by_user, &i));)
		free_standing(standing);
	free(s->by_user.slots);
	*s = (struct standings){0};
}

/* Bans end by the clock of people, the rest by one that nobody sets. */
static bool holds(const struct standing *standing)
{
	uint64_t now = worker_now_ms();
	bool banned = standing->banned &&
		(!standing->ban.expires_at || standing->ban.expires_at > time(NULL));
	return banned || standing->muted || standing->admitted || standing->called ||
		standing->kicked_until > now || standing->denied_until > now;
}

const struct standing *standing_of(const struct standings *s, struct str user)
{
	struct standing *standing = s->by_user.count ? map_get(&s->by_user, user) : NULL;
	if (!standing)
		return NULL;
	if (standing->banned && standing->ban.expires_at && standing->ban.expires_at <= time(NULL))
		clear_ban(standing);
	return holds(standing) ? standing : NULL;
}

static void remove_standing(struct standings *s, struct standing *standing)
{
	map_remove(&s->by_user, standing->user);
	free_standing(standing);
}

/* Makes room: what has run out goes. */
static void purge(struct standings *s)
{
	struct standing *over[256];
	size_t count;
	do {
		struct standing *standing;
		count = 0;
		for (size_t i = 0; count < 256 && (standing = map_next(&s->by_user, &i));)
			if (!holds(standing))
				over[count++] = standing;
		for (size_t i = 0; i < count; i++)
			remove_standing(s, over[i]);
	} while (count == 256);
}

struct standing *standing_put(struct standings *s, struct str user, bool always)
{
	struct standing *standing = map_get(&s->by_user, user);
	if (standing)
		return standing;
	if (s->by_user.count >= STANDINGS_MAX && !always)
		purge(s);
	if (s->by_user.count >= STANDINGS_MAX && !always)
		return NULL;
	standing = mem_new(struct standing);
	keep(&standing->user, user);
	map_put(&s->by_user, standing->user, standing);
	return standing;
}

void standing_settle(struct standings *s, struct standing *standing)
{
	if (!holds(standing))
		remove_standing(s, standing);
}

void standing_ban(struct standing *standing, const struct ban *ban)
{
	standing->banned = true;
	standing->admitted = false;
	keep(&standing->ban.reason, ban->reason);
	keep(&standing->ban.by, ban->by);
	standing->ban.created_at = ban->created_at;
	standing->ban.expires_at = ban->expires_at;
}

void standing_unban(struct standing *standing)
{
	clear_ban(standing);
}

void standing_mute(struct standing *standing, struct str signals)
{
	standing->muted = true;
	keep(&standing->signals, signals);
}

void standing_unmute(struct standing *standing)
{
	standing->muted = false;
	keep(&standing->signals, (struct str){0});
}

static void reach(struct standings *s, uint64_t until)
{
	if (until > s->until)
		s->until = until;
}

void standing_kick(struct standings *s, struct standing *standing, uint64_t until)
{
	standing->kicked_until = until;
	standing->admitted = false;
	reach(s, until);
}

void standing_deny(struct standings *s, struct standing *standing, uint64_t until)
{
	standing->denied_until = until;
	reach(s, until);
}

void standing_turn_away(struct standings *s, struct str user)
{
	struct standing *standing = map_get(&s->by_user, user);
	if (!standing)
		return;
	standing->admitted = false;
	standing_settle(s, standing);
}

bool standing_mutes_signal(const struct standing *standing, struct str type)
{
	if (!standing || !standing->muted)
		return false;
	struct str words = standing->signals;
	if (str_is(words, "*"))
		return true;
	for (size_t i = 1; i + type.n < words.n; i++)
		if (words.p[i - 1] == ' ' && words.p[i + type.n] == ' ' &&
			memcmp(words.p + i, type.p, type.n) == 0)
			return true;
	return false;
}

void standings_forget_kept(struct standings *s)
{
	struct standing *standing;
	for (size_t i = 0; (standing = map_next(&s->by_user, &i));) {
		clear_ban(standing);
		standing_unmute(standing);
	}
	purge(s);
}

struct standing *standings_next(const struct standings *s, size_t *i)
{
	return map_next(&s->by_user, i);
}
