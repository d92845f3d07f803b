#include "service/deflate.h"

#include "core/frame.h"
#include "core/mem.h"

#include <assert.h>
#include <zlib.h>

enum {
	BITS_MIN = 9, /* zlib has no 8 */
	BITS_MAX = 15,
	LEVEL = 1,
	RECENT = 8,            /* messages that are remembered within a turn */
	LOOKAHEAD_BYTES = 262, /* zlib looks back a window less this (MIN_LOOKAHEAD) */
};

/* ---- the handshake ---- */

static struct str trim(struct str s)
{
	while (s.n && s.p[0] == ' ')
		s.p++, s.n--;
	while (s.n && s.p[s.n - 1] == ' ')
		s.n--;
	return s;
}

/* Takes what is in front of the next separator, without the spaces around it; false at the end. */
static bool next_part(struct str *rest, char separator, struct str *ret_part)
{
	if (!rest->p)
		return false;
	const char *end = memchr(rest->p, separator, rest->n);
	struct str part = {rest->p, end ? (size_t)(end - rest->p) : rest->n};
	*rest = end ? (struct str){end + 1, rest->n - part.n - 1} : (struct str){0};
	*ret_part = trim(part);
	return true;
}

/* 8 to 15, also in quotation marks; 0: anything else. */
static unsigned window_bits(struct str value)
{
	if (value.n >= 2 && value.p[0] == '"' && value.p[value.n - 1] == '"')
		value = (struct str){value.p + 1, value.n - 2};
	for (unsigned bits = 8; bits <= BITS_MAX; bits++) {
		char text[4];
		snprintf(text, sizeof(text), "%u", bits);
		if (str_is(value, text))
			return bits;
	}
	return 0;
}

/* One offer's parameters; one that is unknown, wrong or doubled spoils the offer. */
static bool read_offer(struct str rest, struct deflate_terms *terms)
{
	static const char *const names[] = {"server_no_context_takeover",
		"client_no_context_takeover", "server_max_window_bits", "client_max_window_bits"};
	unsigned seen = 0;
	struct str part, name;
	while (next_part(&rest, ';', &part)) {
		struct str value = part;
		next_part(&value, '=', &name);
		unsigned which = 0;
		while (which < 4 && !str_is(name, names[which]))
			which++;
		if (which == 4 || (seen & 1u << which))
			return false;
		seen |= 1u << which;
		unsigned bits = value.p ? window_bits(trim(value)) : 0;
		bool sound = which < 2 ? !value.p : bits > 0 || (which == 3 && !value.p);
		if (!sound || (which == 2 && bits < BITS_MIN))
			return false;
		if (which == 2) {
			terms->window_bits = (uint8_t)bits;
			terms->named = true;
		}
	}
	return true;
}

struct deflate_terms deflate_choose(struct str offers)
{
	struct deflate_terms chosen = {0};
	struct str offer, name;
	while (next_part(&offers, ',', &offer)) {
		next_part(&offer, ';', &name);
		if (!str_is(name, "permessage-deflate"))
			continue;
		chosen.offers++;
		struct deflate_terms terms = {.window_bits = BITS_MAX};
		if (!chosen.window_bits && read_offer(offer, &terms)) {
			chosen.window_bits = terms.window_bits;
			chosen.named = terms.named;
		}
	}
	return chosen;
}

void deflate_answer(struct deflate_terms terms, struct buf *out)
{
	buf_adds(out, STR("; server_no_context_takeover; client_no_context_takeover"));
	if (terms.named)
		buf_addf(out, "; server_max_window_bits=%u", terms.window_bits);
}

/* ---- out ---- */

struct recent {
	char *message, *packed; /* packed: with headroom in front */
	size_t n, packed_n;     /* packed_n: 0 when it was not worth it */
	uint8_t bits;
};

static _Thread_local z_stream *deflaters[BITS_MAX + 1]; /* by their window */
static _Thread_local struct recent recent[RECENT];
static _Thread_local unsigned recent_next;

/* A window that reaches over the whole message is enough, and starting a small one afresh is cheap:
 * most of the cost of a short message. */
static uint8_t fitting_bits(size_t n, uint8_t at_most)
{
	uint8_t bits = BITS_MIN;
	while (bits < at_most && ((size_t)1 << bits) < n + LOOKAHEAD_BYTES)
		bits++;
	return bits;
}

static z_stream *deflater(uint8_t bits)
{
	z_stream *z = deflaters[bits];
	if (z) {
		deflateReset(z);
		return z;
	}
	z = mem_new(z_stream);
	/* memLevel: the table of places is as large as the window. */
	if (deflateInit2(z, LEVEL, Z_DEFLATED, -bits, bits - 7, Z_DEFAULT_STRATEGY) != Z_OK) {
		free(z);
		return NULL;
	}
	deflaters[bits] = z;
	return z;
}

