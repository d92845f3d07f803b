/* act.h: one act of moderation on its way: whom it is about, whether its caller may, and how it is
 * written down. Its method says what it does.
 *
 * A moderator may act, and never against somebody of the same or a higher role; the scope admin stands
 * above an owner. An act is true once the store has it, where it is kept or a webhook wants to know of
 * it (room.moderated); until then the room waits. Each has a line in the audit.
 *
 * Thread: the room's own worker. */
#pragma once

#include "signaling/rooms.h"
#include "store/outbox.h"

enum { USER_MAX_BYTES = 511 };

/* Does it; the call is answered within. op: the store's answer, NULL when it was not asked. */
typedef void act_apply(struct place *p, struct call *c, const struct store_op *op);

/* What these methods are given; the room stands first (core/call.h). */
struct act_params {
	struct str room, user, peer, reason, signals;
	struct param_bool locked, muted;
	struct param_int expires_in;
	/* the handler's own */
	const char *word; /* "kick": for the webhook */
	struct str words; /* of signals, as a standing has them */
	struct ban ban;
	place_visit *found;
	act_apply *apply;
	char text[USER_MAX_BYTES]; /* of user, once they are found */
};

/* Whether params say either a user or a peer; else the call is refused. */
bool act_is_about_one(struct call *c);

/* Within a visit of a loaded room: finds who is meant, as `user` of the params, and calls found(), or
 * refuses the call. An account is found by its name in any case: then the store is asked, and the room
 * is held until the call is answered. */
void act_find(struct place *p, struct call *c, place_visit *found);

/* Writes it down, with a verb of the store, then does it; the call is refused when the store cannot take
 * it, and with too_many_sanctions when the verb finds nothing to do. */
#define act_keep(p, c, apply, verb, ...) \
	act_submit(p, c, apply, verb, (const struct store_value[]){__VA_ARGS__})
void act_submit(struct place *p, struct call *c, act_apply *apply, enum store_verb verb,
	const struct store_value *args);
/* The same for what only this process knows. */
void act_now(struct place *p, struct call *c, act_apply *apply);

/* What was done in a room: its line in the audit. user: to whom, or nobody. Behind the room stands the value,
 * under a key if there is one. */
void act_audit(
	const struct call *c, struct str room, struct str user, const char *key, struct str value);
/* It has been done: the same of an act, with other words, or none. */
void act_done(const struct place *p, const struct call *c, struct str more);
/* No more can be muted, kicked or banned. */
void act_refuse_full(struct call *c);

/* All peers of the user leave; they and the others are told why. How many there were. Where they knock they
 * are turned away. The reason is a literal. */
size_t act_put_out(struct place *p, struct str user, const char *reason);
