/* listener.h: the sockets that clients reach: one a worker and address, sharing the port by
 * SO_REUSEPORT. Opened by main before the workers start (so that errors come at once), accepted
 * from by each worker itself. */
#pragma once

#include "core/buf.h"
#include "core/worker.h"
#include "service/config.h"

/* Opens all that the configuration names. On failure *why holds sentences for a person and nothing
 * is open. */
enum err listeners_open(const struct config *config, int workers, struct buf *why);

/* The addresses as clients write them, "http://127.0.0.1:8080", one call each; NULL: no more. With
 * port 0 in the configuration this is how the real one is known. */
const char *listener_url(size_t i);
unsigned listener_port(void); /* of the first */

void listeners_close(void);

/* On each worker, once everything is in its place: connections are accepted from now on. */
void listeners_accept(void);

/* On each worker: no connection is left there. */
bool listener_left(struct worker *w);

extern const struct worker_part listener_part;
