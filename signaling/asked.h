/* asked.h: the backend's word (auth/backend.h) before something happens in a room, which is held meanwhile:
 * so what comes behind a join that waits for it waits, too. Who has the scope admin is the backend itself,
 * or above it, and needs no word of its own.
 *
 * Thread: the room's own worker. */
#pragma once

#include "auth/backend.h"
#include "signaling/rooms.h"

static inline bool asked_wanted(enum backend_act act, const struct call *c)
{
	return backend_asked(act) && !(c->who->scopes & SCOPE_ADMIN);
}

/* Goes on with the call, in its place, which is held until this returns. */
typedef void asked_then(struct place *p, struct call *c, const struct backend_answer *answer);

/* Within a visit: members of the question beside who asks and the room go into the result, then
 * asked_first(). */
struct json_out *asked_begin(const struct place *p, const struct call *c, enum backend_act act,
	struct backend_question **ret_q);
void asked_first(struct place *p, struct call *c, struct backend_question *q, asked_then *then);

/* The same in two steps, so that those who wait for one room need not wait for each other's answers: asked
 * as soon as the call has come, and heeded in its turn. */
struct asking;
struct asking *asked_ahead(struct backend_question *q);
void asked_turn(struct place *p, struct call *c, struct asking **a, asked_then *then);
/* Its answer is not needed any more; also of NULL. */
void asked_drop(struct asking **a);

/* The role that a yes to a join gives, if it does, holds while the room is in memory; one too many is none. */
void asked_heed_role(
	struct place *p, const struct principal *who, const struct backend_answer *answer);
