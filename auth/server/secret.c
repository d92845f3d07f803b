#include "auth/server/secret.h"

#include "auth/b64url.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>

static void random_bytes(unsigned char *out, int n)
{
	if (RAND_bytes(out, n) != 1)
		abort(); /* nothing that is handed out without randomness would be safe */
}

static void encode(const unsigned char bytes[SECRET_BYTES], char out[SECRET_TEXT + 1])
{
	struct buf b = BUF_INIT(SECRET_TEXT);
	b64url_add(&b, bytes, SECRET_BYTES);
	if (b.err)
		abort();
	memcpy(out, b.p, SECRET_TEXT + 1);
	buf_free(&b);
}

void secret_make(char out[SECRET_TEXT + 1])
{
	unsigned char bytes[SECRET_BYTES];
	random_bytes(bytes, sizeof(bytes));
	encode(bytes, out);
}

void secret_make_hex(char *out, size_t digits)
{
	for (size_t i = 0; i < digits; i++) {
		unsigned char byte;
		random_bytes(&byte, 1);
		out[i] = "0123456789abcdef"[byte & 15];
	}
	out[digits] = 0;
}

void secret_hash(struct str text, unsigned char out[SECRET_HASH])
{
	unsigned n = SECRET_HASH;
	if (EVP_Digest(text.p, text.n, out, &n, EVP_sha256(), NULL) != 1)
		abort();
}

void secret_challenge(struct str text, char out[SECRET_TEXT + 1])
{
	unsigned char hash[SECRET_HASH];
	secret_hash(text, hash);
	encode(hash, out);
}
