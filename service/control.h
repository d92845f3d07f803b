/* control.h: <data>/control.sock, where commands reach the running service: JSON-RPC 2.0, one
 * message a line, with all scopes. Who may open the socket (0600) owns the data anyway.
 *
 * Thread: worker 0. */
#pragma once

#include "core/worker.h"

void control_configure(const char *path); /* before the workers start; kept, not copied */

/* On each worker, once everything is in its place: commands are answered from now on. */
void control_listen(struct worker *w);

extern const struct worker_part control_part;

/* A successor (service/inherited.h) asks here, by methods that are nobody else's, for the listening
 * sockets (service.sockets: as notifications that carry so many each, then the reply), and then that this
 * process let go of everything (service.hand_over): it ends as by SIGTERM. */
bool control_gave_away(void);             /* a successor has asked for everything; any thread */
enum { CONTROL_SOCKETS_A_MESSAGE = 253 }; /* SCM_MAX_FD of Linux */

/* The other side: connects, or -1 with errno. Any thread. */
int control_connect(const char *path);
/* Sends one line, reads one line (caller frees); NULL when the other side hung up. */
char *control_ask(int fd, struct str line);
