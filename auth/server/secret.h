/* secret.h: the random words that the authorization server hands out (codes, cookies, client
 * secrets), and the hash that it keeps of them. Any thread. */
#pragma once

#include "core/str.h"
#include "store/store.h"

enum { SECRET_BYTES = 32, SECRET_TEXT = 43, SECRET_HASH = 32 };

/* SECRET_BYTES random bytes as base64url, NUL-terminated. */
void secret_make(char out[SECRET_TEXT + 1]);

/* A shorter one, of hexadecimal digits: digits of them. */
void secret_make_hex(char *out, size_t digits);

/* SHA-256. */
void secret_hash(struct str text, unsigned char out[SECRET_HASH]);

/* Such a hash, as the store takes it. */
#define STORE_HASH(hash) STORE_BLOB(((struct str){(const char *)(hash), SECRET_HASH}))

/* base64url of the SHA-256 of the text: what PKCE calls S256. */
void secret_challenge(struct str text, char out[SECRET_TEXT + 1]);
