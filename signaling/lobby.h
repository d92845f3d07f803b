/* lobby.h: who knocks at a room with a lobby: sessions that wait for a moderator to let their user in. A
 * knock ends with that, with its session, or with the room; to be let in holds for the user (standing.h).
 *
 * Thread: the room's own worker. Limits: KNOCKS_MAX a room, KNOCKS_EACH of one session at the rooms of
 * one worker. */
#pragma once

#include "core/json_out.h"
#include "signaling/room.h"

struct place;

enum { KNOCKS_MAX = 100, KNOCKS_EACH = 32, KNOCK_MESSAGE_MAX = 500 };

struct knock {
	char id[PEER_CHARS + 1];
	struct place *place; /* NULL: of a list that is no place's yet */
	struct addr addr;
	char addr_key[ADDR_KEY_BYTES];
	struct principal *who;
	struct str message; /* own copy; may be empty */
	int64_t time;       /* Unix milliseconds */
	struct knock *previous, *next;
	struct knock *next_of_endpoint;
};

/* A room's own, all zero to begin with. The first to knock is first. */
struct lobby {
	struct knock *first, *last;
	size_t count;
};

/* How a knock ends, as moderators are told. */
enum knock_end { KNOCK_ADMITTED, KNOCK_DENIED, KNOCK_GONE };

/* Adds one and tells the moderators in the room. NULL: the session knocks at too many rooms. */
struct knock *lobby_add(
	struct place *p, struct addr addr, const struct principal *who, struct str message);

/* Knocks from before this process: puts one into a list that is no place's, and moves such a list to
 * its place. */
void lobby_put(struct lobby *l, struct addr addr, const struct principal *who, struct str id,
	struct str message, int64_t time);
void lobby_adopt(struct place *p, struct lobby *from);

struct knock *lobby_by_id(const struct lobby *l, struct str id);
struct knock *lobby_by_endpoint(const struct lobby *l, struct addr addr);
/* The endpoint's on this worker; then next_of_endpoint. */
struct knock *lobby_of_endpoint(struct addr addr);

/* Its members in JSON, as moderators see it. */
void knock_write(struct json_out *o, const struct knock *k);

/* It is over: moderators and, if it is not gone, whoever knocked are told. */
void lobby_end(struct knock *k, enum knock_end how);
/* The same for all of a user's. */
void lobby_end_user(struct place *p, struct str user, enum knock_end how);

/* Who may come in by the rules now, this user or (n 0) anybody, is let in. */
void lobby_meet_rules(struct place *p, struct str user);

/* The room is over, or has no lobby any more: whoever knocked is told that it is closed. */
void lobby_close(struct place *p);
/* Frees all; nobody is told. */
void lobby_drop(struct lobby *l);

/* There is a lobby from now on: who is in the room by nothing but its having had none stays in it. */
void lobby_opened(struct place *p);

void lobby_stop(void); /* the worker's; nothing is left: asserted */
