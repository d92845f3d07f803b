/* rpc_http.h: POST /v1/rpc: one JSON-RPC message with a bearer token, for backends. Every method
 * that needs no session. Thread: the worker that the request came in on. */
#pragma once

#include "core/http.h"

extern const struct http_route rpc_routes[];
