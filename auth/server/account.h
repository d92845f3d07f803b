/* account.h: the pages on which people look after their account: what is signed in, the password, the
 * second factor, and devices that wait for them.
 * Thread: the exchange's worker. */
#pragma once

#include "core/http.h"

/* GET and POST of /oauth/device */
void serve_device(struct http_exchange *x);

void serve_account(struct http_exchange *x);          /* GET /oauth/account */
void serve_account_end(struct http_exchange *x);      /* POST /oauth/account/end */
void serve_account_password(struct http_exchange *x); /* GET, POST /oauth/account/password */
void serve_account_factor(struct http_exchange *x);   /* GET, POST /oauth/account/factor */
void serve_account_recovery(struct http_exchange *x); /* GET, POST /oauth/account/recovery */
