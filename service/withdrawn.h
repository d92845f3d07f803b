/* withdrawn.h: what is open is ended when its token is withdrawn (auth/withdrawal.h): sessions, also
 * those without a connection just now, connections that have not opened one, and streams, on every
 * worker, with 4501.
 *
 * Thread: any worker. */
#pragma once

#include "auth/withdrawal.h"
#include "core/worker.h"

/* The store and the table have it. What is open ends as soon as each worker comes to it. */
void withdrawn_add(enum withdrawal_kind kind, struct str value);
/* The same for what only the store has: the table first (withdrawals_note()). */
void withdrawn_at(enum withdrawal_kind kind, struct str value, int64_t at, int64_t until);

extern const struct worker_part withdrawn_part;
