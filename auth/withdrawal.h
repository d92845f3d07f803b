/* withdrawal.h: tokens that are not good any more although their signature is: those of one sign-in, of
 * a user, of a client, or one alone. One table for the whole process, a copy of the table `withdrawals`:
 * what was noted here is refused by every worker from then on.
 *
 * Thread: loading and finishing on the main thread, without workers; the rest on any. There is a lock,
 * taken for writing when something is withdrawn, and for reading with each token that is checked or made
 * while there are withdrawals at all.
 *
 * Seconds and order. A token says in whole seconds when it was issued, and what was issued up to the
 * second of a withdrawal is refused. Whoever signs in anew within that same second still gets a good
 * token: withdrawals_issue() moves its `iat` behind the withdrawal. That holds for what was asked for
 * after the withdrawal only; what was under way before (withdrawals_seen()) is made, and refused. Of
 * another issuer, who cannot know, a token of that same second is refused. */
#pragma once

#include "core/buf.h"
#include "core/principal.h"

enum withdrawal_kind {
	WITHDRAWN_TOKEN,  /* its jti; of another issuer "alias|jti". Whenever it was issued */
	WITHDRAWN_GRANT,  /* its sid: all tokens that came from one sign-in. Whenever issued */
	WITHDRAWN_USER,   /* the user, as everywhere */
	WITHDRAWN_CLIENT, /* the client_id; of another issuer "alias|client_id" */
	WITHDRAWAL_KINDS
};

/* Instead of a time: also what is issued later, until it is lifted. */
#define WITHDRAWN_FOR_GOOD INT64_MAX

enum { WITHDRAWAL_VALUE_MAX = 2 * 255 + 1 };

const char *withdrawal_word(enum withdrawal_kind kind); /* "user": as in the table */
/* What a client is told, and an operator: constant texts. */
const char *withdrawal_reason(enum withdrawal_kind kind);

/* The value for one token, put together in out, which has room for WITHDRAWAL_VALUE_MAX bytes. */
struct str withdrawal_jti(const struct principal *who, char *out);

/* Until when a row has to be kept: then no token can live that it fits. */
int64_t withdrawal_until(enum withdrawal_kind kind, struct str value, int64_t at);

/* Reads the store, which is open. On failure *why holds a sentence. */
enum err withdrawals_load(struct buf *why);
void withdrawals_finish(void); /* also when nothing was loaded */

/* From now on, on all threads. The row is in the store already. at: Unix seconds, as the store
 * answered them, or WITHDRAWN_FOR_GOOD. until: as in the row, when it is not withdrawal_until(); or 0. */
void withdrawals_note(enum withdrawal_kind kind, struct str value, int64_t at, int64_t until);
/* The same, and what is open by them ends, as far as withdrawals_end_by() has said how. On a worker. */
void withdrawals_take(enum withdrawal_kind kind, struct str value, int64_t at, int64_t until);
/* How that is done; while no worker runs. */
void withdrawals_end_by(void (*end)(enum withdrawal_kind kind, struct str value));
/* A user who was put out for good may come back with what is issued after this time. */
void withdrawals_lift(struct str user, int64_t at);

/* Whether the token that this is the principal of was withdrawn, and as what. */
bool withdrawals_fit(const struct principal *who, enum withdrawal_kind *ret_kind);

/* Whether a withdrawal of that is about this principal at all, whenever its token was issued. Looks at
 * nothing else: for asking many principals about one withdrawal. */
bool withdrawal_names(const struct principal *who, enum withdrawal_kind kind, struct str value);

/* How far the withdrawals have come: for withdrawals_issue(), taken before the store is asked whether a
 * token may be given. Never 0. */
uint64_t withdrawals_seen(void);
/* The `iat` of a token made now for them. seen 0: all that is known was seen. */
int64_t withdrawals_issue(struct str user, struct str client, int64_t now, uint64_t seen);

/* Forgets what no living token can fit any more. How many there are left. */
size_t withdrawals_purge(int64_t now);
