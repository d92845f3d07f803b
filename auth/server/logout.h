/* logout.h: signing out, from a page of our own or a client's (OpenID Connect RP-Initiated Logout
 * 1.0). What ends is the login of this browser, and all grants that were given from it.
 * Thread: the exchange's worker. */
#pragma once

#include "core/http.h"

#include "store/store.h"

/* Tells all workers of the grants that an operation has ended: its rows are their sids, its argument of
 * this number the time. */
void grants_ended(const struct store_op *op, size_t at);

/* GET and POST of /oauth/logout */
void serve_logout(struct http_exchange *x);
