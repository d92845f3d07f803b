/* password.h: passwords, kept as argon2id (RFC 9106: 19 MiB, two passes, one lane) in the PHC string
 * form. Hashing takes some 40 ms and is done one at a time on a thread of low priority; attempts are
 * throttled there, by account and by client address, so that the count is one for all workers.
 *
 * Thread: password_check() and password_hash() on any worker, done() on that same worker. Limits:
 * PASSWORD_QUEUE_MAX wait, then ERR_OVERLOADED. The copies made here are wiped; wipe your own. */
#pragma once

#include "core/err.h"
#include "core/str.h"

#include <stdint.h>

enum {
	PASSWORD_MIN = 8, /* bytes */
	PASSWORD_MAX = 256,
	PASSWORD_HASH_MAX = 128,
	PASSWORD_QUEUE_MAX = 64,
};

/* password_start() before the workers. password_stop() while they still run: what waits is hashed
 * first, what comes later is ERR_OVERLOADED. */
void password_start(void);
void password_stop(void);

/* ERR_PARAMS: too short, too long, not UTF-8 or with a NUL in it. */
enum err password_fit(struct str password);

struct password_attempt {
	struct str password;
	struct str hash;    /* the account's; n 0: there is no such account, which takes as long */
	struct str account; /* as it was typed */
	struct str address; /* of the client; n 0: not throttled by it */
};

struct password_outcome {
	enum err err; /* OK; UNAUTHENTICATED; RATE_LIMITED: nothing was looked at; INTERNAL */
	int64_t retry_after; /* seconds, with RATE_LIMITED */
	struct str hash;     /* what password_hash() made; lives until done() returns */
};

typedef void password_done(void *context, const struct password_outcome *outcome);

/* ERR_OK: done() will be called. ERR_OVERLOADED: it will not. */
enum err password_check(const struct password_attempt *a, password_done *done, void *context);
enum err password_hash(struct str password, password_done *done, void *context);
