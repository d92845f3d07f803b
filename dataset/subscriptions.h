/* subscriptions.h: what a session is subscribed to, on the session's own worker: which home each of its
 * subscriptions has, and how many there are. The homes tell it what becomes of them.
 *
 * Thread: the session's worker, but for what homes call. */
#pragma once

#include "core/call.h"

void subscriptions_configure(size_t most);
void subscriptions_stop(void);
void subscriptions_gone(struct addr session);

/* One that was handed over; its home is that of the dataset. */
void subscriptions_put(struct addr session, struct str dataset, struct str sub);

/* ---- for homes, before the answer or the event that tells the client ---- */

/* A subscribe that was on its way; sub n 0: it came to nothing. */
void subscription_made(struct addr session, struct str sub);
void subscription_ended(struct addr session, struct str sub);
