/* guesses.h: attempts at short secrets (one-time codes, recovery codes, a device's user code, an
 * invitation), counted by account and by client address as those at passwords are (throttle.h).
 *
 * Thread: any; one lock, held for the moment of counting, so that the count is one for all workers.
 * An attempt counts as failed from the moment it is taken: many at once are no more than one after
 * the other. */
#pragma once

#include "core/str.h"

#include <stdint.h>

/* While no worker runs. */
void guesses_start(void);
void guesses_stop(void);

/* Takes one attempt. 0: go on; else the seconds that have to pass first, and nothing is to be looked
 * at. Either may be empty: it is not counted. */
int64_t guess_take(struct str account, struct str address);

/* The attempt was right: it counts for nothing, and what failed before for the account neither. */
void guess_right(struct str account, struct str address);

/* Takes one sign-up of the address, whatever comes of it: each costs a hash and may leave an account.
 * 0: go on; else the seconds that have to pass first. */
int64_t sign_up_take(struct str address);
