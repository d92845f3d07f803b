/* refresh_token.h: refresh tokens as text. A token is made from the sid of its grant and a generation,
 * and proven by an HMAC over both with a secret of this issuer's own: so none has to be kept, and a
 * client that asks twice gets the same one twice.
 *
 * Thread: refresh_tokens_start(), after seal_start(), and _stop() on the main thread while no worker runs;
 * the rest on any. */
#pragma once

#include "core/err.h"
#include "core/str.h"

#include <stdint.h>

enum {
	SID_BYTES = 16,
	REFRESH_TOKEN_TEXT = 4 + 70, /* "sbr_" and the digits of sid, generation and HMAC */
	REFRESH_GRACE = 30, /* seconds in which the one before the newest gets the newest again */
};

/* Reads the secret, or makes it: also when it was sealed with a key that is lost. ERR_INTERNAL: the store failed. */
enum err refresh_tokens_start(void);
void refresh_tokens_stop(void);

/* sid: 32 hexadecimal digits in lower case. */
void refresh_token_make(struct str sid, int64_t generation, char out[REFRESH_TOKEN_TEXT + 1]);

/* False: this issuer never made it. */
bool refresh_token_read(struct str text, char ret_sid[2 * SID_BYTES + 1], int64_t *ret_generation);
