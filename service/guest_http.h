/* guest_http.h: POST /v1/guests: who has the token of an invitation that is for guests gets a token of
 * their own for that one room, by no more than a name. Made by the embedded issuer.
 *
 * Thread: the request's worker. Limit: who tries what is no invitation has to wait (auth/guesses.h). */
#pragma once

#include "core/http.h"

#include <stdint.h>

/* issuer: whether there is one; lifetime: of a guest's token, in seconds. While no worker runs, or all
 * are paused. */
void guest_http_configure(bool issuer, int64_t lifetime);

extern const struct http_route guest_routes[];
