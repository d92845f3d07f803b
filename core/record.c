#include "core/record.h"

enum { BITS_A_BYTE = 7, MORE = 0x80 };

void record_put_int(struct buf *b, uint64_t n)
{
	for (; n >= MORE; n >>= BITS_A_BYTE)
		buf_addc(b, (char)(MORE | (n & (MORE - 1))));
	buf_addc(b, (char)n);
}

void record_put_str(struct buf *b, struct str s)
{
	record_put_int(b, s.n);
	buf_adds(b, s);
}

struct record_reader record_of(struct str bytes)
{
	return (struct record_reader){.p = bytes.p, .end = bytes.p + bytes.n};
}

bool record_more(const struct record_reader *r)
{
	return !r->bad && r->p < r->end;
}

/* Nothing more is read: p stands at the end. */
static void spoil(struct record_reader *r)
{
	r->bad = true;
	r->p = r->end;
}

uint64_t record_int(struct record_reader *r, uint64_t max)
{
	uint64_t n = 0;
	for (unsigned shift = 0; r->p < r->end && shift < 64; shift += BITS_A_BYTE) {
		unsigned char byte = (unsigned char)*r->p++;
		uint64_t bits = byte & (MORE - 1);
		if (bits << shift >> shift != bits)
			break; /* more than 64 bits */
		n |= bits << shift;
		if (byte & MORE)
			continue;
		if (n <= max)
			return n;
		break;
	}
	spoil(r);
	return 0;
}

struct str record_str(struct record_reader *r, size_t max_bytes)
{
	size_t n = (size_t)record_int(r, max_bytes);
	if (r->bad || n > (size_t)(r->end - r->p)) {
		spoil(r);
		return STR("");
	}
	struct str s = {r->p, n};
	r->p += n;
	return s;
}

void record_text(struct record_reader *r, char *ret_text, size_t size)
{
	struct str s = record_str(r, size - 1);
	if (s.n && memchr(s.p, 0, s.n)) {
		spoil(r);
		s = STR("");
	}
	memcpy(ret_text, s.p, s.n);
	ret_text[s.n] = 0;
}
