/* deflate.h: permessage-deflate (RFC 7692), without context takeover in either direction: each
 * message is compressed alone, so that nothing has to be kept for a connection between two of them.
 * What zlib needs is a worker's, shared by all of its connections.
 *
 * Thread: any; each has memory of its own, made when it is first needed: up to 1.2 MiB for zlib, and
 * the largest message. What is returned lies there until the next call. */
#pragma once

#include "core/buf.h"

#include <stdint.h>

enum { DEFLATE_MIN_BYTES = 256 }; /* shorter messages are not worth it */

/* What to answer to the offers of Sec-WebSocket-Extensions (section 7.1). */
struct deflate_terms {
	uint8_t window_bits; /* of what we send, 9 to 15; 0: no offer can be taken */
	bool named;          /* the client has limited them, and is to be told */
	unsigned offers;     /* how many elements of the list are called permessage-deflate */
};
struct deflate_terms deflate_choose(struct str offers);
/* The parameters of the answer, "; server_no_context_takeover…". */
void deflate_answer(struct deflate_terms terms, struct buf *out);

/* The message compressed, with FRAME_HEADROOM in front; nothing when that would not make it smaller.
 * The same bytes again, until deflate_forget(), cost only a comparison: a room's message is
 * compressed once a worker, not once a member. */
struct str deflate_message(struct str message, uint8_t window_bits);
void deflate_forget(void);

/* A whole message as it was before. ERR_TOO_LARGE: it would be more than max bytes (no more of it is
 * ever made). ERR_PARSE: it is not the work of a deflate. */
enum err inflate_message(struct str packed, size_t max, struct str *ret_message);
/* How long the compressed form of a message may be: for what cannot be made smaller it is longer. */
static inline size_t inflate_packed_max(size_t max)
{
	return max + max / 8 + 64;
}

void deflate_thread_stop(void);
