/* spelling.h: a user as it is spelled everywhere. Accounts are found by their names in any case, but
 * roles, bans and owners are by the one spelling.
 * Thread: the room's own worker. */
#pragma once

#include "signaling/rooms.h"

/* Within a visit: spells the user, which is part of the call's params, where it stands, asking the
 * store when it may be an account; then goes on. The place is held until `then` has run, which may hold
 * it as well. When the store fails the call is refused. */
void spell_user(struct place *p, struct call *c, struct str user,
	void (*then)(struct place *p, struct call *c));
