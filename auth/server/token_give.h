/* token_give.h: the end of every request at the token endpoint that went well: tokens for a person, out
 * of a grant (token_code.c, token_refresh.c, token_device.c).
 * Thread: the exchange's worker. */
#pragma once

#include "auth/server/client_request.h"
#include "store/store.h"

/* Answers with what the first columns of the operation's row say: user, display name, scope, auth_time,
 * sid, generation (0: no refresh token), nonce. scope: less than the grant's; n 0: all of it. What the
 * client may not ask for any more is left out. */
void token_give(struct client_request *r, const struct store_op *op, struct str scope);

/* How a grant goes on, as the store takes it. */
struct store_value token_lifetime(void);
struct store_value token_idle(void);
struct store_value token_absolute(void);

/* What the store finds it by; out is where the hash lies. */
struct store_value token_hash(struct str secret, unsigned char out[SECRET_HASH]);

/* The grants. Each has the proven client, and answers. */
void grant_by_code(struct client_request *r);
void grant_by_refresh(struct client_request *r);
void grant_by_device(struct client_request *r);
