/* b64url.h: base64url without padding (RFC 4648 section 5, RFC 7515 section 2), strictly: no
 * padding, no white space, no other alphabet, and the bits that a last digit has to spare are zero,
 * so that one run of bytes has one spelling. Any thread; allocates nothing but the buf's bytes. */
#pragma once

#include "core/buf.h"

/* How many bytes n digits can hold at most. */
#define B64URL_BYTES(n) ((n) / 4 * 3 + 2)

/* Decodes into out, which has room for B64URL_BYTES(text.n). ERR_PARSE: not such a text. */
enum err b64url_decode(struct str text, unsigned char *out, size_t *ret_n);

/* Appends the digits of n bytes; the buf's cap and err hold. */
void b64url_add(struct buf *b, const void *bytes, size_t n);
