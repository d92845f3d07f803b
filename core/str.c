#include "core/str.h"

#include <endian.h>
#include <openssl/crypto.h>
#include <stdint.h>

bool str_eq_secret(struct str a, struct str b)
{
	return a.n == b.n && CRYPTO_memcmp(a.p, b.p, a.n) == 0;
}

enum { WORD = 8 };
static const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;

/* The first byte is the lowest. */
static uint64_t word_at(const char *p)
{
	uint64_t w;
	memcpy(&w, p, WORD);
	return le64toh(w);
}

/* A top bit where a byte is not plain. That of the lowest is right, those above it may be wrong. */
static uint64_t not_plain(uint64_t w)
{
	uint64_t quote = w ^ ones * '"', slash = w ^ ones * '\\';
	return ((w - ones * 0x20) | (quote - ones) | (slash - ones) | (w + ones) | w) & tops;
}

size_t str_plain(struct str s)
{
	size_t i = 0;
	while (s.n >= WORD && i < s.n) {
		uint64_t wrong = not_plain(word_at(s.p + i));
		if (wrong)
			return i + (size_t)__builtin_ctzll(wrong) / 8;
		i += WORD;
		if (i < s.n && i > s.n - WORD)
			i = s.n - WORD; /* the last one may overlap the one before */
	}
	while (i < s.n && (unsigned char)(s.p[i] - 0x20) < 0x5f && s.p[i] != '"' && s.p[i] != '\\')
		i++;
	return i;
}

/* Length of the well-formed UTF-8 sequence at p (RFC 3629 section 4), 0 when there is none. */
static size_t sequence(const unsigned char *p, size_t n)
{
	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	size_t len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (n < len)
		return 0;
	unsigned low = p[0] == 0xe0 ? 0xa0 : p[0] == 0xf0 ? 0x90 : 0x80;
	unsigned high = p[0] == 0xed ? 0x9f : p[0] == 0xf4 ? 0x8f : 0xbf;
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

bool str_utf8_valid(struct str s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	for (size_t i = 0; i < s.n;) {
		if (s.n - i >= WORD && !(word_at(s.p + i) & tops)) {
			i += WORD;
			continue;
		}
		size_t step = sequence(p + i, s.n - i);
		if (!step)
			return false;
		i += step;
	}
	return true;
}

bool str_has_control(struct str s)
{
	for (size_t i = str_plain(s); i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c < 0x20 || c == 0x7f)
			return true;
		if (c == 0xc2 && i + 1 < s.n && (unsigned char)s.p[i + 1] < 0xa0)
			return true;
	}
	return false;
}

bool str_glob(struct str pattern, struct str s)
{
	size_t p = 0, i = 0, star = SIZE_MAX, mark = 0;
	while (i < s.n) {
		if (p < pattern.n && pattern.p[p] == '*') {
			star = p++;
			mark = i;
		} else if (p < pattern.n && pattern.p[p] == s.p[i]) {
			p++;
			i++;
		} else if (star != SIZE_MAX) {
			p = star + 1;
			i = ++mark;
		} else {
			return false;
		}
	}
	while (p < pattern.n && pattern.p[p] == '*')
		p++;
	return p == pattern.n;
}

unsigned long long str_hash(struct str s)
{
	uint64_t h = 1469598103934665603u;
	for (size_t i = 0; i < s.n; i++)
		h = (h ^ (unsigned char)s.p[i]) * 1099511628211u;
	h ^= h >> 33;
	h *= 0xff51afd7ed558ccdu;
	return h ^ (h >> 33);
}