/* The compressed size, or 0 when it is no smaller. */
static size_t pack(struct str message, uint8_t bits, char *into)
{
	z_stream *z = deflater(bits);
	if (!z)
		return 0;
	z->next_in = (unsigned char *)(uintptr_t)message.p;
	z->avail_in = (unsigned)message.n;
	z->next_out = (unsigned char *)into;
	z->avail_out = (unsigned)message.n;
	int status = deflate(z, Z_SYNC_FLUSH);
	if (status != Z_OK || !z->avail_out)
		return 0;
	return message.n - z->avail_out - 4; /* without 00 00 ff ff (section 7.2.1) */
}

static void forget(struct recent *r)
{
	free(r->message);
	free(r->packed);
	*r = (struct recent){0};
}

static struct recent *remember(struct str message, uint8_t bits)
{
	struct recent *r = &recent[recent_next++ % RECENT];
	forget(r);
	r->message = mem_copy(message);
	r->packed = mem_resize(NULL, FRAME_HEADROOM + message.n, 1);
	r->n = message.n;
	r->bits = bits;
	r->packed_n = pack(message, bits, r->packed + FRAME_HEADROOM);
	return r;
}

struct str deflate_message(struct str message, uint8_t bits)
{
	assert(bits >= BITS_MIN && bits <= BITS_MAX);
	if (message.n < DEFLATE_MIN_BYTES)
		return (struct str){0};
	bits = fitting_bits(message.n, bits);
	const struct recent *r = NULL;
	for (unsigned i = 0; i < RECENT && !r; i++)
		if (recent[i].n == message.n && recent[i].bits == bits &&
			memcmp(recent[i].message, message.p, message.n) == 0)
			r = &recent[i];
	if (!r)
		r = remember(message, bits);
	return (struct str){r->packed + FRAME_HEADROOM, r->packed_n};
}

void deflate_forget(void)
{
	for (unsigned i = 0; recent_next && i < RECENT; i++)
		forget(&recent[i]);
	recent_next = 0;
}

/* ---- in ---- */

static _Thread_local z_stream *inflater;
static _Thread_local char *inflated; /* as long as the longest message so far might have been */
static _Thread_local size_t inflated_room;

static z_stream *begin_inflating(size_t room)
{
	if (!inflater) {
		inflater = mem_new(z_stream);
		if (inflateInit2(inflater, -BITS_MAX) != Z_OK) {
			free(inflater);
			inflater = NULL;
			return NULL;
		}
	}
	if (room > inflated_room) {
		free(inflated);
		inflated = mem_resize(NULL, room, 1);
		inflated_room = room;
	}
	inflateReset(inflater);
	inflater->next_out = (unsigned char *)inflated;
	inflater->avail_out = (unsigned)room;
	return inflater;
}

static enum err inflate_part(z_stream *z, struct str part)
{
	z->next_in = (unsigned char *)(uintptr_t)part.p;
	z->avail_in = (unsigned)part.n;
	while (z->avail_in) {
		int status = inflate(z, Z_SYNC_FLUSH);
		if (!z->avail_out)
			return ERR_TOO_LARGE;
		if (status ==
			Z_STREAM_END) /* a last block, with more behind it (section 7.2.3.4) */
			inflateReset(z);
		else if (status != Z_OK)
			return ERR_PARSE;
	}
	return ERR_OK;
}

enum err inflate_message(struct str packed, size_t max, struct str *ret_message)
{
	enum { BETWEEN_BLOCKS = 128 }; /* in data_type, see inflate() in zlib.h */
	z_stream *z = begin_inflating(max + 1);
	enum err err = z ? inflate_part(z, packed) : ERR_NOMEM;
	if (!err)
		err = inflate_part(z, (struct str){"\0\0\xff\xff", 4});
	if (!err && !(z->data_type & BETWEEN_BLOCKS))
		err = ERR_PARSE;
	if (!err)
		*ret_message = (struct str){inflated, max + 1 - z->avail_out};
	return err;
}

void deflate_thread_stop(void)
{
	deflate_forget();
	for (int bits = BITS_MIN; bits <= BITS_MAX; bits++) {
		if (deflaters[bits])
			deflateEnd(deflaters[bits]);
		free(deflaters[bits]);
		deflaters[bits] = NULL;
	}
	if (inflater)
		inflateEnd(inflater);
	free(inflater);
	free(inflated);
	inflater = NULL;
	inflated = NULL;
	inflated_room = 0;
}
