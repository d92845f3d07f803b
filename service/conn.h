/* conn.h: one WebSocket connection: bytes in, frames out, limits, backpressure. Knows nothing of
 * what the messages say: it hands each to its session (service/session.h).
 *
 * Thread: the worker that accepted it. A conn is freed only by libwebsockets' own close callback;
 * conn_close() asks for that and returns. Frames queued before it are still sent. */
#pragma once

#include "core/frame.h"
#include "core/principal.h"

#include <stdint.h>

struct conn;
struct session;

struct conn_limits {
	size_t message;        /* bytes of one message from a client; then 1009 */
	size_t outbound_queue; /* bytes waiting for a client; then 4002 */
	unsigned ping_seconds, pong_seconds;
};

void conn_configure(const struct conn_limits *limits);

/* Queues one message; takes the reference. alone: may not be joined with others into an array. */
void conn_send(struct conn *c, struct frame *f, bool alone);

/* Sends what is queued, then the close frame with this code. The session is told nothing more. */
void conn_close(struct conn *c, uint16_t code, const char *reason);

/* The client takes arrays: two or more waiting frames become one message. */
void conn_set_batching(struct conn *c, bool on);

struct str conn_peer(const struct conn *c); /* the client's address */
bool conn_is_batching(const struct conn *c);

size_t conn_count(void); /* of this worker */

/* The end of a loop turn: writes what the turn has queued. */
void conn_flush_all(void);

/* What a conn tells its owner (service/session.c). */
void session_conn_opened(
	struct conn *c, struct principal *who); /* who: from the handshake, or NULL */
void session_conn_text(struct conn *c, struct str text);
/* Gone: code as the client said it, or 1006. */
void session_conn_closed(struct conn *c, uint16_t code);

/* The owner's place on the conn. */
void **conn_owner(struct conn *c);
