/* lws.h: what the files that speak to libwebsockets (listener.c, conn_ws.c, conn_http.c,
 * conn_http_request.c) tell each other. Nobody else includes it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct lws;
struct lws_protocols;
struct lws_extension;
struct http_request;
struct handshake;

extern const struct lws_protocols conn_ws_protocol, conn_http_protocol;
extern const struct lws_extension *const conn_ws_extensions; /* for vhosts that compress */

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

/* While libwebsockets has the headers of a request: what it says but for its body, in spans of
 * *ret_text, which is the caller's to free. Tells the connection's peer who is behind it. */
void http_read_request(struct lws *wsi, struct http_request *ret_in, char **ret_text);
/* 0 and the length of its body, or the status that refuses it. */
int http_read_body_length(struct lws *wsi, size_t *ret_length);
/* What a handshake says beside; request and upgrade are the caller's. */
void http_read_handshake(struct lws *wsi, struct handshake *ret_h);
