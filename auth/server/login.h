/* login.h: who is signed in with a browser: the login that its cookie names.
 * Thread: the exchange's worker. */
#pragma once

#include "auth/server/secret.h"
#include "core/http.h"
#include "store/users.h"

/* Asks the store; hash: of the cookie. False: the browser has none, and done() is not called. */
bool login_find(const struct http_exchange *x, unsigned char hash[SECRET_HASH],
	void (*done)(struct store_op *op), void *context);

/* What it answered: the user's name, NUL-terminated, and when they gave their password (Unix seconds). False:
 * nobody is signed in so, and both are untouched. */
bool login_found(const struct store_op *op, char user[USER_NAME_MAX + 1], int64_t *ret_at);
