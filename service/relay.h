/* relay.h: a session on one worker with its connection on another. Two halves that post to each
 * other: beside the connection its owner, which forwards what comes in; beside the session a carrier,
 * which forwards what goes out. Each attachment of a connection to a session has halves of its own:
 * what an older one still delivers finds nobody and is dropped.
 *
 * Thread: relay_make() on the connection's worker; each half on its own. */
#pragma once

#include "core/addr.h"
#include "service/carrier.h"

/* The way of a connection's messages to another worker. Posts arrived() there, with a carrier that
 * arrived() owns from then on; context is passed through. The connection is the relay's. */
void relay_make(struct carrier *connection, int worker,
	void (*arrived)(struct carrier *c, void *context), void *context);
