/* token.h: the token endpoint. Thread: the exchange's worker. */
#pragma once

#include "core/http.h"

/* POST /oauth/token */
void serve_token(struct http_exchange *x);
