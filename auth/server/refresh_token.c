#include "auth/server/refresh_token.h"

#include "auth/b64url.h"
#include "auth/server/seal.h"
#include "core/log.h"
#include "store/store.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdlib.h>

enum { KEY_BYTES = 32, HMAC_BYTES = 32, GENERATION_BYTES = 4 };
enum { SIGNED_BYTES = SID_BYTES + GENERATION_BYTES, TOKEN_BYTES = SIGNED_BYTES + HMAC_BYTES };

#define PREFIX "sbr_" /* so that who searches for lost secrets knows what it is */
#define SETTING "issuer.refresh_secret"

static unsigned char key[KEY_BYTES];

/* Sealed, so that a copy of the database alone makes no tokens. */
static enum err read_key(void)
{
	struct store_op *op = store_ask_now(STORE_SETTING_GET, STORE_TEXT(STR(SETTING)), STORE_END);
	unsigned char text[KEY_BYTES + SEAL_MORE];
	struct str kept, plain;
	enum err err = op->err;
	if (!err) {
		kept = store_str(op, 0, 0);
		if (kept.n == sizeof(text) && seal_open(kept, STR(SETTING), text, &plain) &&
			plain.n == KEY_BYTES)
			memcpy(key, plain.p, KEY_BYTES);
		else
			err = ERR_NOT_FOUND;
		if (err)
			log_warn("refresh tokens are void: their secret was sealed with another "
				 "key");
	}
	OPENSSL_cleanse(text, sizeof(text));
	store_op_free(&op);
	return err;
}

static enum err make_key(void)
{
	unsigned char sealed[KEY_BYTES + SEAL_MORE];
	if (RAND_bytes(key, KEY_BYTES) != 1)
		return ERR_INTERNAL;
	struct str text = seal_close((struct str){(char *)key, KEY_BYTES}, STR(SETTING), sealed);
	struct store_op *op = store_ask_now(
		STORE_SETTING_PUT, STORE_TEXT(STR(SETTING)), STORE_BLOB(text), STORE_END);
	enum err err = op->err;
	store_op_free(&op);
	return err;
}

enum err refresh_tokens_start(void)
{
	enum err err = read_key();
	return err == ERR_NOT_FOUND ? make_key() : err;
}

void refresh_tokens_stop(void)
{
	OPENSSL_cleanse(key, sizeof(key));
}

static void sign(const unsigned char *bytes, unsigned char *out)
{
	unsigned n = HMAC_BYTES;
	if (!HMAC(EVP_sha256(), key, KEY_BYTES, bytes, SIGNED_BYTES, out, &n))
		abort(); /* nothing that is handed out unsigned could be used */
}

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void refresh_token_make(struct str sid, int64_t generation, char out[REFRESH_TOKEN_TEXT + 1])
{
	unsigned char bytes[TOKEN_BYTES];
	struct buf b = BUF_INIT(REFRESH_TOKEN_TEXT);
	assert(sid.n == 2 * SID_BYTES && generation > 0 && generation <= UINT32_MAX);
	for (size_t i = 0; i < SID_BYTES; i++)
		bytes[i] = (unsigned char)(digit(sid.p[2 * i]) << 4 | digit(sid.p[2 * i + 1]));
	for (size_t i = 0; i < GENERATION_BYTES; i++)
		bytes[SID_BYTES + i] = (unsigned char)(generation >> (8 * (3 - i)));
	sign(bytes, bytes + SIGNED_BYTES);
	buf_addf(&b, PREFIX);
	b64url_add(&b, bytes, sizeof(bytes));
	if (b.err)
		abort();
	memcpy(out, b.p, REFRESH_TOKEN_TEXT + 1);
	OPENSSL_cleanse(b.p, b.n);
	buf_free(&b);
}

bool refresh_token_read(struct str text, char ret_sid[2 * SID_BYTES + 1], int64_t *ret_generation)
{
	unsigned char bytes[B64URL_BYTES(REFRESH_TOKEN_TEXT)], right[HMAC_BYTES];
	size_t n;
	if (text.n != REFRESH_TOKEN_TEXT || !str_starts(text, STR(PREFIX)) ||
		b64url_decode((struct str){text.p + 4, text.n - 4}, bytes, &n) || n != TOKEN_BYTES)
		return false;
	sign(bytes, right);
	if (CRYPTO_memcmp(right, bytes + SIGNED_BYTES, HMAC_BYTES) != 0)
		return false;
	for (size_t i = 0; i < SID_BYTES; i++) {
		ret_sid[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
		ret_sid[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
	}
	ret_sid[2 * SID_BYTES] = 0;
	*ret_generation = 0;
	for (size_t i = 0; i < GENERATION_BYTES; i++)
		*ret_generation = *ret_generation << 8 | bytes[SID_BYTES + i];
	return true;
}
