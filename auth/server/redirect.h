/* redirect.h: the addresses that a client may be sent back to (RFC 6749 section 3.1.2, RFC 8252).
 * Any thread. */
#pragma once

#include "core/buf.h"

enum { REDIRECT_MAX = 512 };

/* Whether it may be registered: https, http on this machine only, or an application's own scheme
 * (with a dot in it); without fragment and without characters that a URI does not hold. */
bool redirect_valid(struct str uri);

/* Byte for byte the same; of http on this machine the port may differ (RFC 8252 section 7.3). */
bool redirect_matches(struct str registered, struct str asked);

/* Appends what a Content-Security-Policy calls the place: "https://app.example:8443". */
void redirect_add_source(struct buf *b, struct str uri);

/* Whether an address is http on this machine; *ret_rest is what stands behind host and port. */
bool redirect_is_loopback(struct str uri, struct str *ret_rest);
