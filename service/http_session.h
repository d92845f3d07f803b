/* http_session.h: the session of service/session.h for clients whose network breaks WebSocket: a
 * stream, GET /v1/events, and POST /v1/messages for what they say (docs/PROTOCOL.md, "Without
 * WebSocket"). A POST may come in on any worker: it travels to the session's. */
#pragma once

#include "core/http.h"

void http_session_configure(size_t message_max); /* bytes of one message; before the workers */

extern const struct http_route http_session_routes[];
