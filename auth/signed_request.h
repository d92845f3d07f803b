/* signed_request.h: what we ask a backend is signed as Standard Webhooks 1.0 says
 * (standard-webhooks/spec): HMAC-SHA256 of "id.timestamp.body" with a secret of both, in the header
 * webhook-signature. While a secret is being changed there are two signatures, and either will do.
 *
 * Thread: any. A secret is kept as it was given and decoded when it is used. */
#pragma once

#include "core/buf.h"

#include <stdint.h>

enum { SIGNING_KEY_MIN = 24, SIGNING_KEY_MAX = 64, SIGNED_ID_MAX = 64 };

/* Whether the text is "whsec_" and the base64 of 24 to 64 bytes. */
bool signing_secret_valid(struct str text);

/* The headers of one request, for fetch_request.headers. */
struct signed_headers {
	char id[SIGNED_ID_MAX + 16], timestamp[48], signature[192];
	const char *list[4]; /* point into this: do not copy the struct */
};

/* previous: n 0: none. Both are valid. The id is letters, digits and `_`. */
void sign_request(struct signed_headers *h, struct str id, int64_t now, struct str body,
	struct str secret, struct str previous);
