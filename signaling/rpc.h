/* rpc.h: methods that clients serve for each other: rpc.serve, rpc.call, and the replies of those who
 * were asked by rpc.invoke.
 *
 * Thread: rpc.serve runs where its session lives and tells all workers; a call runs at the home of
 * its method's domain. */
#pragma once

#include "signaling/invocations.h"
#include "signaling/signaling.h"

/* On the worker of a session, for a reply that came from it. False: more of them came than it was
 * asked, so this, or one of those before, is noise. */
bool rpc_replied(struct addr from, struct str id, const struct reply *reply);

extern const struct method rpc_methods[];
extern const struct worker_part rpc_part;

/* Handing over, each on a worker, as in signaling.h: which of its sessions serve what. */
void rpc_save(struct buf *out);
void rpc_load(struct record_reader *one, const struct chapter_lookup *lookup);
