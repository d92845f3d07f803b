/* announce.h: tells the members of a room how its roster changes: room.joined, room.left and
 * room.updated (docs/PROTOCOL.md, "Large rooms").
 *
 * In a small room each change is told at once. Where a thousand are, that would be a million messages
 * when all of them come: so in a room with more members than roster_merge_above the changes are
 * gathered, and told together. A member gets at most one message a pause (ANNOUNCE_PAUSE_MS): the first
 * goes out at once; then, for each message that the last telling took, a pause passes before the next.
 * Joins alone are gathered in small rooms, too, once ANNOUNCE_BURST messages of them went out in a row:
 * but there nothing else overtakes them.
 *
 * Each member is told exactly what it does not know yet: not of itself having joined, not of who was in
 * the answer to its join, not of who came and went in between. Several changes of a peer are one, with
 * the last values.
 *
 * Thread: the room's own worker. Bounded: a gathering has at most ANNOUNCE_MAX peers, then it is told
 * early; one telling has at most ANNOUNCE_BYTES of entries, the rest follows in the next. */
#pragma once

#include "core/worker.h"

#include <stdint.h>

struct room;
struct member;
struct change;

enum {
	/* A telling has up to three messages. With this pause for each, no second sees more than five,
	 * whatever comes together (1 + 1 + 3), with some room for what the network bunches. */
	ANNOUNCE_PAUSE_MS = 375,
	ANNOUNCE_BURST = 12,
	ANNOUNCE_MAX = 8192,
	ANNOUNCE_BYTES = 192 * 1024, /* with what stands around them less than FRAME_MAX_BYTES */
};

/* A room's own, all zero to begin with. Positions count what happened to the roster. */
struct announcer {
	struct change *changes; /* one a peer, in the order that they were first touched */
	size_t count, size;
	uint64_t position;
	uint64_t told;    /* all up to this was told to all, if not already by a join's answer */
	uint64_t next_ms; /* not to be told before, in a large room */
	uint64_t debt_ms; /* when a small room has its whole burst again */
	bool urgent;      /* something else than joins waits */
	bool listed;      /* among the rooms where something waits */
	struct room *previous, *next;
};

/* Has joined: it is in the room, and its answer, which tells all there is to know, comes next. */
void announce_joined(struct member *m);
/* Has joined again, and is about to be told the whole roster. */
void announce_told(struct member *m);
/* announce_before() goes before the change that these tell of. */
void announce_state(struct member *m);
void announce_connected(struct member *m);
void announce_role(struct member *m);  /* the member itself hears of it, too */
void announce_muted(struct member *m); /* the same */
/* Is about to be taken out of the room; announce_due() afterwards. The reason is a literal. */
void announce_left(struct member *m, const char *reason);

/* Tells what may be told now. */
void announce_due(struct room *room);
/* Something else than a join is about to happen, or somebody to hear of it, or to look: in a small room
 * all is told first, so that there everybody hears the same story in the same order. */
void announce_before(struct room *room);
/* The room is about to be freed, or its members are not to be told anything any more. */
void announce_forget(struct room *room);

/* Tells this member that it has left, and why: "closed" when all others have as well. */
void announce_out(struct member *m, const char *reason);

void announce_start(struct worker *w);
void announce_settle(void); /* tells everything, in all rooms of this worker */
void announce_stop(void);   /* nothing may be left: asserted */
