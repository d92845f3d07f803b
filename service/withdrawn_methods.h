/* withdrawn_methods.h: who administers takes tokens back: token.revoke, revocation.list, user.disable and
 * user.enable, for the users, clients and tokens of every issuer.
 *
 * Thread: the caller's worker. Each answers once the store has committed and no worker takes the token any more. */
#pragma once

#include "core/call.h"

extern const struct method withdrawn_methods[];
