/* conn.h: one WebSocket connection, a carrier (service/carrier.h): bytes in, frames out, limits,
 * backpressure. Knows nothing of what the messages say.
 *
 * Thread: the worker that accepted it. A conn is freed only by libwebsockets' own close callback;
 * closing it asks for that and returns. Frames queued before are still sent. */
#pragma once

#include "service/carrier.h"

struct conn_limits {
	size_t message;            /* bytes of one message from a client; then 1009 */
	size_t first_message;      /* of one that has not said who it is */
	size_t outbound_queue;     /* bytes waiting for a client; then 4002 */
	uint64_t ping_ms, pong_ms; /* asked for a sign of life; lost when none has come */
};

void conn_configure(const struct conn_limits *limits);

size_t conn_count(void); /* of this worker */

/* The end of a loop turn: writes what the turn has queued, unless much is to be written and more may have
 * come; then another turn follows at once. */
void conn_turn_over(void);
/* Writes all that is queued. */
void conn_flush_all(void);
