/* frame.h: the bytes of one message to clients, encoded once and then never changed, with room in
 * front of them for the transport's header.
 *
 * Thread: one at a time. References are counted without atomics, because a frame has one worker;
 * what goes to several workers is copied once for each (the transport writes into the headroom). */
#pragma once

#include "core/buf.h"

#include <stdint.h>

enum {
	FRAME_HEADROOM = 16,          /* at least LWS_PRE, asserted where frames are written */
	FRAME_MAX_BYTES = 256 * 1024, /* no message from the server is larger */
};

struct frame {
	uint32_t refs;
	uint32_t size;
	char bytes[]; /* headroom, then the message */
};

/* A buffer to write the message into; frame_take() makes it a frame with one reference. NULL when
 * the buffer failed (too large, out of memory): buf->err says which until then. */
struct buf frame_buf(void);
struct frame *frame_take(struct buf *b);
/* What has been written into a frame_buf so far. */
struct str frame_buf_str(const struct buf *b);

struct frame *frame_copy(const struct frame *f);
void frame_free(struct frame *f); /* by frame_unref() */

static inline struct frame *frame_ref(struct frame *f)
{
	f->refs++;
	return f;
}

static inline void frame_unref(struct frame **f)
{
	if (*f && --(*f)->refs == 0)
		frame_free(*f);
	*f = NULL;
}

static inline struct str frame_str(const struct frame *f)
{
	return (struct str){f->bytes + FRAME_HEADROOM, f->size};
}
