/* key_wait.h: requests that must not be answered before there is a key for each algorithm. In the first moment of
 * a new store the one for RS256 is still being made (key_rotation.h): a key set without it would be
 * remembered for minutes by whoever fetched it, and the ID tokens signed a second later be refused; a code
 * would be used up for tokens that nobody can sign.
 *
 * Thread: the exchange's worker. Those that wait are as many as connections are let in. */
#pragma once

#include "core/http.h"

/* Calls serve, at once or when the keys are there. When they cannot be made, or the service stops, the
 * exchange is answered with 503 instead. */
void keys_needed(struct http_exchange *x, void (*serve)(struct http_exchange *x));

/* For key_rotation.c: this worker has other keys; will not have them now; stops. */
void key_waiters_settle(void);
void key_waiters_refuse(void);
void key_waiters_drain(void);
