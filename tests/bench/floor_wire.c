/* floor_wire.c: see floor_wire.h. */
#include "tests/bench/floor_wire.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fail(const char *what)
{
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	exit(1);
}

void *grown(void *p, size_t n)
{
	p = realloc(p, n);
	if (!p)
		fail("memory");
	return p;
}

/* The header of a text frame, ending at `end`; returns where it begins. */
static char *header_before(char *end, size_t n)
{
	if (n < 126) {
		*--end = (char)n;
	} else if (n < 65536) {
		*--end = (char)n;
		*--end = (char)(n >> 8);
		*--end = 126;
	} else {
		for (int i = 0; i < 8; i++, n >>= 8)
			*--end = (char)n;
		*--end = 127;
	}
	*--end = (char)0x81;
	return end;
}

char *queue_message(struct queue *q, size_t n)
{
	if (q->n < FRONT)
		q->n = FRONT;
	size_t wanted = q->n + n + FRONT;
	if (wanted > q->size) {
		q->size = wanted * 2 > 1024 ? wanted * 2 : 1024;
		q->bytes = grown(q->bytes, q->size);
	}
	if (q->joined) {
		if (q->messages)
			q->bytes[q->n++] = ',';
	} else {
		size_t head = n < 126 ? 2 : n < 65536 ? 4 : 10;
		header_before(q->bytes + q->n + head, n);
		q->n += head;
	}
	q->messages++;
	q->n += n;
	return q->bytes + q->n - n;
}

char *queue_bytes(struct queue *q, size_t *ret_n)
{
	char *begin = q->bytes + FRONT, *end = q->bytes + q->n;
	if (q->joined) {
		if (q->messages > 1) {
			*--begin = '[';
			*end++ = ']';
		}
		begin = header_before(begin, (size_t)(end - begin));
	}
	*ret_n = (size_t)(end - begin);
	return begin;
}

void queue_clear(struct queue *q)
{
	q->n = 0;
	q->messages = 0;
}

static void unmask(char *p, size_t n, const unsigned char *key)
{
	uint64_t k, v;
	memcpy(&k, key, 4);
	memcpy((char *)&k + 4, key, 4);
	for (; n >= 8; p += 8, n -= 8) {
		memcpy(&v, p, 8);
		v ^= k;
		memcpy(p, &v, 8);
	}
	for (size_t i = 0; i < n; i++)
		p[i] = (char)(p[i] ^ key[i & 3]);
}

size_t frame_take(char *in, size_t n, struct frame *ret)
{
	const unsigned char *h = (const unsigned char *)in;
	if (n < 2)
		return 0;
	size_t head = 2, length = h[1] & 127;
	if (length >= 126) {
		head = length == 126 ? 4 : 10;
		if (n < head)
			return 0;
		length = 0;
		for (size_t i = 2; i < head; i++)
			length = length << 8 | h[i];
	}
	if (n < head + 4 || n - head - 4 < length)
		return 0;
	*ret = (struct frame){.opcode = h[0] & 15, .bytes = in + head + 4, .n = length};
	unmask(ret->bytes, length, h + head);
	return head + 4 + length;
}

size_t upgrade_take(const char *in, size_t n, char *answer, size_t size, size_t *ret_n)
{
	static const char name[] = "Sec-WebSocket-Key: ",
			  magic[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	const char *end = memmem(in, n, "\r\n\r\n", 4),
		   *key = memmem(in, n, name, sizeof(name) - 1);
	if (!end || !key || end - key < (ptrdiff_t)sizeof(name) + 23)
		return 0;
	unsigned char text[24 + sizeof(magic)], hash[SHA_DIGEST_LENGTH], accept[32];
	memcpy(text, key + sizeof(name) - 1, 24);
	memcpy(text + 24, magic, sizeof(magic));
	SHA1(text, 24 + sizeof(magic) - 1, hash);
	EVP_EncodeBlock(accept, hash, sizeof(hash));
	*ret_n = (size_t)snprintf(answer, size,
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: signalbox.v1\r\n\r\n",
		(const char *)accept);
	return (size_t)(end + 4 - in);
}
