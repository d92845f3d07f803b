/* rooms.h: the rooms of this worker by name, and how a call gets to one. A room that is not in memory
 * is asked for from the store; until the answer is there, everything for it waits in the order it
 * came, the end of an endpoint too: so nobody is overtaken and no dead member stays behind.
 *
 * A visit is one handler with one room. It ends with the call's answer as the last thing it does:
 * answering may bring the next call at once, which then waits its turn. A visit that must ask the
 * store itself holds the room meanwhile.
 *
 * Errors: what waits when the store fails is refused with `internal` (or `overloaded`), and nothing
 * of the room is left. WAITING_MAX calls may wait at one room; then `overloaded`.
 * Thread: every worker has its own. */
#pragma once

#include "core/call.h"
#include "core/worker.h"
#include "signaling/lobby.h"
#include "signaling/room.h"
#include "signaling/rules.h"
#include "signaling/standing.h"

enum { WAITING_MAX = 4096 };

enum place_kind {
	PLACE_UNKNOWN,   /* the store has not been asked; there is a room when it was adopted */
	PLACE_ABSENT,    /* the store has no such room, and there is no ephemeral one */
	PLACE_STORED,    /* rules and room are there */
	PLACE_EPHEMERAL, /* room is there */
};

/* A name, and what this worker knows of it. */
struct place {
	struct str name;
	enum place_kind kind;
	/* PLACE_STORED always; PLACE_EPHEMERAL where there are any (rooms_rules): id 0, kept nowhere */
	struct rules *rules;
	struct room *room; /* PLACE_STORED, PLACE_EPHEMERAL, may be PLACE_UNKNOWN; else NULL */
	struct standings standings; /* empty without a room, as is the next */
	struct lobby lobby;
	/* rooms.c's own */
	bool busy;           /* a visit is running */
	unsigned held;       /* so often: the store, say, has been asked */
	struct addr visitor; /* whose call is, or was last, being handled */
	size_t pins;
	struct waiting *first, **last;
	size_t waiting;
	bool listed; /* among those where something waits */
	struct place *previous, *next;
	uint64_t empty_since;
	const struct room_template *template; /* of the options of this generation */
	unsigned template_generation;
};

typedef void place_visit(struct place *p, struct call *c);

enum visit_needs {
	VISIT_ANY,    /* also a place that is unknown: without rules, then */
	VISIT_LOADED, /* never an unknown one */
};

/* Brings the call to the place of its room: the name is the first member of its params. */
void rooms_visit(struct call *c, enum visit_needs needs, place_visit *visit);
/* The same; where the call cannot be brought there it is not refused but given back. reason NULL: the
 * error's own. */
typedef void visit_refused(struct call *c, enum err err, const char *reason);
void rooms_visit_or(
	struct call *c, enum visit_needs needs, place_visit *visit, visit_refused *refused);

/* To each call that waits for this visit there. */
void rooms_each_waiting(
	struct place *p, place_visit *visit, void (*what)(struct place *p, struct call *c));

/* Within a visit that asks the store: later ones wait until rooms_release, as often as it was held. */
void rooms_hold(struct place *p);
void rooms_release(struct place *p);
/* A visit that goes on when the store has answered: its place is held until rooms_go_on(). */
struct halted {
	struct place *place;
	struct call *call;
	place_visit *visit;
};
struct halted *rooms_halt(struct place *p, struct call *c, place_visit *visit);
void rooms_go_on(struct halted *h, enum err err); /* err: the call is refused instead */

/* The store has been asked, but nobody has to wait for it: the place stays until that is back. */
void rooms_pin(struct place *p);
void rooms_unpin(struct place *p);

/* What the configuration says for rooms of this name (template.h). */
const struct room_template *rooms_template(struct place *p);

/* What a room keeps of its messages. */
struct ring_limits rooms_ring_limits(struct place *p);

/* Gives an absent or unknown place its room. */
void rooms_make_ephemeral(struct place *p, const struct principal *maker);
void rooms_make_stored(struct place *p, struct rules *rules); /* owns the rules */
/* One of a call's own, for these two users and nobody else. */
void rooms_make_for_call(struct place *p, struct str caller, struct str callee);

/* The rules of a place that has its room and is not unknown. An ephemeral one gets them with this: as
 * the room is, in memory only, and gone with it. */
struct rules *rooms_rules(struct place *p);

/* What a process leaves of a room for the next. rules: of an ephemeral room, or NULL. */
struct adoption {
	struct room *room;
	bool stored;
	struct rules *rules;
	struct standings standings;
	struct lobby lobby;
};

/* A room from before this process: its members are among those of this worker from now on, and have
 * their places; nobody is told, but of members whose address is nobody's (generation 0): these end as
 * lost. The rules of a stored one are loaded when somebody needs them; when the store does not know it
 * any more, its members are told that it is closed. False: there is one of this name, and the caller
 * keeps all of it; else it is moved out of *a. */
bool rooms_adopt(struct adoption *a);

/* NULL: nothing is known of it here. */
const struct place *rooms_find(struct str name);

/* Walks all places: for (size_t i = 0; (p = rooms_next(&i));). No visit meanwhile. */
const struct place *rooms_next(size_t *i);

/* Ends a membership: tells the others why, gives the endpoint's place back. */
void rooms_end_membership(struct member *m, const char *reason);

/* The same for one who is put out: is told the reason as well. */
void rooms_put_out(struct member *m, const char *reason);

/* All memberships end, and each member is told that the room is closed to it. */
void rooms_empty(struct place *p);

/* There is no such room any more: it is emptied, and the place has neither room nor rules. */
void rooms_end(struct place *p);

/* What members are follows from the rules anew: this user's, or (n 0) everybody. All are told of another
 * role; who may not be there any more is out. */
void rooms_meet_rules(struct place *p, struct str user);

/* The room of that name while it is in memory, else NULL. */
struct place *rooms_place(struct str room);

/* The room is over for this member, behind what waits there: it is told so, the others that it has left.
 * Not within a visit. */
void rooms_close_for(struct str room, struct addr endpoint);

/* All memberships of an endpoint end, behind what it sent. */
void rooms_gone(struct addr endpoint, bool clean);
/* Members hear that it has no connection just now, or has one again. */
void rooms_connected(struct addr endpoint, bool yes);

/* Its session has another token from now on: rooms that this does not allow are left, behind what the
 * endpoint sent before; the others know what it may do there. */
void rooms_granted(struct addr endpoint, const struct principal *who);

enum err rooms_start(struct worker *w);
bool rooms_drained(struct worker *w); /* nothing waits for the store */
void rooms_stop(struct worker *w);

/* Stores asked by others of this folder; for rooms_drained. */
void rooms_asked_store(int n);
