/* standing.h: what was decided about single users of one room beside their roles: who is muted, kicked
 * or banned, and whom the lobby let in or turned away. It is by user, so that it holds for all of their
 * devices, for another token and another session.
 *
 * Bans and mutes of a room that is kept are in the store as well and come back with its rules; the rest
 * is in memory for as long as the room is, and handed over with it.
 *
 * Thread: the room's own worker. Limit: STANDINGS_MAX users of a room; what the store says is always
 * taken. */
#pragma once

#include "core/map.h"

#include <stdint.h>

enum {
	STANDINGS_MAX = 10000,
	KICK_SECONDS = 60, /* for so long a kicked user may not join again */
	DENY_SECONDS = 60, /* and somebody who was turned away may not knock */
	REASON_MAX_BYTES = 256,
	SIGNALS_MAX_BYTES = 1024 /* the words of a mute */
};

struct ban {
	struct str reason, by; /* own copies; may be empty */
	int64_t created_at;    /* Unix seconds, as is the next */
	int64_t expires_at;    /* 0: it does not */
};

struct standing {
	struct str user; /* own copy */
	bool muted, banned, admitted;
	unsigned called;    /* by so many calls the user is in the room, or may be: meeting.h */
	struct str signals; /* muted: signal types, with a space around each; "*": all. Own copy */
	struct ban ban;     /* banned */
	/* worker_now_ms(); 0: not */
	uint64_t kicked_until, denied_until;
};

/* A room's own, all zero to begin with. */
struct standings {
	struct map by_user;
	uint64_t until; /* worker_now_ms(): a kick or a denial may be in force up to here */
};

void standings_free(struct standings *s);

/* NULL: nothing was decided about them, or nothing that still holds. Costs nothing where nothing was
 * decided about anybody. */
const struct standing *standing_of(const struct standings *s, struct str user);

/* The user's, to be changed; made when there is none. NULL: there are STANDINGS_MAX already, and
 * `always` was not said. */
struct standing *standing_put(struct standings *s, struct str user, bool always);
/* After a change: forgets it when nothing of it is in force. */
void standing_settle(struct standings *s, struct standing *standing);

/* strings are copied */
void standing_ban(struct standing *standing, const struct ban *ban);
void standing_unban(struct standing *standing);
void standing_mute(struct standing *standing, struct str signals);
void standing_unmute(struct standing *standing);
void standing_kick(struct standings *s, struct standing *standing, uint64_t until);
void standing_deny(struct standings *s, struct standing *standing, uint64_t until);
/* The user was let in by the lobby, if so, for nothing any more. */
void standing_turn_away(struct standings *s, struct str user);

static inline bool standing_is_kicked(const struct standing *standing, uint64_t now_ms)
{
	return standing && standing->kicked_until > now_ms;
}

/* Whether a signal of this type is refused; standing NULL: no. */
bool standing_mutes_signal(const struct standing *standing, struct str type);

/* Forgets bans and mutes: the store is about to say them again. */
void standings_forget_kept(struct standings *s);

/* Walks all: for (size_t i = 0; (standing = standings_next(s, &i));). No change meanwhile. */
struct standing *standings_next(const struct standings *s, size_t *i);
