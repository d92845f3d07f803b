/* factor.h: the second factor of an account: the check of a code that somebody typed, and recovery
 * codes, which are good once each when the telephone is lost.
 * Thread: the exchange's worker. */
#pragma once

#include "auth/server/secret.h"
#include "core/err.h"
#include "store/store.h"

enum {
	RECOVERY_CODES = 10,
	RECOVERY_LETTERS = 16,                /* 80 bits */
	RECOVERY_TEXT = RECOVERY_LETTERS + 3, /* "abcd-efgh-jkmn-pqrs" */
	FACTOR_SEALED_MAX = 64,
};

struct factor_outcome {
	enum err err; /* OK; UNAUTHENTICATED; RATE_LIMITED: nothing was looked at; NOT_FOUND: the
	               * account has no second factor; or what the store says */
	int64_t retry_after; /* seconds, with RATE_LIMITED */
	bool recovery;       /* it was one of those codes, or would have been */
};
typedef void factor_done(void *context, const struct factor_outcome *outcome);

/* Checks a one-time code, or a recovery code, of the account; right ones are used up. done() is called
 * once, perhaps before this returns. */
void factor_check(
	struct str user, struct str typed, struct str address, factor_done *done, void *context);

/* Makes new recovery codes and keeps their hashes; the old ones are good no more. codes has room for
 * RECOVERY_CODES texts; it is the caller's, as long as done() has not been called. NOT_FOUND: there is
 * no second factor. */
void recovery_make(struct str user, char codes[][RECOVERY_TEXT + 1],
	void (*done)(struct store_op *op), void *context);
