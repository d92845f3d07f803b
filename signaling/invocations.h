/* invocations.h: calls that a backend was asked to answer and has not yet (rpc.invoke). Each waits at
 * the home of its method's domain until the answer comes, its time is over, or the backend has ended.
 *
 * A call that took too long is answered with `timeout`, and its backend stays burdened with it for a
 * while: one that hangs is not given new calls as fast as it lets them run out.
 *
 * Thread: every worker has its own. Limits: rpc_in_flight of options.h for a backend. */
#pragma once

#include "core/call.h"
#include "core/worker.h"
#include "signaling/backends.h"

enum { INVOCATION_ID_MAX = 32, TIMEOUT_MAX_S = 120 };

/* What a client said in reply to a request of ours: one of both, as it came. */
struct reply {
	struct str result, error;
};

/* Asks the backend; the call is answered later. params: JSON. */
void invocation_begin(struct backend *b, struct call *c, struct str method, struct str params,
	unsigned timeout_s);

/* The number in an id of ours, and the worker that gave it. NULL: it is none. id: as it came. */
struct worker *invocation_home(struct str id, uint64_t *ret_number);

/* On that worker: the backend has answered. False: it was not asked that, or has answered before. */
bool invocation_end(uint64_t number, struct addr from, const struct reply *reply);

/* The backend is gone: its calls will not be answered. */
void invocations_lose(struct backend *b);

/* The process is ending: neither will any other. */
void invocations_drain(void);

void invocations_start(struct worker *w);
void invocations_stop(void);
