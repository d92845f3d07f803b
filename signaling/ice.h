/* ice.h: the STUN and TURN servers told to a caller. Credentials made from a secret follow coturn's
 * REST API (draft-uberti-behave-turn-rest-00): the username is "expiry:user", the password
 * base64(HMAC-SHA1(secret, username)). Any thread. */
#pragma once

#include "core/json_out.h"
#include "core/principal.h"

#include <stdint.h>

enum { REGION_MAX = 32 };

/* "ice_servers": [{urls, username?, credential?}], good until expires_at (Unix seconds). region: those of
 * it first, then those of none; all when it is empty, or no server's. */
void ice_write(struct json_out *o, struct str user, int64_t expires_at, struct str region);

/* Whether something that is written for that region runs out. */
bool ice_is_timed(struct str region);

/* When credentials given out now end. */
int64_t ice_expiry(void);
