/* own_certificate.h: a certificate that this machine makes for itself, for the devices around it. Nobody
 * vouches for it: browsers warn, and people compare its fingerprint.
 *
 * Thread: main, before the workers start. */
#pragma once

#include "core/buf.h"
#include "core/ip.h"

/* SHA-256 as browsers show it: pairs of digits with colons, and a NUL. */
enum { FINGERPRINT_TEXT = 32 * 3 };

/* Makes sure that the file holds a certificate for this address (and for localhost), with its key, in
 * PEM: the one that is there, as long as it is good for another day, or a new one. The file is readable
 * for its owner only. On failure *why holds a sentence for a person. */
enum err own_certificate(const char *path, const struct ip *address,
	char ret_fingerprint[FINGERPRINT_TEXT], struct buf *why);
