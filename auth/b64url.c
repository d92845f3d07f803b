#include "auth/b64url.h"

#include <stdint.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* -1: no digit. */
static int value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '-' ? 62 : c == '_' ? 63 : -1;
}

enum err b64url_decode(struct str text, unsigned char *out, size_t *ret_n)
{
	uint32_t bits = 0;
	unsigned held = 0; /* how many of the lowest bits wait for their byte */
	size_t n = 0;
	if (text.n % 4 == 1)
		return ERR_PARSE;
	for (size_t i = 0; i < text.n; i++) {
		int value = value_of(text.p[i]);
		if (value < 0)
			return ERR_PARSE;
		bits = (bits << 6 | (uint32_t)value) & 0xfff;
		held += 6;
		if (held >= 8) {
			held -= 8;
			out[n++] = (unsigned char)(bits >> held);
		}
	}
	if (bits & ((1u << held) - 1))
		return ERR_PARSE;
	*ret_n = n;
	return ERR_OK;
}

void b64url_add(struct buf *b, const void *bytes, size_t n)
{
	const unsigned char *p = bytes;
	for (size_t i = 0; i < n; i += 3) {
		size_t left = n - i < 3 ? n - i : 3;
		uint32_t w = (uint32_t)p[i] << 16;
		if (left > 1)
			w |= (uint32_t)p[i + 1] << 8;
		if (left > 2)
			w |= p[i + 2];
		char four[4];
		for (unsigned j = 0; j < 4; j++)
			four[j] = digits[w >> (18 - 6 * j) & 63];
		buf_add(b, four, left + 1);
	}
}
