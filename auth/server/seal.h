/* seal.h: secrets that have to be read again, and so cannot be kept as hashes (the second factor's):
 * AES-256-GCM with a key that lies in a file of its own, so that a copy of the database alone says
 * nothing. Made at the first start, readable by its owner alone. Who loses it loses the second
 * factors and the refresh tokens, and nothing else.
 *
 * Thread: seal_start() and seal_stop() while no worker runs; the rest any. */
#pragma once

#include "core/err.h"
#include "core/str.h"

enum { SEAL_MORE = 12 + 16, SEAL_WHY_MAX = 256 };

/* ERR_INTERNAL: the file cannot be read or made, or others may read it; ret_why (SEAL_WHY_MAX bytes)
 * says which. */
enum err seal_start(const char *file, char *ret_why);
void seal_stop(void);

/* out: text.n + SEAL_MORE bytes. It opens again only for the same purpose ("totp ann"). */
struct str seal_close(struct str text, struct str purpose, unsigned char *out);
/* out: sealed.n bytes. False: it was sealed with another key, for another purpose, or is damaged. */
bool seal_open(struct str sealed, struct str purpose, unsigned char *out, struct str *ret_text);
