/* session_gate.h: what a new session waits for once its token is good: the word of the backend
 * (auth/backend.h), and that webhooks will hear of it (store/outbox.h). A connection waits here as in an
 * opening: what comes on it before its answer ends it.
 *
 * Thread: the worker of the session that is to be. */
#pragma once

#include "auth/backend.h"
#include "core/worker.h"
#include "service/carrier.h"
#include "store/outbox.h"

struct session_request;
struct session_name;

/* Whether there is anything to wait for. */
static inline bool gate_wanted(void)
{
	return backend_asked(BACKEND_CONNECT) || hook_wanted(HOOK_SESSION_OPENED) ||
		hook_wanted(HOOK_SESSION_CLOSED);
}

/* The session that will have this name. Takes over the carrier and the session's place in the quota of its
 * user; session_admit() (service/session_parts.h) follows, or the refusal. */
void gate_enter(struct carrier *carrier, struct principal *who, const struct session_request *r,
	const struct session_name *name);

/* The event that the session of this handle has ended. The reason is a word. */
void gate_tell_closed(const char *handle, const struct principal *who, const char *reason);

extern const struct worker_part gate_part;
