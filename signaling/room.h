/* room.h: one room while it is in memory: who is in it, in the order they came, whom to tell, and
 * what was published last. It knows nothing of rules, calls or the store.
 *
 * Thread: the room's own worker (see rooms.h). Nothing here fails: limits are the caller's. */
#pragma once

#include "core/addr.h"
#include "core/map.h"
#include "core/principal.h"
#include "signaling/announce.h"
#include "signaling/recent.h"
#include "signaling/ring.h"
#include "core/role.h"

enum { PEER_CHARS = 22, EPOCH_CHARS = 12 };

/* One endpoint's membership of one room. */
struct member {
	struct room *room;
	char peer[PEER_CHARS + 1]; /* 16 random bytes as base64url: cannot be guessed */
	struct addr addr;
	char addr_key[ADDR_KEY_BYTES]; /* the address as a key of maps */
	struct principal *who;
	enum role role;
	bool connected;
	bool muted;                  /* a moderator has muted the user: standing.h */
	unsigned calls;              /* meeting.c's: calls that it is in the room for */
	struct str state;            /* JSON as it came, its own copy; n 0: none */
	uint64_t seq;                /* later joiners have larger ones */
	uint64_t told;               /* announce.c's: the position that its join's answer told */
	size_t change;               /* and its own change, counted from 1; 0: none */
	struct member *next_of_user; /* in this room */
	/* its endpoint's other memberships on this worker: attendance.h */
	struct member *previous_of_endpoint, *next_of_endpoint;
};

struct room {
	struct str name;
	char epoch[EPOCH_CHARS + 1]; /* random; another one when the history is lost */
	struct member **members;     /* by seq */
	size_t count, size;
	uint64_t last_seq;
	struct map by_peer, by_endpoint, by_user;
	struct audience *audience; /* all members; NULL until asked for after a change */
	struct ring ring;
	struct recent recent;
	int64_t history; /* what it is kept under in the store (durable.h); 0: in memory only */
	struct announcer announcer;
};

/* An empty room with a new epoch; the name is copied. */
struct room *room_new(struct str name, struct ring_limits limits);
/* Frees *room and nulls it. It must be empty: asserted. */
void room_free(struct room **room);

/* Letters of base64url (RFC 4648 section 5) that nobody can guess, 32 at the most, and a NUL. */
void random_letters(char *out, int chars);

/* A peer id of nobody yet: PEER_CHARS and a NUL. */
void room_new_peer(char *out);

/* What was published before is elsewhere, up to this offset of this epoch. When that is not what is here,
 * what is here is forgotten. */
void room_continue(struct room *room, struct str epoch, uint64_t top);

/* Adds a member and tells nobody. who is referenced, state copied. The endpoint is not a member; the peer id
 * (PEER_CHARS) is nobody else's, seq is larger than those of all who are in it. */
struct member *room_add(struct room *room, const struct principal *who, struct addr addr,
	enum role role, struct str state, struct str peer, uint64_t seq);
/* Takes the member out and frees it; tells nobody. */
void room_remove(struct member **member);

static inline struct str member_peer(const struct member *m)
{
	return (struct str){m->peer, PEER_CHARS};
}

/* Another token of the same user; it is referenced. */
void member_set_who(struct member *m, const struct principal *who);
void member_set_state(struct member *m, struct str state); /* copied */

struct member *room_by_endpoint(const struct room *room, struct addr addr);
struct member *room_by_peer(const struct room *room, struct str peer);
struct member *room_by_user(const struct room *room, struct str user); /* then next_of_user */

/* Where in members those begin whose seq is larger. */
size_t room_index_after(const struct room *room, uint64_t seq);

/* Sends an event to all members but one ({0}: to all); takes the reference. */
void room_tell(struct room *room, struct addr but, struct frame *f);
