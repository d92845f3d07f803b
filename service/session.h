/* session.h: one client, across as many connections as it needs. Knows who it is, what has been
 * received and sent (counted, docs/PROTOCOL.md "Counting") and what may come next; survives
 * without a connection.
 *
 * Thread: the worker it was opened on. Nothing ends a session on the spot: it is marked, and swept
 * at the end of the loop turn. */
#pragma once

#include "core/call.h"
#include "core/worker.h"

struct session_options {
	int64_t open_timeout_ms;
	size_t kept_messages, kept_bytes;
	int64_t resume_window_s, ping_interval_s;
	/* told to the client */
	size_t message_bytes, data_bytes, batch, rooms;
	unsigned in_flight;
};

void session_configure(const struct session_options *options); /* before the workers start */

extern const struct method session_methods[];
extern const struct worker_part session_part;
