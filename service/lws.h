/* lws.h: what the files that speak to libwebsockets (listener.c, conn_ws.c, conn_http.c) tell each
 * other. Nobody else includes it. */
#pragma once

#include "core/principal.h"

#include <uv.h>

struct lws;
struct lws_protocols;
struct lws_extension;

extern const struct lws_protocols conn_ws_protocol, conn_http_protocol;
extern const struct lws_extension *const conn_ws_extensions; /* for vhosts that compress */

/* Of a longer Sec-WebSocket-Extensions libwebsockets would end the connection without an answer. */
enum { EXTENSION_LIST_MAX = 254 };

void conn_ws_start(uv_loop_t *loop);
void conn_ws_thread_stop(void);

/* After timeouts were set outside of the callbacks of libwebsockets; once a turn is enough. */
void conn_heed_timeouts(void);

void conn_http_start(uv_loop_t *loop);
void conn_http_stop(void);
/* From now on requests are refused. */
void conn_http_drain(void);
bool conn_http_idle(void);      /* none is being handled */
size_t conn_http_streams(void); /* open ones */
