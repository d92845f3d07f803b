/* arrival.h: a socket from accept until libwebsockets gets it: whose it is, whether its address has
 * room for it, and the PROXY header that comes first from proxies which send one.
 *
 * Thread: the worker that accepted it. Limits: ARRIVALS_MAX sockets a worker wait for their header,
 * ARRIVAL_MS each. */
#pragma once

#include "core/worker.h"
#include "service/peer.h"

#include <sys/socket.h>

enum { ARRIVALS_MAX = 1024, ARRIVAL_MS = 5000 };

/* Takes over both. */
typedef void arrival_adopt(void *context, int fd, struct peer *peer);

/* Takes over the descriptor. adopt is called before this returns, later, or never (then it is
 * closed). */
void arrival_begin(
	int fd, const struct sockaddr *from, bool internal, arrival_adopt *adopt, void *context);

extern const struct worker_part arrival_part;
