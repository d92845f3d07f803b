/* opening.h: a connection that has not said who it is: its first message, the check of its token, and
 * the session that it then becomes part of: a new one, or one that waits for it.
 *
 * Thread: the worker of the connection. */
#pragma once

#include "core/principal.h"
#include "core/worker.h"
#include "service/carrier.h"

struct session_request;

enum { FIRST_MESSAGE_MAX = 16 * 1024 };

struct opening_options {
	int64_t timeout_ms;
};

void opening_configure(const struct opening_options *options); /* by serve_configure() */

/* A carrier that nobody owns yet. who: from the handshake, or NULL; a reference is taken. */
void opening_begin(struct carrier *carrier, const struct principal *who);

/* The same with a token of the handshake that has to be checked yet. What comes meanwhile waits; a
 * token that is refused then ends the connection as one in session.open does. */
void opening_prove(struct carrier *carrier, struct str token);

/* The same when all that session.open would say is known already. */
void opening_enter(
	struct carrier *carrier, struct principal *who, const struct session_request *request);

/* Ends this worker's openings whose handshake brought a token that is withdrawn, with 4501. */
void openings_withdraw(void);

extern const struct worker_part opening_part;
