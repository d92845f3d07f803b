/* throttle.h: who has failed how often of late, and how long they have to wait before they may try
 * again: the first failures are free, then each doubles the wait, up to a maximum. What lies back is
 * forgiven, one failure a minute.
 *
 * Thread: its owner's. Bounded: it remembers THROTTLE_KEYS keys, and of those that fall together the
 * latest. Keys are kept as a seeded hash. Times are in milliseconds on any one clock. */
#pragma once

#include "core/str.h"

#include <stdint.h>

enum { THROTTLE_KEYS = 8192 };

struct throttle;

/* free: failures that cost nothing; wait_max: seconds. */
struct throttle *throttle_new(int free, int wait_max);
void throttle_free(struct throttle **t);

/* Seconds until this key may try again, rounded up; 0: now. */
int64_t throttle_wait(const struct throttle *t, struct str key, int64_t now);
void throttle_failed(struct throttle *t, struct str key, int64_t now);
/* One failure was none. */
void throttle_undo(struct throttle *t, struct str key);
void throttle_forget(struct throttle *t, struct str key);

/* A key that is remembered without a failure, and whether one is remembered. */
void throttle_enter(struct throttle *t, struct str key, int64_t now);
bool throttle_knows(const struct throttle *t, struct str key);
