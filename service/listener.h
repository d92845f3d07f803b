/* listener.h: the sockets that clients reach: one a worker and address, sharing the port by
 * SO_REUSEPORT, or those that were inherited (service/inherited.h). Opened by main before the workers
 * start (so that errors come at once), accepted from by each worker itself. */
#pragma once

#include "core/buf.h"
#include "core/worker.h"

struct config;

/* Opens all that the configuration names. On failure *why holds sentences for a person and nothing
 * is open. */
enum err listeners_open(const struct config *config, int workers, struct buf *why);

/* The addresses as clients write them, "http://127.0.0.1:8080", one call each; NULL: no more. With
 * port 0 in the configuration this is how the real one is known. */
const char *listener_url(size_t i);
unsigned listener_port(void); /* of the first */

void listeners_close(void);

/* The sockets of the i-th address, to be handed over; 0: there is no such address. */
size_t listener_sockets(size_t i, const int **ret_fds, const char **ret_url, bool *ret_internal);

/* On each worker, once everything is in its place: connections are accepted from now on. */
void listeners_accept(struct worker *w);

/* On each worker: no WebSocket, stream or request is left there; and no socket at all, not even of who
 * has not said yet what it wants. */
bool listener_left(struct worker *w);
bool listener_all_left(struct worker *w);

extern const struct worker_part listener_part;
