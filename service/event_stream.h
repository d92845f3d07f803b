/* event_stream.h: the answer to GET /v1/events, a carrier (service/carrier.h): what the server says
 * goes out as server-sent events (WHATWG HTML, section 9.2); what the client says comes by POST and
 * not through here. The answer begins with the session's first message: until then the request can
 * be refused with a status.
 *
 * A client that does not acknowledge bytes is found by the kernel (TCP_USER_TIMEOUT): a comment goes
 * out on a quiet stream each ping_ms, and has pong_ms to be acknowledged.
 *
 * Thread: the request's worker. Writes at the end of the loop turn. */
#pragma once

#include "core/http.h"
#include "core/worker.h"
#include "service/carrier.h"

struct event_stream_options {
	size_t outbound_queue; /* bytes waiting for a client; then 4002 */
	uint64_t ping_ms;
	unsigned pong_ms;
};

void event_stream_configure(const struct event_stream_options *options); /* before the workers */

/* Takes over the exchange. The carrier is nobody's yet, and frees itself at its end. */
struct carrier *event_stream_new(struct http_exchange *x);

extern const struct worker_part event_stream_part;
