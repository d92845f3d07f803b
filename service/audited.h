/* audited.h: administration, as the audit tells it (auth/audit.h): every call of a method that needs the
 * scope admin and is not marked METHOD_READS, whoever asked and whatever came of it. One place for all
 * of them: what a handler does need not know of it, and a new method is in the audit by itself.
 *
 * Thread: the caller's worker. */
#pragma once

#include "core/call.h"

/* The call is home with its outcome. What its params name (a user, a client, a key, …) is told; what
 * else they hold is not. */
struct audited_by {
	bool operator;      /* it came by the control socket */
	struct str address; /* of the client; n 0: it has left */
};
void audited(const struct call *c, struct audited_by by);
