/* inherited.h: listening sockets that somebody else has opened: the process before this one, which
 * hands them over through the control socket (SCM_RIGHTS, unix(7)), or systemd (sd_listen_fds(3)). What
 * waits in their queues is not lost: they are closed only when nobody is to be accepted from them.
 *
 * Thread: main, before the workers start; what is left over is then read by all. */
#pragma once

#include "core/buf.h"

#include <sys/socket.h>

/* Takes what systemd gives this process; nothing when it gives nothing. On failure *why says why. */
enum err inherited_from_systemd(struct buf *why);

/* Asks the process behind the control socket for its sockets; *ret_peer is the way to it, for
 * inherited_take_over(). Nothing has changed for it so far. ERR_NOT_FOUND: nobody is there. ERR_CONFLICT:
 * it is stopping, or gives them to another. */
enum err inherited_ask(const char *control_path, int *ret_peer, struct buf *why);

/* Tells it to let go of everything, and closes the way to it. From now on this process has to serve. */
enum err inherited_take_over(int peer, struct buf *why);

/* What it was for; of systemd's that is not known. */
enum inherited_side { INHERITED_PUBLIC, INHERITED_INTERNAL, INHERITED_EITHER };

/* Takes out the sockets of this address; port 0 takes those of the first port there is. *ret_fds is the
 * caller's to free, with the sockets in it. 0: there are none. *ret_held: systemd goes on holding them
 * when this process ends, and so their queues. */
size_t inherited_take(
	const struct sockaddr_storage *a, bool internal, int **ret_fds, bool *ret_held);

/* What nobody has taken. */
size_t inherited_left(void);
int inherited_socket(size_t i, enum inherited_side *ret_side);
/* For people: its address. The text lives until the next call. */
const char *inherited_name(size_t i);
void inherited_close(void);
