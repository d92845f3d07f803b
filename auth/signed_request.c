#include "auth/signed_request.h"

#include <assert.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>

enum { DIGEST = 32, BASE64_DIGEST = 44, BASE64_KEY_MAX = (SIGNING_KEY_MAX + 2) / 3 * 4 };

#define PREFIX "whsec_"

/* Strictly: digits, then one or two `=` where they belong. OpenSSL's decoder would pass over more. */
static bool is_base64(struct str s)
{
	size_t padding = 0;
	for (; s.n && padding < 2 && s.p[s.n - 1 - padding] == '='; padding++)
		;
	for (size_t i = 0; i < s.n - padding; i++) {
		char c = s.p[i];
		if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
			    c == '+' || c == '/'))
			return false;
	}
	return s.n && s.n % 4 == 0;
}

static bool decode(struct str text, unsigned char key[BASE64_KEY_MAX], size_t *ret_n)
{
	struct str prefix = STR(PREFIX);
	if (!str_starts(text, prefix))
		return false;
	struct str digits = {text.p + prefix.n, text.n - prefix.n};
	if (digits.n > BASE64_KEY_MAX || !is_base64(digits))
		return false;
	int n = EVP_DecodeBlock(key, (const unsigned char *)digits.p, (int)digits.n);
	if (n < 0)
		return false;
	n -= (digits.p[digits.n - 1] == '=') + (digits.p[digits.n - 2] == '=');
	*ret_n = (size_t)n;
	return n >= SIGNING_KEY_MIN && n <= SIGNING_KEY_MAX;
}

bool signing_secret_valid(struct str text)
{
	unsigned char key[BASE64_KEY_MAX];
	size_t n = 0;
	bool valid = decode(text, key, &n);
	OPENSSL_cleanse(key, sizeof(key));
	return valid;
}

/* Appends " v1,SIGNATURE". */
static void add_signature(char *out, size_t size, struct str content, struct str secret)
{
	unsigned char key[BASE64_KEY_MAX], digest[DIGEST];
	char text[BASE64_DIGEST + 1];
	size_t n = 0, used = strlen(out);
	unsigned digest_n = 0;
	bool valid = decode(secret, key, &n);
	assert(valid);
	(void)valid;
	if (!HMAC(EVP_sha256(), key, (int)n, (const unsigned char *)content.p, content.n, digest,
		    &digest_n))
		abort();
	OPENSSL_cleanse(key, sizeof(key));
	EVP_EncodeBlock((unsigned char *)text, digest, DIGEST);
	snprintf(out + used, size - used, " v1,%s", text);
}

void sign_request(struct signed_headers *h, struct str id, int64_t now, struct str body,
	struct str secret, struct str previous)
{
	struct buf content = BUF_INIT(SIGNED_ID_MAX + 32 + body.n);
	assert(id.n <= SIGNED_ID_MAX);
	buf_addf(&content, STR_FMT ".%" PRId64 ".", STR_ARG(id), now);
	buf_adds(&content, body);
	snprintf(h->id, sizeof(h->id), "webhook-id: " STR_FMT, STR_ARG(id));
	snprintf(h->timestamp, sizeof(h->timestamp), "webhook-timestamp: %" PRId64, now);
	snprintf(h->signature, sizeof(h->signature), "webhook-signature:");
	add_signature(h->signature, sizeof(h->signature), buf_str(&content), secret);
	if (previous.n)
		add_signature(h->signature, sizeof(h->signature), buf_str(&content), previous);
	buf_free(&content);
	h->list[0] = h->id;
	h->list[1] = h->timestamp;
	h->list[2] = h->signature;
	h->list[3] = NULL;
}
